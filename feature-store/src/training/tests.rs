//! Leakage, and agreement with what a live read says.

use std::sync::{Arc, mpsc};

use augur_domain::event::EventKind;
use augur_domain::ids::MessageKey;
use augur_domain::time::{DAY_MS, HOUR_MS};
use augur_domain::{Event, FeatureStatus, Value};
use proptest::prelude::*;

use super::*;
use crate::event_record;
use crate::state::{UserState, apply};
use crate::store::{Commit, MemoryStore, NewEvent};
use crate::testing::{START_MS, event, history, schema, user};
use crate::{Config, FeatureStore, NoContext};

fn store_with(events: &[Event]) -> FeatureStore {
    let store = FeatureStore::in_memory(&Config::new("unused"), Arc::new(schema())).unwrap();
    let (sender, receiver) = mpsc::channel();
    store.ingest(events.to_vec(), move |answer| sender.send(answer).unwrap()).unwrap();
    receiver.recv().unwrap().unwrap();
    store
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(START_MS + ms)
}

fn label(who: u8, at_ms: i64) -> Label {
    Label { user: user(who), at: at(at_ms), outcome: None }
}

fn rows(store: &FeatureStore, labels: &[Label]) -> Vec<TrainingRow> {
    store.training_rows(labels).unwrap().map(Result::unwrap).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// A row equals, to the bit, the live read of a store that holds only the events before its instant.
    #[test]
    fn rows_are_what_a_live_read_said(
        events in history(3, 40),
        instants in prop::collection::vec((0..4_u8, 0..14 * DAY_MS), 1..12),
    ) {
        let store = store_with(&events);
        let labels: Vec<Label> = instants.iter().map(|&(who, at_ms)| label(who, at_ms)).collect();
        let found = rows(&store, &labels);
        prop_assert_eq!(found.len(), labels.len());
        prop_assert!(found.is_sorted_by_key(|row| (row.user, row.at)));
        for row in found {
            prop_assert_eq!((row.user, row.at), (labels[row.label].user, labels[row.label].at));
            let before: Vec<Event> =
                events.iter().filter(|event| event.event_time < row.at).cloned().collect();
            let live = store_with(&before).features(row.user, row.at).unwrap();
            prop_assert_eq!(row.features, live);
        }
    }

    /// Nothing at or after the instant leaks in.
    #[test]
    fn the_future_changes_nothing(events in history(1, 30), at_ms in 0..12 * DAY_MS) {
        let labels = [label(0, at_ms)];
        let past: Vec<Event> = events.iter().filter(|event| event.event_time < at(at_ms)).cloned().collect();
        prop_assert_eq!(rows(&store_with(&events), &labels), rows(&store_with(&past), &labels));
    }
}

/// What rows are by definition: for each label, the events visible before it, applied one by one.
fn by_definition(store: &FeatureStore, labels: &[Label], inclusive: bool) -> Vec<(usize, FeatureVector)> {
    let schema = store.schema();
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by_key(|&index| (labels[index].user, labels[index].at));
    let read = |index: usize| {
        let Label { user, at, .. } = labels[index];
        let mut state = UserState::new(&schema);
        for stored in store.events_of(user).unwrap() {
            let visible_at = stored.visible_at();
            if visible_at < at || (inclusive && visible_at == at) {
                state.commit(apply(&state, &stored.event, &schema));
            }
        }
        (index, state.read(at, &schema, &NoContext))
    };
    order.into_iter().map(read).collect()
}

/// Stores events with the instants from which they are visible, past the writers.
fn stored(events: &[(Event, Option<i64>)]) -> FeatureStore {
    stored_as(events, schema())
}

fn stored_as(events: &[(Event, Option<i64>)], schema: FeatureSchema) -> FeatureStore {
    let memory = Arc::new(MemoryStore::new());
    let mut sequences = std::collections::BTreeMap::new();
    for (event, later_ms) in events {
        let sequence: &mut u64 = sequences.entry(event.user).or_default();
        *sequence += 1;
        let visible_from = later_ms.map(|later_ms| event.event_time.plus_millis(later_ms));
        let mut record = Vec::new();
        event_record::encode(event, None, visible_from, &mut record);
        let new = NewEvent { user: event.user, sequence: *sequence, message_key: event.message_key, record };
        memory.commit(&Commit { events: vec![new], ..Commit::default() }).unwrap();
    }
    FeatureStore::with_store(memory, &Config::new("unused"), Arc::new(schema), |_| {}).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    /// In whatever order events came, from whenever they are visible, and in however little memory.
    #[test]
    fn rows_are_what_they_are_by_definition(
        events in history(3, 60),
        later in prop::collection::vec(prop::option::of(0..3 * DAY_MS), 60),
        instants in prop::collection::vec((0..4_u8, 0..14 * DAY_MS), 1..40),
        on_events in prop::collection::vec((0..60_usize, -1..=1_i64), 0..10),
        block_bytes in prop_oneof![Just(1_usize), Just(2_000), Just(1 << 20)],
        memory_bytes in prop_oneof![Just(0_usize), Just(40_000), Just(1 << 20)],
        inclusive: bool,
    ) {
        let events: Vec<(Event, Option<i64>)> = events.into_iter().zip(later).collect();
        let store = stored(&events);
        let mut labels: Vec<Label> = instants.iter().map(|&(who, at_ms)| label(who, at_ms)).collect();
        labels.extend(on_events.iter().filter_map(|&(index, offset)| {
            let (event, later_ms) = events.get(index)?;
            let at = event.event_time.plus_millis(later_ms.unwrap_or(0) + offset);
            Some(Label { user: event.user, at, outcome: None })
        }));
        let mut rows = store.training_rows(&labels).unwrap();
        rows.options = TrainingOptions { memory_bytes, inclusive };
        rows.events = EventLog::open(&*store.store, block_bytes).unwrap();
        let found: Vec<_> = rows.map(|row| row.map(|row| (row.label, row.features)).unwrap()).collect();
        prop_assert_eq!(found, by_definition(&store, &labels, inclusive));
    }
}

/// One of every kind, in every way to keep it.
const EVERY_KIND: &str = r#"
version = 1

[context]
cart_value = "number"

[[feature]]
name = "decayed"
kind = "decayed_sum"
property = "value"
half_lives = ["1h", "7d"]

[[feature]]
name = "decayed_exact"
kind = "decayed_count"
half_lives = ["1d"]
exact = true

[[feature]]
name = "score"
kind = "engagement_score"
weights = { purchase = 5.0, view_item = 0.5 }
half_lives = ["1d"]

[[feature]]
name = "count"
kind = "windowed_count"
windows = ["1h", "1d"]

[[feature]]
name = "count_exact"
kind = "windowed_count"
windows = ["1h", "1d"]
exact_events = 5

[[feature]]
name = "sum"
kind = "windowed_sum"
property = "value"
windows = ["1h", "7d"]
exact = true

[[feature]]
name = "mean"
kind = "windowed_mean"
property = "value"
windows = ["1d"]

[[feature]]
name = "least"
kind = "windowed_min"
property = "value"
windows = ["1d"]

[[feature]]
name = "greatest"
kind = "windowed_max"
property = "value"
windows = ["1d"]

[[feature]]
name = "variance"
kind = "windowed_variance"
property = "value"
windows = ["7d"]

[[feature]]
name = "deviation"
kind = "windowed_standard_deviation"
property = "value"
windows = ["7d"]

[[feature]]
name = "total"
kind = "total_count"
where = "properties.value > 10.0"
property_types = { value = "number" }

[[feature]]
name = "total_spent"
kind = "total_sum"
property = "value"
exact = true

[[feature]]
name = "since_last"
kind = "time_since_last"

[[feature]]
name = "since_first"
kind = "time_since_first"
events = ["purchase"]

[[feature]]
name = "first"
kind = "first_value"
property = "value"
type = "number"

[[feature]]
name = "last"
kind = "last_value"
property = "item"
type = "text"

[[feature]]
name = "sessions"
kind = "sessions"
gap = "30m"
measures = ["count", "current_events", "current_length_secs", "mean_length_secs", "current_pages", "bounce_share", "events_per_session"]

[[feature]]
name = "different"
kind = "distinct_count"
property = "item"
exact_values = 2

[[feature]]
name = "different_lately"
kind = "distinct_count"
property = "item"
windows = ["1h", "7d"]
exact_values = 2

[[feature]]
name = "top"
kind = "top_k"
property = "item"
k = 2
capacity = 3
measures = ["value", "share", "count"]

[[feature]]
name = "top_lately"
kind = "top_k"
property = "item"
half_life = "1d"

[[feature]]
name = "share"
kind = "ratio"
numerator = "total"
denominator = "since_last"

[[feature]]
name = "both"
kind = "derived"
expression = "features.count_1d + features.different"

[[feature]]
name = "cart"
kind = "request"
expression = "context.cart_value / features.total_spent"
default = 1.0
"#;

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// An event at the instant of a label or a millisecond behind it changes nothing, nor does anything else that was
    /// not visible before: late arrivals, events that were linked or taken back later. For every kind of feature.
    #[test]
    fn nothing_leaks_into_any_kind_of_feature(
        events in history(2, 40),
        items in prop::collection::vec(0..6_u8, 40),
        later in prop::collection::vec(prop::option::weighted(0.3, 0..3 * DAY_MS), 40),
        taken_back in prop::collection::vec((0..40_usize, 0..2 * DAY_MS), 0..6),
        instants in prop::collection::vec((0..2_u8, 0..13 * DAY_MS), 0..4),
        on_events in prop::collection::vec((0..46_usize, -1..=1_i64), 1..6),
    ) {
        let mut log: Vec<(Event, Option<i64>)> = Vec::new();
        for ((mut event, item), later_ms) in events.into_iter().zip(items).zip(later) {
            event.properties.insert(0, ("item".into(), Value::Text(format!("item-{item}").into())));
            log.push((event, later_ms));
        }
        for (number, (index, later_ms)) in taken_back.into_iter().enumerate() {
            let Some((original, from_ms)) = log.get(index).cloned() else { continue };
            if original.kind == EventKind::Retract {
                continue;
            }
            let message_key = MessageKey::from_bytes([200 + number as u8; 16]);
            let event = Event { kind: EventKind::Retract, message_key, ..original };
            log.push((event, Some(from_ms.unwrap_or(0) + later_ms)));
        }
        let visible_at = |(event, later_ms): &(Event, Option<i64>)| event.event_time.plus_millis(later_ms.unwrap_or(0));
        let mut labels: Vec<Label> = instants.iter().map(|&(who, at_ms)| label(who, at_ms)).collect();
        labels.extend(on_events.iter().filter_map(|&(index, offset)| {
            let (event, _) = log.get(index)?;
            Some(Label { user: event.user, at: visible_at(&log[index]).plus_millis(offset), outcome: None })
        }));
        let schema = || FeatureSchema::parse("features.toml", EVERY_KIND).unwrap();
        let all = stored_as(&log, schema());
        for row in rows(&all, &labels) {
            let before: Vec<_> = log.iter().filter(|entry| visible_at(entry) < row.at).cloned().collect();
            let known = stored_as(&before, schema());
            let label = [Label { user: row.user, at: row.at, outcome: None }];
            prop_assert_eq!(&row.features, &rows(&known, &label)[0].features);
        }
    }
}

/// Reversed logs are the worst there is; logs in order must not cost more than one application per event.
#[test]
fn a_log_in_order_is_applied_once() {
    let events: Vec<Event> = (0..5_000).map(|id| event(1, id, "purchase", id as i64 * 1_000, 0.1)).collect();
    let store = store_with(&events);
    let labels: Vec<Label> = (0..10_000).map(|index| label(1, index * 500)).collect();
    let mut rows = store.training_rows(&labels).unwrap();
    rows.options.memory_bytes = 1 << 20;
    rows.events = EventLog::open(&*store.store, 20_000).unwrap();
    let watermarks: Vec<u64> = rows.map(|row| row.unwrap().features.watermark).collect();
    let expected: Vec<u64> = (0..10_000_u64).map(|index| index.div_ceil(2)).collect();
    assert_eq!(watermarks, expected);
}

#[test]
fn the_event_of_the_label_itself_is_not_seen() {
    let store = store_with(&[event(1, 1, "purchase", 0, 1.0), event(1, 2, "purchase", HOUR_MS, 1.0)]);
    let slot = store.schema().feature_set().slot("purchases_1h").unwrap();
    let value = |at_ms| rows(&store, &[label(1, at_ms)])[0].features.values[slot];
    assert_eq!((value(0).value, value(0).status), (0.0, FeatureStatus::NotFound));
    assert_eq!(value(HOUR_MS).value, 0.5);
    assert!(value(HOUR_MS + 1).value > 1.4);
}

#[test]
fn outcomes_are_carried_and_must_be_finite() {
    let store = store_with(&[event(1, 1, "purchase", 0, 1.0)]);
    let labels = [Label { outcome: Some(1.0), ..label(2, 5) }, Label { outcome: Some(0.0), ..label(1, 5) }];
    let found = rows(&store, &labels);
    assert_eq!(
        found.iter().map(|row| (row.label, row.outcome)).collect::<Vec<_>>(),
        [(1, Some(0.0)), (0, Some(1.0))]
    );
    let bad = [labels[0], Label { outcome: Some(f64::NAN), ..labels[1] }];
    assert_eq!(store.training_rows(&bad).unwrap_err(), Error::InvalidLabel { label: 1 });
}

#[cfg(feature = "export")]
#[test]
fn an_exported_file_reads_back_value_by_value() {
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Float64Type, Int8Type, Int64Type, TimestampMillisecondType};
    use arrow_array::{Array, RecordBatch};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    let store = store_with(&[event(1, 1, "purchase", 0, 2.5), event(2, 2, "page_view", 0, 0.0)]);
    let labels: Vec<Label> = (0..10_000_i64)
        .map(|index| Label {
            outcome: (index % 3 == 0).then_some(1.0),
            ..label(1 + (index % 3) as u8, index)
        })
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("training.parquet");
    let features = Arc::clone(store.schema().feature_set());
    let options = crate::ExportOptions { with_status: true, ..crate::ExportOptions::default() };
    let mut told = 0;
    let rows_of_labels = store.training_rows(&labels).unwrap();
    let exported =
        crate::export_parquet(&path, &features, rows_of_labels, &options, |rows| told = rows).unwrap();
    assert_eq!(told, 10_000);
    assert_eq!(exported.rows, 10_000);
    assert_eq!(exported.bytes, std::fs::metadata(&path).unwrap().len());
    let builder = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&path).unwrap()).unwrap();
    let metadata = builder.metadata().file_metadata().key_value_metadata().unwrap();
    let told =
        |key: &str| metadata.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.clone()).unwrap();
    assert_eq!(told("augur.feature_set"), features.hash().to_string());
    let first = &features.features()[0];
    assert!(told("augur.definitions").starts_with(&format!("{{\"{}\":\"{}\"", first.name, first.definition)));
    let batches: Vec<RecordBatch> = builder.build().unwrap().map(Result::unwrap).collect();
    let expected = rows(&store, &labels);
    let mut expected = expected.iter();
    for batch in &batches {
        assert_eq!(batch.num_columns(), 4 + 2 * features.features().len());
        let indexes = batch.column(3).as_primitive::<Int64Type>();
        let (users, times) = (batch.column(0).as_string::<i32>(), batch.column(1));
        let times = times.as_primitive::<TimestampMillisecondType>();
        for index in 0..batch.num_rows() {
            let row = expected.next().unwrap();
            assert_eq!((users.value(index), times.value(index)), (&*row.user.to_string(), row.at.unix_ms()));
            for slot in 0..features.features().len() {
                let column = batch.column(4 + 2 * slot).as_primitive::<Float64Type>();
                let statuses = batch.column(5 + 2 * slot).as_dictionary::<Int8Type>();
                let statuses = statuses.downcast_dict::<arrow_array::StringArray>().unwrap();
                let status = statuses.into_iter().nth(index).flatten();
                assert_eq!(status, Some(row.features.values[slot].status.as_str()));
                let found = column.is_valid(index).then(|| column.value(index).to_bits());
                assert_eq!(found, row.features.usable(slot).map(f64::to_bits), "row {index}, slot {slot}");
            }
            assert_eq!(indexes.value(index), row.label as i64);
            let labels = batch.column(2).as_primitive::<Float64Type>();
            assert_eq!(labels.is_valid(index).then(|| labels.value(index)), row.outcome);
        }
    }
    assert!(expected.next().is_none());
}

#[cfg(feature = "export")]
#[test]
fn a_failed_export_leaves_the_old_file_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("training.parquet");
    std::fs::write(&path, "old").unwrap();
    let rows = [Err(Error::Closed)];
    assert_eq!(
        crate::export_parquet(&path, schema().feature_set(), rows, &crate::ExportOptions::default(), |_| {})
            .unwrap_err(),
        Error::Closed
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
