//! The decision itself: one pure function, in one fixed order.
//!
//! Not here: reading inputs, reserving caps, writing the log; or what each stage does (`round` and the files it names). It
//! never fails and never panics: whatever is missing is left out, and the answer says so.

use std::sync::Arc;

use augur_domain::decision::{Availability, DecisionInputs};
use augur_domain::{Decision, Reason, ReasonCode};

use crate::answer::{Reasons, put_chosen, put_default, put_unknown_point};
use crate::ask::{ask_models, assign_segments};
use crate::calendar::PersonClock;
use crate::diversity::penalties;
use crate::experiment::sort;
use crate::explain::explain;
use crate::round::Round;
use crate::row::{DecisionRow, find_context};
use crate::scratch::Scratch;
use crate::set::payload;
use crate::shadow::shadow_reasons;
use crate::snapshot::{PolicySnapshot, WhenFeaturesUnavailable};
use crate::unavailable::{off_the_ladder, rung, unavailable_reasons};

/// [`decide_into`] for who decides once: everything is allocated anew.
pub fn decide(policy: &PolicySnapshot, inputs: &DecisionInputs) -> Decision {
    let mut decision = Decision::default();
    decide_into(policy, inputs, &mut Scratch::default(), &mut decision);
    decision
}

/// Decides. The order is this, and it is written nowhere else:
///
/// 1. **Consent and suppression**: an action is refused that needs a consent which the person has not given, or whose
///    channel the person suppressed; so is every such action while the profile cannot be read. Nothing below brings it
///    back, whatever could not be read.
/// 2. **Features**: if they cannot be read, the point's `on_features_unavailable` gives the default action at once,
///    or carries on with every feature and every score missing.
/// 3. **Scores** of the point's models, and its **segments**: each on the best step of the point's ladder for which there
///    is what it needs, and time. The decision stands on the worst of these steps; if the ladder does not have it, the
///    default action is given at once. A missing feature is the model's own affair.
/// 4. **Holdouts and experiments**: a user who is held out is refused all but the default action and is in no
///    experiment; everybody else is sorted into arms. A condition of an experiment may read scores and segments.
/// 5. **Eligibility**: an action whose `eligible_when` is not known to be true is refused.
///    Then, in tables of which one row acts, the first row or the one of highest priority that holds; rows are rules.
/// 6. **Deny rules**, then **allow rules**: once an allow rule fires, only actions that some firing allow rule names
///    are left. Deny beats allow, whatever their priorities.
/// 7. **Values** of the actions left, times the factors of the user's arms, then **boosts** in order of priority. A
///    value that cannot be answered stands at the declared fallback.
/// 8. **Limits**: an action whose cap is used up or whose budget is spent is refused, as is any in quiet hours, with the
///    instant at which all of that ends. Then **diversity**, rule by rule: an action too like what was given lately is
///    refused, or its value is lowered.
/// 9. **Force rules** in order of priority: the first that names an action still left decides; among several it
///    names, the highest value wins. Deny rules, limits and diversity beat force.
/// 10. **Arbitration** without force: the highest value wins, ties go to the action declared first, or to any if the
///     point says so. The default action takes part with its own value. **Exploration** then departs from it with
///     probabilities that are told for every candidate; the default action is explored only if the policy says what it is
///     worth.
/// 11. **Set rules** in order of priority change keys of the chosen action's payload; the first to set a key wins. An
///     arm's payload stands in for the action's before.
/// 12. **Shadow rules** are asked, and what they would have done is recorded.
/// 13. **Reasons**, most important first: the choice, boosts, arms and sets of the chosen action, what was unavailable,
///     what moved the scores, what could not be answered.
///
/// The default action is never refused, so there always is an answer. A rule whose condition cannot be answered does
/// not fire. A decision point that the policy does not know gets an empty action under the rung `DEFAULT_ACTION`.
///
/// The answer is written over `decision`, whatever that said; with its room and that of `scratch` used again, nothing is
/// allocated, save for what a policy or a person rarely asks for: an operation without a result, a profile or features
/// that cannot be read, several rules that set keys of one payload, Thompson sampling, and the words of a model made of
/// trees.
pub fn decide_into(
    policy: &PolicySnapshot,
    inputs: &DecisionInputs,
    scratch: &mut Scratch,
    decision: &mut Decision,
) {
    let Some(point) = policy.point(&inputs.decision_point) else {
        return put_unknown_point(inputs, decision);
    };
    let unavailable = features_unavailable(policy, inputs);
    let features_usable = unavailable.is_none();
    if let (Some(cause), WhenFeaturesUnavailable::Default) = (&unavailable, point.when_features_unavailable) {
        return put_default(policy, point, inputs, cause.clone(), decision);
    }
    let Decision { scores, candidates, reasons, assignments, shadow, .. } = decision;
    let Scratch { context, segments, score_rungs, arms, unsorted, unanswered, .. } = scratch;
    find_context(point, inputs, context);
    assign_segments(policy, point, inputs, features_usable, segments);
    ask_models(policy, point, inputs, features_usable, segments, (scores, score_rungs));
    let (held_out, no_arms) = (None, [].as_slice());
    let row = DecisionRow {
        policy,
        point,
        inputs,
        features_usable,
        context,
        scores,
        score_rungs,
        segments,
        held_out,
        arms: no_arms,
    };
    let rung = rung(&row);
    if let Some(cause) = off_the_ladder(&row, rung, unavailable.as_ref()) {
        return put_default(policy, point, inputs, cause, decision);
    }
    let held_out = sort(&row, arms, assignments, unsorted);
    let row = DecisionRow { held_out, arms, ..row };
    let room = &mut scratch.room;
    let mut round = Round::begin(&row, candidates, unanswered, room);
    round.refuse_unwanted();
    round.hold_out();
    round.refuse_ineligible();
    round.deny();
    round.allow();
    round.value();
    round.scale();
    round.boost();
    let clock = PersonClock::new(&inputs.person, &policy.unknown_zone, inputs.now);
    round.limit(&clock);
    round.diversify();
    let choice = round.force().unwrap_or_else(|| round.arbitrate());
    let chosen = choice.candidate;
    round.set(chosen);
    let mut told = Reasons::new(reasons, choice.reason.clone());
    told.extend(round.boosts(chosen));
    let candidate = point.candidates.get(chosen).filter(|_| chosen != point.default);
    told.extend(penalties(point, candidate, &inputs.exposures, inputs.now));
    told.extend(row.arms_reasons(chosen));
    told.extend(round.sets().map(|rule| Reason::with(ReasonCode::RuleSet, Arc::clone(&rule.reason))));
    unavailable_reasons(&row, unavailable, &mut told);
    let assumed = point.goes_by_clock.then(|| clock.assumed()).flatten();
    told.extend(assumed.map(|zone| Reason::with(ReasonCode::TimeZoneUnknown, Arc::clone(zone))));
    if features_usable {
        explain(&row, round.parts(), &mut told);
    }
    told.extend(unsorted.drain(..));
    let candidate = point.candidates.get(chosen);
    let payload = candidate.map(|it| payload(it, chosen, row.arms_payload(chosen), round.sets()));
    shadow_reasons(&row, round.acting(), chosen, shadow);
    round.tell_unanswered(&mut told);
    put_chosen(point, inputs, choice, rung, decision);
    decision.payload = payload.unwrap_or_default();
    decision.counts_against_caps &= !inputs.peek;
    decision.holds_until = decision.holds_until.filter(|_| !inputs.peek);
}

/// The default action of the decision point, for a caller that cannot ask for better: the log cannot be written, or
/// no time is left. Every candidate carries `cause`; nothing is asked or counted.
pub fn decide_default(policy: &PolicySnapshot, inputs: &DecisionInputs, cause: Reason) -> Decision {
    let mut decision = Decision::default();
    match policy.point(&inputs.decision_point) {
        Some(point) => put_default(policy, point, inputs, cause, &mut decision),
        None => put_unknown_point(inputs, &mut decision),
    }
    decision
}

/// Why the feature vector may not be read, if it may not. Values of other definitions would be read by wrong slots.
fn features_unavailable(policy: &PolicySnapshot, inputs: &DecisionInputs) -> Option<Reason> {
    let cause = match inputs.features_availability {
        Availability::Available if inputs.features.feature_set == policy.features.hash() => return None,
        Availability::Available => "FEATURE_SET_MISMATCH",
        cause => cause.as_str(),
    };
    Some(Reason::with(ReasonCode::FeaturesUnavailable, cause.into()))
}
