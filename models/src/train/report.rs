//! What a fit has to say about itself: counts, convergence, quality in and out of sample, weights, warnings.
//!
//! Not here: drift and quality on decisions made, which need outcomes (`shadow-harness`).

use serde::{Deserialize, Serialize};

use super::calibration::CalibrationReport;
use super::family::Considered;
use crate::evaluation::Evaluation;
use crate::metrics::Metrics;

/// The report of one fit. Serialises to the JSON that the artifact and the card hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The family of the model.
    #[serde(default = "logistic")]
    pub family: String,
    /// Every family that was tried; empty when one was asked for.
    #[serde(default)]
    pub considered: Vec<Considered>,
    /// Trees of the model; absent when it has none.
    #[serde(default)]
    pub trees: Option<usize>,
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
    /// How the optimum was reached; absent for families that search none.
    pub convergence: Option<Convergence>,
    /// Which calibrator the artifact holds.
    pub calibrator: String,
    /// How it was chosen; absent in older reports.
    #[serde(default)]
    pub calibration: Option<CalibrationReport>,
    /// Calibrated probabilities of the rows fitted on: optimistic.
    pub train: Option<Metrics>,
    /// Uncalibrated probabilities of rows left out of their fold's fit.
    pub out_of_fold: Option<Metrics>,
    /// Calibrated probabilities of the rows held back.
    pub out_of_time: Option<Metrics>,
    /// Uncalibrated probabilities of the rows held back.
    pub out_of_time_raw: Option<Metrics>,
    /// A closer look at the rows held back; absent in older reports.
    #[serde(default)]
    pub evaluation: Option<Evaluation>,
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
    /// Whether an earlier model's weights were set out from, and not linfa's.
    #[serde(default)]
    pub warm_start: bool,
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
    /// Mean absolute contribution over the training rows.
    #[serde(default)]
    pub importance: f64,
    /// Of a linear model, what is done to its values.
    pub transform: Option<String>,
    /// Of a linear model, of transformed values present in training.
    pub mean: Option<f64>,
    /// Of a linear model, of transformed values present in training.
    pub scale: Option<f64>,
    /// Of a linear model, margin per standard deviation.
    pub weight: Option<f64>,
    /// Of a linear model, margin added when missing.
    pub missing_weight: Option<f64>,
    /// Share of training rows without a value.
    pub missing_share: f64,
    /// ROC-AUC of this feature alone on the training rows, turned to at least 0.5; absent if it never varies.
    pub auc_alone: Option<f64>,
}

/// What every report was about before there were other families.
fn logistic() -> String {
    super::family::Family::Logistic.as_str().to_owned()
}
