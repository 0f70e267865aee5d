//! A segment's file, whichever version it has.
//!
//! Not here: walking the frames of one that is or was being written (`scan`) or of a sealed one (`sealed`).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::format::Format;
use crate::header::{Header, HeaderFault, Layout, NEWEST_VERSION, SALTED_HEADER_BYTES, seed_behind_damage};
use crate::scan::{Scanner, Step};
use crate::sealed::{Footer, Unsealer, footer_at_end};
use crate::segment::{CLOSING_BYTES, path, read_closing};

/// A segment being read.
#[derive(Debug)]
pub(crate) enum Segment {
    /// As it was written.
    Raw(Scanner),
    /// Compressed.
    Sealed(Box<Unsealer>),
}

impl Segment {
    /// Opens the segment of `dir` that begins with record `base`.
    pub(crate) fn open(format: &'static Format, dir: &Path, base: u64) -> Result<Self, Error> {
        Self::open_file(format, path(dir, base), base)
    }

    /// Opens a segment under another name than its own.
    pub(crate) fn open_file(format: &'static Format, path: PathBuf, base: u64) -> Result<Self, Error> {
        let mut file = File::open(&path).map_err(|error| Error::io("open", &path, error))?;
        let head = first_bytes(&mut file).map_err(|error| Error::io("read", &path, error))?;
        match Header::decode(format, &head) {
            Ok(Header { base: found, layout: layout @ Layout::Sealed(_), .. }) => {
                let fault =
                    (found != base).then_some("the header names another first record than the file name");
                Ok(Self::Sealed(Box::new(Unsealer::new(file, path, base, layout.seed(), fault))))
            }
            // What a sealed segment ends with tells that it is one.
            Err(HeaderFault::Damaged(reason)) => {
                let seed = seed_behind_damage(&head);
                let footer =
                    footer_at_end(&mut file, seed).map_err(|error| Error::io("read", &path, error))?;
                Ok(match footer {
                    Some(_) => Self::Sealed(Box::new(Unsealer::new(file, path, base, seed, Some(reason)))),
                    None => Self::Raw(Scanner::new(format, file, path, base)),
                })
            }
            _ => Ok(Self::Raw(Scanner::new(format, file, path, base))),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Raw(raw) => raw.path(),
            Self::Sealed(sealed) => sealed.path(),
        }
    }

    pub(crate) const fn base(&self) -> u64 {
        match self {
            Self::Raw(raw) => raw.base(),
            Self::Sealed(sealed) => sealed.base(),
        }
    }

    /// The bytes of a record that [`Self::step`] found last.
    pub(crate) fn payload(&self, range: Range<usize>) -> &[u8] {
        match self {
            Self::Raw(raw) => raw.payload(range),
            Self::Sealed(sealed) => sealed.payload(range),
        }
    }

    /// See [`Scanner::step`]; a sealed segment ends with [`Step::Closing`] only.
    pub(crate) fn step(&mut self, expected: u64) -> Result<Step, Error> {
        match self {
            Self::Raw(raw) => raw.step(expected),
            Self::Sealed(sealed) => sealed.step(),
        }
    }

    /// See [`Scanner::peek`].
    pub(crate) fn peek(&mut self, expected: u64) -> Result<Step, Error> {
        match self {
            Self::Raw(raw) => raw.peek(expected),
            Self::Sealed(sealed) => sealed.peek(),
        }
    }

    /// Goes back to the frame at `offset` that was taken last.
    pub(crate) fn step_back(&mut self, offset: u64) {
        match self {
            Self::Raw(raw) => raw.step_back(offset),
            Self::Sealed(sealed) => sealed.step_back(),
        }
    }

    /// See [`Scanner::skip_to_intact`].
    pub(crate) fn skip_to_intact(&mut self, expected: u64) -> Result<bool, Error> {
        match self {
            Self::Raw(raw) => raw.skip_to_intact(expected),
            Self::Sealed(sealed) => sealed.skip_to_intact(expected),
        }
    }

    /// Whether nothing but reserved space follows.
    pub(crate) fn only_zeros(&mut self) -> Result<bool, Error> {
        match self {
            Self::Raw(raw) => raw.only_zeros(),
            // A sealed segment that does not end with its footer is damaged.
            Self::Sealed(_) => Ok(true),
        }
    }
}

/// How a segment ends, as far as its last bytes tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It was not closed.
    Open,
    /// It was closed behind this record.
    Closed(u64),
    /// It is sealed.
    Sealed(Box<Footer>),
}

/// Reads the header and the last bytes of the segment of `dir` that begins with record `base`. The header is absent
/// when it is not whole.
///
/// # Errors
/// [`Error::Io`]; [`Error::UnsupportedVersion`], [`Error::Corrupted`] of a header that cannot be read or is another's.
pub(crate) fn ending(
    format: &'static Format,
    dir: &Path,
    base: u64,
) -> Result<(Option<Header>, Ending), Error> {
    let path = path(dir, base);
    let mut file = File::open(&path).map_err(|error| Error::io("open", &path, error))?;
    let io_error = |error| Error::io("read", &path, error);
    let head = first_bytes(&mut file).map_err(io_error)?;
    let header = match Header::decode(format, &head) {
        Ok(header) if header.base == base => header,
        Ok(header) => {
            let reason =
                format!("the header says that the first record is {}, the file name {base}", header.base);
            return Err(Error::corrupted(&path, 0, reason));
        }
        Err(HeaderFault::Short) => return Ok((None, Ending::Open)),
        Err(HeaderFault::Damaged(reason)) => {
            let length = file.metadata().map_err(io_error)?.len();
            if length <= SALTED_HEADER_BYTES as u64 {
                return Ok((None, Ending::Open));
            }
            return Err(Error::corrupted(&path, 0, reason));
        }
        Err(HeaderFault::Version(found)) => {
            let (file, supported) = (path, NEWEST_VERSION);
            return Err(Error::UnsupportedVersion { file, offset: 8, what: "segment", found, supported });
        }
    };
    let seed = header.layout.seed();
    let ending = if let Layout::Sealed(_) = header.layout {
        match footer_at_end(&mut file, seed).map_err(io_error)? {
            Some(footer) => Ending::Sealed(Box::new(footer)),
            None => return Err(Error::corrupted(&path, 0, "it does not end as a sealed segment")),
        }
    } else {
        let closed = closing_at_end(&mut file, header.layout).map_err(io_error)?;
        closed.map_or(Ending::Open, Ending::Closed)
    };
    Ok((Some(header), ending))
}

fn first_bytes(file: &mut File) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(SALTED_HEADER_BYTES);
    file.take(SALTED_HEADER_BYTES as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// The last sequence by the closing frame in the last bytes of a file, if there is one.
fn closing_at_end(file: &mut File, layout: Layout) -> io::Result<Option<u64>> {
    if file.metadata()?.len() < (layout.header_bytes() + CLOSING_BYTES) as u64 {
        return Ok(None);
    }
    file.seek(SeekFrom::End(-(CLOSING_BYTES as i64)))?;
    let mut bytes = Vec::with_capacity(CLOSING_BYTES);
    file.take(CLOSING_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(read_closing(layout.seed(), &bytes))
}
