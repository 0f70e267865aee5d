//! Features of real shops' events against values computed elsewhere, column by column: purchase histories (CDNOW, Online
//! Retail) and a click stream (JData).
//!
//! The data is not part of the repository. `AUGUR_DATA` names its folder; without it, `../shared/data` beside the
//! workspace is tried; when neither is there, these tests say so and pass. Not here: models, or the same through the
//! binary (`cli/tests/golden_values.rs`).

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use augur_domain::event::EventKind;
use augur_domain::ids::{MessageKey, UserKey};
use augur_domain::time::{DAY_MS, HOUR_MS};
use augur_domain::value::Finite;
use augur_domain::{Event, Timestamp, Value};
use augur_feature_store::{Config, FeatureSchema, FeatureStore, Label, TrainingOptions, TrainingRow};

type Reader = csv::Reader<flate2::read::GzDecoder<File>>;

fn folder(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let root = std::env::var_os("AUGUR_DATA").map_or(beside, PathBuf::from);
    let folder = root.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: {} is not there; set AUGUR_DATA to the data folder", folder.display());
    None
}

fn open(path: &Path) -> Reader {
    csv::Reader::from_reader(flate2::read::GzDecoder::new(File::open(path).unwrap()))
}

fn user(id: &str) -> UserKey {
    let id: u128 = id.parse().unwrap();
    UserKey::from_bytes(id.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes())
}

fn at(unix_ms: &str) -> Timestamp {
    Timestamp::from_unix_ms(unix_ms.parse().unwrap())
}

fn column(reader: &mut Reader, name: &str) -> Option<usize> {
    reader.headers().unwrap().iter().position(|header| header == name)
}

/// Events of the compared users, in the order of the file.
fn events(path: &Path) -> Vec<Event> {
    let mut reader = open(path);
    let [id, time, name, item] =
        ["user_id", "ts_ms", "event", "item_id"].map(|name| column(&mut reader, name).unwrap());
    let value = column(&mut reader, "value");
    let rows = reader.records().map(Result::unwrap).enumerate();
    let event = |(index, row): (usize, csv::StringRecord)| {
        let number = value.and_then(|value| row[value].parse().ok()).and_then(Finite::new);
        let event_time = at(&row[time]);
        let item = Some(&row[item]).filter(|item| !item.is_empty());
        let item = item.map(|item| ("item_id".into(), Value::Text(item.into())));
        let value = number.map(|number| ("value".into(), Value::Number(number)));
        Event {
            message_key: MessageKey::from_bytes((index as u128).to_be_bytes()),
            user: user(&row[id]),
            kind: EventKind::Track,
            name: row[name].into(),
            event_time,
            received_at: event_time,
            properties: item.into_iter().chain(value).collect(),
        }
    };
    rows.map(event).collect()
}

fn store_with(definitions: &str, events: Vec<Event>) -> FeatureStore {
    let schema = Arc::new(FeatureSchema::parse("features.toml", definitions).unwrap());
    let config = Config { batch_events: 2_000, ..Config::new("unused") };
    let store = FeatureStore::in_memory(&config, schema).unwrap();
    for batch in events.chunks(10_000) {
        let (sender, receiver) = mpsc::channel();
        store.ingest(batch.to_vec(), move |answer| sender.send(answer).unwrap()).unwrap();
        receiver.recv().unwrap().unwrap();
    }
    store
}

/// What a golden column is compared with.
enum Meaning {
    /// The feature of this name, and the golden value that stands for none.
    Feature(String, Option<f64>),
    /// Not a feature.
    Other,
}

fn meaning(column: &str) -> Meaning {
    let known = ["dc_", "w_", "n_", "items_", "val_"];
    match column {
        "user_id" | "cutoff_ms" | "ts_ms" | "label" | "split" | "fold" => Meaning::Other,
        "tenure" | "rec_any" => Meaning::Feature(column.to_owned(), None),
        "sessions" => Meaning::Feature("sessions_count".to_owned(), None),
        "sess_len_s" => Meaning::Feature("sessions_current_length_secs".to_owned(), None),
        _ if column.starts_with("rec_") => Meaning::Feature(column.to_owned(), Some(-1.0)),
        _ if known.iter().any(|prefix| column.starts_with(prefix)) => {
            Meaning::Feature(column.to_owned(), None)
        }
        _ => panic!("a golden column that nobody compares: {column}"),
    }
}

/// Features as `events_features.py` defines them, windows exact, and once more on tiles.
fn definitions(names: &[&str], half_lives: &str, windows: &str, with_value: bool) -> String {
    let mut text = "version = 1\n".to_owned();
    let mut declare = |name: &str, kind: &str, keys: &str| {
        text.push_str(&format!("[[feature]]\nname = '{name}'\nkind = '{kind}'\n{keys}\n"));
    };
    for name in names {
        let of = format!("events = ['{name}']");
        declare(&format!("dc_{name}"), "decayed_count", &format!("half_lives = {half_lives}\n{of}"));
        let exact = format!("windows = {windows}\nexact_events = 4096\n{of}");
        declare(&format!("w_{name}"), "windowed_count", &exact);
        declare(&format!("tiles_{name}"), "windowed_count", &format!("windows = {windows}\n{of}"));
        declare(&format!("n_{name}"), "total_count", &of);
        declare(&format!("rec_{name}"), "time_since_last", &of);
    }
    declare("rec_any", "time_since_last", "");
    declare("tenure", "time_since_first", "");
    declare("sessions", "sessions", "gap = '30m'");
    let items = "property = 'item_id'\nexact_values = 4096";
    declare("items_all", "distinct_count", items);
    declare("items", "distinct_count", &format!("windows = {windows}\n{items}"));
    if with_value {
        declare("val", "decayed_sum", &format!("property = 'value'\nhalf_lives = {half_lives}"));
    }
    text
}

/// Golden values are written with nine significant digits: each stands for all numbers that are written so. What decayed
/// to the edge of what a double can hold may be 0 already.
fn is_written_as(found: f64, golden: f64) -> bool {
    let exponent: i32 = format!("{:e}", golden.abs()).split_once('e').unwrap().1.parse().unwrap();
    let half_digit = if golden == 0.0 { 0.0 } else { 0.5 * 10_f64.powi(exponent - 8) };
    (found - golden).abs() <= half_digit + 1e-9 * golden.abs() + 1e-300
}

struct Golden {
    headers: Vec<String>,
    rows: Vec<csv::StringRecord>,
    labels: Vec<Label>,
    /// Whether a row sees the events at its very instant.
    inclusive: bool,
}

fn golden(task: &Path) -> Golden {
    let mut reader = open(task);
    let headers: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let inclusive = headers[1] == "ts_ms";
    let rows = reader.records().map(Result::unwrap);
    let rows: Vec<csv::StringRecord> = rows.collect();
    let labels =
        rows.iter().map(|row| Label { user: user(&row[0]), at: at(&row[1]), outcome: None }).collect();
    Golden { headers, rows, labels, inclusive }
}

fn rows(store: &FeatureStore, golden: &Golden) -> Vec<TrainingRow> {
    let options = TrainingOptions { inclusive: golden.inclusive, ..TrainingOptions::default() };
    let mut labels = store.label_sorter(&std::env::temp_dir(), options).unwrap();
    golden.labels.iter().for_each(|label| labels.push(label).unwrap());
    store.training_rows_of(labels.finish().unwrap(), options).unwrap().map(Result::unwrap).collect()
}

/// Compares every golden value; returns how many.
fn compare(store: &FeatureStore, golden: &Golden) -> usize {
    let set = Arc::clone(store.schema().feature_set());
    let columns: Vec<(usize, usize, Option<f64>)> = golden
        .headers
        .iter()
        .enumerate()
        .filter_map(|(column, header)| match meaning(header) {
            Meaning::Feature(name, none) => Some((column, set.slot(&name).unwrap(), none)),
            Meaning::Other => None,
        })
        .collect();
    assert!(columns.len() + 4 >= golden.headers.len(), "{:?}", golden.headers);
    let mut compared = 0;
    for TrainingRow { label, features, .. } in rows(store, golden) {
        for &(column, slot, none) in &columns {
            let expected: f64 = golden.rows[label][column].parse().unwrap();
            let expected = Some(expected).filter(|expected| none != Some(*expected));
            let found = features.usable(slot);
            let good = match (found, expected) {
                (Some(found), Some(expected)) => is_written_as(found, expected),
                (found, expected) => found == expected,
            };
            let (header, row) = (&golden.headers[column], &golden.rows[label]);
            assert!(good, "{header} of {} at {}: {found:?} is not {expected:?}", &row[0], &row[1]);
            compared += 1;
        }
    }
    compared
}

/// On tiles, a window counts what happened since its effective start, which is at most a twelfth too early.
fn compare_tiles(store: &FeatureStore, events: &[Event], golden: &Golden, windows: &[(&str, i64)]) {
    let mut times: BTreeMap<(UserKey, &str), Vec<Timestamp>> = BTreeMap::new();
    for event in events {
        times.entry((event.user, &event.name)).or_default().push(event.event_time);
    }
    let set = Arc::clone(store.schema().feature_set());
    let names: std::collections::BTreeSet<&str> = events.iter().map(|event| &*event.name).collect();
    for row in rows(store, golden) {
        let starts = store.schema().windows(row.at);
        for name in &names {
            let happened = times.get(&(row.user, name)).map_or(&[][..], Vec::as_slice);
            for (window, length_ms) in windows {
                let slot = set.slot(&format!("tiles_{name}_{window}")).unwrap();
                let start = starts[slot].unwrap();
                let early_ms = row.at.plus_millis(-length_ms).millis_since(start);
                assert!((0..=length_ms / 12).contains(&early_ms), "{name} {window}: {early_ms} ms too early");
                let until = row.at.plus_millis(i64::from(golden.inclusive));
                let count = happened.iter().filter(|at| **at >= start && **at < until).count();
                assert_eq!(row.features.usable(slot), Some(count as f64), "{name} {window} of {}", row.user);
            }
        }
    }
}

#[test]
fn purchase_histories_of_a_music_shop() {
    let Some(folder) = folder("cdnow") else { return };
    let definitions = definitions(&["purchase"], "['7d', '30d', '90d']", "['30d', '90d']", true);
    let events = events(&folder.join("events.csv.gz"));
    let store = store_with(&definitions, events.clone());
    let churn = golden(&folder.join("task_churn39.csv.gz"));
    let mut compared = compare(&store, &churn);
    compare_tiles(&store, &events, &churn, &[("30d", 30 * DAY_MS), ("90d", 90 * DAY_MS)]);
    compared += compare(&store, &golden(&folder.join("task_churn13.csv.gz")));
    assert!(compared > 200_000, "{compared}");
}

#[test]
fn purchases_and_returns_of_a_gift_shop() {
    let Some(folder) = folder("online_retail") else { return };
    let definitions =
        definitions(&["purchase", "return"], "['1d', '7d', '30d', '90d']", "['7d', '30d', '90d']", true);
    let events = events(&folder.join("events.csv.gz"));
    let store = store_with(&definitions, events.clone());
    let churn = golden(&folder.join("task_churn60.csv.gz"));
    let mut compared = compare(&store, &churn);
    let windows = [("7d", 7 * DAY_MS), ("30d", 30 * DAY_MS), ("90d", 90 * DAY_MS)];
    compare_tiles(&store, &events, &churn, &windows);
    compared += compare(&store, &golden(&folder.join("task_repurchase30.csv.gz")));
    assert!(compared > 100_000, "{compared}");
}

#[test]
fn a_click_stream() {
    let Some(folder) = folder("jdata_sample") else { return };
    let names = ["browse", "click", "add_to_cart", "remove_from_cart", "order", "follow"];
    let definitions = definitions(&names, "['1h', '1d', '7d']", "['1h', '1d', '7d']", false);
    let events = events(&folder.join("events.csv.gz"));
    let store = store_with(&definitions, events.clone());
    let within_a_day = golden(&folder.join("task_intent24h.csv.gz"));
    let mut compared = compare(&store, &within_a_day);
    let windows = [("1h", HOUR_MS), ("1d", DAY_MS), ("7d", 7 * DAY_MS)];
    compare_tiles(&store, &events, &within_a_day, &windows);
    let after_each_second = golden(&folder.join("task_intent1h.csv.gz"));
    compared += compare(&store, &after_each_second);
    compare_tiles(&store, &events, &after_each_second, &windows);
    assert!(compared > 400_000, "{compared}");
}
