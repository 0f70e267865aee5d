//! The reading side: record after record across segments, of a log that is closed or being written.
//!
//! Not here: the frames of one segment (`scan`), or deciding again (`shadow-harness`).

use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use augur_domain::{ContentHash, Timestamp};

use crate::bases::{Bases, list};
use crate::error::Error;
use crate::file::{Ending, Segment, ending};
use crate::format::Record;
use crate::header::Header;
use crate::scan::Step;
use crate::segment;

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Its sequence.
    pub sequence: u64,
    /// The sequence that names its segment.
    pub segment: u64,
    /// The byte at which its frame begins; in a sealed segment, that of the block which holds it.
    pub offset: u64,
}

impl Position {
    /// The file of this position in the log in `dir`.
    pub fn file(&self, dir: &Path) -> PathBuf {
        segment::path(dir, self.segment)
    }

    /// Whether the segment of this position in the log in `dir` is sealed, as far as its ends tell.
    pub fn is_sealed<R: Record>(&self, dir: &Path) -> bool {
        matches!(ending(R::FORMAT, dir, self.segment), Ok((_, Ending::Sealed(_))))
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
    segment: Option<Segment>,
    /// The segments that there were when last looked.
    bases: Bases,
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
    /// Reads the log in `dir` from its first record.
    ///
    /// # Errors
    /// [`Error::Io`] when the directory cannot be listed, [`Error::Corrupted`] when it is not known what was removed.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        Self::open_from(dir, 1)
    }

    /// Reads the log in `dir` from record `sequence`, counted from 1, or from the first that is kept. Earlier segments
    /// need not be there.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_from(dir: &Path, sequence: u64) -> Result<Self, Error> {
        let bases = list(R::FORMAT, dir)?;
        let wanted = sequence.max(bases.first_kept);
        Ok(Self {
            dir: dir.to_owned(),
            segment: None,
            expected: bases.up_to(wanted).unwrap_or(wanted),
            bases,
            first_wanted: wanted,
            ended: false,
            holds: PhantomData,
        })
    }

    /// Reads the log in `dir` from the last segment that was begun before `at`, or from within it if its index tells:
    /// nothing made at `at` or later is passed over, as long as the clock of the records did not run backwards from
    /// one segment to another.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_at(dir: &Path, at: Timestamp) -> Result<Self, Error> {
        let bases = list(R::FORMAT, dir)?;
        let begun = |base: &u64| match ending(R::FORMAT, dir, *base) {
            Ok((Some(Header { created_at, .. }), _)) => created_at < at,
            _ => false,
        };
        let Some(base) = bases.last_where(begun) else { return Self::open_from(dir, 1) };
        let within = match Segment::open(R::FORMAT, dir, base) {
            Ok(Segment::Sealed(mut sealed)) => {
                let index = sealed.index().ok().map(|(_, index)| index);
                index.and_then(|index| index.block_at(at).map(|block| block.first_sequence))
            }
            _ => None,
        };
        Self::open_from(dir, within.unwrap_or(base))
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

    /// The sequences of the first records of the segments that there were when last looked, ascending.
    pub fn segments(&self) -> &[u64] {
        self.bases.as_slice()
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
        let damaged = self.segment.as_ref().map(Segment::base);
        if let Some(segment) = &mut self.segment
            && segment.skip_to_intact(before)?
        {
            let next = match segment.peek(before)? {
                Step::Record { sequence, .. } => Some(sequence),
                // A closing frame that tells nothing new leads to the next segment.
                Step::Closing { last_sequence, .. } => {
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
        self.bases = list(R::FORMAT, &self.dir)?;
        let next = self.bases.as_slice().iter().copied().find(beyond);
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
                Step::Closing { offset, last_sequence } => {
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
                    if self.successor(base)?.is_none() {
                        return Err(Error::TruncatedTail { file, offset, bytes });
                    }
                    // A live writer may have finished the frame and begun the next segment since it was looked at.
                    let Some(segment) = &mut self.segment else { return Ok(None) };
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
        if !self.bases.contains(self.expected) {
            self.bases = list(R::FORMAT, &self.dir)?;
        }
        if self.bases.contains(self.expected) {
            let mut segment = self.open_segment(self.expected)?;
            if self.first_wanted > self.expected
                && let Segment::Sealed(sealed) = &mut segment
                && let Some(first) = sealed.seek(self.first_wanted)
            {
                self.expected = first;
            }
            self.segment = Some(segment);
            return Ok(true);
        }
        match self.bases.behind(self.expected) {
            Some(base) => Err(self.gap(Some(base))),
            None => Ok(false),
        }
    }

    /// Opens a segment that was there when last looked.
    fn open_segment(&mut self, base: u64) -> Result<Segment, Error> {
        let opened = Segment::open(R::FORMAT, &self.dir, base);
        if matches!(&opened, Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound) {
            self.bases = list(R::FORMAT, &self.dir)?;
            if base < self.bases.first_kept {
                return Err(self.gap(Some(self.bases.first_kept)));
            }
        }
        opened
    }

    /// The segment that comes after the one that begins with record `base`.
    fn successor(&mut self, base: u64) -> Result<Option<u64>, Error> {
        if self.bases.behind(base).is_none() {
            self.bases = list(R::FORMAT, &self.dir)?;
        }
        Ok(self.bases.behind(base))
    }

    /// At the end of a segment, moves to its successor; `false` when there is none. With `unclosed_at` the end was
    /// not marked by a closing frame: records may have been added to the segment since it was looked at.
    fn leave(&mut self, unclosed_at: Option<u64>) -> Result<bool, Error> {
        let Some(base) = self.segment.as_ref().map(Segment::base) else { return Ok(false) };
        let Some(successor) = self.successor(base)? else { return Ok(false) };
        if successor == self.expected {
            let mut next = self.open_segment(successor)?;
            if unclosed_at.is_none()
                && let Step::End { offset: 0 } | Step::Torn { offset: 0, .. } = next.peek(successor)?
            {
                return Err(unfinished_header(next.path()));
            }
            self.segment = Some(next);
            return Ok(true);
        }
        let Some(segment) = &mut self.segment else { return Ok(false) };
        let grown = match (unclosed_at, segment.peek(self.expected)?) {
            (Some(end), Step::End { offset }) => offset != end,
            (Some(_), _) => true,
            (None, _) => false,
        };
        if grown { Ok(true) } else { Err(self.gap(Some(successor))) }
    }

    fn gap(&self, found: Option<u64>) -> Error {
        let (dir, expected, first) = (self.dir.clone(), self.expected, self.bases.first_kept);
        if expected < first {
            return Error::Removed { dir, expected, first };
        }
        Error::Gap { dir, expected, found }
    }
}

/// The hash of the segment of the log in `dir` that begins with record `base`, if it is sealed and its ends can be read.
pub fn sealed_hash<R: Record>(dir: &Path, base: u64) -> Option<ContentHash> {
    match ending(R::FORMAT, dir, base) {
        Ok((_, Ending::Sealed(footer))) => Some(footer.hash),
        _ => None,
    }
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

#[cfg(test)]
mod tests;
