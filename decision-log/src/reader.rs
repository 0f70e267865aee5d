//! The reading side: record after record across segments, of a log that is closed or being written.
//!
//! Not here: the frames of one segment (`scan`), or deciding again (`shadow-harness`).

use std::fs::File;
use std::io::Read as _;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use augur_domain::Timestamp;

use crate::error::Error;
use crate::format::{Format, Record};
use crate::recovery::list;
use crate::scan::{Scanner, Step};
use crate::segment::{self, HEADER_BYTES, Header};

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Its sequence.
    pub sequence: u64,
    /// The sequence that names its segment.
    pub segment: u64,
    /// The byte at which its frame begins.
    pub offset: u64,
}

impl Position {
    /// The file of this position in the log in `dir`.
    pub fn file(&self, dir: &Path) -> PathBuf {
        segment::path(dir, self.segment)
    }
}

/// Reads a log from its beginning, changes nothing, and can go on when the log has grown.
///
/// As an iterator it ends at the end of what is written, or after its first error. [`Self::next_record`] may be
/// called again after `None` and after [`Error::TruncatedTail`], which both say how things stand now. A record
/// that is intact but cannot be decoded has been passed over; other damage comes again until [`Self::skip_damage`]
/// is called. A writer whose disk fails may take back records that
/// it has told nobody of; a reader at the very end can then have seen them.
#[derive(Debug)]
pub struct SegmentedReader<R> {
    dir: PathBuf,
    segment: Option<Scanner>,
    /// Sequence of the next record.
    expected: u64,
    /// Records before this one are passed over.
    first_wanted: u64,
    ended: bool,
    holds: PhantomData<fn() -> R>,
}

/// A record's place and the range of its bytes in the scanner.
type Found = (Position, std::ops::Range<usize>);

impl<R: Record> SegmentedReader<R> {
    /// Reads the log in `dir` from record 1.
    ///
    /// # Errors
    /// [`Error::Io`] when the directory cannot be listed.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        Self::open_from(dir, 1)
    }

    /// Reads the log in `dir` from record `sequence`, counted from 1. Earlier segments need not be there.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_from(dir: &Path, sequence: u64) -> Result<Self, Error> {
        let wanted = sequence.max(1);
        let base = list(dir)?.into_iter().rfind(|base| *base <= wanted);
        Ok(Self {
            dir: dir.to_owned(),
            segment: None,
            expected: base.unwrap_or(wanted),
            first_wanted: wanted,
            ended: false,
            holds: PhantomData,
        })
    }

    /// Reads the log in `dir` from the last segment that was begun before `at`: nothing made at `at` or later is
    /// passed over, as long as the clock of the records did not run backwards.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_at(dir: &Path, at: Timestamp) -> Result<Self, Error> {
        let begun = |base: &u64| {
            read_header(R::FORMAT, &segment::path(dir, *base)).is_some_and(|header| header.created_at < at)
        };
        let base = list(dir)?.into_iter().rfind(begun);
        Self::open_from(dir, base.unwrap_or(1))
    }

    /// The next record; `None` at the end of what is written now.
    ///
    /// # Errors
    /// [`Error::Corrupted`], [`Error::Gap`], [`Error::UnsupportedVersion`], [`Error::Io`], or
    /// [`Error::TruncatedTail`] at the end.
    pub fn next_record(&mut self) -> Result<Option<(Position, R)>, Error> {
        let Some((position, bytes)) = self.next_bytes()? else { return Ok(None) };
        match R::decode(bytes) {
            Ok(record) => Ok(Some((position, record))),
            Err(error) => Err(unreadable(&self.dir, position, error)),
        }
    }

    /// The bytes of the next record, whose checksum and sequence are in order; `None` at the end of what is
    /// written now. [`crate::codec::RecordView::parse`] reads them.
    ///
    /// # Errors
    /// As [`Self::next_record`].
    pub fn next_bytes(&mut self) -> Result<Option<(Position, &[u8])>, Error> {
        let Some((position, range)) = self.find()? else { return Ok(None) };
        let bytes = self.segment.as_ref().map(|segment| segment.payload(range)).unwrap_or_default();
        Ok(Some((position, bytes)))
    }

    /// Sequence of the record that comes next.
    pub const fn next_sequence(&self) -> u64 {
        self.expected
    }

    /// Goes on behind damage or a gap, at the next intact record, and returns how many records are passed over
    /// where the sequence tells; `None` when no intact record follows.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn skip_damage(&mut self) -> Result<Option<u64>, Error> {
        self.ended = false;
        let before = self.expected;
        let damaged = self.segment.as_ref().map(Scanner::base);
        if let Some(segment) = &mut self.segment
            && segment.skip_to_intact(before)?
        {
            let next = match segment.peek(before)? {
                Step::Record { sequence, .. } => Some(sequence),
                // A seal that tells nothing new leads to the next segment.
                Step::Seal { last_sequence, .. } => {
                    last_sequence.checked_add(1).filter(|next| *next > before)
                }
                Step::End { .. } | Step::Torn { .. } => None,
            };
            if let Some(next) = next {
                self.expected = next;
                return Ok(Some(next - before));
            }
        }
        let beyond = |base: &u64| damaged.is_none_or(|damaged| *base > damaged) && *base >= before;
        let next = list(&self.dir)?.into_iter().find(beyond);
        self.segment = None;
        let Some(base) = next else { return Ok(None) };
        self.expected = base;
        Ok(Some(base - before))
    }

    /// The next record that is wanted.
    fn find(&mut self) -> Result<Option<Found>, Error> {
        loop {
            if self.segment.is_none() && !self.enter()? {
                return Ok(None);
            }
            let Some(segment) = &mut self.segment else { return Ok(None) };
            let base = segment.base();
            match segment.step(self.expected)? {
                Step::Record { offset, sequence, payload } => {
                    if sequence != self.expected {
                        segment.step_back(offset);
                        return Err(self.gap(Some(sequence)));
                    }
                    self.expected += 1;
                    if sequence >= self.first_wanted {
                        return Ok(Some((Position { sequence, segment: base, offset }, payload)));
                    }
                }
                Step::Seal { offset, last_sequence } => {
                    segment.step_back(offset);
                    if last_sequence.saturating_add(1) != self.expected {
                        return Err(self.gap(None));
                    }
                    if !self.leave(None)? {
                        return Err(self.gap(None));
                    }
                }
                Step::End { offset } => {
                    if !self.leave(Some(offset))? {
                        return Ok(None);
                    }
                }
                Step::Torn { offset, bytes, reason } => {
                    let file = segment.path().to_owned();
                    if successor(&self.dir, base)?.is_none() {
                        return Err(Error::TruncatedTail { file, offset, bytes });
                    }
                    // A live writer may have finished the frame and begun the next segment since it was looked at.
                    let now = segment.peek(self.expected)?;
                    if !matches!(now, Step::Torn { offset: still, .. } if still == offset) {
                        continue;
                    }
                    let reason = format!("{reason}, although a later segment follows");
                    return Err(Error::corrupted(&file, offset, reason));
                }
            }
        }
    }

    /// Opens the segment that begins with the expected record; `false` when the log has none yet.
    fn enter(&mut self) -> Result<bool, Error> {
        let bases = list(&self.dir)?;
        if bases.contains(&self.expected) {
            self.segment = Some(Scanner::open(R::FORMAT, &self.dir, self.expected)?);
            return Ok(true);
        }
        match bases.into_iter().find(|base| *base > self.expected) {
            Some(base) => Err(self.gap(Some(base))),
            None => Ok(false),
        }
    }

    /// At the end of a segment, moves to its successor; `false` when there is none. With `unsealed_at` the end was
    /// not marked by a seal: records may have been added to the segment since it was looked at.
    fn leave(&mut self, unsealed_at: Option<u64>) -> Result<bool, Error> {
        let Some(segment) = &mut self.segment else { return Ok(false) };
        let base = segment.base();
        let Some(successor) = successor(&self.dir, base)? else { return Ok(false) };
        if successor == self.expected {
            let mut next = Scanner::open(R::FORMAT, &self.dir, successor)?;
            if unsealed_at.is_none()
                && let Step::End { offset: 0 } | Step::Torn { offset: 0, .. } = next.peek(successor)?
            {
                return Err(unfinished_header(next.path()));
            }
            self.segment = Some(next);
            return Ok(true);
        }
        let Some(segment) = &mut self.segment else { return Ok(false) };
        let grown = match (unsealed_at, segment.peek(self.expected)?) {
            (Some(end), Step::End { offset }) => offset != end,
            (Some(_), _) => true,
            (None, _) => false,
        };
        if grown { Ok(true) } else { Err(self.gap(Some(successor))) }
    }

    fn gap(&self, found: Option<u64>) -> Error {
        Error::Gap { dir: self.dir.clone(), expected: self.expected, found }
    }
}

/// The segment of the log in `dir` that comes after the one that begins with record `base`.
fn successor(dir: &Path, base: u64) -> Result<Option<u64>, Error> {
    Ok(list(dir)?.into_iter().find(|other| *other > base))
}

/// A segment without a header where there must be one.
pub(crate) fn unfinished_header(file: &Path) -> Error {
    Error::corrupted(file, 0, "its header is not whole, although the segment before it was ended")
}

/// What it means when the bytes at `position` of the log in `dir` have an intact checksum, and
/// [`crate::codec::RecordView::parse`] or the decoding of a section refuses them with `error`.
pub fn unreadable(dir: &Path, position: Position, error: Error) -> Error {
    let file = position.file(dir);
    match error {
        Error::RecordVersion { found, supported } => {
            Error::UnsupportedVersion { file, offset: position.offset, what: "record", found, supported }
        }
        Error::Malformed { .. } => Error::corrupted(&file, position.offset, error.to_string()),
        other => other,
    }
}

impl<R: Record> Iterator for SegmentedReader<R> {
    type Item = Result<(Position, R), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = self.next_record().transpose();
        self.ended = !matches!(item, Some(Ok(_)));
        item
    }
}

/// The header of a segment, if it can be read.
fn read_header(format: &Format, path: &Path) -> Option<Header> {
    let mut bytes = [0; HEADER_BYTES];
    File::open(path).ok()?.read_exact(&mut bytes).ok()?;
    Header::decode(format, &bytes).ok()
}

#[cfg(test)]
mod tests;
