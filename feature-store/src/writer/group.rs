//! The events of one commit: recognises duplicates, carries the rest into states, and sees its own earlier events. A
//! state that cannot be read is rebuilt from the event log on the way.
//!
//! Not here: queues, threads or the write itself.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use augur_domain::event::EventOutcome;
use augur_domain::ids::MessageKey;
use augur_domain::{Event, Timestamp, UserKey};

use super::request::Queued;
use super::retraction::{self, Retraction};
use crate::generation::{Ahead, Live, PackedStates};
use crate::identity::{Identity, Path};
use crate::store::{Commit, Counters, Due, NewEvent, Store};
use crate::{Error, Retention, StoredEvent, event_record};

pub(super) struct Group<'a> {
    store: &'a dyn Store,
    identity: &'a Identity,
    /// How ids other than the persons' own are linked.
    paths: HashMap<UserKey, Path>,
    live: &'a Live,
    users: HashMap<UserKey, Loaded>,
    /// Messages known to be stored, or stored with this group.
    seen: HashSet<(UserKey, MessageKey)>,
    /// Whether `seen` has every message of the group that is stored.
    looked_up: bool,
    events: Vec<NewEvent>,
    duplicates: u64,
    suppressed: u64,
    /// Stored events that requests of this group take back.
    originals: HashMap<(UserKey, MessageKey), StoredEvent>,
    retractable: Option<&'a [Arc<str>]>,
    retention: &'a Retention,
    /// Why nothing of it can be stored.
    broken: Option<Error>,
    /// When something of the events is to be removed.
    due: BTreeSet<Due>,
}

struct Loaded {
    states: PackedStates,
    /// How many of the user's events are stored.
    stored_events: u64,
    /// Whether the user was erased, so that nothing is to be stored.
    erased: bool,
}

impl<'a> Group<'a> {
    pub(super) fn new(
        store: &'a dyn Store,
        live: &'a Live,
        identity: &'a Identity,
        retention: &'a Retention,
    ) -> Self {
        let (users, seen) = (HashMap::new(), HashSet::new());
        Self {
            store,
            identity,
            paths: HashMap::new(),
            live,
            users,
            seen,
            looked_up: false,
            events: Vec::new(),
            duplicates: 0,
            suppressed: 0,
            originals: HashMap::new(),
            retractable: None,
            retention,
            broken: None,
            due: BTreeSet::new(),
        }
    }

    /// Only events of these names, ascending, may be retracted; all when `None`.
    pub(super) fn with_retractable(self, retractable: Option<&'a [Arc<str>]>) -> Self {
        Self { retractable, ..self }
    }

    /// Reads what all events of the group need, in key order: far cheaper than one by one. What cannot be read so is
    /// left to [`Self::add`], which knows whom to tell.
    pub(super) fn read_ahead<'b>(&mut self, events: impl Iterator<Item = &'b Queued>) {
        let mut ahead: Vec<&Event> = events.map(|queued| &queued.event).collect();
        ahead.sort_unstable_by_key(|event| (event.user, event.message_key));
        let of_user = |one: &&Event, two: &&Event| one.user == two.user;
        let users: Vec<UserKey> =
            ahead.chunk_by(of_user).filter_map(|events| Some(events.first()?.user)).collect();
        let records = self.live.all().map(|it| self.store.states(it.generation(), &users));
        let Ok(records) = records.collect::<Result<Vec<_>, _>>() else { return };
        let mut records: Vec<_> = records.into_iter().map(Vec::into_iter).collect();
        for (user, events) in users.iter().zip(ahead.chunk_by(of_user)) {
            let records: Vec<_> = records.iter_mut().map(|records| records.next().flatten()).collect();
            // Names of what retractions take back are not known yet.
            let any = events.iter().any(|event| event.retracts().is_some());
            let names: Vec<&str> = events.iter().map(|event| &*event.name).collect();
            let ahead = if any { Ahead::Any } else { Ahead::Named(&names) };
            if let Ok(loaded) = self.opened(*user, records, ahead) {
                self.users.insert(*user, loaded);
            }
        }
        let is_new =
            |user: &UserKey| self.users.get(user).is_some_and(|loaded: &Loaded| loaded.stored_events == 0);
        let mut messages: Vec<_> = ahead.iter().map(|event| (event.user, event.message_key)).collect();
        messages.dedup();
        messages.retain(|(user, _)| !is_new(user));
        if let Ok(stored) = self.store.contains_messages(&messages) {
            let stored = messages.into_iter().zip(stored).filter(|(_, is_stored)| *is_stored);
            self.seen.extend(stored.map(|(message, _)| message));
            self.looked_up = true;
        }
    }

    /// Takes in events, all or none; one outcome each.
    ///
    /// # Errors
    /// That of a read. [`Error::Corrupted`] also for a state that turns out to be damaged when some events are in it
    /// already; then nothing of the group can be stored.
    pub(super) fn add(&mut self, events: &[(usize, Queued)]) -> Result<Vec<EventOutcome>, Error> {
        // Everything that can fail is read before anything is applied.
        for (_, event) in events {
            self.load(&event.event)?;
            self.check_links(event)?;
        }
        let outcomes = events.iter().map(|(_, event)| self.apply(event)).collect::<Result<_, _>>();
        if let Err(error) = &outcomes {
            self.broken = Some(error.clone());
        }
        outcomes
    }

    fn load(&mut self, event: &Event) -> Result<(), Error> {
        let user = event.user;
        if !self.users.contains_key(&user) {
            let loaded = self.read(user)?;
            self.users.insert(user, loaded);
        }
        let is_new = self.users.get(&user).is_none_or(|loaded| loaded.stored_events == 0);
        let message = (user, event.message_key);
        if !self.looked_up
            && !is_new
            && !self.seen.contains(&message)
            && self.store.contains_message(user, event.message_key)?
        {
            self.seen.insert(message);
        }
        if let Some(original) = event.retracts()
            && !is_new
            && !self.seen.contains(&message)
            && let Some(stored) = retraction::stored_original(self.store, user, original)?
        {
            self.originals.insert((user, original), stored);
        }
        Ok(())
    }

    fn read(&self, user: UserKey) -> Result<Loaded, Error> {
        let records = self.live.all().map(|it| self.store.state(it.generation(), user));
        let records = records.collect::<Result<Vec<_>, _>>()?;
        self.opened(user, records, Ahead::Any)
    }

    fn opened(
        &self,
        user: UserKey,
        records: Vec<Option<Vec<u8>>>,
        ahead: Ahead<'_>,
    ) -> Result<Loaded, Error> {
        let states = PackedStates::open(self.store, self.live, user, records, ahead)?;
        let stored_events = states.watermark();
        // Erasure leaves no state, so only users without one need a look.
        let erased = stored_events == 0 && self.store.tombstone(user)?.is_some();
        Ok(Loaded { states, stored_events, erased })
    }

    /// An event goes into the log of the person whose it is by the stored links; those by which it was sent here may have
    /// failed.
    fn check_links(&mut self, queued: &Queued) -> Result<(), Error> {
        let Queued { event, origin, needs } = queued;
        if self.identity.person(event.user)? != event.user {
            return Err(Error::LinkNotStored { id: event.user });
        }
        for id in [origin, needs].into_iter().flatten() {
            if !self.paths.contains_key(id) {
                let path = self.identity.path(*id)?.ok_or(Error::LinkNotStored { id: *id })?;
                self.paths.insert(*id, path);
            }
            let path = self.paths.get(id).filter(|path| path.person == event.user);
            let path = path.ok_or(Error::LinkNotStored { id: *id })?;
            // A device that moved on left its events with the persons before.
            for former in path.former.iter().filter(|_| origin.is_some()) {
                // They may be part of somebody else by now.
                let person = self.identity.person(*former)?;
                if self.store.contains_message(person, event.message_key)? {
                    self.seen.insert((event.user, event.message_key));
                }
            }
        }
        Ok(())
    }

    fn apply(&mut self, queued: &Queued) -> Result<EventOutcome, Error> {
        let Queued { event, origin, .. } = queued;
        if self.users.get(&event.user).is_some_and(|loaded| loaded.erased) {
            self.suppressed += 1;
            return Ok(EventOutcome::Suppressed);
        }
        if self.seen.contains(&(event.user, event.message_key)) {
            self.duplicates += 1;
            return Ok(EventOutcome::Duplicate);
        }
        let Some(original) = event.retracts() else {
            let path = origin.and_then(|id| self.paths.get(&id));
            let visible_from = path.and_then(|path| path.visible_from(event));
            return self.take_in(event, *origin, visible_from);
        };
        let here = self.taken_in(event.user, original);
        let original = here.as_ref().or_else(|| self.originals.get(&(event.user, original)));
        match retraction::retract(event, original, self.retractable) {
            Ok(Retraction { event, origin, visible_from }) => self.take_in(&event, origin, visible_from),
            Err(why) => Ok(EventOutcome::Quarantined(why)),
        }
    }

    fn take_in(
        &mut self,
        event: &Event,
        origin: Option<UserKey>,
        visible_from: Option<Timestamp>,
    ) -> Result<EventOutcome, Error> {
        self.seen.insert((event.user, event.message_key));
        if let Some(loaded) = self.users.get_mut(&event.user) {
            let taken_in = loaded.states.take_in(event, self.live);
            taken_in.map_err(|source| Error::corrupted_state(event.user, source))?;
            let mut record = Vec::with_capacity(event_record::approximate_bytes(event));
            event_record::encode(event, origin, visible_from, &mut record);
            let (user, message_key) = (event.user, event.message_key);
            self.due.extend(self.retention.days(event).map(|day| Due { day, user }));
            self.events.push(NewEvent { user, sequence: loaded.states.watermark(), message_key, record });
        }
        Ok(EventOutcome::Accepted)
    }

    /// An event of this group that is not stored yet.
    fn taken_in(&self, user: UserKey, message_key: MessageKey) -> Option<StoredEvent> {
        let mut events = self.events.iter();
        let event = events.find(|event| event.user == user && event.message_key == message_key)?;
        event_record::decode(user, event.sequence, &event.record).ok()
    }

    pub(super) const fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Events of erased users.
    pub(super) const fn suppressed(&self) -> u64 {
        self.suppressed
    }

    /// What is to be written; `None` when nothing is new.
    ///
    /// # Errors
    /// The one after which nothing of the group can be stored.
    pub(super) fn into_commit(self, shard: u32, before: Counters) -> Result<Option<Commit>, Error> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        if self.events.is_empty() && !self.users.values().any(|loaded| loaded.states.healed()) {
            return Ok(None);
        }
        let mut counters = before;
        counters.events = counters.events.saturating_add(self.events.len() as u64);
        let mut states = Vec::with_capacity(self.users.len());
        for (user, loaded) in &self.users {
            let has_new = loaded.states.watermark() > loaded.stored_events;
            if !has_new && !loaded.states.healed() {
                continue;
            }
            counters.users = counters.users.saturating_add(u64::from(has_new && loaded.stored_events == 0));
            loaded.states.encode(*user, self.live, &mut states);
        }
        // Maps have no order; files should not depend on chance.
        states.sort_unstable_by_key(|(generation, user, _)| (*generation, *user));
        let due = self.due.into_iter().collect();
        Ok(Some(Commit { shard, events: self.events, states, due, counters }))
    }
}
