//! Fitting a logistic regression and everything a fit needs to be trusted: standardised columns, checked
//! convergence, honest calibration, a time-ordered test, a report.
//!
//! Not here: where the table comes from (`feature-store` exports it), tuning over many fits, or publishing.

mod assess;
mod calibration;
mod curvature;
mod design;
mod elastic;
mod evaluate;
mod family;
mod folds;
mod ftrl;
mod leak;
mod logistic;
mod losses;
mod newton;
mod reference;
mod report;
mod search;
mod secants;
mod segments;
mod shape;
mod table;
mod trees;
mod weight;

use std::sync::Arc;

use augur_domain::decision::Score;
use augur_domain::feature::{FeatureInfo, FeatureStatus};
use augur_domain::{ContentHash, FeatureSet, FeatureVector, Timestamp, ValueType};
use serde::Serialize;

pub use calibration::{CalibrationReport, MINIMUM_PER_CLASS_FOR_ISOTONIC, SIMPLER_MARGIN, TriedCalibration};
pub use evaluate::Evaluating;
pub use family::{Considered, Family};
pub use ftrl::{Online, batches};
pub use report::{Convergence, FeatureReport, Report};
pub use search::Search;
pub use segments::{
    ClusterReport, Count, CountTried, MAX_AUTO, SegmentFeature, SegmentOptions, SegmentReport, Segmented,
    segment,
};
pub use trees::{Boosting, Growing};
pub use weight::PositiveWeight;

pub use table::{MAX_COLUMNS, MAX_ROWS, Row, Split, TrainingTable};

use crate::artifact::{Artifact, Content, Lineage, Transform};
use crate::{Error, Scorer, TaskDefinition};
use design::Design;

/// Largest share of the values at either end of a column that is winsorised.
const MAX_SHARE: f64 = 0.1;

/// How to calibrate the margins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calibration {
    /// Platt's, unless another one is better on people left out by more than [`SIMPLER_MARGIN`]; isotonic only with
    /// [`MINIMUM_PER_CLASS_FOR_ISOTONIC`] rows of each class.
    Auto,
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
    /// What the labels were made by; `None` for a table's own labels.
    pub task_definition: Option<TaskDefinition>,
    /// The definitions behind the table's columns.
    pub feature_set: ContentHash,
    /// Of the table's columns that are features, the hash of each one's own definition, by name; the artifact tells them
    /// if it reads no other columns.
    pub definitions: Vec<(String, ContentHash)>,
    /// Which kind of model; `None` tries logistic regression, a forest and boosted trees and takes the best on rows left
    /// out.
    pub family: Option<Family>,
    /// What a positive row weighs in the fit, a negative one weighing 1. Calibration undoes what it does to probabilities.
    pub positive_weight: PositiveWeight,
    /// How widely the family's settings are looked for on training rows.
    pub search: Search,
    /// A model that the fit sets out from. Logistic regression takes its weights: fewer steps, the same optimum.
    /// [`Family::Ftrl`] goes on where it was left, with the rows later than those it has learned from.
    pub warm_start: Option<Artifact>,
    /// How to grow a single tree.
    pub tree: Growing,
    /// How to grow a forest.
    pub forest: Growing,
    /// How to boost.
    pub boosting: Boosting,
    /// How [`Family::Ftrl`] learns from the first; a model that it goes on from has settings of its own.
    pub online: Online,
    /// Seeds the split into folds, and every draw of rows and columns.
    pub seed: u64,
    /// Of logistic regression, the penalty beside the summed log loss: `alpha * (l1_ratio * |weights|_1 +
    /// (1 - l1_ratio) / 2 * |weights|^2)`, 1e-6 to 1e9. The intercept is free.
    pub alpha: f64,
    /// Share of the penalty that is L1, 0 to 1: more of it sets more weights to 0.
    pub l1_ratio: f64,
    /// Share of the training values at either end of each column that logistic regression takes for the least or greatest
    /// of the others, 0 to 0.1; 0 leaves values as they are.
    pub winsorise: f64,
    /// For every column not in `transforms`; `None` takes logarithms of the skewed ones.
    pub default_transform: Option<Transform>,
    /// Columns that are read otherwise.
    pub transforms: Vec<(String, Transform)>,
    /// Columns that read the event which defines the label; a warning about one of them says so.
    pub label_readers: Vec<String>,
    /// How to calibrate.
    pub calibration: Calibration,
    /// How closely to look at what came of it.
    pub evaluating: Evaluating,
    /// Parts for out-of-fold margins, 2 to 20.
    pub folds: usize,
    /// Fewer training rows are refused.
    pub minimum_rows: usize,
    /// Fewer training rows of either class are refused.
    pub minimum_per_class: usize,
    /// What made someone train, such as drift of the version before; part of the lineage.
    pub trigger: Option<String>,
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
            task_definition: None,
            feature_set,
            definitions: Vec::new(),
            family: Some(Family::Logistic),
            positive_weight: PositiveWeight::EVEN,
            search: Search::None,
            warm_start: None,
            tree: Growing::TREE,
            forest: Growing::FOREST,
            boosting: Boosting::default(),
            online: Online::default(),
            seed: 0,
            alpha: 1.0,
            l1_ratio: 0.0,
            winsorise: 0.0,
            default_transform: Some(Transform::SignedLog1p),
            transforms: Vec::new(),
            label_readers: Vec::new(),
            calibration: Calibration::Platt,
            evaluating: Evaluating::default(),
            folds: 5,
            minimum_rows: 100,
            minimum_per_class: 10,
            trigger: None,
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
    fit_with_progress(table, options, &mut |_| {})
}

/// [`fit`], told in words how it proceeds, up to several hundred times.
///
/// # Errors
/// As [`fit`].
pub fn fit_with_progress(
    table: &TrainingTable,
    options: &Options,
    progress: &mut dyn FnMut(&str),
) -> Result<Trained, Error> {
    let unseen = match (options.family, &options.warm_start) {
        (Some(Family::Ftrl), Some(earlier)) => ftrl::unseen(table, earlier)?,
        _ => None,
    };
    let (table, seen) = unseen.as_ref().map_or((table, 0), |(table, seen)| (table, *seen));
    options.validate(table)?;
    check_counts(table, options)?;
    let design = Design::measure(table, options);
    if design.matrix.width == 0 {
        return Err(Error::NothingToLearn { columns: table.columns().len() });
    }
    let learned = family::learn(table, &design, options, progress)?;
    let mut warnings = assess::screen(table, &design, &learned);
    if seen > 0 {
        warnings.push(format!(
            "{seen} rows are not later than what the model has learned from, and were left out"
        ));
    }
    progress("looking for features that know the label");
    warnings.extend(leak::screen(table, &design, options)?);
    let groups: Vec<u64> = table.part(Split::Train).map(|row| row.group).collect();
    let (calibrator, calibration) =
        calibration::choose(&learned.out_of_fold, &groups, options, &mut warnings)?;
    let mut content = Content {
        name: options.name.clone(),
        task: options.task.clone(),
        positive_class: options.positive_class.clone(),
        feature_set: options.feature_set,
        body: learned.body.clone(),
        calibrator,
        lineage: learned.options.lineage(table, learned.family, learned.online.as_ref()),
        report: String::new(),
        reference: None,
    };
    let artifact = Artifact::new(content.clone())?;
    let evaluation = evaluate::evaluation(table, &artifact, &learned.out_of_fold, options)?;
    let report = assess::measure(table, &design, &artifact, learned, warnings)?;
    let report = Report { calibration: Some(calibration), evaluation, ..report };
    content.report = to_json("report", &report)?;
    content.reference = reference::reference(&artifact, table)?;
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
    let mut scored = Vec::new();
    each_vector(artifact, table, split, |scorer, vector, label| scored.push((scorer.score(vector), label)))?;
    Ok(scored)
}

/// Hands over the contributions of every row of one part.
fn contributions(
    artifact: &Artifact,
    table: &TrainingTable,
    split: Split,
    mut take: impl FnMut(&[(usize, f64)]),
) -> Result<(), Error> {
    let mut parts = Vec::new();
    each_vector(artifact, table, split, |scorer, vector, _| {
        scorer.contributions(vector, &mut parts);
        take(&parts);
    })
}

fn each_vector(
    artifact: &Artifact,
    table: &TrainingTable,
    split: Split,
    mut take: impl FnMut(&Scorer, &FeatureVector, bool),
) -> Result<(), Error> {
    let (scorer, mut vector) = scorer_over(artifact, table.columns())?;
    for row in table.part(split) {
        for ((slot, value), missing) in vector.values.iter_mut().zip(row.values).zip(row.missing) {
            slot.value = *value;
            slot.status = if *missing { FeatureStatus::NullValue } else { FeatureStatus::Present };
        }
        take(&scorer, &vector, row.label);
    }
    Ok(())
}

/// What scores rows of `columns`, numbers by name, and a row of them to be filled.
///
/// # Errors
/// [`Error::FeatureMismatch`] naming the inputs that no column is called like.
pub fn scorer_over(artifact: &Artifact, columns: &[String]) -> Result<(Scorer, FeatureVector), Error> {
    let describe = |name: &String| FeatureInfo {
        name: Arc::from(name.as_str()),
        value_type: ValueType::Number,
        description: Arc::from(""),
        events: None,
        definition: ContentHash::default(),
        unit: "".into(),
    };
    let features = columns.iter().map(describe).collect();
    let feature_set = FeatureSet::new(artifact.content().feature_set, features);
    Ok((Scorer::new(artifact, &feature_set)?, FeatureVector::not_found(&feature_set)))
}

impl Options {
    fn transform_of(&self, column: &str) -> Option<Transform> {
        let own = self.transforms.iter().find(|(name, _)| name == column);
        own.map_or(self.default_transform, |(_, transform)| Some(*transform))
    }

    /// Whether columns are measured alike.
    fn measures_like(&self, other: &Self) -> bool {
        self.default_transform == other.default_transform
            && self.transforms == other.transforms
            && self.winsorise.to_bits() == other.winsorise.to_bits()
    }

    /// The definitions of these columns; of none when one of them is unknown.
    fn definitions_of<'a>(&self, columns: impl Iterator<Item = &'a str> + Clone) -> Vec<Option<ContentHash>> {
        let definition = |column: &str| {
            let own = self.definitions.iter().find(|(name, _)| name == column);
            own.map(|(_, definition)| *definition)
        };
        let known: Option<Vec<ContentHash>> = columns.clone().map(definition).collect();
        known.map_or_else(|| columns.map(|_| None).collect(), |known| known.into_iter().map(Some).collect())
    }

    fn validate(&self, table: &TrainingTable) -> Result<(), Error> {
        let invalid = |option, found: String, expected| Err(Error::InvalidOption { option, found, expected });
        // Without a penalty separable classes have no optimum.
        if !(1e-6..=1e9).contains(&self.alpha) {
            return invalid("alpha", format!("{:e}", self.alpha), "1e-6 to 1e9");
        }
        if !(0.0..=1.0).contains(&self.l1_ratio) {
            return invalid("l1_ratio", format!("{:e}", self.l1_ratio), "0 to 1");
        }
        if !(0.0..=MAX_SHARE).contains(&self.winsorise) {
            return invalid("winsorise", format!("{:e}", self.winsorise), "0 to 0.1");
        }
        self.positive_weight.validate()?;
        self.online.validate()?;
        if self.positive_weight != PositiveWeight::EVEN && self.calibration == Calibration::Identity {
            let expected =
                "a calibration: weights move the probabilities, and only calibration moves them back";
            return invalid(
                "positive_weight",
                format!("{} without calibration", self.positive_weight),
                expected,
            );
        }
        self.evaluating.validate(table)?;
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

    fn lineage(&self, table: &TrainingTable, family: Family, online: Option<&ftrl::State>) -> Lineage {
        #[derive(Serialize)]
        struct Parameters<'a> {
            family: &'a str,
            algorithm: &'a str,
            positive_weight: String,
            alpha: f64,
            l1_ratio: f64,
            winsorise: f64,
            search: &'a str,
            default_transform: &'a str,
            transforms: Vec<(&'a str, &'a str)>,
            calibration: &'a str,
            folds: usize,
            minimum_rows: usize,
            minimum_per_class: usize,
            #[serde(skip_serializing_if = "Option::is_none")]
            task: Option<&'a TaskDefinition>,
            #[serde(skip_serializing_if = "Option::is_none")]
            tree: Option<Growing>,
            #[serde(skip_serializing_if = "Option::is_none")]
            forest: Option<Growing>,
            #[serde(skip_serializing_if = "Option::is_none")]
            boosting: Option<Boosting>,
            #[serde(skip_serializing_if = "Option::is_none")]
            warm_start: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            online: Option<&'a ftrl::State>,
            #[serde(skip_serializing_if = "Option::is_none")]
            trigger: Option<&'a str>,
        }
        let parameters = Parameters {
            family: family.as_str(),
            algorithm: match family {
                Family::Logistic => "logistic regression, linfa-logistic L-BFGS then Newton",
                Family::Ftrl => "FTRL-proximal",
                Family::Tree | Family::Forest | Family::Boosted => "trees grown on histograms",
            },
            positive_weight: self.positive_weight.to_string(),
            alpha: self.alpha,
            l1_ratio: self.l1_ratio,
            winsorise: self.winsorise,
            search: self.search.as_str(),
            default_transform: self.default_transform.map_or("by skewness", Transform::as_str),
            transforms: self.transforms.iter().map(|(name, of)| (name.as_str(), of.as_str())).collect(),
            calibration: self.calibration.as_str(),
            folds: self.folds,
            minimum_rows: self.minimum_rows,
            minimum_per_class: self.minimum_per_class,
            task: self.task_definition.as_ref(),
            tree: (family == Family::Tree).then_some(self.tree),
            forest: (family == Family::Forest).then_some(self.forest),
            boosting: (family == Family::Boosted).then_some(self.boosting),
            warm_start: self.warm_start.as_ref().map(|artifact| artifact.id().to_string()),
            online,
            trigger: self.trigger.as_deref(),
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
            Self::Auto => "auto",
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

fn to_json(field: &str, value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::InvalidContent {
        field: field.to_owned(),
        found: error.to_string(),
        expected: "content that JSON can hold",
    })
}

#[cfg(test)]
mod tests;
