//! What an owner of a log may choose.
//!
//! Not here: reading these from a file (`server` embeds them in its own configuration).

use std::path::PathBuf;
use std::time::Duration;

use crate::error::Error;

/// Most bytes of one encoded record.
pub(crate) const MAX_RECORD_BYTES: usize = 16 * 1024 * 1024;
/// Least and most bytes after which a segment may be told to end.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = 4 * 1024..=1024 * 1024 * 1024;
/// Least and most bytes that may wait for the writer.
const QUEUE_BYTES: std::ops::RangeInclusive<usize> = 4 * 1024..=1024 * 1024 * 1024;
/// Longest time that a written record may wait for the start of its sync.
const MAX_SYNC_INTERVAL: Duration = Duration::from_secs(60);

/// How a log is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The directory of the segments; created if absent.
    pub dir: PathBuf,
    /// A segment that has reached this many bytes is sealed and the next one begun. 4 KiB to 1 GiB.
    pub segment_bytes: u64,
    /// Most bytes of encoded records that may wait for the writer or be on their way to the file; beyond it `append`
    /// refuses. The queue's memory is at most about four times as much. 4 KiB to 1 GiB.
    pub queue_bytes: usize,
    /// With [`Durability::Written`], the longest time between a write and the start of its sync, on a disk that keeps
    /// up. On one that does not, nothing more is written once a record has waited for twenty times this, and at least
    /// a second, until what is written has been synced. At most 60 s.
    pub sync_interval: Duration,
    /// What has happened to a record before its caller is told.
    pub durability: Durability,
}

/// What has happened to a record before its caller is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It has left the process: it survives a kill, and a power cut once the sync that begins within `sync_interval` is done.
    Written,
    /// It is on the disk: it survives a power cut.
    Synced,
}

impl Config {
    /// A log in `dir` with segments of 64 MiB, 16 MiB of queue and syncs that begin within 5 ms of a write.
    ///
    /// Five milliseconds bound what a power cut can take to the last few hundred decisions, while a sync, which
    /// takes a fraction of a millisecond, keeps the disk busy for a few per cent of the time only.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes: 64 * 1024 * 1024,
            queue_bytes: 16 * 1024 * 1024,
            sync_interval: Duration::from_millis(5),
            durability: Durability::Written,
        }
    }

    /// Refuses settings out of their documented bounds.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let refuse =
            |setting, found: String, expected| Err(Error::InvalidConfig { setting, found, expected });
        if !SEGMENT_BYTES.contains(&self.segment_bytes) {
            return refuse("segment_bytes", self.segment_bytes.to_string(), "4096 to 1073741824 bytes");
        }
        if !QUEUE_BYTES.contains(&self.queue_bytes) {
            return refuse("queue_bytes", self.queue_bytes.to_string(), "4096 to 1073741824 bytes");
        }
        if self.sync_interval > MAX_SYNC_INTERVAL {
            return refuse("sync_interval", format!("{:?}", self.sync_interval), "at most 60 s");
        }
        Ok(())
    }
}
