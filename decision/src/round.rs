//! The stages of a decision, one method each: each refuses candidates, values them or chooses among them.
//!
//! Not here: the order of the stages, which `decide` alone has.

use std::sync::Arc;

use augur_domain::decision::CandidateOutcome;
use augur_domain::{Reason, ReasonCode};

use crate::answer::{MAX_REASONS, Reasons, put_candidates};
use crate::arbitrate::{Choice, arbitrate, best};
use crate::calendar::PersonClock;
use crate::explore::{Contender, Odds};
use crate::row::DecisionRow;
use crate::rule::{Origin, Rule};
use crate::snapshot::Candidate;
use crate::stages::consent;
use crate::table::{acting_rows, push_once};

/// What a round reckons in.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// Values without an answer.
    unvalued: Vec<Reason>,
    /// The acting row of each table of which one acts.
    acting: Vec<Option<usize>>,
    /// Places of the boost rules that fired.
    boosted: Vec<usize>,
    /// Places of rules that fired in the stage under way; in the end, of the set rules.
    fired: Vec<usize>,
    /// What each input of a model added.
    parts: Vec<(usize, f64)>,
    contenders: Vec<Contender>,
    odds: Odds,
}

/// One decision on its way. A candidate stands while its reason is `OUTRANKED`.
pub(crate) struct Round<'a> {
    row: &'a DecisionRow<'a>,
    candidates: &'a mut Vec<CandidateOutcome>,
    /// Questions without an answer, in the order in which they were asked; of rules no more than can be told.
    unanswered: &'a mut Vec<Reason>,
    room: &'a mut Room,
}

impl<'a> Round<'a> {
    pub(crate) fn begin(
        row: &'a DecisionRow<'a>,
        candidates: &'a mut Vec<CandidateOutcome>,
        unanswered: &'a mut Vec<Reason>,
        room: &'a mut Room,
    ) -> Self {
        put_candidates(row.point, candidates, |_| (None, Reason::new(ReasonCode::Outranked)));
        unanswered.clear();
        acting_rows(row, &mut room.acting, unanswered);
        room.boosted.clear();
        Self { row, candidates, unanswered, room }
    }

    /// The candidates still standing, with their indices.
    fn standing(&mut self) -> impl Iterator<Item = (usize, &'a Candidate, &mut CandidateOutcome)> {
        let declared = self.row.point.candidates.iter();
        let both = declared.zip(&mut *self.candidates).enumerate();
        both.filter(|(_, (_, outcome))| outcome.reason.code == ReasonCode::Outranked)
            .map(|(index, (candidate, outcome))| (index, candidate, outcome))
    }

    /// Like [`Self::standing`], without the default action: those that may be refused.
    fn refusable(&mut self) -> impl Iterator<Item = (usize, &'a Candidate, &mut CandidateOutcome)> {
        let default = self.row.point.default;
        self.standing().filter(move |(index, _, _)| *index != default)
    }

    /// Whether `rule` holds now and fires.
    fn fires(&mut self, rule: &Rule) -> bool {
        let row = self.row;
        if let Origin::Hit { table, row } = rule.origin {
            return self.room.acting.get(table) == Some(&Some(row));
        }
        if !rule.validity.holds_at(row.inputs.now) {
            return false;
        }
        let evaluated = rule.when.expression().evaluate(row);
        evaluated.as_boolean().unwrap_or_else(|| {
            if rule.origin == Origin::Row {
                push_once(self.unanswered, rule.when.unanswered(ReasonCode::MissingInput, &evaluated));
            } else if self.unanswered.len() < MAX_REASONS {
                self.unanswered.push(rule.when.unanswered(ReasonCode::MissingInput, &evaluated));
            }
            false
        })
    }

    pub(crate) fn refuse_unwanted(&mut self) {
        let person = &self.row.inputs.person;
        for (_, candidate, outcome) in self.refusable() {
            if let Some(reason) = consent::refusal(&candidate.action, person) {
                outcome.reason = reason;
            }
        }
    }

    /// Whoever is held out is given the default action only.
    pub(crate) fn hold_out(&mut self) {
        let Some(holdout) = self.row.held_out else { return };
        for (_, _, outcome) in self.refusable() {
            outcome.reason = Reason::with(ReasonCode::HeldOut, Arc::clone(&holdout.name));
        }
    }

    pub(crate) fn refuse_ineligible(&mut self) {
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

    pub(crate) fn deny(&mut self) {
        let row = self.row;
        for rule in &row.point.deny {
            if self.fires(rule) {
                for (_, _, outcome) in
                    self.refusable().filter(|(index, _, _)| rule.candidates.contains(index))
                {
                    outcome.reason = Reason::with(ReasonCode::RuleDenied, Arc::clone(&rule.reason));
                }
            }
        }
    }

    pub(crate) fn allow(&mut self) {
        let rules = &self.row.point.allow;
        let fired = self.fired(rules);
        let firing = || fired.iter().filter_map(|place| rules.get(*place));
        if let Some(first) = firing().next() {
            let allowed = |index: &usize| firing().any(|rule| rule.candidates.contains(index));
            for (_, _, outcome) in self.refusable().filter(|(index, _, _)| !allowed(index)) {
                outcome.reason = Reason::with(ReasonCode::RuleNotAllowed, Arc::clone(&first.reason));
            }
        }
        self.room.fired = fired;
    }

    /// The places of the rules that fire. Whoever calls puts the list back.
    fn fired(&mut self, rules: &[Rule]) -> Vec<usize> {
        let mut fired = std::mem::take(&mut self.room.fired);
        fired.clear();
        fired.extend(rules.iter().enumerate().filter(|(_, rule)| self.fires(rule)).map(|(place, _)| place));
        fired
    }

    pub(crate) fn value(&mut self) {
        let row = self.row;
        let mut unknown = std::mem::take(&mut self.room.unvalued);
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
        self.room.unvalued = unknown;
    }

    /// What the user's arms multiply values by.
    pub(crate) fn scale(&mut self) {
        let row = self.row;
        if row.arms.is_empty() {
            return;
        }
        for (index, _, outcome) in self.standing() {
            let scaled = outcome.value.map(|value| value * row.arms_factor(index) + 0.0);
            outcome.value = scaled.filter(|value| value.is_finite()).or(outcome.value);
        }
    }

    pub(crate) fn boost(&mut self) {
        let rules = &self.row.point.boost;
        let fired = self.fired(rules);
        for rule in fired.iter().filter_map(|place| rules.get(*place)) {
            for (_, _, outcome) in self.standing().filter(|(index, _, _)| rule.candidates.contains(index)) {
                outcome.value = outcome.value.map(|value| rule.boost.apply(value));
            }
        }
        self.room.fired = std::mem::replace(&mut self.room.boosted, fired);
    }

    pub(crate) fn limit(&mut self, clock: &PersonClock<'_>) {
        let inputs = self.row.inputs;
        for (_, candidate, outcome) in self.refusable() {
            let action = &candidate.action;
            if let Some(refusal) = action.limits.refusal(action.subject(), inputs, clock) {
                outcome.reason = refusal.reason;
                outcome.next_eligible_at = refusal.until;
            }
        }
    }

    /// Refuses what is too like what was given lately, or lowers its value, rule by rule.
    pub(crate) fn diversify(&mut self) {
        let (point, inputs) = (self.row.point, self.row.inputs);
        for rule in &point.diversity {
            for (_, candidate, outcome) in self.refusable() {
                let subject = candidate.action.subject();
                if !rule.is_reached(point, subject, &inputs.exposures, inputs.now) {
                    continue;
                }
                if rule.penalty.is_some() {
                    outcome.value = outcome.value.map(|value| rule.lowered(value));
                } else {
                    outcome.reason = Reason::with(ReasonCode::Diversity, Arc::clone(&rule.words));
                    outcome.next_eligible_at = rule.ends_at(point, subject, &inputs.exposures, inputs.now);
                }
            }
        }
    }

    pub(crate) fn force(&mut self) -> Option<Choice> {
        let rules = &self.row.point.force;
        let fired = self.fired(rules);
        let choice = fired.iter().filter_map(|place| rules.get(*place)).find_map(|rule| {
            let candidate = best(self.candidates, rule.candidates.iter().copied())?;
            let reason = Reason::with(ReasonCode::RuleForced, Arc::clone(&rule.reason));
            Some(Choice::certain(candidate, reason))
        });
        self.room.fired = fired;
        choice
    }

    pub(crate) fn arbitrate(&mut self) -> Choice {
        let Self { row, candidates, unanswered, room } = self;
        arbitrate(row, candidates, unanswered, (&mut room.contenders, &mut room.odds))
    }

    /// Asks the rules that set keys of the payload of the candidate `chosen`.
    pub(crate) fn set(&mut self, chosen: usize) {
        let rules = &self.row.point.set;
        let mut fired = std::mem::take(&mut self.room.fired);
        fired.clear();
        let about_it = rules.iter().enumerate().filter(|(_, rule)| rule.candidates.contains(&chosen));
        fired.extend(about_it.filter(|(_, rule)| self.fires(rule)).map(|(place, _)| place));
        self.room.fired = fired;
    }

    /// Those that fired, by priority.
    pub(crate) fn sets(&self) -> impl DoubleEndedIterator<Item = &'a Rule> + Clone {
        let rules = &self.row.point.set;
        self.room.fired.iter().filter_map(|place| rules.get(*place))
    }

    /// The boosts of the candidate `chosen`.
    pub(crate) fn boosts(&self, chosen: usize) -> impl Iterator<Item = Reason> {
        let rules = &self.row.point.boost;
        let fired = self.room.boosted.iter().filter_map(|place| rules.get(*place));
        let about_it = fired.filter(move |rule| rule.candidates.contains(&chosen));
        about_it.map(|rule| Reason::with(ReasonCode::RuleBoosted, Arc::clone(&rule.reason)))
    }

    /// The acting row of each table of which one acts.
    pub(crate) fn acting(&self) -> &[Option<usize>] {
        &self.room.acting
    }

    /// Room for what each input of a model added.
    pub(crate) fn parts(&mut self) -> &mut Vec<(usize, f64)> {
        &mut self.room.parts
    }

    /// Tells what could not be answered.
    pub(crate) fn tell_unanswered(&mut self, reasons: &mut Reasons<'_>) {
        reasons.extend(self.unanswered.drain(..));
    }
}
