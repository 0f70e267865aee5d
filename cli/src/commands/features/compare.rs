//! `augur features compare`: an export against values computed by another program.
//!
//! Not here: making the export (`export`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMillisecondType};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use augur_loadtest::domain::Timestamp;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Serialize;

use crate::import::{self, Cell, Format};
use crate::output::{Output, grouped, table};
use crate::{Error, Outcome, progress};

/// A smaller difference is none: a double that small has lost digits already.
const NEGLIGIBLE: f64 = 1e-300;
/// Differences told one by one.
const MOST_SHOWN: usize = 20;

const EXAMPLES: &str = "\
Example, with golden.csv.gz holding one row per user and instant, and a column per feature:
  augur import events.csv.gz --data data --map user_id=customer --map timestamp=at:ms --map event=what
  augur features export --data data --labels golden.csv.gz --map user_id=customer --map timestamp=cutoff:ms \\
      --out rows.parquet
  augur features compare --export rows.parquet --golden golden.csv.gz \\
      --map n_purchase=purchases_total --map rec_purchase=since_purchase --absent -1 --digits 9

The rows of the golden file must be the labels of the export, in the same order: label_index joins them. Its compared
columns are held in memory, 8 bytes per value.

Exit code 3 when a value differs, or a row is missing.";

/// Compare exported features with values that another program computed for the same users and instants.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The export.
    #[arg(long, value_name = "FILE")]
    export: PathBuf,
    /// The other values: CSV, JSON lines or Parquet; `.gz` is unpacked.
    #[arg(long, value_name = "FILE")]
    golden: PathBuf,
    /// What the golden file holds, when its name does not tell.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Which column is which feature. Without any, all columns with the name of a feature are compared.
    #[arg(long, value_name = "COLUMN=FEATURE")]
    map: Vec<String>,
    /// Largest difference, relative to the golden value. One below 1e-300 is none.
    #[arg(long, default_value_t = 1e-9)]
    tolerance: f64,
    /// The golden values were written with so many significant digits: each stands for every number that is written
    /// so.
    #[arg(long, default_value_t = 17, value_parser = clap::value_parser!(i32).range(1..=17))]
    digits: i32,
    /// The golden value that stands for none; an empty cell always does.
    #[arg(long, allow_negative_numbers = true)]
    absent: Option<f64>,
}

#[derive(Debug, Default, Serialize)]
struct Compared {
    rows: u64,
    /// Rows of the golden file that the export does not have.
    missing_rows: u64,
    values: u64,
    different: u64,
    by_column: BTreeMap<String, Counts>,
    /// The first differences.
    differences: Vec<Difference>,
}

#[derive(Debug, Default, Serialize)]
struct Counts {
    feature: String,
    values: u64,
    different: u64,
    /// Largest difference of values on both sides, relative to the golden value.
    largest_relative_difference: f64,
}

#[derive(Debug, Serialize)]
struct Difference {
    /// Of the golden file, from 1, without the header.
    row: u64,
    user_key: String,
    at: String,
    column: String,
    feature: String,
    /// `null` is no value.
    expected: Option<f64>,
    found: Option<f64>,
}

/// Golden values: by column, then by row; NaN is none.
struct Golden {
    columns: Vec<(String, String)>,
    values: Vec<Vec<f64>>,
    rows: usize,
}

/// Runs the command.
pub(crate) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    if !(args.tolerance.is_finite() && args.tolerance >= 0.0) {
        let expected = "a number of 0 or more, such as 1e-9".to_owned();
        return Err(Error::Argument { argument: "--tolerance", found: args.tolerance.to_string(), expected });
    }
    let features = features_of(&args.export)?;
    let golden = Golden::read(args, &features)?;
    let report = compare(args, &golden)?;
    output.report(&report, text)?;
    let good = report.different == 0 && report.missing_rows == 0;
    Ok(if good { Outcome::Fine } else { Outcome::Refused })
}

fn unreadable(path: &Path, problem: &dyn std::fmt::Display) -> Error {
    let expected = "a file written by `augur features export`".to_owned();
    Error::Input { path: path.to_owned(), problem: problem.to_string(), expected }
}

fn opened(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<std::fs::File>, Error> {
    let file = std::fs::File::open(path).map_err(Error::file("read", path))?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| unreadable(path, &error))
}

/// The columns of the export that hold numbers, or true and false.
fn features_of(path: &Path) -> Result<Vec<String>, Error> {
    let builder = opened(path)?;
    let fields = builder.schema().fields().iter();
    let comparable =
        fields.filter(|field| matches!(field.data_type(), DataType::Float64 | DataType::Boolean));
    Ok(comparable.map(|field| field.name().clone()).collect())
}

impl Golden {
    fn read(args: &Args, features: &[String]) -> Result<Self, Error> {
        let format = args.format.map_or_else(|| Format::of(&args.golden), Ok)?;
        let columns = pairs(args, format, features)?;
        let names: Vec<&str> = columns.iter().map(|(column, _)| column.as_str()).collect();
        let mut values = vec![Vec::new(); columns.len()];
        let mut rows = import::open(&args.golden, format, &names)?;
        let fault = |row: u64, column: &str, found: &str, expected: &str| Error::Input {
            path: args.golden.clone(),
            problem: format!("row {row}: {column} `{found}`"),
            expected: expected.to_owned(),
        };
        let mut count = 0;
        while let Some(row) = rows.next_row()? {
            let row = row.map_err(|(row, bad)| fault(row, &bad.column, &bad.found, &bad.expected))?;
            for ((values, cell), column) in values.iter_mut().zip(&row.cells).zip(&names) {
                let value =
                    number(cell).ok_or_else(|| fault(row.number, column, &cell.to_text(), "a number"))?;
                let is_none = args.absent.is_some_and(|absent| absent.to_bits() == value.to_bits());
                values.push(if is_none { f64::NAN } else { value });
            }
            count += 1;
        }
        Ok(Self { columns, values, rows: count })
    }
}

/// The number in a cell, NaN for an empty one. Infinities are no numbers: everything is within any part of them.
fn number(cell: &Cell) -> Option<f64> {
    let number = match cell {
        Cell::Missing => Some(f64::NAN),
        Cell::Number(number) => Some(*number),
        Cell::Boolean(boolean) => Some(f64::from(u8::from(*boolean))),
        Cell::Open(_) | Cell::Text(_) => match cell.to_text().as_str() {
            "" => Some(f64::NAN),
            text => text.parse().ok(),
        },
        Cell::Instant(_) | Cell::Nested(_) => None,
    };
    number.filter(|number| !number.is_infinite())
}

/// Golden column and feature, as mapped or by equal names.
fn pairs(args: &Args, format: Format, features: &[String]) -> Result<Vec<(String, String)>, Error> {
    let pair = |map: &String| {
        let wrong = |expected: String| Error::Argument { argument: "--map", found: map.clone(), expected };
        let (column, feature) = map
            .split_once('=')
            .ok_or_else(|| wrong("COLUMN=FEATURE, e.g. `n_purchase=purchases_total`".to_owned()))?;
        if !features.iter().any(|known| known == feature) {
            return Err(wrong(format!(
                "a feature of the export with numbers, one of {}",
                features.join(", ")
            )));
        }
        Ok((column.to_owned(), feature.to_owned()))
    };
    if !args.map.is_empty() {
        return args.map.iter().map(pair).collect();
    }
    let header = import::header(&args.golden, format)?.unwrap_or_default();
    let both: Vec<_> = header
        .into_iter()
        .filter(|column| column != "label" && features.contains(column))
        .map(|column| (column.clone(), column))
        .collect();
    if both.is_empty() {
        let problem = "no column has the name of a feature of the export".to_owned();
        return Err(Error::Usage { problem, expected: "`--map COLUMN=FEATURE`" });
    }
    Ok(both)
}

fn compare(args: &Args, golden: &Golden) -> Result<Compared, Error> {
    let builder = opened(&args.export)?;
    let wanted = golden.columns.iter().map(|(_, feature)| feature.as_str());
    let wanted: Vec<&str> = ["user", "at", "label_index"].into_iter().chain(wanted).collect();
    let mask = ProjectionMask::columns(builder.parquet_schema(), wanted.iter().copied());
    let reader = builder.with_projection(mask).build().map_err(|error| unreadable(&args.export, &error))?;
    let mut report = Compared::default();
    for (column, feature) in &golden.columns {
        let counts = report.by_column.entry(column.clone()).or_default();
        counts.feature.clone_from(feature);
    }
    let mut seen = vec![false; golden.rows];
    let bar = progress::bar("rows compared", golden.rows as u64);
    for batch in reader {
        let batch = batch.map_err(|error| unreadable(&args.export, &error))?;
        report.compare(args, golden, &batch, &mut seen)?;
        bar.set_position(report.rows);
    }
    bar.finish_and_clear();
    report.missing_rows = seen.iter().filter(|seen| !**seen).count() as u64;
    report.differences.sort_by_key(|difference| difference.row);
    Ok(report)
}

impl Compared {
    fn compare(
        &mut self,
        args: &Args,
        golden: &Golden,
        batch: &RecordBatch,
        seen: &mut [bool],
    ) -> Result<(), Error> {
        let named = |name: &str| {
            batch.column_by_name(name).ok_or_else(|| unreadable(&args.export, &format!("no column `{name}`")))
        };
        let typed = || unreadable(&args.export, &"a column of another type than an export's");
        let (users, times, indexes) = (named("user")?, named("at")?, named("label_index")?);
        let users = users.as_string_opt::<i32>().ok_or_else(typed)?;
        let times = times.as_primitive_opt::<TimestampMillisecondType>().ok_or_else(typed)?;
        let indexes = indexes.as_primitive_opt::<Int64Type>().ok_or_else(typed)?;
        for index in indexes.values() {
            let place = usize::try_from(*index).ok().and_then(|index| seen.get_mut(index));
            let problem =
                || unreadable(&args.export, &format!("label_index {index} is no row of the golden file"));
            *place.ok_or_else(problem)? = true;
        }
        self.rows += batch.num_rows() as u64;
        for ((column, feature), values) in golden.columns.iter().zip(&golden.values) {
            let found = named(feature)?;
            for (row, index) in indexes.values().iter().enumerate() {
                let found = value(&**found, row);
                let expected = usize::try_from(*index).ok().and_then(|index| values.get(index)).copied();
                let expected = expected.filter(|value| !value.is_nan());
                if !self.count(column, expected, found, args) && self.differences.len() < MOST_SHOWN {
                    self.differences.push(Difference {
                        row: index.unsigned_abs() + 1,
                        user_key: users.value(row).to_owned(),
                        at: Timestamp::from_unix_ms(times.value(row)).to_string(),
                        column: column.clone(),
                        feature: feature.clone(),
                        expected,
                        found,
                    });
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, column: &str, expected: Option<f64>, found: Option<f64>, args: &Args) -> bool {
        let good = match (expected, found) {
            (Some(expected), Some(found)) => {
                (expected - found).abs()
                    <= args.tolerance * expected.abs() + half_digit(expected, args.digits) + NEGLIGIBLE
            }
            (None, None) => true,
            _ => false,
        };
        self.values += 1;
        self.different += u64::from(!good);
        if let Some(counts) = self.by_column.get_mut(column) {
            counts.values += 1;
            counts.different += u64::from(!good);
            if let (Some(expected), Some(found)) = (expected, found)
                && expected.abs() > NEGLIGIBLE
            {
                let relative = ((expected - found) / expected).abs();
                counts.largest_relative_difference = counts.largest_relative_difference.max(relative);
            }
        }
        good
    }
}

fn value(column: &dyn Array, row: usize) -> Option<f64> {
    if !column.is_valid(row) {
        return None;
    }
    match column.as_primitive_opt::<Float64Type>() {
        Some(numbers) => Some(numbers.value(row)),
        None => column.as_boolean_opt().map(|booleans| f64::from(u8::from(booleans.value(row)))),
    }
}

/// Half of what the last of `digits` significant digits stands for; nothing where a double holds more than that.
fn half_digit(value: f64, digits: i32) -> f64 {
    if digits >= 17 || value == 0.0 {
        return 0.0;
    }
    // The exponent as it is written, so that no logarithm is off by one at a power of ten.
    let written = format!("{:e}", value.abs());
    let exponent =
        written.split_once('e').and_then(|(_, exponent)| exponent.parse::<i32>().ok()).unwrap_or(0);
    0.5 * 10_f64.powi(exponent + 1 - digits)
}

fn text(report: &Compared) -> String {
    let mut text = format!(
        "{} values in {} rows compared: {} differ",
        grouped(report.values),
        grouped(report.rows),
        grouped(report.different)
    );
    if report.missing_rows > 0 {
        text.push_str(&format!("; {} rows are not in the export", grouped(report.missing_rows)));
    }
    let rows = report.by_column.iter().map(|(column, counts)| {
        let relative = format!("{:.1e}", counts.largest_relative_difference);
        vec![
            column.clone(),
            counts.feature.clone(),
            grouped(counts.values),
            grouped(counts.different),
            relative,
        ]
    });
    text.push('\n');
    text.push_str(&table(
        &["column", "feature", "values", "different", "largest, relative"],
        &rows.collect::<Vec<_>>(),
    ));
    for difference in &report.differences {
        let word =
            |value: Option<f64>| value.map_or_else(|| "no value".to_owned(), |value| value.to_string());
        text.push_str(&format!(
            "\n  row {}, {}: {} is {}; expected {}",
            difference.row,
            difference.column,
            difference.feature,
            word(difference.found),
            word(difference.expected)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_value_stands_for_all_that_are_written_so() {
        assert_eq!([half_digit(1.0, 17), half_digit(0.0, 9)].map(f64::to_bits), [0, 0]);
        for (value, digits, expected) in [(1.0, 9, 5e-9), (999.0, 3, 0.5), (1000.0, 3, 5.0), (0.001, 2, 5e-5)]
        {
            let found = half_digit(value, digits);
            assert!((found / expected - 1.0).abs() < 1e-12, "{value}: {found}");
        }
    }
}
