//! Who is who, for callers: persons, links made by hand and undone.
//!
//! Not here: links that events ask for (`writer`), or what a link moves (`identity`).

use augur_domain::event::IdentityClaim;
use augur_domain::{Timestamp, UserKey};

use super::FeatureStore;
use crate::{Error, LinkOutcome, Person};

impl FeatureStore {
    /// Whom an id stands for: the person that it is linked to, or itself.
    ///
    /// # Errors
    /// [`Error::Storage`] or [`Error::Corrupted`].
    pub fn resolve(&self, id: UserKey) -> Result<UserKey, Error> {
        self.identity.person(id)
    }

    /// The person of an id, with every other id that stands for it.
    ///
    /// # Errors
    /// [`Error::Storage`] or [`Error::Corrupted`].
    pub fn person(&self, id: UserKey) -> Result<Person, Error> {
        self.identity.describe(id)
    }

    /// Links an id to the person of `user`, as of `since`: its events, features and exposures become the person's.
    /// Blocks until that is stored, synced if the store is.
    ///
    /// # Errors
    /// [`Error::LinkRefused`], [`Error::MoveTooLarge`], [`Error::Storage`], [`Error::Corrupted`] or [`Error::Closed`].
    /// Then nothing has changed.
    pub fn link(&self, user: UserKey, claim: IdentityClaim, since: Timestamp) -> Result<LinkOutcome, Error> {
        self.writers.link(user, claim, since)
    }

    /// Undoes the link of an id: what came under it, before the link and since, is its own again. Exposures stay with
    /// both. Blocks until that is stored. Answers how many events went back, or `None` when there is no link.
    ///
    /// # Errors
    /// As [`Self::link`].
    pub fn unlink(&self, id: UserKey) -> Result<Option<u64>, Error> {
        self.writers.unlink(id)
    }

    #[cfg(test)]
    pub(crate) fn routing_for_tests(&self) -> String {
        format!("{:?}", self.identity.routing.read())
    }
}
