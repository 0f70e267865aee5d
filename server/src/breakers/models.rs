//! The breakers before the models of one policy, and what one decision asks of them.
//!
//! A decision is timed as a whole, so a slow one counts against every model that it asked. Where one of several is to
//! blame, they open together and are told apart by being tried: those that are not slow alone close again. Not here:
//! what a model says (`augur_models`).

use std::sync::Arc;
use std::time::Duration;

use augur_decision::{Model, PREVIOUS, PolicySnapshot};
use augur_domain::decision::{Availability, DecisionInputs, ScoreOutcome};
use augur_domain::{Decision, ModelRef};

use super::Breakers;
use crate::breaker::{Breaker, Call, Outcome};

/// Of one policy.
#[derive(Debug, Default)]
pub(crate) struct ModelBreakers {
    /// Per name that may be asked, whether something is loaded under it.
    loaded: Vec<(Arc<str>, Availability)>,
    /// Per decision point, ordered by name, the versions it asks.
    points: Vec<(Arc<str>, Vec<Guarded>)>,
}

/// A version that may be asked, and the breaker before it.
#[derive(Debug)]
struct Guarded {
    alias: Arc<str>,
    version: ModelRef,
    /// Asked only when the version after it cannot be.
    is_previous: bool,
    /// Among the names that may be asked.
    place: usize,
    breaker: Arc<Breaker>,
}

/// The versions that one decision may ask, each a call under way.
#[derive(Debug)]
pub(crate) struct Asked<'a>(Vec<(&'a Guarded, Call<'a>)>);

impl ModelBreakers {
    pub(crate) fn new(policy: &PolicySnapshot, breakers: &Breakers) -> Self {
        let names: Vec<&Arc<str>> = policy.askable().map(|(name, _)| name).collect();
        let loaded = policy.askable().map(|(name, version)| {
            let available = if version.is_some() { Availability::Available } else { Availability::NotLoaded };
            (Arc::clone(name), available)
        });
        let guarded = |model: &Model| {
            let previous_name = format!("{PREVIOUS}{}", model.name());
            let present = model.version().map(|version| (&**model.name(), version, false));
            let previous = model.previous().map(|(version, _)| (&*previous_name, version, true));
            let guard = |(name, version, is_previous): (&str, &ModelRef, bool)| {
                Some(Guarded {
                    alias: Arc::clone(model.name()),
                    version: version.clone(),
                    is_previous,
                    place: names.iter().position(|known| ***known == *name)?,
                    breaker: breakers.of_model(version),
                })
            };
            present.into_iter().chain(previous).filter_map(guard).collect::<Vec<_>>()
        };
        let points = policy.decision_points().iter().map(|point| {
            let asked = point.models(policy).chain(point.segments(policy));
            (Arc::clone(point.name()), asked.flat_map(guarded).collect())
        });
        let mut points: Vec<_> = points.collect();
        points.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Self { loaded: loaded.collect(), points }
    }

    /// Leave to ask the models of `point` at `now`, as far as their breakers give it; and per name whether it may be
    /// asked.
    pub(crate) fn ask(&self, point: &str, now: Duration) -> (Vec<(Arc<str>, Availability)>, Asked<'_>) {
        let mut availability = self.loaded.clone();
        let found = self.points.binary_search_by(|(known, _)| (**known).cmp(point)).ok();
        let guarded = found.and_then(|place| self.points.get(place)).map_or(&[][..], |(_, guarded)| guarded);
        let mut calls = Vec::with_capacity(guarded.len());
        for guarded in guarded {
            match (guarded.breaker.admit(now), availability.get_mut(guarded.place)) {
                (Ok(call), _) => calls.push((guarded, call)),
                (Err(_), Some((_, model))) => *model = Availability::BreakerOpen,
                (Err(_), None) => {}
            }
        }
        (availability, Asked(calls))
    }
}

impl Asked<'_> {
    /// What came of it.
    pub(crate) fn end(self, inputs: &DecisionInputs, decision: &Decision, took: Duration, now: Duration) {
        for (guarded, call) in self.0 {
            let said = decision.scores.iter().find(|score| score.alias == guarded.alias);
            call.end_after(guarded.outcome(inputs, said), took, now);
        }
    }

    /// All that were asked have failed. Returns their places among the names that may be asked.
    pub(crate) fn failed(self, took: Duration, now: Duration) -> Vec<usize> {
        let fail = |(guarded, call): (&Guarded, Call<'_>)| {
            call.end_after(Outcome::Failed, took, now);
            guarded.place
        };
        self.0.into_iter().map(fail).collect()
    }
}

impl Guarded {
    /// What the outcome `said` of the alias, absent of segments, tells of this version.
    fn outcome(&self, inputs: &DecisionInputs, said: Option<&ScoreOutcome>) -> Outcome {
        let answered =
            said.is_none_or(|said| said.score.is_some() && said.model.as_ref() == Some(&self.version));
        match answered {
            true if said.is_none() && self.is_previous => Outcome::Unknown,
            true => Outcome::Succeeded,
            // It may have been passed over: for want of time, or because the version after it answered.
            false if self.is_previous || inputs.time_left_us.is_some() => Outcome::Unknown,
            false => Outcome::Failed,
        }
    }
}
