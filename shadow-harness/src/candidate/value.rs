//! What decisions were worth: outcomes made into one reward each, by a declared rule.
//!
//! Not here: estimating the candidate's value from them (`off_policy`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use augur_decision_log::{Error as LogError, OutcomeReader};
use augur_domain::ids::OutcomeKey;
use augur_domain::{DecisionId, OutcomeKind, Timestamp};

use crate::Error;

/// Outcomes that are kept while decisions are read; about 100 bytes each.
const MAX_OUTCOMES: usize = 16_000_000;

/// What a decision is worth. A decision without such an outcome is worth 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reward {
    /// What counts. Of kinds that carry values their sum, of others 1.
    pub kind: OutcomeKind,
    /// Outcomes later than so long after their decision do not count, and decisions younger than that, by the last
    /// decision of the log, are left out: what comes of them is not known yet.
    pub within_ms: i64,
}

/// Outcomes by decision: when, and how much.
#[derive(Debug, Default)]
pub(super) struct Rewards {
    by_decision: BTreeMap<DecisionId, Vec<(Timestamp, f64)>>,
}

impl Rewards {
    /// Reads the outcomes in `dir`; none if there is no such directory.
    pub(super) fn read(dir: &Path, rule: Reward) -> Result<Self, Error> {
        let mut rewards = Self::default();
        if !dir.is_dir() {
            return Ok(rewards);
        }
        let mut seen = BTreeSet::<OutcomeKey>::new();
        for found in OutcomeReader::open(dir)? {
            let outcome = match found {
                Ok((_, outcome)) => outcome,
                // What the writer is about to finish ends the log as it stands.
                Err(LogError::TruncatedTail { .. }) => break,
                Err(error) => return Err(error.into()),
            };
            // Of several with one key, the first counts.
            if outcome.kind != rule.kind || !seen.insert(outcome.outcome) {
                continue;
            }
            if seen.len() > MAX_OUTCOMES {
                return Err(Error::Experiment(crate::experiment::Problem::TooManyOutcomes {
                    limit: MAX_OUTCOMES,
                }));
            }
            let worth = outcome.value.map_or(1.0, augur_domain::value::Finite::get);
            rewards.by_decision.entry(outcome.decision).or_default().push((outcome.occurred_at, worth));
        }
        Ok(rewards)
    }

    /// What came of a decision in time.
    pub(super) fn of(&self, decision: DecisionId, decided_at: Timestamp, within_ms: i64) -> f64 {
        let mut worth = 0.0;
        for (occurred_at, value) in self.by_decision.get(&decision).into_iter().flatten() {
            if occurred_at.millis_since(decided_at) <= within_ms {
                worth += value;
            }
        }
        worth
    }

    /// Whether anything came of a decision in time.
    pub(super) fn any(&self, decision: DecisionId, decided_at: Timestamp, within_ms: i64) -> bool {
        let outcomes = self.by_decision.get(&decision).into_iter().flatten();
        outcomes.into_iter().any(|(occurred_at, _)| occurred_at.millis_since(decided_at) <= within_ms)
    }
}
