//! Latencies kept as an HDR histogram, told as percentiles.
//!
//! Not here: what is measured. A caller decides where a latency starts.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::Error;

/// Latencies beyond this are counted as this.
const HIGHEST_US: u64 = 120_000_000;

/// Quantiles of a plot: denser towards the tail, where services differ.
const PLOTTED: [f64; 16] =
    [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.9975, 0.999, 0.9995, 0.9999, 0.99999, 1.0];

/// Latencies from one microsecond to two minutes, to three digits.
#[derive(Debug, Clone)]
pub struct Latencies {
    histogram: Histogram<u64>,
}

impl Latencies {
    /// None yet.
    ///
    /// # Errors
    /// Never with the bounds used here; the histogram's own check is passed on.
    pub fn new() -> Result<Self, Error> {
        let histogram = Histogram::new_with_bounds(1, HIGHEST_US, 3).map_err(|error| Error::InvalidPlan {
            name: "latency bounds",
            found: error.to_string(),
            expected: "1 us to 120 s, 3 digits",
        })?;
        Ok(Self { histogram })
    }

    /// Counts one.
    pub fn record(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(HIGHEST_US);
        self.histogram.saturating_record(us.max(1));
    }

    /// Where a plot of the whole distribution needs points, ascending, up to the largest.
    pub fn percentiles(&self) -> Vec<Percentile> {
        let at = |quantile: f64| Percentile { quantile, us: self.histogram.value_at_quantile(quantile) };
        PLOTTED.iter().map(|quantile| at(*quantile)).collect()
    }

    /// What there is to say.
    pub fn summary(&self) -> Summary {
        let at = |quantile| self.histogram.value_at_quantile(quantile);
        Summary {
            count: self.histogram.len(),
            mean_us: self.histogram.mean(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: self.histogram.max(),
        }
    }
}

/// One point of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Percentile {
    /// From 0 to 1.
    pub quantile: f64,
    /// This share of the latencies is at or below, in microseconds.
    pub us: u64,
}

/// Percentiles in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Latencies counted.
    pub count: u64,
    /// Their mean.
    pub mean_us: f64,
    /// Half are at or below.
    pub p50_us: u64,
    /// 90 % are at or below.
    pub p90_us: u64,
    /// 99 % are at or below.
    pub p99_us: u64,
    /// 99.9 % are at or below.
    pub p999_us: u64,
    /// The largest.
    pub max_us: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut latencies = Latencies::new().unwrap();
        for ms in 1..=1_000 {
            latencies.record(Duration::from_millis(ms));
        }
        latencies.record(Duration::from_secs(10_000));
        let summary = latencies.summary();
        assert_eq!(summary.count, 1_001);
        assert!((499_000..502_000).contains(&summary.p50_us), "{summary:?}");
        assert!((990_000..993_000).contains(&summary.p99_us), "{summary:?}");
        assert!(summary.max_us >= HIGHEST_US, "{summary:?}");
        let plotted = latencies.percentiles();
        assert!(plotted.is_sorted_by_key(|point| point.us), "{plotted:?}");
        assert!(plotted.iter().any(|point| point.us == summary.p99_us), "{plotted:?}");
    }
}
