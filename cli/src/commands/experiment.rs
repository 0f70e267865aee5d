//! `augur experiment report`: what came of an experiment, by arm, from logs or from any file.
//!
//! Not here: the statistics and the reading of logs (`augur_shadow_harness::experiment`).

mod assign;

use std::path::{Path, PathBuf};

use augur_loadtest::domain::time::parse_duration_ms;
use augur_loadtest::domain::{ContentHash, OutcomeKind, Timestamp, UserKey};
use augur_server::{Clock, SystemClock};
use augur_shadow_harness::DataDirectory;
use augur_shadow_harness::experiment::{
    Declared, Enrolments, Joined, LogQuery, Problem, Report, Settings, Units, judge, read_logs,
};
use serde::Serialize;

use super::replay::rewards::rule_of;
use crate::import::{Cell, Format, InstantFormat, Row, RowFault, open};
use crate::output::{Output, grouped};
use crate::{Error, Outcome, progress};

const HELP: &str = "\
Examples:
  augur experiment report --experiment tone --data data
  augur experiment report --experiment tone --data data --kind clicked --within 3d --pre features.revenue_30d
  augur experiment report --experiment tone --data data --rewards rewards.toml --reward revenue
  augur experiment report --holdout global --data data
  augur experiment report --input results.csv --unit customer --arm variant --outcome bought
  augur experiment report --input results.parquet --unit id --arm arm --outcome bought --value revenue --pre revenue_before

From a data directory: units are users, each in the arm that first counted it in; the outcomes are those that were reported of
decisions that counted somebody in. A server may be using the directory meanwhile. The shares that arms should have are
those of the archived policy that counted each unit in, and what was known before is the feature that the experiment names
as `pre`, or --pre, as it was at that decision.
From a file: rows of one unit are put together; it converted if any row says so (true, or a number above 0), its values add
up, and --pre is what its first row says. Rows without a unit or an arm are left out, and counted.

`any time` figures may be looked at as often as you like, and acted upon as soon as they tell arms apart. They are narrowest
at --tuned-for units, which must be chosen before looking.

Exit codes:
  0  done
  1  no report can be made
  3  the arms were not filled as declared (sample ratio mismatch): do not believe the differences";

/// What came of experiments.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Report(Box<Args>),
    Assign(assign::Args),
}

/// Report conversion and value by arm, with intervals that survive peeking and a check of the arms' shares.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The experiment, as the policy names it.
    #[arg(long, value_name = "NAME", required_unless_present_any = ["holdout", "input"], conflicts_with_all = ["holdout", "input"])]
    experiment: Option<String>,
    /// The holdout, as the policy names it: everybody else is `reached`, its people are `held_out`.
    #[arg(long, value_name = "NAME", conflicts_with = "input")]
    holdout: Option<String>,
    /// The data directory, or the directory that its `[data] dir` names.
    #[arg(long, value_name = "DIR", required_unless_present = "input")]
    data: Option<PathBuf>,
    /// The kind of outcome that counts as conversion: delivered, opened, clicked or converted.
    #[arg(long, default_value = "converted", conflicts_with = "input")]
    kind: String,
    /// Outcomes count that happened so soon after their decision.
    #[arg(long, value_name = "LENGTH", default_value = "30d", conflicts_with = "input")]
    within: String,
    /// A file of reward rules: kind, time and value are those of the rule that --reward names.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["input", "kind", "within"])]
    rewards: Option<PathBuf>,
    /// The rule; needed where the file has several.
    #[arg(long, value_name = "NAME", requires = "rewards")]
    reward: Option<String>,
    /// Decisions from this time on, like 2026-11-01T00:00:00Z.
    #[arg(long, value_name = "TIME", conflicts_with = "input")]
    from: Option<String>,
    /// Decisions and outcomes before this time.
    #[arg(long, value_name = "TIME", conflicts_with = "input")]
    until: Option<String>,
    /// A CSV, JSON lines or Parquet file of an experiment run elsewhere.
    #[arg(long, value_name = "FILE", requires_all = ["unit", "arm", "outcome"])]
    input: Option<PathBuf>,
    /// Its column of who was in it.
    #[arg(long, value_name = "COLUMN", requires = "input")]
    unit: Option<String>,
    /// Its column of arms.
    #[arg(long, value_name = "COLUMN", requires = "input")]
    arm: Option<String>,
    /// Its column of conversion: true or false, or a number.
    #[arg(long, value_name = "COLUMN", requires = "input")]
    outcome: Option<String>,
    /// Its column of value.
    #[arg(long, value_name = "COLUMN", requires = "input")]
    value: Option<String>,
    /// A figure from before the experiment, to take off what it tells (CUPED): a column of the file, or of a data directory
    /// a feature, such as features.revenue_30d; the experiment's `pre` unless given.
    #[arg(long, value_name = "COLUMN|FEATURE")]
    pre: Option<String>,
    /// The share that each arm should have, such as `a=2,b=1`; as the policy declares unless given, of a file equal ones.
    #[arg(long, value_name = "ARM=WEIGHT,..", value_delimiter = ',')]
    weights: Vec<String>,
    /// The arm to compare with; `control`, `held_out`, or else the first by name.
    #[arg(long, value_name = "ARM")]
    control: Option<String>,
    /// How sure all intervals of one kind are together.
    #[arg(long, value_name = "SHARE", default_value_t = 0.95)]
    confidence: f64,
    /// The number of units, of both arms together, at which `any time` intervals are to be narrowest.
    #[arg(long, value_name = "UNITS", default_value_t = 10_000)]
    tuned_for: u64,
    /// Write the report as a page for people, too: one HTML file, nothing else needed.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// The report with where it comes from.
#[derive(Debug, Serialize)]
struct Told {
    /// Where the shares come from that arms should have: `flag`, `policy`, or `equal` when nothing says.
    weights_from: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    logs: Option<Joined>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<FileRead>,
    #[serde(flatten)]
    report: Report,
}

/// How reading a file went.
#[derive(Debug, Default, Serialize)]
struct FileRead {
    rows: u64,
    rows_without_unit_or_arm: u64,
}

/// Runs the command.
pub(crate) fn run(command: &Command, output: Output) -> Result<Outcome, Error> {
    let args = match command {
        Command::Report(args) => args,
        Command::Assign(args) => return assign::run(args, output).map(|()| Outcome::Fine),
    };
    let typed: Vec<_> = args.weights.iter().map(|typed| weight(typed)).collect::<Result<_, _>>()?;
    let (units, expected, logs, file) = match &args.input {
        Some(path) => {
            let (units, file) = read_file(path, args)?;
            (units, Vec::new(), None, Some(file))
        }
        None => {
            let Enrolments { units, joined, expected } = read_data(args)?;
            (units, expected, Some(joined), None)
        }
    };
    let covered = units.arms().iter().all(|arm| expected.iter().any(|(known, _)| known == arm));
    let (weights, weights_from) = match (typed.is_empty(), expected.is_empty() || !covered) {
        (false, _) => (typed, "flag"),
        (true, false) => (expected, "policy"),
        (true, true) => (Vec::new(), "equal"),
    };
    let held_out = args.holdout.is_some().then(|| "held_out".to_owned());
    let settings = Settings {
        control: args.control.clone().or(held_out),
        weights,
        confidence: args.confidence,
        tuned_for: args.tuned_for,
    };
    let report = judge(&units, &settings).map_err(failed)?;
    if let Some(path) = &args.report {
        let file =
            args.input.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        let name = args.experiment.clone().or_else(|| args.holdout.clone()).or(file).unwrap_or_default();
        std::fs::write(path, report.html(&name)).map_err(Error::file("write", path))?;
    }
    let told = Told { weights_from, logs, file, report };
    output.report(&told, text)?;
    Ok(if told.report.is_void() { Outcome::Refused } else { Outcome::Fine })
}

fn failed(problem: Problem) -> Error {
    Error::Replay(problem.into())
}

fn weight(typed: &str) -> Result<(String, f64), Error> {
    let pair = typed.split_once('=').and_then(|(arm, weight)| Some((arm.to_owned(), weight.parse().ok()?)));
    pair.ok_or_else(|| Error::Argument {
        argument: "--weights",
        found: typed.to_owned(),
        expected: "ARM=WEIGHT, such as `a=2,b=1`".to_owned(),
    })
}

fn read_data(args: &Args) -> Result<Enrolments, Error> {
    let source =
        DataDirectory::new(super::replay::stored_in(args.data.as_deref().unwrap_or(Path::new(".")))?);
    let name = args.holdout.as_ref().or(args.experiment.as_ref());
    let rule = args.rewards.as_deref().map(|file| rule_of(file, args.reward.as_deref())).transpose()?;
    let until = instant("--until", args.until.as_deref())?.unwrap_or(Timestamp::MAX);
    let typed = parse_duration_ms(&args.within).map_err(|expected| Error::Argument {
        argument: "--within",
        found: args.within.clone(),
        expected,
    })?;
    let query = LogQuery {
        name: name.cloned().unwrap_or_default(),
        kind: rule.as_ref().map_or_else(|| kind(&args.kind), |rule| Ok(rule.kind))?,
        from: instant("--from", args.from.as_deref())?.unwrap_or(Timestamp::MIN),
        until,
        within_ms: rule.as_ref().map_or(typed, |rule| rule.within_ms),
        rule,
        known_at: SystemClock::new().now().min(until),
    };
    let pre = args.pre.as_deref().map(feature).transpose()?;
    let mut declares = |policy| declared(&source, policy, &query.name, pre);
    let bar = progress::counter("decisions");
    let read =
        read_logs(&source.decisions_dir(), &source.outcomes_dir(), &query, &mut declares, &|| bar.inc(1));
    bar.finish_and_clear();
    Ok(read?)
}

/// The name of a feature as expressions write it.
fn feature(typed: &str) -> Result<&str, Error> {
    typed.strip_prefix("features.").ok_or_else(|| Error::Argument {
        argument: "--pre",
        found: typed.to_owned(),
        expected: "a feature such as features.revenue_30d, of a data directory".to_owned(),
    })
}

/// What an archived policy declares of the experiment, with `pre` in the place of its own. Of one that is not there any
/// more nothing is known.
fn declared(
    source: &DataDirectory,
    policy: ContentHash,
    name: &str,
    pre: Option<&str>,
) -> Result<Declared, augur_shadow_harness::Error> {
    let Ok(policy) = source.declared(policy) else { return Ok(Declared::default()) };
    let shares = policy.declared_shares(name).unwrap_or_default();
    let shares = shares.into_iter().map(|(arm, share)| (arm.to_string(), share)).collect();
    let pre = match pre {
        None => policy.declared_pre(name),
        Some(feature) => Some(policy.features().slot(feature).ok_or_else(|| {
            let known = policy.features().features().iter().map(|known| known.name.to_string());
            Problem::UnknownFeature { name: feature.to_owned(), known: known.collect::<Vec<_>>().join(", ") }
        })?),
    };
    Ok(Declared { shares, pre })
}

fn kind(typed: &str) -> Result<OutcomeKind, Error> {
    let known = OutcomeKind::ALL.iter().filter(|kind| **kind != OutcomeKind::Value);
    let found = known.clone().find(|kind| kind.as_str().eq_ignore_ascii_case(typed));
    found.copied().ok_or_else(|| Error::Argument {
        argument: "--kind",
        found: typed.to_owned(),
        expected: known.map(|kind| kind.as_str().to_ascii_lowercase()).collect::<Vec<_>>().join(", "),
    })
}

fn instant(argument: &'static str, typed: Option<&str>) -> Result<Option<Timestamp>, Error> {
    let Some(typed) = typed else { return Ok(None) };
    let read = InstantFormat::Guess.read_text(typed);
    read.map(Some).map_err(|expected| Error::Argument { argument, found: typed.to_owned(), expected })
}

/// Where the columns of a row are.
struct Columns {
    value: Option<usize>,
    pre: Option<usize>,
}

fn read_file(path: &Path, args: &Args) -> Result<(Units, FileRead), Error> {
    let given = [&args.unit, &args.arm, &args.outcome, &args.value, &args.pre];
    let names: Vec<&str> = given.into_iter().flatten().map(String::as_str).collect();
    let columns = Columns {
        value: args.value.as_ref().map(|_| 3),
        pre: args.pre.as_ref().map(|_| if args.value.is_some() { 4 } else { 3 }),
    };
    let mut rows = open(path, Format::of(path)?, &names)?;
    let (mut units, mut file) = (Units::new(), FileRead::default());
    let bar = progress::counter("rows");
    while let Some(row) = rows.next_row()? {
        bar.inc(1);
        file.rows += 1;
        let row = row.map_err(|(number, fault)| bad_row(path, number, &fault))?;
        let taken = take(&mut units, &row, &columns, &names);
        let counted = taken.map_err(|refused| match refused {
            Refused::Row(fault) => bad_row(path, row.number, &fault),
            Refused::Problem(problem) => failed(problem),
        })?;
        file.rows_without_unit_or_arm += u64::from(!counted);
    }
    bar.finish_and_clear();
    if let Some(absent) = rows.seen().and_then(|seen| names.iter().zip(seen).find(|(_, seen)| !**seen)) {
        return Err(Error::Input {
            path: path.to_owned(),
            problem: format!("no row has a field `{}`", absent.0),
            expected: format!("one of {}", rows.names().iter().cloned().collect::<Vec<_>>().join(", ")),
        });
    }
    if units.is_empty() {
        return Err(failed(Problem::NoUnits {
            hint: format!(": {} rows, none with a unit and an arm", file.rows),
        }));
    }
    Ok((units, file))
}

enum Refused {
    Row(RowFault),
    Problem(Problem),
}

/// Counts one row in, unless it has no unit or no arm.
fn take(units: &mut Units, row: &Row, columns: &Columns, names: &[&str]) -> Result<bool, Refused> {
    let text = |index: usize| row.cells.get(index).map(Cell::to_text).unwrap_or_default();
    let (unit, arm) = (text(0), text(1));
    if unit.is_empty() || arm.is_empty() {
        return Ok(false);
    }
    let number = |index: Option<usize>| match index.and_then(|index| Some((row.cells.get(index)?, index))) {
        None => Ok(None),
        Some((cell, index)) => number(cell).map_err(|expected| {
            let column = names.get(index).copied().unwrap_or_default().to_owned();
            Refused::Row(RowFault { column, found: cell.to_text(), expected })
        }),
    };
    let converted = number(Some(2))?.is_some_and(|number| number > 0.0);
    let (value, pre) = (number(columns.value)?, number(columns.pre)?);
    let id = units.enrol(key(&unit), &arm).map_err(Refused::Problem)?;
    if converted {
        units.convert(id);
    }
    if let Some(value) = value {
        units.add_value(id, value);
    }
    if let Some(pre) = pre {
        units.set_before(id, pre);
    }
    Ok(true)
}

/// A number, with true as 1; nothing where the cell is empty.
fn number(cell: &Cell) -> Result<Option<f64>, String> {
    let number = match cell {
        Cell::Missing => return Ok(None),
        Cell::Number(number) => Some(*number),
        Cell::Boolean(boolean) => Some(f64::from(u8::from(*boolean))),
        Cell::Open(text) | Cell::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
            "" => return Ok(None),
            "true" | "t" | "yes" => Some(1.0),
            "false" | "f" | "no" => Some(0.0),
            number => number.parse().ok(),
        },
        Cell::Instant(_) | Cell::Nested(_) => None,
    };
    let finite = number.filter(|number| number.is_finite());
    finite.map(Some).ok_or_else(|| "a number, true or false, or nothing".to_owned())
}

/// Units of a file are known by a hash of what they are called.
fn key(unit: &str) -> UserKey {
    let hash = ContentHash::of(&[unit.as_bytes()]);
    let mut bytes = [0; UserKey::LEN];
    for (byte, hashed) in bytes.iter_mut().zip(hash.as_bytes()) {
        *byte = *hashed;
    }
    UserKey::from_bytes(bytes)
}

fn bad_row(path: &Path, number: u64, fault: &RowFault) -> Error {
    let RowFault { column, found, expected } = fault;
    let place = if column.is_empty() { String::new() } else { format!(", column `{column}`") };
    let problem = format!("row {number}{place} has `{found}`");
    Error::Input { path: path.to_owned(), problem, expected: expected.clone() }
}

fn text(told: &Told) -> String {
    let mut text = told.report.to_string();
    if let Some(joined) = &told.logs {
        text.push_str(&format!(
            "{} decisions counted somebody in; {} of {} outcomes belong to them, {} reports were repetitions\n",
            grouped(joined.decisions),
            grouped(joined.joined),
            grouped(joined.outcomes),
            grouped(joined.repeated),
        ));
        if joined.units_with_pre > 0 {
            let known = grouped(joined.units_with_pre);
            text.push_str(&format!(
                "of {known} units a figure from before is known, from their first decision\n"
            ));
        }
    }
    if let Some(file) = &told.file {
        let (rows, without) = (grouped(file.rows), grouped(file.rows_without_unit_or_arm));
        text.push_str(&format!("{rows} rows, {without} without a unit or an arm\n"));
    }
    text
}
