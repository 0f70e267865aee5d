//! Two runs side by side, as ratios.
//!
//! Figures of different days on a shared machine say little; ratios within one run, or of runs one after the other, say
//! more. Not here: whether a difference is more than noise. That takes several runs.

use serde::{Deserialize, Serialize};

use crate::open_loop::Report;
use crate::process::Usage;

/// A run with what it cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// What was measured.
    #[serde(flatten)]
    pub report: Report,
    /// What the client used; its share of the work must not be taken for the server's.
    #[serde(default)]
    pub client: Option<Usage>,
    /// What the server used, if its process was named.
    #[serde(default)]
    pub server: Option<Usage>,
}

/// The second run by the first: 1 is the same, 2 is twice as much.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratios {
    /// Answers per second.
    pub achieved_per_second: f64,
    /// Median latency.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// CPU time of the server by request; none unless both runs know it.
    pub server_cpu_per_request: Option<f64>,
    /// Resident memory of the server; none unless both runs know it.
    pub server_resident: Option<f64>,
}

impl Ratios {
    /// What `second` is in terms of `first`.
    pub fn of(first: &Run, second: &Run) -> Self {
        let by = |second: u64, first: u64| second as f64 / (first as f64).max(1.0);
        let (one, other) = (&first.report.latency, &second.report.latency);
        let servers = first.server.zip(second.server);
        let costs = servers.filter(|(first, _)| first.cpu_us_per_request > 0.0);
        Self {
            achieved_per_second: second.report.achieved_per_second
                / first.report.achieved_per_second.max(1e-9),
            p50: by(other.p50_us, one.p50_us),
            p90: by(other.p90_us, one.p90_us),
            p99: by(other.p99_us, one.p99_us),
            p999: by(other.p999_us, one.p999_us),
            server_cpu_per_request: costs
                .map(|(first, second)| second.cpu_us_per_request / first.cpu_us_per_request),
            server_resident: servers.map(|(first, second)| by(second.resident_bytes, first.resident_bytes)),
        }
    }

    /// The middle of each ratio over several pairs; none of no pairs.
    pub fn median(all: &[Self]) -> Option<Self> {
        if all.is_empty() {
            return None;
        }
        let middle = |ratio: fn(&Self) -> f64| median(all.iter().map(ratio).collect()).unwrap_or(f64::NAN);
        let known = |ratio: fn(&Self) -> Option<f64>| median(all.iter().filter_map(ratio).collect());
        Some(Self {
            achieved_per_second: middle(|ratios| ratios.achieved_per_second),
            p50: middle(|ratios| ratios.p50),
            p90: middle(|ratios| ratios.p90),
            p99: middle(|ratios| ratios.p99),
            p999: middle(|ratios| ratios.p999),
            server_cpu_per_request: known(|ratios| ratios.server_cpu_per_request),
            server_resident: known(|ratios| ratios.server_resident),
        })
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get(values.len().checked_sub(1)? / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(json: &str) -> Run {
        serde_json::from_str(json).unwrap()
    }

    fn text(p99: u64, server: &str) -> String {
        format!(
            r#"{{"requests": 10, "ok": 10, "errors": {{}}, "error_examples": {{}}, "target_per_second": 100.0,
                "achieved_per_second": 100.0, "arrivals": "poisson", "elapsed_seconds": 0.1, "percentiles": [],
                "latency": {{"count": 10, "mean_us": 1.0, "p50_us": 10, "p90_us": 20, "p99_us": {p99}, "p999_us": 40,
                "max_us": 50}}, "send_delay": {{"count": 10, "mean_us": 1.0, "p50_us": 1, "p90_us": 1, "p99_us": 1,
                "p999_us": 1, "max_us": 1}}{server}}}"#
        )
    }

    #[test]
    fn ratios_are_of_the_second_by_the_first() {
        let server = |us: f64| {
            format!(
                r#", "server": {{"cpu_seconds": 1.0, "cores": 0.5, "cpu_us_per_request": {us},
                    "resident_bytes": 1000}}"#
            )
        };
        let ratios = Ratios::of(&run(&text(30, &server(12.0))), &run(&text(45, &server(18.0))));
        assert!((ratios.p50 - 1.0).abs() < 1e-12 && (ratios.p99 - 1.5).abs() < 1e-12);
        assert_eq!((ratios.server_cpu_per_request, ratios.server_resident), (Some(1.5), Some(1.0)));
        let unknown = Ratios::of(&run(&text(30, "")), &run(&text(30, &server(18.0))));
        assert_eq!(unknown.server_cpu_per_request, None);
    }

    #[test]
    fn the_median_is_taken_ratio_by_ratio() {
        let of = |p99| Ratios::of(&run(&text(10, "")), &run(&text(p99, "")));
        assert!((Ratios::median(&[of(50), of(10), of(20)]).unwrap().p99 - 2.0).abs() < 1e-12);
        assert!((Ratios::median(&[of(10), of(20)]).unwrap().p99 - 1.5).abs() < 1e-12);
        assert_eq!(Ratios::median(&[]), None);
    }

    #[test]
    fn runs_are_read_back_as_written() {
        let run = run(&text(30, ""));
        assert_eq!(serde_json::from_str::<Run>(&serde_json::to_string(&run).unwrap()).unwrap(), run);
    }
}
