//! What a new version of the definitions shares with the old one: aggregates of equal definition keep their state,
//! the others are computed from the event log.
//!
//! Not here: doing either (`build`).

use crate::FeatureSchema;
use crate::state::{UserState, apply};
use crate::{Error, StoredEvent};

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

    /// A state that is to hold the changed aggregates, before any event.
    pub(crate) fn start(&self) -> UserState {
        UserState::new(&self.changed)
    }

    /// Carries an event into the changed aggregates.
    pub(crate) fn apply(&self, changed: &mut UserState, stored: &StoredEvent) {
        let changes = apply(changed, &stored.event, &self.changed);
        changed.commit(changes);
    }

    /// The whole state: the changed aggregates as they are, the others from the old state, which has seen as many
    /// events.
    ///
    /// # Errors
    /// [`Error::Corrupted`] when the two have not seen equally many, because the log has a gap or an end.
    pub(crate) fn finish(&self, mut changed: UserState, old: &UserState) -> Result<UserState, Error> {
        if self.built > 0 && changed.watermark() != old.watermark() {
            let source = crate::DecodeError::Invalid { field: "number of events" };
            return Err(Error::corrupted("event log of a user", source));
        }
        changed.take_over(old, &self.carried);
        Ok(changed)
    }
}
