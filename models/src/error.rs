//! Everything that can go wrong in this crate, in one enum.
//!
//! Not here: the conversion to a wire status or an exit code, which belongs to the edges.

use std::io;
use std::path::PathBuf;

/// What went wrong, where, and what would have been right.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Bytes that are not a model artifact of a known version.
    #[error("byte {offset} of the model artifact: {problem}; expected {expected}")]
    Malformed {
        /// Where reading stopped.
        offset: usize,
        /// What was found.
        problem: String,
        /// What should have been there.
        expected: &'static str,
    },
    /// A model file of another library that is damaged, or that cannot be scored as that library does.
    #[error("{format} model, {place}: {problem}; expected {expected}")]
    Foreign {
        /// The format, e.g. `LightGBM`.
        format: &'static str,
        /// The line or the node.
        place: String,
        /// What is there.
        problem: String,
        /// What could be read.
        expected: String,
    },
    /// A model's content breaks a rule that scoring relies on.
    #[error("model field `{field}` is {found}; expected {expected}")]
    InvalidContent {
        /// Path of the field, e.g. `inputs[3].scale`.
        field: String,
        /// The value found.
        found: String,
        /// The rule.
        expected: &'static str,
    },
    /// A model reads features that the feature set does not offer as numbers.
    #[error(
        "model `{model}` cannot score feature set {feature_set}: it has no numeric feature {}; declare what is \
         missing or train the model again",
        quoted(missing)
    )]
    FeatureMismatch {
        /// The model.
        model: String,
        /// Short hash of the feature set asked.
        feature_set: String,
        /// Names that the set lacks or holds as text, in the model's order.
        missing: Vec<String>,
    },
    /// A model of segments where a probability is wanted, or the other way round.
    #[error(
        "model `{model}` gives {found}, not {expected}; declare under `[[model]]` what gives a probability and under \
         `[[segment]]` what gives segments"
    )]
    WrongKind {
        /// The model.
        model: String,
        /// What it gives.
        found: &'static str,
        /// What is wanted.
        expected: &'static str,
    },
    /// A name that cannot be a directory, an alias or a column.
    #[error("`{found}` cannot be used as {kind}; expected {expected}")]
    InvalidName {
        /// What it was to name.
        kind: &'static str,
        /// The name, shortened.
        found: String,
        /// The rule.
        expected: &'static str,
    },
    /// An artifact published under a name that is not its own.
    #[error("the artifact is of model `{artifact}`, not `{name}`; publish it as `{artifact}`")]
    WrongModel {
        /// The name published under.
        name: String,
        /// The name inside the artifact.
        artifact: String,
    },
    /// A version that was never published.
    #[error("model `{name}` has no version {version}; its newest is {newest}")]
    UnknownVersion {
        /// The model.
        name: String,
        /// The version asked for.
        version: u32,
        /// The newest version, 0 if there is none.
        newest: u32,
    },
    /// A model of which nothing was ever published.
    #[error("there is no model `{}`; there is {}", shortened(name), listed(known))]
    UnknownModel {
        /// The name asked for.
        name: String,
        /// The models there are.
        known: Vec<String>,
    },
    /// An alias that never pointed at anything.
    #[error(
        "model `{name}` has no alias `{}`; name a version, or an alias that `augur models list` shows",
        shortened(alias)
    )]
    UnknownAlias {
        /// The model.
        name: String,
        /// The alias.
        alias: String,
    },
    /// A canary beside another of the same alias.
    #[error("version {version} of model `{name}` is on trial already; stop that canary first")]
    CanaryUnderWay {
        /// The model.
        name: String,
        /// The version on trial.
        version: u32,
    },
    /// A canary of what decides for everybody.
    #[error(
        "alias `{alias}` of model `{name}` points at version {version} already; put another version on trial"
    )]
    CanaryDecides {
        /// The model.
        name: String,
        /// The alias.
        alias: String,
        /// The version.
        version: u32,
    },
    /// A canary of a version that gives segments.
    #[error(
        "version {version} of model `{name}` gives segments, and the arms of a canary are compared by their scores; \
         point the alias at it with `augur models promote` instead"
    )]
    CanaryOfSegments {
        /// The model.
        name: String,
        /// The version.
        version: u32,
    },
    /// No canary where one was to be ended.
    #[error(
        "version {version} of model `{name}` is not on trial; `augur models canary status` tells which is"
    )]
    NoCanary {
        /// The model.
        name: String,
        /// The version asked for.
        version: u32,
    },
    /// A rollback of an alias without an earlier version.
    #[error(
        "alias `{alias}` of model `{name}` has no earlier version to return to; set it to a version instead"
    )]
    NothingToRollBack {
        /// The model.
        name: String,
        /// The alias.
        alias: String,
    },
    /// A registry file whose content is not what was written.
    #[error("{} is damaged: {problem}; restore the file from a backup or publish the model again", file.display())]
    Corrupted {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// Something over its bound.
    #[error("{what} is {found}, over the limit of {limit}")]
    TooLarge {
        /// What is too large, with its unit.
        what: &'static str,
        /// Its size.
        found: u64,
        /// The most allowed.
        limit: u64,
    },
    /// A training or calibration row that does not fit its table.
    #[error("row {row} has {found} values; expected one per column, {expected}")]
    WrongWidth {
        /// Counted from 0.
        row: usize,
        /// Values given.
        found: usize,
        /// Columns of the table.
        expected: usize,
    },
    /// NaN or an infinity among the training values.
    #[error("row {row}, column `{column}` is {value}; expected a finite number, or nothing if it is missing")]
    NotFinite {
        /// Counted from 0.
        row: usize,
        /// The column.
        column: String,
        /// The value found.
        value: f64,
    },
    /// Too little to learn from.
    #[error(
        "{rows} training rows with {positives} positive and {negatives} negative; expected at least \
         {minimum_rows} rows and {minimum_per_class} of each class"
    )]
    TooFewRows {
        /// Training rows.
        rows: usize,
        /// Of them positive.
        positives: usize,
        /// Of them negative.
        negatives: usize,
        /// Rows needed.
        minimum_rows: usize,
        /// Rows needed of each class.
        minimum_per_class: usize,
    },
    /// Labels that are all the same.
    #[error("all {rows} {part} rows are {}; expected both classes", if *class { "positive" } else { "negative" })]
    OneClass {
        /// Which rows: `training`, `calibration`.
        part: &'static str,
        /// How many.
        rows: usize,
        /// The only label seen.
        class: bool,
    },
    /// No column varies.
    #[error(
        "none of the {columns} columns varies over the training rows; expected at least one feature that does"
    )]
    NothingToLearn {
        /// Columns of the table.
        columns: usize,
    },
    /// The optimum was not reached.
    #[error(
        "{what} did not converge: gradient norm {gradient_norm:e} after {steps} steps, expected at most \
         {tolerance:e}; raise alpha or remove columns that repeat each other"
    )]
    NotConverged {
        /// Which fit.
        what: &'static str,
        /// Largest absolute partial derivative left.
        gradient_norm: f64,
        /// The bound.
        tolerance: f64,
        /// Newton steps taken.
        steps: usize,
    },
    /// A training option outside its bounds.
    #[error("training option `{option}` is {found}; expected {expected}")]
    InvalidOption {
        /// The option.
        option: &'static str,
        /// Its value.
        found: String,
        /// Its bounds.
        expected: &'static str,
    },
}

impl Error {
    /// Wraps a refusal of the operating system with what was tried on which path.
    pub(crate) fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Names to choose from, not too many.
fn listed(names: &[String]) -> String {
    match names {
        [] => "none yet".to_owned(),
        names => quoted(names.get(..20).unwrap_or(names)),
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}
