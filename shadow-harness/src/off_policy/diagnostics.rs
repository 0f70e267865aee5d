//! What the weights say about whether a log can tell the value of another policy.
//!
//! Not here: what is done about it (`verdict`).

use augur_domain::math;
use serde::Serialize;

use super::row::LoggedRow;

/// Of the largest weights, the share of rows whose part in the sum is told.
const TOP_SHARE: f64 = 0.01;

/// What the weights look like.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnostics {
    /// Rows there are.
    pub rows: u64,
    /// Decisions behind them; more than rows when the log is thinned.
    pub decisions: f64,
    /// Groups that rows come in.
    pub groups: u64,
    /// Mean of the weights over decisions: 1 but for chance, if the propensities are right and the logging policy could
    /// give whatever the target policy would.
    pub mean_weight: f64,
    /// Its standard error.
    pub mean_weight_error: f64,
    /// The largest weight.
    pub max_weight: f64,
    /// `sum(w)^2 / sum(w^2)`: how many rows of equal weight would tell as much (Kish).
    pub effective_rows: f64,
    /// Share of the sum of weights that the hundredth of rows with the largest weights has.
    pub top_percent_share: f64,
    /// The smallest propensity.
    pub min_propensity: f64,
    /// Rows whose action the target policy would never give.
    pub zero_weights: u64,
    /// Mean share of the target's probability on actions that the logging policy could give, if rows tell it.
    pub supported: Option<f64>,
    /// Share of rows where that is all of it: the coverage.
    pub covered: Option<f64>,
    /// Share of the sum of weights that the clipping bound takes away.
    pub clipped_share: f64,
    /// Mean reward: the value of the logging policy.
    pub logged_value: f64,
}

impl Diagnostics {
    /// Of at least one row.
    pub(super) fn of(rows: &[LoggedRow], decisions: f64, clip: f64) -> Self {
        let count = rows.len() as f64;
        let (mut sum, mut squares, mut most, mut clipped, mut reward) = (0.0, 0.0, 0.0_f64, 0.0, 0.0);
        let (mut least, mut zeros) = (f64::INFINITY, 0_u64);
        for row in rows {
            let weight = row.weight();
            sum += weight;
            squares += weight * weight;
            clipped += (weight - clip).max(0.0);
            reward += row.reward();
            most = most.max(weight);
            least = least.min(row.logged_probability());
            zeros += u64::from(weight <= 0.0);
        }
        let mean = sum / decisions;
        let mut spread = 0.0;
        for row in rows {
            let off = row.weight() * count / decisions - mean;
            spread += off * off;
        }
        let mut groups: Vec<u64> = rows.iter().filter_map(LoggedRow::group).collect();
        let alone = rows.len() - groups.len();
        groups.sort_unstable();
        groups.dedup();
        Self {
            rows: rows.len() as u64,
            decisions,
            groups: (alone + groups.len()) as u64,
            mean_weight: mean,
            mean_weight_error: math::sqrt(spread / (count - 1.0).max(1.0) / count),
            max_weight: most,
            effective_rows: if squares > 0.0 { sum * sum / squares } else { 0.0 },
            top_percent_share: top_share(rows, sum),
            min_propensity: least,
            zero_weights: zeros,
            supported: mean_of(rows, |supported| supported),
            covered: mean_of(rows, |supported| f64::from(u8::from(supported >= 1.0 - 1e-9))),
            clipped_share: if sum > 0.0 { clipped / sum } else { 0.0 },
            logged_value: reward / count,
        }
    }
}

fn top_share(rows: &[LoggedRow], sum: f64) -> f64 {
    let mut weights: Vec<f64> = rows.iter().map(LoggedRow::weight).collect();
    weights.sort_unstable_by(|one, other| other.total_cmp(one));
    let top = ((weights.len() as f64 * TOP_SHARE).ceil() as usize).max(1);
    let of_top: f64 = weights.iter().take(top).sum();
    if sum > 0.0 { of_top / sum } else { 0.0 }
}

/// Over all rows; `None` unless every row tells.
fn mean_of(rows: &[LoggedRow], of: impl Fn(f64) -> f64) -> Option<f64> {
    let mut sum = 0.0;
    for row in rows {
        sum += of(row.supported()?);
    }
    Some(sum / rows.len() as f64)
}
