//! The engine that forgets: ordered maps behind one lock. For tests, replays and trials.
//!
//! Not here: any promise beyond the life of the process.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use augur_domain::ids::MessageKey;
use augur_domain::{ContentHash, UserKey};
use parking_lot::RwLock;

use super::{Commit, Counters, EventRecord, EventRecords, Store, Usage, Users};
use crate::Error;

/// A [`Store`] in memory. Iterators copy one user's records at a time.
#[derive(Debug, Default)]
pub struct MemoryStore {
    tables: RwLock<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    states: BTreeMap<UserKey, Vec<u8>>,
    /// In the order of their sequence.
    events: BTreeMap<UserKey, Vec<EventRecord>>,
    messages: BTreeSet<(UserKey, MessageKey)>,
    exposures: BTreeMap<UserKey, Vec<u8>>,
    quarantine: VecDeque<Vec<u8>>,
    counters: BTreeMap<u32, Counters>,
    feature_set: Option<ContentHash>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Store for MemoryStore {
    fn state(&self, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.tables.read().states.get(&user).cloned())
    }

    fn contains_message(&self, user: UserKey, message_key: MessageKey) -> Result<bool, Error> {
        Ok(self.tables.read().messages.contains(&(user, message_key)))
    }

    fn commit(&self, commit: &Commit) -> Result<(), Error> {
        let mut tables = self.tables.write();
        for event in &commit.events {
            tables.messages.insert((event.user, event.message_key));
            let record =
                EventRecord { user: event.user, sequence: event.sequence, record: event.record.clone() };
            tables.events.entry(event.user).or_default().push(record);
        }
        tables.states.extend(commit.states.iter().cloned());
        tables.counters.insert(commit.shard, commit.counters);
        Ok(())
    }

    fn events(&self, user: UserKey) -> Result<EventRecords<'_>, Error> {
        let events = self.tables.read().events.get(&user).cloned().unwrap_or_default();
        Ok(Box::new(events.into_iter().map(Ok)))
    }

    fn all_events(&self) -> Result<EventRecords<'_>, Error> {
        // One user's events at a time; as logs only grow, their lengths now tell what is there now.
        let lengths: Vec<(UserKey, usize)> =
            self.tables.read().events.iter().map(|(user, events)| (*user, events.len())).collect();
        let events = move |(user, length)| {
            let mut events = self.tables.read().events.get(&user).cloned().unwrap_or_default();
            events.truncate(length);
            events
        };
        Ok(Box::new(lengths.into_iter().flat_map(events).map(Ok)))
    }

    fn users(&self) -> Result<Users<'_>, Error> {
        let users: Vec<UserKey> = self.tables.read().states.keys().copied().collect();
        Ok(Box::new(users.into_iter().map(Ok)))
    }

    fn replace_states(&self, states: &[(UserKey, Vec<u8>)]) -> Result<(), Error> {
        self.tables.write().states.extend(states.iter().cloned());
        Ok(())
    }

    fn feature_set(&self) -> Result<Option<ContentHash>, Error> {
        Ok(self.tables.read().feature_set)
    }

    fn set_feature_set(&self, feature_set: Option<ContentHash>) -> Result<(), Error> {
        self.tables.write().feature_set = feature_set;
        Ok(())
    }

    fn counters(&self) -> Result<Vec<(u32, Counters)>, Error> {
        Ok(self.tables.read().counters.iter().map(|(shard, counters)| (*shard, *counters)).collect())
    }

    fn exposures(&self, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.tables.read().exposures.get(&user).cloned())
    }

    fn put_exposures(&self, user: UserKey, record: &[u8]) -> Result<(), Error> {
        self.tables.write().exposures.insert(user, record.to_vec());
        Ok(())
    }

    fn append_quarantine(&self, records: &[Vec<u8>], keep: u64) -> Result<(), Error> {
        let mut tables = self.tables.write();
        tables.quarantine.extend(records.iter().cloned());
        while tables.quarantine.len() as u64 > keep {
            tables.quarantine.pop_front();
        }
        Ok(())
    }

    fn newest_quarantined(&self, limit: usize) -> Result<Vec<Vec<u8>>, Error> {
        Ok(self.tables.read().quarantine.iter().rev().take(limit).cloned().collect())
    }

    fn quarantine_len(&self) -> u64 {
        self.tables.read().quarantine.len() as u64
    }

    fn flush(&self) -> Result<(), Error> {
        Ok(())
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}
