//! Writes an answer over an earlier one, whose room is used again: the reasons, the chosen action, the default action.
//!
//! Not here: what is chosen and why (`decide`).

use std::sync::Arc;

use augur_domain::decision::{CandidateOutcome, DecisionInputs, Rung};
use augur_domain::{Decision, Reason, ReasonCode};

use crate::arbitrate::Choice;
use crate::ask::ask_none;
use crate::snapshot::{Candidate, Point, PolicySnapshot};

/// Reasons of one decision. Should more arise, the last one says so.
pub const MAX_REASONS: usize = 64;

/// The reasons of an answer, bounded.
pub(crate) struct Reasons<'a> {
    list: &'a mut Vec<Reason>,
}

impl<'a> Reasons<'a> {
    pub(crate) fn new(list: &'a mut Vec<Reason>, first: Reason) -> Self {
        list.clear();
        list.push(first);
        Self { list }
    }

    pub(crate) fn push(&mut self, reason: Reason) {
        if self.list.len() + 1 < MAX_REASONS {
            self.list.push(reason);
        } else if !self.is_full() {
            self.list.push(Reason::with(reason.code, "and more".into()));
        }
    }

    pub(crate) fn extend(&mut self, reasons: impl IntoIterator<Item = Reason>) {
        reasons.into_iter().for_each(|reason| self.push(reason));
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.list.len() >= MAX_REASONS
    }

    /// Those from this place on.
    pub(crate) fn since(&self, place: usize) -> &[Reason] {
        self.list.get(place..).unwrap_or_default()
    }
}

/// Puts `text` into `place`, which costs nothing when it is there already.
pub(crate) fn put(place: &mut Arc<str>, text: &Arc<str>) {
    if !Arc::ptr_eq(place, text) {
        place.clone_from(text);
    }
}

/// One candidate for each of the point's, each with what `outcome` says of it by its place.
pub(crate) fn put_candidates(
    point: &Point,
    candidates: &mut Vec<CandidateOutcome>,
    outcome: impl Fn(usize) -> (Option<f64>, Reason),
) {
    candidates.truncate(point.candidates.len());
    for (place, candidate) in point.candidates.iter().enumerate() {
        let (value, reason) = outcome(place);
        match candidates.get_mut(place) {
            Some(known) => {
                put(&mut known.action, &candidate.action.name);
                known.value = value;
                known.probability = 0.0;
                known.reason = reason;
                known.next_eligible_at = None;
            }
            None => candidates.push(CandidateOutcome {
                action: Arc::clone(&candidate.action.name),
                value,
                probability: 0.0,
                reason,
                next_eligible_at: None,
            }),
        }
    }
}

/// Writes the chosen candidate, its payload left as the action declares it. The rest of the answer stands already.
pub(crate) fn put_chosen(
    point: &Point,
    inputs: &DecisionInputs,
    choice: Choice,
    rung: Rung,
    decision: &mut Decision,
) {
    let Some(Candidate { action, .. }) = point.candidates.get(choice.candidate) else {
        return put_unknown_point(inputs, decision);
    };
    decision.value = 0.0;
    if let Some(chosen) = decision.candidates.get_mut(choice.candidate) {
        chosen.probability = choice.propensity;
        chosen.reason = choice.reason;
        decision.value = chosen.value.unwrap_or(0.0);
    }
    put(&mut decision.action, &action.name);
    put(&mut decision.payload, &action.payload);
    put(&mut decision.channel, &action.channel);
    put(&mut decision.category, &action.category);
    decision.counts_against_caps = action.counts_against_caps;
    decision.propensity = choice.propensity;
    decision.rung = rung;
    decision.expires_at = action.expires_after_ms.map(|length_ms| inputs.now.plus_millis(length_ms));
    decision.holds_until = action.holds_until(inputs.now);
}

/// Writes the default action of the point, which every candidate carries `cause` for; nothing is asked or counted.
pub(crate) fn put_default(
    policy: &PolicySnapshot,
    point: &Point,
    inputs: &DecisionInputs,
    cause: Reason,
    decision: &mut Decision,
) {
    put_candidates(point, &mut decision.candidates, |place| {
        let candidate = point.candidates.get(place).filter(|_| place == point.default);
        (candidate.map(|candidate| candidate.action.value_fallback), cause.clone())
    });
    ask_none(policy, point, &mut decision.scores);
    decision.assignments.clear();
    decision.shadow.clear();
    Reasons::new(&mut decision.reasons, cause.clone());
    put_chosen(point, inputs, Choice::certain(point.default, cause), Rung::DefaultAction, decision);
}

/// No caller asks this of a policy that it checked; a candidate policy in a replay may lack the point.
pub(crate) fn put_unknown_point(inputs: &DecisionInputs, decision: &mut Decision) {
    let detail = format!("unknown decision point {}", inputs.decision_point);
    *decision = Decision {
        reasons: vec![Reason::with(ReasonCode::NoEligibleAction, detail.into())],
        ..Decision::default()
    };
}
