//! What became of the calls of the last while, in buckets that are forgotten one at a time.
//!
//! Not here: what follows from it (`machine`).

use std::time::Duration;

/// Buckets of a window: what is forgotten at once is a tenth of it.
const BUCKETS: usize = 10;

/// Calls, by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls that ended.
    pub calls: u64,
    /// Of these, those that failed.
    pub failed: u64,
    /// Of these, those that took too long, failed or not.
    pub slow: u64,
}

impl Tally {
    /// Share of `part` in the calls; 0 of none.
    fn share(self, part: u64) -> f64 {
        if self.calls == 0 { 0.0 } else { part as f64 / self.calls as f64 }
    }

    /// Share of calls that failed, 0 to 1; 0 without calls.
    pub fn failed_share(self) -> f64 {
        self.share(self.failed)
    }

    /// Share of calls that took too long, 0 to 1; 0 without calls.
    pub fn slow_share(self) -> f64 {
        self.share(self.slow)
    }
}

/// A rolling window of fixed size in memory.
#[derive(Debug, Clone)]
pub(super) struct Window {
    bucket_length: Duration,
    buckets: [Tally; BUCKETS],
    /// Number of the bucket that is counted into, from the beginning of time on.
    current: u128,
}

impl Window {
    pub(super) fn new(length: Duration) -> Self {
        let bucket_length = (length / BUCKETS as u32).max(Duration::from_millis(1));
        Self { bucket_length, buckets: [Tally::default(); BUCKETS], current: 0 }
    }

    /// Counts one call that ended at `now`.
    pub(super) fn count(&mut self, now: Duration, failed: bool, slow: bool) {
        self.forget(now);
        let place = (self.current % BUCKETS as u128) as usize;
        if let Some(bucket) = self.buckets.get_mut(place) {
            bucket.calls += 1;
            bucket.failed += u64::from(failed);
            bucket.slow += u64::from(slow);
        }
    }

    /// The calls of the window that ends at `now`.
    pub(super) fn tally(&mut self, now: Duration) -> Tally {
        self.forget(now);
        self.buckets.iter().fold(Tally::default(), |all, bucket| Tally {
            calls: all.calls + bucket.calls,
            failed: all.failed + bucket.failed,
            slow: all.slow + bucket.slow,
        })
    }

    pub(super) fn clear(&mut self) {
        self.buckets = [Tally::default(); BUCKETS];
    }

    /// Empties the buckets that the time up to `now` has passed. An earlier instant changes nothing.
    fn forget(&mut self, now: Duration) {
        let number = now.as_nanos() / self.bucket_length.as_nanos();
        let passed = number.saturating_sub(self.current).min(BUCKETS as u128);
        for step in 1..=passed {
            let place = ((number - passed + step) % BUCKETS as u128) as usize;
            if let Some(bucket) = self.buckets.get_mut(place) {
                *bucket = Tally::default();
            }
        }
        self.current = self.current.max(number);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn calls_are_forgotten_a_bucket_at_a_time() {
        let mut window = Window::new(Duration::from_secs(10));
        for second in 0..10 {
            window.count(Duration::from_secs(second), second % 2 == 0, second == 3);
        }
        assert_eq!(window.tally(Duration::from_millis(9_999)), Tally { calls: 10, failed: 5, slow: 1 });
        assert_eq!(window.tally(Duration::from_secs(10)), Tally { calls: 9, failed: 4, slow: 1 });
        assert_eq!(window.tally(Duration::from_secs(13)), Tally { calls: 6, failed: 3, slow: 0 });
        // The clock going back brings nothing back.
        assert_eq!(window.tally(Duration::from_secs(2)), Tally { calls: 6, failed: 3, slow: 0 });
        assert_eq!(window.tally(Duration::from_secs(10_000)), Tally::default());
    }

    proptest! {
        #[test]
        fn a_window_holds_what_a_list_of_calls_holds(
            steps in proptest::collection::vec((0_u64..3_000, any::<bool>(), any::<bool>()), 1..200),
        ) {
            let mut window = Window::new(Duration::from_secs(10));
            let (mut now_ms, mut calls) = (0, Vec::new());
            for (step_ms, failed, slow) in steps {
                now_ms += step_ms;
                window.count(Duration::from_millis(now_ms), failed, slow);
                calls.push((now_ms / 1_000, failed, slow));
                let kept = calls.iter().filter(|(bucket, ..)| bucket + 10 > now_ms / 1_000);
                let expected = kept.fold(Tally::default(), |all, (_, failed, slow)| Tally {
                    calls: all.calls + 1,
                    failed: all.failed + u64::from(*failed),
                    slow: all.slow + u64::from(*slow),
                });
                prop_assert_eq!(window.tally(Duration::from_millis(now_ms)), expected);
            }
        }
    }
}
