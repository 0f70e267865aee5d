//! `augur segments`: users told apart by k-means, for rules that read `segments.<name>`.
//!
//! Not here: finding the segments (`augur_models::train`), or what rules make of them (`augur_decision`).

mod assign;

use std::path::{Path, PathBuf};

use augur_loadtest::domain::time::parse_duration_ms;
use augur_loadtest::domain::{ContentHash, Timestamp};
use augur_models::Artifact;
use augur_models::artifact::Transform;
use augur_models::registry::{Card, PublishedCard};
use augur_models::train::{self, Count, Row, SegmentOptions, SegmentReport, Split, TrainingTable};
use augur_server::{App, Clock, SystemClock};
use clap::{Subcommand, ValueEnum};
use serde::Serialize;

use super::models::card::write_json;
use super::train::table::value;
use crate::data::Directory;
use crate::import::InstantFormat;
use crate::import::mapping::Cell;
use crate::import::source::{self, Format};
use crate::output::{Output, grouped, table};
use crate::{Error, Outcome, progress};

/// Tell users apart, for rules that read `segments.<name>`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Find segments of users by k-means, publish them as a model, and let alias `champion` point at it.
    #[command(after_help = "\
Examples:
  augur segments train --name value_segments --data data
  augur segments train --name value_segments --data data --k 3 --names low,mid,high \\
      --features revenue_90d,purchase_count_90d --order-by revenue_90d
  augur segments train --name visits --table visits.csv --k auto --ignore visitor --out segments

Distances are taken over standardised signed logarithms; a missing value is taken for the mean. The largest segment comes
first and is called s0, unless --order-by and --names say otherwise. A policy reads them so:

  [[segment]]
  name = \"value\"
  model = \"value_segments\"

with `segments = [\"value\"]` in the decision point and rules such as when = \"segments.value == 'high'\". No server may be
using the directory.")]
    Train(Box<TrainArgs>),
    /// Write the segment of every row of a table.
    #[command(after_help = "\
Examples:
  augur segments assign value_segments --table customers.csv --id customer --out segments.csv --data data
  augur segments assign segments/model.augurmdl --table visits.csv.gz --out segments.csv --json

The table has a column for each input of the model (augur models show), by its name; an empty cell is taken for the mean.")]
    Assign(assign::Args),
}

/// What is done to values first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TransformName {
    /// Signed logarithms, ln(1 + |x|), of every feature.
    Log,
    /// Signed logarithms of the features that are skewed.
    Auto,
    /// Nothing.
    None,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TrainArgs {
    /// The model's name.
    #[arg(long)]
    name: String,
    /// The data directory.
    #[arg(long, value_name = "DIR", required_unless_present = "table")]
    data: Option<PathBuf>,
    /// The instant that features are as of, such as 2026-10-01T00:00:00Z; now unless given.
    #[arg(long, value_name = "TIME", conflicts_with = "table")]
    at: Option<String>,
    /// Only users with an event within this time before the instant; all unless given.
    #[arg(long, value_parser = parse_duration_ms, conflicts_with = "table")]
    active: Option<i64>,
    /// Segment the rows of this table instead (CSV or Parquet, `.csv.gz` too). Nothing is published.
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    table: Option<PathBuf>,
    /// Only these features; all numbers and truths unless given.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    features: Vec<String>,
    /// Of the table, columns that are no features.
    #[arg(
        long,
        value_name = "COLUMN",
        value_delimiter = ',',
        requires = "table",
        conflicts_with = "features"
    )]
    ignore: Vec<String>,
    /// How many segments, 2 to 32, or `auto`: from 2 to 10, whichever are farthest apart for their size (simplified
    /// silhouette on a sample).
    #[arg(long, default_value = "4", value_parser = count)]
    k: Count,
    /// What the segments are called, in order; s0, s1 and so on unless given.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    names: Vec<String>,
    /// Order the segments by this feature, the lowest first. Without it the largest comes first.
    #[arg(long, value_name = "FEATURE")]
    order_by: Option<String>,
    /// What is done to values first.
    #[arg(long, value_enum, default_value_t = TransformName::Log)]
    transform: TransformName,
    /// Share of the values at either end of each feature that is taken for the least or greatest of the others.
    #[arg(long, default_value_t = 0.001, value_name = "SHARE")]
    winsorise: f64,
    /// Of every draw.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Of a table's segments, the directory that the model and its card are written to.
    #[arg(long, value_name = "DIR", requires = "table")]
    out: Option<PathBuf>,
    /// Who trains; the user of this shell unless given. It goes into the model card.
    #[arg(long, env = "USER", default_value = "unknown")]
    by: String,
    /// Publish the version, but leave alias `champion` where it is.
    #[arg(long, conflicts_with = "table")]
    no_promote: bool,
}

fn count(text: &str) -> Result<Count, String> {
    match (text, text.parse()) {
        ("auto", _) => Ok(Count::Auto),
        (_, Ok(count @ 2..=32)) => Ok(Count::Given(count)),
        _ => Err("expected 2 to 32, or `auto`".to_owned()),
    }
}

#[derive(Debug, Serialize)]
struct Report {
    model: String,
    /// Null of a table's segments.
    version: Option<u32>,
    artifact: String,
    promoted: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    written: Vec<PathBuf>,
    report: SegmentReport,
}

/// Runs the command.
pub(crate) fn run(command: &Command, output: Output) -> Result<Outcome, Error> {
    let args = match command {
        Command::Train(args) => args,
        Command::Assign(args) => return assign::run(args, output),
    };
    let report = match (&args.table, &args.data) {
        (Some(path), _) => of_table(args, path)?,
        (None, data) => of_users(args, data.as_deref().unwrap_or_else(|| Path::new(".")))?,
    };
    output.report(&report, Report::text)?;
    Ok(Outcome::Fine)
}

fn of_users(args: &TrainArgs, data: &Path) -> Result<Report, Error> {
    let app = App::open(Directory::open(data)?.config()?, SystemClock::new())?;
    let found = find_among_users(args, &app);
    app.close()?;
    found
}

fn find_among_users(args: &TrainArgs, app: &App) -> Result<Report, Error> {
    let now = app.clock().now();
    let working = progress::steps("segments", 2);
    let at = match args.at.as_deref() {
        None | Some("now") => now,
        Some(at) => InstantFormat::Guess.read_text(at).map_err(|expected| Error::Argument {
            argument: "--at",
            found: at.to_owned(),
            expected,
        })?,
    };
    let users = app.users_at(args.active, at)?;
    let set = app.training_set(&users)?;
    let kept = kept(&args.features, &set.columns)?;
    let mut rows = TrainingTable::new(names_at(&set.columns, &kept))?;
    let mut picked = Vec::with_capacity(kept.len());
    for (values, label, group, time) in set.rows() {
        picked.clear();
        picked.extend(kept.iter().map(|index| values.get(*index).copied().flatten()));
        rows.push(&Row { values: &picked, label, group, time, split: Split::Train })?;
    }
    working.inc(1);
    let mut options = args.options(app.feature_set().hash(), now);
    options.definitions = set.columns.into_iter().zip(set.definitions).collect();
    let found = train::segment(&rows, &options, &mut |step| working.set_message(step.to_owned()))?;
    let names: Vec<&str> = found.report.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    let notes = format!("segments {} as of {at}", names.join(", "));
    let model = app.publish(&found.artifact, &args.by, &notes)?;
    if !args.no_promote {
        app.set_alias(&args.name, "champion", model.version, &args.by, "newly trained")?;
    }
    working.finish_and_clear();
    Ok(Report {
        model: args.name.clone(),
        version: Some(model.version),
        artifact: model.artifact.to_string(),
        promoted: !args.no_promote,
        written: Vec::new(),
        report: found.report,
    })
}

fn of_table(args: &TrainArgs, path: &Path) -> Result<Report, Error> {
    let working = progress::steps("segments", 2);
    let rows = read(args, path)?;
    working.inc(1);
    let options = args.options(ContentHash::default(), SystemClock::new().now());
    let found = train::segment(&rows, &options, &mut |step| working.set_message(step.to_owned()))?;
    working.finish_and_clear();
    let written = match &args.out {
        Some(dir) => write(dir, &found.artifact, args, options.created_at, path)?,
        None => Vec::new(),
    };
    Ok(Report {
        model: args.name.clone(),
        version: None,
        artifact: found.artifact.id().to_string(),
        promoted: false,
        written,
        report: found.report,
    })
}

impl TrainArgs {
    fn options(&self, feature_set: ContentHash, now: Timestamp) -> SegmentOptions {
        SegmentOptions {
            count: self.k,
            names: self.names.clone(),
            order_by: self.order_by.clone(),
            transform: match self.transform {
                TransformName::Log => Some(Transform::SignedLog1p),
                TransformName::None => Some(Transform::Identity),
                TransformName::Auto => None,
            },
            winsorise: self.winsorise,
            seed: self.seed,
            ..SegmentOptions::new(&self.name, feature_set, now)
        }
    }
}

/// The places of the columns that were asked for, all of them when none was.
fn kept(wanted: &[String], columns: &[String]) -> Result<Vec<usize>, Error> {
    if wanted.is_empty() {
        return Ok((0..columns.len()).collect());
    }
    let place = |name: &String| {
        let near = || {
            columns
                .iter()
                .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)))
        };
        columns.iter().position(|column| column == name).ok_or_else(|| Error::Argument {
            argument: "--features",
            found: name.clone(),
            expected: format!("features that are numbers, such as `{}`", near().map_or("", |near| near)),
        })
    };
    wanted.iter().map(place).collect()
}

fn names_at(columns: &[String], kept: &[usize]) -> Vec<String> {
    kept.iter().filter_map(|index| columns.get(*index)).cloned().collect()
}

fn read(args: &TrainArgs, path: &Path) -> Result<TrainingTable, Error> {
    let fault = |problem: String, expected: &str| Error::Input {
        path: path.to_owned(),
        problem,
        expected: expected.to_owned(),
    };
    let format = Format::of(path)?;
    let header = source::header(path, format)?.ok_or_else(|| {
        let problem = "JSON lines have no header that tells the columns".to_owned();
        fault(problem, "a table as `.csv`, `.csv.gz` or `.parquet`")
    })?;
    let ignored: Vec<&str> = args.ignore.iter().map(String::as_str).collect();
    source::indices(path, &header, &ignored)?;
    let left: Vec<String> = header.into_iter().filter(|column| !args.ignore.contains(column)).collect();
    let columns = names_at(&left, &kept(&args.features, &left)?);
    let mut rows = TrainingTable::new(columns.clone())?;
    let wanted: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut source = source::open(path, format, &wanted)?;
    let at = |row: u64, column: &str, found: &str, expected: &str| {
        fault(format!("row {row}, column `{column}` holds `{found}`"), expected)
    };
    while let Some(row) = source.next_row()? {
        let row = row.map_err(|(number, told)| at(number, &told.column, &told.found, &told.expected))?;
        let mut cells = row.cells.iter();
        let expected = "a number, true, false or nothing; or name the column in `--ignore`";
        let values = columns
            .iter()
            .map(|column| {
                value(cells.next().unwrap_or(&Cell::Missing))
                    .map_err(|found| at(row.number, column, &found, expected))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let time = Timestamp::from_unix_ms(0);
        rows.push(&Row { values: &values, label: false, group: row.number, time, split: Split::Train })?;
    }
    Ok(rows)
}

/// `model.augurmdl`, `card.json` and `card.html`.
fn write(
    dir: &Path,
    artifact: &Artifact,
    args: &TrainArgs,
    now: Timestamp,
    table: &Path,
) -> Result<Vec<PathBuf>, Error> {
    std::fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
    let (model, json, page) = (dir.join("model.augurmdl"), dir.join("card.json"), dir.join("card.html"));
    let notes = format!("trained on {}", table.display());
    let card = Card { published_by: args.by.clone(), published_at: now, notes };
    let card = PublishedCard::new(0, artifact, &card);
    std::fs::write(&model, artifact.encode()).map_err(Error::file("write", &model))?;
    write_json(&card, &json)?;
    std::fs::write(&page, augur_models::card::html(&card)).map_err(Error::file("write", &page))?;
    Ok(vec![model, json, page])
}

impl Report {
    fn text(&self) -> String {
        let report = &self.report;
        let version = self.version.map_or_else(String::new, |version| format!(" version {version}"));
        let mut text = format!(
            "{}{version}: {} segments of {} rows over {} features; silhouette {:.3}, {:.0} % of the variance between them\n",
            self.model,
            report.clusters.len(),
            grouped(report.rows as u64),
            report.features.len(),
            report.silhouette,
            100.0 * report.explained,
        );
        for tried in &report.counts_tried {
            text.push_str(&format!(
                "tried {} segments: silhouette {:.3}\n",
                tried.segments, tried.silhouette
            ));
        }
        text.push_str(&self.centers());
        for warning in &report.warnings {
            text.push_str(&format!("note: {warning}\n"));
        }
        if !report.dropped.is_empty() {
            text.push_str(&format!("note: never vary, left out: {}\n", report.dropped.join(", ")));
        }
        match (self.version, self.written.as_slice()) {
            (Some(_), _) => text.push_str("next: declare it under `[[segment]]` of the policy"),
            (None, []) => text.push_str("next: add --out DIR to keep the model and its card"),
            (None, written) => {
                let names: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
                text.push_str(&format!("written: {}", names.join(", ")));
            }
        }
        text
    }

    /// A row per segment, with its centre in the features that part the segments most.
    fn centers(&self) -> String {
        const MOST: usize = 5;
        let mut told: Vec<_> = self.report.features.iter().enumerate().collect();
        told.sort_by(|a, b| b.1.importance.total_cmp(&a.1.importance));
        told.truncate(MOST);
        let features = told.iter().map(|(_, feature)| feature.feature.as_str());
        let header: Vec<&str> = ["segment", "rows", "share"].into_iter().chain(features).collect();
        let rows: Vec<Vec<String>> = self
            .report
            .clusters
            .iter()
            .map(|cluster| {
                let center = told.iter().map(|(index, _)| {
                    cluster.center.get(*index).map_or_else(|| "-".to_owned(), |at| format!("{at:.2}"))
                });
                let share = format!("{:.1} %", 100.0 * cluster.share);
                [cluster.name.clone(), grouped(cluster.rows as u64), share]
                    .into_iter()
                    .chain(center)
                    .collect()
            })
            .collect();
        table(&header, &rows)
    }
}
