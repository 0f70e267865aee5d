//! Everything that can go wrong with a log, with its place and what to do about it.
//!
//! Not here: what a caller answers when it happens (`server`), or exit codes (`shadow-harness`).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A failure of the log. Cloneable, because one failed write is told to every caller whose record was in it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused something.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was attempted, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The refusal.
        #[source]
        source: Arc<io::Error>,
    },
    /// Another writer holds the directory.
    #[error("{} is held by another writer; stop that process or choose another directory", .path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A setting is out of its bounds.
    #[error("log setting `{setting}` is {found}; expected {expected}")]
    InvalidConfig {
        /// The setting.
        setting: &'static str,
        /// Its value.
        found: String,
        /// The bounds.
        expected: &'static str,
    },
    /// The writer does not keep up; nothing was queued.
    #[error(
        "the log's queue holds {queued_bytes} of {limit_bytes} bytes and has no room for {record_bytes} more; retry when the disk has caught up"
    )]
    QueueFull {
        /// Bytes waiting.
        queued_bytes: usize,
        /// Bytes of the refused record.
        record_bytes: usize,
        /// The bound.
        limit_bytes: usize,
    },
    /// One record is too large to be logged at all.
    #[error("the record takes {bytes} bytes; the log accepts at most {limit_bytes} per record")]
    RecordTooLarge {
        /// Its encoded size.
        bytes: usize,
        /// The bound.
        limit_bytes: usize,
    },
    /// An earlier failure left the file in a state that cannot be vouched for, so nothing more is written.
    #[error("the log stopped writing after an earlier failure ({cause}); mend the cause and reopen the log")]
    Failed {
        /// The earlier failure.
        cause: String,
    },
    /// The log was closed while the record waited, or before.
    #[error("the log is closed")]
    Closed,
    /// Bytes that were once whole are not any more, or never belonged here.
    #[error("{} is corrupted at byte {offset}: {reason}; restore this file from a copy, or move the whole directory aside and begin a new log", .file.display())]
    Corrupted {
        /// The segment.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// The last segment ends in a frame that was not written to its end.
    #[error("{} ends in {bytes} bytes of an unfinished record at byte {offset}; opening the log for writing removes them", .file.display())]
    TruncatedTail {
        /// The segment.
        file: PathBuf,
        /// Where the unfinished frame begins.
        offset: u64,
        /// How many bytes of it there are.
        bytes: u64,
    },
    /// Records are missing.
    #[error("{}: expected record {expected}, found {}; records between them are missing: restore the absent segment", .dir.display(), .found.map_or_else(|| "the end of the log".to_owned(), |found| format!("record {found}")))]
    Gap {
        /// The log's directory.
        dir: PathBuf,
        /// The sequence that should have come.
        expected: u64,
        /// The sequence that came, if any did.
        found: Option<u64>,
    },
    /// Records were removed, because they had been kept for as long as is declared.
    #[error("{}: record {expected} was removed; this log is kept from record {first} on, read from there", .dir.display())]
    Removed {
        /// The log's directory.
        dir: PathBuf,
        /// The sequence that should have come.
        expected: u64,
        /// The first that is kept.
        first: u64,
    },
    /// Written by a later version of this program.
    #[error("{} at byte {offset}: {what} version {found} is not known; this program reads up to version {supported}, use a later one", .file.display())]
    UnsupportedVersion {
        /// The segment.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// `segment`, `record` or `anchor`.
        what: &'static str,
        /// The version found.
        found: u16,
        /// The latest known version.
        supported: u16,
    },
    /// The bytes of a record do not follow the format.
    #[error("record byte {offset}: {field}: {reason}")]
    Malformed {
        /// The field, as a path in the record.
        field: &'static str,
        /// Counted from the first byte of the record, or of the section when a section is decoded alone.
        offset: usize,
        /// What was found and what was expected.
        reason: String,
    },
    /// The bytes of a record have a version that is not known.
    #[error(
        "record version {found} is not known; this program reads up to version {supported}, use a later one"
    )]
    RecordVersion {
        /// The version found.
        found: u16,
        /// The latest known version.
        supported: u16,
    },
}

impl Error {
    /// An operating system failure with its place.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source: Arc::new(source) }
    }

    /// Corruption with its place.
    pub(crate) fn corrupted(file: &Path, offset: u64, reason: impl Into<String>) -> Self {
        Self::Corrupted { file: file.to_owned(), offset, reason: reason.into() }
    }
}
