//! What opening for writing does first: checks that the segments belong together, and mends what a crash can
//! leave, an unfinished end of the last segment.
//!
//! Not here: the checksums of records in sealed segments. They are whole since they were synced and the writer has
//! no business with them; reading or verifying the log checks every one.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::disk::{Disk, SystemDisk};
use crate::error::Error;
use crate::format::Format;
use crate::log::{Recovery, TruncatedTail};
use crate::reader::unfinished_header;
use crate::scan::{Scanner, Step};
use crate::segment::{self, HEADER_BYTES, SEAL_BYTES};
use crate::writer::Resume;

/// The first sequences of the segments in `dir`, ascending.
pub(crate) fn list(dir: &Path) -> Result<Vec<u64>, Error> {
    let entries = std::fs::read_dir(dir).map_err(|error| Error::io("list", dir, error))?;
    let mut bases = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| Error::io("list", dir, error))?;
        bases.extend(entry.file_name().to_str().and_then(segment::base_of));
    }
    bases.sort_unstable();
    Ok(bases)
}

/// How a segment ends.
struct Ending {
    /// Sequence of the record that would come next.
    next_sequence: u64,
    /// Where the whole frames end; nothing but reserved space follows a seal.
    length: u64,
    sealed: bool,
    /// Bytes of an unfinished frame.
    torn_bytes: u64,
}

/// Checks and mends the log in `dir`; only the holder of its lock may.
pub(crate) fn recover(format: &'static Format, dir: &Path) -> Result<(Resume, Recovery), Error> {
    let mended = mend(format, dir)?;
    // A segment that was removed must not come back behind what is written next, and the name of one that the process
    // before had just begun must not get lost.
    SystemDisk.sync_dir(dir).map_err(|error| Error::io("sync", dir, error))?;
    Ok(mended)
}

fn mend(format: &'static Format, dir: &Path) -> Result<(Resume, Recovery), Error> {
    let mut bases = list(dir)?;
    let mut truncated = drop_unfinished_segment(format, dir, &mut bases)?;
    let Some((last, earlier)) = bases.split_last() else {
        let recovery = Recovery { next_sequence: 1, segments: 0, truncated };
        return Ok((Resume { segment: None, next_sequence: 1 }, recovery));
    };
    expect(dir, 1, earlier.first().copied().unwrap_or(*last))?;
    for (base, successor) in bases.iter().zip(bases.iter().skip(1)) {
        check_full(format, dir, *base, *successor, *last)?;
    }
    let path = segment::path(dir, *last);
    let ending = walk(format, dir, *last)?;
    if ending.sealed {
        return Err(Error::Gap { dir: dir.to_owned(), expected: ending.next_sequence, found: None });
    }
    cut_and_sync(&path, ending.length)?;
    if ending.torn_bytes > 0 {
        truncated =
            Some(TruncatedTail { file: path.clone(), offset: ending.length, bytes: ending.torn_bytes });
    }
    let next_sequence = ending.next_sequence;
    let recovery = Recovery { next_sequence, segments: bases.len(), truncated };
    Ok((Resume { segment: Some((path, ending.length)), next_sequence }, recovery))
}

fn expect(dir: &Path, expected: u64, found: u64) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    Err(Error::Gap { dir: dir.to_owned(), expected, found: Some(found) })
}

/// Removes the last segment when not even its header was finished: no record can have been in it.
fn drop_unfinished_segment(
    format: &'static Format,
    dir: &Path,
    bases: &mut Vec<u64>,
) -> Result<Option<TruncatedTail>, Error> {
    let Some(last) = bases.last().copied() else { return Ok(None) };
    let mut scanner = Scanner::open(format, dir, last)?;
    let bytes = match scanner.step(last)? {
        Step::Torn { offset: 0, bytes, .. } => bytes,
        Step::End { offset: 0 } => 0,
        _ => return Ok(None),
    };
    let file = segment::path(dir, last);
    if let [.., before, _] = bases.as_slice()
        && seal_at_end(&segment::path(dir, *before))?.is_some()
    {
        return Err(unfinished_header(&file));
    }
    std::fs::remove_file(&file).map_err(|error| Error::io("remove", &file, error))?;
    bases.pop();
    Ok((bytes > 0).then_some(TruncatedTail { file, offset: 0, bytes }))
}

/// Checks that a segment ends where its successor begins. The seal tells; where a crash came before the seal was
/// written, the segment is walked and sealed now.
fn check_full(
    format: &'static Format,
    dir: &Path,
    base: u64,
    successor: u64,
    last: u64,
) -> Result<(), Error> {
    let path = segment::path(dir, base);
    if let Some(last_sequence) = seal_at_end(&path)? {
        Scanner::open(format, dir, base)?.step(base)?;
        return expect(dir, last_sequence.saturating_add(1), successor);
    }
    let ending = walk(format, dir, base)?;
    let crashed_here = successor == last && is_empty(format, dir, successor)?;
    if ending.length < HEADER_BYTES as u64 || (ending.torn_bytes > 0 && !crashed_here) {
        let reason = "it ends in the middle, although a later segment follows";
        return Err(Error::corrupted(&path, ending.length, reason));
    }
    expect(dir, ending.next_sequence, successor)?;
    cut_and_sync(&path, ending.length)?;
    if ending.sealed {
        // The crash came before the space reserved behind the seal was given back.
        return Ok(());
    }
    append(&path, &segment::seal(successor.saturating_sub(1)))
}

fn is_empty(format: &'static Format, dir: &Path, base: u64) -> Result<bool, Error> {
    Ok(matches!(Scanner::open(format, dir, base)?.step(base)?, Step::End { .. }))
}

/// The last sequence by the seal in the last bytes of a file, if there is one.
fn seal_at_end(path: &Path) -> Result<Option<u64>, Error> {
    let read = || -> std::io::Result<Option<u64>> {
        let mut file = File::open(path)?;
        if file.metadata()?.len() < (HEADER_BYTES + SEAL_BYTES) as u64 {
            return Ok(None);
        }
        file.seek(SeekFrom::End(-(SEAL_BYTES as i64)))?;
        let mut bytes = Vec::with_capacity(SEAL_BYTES);
        file.take(SEAL_BYTES as u64).read_to_end(&mut bytes)?;
        Ok(segment::read_seal(&bytes))
    };
    read().map_err(|error| Error::io("read", path, error))
}

/// Reads a segment to its end, checking every frame.
fn walk(format: &'static Format, dir: &Path, base: u64) -> Result<Ending, Error> {
    let mut scanner = Scanner::open(format, dir, base)?;
    let mut expected = base;
    loop {
        match scanner.step(expected)? {
            Step::Record { sequence, .. } => {
                expect(dir, expected, sequence)?;
                expected += 1;
            }
            Step::Seal { offset, last_sequence } => {
                let length = offset + SEAL_BYTES as u64;
                if last_sequence.checked_add(1) != Some(expected) || !scanner.only_zeros()? {
                    let reason = format!("the seal does not end the segment at record {}", expected - 1);
                    return Err(Error::corrupted(scanner.path(), offset, reason));
                }
                return Ok(Ending { next_sequence: expected, length, sealed: true, torn_bytes: 0 });
            }
            Step::End { offset } => {
                return Ok(Ending { next_sequence: expected, length: offset, sealed: false, torn_bytes: 0 });
            }
            Step::Torn { offset, bytes, .. } => {
                return Ok(Ending {
                    next_sequence: expected,
                    length: offset,
                    sealed: false,
                    torn_bytes: bytes,
                });
            }
        }
    }
}

/// Shortens a file to its whole frames and makes them durable, those too that the process before left unsynced.
fn cut_and_sync(path: &Path, length: u64) -> Result<(), Error> {
    let cut = || {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(length)?;
        file.sync_all()
    };
    cut().map_err(|error| Error::io("shorten", path, error))
}

fn append(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let append = || {
        let mut file = OpenOptions::new().append(true).open(path)?;
        std::io::Write::write_all(&mut file, bytes)?;
        file.sync_all()
    };
    append().map_err(|error| Error::io("seal", path, error))
}
