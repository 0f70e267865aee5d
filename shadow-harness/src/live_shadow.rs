//! What candidates of live shadow came to: how often they would have answered otherwise, where, why, and at what cost.
//!
//! Shares are over all traffic that candidates were offered: a record that was kept with probability p stands for 1/p
//! decisions. Not here: deciding again (`server`), or the log's bytes (`decision-log`).

mod compare;
#[cfg(test)]
mod tests;
mod text;

use std::path::Path;

use augur_decision_log::{Error as LogError, ShadowReader};
use serde::Serialize;

use crate::Error;
use crate::experiment::interval::Interval;

pub use compare::{Comparison, Filter};
pub use text::text;

/// Records between two calls of `progress`.
const PROGRESS_EVERY: u64 = 4_096;

/// A share of weighted decisions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WeightedShare {
    /// Records that have it.
    pub records: u64,
    /// The share, 0 to 1: the sum of their weights over that of all (Hájek 1971).
    pub share: f64,
    /// Wilson's interval for it at 95 %, for as many decisions as the weights are worth (Kish 1965: the square of their
    /// sum over the sum of their squares).
    pub interval: Interval,
}

/// How one candidate did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CandidateReport {
    /// The candidate, as the configuration names it.
    pub candidate: String,
    /// Records looked at.
    pub records: u64,
    /// Instants of the first and the last decision, RFC 3339.
    pub from: String,
    /// See `from`.
    pub to: String,
    /// Policies that it decided by, by id; it changes with what decides beside it.
    pub policies: Vec<String>,
    /// Versions of models that it asked, as `alias model@version`.
    pub models: Vec<String>,
    /// What came of its turns.
    pub turns: Turns,
    /// What it was offered.
    pub kept: Kept,
    /// Share of answered turns with the action and payload that were answered.
    pub agreement: Option<WeightedShare>,
    /// Share of answered turns with another action or payload, by decision point.
    pub flips_by_point: Vec<PointFlips>,
    /// From which action to which, most frequent first.
    pub flips: Vec<Flip>,
    /// How often each action was given and would have been, by decision point.
    pub actions: Vec<ActionVolume>,
    /// Rungs of the fallback ladder, as given and as they would have been.
    pub rungs: Vec<RungVolume>,
    /// Reasons that one of the two gives and the other does not, most frequent first.
    pub reasons: Vec<ReasonDifference>,
    /// Scores where both gave one.
    pub scores: Vec<ScoreDifference>,
    /// Time to decide, in microseconds.
    pub latency: Latency,
    /// What went wrong, most frequent first.
    pub problems: Vec<(String, u64)>,
    /// What to mind when reading this.
    pub notes: Vec<String>,
}

/// Turns, by what came of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Turns {
    /// The same action and payload.
    pub same: u64,
    /// Another action or payload.
    pub differs: u64,
    /// A panic, or no decision.
    pub failed: u64,
    /// Longer than it may.
    pub timed_out: u64,
}

/// What a candidate was offered, over every start of the server in the records.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Kept {
    /// Decisions answered.
    pub offered: u64,
    /// Not drawn, with a probability that records tell.
    pub thinned: u64,
    /// Drawn and dropped for want of room: no weight stands for these.
    pub full: u64,
    /// Drawn, and not asked because the candidate was left alone: no weight stands for these.
    pub refused: u64,
    /// Lowest and highest probability of being kept.
    pub least: f64,
    /// See `least`.
    pub most: f64,
    /// What the records stand for: the sum of their weights.
    pub weights: f64,
    /// As how many decisions of equal weight they count.
    pub effective: f64,
}

/// Flips of one decision point.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PointFlips {
    /// The decision point.
    pub decision_point: String,
    /// Answered turns.
    pub answered: u64,
    /// Of these, the flips.
    pub flips: WeightedShare,
}

/// From one action to another; the same one where the payload alone differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Flip {
    /// The decision point.
    pub decision_point: String,
    /// What was given.
    pub served: String,
    /// What would have been.
    pub candidates: String,
    /// Of the answered turns of the point.
    pub share: WeightedShare,
    /// One such decision, to look at with `augur decisions`.
    pub example: String,
}

/// How often an action was given and would have been.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ActionVolume {
    /// The decision point.
    pub decision_point: String,
    /// The action.
    pub action: String,
    /// Share of the point's answered turns to which it was given.
    pub served: WeightedShare,
    /// Share to which it would have been.
    pub candidates: WeightedShare,
}

/// How often a rung was stood on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RungVolume {
    /// The rung.
    pub rung: &'static str,
    /// Answered turns whose given answer stands on it.
    pub served: u64,
    /// Answered turns in which the candidate's does.
    pub candidates: u64,
}

/// A reason that comes and goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReasonDifference {
    /// The code, with its detail if it has one.
    pub reason: String,
    /// Answered turns in which the given answer alone has it.
    pub only_served: u64,
    /// Answered turns in which the candidate's alone has it.
    pub only_candidates: u64,
}

/// Scores of one alias where both gave one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoreDifference {
    /// The alias.
    pub alias: String,
    /// Turns in which both gave one.
    pub records: u64,
    /// Weighted mean of the given ones.
    pub served_mean: f64,
    /// Weighted mean of the candidate's.
    pub candidates_mean: f64,
    /// Weighted mean distance of the two.
    pub mean_distance: f64,
    /// Largest distance.
    pub largest_distance: f64,
}

/// Time to decide, of answered turns, in microseconds to three digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Latency {
    /// Median, 95th and 99th percentile as given.
    pub served_us: [u32; 3],
    /// The same of the candidate, on threads of its own.
    pub candidates_us: [u32; 3],
}

/// Reads the log of live shadow in `dir`, also while a server writes it, and compares each candidate with what was
/// answered. `progress` is told now and then how many records were read.
///
/// # Errors
/// [`Error::Log`].
pub fn report(
    dir: &Path,
    filter: &Filter,
    mut progress: impl FnMut(u64),
) -> Result<Vec<CandidateReport>, Error> {
    let mut comparison = Comparison::default();
    let mut read = 0;
    for found in ShadowReader::open(dir)? {
        match found {
            Ok((_, record)) => {
                if filter.takes(&record) {
                    comparison.take(&record);
                }
            }
            // What is being written is not there yet.
            Err(LogError::TruncatedTail { .. }) => break,
            Err(error) => return Err(error.into()),
        }
        read += 1;
        if u64::is_multiple_of(read, PROGRESS_EVERY) {
            progress(read);
        }
    }
    Ok(comparison.finish())
}
