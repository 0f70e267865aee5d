//! `augur log stat` and `augur log verify`: what is in the log, and whether all of it can be read.
//!
//! Not here: the reading (`augur_shadow_harness::survey`).

use augur_shadow_harness::{Survey, survey, survey_outcomes};

use super::Place;
use crate::output::{Output, grouped, table};
use crate::{Error, Outcome, progress};

const HELP: &str = "\
Examples:
  augur log verify --data data
  augur log verify --decisions copy/decisions --json

  augur log verify --outcomes --data data

Every checksum, sequence and record is looked at, and of sealed segments the hash of what they hold, the chain from one to
the next, and the index; nothing is decided again (that is `augur replay --verify`).

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
    /// Look at the log of outcomes instead.
    #[arg(long, conflicts_with = "decisions")]
    outcomes: bool,
}

/// Read every record of the decision log, and tell where one cannot be read or is missing.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    place: Place,
    /// Look at the log of outcomes instead.
    #[arg(long, conflicts_with = "decisions")]
    outcomes: bool,
}

pub(super) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let found = read(&args.place, args.outcomes)?;
    output.report(&found, |found| format!("{}{}", counts(found), verdict(found)))?;
    Ok(Outcome::Fine)
}

pub(super) fn verify(args: &VerifyArgs, output: Output) -> Result<Outcome, Error> {
    let found = read(&args.place, args.outcomes)?;
    output.report(&found, verdict)?;
    Ok(Outcome::Code(found.exit_code()))
}

fn read(place: &Place, outcomes: bool) -> Result<Survey, Error> {
    let (directory, log) = place.find()?;
    let bar = progress::counter("records");
    let told = |records| bar.set_position(records);
    let found = match outcomes {
        true => survey_outcomes(&directory.outcomes_dir(), &told)?,
        false => survey(&log, &told)?,
    };
    bar.finish_and_clear();
    Ok(found)
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
                if segment.sealed { "sealed" } else { "" }.to_owned(),
                instant(segment.first_at),
                instant(segment.last_at),
            ]
        })
        .collect();
    let mut text = table(&["segment", "records", "bytes", "file", "", "first", "last"], &rows);
    for (name, counts) in [
        ("decision point", &found.points),
        ("action", &found.actions),
        ("rung", &found.rungs),
        ("policy", &found.policies),
    ] {
        if counts.is_empty() {
            continue;
        }
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
    let sealed: Vec<_> = found.segments.iter().filter(|segment| segment.sealed).collect();
    if !sealed.is_empty() {
        let (raw, file) = sealed
            .iter()
            .fold((0, 0), |(raw, file), segment| (raw + segment.record_bytes, file + segment.file_bytes));
        let (count, share) = (grouped(sealed.len() as u64), 100.0 * file as f64 / (raw as f64).max(1.0));
        text.push_str(&format!("{count} segments are sealed, to {share:.0} % of their records' bytes\n"));
    }
    if let Some(until) = found.removed_until {
        text.push_str(&format!(
            "kept from record {} on: {} segments, up to {until}, were removed\n",
            grouped(found.first_sequence),
            grouped(found.removed_segments)
        ));
    }
    for (name, first) in &found.holds {
        text.push_str(&format!("held from record {} on for {name}\n", grouped(*first)));
    }
    match found.faults {
        0 => text.push_str("every checksum, sequence, hash and index is in order\n"),
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
