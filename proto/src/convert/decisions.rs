//! Decisions and their records to the wire.
//!
//! Not here: reading a request's context, whose names and types the policy declares (`server` checks them).

use augur_domain::decision::{Assignment, CandidateOutcome, Exposure, Person, ScoreOutcome};
use augur_domain::feature::FeatureDetail;
use augur_domain::{Decision, DecisionId, DecisionRecord, FeatureSet, Reason, Timestamp};

use super::features::feature_to_wire;
use super::timestamp_to_wire;
use super::value::value_to_wire;
use crate::v1;

/// The answer of one decision.
pub fn decision_to_wire(
    decision: &Decision,
    decision_id: &augur_domain::DecisionId,
    policy_id: &augur_domain::ContentHash,
    decided_at: Timestamp,
) -> v1::DecideResponse {
    v1::DecideResponse {
        decision_id: decision_id.to_string(),
        action: decision.action.to_string(),
        payload_json: decision.payload.to_string(),
        value: decision.value,
        propensity: decision.propensity,
        // Domain and wire share their numbers.
        rung: i32::from(decision.rung as u8),
        scores: decision.scores.iter().map(score_to_wire).collect(),
        reasons: decision.reasons.iter().map(reason_to_wire).collect(),
        candidates: decision.candidates.iter().map(candidate_to_wire).collect(),
        policy_id: policy_id.to_string(),
        expires_at: decision.expires_at.map(timestamp_to_wire),
        decided_at: Some(timestamp_to_wire(decided_at)),
        assignments: decision.assignments.iter().map(assignment_to_wire).collect(),
        holds_until: decision.holds_until.map(timestamp_to_wire),
        category: decision.category.to_string(),
        shadow: decision.shadow.iter().map(reason_to_wire).collect(),
    }
}

/// A line of the decision log. Features are named when `feature_set` is the one that the record was made with.
pub fn record_to_wire(record: &DecisionRecord, feature_set: Option<&FeatureSet>) -> v1::DecisionRecord {
    let inputs = &record.inputs;
    let features = feature_set
        .filter(|set| set.hash() == inputs.features.feature_set)
        .map(|set| {
            let slots = 0..set.features().len();
            slots
                .filter_map(|slot| feature_to_wire(set, &inputs.features, slot, FeatureDetail::default()))
                .collect()
        })
        .unwrap_or_default();
    v1::DecisionRecord {
        sequence: record.sequence,
        decision_point: inputs.decision_point.to_string(),
        user_key: inputs.user.to_string(),
        decision: Some(decision_to_wire(&record.decision, &inputs.decision_id, &record.policy, inputs.now)),
        features,
        context: inputs
            .context
            .iter()
            .map(|(name, value)| (name.to_string(), value_to_wire(value)))
            .collect(),
        seed: inputs.seed,
        feature_set: inputs.features.feature_set.to_string(),
        exposures: inputs.exposures.iter().map(exposure_to_wire).collect(),
        read_us: record.observed.read_us,
        decide_us: record.observed.decide_us,
        canary: record.canary.as_ref().map(|canary| v1::CanaryArm {
            model: canary.challenger.name.to_string(),
            version: canary.challenger.version,
            salt: canary.salt.to_string(),
            share_ppm: canary.share_ppm,
            arm: canary.arm.as_str().to_owned(),
        }),
        person: Some(person_to_wire(&inputs.person)),
        budgets: inputs.budgets.iter().map(|(action, spent)| (action.to_string(), *spent)).collect(),
        peek: inputs.peek,
    }
}

fn exposure_to_wire(exposure: &Exposure) -> v1::Exposure {
    let decision = Some(exposure.decision).filter(|decision| *decision != DecisionId::NONE);
    v1::Exposure {
        action: exposure.action.to_string(),
        channel: exposure.channel.to_string(),
        at: Some(timestamp_to_wire(exposure.at)),
        category: exposure.category.to_string(),
        decision_id: decision.map(|decision| decision.to_string()).unwrap_or_default(),
        holds_until: exposure.holds_until.map(timestamp_to_wire),
    }
}

/// What is known of a person beside features.
pub fn person_to_wire(person: &Person) -> v1::Person {
    v1::Person {
        time_zone: person.time_zone.as_deref().unwrap_or_default().to_owned(),
        traits: person.traits.iter().map(|(name, value)| (name.to_string(), value_to_wire(value))).collect(),
        consents: person.consents.iter().map(|(purpose, granted)| (purpose.to_string(), *granted)).collect(),
        suppressed: person.suppressed.iter().map(ToString::to_string).collect(),
    }
}

fn assignment_to_wire(assignment: &Assignment) -> v1::Assignment {
    v1::Assignment {
        experiment: assignment.experiment.to_string(),
        arm: assignment.arm.to_string(),
        enrolled: assignment.enrolled,
    }
}

fn score_to_wire(outcome: &ScoreOutcome) -> v1::ModelScore {
    let model = outcome.model.as_ref();
    v1::ModelScore {
        alias: outcome.alias.to_string(),
        model: model.map(|model| model.name.to_string()).unwrap_or_default(),
        version: model.map_or(0, |model| model.version),
        artifact: model.map(|model| model.artifact.to_string()).unwrap_or_default(),
        margin: outcome.score.map(|score| score.margin),
        raw: outcome.score.map(|score| score.raw),
        calibrated: outcome.score.map(|score| score.calibrated),
    }
}

fn reason_to_wire(reason: &Reason) -> v1::Reason {
    v1::Reason {
        code: reason.code.as_str().to_owned(),
        detail: reason.detail.as_deref().unwrap_or_default().to_owned(),
    }
}

fn candidate_to_wire(candidate: &CandidateOutcome) -> v1::Candidate {
    v1::Candidate {
        action: candidate.action.to_string(),
        value: candidate.value,
        probability: candidate.probability,
        reason: Some(reason_to_wire(&candidate.reason)),
        next_eligible_at: candidate.next_eligible_at.map(timestamp_to_wire),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use augur_domain::decision::Rung;

    #[test]
    fn rungs_share_their_numbers() {
        for (domain, wire) in [
            (Rung::Champion, v1::Rung::Champion),
            (Rung::PreviousModel, v1::Rung::PreviousModel),
            (Rung::SegmentDefault, v1::Rung::SegmentDefault),
            (Rung::RulesOnly, v1::Rung::RulesOnly),
            (Rung::DefaultAction, v1::Rung::DefaultAction),
        ] {
            assert_eq!(i32::from(domain as u8), wire as i32);
        }
    }
}
