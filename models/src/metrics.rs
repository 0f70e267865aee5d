//! How good scores are: ranking, probability and calibration measures that treat ties rightly.
//!
//! All take `(score, label)` pairs, scores finite, in any order: ties are grouped, so the order of the pairs never
//! shows. Not here: intervals and tests of differences (`shadow-harness`).

use augur_domain::math;

/// What happened is given at least this probability before a logarithm is taken.
pub const LOG_LOSS_CLIP: f64 = 1e-15;
/// Equal-width bins of the calibration error in [`Metrics`].
pub const ECE_BINS: usize = 10;

/// The measures that a model card shows.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Metrics {
    /// Rows measured.
    pub rows: usize,
    /// Of them positive.
    pub positives: usize,
    /// Share of positive rows.
    pub base_rate: f64,
    /// Mean predicted probability; beside the base rate it shows bias.
    pub mean_probability: f64,
    /// Area under the ROC curve; absent with one class.
    pub roc_auc: Option<f64>,
    /// Average precision; absent without positives.
    pub pr_auc: Option<f64>,
    /// Mean negative log-likelihood, probabilities clipped by [`LOG_LOSS_CLIP`].
    pub log_loss: f64,
    /// Mean squared error of the probability.
    pub brier: f64,
    /// Expected calibration error over [`ECE_BINS`] equal-width bins.
    pub ece: f64,
    /// Positives among the top tenth by score, over the base rate; absent without positives.
    pub top_decile_lift: Option<f64>,
}

impl Metrics {
    /// Measures `(probability, label)` pairs; `None` when there are none.
    pub fn measure(pairs: &[(f64, bool)]) -> Option<Self> {
        Some(Self {
            rows: pairs.len(),
            positives: pairs.iter().filter(|(_, label)| *label).count(),
            base_rate: base_rate(pairs)?,
            mean_probability: mean(pairs, |probability, _| probability)?,
            roc_auc: roc_auc(pairs),
            pr_auc: average_precision(pairs),
            log_loss: log_loss(pairs, LOG_LOSS_CLIP)?,
            brier: brier(pairs)?,
            ece: expected_calibration_error(pairs, ECE_BINS)?,
            top_decile_lift: top_decile_lift(pairs),
        })
    }
}

/// Share of positive labels; `None` without rows.
pub fn base_rate(pairs: &[(f64, bool)]) -> Option<f64> {
    mean(pairs, |_, label| f64::from(u8::from(label)))
}

/// Probability that a positive scores above a negative, ties counting half; `None` with one class.
pub fn roc_auc(pairs: &[(f64, bool)]) -> Option<f64> {
    // Twice the number of pairs won, in integers: exact whatever the number of rows.
    let (mut won_twice, mut negatives_below, mut positives) = (0_u128, 0_u128, 0_u128);
    let descending = tie_groups(pairs);
    for group in descending.iter().rev() {
        won_twice += u128::from(group.positives) * (2 * negatives_below + u128::from(group.negatives()));
        negatives_below += u128::from(group.negatives());
        positives += u128::from(group.positives);
    }
    let all_twice = 2 * positives * negatives_below;
    (all_twice > 0).then(|| won_twice as f64 / all_twice as f64)
}

/// Average precision: precision at each distinct score, weighted by the recall gained there; `None` without
/// positives.
pub fn average_precision(pairs: &[(f64, bool)]) -> Option<f64> {
    let total = pairs.iter().filter(|(_, label)| *label).count() as f64;
    let (mut rows, mut positives, mut area) = (0_u64, 0_u64, 0.0);
    for group in tie_groups(pairs) {
        rows += group.rows;
        positives += group.positives;
        area += group.positives as f64 * (positives as f64 / rows as f64);
    }
    (total > 0.0).then(|| area / total)
}

/// Mean negative log-likelihood, where what happened is given a probability of at least `clip`; `None` without
/// rows.
pub fn log_loss(pairs: &[(f64, bool)], clip: f64) -> Option<f64> {
    let floor = math::ln(clip);
    mean(pairs, |probability, label| {
        let log_likelihood = if label { math::ln(probability) } else { math::ln_1p(-probability) };
        -log_likelihood.max(floor)
    })
}

/// Mean squared difference of probability and outcome; `None` without rows.
pub fn brier(pairs: &[(f64, bool)]) -> Option<f64> {
    mean(pairs, |probability, label| {
        let difference = probability - f64::from(u8::from(label));
        difference * difference
    })
}

/// Difference of mean probability and positive share, averaged over `bins` equal-width bins by their rows;
/// `None` without rows or bins. A probability on a border belongs to the bin above it.
pub fn expected_calibration_error(pairs: &[(f64, bool)], bins: usize) -> Option<f64> {
    let mut sums = vec![0.0_f64; bins];
    for &(probability, label) in pairs {
        let index = (probability * bins as f64) as usize;
        *sums.get_mut(index.min(bins.checked_sub(1)?))? += probability - f64::from(u8::from(label));
    }
    let rows = pairs.len() as f64;
    (rows > 0.0 && bins > 0).then(|| sums.iter().map(|sum| sum.abs()).sum::<f64>() / rows)
}

/// Share of positives among the top tenth of rows (rounded up) by score, over the base rate; a group of ties cut
/// by the border counts with its own share. `None` without positives.
pub fn top_decile_lift(pairs: &[(f64, bool)]) -> Option<f64> {
    let top = pairs.len().div_ceil(10) as u64;
    let (mut left, mut positives) = (top, 0.0);
    for group in tie_groups(pairs) {
        let taken = group.rows.min(left);
        positives += taken as f64 * (group.positives as f64 / group.rows as f64);
        left -= taken;
    }
    let rate = base_rate(pairs)?;
    (rate > 0.0).then(|| positives / top as f64 / rate)
}

fn mean(pairs: &[(f64, bool)], mut term: impl FnMut(f64, bool) -> f64) -> Option<f64> {
    let sum = pairs.iter().fold(0.0, |sum, &(score, label)| sum + term(score, label));
    (!pairs.is_empty()).then(|| sum / pairs.len() as f64)
}

/// Rows with one score.
struct TieGroup {
    score: f64,
    rows: u64,
    positives: u64,
}

impl TieGroup {
    const fn negatives(&self) -> u64 {
        self.rows - self.positives
    }
}

/// Rows grouped by score, highest first.
fn tie_groups(pairs: &[(f64, bool)]) -> Vec<TieGroup> {
    let mut sorted = pairs.to_vec();
    sorted.sort_unstable_by(|left, right| right.0.total_cmp(&left.0));
    let mut groups: Vec<TieGroup> = Vec::new();
    for (score, label) in sorted {
        match groups.last_mut() {
            // `<=` rather than bits: -0 and 0 tie.
            Some(last) if last.score <= score => {
                last.rows += 1;
                last.positives += u64::from(label);
            }
            _ => groups.push(TieGroup { score, rows: 1, positives: u64::from(label) }),
        }
    }
    groups
}

#[cfg(test)]
mod tests;
