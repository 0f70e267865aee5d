//! One evaluation of a log: every estimator with its intervals, the diagnostics, and the verdict.
//!
//! Not here: the formulae (`estimators`, `intervals`), or where rows come from.

use augur_domain::math;
use serde::Serialize;

use super::diagnostics::Diagnostics;
use super::estimators::{Estimator, Shrinkage};
use super::intervals::{self, Interval, LowerBounds};
use super::row::LoggedRow;
use super::verdict::Verdict;

/// Quantiles of the weights that are tried as bounds when none is given.
const BOUND_QUANTILES: [f64; 7] = [0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 1.0];
/// Chance allowed to the bound of the bias when a bound of weights is chosen.
const BIAS_CHANCE: f64 = 0.05;

/// How to evaluate.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Probability that an interval covers, and of a lower bound.
    pub confidence: f64,
    /// Resamples of the bootstrap; 0 for none.
    pub resamples: u32,
    /// Of the bootstrap.
    pub seed: u64,
    /// The bound of weights, in place of the one that the data chooses for each estimator.
    pub bound: Option<f64>,
    /// The share of the sub-Gaussian estimators.
    pub sub_gaussian_share: f64,
    /// Decisions behind a thinned log; left out, as many as rows.
    pub decisions: Option<u64>,
    /// How many actions the logging policy chooses from, if known.
    pub actions: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            confidence: 0.95,
            resamples: 1_000,
            seed: 0,
            bound: None,
            sub_gaussian_share: 0.1,
            decisions: None,
            actions: None,
        }
    }
}

/// What one estimator says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// Which one.
    pub estimator: Estimator,
    /// The parameter of its shrinkage, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<f64>,
    /// The value of the target policy per decision.
    pub value: f64,
    /// Its standard error: of a ratio by the delta method.
    pub standard_error: Option<f64>,
    /// By the standard error.
    pub normal: Option<Interval>,
    /// By the bootstrap over groups.
    pub bootstrap: Option<Interval>,
    /// For gates; of means alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lower: Option<LowerBounds>,
}

/// A whole evaluation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Of all intervals.
    pub confidence: f64,
    /// Whether the estimates may be believed.
    pub verdict: Verdict,
    /// Every estimator that the rows allow.
    pub estimates: Vec<Estimate>,
    /// The one to quote: `sndr` with a reward model, else `snips`.
    pub headline: Option<Estimate>,
    /// What the weights look like.
    pub diagnostics: Diagnostics,
}

/// Evaluates the rows; `None` of no rows.
pub fn evaluate(rows: &[LoggedRow], options: &Options) -> Option<Evaluation> {
    if rows.is_empty() {
        return None;
    }
    let count = rows.len() as f64;
    let decisions = options.decisions.map_or(count, |decisions| (decisions as f64).max(count));
    let estimators = estimators(rows, options, decisions);
    let drawn = if options.resamples > 0 {
        let resampling = (options.resamples, options.seed);
        intervals::bootstrap(&estimators, rows, decisions, resampling, options.confidence)
    } else {
        vec![None; estimators.len()]
    };
    let all = estimators.iter().zip(drawn);
    let estimates: Vec<Estimate> = all
        .filter_map(|(estimator, bootstrap)| {
            estimate(*estimator, rows, decisions, (options.confidence, bootstrap))
        })
        .collect();
    let clip = estimators.iter().find_map(|estimator| match estimator {
        Estimator::InversePropensity(Shrinkage::Clip(bound)) => Some(*bound),
        _ => None,
    });
    let diagnostics = Diagnostics::of(rows, decisions, clip.unwrap_or(f64::INFINITY));
    let find = |wanted| estimates.iter().find(|estimate| estimate.estimator == wanted).cloned();
    Some(Evaluation {
        confidence: options.confidence,
        verdict: Verdict::of(&diagnostics, rows, options.actions),
        headline: find(Estimator::SelfNormalisedDoublyRobust).or_else(|| find(Estimator::SelfNormalised)),
        estimates,
        diagnostics,
    })
}

fn estimate(
    estimator: Estimator,
    rows: &[LoggedRow],
    decisions: f64,
    (confidence, bootstrap): (f64, Option<Interval>),
) -> Option<Estimate> {
    let value = estimator.value(intervals::sums(estimator, rows), rows.len() as f64, decisions)?;
    let standard_error = intervals::standard_error(estimator, rows, decisions);
    Some(Estimate {
        estimator,
        parameter: estimator.parameter(),
        value,
        standard_error,
        normal: standard_error.map(|error| intervals::normal(value, error, confidence)),
        bootstrap,
        lower: intervals::lower_bounds(estimator, rows, decisions, confidence),
    })
}

/// Those that the rows allow: with a model only if every row has one, matching only for a deterministic target.
fn estimators(rows: &[LoggedRow], options: &Options, decisions: f64) -> Vec<Estimator> {
    use Estimator::{DirectMethod, DoublyRobust, InversePropensity, ReplayMatch};
    let mut all = Vec::with_capacity(12);
    let is_deterministic =
        rows.iter().all(|row| row.target_probability() <= 0.0 || row.target_probability() >= 1.0);
    if is_deterministic {
        all.push(ReplayMatch);
    }
    let bound = |of: fn(Shrinkage) -> Estimator, shrink: fn(f64) -> Shrinkage| {
        of(shrink(options.bound.unwrap_or_else(|| best_bound(rows, decisions, |bound| of(shrink(bound))))))
    };
    let sub_gaussian = Shrinkage::SubGaussian(options.sub_gaussian_share);
    all.extend([
        InversePropensity(Shrinkage::None),
        bound(InversePropensity, Shrinkage::Clip),
        InversePropensity(sub_gaussian),
        Estimator::SelfNormalised,
    ]);
    if rows.iter().all(|row| row.model().is_some()) {
        all.extend([
            DirectMethod,
            DoublyRobust(Shrinkage::None),
            bound(DoublyRobust, Shrinkage::Clip),
            bound(DoublyRobust, Shrinkage::Switch),
            bound(DoublyRobust, Shrinkage::Optimistic),
            DoublyRobust(sub_gaussian),
            Estimator::SelfNormalisedDoublyRobust,
        ]);
    }
    all
}

/// The bound with the least estimated mean squared error: the variance of the estimate, and the square of an upper bound
/// of its bias, `|mean((w - s(w)) (r - model))|` plus a term for chance (Su et al. 2020, section 5).
fn best_bound(rows: &[LoggedRow], decisions: f64, estimator: impl Fn(f64) -> Estimator) -> f64 {
    let mut weights: Vec<f64> = rows.iter().map(LoggedRow::weight).filter(|weight| *weight > 0.0).collect();
    weights.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| weights.get((share * (weights.len().saturating_sub(1)) as f64) as usize).copied();
    let count = rows.len() as f64;
    let mut squares = 0.0;
    for weight in &weights {
        squares += weight * weight;
    }
    let most = weights.last().copied().unwrap_or(0.0);
    let chance = math::ln(2.0 / BIAS_CHANCE);
    let by_chance = math::sqrt(2.0 * squares / count * chance / count) + 2.0 * most * chance / (3.0 * count);
    let error_of = |bound: f64| {
        let estimator = estimator(bound);
        let (Estimator::InversePropensity(shrinkage) | Estimator::DoublyRobust(shrinkage)) = estimator else {
            return f64::INFINITY;
        };
        let mut off = 0.0;
        for row in rows {
            let residual = if estimator.needs_model() { row.residual() } else { row.reward() };
            off += (row.weight() - shrinkage.apply(row.weight())) * residual;
        }
        let bias = (off / decisions).abs() + by_chance;
        let error = intervals::standard_error(estimator, rows, decisions).unwrap_or(f64::INFINITY);
        error * error + bias * bias
    };
    let bounds = BOUND_QUANTILES.iter().filter_map(|share| at(*share));
    let best = bounds
        .map(|bound| (error_of(bound), bound))
        .reduce(|best, other| if other.0 < best.0 { other } else { best });
    best.map_or(f64::INFINITY, |(_, bound)| bound)
}
