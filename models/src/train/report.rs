//! What a fit has to say about itself: counts, convergence, quality in and out of sample, weights, warnings.
//!
//! Not here: per-segment quality or drift, which need decisions and outcomes (`shadow-harness`).

use serde::{Deserialize, Serialize};

use crate::metrics::Metrics;

/// The report of one fit. Serialises to the JSON that the artifact and the card hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Rows fitted on.
    pub train_rows: usize,
    /// Of them positive.
    pub train_positives: usize,
    /// Rows held back.
    pub test_rows: usize,
    /// Of them positive.
    pub test_positives: usize,
    /// Distinct groups (users) fitted on.
    pub train_groups: usize,
    /// How the optimum was reached.
    pub convergence: Convergence,
    /// Which calibrator the artifact holds.
    pub calibrator: String,
    /// Calibrated probabilities of the rows fitted on: optimistic.
    pub train: Option<Metrics>,
    /// Uncalibrated probabilities of rows left out of their fold's fit.
    pub out_of_fold: Option<Metrics>,
    /// Calibrated probabilities of the rows held back.
    pub out_of_time: Option<Metrics>,
    /// Uncalibrated probabilities of the rows held back.
    pub out_of_time_raw: Option<Metrics>,
    /// One per input, in the model's order.
    pub features: Vec<FeatureReport>,
    /// Columns left out because they never vary.
    pub dropped: Vec<String>,
    /// What a person should look at before trusting the model.
    pub warnings: Vec<String>,
}

/// How the optimum was reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Convergence {
    /// Penalised log loss at the end, summed over rows.
    pub objective: f64,
    /// Largest absolute partial derivative after linfa's L-BFGS; absent when it gave an error.
    pub lbfgs_gradient_norm: Option<f64>,
    /// What linfa's L-BFGS said when it gave an error.
    pub lbfgs_error: Option<String>,
    /// Newton steps taken after it.
    pub newton_steps: usize,
    /// Largest absolute partial derivative at the end.
    pub gradient_norm: f64,
    /// The bound it had to reach.
    pub tolerance: f64,
}

/// One input of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureReport {
    /// Its name.
    pub feature: String,
    /// What is done to its values.
    pub transform: String,
    /// Of transformed values present in training.
    pub mean: f64,
    /// Of transformed values present in training.
    pub scale: f64,
    /// Margin per standard deviation.
    pub weight: f64,
    /// Margin added when missing.
    pub missing_weight: f64,
    /// Share of training rows without a value.
    pub missing_share: f64,
    /// ROC-AUC of this feature alone on the training rows, turned to at least 0.5; absent if it never varies.
    pub auc_alone: Option<f64>,
}
