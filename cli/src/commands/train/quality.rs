//! What `augur train` shows of a fit's quality: intervals, reliability before and after calibration, segments.
//!
//! Not here: the measures (`augur_models`), or the line per part (`super`).

use augur_models::evaluation::Evaluation;
use augur_models::evaluation::segments::{Segment, Segmentation, Segments};
use augur_models::metrics::Interval;
use augur_models::metrics::reliability::Bin;
use augur_models::train::{Calibration, CalibrationReport, Evaluating, Report};
use clap::ValueEnum;

use crate::Error;
use crate::output::{grouped, table};

/// How to make probabilities of margins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CalibrationName {
    /// Platt's, unless another one has a log loss on users left out that is lower by more than 0.1 %.
    Auto,
    /// The model's own probability.
    None,
    /// A sigmoid: two numbers, safe with few rows.
    Platt,
    /// Steps that never fall: for thousands of rows of each class.
    Isotonic,
}

impl CalibrationName {
    pub(crate) const fn calibration(self) -> Calibration {
        match self {
            Self::Auto => Calibration::Auto,
            Self::None => Calibration::Identity,
            Self::Platt => Calibration::Platt,
            Self::Isotonic => Calibration::Isotonic,
        }
    }
}

/// How a fit is calibrated and looked at.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct QualityArgs {
    /// How to make probabilities: `auto` tries all on users left out.
    #[arg(long, value_enum, default_value_t = CalibrationName::Auto)]
    pub(crate) calibration: CalibrationName,
    /// Measure by segment too: a column of the table (it is then no feature), or with `--task` a feature.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) segment: Option<String>,
    /// From which probability on a row counts as selected in the table of segments; the base rate of training unless
    /// given.
    #[arg(long, value_name = "PROBABILITY", requires = "segment")]
    pub(crate) threshold: Option<f64>,
    /// How often rows are drawn for the 95 % intervals, by user; 0 gives none.
    #[arg(long, default_value_t = augur_models::metrics::interval::RESAMPLES, value_name = "COUNT")]
    pub(crate) resamples: usize,
}

impl QualityArgs {
    /// What was asked for, without segments.
    pub(crate) fn evaluating(&self) -> Evaluating {
        Evaluating { resamples: self.resamples, segments: None, threshold: self.threshold }
    }
}

impl Default for QualityArgs {
    fn default() -> Self {
        let resamples = augur_models::metrics::interval::RESAMPLES;
        Self { calibration: CalibrationName::Auto, segment: None, threshold: None, resamples }
    }
}

/// Segments of the rows of a task by one of its features.
pub(crate) fn by_feature<'a>(
    feature: &str,
    columns: &[String],
    rows: impl Iterator<Item = &'a [Option<f64>]>,
) -> Result<Segmentation, Error> {
    let place = columns.iter().position(|column| column == feature).ok_or_else(|| {
        let known: Vec<&str> = columns.iter().take(8).map(String::as_str).collect();
        let problem = format!(
            "--segment names `{feature}`, which no training row has; they have {}, ...",
            known.join(", ")
        );
        Error::Usage { problem, expected: "a feature that is a number or a truth" }
    })?;
    let values: Vec<Option<f64>> = rows.map(|row| row.get(place).copied().flatten()).collect();
    Ok(Segmentation::of_numbers(feature, &values))
}

/// Everything beyond the line per part.
pub(crate) fn text(report: &Report) -> String {
    let mut text = String::new();
    if let Some(calibration) = &report.calibration {
        text.push_str(&calibration_line(calibration));
    }
    if let Some(evaluation) = &report.evaluation {
        text.push_str(&intervals(evaluation));
        text.push_str(&reliability(evaluation));
        if let Some(segments) = &evaluation.segments {
            text.push_str(&segments_table(segments));
        }
    }
    text
}

fn calibration_line(report: &CalibrationReport) -> String {
    let figure = |figure: Option<f64>| figure.map_or("-".to_owned(), |figure| format!("{figure:.5}"));
    let tried: Vec<String> = report
        .tried
        .iter()
        .map(|tried| match &tried.refused {
            Some(_) => format!("{} not tried", tried.calibration),
            None => format!("{} {}", tried.calibration, figure(tried.log_loss)),
        })
        .collect();
    let tried = if tried.is_empty() { "nothing could be tried".to_owned() } else { tried.join(", ") };
    format!(
        "calibration {} ({}; log loss on users left out of it: {tried})\n",
        report.chosen, report.requested
    )
}

/// The intervals in a line, if some were drawn.
pub(crate) fn intervals(evaluation: &Evaluation) -> String {
    let Some(found) = &evaluation.intervals else { return String::new() };
    let range = |name: &str, interval: Option<Interval>| {
        interval.map(|interval| format!("{name} {:.4} to {:.4}", interval.low, interval.high))
    };
    let told = [
        range("ROC-AUC", found.roc_auc),
        range("PR-AUC", found.pr_auc),
        range("log loss", found.log_loss),
        range("ECE", found.ece),
        range("KS", found.ks),
    ];
    let told: Vec<String> = told.into_iter().flatten().collect();
    format!(
        "95 % intervals, {} ({} draws of {} users): {}\n",
        part(evaluation),
        found.resamples,
        grouped(found.groups as u64),
        told.join(", ")
    )
}

fn reliability(evaluation: &Evaluation) -> String {
    let row = |bin: &Bin, when: &str| {
        vec![
            when.to_owned(),
            format!("{:.4}", bin.mean_probability),
            format!("{:.4}", bin.observed),
            format!("{:.4} to {:.4}", bin.observed_interval.low, bin.observed_interval.high),
            grouped(bin.rows),
        ]
    };
    let before = evaluation.reliability_before.iter().map(|bin| row(bin, "before"));
    let after = evaluation.reliability.iter().map(|bin| row(bin, "after"));
    let rows: Vec<Vec<String>> = if evaluation.reliability_before == evaluation.reliability {
        after.collect()
    } else {
        before.chain(after).collect()
    };
    let header = ["calibration", "mean predicted", "observed", "95 % interval", "rows"];
    format!("reliability, {}\n{}", part(evaluation), table(&header, &rows))
}

fn segments_table(segments: &Segments) -> String {
    let figure = |figure: Option<f64>| figure.map_or("-".to_owned(), |figure| format!("{figure:.4}"));
    let row = |segment: &Segment| {
        vec![
            format!("{}{}", segment.name, if segment.small { " *" } else { "" }),
            grouped(segment.rows),
            grouped(segment.positives),
            figure(Some(segment.base_rate)),
            figure(Some(segment.mean_probability)),
            figure(segment.roc_auc),
            figure(Some(segment.ece)),
            figure(Some(segment.selection_rate)),
            figure(segment.selection_ratio),
            figure(segment.true_positive_rate),
            figure(segment.false_positive_rate),
            figure(segment.precision),
        ]
    };
    let rows: Vec<Vec<String>> =
        std::iter::once(&segments.whole).chain(&segments.segments).map(row).collect();
    let header = [
        "",
        "rows",
        "positive",
        "base rate",
        "predicted",
        "ROC-AUC",
        "ECE",
        "selected",
        "ratio",
        "TPR",
        "FPR",
        "precision",
    ];
    let from = if segments.threshold_from == "given" { "as given" } else { "the base rate of training" };
    let small = if segments.segments.iter().any(|segment| segment.small) {
        "* too few rows, positives or negatives to say much\n"
    } else {
        ""
    };
    let (column, threshold) = (&segments.column, segments.threshold);
    let title = format!("by `{column}`, selected from {threshold:.4} on ({from})\n");
    format!("{title}{}{small}", table(&header, &rows))
}

fn part(evaluation: &Evaluation) -> &'static str {
    if evaluation.part == "out_of_time" { "rows held back" } else { "rows left out of their fit" }
}
