//! `augur models assess`: how good a published model is on a table of rows with labels.
//!
//! Not here: scoring and measures (`augur_models`), or reading files (`import`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use augur_loadtest::domain::Timestamp;
use augur_models::artifact::Body;
use augur_models::evaluation::{Evaluation, Scored};
use augur_models::metrics::{Metrics, interval};
use augur_models::train::{self, Row, Split, TrainingTable};
use augur_models::{Artifact, Registry};
use augur_server::Layout;
use serde::Serialize;

use crate::commands::train::table::{Place, group_of, label, value};
use crate::commands::train::{METRICS_HEADER, metrics_row, quality};
use crate::data::Directory;
use crate::import::mapping::Cell;
use crate::import::source::{self, Format};
use crate::output::{Output, table};
use crate::{Error, Outcome};

/// What all rows are called when no column says it.
const ALL: &str = "all";
/// Seeds the draws of rows for intervals.
const SEED: u64 = 1;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The model: NAME, NAME@VERSION or NAME@ALIAS of the data directory, or a `.augurmdl` file. `champion` unless it says.
    model: String,
    /// Rows with a column for each input, by its name: CSV or Parquet, `.csv.gz` too.
    #[arg(long, value_name = "FILE")]
    table: PathBuf,
    /// The column that holds what came of a row: 1, 0, true or false.
    #[arg(long, value_name = "COLUMN")]
    label: String,
    /// The column that names each row's part; every part is measured on its own.
    #[arg(long, value_name = "COLUMN")]
    split: Option<String>,
    /// The column that says whom a row is about; rows of one group come and go together when intervals are drawn.
    #[arg(long, value_name = "COLUMN")]
    group: Option<String>,
    /// How often rows are drawn for the 95 % intervals, by group; 0 gives none.
    #[arg(long, default_value_t = interval::RESAMPLES, value_name = "COUNT", value_parser = resamples)]
    resamples: usize,
    /// The data directory that the model is in, also while a server uses it.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// How good a model is, by part. Fields as in the report of `augur train`.
#[derive(Debug, Serialize)]
struct Assessed {
    model: String,
    artifact: String,
    positive_class: String,
    table: PathBuf,
    label: String,
    features: usize,
    splits: BTreeMap<String, Metrics>,
    /// Of all rows together.
    evaluation: Option<Evaluation>,
}

/// The rows, and the part and group of each.
struct Loaded {
    rows: TrainingTable,
    parts: Vec<String>,
    groups: Vec<u64>,
}

pub(super) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let artifact = artifact(&args.model, args.data.as_deref())?;
    let content = artifact.content();
    if let Body::Clusters { .. } = content.body {
        return Err(Error::Usage {
            problem: format!("`{}` gives segments, and labels measure probabilities", args.model),
            expected: "a model that gives a probability",
        });
    }
    let inputs: Vec<&str> = content.body.features().into_iter().map(|(name, _)| name).collect();
    let loaded = read(args, &inputs)?;
    let scored = train::predictions(&artifact, &loaded.rows, Split::Test)?;
    let mut parts: BTreeMap<&str, Vec<(f64, bool)>> = BTreeMap::new();
    for ((score, label), part) in scored.iter().zip(&loaded.parts) {
        parts.entry(part).or_default().push((score.calibrated, *label));
    }
    let calibrated: Vec<_> = scored.iter().map(|(score, label)| (score.calibrated, *label)).collect();
    let raw: Vec<_> = scored.iter().map(|(score, label)| (score.raw, *label)).collect();
    let of_all = Scored { calibrated: &calibrated, raw: &raw, groups: &loaded.groups };
    let measured = |(part, pairs): (&str, Vec<_>)| Some((part.to_owned(), Metrics::measure(&pairs)?));
    let assessed = Assessed {
        model: args.model.clone(),
        artifact: artifact.id().to_string(),
        positive_class: content.positive_class.clone(),
        table: args.table.clone(),
        label: args.label.clone(),
        features: inputs.len(),
        splits: parts.into_iter().filter_map(measured).collect(),
        evaluation: Evaluation::of(ALL, of_all, args.resamples, SEED),
    };
    output.report(&assessed, text)?;
    Ok(Outcome::Fine)
}

/// The artifact that NAME, NAME@VERSION or NAME@ALIAS of a data directory, or a `.augurmdl` file, names.
pub(crate) fn artifact(model: &str, data: Option<&Path>) -> Result<Artifact, Error> {
    let path = Path::new(model);
    if path.extension().is_some_and(|extension| extension == "augurmdl") {
        return Ok(Artifact::decode(&std::fs::read(path).map_err(Error::file("read", path))?)?);
    }
    let data = data.ok_or_else(|| Error::Usage {
        problem: format!("there is no registry to find `{model}` in"),
        expected: "`--data DIR`, or a `.augurmdl` file",
    })?;
    let config = Directory::open(data)?.config()?;
    let registry = Registry::open(Layout::new(&config.data.dir).models())?;
    let (name, selector) = model.split_once('@').unwrap_or((model, "champion"));
    Ok(registry.load(&registry.find(name, selector)?)?)
}

/// Refuses a table without a column for each of a model's `inputs`, all named at once, or one of the `others`.
pub(crate) fn require_columns(path: &Path, inputs: &[&str], others: &[&str]) -> Result<(), Error> {
    let refused = |problem: String, expected: &str| Error::Input {
        path: path.to_owned(),
        problem,
        expected: expected.to_owned(),
    };
    let header = source::header(path, Format::of(path)?)?.ok_or_else(|| {
        refused("JSON lines have no header".to_owned(), "a table as `.csv`, `.csv.gz` or `.parquet`")
    })?;
    source::indices(path, &header, others)?;
    let absent = inputs.iter().filter(|input| !header.iter().any(|column| column == *input));
    let absent: Vec<String> = absent.map(|input| format!("`{input}`")).collect();
    if absent.is_empty() {
        return Ok(());
    }
    let problem = format!("there is no column {} that the model reads", absent.join(", "));
    Err(refused(problem, "a column for each input of the model, by its name"))
}

fn read(args: &Args, inputs: &[&str]) -> Result<Loaded, Error> {
    let path = args.table.as_path();
    let special = [Some(args.label.as_str()), args.split.as_deref(), args.group.as_deref()];
    let special: Vec<&str> = special.into_iter().flatten().collect();
    require_columns(path, inputs, &special)?;
    let wanted: Vec<&str> = special.iter().chain(inputs).copied().collect();
    let mut rows = TrainingTable::new(inputs.iter().map(|input| (*input).to_owned()).collect())?;
    let (mut parts, mut groups) = (Vec::new(), Vec::new());
    let mut source = source::open(path, Format::of(path)?, &wanted)?;
    while let Some(row) = source.next_row()? {
        let row = row.map_err(|(number, fault)| {
            Place::new(path, number, &fault.column).fault(&fault.found, &fault.expected)
        })?;
        let mut cells = row.cells.iter();
        let mut next = || cells.next().unwrap_or(&Cell::Missing);
        let label = label(next(), Place::new(path, row.number, &args.label))?;
        parts.push(args.split.as_ref().map_or_else(|| ALL.to_owned(), |_| next().to_text()));
        let group = args.group.as_ref().map_or(row.number, |_| group_of(&next().to_text()));
        groups.push(group);
        let values = inputs.iter().map(|input| {
            value(next()).map_err(|found| {
                Place::new(path, row.number, input).fault(&found, "a number, true, false or nothing")
            })
        });
        let values = values.collect::<Result<Vec<_>, _>>()?;
        let (time, split) = (Timestamp::from_unix_ms(0), Split::Test);
        rows.push(&Row { values: &values, label, group, time, split })?;
    }
    Ok(Loaded { rows, parts, groups })
}

fn resamples(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count <= 10_000).ok_or_else(|| "expected 0 to 10000".to_owned())
}

fn text(assessed: &Assessed) -> String {
    let mut text = format!(
        "{} ({}) on {}, label `{}`\n",
        assessed.model,
        assessed.positive_class,
        assessed.table.display(),
        assessed.label
    );
    let rows: Vec<_> = assessed.splits.iter().map(|(part, metrics)| metrics_row(part, metrics)).collect();
    text.push_str(&table(&METRICS_HEADER, &rows));
    text.push_str(&assessed.evaluation.as_ref().map_or_else(String::new, quality::intervals));
    text
}
