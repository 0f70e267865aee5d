//! The breakers before the models of one policy, and what one decision asks of them.
//!
//! A decision is timed as a whole, so a slow one counts against every model that it asked. Where one of several is to
//! blame, they open together and are told apart by being tried: those that are not slow alone close again. Not here:
//! what a model says (`augur_models`).

use std::sync::Arc;
use std::time::Duration;

use augur_decision::{Model, PolicySnapshot};
use augur_domain::Decision;
use augur_domain::decision::Availability;

use super::Breakers;
use crate::breaker::{Breaker, Call, Outcome};

/// Of one policy.
#[derive(Debug, Default)]
pub(crate) struct ModelBreakers {
    /// Per declared model, whether it can be asked.
    loaded: Vec<(Arc<str>, Availability)>,
    /// Per decision point, ordered by name, the models it asks.
    points: Vec<(Arc<str>, Vec<Guarded>)>,
}

/// The place of a model among those declared, and its breaker.
type Guarded = (usize, Arc<Breaker>);

/// The models that one decision asks, by alias, each a call under way.
#[derive(Debug)]
pub(crate) struct Asked<'a>(Vec<(&'a Arc<str>, Call<'a>)>);

impl ModelBreakers {
    pub(crate) fn new(policy: &PolicySnapshot, breakers: &Breakers) -> Self {
        let declared = policy.declared_models();
        let loaded = declared.iter().map(|model| {
            let available =
                if model.version().is_some() { Availability::Available } else { Availability::NotLoaded };
            (Arc::clone(model.name()), available)
        });
        let guarded = |model: &Model| {
            let place = declared.iter().position(|known| known.name() == model.name())?;
            Some((place, breakers.of_model(model.version()?)))
        };
        let points = policy.decision_points().iter().map(|point| {
            let asked = point.models(policy).chain(point.segments(policy));
            (Arc::clone(point.name()), asked.filter_map(guarded).collect())
        });
        let mut points: Vec<_> = points.collect();
        points.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Self { loaded: loaded.collect(), points }
    }

    /// Leave to ask the models of `point` at `now`, as far as their breakers give it; and per declared model whether it
    /// may be asked.
    pub(crate) fn ask(&self, point: &str, now: Duration) -> (Vec<(Arc<str>, Availability)>, Asked<'_>) {
        let mut availability = self.loaded.clone();
        let found = self.points.binary_search_by(|(known, _)| (**known).cmp(point)).ok();
        let guarded = found.and_then(|place| self.points.get(place)).map_or(&[][..], |(_, guarded)| guarded);
        let mut calls = Vec::with_capacity(guarded.len());
        for (place, breaker) in guarded {
            let (Some((alias, _)), Some((_, model))) =
                (self.loaded.get(*place), availability.get_mut(*place))
            else {
                continue;
            };
            match breaker.admit(now) {
                Ok(call) => calls.push((alias, call)),
                Err(_) => *model = Availability::BreakerOpen,
            }
        }
        (availability, Asked(calls))
    }
}

impl Asked<'_> {
    /// What came of it: a model that was asked and gave no score has failed.
    pub(crate) fn end(self, decision: &Decision, took: Duration, now: Duration) {
        for (alias, call) in self.0 {
            let mut scores = decision.scores.iter();
            let failed = scores.any(|score| score.alias == *alias && score.score.is_none());
            call.end_after(if failed { Outcome::Failed } else { Outcome::Succeeded }, took, now);
        }
    }

    /// All that were asked have failed. Returns their aliases.
    pub(crate) fn failed(self, took: Duration, now: Duration) -> Vec<Arc<str>> {
        let fail = |(alias, call): (&Arc<str>, Call<'_>)| {
            call.end_after(Outcome::Failed, took, now);
            Arc::clone(alias)
        };
        self.0.into_iter().map(fail).collect()
    }
}
