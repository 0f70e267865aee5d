//! How long stages took: what the server measured and logged, and what deciding costs in this replay, by the candidate
//! and by what decided, on the same decisions.
//!
//! Not here: taking the time (`run`). These are the only figures of a report that differ from run to run.

use serde::Serialize;

/// Steps within a power of two; a quantile is told to 1/16 of it.
const STEPS: u64 = 16;
/// Powers of two, enough for any u64.
const BUCKETS: usize = 61 * STEPS as usize;

/// Percentiles of one stage, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Percentiles {
    /// Measurements.
    pub count: u64,
    /// Half took no longer.
    pub p50_us: f64,
    /// 95 % did.
    pub p95_us: f64,
    /// 99 % did.
    pub p99_us: f64,
    /// The longest.
    pub max_us: f64,
}

/// All stages.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Timing {
    /// Reading features and exposures, as logged.
    pub logged_read: Percentiles,
    /// Deciding, as logged.
    pub logged_decide: Percentiles,
    /// Deciding in this replay by what decided then: every 32nd decision.
    pub replayed: Percentiles,
    /// By the candidate, of the same decisions.
    pub candidate: Percentiles,
    /// The candidate's median over that of what decided; `None` if either was not measured.
    pub cost_ratio: Option<f64>,
}

/// Durations counted in buckets that grow with them.
#[derive(Debug)]
pub(super) struct Durations {
    counts: Vec<u64>,
    count: u64,
    most_ns: u64,
}

impl Durations {
    pub(super) fn new() -> Self {
        Self { counts: vec![0; BUCKETS], count: 0, most_ns: 0 }
    }

    pub(super) fn add(&mut self, ns: u64) {
        if let Some(count) = self.counts.get_mut(bucket(ns)) {
            *count += 1;
        }
        self.count += 1;
        self.most_ns = self.most_ns.max(ns);
    }

    pub(super) fn percentiles(&self) -> Percentiles {
        let at = |share: f64| {
            let wanted = ((self.count as f64 * share).ceil() as u64).max(1);
            let mut below = 0;
            let found = self.counts.iter().position(|count| {
                below += count;
                below >= wanted
            });
            found.map_or(0.0, |bucket| upper_ns(bucket).min(self.most_ns) as f64 / 1e3)
        };
        Percentiles {
            count: self.count,
            p50_us: at(0.5),
            p95_us: at(0.95),
            p99_us: at(0.99),
            max_us: self.most_ns as f64 / 1e3,
        }
    }
}

fn bucket(ns: u64) -> usize {
    if ns < STEPS {
        return ns as usize;
    }
    let power = ns.ilog2();
    let step = (ns >> (power - STEPS.ilog2())) - STEPS;
    (u64::from(power - STEPS.ilog2() + 1) * STEPS + step) as usize
}

/// The largest duration in a bucket.
fn upper_ns(bucket: usize) -> u64 {
    let (octave, step) = (bucket as u64 / STEPS, bucket as u64 % STEPS);
    match octave.checked_sub(1) {
        None => step,
        Some(shift) => (STEPS + step) * (1 << shift) + ((1 << shift) - 1),
    }
}

impl Timing {
    pub(super) fn of(logged: (&Durations, &Durations), replayed: &Durations, candidate: &Durations) -> Self {
        let (replayed, candidate) = (replayed.percentiles(), candidate.percentiles());
        Self {
            logged_read: logged.0.percentiles(),
            logged_decide: logged.1.percentiles(),
            replayed,
            candidate,
            cost_ratio: (replayed.p50_us > 0.0 && candidate.count > 0)
                .then(|| candidate.p50_us / replayed.p50_us),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_what_falls_into_them_to_a_sixteenth() {
        let mut before = 0;
        for ns in (0..5_000).chain([10_000, 65_535, 65_536, 1_000_000_007, u64::MAX / 2, u64::MAX]) {
            let bucket = bucket(ns);
            assert!(bucket < BUCKETS, "{ns}");
            let upper = upper_ns(bucket);
            assert!(upper >= ns && upper - ns <= ns / STEPS, "{ns} is in a bucket up to {upper}");
            assert!(bucket >= before, "{ns}");
            before = bucket;
        }
    }

    #[test]
    fn percentiles_are_those_of_what_was_added() {
        let mut durations = Durations::new();
        assert_eq!(durations.percentiles(), Percentiles::default());
        (1..=1_000_u64).for_each(|us| durations.add(us * 1_000));
        let found = durations.percentiles();
        assert_eq!((found.count, found.max_us), (1_000, 1_000.0));
        for (found, expected) in [(found.p50_us, 500.0), (found.p95_us, 950.0), (found.p99_us, 990.0)] {
            assert!(found >= expected && found <= expected * (1.0 + 1.0 / 16.0), "{found} for {expected}");
        }
    }
}
