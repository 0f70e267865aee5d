//! The reading side.

use std::path::{Path, PathBuf};

use augur_domain::DecisionRecord;

use crate::error::Error;

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Its sequence.
    pub sequence: u64,
    /// The sequence that names its segment.
    pub segment: u64,
    /// The byte at which its frame begins.
    pub offset: u64,
}

/// Reads a log from its beginning, changes nothing, and can go on when the log has grown.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
}

impl Reader {
    /// Reads the log in `dir` from record 1.
    ///
    /// # Errors
    /// [`Error::Io`] when the directory cannot be listed.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        Self::open_from(dir, 1)
    }

    /// Reads the log in `dir` from record `sequence`.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_from(dir: &Path, _sequence: u64) -> Result<Self, Error> {
        Ok(Self { dir: dir.to_owned() })
    }

    /// The next record; `None` at the end of what is written now. Call again later to go on.
    ///
    /// # Errors
    /// [`Error::Corrupted`], [`Error::Gap`], [`Error::UnsupportedVersion`], or [`Error::TruncatedTail`] at the end.
    pub fn next_record(&mut self) -> Result<Option<(Position, DecisionRecord)>, Error> {
        Err(Error::Locked { path: self.dir.clone() })
    }
}

impl Iterator for Reader {
    type Item = Result<(Position, DecisionRecord), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_record().transpose()
    }
}
