//! Who is who: ids that stand for a person, found from memory or the store, and linked and unlinked in one step with
//! the events that move.
//!
//! Two views of a link. *Routing* says into which writer's queue the events of an id go; it changes when a link is
//! asked for. The *stored* link says whose features, exposures and events are read; it changes with the commit that
//! moves the events. In between, whoever reads sees what was before. Not here: how the queues are filled (`writer`),
//! or outside ids (`augur_domain::ids`).

mod cache;
#[cfg(test)]
mod crash_tests;
mod link;
mod moving;
mod routing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod versions_tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use augur_domain::event::{IdentityClaim, Quarantine, QuarantineReason};
use augur_domain::{Event, Timestamp, UserKey};
use parking_lot::{Mutex, RwLock};

use crate::Error;
use crate::exposure::Stripes;
use crate::store::{Cached, Read, Store};
use cache::Cache;
pub use link::Link;
use routing::Change;
pub(crate) use routing::{Claimed, Operation, Routes, Routing};

/// A device that moved between more persons than this stays where it is.
const MAX_FORMER_PERSONS: usize = 16;
/// The highest bound that may be set on a person's links.
const MAX_LINKS: usize = 10_000;
/// An undone link rewrites the person's log; one with more events than this many times the bound of a merge is refused.
const UNLINK_FACTOR: u64 = 10;

/// What to do when a known user appears on a device that belongs to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SharedDevice {
    /// The device stays with its person.
    #[default]
    Keep,
    /// From now on the device is the new user's; what happened on it before stays where it is.
    Move,
    /// The event is refused.
    Refuse,
}

/// Bounds and policies of linking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityConfig {
    /// What happens on shared devices.
    pub shared_device: SharedDevice,
    /// Most ids linked to one person; 1 to 10 000.
    pub max_links_per_person: usize,
    /// Most events that a link may move; those on their way while it is asked for come on top.
    pub max_merge_events: u64,
    /// About how many ids are remembered in memory with the person they stand for, at about 80 bytes each.
    pub cached_ids: usize,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        Self {
            shared_device: SharedDevice::Keep,
            max_links_per_person: 100,
            max_merge_events: 100_000,
            cached_ids: 200_000,
        }
    }
}

impl IdentityConfig {
    /// # Errors
    /// [`Error::InvalidConfig`] for the first field out of bounds.
    pub fn check(&self) -> Result<(), Error> {
        let invalid = |name, found: u64, expected| {
            Err(Error::InvalidConfig { name, found: found.to_string(), expected })
        };
        if !(1..=MAX_LINKS).contains(&self.max_links_per_person) {
            return invalid("max_links_per_person", self.max_links_per_person as u64, "1 to 10000");
        }
        if !(1..=1_000_000).contains(&self.max_merge_events) {
            return invalid("max_merge_events", self.max_merge_events, "1 to 1000000");
        }
        if self.cached_ids == 0 {
            return invalid("cached_ids", 0, "at least 1");
        }
        Ok(())
    }
}

/// An event on its way in, with the other id that it names.
#[derive(Debug, Clone, PartialEq)]
pub struct Incoming {
    /// The event, under the id by which it came.
    pub event: Event,
    /// Another id of the same person; the event is refused when the link is.
    pub claim: Option<IdentityClaim>,
}

impl From<Event> for Incoming {
    fn from(event: Event) -> Self {
        Self { event, claim: None }
    }
}

/// What came of asking for a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkOutcome {
    /// It is made, and this many events moved.
    Linked {
        /// Moved; those that the person had already are left out.
        events: u64,
    },
    /// The two ids named one person before.
    AlreadyLinked,
    /// The device stays with the person it belongs to.
    Kept,
}

/// A person and the ids that stand for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The key under which everything is stored.
    pub key: UserKey,
    /// Every other id, in key order.
    pub links: Vec<Link>,
}

/// Counted since the start.
#[derive(Debug, Default)]
pub(crate) struct IdentityTally {
    pub(crate) linked: AtomicU64,
    pub(crate) unlinked: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) moved_events: AtomicU64,
}

/// The links, and the locks under which what a user was shown is read and changed.
pub(crate) struct Identity {
    store: Arc<dyn Store>,
    config: IdentityConfig,
    cache: Cache,
    /// Whether there may be any link at all.
    any: AtomicBool,
    /// Whether there may be any profile at all.
    pub(crate) any_profile: AtomicBool,
    pub(crate) routing: RwLock<Routing>,
    /// Held by decisions.
    pub(crate) decisions: Stripes,
    /// Held by whoever writes exposures.
    pub(crate) exposure_writes: Stripes,
    /// Held by whoever writes profiles.
    pub(crate) profile_writes: Stripes,
    /// Held by changes that move much.
    large_moves: Mutex<()>,
    pub(crate) tally: IdentityTally,
}

/// How an id is linked to its person, over every link in between.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    pub(crate) person: UserKey,
    /// When the youngest of the links was made.
    pub(crate) since: Timestamp,
    /// Where else an event of the id may have been stored.
    pub(crate) former: Vec<UserKey>,
}

impl Path {
    /// From when an event that comes by this path may be seen, if not from its own time on.
    pub(crate) fn visible_from(&self, event: &Event) -> Option<Timestamp> {
        (self.since > event.event_time).then_some(self.since)
    }
}

impl Identity {
    pub(crate) fn open(store: &Arc<dyn Store>, config: &IdentityConfig) -> Result<Self, Error> {
        config.check()?;
        Ok(Self {
            store: Arc::clone(store),
            cache: Cache::new(config.cached_ids),
            any: AtomicBool::new(store.has_links()?),
            any_profile: AtomicBool::new(store.has_profiles()?),
            config: config.clone(),
            routing: RwLock::default(),
            decisions: Stripes::new(),
            exposure_writes: Stripes::new(),
            profile_writes: Stripes::new(),
            large_moves: Mutex::new(()),
            tally: IdentityTally::default(),
        })
    }

    /// Whom the id stands for, by the stored link; itself when it has none.
    pub(crate) fn person(&self, id: UserKey) -> Result<UserKey, Error> {
        if !self.may_have_links() {
            return Ok(id);
        }
        let read = || Ok::<_, Error>(link_of(&*self.store, id)?.map(|link| link.person));
        Ok(self.cache.get_or(id, read)?.unwrap_or(id))
    }

    /// [`Self::person`] if memory can tell.
    fn person_if_cached(&self, id: UserKey) -> Result<Option<UserKey>, Error> {
        if !self.may_have_links() {
            return Ok(Some(id));
        }
        let read = || match self.link_if_cached(id) {
            Ok(Some(link)) => Ok(link.map(|link| link.person)),
            Ok(None) => Err(None),
            Err(error) => Err(Some(error)),
        };
        match self.cache.get_or(id, read) {
            Ok(person) => Ok(Some(person.unwrap_or(id))),
            Err(None) => Ok(None),
            Err(Some(error)) => Err(error),
        }
    }

    /// The id's link, if memory can tell.
    fn link_if_cached(&self, id: UserKey) -> Result<Option<Option<Link>>, Error> {
        match self.store.link_if_cached(id)? {
            Cached::NotCached => Ok(None),
            Cached::Known(record) => decode_link(id, record).map(Some),
        }
    }

    /// [`Self::read`] if memory can tell: what is found, what is not there, and whom the id stands for.
    pub(crate) fn read_if_cached(
        &self,
        id: UserKey,
        read: impl Fn(UserKey) -> Result<Cached, Error>,
    ) -> Result<Cached, Error> {
        let Some(person) = self.person_if_cached(id)? else { return Ok(Cached::NotCached) };
        let found = read(person)?;
        if found != Cached::Known(None) || !self.may_have_links() {
            return Ok(found);
        }
        // What is not there may have moved since the person was looked up.
        let still =
            self.link_if_cached(id)?.is_some_and(|link| link.map_or(id, |link| link.person) == person);
        Ok(if still { found } else { Cached::NotCached })
    }

    /// Whether what is not found under a person's key may have moved.
    pub(crate) fn may_have_links(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Forgets the links of ids whose person was erased.
    pub(crate) fn forget(&self, ids: &[UserKey]) {
        for id in ids {
            self.cache.set(*id, None);
        }
    }

    /// What `read` finds under the person's key. What is not there may have moved since the person was looked up.
    pub(crate) fn read<T>(
        &self,
        id: UserKey,
        read: impl Fn(UserKey) -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        let person = self.person(id)?;
        let found = read(person)?;
        if found.is_some() || !self.may_have_links() {
            return Ok(found);
        }
        match link_of(&*self.store, id)?.map_or(id, |link| link.person) {
            still if still == person => Ok(None),
            moved => read(moved),
        }
    }

    /// A person with every id that stands for it, by any of these.
    pub(crate) fn describe(&self, id: UserKey) -> Result<Person, Error> {
        let view = self.store.snapshot()?;
        let key = link_of(&*view, id)?.map_or(id, |link| link.person);
        Ok(Person { key, links: links_to(&*view, key)? })
    }

    /// How the id is linked to its person now; `None` when it is not.
    pub(crate) fn path(&self, id: UserKey) -> Result<Option<Path>, Error> {
        let Some(link) = link_of(&*self.store, id)? else { return Ok(None) };
        let Link { person, mut linked_to, mut since, former, .. } = link;
        // A chain has no more links than its person.
        for _ in 0..=MAX_LINKS {
            if linked_to == person {
                break;
            }
            let Some(next) = link_of(&*self.store, linked_to)? else { break };
            since = since.max(next.since);
            linked_to = next.linked_to;
        }
        Ok(Some(Path { person, since, former }))
    }
}

pub(crate) fn link_of(store: &(impl Read + ?Sized), id: UserKey) -> Result<Option<Link>, Error> {
    decode_link(id, store.link(id)?)
}

fn decode_link(id: UserKey, record: Option<Vec<u8>>) -> Result<Option<Link>, Error> {
    let Some(record) = record else { return Ok(None) };
    let link = Link::decode(id, &record);
    link.map(Some).map_err(|source| Error::corrupted(format!("link of {id}"), source))
}

fn links_to(store: &(impl Read + ?Sized), person: UserKey) -> Result<Vec<Link>, Error> {
    let links = store.linked_ids(person)?.into_iter().map(|id| link_of(store, id));
    links.filter_map(Result::transpose).collect()
}

fn refusal(
    reason: QuarantineReason,
    field: &str,
    problem: impl std::fmt::Display,
    expected: impl std::fmt::Display,
) -> Quarantine {
    Quarantine { reason, field: field.to_owned(), detail: format!("{problem}; expected {expected}") }
}
