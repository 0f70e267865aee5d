//! How many calls in how long, and the rule that holds callers to it: GCRA, the generic cell rate algorithm of ITU-T
//! I.371, as a virtual queue that drains evenly.
//!
//! Pure: the time is handed in. Not here: whose calls are counted (`table`, the parent).

use std::fmt;
use std::time::Duration;

use augur_domain::time::{format_duration_ms, parse_duration_ms};

/// Largest number of calls in a rate.
const MAX_COUNT: u64 = 1_000_000_000;
/// Longest period of a rate, in milliseconds.
const MAX_PERIOD_MS: i64 = augur_domain::time::DAY_MS;

/// So many at once, and as many again in every period, evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u64,
    period_ms: i64,
}

/// What became of one call under a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It may go on, and so many more could at once.
    Granted { remaining: u64 },
    /// It may not before so long.
    Refused { retry_after: Duration },
}

impl Rate {
    /// Reads a rate such as `100 per 1s`.
    ///
    /// # Errors
    /// What was expected: a count up to a milliard, and a length of time up to a day.
    pub fn parse(text: &str) -> Result<Self, String> {
        const EXPECTED: &str =
            "a number of calls up to 1000000000 per a length of time up to `1d`, like `100 per 1s`";
        let (count, period) = text.split_once(" per ").ok_or(EXPECTED)?;
        let count = count.trim().parse().ok().filter(|count| (1..=MAX_COUNT).contains(count));
        let period_ms = parse_duration_ms(period.trim()).ok().filter(|ms| *ms <= MAX_PERIOD_MS);
        let (Some(count), Some(period_ms)) = (count, period_ms) else { return Err(EXPECTED.to_owned()) };
        Ok(Self { count, period_ms })
    }

    /// How many at once.
    pub(crate) const fn count(self) -> u64 {
        self.count
    }

    fn period_ns(self) -> u64 {
        self.period_ms.unsigned_abs().saturating_mul(1_000_000)
    }

    /// How much of the period one call takes up.
    fn cost_ns(self) -> u64 {
        (self.period_ns() / self.count).max(1)
    }

    /// Takes one call at `now_ns` from a queue that drains at `drained_at_ns`; when the queue drains afterwards.
    ///
    /// A queue cannot drain later than a period from now: if it says so, the clock stepped back or the rate was
    /// lowered, and nobody waits longer than one period.
    pub(crate) fn take(self, drained_at_ns: u64, now_ns: u64) -> (u64, Taken) {
        let (period_ns, cost_ns) = (self.period_ns(), self.cost_ns());
        let before = drained_at_ns.clamp(now_ns, now_ns.saturating_add(period_ns));
        let after = before.saturating_add(cost_ns);
        let filled_ns = after - now_ns;
        if filled_ns <= period_ns {
            return (after, Taken::Granted { remaining: (period_ns - filled_ns) / cost_ns });
        }
        (before, Taken::Refused { retry_after: Duration::from_nanos(filled_ns - period_ns) })
    }

    /// Gives back one call: when the queue drains then.
    pub(crate) fn give_back(self, drained_at_ns: u64) -> u64 {
        drained_at_ns.saturating_sub(self.cost_ns())
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} per {}", self.count, format_duration_ms(self.period_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn rate(text: &str) -> Rate {
        Rate::parse(text).unwrap()
    }

    #[test]
    fn rates_are_read_as_they_are_told() {
        for text in ["100 per 1s", "1 per 1d", "1000000000 per 1ms", "60 per 1m"] {
            assert_eq!(rate(text).to_string(), text);
        }
        for text in
            ["", "100", "0 per 1s", "-1 per 1s", "1 per", "1 per 2d", "1000000001 per 1s", "1.5 per 1s"]
        {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn so_many_at_once_and_then_evenly() {
        let rate = rate("10 per 1s");
        let mut drained = 0;
        for left in (0..10).rev() {
            let (after, taken) = rate.take(drained, SECOND_NS);
            assert_eq!(taken, Taken::Granted { remaining: left });
            drained = after;
        }
        let (unchanged, taken) = rate.take(drained, SECOND_NS);
        assert_eq!(unchanged, drained, "a refusal costs nothing");
        assert_eq!(taken, Taken::Refused { retry_after: Duration::from_millis(100) });
        assert_eq!(
            rate.take(drained, SECOND_NS + 99_999_999).1,
            Taken::Refused { retry_after: Duration::from_nanos(1) }
        );
        assert_eq!(rate.take(drained, SECOND_NS + 100_000_000).1, Taken::Granted { remaining: 0 });
        assert_eq!(rate.take(rate.give_back(drained), SECOND_NS).1, Taken::Granted { remaining: 0 });
    }

    #[test]
    fn a_clock_that_steps_back_locks_nobody_out_for_longer_than_the_period() {
        let rate = rate("10 per 1s");
        let (_, taken) = rate.take(1_000_000 * SECOND_NS, SECOND_NS);
        assert_eq!(taken, Taken::Refused { retry_after: Duration::from_millis(100) });
        let (after, _) = rate.take(u64::MAX, 0);
        assert_eq!(rate.take(after, SECOND_NS).1, Taken::Granted { remaining: 9 });
    }

    #[test]
    fn a_greedy_caller_gets_the_burst_and_the_even_rate_and_no_more() {
        let rate = rate("50 per 1s");
        let (mut drained, mut granted) = (0, 0_u64);
        for step in 0..100_000_u64 {
            let (after, taken) = rate.take(drained, step * 100_000);
            drained = after;
            granted += u64::from(matches!(taken, Taken::Granted { .. }));
        }
        // Ten seconds.
        assert!((549..=550).contains(&granted), "{granted}");
    }
}
