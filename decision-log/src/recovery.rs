//! What opening for writing does first: checks that the segments belong together, and mends what a crash can
//! leave, an unfinished end of the last segment.
//!
//! Not here: the checksums of records in closed segments. They are whole since they were synced and the writer has
//! no business with them; reading or verifying the log checks every one.

use std::fs::OpenOptions;
use std::path::Path;

use crate::anchor::Anchor;
use crate::bases::list;
use crate::disk::{Disk, SystemDisk};
use crate::error::Error;
use crate::file::{Ending, Segment, ending};
use crate::format::Format;
use crate::header::{HEADER_BYTES, Layout};
use crate::log::{Recovery, TruncatedTail};
use crate::reader::unfinished_header;
use crate::scan::Step;
use crate::sealed::SEALING_SUFFIX;
use crate::segment::{self, CLOSING_BYTES};
use crate::writer::{Resume, ResumedSegment};

/// How a walk through a segment ends.
struct Walked {
    /// Sequence of the record that would come next.
    next_sequence: u64,
    /// Where the whole frames end; nothing but reserved space follows a closing frame.
    length: u64,
    closed: bool,
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
    let anchor = Anchor::read(format, dir)?;
    remove_leftovers(dir, anchor.first_sequence)?;
    let mut bases = list(format, dir)?.into_vec();
    let mut truncated = drop_unfinished_segment(format, dir, &mut bases)?;
    let first_sequence = anchor.first_sequence;
    let Some((last, earlier)) = bases.split_last() else {
        if first_sequence > 1 {
            return Err(Error::Gap { dir: dir.to_owned(), expected: first_sequence, found: None });
        }
        let recovery = Recovery { next_sequence: first_sequence, first_sequence, segments: 0, truncated };
        return Ok((Resume { segment: None, next_sequence: first_sequence }, recovery));
    };
    expect(dir, first_sequence, earlier.first().copied().unwrap_or(*last))?;
    for (base, successor) in bases.iter().zip(bases.iter().skip(1)) {
        check_full(format, dir, *base, *successor, *last)?;
    }
    let path = segment::path(dir, *last);
    let walked = walk(format, dir, *last)?;
    if walked.closed {
        return Err(Error::Gap { dir: dir.to_owned(), expected: walked.next_sequence, found: None });
    }
    let Some(header) = ending(format, dir, *last)?.0 else { return Err(unfinished_header(&path)) };
    cut_and_sync(&path, walked.length)?;
    if walked.torn_bytes > 0 {
        truncated =
            Some(TruncatedTail { file: path.clone(), offset: walked.length, bytes: walked.torn_bytes });
    }
    let next_sequence = walked.next_sequence;
    let recovery = Recovery { next_sequence, first_sequence, segments: bases.len(), truncated };
    let segment = Some(ResumedSegment { path, length: walked.length, header });
    Ok((Resume { segment, next_sequence }, recovery))
}

/// Removes what a crash left beside the log: segments that were being sealed, and those that were being removed.
fn remove_leftovers(dir: &Path, first_kept: u64) -> Result<(), Error> {
    let entries = std::fs::read_dir(dir).map_err(|error| Error::io("list", dir, error))?;
    for entry in entries {
        let entry = entry.map_err(|error| Error::io("list", dir, error))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let sealing = name.strip_suffix(SEALING_SUFFIX).and_then(segment::base_of).is_some();
        if sealing || segment::base_of(name).is_some_and(|base| base < first_kept) {
            let path = entry.path();
            std::fs::remove_file(&path).map_err(|error| Error::io("remove", &path, error))?;
        }
    }
    Ok(())
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
    let bytes = match Segment::open(format, dir, last)?.step(last)? {
        Step::Torn { offset: 0, bytes, .. } => bytes,
        Step::End { offset: 0 } => 0,
        _ => return Ok(None),
    };
    let file = segment::path(dir, last);
    // The one before was closed, or was even removed since.
    let promised = match bases.as_slice() {
        [.., before, _] => ending(format, dir, *before)?.1 != Ending::Open,
        _ => last > 1,
    };
    if promised {
        return Err(unfinished_header(&file));
    }
    std::fs::remove_file(&file).map_err(|error| Error::io("remove", &file, error))?;
    bases.pop();
    Ok((bytes > 0).then_some(TruncatedTail { file, offset: 0, bytes }))
}

/// Checks that a segment ends where its successor begins. The closing frame tells; where a crash came before it was
/// written, the segment is walked and closed now.
fn check_full(
    format: &'static Format,
    dir: &Path,
    base: u64,
    successor: u64,
    last: u64,
) -> Result<(), Error> {
    let path = segment::path(dir, base);
    let (header, ends) = ending(format, dir, base)?;
    match ends {
        Ending::Closed(last_sequence) => return expect(dir, last_sequence.saturating_add(1), successor),
        Ending::Sealed(footer) => return expect(dir, footer.last_sequence.saturating_add(1), successor),
        Ending::Open => {}
    }
    let walked = walk(format, dir, base)?;
    let crashed_here = successor == last && is_empty(format, dir, successor)?;
    if walked.length < HEADER_BYTES as u64 || (walked.torn_bytes > 0 && !crashed_here) {
        let reason = "it ends in the middle, although a later segment follows";
        return Err(Error::corrupted(&path, walked.length, reason));
    }
    expect(dir, walked.next_sequence, successor)?;
    cut_and_sync(&path, walked.length)?;
    if walked.closed {
        // The crash came before the space reserved behind the closing frame was given back.
        return Ok(());
    }
    let seed = header.map_or(Layout::Plain, |header| header.layout).seed();
    append(&path, &segment::closing(seed, successor.saturating_sub(1)))
}

fn is_empty(format: &'static Format, dir: &Path, base: u64) -> Result<bool, Error> {
    Ok(matches!(Segment::open(format, dir, base)?.step(base)?, Step::End { .. }))
}

/// Reads a segment to its end, checking every frame.
fn walk(format: &'static Format, dir: &Path, base: u64) -> Result<Walked, Error> {
    let mut scanner = Segment::open(format, dir, base)?;
    let mut expected = base;
    loop {
        match scanner.step(expected)? {
            Step::Record { sequence, .. } => {
                expect(dir, expected, sequence)?;
                expected += 1;
            }
            Step::Closing { offset, last_sequence } => {
                let length = offset + CLOSING_BYTES as u64;
                if last_sequence.checked_add(1) != Some(expected) || !scanner.only_zeros()? {
                    let reason =
                        format!("the closing frame does not end the segment at record {}", expected - 1);
                    return Err(Error::corrupted(scanner.path(), offset, reason));
                }
                return Ok(Walked { next_sequence: expected, length, closed: true, torn_bytes: 0 });
            }
            Step::End { offset } => {
                return Ok(Walked { next_sequence: expected, length: offset, closed: false, torn_bytes: 0 });
            }
            Step::Torn { offset, bytes, .. } => {
                return Ok(Walked {
                    next_sequence: expected,
                    length: offset,
                    closed: false,
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
    append().map_err(|error| Error::io("close", path, error))
}
