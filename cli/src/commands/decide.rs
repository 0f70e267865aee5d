//! `augur decide`: one decision for every row of a file, in whole parts, so that a run that broke off goes on.
//!
//! How no user is decided for twice: rows are taken in groups, in the order of the file, and each group becomes a part, a
//! whole file under its name or none. Every decision names its run and row in its record. Whoever resumes begins behind the
//! last whole part, and takes what the run before had decided there already from the decision log. Not here: one decision
//! (`augur_server`), the parts (`parts`), or decisions for everybody who is known (`decide_all`).

mod parts;
mod rows;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use augur_loadtest::domain::ContentHash;
use augur_server::{App, Question, SystemClock};
use indicatif::ProgressBar;
use serde::Serialize;

use crate::data::Directory;
use crate::import::{Format, open};
use crate::output::{Output, grouped, table};
use crate::{Error, Outcome, progress};
use parts::{Decided, Failed, Parts};
use rows::{Asked, Mapping};

/// Rows of a part, and of a row group of the output; what is kept in memory at once.
const GROUP_ROWS: usize = 10_000;
/// Begins the request that a record of such a run keeps; the run and the row follow.
const MARK: &[u8] = b"augur decide\0";

const HELP: &str = "\
Examples:
  augur decide --input users.csv --user customer --point weekly_email --output decisions.parquet --data data
  augur decide --input users.parquet --point cart_page --context cart_value=basket --output d.parquet --data data --resume

Every decision is recorded and counts against caps as if a caller had asked. No server may be using the directory.
What is decided lies in OUTPUT.parts until the run is whole; then OUTPUT is written, one row group per 10 000 rows, and rows
that could not be decided are listed in OUTPUT.failures.csv. A run that broke off goes on with the same command and
--resume: nobody is decided for twice.

Exit codes:
  0  done
  1  broke off; standard error says why
  3  done, and some rows could not be decided";

/// Decide for every row of a file.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// A CSV, JSON lines or Parquet file.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Its column of user ids.
    #[arg(long, value_name = "COLUMN", default_value = "user_id")]
    user: String,
    /// The decision point.
    #[arg(long, value_name = "NAME")]
    point: String,
    /// A request-time value out of a column.
    #[arg(long, value_name = "NAME=COLUMN")]
    context: Vec<String>,
    /// The Parquet file to write; it must not be there.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Go on with a run that broke off.
    #[arg(long)]
    resume: bool,
}

#[derive(Debug, Default, Serialize)]
struct Report {
    rows: u64,
    decided: u64,
    failed: u64,
    /// Rows of whole parts of the run before.
    resumed_behind_row: u64,
    /// Decisions behind them that the run before had made and not written down.
    found_in_log: u64,
    by_action: BTreeMap<String, u64>,
    output: PathBuf,
    failures: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    if args.output.exists() {
        return Err(Error::Input {
            path: args.output.clone(),
            problem: "it is there already".to_owned(),
            expected: "a name for a new file".to_owned(),
        });
    }
    let app = Arc::new(App::open(Directory::open(&args.data)?.config()?, SystemClock::new())?);
    let done = decide_all_rows(&app, args);
    let closed = Arc::into_inner(app).map_or(Ok(()), App::close);
    let report = done?;
    closed?;
    output.report(&report, text)?;
    Ok(if report.failed > 0 { Outcome::Refused } else { Outcome::Fine })
}

fn decide_all_rows(app: &Arc<App>, args: &Args) -> Result<Report, Error> {
    let mapping = Mapping::parse(&args.user, &args.context, &app.context_of(&args.point)?)?;
    let run = run_id(args)?;
    let mut parts = Parts::open(&args.output, run, app.next_sequence(), args.resume)?;
    let behind = parts.whole() * GROUP_ROWS as u64;
    let mut report = Report { resumed_behind_row: behind, ..Report::default() };
    let mut earlier =
        if args.resume { found_in_log(app, &run, parts.first_sequence(), behind)? } else { HashMap::new() };
    report.found_in_log = earlier.len() as u64;
    let names = mapping.columns();
    let mut rows = open(&args.input, Format::of(&args.input)?, &names)?;
    let bar = progress::counter("rows");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Runtime)?;
    let mut group = Vec::with_capacity(GROUP_ROWS);
    loop {
        let row = rows.next_row()?;
        let ended = row.is_none();
        if let Some(row) = row {
            report.rows += 1;
            if report.rows > behind {
                group.push(mapping.read(report.rows, row, app));
            }
        }
        if group.len() == GROUP_ROWS || (ended && !group.is_empty()) {
            let asked = std::mem::take(&mut group);
            let (decided, failed) =
                runtime.block_on(decide_group(app, args, &run, asked, &mut earlier, &bar))?;
            parts.write(&decided, &failed)?;
        }
        if ended {
            break;
        }
    }
    bar.finish_and_clear();
    let whole = parts.join(&args.output)?;
    report.decided = whole.decided;
    report.failed = whole.failed;
    report.by_action = whole.by_action;
    report.failures = whole.failures;
    report.output.clone_from(&args.output);
    Ok(report)
}

/// Tells one run from another: the file, what is asked of it, and where the answer goes.
fn run_id(args: &Args) -> Result<ContentHash, Error> {
    let input = args.input.canonicalize().map_err(Error::file("read", &args.input))?;
    let length = input.metadata().map_err(Error::file("read", &args.input))?.len();
    let path = input.to_string_lossy().into_owned();
    let output = args.output.to_string_lossy().into_owned();
    let length = length.to_le_bytes();
    let mut parts: Vec<&[u8]> =
        vec![path.as_bytes(), &length, output.as_bytes(), args.user.as_bytes(), args.point.as_bytes()];
    parts.extend(args.context.iter().map(String::as_bytes));
    Ok(ContentHash::of(&parts))
}

fn mark(run: &ContentHash) -> Vec<u8> {
    [MARK, run.as_bytes()].concat()
}

/// What a run that broke off had decided behind its last whole part, by row.
fn found_in_log(
    app: &App,
    run: &ContentHash,
    from_sequence: u64,
    behind: u64,
) -> Result<HashMap<u64, Decided>, Error> {
    let mut found = HashMap::new();
    app.decisions_marked(from_sequence, &mark(run), |rest, record| {
        let row = rest.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        if let Some(row) = row.filter(|row| *row > behind) {
            found.entry(row).or_insert_with(|| Decided::of(row, String::new(), &record));
        }
    })?;
    Ok(found)
}

/// Decides for a group of rows; what is in `earlier` is not decided again.
async fn decide_group(
    app: &Arc<App>,
    args: &Args,
    run: &ContentHash,
    asked: Vec<Asked>,
    earlier: &mut HashMap<u64, Decided>,
    bar: &ProgressBar,
) -> Result<(Vec<Decided>, Vec<Failed>), Error> {
    let (mut decided, mut failed) = (Vec::with_capacity(asked.len()), Vec::new());
    let (mut questions, mut of_question) = (Vec::new(), Vec::new());
    for Asked { row, user, question } in asked {
        match (question, earlier.remove(&row)) {
            (_, Some(mut found)) => {
                found.user = user;
                decided.push(found);
            }
            (Err(fault), None) => failed.push(Failed::row(row, user, &fault)),
            (Ok((key, context)), None) => {
                let bytes = [&mark(run)[..], &row.to_le_bytes()].concat();
                let decision_point = args.point.as_str().into();
                questions.push(Question {
                    user: key,
                    decision_point,
                    context,
                    asserted: augur_server::Asserted::default(),
                    bytes,
                    read_until: None,
                    peek: false,
                });
                of_question.push((row, user));
            }
        }
    }
    let mut broken = None;
    let mut of_question = of_question.into_iter();
    app.decide_for_each(questions, |made| {
        bar.inc(1);
        let Some((row, user)) = of_question.next() else { return };
        match made {
            Ok(record) => decided.push(Decided::of(row, user, &record)),
            Err(augur_server::Error::InvalidField(fault)) => failed.push(Failed::field(row, user, &fault)),
            // Not this row's fault: what comes next would fail likewise.
            Err(error) => broken = broken.take().or(Some(error)),
        }
    })
    .await;
    match broken {
        Some(error) => Err(error.into()),
        None => {
            decided.sort_by_key(|line| line.row);
            failed.sort_by_key(|line| line.row);
            Ok((decided, failed))
        }
    }
}

fn text(report: &Report) -> String {
    let mut text = format!(
        "{} rows, {} decided, {} failed; written to {}\n",
        grouped(report.rows),
        grouped(report.decided),
        grouped(report.failed),
        report.output.display(),
    );
    if report.resumed_behind_row > 0 || report.found_in_log > 0 {
        let (behind, found) = (grouped(report.resumed_behind_row), grouped(report.found_in_log));
        text.push_str(&format!(
            "went on behind row {behind}; {found} more were in the decision log already\n"
        ));
    }
    let rows: Vec<_> =
        report.by_action.iter().map(|(action, count)| vec![action.clone(), grouped(*count)]).collect();
    text.push_str(&table(&["action", "decisions"], &rows));
    if let Some(failures) = &report.failures {
        text.push_str(&format!("next: see {}\n", failures.display()));
    }
    text
}
