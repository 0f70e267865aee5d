//! Since when something that many wait for at once has not got on.
//!
//! One hiccup of a disk makes everybody late who waits at that instant. That many are late says how many were waiting, not
//! how long the disk stood still. Not here: how long is too long (`crate::config::Breakers`).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Shared by all that wait. Instants are the app's monotonic clock.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The last time that anybody got what was waited for, or that waiting began after that.
    since_us: AtomicU64,
    waiting: AtomicU64,
    /// Whether the last who ended gave up.
    stuck: AtomicBool,
}

/// One who waits. Dropped without an end, it says nothing.
#[derive(Debug)]
#[must_use]
pub(crate) struct Waiting<'a> {
    progress: &'a Progress,
}

impl Progress {
    /// Begins to wait.
    pub(crate) fn wait(&self, now: Duration) -> Waiting<'_> {
        let is_first = self.waiting.fetch_add(1, Ordering::Relaxed) == 0;
        if is_first && !self.stuck.load(Ordering::Relaxed) {
            self.since_us.store(whole_us(now), Ordering::Relaxed);
        }
        Waiting { progress: self }
    }
}

impl Waiting<'_> {
    /// Got what was waited for.
    pub(crate) fn got_on(self, now: Duration) {
        self.progress.since_us.store(whole_us(now), Ordering::Relaxed);
        self.progress.stuck.store(false, Ordering::Relaxed);
    }

    /// Gave up: for how long nobody has got anything.
    pub(crate) fn gave_up(self, now: Duration) -> Duration {
        self.progress.stuck.store(true, Ordering::Relaxed);
        let since_us = self.progress.since_us.load(Ordering::Relaxed);
        Duration::from_micros(whole_us(now).saturating_sub(since_us))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.progress.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

fn whole_us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn many_who_are_late_at_once_tell_of_one_short_stall() {
        let progress = Progress::default();
        progress.wait(at(9_900)).got_on(at(9_901));
        let late: Vec<Waiting<'_>> = (0..50).map(|wait| progress.wait(at(10_000 + wait))).collect();
        for waiting in late {
            assert!(waiting.gave_up(at(10_150)) <= at(150));
        }
        progress.wait(at(10_160)).got_on(at(10_200));
        assert_eq!(progress.wait(at(60_000)).gave_up(at(60_100)), at(100), "nobody waited in between");
    }

    #[test]
    fn a_stall_is_as_long_as_nobody_gets_anything_however_few_ask() {
        let progress = Progress::default();
        progress.wait(at(0)).got_on(at(1));
        for (asked, stuck_for) in [(1_000, 100), (2_000, 1_100), (3_000, 2_100)] {
            assert_eq!(progress.wait(at(asked)).gave_up(at(asked + 100)), at(stuck_for));
        }
        let still_waiting = progress.wait(at(3_200));
        progress.wait(at(3_300)).got_on(at(3_310));
        assert_eq!(still_waiting.gave_up(at(3_400)), at(90));
        drop(progress.wait(at(3_500)));
        assert_eq!(progress.waiting.load(Ordering::Relaxed), 0);
    }
}
