//! The facade on the engine in memory; `tests/durability.rs` has what needs a disk.

use std::sync::mpsc;

use augur_domain::event::{Quarantine, QuarantineReason};
use augur_domain::time::DAY_MS;
use augur_domain::{Event, FeatureStatus};
use proptest::prelude::*;

use super::*;
use crate::testing::{DEFINITIONS, START_MS, event, history, schema, user};

fn open(shards: usize) -> FeatureStore {
    let config = Config { shards, ..Config::new("unused") };
    FeatureStore::in_memory(&config, Arc::new(schema())).unwrap()
}

fn send(store: &FeatureStore, events: &[Event]) -> Vec<EventOutcome> {
    let (sender, receiver) = mpsc::channel();
    store.ingest(events.to_vec(), move |answer| sender.send(answer).unwrap()).unwrap();
    receiver.recv().unwrap().unwrap()
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(START_MS + ms)
}

/// Slots of sums of floats; all others are equal to the bit in any order.
fn is_rounded(name: &str) -> bool {
    ["purchases_", "spend_", "revenue_"].iter().any(|prefix| name.starts_with(prefix))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// However events are split into requests, repeated and mixed up, the answer is the same.
    #[test]
    fn splits_duplicates_and_order_do_not_matter(
        (events, mixed) in history(4, 60).prop_flat_map(|events| {
            let twice: Vec<Event> = events.iter().chain(&events).cloned().collect();
            (Just(events), Just(twice).prop_shuffle())
        }),
        split in 1..20_usize,
    ) {
        let (straight, pieces) = (open(1), open(3));
        let outcomes = send(&straight, &events);
        prop_assert!(outcomes.iter().all(|outcome| *outcome == EventOutcome::Accepted));
        let mut accepted = 0;
        for piece in mixed.chunks(split) {
            accepted += send(&pieces, piece).iter().filter(|outcome| **outcome == EventOutcome::Accepted).count();
        }
        prop_assert_eq!(accepted, events.len());
        let now = events.iter().map(|event| event.event_time).max().unwrap();
        for who in 0..4 {
            let (left, right) = (straight.features(user(who), now).unwrap(), pieces.features(user(who), now).unwrap());
            prop_assert_eq!(left.watermark, right.watermark);
            let spent: f64 = events.iter().map(|event| event.property("value").unwrap().as_number().unwrap().abs()).sum();
            let schema = straight.schema();
            let infos = schema.feature_set().features();
            for ((left, right), info) in left.values.iter().zip(&right.values).zip(infos) {
                prop_assert_eq!((left.status, left.event_time), (right.status, right.event_time));
                let bound = if is_rounded(&info.name) { 1e-12 * (1.0 + spent) } else { 0.0 };
                prop_assert!((left.value - right.value).abs() <= bound, "{}: {} {}", info.name, left.value, right.value);
            }
            let events = pieces.events_of(user(who)).unwrap().len() as u64;
            let expected = if events == 0 { Verdict::Unknown } else { Verdict::Identical { events } };
            prop_assert_eq!(pieces.verify_user(user(who)).unwrap(), expected);
        }
    }
}

#[test]
fn unknown_users_are_not_found() {
    let store = open(2);
    let vector = store.features(user(1), at(0)).unwrap();
    assert!(vector.values.iter().all(|value| value.status == FeatureStatus::NotFound));
    assert_eq!((vector.watermark, vector.values.len()), (0, store.schema().windows(at(0)).len()));
}

#[test]
fn what_is_acknowledged_is_visible_and_logged_whole() {
    let store = open(2);
    let sent = event(1, 1, "purchase", 0, 12.5);
    assert_eq!(send(&store, std::slice::from_ref(&sent)), [EventOutcome::Accepted]);
    let slot = store.schema().feature_set().slot("spend_1d").unwrap();
    assert_eq!(store.features(user(1), at(0)).unwrap().usable(slot), Some(12.5));
    assert_eq!(
        store.events_of(user(1)).unwrap(),
        [StoredEvent { sequence: 1, event: sent, origin: None, visible_from: None }]
    );
    assert_eq!(store.users().unwrap().map(Result::unwrap).collect::<Vec<_>>(), [user(1)]);
}

#[test]
fn changed_definitions_rebuild_every_state_once() {
    let engine: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let config = Config::new("unused");
    let open = |text: &str, seen: &mut Vec<Progress>| {
        let schema = Arc::new(FeatureSchema::parse("features.toml", text).unwrap());
        FeatureStore::with_store(Arc::clone(&engine), &config, schema, |progress| seen.push(progress))
            .unwrap()
    };
    let mut seen = Vec::new();
    let store = open(DEFINITIONS, &mut seen);
    for who in 0..20 {
        send(&store, &[event(who, 1, "purchase", 0, 1.0), event(who, 2, "login", 1_000, 1.0)]);
    }
    drop(store);
    drop(open(DEFINITIONS, &mut seen));
    assert_eq!(seen, [], "nothing to do for the same definitions");
    let more = format!(
        "{DEFINITIONS}\n[[feature]]\nname = 'logins'\nkind = 'windowed_count'\nevents = ['login']\nwindows = ['1d']\n"
    );
    let store = open(&more, &mut seen);
    assert_eq!(seen, [Progress { users: 20, events: 40, events_total: 40 }]);
    let slot = store.schema().feature_set().slot("logins_1d").unwrap();
    for who in 0..20 {
        assert_eq!(store.features(user(who), at(2_000)).unwrap().usable(slot), Some(1.0));
        assert_eq!(store.verify_user(user(who)).unwrap(), Verdict::Identical { events: 2 });
    }
    drop(store);
    // What is left out needs no event: the rest keeps its state.
    let store = open(DEFINITIONS, &mut seen);
    assert_eq!(seen[1..], [Progress { users: 20, events: 0, events_total: 40 }]);
    assert_eq!(store.verify_user(user(1)).unwrap(), Verdict::Identical { events: 2 });
}

#[test]
fn exposures_are_ordered_filtered_and_forgotten() {
    let store = open(1);
    let given = |action: &str, ms| Exposure::new(action, "", at(ms));
    let _guard = store.exposure_guard(user(1));
    for (action, ms) in [("a", 10), ("b", 20), ("c", 15)] {
        store.record_exposure(user(1), &given(action, ms)).unwrap();
    }
    assert_eq!(store.exposures(user(1), at(15)).unwrap(), [given("c", 15), given("b", 20)]);
    let later = given("d", 15 + 400 * DAY_MS);
    store.record_exposure(user(1), &later).unwrap();
    assert_eq!(store.exposures(user(1), at(0)).unwrap(), [given("c", 15), given("b", 20), later]);
    assert_eq!(store.exposures(user(2), at(0)).unwrap(), []);
}

#[test]
fn the_guard_makes_read_decide_record_one_step() {
    let store = open(1);
    let cap = 5;
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for ms in 0..20 {
                    let _guard = store.exposure_guard(user(1));
                    if store.exposures(user(1), at(0)).unwrap().len() < cap {
                        let given = Exposure::new("offer", "", at(ms));
                        store.record_exposure(user(1), &given).unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(store.exposures(user(1), at(0)).unwrap().len(), cap);
}

#[test]
fn quarantined_events_come_back_newest_first() {
    let store = open(1);
    let entry = |name: &str| QuarantinedEvent {
        received_at: at(0),
        user: Some(user(1)),
        message_key: None,
        name: name.to_owned(),
        quarantine: Quarantine {
            reason: QuarantineReason::TooLate,
            field: "timestamp".to_owned(),
            detail: String::new(),
        },
        payload: vec![1, 2, 3],
        anonymous: None,
        previous: None,
        retracts: None,
        clock_offset_ms: 0,
    };
    store.quarantine(vec![entry("a"), entry("b")]).unwrap();
    assert_eq!(store.quarantined(10).unwrap(), [entry("b"), entry("a")]);
    assert_eq!((store.quarantined(1).unwrap().len(), store.stats().quarantined), (1, 2));
}

#[test]
fn settings_without_meaning_are_refused_by_name() {
    let schema = Arc::new(schema());
    let config = Config { shards: 0, ..Config::new("unused") };
    let error = FeatureStore::in_memory(&config, schema).unwrap_err();
    assert_eq!(error.to_string(), "`shards` is 0; expected 1 to 256");
}
