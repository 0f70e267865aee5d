//! Profiles, for callers: changed under an id, read as one person.
//!
//! Not here: what contradicting statements come to (`profile`), or profiles that links move (`identity`).

use std::sync::atomic::Ordering;

use augur_domain::UserKey;

use super::FeatureStore;
use crate::Error;
use crate::profile::{self, Profile, Section};
use crate::store::Cached;

impl FeatureStore {
    /// Takes in what a person says under an id, and gives the person's profile as it is then. Blocks until it is stored,
    /// synced if the store is. The same change again changes nothing, and changes may come in any order. Of an erased
    /// user only suppressions are taken.
    ///
    /// # Errors
    /// [`Error::ProfileFull`], [`Error::UserErased`], [`Error::Storage`] or [`Error::Corrupted`]; but for the last two,
    /// nothing has changed.
    pub fn update_profile(&self, id: UserKey, change: &Profile) -> Result<Profile, Error> {
        let (person, _guard) = self.locked(&self.identity.profile_writes, id)?;
        let only_opts_out = *change == change.opt_outs();
        let is_erased = || -> Result<bool, Error> {
            Ok(self.store.tombstone(person)?.is_some() || self.store.tombstone(id)?.is_some())
        };
        if !only_opts_out && is_erased()? {
            return Err(Error::UserErased);
        }
        let before = self.identity.sections(person)?;
        let mut sections = before.clone();
        profile::put(&mut sections, Section { origin: id, joined_at: None, profile: change.clone() });
        if sections != before && !change.is_empty() {
            sections.iter().try_for_each(|section| section.profile.check())?;
            // Before the write, so that whoever reads after it looks.
            self.identity.any_profile.store(true, Ordering::Release);
            self.store.put_profile(person, &profile::encode(&sections))?;
        }
        Ok(profile::merged(&sections))
    }

    /// What a person said, under whichever of the ids.
    ///
    /// # Errors
    /// [`Error::Storage`] or [`Error::Corrupted`].
    pub fn profile(&self, id: UserKey) -> Result<Profile, Error> {
        if !self.has_profiles() {
            return Ok(Profile::default());
        }
        let record = self.identity.read(id, |person| self.store.profile(person))?;
        Ok(profile::merged(&profile::stored(record, id)?))
    }

    /// [`Self::profile`] if memory can tell; `None` when only a read that may block can.
    ///
    /// # Errors
    /// As [`Self::profile`].
    pub fn profile_if_cached(&self, id: UserKey) -> Result<Option<Profile>, Error> {
        if !self.has_profiles() {
            return Ok(Some(Profile::default()));
        }
        let cached = self.identity.read_if_cached(id, |person| self.store.profile_if_cached(person))?;
        let Cached::Known(record) = cached else { return Ok(None) };
        profile::stored(record, id).map(|sections| Some(profile::merged(&sections)))
    }

    /// Whether anybody may have a profile: until then none need be looked for.
    pub fn has_profiles(&self) -> bool {
        self.identity.any_profile.load(Ordering::Acquire)
    }
}
