//! The writing side as its owner sees it: open, append, close.

use std::path::PathBuf;

use augur_domain::DecisionRecord;

use crate::config::Config;
use crate::error::Error;

/// The one writer of a directory.
#[derive(Debug)]
pub struct Log {}

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The sequence that the next record will get.
    pub next_sequence: u64,
    /// Segments found.
    pub segments: usize,
    /// The unfinished end that was cut off, if there was one.
    pub truncated: Option<TruncatedTail>,
}

/// An unfinished end that was cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TruncatedTail {
    /// The segment.
    pub file: PathBuf,
    /// Its length now.
    pub offset: u64,
    /// How many bytes were dropped.
    pub bytes: u64,
}

/// Where the writer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Bytes waiting for the writer.
    pub queued_bytes: usize,
    /// The last sequence that has left the process, 0 if none.
    pub written_sequence: u64,
    /// The last sequence known to be on the disk, 0 if none.
    pub synced_sequence: u64,
    /// Whether the log has stopped writing; see [`Error::Failed`].
    pub failed: bool,
}

impl Log {
    /// Opens the log in `config.dir` for writing, mending a torn end.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open(config: Config) -> Result<(Self, Recovery), Error> {
        config.validate()?;
        Err(Error::Closed)
    }

    /// Queues `record`, whose own `sequence` is ignored, and returns at once. `done` runs on the writer's thread,
    /// once, with the sequence that the record got or the reason why it was not logged; it must not block. When
    /// `append` itself returns an error, `done` is never called.
    ///
    /// # Errors
    /// [`Error::QueueFull`], [`Error::RecordTooLarge`], [`Error::Failed`] or [`Error::Closed`].
    pub fn append(
        &self,
        record: &DecisionRecord,
        done: impl FnOnce(Result<u64, Error>) + Send + 'static,
    ) -> Result<(), Error> {
        let _ = (record, done);
        Err(Error::Closed)
    }

    /// Where the writer stands.
    pub fn stats(&self) -> Stats {
        Stats { queued_bytes: 0, written_sequence: 0, synced_sequence: 0, failed: false }
    }

    /// Writes and syncs what is queued and stops the writer. Dropping does the same and keeps errors to itself.
    ///
    /// # Errors
    /// The failure of the last write or sync.
    pub fn close(self) -> Result<(), Error> {
        Ok(())
    }
}
