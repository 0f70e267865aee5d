//! `augur train --labels`: somebody's own labels, each joined with its user's stored features as they were then.
//!
//! Not here: reading the file (`features::labels`), features of the past (the feature store), or fitting.

use std::path::PathBuf;

use augur_loadtest::domain::Timestamp;
use augur_loadtest::domain::time::format_duration_ms;
use augur_server::App;
use augur_server::offline::{TrainingOptions, TrainingSet};
use indicatif::ProgressBar;
use serde::Serialize;

use super::rows::Rows;
use crate::Error;
use crate::commands::features::labels::Columns;
use crate::import::{Format, InstantFormat};

/// Of a file of labels, what is held back unless `--test-from` says it: the latest third.
const TEST_SHARE: (usize, usize) = (1, 3);
const NEXT_STEP: &str =
    "check `--map user_id=COLUMN` and the instants, or import these people's events first";

/// Labels of somebody's own.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Labels of your own")]
pub(super) struct LabelArgs {
    /// Train on these labels instead of a task's (CSV, JSON lines or Parquet): whom a row is about, as of when, and what
    /// came of it. Each is joined with the stored features as they were at that instant.
    #[arg(long, value_name = "FILE", requires_all = ["data", "name"], conflicts_with_all = ["table", "task", "tasks", "event", "inactive", "active", "cutoffs", "cutoff_every"])]
    labels: Option<PathBuf>,
    /// Of labels, the model's name in the registry.
    #[arg(long, value_name = "NAME", requires = "labels")]
    name: Option<String>,
    /// Of labels, what a label of 1 means, for people: it stands in the card.
    #[arg(long, value_name = "TEXT", requires = "labels", default_value = "label 1")]
    positive_class: String,
    /// What the file of labels holds, when its name does not tell.
    #[arg(long, value_enum, requires = "labels")]
    format: Option<Format>,
    /// Which column of the labels is which field: user_id, anonymous_id, timestamp or label.
    #[arg(long, value_name = "FIELD=COLUMN", requires = "labels")]
    map: Vec<String>,
    /// What a request told of a name that the definitions declare in `[context]`, by which column of the labels.
    #[arg(long, value_name = "NAME=COLUMN", requires = "labels")]
    context: Vec<String>,
    /// Hold labels from this instant on back and measure on them; the latest third unless given.
    #[arg(long, value_name = "TIME", requires = "labels")]
    test_from: Option<String>,
}

/// Labels to learn from.
#[derive(Debug, Clone)]
pub(crate) struct Labels {
    path: PathBuf,
    format: Format,
    /// The model's name.
    pub(super) name: String,
    positive_class: String,
    map: Vec<String>,
    context: Vec<String>,
    test_from: Option<Timestamp>,
    horizon_ms: Option<i64>,
}

/// What was read, as the report tells it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Read {
    file: PathBuf,
    rows: usize,
    /// Rows whose user had no event before the instant: no feature of theirs has a value.
    without_features: usize,
    /// Rows before `test_from` whose horizon reaches beyond it.
    left_out: usize,
    /// How far a label looks ahead, if told.
    horizon: Option<String>,
    from: String,
    to: String,
    /// Rows from here on are held back; absent when all are as of one instant.
    test_from: Option<String>,
}

impl LabelArgs {
    /// The labels, if some are given. `horizon_ms` is how far a label looks ahead.
    pub(super) fn resolve(&self, horizon_ms: Option<i64>) -> Result<Option<Labels>, Error> {
        let (Some(path), Some(name)) = (&self.labels, &self.name) else { return Ok(None) };
        let instant = |text: &String| {
            let wrong = |expected| Error::Argument { argument: "--test-from", found: text.clone(), expected };
            InstantFormat::Guess.read_text(text).map_err(wrong)
        };
        Ok(Some(Labels {
            path: path.clone(),
            format: self.format.map_or_else(|| Format::of(path), Ok)?,
            name: name.clone(),
            positive_class: self.positive_class.clone(),
            map: self.map.clone(),
            context: self.context.clone(),
            test_from: self.test_from.as_ref().map(instant).transpose()?,
            horizon_ms,
        }))
    }
}

impl Labels {
    /// Reads the file and joins it with what is stored in `app`. Labels that do not fit into memory are sorted in the
    /// data directory.
    pub(super) fn rows(&self, app: &App) -> Result<Rows, Error> {
        augur_models::registry::check_model_name(&self.name)?;
        let options = TrainingOptions::default();
        let mut labels = app.label_sorter(&app.config().data.dir, options)?;
        let columns = Columns::of(&self.path, self.format, &self.map)?.of_classes(&self.path)?;
        let columns = columns.with_context(&self.context, app.store().schema().context())?;
        columns.read(&self.path, self.format, app, &mut labels, &ProgressBar::hidden())?;
        let set = app.training_set_of(labels.finish().map_err(augur_server::Error::from)?, options)?;
        let rows = set.len();
        let without_features = set.rows().filter(|row| row.0.iter().all(Option::is_none)).count();
        if without_features == rows {
            return Err(Error::TooLittle {
                problem: format!("of {rows} labels, none is of somebody with an event before its instant"),
                expected: "labels of people whose events are stored".to_owned(),
                next_step: NEXT_STEP,
            });
        }
        let mut times = set.times.clone();
        times.sort_unstable();
        let test_from = self.border(&times)?;
        let set = self.apart(set, test_from);
        Ok(Rows {
            positive_class: self.positive_class.clone(),
            test_from,
            cutoffs: Vec::new(),
            held_back_cutoffs: 0,
            task: None,
            label_readers: Vec::new(),
            labels: Some(Read {
                file: self.path.clone(),
                rows,
                without_features,
                left_out: rows - set.len(),
                horizon: self.horizon_ms.map(format_duration_ms),
                from: times.first().map(ToString::to_string).unwrap_or_default(),
                to: times.last().map(ToString::to_string).unwrap_or_default(),
                test_from: test_from.map(|at| at.to_string()),
            }),
            set,
        })
    }

    /// From when on labels are held back: rows of one instant never part. `times` ascend.
    fn border(&self, times: &[Timestamp]) -> Result<Option<Timestamp>, Error> {
        let (Some(first), Some(last)) = (times.first(), times.last()) else { return Ok(None) };
        if let Some(at) = self.test_from {
            if *first < at && at <= *last {
                return Ok(Some(at));
            }
            return Err(Error::Argument {
                argument: "--test-from",
                found: at.to_string(),
                expected: format!(
                    "an instant after the first label and not after the last, {first} to {last}"
                ),
            });
        }
        let at = times.get(times.len() - times.len() * TEST_SHARE.0 / TEST_SHARE.1).or(Some(last)).copied();
        Ok(at.filter(|at| at > first).or_else(|| times.iter().find(|at| *at > first).copied()))
    }

    /// Without the rows that would let the training know what happened in the time that measures it.
    fn apart(&self, set: TrainingSet, test_from: Option<Timestamp>) -> TrainingSet {
        let (Some(test_from), Some(horizon_ms)) = (test_from, self.horizon_ms) else { return set };
        set.at_instants(|at| at >= test_from || at.plus_millis(horizon_ms) <= test_from)
    }
}

impl Read {
    /// The report's lines.
    pub(super) fn text(&self) -> String {
        let Self { rows, from, to, .. } = self;
        let held_back = match &self.test_from {
            Some(at) => format!("those from {at} on held back"),
            None => "none held back, as all are of one instant".to_owned(),
        };
        let mut text = format!("{rows} labels of {} from {from} to {to}, {held_back}\n", self.file.display());
        if self.left_out > 0 {
            let horizon = self.horizon.as_deref().unwrap_or_default();
            text.push_str(&format!(
                "note: {} labels left out, whose {horizon} reach into the time held back\n",
                self.left_out
            ));
        }
        if self.without_features > 0 {
            text.push_str(&format!(
                "note: {} labels are of somebody without an event before the instant\n",
                self.without_features
            ));
        }
        text
    }
}
