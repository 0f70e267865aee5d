//! Versions of the definitions on disk: ends without notice in every phase, and ingest while one is built.
//!
//! A killed process is imitated as in `durability`. Not here: what the states are (`feature_store/versions/tests.rs`).

#![cfg(feature = "rocksdb")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail loudly")]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use augur_domain::event::{EventKind, EventOutcome};
use augur_domain::ids::{MessageKey, UserKey};
use augur_domain::value::Finite;
use augur_domain::{Event, Timestamp, Value};
use augur_feature_store::store::Generation;
use augur_feature_store::{Config, FeatureSchema, FeatureStore, GenerationStatus, Verdict};

const USERS: u64 = 600;
const FIRST: &str = "version = 1\n\
    [[feature]]\nname = \"spend\"\nkind = \"windowed_sum\"\nevents = [\"purchase\"]\nproperty = \"value\"\nwindows = [\"1d\"]\n\
    [[feature]]\nname = \"visits\"\nkind = \"sessions\"\ngap = \"30m\"\n";
const SECOND: &str = "version = 1\n\
    [[feature]]\nname = \"visits\"\nkind = \"sessions\"\ngap = \"30m\"\n\
    [[feature]]\nname = \"spend\"\nkind = \"windowed_sum\"\nevents = [\"purchase\"]\nproperty = \"value\"\nwindows = [\"7d\"]\n";

fn schema(text: &str) -> Arc<FeatureSchema> {
    Arc::new(FeatureSchema::parse("features.toml", text).unwrap())
}

fn open(dir: &Path) -> FeatureStore {
    FeatureStore::open(&Config::new(dir), schema(FIRST)).unwrap()
}

fn user(number: u64) -> UserKey {
    UserKey::from_bytes(
        u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes(),
    )
}

fn purchase(id: u64) -> Event {
    let event_time = Timestamp::from_unix_ms(1_767_225_600_000 + id as i64 * 1_000);
    Event {
        message_key: MessageKey::from_bytes(u128::from(id).to_be_bytes()),
        user: user(id % USERS),
        kind: EventKind::Track,
        name: "purchase".into(),
        event_time,
        received_at: event_time,
        properties: vec![("value".into(), Value::Number(Finite::new(2.5).unwrap()))],
    }
}

fn send(store: &FeatureStore, ids: std::ops::Range<u64>) {
    let (sender, receiver) = mpsc::channel();
    let events: Vec<Event> = ids.map(purchase).collect();
    store.ingest(events, move |answer| sender.send(answer).unwrap()).unwrap();
    assert!(receiver.recv().unwrap().unwrap().iter().all(|outcome| *outcome == EventOutcome::Accepted));
}

fn status(store: &FeatureStore, generation: Generation) -> GenerationStatus {
    store.versions().iter().find(|version| version.generation == generation).unwrap().status
}

fn ready(store: &FeatureStore, generation: Generation) {
    let waiting = Instant::now();
    while status(store, generation) == GenerationStatus::Building {
        assert!(waiting.elapsed() < Duration::from_secs(120), "{:?}", store.versions());
        std::thread::yield_now();
    }
}

/// As a process would find the directory that comes after one that was killed now.
fn copy_of(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "LOCK" {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
    }
    copy
}

/// Every user's served state is what the event log says, under these definitions.
fn assert_serves(store: &FeatureStore, text: &str, events: u64) {
    assert_eq!(store.schema().feature_set().hash(), schema(text).feature_set().hash());
    let mut seen = 0;
    for number in 0..USERS {
        match store.verify_user(user(number)).unwrap() {
            Verdict::Identical { events } => seen += events,
            other => panic!("user {number}: {other:?}"),
        }
    }
    assert_eq!(seen, events);
}

#[test]
fn a_process_that_ends_without_notice_goes_on_in_the_same_phase() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    send(&store, 0..1_800);
    let generation = store.build(&schema(SECOND)).unwrap();
    send(&store, 1_800..2_000);
    let building = copy_of(dir.path());
    ready(&store, generation);
    send(&store, 2_000..2_100);
    let built = copy_of(dir.path());
    store.switch(generation, "new", "old").unwrap();
    let switched = copy_of(dir.path());
    send(&store, 2_100..2_200);
    store.switch(Generation::FIRST, "old", "new").unwrap();
    let rolled_back = copy_of(dir.path());
    drop(store);

    for (copy, events) in [(&building, 2_000), (&built, 2_100)] {
        let store = open(copy.path());
        assert_serves(&store, FIRST, events);
        ready(&store, generation);
        assert_eq!(status(&store, generation), GenerationStatus::Ready);
        send(&store, 2_300..2_400);
        store.switch(generation, "new", "old").unwrap();
        assert_serves(&store, SECOND, events + 100);
    }
    let store = open(switched.path());
    assert_serves(&store, SECOND, 2_100);
    assert_eq!(store.previous_version(), Some(Generation::FIRST));
    store.switch(Generation::FIRST, "old", "new").unwrap();
    assert_serves(&store, FIRST, 2_100);
    let store = open(rolled_back.path());
    assert_serves(&store, FIRST, 2_200);
    store.retire(generation).unwrap();
    assert_eq!(status(&store, generation), GenerationStatus::Retired);
    drop(store);
    assert_serves(&open(rolled_back.path()), FIRST, 2_200);
}

#[test]
fn ingest_goes_on_while_a_version_is_built() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for batch in 0..20 {
        send(&store, batch * 600..(batch + 1) * 600);
    }
    let (mut next, building) = (12_000, AtomicBool::new(false));
    let mut ninety_ninth = |generation: Option<Generation>| {
        let mut took = Vec::new();
        while took.len() < 300
            && generation.is_none_or(|generation| status(&store, generation) == GenerationStatus::Building)
        {
            let start = Instant::now();
            send(&store, next..next + 10);
            took.push(start.elapsed());
            next += 10;
        }
        building.store(generation.is_some() && !took.is_empty(), Ordering::Relaxed);
        took.sort_unstable();
        took.get(took.len() * 99 / 100).copied().unwrap_or_default()
    };
    let alone = ninety_ninth(None);
    let generation = store.build(&schema(SECOND)).unwrap();
    let beside = ninety_ninth(Some(generation));
    println!("ingest of 10 events, 99th percentile: {alone:?} alone, {beside:?} beside a build");
    assert!(building.load(Ordering::Relaxed), "the build was over before an event came");
    ready(&store, generation);
    store.switch(generation, "", "").unwrap();
    assert_serves(&store, SECOND, next);
}
