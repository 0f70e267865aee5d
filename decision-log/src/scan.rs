//! Walks the frames of one segment, of a file that may still be growing.
//!
//! Not here: which segment comes next (`reader`), or mending (`recovery`).
//!
//! A frame that is cut short or does not match its checksum is either a torn end, what a crash leaves when the
//! last write was not finished, or damage to bytes that were once whole. It is damage when an intact frame of a
//! later record follows it anywhere in the segment: a process writes in order, so nothing whole can lie behind what
//! it left unfinished. Frames among the bytes of an unfinished record, which a caller may have sent, are not taken
//! for such: their checksums do not go on from the segment's salt. In segments of version 1, which have none, what
//! follows them does not fit, unless the cut is just behind them.
//!
//! Two cases cannot be told apart this way. Damage to the very last frame looks like a torn end and is taken for one.
//! And a power cut on a file system that puts unsynced pages on the disk out of order can leave a hole before intact
//! frames; that is taken for damage, because to call damage a torn end would lose synced records in silence.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::codec;
use crate::config::MAX_RECORD_BYTES;
use crate::error::Error;
use crate::format::Format;
use crate::header::{
    HEADER_BYTES, Header, HeaderFault, Layout, NEWEST_VERSION, SALTED_HEADER_BYTES, seed_behind_damage,
};
use crate::segment::{CLOSING, CLOSING_BYTES, FRAME_HEADER_BYTES, FrameHeader, RECORD, read_closing};

/// Bytes asked of the file at a time.
const READ_BYTES: usize = 256 * 1024;

/// A segment being read.
#[derive(Debug)]
pub(crate) struct Scanner {
    format: &'static Format,
    file: File,
    path: PathBuf,
    base: u64,
    header_seen: bool,
    /// What the checksums of frames go on from.
    seed: u32,
    buffer: Vec<u8>,
    /// Where in `buffer` the next frame begins.
    start: usize,
    /// Where in the file `buffer` begins.
    buffer_offset: u64,
}

/// What lies at the scanner's place.
#[derive(Debug)]
pub(crate) enum Step {
    /// A record; [`Scanner::payload`] of the same range gives its bytes.
    Record { offset: u64, sequence: u64, payload: std::ops::Range<usize> },
    /// The end of a full segment.
    Closing { offset: u64, last_sequence: u64 },
    /// Nothing yet, or nothing but reserved space.
    End { offset: u64 },
    /// The bytes from here to the end of the file are no whole frame, and no later frame is intact.
    Torn { offset: u64, bytes: u64, reason: String },
}

/// What the bytes of a frame turned out to be.
enum Frame {
    Whole { kind: u8, length: usize },
    Nothing,
    Broken(String),
}

impl Scanner {
    /// Reads `file`, which lies at `path` and is named by record `base`.
    pub(crate) const fn new(format: &'static Format, file: File, path: PathBuf, base: u64) -> Self {
        let buffer = Vec::new();
        Self { format, file, path, base, header_seen: false, seed: 0, buffer, start: 0, buffer_offset: 0 }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) const fn base(&self) -> u64 {
        self.base
    }

    /// The bytes of a record that [`Self::step`] found last.
    pub(crate) fn payload(&self, range: std::ops::Range<usize>) -> &[u8] {
        self.buffer.get(range).unwrap_or_default()
    }

    /// Where the next frame begins.
    pub(crate) const fn offset(&self) -> u64 {
        self.buffer_offset + self.start as u64
    }

    /// Takes the next frame. `expected` is the sequence of the next record, by which intact frames behind a
    /// broken one are recognised. At an end or a torn end the place does not move, so that a later call sees what
    /// has been written since.
    pub(crate) fn step(&mut self, expected: u64) -> Result<Step, Error> {
        if !self.header_seen
            && let Some(step) = self.read_header()?
        {
            return Ok(step);
        }
        let mut frame = self.frame()?;
        if !matches!(frame, Frame::Whole { .. }) {
            // What was read ahead may be old, or a writer may have been half way through this frame.
            self.forget();
            frame = self.frame()?;
        }
        match frame {
            Frame::Whole { kind, length } => self.take(kind, length),
            Frame::Nothing => {
                self.forget();
                Ok(Step::End { offset: self.offset() })
            }
            Frame::Broken(reason) => self.judge(reason, expected),
        }
    }

    /// Takes the next frame as [`Self::step`] does and goes back to where it began.
    pub(crate) fn peek(&mut self, expected: u64) -> Result<Step, Error> {
        let before = self.offset();
        let step = self.step(expected);
        self.step_back(before);
        step
    }

    /// Goes back to a frame that was taken, so that it is read again.
    pub(crate) fn step_back(&mut self, offset: u64) {
        self.buffer.clear();
        self.start = 0;
        self.buffer_offset = offset;
        self.header_seen = offset >= HEADER_BYTES as u64;
    }

    /// Moves to the next intact record with a sequence of at least `expected`, and says whether there is one.
    pub(crate) fn skip_to_intact(&mut self, expected: u64) -> Result<bool, Error> {
        if !self.header_seen {
            self.step_back(0);
            self.fill(SALTED_HEADER_BYTES)?;
            self.seed = Header::decode(self.format, self.rest())
                .map_or_else(|_| seed_behind_damage(self.rest()), |header| header.layout.seed());
            self.header_seen = true;
        }
        let from = self.offset().max(HEADER_BYTES as u64);
        self.buffer_offset = from;
        self.forget();
        let found = self.find_intact(from, expected)?;
        self.buffer_offset = found.unwrap_or(from);
        self.forget();
        Ok(found.is_some())
    }

    /// Reads the header; `Some` when the file ends before it does.
    fn read_header(&mut self) -> Result<Option<Step>, Error> {
        // One byte more tells whether anything follows.
        self.fill(SALTED_HEADER_BYTES + 1)?;
        let bytes = self.rest().len() as u64;
        let reason = match Header::decode(self.format, self.rest()) {
            Ok(Header { base, layout: layout @ (Layout::Plain | Layout::Salted(_)), .. })
                if base == self.base =>
            {
                self.start += layout.header_bytes();
                self.seed = layout.seed();
                self.header_seen = true;
                return Ok(None);
            }
            Ok(Header { base, layout: Layout::Plain | Layout::Salted(_), .. }) => {
                let named = self.base;
                format!("the header says that the first record is {base}, the file name {named}")
            }
            Ok(_) => "it was sealed while it was read".to_owned(),
            Err(HeaderFault::Version(found)) => {
                let (file, supported) = (self.path.clone(), NEWEST_VERSION);
                return Err(Error::UnsupportedVersion { file, offset: 8, what: "segment", found, supported });
            }
            Err(HeaderFault::Short) => {
                self.forget();
                let reason = "the file ends inside its header".to_owned();
                return Ok(Some(match bytes {
                    0 => Step::End { offset: 0 },
                    _ => Step::Torn { offset: 0, bytes, reason },
                }));
            }
            // No record fits into so few bytes.
            Err(HeaderFault::Damaged(reason)) if bytes <= SALTED_HEADER_BYTES as u64 => {
                self.forget();
                return Ok(Some(Step::Torn { offset: 0, bytes, reason: reason.to_owned() }));
            }
            Err(HeaderFault::Damaged(reason)) => reason.to_owned(),
        };
        self.forget();
        Err(Error::corrupted(&self.path, 0, reason))
    }

    /// Looks at the frame at the scanner's place without taking it.
    fn frame(&mut self) -> Result<Frame, Error> {
        self.fill(FRAME_HEADER_BYTES)?;
        let Some(header) = self.rest().first_chunk().map(|bytes| FrameHeader::decode(*bytes)) else {
            return Ok(match self.rest() {
                [] => Frame::Nothing,
                rest if rest.iter().all(|byte| *byte == 0) => Frame::Nothing,
                rest => Frame::Broken(format!("the file ends after {} bytes of a frame", rest.len())),
            });
        };
        if header.length == 0 && self.only_zeros()? {
            return Ok(Frame::Nothing);
        }
        let length = header.length as usize;
        if !plausible(header) {
            return Ok(Frame::Broken(format!(
                "no frame begins here: type {} with {length} bytes is never written",
                header.kind
            )));
        }
        self.fill(FRAME_HEADER_BYTES + length)?;
        let Some(payload) = self.rest().get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + length) else {
            let found = self.rest().len() - FRAME_HEADER_BYTES;
            return Ok(Frame::Broken(format!("the file ends after {found} of a frame's {length} bytes")));
        };
        if !header.matches(self.seed, payload) {
            return Ok(Frame::Broken("the frame does not match its checksum".to_owned()));
        }
        Ok(Frame::Whole { kind: header.kind, length })
    }

    /// Moves behind the whole frame at the scanner's place.
    fn take(&mut self, kind: u8, length: usize) -> Result<Step, Error> {
        let offset = self.offset();
        let payload = self.start + FRAME_HEADER_BYTES..self.start + FRAME_HEADER_BYTES + length;
        if kind == CLOSING {
            let frame = self.start..payload.end;
            let last_sequence = self.buffer.get(frame).and_then(|frame| read_closing(self.seed, frame));
            let last_sequence = last_sequence.unwrap_or_default();
            self.start = payload.end;
            return Ok(Step::Closing { offset, last_sequence });
        }
        let Some(sequence) = codec::sequence_of(self.payload(payload.clone())) else {
            return Err(Error::corrupted(&self.path, offset, "the record is too short to have a sequence"));
        };
        self.start = payload.end;
        Ok(Step::Record { offset, sequence, payload })
    }

    /// Decides between a torn end and damage.
    pub(crate) fn judge(&mut self, reason: String, expected: u64) -> Result<Step, Error> {
        let offset = self.offset();
        if let Some(intact) = self.find_intact(offset + 1, expected)? {
            // A live writer may have finished this frame, and written what follows, since it was looked at. A later
            // frame is whole only after this one, so what is broken now was broken by something else.
            return match self.frame()? {
                Frame::Whole { kind, length } => self.take(kind, length),
                Frame::Nothing => {
                    self.forget();
                    Ok(Step::End { offset })
                }
                Frame::Broken(_) => {
                    let reason = format!("{reason}, yet an intact frame follows at byte {intact}");
                    Err(Error::corrupted(&self.path, offset, reason))
                }
            };
        }
        let bytes = self.length()?.saturating_sub(offset);
        Ok(Step::Torn { offset, bytes, reason })
    }

    /// The first place at or behind `from` where an intact frame begins, a record from `expected` on or a closing frame.
    fn find_intact(&mut self, from: u64, expected: u64) -> Result<Option<u64>, Error> {
        let mut bytes = Vec::new();
        self.file
            .seek(SeekFrom::Start(from))
            .and_then(|_| self.file.read_to_end(&mut bytes))
            .map_err(|error| Error::io("read", &self.path, error))?;
        let found = (0..bytes.len())
            .find(|at| bytes.get(*at..).is_some_and(|rest| intact(self.seed, rest, expected)));
        self.forget();
        Ok(found.map(|at| from + at as u64))
    }

    /// Whether nothing but reserved space lies between the scanner's place and the end of the file.
    pub(crate) fn only_zeros(&mut self) -> Result<bool, Error> {
        let mut looked_at = 0;
        loop {
            self.fill(looked_at + READ_BYTES)?;
            let rest = self.rest().get(looked_at..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(true);
            }
            if rest.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            looked_at += rest.len();
        }
    }

    pub(crate) fn length(&self) -> Result<u64, Error> {
        self.file.metadata().map(|data| data.len()).map_err(|error| Error::io("inspect", &self.path, error))
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Drops what was read ahead of the scanner's place, so that the next look sees the file as it is then.
    fn forget(&mut self) {
        self.buffer_offset = self.offset();
        self.buffer.clear();
        self.start = 0;
    }

    /// Reads until `wanted` bytes are there from the scanner's place on, or the file ends.
    fn fill(&mut self, wanted: usize) -> Result<(), Error> {
        if self.rest().len() >= wanted {
            return Ok(());
        }
        self.buffer.drain(..self.start);
        self.buffer_offset += self.start as u64;
        self.start = 0;
        let end = self.buffer_offset + self.buffer.len() as u64;
        let missing = (wanted - self.buffer.len()).max(READ_BYTES) as u64;
        self.file
            .seek(SeekFrom::Start(end))
            .and_then(|_| (&mut self.file).take(missing).read_to_end(&mut self.buffer))
            .map(|_| ())
            .map_err(|error| Error::io("read", &self.path, error))
    }
}

/// Whether a frame with this header may have been written.
fn plausible(header: FrameHeader) -> bool {
    let length = header.length as usize;
    match header.kind {
        RECORD => (codec::PREFIX_BYTES..=MAX_RECORD_BYTES).contains(&length),
        CLOSING => length == CLOSING_BYTES - FRAME_HEADER_BYTES,
        _ => false,
    }
}

/// Whether `bytes`, which reach to the end of the file, begin with an intact frame, a record from `expected` on or a
/// closing frame. A record holds bytes of callers, who may send whole frames; therefore what follows must fit as well.
fn intact(seed: u32, bytes: &[u8], expected: u64) -> bool {
    let Some((header, rest)) = bytes.split_first_chunk() else { return false };
    let header = FrameHeader::decode(*header);
    let Some((payload, behind)) =
        plausible(header).then(|| rest.split_at_checked(header.length as usize)).flatten()
    else {
        return false;
    };
    // The sequence is looked at first: it rules out nearly every place without a checksum.
    let fits = match (header.kind, payload.first_chunk()) {
        (CLOSING, Some(last)) => {
            u64::from_le_bytes(*last).saturating_add(1) >= expected && behind.iter().all(|byte| *byte == 0)
        }
        (CLOSING, None) => false,
        _ => codec::sequence_of(payload).is_some_and(|sequence| {
            sequence >= expected && sequence - expected <= bytes.len() as u64 && may_follow_record(behind)
        }),
    };
    fits && header.matches(seed, payload)
}

/// Whether what lies behind a record is what a writer leaves there: another frame, reserved space, or the end.
fn may_follow_record(behind: &[u8]) -> bool {
    match behind.first_chunk().map(|header| FrameHeader::decode(*header)) {
        Some(header) if plausible(header) => true,
        Some(_) => behind.iter().all(|byte| *byte == 0),
        None => true,
    }
}
