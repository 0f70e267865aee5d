//! The highest rate that still meets an objective: double until it is missed, then halve the gap.
//!
//! A step counts only if the client was not the slow one; otherwise the search ends and says so. Not here: what a
//! request is, or how long a step lasts; the caller gives a function from a rate to a report.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::latency::Summary;
use crate::open_loop::Report;

/// A share of the asked rate that must have been achieved: below, the queue grows for ever.
const KEPT_UP: f64 = 0.97;
/// Most steps of one search.
const MAX_STEPS: usize = 40;

/// Which percentile of a latency is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantile {
    /// The median.
    P50,
    /// 90 %.
    P90,
    /// 99 %.
    P99,
    /// 99.9 %.
    P999,
    /// The largest.
    Max,
}

impl Quantile {
    /// Its latency in microseconds.
    pub fn of(self, latency: &Summary) -> u64 {
        match self {
            Self::P50 => latency.p50_us,
            Self::P90 => latency.p90_us,
            Self::P99 => latency.p99_us,
            Self::P999 => latency.p999_us,
            Self::Max => latency.max_us,
        }
    }
}

/// What a server is held to, e.g. `p99=2ms`: that percentile at or below that latency, and no request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objective {
    /// The percentile.
    pub quantile: Quantile,
    /// Its bound, in microseconds.
    pub at_most_us: u64,
}

impl FromStr for Objective {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::InvalidPlan {
            name: "slo",
            found: format!("`{text}`"),
            expected: "p50, p90, p99, p999 or max, `=`, and a latency in us, ms or s, e.g. `p99=2ms`",
        };
        let (name, latency) = text.split_once('=').ok_or_else(wrong)?;
        let quantile = match name.trim() {
            "p50" => Quantile::P50,
            "p90" => Quantile::P90,
            "p99" => Quantile::P99,
            "p999" | "p99.9" => Quantile::P999,
            "max" => Quantile::Max,
            _ => return Err(wrong()),
        };
        let latency = latency.trim();
        let digits = latency.find(|character: char| !(character.is_ascii_digit() || character == '.'));
        let (number, unit) = latency.split_at_checked(digits.unwrap_or(latency.len())).ok_or_else(wrong)?;
        let unit_us = match unit {
            "us" => 1.0,
            "ms" => 1e3,
            "s" => 1e6,
            _ => return Err(wrong()),
        };
        let us = number.parse::<f64>().map_err(|_| wrong())? * unit_us;
        if !(1.0..=120e6).contains(&us) {
            return Err(wrong());
        }
        Ok(Self { quantile, at_most_us: us.round() as u64 })
    }
}

/// Where to search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// What must hold.
    pub objective: Objective,
    /// The first rate tried, in requests per second.
    pub from: f64,
    /// The highest rate tried.
    pub up_to: f64,
    /// The search ends when the lowest miss is within this factor of the highest success, above 1.
    pub precision: f64,
}

impl Plan {
    /// Whether every setting is in its range.
    ///
    /// # Errors
    /// [`Error::InvalidPlan`] names the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        let complain =
            |name, found: f64, expected| Err(Error::InvalidPlan { name, found: found.to_string(), expected });
        if !(self.from >= 1.0 && self.from <= self.up_to) {
            return complain("from", self.from, "at least 1 per second and at most `up to`");
        }
        if self.up_to > 1e7 {
            return complain("up to", self.up_to, "at most 10000000 per second");
        }
        if !(1.01..=10.0).contains(&self.precision) {
            return complain("precision", self.precision, "1.01 to 10");
        }
        Ok(())
    }
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The objective was met.
    Met,
    /// The percentile was beyond its bound.
    TooSlow,
    /// Answers did not keep up with the rate.
    FellBehind,
    /// Requests were refused or failed.
    Failed,
    /// Requests left too late: the client is the limit, and the step says nothing of the server.
    ClientSaturated,
}

impl Verdict {
    /// Of one step.
    pub fn of(report: &Report, objective: Objective) -> Self {
        if !report.errors.is_empty() {
            Self::Failed
        } else if objective.quantile.of(&report.latency) <= objective.at_most_us
            && report.achieved_per_second >= KEPT_UP * report.target_per_second
        {
            Self::Met
        } else if report.client_is_saturated() {
            Self::ClientSaturated
        } else if objective.quantile.of(&report.latency) > objective.at_most_us {
            Self::TooSlow
        } else {
            Self::FellBehind
        }
    }
}

/// One rate tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// How it ended.
    pub verdict: Verdict,
    /// What was measured.
    pub report: Report,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// What had to hold.
    pub objective: Objective,
    /// The highest rate that met it; none if the first did not.
    pub highest_per_second: Option<f64>,
    /// Whether the search was ended by the client or by its own upper end rather than by the server.
    pub is_lower_bound: bool,
    /// Every step, in order.
    pub steps: Vec<Step>,
}

/// Tries rates by `measure` until the gap is small enough.
///
/// # Errors
/// [`Error::InvalidPlan`], and whatever `measure` fails with.
pub async fn search<Failure: From<Error>>(
    plan: &Plan,
    mut measure: impl AsyncFnMut(f64) -> Result<Report, Failure>,
) -> Result<Found, Failure> {
    plan.check()?;
    let (mut met, mut missed): (Option<f64>, Option<f64>) = (None, None);
    let (mut rate, mut steps, mut is_lower_bound) = (plan.from, Vec::new(), false);
    while steps.len() < MAX_STEPS {
        let report = measure(rate).await?;
        let verdict = Verdict::of(&report, plan.objective);
        steps.push(Step { verdict, report });
        match verdict {
            Verdict::Met => met = Some(rate),
            Verdict::ClientSaturated => is_lower_bound = true,
            Verdict::TooSlow | Verdict::FellBehind | Verdict::Failed => missed = Some(rate),
        }
        let next = next_rate(plan, met, missed);
        match next {
            Some(next) if !is_lower_bound => rate = next,
            _ => break,
        }
    }
    is_lower_bound |= met.is_some() && missed.is_none();
    Ok(Found { objective: plan.objective, highest_per_second: met, is_lower_bound, steps })
}

/// None when there is nothing more to learn.
fn next_rate(plan: &Plan, met: Option<f64>, missed: Option<f64>) -> Option<f64> {
    match (met, missed) {
        (Some(met), None) if met < plan.up_to => Some((met * 2.0).min(plan.up_to)),
        (Some(met), Some(missed)) if missed > met * plan.precision => Some((met + missed) / 2.0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::open_loop::Arrivals;

    fn summary(p99_us: u64) -> Summary {
        Summary { count: 1, mean_us: 1.0, p50_us: 1, p90_us: 1, p99_us, p999_us: p99_us, max_us: p99_us }
    }

    fn report(rate: f64, p99_us: u64, delay_us: u64) -> Report {
        Report {
            requests: 100,
            ok: 100,
            errors: BTreeMap::new(),
            error_examples: BTreeMap::new(),
            target_per_second: rate,
            achieved_per_second: rate,
            arrivals: Arrivals::Poisson,
            elapsed_seconds: 1.0,
            latency: summary(p99_us),
            percentiles: Vec::new(),
            send_delay: summary(delay_us),
        }
    }

    fn plan() -> Plan {
        Plan { objective: "p99=2ms".parse().unwrap(), from: 100.0, up_to: 100_000.0, precision: 1.05 }
    }

    #[tokio::test]
    async fn the_edge_is_found_within_the_precision() {
        let slow_beyond = 7_300.0;
        let measure = async |rate: f64| {
            Ok::<_, Error>(report(rate, if rate > slow_beyond { 5_000 } else { 1_500 }, 10))
        };
        let found = search(&plan(), measure).await.unwrap();
        let highest = found.highest_per_second.unwrap();
        assert!(highest <= slow_beyond && highest * 1.05 >= slow_beyond, "{highest}");
        assert!(!found.is_lower_bound);
        assert!(found.steps.len() < 15, "{}", found.steps.len());
    }

    #[tokio::test]
    async fn an_end_that_the_server_did_not_set_is_told() {
        let always_met = async |rate: f64| Ok::<_, Error>(report(rate, 1_000, 10));
        let found = search(&plan(), always_met).await.unwrap();
        assert_eq!((found.highest_per_second, found.is_lower_bound), (Some(100_000.0), true));

        let client_is_slow =
            async |rate: f64| Ok::<_, Error>(report(rate, if rate > 500.0 { 9_000 } else { 900 }, 8_000));
        let found = search(&plan(), client_is_slow).await.unwrap();
        assert_eq!((found.highest_per_second, found.is_lower_bound), (Some(400.0), true));
        assert_eq!(found.steps.last().unwrap().verdict, Verdict::ClientSaturated);

        let never = async |rate: f64| Ok::<_, Error>(report(rate, 50_000, 10));
        let found = search(&plan(), never).await.unwrap();
        assert_eq!((found.highest_per_second, found.is_lower_bound, found.steps.len()), (None, false, 1));
    }

    #[test]
    fn verdicts_name_what_was_wrong() {
        let objective = plan().objective;
        let mut failed = report(100.0, 10, 10);
        failed.errors.insert("UNAVAILABLE".to_owned(), 1);
        assert_eq!(Verdict::of(&failed, objective), Verdict::Failed);
        let behind = Report { achieved_per_second: 50.0, ..report(100.0, 10, 10) };
        assert_eq!(Verdict::of(&behind, objective), Verdict::FellBehind);
        assert_eq!(Verdict::of(&report(100.0, 2_000, 10), objective), Verdict::Met);
        assert_eq!(Verdict::of(&report(100.0, 2_001, 10), objective), Verdict::TooSlow);
    }

    #[test]
    fn objectives_are_read_and_bad_ones_refused() {
        let read = |text: &str| text.parse::<Objective>().map(|slo| (slo.quantile, slo.at_most_us));
        assert_eq!(read("p99=2ms").unwrap(), (Quantile::P99, 2_000));
        assert_eq!(read("p99.9 = 1.5s").unwrap(), (Quantile::P999, 1_500_000));
        assert_eq!(read("max=250us").unwrap(), (Quantile::Max, 250));
        for wrong in
            ["", "p99", "p98=2ms", "p99=2", "p99=2 m", "p99=ms", "p99=0us", "p99=1.2.3ms", "p99=999s"]
        {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains("p99=2ms"), "{wrong}: {error}");
        }
        for wrong in [
            Plan { from: 0.0, ..plan() },
            Plan { from: 1e6, ..plan() },
            Plan { up_to: f64::NAN, ..plan() },
            Plan { precision: 1.0, ..plan() },
        ] {
            assert!(wrong.check().is_err());
        }
    }
}
