//! Sealing: nothing is lost or counted twice, damage is placed, and what is looked for is found without reading all.

use std::path::{Path, PathBuf};

use augur_domain::{DecisionId, DecisionRecord, Timestamp};
use proptest::prelude::*;

use super::format::{BLOCK, BlockHead, FOOTER, INDEX};
use super::{SEALING_SUFFIX, check_seals, find_decision};
use crate::disk::SystemDisk;
use crate::error::Error;
use crate::file::{Ending, Segment, ending};
use crate::format::DECISIONS;
use crate::header::{Header, Layout};
use crate::samples::numbered_record;
use crate::segment::{frame, path};
use crate::testing::{
    FaultyDisk, SALT, append, copy_log, list, make_plain, read_all, seal_all, small, write_log,
};
use crate::{Config, Log, Reader};

fn numbers(range: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    range.collect()
}

fn is_sealed(dir: &Path, base: u64) -> bool {
    matches!(ending(&DECISIONS, dir, base), Ok((_, Ending::Sealed(_))))
}

fn made_at(number: u64) -> Timestamp {
    Timestamp::from_unix_ms(1_795_366_965_123 + number as i64 * 1_000)
}

fn id(number: u64) -> DecisionId {
    let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
    DecisionId::new(made_at(number), [7, 7, a, b, c, d, e, f, g, h])
}

/// Sealed segments of four blocks of two records, and an open one.
fn write_blocks(dir: &Path, count: u64) {
    let config = Config { segment_bytes: 8 * 140_000, ..small(dir) };
    let (log, _) = Log::open(config).unwrap();
    for number in 1..=count {
        let mut record = numbered_record(number);
        record.inputs.now = made_at(number);
        record.inputs.decision_id = id(number);
        record.request = vec![number as u8; 140_000];
        let (sender, receiver) = std::sync::mpsc::channel();
        log.append(&record, move |outcome| sender.send(outcome).unwrap()).unwrap();
        receiver.recv().unwrap().unwrap();
    }
    log.close().unwrap();
    seal_all(&mut SystemDisk, dir).unwrap();
    let sealed = list(dir).into_iter().filter(|base| is_sealed(dir, *base)).count();
    assert!(sealed > 0 && sealed == list(dir).len() - 1);
}

/// Where the frames of a sealed segment begin, and their types.
fn frames(file: &Path) -> Vec<(usize, u8)> {
    let bytes = std::fs::read(file).unwrap();
    let mut found = Vec::new();
    let mut at = 44;
    while at < bytes.len() {
        found.push((at, bytes[at + 8]));
        at += 9 + u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    }
    assert_eq!(at, bytes.len());
    found
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 1 << (at % 8);
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn a_sealed_log_is_read_and_gone_on_with_as_before() {
    for plain in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        write_log(dir.path(), 60);
        let bases = list(dir.path());
        if plain {
            bases.iter().for_each(|base| make_plain(&path(dir.path(), *base)));
        }
        let mut early = Reader::open(dir.path()).unwrap();
        early.next_record().unwrap();
        assert_eq!(seal_all(&mut SystemDisk, dir.path()).unwrap(), bases.len() as u64 - 1);
        assert_eq!(list(dir.path()), bases);
        assert_eq!(early.filter(|item| item.as_ref().unwrap().0.sequence > 1).count(), 59);
        let (read, error) = read_all(dir.path());
        assert_eq!((read, error.is_none()), (numbers(1..=60), true));
        for first in 1..=61 {
            let reader = Reader::open_from(dir.path(), first).unwrap();
            let sequences: Vec<_> = reader.map(|item| item.unwrap().0.sequence).collect();
            assert_eq!(sequences, numbers(first..=60));
        }
        let (log, recovery) = Log::open(small(dir.path())).unwrap();
        assert_eq!((recovery.next_sequence, recovery.truncated), (61, None));
        for number in 61..=70 {
            append(&log, number).unwrap();
        }
        log.close().unwrap();
        assert_eq!(read_all(dir.path()).0, numbers(1..=70));
    }
}

#[test]
fn a_crash_at_any_step_leaves_one_of_the_two() {
    let original = tempfile::tempdir().unwrap();
    write_log(original.path(), 12);
    let mut states = Vec::new();
    for operations in 0.. {
        let dir = tempfile::tempdir().unwrap();
        copy_log(original.path(), dir.path());
        let mut disk = FaultyDisk::default();
        disk.faults.lock().operations = Some(operations);
        let done = seal_all(&mut disk, dir.path());
        states.push(list(dir.path()).into_iter().filter(|base| is_sealed(dir.path(), *base)).count());
        let (read, error) = read_all(dir.path());
        assert_eq!((read, error.is_none()), (numbers(1..=12), true), "after {operations}");
        // Opening clears up what is left beside the log.
        let (log, recovery) = Log::open(small(dir.path())).unwrap();
        assert_eq!((recovery.next_sequence, recovery.truncated), (13, None));
        append(&log, 13).unwrap();
        log.close().unwrap();
        let names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(!names.into_iter().any(|name| name.to_str().unwrap().ends_with(SEALING_SUFFIX)));
        seal_all(&mut SystemDisk, dir.path()).unwrap();
        assert_eq!(read_all(dir.path()).0, numbers(1..=13));
        let seals = check_seals::<DecisionRecord>(dir.path(), &|_| ()).unwrap();
        assert_eq!((seals.sound, seals.unsound), (list(dir.path()).len() as u64 - 1, 0));
        if done.is_ok() {
            break;
        }
    }
    assert!(states.is_sorted() && states.contains(&1) && states.len() > 8, "{states:?}");
}

#[test]
fn a_segment_that_is_damaged_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), 12);
    let file = path(dir.path(), 1);
    flip(&file, 900);
    let before = std::fs::read(&file).unwrap();
    assert!(matches!(seal_all(&mut SystemDisk, dir.path()), Err(Error::Corrupted { .. })));
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn sealing_stops_when_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    write_blocks(dir.path(), 12);
    let (whole, bases) = (tempfile::tempdir().unwrap(), list(dir.path()));
    // The open segment is closed by hand, as if its successor had been begun.
    let last = *bases.last().unwrap();
    std::fs::copy(path(dir.path(), last), path(whole.path(), last)).unwrap();
    let mut blocks = 0;
    let mut rest = |_| {
        blocks += 1;
        blocks < 2
    };
    let seal = super::seal::<DecisionRecord>;
    let stopped = seal(&mut SystemDisk, whole.path(), last, 13, Default::default(), &mut rest);
    assert!(matches!(stopped, Err(Error::Closed)), "{stopped:?}");
    assert!(!is_sealed(whole.path(), last));
    seal(&mut SystemDisk, whole.path(), last, 13, Default::default(), &mut |_| true).unwrap();
    assert!(is_sealed(whole.path(), last));
}

#[test]
fn no_flipped_byte_passes() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), 20);
    seal_all(&mut SystemDisk, dir.path()).unwrap();
    let base = list(dir.path())[1];
    let file = path(dir.path(), base);
    let whole = std::fs::read(&file).unwrap();
    for at in 0..whole.len() {
        flip(&file, at);
        let (read, error) = read_all(dir.path());
        let error = error.unwrap_or_else(|| panic!("byte {at} was not noticed"));
        assert_eq!(read, (1..=read.len() as u64).collect::<Vec<_>>());
        let Error::Corrupted { file: named, offset, .. } = &error else { panic!("byte {at}: {error}") };
        assert_eq!(named, &file);
        assert!(*offset <= at as u64, "byte {at}: {error}");
        std::fs::write(&file, &whole).unwrap();
    }
    for length in 0..whole.len() {
        std::fs::write(&file, &whole[..length]).unwrap();
        assert!(matches!(read_all(dir.path()).1, Some(Error::Corrupted { .. })), "{length} bytes");
    }
}

#[test]
fn damage_costs_its_block_alone() {
    let dir = tempfile::tempdir().unwrap();
    write_blocks(dir.path(), 12);
    let file = path(dir.path(), 1);
    let whole = std::fs::read(&file).unwrap();
    let all = frames(&file);
    assert_eq!(
        all.iter().map(|(_, kind)| *kind).collect::<Vec<_>>(),
        [BLOCK, BLOCK, BLOCK, BLOCK, INDEX, FOOTER]
    );
    let places = [
        (5, vec![]),
        (40, vec![]),
        (all[0].0 + 30, vec![1, 2]),
        (all[2].0 + 2, vec![5, 6]),
        (all[3].0 + 5, vec![7, 8]),
        (all[4].0 + 20, vec![]),
        (all[5].0 + 50, vec![]),
    ];
    for (at, lost) in places {
        flip(&file, at);
        let mut reader = Reader::open(dir.path()).unwrap();
        let mut read = Vec::new();
        let mut faults = Vec::new();
        loop {
            match reader.next_record() {
                Ok(Some((position, _))) => read.push(position.sequence),
                Ok(None) => break,
                Err(error) => {
                    assert!(matches!(error, Error::Corrupted { .. }), "{error}");
                    faults.push(reader.skip_damage().unwrap());
                    assert!(faults.len() < 4, "byte {at}: {error}");
                }
            }
        }
        // Without the salt nothing in the file can be vouched for; behind it the next segment follows.
        let lost = if at == 40 { numbers(1..=8) } else { lost };
        let kept: Vec<u64> = (1..=12).filter(|number| !lost.contains(number)).collect();
        assert_eq!(read, kept, "byte {at}");
        assert_eq!(faults, [Some(lost.len() as u64)], "byte {at}");
        std::fs::write(&file, &whole).unwrap();
    }
}

#[test]
fn a_decision_is_found_without_reading_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    write_blocks(dir.path(), 20);
    let find = |number: u64| {
        let slack = 3_600_000;
        find_decision::<DecisionRecord>(
            dir.path(),
            id(number),
            made_at(number).plus_millis(-slack),
            made_at(number).plus_millis(slack),
        )
    };
    for number in 1..=20 {
        let (position, record) = find(number).unwrap().unwrap();
        assert_eq!((position.sequence, record.sequence), (number, number));
        assert_eq!(record.inputs.decision_id, id(number));
    }
    assert!(find(21).unwrap().is_none());
    // All blocks but that of records 5 and 6 are damaged: they were not read.
    let file = path(dir.path(), 1);
    let whole = std::fs::read(&file).unwrap();
    for (at, kind) in frames(&file) {
        if kind == BLOCK && at != frames(&file)[2].0 {
            flip(&file, at + 60);
        }
    }
    assert_eq!(find(6).unwrap().unwrap().0.sequence, 6);
    assert!(matches!(find(8), Err(Error::Corrupted { .. })));
    // Without an index the records are read in order.
    std::fs::write(&file, &whole).unwrap();
    flip(&file, frames(&file)[4].0 + 20);
    assert_eq!(find(6).unwrap().unwrap().0.sequence, 6);
}

#[test]
fn a_reader_begins_at_the_block_of_an_instant() {
    let dir = tempfile::tempdir().unwrap();
    write_blocks(dir.path(), 12);
    let begins =
        |number| Reader::open_at(dir.path(), made_at(number)).unwrap().next().unwrap().unwrap().0.sequence;
    assert_eq!((1..=8).map(begins).collect::<Vec<_>>(), [1, 1, 3, 3, 5, 5, 7, 7]);
    assert_eq!(begins(11), 9, "the open segment is read from its beginning");
}

#[test]
fn the_chain_tells_what_was_swapped_or_changed() {
    let [dir, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    write_log(dir.path(), 30);
    let (log, _) = Log::open(small(other.path())).unwrap();
    for number in 101..=130 {
        append(&log, number).unwrap();
    }
    log.close().unwrap();
    for dir in [&dir, &other] {
        seal_all(&mut SystemDisk, dir.path()).unwrap();
    }
    let bases = list(dir.path());
    assert_eq!(bases, list(other.path()), "as long as each other");
    let check = || check_seals::<DecisionRecord>(dir.path(), &|_| ()).unwrap();
    assert_eq!((check().sound, check().unsound), (bases.len() as u64 - 1, 0));

    // A whole segment of another log: every checksum and sequence is in order, but not the chain, to either side.
    let (file, mine) = (path(dir.path(), bases[2]), std::fs::read(path(dir.path(), bases[2])).unwrap());
    std::fs::copy(path(other.path(), bases[2]), &file).unwrap();
    assert!(read_all(dir.path()).1.is_none());
    let seals = check();
    assert_eq!(seals.faults.iter().map(|fault| fault.segment).collect::<Vec<_>>(), [bases[2], bases[3]]);
    assert!(seals.faults[0].error.to_string().contains("the chain is broken"), "{:?}", seals.faults);

    // One that was sealed again with other records, as if it had been there all the time.
    std::fs::write(&file, &mine).unwrap();
    let raw = tempfile::tempdir().unwrap();
    copy_log(other.path(), raw.path());
    let Ending::Sealed(before) = ending(&DECISIONS, dir.path(), bases[1]).unwrap().1 else { panic!() };
    let seal = super::seal::<DecisionRecord>;
    seal(&mut SystemDisk, raw.path(), bases[2], bases[3], before.hash, &mut |_| true).unwrap();
    std::fs::copy(path(raw.path(), bases[2]), &file).unwrap();
    assert_eq!(check().faults.iter().map(|fault| fault.segment).collect::<Vec<_>>(), [bases[3]]);

    // The hash of other records under the right name, with every checksum right.
    let Ending::Sealed(mut footer) = ending(&DECISIONS, dir.path(), bases[2]).unwrap().1 else { panic!() };
    let Ending::Sealed(right) = ({
        std::fs::write(&file, &mine).unwrap();
        ending(&DECISIONS, dir.path(), bases[2]).unwrap().1
    }) else {
        panic!()
    };
    footer.hash = right.hash;
    let seed = crate::testing::seed(&path(raw.path(), bases[2]));
    let mut bytes = std::fs::read(path(raw.path(), bases[2])).unwrap();
    bytes.truncate(frames(&path(raw.path(), bases[2])).last().unwrap().0);
    bytes.extend(frame(seed, FOOTER, &footer.encode()));
    std::fs::write(&file, bytes).unwrap();
    let seals = check();
    assert_eq!(seals.faults.iter().map(|fault| fault.segment).collect::<Vec<_>>(), [bases[2]]);
    assert!(seals.faults[0].error.to_string().contains("do not match their hash"), "{:?}", seals.faults);

    // A missing one is a gap for whoever reads; the chain skips nothing.
    std::fs::write(&file, &mine).unwrap();
    assert_eq!(check().unsound, 0);
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(read_all(dir.path()).1, Some(Error::Gap { .. })));
    assert_eq!(check().faults.iter().map(|fault| fault.segment).collect::<Vec<_>>(), [bases[3]]);
}

#[test]
fn a_raw_copy_in_the_chain_is_told_and_sealed_to_the_same_hash() {
    let dir = tempfile::tempdir().unwrap();
    let raw = tempfile::tempdir().unwrap();
    write_log(dir.path(), 30);
    copy_log(dir.path(), raw.path());
    seal_all(&mut SystemDisk, dir.path()).unwrap();
    let base = list(dir.path())[2];
    std::fs::copy(path(raw.path(), base), path(dir.path(), base)).unwrap();
    let check = || check_seals::<DecisionRecord>(dir.path(), &|_| ()).unwrap();
    assert!(check().faults[0].error.to_string().contains("it is not sealed"), "{:?}", check().faults);
    assert_eq!(seal_all(&mut SystemDisk, dir.path()).unwrap(), 1);
    assert_eq!(check().unsound, 0);
}

/// The bytes of a published version may never change. How zstd compresses may, with its version: of what is written
/// today the hash is compared, which depends on what was logged alone.
#[test]
fn golden_sealed_segment() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/segment_v3");
    let mut segment = Segment::open_file(&DECISIONS, path(&golden, 1), 1).unwrap();
    let plain = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/v1");
    let mut raw = Segment::open_file(&DECISIONS, path(&plain, 1), 1).unwrap();
    for number in 1..=6 {
        let (crate::scan::Step::Record { payload, .. }, crate::scan::Step::Record { payload: same, .. }) =
            (segment.step(number).unwrap(), raw.step(number).unwrap())
        else {
            panic!("record {number}")
        };
        assert_eq!(segment.payload(payload), raw.payload(same));
    }
    assert!(matches!(segment.step(7).unwrap(), crate::scan::Step::Closing { last_sequence: 6, .. }));
    let dir = tempfile::tempdir().unwrap();
    let written = write_golden(dir.path());
    let ends = |dir: &Path| match ending(&DECISIONS, dir, 1).unwrap().1 {
        Ending::Sealed(footer) => footer,
        other => panic!("{other:?}"),
    };
    assert_eq!(ends(dir.path()).hash, ends(&golden).hash);
    assert_eq!(
        ends(&golden).hash.to_string(),
        "678906db775dc2d77984e5a9942d812ec92274352626aef387a4b25b2b751065"
    );
    assert_eq!(std::fs::read(written).unwrap()[..44], std::fs::read(path(&golden, 1)).unwrap()[..44]);
}

fn write_golden(dir: &Path) -> PathBuf {
    let log = FaultyDisk::default().log(small(dir));
    for number in 1..=7 {
        append(&log, number).unwrap();
    }
    log.close().unwrap();
    seal_all(&mut FaultyDisk::default(), dir).unwrap();
    path(dir, 1)
}

#[test]
#[ignore = "writes the golden segment of a new version; those of a published version may never change"]
fn write_golden_segment() {
    let dir = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/segment_v3");
    std::fs::copy(write_golden(dir.path()), path(&golden, 1)).unwrap();
}

/// Reads whatever can be read of a file that holds these bytes behind a sealed segment's header.
fn read_whatever(behind: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::Sealed(SALT);
    let mut bytes = Header { base: 1, created_at: made_at(1), layout }.encode(&DECISIONS);
    bytes.extend_from_slice(behind);
    std::fs::write(path(dir.path(), 1), bytes).unwrap();
    let mut reader = Reader::open(dir.path()).unwrap();
    for _ in 0..50 {
        match reader.next_bytes() {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(_) => {
                if reader.skip_damage().unwrap().is_none() {
                    break;
                }
            }
        }
    }
    let _ = check_seals::<DecisionRecord>(dir.path(), &|_| ());
    let _ = find_decision::<DecisionRecord>(dir.path(), id(1), made_at(0), made_at(2));
    let _ = Log::open(small(dir.path()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        read_whatever(&bytes);
    }

    /// With every checksum right, whatever the frames hold.
    #[test]
    fn any_frames_are_read_or_refused(
        frames in proptest::collection::vec((1_u8..7, proptest::collection::vec(any::<u8>(), 0..120)), 0..6)
    ) {
        let seed = Layout::Sealed(SALT).seed();
        read_whatever(&frames.iter().flat_map(|(kind, payload)| frame(seed, *kind, payload)).collect::<Vec<_>>());
    }

    /// A block of any raw bytes, well compressed.
    #[test]
    fn any_block_is_read_or_refused(
        raw in proptest::collection::vec(0_u8..20, 0..200), records in 0_u32..4, lie in 0_u32..3
    ) {
        let mut payload = Vec::new();
        let raw_bytes = raw.len() as u32 + lie;
        BlockHead { first_sequence: 1, records, raw_bytes }.encode(&mut payload);
        payload.extend(zstd::bulk::compress(&raw, 3).unwrap());
        read_whatever(&frame(Layout::Sealed(SALT).seed(), BLOCK, &payload));
    }
}
