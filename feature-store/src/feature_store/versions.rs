//! Versions of the feature definitions on an open store: build one beside the serving one, switch, go back, retire.
//!
//! These calls change one thing after another under one lock and may block for as long as a commit; retiring also
//! until space is given back. Not here: what is stored about versions (`generation`).

use std::sync::Arc;

use super::FeatureStore;
use crate::generation::{Definitions, Version};
use crate::store::Generation;
use crate::{Error, FeatureSchema};

impl FeatureStore {
    /// Begins to build states for `schema` beside those that serve, and returns at once: its number. Aggregates of
    /// equal definition keep their state; the others are computed from the event log. A restart goes on with it.
    /// The same definitions again go on with a build that failed.
    ///
    /// # Errors
    /// [`Error::Generation`] when there is nothing to build or another build comes first; [`Error::Closed`],
    /// [`Error::Storage`].
    pub fn build(&self, schema: &Arc<FeatureSchema>) -> Result<Generation, Error> {
        let _one_at_a_time = self.changing.lock();
        let generation = self.between_sweeps(|history_from| self.generations.begin(schema, history_from))?;
        // Writers that have not heard of it could store a new user behind the builder's back.
        self.writers.pass()?;
        self.builder.start(&self.store, &self.generations, &self.writers)?;
        Ok(generation)
    }

    /// Every version that is remembered, ascending.
    pub fn versions(&self) -> Vec<Version> {
        self.generations.versions()
    }

    /// The version that served before this one, if it is kept.
    pub fn previous_version(&self) -> Option<Generation> {
        self.generations.previous()
    }

    /// The definitions of a version that is kept current or being built.
    ///
    /// # Errors
    /// [`Error::Generation`].
    pub fn definitions_of(&self, generation: Generation) -> Result<Arc<Definitions>, Error> {
        self.generations.live_definitions(generation)
    }

    /// Serves a version that is ready, or the previous one, from now on; the one that served becomes the previous one
    /// and is kept current, and the previous one before it is retired. `note` is kept with the new one and `leaving`
    /// with the old, see [`Version::note`].
    ///
    /// # Errors
    /// [`Error::Generation`] when it is not ready or a build is under way; [`Error::Closed`], [`Error::Storage`].
    pub fn switch(&self, to: Generation, note: &str, leaving: &str) -> Result<Arc<Definitions>, Error> {
        let _one_at_a_time = self.changing.lock();
        self.generations.switch(to, note, leaving)
    }

    /// Takes a version out of use for ever and gives its space back; also that of versions that a switch retired.
    ///
    /// # Errors
    /// [`Error::Generation`] for the serving version or an unknown one; [`Error::Closed`], [`Error::Storage`].
    pub fn retire(&self, generation: Generation) -> Result<(), Error> {
        let _one_at_a_time = self.changing.lock();
        let is_built = self.versions().iter().any(|version| {
            version.generation == generation && version.status == crate::GenerationStatus::Building
        });
        if is_built {
            self.builder.stop();
        }
        self.generations.retire(generation)?;
        self.remove_retired()
    }

    /// Gives the space of retired versions back, once no writer and no reader uses them.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Storage`].
    pub fn give_back(&self) -> Result<(), Error> {
        let _one_at_a_time = self.changing.lock();
        self.remove_retired()
    }

    fn remove_retired(&self) -> Result<(), Error> {
        self.writers.pass()?;
        self.generations.remove_retired()
    }
}

#[cfg(test)]
mod tests;
