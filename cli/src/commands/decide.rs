//! `augur decide`: one decision for every row of a file, in whole parts, so that a run that broke off goes on.
//!
//! How no user is decided for twice: rows are taken in groups, in the order of the file, and each group becomes a part, a
//! whole file under its name or none. Whoever resumes begins behind the last whole part, and what the run before had decided
//! there already is found again: in the decision log (`offline`), or by the rows' idempotency keys (`remote`). Not here: one
//! decision (`augur_server`), the parts (`parts`), or decisions for everybody who is known (`decide_all`).

mod offline;
mod parts;
mod remote;
mod rows;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use augur_loadtest::Client;
use augur_loadtest::domain::time::parse_duration_ms;
use augur_loadtest::domain::{ContentHash, ValueType};
use augur_loadtest::patient::Patience;
use augur_server::{App, SystemClock};
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::runtime::Runtime;

use crate::data::Directory;
use crate::import::{Format, open};
use crate::output::{Output, grouped, table};
use crate::{Error, Outcome, progress};
use offline::Offline;
use parts::{Decided, Failed, Parts};
use remote::Remote;
use rows::{Asked, Mapping};

/// Rows of a part, and of a row group of the output; what is kept in memory at once.
const GROUP_ROWS: usize = 10_000;

const HELP: &str = "\
Examples:
  augur decide --input users.csv --user customer --point weekly_email --output decisions.parquet --data data
  augur decide --input users.parquet --point cart_page --context cart_value=basket --output d.parquet --data data --resume
  augur decide --input users.csv --point weekly_email --output d.parquet --endpoint http://127.0.0.1:7401

Every decision is recorded and counts against caps as if a caller had asked. With --data no server may be using the
directory; with --endpoint a running server decides, a few batches at a time, and is waited for while it is busy or gone.
What is decided lies in OUTPUT.parts until the run is whole; then OUTPUT is written, one row group per 10 000 rows, and rows
that could not be decided are listed in OUTPUT.failures.csv. A run that broke off goes on with the same command and
--resume: nobody is decided for twice. With --endpoint that holds as long as the server keeps its answers
(`idempotency.lifetime`, 24 hours unless set otherwise), of which it keeps one for each row (`idempotency.max_keys`).

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
    /// The data directory, while no server uses it.
    #[arg(long, value_name = "DIR", required_unless_present = "endpoint", conflicts_with = "endpoint")]
    data: Option<PathBuf>,
    /// Instead of it, the running server.
    #[arg(long, value_name = "URL", visible_alias = "server")]
    endpoint: Option<String>,
    /// Rows of one call to the server, 1 to 1000.
    #[arg(long, value_name = "ROWS", default_value_t = 250, requires = "endpoint",
        value_parser = clap::value_parser!(u16).range(1..=1000))]
    batch: u16,
    /// Calls to the server at once, 1 to 32.
    #[arg(long, value_name = "CALLS", default_value_t = 4, requires = "endpoint",
        value_parser = clap::value_parser!(u8).range(1..=32))]
    in_flight: u8,
    /// How long a server that is busy or gone is waited for before the run breaks off.
    #[arg(long, value_name = "LENGTH", default_value = "2m", requires = "endpoint")]
    patience: String,
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
    /// Decisions behind them that the run before had made and not written down; a server does not say.
    found_in_log: u64,
    by_action: BTreeMap<String, u64>,
    output: PathBuf,
    failures: Option<PathBuf>,
}

/// Who decides.
enum Decider {
    Offline(Box<Offline>),
    Remote(Box<Remote>),
}

impl Decider {
    /// What the decision point declares.
    fn context(&self, point: &str, runtime: &Runtime) -> Result<Vec<(Arc<str>, ValueType)>, Error> {
        match self {
            Self::Offline(offline) => Ok(offline.app.context_of(point)?),
            Self::Remote(remote) => runtime.block_on(remote.context()),
        }
    }

    /// What a new run begins with: the next record of the log, or something that no other run has.
    fn begins_at(&self) -> u64 {
        match self {
            Self::Offline(offline) => offline.app.next_sequence(),
            Self::Remote(_) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                u64::try_from(now.as_nanos()).unwrap_or(u64::MAX) ^ u64::from(std::process::id())
            }
        }
    }

    /// Decides for a group of rows; both lists in the order of the file.
    fn decide(
        &mut self,
        asked: Vec<Asked>,
        bar: &ProgressBar,
        runtime: &Runtime,
    ) -> Result<(Vec<Decided>, Vec<Failed>), Error> {
        let (mut decided, mut failed) = match self {
            Self::Offline(offline) => runtime.block_on(offline.decide(asked, bar))?,
            Self::Remote(remote) => runtime.block_on(remote.decide(asked, bar))?,
        };
        decided.sort_by_key(|line| line.row);
        failed.sort_by_key(|line| line.row);
        Ok((decided, failed))
    }
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
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Runtime)?;
    let run = run_id(args)?;
    let mut decider = decider(args, run, &runtime)?;
    let done = decide_all_rows(&mut decider, args, run, &runtime);
    let closed = match decider {
        Decider::Offline(offline) => Arc::into_inner(offline.app).map_or(Ok(()), App::close),
        Decider::Remote(_) => Ok(()),
    };
    let report = done?;
    closed?;
    output.report(&report, text)?;
    Ok(if report.failed > 0 { Outcome::Refused } else { Outcome::Fine })
}

fn decider(args: &Args, run: ContentHash, runtime: &Runtime) -> Result<Decider, Error> {
    let point = args.point.clone();
    if let Some(endpoint) = &args.endpoint {
        let give_up_after = parse_duration_ms(&args.patience).map_err(|expected| Error::Argument {
            argument: "--patience",
            found: args.patience.clone(),
            expected,
        })?;
        let give_up_after = Duration::from_millis(give_up_after.unsigned_abs());
        let patience = Patience { give_up_after, ..Patience::default() };
        let client = runtime.block_on(Client::connect(endpoint, 1))?;
        let (batch, in_flight) = (usize::from(args.batch), usize::from(args.in_flight));
        return Ok(Decider::Remote(Box::new(Remote::new(client, point, batch, in_flight, patience))));
    }
    let data = args.data.clone().unwrap_or_default();
    let app = App::open(Directory::open(&data)?.config()?, SystemClock::new())
        .map_err(Error::opening("let the server decide: `--endpoint` in the place of `--data`"))?;
    Ok(Decider::Offline(Box::new(Offline { app: Arc::new(app), point, run, earlier: HashMap::new() })))
}

fn decide_all_rows(
    decider: &mut Decider,
    args: &Args,
    run: ContentHash,
    runtime: &Runtime,
) -> Result<Report, Error> {
    let mapping = Mapping::parse(&args.user, &args.context, &decider.context(&args.point, runtime)?)?;
    let mut parts = Parts::open(&args.output, run, decider.begins_at(), args.resume)?;
    let behind = parts.whole() * GROUP_ROWS as u64;
    let mut report = Report { resumed_behind_row: behind, ..Report::default() };
    match decider {
        Decider::Offline(offline) if args.resume => {
            offline.find_earlier(parts.begins_at(), behind)?;
            report.found_in_log = offline.earlier.len() as u64;
        }
        Decider::Offline(_) => {}
        Decider::Remote(remote) => remote.of_run(&run, parts.begins_at()),
    }
    let names = mapping.columns();
    let mut rows = open(&args.input, Format::of(&args.input)?, &names)?;
    let bar = progress::counter("rows");
    let mut group = Vec::with_capacity(GROUP_ROWS);
    loop {
        let row = rows.next_row()?;
        let ended = row.is_none();
        if let Some(row) = row {
            report.rows += 1;
            if report.rows > behind {
                group.push(mapping.read(report.rows, row));
            }
        }
        if group.len() == GROUP_ROWS || (ended && !group.is_empty()) {
            let (decided, failed) = decider.decide(std::mem::take(&mut group), &bar, runtime)?;
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

/// Tells one run from another: the file, what is asked of it, who decides, and where the answer goes.
fn run_id(args: &Args) -> Result<ContentHash, Error> {
    let input = args.input.canonicalize().map_err(Error::file("read", &args.input))?;
    let length = input.metadata().map_err(Error::file("read", &args.input))?.len();
    let path = input.to_string_lossy().into_owned();
    let output = args.output.to_string_lossy().into_owned();
    let length = length.to_le_bytes();
    let mut parts: Vec<&[u8]> =
        vec![path.as_bytes(), &length, output.as_bytes(), args.user.as_bytes(), args.point.as_bytes()];
    parts.extend(args.context.iter().map(String::as_bytes));
    if args.endpoint.is_some() {
        // A server may move to another address; a directory is no server.
        parts.push(b"\0server");
    }
    Ok(ContentHash::of(&parts))
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
