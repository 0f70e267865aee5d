//! Outcomes by decision, read once, and the reward of each decision that asks.
//!
//! Not here: what a rule makes of them (`rule`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use augur_decision_log::{Error as LogError, OutcomeReader};
use augur_domain::ids::OutcomeKey;
use augur_domain::{DecisionId, OutcomeKind, Timestamp};
use serde::Serialize;

use super::RewardRule;
use crate::Error;

/// Outcomes that are kept while decisions are read; about 100 bytes each.
const MAX_OUTCOMES: usize = 16_000_000;

/// How outcomes and decisions came together under one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct JoinCounts {
    /// Decisions that asked.
    pub decisions: u64,
    /// Of them those that are younger than the window: they have no reward yet.
    pub immature: u64,
    /// Old enough, with an outcome in time.
    pub rewarded: u64,
    /// Old enough, without one: the default.
    pub defaulted: u64,
    /// Outcomes that came in time.
    pub outcomes: u64,
    /// Outcomes of these decisions that happened after the window.
    pub late: u64,
    /// Outcomes that were reported again, over the whole log: the first counts.
    pub repeated: u64,
    /// Outcomes of the rule's kind whose decision did not ask: of another log, or of another time.
    pub without_decision: u64,
}

/// The reward of one decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JoinedReward {
    /// The number.
    pub reward: f64,
    /// Whether an outcome made it, and not the default.
    pub is_rewarded: bool,
}

/// An outcome that waits for its decision.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    occurred_at: Timestamp,
    kind: OutcomeKind,
    /// What it carries.
    value: Option<f64>,
}

/// Outcomes by decision, each decision's in the order in which they happened.
#[derive(Debug, Default)]
pub struct Rewards {
    by_decision: BTreeMap<DecisionId, Vec<Waiting>>,
    repeated: u64,
    kept: u64,
}

impl Rewards {
    /// Reads the outcomes in `dir` that `rules` ask for; none if there is no such directory.
    ///
    /// # Errors
    /// [`Error::Log`] for a damaged log, [`Error::Experiment`] for more than 16 million outcomes.
    pub fn read(dir: &Path, rules: &[RewardRule]) -> Result<Self, Error> {
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
            if !rules.iter().any(|rule| rule.kind == outcome.kind) {
                continue;
            }
            // Of several with one key, the first counts.
            if !seen.insert(outcome.outcome) {
                rewards.repeated += 1;
                continue;
            }
            if seen.len() > MAX_OUTCOMES {
                return Err(Error::Experiment(crate::experiment::Problem::TooManyOutcomes {
                    limit: MAX_OUTCOMES,
                }));
            }
            let value = outcome.value.map(augur_domain::value::Finite::get);
            let waiting = Waiting { occurred_at: outcome.occurred_at, kind: outcome.kind, value };
            rewards.by_decision.entry(outcome.decision).or_default().push(waiting);
            rewards.kept += 1;
        }
        // Stable: what happened at once stays in the order in which it was reported.
        for waiting in rewards.by_decision.values_mut() {
            waiting.sort_by_key(|outcome| outcome.occurred_at);
        }
        Ok(rewards)
    }

    /// The reward of a decision made at `decided_at`, as known at `known_at`; `None` while its window is open. Counts what
    /// was joined into `counts`.
    pub fn of(
        &self,
        rule: &RewardRule,
        decision: DecisionId,
        decided_at: Timestamp,
        known_at: Timestamp,
        counts: &mut JoinCounts,
    ) -> Option<JoinedReward> {
        counts.decisions += 1;
        let mut worths = Vec::new();
        for outcome in self.by_decision.get(&decision).into_iter().flatten() {
            if outcome.kind != rule.kind {
                continue;
            }
            if outcome.occurred_at.millis_since(decided_at) > rule.within_ms {
                counts.late += 1;
                continue;
            }
            counts.outcomes += 1;
            worths.push(rule.value.or(outcome.value).unwrap_or(1.0));
        }
        if decided_at > known_at.plus_millis(-rule.within_ms) {
            counts.immature += 1;
            return None;
        }
        let made = rule.of(&worths);
        if made.is_some() {
            counts.rewarded += 1;
        } else {
            counts.defaulted += 1;
        }
        Some(JoinedReward { reward: made.unwrap_or(rule.default), is_rewarded: made.is_some() })
    }

    /// Whether anything of the kinds that were read came of a decision in time.
    pub fn any(&self, decision: DecisionId, decided_at: Timestamp, within_ms: i64) -> bool {
        let outcomes = self.by_decision.get(&decision).into_iter().flatten();
        outcomes.into_iter().any(|outcome| outcome.occurred_at.millis_since(decided_at) <= within_ms)
    }

    /// The counts with what is known of the whole log, once every decision has asked; for reading with one rule.
    #[must_use]
    pub fn settle(&self, counts: JoinCounts) -> JoinCounts {
        let joined = counts.outcomes + counts.late;
        JoinCounts { repeated: self.repeated, without_decision: self.kept.saturating_sub(joined), ..counts }
    }
}

#[cfg(test)]
mod tests {
    use augur_domain::time::HOUR_MS;

    use super::*;
    use crate::reward::Take;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    fn waiting(hours: i64, kind: OutcomeKind, value: Option<f64>) -> Waiting {
        Waiting { occurred_at: at(hours * HOUR_MS), kind, value }
    }

    #[test]
    fn windows_defaults_and_values_are_the_rules() {
        let (one, two) = (DecisionId::from_bytes([1; 16]), DecisionId::from_bytes([2; 16]));
        let outcomes = vec![
            waiting(1, OutcomeKind::Value, Some(3.0)),
            waiting(1, OutcomeKind::Clicked, None),
            waiting(5, OutcomeKind::Value, Some(4.0)),
            waiting(11, OutcomeKind::Value, Some(100.0)),
        ];
        let rewards = Rewards { by_decision: BTreeMap::from([(one, outcomes)]), repeated: 2, kept: 9 };
        let rule = RewardRule {
            default: -0.5,
            take: Take::Last,
            ..RewardRule::sum_of(OutcomeKind::Value, 10 * HOUR_MS)
        };
        let known_at = at(20 * HOUR_MS);
        let mut counts = JoinCounts::default();
        let made = rewards.of(&rule, one, at(0), known_at, &mut counts);
        assert_eq!(made, Some(JoinedReward { reward: 4.0, is_rewarded: true }));
        let made = rewards.of(&rule, two, at(0), known_at, &mut counts);
        assert_eq!(made, Some(JoinedReward { reward: -0.5, is_rewarded: false }));
        assert_eq!(rewards.of(&rule, two, at(11 * HOUR_MS), known_at, &mut counts), None);
        let settled = rewards.settle(counts);
        let expected = JoinCounts {
            decisions: 3,
            immature: 1,
            rewarded: 1,
            defaulted: 1,
            outcomes: 2,
            late: 1,
            repeated: 2,
            without_decision: 6,
        };
        assert_eq!(settled, expected);
        let counted = RewardRule { take: Take::Sum, value: Some(2.0), ..rule };
        let made = rewards.of(&counted, one, at(0), known_at, &mut counts).unwrap();
        assert_eq!(made.reward.to_bits(), 4.0_f64.to_bits(), "two outcomes, each worth what the rule says");
    }
}
