//! Settings of a store, the progress of a rebuild, and the numbers a store tells about itself.
//!
//! Not here: parsing them from a file (the server's configuration does).

use std::path::PathBuf;
use std::sync::Arc;

use crate::Error;

/// How a store is laid out and bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The data directory; created when absent.
    pub dir: PathBuf,
    /// Writer threads, each owning a share of the users; 1..=256. May differ from one start to the next.
    pub shards: usize,
    /// Most events waiting per shard; an ingest that does not fit is refused whole.
    pub queue_events: usize,
    /// Most bytes of events waiting per shard, approximately as they are stored; an ingest that does not fit is
    /// refused whole, unless nothing else waits: however large, it can be taken some time.
    pub queue_bytes: usize,
    /// A writer stops collecting for one commit at this many events, or at 16 MiB of them; the last request is taken
    /// whole.
    pub batch_events: usize,
    /// Memory for cached blocks, indexes and filters.
    pub block_cache_bytes: usize,
    /// Memory for states of users who had events lately, as they are stored; 0 keeps none.
    pub state_cache_bytes: usize,
    /// Memory for unflushed writes, over all column families.
    pub write_buffer_bytes: usize,
    /// Most entries kept in quarantine; the oldest make room.
    pub quarantine_entries: u64,
    /// Names of events that may be retracted, ascending; `None` is all of them.
    pub retractable: Option<Vec<Arc<str>>>,
    /// Whether an event is on the disk, not only out of the process, before it is acknowledged.
    pub sync: bool,
    /// Bounds and policies of links between ids.
    pub identity: crate::IdentityConfig,
    /// How long events are kept.
    pub retention: crate::Retention,
}

impl Config {
    /// The defaults: 2 shards of 20 000 waiting events or 64 MiB of them, 4 096 events per commit, 128 MiB of block cache, 32 MiB
    /// of cached states, 64 MiB of write buffers, 100 000 quarantined events, synced.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            shards: 2,
            queue_events: 20_000,
            queue_bytes: 64 << 20,
            batch_events: 4_096,
            block_cache_bytes: 128 << 20,
            state_cache_bytes: 32 << 20,
            write_buffer_bytes: 64 << 20,
            quarantine_entries: 100_000,
            retractable: None,
            sync: true,
            identity: crate::IdentityConfig::default(),
            retention: crate::Retention::default(),
        }
    }

    /// Refuses settings under which a store could not work.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for the first field out of bounds.
    pub fn check(&self) -> Result<(), Error> {
        let invalid = |name, found: usize, expected| {
            Err(Error::InvalidConfig { name, found: found.to_string(), expected })
        };
        if !(1..=256).contains(&self.shards) {
            return invalid("shards", self.shards, "1 to 256");
        }
        if self.queue_events == 0 {
            return invalid("queue_events", 0, "at least 1");
        }
        if self.queue_bytes < 1 << 20 {
            return invalid("queue_bytes", self.queue_bytes, "at least 1048576 (1 MiB)");
        }
        if self.batch_events == 0 {
            return invalid("batch_events", 0, "at least 1");
        }
        if self.block_cache_bytes < 1 << 20 {
            return invalid("block_cache_bytes", self.block_cache_bytes, "at least 1048576 (1 MiB)");
        }
        if self.write_buffer_bytes < 1 << 20 {
            return invalid("write_buffer_bytes", self.write_buffer_bytes, "at least 1048576 (1 MiB)");
        }
        if self.quarantine_entries == 0 {
            return invalid("quarantine_entries", 0, "at least 1");
        }
        self.retention.check()?;
        self.identity.check()
    }
}

/// How far a rebuild of all states has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Users rebuilt.
    pub users: u64,
    /// Events applied.
    pub events: u64,
    /// Events there are in all.
    pub events_total: u64,
}

/// Numbers for metrics. Counters ending in `_total` and stored survive a restart; the others start at 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Events stored since the directory was made.
    pub events_total: u64,
    /// Users with at least one event.
    pub users_total: u64,
    /// Events recognised as seen before, since the start.
    pub duplicates: u64,
    /// Events of erased users that were not kept, since the start.
    pub suppressed: u64,
    /// Events waiting in queues now.
    pub queued_events: u64,
    /// Synced group commits since the start.
    pub commits: u64,
    /// Group commits that failed since the start.
    pub failed_commits: u64,
    /// Entries in quarantine.
    pub quarantined: u64,
    /// Bytes used by unflushed writes (0 in memory).
    pub write_buffer_bytes: u64,
    /// Bytes used by the block cache (0 in memory).
    pub block_cache_bytes: u64,
    /// Bytes used by cached states (0 in memory).
    pub state_cache_bytes: u64,
    /// Reads of a user's state that found it among the cached ones, since the start (0 in memory).
    pub state_cache_hits: u64,
    /// Reads of a user's state that had to search the engine, since the start, also for users without one (0 in memory
    /// and without a cache).
    pub state_cache_misses: u64,
    /// Approximate bytes on disk (0 in memory).
    pub disk_bytes: u64,
    /// Links made since the start, changed ones included.
    pub links_made: u64,
    /// Links undone since the start.
    pub links_undone: u64,
    /// Links that were allowed and then could not be stored, since the start.
    pub failed_links: u64,
    /// Events moved by links and by their undoing, since the start.
    pub moved_events: u64,
    /// Events removed because they were kept long enough, since the start.
    pub retention_events_removed: u64,
    /// Dedup marks removed likewise.
    pub retention_marks_removed: u64,
    /// Times that something of a user was removed.
    pub retention_users_removed: u64,
    /// Users looked at for it.
    pub retention_users_visited: u64,
}
