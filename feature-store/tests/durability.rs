//! What survives: a process that ends without notice, a directory that is damaged, one that is in use.
//!
//! A killed process is imitated by copying the directory while the store is open and opening the copy: whatever
//! had not left the process is not in it. Not here: real kills, which need a process of their own.

#![cfg(feature = "rocksdb")]
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use augur_domain::decision::Exposure;
use augur_domain::event::{EventKind, EventOutcome, Quarantine, QuarantineReason};
use augur_domain::ids::{MessageKey, UserKey};
use augur_domain::value::Finite;
use augur_domain::{Event, Timestamp, Value};
use augur_feature_store::{Config, Error, FeatureSchema, FeatureStore, QuarantinedEvent, Verdict};

const DEFINITIONS: &str = r#"
version = 1
[[feature]]
name = "spend"
kind = "decayed_sum"
events = ["purchase"]
property = "value"
half_lives = ["7d"]
[[feature]]
name = "events"
kind = "windowed_count"
windows = ["1h", "30d"]
"#;

fn schema() -> Arc<FeatureSchema> {
    Arc::new(FeatureSchema::parse("features.toml", DEFINITIONS).unwrap())
}

fn open(dir: &Path) -> Result<FeatureStore, Error> {
    FeatureStore::open(&Config::new(dir), schema())
}

fn user(number: u64) -> UserKey {
    UserKey::from_bytes(
        u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes(),
    )
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(1_767_225_600_000 + ms)
}

fn purchase(who: u64, id: u64) -> Event {
    Event {
        message_key: MessageKey::from_bytes(u128::from(id).to_be_bytes()),
        user: user(who),
        kind: EventKind::Track,
        name: "purchase".into(),
        event_time: at(id as i64 * 1_000),
        received_at: at(id as i64 * 1_000),
        properties: vec![
            ("note".into(), Value::Text("x".repeat(200).into())),
            ("value".into(), Value::Number(Finite::new(id as f64).unwrap())),
        ],
    }
}

fn send(store: &FeatureStore, events: Vec<Event>) -> Vec<EventOutcome> {
    let (sender, receiver) = mpsc::channel();
    store.ingest(events, move |answer| sender.send(answer).unwrap()).unwrap();
    receiver.recv().unwrap().unwrap()
}

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

fn files(dir: &Path, suffix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.to_string_lossy().ends_with(suffix)).collect();
    files.sort_by_key(|path| std::cmp::Reverse(std::fs::metadata(path).unwrap().len()));
    files
}

#[test]
fn everything_acknowledged_survives_a_process_that_ends_without_notice() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    for round in 0..20 {
        let events = (0..10).map(|who| purchase(who, round)).collect();
        assert!(send(&store, events).iter().all(|outcome| *outcome == EventOutcome::Accepted));
    }
    let given = Exposure::new("offer", "email", at(5));
    store.record_exposure(user(1), &given).unwrap();
    let quarantine =
        Quarantine { reason: QuarantineReason::TooLate, field: "timestamp".into(), detail: "x".into() };
    let aside = QuarantinedEvent {
        received_at: at(0),
        user: None,
        message_key: None,
        name: "old".into(),
        quarantine,
        payload: Vec::new(),
        anonymous: None,
        previous: None,
        retracts: None,
        clock_offset_ms: 0,
    };
    store.quarantine(vec![aside.clone()]).unwrap();

    let copy = copy_of(dir.path());
    let reopened = open(copy.path()).unwrap();
    for who in 0..10 {
        let (left, right) =
            (store.features(user(who), at(0)).unwrap(), reopened.features(user(who), at(0)).unwrap());
        assert_eq!(left, right);
        assert_eq!(reopened.verify_user(user(who)).unwrap(), Verdict::Identical { events: 20 });
        assert_eq!(reopened.events_of(user(who)).unwrap(), store.events_of(user(who)).unwrap());
    }
    assert_eq!(reopened.exposures(user(1), at(0)).unwrap(), [given]);
    assert_eq!(reopened.quarantined(5).unwrap(), [aside]);
    let stats = reopened.stats();
    assert_eq!((stats.events_total, stats.users_total, stats.quarantined), (200, 10, 1));

    let again = (0..10).map(|who| purchase(who, 7)).collect();
    assert!(send(&reopened, again).iter().all(|outcome| *outcome == EventOutcome::Duplicate));
    assert_eq!(reopened.stats().events_total, 200);
}

#[test]
fn closing_and_reopening_with_other_shards_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    for (shards, round) in [(1, 0), (4, 1), (2, 2)] {
        let config = Config { shards, ..Config::new(dir.path()) };
        let store = FeatureStore::open(&config, schema()).unwrap();
        let stats = store.stats();
        assert_eq!((stats.events_total, stats.users_total), (round * 50, if round == 0 { 0 } else { 50 }));
        send(&store, (0..50).map(|who| purchase(who, round)).collect());
        let users: Vec<_> = store.users().unwrap().map(Result::unwrap).collect();
        assert!(users.len() == 50 && users.is_sorted());
        store.close().unwrap();
    }
}

#[test]
fn a_write_cut_short_is_dropped_and_its_event_taken_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    send(&store, vec![purchase(1, 1)]);
    send(&store, vec![purchase(1, 2)]);
    let copy = copy_of(dir.path());
    let log = files(copy.path(), ".log").remove(0);
    let length = std::fs::metadata(&log).unwrap().len();
    std::fs::File::options().write(true).open(&log).unwrap().set_len(length - 20).unwrap();
    match open(copy.path()) {
        Ok(reopened) => {
            assert_eq!(reopened.state(user(1)).unwrap().unwrap().watermark(), 1);
            assert_eq!(
                send(&reopened, vec![purchase(1, 1), purchase(1, 2)]),
                [EventOutcome::Duplicate, EventOutcome::Accepted]
            );
            assert_eq!(reopened.verify_user(user(1)).unwrap(), Verdict::Identical { events: 2 });
        }
        Err(error) => panic!("a torn tail must not keep the store shut: {error}"),
    }
}

#[test]
fn a_log_damaged_in_the_middle_refuses_to_open_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    for id in 0..200 {
        send(&store, vec![purchase(id % 7, id)]);
    }
    let copy = copy_of(dir.path());
    let log = files(copy.path(), ".log").remove(0);
    let mut bytes = std::fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    for byte in &mut bytes[middle..middle + 8] {
        *byte ^= 0x5a;
    }
    std::fs::write(&log, bytes).unwrap();
    let error = open(copy.path()).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains(&copy.path().display().to_string()), "{message}");
    assert!(message.contains("restore a backup"), "{message}");
    assert!(matches!(open(copy.path()), Err(Error::Damaged { .. })), "refusing changes nothing");
}

#[test]
fn lost_files_refuse_to_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    send(&store, vec![purchase(1, 1)]);
    store.flush().unwrap();
    send(&store, vec![purchase(1, 2)]);
    for lost in ["CURRENT", ".sst", ".log"] {
        let copy = copy_of(dir.path());
        std::fs::remove_file(files(copy.path(), lost).remove(0)).unwrap();
        let error = open(copy.path()).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{lost}: {error:?}");
    }
}

#[test]
fn a_damaged_block_asks_for_a_backup() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    send(&store, (0..200).map(|id| purchase(id % 7, id)).collect());
    store.close().unwrap();
    drop(store);
    let mut found_by_reading = 0;
    for table in 0..files(dir.path(), ".sst").len() {
        let copy = copy_of(dir.path());
        let table = files(copy.path(), ".sst").remove(table);
        let mut bytes = std::fs::read(&table).unwrap();
        bytes[10] ^= 0x5a;
        std::fs::write(&table, bytes).unwrap();
        let read = open(copy.path()).map(|store| store.features(user(1), at(0)));
        let error = match read {
            Ok(Ok(_)) => continue,
            Ok(Err(error)) => {
                found_by_reading += 1;
                assert!(matches!(error, Error::Corrupted { .. }), "{error:?}");
                error
            }
            Err(error) => error,
        };
        assert!(error.to_string().contains("restore a backup"), "{error}");
    }
    assert_eq!(found_by_reading, 1);
}

/// Names and sizes of all files but the engine's own notes.
fn listing(dir: &Path) -> Vec<(PathBuf, u64)> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let data = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with("LOG"));
    let mut listing: Vec<_> = data.map(|entry| (entry.path(), entry.metadata().unwrap().len())).collect();
    listing.sort();
    listing
}

#[test]
fn data_without_a_format_is_refused_and_left_alone() {
    let foreign = tempfile::tempdir().unwrap();
    rocksdb::DB::open_default(foreign.path()).unwrap().put("key", "value").unwrap();
    let ours = tempfile::tempdir().unwrap();
    let store = open(ours.path()).unwrap();
    send(&store, vec![purchase(1, 1)]);
    drop(store);
    let options = rocksdb::Options::default();
    let families = rocksdb::DB::list_cf(&options, ours.path()).unwrap();
    let db = rocksdb::DB::open_cf(&options, ours.path(), families).unwrap();
    db.delete_cf(db.cf_handle("meta").unwrap(), "format").unwrap();
    drop(db);
    for dir in [foreign.path(), ours.path()] {
        let before = listing(dir);
        let error = open(dir).unwrap_err();
        assert!(matches!(&error, Error::Damaged { detail, .. } if detail.contains("format")), "{error:?}");
        assert_eq!(listing(dir), before);
    }

    let empty = tempfile::tempdir().unwrap();
    drop(rocksdb::DB::open_default(empty.path()));
    assert!(open(empty.path()).is_ok(), "a first start that was cut off");
}

#[test]
fn a_directory_in_use_and_a_newer_one_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert_eq!(error, Error::InUse { dir: dir.path().to_owned() });
    drop(store);

    let mut options = rocksdb::Options::default();
    options.create_missing_column_families(true);
    let families = rocksdb::DB::list_cf(&options, dir.path()).unwrap();
    let families = families.into_iter().chain(["from_the_future".to_owned()]);
    let mut db = rocksdb::DB::open_cf(&options, dir.path(), families).unwrap();
    db.put_cf(db.cf_handle("meta").unwrap(), "format", 5_u32.to_le_bytes()).unwrap();
    db.drop_cf("exposures").unwrap();
    drop(db);
    let before = listing(dir.path());
    let error = open(dir.path()).unwrap_err();
    assert_eq!(error, Error::NewerFormat { dir: dir.path().to_owned(), found: 5, supported: 4 });
    assert_eq!(listing(dir.path()), before, "a family that the newer version has no more is not made again");
}

#[test]
fn other_definitions_rebuild_from_the_log_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    send(&store, (0..2_500).map(|id| purchase(id % 1_250, id)).collect());
    store.close().unwrap();
    drop(store);
    let text = DEFINITIONS.replace("7d", "3d");
    let other = Arc::new(FeatureSchema::parse("features.toml", &text).unwrap());
    let mut steps = Vec::new();
    let store =
        FeatureStore::open_with_progress(&Config::new(dir.path()), other, |step| steps.push(step)).unwrap();
    assert_eq!(
        steps.last().map(|step| (step.users, step.events, step.events_total)),
        Some((1_250, 2_500, 2_500))
    );
    assert!(steps.len() > 1);
    for who in 0..1_250 {
        assert_eq!(store.verify_user(user(who)).unwrap(), Verdict::Identical { events: 2 });
    }
}
