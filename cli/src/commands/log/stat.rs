//! `augur log stat` and `augur log verify`: what is in the log, and whether all of it can be read.
//!
//! Not here: the reading (`augur_shadow_harness::survey`).

use std::path::Path;

use augur_shadow_harness::{Survey, survey};

use super::Place;
use crate::output::{Output, grouped, table};
use crate::{Error, Outcome, progress};

const HELP: &str = "\
Examples:
  augur log verify --data data
  augur log verify --decisions copy/decisions --json

Every checksum, sequence and record is looked at; nothing is decided again (that is `augur replay --verify`).

Exit codes:
  0  every record can be read, and none is missing
  1  the log could not be looked at
  4  the log is damaged, or records are missing from it
  6  whole, up to an unfinished record at the end, as a crash leaves it
  7  the log holds no whole record";

/// Count what the decision log holds: records, bytes, decisions by point, action, rung and policy.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
}

/// Read every record of the decision log, and tell where one cannot be read or is missing.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let found = read(&args.place)?;
    output.report(&found, |found| format!("{}{}", counts(found), verdict(found)))?;
    Ok(Outcome::Fine)
}

pub(super) fn verify(args: &VerifyArgs, output: Output) -> Result<Outcome, Error> {
    let found = read(&args.place)?;
    output.report(&found, verdict)?;
    Ok(Outcome::Code(found.exit_code()))
}

fn read(place: &Place) -> Result<Survey, Error> {
    let (_, log) = place.find()?;
    let bar = progress::counter("records");
    let found = surveyed(&log, &|records| bar.set_position(records))?;
    bar.finish_and_clear();
    Ok(found)
}

fn surveyed(log: &Path, told: &dyn Fn(u64)) -> Result<Survey, Error> {
    Ok(survey(log, told)?)
}

fn counts(found: &Survey) -> String {
    let instant =
        |at: Option<_>| at.map_or_else(String::new, |at: augur_loadtest::domain::Timestamp| at.to_string());
    let rows: Vec<Vec<String>> = found
        .segments
        .iter()
        .map(|segment| {
            vec![
                format!("{:012}", segment.base),
                grouped(segment.records),
                grouped(segment.record_bytes),
                grouped(segment.file_bytes),
                instant(segment.first_at),
                instant(segment.last_at),
            ]
        })
        .collect();
    let mut text = table(&["segment", "records", "bytes", "file", "first", "last"], &rows);
    for (name, counts) in [
        ("decision point", &found.points),
        ("action", &found.actions),
        ("rung", &found.rungs),
        ("policy", &found.policies),
    ] {
        let rows: Vec<Vec<String>> =
            counts.iter().map(|(name, count)| vec![name.clone(), grouped(*count)]).collect();
        text.push('\n');
        text.push_str(&table(&[name, "decisions"], &rows));
    }
    text.push('\n');
    text
}

fn verdict(found: &Survey) -> String {
    let mean = found.record_bytes.checked_div(found.records).unwrap_or(0);
    let mut text = format!(
        "{} records in {} segments, {} bytes each on average\n",
        grouped(found.records),
        found.segments.len(),
        grouped(mean)
    );
    match found.faults {
        0 => text.push_str("every checksum and sequence is in order\n"),
        faults => text.push_str(&format!(
            "DAMAGED in {} places, {} records lost as far as sequences tell\n",
            grouped(faults),
            grouped(found.lost_records)
        )),
    }
    for fault in &found.first_faults {
        text.push_str(&format!("  {fault}\n"));
    }
    if let Some(tail) = &found.truncated_tail {
        text.push_str(&format!("unfinished at the end, as a crash leaves it: {tail}\n"));
    }
    text
}
