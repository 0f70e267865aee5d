//! What a new version of the definitions shares with the old one: aggregates of equal definition keep their state,
//! the others are computed from the event log.
//!
//! Not here: doing either (`build`).

use augur_domain::UserKey;

use super::Definitions;
use crate::retention::Base;
use crate::state::UserState;
use crate::store::Store;
use crate::{DecodeError, Error, FeatureSchema, StoredEvent, rebuild};

/// The changed aggregates of a user, as of some event of the log.
#[derive(Debug)]
pub(crate) struct Changed {
    state: UserState,
    sequence: u64,
}

impl Changed {
    /// The last event in it.
    pub(crate) const fn sequence(&self) -> u64 {
        self.sequence
    }
}

/// How states under new definitions come from those under old ones.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Pairs of an index in the new definitions and one in the old.
    carried: Vec<(usize, usize)>,
    /// The new definitions, touching only what is not carried.
    changed: FeatureSchema,
    /// How many aggregates are not carried.
    built: usize,
}

impl Plan {
    /// Carries nothing over when the old definitions are not known.
    pub(crate) fn new(old: Option<&FeatureSchema>, new: &FeatureSchema) -> Self {
        let old = old.map_or(&[][..], FeatureSchema::aggregates);
        let specs = new.aggregates().iter().enumerate();
        let carried: Vec<(usize, usize)> = specs
            .filter_map(|(index, spec)| {
                Some((index, old.iter().position(|old| old.definition == spec.definition)?))
            })
            .collect();
        let changed = new.touching_only(|index| carried.iter().all(|(to, _)| *to != index));
        let built = new.aggregates().len().saturating_sub(carried.len());
        Self { carried, changed, built }
    }

    /// Aggregates that keep their state.
    pub(crate) fn carried(&self) -> usize {
        self.carried.len()
    }

    /// Aggregates that are computed from the event log; when there are none it is not read.
    pub(crate) const fn built(&self) -> usize {
        self.built
    }

    /// The changed aggregates before any event.
    pub(crate) fn start(&self) -> Changed {
        Changed { state: UserState::new(&self.changed), sequence: 0 }
    }

    /// Carries an event into the changed aggregates.
    pub(crate) fn apply(&self, changed: &mut Changed, stored: &StoredEvent) {
        changed.state.take_in(&stored.event, &self.changed);
        changed.sequence = stored.sequence;
    }

    /// Counts events that were removed as read, up to this place in the log.
    pub(crate) fn stand_at(&self, changed: &mut Changed, sequence: u64) {
        changed.sequence = changed.sequence.max(sequence);
    }

    /// Adds to `base` the state of the new definitions: what is left of its events makes the changed aggregates, the
    /// others are those under `from`; without, all are made so.
    pub(crate) fn extend_base(
        &self,
        base: &mut Base,
        store: &dyn Store,
        user: UserKey,
        (from, to): (Option<&Definitions>, &Definitions),
    ) -> Result<(), Error> {
        let state = match from {
            None => rebuild::beginning(store, to, user)?.0,
            Some(from) => {
                let mut changed = self.start();
                for record in store.events(user)? {
                    let record = record?;
                    if record.sequence > base.sequence {
                        break;
                    }
                    self.apply(&mut changed, &rebuild::decode(record)?);
                }
                self.stand_at(&mut changed, base.sequence);
                self.finish(user, changed, &rebuild::beginning(store, from, user)?.0)?
            }
        };
        base.put_state(to.generation(), rebuild::encoded(&state, to.schema()));
        Ok(())
    }

    /// The whole state: the changed aggregates as they are, the others from the old state, which has seen as many
    /// events.
    ///
    /// # Errors
    /// [`Error::Corrupted`] when the log ends elsewhere than the old state says.
    pub(crate) fn finish(
        &self,
        user: UserKey,
        changed: Changed,
        old: &UserState,
    ) -> Result<UserState, Error> {
        if self.built > 0 && changed.sequence != old.watermark() {
            let source = DecodeError::Invalid { field: "last sequence" };
            return Err(Error::corrupted(format!("event log of user {user}"), source));
        }
        let mut state = changed.state;
        state.take_over(old, &self.carried);
        Ok(state)
    }
}
