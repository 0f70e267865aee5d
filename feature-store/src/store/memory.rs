//! The engine that forgets: ordered maps behind one lock. For tests, replays and trials.
//!
//! A snapshot shares the tables; the first write after it copies the map of users, and each user's rows when they are
//! written to. Not here: any promise beyond the life of the process.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use augur_domain::UserKey;
use augur_domain::ids::MessageKey;
use parking_lot::RwLock;

use super::answers::MemoryAnswers;
use super::{
    Answers, Cached, Commit, Counters, Due, Erased, Erasure, EventCursor, EventRecord, EventRecords,
    Generation, MovedMark, NewLink, Pruning, QuarantineRecord, Read, Relocation, Store, Usage, Users,
};
use crate::Error;

/// A [`Store`] in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    tables: RwLock<Tables>,
    answers: MemoryAnswers,
}

#[derive(Debug, Default)]
struct Tables {
    users: Arc<UserTable>,
    /// By number.
    quarantine: BTreeMap<u64, Vec<u8>>,
    last_quarantined: u64,
    counters: BTreeMap<u32, Counters>,
    generations: Option<Vec<u8>>,
    retention: Option<Vec<u8>>,
    ledger: BTreeMap<Vec<u8>, Vec<u8>>,
    due: BTreeSet<Due>,
}

type UserTable = BTreeMap<UserKey, Arc<Rows>>;

/// Everything under one user's key.
#[derive(Debug, Clone, Default)]
struct Rows {
    states: BTreeMap<Generation, Vec<u8>>,
    /// By sequence.
    events: BTreeMap<u64, Vec<u8>>,
    /// The sequence of each message.
    messages: BTreeMap<MessageKey, u64>,
    base: Option<Vec<u8>>,
    exposures: Option<Vec<u8>>,
    profile: Option<Vec<u8>>,
    tombstone: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    linked_ids: BTreeSet<UserKey>,
}

impl Tables {
    fn rows(&mut self, user: UserKey) -> &mut Rows {
        Arc::make_mut(Arc::make_mut(&mut self.users).entry(user).or_default())
    }

    fn remove_quarantined(&mut self, numbers: &[u64]) -> u64 {
        let removed = numbers.iter().filter(|number| self.quarantine.remove(number).is_some());
        removed.count() as u64
    }

    fn put_state(&mut self, generation: Generation, user: UserKey, record: &[u8]) {
        self.rows(user).states.insert(generation, record.to_vec());
    }

    fn commit(&mut self, commit: &Commit) {
        for event in &commit.events {
            let rows = self.rows(event.user);
            rows.messages.insert(event.message_key, event.sequence);
            rows.events.insert(event.sequence, event.record.clone());
        }
        for (generation, user, record) in &commit.states {
            self.put_state(*generation, *user, record);
        }
        self.due.extend(&commit.due);
        self.counters.insert(commit.shard, commit.counters);
    }

    fn relocate(&mut self, relocation: &Relocation) {
        for (user, sequence, message_key) in &relocation.events {
            let rows = self.rows(*user);
            rows.events.remove(sequence);
            rows.messages.remove(message_key);
        }
        for &MovedMark { from, to, message_key, sequence } in &relocation.marks {
            self.rows(from).messages.remove(&message_key);
            self.rows(to).messages.insert(message_key, sequence);
        }
        for (user, record) in &relocation.bases {
            self.rows(*user).base.clone_from(record);
        }
        for user in &relocation.users {
            self.rows(*user).states.clear();
        }
        for (user, record) in &relocation.exposures {
            self.rows(*user).exposures.clone_from(record);
        }
        for (user, record) in &relocation.profiles {
            self.rows(*user).profile.clone_from(record);
        }
        for NewLink { id, before, after } in &relocation.links {
            if let Some(person) = before {
                self.rows(*person).linked_ids.remove(id);
            }
            if let Some((person, _)) = after {
                self.rows(*person).linked_ids.insert(*id);
            }
            self.rows(*id).link = after.as_ref().map(|(_, record)| record.clone());
        }
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

/// Users' rows that can be looked at: as they are now, or as they were at some moment.
trait UserRows {
    fn with<T>(&self, look: impl FnOnce(&UserTable) -> T) -> T;

    fn row<T>(&self, user: UserKey, value: impl FnOnce(&Rows) -> Option<T>) -> Option<T> {
        self.with(|users| users.get(&user).and_then(|rows| value(rows)))
    }
}

impl UserRows for MemoryStore {
    fn with<T>(&self, look: impl FnOnce(&UserTable) -> T) -> T {
        look(&self.tables.read().users)
    }
}

struct View {
    users: Arc<UserTable>,
}

impl UserRows for View {
    fn with<T>(&self, look: impl FnOnce(&UserTable) -> T) -> T {
        look(&self.users)
    }
}

impl<T: UserRows> Read for T {
    fn state(&self, generation: Generation, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.row(user, |rows| rows.states.get(&generation).cloned()))
    }

    fn message_sequence(&self, user: UserKey, message_key: MessageKey) -> Result<Option<u64>, Error> {
        Ok(self.row(user, |rows| rows.messages.get(&message_key).copied()))
    }

    fn events_after(&self, user: UserKey, after: u64) -> Result<EventRecords<'_>, Error> {
        let events = self.row(user, |rows| Some(records(user, rows, after)));
        Ok(Box::new(events.into_iter().flatten()))
    }

    fn last_sequence(&self, user: UserKey) -> Result<u64, Error> {
        let last = self.row(user, |rows| rows.events.last_key_value().map(|(sequence, _)| *sequence));
        Ok(last.unwrap_or_default())
    }

    fn all_events(&self) -> Result<EventRecords<'_>, Error> {
        let all = |users: &UserTable| {
            users.iter().map(|(user, rows)| (*user, Arc::clone(rows))).collect::<Vec<_>>()
        };
        Ok(Box::new(self.with(all).into_iter().flat_map(|(user, rows)| records(user, &rows, 0))))
    }

    fn event_cursor(&self) -> Result<Box<dyn EventCursor + '_>, Error> {
        let users = self.with(|users| users.iter().map(|(user, rows)| (*user, Arc::clone(rows))).collect());
        Ok(Box::new(Cursor { users, user: 0, sequence: 0 }))
    }

    fn users(&self, generation: Generation, after: Option<UserKey>) -> Result<Users<'_>, Error> {
        let all = |users: &UserTable| {
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let users = users.range((from, Bound::Unbounded));
            let with_state = users.filter(|(_, rows)| rows.states.contains_key(&generation));
            with_state.map(|(user, _)| *user).collect::<Vec<_>>()
        };
        Ok(Box::new(self.with(all).into_iter().map(Ok)))
    }

    fn base(&self, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.row(user, |rows| rows.base.clone()))
    }

    fn marks(&self, user: UserKey) -> Result<Vec<(MessageKey, u64)>, Error> {
        let marks = self.row(user, |rows| Some(rows.messages.iter().map(|(key, at)| (*key, *at)).collect()));
        Ok(marks.unwrap_or_default())
    }

    fn exposures(&self, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.row(user, |rows| rows.exposures.clone()))
    }

    fn profile(&self, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.row(user, |rows| rows.profile.clone()))
    }

    fn has_profiles(&self) -> Result<bool, Error> {
        Ok(self.with(|users| users.values().any(|rows| rows.profile.is_some())))
    }

    fn tombstone(&self, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.row(user, |rows| rows.tombstone.clone()))
    }

    fn link(&self, id: UserKey) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.row(id, |rows| rows.link.clone()))
    }

    fn linked_ids(&self, person: UserKey) -> Result<Vec<UserKey>, Error> {
        let ids = self.row(person, |rows| Some(rows.linked_ids.iter().copied().collect()));
        Ok(ids.unwrap_or_default())
    }

    fn has_links(&self) -> Result<bool, Error> {
        Ok(self.with(|users| users.values().any(|rows| rows.link.is_some())))
    }
}

fn records(
    user: UserKey,
    rows: &Rows,
    after: u64,
) -> impl Iterator<Item = Result<EventRecord, Error>> + use<> {
    let events = rows
        .events
        .range((Bound::Excluded(after), Bound::Unbounded))
        .map(|(&sequence, record)| (sequence, record.clone()));
    let events: Vec<_> = events.collect();
    events.into_iter().map(move |(sequence, record)| Ok(EventRecord { user, sequence, record }))
}

impl Store for MemoryStore {
    fn snapshot(&self) -> Result<Box<dyn Read + '_>, Error> {
        Ok(Box::new(View { users: Arc::clone(&self.tables.read().users) }))
    }

    fn state_if_cached(&self, generation: Generation, user: UserKey) -> Result<Cached, Error> {
        self.state(generation, user).map(Cached::Known)
    }

    fn exposures_if_cached(&self, user: UserKey) -> Result<Cached, Error> {
        self.exposures(user).map(Cached::Known)
    }

    fn profile_if_cached(&self, user: UserKey) -> Result<Cached, Error> {
        self.profile(user).map(Cached::Known)
    }

    fn link_if_cached(&self, id: UserKey) -> Result<Cached, Error> {
        self.link(id).map(Cached::Known)
    }

    fn commit(&self, commit: &Commit) -> Result<(), Error> {
        self.tables.write().commit(commit);
        Ok(())
    }

    fn relocate(&self, commit: &Commit, relocation: &Relocation) -> Result<(), Error> {
        let mut tables = self.tables.write();
        tables.relocate(relocation);
        tables.commit(commit);
        Ok(())
    }

    fn prune(&self, pruning: &Pruning) -> Result<(), Error> {
        let mut tables = self.tables.write();
        let user = pruning.user;
        for day in &pruning.done {
            tables.due.remove(&Due { day: *day, user });
        }
        tables.due.extend(pruning.due.iter().map(|day| Due { day: *day, user }));
        if pruning.events.is_empty() && pruning.marks.is_empty() && pruning.base.is_none() {
            return Ok(());
        }
        let rows = tables.rows(user);
        for sequence in &pruning.events {
            rows.events.remove(sequence);
        }
        for message_key in &pruning.marks {
            rows.messages.remove(message_key);
        }
        if pruning.base.is_some() {
            rows.base.clone_from(&pruning.base);
        }
        Ok(())
    }

    fn replace_bases(&self, bases: &[(UserKey, Vec<u8>)]) -> Result<(), Error> {
        let mut tables = self.tables.write();
        for (user, record) in bases {
            tables.rows(*user).base = Some(record.clone());
        }
        Ok(())
    }

    fn due(&self, day: u32, limit: usize) -> Result<Vec<Due>, Error> {
        let tables = self.tables.read();
        Ok(tables.due.iter().take_while(|due| due.day <= day).take(limit).copied().collect())
    }

    fn retention(&self) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.tables.read().retention.clone())
    }

    fn put_retention(&self, record: &[u8]) -> Result<(), Error> {
        self.tables.write().retention = Some(record.to_vec());
        Ok(())
    }

    fn erase(&self, erasure: &Erasure) -> Result<Erased, Error> {
        let mut tables = self.tables.write();
        let tombstone = Some(erasure.tombstone.clone());
        let rows = std::mem::replace(tables.rows(erasure.user), Rows { tombstone, ..Rows::default() });
        for id in &rows.linked_ids {
            let of_id = tables.rows(*id);
            of_id.link = None;
            of_id.tombstone = Some(erasure.tombstone.clone());
        }
        for user in rows.linked_ids.iter().chain([&erasure.user]) {
            self.answers.erase(*user);
        }
        for (user, record) in &erasure.profiles {
            tables.rows(*user).profile = Some(record.clone());
        }
        for day in &erasure.due {
            tables.due.remove(&Due { day: *day, user: erasure.user });
        }
        tables.counters.insert(erasure.shard, erasure.counters);
        let quarantined = tables.remove_quarantined(&erasure.quarantined);
        Ok(Erased {
            quarantined,
            states: rows.states.len() as u64,
            events: rows.events.len() as u64,
            messages: rows.messages.len() as u64,
            exposures: u64::from(rows.exposures.is_some()),
            profiles: u64::from(rows.profile.is_some()),
            links: rows.linked_ids.len() as u64,
        })
    }

    fn remove_tombstone(&self, user: UserKey) -> Result<(), Error> {
        self.tables.write().rows(user).tombstone = None;
        Ok(())
    }

    fn replace_states(&self, generation: Generation, states: &[(UserKey, Vec<u8>)]) -> Result<(), Error> {
        let mut tables = self.tables.write();
        for (user, record) in states {
            tables.put_state(generation, *user, record);
        }
        Ok(())
    }

    fn drop_states(&self, generation: Generation) -> Result<(), Error> {
        let mut tables = self.tables.write();
        let users: Vec<UserKey> = tables.users.keys().copied().collect();
        for user in users {
            tables.rows(user).states.remove(&generation);
        }
        Ok(())
    }

    fn generations(&self) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.tables.read().generations.clone())
    }

    fn put_generations(&self, record: &[u8]) -> Result<(), Error> {
        self.tables.write().generations = Some(record.to_vec());
        Ok(())
    }

    fn counters(&self) -> Result<Vec<(u32, Counters)>, Error> {
        Ok(self.tables.read().counters.iter().map(|(shard, counters)| (*shard, *counters)).collect())
    }

    fn put_exposures(&self, user: UserKey, record: &[u8]) -> Result<(), Error> {
        self.tables.write().rows(user).exposures = Some(record.to_vec());
        Ok(())
    }

    fn put_ledger(
        &self,
        user: UserKey,
        exposures: Option<&[u8]>,
        rows: &[(Vec<u8>, Option<Vec<u8>>)],
    ) -> Result<(), Error> {
        let mut tables = self.tables.write();
        if let Some(record) = exposures {
            tables.rows(user).exposures = Some(record.to_vec());
        }
        for (key, value) in rows {
            match value {
                Some(value) => tables.ledger.insert(key.clone(), value.clone()),
                None => tables.ledger.remove(key),
            };
        }
        Ok(())
    }

    fn ledger(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        let tables = self.tables.read();
        Ok(tables.ledger.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn put_profile(&self, user: UserKey, record: &[u8]) -> Result<(), Error> {
        self.tables.write().rows(user).profile = Some(record.to_vec());
        Ok(())
    }

    fn append_quarantine(&self, records: &[Vec<u8>], keep: u64) -> Result<u64, Error> {
        let mut tables = self.tables.write();
        for record in records {
            tables.last_quarantined += 1;
            let number = tables.last_quarantined;
            tables.quarantine.insert(number, record.clone());
        }
        let surplus = (tables.quarantine.len() as u64).saturating_sub(keep);
        for _ in 0..surplus {
            tables.quarantine.pop_first();
        }
        Ok(surplus)
    }

    fn quarantined(&self, before: Option<u64>, limit: usize) -> Result<Vec<QuarantineRecord>, Error> {
        let tables = self.tables.read();
        let entries = tables.quarantine.range(..before.unwrap_or(u64::MAX)).rev().take(limit);
        Ok(entries.map(|(&number, record)| QuarantineRecord { number, record: record.clone() }).collect())
    }

    fn remove_quarantined(&self, numbers: &[u64]) -> Result<u64, Error> {
        Ok(self.tables.write().remove_quarantined(numbers))
    }

    fn quarantine_len(&self) -> u64 {
        self.tables.read().quarantine.len() as u64
    }

    fn answers(&self) -> &dyn Answers {
        &self.answers
    }

    fn flush(&self) -> Result<(), Error> {
        Ok(())
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

struct Cursor {
    /// In key order.
    users: Vec<(UserKey, Arc<Rows>)>,
    /// Whose events come next.
    user: usize,
    /// From which sequence on.
    sequence: u64,
}

impl EventCursor for Cursor {
    fn seek(&mut self, user: UserKey, sequence: u64) -> Result<(), Error> {
        self.user = self.users.partition_point(|(known, _)| *known < user);
        let is_there = self.users.get(self.user).is_some_and(|(known, _)| *known == user);
        self.sequence = if is_there { sequence } else { 0 };
        Ok(())
    }

    fn next_record(&mut self) -> Result<Option<EventRecord>, Error> {
        while let Some((user, rows)) = self.users.get(self.user) {
            if let Some((&sequence, record)) = rows.events.range(self.sequence..).next() {
                self.sequence = sequence + 1;
                return Ok(Some(EventRecord { user: *user, sequence, record: record.clone() }));
            }
            (self.user, self.sequence) = (self.user + 1, 0);
        }
        Ok(None)
    }
}
