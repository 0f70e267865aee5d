//! Walks the records of a sealed segment, or goes to one of them by the index.
//!
//! Not here: which segment comes next (`reader`), or the hashes (`check`).
//!
//! Blocks are read one behind the other, without the index, so that damage to one place costs what lies there alone.
//! A sealed segment was synced before it got its name: whatever is wrong with it is damage.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use zstd::bulk::Decompressor;

use super::format::{
    BLOCK, BLOCK_HEAD_BYTES, BlockHead, FOOTER, FOOTER_FRAME_BYTES, Footer, INDEX, Index, MOST_BLOCK_BYTES,
};
use crate::codec;
use crate::error::Error;
use crate::header::{HEADER_BYTES, SALTED_HEADER_BYTES};
use crate::scan::Step;
use crate::segment::{FRAME_HEADER_BYTES, FrameHeader};

/// A sealed segment being read.
pub(crate) struct Unsealer {
    file: File,
    path: PathBuf,
    base: u64,
    /// What the checksums of frames go on from.
    seed: u32,
    /// What is wrong with the header, until it is passed over.
    header_fault: Option<&'static str>,
    /// Where the next frame lies.
    offset: u64,
    /// The payload of the frame read last.
    frame: Vec<u8>,
    /// Raw bytes of the block before `offset`, of which `at` are taken.
    block: Vec<u8>,
    at: usize,
    /// What `at` was before the last step.
    before: usize,
    block_offset: u64,
    decompressor: Option<Decompressor<'static>>,
}

impl std::fmt::Debug for Unsealer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Unsealer").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Unsealer {
    /// Reads `file`, whose header says that it is sealed with this seed, or cannot be read, as `header_fault` says.
    pub(crate) const fn new(
        file: File,
        path: PathBuf,
        base: u64,
        seed: u32,
        header_fault: Option<&'static str>,
    ) -> Self {
        Self {
            file,
            path,
            base,
            seed,
            header_fault,
            offset: SALTED_HEADER_BYTES as u64,
            frame: Vec::new(),
            block: Vec::new(),
            at: 0,
            before: 0,
            block_offset: 0,
            decompressor: None,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) const fn base(&self) -> u64 {
        self.base
    }

    /// The bytes of a record that [`Self::step`] found last.
    pub(crate) fn payload(&self, range: std::ops::Range<usize>) -> &[u8] {
        self.block.get(range).unwrap_or_default()
    }

    /// Takes the next record. At the end the place does not move.
    pub(crate) fn step(&mut self) -> Result<Step, Error> {
        if let Some(reason) = self.header_fault {
            return Err(Error::corrupted(&self.path, 0, reason));
        }
        self.before = self.at;
        while self.at >= self.block.len() {
            match self.read_frame(self.offset)? {
                BLOCK => self.unpack()?,
                INDEX => return self.ending(),
                kind => return Err(self.broken(self.offset, format!("no frame of type {kind} belongs here"))),
            }
        }
        let (offset, rest) = (self.block_offset, self.block.get(self.at..).unwrap_or_default());
        // Both are there: `unpack` has looked at all records.
        let (length, sequence) = (first_length(rest), rest.get(4..).and_then(codec::sequence_of));
        let payload = self.at + 4..self.at + 4 + length.unwrap_or_default();
        self.at = payload.end;
        Ok(Step::Record { offset, sequence: sequence.unwrap_or_default(), payload })
    }

    /// Gives back the record that was taken last.
    pub(crate) const fn step_back(&mut self) {
        self.at = self.before;
    }

    /// Takes the next record as [`Self::step`] does and gives it back.
    pub(crate) fn peek(&mut self) -> Result<Step, Error> {
        let step = self.step();
        self.step_back();
        step
    }

    /// Goes to the block that holds record `sequence`, and says with which record it begins; `None` when the index
    /// cannot tell, and the place is as it was.
    pub(crate) fn seek(&mut self, sequence: u64) -> Option<u64> {
        let place = *self.index().ok()?.1.block_of(sequence)?;
        (self.offset, self.at, self.before) = (place.offset, 0, 0);
        self.block.clear();
        Some(place.first_sequence)
    }

    /// The footer and the index.
    pub(crate) fn index(&mut self) -> Result<(Footer, Index), Error> {
        let footer = footer_at_end(&mut self.file, self.seed)
            .map_err(|error| Error::io("read", &self.path, error))?
            .ok_or_else(|| Error::corrupted(&self.path, 0, "it does not end as a sealed segment"))?;
        let kind = self.read_frame(footer.index_offset)?;
        if kind != INDEX {
            return Err(self.broken(footer.index_offset, "the index is not here".to_owned()));
        }
        let index = Index::decode(&self.frame);
        Ok((footer, index.map_err(|error| self.broken(footer.index_offset, error.to_string()))?))
    }

    /// Takes the next block as a whole: where it lies and with which record it begins. `None` at the end, if that is
    /// intact.
    pub(crate) fn next_block(&mut self) -> Result<Option<(u64, u64)>, Error> {
        match self.read_frame(self.offset)? {
            BLOCK => {
                self.unpack()?;
                self.at = self.block.len();
                let first = self.block.get(4..).and_then(codec::sequence_of);
                Ok(Some((self.block_offset, first.unwrap_or_default())))
            }
            INDEX => self.ending().map(|_| None),
            kind => Err(self.broken(self.offset, format!("no frame of type {kind} belongs here"))),
        }
    }

    /// Raw bytes of the block that was taken last.
    pub(crate) fn block(&self) -> &[u8] {
        &self.block
    }

    /// The records of the block that was taken last.
    pub(crate) fn block_records(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.block.as_slice();
        std::iter::from_fn(move || {
            let (record, behind) = rest.get(4..)?.split_at_checked(first_length(rest)?)?;
            rest = behind;
            Some(record)
        })
    }

    /// Moves to the next intact block that begins with record `expected` or a later one, or to the end if that is
    /// intact, and says whether there is either.
    pub(crate) fn skip_to_intact(&mut self, expected: u64) -> Result<bool, Error> {
        let from = if self.header_fault.take().is_some() { HEADER_BYTES as u64 } else { self.offset };
        self.block.clear();
        (self.at, self.before) = (0, 0);
        let mut bytes = Vec::new();
        self.file
            .seek(SeekFrom::Start(from))
            .and_then(|_| self.file.read_to_end(&mut bytes))
            .map_err(|error| Error::io("read", &self.path, error))?;
        for at in 0..bytes.len() {
            let Some(rest) = bytes.get(at..) else { break };
            if !intact(self.seed, rest, expected) {
                continue;
            }
            self.offset = from + at as u64;
            match self.peek() {
                Ok(_) => return Ok(true),
                // The checksum is right, but no writer leaves such a block.
                Err(Error::Corrupted { .. }) => self.block.clear(),
                Err(error) => return Err(error),
            }
        }
        self.offset = from;
        Ok(false)
    }

    /// Reads the frame at `offset` into `self.frame` and says of what type it is.
    fn read_frame(&mut self, offset: u64) -> Result<u8, Error> {
        let io_error = |path: &Path| {
            let path = path.to_owned();
            move |error| Error::io("read", &path, error)
        };
        let mut head = [0; FRAME_HEADER_BYTES];
        let length = self.file.metadata().map_err(io_error(&self.path))?.len();
        let behind = length.saturating_sub(offset).saturating_sub(FRAME_HEADER_BYTES as u64);
        self.file.seek(SeekFrom::Start(offset)).map_err(io_error(&self.path))?;
        match self.file.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(self.broken(offset, "the file ends before it should".to_owned()));
            }
            Err(error) => return Err(Error::io("read", &self.path, error)),
        }
        let header = FrameHeader::decode(head);
        if u64::from(header.length) > behind {
            let reason = format!("the file ends after {behind} of a frame's {} bytes", header.length);
            return Err(self.broken(offset, reason));
        }
        self.frame.clear();
        (&mut self.file)
            .take(u64::from(header.length))
            .read_to_end(&mut self.frame)
            .map_err(io_error(&self.path))?;
        if !header.matches(self.seed, &self.frame) {
            return Err(self.broken(offset, "the frame does not match its checksum".to_owned()));
        }
        Ok(header.kind)
    }

    /// Makes the frame that was read the current block.
    fn unpack(&mut self) -> Result<(), Error> {
        let offset = self.offset;
        let unpacked = self.unpack_block();
        if let Err(reason) = unpacked {
            self.block.clear();
            return Err(self.broken(offset, reason));
        }
        self.block_offset = offset;
        self.offset = offset + (FRAME_HEADER_BYTES + self.frame.len()) as u64;
        (self.at, self.before) = (0, 0);
        Ok(())
    }

    fn unpack_block(&mut self) -> Result<(), String> {
        let (head, packed) = BlockHead::decode(&self.frame).map_err(|error| error.to_string())?;
        let decompressor = match &mut self.decompressor {
            Some(decompressor) => decompressor,
            none => none.insert(Decompressor::new().map_err(|error| error.to_string())?),
        };
        self.block.clear();
        self.block.reserve(head.raw_bytes as usize);
        decompressor
            .decompress_to_buffer(packed, &mut self.block)
            .map_err(|error| format!("the block cannot be unpacked: {error}"))?;
        if self.block.len() != head.raw_bytes as usize {
            return Err(format!("the block holds {} bytes, expected {}", self.block.len(), head.raw_bytes));
        }
        let (mut rest, mut sequence) = (self.block.as_slice(), head.first_sequence);
        while !rest.is_empty() {
            let record = first_length(rest).and_then(|length| rest.get(4..4 + length));
            if record.and_then(codec::sequence_of) != Some(sequence) {
                return Err(format!("record {sequence} is not where it should be in the block"));
            }
            rest = rest.get(4 + record.map_or(0, <[u8]>::len)..).unwrap_or_default();
            sequence += 1;
        }
        if sequence - head.first_sequence != u64::from(head.records) || head.records == 0 {
            return Err(format!("the block does not hold {} records", head.records));
        }
        Ok(())
    }

    /// The index was read at the scanner's place: looks at it and at the footer.
    fn ending(&mut self) -> Result<Step, Error> {
        let offset = self.offset;
        Index::decode(&self.frame).map_err(|error| self.broken(offset, error.to_string()))?;
        let footer_at = offset + (FRAME_HEADER_BYTES + self.frame.len()) as u64;
        if self.read_frame(footer_at)? != FOOTER {
            return Err(self.broken(footer_at, "the footer is not behind the index".to_owned()));
        }
        let footer =
            Footer::decode(&self.frame).map_err(|error| self.broken(footer_at, error.to_string()))?;
        let length = self.file.metadata().map_err(|error| Error::io("inspect", &self.path, error))?.len();
        if footer.index_offset != offset || length != footer_at + FOOTER_FRAME_BYTES as u64 {
            return Err(self.broken(footer_at, "the footer is not that of this file".to_owned()));
        }
        Ok(Step::Closing { offset, last_sequence: footer.last_sequence })
    }

    fn broken(&self, offset: u64, reason: String) -> Error {
        Error::corrupted(&self.path, offset, reason)
    }
}

/// The length of the record at the beginning of `bytes`, if that many bytes follow.
fn first_length(bytes: &[u8]) -> Option<usize> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = u32::from_le_bytes(*length) as usize;
    (length <= rest.len()).then_some(length)
}

/// Whether `bytes`, which reach to the end of the file, begin with an intact block from record `expected` on, or with an
/// intact index and an intact footer behind it.
fn intact(seed: u32, bytes: &[u8], expected: u64) -> bool {
    let Some((header, rest)) = bytes.split_first_chunk() else { return false };
    let header = FrameHeader::decode(*header);
    let Some((payload, behind)) = rest.split_at_checked(header.length as usize) else { return false };
    let fits = match header.kind {
        BLOCK => {
            payload.len() <= BLOCK_HEAD_BYTES + zstd::zstd_safe::compress_bound(MOST_BLOCK_BYTES)
                && payload.first_chunk().is_some_and(|first| u64::from_le_bytes(*first) >= expected)
        }
        INDEX => read_footer(seed, behind).is_some(),
        _ => false,
    };
    fits && header.matches(seed, payload)
}

/// The footer that a whole frame holds.
fn read_footer(seed: u32, frame: &[u8]) -> Option<Footer> {
    let (header, payload) = frame.split_first_chunk::<FRAME_HEADER_BYTES>()?;
    let header = FrameHeader::decode(*header);
    (header.kind == FOOTER && header.matches(seed, payload)).then(|| Footer::decode(payload).ok())?
}

/// The footer in the last bytes of a file, if there is one.
pub(crate) fn footer_at_end(file: &mut File, seed: u32) -> io::Result<Option<Footer>> {
    if file.metadata()?.len() < (SALTED_HEADER_BYTES + FOOTER_FRAME_BYTES) as u64 {
        return Ok(None);
    }
    file.seek(SeekFrom::End(-(FOOTER_FRAME_BYTES as i64)))?;
    let mut bytes = Vec::with_capacity(FOOTER_FRAME_BYTES);
    file.take(FOOTER_FRAME_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(read_footer(seed, &bytes))
}
