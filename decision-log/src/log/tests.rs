//! Appending: order, bounds, failures of the disk.
//!
//! Not here: what opening mends (`opening`).

mod opening;

use std::fs::OpenOptions;
use std::sync::Arc;
use std::sync::mpsc::channel;

use augur_domain::Timestamp;
use parking_lot::Mutex;

use super::*;
use crate::format::DECISIONS;
use crate::header::SALTED_HEADER_BYTES;
use crate::recovery::recover;
use crate::samples::{full_record, numbered_record};
use crate::segment::{CLOSING_BYTES, RECORD, frame, path};
use crate::testing::{FaultyDisk, append, list, make_plain, read_all, seed, small, synced, write_log};
use crate::{Log, Reader};

fn numbers(range: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    range.collect()
}

fn file_len(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

fn set_len(path: &Path, length: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}

#[test]
fn sequences_go_on_across_segments_and_openings() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), 12);
    let (log, recovery) = Log::open(small(dir.path())).unwrap();
    assert_eq!(recovery.next_sequence, 13);
    assert!(recovery.segments > 1 && recovery.truncated.is_none(), "{recovery:?}");
    for number in 13..=30 {
        assert_eq!(append(&log, number).unwrap(), number);
    }
    log.close().unwrap();
    let (read, error) = read_all(dir.path());
    assert!(error.is_none(), "{error:?}");
    assert_eq!(read, numbers(1..=30));
}

#[test]
fn threads_share_one_gapless_sequence() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(small(dir.path())).unwrap();
    let (sender, receiver) = channel();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (log, sender) = (&log, sender.clone());
            scope.spawn(move || {
                for number in 0..200 {
                    let sender = sender.clone();
                    let done = move |outcome: Result<u64, Error>| {
                        sender.send((thread, number, outcome.unwrap())).unwrap();
                    };
                    log.append(&numbered_record(thread * 1000 + number), done).unwrap();
                }
            });
        }
    });
    drop(sender);
    log.close().unwrap();
    let told: Vec<_> = receiver.iter().collect();
    let sequences: Vec<_> = told.iter().map(|(_, _, sequence)| *sequence).collect();
    assert_eq!(sequences, numbers(1..=800), "callers are told in the order of the log");
    let (read, error) = read_all(dir.path());
    assert!(error.is_none());
    for (thread, number, sequence) in told {
        assert_eq!(read[sequence as usize - 1], thread * 1000 + number);
    }
}

#[test]
fn the_queue_is_bounded_by_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(Config { queue_bytes: 16 * 1024, ..small(dir.path()) }).unwrap();
    let (hold, held) = channel::<()>();
    log.append(&numbered_record(1), move |_| held.recv().unwrap_or_default()).unwrap();
    let (sender, receiver) = channel();
    let mut accepted = 1;
    let error = loop {
        let sender = sender.clone();
        match log.append(&numbered_record(accepted + 1), move |outcome| sender.send(outcome).unwrap()) {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
        assert!(accepted < 100, "the queue takes more than its bound");
    };
    assert!(matches!(error, Error::QueueFull { limit_bytes: 16_384, .. }), "{error}");
    drop(hold);
    for _ in 1..accepted {
        receiver.recv().unwrap().unwrap();
    }
    assert_eq!(append(&log, accepted + 1).unwrap(), accepted + 1, "there is room again");

    let mut huge = full_record();
    huge.request = vec![0; 20_000];
    let error = log.append(&huge, |_| ()).unwrap_err();
    assert!(matches!(error, Error::RecordTooLarge { limit_bytes: 16_384, .. }), "{error}");
}

#[test]
fn a_directory_has_one_writer() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(small(dir.path())).unwrap();
    let error = Log::open(small(dir.path())).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    drop(log);
    Log::open(small(dir.path())).unwrap();
}

#[test]
fn settings_out_of_bounds_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for config in [
        Config { segment_bytes: 1, ..small(dir.path()) },
        Config { queue_bytes: usize::MAX, ..small(dir.path()) },
        Config { sync_interval: Duration::from_secs(61), ..small(dir.path()) },
    ] {
        assert!(matches!(Log::open(config), Err(Error::InvalidConfig { .. })));
    }
}

#[test]
fn a_full_disk_refuses_records_and_tears_nothing() {
    for free_bytes in [0, 10, 31, 32, 40, 700, 2_000, 4_200, 4_230, 5_000, 9_000] {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::default();
        let log = disk.log(small(dir.path()));
        disk.faults.lock().writable_bytes = Some(free_bytes);
        let mut kept = Vec::new();
        let mut refused = 0;
        for number in 1..=20 {
            match append(&log, number) {
                Ok(sequence) => {
                    kept.push(number);
                    assert_eq!(sequence, kept.len() as u64);
                }
                Err(error) => {
                    assert!(error.to_string().contains("cannot "), "{error}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 0);
        assert_eq!(read_all(dir.path()).0, kept);
        disk.faults.lock().writable_bytes = None;
        for number in 21..=30 {
            assert_eq!(append(&log, number).unwrap(), kept.len() as u64 + 1);
            kept.push(number);
        }
        log.close().unwrap();
        let (read, error) = read_all(dir.path());
        assert!(error.is_none(), "{free_bytes}: {error:?}");
        assert_eq!(read, kept, "{free_bytes}");
        let (_, recovery) = recover(&DECISIONS, dir.path()).unwrap();
        assert_eq!(recovery.next_sequence, kept.len() as u64 + 1);
    }
}

#[test]
fn a_tail_that_cannot_be_removed_stops_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let log = disk.log(small(dir.path()));
    append(&log, 1).unwrap();
    {
        let mut faults = disk.faults.lock();
        faults.writable_bytes = Some(100);
        faults.fail_set_len = true;
    }
    assert!(matches!(append(&log, 2), Err(Error::Io { .. })));
    *disk.faults.lock() = crate::testing::Faults::default();
    assert!(matches!(append(&log, 3), Err(Error::Failed { .. })));
    assert!(log.stats().failed);
    assert!(matches!(log.close(), Err(Error::Failed { .. })));

    let (log, recovery) = Log::open(small(dir.path())).unwrap();
    assert_eq!(recovery.truncated.unwrap().bytes, 100);
    assert_eq!(append(&log, 2).unwrap(), 2);
}

#[test]
fn a_failed_sync_stops_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let log = disk.log(synced(dir.path()));
    append(&log, 1).unwrap();
    assert_eq!(log.stats().synced_sequence, 1);
    disk.faults.lock().fail_sync = true;
    assert!(matches!(append(&log, 2), Err(Error::Io { action: "sync", .. })));
    disk.faults.lock().fail_sync = false;
    assert!(matches!(append(&log, 3), Err(Error::Failed { .. })));
    assert_eq!(log.stats().synced_sequence, 1);
}

#[test]
fn written_records_are_synced_when_the_interval_has_passed() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let log = disk.log(Config { sync_interval: Duration::ZERO, ..small(dir.path()) });
    append(&log, 1).unwrap();
    let (sender, receiver) = channel();
    disk.faults.lock().synced = Some(sender);
    append(&log, 2).unwrap();
    receiver.recv_timeout(Duration::from_secs(30)).unwrap();
}

#[test]
fn writes_do_not_wait_for_a_slow_sync() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let log = disk.log(Config { sync_interval: Duration::ZERO, segment_bytes: 1 << 20, ..small(dir.path()) });
    append(&log, 1).unwrap();
    let gate = Arc::new(Mutex::new(()));
    let closed = gate.lock();
    disk.faults.lock().sync_gate = Some(Arc::clone(&gate));
    // More than the syncer takes at once: one under way, one waiting, the rest asked for again.
    for number in 2..=6 {
        append(&log, number).unwrap();
    }
    assert!(log.stats().synced_sequence < 6);
    drop(closed);
    let deadline = Instant::now() + Duration::from_secs(30);
    while log.stats().synced_sequence < 6 {
        assert!(Instant::now() < deadline, "{:?}", log.stats());
        std::thread::yield_now();
    }
}

#[test]
fn a_failed_sync_in_the_background_stops_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let log = disk.log(Config { sync_interval: Duration::ZERO, segment_bytes: 1 << 20, ..small(dir.path()) });
    append(&log, 1).unwrap();
    disk.faults.lock().fail_sync = true;
    // Those before the failure are answered; from then on nothing is.
    let refused = (2..1_000_000).find_map(|number| append(&log, number).err());
    assert!(matches!(refused, Some(Error::Failed { .. })), "{refused:?}");
    assert!(log.stats().failed);
    assert!(matches!(log.close(), Err(Error::Failed { .. })));
}

#[test]
fn a_failed_sync_in_the_background_is_told_when_the_log_is_closed() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::default();
        let log =
            disk.log(Config { sync_interval: Duration::ZERO, segment_bytes: 1 << 20, ..small(dir.path()) });
        append(&log, 1).unwrap();
        disk.faults.lock().fail_background_sync = true;
        // Answered or not: the sync that follows it fails, and the one at the end would not.
        let _ = append(&log, 2);
        assert!(matches!(log.close(), Err(Error::Failed { .. })));
    }
}

#[test]
fn a_failed_sync_at_rotation_stops_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let log = disk.log(small(dir.path()));
    append(&log, 1).unwrap();
    disk.faults.lock().fail_sync = true;
    let refused = (2..20).find_map(|number| append(&log, number).err());
    assert!(matches!(refused, Some(Error::Io { action: "sync", .. })), "{refused:?}");
    assert!(log.stats().failed);
    disk.faults.lock().fail_sync = false;
    let refused = log.append(&numbered_record(20), |_| ());
    assert!(matches!(refused, Err(Error::Failed { .. })), "nothing is even queued: {refused:?}");
    assert!(matches!(log.close(), Err(Error::Failed { .. })));
}

#[test]
fn a_full_segment_is_known_to_be_synced() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(small(dir.path())).unwrap();
    for number in 1..=20 {
        append(&log, number).unwrap();
    }
    let last = *list(dir.path()).last().unwrap();
    assert!(last > 1);
    assert_eq!(log.stats().synced_sequence, last - 1);
}

#[test]
fn a_disk_that_does_not_keep_up_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let log = disk.log(Config { sync_interval: Duration::ZERO, segment_bytes: 1 << 30, ..small(dir.path()) });
    append(&log, 1).unwrap();
    let gate = Arc::new(Mutex::new(()));
    let closed = gate.lock();
    let (sender, syncing) = channel();
    {
        let mut faults = disk.faults.lock();
        faults.sync_gate = Some(Arc::clone(&gate));
        faults.syncing = Some(sender);
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        assert!(Instant::now() < deadline, "the writer never waited");
        log.append(&numbered_record(2), |_| ()).unwrap();
        match syncing.recv_timeout(Duration::from_millis(2)) {
            Ok(thread) if thread == "decision-log" => break,
            _ => {}
        }
    }
    drop(closed);
    log.close().unwrap();
}

#[test]
fn a_panicking_caller_takes_nobody_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(small(dir.path())).unwrap();
    log.append(&numbered_record(1), |_| panic!("a bug of the caller")).unwrap();
    assert_eq!(append(&log, 2).unwrap(), 2);
}

#[test]
fn a_segment_ends_with_its_age() {
    let dir = tempfile::tempdir().unwrap();
    let minutes = |minutes: i64| Timestamp::from_unix_ms(1_795_366_965_123 + minutes * 60_000);
    let config = || Config {
        segment_bytes: 1 << 20,
        segment_age: Some(Duration::from_secs(300)),
        ..small(dir.path())
    };
    let put = |log: &Log, at: Timestamp| {
        let mut record = numbered_record(1);
        record.inputs.now = at;
        let (sender, receiver) = channel();
        log.append(&record, move |outcome| sender.send(outcome).unwrap()).unwrap();
        receiver.recv().unwrap().unwrap();
    };
    let (log, _) = Log::open(config()).unwrap();
    for at in [0, 1, 4] {
        put(&log, minutes(at));
    }
    log.close().unwrap();
    // Its age counts across openings; a clock that is set back ends nothing.
    let (log, _) = Log::open(config()).unwrap();
    for at in [-9, 4, 5, 6, 9, 11, 30] {
        put(&log, minutes(at));
    }
    log.close().unwrap();
    assert_eq!(list(dir.path()), [1, 6, 9, 10]);
}
