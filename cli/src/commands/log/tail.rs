//! `augur log tail`: the last decisions, a line each.
//!
//! Not here: a running server's stream of the log (its `LogService`).

use std::collections::VecDeque;

use augur_loadtest::domain::DecisionRecord;
use augur_shadow_harness::decision_log::{Error as LogError, Reader};
use serde::Serialize;

use super::Place;
use crate::output::Output;
use crate::{Error, Outcome, progress};

/// Print the last decisions of the log, oldest first, a line each.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// How many.
    #[arg(long, short = 'n', default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    lines: u32,
    /// Only decisions of this decision point.
    #[arg(long, value_name = "NAME")]
    point: Option<String>,
    /// Only decisions about this user, by the pseudonym that records have.
    #[arg(long, value_name = "KEY")]
    user_key: Option<String>,
}

/// One decision, short.
#[derive(Debug, Serialize)]
struct Line {
    sequence: u64,
    at: String,
    decision_id: String,
    decision_point: String,
    user_key: String,
    action: String,
    propensity: f64,
    rung: &'static str,
    reasons: Vec<String>,
    policy: String,
}

impl Line {
    fn of(record: &DecisionRecord) -> Self {
        let reason = |reason: &augur_loadtest::domain::Reason| match &reason.detail {
            Some(detail) => format!("{} ({detail})", reason.code),
            None => reason.code.to_string(),
        };
        Self {
            sequence: record.sequence,
            at: record.inputs.now.to_string(),
            decision_id: record.inputs.decision_id.to_string(),
            decision_point: record.inputs.decision_point.to_string(),
            user_key: record.inputs.user.to_string(),
            action: record.decision.action.to_string(),
            propensity: record.decision.propensity,
            rung: record.decision.rung.as_str(),
            reasons: record.decision.reasons.iter().map(reason).collect(),
            policy: record.policy.to_string(),
        }
    }

    fn text(&self) -> String {
        format!(
            "{} {} {} {} {} -> {} {} {}",
            self.sequence,
            self.at,
            self.decision_id,
            self.decision_point,
            self.user_key,
            self.action,
            self.rung,
            self.reasons.join(", ")
        )
    }
}

pub(super) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let (_, log) = args.place.find()?;
    let bar = progress::counter("records");
    let mut last = VecDeque::with_capacity(args.lines as usize);
    let mut reader = Reader::open(&log).map_err(augur_shadow_harness::Error::from)?;
    loop {
        match reader.next_record() {
            Ok(Some((_, record))) => {
                bar.inc(1);
                if wanted(args, &record) {
                    if last.len() == args.lines as usize {
                        last.pop_front();
                    }
                    last.push_back(Line::of(&record));
                }
            }
            // What is being written is not there yet.
            Ok(None) | Err(LogError::TruncatedTail { .. }) => break,
            Err(error) => return Err(augur_shadow_harness::Error::from(error).into()),
        }
    }
    bar.finish_and_clear();
    for line in &last {
        output.line(line, Line::text)?;
    }
    Ok(Outcome::Fine)
}

fn wanted(args: &Args, record: &DecisionRecord) -> bool {
    args.point.as_ref().is_none_or(|point| **point == *record.inputs.decision_point)
        && args.user_key.as_ref().is_none_or(|user| *user == record.inputs.user.to_string())
}
