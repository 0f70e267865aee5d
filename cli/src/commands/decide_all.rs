//! `augur decide-all`: one decision for every user that is known, as a campaign does.
//!
//! Not here: how one decision is made and recorded (`augur_server`), or sending what was decided.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use augur_loadtest::domain::{DecisionRecord, Timestamp};
use augur_server::{App, Config, FixedClock, SystemClock};
use serde::Serialize;

use crate::data::Directory;
use crate::import::InstantFormat;
use crate::output::{Output, grouped, rounded, table};
use crate::{Error, Outcome, progress};

/// A decision must not be reckoned before the events that it reads.
const AFTER_THE_LAST_EVENT_MS: i64 = 1;

const EXAMPLES: &str = "\
Examples:
  augur decide-all --point weekly_email --data data
  augur decide-all --point cart_page --context cart_value=60 --data data --json
  augur decide-all --point weekly_email --at end --data history     as of just after the last stored event

Every decision is recorded and counts against caps as if a caller had asked. No server may be using the directory.";

/// Decide for every user in the store and count what came of it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The decision point.
    #[arg(long, value_name = "NAME")]
    point: String,
    /// A request-time value, the same for all: a number, true or false, or else text.
    #[arg(long, value_name = "NAME=VALUE")]
    context: Vec<String>,
    /// The instant to decide at: `now`, `end` (just after the last stored event), or a time like
    /// 2011-12-10T00:00:00Z.
    #[arg(long, value_name = "TIME", default_value = "now")]
    at: String,
}

#[derive(Debug, Default, Serialize)]
struct Report {
    decision_point: String,
    at: Option<String>,
    decisions: u64,
    given: u64,
    elapsed_seconds: f64,
    decisions_per_second: f64,
    by_action: BTreeMap<String, u64>,
    /// By the first reason of each decision.
    by_reason: BTreeMap<String, u64>,
    by_rung: BTreeMap<String, u64>,
}

impl Report {
    fn count(&mut self, record: &DecisionRecord) {
        let decision = &record.decision;
        *self.by_action.entry(decision.action.to_string()).or_default() += 1;
        *self.by_rung.entry(decision.rung.as_str().to_owned()).or_default() += 1;
        if let Some(reason) = decision.reasons.first() {
            let code = reason.code.as_str();
            let words = reason.detail.as_ref().map_or(code.to_owned(), |detail| format!("{code} {detail}"));
            *self.by_reason.entry(words).or_default() += 1;
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let context: Vec<_> = super::context(&args.context)?.into_iter().collect();
    let config = Directory::open(&args.data)?.config()?;
    let at = instant(&args.at, &config)?;
    let app = match at {
        Some(at) => App::open(config, FixedClock::new(at))?,
        None => App::open(config, SystemClock::new())?,
    };
    let app = Arc::new(app);
    let mut report =
        Report { decision_point: args.point.clone(), at: at.map(|at| at.to_string()), ..Report::default() };
    let bar = progress::bar("decisions", app.store().stats().users_total);
    let start = Instant::now();
    let decided = super::block_on(async {
        let count = |record: &DecisionRecord| {
            report.count(record);
            bar.inc(1);
        };
        Ok(app.decide_for_all(&args.point, &context, count).await?)
    });
    bar.finish_and_clear();
    report.elapsed_seconds = start.elapsed().as_secs_f64();
    if let Some(app) = Arc::into_inner(app) {
        app.close()?;
    }
    let decided = decided?;
    report.decisions = decided.users;
    report.given = decided.given;
    report.decisions_per_second = decided.users as f64 / report.elapsed_seconds.max(1e-9);
    output.report(&report, |report| text(report, &args.data))?;
    Ok(Outcome::Fine)
}

/// The instant asked for; `None` is the clock's.
fn instant(text: &str, config: &Config) -> Result<Option<Timestamp>, Error> {
    match text {
        "now" => Ok(None),
        "end" => {
            let app = App::open(config.clone(), SystemClock::new())?;
            let span = app.span()?;
            app.close()?;
            Ok(span.map(|span| span.last.plus_millis(AFTER_THE_LAST_EVENT_MS)))
        }
        other => InstantFormat::Guess.read_text(other).map(Some).map_err(|expected| Error::Argument {
            argument: "--at",
            found: other.to_owned(),
            expected: format!("now, end, or {expected}"),
        }),
    }
}

fn text(report: &Report, data: &Path) -> String {
    let mut text = format!(
        "{} decisions at {} in {:.1} s, {} per second; {} are not the default action\n",
        grouped(report.decisions),
        report.decision_point,
        report.elapsed_seconds,
        rounded(report.decisions_per_second),
        grouped(report.given),
    );
    for (what, counts) in
        [("action", &report.by_action), ("first reason", &report.by_reason), ("rung", &report.by_rung)]
    {
        let mut counts: Vec<_> = counts.iter().collect();
        counts.sort_by(|a, b| b.1.cmp(a.1));
        let rows: Vec<_> =
            counts.iter().map(|(word, count)| vec![(*word).clone(), grouped(**count)]).collect();
        text.push_str(&table(&[what, "decisions"], &rows));
    }
    text.push_str(&format!("next: augur replay --verify --data {}", data.display()));
    text
}
