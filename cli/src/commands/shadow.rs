//! `augur shadow`: what candidates of live shadow would have answered.
//!
//! Not here: the figures (`augur_shadow_harness::live_shadow`). Every command reads only; a server may be writing meanwhile.

mod tail;

use std::path::PathBuf;

use augur_loadtest::domain::Timestamp;
use augur_shadow_harness::DataDirectory;
use augur_shadow_harness::live_shadow::{CandidateReport, Filter, report, text};

use crate::output::Output;
use crate::{Error, Outcome, progress};

/// Look at what candidates of live shadow decided.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Compare each candidate with what was answered: agreement, flips with intervals, reasons, scores, time.
    #[command(after_help = "\
Examples:
  augur shadow report --data data
  augur shadow report --data data --candidate next --point cart_page --since 2026-11-23T00:00:00Z
  augur shadow report --data data --json

Shares are over all traffic that candidates were offered: each record is weighted with the probability of being kept.")]
    Report(Report),
    Tail(tail::Args),
}

/// Where the log is, and which records are looked at.
#[derive(Debug, clap::Args)]
struct Place {
    /// The data directory, or the directory that its `[data] dir` names.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Only this candidate.
    #[arg(long, value_name = "NAME")]
    candidate: Option<String>,
    /// Only decisions of this decision point.
    #[arg(long, value_name = "NAME")]
    point: Option<String>,
    /// Only decisions from this instant on, like `2026-11-23T00:00:00Z`.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    since: Option<Timestamp>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Report {
    #[command(flatten)]
    place: Place,
}

fn instant(text: &str) -> Result<Timestamp, String> {
    let instant: jiff::Timestamp = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    Ok(Timestamp::from_unix_ms(instant.as_millisecond()))
}

impl Place {
    fn dir(&self) -> Result<PathBuf, Error> {
        let dir = DataDirectory::new(super::replay::stored_in(&self.data)?).shadow_dir();
        if dir.is_dir() {
            return Ok(dir);
        }
        Err(Error::Argument {
            argument: "--data",
            found: self.data.display().to_string(),
            expected: "a directory in which a server with candidates in [shadow] decided".to_owned(),
        })
    }

    fn filter(&self) -> Filter {
        Filter { candidate: self.candidate.clone(), decision_point: self.point.clone(), since: self.since }
    }
}

/// Runs the command.
pub(crate) fn run(command: &Command, output: Output) -> Result<Outcome, Error> {
    match command {
        Command::Report(args) => compare(&args.place, output),
        Command::Tail(args) => tail::run(args, output),
    }
}

fn compare(place: &Place, output: Output) -> Result<Outcome, Error> {
    let bar = progress::counter("records");
    let reports = report(&place.dir()?, &place.filter(), |records| bar.set_position(records))?;
    bar.finish_and_clear();
    output.report(&reports, |reports: &Vec<CandidateReport>| {
        if reports.is_empty() {
            return "no records; candidates decide while a server with [shadow] serves".to_owned();
        }
        reports.iter().map(text).collect::<Vec<_>>().join("\n")
    })?;
    Ok(Outcome::Fine)
}
