//! Since when written records have been waiting for a sync, by which a disk that does not keep up is noticed.
//!
//! Not here: syncing (`syncer`), or what to do about a slow disk (`log`).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Records may wait this many times the sync interval, but not less than [`LEAST_PATIENCE`].
const PATIENCE_INTERVALS: u32 = 20;
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// What is written and not known to be synced.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    /// For each sync that was asked for, the last sequence it reaches and when the first one it adds was written.
    /// The syncer takes two at a time, which bounds this.
    requested: VecDeque<(u64, Instant)>,
    /// When the first record was written that no sync was asked for.
    since: Option<Instant>,
}

impl Backlog {
    /// Records were written.
    pub(crate) fn wrote(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// A sync of everything up to `sequence`, which is everything written, was asked for.
    pub(crate) fn requested(&mut self, sequence: u64) {
        if let Some(since) = self.since.take() {
            self.requested.push_back((sequence, since));
        }
    }

    /// Everything up to `sequence` is on the disk, out of what a sync was asked for.
    pub(crate) fn synced(&mut self, sequence: u64) {
        while self.requested.pop_front_if(|(last, _)| *last <= sequence).is_some() {}
    }

    /// Everything written is on the disk.
    pub(crate) fn clear(&mut self) {
        self.requested.clear();
        self.since = None;
    }

    /// How long the oldest record has been waiting, if that is longer than a disk that keeps up would need.
    pub(crate) fn overdue(&self, now: Instant, sync_interval: Duration) -> Option<Duration> {
        let oldest = self.requested.front().map(|(_, since)| *since).or(self.since)?;
        let waited = now.saturating_duration_since(oldest);
        (waited > (sync_interval * PATIENCE_INTERVALS).max(LEAST_PATIENCE)).then_some(waited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_unsynced_record_counts() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let interval = Duration::from_millis(100);
        let mut backlog = Backlog::default();
        assert_eq!(backlog.overdue(at(9_000), interval), None);
        backlog.wrote(at(0));
        backlog.wrote(at(50));
        backlog.requested(2);
        backlog.wrote(at(1_000));
        assert_eq!(backlog.overdue(at(2_000), interval), None);
        assert_eq!(backlog.overdue(at(2_001), interval), Some(Duration::from_millis(2_001)));
        backlog.synced(1);
        assert!(backlog.overdue(at(2_001), interval).is_some(), "the request reaches record 2");
        backlog.synced(2);
        assert_eq!(backlog.overdue(at(3_000), interval), None);
        assert!(backlog.overdue(at(3_001), interval).is_some(), "record 3 was written at 1000");
        backlog.clear();
        assert_eq!(backlog.overdue(at(9_000), interval), None);
    }

    #[test]
    fn a_short_interval_leaves_a_second() {
        let begin = Instant::now();
        let mut backlog = Backlog::default();
        backlog.wrote(begin);
        assert_eq!(backlog.overdue(begin + Duration::from_secs(1), Duration::ZERO), None);
        assert!(backlog.overdue(begin + Duration::from_millis(1_001), Duration::ZERO).is_some());
    }
}
