//! Fitting a logistic regression and everything a fit needs to be trusted: standardised columns, checked
//! convergence, honest calibration, a time-ordered test, a report.
//!
//! Not here: where the table comes from (`feature-store` exports it), tuning over many fits, or publishing.

mod design;
mod folds;
mod logistic;
mod newton;
mod report;
mod table;

use std::collections::BTreeSet;
use std::sync::Arc;

use augur_domain::decision::Score;
use augur_domain::feature::{FeatureInfo, FeatureStatus};
use augur_domain::{ContentHash, FeatureSet, FeatureVector, Timestamp, ValueType};
use serde::Serialize;

pub use report::{Convergence, FeatureReport, Report};
pub use table::{MAX_COLUMNS, MAX_ROWS, Row, Split, TrainingTable};

use crate::artifact::{Artifact, Content, Input, Lineage, Transform};
use crate::calibrate::{self, Calibrator};
use crate::metrics::Metrics;
use crate::{Error, Scorer};
use design::Design;

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
    /// Of the table's columns that are features, the hash of each one's own definition, by name; the artifact tells them
    /// if it reads no other columns.
    pub definitions: Vec<(String, ContentHash)>,
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
            definitions: Vec::new(),
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
    options.validate(table)?;
    check_counts(table, options)?;
    let design = Design::new(table, options);
    if design.matrix.width == 0 {
        return Err(Error::NothingToLearn { columns: table.columns().len() });
    }
    let (coefficients, convergence) = logistic::fit(&design, options.alpha)?;
    let mut warnings = screen(table, &design, &convergence);
    let groups: Vec<u64> = table.part(Split::Train).map(|row| row.group).collect();
    let out_of_fold = match folds::assign(&groups, &design.labels, options.folds, options.seed) {
        Some(assigned) => {
            let margins = folds::out_of_fold_margins(&design, &assigned, options.alpha, &coefficients)?;
            margins.into_iter().zip(design.labels.iter().copied()).collect()
        }
        None => Vec::new(),
    };
    let calibrator = calibrator(&out_of_fold, options.calibration, &mut warnings)?;
    let (intercept, mut inputs) = design.inputs(&coefficients);
    options.define(&mut inputs);
    let mut content = Content {
        name: options.name.clone(),
        task: options.task.clone(),
        positive_class: options.positive_class.clone(),
        feature_set: options.feature_set,
        intercept,
        inputs,
        calibrator,
        lineage: options.lineage(table),
        report: String::new(),
    };
    let artifact = Artifact::new(content.clone())?;
    let report = measure(table, &design, &artifact, &out_of_fold, convergence, warnings)?;
    content.report = to_json("report", &report)?;
    Ok(Trained { artifact: Artifact::new(content)?, report })
}

/// Scores the rows of one part with the artifact's own scorer, missing values as `NULL_VALUE`: what a table says
/// about a model, old or new.
///
/// # Errors
/// [`Error::FeatureMismatch`] when the table lacks a column that the model reads.
pub fn predictions(
    artifact: &Artifact,
    table: &TrainingTable,
    split: Split,
) -> Result<Vec<(Score, bool)>, Error> {
    let describe = |name: &String| FeatureInfo {
        name: Arc::from(name.as_str()),
        value_type: ValueType::Number,
        description: Arc::from(""),
        events: Vec::new(),
        definition: ContentHash::default(),
        unit: "".into(),
    };
    let features = table.columns().iter().map(describe).collect();
    let feature_set = FeatureSet::new(artifact.content().feature_set, features);
    let scorer = Scorer::new(artifact, &feature_set)?;
    let mut vector = FeatureVector::not_found(&feature_set);
    let scored = table.part(split).map(|row| {
        for ((slot, value), missing) in vector.values.iter_mut().zip(row.values).zip(row.missing) {
            slot.value = *value;
            slot.status = if *missing { FeatureStatus::NullValue } else { FeatureStatus::Present };
        }
        (scorer.score(&vector), row.label)
    });
    Ok(scored.collect())
}

impl Options {
    fn transform_of(&self, column: &str) -> Transform {
        let own = self.transforms.iter().find(|(name, _)| name == column);
        own.map_or(self.default_transform, |(_, transform)| *transform)
    }

    fn define(&self, inputs: &mut [Input]) {
        let definition = |input: &Input| {
            let own = self.definitions.iter().find(|(name, _)| *name == input.feature);
            own.map(|(_, definition)| *definition)
        };
        let known: Option<Vec<ContentHash>> = inputs.iter().map(definition).collect();
        for (input, definition) in inputs.iter_mut().zip(known.into_iter().flatten()) {
            input.definition = Some(definition);
        }
    }

    fn validate(&self, table: &TrainingTable) -> Result<(), Error> {
        let invalid = |option, found: String, expected| Err(Error::InvalidOption { option, found, expected });
        // Without a penalty separable classes have no optimum.
        if !(1e-6..=1e9).contains(&self.alpha) {
            return invalid("alpha", format!("{:e}", self.alpha), "1e-6 to 1e9");
        }
        if !(2..=20).contains(&self.folds) {
            return invalid("folds", self.folds.to_string(), "2 to 20");
        }
        for (name, _) in &self.transforms {
            if !table.columns().contains(name) {
                return invalid("transforms", format!("for column `{name}`"), "only columns of the table");
            }
        }
        Ok(())
    }

    fn lineage(&self, table: &TrainingTable) -> Lineage {
        #[derive(Serialize)]
        struct Parameters<'a> {
            algorithm: &'a str,
            alpha: f64,
            default_transform: &'a str,
            transforms: Vec<(&'a str, &'a str)>,
            calibration: &'a str,
            folds: usize,
            minimum_rows: usize,
            minimum_per_class: usize,
        }
        let parameters = Parameters {
            algorithm: "logistic regression, linfa-logistic L-BFGS then Newton",
            alpha: self.alpha,
            default_transform: self.default_transform.as_str(),
            transforms: self.transforms.iter().map(|(name, of)| (name.as_str(), of.as_str())).collect(),
            calibration: self.calibration.as_str(),
            folds: self.folds,
            minimum_rows: self.minimum_rows,
            minimum_per_class: self.minimum_per_class,
        };
        Lineage {
            data: table.hash(),
            seed: self.seed,
            // Numbers and texts only: there is nothing that JSON could refuse.
            parameters: serde_json::to_string(&parameters).unwrap_or_default(),
            created_at: self.created_at,
            code_version: self.code_version.clone(),
        }
    }
}

impl Calibration {
    /// The word used in reports and parameters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Platt => "platt",
            Self::Isotonic => "isotonic",
        }
    }
}

fn check_counts(table: &TrainingTable, options: &Options) -> Result<(), Error> {
    let rows = table.part(Split::Train).count();
    let positives = table.part(Split::Train).filter(|row| row.label).count();
    let negatives = rows - positives;
    if rows > 0 && (positives == 0 || negatives == 0) {
        return Err(Error::OneClass { part: "training", rows, class: positives > 0 });
    }
    // Below two of a class nothing can be standardised, folded or calibrated, whatever the caller allows.
    let minimum_per_class = options.minimum_per_class.max(2);
    let minimum_rows = options.minimum_rows.max(2 * minimum_per_class);
    if rows < minimum_rows || positives.min(negatives) < minimum_per_class {
        return Err(Error::TooFewRows { rows, positives, negatives, minimum_rows, minimum_per_class });
    }
    Ok(())
}

/// A feature that ranks this well alone is more often the label in disguise than a discovery.
const SUSPICIOUS_AUC: f64 = 0.95;

/// What a person should look at before trusting the model.
fn screen(table: &TrainingTable, design: &Design, convergence: &Convergence) -> Vec<String> {
    let mut warnings = Vec::new();
    for column in &design.dropped {
        warnings.push(format!("column `{column}` never varies in training and was dropped"));
    }
    for column in &design.columns {
        if let Some(auc) = column.auc_alone.filter(|auc| *auc >= SUSPICIOUS_AUC) {
            let feature = &column.feature;
            warnings.push(format!(
                "feature `{feature}` alone has ROC-AUC {auc:.3}; check that it does not read the label's own event"
            ));
        }
    }
    if let Some(error) = &convergence.lbfgs_error {
        warnings.push(format!("linfa's L-BFGS failed ({error}); Newton's method fitted from the start"));
    }
    match table.part(Split::Test).map(|row| row.time).min() {
        None => warnings.push("no rows are held back: quality on later data is unknown".to_owned()),
        Some(first_test) => {
            let late = table.part(Split::Train).filter(|row| row.time >= first_test).count();
            if late > 0 {
                warnings.push(format!(
                    "{late} training rows are not earlier than the first test row, {first_test}; the test is not \
                     out of time"
                ));
            }
        }
    }
    warnings
}

fn calibrator(
    out_of_fold: &[(f64, bool)],
    calibration: Calibration,
    warnings: &mut Vec<String>,
) -> Result<Calibrator, Error> {
    if out_of_fold.is_empty() {
        warnings.push("too few groups for out-of-fold margins; the model is not calibrated".to_owned());
        return Ok(Calibrator::Identity);
    }
    match calibration {
        Calibration::Identity => Ok(Calibrator::Identity),
        Calibration::Platt => match calibrate::platt(out_of_fold)? {
            Calibrator::Platt { a, .. } if a >= 0.0 => {
                warnings.push(
                    "out-of-fold margins do not rank the classes, so calibration would turn them round; the model \
                     is not calibrated and probably useless"
                        .to_owned(),
                );
                Ok(Calibrator::Identity)
            }
            fitted => Ok(fitted),
        },
        Calibration::Isotonic => calibrate::isotonic(out_of_fold),
    }
}

fn measure(
    table: &TrainingTable,
    design: &Design,
    artifact: &Artifact,
    out_of_fold: &[(f64, bool)],
    convergence: Convergence,
    warnings: Vec<String>,
) -> Result<Report, Error> {
    let calibrated = |scored: &[(Score, bool)]| -> Option<Metrics> {
        Metrics::measure(&scored.iter().map(|(score, label)| (score.calibrated, *label)).collect::<Vec<_>>())
    };
    let train = predictions(artifact, table, Split::Train)?;
    let test = predictions(artifact, table, Split::Test)?;
    let test_raw: Vec<(f64, bool)> = test.iter().map(|(score, label)| (score.raw, *label)).collect();
    let left_out: Vec<(f64, bool)> = out_of_fold
        .iter()
        .map(|(margin, label)| (Calibrator::Identity.probability(*margin), *label))
        .collect();
    let positives = |scored: &[(Score, bool)]| scored.iter().filter(|(_, label)| *label).count();
    let groups: BTreeSet<u64> = table.part(Split::Train).map(|row| row.group).collect();
    let inputs = artifact.content().inputs.iter().zip(&design.columns);
    Ok(Report {
        train_rows: train.len(),
        train_positives: positives(&train),
        test_rows: test.len(),
        test_positives: positives(&test),
        train_groups: groups.len(),
        convergence,
        calibrator: artifact.content().calibrator.as_str().to_owned(),
        train: calibrated(&train),
        out_of_fold: Metrics::measure(&left_out),
        out_of_time: calibrated(&test),
        out_of_time_raw: Metrics::measure(&test_raw),
        features: inputs
            .map(|(input, column)| FeatureReport {
                feature: input.feature.clone(),
                transform: input.transform.as_str().to_owned(),
                mean: input.mean,
                scale: input.scale,
                weight: input.weight,
                missing_weight: input.missing_weight,
                missing_share: column.missing_share,
                auc_alone: column.auc_alone,
            })
            .collect(),
        dropped: design.dropped.clone(),
        warnings,
    })
}

fn to_json(field: &str, value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::InvalidContent {
        field: field.to_owned(),
        found: error.to_string(),
        expected: "content that JSON can hold",
    })
}

#[cfg(test)]
mod tests;
