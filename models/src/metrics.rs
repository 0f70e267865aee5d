//! How good scores are: ranking, probability and calibration measures that treat ties rightly, and how sure they are.
//!
//! All start from `(score, label)` pairs, scores finite, in any order: rows are counted by distinct score, so the order of
//! the pairs never shows. Not here: tests of differences between two models (`shadow-harness`), or what a report makes
//! of it all.

pub mod counts;
pub mod interval;
pub mod ranking;
pub mod reliability;

pub use counts::Counts;
pub use interval::{Interval, Intervals};
pub use reliability::Binning;

/// What happened is given at least this probability before a logarithm is taken.
pub const LOG_LOSS_CLIP: f64 = 1e-15;
/// Equal-width bins of the calibration error in [`Metrics`].
pub const ECE_BINS: usize = 10;
/// Equal-mass bins of the calibration error in [`Metrics`].
pub const ECE_EQUAL_MASS_BINS: usize = 15;

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
    /// Expected calibration error over [`ECE_EQUAL_MASS_BINS`] bins of as many rows each; absent in older reports.
    #[serde(default)]
    pub ece_equal_mass: Option<f64>,
    /// What the former would be by chance alone if every probability were true; absent in older reports.
    #[serde(default)]
    pub ece_equal_mass_by_chance: Option<f64>,
    /// Kolmogorov-Smirnov: the largest distance between the score distributions of the classes; absent with one class
    /// and in older reports.
    #[serde(default)]
    pub ks: Option<f64>,
    /// Positives among the top tenth by score, over the base rate; absent without positives.
    pub top_decile_lift: Option<f64>,
}

impl Metrics {
    /// Measures `(probability, label)` pairs; `None` when there are none.
    pub fn measure(pairs: &[(f64, bool)]) -> Option<Self> {
        Self::of(&Counts::of(pairs))
    }

    /// Measures rows counted by probability; `None` when there are none.
    pub fn of(counts: &Counts) -> Option<Self> {
        let mean_of = |sum: f64| sum / counts.rows() as f64;
        let scores = counts.groups().iter().fold(0.0, |sum, group| sum + group.rows as f64 * group.score);
        let (mass, bins) = (Binning::EqualMass, ECE_EQUAL_MASS_BINS);
        Some(Self {
            rows: counts.rows() as usize,
            positives: counts.positives() as usize,
            log_loss: reliability::log_loss(counts, LOG_LOSS_CLIP)?,
            base_rate: mean_of(counts.positives() as f64),
            mean_probability: mean_of(scores),
            roc_auc: ranking::roc_auc(counts),
            pr_auc: ranking::average_precision(counts),
            brier: reliability::brier(counts)?,
            ece: reliability::expected_calibration_error(counts, Binning::EqualWidth, ECE_BINS)?,
            ece_equal_mass: reliability::expected_calibration_error(counts, mass, bins),
            ece_equal_mass_by_chance: reliability::calibration_error_by_chance(counts, mass, bins),
            ks: ranking::kolmogorov_smirnov(counts),
            top_decile_lift: ranking::top_decile_lift(counts),
        })
    }
}

/// Share of positive labels; `None` without rows.
pub fn base_rate(pairs: &[(f64, bool)]) -> Option<f64> {
    let positives = pairs.iter().filter(|(_, label)| *label).count();
    (!pairs.is_empty()).then(|| positives as f64 / pairs.len() as f64)
}

/// [`ranking::roc_auc`] of pairs.
pub fn roc_auc(pairs: &[(f64, bool)]) -> Option<f64> {
    ranking::roc_auc(&Counts::of(pairs))
}

/// [`ranking::average_precision`] of pairs.
pub fn average_precision(pairs: &[(f64, bool)]) -> Option<f64> {
    ranking::average_precision(&Counts::of(pairs))
}

/// [`reliability::log_loss`] of pairs.
pub fn log_loss(pairs: &[(f64, bool)], clip: f64) -> Option<f64> {
    reliability::log_loss(&Counts::of(pairs), clip)
}

/// [`reliability::brier`] of pairs.
pub fn brier(pairs: &[(f64, bool)]) -> Option<f64> {
    reliability::brier(&Counts::of(pairs))
}

/// [`reliability::expected_calibration_error`] of pairs over `bins` of equal width.
pub fn expected_calibration_error(pairs: &[(f64, bool)], bins: usize) -> Option<f64> {
    reliability::expected_calibration_error(&Counts::of(pairs), Binning::EqualWidth, bins)
}

/// [`ranking::top_decile_lift`] of pairs.
pub fn top_decile_lift(pairs: &[(f64, bool)]) -> Option<f64> {
    ranking::top_decile_lift(&Counts::of(pairs))
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
