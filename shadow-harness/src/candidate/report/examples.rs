//! Changed decisions that are shown whole: of each cause those where most was at stake, with what both say of every
//! action.
//!
//! Not here: why they changed (`cause`).

use std::collections::BTreeMap;

use augur_domain::decision::CandidateOutcome;
use augur_domain::{Decision, DecisionRecord, Reason};
use serde::Serialize;

use super::super::cause::Cause;
use crate::Stage;

/// Changed decisions that are shown.
const MAX_EXAMPLES: usize = 20;
/// Of one cause.
const MAX_OF_CAUSE: usize = 3;
/// Causes whose decisions are kept.
const MAX_CAUSES: usize = 200;

/// One changed decision.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Example {
    /// Position in the log.
    pub sequence: u64,
    /// Its id.
    pub decision_id: String,
    /// About whom.
    pub user_key: String,
    /// When, RFC 3339.
    pub at: String,
    /// Where.
    pub decision_point: String,
    /// What was given.
    pub logged: String,
    /// What the candidate gives.
    pub candidate: String,
    /// Why.
    pub cause: Cause,
    /// In which stage of deciding.
    pub stage: Stage,
    /// By the candidate's values, what its action is worth more than what was given; 0 where it refuses that.
    pub gain: f64,
    /// The reasons as logged.
    pub logged_reasons: Vec<String>,
    /// The candidate's.
    pub candidate_reasons: Vec<String>,
    /// Calibrated scores of both, by alias.
    pub scores: BTreeMap<String, Both<f64>>,
    /// What both say of every action that either offers.
    pub actions: BTreeMap<String, Both<ActionView>>,
}

/// As logged, and by the candidate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Both<Of> {
    /// As logged.
    pub logged: Option<Of>,
    /// By the candidate.
    pub candidate: Option<Of>,
}

impl<Of> Default for Both<Of> {
    fn default() -> Self {
        Self { logged: None, candidate: None }
    }
}

/// What was said of an action.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ActionView {
    /// Its value, if it was asked.
    pub value: Option<f64>,
    /// Probability that it is given.
    pub probability: f64,
    /// Why it was given, or why not.
    pub reason: String,
}

impl ActionView {
    fn of(outcome: &CandidateOutcome) -> Self {
        Self { value: outcome.value, probability: outcome.probability, reason: spelled(&outcome.reason) }
    }
}

impl Example {
    fn of(record: &DecisionRecord, candidate: &Decision, cause: Cause, gain: f64) -> Self {
        let logged = &record.decision;
        let mut scores = BTreeMap::<String, Both<f64>>::new();
        let mut actions = BTreeMap::<String, Both<ActionView>>::new();
        for outcome in &logged.scores {
            scores.entry(outcome.alias.to_string()).or_default().logged =
                outcome.score.map(|score| score.calibrated);
        }
        for outcome in &candidate.scores {
            scores.entry(outcome.alias.to_string()).or_default().candidate =
                outcome.score.map(|score| score.calibrated);
        }
        for outcome in &logged.candidates {
            actions.entry(outcome.action.to_string()).or_default().logged = Some(ActionView::of(outcome));
        }
        for outcome in &candidate.candidates {
            actions.entry(outcome.action.to_string()).or_default().candidate = Some(ActionView::of(outcome));
        }
        Self {
            sequence: record.sequence,
            decision_id: record.inputs.decision_id.to_string(),
            user_key: record.inputs.user.to_string(),
            at: record.inputs.now.to_string(),
            decision_point: record.inputs.decision_point.to_string(),
            logged: logged.action.to_string(),
            candidate: candidate.action.to_string(),
            stage: cause.stage(),
            cause,
            gain,
            logged_reasons: logged.reasons.iter().map(spelled).collect(),
            candidate_reasons: candidate.reasons.iter().map(spelled).collect(),
            scores,
            actions,
        }
    }
}

/// What the candidate's action is worth to it beyond what was given.
fn gain(logged: &Decision, candidate: &Decision) -> f64 {
    let of_logged = candidate.candidates.iter().find(|of| of.action == logged.action).and_then(|of| of.value);
    of_logged.map_or(0.0, |value| candidate.value - value)
}

pub(super) fn spelled(reason: &Reason) -> String {
    match &reason.detail {
        Some(detail) => format!("{} ({detail})", reason.code),
        None => reason.code.to_string(),
    }
}

/// Examples on their way.
#[derive(Debug, Default)]
pub(super) struct Examples {
    by_cause: BTreeMap<Cause, Vec<Example>>,
}

impl Examples {
    /// Takes a changed decision if more is at stake than in those of its cause; of equal ones the earlier stays.
    pub(super) fn offer(&mut self, record: &DecisionRecord, candidate: &Decision, cause: &Cause) {
        if self.by_cause.len() >= MAX_CAUSES && !self.by_cause.contains_key(cause) {
            return;
        }
        let gain = gain(&record.decision, candidate);
        let kept = self.by_cause.entry(cause.clone()).or_default();
        let place = kept.partition_point(|known| known.gain.abs() >= gain.abs());
        if place < MAX_OF_CAUSE {
            kept.insert(place, Example::of(record, candidate, cause.clone(), gain));
            kept.truncate(MAX_OF_CAUSE);
        }
    }

    /// Those of the most frequent causes first.
    pub(super) fn finish(self, counts: &BTreeMap<String, u64>) -> Vec<Example> {
        let count = |cause: &Cause| counts.get(&cause.to_string()).copied().unwrap_or(0);
        let mut causes: Vec<(Cause, Vec<Example>)> = self.by_cause.into_iter().collect();
        causes.sort_by_key(|(cause, _)| std::cmp::Reverse(count(cause)));
        causes.into_iter().flat_map(|(_, examples)| examples).take(MAX_EXAMPLES).collect()
    }
}
