//! `augur features`: training sets as Parquet, and proof that what is served is what the event log says.
//!
//! Not here: computing features (the feature store).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use augur_loadtest::domain::UserKey;
use augur_loadtest::domain::ids::Subject;
use augur_loadtest::domain::rng::{Purpose, Rng};
use augur_server::offline::{Label, Verdict};
use augur_server::{App, SystemClock};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

use crate::data::Directory;
use crate::import::InstantFormat;
use crate::output::{Output, grouped};
use crate::{Error, Outcome, progress};

/// Differences told one by one.
const MOST_SHOWN: usize = 10;

/// Export features as of given instants; verify what is served.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a point-in-time-correct training set: for each user and instant, the features as they were then.
    ///
    /// Only events strictly before the instant are seen. No server may be using the directory.
    #[command(after_help = "\
Example:
  printf 'user_id,timestamp,label\\nuser-000001,2026-10-01T00:00:00Z,1\\n' > labels.csv
  augur features export --data data --labels labels.csv --out rows.parquet

labels.csv has a header and the columns user_id (or anonymous_id), timestamp (RFC 3339, or seconds (9 or 10
digits) or milliseconds (13 digits) since 1970) and, if wanted, label (a number).")]
    Export(Export),
    /// Compute the features of a sample of users again from the event log and compare them with what is served, bit
    /// by bit. Exit code 3 when any differ.
    #[command(after_help = "Example:\n  augur features verify --data data --sample 500")]
    Verify(Verify),
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Whose features, as of when.
    #[arg(long, value_name = "FILE")]
    labels: PathBuf,
    /// The Parquet file to write; replaced only when all went well.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// How many users, drawn at random; all when there are fewer.
    #[arg(long, default_value_t = 100)]
    sample: usize,
    /// Another seed draws other users.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// One line of the labels' file.
#[derive(Debug, Deserialize)]
struct Line {
    #[serde(default)]
    user_id: String,
    #[serde(default)]
    anonymous_id: String,
    timestamp: String,
    label: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Exported {
    rows: u64,
    bytes: u64,
    out: PathBuf,
    feature_set: String,
}

#[derive(Debug, Serialize)]
struct Verified {
    users: u64,
    events: u64,
    identical: u64,
    different: u64,
    /// The first users that differ, with the features that do.
    differences: Vec<Difference>,
}

#[derive(Debug, Serialize)]
struct Difference {
    user_key: String,
    /// Empty when only hidden state differs.
    features: Vec<String>,
}

impl Verified {
    fn count(&mut self, user: UserKey, verdict: Verdict) {
        self.users += 1;
        match verdict {
            Verdict::Identical { events } => {
                self.identical += 1;
                self.events += events;
            }
            Verdict::Different { events, features, .. } => {
                self.different += 1;
                self.events += events;
                if self.differences.len() < MOST_SHOWN {
                    let features = features.iter().map(ToString::to_string).collect();
                    self.differences.push(Difference { user_key: user.to_string(), features });
                }
            }
            // Listed a moment ago, so its state is what is missing.
            Verdict::Unknown => self.different += 1,
        }
    }
}

/// Runs the command.
pub(crate) fn run(command: &Command, output: Output) -> Result<Outcome, Error> {
    match command {
        Command::Export(args) => export(args, output),
        Command::Verify(args) => verify(args, output),
    }
}

fn export(args: &Export, output: Output) -> Result<Outcome, Error> {
    let app = App::open(Directory::open(&args.data)?.config()?, SystemClock::new())?;
    let labels = read_labels(&app, &args.labels)?;
    let written = app.export_features(&args.out, &labels)?;
    let feature_set = app.feature_set().hash().to_string();
    app.close()?;
    let report = Exported { rows: written.rows, bytes: written.bytes, out: args.out.clone(), feature_set };
    output.report(&report, |report| {
        let (rows, bytes) = (grouped(report.rows), grouped(report.bytes));
        format!("{rows} rows, {bytes} bytes in {}", report.out.display())
    })?;
    Ok(Outcome::Fine)
}

fn read_labels(app: &App, path: &Path) -> Result<Vec<Label>, Error> {
    let fault = |row: usize, problem: String, expected: String| {
        let problem = if row == 0 { problem } else { format!("row {row}: {problem}") };
        Error::Labels { path: path.to_owned(), problem, expected }
    };
    let columns = "the columns user_id or anonymous_id, timestamp and, if wanted, label (a number)";
    let unreadable = |row: usize, error: csv::Error| fault(row, error.to_string(), columns.to_owned());
    let file = std::fs::File::open(path).map_err(Error::file("read", path))?;
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
    let mut labels = Vec::new();
    for (row, line) in (1..).zip(reader.deserialize()) {
        let line: Line = line.map_err(|error| unreadable(row, error))?;
        let subject = match (line.user_id.as_str(), line.anonymous_id.as_str()) {
            ("", "") => {
                return Err(fault(row, "nobody is named".to_owned(), "user_id or anonymous_id".to_owned()));
            }
            ("", device) => Subject::Anonymous(device),
            (user, _) => Subject::User(user),
        };
        let at = InstantFormat::Guess
            .read_text(&line.timestamp)
            .map_err(|expected| fault(row, format!("timestamp `{}`", line.timestamp), expected))?;
        labels.push(Label { user: app.user_key(subject), at, outcome: line.label });
    }
    if labels.is_empty() {
        return Err(fault(0, "there are no rows".to_owned(), columns.to_owned()));
    }
    Ok(labels)
}

fn verify(args: &Verify, output: Output) -> Result<Outcome, Error> {
    let app = App::open(Directory::open(&args.data)?.config()?, SystemClock::new())?;
    let failed = augur_server::Error::from;
    let total = usize::try_from(app.store().stats().users_total).unwrap_or(usize::MAX);
    let chosen = sample(total, args.sample, args.seed);
    let mut report = Verified { users: 0, events: 0, identical: 0, different: 0, differences: Vec::new() };
    let bar = progress::bar("users verified", chosen.len() as u64);
    for (index, user) in app.store().users().map_err(failed)?.enumerate() {
        let user = user.map_err(failed)?;
        if !chosen.contains(&index) {
            continue;
        }
        let verdict = app.store().verify_user(user).map_err(failed)?;
        report.count(user, verdict);
        bar.inc(1);
    }
    bar.finish_and_clear();
    app.close()?;
    output.report(&report, verify_text)?;
    Ok(if report.different == 0 { Outcome::Fine } else { Outcome::Refused })
}

fn verify_text(report: &Verified) -> String {
    let mut text = format!(
        "{} users with {} events computed again: {} identical to what is served, {} different",
        grouped(report.users),
        grouped(report.events),
        grouped(report.identical),
        grouped(report.different),
    );
    for difference in &report.differences {
        text.push_str(&format!("\n  {}: {}", difference.user_key, difference.features.join(", ")));
    }
    text
}

/// Which of `total` users to take: `wanted` different ones, or all (R. Floyd's sampling).
fn sample(total: usize, wanted: usize, seed: u64) -> BTreeSet<usize> {
    let mut rng = Rng::new(seed, Purpose::Training);
    let mut chosen = BTreeSet::new();
    for upper in total.saturating_sub(wanted)..total {
        let drawn = usize::try_from(rng.below(upper as u64 + 1)).unwrap_or(upper);
        if !chosen.insert(drawn) {
            chosen.insert(upper);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_of_the_wanted_size_and_within_range() {
        for (total, wanted, expected) in [(100, 10, 10), (5, 10, 5), (0, 10, 0), (10, 10, 10)] {
            let chosen = sample(total, wanted, 7);
            assert_eq!(chosen.len(), expected);
            assert!(chosen.iter().all(|index| *index < total));
        }
        assert_ne!(sample(1_000, 10, 1), sample(1_000, 10, 2));
    }
}
