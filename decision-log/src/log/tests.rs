//! Appending: order, bounds, failures of the disk, and what opening mends.

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
fn any_cut_of_the_last_segment_is_mended() {
    let original = tempfile::tempdir().unwrap();
    write_log(original.path(), 9);
    let bases = list(original.path());
    let last = *bases.last().unwrap();
    let whole = std::fs::read(path(original.path(), last)).unwrap();
    for cut in (SALTED_HEADER_BYTES..whole.len()).step_by(13) {
        let dir = tempfile::tempdir().unwrap();
        for base in &bases {
            std::fs::copy(path(original.path(), *base), path(dir.path(), *base)).unwrap();
        }
        let file = path(dir.path(), last);
        set_len(&file, cut as u64);
        let (before, error) = read_all(dir.path());
        let (_, recovery) = recover(&DECISIONS, dir.path()).unwrap();
        assert_eq!(recovery.next_sequence, before.len() as u64 + 1);
        match (error, recovery.truncated) {
            (None, None) => {}
            (Some(Error::TruncatedTail { offset, bytes, .. }), Some(tail)) => {
                assert_eq!((tail.offset, tail.bytes), (offset, bytes), "cut at {cut}");
            }
            other => panic!("cut at {cut}: {other:?}"),
        }
        let (log, _) = Log::open(small(dir.path())).unwrap();
        append(&log, 777).unwrap();
        log.close().unwrap();
        let (read, error) = read_all(dir.path());
        assert!(error.is_none(), "cut at {cut}: {error:?}");
        assert_eq!(read.last(), Some(&777));
    }
}

#[test]
fn damage_before_the_end_is_not_mended() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(Config::new(dir.path())).unwrap();
    for number in 1..=5 {
        append(&log, number).unwrap();
    }
    log.close().unwrap();
    let file = path(dir.path(), 1);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[1_500] ^= 0x10;
    std::fs::write(&file, &bytes).unwrap();
    let error = Log::open(Config::new(dir.path())).unwrap_err();
    assert!(matches!(&error, Error::Corrupted { offset, .. } if *offset > 32), "{error}");
    assert!(error.to_string().contains("an intact frame follows"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), bytes, "nothing was changed");
}

#[test]
fn absent_segments_are_named() {
    for (absent, expected, found) in [(0, 1, true), (1, 0, true), (usize::MAX, 0, false)] {
        let dir = tempfile::tempdir().unwrap();
        write_log(dir.path(), 20);
        let bases = list(dir.path());
        assert!(bases.len() > 3);
        let index = absent.min(bases.len() - 1);
        std::fs::remove_file(path(dir.path(), bases[index])).unwrap();
        let error = Log::open(small(dir.path())).unwrap_err();
        let Error::Gap { expected: wanted, found: next, .. } = &error else { panic!("{error}") };
        assert_eq!(*wanted, if expected == 1 { 1 } else { bases[index] });
        assert_eq!(next.is_some(), found, "{error}");
    }
}

#[test]
fn a_crash_while_a_segment_is_begun_is_mended() {
    for (header_bytes, closing_bytes) in
        [(0, 0), (10, 0), (32, 0), (43, 0), (44, 0), (44, 5), (44, CLOSING_BYTES)]
    {
        let dir = tempfile::tempdir().unwrap();
        write_log(dir.path(), 20);
        let bases = list(dir.path());
        let [.., full, last] = bases[..] else { panic!("{bases:?}") };
        set_len(&path(dir.path(), last), header_bytes);
        let full = path(dir.path(), full);
        set_len(&full, file_len(&full) - (CLOSING_BYTES - closing_bytes) as u64);
        let (log, recovery) = Log::open(small(dir.path())).unwrap();
        assert_eq!(recovery.next_sequence, last, "{header_bytes} {closing_bytes}");
        assert_eq!(append(&log, 99).unwrap(), last);
        log.close().unwrap();
        assert!(read_all(dir.path()).1.is_none());
        assert_eq!(recover(&DECISIONS, dir.path()).unwrap().1.next_sequence, last + 1);
    }
}

#[test]
fn a_crash_before_a_closed_segment_is_shortened_is_mended() {
    for reserved in [1, 100, 1024 * 1024] {
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = Log::open(synced(dir.path())).unwrap();
        for number in 1..=20 {
            append(&log, number).unwrap();
        }
        log.close().unwrap();
        let bases = list(dir.path());
        let [.., full, last] = bases[..] else { panic!("{bases:?}") };
        set_len(&path(dir.path(), last), SALTED_HEADER_BYTES as u64);
        let full = path(dir.path(), full);
        let closed_bytes = file_len(&full);
        set_len(&full, closed_bytes + reserved);
        assert!(read_all(dir.path()).1.is_none());
        let (log, recovery) = Log::open(synced(dir.path())).unwrap();
        assert_eq!((recovery.next_sequence, recovery.truncated), (last, None));
        assert_eq!(file_len(&full), closed_bytes);
        assert_eq!(append(&log, last).unwrap(), last);
        log.close().unwrap();
        assert_eq!(read_all(dir.path()).0, numbers(1..=last));

        // Anything but reserved space behind a closing frame is no crash.
        set_len(&full, closed_bytes + reserved);
        let mut bytes = std::fs::read(&full).unwrap();
        *bytes.last_mut().unwrap() = 1;
        std::fs::write(&full, bytes).unwrap();
        let error = Log::open(synced(dir.path())).unwrap_err();
        assert!(error.to_string().contains("the closing frame does not end the segment"), "{error}");
    }
}

/// Frames that a caller may have sent as part of a request, made with what `seed` the caller supposes.
fn frames_of_a_caller(seed: u32) -> Vec<Vec<u8>> {
    let mut inner = Vec::new();
    crate::codec::encode_record(&numbered_record(3), &mut inner);
    let closings = [1, 2, 900].map(|sequence| crate::segment::closing(seed, sequence));
    closings.into_iter().chain([frame(seed, RECORD, &inner)]).collect()
}

/// Writes two records, the second with `embedded` in its request; cuts the file `behind` bytes behind those and
/// further on, as long as the record is not whole; expects a torn end each time.
fn expect_torn(embedded: &[u8], behind: usize, plain: bool) {
    let original = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(Config::new(original.path())).unwrap();
    append(&log, 1).unwrap();
    let mut record = numbered_record(2);
    record.request = [&[0xff; 50], embedded, &[0xff; 50]].concat();
    log.append(&record, |_| ()).unwrap();
    log.close().unwrap();
    if plain {
        make_plain(&path(original.path(), 1));
    }
    let bytes = std::fs::read(path(original.path(), 1)).unwrap();
    let at = bytes.windows(embedded.len()).position(|window| window == embedded).unwrap();
    for cut in (at + embedded.len() + behind..bytes.len()).step_by(17) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(path(dir.path(), 1), &bytes[..cut]).unwrap();
        let mut reader = Reader::open(dir.path()).unwrap();
        reader.next_record().unwrap();
        let error = reader.next_record().unwrap_err();
        let Error::TruncatedTail { offset, .. } = error else { panic!("cut at {cut}: {error}") };
        let (log, recovery) = Log::open(Config::new(dir.path())).unwrap();
        assert_eq!(recovery.truncated.unwrap().offset, offset);
        assert_eq!(append(&log, 2).unwrap(), 2);
    }
}

#[test]
fn bytes_of_a_caller_do_not_turn_a_torn_end_into_damage() {
    // The caller does not know the salt, wherever the cut is: just behind what was sent, too.
    for embedded in frames_of_a_caller(0) {
        expect_torn(&embedded, 0, false);
    }
    // In a segment of version 1 what was sent is whole; from ten bytes behind it on, the request's own end follows it.
    for embedded in frames_of_a_caller(0) {
        expect_torn(&embedded, 10, true);
    }
}

#[test]
fn who_knew_the_salt_could_make_a_torn_end_look_like_damage() {
    let dir = tempfile::tempdir().unwrap();
    let log = FaultyDisk::default().log(small(dir.path()));
    append(&log, 1).unwrap();
    let mut record = numbered_record(2);
    let embedded = frames_of_a_caller(seed(&path(dir.path(), 1))).pop().unwrap();
    record.request = [embedded.as_slice(), &[0xff; 50]].concat();
    log.append(&record, |_| ()).unwrap();
    log.close().unwrap();
    let bytes = std::fs::read(path(dir.path(), 1)).unwrap();
    let at = bytes.windows(embedded.len()).position(|window| window == embedded).unwrap();
    std::fs::write(path(dir.path(), 1), &bytes[..at + embedded.len()]).unwrap();
    assert!(matches!(Log::open(small(dir.path())), Err(Error::Corrupted { .. })));
}

#[test]
fn salts_differ() {
    let salts = [SystemDisk.salt(), SystemDisk.salt(), SystemDisk.salt()];
    assert!(salts[0] != salts[1] && salts[1] != salts[2] && salts[0] != salts[2], "{salts:?}");
}

#[test]
fn segments_of_version_1_are_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), 12);
    for base in list(dir.path()) {
        make_plain(&path(dir.path(), base));
    }
    let before = list(dir.path()).len();
    let (log, recovery) = Log::open(small(dir.path())).unwrap();
    assert_eq!((recovery.next_sequence, recovery.truncated), (13, None));
    for number in 13..=24 {
        append(&log, number).unwrap();
    }
    log.close().unwrap();
    assert!(list(dir.path()).len() > before);
    let (read, error) = read_all(dir.path());
    assert_eq!((read, error.is_none()), (numbers(1..=24), true));
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

#[test]
fn a_wrong_header_is_named() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), 20);
    let bases = list(dir.path());
    std::fs::copy(path(dir.path(), bases[0]), path(dir.path(), bases[1])).unwrap();
    let error = Log::open(small(dir.path())).unwrap_err().to_string();
    assert!(error.contains("the header says that the first record is 1"), "{error}");
}

#[test]
fn reserved_space_is_no_torn_end() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(synced(dir.path())).unwrap();
    append(&log, 1).unwrap();
    std::fs::copy(path(dir.path(), 1), path(copy.path(), 1)).unwrap();
    assert!(file_len(&path(copy.path(), 1)) > 1024 * 1024, "space is reserved ahead");
    let (read, error) = read_all(copy.path());
    assert_eq!((read, error.is_none()), (vec![1], true));
    let (again, recovery) = Log::open(synced(copy.path())).unwrap();
    assert_eq!((recovery.next_sequence, recovery.truncated), (2, None));
    append(&again, 2).unwrap();
    again.close().unwrap();
    log.close().unwrap();
    assert_eq!(read_all(copy.path()).0, vec![1, 2]);
    assert!(file_len(&path(dir.path(), 1)) < 2_000, "closing gives reserved space back");
}

fn golden(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(version)
}

fn write_golden(dir: &Path) {
    let log = FaultyDisk::default().log(small(dir));
    for number in 1..=7 {
        append(&log, number).unwrap();
    }
    log.close().unwrap();
}

/// The bytes of a published version may never change: logs written then must be readable for ever.
#[test]
fn golden_segments() {
    let dir = tempfile::tempdir().unwrap();
    write_golden(dir.path());
    let written = std::fs::read(path(dir.path(), 1)).unwrap();
    assert_eq!(written, std::fs::read(path(&golden("segment_v2"), 1)).unwrap());
    assert!(written.len() > SALTED_HEADER_BYTES + CLOSING_BYTES);
    make_plain(&path(dir.path(), 1));
    let plain = std::fs::read(path(dir.path(), 1)).unwrap();
    assert_eq!(plain, std::fs::read(path(&golden("v1"), 1)).unwrap());
    for version in ["v1", "segment_v2"] {
        let mut reader = Reader::open(&golden(version)).unwrap();
        let (_, first) = reader.next_record().unwrap().unwrap();
        assert_eq!(first, numbered_record(1));
    }
}

#[test]
#[ignore = "writes the golden segment of a new version; those of a published version may never change"]
fn write_golden_segment() {
    let dir = tempfile::tempdir().unwrap();
    write_golden(dir.path());
    std::fs::copy(path(dir.path(), 1), path(&golden("segment_v2"), 1)).unwrap();
}
