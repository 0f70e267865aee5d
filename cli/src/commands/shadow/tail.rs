//! `augur shadow tail`: the last turns of candidates, a line each.
//!
//! Not here: what they come to (the parent's report).

use std::collections::VecDeque;

use augur_loadtest::domain::{Reason, ShadowRecord};
use augur_shadow_harness::decision_log::{Error as LogError, ShadowReader};
use serde::Serialize;

use super::Place;
use crate::output::Output;
use crate::{Error, Outcome, progress};

/// Print the last turns of candidates, oldest first, a line each.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  augur shadow tail --data data
  augur shadow tail --data data -n 100 --differing --json")]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// How many.
    #[arg(long, short = 'n', default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    lines: u32,
    /// Only turns that did not end with what was answered.
    #[arg(long)]
    differing: bool,
}

/// One turn, short.
#[derive(Debug, Serialize)]
struct Line {
    sequence: u64,
    at: String,
    decision_id: String,
    decision_sequence: u64,
    decision_point: String,
    candidate: String,
    status: &'static str,
    served: String,
    candidates: Option<String>,
    kept: f64,
    decide_us: Option<u32>,
    reasons: Vec<String>,
    problem: String,
}

impl Line {
    fn of(record: &ShadowRecord) -> Self {
        let reason = |reason: &Reason| match &reason.detail {
            Some(detail) => format!("{} ({detail})", reason.code),
            None => reason.code.to_string(),
        };
        let answer = record.candidates.as_ref();
        Self {
            sequence: record.sequence,
            at: record.decided_at.to_string(),
            decision_id: record.decision.to_string(),
            decision_sequence: record.decision_sequence,
            decision_point: record.decision_point.to_string(),
            candidate: record.candidate.to_string(),
            status: record.status.as_str(),
            served: record.served.action.to_string(),
            candidates: answer.map(|answer| answer.action.to_string()),
            kept: record.kept,
            decide_us: answer.map(|answer| answer.decide_us),
            reasons: answer.map_or_else(Vec::new, |answer| answer.reasons.iter().map(reason).collect()),
            problem: record.problem.to_string(),
        }
    }

    fn text(&self) -> String {
        let Self { sequence, at, decision_id, decision_point, candidate, status, served, .. } = self;
        let came = match &self.candidates {
            Some(action) => format!("{served} -> {action} {}", self.reasons.join(", ")),
            None => format!("{served} -> {}", self.problem),
        };
        format!("{sequence} {at} {decision_id} {decision_point} {candidate} {status} {came}")
            .trim_end()
            .to_owned()
    }
}

pub(super) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let filter = args.place.filter();
    let bar = progress::counter("records");
    let mut last = VecDeque::with_capacity(args.lines as usize);
    for found in ShadowReader::open(&args.place.dir()?).map_err(augur_shadow_harness::Error::from)? {
        let record = match found {
            Ok((_, record)) => record,
            // What is being written is not there yet.
            Err(LogError::TruncatedTail { .. }) => break,
            Err(error) => return Err(augur_shadow_harness::Error::from(error).into()),
        };
        bar.inc(1);
        let line = Line::of(&record);
        if filter.takes(&record) && !(args.differing && line.status == "SAME") {
            if last.len() == args.lines as usize {
                last.pop_front();
            }
            last.push_back(line);
        }
    }
    bar.finish_and_clear();
    for line in &last {
        output.line(line, Line::text)?;
    }
    Ok(Outcome::Fine)
}
