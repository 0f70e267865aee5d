//! How good the scores of one alias are where it is known what came of the decision: both models on the same decisions,
//! with intervals of the difference.
//!
//! Not here: the measures (`augur_models::metrics`), or how outcomes are joined (`value`). Labels came about under what
//! was given then; a candidate that would have given something else is measured on them all the same.

use augur_domain::Timestamp;
use augur_models::metrics::interval::{self, Differences, Intervals, RESAMPLES};
use augur_models::metrics::reliability::{self, Bin, Binning};
use augur_models::metrics::{Counts, Metrics};
use serde::Serialize;

/// Rows of either class that it takes to say anything.
const LEAST_ROWS: u64 = 20;
/// Bins of the reliability tables, of as many rows each.
const BINS: usize = 10;
/// Of the bootstrap.
const SEED: u64 = 1;

/// One decision with both scores and what came of it.
#[derive(Debug, Clone, Copy)]
pub(in crate::candidate) struct Labelled {
    pub(in crate::candidate) at: Timestamp,
    pub(in crate::candidate) logged: f64,
    pub(in crate::candidate) candidate: f64,
    pub(in crate::candidate) group: u64,
    pub(in crate::candidate) label: bool,
}

/// The scores of one alias against what came of decisions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quality {
    /// What counts as positive.
    pub label: String,
    /// Decisions with a label: those old enough, or an even sample of them.
    pub rows: u64,
    /// Of them positive.
    pub positives: u64,
    /// As logged, and by the candidate; `None` below 20 rows of either class.
    pub measured: Option<Measured>,
}

/// Both models on the same decisions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// As logged.
    pub logged: Measure,
    /// By the candidate.
    pub candidate: Measure,
    /// The candidate's figures less the logged ones, resampled together by user.
    pub differences: Option<Differences>,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measure {
    /// All measures.
    pub metrics: Metrics,
    /// Their 95 % intervals, resampled by user.
    pub intervals: Option<Intervals>,
    /// Predicted and observed, in bins of as many rows each.
    pub reliability: Vec<Bin>,
}

impl Quality {
    /// Of rows decided no later than `mature`.
    pub(in crate::candidate) fn of(label: String, rows: &[Labelled], mature: Timestamp) -> Self {
        let rows: Vec<&Labelled> = rows.iter().filter(|row| row.at <= mature).collect();
        let positives = rows.iter().filter(|row| row.label).count() as u64;
        let groups: Vec<u64> = rows.iter().map(|row| row.group).collect();
        let enough = positives >= LEAST_ROWS && rows.len() as u64 - positives >= LEAST_ROWS;
        let measure = |of: fn(&Labelled) -> f64| {
            let pairs: Vec<(f64, bool)> = rows.iter().map(|row| (of(row), row.label)).collect();
            let counts = Counts::of(&pairs);
            Some(Measure {
                metrics: Metrics::of(&counts)?,
                intervals: interval::bootstrap(&pairs, Some(&groups), RESAMPLES, SEED),
                reliability: reliability::table(&counts, Binning::EqualMass, BINS),
            })
        };
        let measured = || {
            let both: Vec<(f64, f64, bool)> =
                rows.iter().map(|row| (row.logged, row.candidate, row.label)).collect();
            Some(Measured {
                logged: measure(|row| row.logged)?,
                candidate: measure(|row| row.candidate)?,
                differences: interval::differences(&both, &groups, RESAMPLES, SEED),
            })
        };
        Self { label, rows: rows.len() as u64, positives, measured: if enough { measured() } else { None } }
    }
}

#[cfg(test)]
mod tests {
    use augur_domain::rng::{Purpose, Rng};

    use super::*;

    fn rows(count: u64, positive: f64) -> Vec<Labelled> {
        let mut rng = Rng::new(3, Purpose::Simulation);
        let row = |number: u64| {
            let truth = rng.next_f64() * 2.0 * positive;
            Labelled {
                at: Timestamp::from_unix_ms(number as i64),
                logged: rng.next_f64(),
                candidate: truth,
                group: number / 3,
                label: rng.next_f64() < truth,
            }
        };
        (0..count).map(row).collect()
    }

    #[test]
    fn a_candidate_that_knows_is_better_beyond_doubt() {
        let quality = Quality::of("CONVERTED".to_owned(), &rows(3_000, 0.3), Timestamp::MAX);
        let measured = quality.measured.unwrap();
        let differences = measured.differences.unwrap();
        assert!(differences.roc_auc.unwrap().low > 0.1 && differences.log_loss.unwrap().high < 0.0);
        assert_eq!(measured.candidate.reliability.len(), BINS);
        let auc = measured.candidate.metrics.roc_auc.unwrap();
        let interval = measured.candidate.intervals.unwrap().roc_auc.unwrap();
        assert!(interval.low < auc && auc < interval.high);
    }

    #[test]
    fn young_decisions_do_not_count_and_few_say_nothing() {
        let quality = Quality::of(String::new(), &rows(100, 0.1), Timestamp::from_unix_ms(49));
        assert_eq!((quality.rows, quality.measured), (50, None));
        assert_eq!(Quality::of(String::new(), &[], Timestamp::MAX).rows, 0);
    }
}
