//! What a new version of the definitions shares with the old one: aggregates of equal definition keep their state,
//! the others are computed from the event log.
//!
//! Not here: doing either (`build`).

use augur_domain::UserKey;

use super::Definitions;
use crate::retention::Base;
use crate::state::UserState;
use crate::store::{EventRecord, Store};
use crate::{DecodeError, Error, FeatureSchema, rebuild};

/// The changed aggregates of a user, as of some event of the log.
#[derive(Debug)]
pub(crate) struct Changed {
    state: UserState,
    sequence: u64,
    /// What could not be read, first.
    unreadable: Option<Error>,
}

impl Changed {
    /// The last event in it.
    pub(crate) const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Notes what is stored and cannot be read; any other failure comes back.
    pub(crate) fn pass_over(&mut self, error: Error) -> Result<(), Error> {
        if !matches!(error, Error::Corrupted { .. }) {
            return Err(error);
        }
        self.unreadable.get_or_insert(error);
        Ok(())
    }
}

/// A user's state in a new generation.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) state: UserState,
    /// Why it lacks some of the user's events, if it does.
    pub(crate) unreadable: Option<Error>,
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
        Changed { state: UserState::new(&self.changed), sequence: 0, unreadable: None }
    }

    /// Carries an event into the changed aggregates. One that cannot be read is passed over.
    pub(crate) fn apply(&self, changed: &mut Changed, record: EventRecord) -> Result<(), Error> {
        changed.sequence = record.sequence;
        match rebuild::decode(record) {
            Ok(stored) => changed.state.take_in(&stored.event, &self.changed),
            Err(error) => changed.pass_over(error)?,
        }
        Ok(())
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
                    self.apply(&mut changed, record)?;
                }
                self.stand_at(&mut changed, base.sequence);
                self.finish(user, changed, &rebuild::beginning(store, from, user)?.0).state
            }
        };
        base.put_state(to.generation(), rebuild::encoded(&state, to.schema()));
        Ok(())
    }

    /// The whole state: the changed aggregates as they are, the others from the old state, which has seen as many
    /// events. A log that ends elsewhere than the old state says cannot be read whole.
    pub(crate) fn finish(&self, user: UserKey, changed: Changed, old: &UserState) -> Finished {
        let Changed { mut state, sequence, mut unreadable } = changed;
        if self.built > 0 && sequence != old.watermark() {
            let source = DecodeError::Invalid { field: "last sequence" };
            unreadable.get_or_insert(Error::corrupted(format!("event log of user {user}"), source));
        }
        state.take_over(old, &self.carried);
        Finished { state, unreadable }
    }
}
