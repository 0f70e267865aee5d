//! What a person said beside behaviour: time zone, traits, consents by purpose, channels that nothing is wanted from.
//!
//! Everything said has the instant at which it was said, and of two that contradict each other the later counts, so
//! that changes may come twice and in any order. A person's record keeps what came under each id apart, so that a link
//! can be undone; it is put together when it is read. Not here: the bytes (`codec`), the tables (`store`), or what is
//! done with a consent (`augur_decision`).

mod codec;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use augur_domain::value::Value;
use augur_domain::{Timestamp, UserKey};

use codec::decode;
pub(crate) use codec::encode;

use crate::Error;

/// Most traits, most purposes and most channels that one id may have something said about, each.
pub const MAX_NAMES: usize = 64;
/// The channel that stands for all of them.
pub const EVERY_CHANNEL: &str = "*";

/// Something said, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Said<T> {
    /// What.
    pub value: T,
    /// When it was said, by whoever heard it.
    pub at: Timestamp,
}

/// What was said about many names, ordered by name, each name once.
pub type Entries<T> = Vec<(Arc<str>, Said<T>)>;

/// What one id, or a whole person, said. It is also the form of a change: what it does not name stays as it is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Profile {
    /// Name of an IANA time zone; `None` inside takes it back.
    pub time_zone: Option<Said<Option<Arc<str>>>>,
    /// By name; `None` takes one back.
    pub traits: Entries<Option<Value>>,
    /// By purpose, whether it is granted.
    pub consents: Entries<bool>,
    /// By channel, whether it is suppressed. [`EVERY_CHANNEL`] suppresses all, whatever is said of each.
    pub suppressions: Entries<bool>,
}

impl Profile {
    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.time_zone.is_none()
            && self.traits.is_empty()
            && self.consents.is_empty()
            && self.suppressions.is_empty()
    }

    /// Takes in what `other` says, the later of two beating the earlier. At the same instant a denial beats a grant, a
    /// suppression its end, and of two values the one whose bytes are greater. So the order does not matter, nor
    /// whether something comes twice.
    pub fn join(&mut self, other: &Self) {
        if let Some(said) = &other.time_zone
            && self.time_zone.as_ref().is_none_or(|known| beats(said, known, |a, b| a > b))
        {
            self.time_zone = Some(said.clone());
        }
        join(&mut self.traits, &other.traits, |a, b| codec::trait_bytes(a) > codec::trait_bytes(b));
        join(&mut self.consents, &other.consents, |a, b| !a & b);
        join(&mut self.suppressions, &other.suppressions, |a, b| a & !b);
    }

    /// What must outlive an erasure: the opt-outs that hold, so that nobody who wanted to be left alone is written to for
    /// having asked to be forgotten. Denied consents need not: a purpose that nobody was asked about is not consented to.
    #[must_use]
    pub fn opt_outs(&self) -> Self {
        let held = self.suppressions.iter().filter(|(_, said)| said.value).cloned();
        Self { suppressions: held.collect(), ..Self::default() }
    }

    /// # Errors
    /// [`Error::ProfileFull`].
    pub(crate) fn check(&self) -> Result<(), Error> {
        let counts = [
            ("traits", self.traits.len()),
            ("purposes", self.consents.len()),
            ("channels", self.suppressions.len()),
        ];
        match counts.into_iter().find(|(_, count)| *count > MAX_NAMES) {
            Some((what, _)) => Err(Error::ProfileFull { what, limit: MAX_NAMES }),
            None => Ok(()),
        }
    }
}

/// The sections of a stored record.
pub(crate) fn stored(record: Option<Vec<u8>>, person: UserKey) -> Result<Sections, Error> {
    let Some(record) = record else { return Ok(Sections::new()) };
    decode(&record).map_err(|source| Error::corrupted(format!("profile of user {person}"), source))
}

fn beats<T>(said: &Said<T>, known: &Said<T>, at_once: impl Fn(&T, &T) -> bool) -> bool {
    said.at > known.at || (said.at == known.at && at_once(&said.value, &known.value))
}

fn join<T: Clone>(known: &mut Entries<T>, other: &Entries<T>, at_once: impl Fn(&T, &T) -> bool) {
    for (name, said) in other {
        match known.binary_search_by(|(known, _)| known.cmp(name)) {
            Err(place) => known.insert(place, (Arc::clone(name), said.clone())),
            Ok(place) => {
                if let Some((_, there)) = known.get_mut(place)
                    && beats(said, there, &at_once)
                {
                    *there = said.clone();
                }
            }
        }
    }
}

/// What came under one id of a person.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Section {
    /// The id.
    pub(crate) origin: UserKey,
    /// When the id became one of the person's, if it had said something before.
    pub(crate) joined_at: Option<Timestamp>,
    /// What it said.
    pub(crate) profile: Profile,
}

/// The sections of one person, ordered by id, each id once.
pub(crate) type Sections = Vec<Section>;

/// Takes in what came under an id.
pub(crate) fn put(sections: &mut Sections, section: Section) {
    match sections.binary_search_by(|known| known.origin.cmp(&section.origin)) {
        Err(place) => sections.insert(place, section),
        Ok(place) => {
            if let Some(known) = sections.get_mut(place) {
                known.profile.join(&section.profile);
                known.joined_at = known.joined_at.max(section.joined_at);
            }
        }
    }
}

/// The person that these ids are together. What was said after the last of them joined counts by its instant, as if one
/// had said it. Of what was said before, the most restrictive counts: one denial, one suppression is enough.
pub(crate) fn merged(sections: &[Section]) -> Profile {
    let joined_at = sections.iter().filter_map(|section| section.joined_at).max();
    let mut merged = Profile::default();
    for section in sections {
        merged.join(&section.profile);
    }
    if let Some(joined_at) = joined_at {
        let profiles = || sections.iter().map(|section| &section.profile);
        restrict(&mut merged.consents, profiles().map(|profile| &profile.consents), joined_at, false);
        restrict(&mut merged.suppressions, profiles().map(|profile| &profile.suppressions), joined_at, true);
    }
    merged
}

/// Puts what is restrictive in the place of what was said later, but not after `joined_at`.
fn restrict<'a>(
    merged: &mut Entries<bool>,
    parts: impl Iterator<Item = &'a Entries<bool>> + Clone,
    joined_at: Timestamp,
    restrictive: bool,
) {
    for (name, said) in merged {
        if said.at > joined_at || said.value == restrictive {
            continue;
        }
        let of_name = parts.clone().filter_map(|part| {
            let place = part.binary_search_by(|(known, _)| known.cmp(name)).ok()?;
            part.get(place).map(|(_, said)| said)
        });
        if let Some(found) = of_name.filter(|said| said.value == restrictive).max_by_key(|said| said.at) {
            *said = found.clone();
        }
    }
}
