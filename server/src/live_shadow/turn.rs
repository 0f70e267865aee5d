//! One candidate's turn at one decision: what it gives is looked at before anything is made of it.
//!
//! Not here: threads and time (`workers`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use augur_decision::MAX_REASONS;
use augur_domain::live_shadow::{ShadowAnswer, ShadowCounts, ShadowRecord, ShadowStatus};
use augur_domain::{Decision, DecisionRecord, Timestamp};

use super::Job;
use super::candidate::Candidate;

/// Longest text of an answer that is written, in bytes.
const MAX_TEXT_BYTES: usize = 4 << 10;

/// What a turn came to.
pub(super) struct Came {
    pub(super) status: ShadowStatus,
    answer: Option<ShadowAnswer>,
    problem: &'static str,
}

impl Came {
    /// It hangs, or took too long.
    pub(super) const fn late() -> Self {
        Self { status: ShadowStatus::TimedOut, answer: None, problem: "" }
    }

    const fn failed(problem: &'static str) -> Self {
        Self { status: ShadowStatus::Failed, answer: None, problem }
    }
}

/// Lets the candidate decide. Whatever it does but hang, this returns. The time is taken by `elapsed`.
pub(super) fn take(
    job: &Job,
    name: &str,
    candidate: &Candidate,
    budget: Duration,
    mut elapsed: impl FnMut() -> Duration,
) -> Came {
    let Some(point) = candidate.policy.point(&job.record.inputs.decision_point) else {
        return Came::failed("its policy has no such decision point");
    };
    let inputs = candidate.inputs(&job.record);
    let began = elapsed();
    let decided = catch_unwind(AssertUnwindSafe(|| job.decider.shadow(name, &candidate.policy, &inputs)));
    let took = elapsed().saturating_sub(began);
    let Ok(decision) = decided else { return Came::failed("it panicked") };
    if took > budget {
        return Came::late();
    }
    let is_offered = point.actions().any(|action| *action == decision.action);
    if let Some(problem) = nonsense(&decision, is_offered) {
        return Came::failed(problem);
    }
    let decide_us = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
    let answer = ShadowAnswer::of(candidate.policy.id(), &candidate.models, &decision, decide_us);
    Came { status: compare(&job.record.decision, &decision), answer: Some(answer), problem: "" }
}

/// The record of a turn.
pub(super) fn record(
    job: &Job,
    name: &Arc<str>,
    came: Came,
    counts: (ShadowCounts, Timestamp),
) -> ShadowRecord {
    let DecisionRecord { sequence, inputs, .. } = &job.record;
    ShadowRecord {
        sequence: 0,
        decision: inputs.decision_id,
        decision_sequence: *sequence,
        decided_at: inputs.now,
        decision_point: Arc::clone(&inputs.decision_point),
        candidate: Arc::clone(name),
        status: came.status,
        kept: job.kept,
        counts: counts.0,
        counted_since: counts.1,
        served: ShadowAnswer::served(&job.record),
        candidates: came.answer,
        problem: came.problem.into(),
    }
}

fn compare(served: &Decision, shadowed: &Decision) -> ShadowStatus {
    let same = served.action == shadowed.action
        && served.payload == shadowed.payload
        && served.channel == shadowed.channel;
    if same { ShadowStatus::Same } else { ShadowStatus::Differs }
}

/// Why this is no decision, if it is none.
fn nonsense(decision: &Decision, is_offered: bool) -> Option<&'static str> {
    let Decision { value, propensity, scores, candidates, reasons, .. } = decision;
    let finite = |score: &augur_domain::decision::Score| {
        score.margin.is_finite() && score.raw.is_finite() && score.calibrated.is_finite()
    };
    let probability = |probability: f64| (0.0..=1.0).contains(&probability);
    let details = reasons.iter().filter_map(|reason| reason.detail.as_deref());
    let checks = [
        (is_offered, "it gave an action that its policy does not offer there"),
        (value.is_finite(), "it gave a value that is no number"),
        (probability(*propensity) && *propensity > 0.0, "it gave a propensity that is no probability"),
        (scores.iter().filter_map(|it| it.score.as_ref()).all(finite), "it gave a score that is no number"),
        (
            candidates.iter().all(|candidate| probability(candidate.probability)),
            "it gave a candidate a probability that is none",
        ),
        (!reasons.is_empty() && reasons.len() <= MAX_REASONS, "it gave no reasons, or too many"),
        (details.map(str::len).all(|bytes| bytes <= MAX_TEXT_BYTES), "it gave a reason of great length"),
    ];
    checks.iter().find(|(holds, _)| !holds).map(|(_, problem)| *problem)
}
