//! The events of one commit: recognises duplicates, carries the rest into states, and sees its own earlier events. A
//! state that cannot be read is rebuilt from the event log on the way.
//!
//! Not here: queues, threads or the write itself.

use std::collections::{HashMap, HashSet};

use augur_domain::Event;
use augur_domain::UserKey;
use augur_domain::event::EventOutcome;
use augur_domain::ids::MessageKey;

use crate::generation::{Live, LiveStates};
use crate::store::{Commit, Counters, NewEvent, Store};
use crate::{Error, event_record};

pub(super) struct Group<'a> {
    store: &'a dyn Store,
    live: &'a Live,
    users: HashMap<UserKey, Loaded>,
    /// Messages known to be stored, or stored with this group.
    seen: HashSet<(UserKey, MessageKey)>,
    events: Vec<NewEvent>,
    duplicates: u64,
    suppressed: u64,
}

struct Loaded {
    states: LiveStates,
    /// How many of the user's events are stored.
    stored_events: u64,
    /// Whether the user was erased, so that nothing is to be stored.
    erased: bool,
}

impl<'a> Group<'a> {
    pub(super) fn new(store: &'a dyn Store, live: &'a Live) -> Self {
        let (users, seen) = (HashMap::new(), HashSet::new());
        Self { store, live, users, seen, events: Vec::new(), duplicates: 0, suppressed: 0 }
    }

    /// Takes in events, all or none; one outcome each.
    pub(super) fn add(&mut self, events: &[(usize, Event)]) -> Result<Vec<EventOutcome>, Error> {
        // Everything that can fail is read before anything is applied.
        for (_, event) in events {
            self.load(event)?;
        }
        Ok(events.iter().map(|(_, event)| self.apply(event)).collect())
    }

    fn load(&mut self, event: &Event) -> Result<(), Error> {
        let user = event.user;
        if !self.users.contains_key(&user) {
            let loaded = self.read(user)?;
            self.users.insert(user, loaded);
        }
        let is_new = self.users.get(&user).is_none_or(|loaded| loaded.stored_events == 0);
        let message = (user, event.message_key);
        if !is_new && !self.seen.contains(&message) && self.store.contains_message(user, event.message_key)? {
            self.seen.insert(message);
        }
        Ok(())
    }

    fn read(&self, user: UserKey) -> Result<Loaded, Error> {
        let states = LiveStates::load(self.store, self.live, user)?;
        let stored_events = states.watermark();
        // Erasure leaves no state, so only users without one need a look.
        let erased = stored_events == 0 && self.store.tombstone(user)?.is_some();
        Ok(Loaded { states, stored_events, erased })
    }

    fn apply(&mut self, event: &Event) -> EventOutcome {
        if self.users.get(&event.user).is_some_and(|loaded| loaded.erased) {
            self.suppressed += 1;
            return EventOutcome::Suppressed;
        }
        if !self.seen.insert((event.user, event.message_key)) {
            self.duplicates += 1;
            return EventOutcome::Duplicate;
        }
        if let Some(loaded) = self.users.get_mut(&event.user) {
            loaded.states.apply(event, self.live);
            let mut record = Vec::new();
            event_record::encode(event, None, None, &mut record);
            let (user, message_key) = (event.user, event.message_key);
            self.events.push(NewEvent { user, sequence: loaded.states.watermark(), message_key, record });
        }
        EventOutcome::Accepted
    }

    pub(super) const fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Events of erased users.
    pub(super) const fn suppressed(&self) -> u64 {
        self.suppressed
    }

    /// What is to be written; `None` when nothing is new.
    pub(super) fn into_commit(self, shard: u32, before: Counters) -> Option<Commit> {
        if self.events.is_empty() && !self.users.values().any(|loaded| loaded.states.healed()) {
            return None;
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
        Some(Commit { shard, events: self.events, states, counters })
    }
}
