//! `augur ope`: what another policy would have been worth on a log, from any table of decisions.
//!
//! Not here: the estimators (`augur_shadow_harness::off_policy`), or reading files (`import`).

use std::path::{Path, PathBuf};

use augur_shadow_harness::off_policy::{
    Estimate, Evaluation, Interval, LoggedRow, Options, RowFault, evaluate,
};
use serde::Serialize;

use crate::commands::train::table::{group_of, value};
use crate::import::mapping::Cell;
use crate::import::source::{self, Format};
use crate::output::{Output, grouped, table};
use crate::{Error, Outcome, progress};

const HELP: &str = "\
One row is one decision: the reward that followed, the probability with which the logging policy gave the action
(propensity), and the probability with which the policy in question would give the same action (target). With a reward
model, two more columns: what it expects of the action that was given, and its expectation under the target policy.

Examples:
  augur ope --input log.csv --reward clicked --propensity p --target p_new
  augur ope --input log.parquet --reward value --propensity p --target p_new --model q --model-target q_new --json
  augur ope --input kept.csv.gz --reward r --propensity p --target t --pass keep_probability --decisions 1000000
  augur ope --input log.csv --reward clicked --propensity p --target p_new --report ope.html

Every row is held in memory, about 100 bytes each.

Exit codes:
  0  the log can tell; the estimates may be believed as far as their intervals go
  1  the table could not be read
  3  the log cannot tell: the report says why, and what would";
/// The log cannot tell.
const EXIT_NOT_IDENTIFIABLE: u8 = 3;

/// Estimate what another policy would have been worth, from a log of decisions with their probabilities.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The table: `.csv`, `.csv.gz` or `.parquet`.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// The column of rewards.
    #[arg(long, value_name = "COL")]
    reward: String,
    /// The column of probabilities with which the logging policy gave the action, after everything that had a say.
    #[arg(long, value_name = "COL")]
    propensity: String,
    /// The column of probabilities with which the target policy gives the same action.
    #[arg(long, value_name = "COL")]
    target: String,
    /// The column of what a reward model expects of the action that was given; fitted on other rows than these.
    #[arg(long, value_name = "COL", requires = "model_target")]
    model: Option<String>,
    /// The column of what it expects under the target policy: the sum over actions of its probability and their reward.
    #[arg(long, value_name = "COL", requires = "model")]
    model_target: Option<String>,
    /// The column of probabilities with which a row was kept, of a log that is thinned.
    #[arg(long, value_name = "COL")]
    pass: Option<String>,
    /// The column that says how much of the target's probability lies on actions that the logging policy could give.
    #[arg(long, value_name = "COL")]
    supported: Option<String>,
    /// The column that says whom a row is about: rows of one are resampled together.
    #[arg(long, value_name = "COL")]
    group: Option<String>,
    /// Decisions behind a thinned log; left out, as many as rows.
    #[arg(long, value_name = "N")]
    decisions: Option<u64>,
    /// Actions that the logging policy chooses from: then a refusal says how much exploration would do.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    actions: Option<u32>,
    /// The bound of weights for the clipped, switching and shrinking estimators; left out, chosen from the data.
    #[arg(long, value_name = "WEIGHT", value_parser = positive)]
    clip: Option<f64>,
    /// Probability that an interval covers.
    #[arg(long, default_value_t = 0.95, value_parser = share)]
    confidence: f64,
    /// Resamples of the bootstrap; 0 for none.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    resamples: u32,
    /// Of the bootstrap.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Write the evaluation as a page for people, too: one HTML file, nothing else needed.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

fn positive(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|bound| *bound > 0.0).ok_or_else(|| "expected a number above 0".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| *share > 0.0 && *share < 1.0);
    share.ok_or_else(|| "expected a number above 0 and below 1, such as 0.95".to_owned())
}

#[derive(Debug, Serialize)]
struct Report {
    input: PathBuf,
    #[serde(flatten)]
    evaluation: Evaluation,
}

/// Runs the command.
pub(crate) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let rows = read(args)?;
    let working = progress::steps("evaluating", 1);
    let options = Options {
        confidence: args.confidence,
        resamples: args.resamples,
        seed: args.seed,
        bound: args.clip,
        decisions: args.decisions,
        actions: args.actions,
        ..Options::default()
    };
    let evaluation = evaluate(&rows, &options).ok_or_else(|| Error::Input {
        path: args.input.clone(),
        problem: "there are no rows".to_owned(),
        expected: "at least one decision".to_owned(),
    })?;
    working.finish_and_clear();
    if let Some(path) = &args.report {
        let name = args.input.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        std::fs::write(path, evaluation.html(&name)).map_err(Error::file("write", path))?;
    }
    let report = Report { input: args.input.clone(), evaluation };
    output.report(&report, Report::text)?;
    let identifiable = report.evaluation.verdict.identifiable;
    Ok(if identifiable { Outcome::Fine } else { Outcome::Code(EXIT_NOT_IDENTIFIABLE) })
}

fn read(args: &Args) -> Result<Vec<LoggedRow>, Error> {
    let format = Format::of(&args.input)?;
    let optional =
        [&args.model, &args.model_target, &args.pass, &args.supported, &args.group].map(Option::as_deref);
    let needed = [&*args.reward, &*args.propensity, &*args.target];
    let columns: Vec<&str> = needed.into_iter().chain(optional.into_iter().flatten()).collect();
    let mut source = source::open(&args.input, format, &columns)?;
    let bar = progress::counter("rows");
    let mut rows = Vec::new();
    while let Some(row) = source.next_row()? {
        let row = row.map_err(|(number, fault)| {
            at(&args.input, number, &fault.column, &fault.found, &fault.expected)
        })?;
        let mut cells = Cells { path: &args.input, number: row.number, cells: row.cells.iter() };
        let fault = |fault: RowFault| Error::Input {
            path: args.input.clone(),
            problem: format!("row {}: {} is {}", row.number, fault.field, fault.found),
            expected: fault.expected.to_owned(),
        };
        let [reward, propensity, target] = needed;
        let (reward, propensity) = (cells.number(reward)?, cells.number(propensity)?);
        let mut logged = LoggedRow::new(reward, propensity, cells.number(target)?).map_err(fault)?;
        if let (Some(model), Some(under_target)) = (&args.model, &args.model_target) {
            let of_action = cells.number(model)?;
            logged = logged.with_model(of_action, cells.number(under_target)?).map_err(fault)?;
        }
        if let Some(pass) = &args.pass {
            logged = logged.kept_with(cells.number(pass)?).map_err(fault)?;
        }
        if let Some(supported) = &args.supported {
            logged = logged.with_supported(cells.number(supported)?).map_err(fault)?;
        }
        if args.group.is_some() {
            logged = logged.of_group(group_of(&cells.next().to_text()));
        }
        rows.push(logged);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(rows)
}

/// The wanted cells of a row, in order.
struct Cells<'a> {
    path: &'a Path,
    number: u64,
    cells: std::slice::Iter<'a, Cell>,
}

impl<'a> Cells<'a> {
    fn next(&mut self) -> &'a Cell {
        self.cells.next().unwrap_or(&Cell::Missing)
    }

    fn number(&mut self, column: &str) -> Result<f64, Error> {
        let cell = self.next();
        let number = value(cell).ok().flatten();
        number.ok_or_else(|| at(self.path, self.number, column, &cell.to_text(), "a number"))
    }
}

fn at(path: &Path, row: u64, column: &str, found: &str, expected: &str) -> Error {
    Error::Input {
        path: path.to_owned(),
        problem: format!("row {row}, column `{column}` holds `{found}`"),
        expected: expected.to_owned(),
    }
}

impl Report {
    fn text(&self) -> String {
        let Evaluation { diagnostics, estimates, verdict, headline, confidence } = &self.evaluation;
        let mut text = format!(
            "{} rows of {}, value of the logging policy {}\n",
            grouped(diagnostics.rows),
            self.input.display(),
            number(diagnostics.logged_value),
        );
        let percent = confidence * 100.0;
        let header = [
            "estimator",
            "bound",
            "value",
            "error",
            &format!("normal {percent:.0} %"),
            &format!("bootstrap {percent:.0} %"),
        ];
        let rows: Vec<Vec<String>> = estimates.iter().map(estimate_row).collect();
        text.push_str(&table(&header, &rows));
        text.push_str(&format!(
            "weights: mean {} (error {}), largest {}, effective rows {:.1}, the top hundredth has {:.1} % of their sum\n",
            number(diagnostics.mean_weight),
            number(diagnostics.mean_weight_error),
            number(diagnostics.max_weight),
            diagnostics.effective_rows,
            100.0 * diagnostics.top_percent_share,
        ));
        match headline {
            Some(headline) if verdict.identifiable => text.push_str(&format!(
                "value of the target policy: {} by {}\n",
                number(headline.value),
                headline.estimator.name()
            )),
            _ => text.push_str("NOT IDENTIFIABLE: this log cannot tell the value of the target policy\n"),
        }
        for refusal in &verdict.refusals {
            text.push_str(&format!("  {refusal}\n"));
        }
        text
    }
}

fn estimate_row(estimate: &Estimate) -> Vec<String> {
    let interval = |interval: Option<Interval>| {
        interval.map_or_else(|| "-".to_owned(), |of| format!("{} to {}", number(of.low), number(of.high)))
    };
    vec![
        estimate.estimator.name().to_owned(),
        estimate.parameter.map_or_else(|| "-".to_owned(), number),
        number(estimate.value),
        estimate.standard_error.map_or_else(|| "-".to_owned(), number),
        interval(estimate.normal),
        interval(estimate.bootstrap),
    ]
}

/// Four significant digits.
fn number(value: f64) -> String {
    let digits = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    format!("{value:.*}", usize::try_from(3 - digits).unwrap_or(0).min(8))
}
