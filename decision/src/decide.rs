//! The decision itself: one pure function, in one fixed order.
//!
//! Not here: reading inputs, reserving caps, writing the log. It never fails and never panics: whatever is missing
//! is left out, and the answer says so.

use std::sync::Arc;

use augur_domain::decision::{Availability, CandidateOutcome, DecisionInputs, Rung, ScoreOutcome};
use augur_domain::{Decision, Reason, ReasonCode};

use crate::arbitrate::{Choice, arbitrate, best};
use crate::ask::{ask_models, ask_none, assign_segments};
use crate::calendar::PersonClock;
use crate::experiment::{Sorted, sort};
use crate::explain::explain;
use crate::row::DecisionRow;
use crate::rule::{Origin, Rule};
use crate::set::payload;
use crate::shadow::shadow_reasons;
use crate::snapshot::{Candidate, Point, PolicySnapshot, WhenFeaturesUnavailable};
use crate::stages::consent;
use crate::table::{acting_rows, push_once};
use crate::unavailable::{off_the_ladder, rung, unavailable_reasons};

/// Reasons of one decision. Should more arise, the last one says so.
pub const MAX_REASONS: usize = 64;

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
///    instant at which all of that ends.
/// 9. **Force rules** in order of priority: the first that names an action still left decides; among several it
///    names, the highest value wins. Deny rules and limits beat force.
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
pub fn decide(policy: &PolicySnapshot, inputs: &DecisionInputs) -> Decision {
    let Some(point) = policy.point(&inputs.decision_point) else { return unknown_point(inputs) };
    let unavailable = features_unavailable(policy, inputs);
    if let (Some(cause), WhenFeaturesUnavailable::Default) = (&unavailable, point.when_features_unavailable) {
        return default_at(policy, point, inputs, cause.clone());
    }
    let segments = assign_segments(policy, point, inputs, unavailable.is_none());
    let (scores, score_rungs) = ask_models(policy, point, inputs, unavailable.is_none(), &segments);
    let unsorted = Sorted::default();
    let row = DecisionRow {
        policy,
        point,
        inputs,
        features_usable: unavailable.is_none(),
        scores: &scores,
        score_rungs: &score_rungs,
        segments: &segments,
        sorted: &unsorted,
    };
    let rung = rung(&row);
    if let Some(cause) = off_the_ladder(&row, rung, unavailable.as_ref()) {
        return default_at(policy, point, inputs, cause);
    }
    let sorted = sort(&row);
    let row = DecisionRow { sorted: &sorted, ..row };
    let mut round = Round::new(&row);
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
    let choice = round.force().unwrap_or_else(|| round.arbitrate());
    let setting = round.set(choice.candidate);
    let Round { candidates, unanswered, boosted, acting, .. } = round;
    let mut reasons = Reasons::new(choice.reason.clone());
    reasons.extend(
        boosted
            .iter()
            .filter(|rule| rule.candidates.contains(&choice.candidate))
            .map(|rule| Reason::with(ReasonCode::RuleBoosted, Arc::clone(&rule.reason))),
    );
    reasons.extend(sorted.reasons(&row, choice.candidate));
    reasons.extend(setting.iter().map(|rule| Reason::with(ReasonCode::RuleSet, Arc::clone(&rule.reason))));
    let moved = if unavailable.is_none() { explain(&row) } else { Vec::new() };
    unavailable_reasons(&row, unavailable, &mut |reason| reasons.extend([reason]));
    let assumed = point.goes_by_clock.then(|| clock.assumed()).flatten();
    reasons.extend(assumed.map(|zone| Reason::with(ReasonCode::TimeZoneUnknown, Arc::clone(zone))));
    reasons.extend(moved);
    reasons.extend(sorted.unanswered.iter().cloned());
    reasons.extend(unanswered);
    let chosen = choice.candidate;
    let payload = point
        .candidates
        .get(chosen)
        .map(|candidate| payload(candidate, chosen, sorted.payload(&row, chosen), &setting));
    let shadow = shadow_reasons(&row, &acting, chosen);
    let assignments = sorted.assignments;
    let decision = answer(point, inputs, choice, candidates, scores, rung, reasons);
    Decision {
        payload: payload.unwrap_or_default(),
        counts_against_caps: decision.counts_against_caps && !inputs.peek,
        holds_until: decision.holds_until.filter(|_| !inputs.peek),
        assignments,
        shadow,
        ..decision
    }
}

/// The default action of the decision point, for a caller that cannot ask for better: the log cannot be written, or
/// no time is left. Every candidate carries `cause`; nothing is asked or counted.
pub fn decide_default(policy: &PolicySnapshot, inputs: &DecisionInputs, cause: Reason) -> Decision {
    match policy.point(&inputs.decision_point) {
        Some(point) => default_at(policy, point, inputs, cause),
        None => unknown_point(inputs),
    }
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

/// One decision on its way. A candidate stands while its reason is `OUTRANKED`.
struct Round<'a> {
    row: &'a DecisionRow<'a>,
    candidates: Vec<CandidateOutcome>,
    /// Questions without an answer, in the order in which they were asked; of rules no more than can be told.
    unanswered: Vec<Reason>,
    /// The acting row of each table of which one acts.
    acting: Vec<Option<usize>>,
    boosted: Vec<&'a Rule>,
}

impl<'a> Round<'a> {
    fn new(row: &'a DecisionRow<'a>) -> Self {
        let candidates = row.point.candidates.iter().map(|candidate| CandidateOutcome {
            action: Arc::clone(&candidate.action.name),
            value: None,
            probability: 0.0,
            reason: Reason::new(ReasonCode::Outranked),
            next_eligible_at: None,
        });
        let mut unanswered = Vec::new();
        let acting = acting_rows(row, &mut unanswered);
        Self { row, candidates: candidates.collect(), unanswered, acting, boosted: Vec::new() }
    }

    /// The candidates still standing, with their indices.
    fn standing(&mut self) -> impl Iterator<Item = (usize, &'a Candidate, &mut CandidateOutcome)> {
        let declared = self.row.point.candidates.iter();
        let both = declared.zip(&mut self.candidates).enumerate();
        both.filter(|(_, (_, outcome))| outcome.reason.code == ReasonCode::Outranked)
            .map(|(index, (candidate, outcome))| (index, candidate, outcome))
    }

    /// Like [`Self::standing`], without the default action: those that may be refused.
    fn refusable(&mut self) -> impl Iterator<Item = (usize, &'a Candidate, &mut CandidateOutcome)> {
        let default = self.row.point.default;
        self.standing().filter(move |(index, _, _)| *index != default)
    }

    /// The rules among `rules` that hold now and fire, in order.
    fn firing(&mut self, rules: impl IntoIterator<Item = &'a Rule>) -> impl Iterator<Item = &'a Rule> {
        let Self { row, unanswered, acting, .. } = self;
        let row = *row;
        rules.into_iter().filter(move |rule| {
            if let Origin::Hit { table, row } = rule.origin {
                return acting.get(table) == Some(&Some(row));
            }
            if !rule.validity.holds_at(row.inputs.now) {
                return false;
            }
            let evaluated = rule.when.expression().evaluate(row);
            evaluated.as_boolean().unwrap_or_else(|| {
                if rule.origin == Origin::Row {
                    push_once(unanswered, rule.when.unanswered(ReasonCode::MissingInput, &evaluated));
                } else if unanswered.len() < MAX_REASONS {
                    unanswered.push(rule.when.unanswered(ReasonCode::MissingInput, &evaluated));
                }
                false
            })
        })
    }

    fn refuse_unwanted(&mut self) {
        let person = &self.row.inputs.person;
        for (_, candidate, outcome) in self.refusable() {
            if let Some(reason) = consent::refusal(&candidate.action, person) {
                outcome.reason = reason;
            }
        }
    }

    /// Whoever is held out is given the default action only.
    fn hold_out(&mut self) {
        let Some(holdout) = self.row.sorted.held_out else { return };
        for (_, _, outcome) in self.refusable() {
            outcome.reason = Reason::with(ReasonCode::HeldOut, Arc::clone(&holdout.name));
        }
    }

    fn refuse_ineligible(&mut self) {
        let row = self.row;
        for (_, candidate, outcome) in self.refusable() {
            let Some(question) = &candidate.eligible_when else { continue };
            let evaluated = question.expression().evaluate(row);
            match evaluated.as_boolean() {
                Some(true) => {}
                Some(false) => outcome.reason = Reason::new(ReasonCode::NotEligible),
                None => outcome.reason = question.unanswered(ReasonCode::MissingInput, &evaluated),
            }
        }
    }

    fn deny(&mut self) {
        let firing: Vec<&Rule> = self.firing(&self.row.point.deny).collect();
        for rule in firing {
            for (_, _, outcome) in self.refusable().filter(|(index, _, _)| rule.candidates.contains(index)) {
                outcome.reason = Reason::with(ReasonCode::RuleDenied, Arc::clone(&rule.reason));
            }
        }
    }

    fn allow(&mut self) {
        let firing: Vec<&Rule> = self.firing(&self.row.point.allow).collect();
        let Some(first) = firing.first() else { return };
        let allowed = |index: &usize| firing.iter().any(|rule| rule.candidates.contains(index));
        for (_, _, outcome) in self.refusable().filter(|(index, _, _)| !allowed(index)) {
            outcome.reason = Reason::with(ReasonCode::RuleNotAllowed, Arc::clone(&first.reason));
        }
    }

    fn value(&mut self) {
        let row = self.row;
        let mut unknown = Vec::new();
        for (_, candidate, outcome) in self.standing() {
            let Some(question) = &candidate.value else {
                outcome.value = Some(candidate.action.value_fallback);
                continue;
            };
            let evaluated = question.expression().evaluate(row);
            outcome.value = evaluated.as_number().filter(|value| value.is_finite()).or_else(|| {
                unknown.push(question.unanswered(ReasonCode::ValueUnknown, &evaluated));
                Some(candidate.action.value_fallback)
            });
        }
        self.unanswered.append(&mut unknown);
    }

    /// What the user's arms multiply values by.
    fn scale(&mut self) {
        let row = self.row;
        if row.sorted.arms.is_empty() {
            return;
        }
        for (index, _, outcome) in self.standing() {
            let scaled = outcome.value.map(|value| value * row.sorted.factor(row, index) + 0.0);
            outcome.value = scaled.filter(|value| value.is_finite()).or(outcome.value);
        }
    }

    fn boost(&mut self) {
        let firing: Vec<&Rule> = self.firing(&self.row.point.boost).collect();
        for rule in &firing {
            for (_, _, outcome) in self.standing().filter(|(index, _, _)| rule.candidates.contains(index)) {
                outcome.value = outcome.value.map(|value| rule.boost.apply(value));
            }
        }
        self.boosted = firing;
    }

    fn limit(&mut self, clock: &PersonClock<'_>) {
        let inputs = self.row.inputs;
        for (_, candidate, outcome) in self.refusable() {
            let action = &candidate.action;
            if let Some(refusal) = action.limits.refusal(action.subject(), inputs, clock) {
                outcome.reason = refusal.reason;
                outcome.next_eligible_at = refusal.until;
            }
        }
    }

    fn force(&mut self) -> Option<Choice> {
        let firing: Vec<&Rule> = self.firing(&self.row.point.force).collect();
        firing.into_iter().find_map(|rule| {
            let candidate = best(&self.candidates, rule.candidates.iter().copied())?;
            let reason = Reason::with(ReasonCode::RuleForced, Arc::clone(&rule.reason));
            Some(Choice::certain(candidate, reason))
        })
    }

    /// The rules that set keys of the chosen candidate's payload, by priority.
    fn set(&mut self, chosen: usize) -> Vec<&'a Rule> {
        let about_it = self.row.point.set.iter().filter(|rule| rule.candidates.contains(&chosen));
        self.firing(about_it).collect()
    }

    fn arbitrate(&mut self) -> Choice {
        arbitrate(self.row, &mut self.candidates, &mut self.unanswered)
    }
}

/// The reasons of an answer, bounded.
struct Reasons {
    list: Vec<Reason>,
}

impl Reasons {
    fn new(first: Reason) -> Self {
        let mut list = Vec::with_capacity(4);
        list.push(first);
        Self { list }
    }

    fn extend(&mut self, reasons: impl IntoIterator<Item = Reason>) {
        for reason in reasons {
            if self.list.len() + 1 < MAX_REASONS {
                self.list.push(reason);
            } else if self.list.len() < MAX_REASONS {
                self.list.push(Reason::with(reason.code, "and more".into()));
            }
        }
    }
}

fn answer(
    point: &Point,
    inputs: &DecisionInputs,
    choice: Choice,
    mut candidates: Vec<CandidateOutcome>,
    scores: Vec<ScoreOutcome>,
    rung: Rung,
    reasons: Reasons,
) -> Decision {
    let propensity = choice.propensity;
    let mut value = 0.0;
    if let Some(chosen) = candidates.get_mut(choice.candidate) {
        chosen.probability = propensity;
        chosen.reason = choice.reason;
        value = chosen.value.unwrap_or(0.0);
    }
    let Some(Candidate { action, .. }) = point.candidates.get(choice.candidate) else {
        return unknown_point(inputs);
    };
    Decision {
        action: Arc::clone(&action.name),
        payload: Arc::clone(&action.payload),
        channel: Arc::clone(&action.channel),
        counts_against_caps: action.counts_against_caps,
        value,
        propensity,
        rung,
        scores,
        candidates,
        reasons: reasons.list,
        expires_at: action.expires_after_ms.map(|length_ms| inputs.now.plus_millis(length_ms)),
        category: Arc::clone(&action.category),
        holds_until: action.holds_until(inputs.now),
        assignments: Vec::new(),
        shadow: Vec::new(),
    }
}

fn default_at(policy: &PolicySnapshot, point: &Point, inputs: &DecisionInputs, cause: Reason) -> Decision {
    let outcome = |(index, candidate): (usize, &Candidate)| CandidateOutcome {
        action: Arc::clone(&candidate.action.name),
        value: (index == point.default).then_some(candidate.action.value_fallback),
        probability: 0.0,
        reason: cause.clone(),
        next_eligible_at: None,
    };
    let candidates = point.candidates.iter().enumerate().map(outcome).collect();
    let scores = ask_none(policy, point);
    let choice = Choice::certain(point.default, cause.clone());
    answer(point, inputs, choice, candidates, scores, Rung::DefaultAction, Reasons::new(cause))
}

/// No caller asks this of a policy that it checked; a candidate policy in a replay may lack the point.
fn unknown_point(inputs: &DecisionInputs) -> Decision {
    let detail = format!("unknown decision point {}", inputs.decision_point);
    Decision {
        action: "".into(),
        payload: "".into(),
        channel: "".into(),
        counts_against_caps: false,
        value: 0.0,
        propensity: 1.0,
        rung: Rung::DefaultAction,
        scores: Vec::new(),
        candidates: Vec::new(),
        reasons: vec![Reason::with(ReasonCode::NoEligibleAction, detail.into())],
        expires_at: None,
        category: Arc::default(),
        holds_until: None,
        assignments: Vec::new(),
        shadow: Vec::new(),
    }
}
