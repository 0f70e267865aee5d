//! The evaluation of a fit: on the rows held back, or where there are none on rows left out of their fold's fit.
//!
//! Not here: what is measured ([`crate::evaluation`]), or the rest of the report (`assess`).

use super::{Options, Split, TrainingTable, predictions};
use crate::Error;
use crate::artifact::Artifact;
use crate::calibrate::Calibrator;
use crate::evaluation::{Evaluation, Scored, Segmentation, Segments};
use crate::metrics::interval;

/// How closely to look at a fit.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluating {
    /// How often rows are drawn for intervals, 0 to 10 000; 0 gives none.
    pub resamples: usize,
    /// The segment of every row of the table, in its order.
    pub segments: Option<Segmentation>,
    /// From which probability on a row counts as selected in the table of segments; the base rate of the rows fitted on
    /// unless given.
    pub threshold: Option<f64>,
}

impl Default for Evaluating {
    fn default() -> Self {
        Self { resamples: interval::RESAMPLES, segments: None, threshold: None }
    }
}

impl Evaluating {
    pub(super) fn validate(&self, table: &TrainingTable) -> Result<(), Error> {
        let invalid = |option, found, expected| Err(Error::InvalidOption { option, found, expected });
        if self.resamples > 10_000 {
            return invalid("resamples", self.resamples.to_string(), "0 to 10000");
        }
        if let Some(threshold) = self.threshold.filter(|threshold| !(0.0..=1.0).contains(threshold)) {
            return invalid("threshold", threshold.to_string(), "a probability, 0 to 1");
        }
        match &self.segments {
            Some(segments) if segments.len() != table.len() => {
                let found = format!("for {} of {} rows", segments.len(), table.len());
                invalid("segments", found, "a segment for every row of the table")
            }
            _ => Ok(()),
        }
    }
}

/// Looks at the rows held back, else at those left out of their fold's fit; `None` when there are neither.
pub(super) fn evaluation(
    table: &TrainingTable,
    artifact: &Artifact,
    out_of_fold: &[(f64, bool)],
    options: &Options,
) -> Result<Option<Evaluation>, Error> {
    let test = predictions(artifact, table, Split::Test)?;
    let (part, split, calibrated, raw): (_, _, Vec<_>, Vec<_>) = if test.is_empty() {
        let through = |calibrator: &Calibrator| {
            out_of_fold.iter().map(|(margin, label)| (calibrator.probability(*margin), *label)).collect()
        };
        let calibrator = &artifact.content().calibrator;
        ("out_of_fold", Split::Train, through(calibrator), through(&Calibrator::Identity))
    } else {
        let calibrated = test.iter().map(|(score, label)| (score.calibrated, *label)).collect();
        (
            "out_of_time",
            Split::Test,
            calibrated,
            test.iter().map(|(score, label)| (score.raw, *label)).collect(),
        )
    };
    let groups: Vec<u64> = table.part(split).map(|row| row.group).collect();
    let scored = Scored { calibrated: &calibrated, raw: &raw, groups: &groups };
    let asked = &options.evaluating;
    let mut evaluation = Evaluation::of(part, scored, asked.resamples, options.seed);
    if let (Some(evaluation), Some(segments)) = (&mut evaluation, &asked.segments) {
        let rows: Vec<usize> = table.places(split).collect();
        let (threshold, from) = match asked.threshold {
            Some(threshold) => (threshold, "given"),
            None => (base_rate(table), "base_rate"),
        };
        evaluation.segments = Segments::of(segments, &calibrated, &rows, threshold, from);
    }
    Ok(evaluation)
}

fn base_rate(table: &TrainingTable) -> f64 {
    let (rows, positives) = table
        .part(Split::Train)
        .fold((0.0, 0.0), |(rows, positives), row| (rows + 1.0, positives + f64::from(u8::from(row.label))));
    positives / f64::max(rows, 1.0)
}
