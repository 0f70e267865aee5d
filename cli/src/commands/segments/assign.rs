//! `augur segments assign`: the segment of every row of a table.
//!
//! Not here: which centre is nearest (`augur_models`), or finding segments.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use augur_loadtest::domain::FeatureStatus;
use augur_models::artifact::Body;
use augur_models::train::scorer_over;
use serde::Serialize;

use crate::commands::models::assess::{artifact, require_columns};
use crate::commands::train::table::{Place, value};
use crate::import::mapping::Cell;
use crate::import::source::{self, Format};
use crate::output::{Output, grouped, table};
use crate::{Error, Outcome, progress};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The model: NAME, NAME@VERSION or NAME@ALIAS of the data directory, or a `.augurmdl` file. `champion` unless it says.
    model: String,
    /// Rows with a column for each input, by its name: CSV or Parquet, `.csv.gz` too.
    #[arg(long, value_name = "FILE")]
    table: PathBuf,
    /// The column that tells rows apart, copied beside the segment; the row's number, from 1, unless given.
    #[arg(long, value_name = "COLUMN")]
    id: Option<String>,
    /// The CSV that is written, one line a row: the id and its `segment`.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The data directory that the model is in, also while a server uses it.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Assigned {
    model: String,
    artifact: String,
    rows: u64,
    /// Rows by segment.
    segments: BTreeMap<String, u64>,
    written: PathBuf,
}

pub(super) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let artifact = artifact(&args.model, args.data.as_deref())?;
    let Body::Clusters { names, .. } = &artifact.content().body else {
        return Err(Error::Usage {
            problem: format!("`{}` gives a probability", args.model),
            expected: "a model of segments, such as `augur segments train` makes",
        });
    };
    let inputs: Vec<String> =
        artifact.content().body.features().into_iter().map(|(name, _)| name.to_owned()).collect();
    let (scorer, mut vector) = scorer_over(&artifact, &inputs)?;
    let mut segments: BTreeMap<String, u64> = names.iter().map(|name| (name.clone(), 0)).collect();
    let header = [args.id.as_deref().unwrap_or("row"), "segment"];
    let mut lines = Lines::create(&args.out, header)?;
    let rows = each_row(args, &inputs, |id, values| {
        for (slot, value) in vector.values.iter_mut().zip(values) {
            slot.value = value.unwrap_or(0.0);
            slot.status = if value.is_some() { FeatureStatus::Present } else { FeatureStatus::NullValue };
        }
        let segment = scorer.segment(&vector).map_or("", |segment| &**segment);
        if let Some(count) = segments.get_mut(segment) {
            *count += 1;
        }
        lines.write([id, segment])
    })?;
    lines.finish()?;
    let assigned = Assigned {
        model: args.model.clone(),
        artifact: artifact.id().to_string(),
        rows,
        segments,
        written: args.out.clone(),
    };
    output.report(&assigned, text)?;
    Ok(Outcome::Fine)
}

/// Hands over the id and the values of every row; how many there are.
fn each_row(
    args: &Args,
    inputs: &[String],
    mut take: impl FnMut(&str, &[Option<f64>]) -> Result<(), Error>,
) -> Result<u64, Error> {
    let path = args.table.as_path();
    let names: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let special: Vec<&str> = args.id.as_deref().into_iter().collect();
    require_columns(path, &names, &special)?;
    let wanted: Vec<&str> = special.iter().chain(&names).copied().collect();
    let mut source = source::open(path, Format::of(path)?, &wanted)?;
    let (counted, mut rows) = (progress::counter("rows"), 0);
    let mut values = Vec::with_capacity(names.len());
    while let Some(row) = source.next_row()? {
        let row = row.map_err(|(number, fault)| {
            Place::new(path, number, &fault.column).fault(&fault.found, &fault.expected)
        })?;
        let mut cells = row.cells.iter();
        let mut next = || cells.next().unwrap_or(&Cell::Missing);
        let id = args.id.as_ref().map_or_else(|| row.number.to_string(), |_| next().to_text());
        values.clear();
        for name in &names {
            let fault = |found: String| {
                Place::new(path, row.number, name).fault(&found, "a number, true, false or nothing")
            };
            values.push(value(next()).map_err(fault)?);
        }
        take(&id, &values)?;
        rows += 1;
        counted.set_position(rows);
    }
    counted.finish_and_clear();
    Ok(rows)
}

/// The file that is written.
struct Lines<'a> {
    path: &'a Path,
    writer: csv::Writer<std::fs::File>,
}

impl<'a> Lines<'a> {
    fn create(path: &'a Path, header: [&str; 2]) -> Result<Self, Error> {
        let file = std::fs::File::create(path).map_err(Error::file("create", path))?;
        let mut lines = Self { path, writer: csv::Writer::from_writer(file) };
        lines.write(header)?;
        Ok(lines)
    }

    fn write(&mut self, cells: [&str; 2]) -> Result<(), Error> {
        let written = self.writer.write_record(cells).map_err(std::io::Error::from);
        written.map_err(Error::file("write", self.path))
    }

    fn finish(mut self) -> Result<(), Error> {
        self.writer.flush().map_err(Error::file("write", self.path))
    }
}

fn text(assigned: &Assigned) -> String {
    let share = |count: u64| 100.0 * count as f64 / (assigned.rows as f64).max(1.0);
    let row = |(name, count): (&String, &u64)| {
        vec![name.clone(), grouped(*count), format!("{:.1} %", share(*count))]
    };
    let rows: Vec<_> = assigned.segments.iter().map(row).collect();
    format!("{}\nwritten: {}", table(&["segment", "rows", "share"], &rows), assigned.written.display())
}
