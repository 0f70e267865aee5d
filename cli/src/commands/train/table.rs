//! `augur train --table`: a model from a table of somebody's own features, measured on every part of it.
//!
//! No data directory and no server; nothing is published. Not here: fitting (`augur_models`), or reading files
//! (`import`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use augur_loadtest::domain::{ContentHash, Timestamp};
use augur_models::evaluation::Segmentation;
use augur_models::metrics::Metrics;
use augur_models::registry::{Card, PublishedCard};
use augur_models::train::{self, Options, Row, Split, TrainingTable};
use serde::Serialize;

use super::metrics_row;
use crate::commands::models::card::write_json;
use crate::import::mapping::Cell;
use crate::import::source::{self, Format};
use crate::output::{Output, grouped, table};
use crate::{Error, Outcome, progress};

/// Rows whose split says so are fitted on.
const TRAIN: &str = "train";
/// What the rows held back are called when no column says it.
const TEST: &str = "test";

/// What is to be learned from which table.
#[derive(Debug)]
pub(super) struct Order<'a> {
    /// CSV, JSON lines or Parquet.
    pub(super) path: &'a Path,
    /// The column that holds the label.
    pub(super) label: &'a str,
    /// The column that names each row's part; without one a fifth of the groups is held back.
    pub(super) split: Option<&'a str>,
    /// The column that says whom a row is about; without one every row stands for itself.
    pub(super) group: Option<&'a str>,
    /// The column that holds each row's instant.
    pub(super) time: Option<&'a str>,
    /// The column that names each row's segment, which is no feature.
    pub(super) segment: Option<&'a str>,
    /// Columns that are no features.
    pub(super) ignore: &'a [String],
    /// Where the model and its measures are written.
    pub(super) out: Option<&'a Path>,
    /// Who trains, and when.
    pub(super) card: Card,
    /// How to fit.
    pub(super) options: Options,
}

/// A model and how good it is on each part.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    table: PathBuf,
    label: String,
    features: usize,
    /// By the part's name; `train` is what was fitted on.
    splits: BTreeMap<String, Metrics>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    written: Vec<PathBuf>,
    report: train::Report,
}

/// The table, the part that each row held back belongs to, and the segment of every row.
struct Loaded {
    rows: TrainingTable,
    segments: Option<Segmentation>,
    held_back: Vec<String>,
}

pub(super) fn run(order: &Order<'_>, output: Output) -> Result<Outcome, Error> {
    let working = progress::steps("training", 2);
    let loaded = read(order)?;
    working.inc(1);
    let mut options = order.options.clone();
    options.evaluating.segments = loaded.segments.clone();
    let trained =
        train::fit_with_progress(&loaded.rows, &options, &mut |step| working.set_message(step.to_owned()))?;
    working.finish_and_clear();
    let mut splits = BTreeMap::new();
    splits.extend(trained.report.train.map(|metrics| (TRAIN.to_owned(), metrics)));
    let mut parts: BTreeMap<&str, Vec<(f64, bool)>> = BTreeMap::new();
    let scored = train::predictions(&trained.artifact, &loaded.rows, Split::Test)?;
    for ((score, label), part) in scored.iter().zip(&loaded.held_back) {
        parts.entry(part).or_default().push((score.calibrated, *label));
    }
    splits.extend(
        parts.iter().filter_map(|(part, pairs)| Some(((*part).to_owned(), Metrics::measure(pairs)?))),
    );
    let mut report = Report {
        table: order.path.to_owned(),
        label: order.label.to_owned(),
        features: loaded.rows.columns().len(),
        splits,
        written: Vec::new(),
        report: trained.report,
    };
    if let Some(dir) = order.out {
        report.write(dir, &trained.artifact, &order.card)?;
    }
    output.report(&report, Report::text)?;
    Ok(Outcome::Fine)
}

fn read(order: &Order<'_>) -> Result<Loaded, Error> {
    let format = Format::of(order.path)?;
    let header = source::header(order.path, format)?.ok_or_else(|| Error::Input {
        path: order.path.to_owned(),
        problem: "JSON lines have no header that tells the columns".to_owned(),
        expected: "a table as `.csv`, `.csv.gz` or `.parquet`".to_owned(),
    })?;
    let special: Vec<&str> = [Some(order.label), order.split, order.group, order.time, order.segment]
        .into_iter()
        .flatten()
        .collect();
    let mut named = special.clone();
    named.extend(order.ignore.iter().map(String::as_str));
    source::indices(order.path, &header, &named)?;
    if let Some(segment) =
        order.segment.filter(|segment| named.iter().filter(|name| name == &segment).count() > 1)
    {
        return Err(Error::Usage {
            problem: format!("--segment names `{segment}`, which has another part to play"),
            expected: "a column that is neither label, split nor group, and not in `--ignore`",
        });
    }
    let features: Vec<&str> =
        header.iter().map(String::as_str).filter(|column| !named.contains(column)).collect();
    let mut rows = TrainingTable::new(features.iter().map(|name| (*name).to_owned()).collect())?;
    let wanted: Vec<&str> = special.iter().chain(&features).copied().collect();
    let mut source = source::open(order.path, format, &wanted)?;
    let mut held_back = Vec::new();
    let mut segments = order.segment.map(Segmentation::new);
    while let Some(row) = source.next_row()? {
        let row = row.map_err(|(number, fault)| {
            Place::new(order.path, number, &fault.column).fault(&fault.found, &fault.expected)
        })?;
        let mut cells = row.cells.iter();
        let mut next = || cells.next().unwrap_or(&Cell::Missing);
        let label = label(next(), Place::new(order.path, row.number, order.label))?;
        let part = order.split.map(|_| next().to_text());
        let group = order.group.map_or(row.number, |_| group_of(&next().to_text()));
        let instant = order.time.map(|column| (column, next()));
        if let Some(segments) = &mut segments {
            segments.push(&next().to_text());
        }
        let values = features
            .iter()
            .map(|column| {
                value(next()).map_err(|found| {
                    Place::new(order.path, row.number, column)
                        .fault(&found, "a number, true, false or nothing; or name the column in `--ignore`")
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let part = part.unwrap_or_else(|| if group % 5 == 4 { TEST.to_owned() } else { TRAIN.to_owned() });
        let split = if part == TRAIN { Split::Train } else { Split::Test };
        if split == Split::Test {
            held_back.push(part);
        }
        let time = match instant {
            Some((column, cell)) => instant_of(cell).ok_or_else(|| {
                Place::new(order.path, row.number, column)
                    .fault(&cell.to_text(), "a number that grows with time")
            })?,
            // Parts are the table's own business, so every row of one is as of one instant.
            _ => Timestamp::from_unix_ms(i64::from(split == Split::Test)),
        };
        rows.push(&Row { values: &values, label, group, time, split })?;
    }
    Ok(Loaded { rows, segments, held_back })
}

/// A cell of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    path: &'a Path,
    row: u64,
    column: &'a str,
}

impl<'a> Place<'a> {
    pub(crate) const fn new(path: &'a Path, row: u64, column: &'a str) -> Self {
        Self { path, row, column }
    }

    /// What it holds cannot be used.
    pub(crate) fn fault(self, found: &str, expected: &str) -> Error {
        let Self { path, row, column } = self;
        Error::Input {
            path: path.to_owned(),
            problem: format!("row {row}, column `{column}` holds `{found}`"),
            expected: expected.to_owned(),
        }
    }
}

/// What came of a row.
pub(crate) fn label(cell: &Cell, at: Place<'_>) -> Result<bool, Error> {
    match value(cell) {
        Ok(Some(1.0)) => Ok(true),
        Ok(Some(0.0)) => Ok(false),
        _ => Err(at.fault(&cell.to_text(), "1, 0, true or false")),
    }
}

/// The instant of a number, taken for Unix milliseconds.
fn instant_of(cell: &Cell) -> Option<Timestamp> {
    let number = value(cell).ok()??;
    Some(Timestamp::from_unix_ms(number as i64))
}

/// A feature's value; nothing is missing, true is 1.
pub(crate) fn value(cell: &Cell) -> Result<Option<f64>, String> {
    match cell {
        Cell::Missing => Ok(None),
        Cell::Number(number) => Ok(Some(*number)),
        Cell::Boolean(truth) => Ok(Some(f64::from(u8::from(*truth)))),
        Cell::Instant(unix_ms) => Ok(Some(*unix_ms as f64)),
        Cell::Open(text) | Cell::Text(text) | Cell::Nested(text) => match text.trim() {
            "" => Ok(None),
            "true" | "True" => Ok(Some(1.0)),
            "false" | "False" => Ok(Some(0.0)),
            text => text.parse().map(Some).map_err(|_| text.to_owned()),
        },
    }
}

/// A number for a group's name, the same on every machine.
pub(crate) fn group_of(name: &str) -> u64 {
    let hash = ContentHash::of(&[name.as_bytes()]);
    hash.as_bytes().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl Report {
    /// `model.augurmdl`, `metrics.json`, `card.json` and `card.html`.
    fn write(&mut self, dir: &Path, artifact: &augur_models::Artifact, card: &Card) -> Result<(), Error> {
        std::fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
        let (model, metrics) = (dir.join("model.augurmdl"), dir.join("metrics.json"));
        std::fs::write(&model, artifact.encode()).map_err(Error::file("write", &model))?;
        let (card_json, page) = (dir.join("card.json"), dir.join("card.html"));
        let card = PublishedCard::new(0, artifact, card);
        write_json(&card, &card_json)?;
        std::fs::write(&page, augur_models::card::html(&card)).map_err(Error::file("write", &page))?;
        self.written = vec![model, metrics.clone(), card_json, page];
        let mut json = serde_json::to_vec_pretty(self)
            .map_err(std::io::Error::from)
            .map_err(Error::file("write", &metrics))?;
        json.push(b'\n');
        std::fs::write(&metrics, json).map_err(Error::file("write", &metrics))
    }

    fn text(&self) -> String {
        let report = &self.report;
        let trees = report.trees.map_or_else(String::new, |trees| format!(" of {trees} trees"));
        let mut text = format!(
            "{}{trees} on {} features of {}, label `{}`\n",
            report.family,
            grouped(self.features as u64),
            self.table.display(),
            self.label,
        );
        let rows: Vec<_> = self.splits.iter().map(|(part, metrics)| metrics_row(part, metrics)).collect();
        text.push_str(&table(&super::METRICS_HEADER, &rows));
        text.push_str(&super::quality::text(report));
        text.push_str(&super::notes(report));
        let mut by_weight: Vec<_> = report.features.iter().collect();
        by_weight.sort_by(|a, b| b.importance.total_cmp(&a.importance));
        let most: Vec<String> = by_weight
            .iter()
            .take(8)
            .map(|feature| format!("{} {:.3}", feature.feature, feature.importance))
            .collect();
        text.push_str(&format!("mean absolute contribution: {}\n", most.join(", ")));
        match self.written.as_slice() {
            [] => text.push_str("next: add --out DIR to keep the model and these figures"),
            written => {
                let names: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
                text.push_str(&format!("written: {}", names.join(", ")));
            }
        }
        text
    }
}
