//! Removing: what goes and what stays, holds, crashes in between.

use std::sync::mpsc::channel;
use std::time::Duration;

use super::*;
use crate::disk::SystemDisk;
use crate::format::DECISIONS;
use crate::holds::{Hold, hold};
use crate::samples::numbered_record;
use crate::testing::{FaultyDisk, copy_log, list, seal_all, small};
use crate::{Clock, Config, Error, Log, Reader, check_seals};

const BEGIN: i64 = 1_795_366_965_123;

fn minute(number: u64) -> Timestamp {
    Timestamp::from_unix_ms(BEGIN + number as i64 * 60_000)
}

/// Appends records `from` to `to`, one a minute.
fn put(log: &Log, from: u64, to: u64) {
    for number in from..=to {
        let mut record = numbered_record(number);
        record.inputs.now = minute(number);
        let (sender, receiver) = channel();
        log.append(&record, move |outcome| sender.send(outcome).unwrap()).unwrap();
        assert_eq!(receiver.recv().unwrap().unwrap(), number);
    }
}

/// A log of 60 records, one a minute, all closed segments sealed.
fn write(dir: &Path) {
    let (log, _) = Log::open(small(dir)).unwrap();
    put(&log, 1, 60);
    log.close().unwrap();
    assert!(seal_all(&mut SystemDisk, dir).unwrap() > 8);
}

fn sequences(dir: &Path) -> Vec<u64> {
    Reader::open(dir).unwrap().map(|item| item.unwrap().0.sequence).collect()
}

fn by_age(minutes: u64) -> Retention {
    Retention { age: Some(Duration::from_secs(60 * minutes)), bytes: None }
}

fn run(dir: &Path, retention: Retention, now: u64) -> u64 {
    retire(&DECISIONS, &mut SystemDisk, dir, retention, minute(now)).unwrap()
}

#[test]
fn nothing_goes_unless_it_is_declared() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    assert_eq!(run(dir.path(), Retention::default(), 1_000_000), 0);
    assert_eq!(sequences(dir.path()), (1..=60).collect::<Vec<_>>());
}

#[test]
fn whole_segments_go_once_all_of_them_is_old() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let before = list(dir.path());
    let removed = run(dir.path(), by_age(30), 60);
    // What is kept begins with the segment of minute 30.
    let first = *before.iter().rfind(|base| **base <= 30).unwrap();
    assert_eq!(before[removed as usize], first);
    assert_eq!(list(dir.path())[0], first);
    assert!(!path(dir.path(), before[0]).exists());
    assert_eq!(sequences(dir.path()), (first..=60).collect::<Vec<_>>());
    assert_eq!(run(dir.path(), by_age(30), 60), 0, "the rest is young");

    let anchor = Anchor::read(&DECISIONS, dir.path()).unwrap();
    assert_eq!((anchor.first_sequence, anchor.removed_segments), (first, removed));
    assert_eq!(anchor.removed_until, minute(first - 1));
    assert!(anchor.removed_bytes > 0);
    let seals = check_seals::<augur_domain::DecisionRecord>(dir.path(), &|_| ()).unwrap();
    assert_eq!((seals.unsound, seals.anchor), (0, anchor), "{:?}", seals.faults);
    assert!(seals.sound > 0);

    // All that is sealed is old; the open segment stays.
    run(dir.path(), by_age(1), 1_000);
    assert_eq!(list(dir.path()), [*before.last().unwrap()]);
    let (log, recovery) = Log::open(small(dir.path())).unwrap();
    assert_eq!((recovery.next_sequence, recovery.first_sequence), (61, *before.last().unwrap()));
    assert_eq!(log.stats().first_sequence, recovery.first_sequence);
    put(&log, 61, 70);
}

#[test]
fn the_oldest_go_for_bytes() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let bytes =
        || list(dir.path()).iter().map(|base| file_bytes(&path(dir.path(), *base)).unwrap()).sum::<u64>();
    let (total, before) = (bytes(), list(dir.path()));
    let retention = |bytes| Retention { age: None, bytes: Some(bytes) };
    assert_eq!(run(dir.path(), retention(total), 60), 0);
    assert_eq!(run(dir.path(), retention(total - 1), 60), 1);
    assert_eq!(list(dir.path()), before[1..]);
    run(dir.path(), retention(total - 2_000), 60);
    assert!(bytes() <= total - 2_000 && list(dir.path()).len() > 2);
}

#[test]
fn what_is_held_stays() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    hold(dir.path(), &Hold { name: "export".to_owned(), first_sequence: 20 }).unwrap();
    run(dir.path(), by_age(1), 1_000);
    assert!(list(dir.path())[0] <= 20 && list(dir.path())[1] > 20);
    std::fs::write(dir.path().join("audit.hold"), "what?").unwrap();
    let error = retire(&DECISIONS, &mut SystemDisk, dir.path(), by_age(1), minute(1_000)).unwrap_err();
    assert!(matches!(error, Error::Corrupted { .. }), "{error}");
}

#[test]
fn a_segment_that_is_not_sealed_stays_and_all_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(small(dir.path())).unwrap();
    put(&log, 1, 60);
    log.close().unwrap();
    assert_eq!(run(dir.path(), by_age(1), 1_000), 0);
}

#[test]
fn a_crash_at_any_step_removes_as_decided_or_nothing() {
    let original = tempfile::tempdir().unwrap();
    write(original.path());
    let mut outcomes = Vec::new();
    for operations in 0.. {
        let dir = tempfile::tempdir().unwrap();
        copy_log(original.path(), dir.path());
        let mut disk = FaultyDisk::default();
        disk.faults.lock().operations = Some(operations);
        let done = retire(&DECISIONS, &mut disk, dir.path(), by_age(30), minute(60));
        // A reader that comes now, and one that comes when the log was opened for writing again.
        let first = sequences(dir.path())[0];
        assert_eq!(sequences(dir.path()), (first..=60).collect::<Vec<_>>());
        let (log, recovery) = Log::open(small(dir.path())).unwrap();
        assert_eq!((recovery.first_sequence, recovery.next_sequence), (first, 61));
        log.close().unwrap();
        let files = std::fs::read_dir(dir.path()).unwrap();
        let old = files.filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            crate::segment::base_of(name.to_str().unwrap()).is_some_and(|base| base < first)
        });
        assert_eq!(old.count(), 0, "what was to go is gone");
        let seals = check_seals::<augur_domain::DecisionRecord>(dir.path(), &|_| ()).unwrap();
        assert_eq!(seals.unsound, 0, "{:?}", seals.faults);
        outcomes.push(first);
        if done.is_ok() {
            break;
        }
    }
    outcomes.dedup();
    assert_eq!(outcomes.len(), 2, "all or nothing: {outcomes:?}");
    assert_eq!(outcomes[0], 1);
}

#[test]
fn a_reader_that_was_too_slow_is_told() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let mut reader = Reader::open(dir.path()).unwrap();
    reader.next_record().unwrap();
    run(dir.path(), by_age(30), 60);
    let error = loop {
        match reader.next_record() {
            Ok(found) => assert!(found.is_some()),
            Err(error) => break error,
        }
    };
    let first = list(dir.path())[0];
    assert!(matches!(error, Error::Removed { first: told, .. } if told == first), "{error}");
    assert!(reader.skip_damage().unwrap().is_some());
    assert_eq!(reader.next_record().unwrap().unwrap().0.sequence, first);
}

#[test]
fn a_log_that_lost_what_it_should_have_kept_is_not_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    run(dir.path(), by_age(30), 60);
    for base in list(dir.path()) {
        std::fs::remove_file(path(dir.path(), base)).unwrap();
    }
    assert!(matches!(Log::open(small(dir.path())), Err(Error::Gap { .. })));
}

#[test]
fn an_open_log_seals_and_removes_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let config =
        Config { seal: true, retention: by_age(30), clock: Clock::new(|| minute(60)), ..small(dir.path()) };
    let (log, _) = Log::open(config).unwrap();
    put(&log, 1, 60);
    let deadline = std::time::Instant::now() + Duration::from_secs(120);
    loop {
        let stats = log.stats();
        if stats.unsealed_segments == 0 && stats.first_sequence > 20 {
            assert!(stats.removed_segments > 0 && stats.sealed_segments > 0, "{stats:?}");
            assert_eq!(stats.sealing_failures, 0);
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{stats:?}");
        std::thread::yield_now();
    }
    log.close().unwrap();
    let first = list(dir.path())[0];
    assert_eq!(sequences(dir.path()), (first..=60).collect::<Vec<_>>());
}
