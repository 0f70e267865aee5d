//! What an owner of a log may choose.
//!
//! Not here: reading these from a file (`server` embeds them in its own configuration).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use augur_domain::Timestamp;

use crate::error::Error;

/// Most bytes of one encoded record.
pub(crate) const MAX_RECORD_BYTES: usize = 16 * 1024 * 1024;
/// Least and most bytes after which a segment may be told to end.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = 4 * 1024..=1024 * 1024 * 1024;
/// Least and most bytes that may wait for the writer.
const QUEUE_BYTES: std::ops::RangeInclusive<usize> = 4 * 1024..=1024 * 1024 * 1024;
/// Least and most age at which a segment may be told to end.
const SEGMENT_AGE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(31 * 86_400);
/// Longest time that a written record may wait for the start of its sync.
const MAX_SYNC_INTERVAL: Duration = Duration::from_secs(60);

/// How a log is written.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory of the segments; created if absent.
    pub dir: PathBuf,
    /// A segment that has reached this many bytes is closed and the next one begun. 4 KiB to 1 GiB.
    pub segment_bytes: u64,
    /// A segment is closed as well by the first record that is this much later than its own first, as the instants of
    /// the records tell; never, if absent. 1 s to 31 days.
    pub segment_age: Option<Duration>,
    /// Whether closed segments are sealed: compressed, indexed, hashed and chained. Only sealed ones are ever removed.
    pub seal: bool,
    /// How long sealed segments are kept.
    pub retention: Retention,
    /// What the time is, by which ages are reckoned.
    pub clock: Clock,
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

/// How long sealed segments are kept; for ever, unless something is said. They go as a whole, the oldest first, and none
/// that a hold says is still needed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// A segment goes once its latest record is older than this.
    pub age: Option<Duration>,
    /// The oldest go for as long as all files of the log together take more bytes than this.
    pub bytes: Option<u64>,
}

/// Where the time comes from.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// A clock that reads as `now` says.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The machine's.
    pub fn system() -> Self {
        Self::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Clock")
    }
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
    /// A log in `dir` with segments of 64 MiB or an hour, which are sealed and kept for ever, 16 MiB of queue and syncs
    /// that begin within 5 ms of a write.
    ///
    /// An hour makes fewer than nine thousand files a year, and bounds by what little is uncompressed, how late a
    /// retention comes, and how much an export leaves for later.
    ///
    /// Five milliseconds bound what a power cut can take to the last few hundred decisions, while a sync, which
    /// takes a fraction of a millisecond, keeps the disk busy for a few per cent of the time only.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes: 64 * 1024 * 1024,
            segment_age: Some(Duration::from_secs(3_600)),
            seal: true,
            retention: Retention::default(),
            clock: Clock::system(),
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
        if let Some(age) = self.segment_age
            && !SEGMENT_AGE.contains(&age)
        {
            return refuse("segment_age", format!("{age:?}"), "1 s to 31 days");
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
