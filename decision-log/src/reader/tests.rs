//! Reading: damage is told apart and placed, and a log that grows is followed.

use std::sync::mpsc::channel;

use super::*;
use crate::Reader;
use crate::codec::encode_record;
use crate::samples::numbered_record;
use crate::segment::{RECORD, frame, path};
use crate::testing::{append, list, read_all, seed, small, synced, write_log};
use crate::{Config, Log};

#[test]
fn a_growing_log_is_followed() {
    for config in [small, synced] {
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = Log::open(config(dir.path())).unwrap();
        let mut reader = Reader::open(dir.path()).unwrap();
        assert!(reader.next_record().unwrap().is_none());
        for number in 1..=25 {
            append(&log, number).unwrap();
            let (position, record) = reader.next_record().unwrap().unwrap();
            assert_eq!((position.sequence, record.sequence), (number, number));
            if number % 3 == 0 {
                assert!(reader.next_record().unwrap().is_none());
            }
        }
        log.close().unwrap();
        assert!(reader.next_record().unwrap().is_none());
    }
}

#[test]
fn reading_may_begin_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), 20);
    for first in 1..=20 {
        let sequences: Vec<_> =
            Reader::open_from(dir.path(), first).unwrap().map(|item| item.unwrap().0.sequence).collect();
        assert_eq!(sequences, (first..=20).collect::<Vec<_>>());
    }
    assert!(Reader::open_from(dir.path(), 21).unwrap().next().is_none());
}

#[test]
fn an_absent_segment_is_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), 20);
    let bases = list(dir.path());
    let (second, third) = (bases[1], bases[2]);
    std::fs::remove_file(path(dir.path(), second)).unwrap();
    let (read, error) = read_all(dir.path());
    assert_eq!(read.len() as u64, second - 1);
    let error = error.unwrap();
    assert!(
        matches!(error, Error::Gap { expected, found: Some(found), .. } if (expected, found) == (second, third)),
        "{error}"
    );
    std::fs::remove_file(path(dir.path(), 1)).unwrap();
    let error = read_all(dir.path()).1.unwrap();
    assert!(matches!(error, Error::Gap { expected: 1, .. }), "{error}");
}

#[test]
fn an_absent_last_segment_is_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), 20);
    let last = *list(dir.path()).last().unwrap();
    std::fs::remove_file(path(dir.path(), last)).unwrap();
    let error = read_all(dir.path()).1.unwrap();
    assert!(matches!(error, Error::Gap { expected, found: None, .. } if expected == last), "{error}");
    assert!(error.to_string().contains("found the end of the log"), "{error}");
}

#[test]
fn no_flipped_bit_passes() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), 12);
    let bases = list(dir.path());
    for base in &bases {
        let file = path(dir.path(), *base);
        let whole = std::fs::read(&file).unwrap();
        for at in (0..whole.len()).step_by(7) {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (at % 8);
            std::fs::write(&file, &damaged).unwrap();
            let (read, error) = read_all(dir.path());
            let error = error.unwrap_or_else(|| panic!("byte {at} of segment {base} was not noticed"));
            assert_eq!(read, (1..=read.len() as u64).collect::<Vec<_>>());
            match &error {
                Error::Corrupted { file: named, offset, .. } => {
                    assert_eq!(named, &file);
                    assert!(*offset <= at as u64);
                }
                Error::TruncatedTail { .. } => assert_eq!(base, bases.last().unwrap()),
                other => panic!("byte {at} of segment {base}: {other}"),
            }
        }
        std::fs::write(&file, &whole).unwrap();
    }
}

#[test]
fn an_unfinished_frame_may_still_be_finished() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), 3);
    let file = path(dir.path(), 1);
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 10]).unwrap();
    let mut reader = Reader::open(dir.path()).unwrap();
    reader.next_record().unwrap();
    reader.next_record().unwrap();
    let error = reader.next_record().unwrap_err();
    assert!(matches!(error, Error::TruncatedTail { .. }), "{error}");
    std::fs::write(&file, &whole).unwrap();
    assert_eq!(reader.next_record().unwrap().unwrap().1.sequence, 3);
    assert!(reader.next_record().unwrap().is_none());
}

#[test]
fn damage_can_be_skipped() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), 30);
    let bases = list(dir.path());
    let (file, offset) = (path(dir.path(), bases[1]), 900);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[offset] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    std::fs::remove_file(path(dir.path(), bases[2])).unwrap();

    let mut reader = Reader::open(dir.path()).unwrap();
    let mut sequences = Vec::new();
    let mut faults = Vec::new();
    loop {
        match reader.next_record() {
            Ok(Some((position, _))) => sequences.push(position.sequence),
            Ok(None) => break,
            Err(error) => {
                faults.push((error, reader.skip_damage().unwrap()));
                assert!(faults.len() < 5);
            }
        }
    }
    let damaged = bases[1] + 1;
    assert!(matches!(&faults[0], (Error::Corrupted { .. }, Some(1))), "{:?}", faults[0]);
    let missing = bases[3] - bases[2];
    assert!(matches!(&faults[1], (Error::Gap { .. }, Some(n)) if *n == missing), "{:?}", faults[1]);
    assert_eq!(faults.len(), 2);
    let kept = |n: &u64| *n != damaged && !(bases[2]..bases[3]).contains(n);
    assert_eq!(sequences, (1..=30).filter(kept).collect::<Vec<_>>());

    // With nothing intact behind the damage there is nowhere to go on.
    std::fs::remove_file(path(dir.path(), *bases.last().unwrap())).unwrap();
    let mut reader = Reader::open_from(dir.path(), bases[bases.len() - 2]).unwrap();
    while let Ok(Some(_)) = reader.next_record() {}
    assert_eq!(reader.skip_damage().unwrap(), None);
}

#[test]
fn a_record_of_a_later_version_is_told_from_damage() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), 1);
    let mut record = Vec::new();
    encode_record(&numbered_record(2), &mut record);
    record[0] = 99;
    let mut bytes = std::fs::read(path(dir.path(), 1)).unwrap();
    let offset = bytes.len() as u64;
    bytes.extend(frame(seed(&path(dir.path(), 1)), RECORD, &record));
    std::fs::write(path(dir.path(), 1), bytes).unwrap();
    let error = read_all(dir.path()).1.unwrap();
    assert!(
        matches!(error, Error::UnsupportedVersion { found: 99, what: "record", offset: at, .. } if at == offset),
        "{error}"
    );
}

#[test]
fn nothing_is_no_log_and_no_directory_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Reader::open(dir.path()).unwrap().next().is_none());
    assert!(matches!(Reader::open(&dir.path().join("absent")), Err(Error::Io { .. })));
}

#[test]
fn a_closed_segment_promises_a_whole_successor() {
    for bytes in [0, 20, 32, 43, 44] {
        let dir = tempfile::tempdir().unwrap();
        write_log(dir.path(), 7);
        let last = path(dir.path(), *list(dir.path()).last().unwrap());
        let mut content = std::fs::read(&last).unwrap();
        content.truncate(bytes);
        if bytes == 44 {
            content[9] ^= 1;
        }
        std::fs::write(&last, content).unwrap();
        let error = read_all(dir.path()).1.unwrap();
        assert!(matches!(&error, Error::Corrupted { file, offset: 0, .. } if *file == last), "{error}");
        let error = Log::open(small(dir.path())).unwrap_err();
        assert!(matches!(&error, Error::Corrupted { file, offset: 0, .. } if *file == last), "{error}");
        assert_eq!(std::fs::metadata(&last).unwrap().len(), bytes as u64, "nothing was changed");
    }
}

#[test]
fn records_behind_a_damaged_header_are_still_found() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), 12);
    let base = list(dir.path())[1];
    let mut bytes = std::fs::read(path(dir.path(), base)).unwrap();
    bytes[20] ^= 4;
    std::fs::write(path(dir.path(), base), bytes).unwrap();
    let mut reader = Reader::open_from(dir.path(), base).unwrap();
    let error = reader.next_record().unwrap_err();
    assert!(matches!(error, Error::Corrupted { offset: 0, .. }), "{error}");
    assert_eq!(reader.skip_damage().unwrap(), Some(0));
    let sequences: Vec<_> = reader.map(|item| item.unwrap().0.sequence).collect();
    assert_eq!(sequences, (base..=12).collect::<Vec<_>>());
}

#[test]
fn a_reader_begins_at_the_segment_of_an_instant() {
    let dir = tempfile::tempdir().unwrap();
    let at = |number: i64| Timestamp::from_unix_ms(1_795_366_965_000 + number);
    let (log, _) = Log::open(small(dir.path())).unwrap();
    for number in 1..=20 {
        let mut record = numbered_record(1);
        record.inputs.now = at(number);
        let (sender, receiver) = channel();
        log.append(&record, move |outcome| sender.send(outcome).unwrap()).unwrap();
        receiver.recv().unwrap().unwrap();
    }
    log.close().unwrap();
    let begins = |instant| Reader::open_at(dir.path(), instant).unwrap().next().unwrap().unwrap().0;
    for (number, sequence) in (1..=20).zip(1_u64..) {
        let first = begins(at(number));
        assert!(first.sequence <= sequence, "record {sequence} is not passed over");
        assert_eq!(first.sequence, first.segment, "a segment is read from its beginning");
    }
    assert!(begins(at(20)).segment > begins(at(5)).segment, "segments far before are not read");
    assert_eq!(begins(at(0)).sequence, 1);
}

#[test]
fn reading_beside_a_writer_finds_no_damage() {
    const RECORDS: u64 = 2_000;
    for config in [small, synced] {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { segment_bytes: 256 * 1024, ..config(dir.path()) };
        let (log, _) = Log::open(config).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for number in 1..=RECORDS {
                    // Frames over several pages can be seen half written.
                    let mut record = numbered_record(number);
                    record.request = vec![b'x'; (number as usize * 997) % 20_000];
                    while let Err(error) = log.append(&record, |outcome| assert!(outcome.is_ok())) {
                        assert!(matches!(error, Error::QueueFull { .. }), "{error}");
                        std::thread::yield_now();
                    }
                }
                log.close().unwrap();
            });
            let mut reader = Reader::open(dir.path()).unwrap();
            while reader.next_sequence() <= RECORDS {
                match reader.next_bytes() {
                    Ok(Some(_)) => {}
                    // The end as things stand.
                    Ok(None) | Err(Error::TruncatedTail { .. }) => std::thread::yield_now(),
                    Err(error) => panic!("record {}: {error}", reader.next_sequence()),
                }
            }
            assert!(reader.next_record().unwrap().is_none());
        });
    }
}

#[test]
fn a_frame_finished_while_damage_was_looked_for_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), 3);
    let mut scanner = Segment::open(&crate::format::DECISIONS, dir.path(), 1).unwrap();
    let Segment::Raw(scanner) = &mut scanner else { panic!("it is not sealed") };
    scanner.step(1).unwrap();
    // As if the second frame had been half visible when it was looked at.
    let step = scanner.judge("half visible".to_owned(), 2).unwrap();
    assert!(matches!(step, Step::Record { sequence: 2, .. }), "{step:?}");
}
