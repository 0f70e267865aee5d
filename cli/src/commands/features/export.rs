//! `augur features export`: features as of given instants, as a Parquet file.
//!
//! Not here: reading labels (`labels`), or which events a row sees (the feature store).

use std::path::{Path, PathBuf};
use std::time::Instant;

use augur_server::offline::{ExportOptions, LabelSorter, TrainingOptions};
use augur_server::{App, SystemClock};
use serde::Serialize;

use super::labels::Columns;
use crate::data::Directory;
use crate::import::{Format, InstantFormat};
use crate::output::{Output, grouped, rounded};
use crate::{Error, Outcome, progress};

const EXAMPLES: &str = "\
Examples:
  printf 'user_id,timestamp,label\\nuser-000001,2026-10-01T00:00:00Z,1\\n' > labels.csv
  augur features export --data data --labels labels.csv --out rows.parquet
  augur features export --data data --labels orders.parquet --map user_id=customer --map timestamp=at:ms \\
      --out rows.parquet --memory 1GiB --with-status
  augur features export --data data --everybody-at now --out today.parquet

Labels are CSV, JSON lines or Parquet, with the columns user_id (or anonymous_id), timestamp (RFC 3339, or seconds (9 or
10 digits) or milliseconds (13 digits) since 1970) and, if wanted, label (a number). --map FIELD=COLUMN names other
columns; the one of timestamp may say how it is spelled: ms, s, rfc3339 or a format such as %d/%m/%Y %H:%M.
--context NAME=COLUMN says what the request told at that instant, for features of kind request.

Rows come out by user and time. label_index says which row of the labels' file each belongs to, from 0.";

/// Write a point-in-time-correct training set: for each user and instant, the features as they were then.
///
/// Only events strictly before the instant are seen. Labels and events may be any number: memory stays within
/// --memory and what the store needs. No server may be using the directory.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Whose features, as of when.
    #[arg(long, value_name = "FILE", required_unless_present = "everybody_at")]
    labels: Option<PathBuf>,
    /// Instead of labels: everybody who has an event, as of this instant; `now` is one.
    #[arg(long, value_name = "TIME", conflicts_with_all = ["labels", "map", "format"])]
    everybody_at: Option<String>,
    /// What the labels' file holds, when its name does not tell.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Which column of the labels is which field.
    #[arg(long, value_name = "FIELD=COLUMN")]
    map: Vec<String>,
    /// What a request told of a name that the definitions declare in `[context]`, by which column; may be repeated.
    #[arg(long, value_name = "NAME=COLUMN", conflicts_with = "everybody_at")]
    context: Vec<String>,
    /// The Parquet file to write; replaced only when all went well.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Memory for labels, events and rows, such as 64MiB or 2GiB, at least 16MiB. What does not fit is sorted through
    /// nameless files beside the output.
    #[arg(long, value_name = "SIZE", default_value = "256MiB")]
    memory: String,
    /// See events at the very instant too: the features right after an event. Leaks when the label was made from it.
    #[arg(long)]
    inclusive: bool,
    /// A second column per feature with the status of its value.
    #[arg(long)]
    with_status: bool,
}

#[derive(Debug, Serialize)]
struct Exported {
    rows: u64,
    /// Rows at instants before the user's events are complete.
    rows_before_history: u64,
    bytes: u64,
    out: PathBuf,
    feature_set: String,
    seconds: f64,
    rows_per_second: f64,
}

/// Runs the command.
pub(crate) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let started = Instant::now();
    let rows = TrainingOptions { memory_bytes: memory(&args.memory)?, inclusive: args.inclusive };
    let app = App::open(Directory::open(&args.data)?.config()?, SystemClock::new())?;
    let labels = labels(args, rows, &app)?;
    let bar = progress::bar("rows exported", labels.len());
    let options = ExportOptions { rows, with_status: args.with_status, metadata: Vec::new() };
    let sorted = labels.finish().map_err(augur_server::Error::from)?;
    let written = app.export_features(&args.out, sorted, options, |rows| bar.set_position(rows));
    bar.finish_and_clear();
    let written = written?;
    let feature_set = app.feature_set().hash().to_string();
    app.close()?;
    let seconds = started.elapsed().as_secs_f64();
    let report = Exported {
        rows: written.rows,
        rows_before_history: written.rows_before_history,
        bytes: written.bytes,
        out: args.out.clone(),
        feature_set,
        seconds,
        rows_per_second: written.rows as f64 / seconds.max(1e-3),
    };
    output.report(&report, |report| {
        let (rows, bytes) = (grouped(report.rows), grouped(report.bytes));
        let rate = rounded(report.rows_per_second);
        let out = report.out.display();
        let told = format!("{rows} rows, {bytes} bytes in {out}; {rate} rows per second");
        match report.rows_before_history {
            0 => told,
            early => format!("{told}; {} lie before the history that is kept begins", grouped(early)),
        }
    })?;
    Ok(Outcome::Fine)
}

fn labels<'a>(args: &Args, options: TrainingOptions, app: &'a App) -> Result<LabelSorter<'a>, Error> {
    let beside = args.out.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut labels = app.label_sorter(beside, options)?;
    let bar = progress::counter("labels read");
    match (&args.labels, &args.everybody_at) {
        (Some(path), _) => {
            let format = args.format.map_or_else(|| Format::of(path), Ok)?;
            let definitions = app.store().schema();
            let columns = Columns::of(path, format, &args.map)?;
            let columns = columns.with_context(&args.context, definitions.context())?;
            columns.read(path, format, app, &mut labels, &bar)?;
        }
        (None, Some(at)) => {
            let at = if at == "now" {
                app.clock().now()
            } else {
                let wrong =
                    |expected| Error::Argument { argument: "--everybody-at", found: at.clone(), expected };
                InstantFormat::Guess.read_text(at).map_err(wrong)?
            };
            app.label_everybody(at, &mut labels)?;
        }
        (None, None) => {}
    }
    bar.finish_and_clear();
    Ok(labels)
}

/// Bytes of a size such as `256MiB`.
fn memory(text: &str) -> Result<usize, Error> {
    let wrong = || Error::Argument {
        argument: "--memory",
        found: text.to_owned(),
        expected: "a whole number with KiB, MiB or GiB, at least 16MiB".to_owned(),
    };
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let (number, shift) =
        units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift))).ok_or_else(wrong)?;
    let number: usize = number.trim().parse().map_err(|_| wrong())?;
    let bytes = number.checked_mul(1 << shift).ok_or_else(wrong)?;
    if bytes < TrainingOptions::MIN_MEMORY_BYTES { Err(wrong()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit_and_a_least() {
        assert_eq!(memory("256MiB").unwrap(), 256 << 20);
        assert_eq!(memory("2GiB").unwrap(), 2 << 30);
        assert_eq!(memory("65536KiB").unwrap(), 64 << 20);
        for wrong in ["", "256", "1MiB", "-1GiB", "99999999999999GiB", "1.5GiB"] {
            assert!(memory(wrong).is_err(), "{wrong}");
        }
    }
}
