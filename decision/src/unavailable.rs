//! What could not be used, what stood in for it, and on which step of the ladder that leaves the decision.
//!
//! Not here: asking models (`ask`), or what a decision without them looks like (`decide`).

use std::sync::Arc;

use augur_domain::decision::{DecisionInputs, Rung};
use augur_domain::{FeatureStatus, FeatureVector, Reason, ReasonCode};

use crate::answer::Reasons;
use crate::ask::is_available;
use crate::row::DecisionRow;
use crate::snapshot::Model;

/// Where a decision stands: the worst step that any of its models or segments stands on.
pub(crate) fn rung(row: &DecisionRow<'_>) -> Rung {
    let asked = row.score_rungs.iter().copied().chain(row.segments.iter().map(|outcome| outcome.rung));
    // Without models, rules alone are what is left of features that cannot be read.
    let least = if row.features_usable || !row.scores.is_empty() { Rung::Champion } else { Rung::RulesOnly };
    asked.fold(least, Rung::max)
}

/// Why the default action is given at once, if the step that is left is not one of the ladder, or there is no time for
/// it. `features` is why those cannot be read.
pub(crate) fn off_the_ladder(row: &DecisionRow<'_>, rung: Rung, features: Option<&Reason>) -> Option<Reason> {
    let (point, inputs) = (row.point, row.inputs);
    if rung != Rung::RulesOnly || point.ladder.allows(rung, inputs.time_left_us) {
        return None;
    }
    if point.ladder.too_slow(inputs.time_left_us).is_some() {
        return Some(too_late(row));
    }
    let missing = || {
        let scores = point.models(row.policy).zip(row.score_rungs);
        let score = scores.filter(|(_, rung)| **rung == Rung::RulesOnly).map(|(model, _)| &model.name).next();
        let segments = point.segments(row.policy).zip(row.segments);
        let segments = segments.filter(|(_, outcome)| outcome.rung == Rung::RulesOnly);
        let name = score.or_else(|| segments.map(|(model, _)| &model.name).next());
        Reason { code: ReasonCode::ModelUnavailable, detail: name.map(Arc::clone) }
    };
    Some(features.cloned().unwrap_or_else(missing))
}

/// Says which step there was no time for.
fn too_late(row: &DecisionRow<'_>) -> Reason {
    let step = row.point.ladder.too_slow(row.inputs.time_left_us);
    Reason { code: ReasonCode::DeadlineExceeded, detail: step.map(|step| Arc::clone(&step.word)) }
}

/// Names everything that could not be used, then what stood in for it.
pub(crate) fn unavailable_reasons(
    row: &DecisionRow<'_>,
    features: Option<Reason>,
    reasons: &mut Reasons<'_>,
) {
    let readable = features.is_none();
    reasons.extend(features);
    let scores = || row.point.models(row.policy).zip(row.score_rungs);
    let segments = || row.point.segments(row.policy).zip(row.segments.iter().map(|outcome| &outcome.rung));
    let has_time = row.point.ladder.allows(Rung::Champion, row.inputs.time_left_us);
    for (model, rung) in scores().chain(segments()) {
        let usable = model.version().is_some() && is_available(row.inputs, &model.name);
        if !usable || (readable && has_time && *rung != Rung::Champion) {
            reasons.push(Reason::with(ReasonCode::ModelUnavailable, Arc::clone(&model.name)));
        }
    }
    if row.point.ladder.asks_time() && row.point.ladder.too_slow(row.inputs.time_left_us).is_some() {
        reasons.push(too_late(row));
    }
    for (model, rung) in scores().chain(segments()) {
        reasons.extend(stand_in(row, model, *rung));
    }
    if readable && is_unknown_user(row.inputs) {
        reasons.push(Reason::new(ReasonCode::UserUnknown));
    }
}

/// Names what stood in for `model`.
fn stand_in(row: &DecisionRow<'_>, model: &Model, rung: Rung) -> Option<Reason> {
    match rung {
        Rung::PreviousModel => Some(Reason::with(ReasonCode::PreviousModel, Arc::clone(&model.name))),
        Rung::SegmentDefault => {
            let prior = model.prior.as_ref()?.of(row.point, row.segments);
            Some(Reason::with(ReasonCode::PriorScore, Arc::clone(&prior.words)))
        }
        Rung::Champion | Rung::RulesOnly | Rung::DefaultAction => None,
    }
}

fn is_unknown_user(inputs: &DecisionInputs) -> bool {
    let FeatureVector { watermark, values, .. } = &inputs.features;
    let none_found = || values.iter().all(|value| value.status == FeatureStatus::NotFound);
    // Without a single event, what is there comes from the request alone.
    let no_events = || *watermark == 0 && values.iter().all(|value| value.event_time.is_none());
    !values.is_empty() && (none_found() || no_events())
}
