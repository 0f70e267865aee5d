//! How sure an estimate is: standard errors, the bootstrap, and lower bounds for gates.
//!
//! Not here: the estimates, or what counts as sure enough (`verdict`).

use augur_domain::distribution::{normal_quantile, student_quantile};
use augur_domain::math;
use augur_domain::rng::{Purpose, Rng};
use serde::Serialize;

use super::estimators::{Estimator, Terms};
use super::row::LoggedRow;

/// Two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// The lower one.
    pub low: f64,
    /// The upper one.
    pub high: f64,
}

/// Bounds that the value lies above with the confidence asked for, of estimates that are means over rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LowerBounds {
    /// By Student's t: right where the mean is about normal.
    pub student: f64,
    /// By the empirical Bernstein inequality (Maurer and Pontil 2009), the range taken from the sample: holds for any
    /// distribution within that range, and is wide.
    pub bernstein: f64,
}

/// The sums of an estimator over all of `rows`.
pub(super) fn sums(estimator: Estimator, rows: &[LoggedRow]) -> Terms {
    let mut sums = Terms::default();
    for row in rows {
        sums.add(estimator.terms(row));
    }
    sums
}

/// The standard error: of a mean its own; of a ratio by the delta method, for which every row adds what the ratio would
/// change by without it. `decisions` are those behind the log.
pub(super) fn standard_error(estimator: Estimator, rows: &[LoggedRow], decisions: f64) -> Option<f64> {
    let (count, sums) = (rows.len() as f64, sums(estimator, rows));
    let variance = if estimator.is_ratio() {
        let (mean, ratio) = (sums.plain / count, sums.weighted / sums.weight);
        let mut variance = 0.0;
        for row in rows {
            let terms = estimator.terms(row);
            let change = (terms.plain - mean) / count + (terms.weighted - ratio * terms.weight) / sums.weight;
            variance += change * change;
        }
        variance
    } else {
        let scale = count / decisions;
        moments(rows.iter().map(|row| per_row(estimator, row, scale))).1 / count
    };
    let error = math::sqrt(variance);
    error.is_finite().then_some(error)
}

/// What a row adds to an estimate that is a mean, `scale` being rows over decisions.
fn per_row(estimator: Estimator, row: &LoggedRow, scale: f64) -> f64 {
    let terms = estimator.terms(row);
    terms.plain + terms.weighted * scale
}

/// Mean and variance (of a sample) in two passes.
fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in values.clone() {
        sum += value;
        count += 1.0;
    }
    let mean = sum / count;
    let mut squares = 0.0;
    for value in values {
        squares += (value - mean) * (value - mean);
    }
    (mean, squares / (count - 1.0))
}

/// `value` plus and minus so many standard errors that a normal variable lies within with probability `confidence`.
pub(super) fn normal(value: f64, error: f64, confidence: f64) -> Interval {
    let half = normal_quantile(0.5 + 0.5 * confidence) * error;
    Interval { low: value - half, high: value + half }
}

/// Lower bounds of an estimate that is a mean over rows; `None` of ratios and of fewer than two rows.
pub(super) fn lower_bounds(
    estimator: Estimator,
    rows: &[LoggedRow],
    decisions: f64,
    confidence: f64,
) -> Option<LowerBounds> {
    if estimator.is_ratio() || rows.len() < 2 {
        return None;
    }
    let count = rows.len() as f64;
    let values = rows.iter().map(|row| per_row(estimator, row, count / decisions));
    let (mean, variance) = moments(values.clone());
    let student = mean - student_quantile(confidence, count - 1.0) * math::sqrt(variance / count);
    let most = values.clone().fold(f64::NEG_INFINITY, f64::max);
    let least = values.fold(f64::INFINITY, f64::min);
    let chance = math::ln(2.0 / (1.0 - confidence));
    let bernstein = mean
        - math::sqrt(2.0 * variance * chance / count)
        - 7.0 * (most - least) * chance / (3.0 * (count - 1.0));
    Some(LowerBounds { student, bernstein })
}

/// Percentile intervals of all `estimators` at once. Groups of rows are drawn with replacement, and every estimator is
/// computed anew from what was drawn: a ratio is divided by its own resample's weights.
pub(super) fn bootstrap(
    estimators: &[Estimator],
    rows: &[LoggedRow],
    decisions: f64,
    (resamples, seed): (u32, u64),
    confidence: f64,
) -> Vec<Option<Interval>> {
    let groups = grouped(estimators, rows);
    let mut rng = Rng::new(seed, Purpose::Bootstrap);
    let mut drawn: Vec<Vec<f64>> =
        estimators.iter().map(|_| Vec::with_capacity(resamples as usize)).collect();
    for _ in 0..resamples {
        let mut sums = vec![Terms::default(); estimators.len()];
        let mut count = 0.0;
        for _ in 0..groups.len() {
            let Some(group) = groups.get(rng.below(groups.len() as u64) as usize) else { continue };
            count += group.rows;
            for (sum, terms) in sums.iter_mut().zip(&group.terms) {
                sum.add(*terms);
            }
        }
        // A resample has as many decisions behind it as its share of rows.
        let decisions = decisions * count / rows.len() as f64;
        for ((estimator, sums), values) in estimators.iter().zip(sums).zip(&mut drawn) {
            values.extend(estimator.value(sums, count, decisions));
        }
    }
    drawn.into_iter().map(|values| percentiles(values, confidence)).collect()
}

struct Group {
    rows: f64,
    terms: Vec<Terms>,
}

/// One entry per group: first the rows that stand alone, then groups in ascending order of their number.
fn grouped(estimators: &[Estimator], rows: &[LoggedRow]) -> Vec<Group> {
    let mut ordered: Vec<&LoggedRow> = rows.iter().collect();
    ordered.sort_by_key(|row| row.group());
    let groups = ordered.chunk_by(|one, other| one.group().is_some() && one.group() == other.group());
    let sum = |rows: &[&LoggedRow]| {
        let mut terms = vec![Terms::default(); estimators.len()];
        for row in rows {
            for (sum, estimator) in terms.iter_mut().zip(estimators) {
                sum.add(estimator.terms(row));
            }
        }
        Group { rows: rows.len() as f64, terms }
    };
    groups.map(sum).collect()
}

/// Interpolated linearly between neighbours, as is usual.
fn percentiles(mut values: Vec<f64>, confidence: f64) -> Option<Interval> {
    values.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| {
        let place = share * (values.len().checked_sub(1)? as f64);
        let (below, above) = (values.get(place as usize)?, values.get(place.ceil() as usize)?);
        Some(below + (above - below) * (place - place.floor()))
    };
    Some(Interval { low: at(0.5 - 0.5 * confidence)?, high: at(0.5 + 0.5 * confidence)? })
}
