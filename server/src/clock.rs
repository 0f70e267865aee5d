//! The server's clocks, injected so that tests can hold them still.
//!
//! Not here: timeouts of the network layer, which are tokio's.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use augur_domain::Timestamp;

/// Tells the time of day and a time that never steps back.
pub trait Clock: Send + Sync {
    /// The instant that events and decisions are reckoned from.
    fn now(&self) -> Timestamp;

    /// Time since some fixed point, for deadlines and stage timings.
    fn monotonic(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Starts the monotonic clock.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let unix_ms = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
        };
        Timestamp::from_unix_ms(unix_ms)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that moves only when told: for tests and for imports that replay the past.
#[derive(Debug, Clone)]
pub struct FixedClock {
    unix_ms: Arc<AtomicI64>,
}

impl FixedClock {
    /// A clock that stands at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self { unix_ms: Arc::new(AtomicI64::new(now.unix_ms())) }
    }

    /// Moves it to `now`, for every clone.
    pub fn set(&self, now: Timestamp) {
        self.unix_ms.store(now.unix_ms(), Ordering::SeqCst);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.unix_ms.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.unix_ms.load(Ordering::SeqCst).unsigned_abs())
    }
}
