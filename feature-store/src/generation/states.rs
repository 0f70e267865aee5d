//! One user's states in every live generation, which move together: whatever changes a user's event log changes them
//! all.
//!
//! Not here: threads, commits, or the building of a new generation (`build`).

use augur_domain::{Event, UserKey};

use super::plan::Plan;
use super::{Definitions, Live};
use crate::retention::Base;
use crate::state::UserState;
use crate::store::{Generation, Store};
use crate::{Error, FeatureSchema, rebuild};

/// The user's states, in the order of the live generations, the serving one first. A generation that is being built
/// may have none yet.
#[derive(Debug)]
pub(crate) struct LiveStates {
    states: Vec<Option<UserState>>,
}

impl LiveStates {
    /// The states as they are stored; empty ones for an unknown user. One that cannot be read is rebuilt from the
    /// event log.
    ///
    /// # Errors
    /// [`Error::Storage`], or [`Error::Corrupted`] when the event log cannot be read either.
    pub(crate) fn load(store: &dyn Store, live: &Live, user: UserKey) -> Result<Self, Error> {
        let mut loaded = Self { states: Vec::new() };
        for definitions in live.all() {
            let stored_state = stored_state(store, definitions, user);
            let is_unreadable = stored_state.is_err();
            let stored = match stored_state {
                // An installed state has seen all events: one that has not is as wrong as one that cannot be read.
                Ok(Some(state)) if loaded.serving().is_none_or(|it| it.watermark() == state.watermark()) => {
                    Some(state)
                }
                Ok(None) if loaded.watermark() == 0 => Some(UserState::new(definitions.schema())),
                Ok(None) => None,
                Ok(Some(_)) | Err(Error::Corrupted { .. }) => {
                    let generation = definitions.generation().number();
                    tracing::error!(%user, generation, "rebuilding a damaged state from the event log");
                    match rebuild::heal(store, definitions, user) {
                        // Beside a state that serves, it stays unreadable.
                        Err(Error::Corrupted { .. }) if is_unreadable && loaded.serving().is_some() => None,
                        healed => Some(healed?),
                    }
                }
                Err(error) => return Err(error),
            };
            loaded.states.push(stored);
        }
        Ok(loaded)
    }

    /// The states with which the user's log begins (see [`rebuild::beginning`]), in every generation that has or is to
    /// have one: for whoever rewrites a user's log, see [`super::Generations::rewriting`].
    pub(crate) fn beginning(store: &dyn Store, live: &Live, user: UserKey) -> Result<Self, Error> {
        let mut states = Vec::new();
        for definitions in live.all() {
            let is_serving = states.is_empty();
            if !is_serving && store.state(definitions.generation(), user)?.is_none() {
                // The builder comes to this user later, or the user is new to it.
                states.push(None);
                continue;
            }
            states.push(Some(rebuild::beginning(store, definitions, user)?.0));
        }
        Ok(Self { states })
    }

    /// [`Self::beginning`], with a state wherever `beside` has one: where the builder has not come to the user yet, the
    /// one that it would make.
    pub(crate) fn beginning_beside(
        store: &dyn Store,
        live: &Live,
        user: UserKey,
        beside: &Self,
    ) -> Result<Self, Error> {
        let mut beginning = Self::beginning(store, live, user)?;
        for ((state, definitions), beside) in beginning.states.iter_mut().zip(live.all()).zip(&beside.states)
        {
            if state.is_none() && beside.is_some() {
                let mut base = Base::of(store, user)?.unwrap_or_default();
                let plan = Plan::new(Some(live.serving.schema()), definitions.schema());
                plan.extend_base(&mut base, store, user, (Some(&live.serving), definitions))?;
                *state = base.state(definitions);
            }
        }
        Ok(beginning)
    }

    /// Counts an event as taken in that is counted elsewhere.
    pub(crate) fn pass_over(&mut self) {
        let next = self.watermark().saturating_add(1);
        for state in self.states.iter_mut().flatten() {
            state.stand_at(next);
        }
    }

    /// Takes in what the other states took in, where both are there.
    pub(crate) fn merge(&mut self, other: &Self, live: &Live) {
        for ((own, other), definitions) in self.states.iter_mut().zip(&other.states).zip(live.all()) {
            match (own.as_mut(), other) {
                (Some(own), Some(other)) => own.merge(other, definitions.schema()),
                // The builder comes to the person as to one whose log is new.
                _ => *own = None,
            }
        }
    }

    fn serving(&self) -> Option<&UserState> {
        self.states.first().and_then(Option::as_ref)
    }

    /// How many events are in them.
    pub(crate) fn watermark(&self) -> u64 {
        self.serving().map_or(0, UserState::watermark)
    }

    /// Carries one event into all of them.
    pub(crate) fn apply(&mut self, event: &Event, live: &Live) {
        for (state, definitions) in self.states.iter_mut().zip(live.all()) {
            if let Some(state) = state {
                state.take_in(event, definitions.schema());
            }
        }
    }

    /// Appends the packed records.
    pub(crate) fn encode(&self, user: UserKey, live: &Live, out: &mut Vec<(Generation, UserKey, Vec<u8>)>) {
        for (state, definitions) in self.states.iter().zip(live.all()) {
            if let Some(state) = state {
                out.push((definitions.generation(), user, rebuild::encoded(state, definitions.schema())));
            }
        }
    }
}

/// The user's state as stored, `None` for an unknown user or one that a build has not come to.
///
/// # Errors
/// [`Error::Storage`] or [`Error::Corrupted`].
pub(crate) fn stored_state(
    store: &dyn Store,
    definitions: &Definitions,
    user: UserKey,
) -> Result<Option<UserState>, Error> {
    let Some(record) = store.state(definitions.generation(), user)? else { return Ok(None) };
    decoded(&record, definitions.schema(), user).map(Some)
}

fn decoded(record: &[u8], schema: &FeatureSchema, user: UserKey) -> Result<UserState, Error> {
    UserState::decode(record, schema).map_err(|source| Error::corrupted_state(user, source))
}
