//! The durable engine: RocksDB with one column family per kind of record.
//!
//! Keys: a user's 16 bytes, preceded in `later_states` by the generation (4 bytes, big-endian), followed in `events` by
//! the sequence (8 bytes, big-endian, so that order is order) and in `messages` by the message key. No merge operators,
//! no filters by clock. Not here: opening (`rocks_open`), reading users (`rocks_read`).

use augur_domain::ids::MessageKey;
use augur_domain::{ContentHash, UserKey};
use parking_lot::Mutex;
use rocksdb::{Cache, ColumnFamily, DB, FlushOptions, WriteBatch, WriteOptions};

use super::rocks_answers::{AnswerEntries, AnswerTable};
use super::rocks_counters;
use super::rocks_open::{
    self, BASES, DUE, EVENTS, EXPOSURES, IDENTITY, MESSAGES, META, PROFILES, TOMBSTONES,
};
use super::rocks_quarantine::{Bounds, QuarantineTable};
use super::rocks_read::{
    Reader, RocksSnapshot, StatePlace, corrupted, due_key, event_key, failed, link_key, linked_id_key,
    linked_ids_prefix, message_key,
};
use super::state_cache::StateCache;
use super::{
    Answers, Cached, Commit, Counters, Due, Erased, Erasure, EventCursor, EventRecords, Generation,
    MovedMark, NewEvent, NewLink, Pruning, QuarantineRecord, Read, Relocation, Store, Usage, Users,
};
use crate::{Config, Error};

/// Written by versions that know one generation.
const FEATURE_SET_KEY: &[u8] = b"feature_set";
const GENERATIONS_KEY: &[u8] = b"generations";
const RETENTION_KEY: &[u8] = b"retention";
const COUNTERS_PREFIX: &[u8] = b"counters/";
const LEDGER_PREFIX: &[u8] = b"ledger/";
/// Keys that are deleted one by one. More of them go as one range; ranges slow down reads, so they are not for every
/// write.
pub(super) const MAX_SINGLE_DELETES: u64 = 1_000;
/// A [`Store`] in a directory of its own.
pub struct RocksStore {
    db: DB,
    cache: Cache,
    states: StateCache,
    sync: bool,
    quarantine: Mutex<Bounds>,
    answers: AnswerEntries,
}

impl std::fmt::Debug for RocksStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("RocksStore").field("dir", &self.db.path()).finish_non_exhaustive()
    }
}

fn counters_key(shard: u32) -> Vec<u8> {
    [COUNTERS_PREFIX, shard.to_be_bytes().as_slice()].concat()
}

impl RocksStore {
    /// Opens or creates the store in `config.dir`.
    ///
    /// # Errors
    /// [`Error::InUse`], [`Error::NewerFormat`], [`Error::Damaged`], or [`Error::Storage`].
    pub fn open(config: &Config) -> Result<Self, Error> {
        let store = Self::on(rocks_open::open(config)?, config.state_cache_bytes, config.sync);
        store.answers.set(store.answer_table().count()?);
        let bounds = store.quarantine_table().bounds()?;
        *store.quarantine.lock() = bounds;
        Ok(store)
    }

    /// Reads what was in the directory when this was called; a server may be writing it meanwhile. Changes nothing.
    ///
    /// # Errors
    /// As [`Self::open`]; [`Error::Damaged`] when there is nothing.
    pub fn open_read_only(config: &Config) -> Result<impl Read + Send + Sync + use<>, Error> {
        Ok(Self::on(rocks_open::open_read_only(config)?, 0, false))
    }

    fn on((db, cache): (DB, Cache), state_cache_bytes: usize, sync: bool) -> Self {
        let (states, answers) = (StateCache::new(state_cache_bytes), AnswerEntries::default());
        Self { db, cache, states, sync, quarantine: Mutex::default(), answers }
    }

    fn family(&self, name: &'static str) -> Result<&ColumnFamily, Error> {
        self.reader().family(name)
    }

    const fn quarantine_table(&self) -> QuarantineTable<'_> {
        QuarantineTable { reader: self.reader() }
    }

    pub(super) const fn answer_table(&self) -> AnswerTable<'_> {
        AnswerTable { reader: self.reader() }
    }

    pub(super) const fn answer_entries(&self) -> &AnswerEntries {
        &self.answers
    }

    const fn reader(&self) -> Reader<'_> {
        Reader { db: &self.db, snapshot: None }
    }

    pub(super) fn write(&self, batch: WriteBatch, sync: bool, action: &'static str) -> Result<(), Error> {
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        self.db.write_opt(batch, &options).map_err(failed(action))
    }

    fn put_state(
        &self,
        batch: &mut WriteBatch,
        generation: Generation,
        user: UserKey,
        record: &[u8],
    ) -> Result<(), Error> {
        self.states.forget(generation, user);
        let place = StatePlace::new(generation, user);
        batch.put_cf(self.family(place.family)?, place.key(), record);
        Ok(())
    }

    /// Puts the removal of a user's state in every generation into the batch; says how many there are.
    fn remove_states(&self, batch: &mut WriteBatch, user: UserKey) -> Result<u64, Error> {
        let mut count = 0;
        for generation in std::iter::once(Generation::FIRST).chain(self.reader().later_generations()?) {
            self.states.forget(generation, user);
            if self.reader().state(generation, user)?.is_some() {
                let place = StatePlace::new(generation, user);
                batch.delete_cf(self.family(place.family)?, place.key());
                count += 1;
            }
        }
        Ok(count)
    }

    fn put_counters(&self, batch: &mut WriteBatch, shard: u32, counters: Counters) -> Result<(), Error> {
        batch.put_cf(self.family(META)?, counters_key(shard), rocks_counters::encode(counters));
        Ok(())
    }

    fn put_commit(&self, batch: &mut WriteBatch, commit: &Commit) -> Result<(), Error> {
        let (events, messages) = (self.family(EVENTS)?, self.family(MESSAGES)?);
        // In key order each key finds its place in the write buffer from where the one before it was put.
        let mut ordered: Vec<&NewEvent> = commit.events.iter().collect();
        ordered.sort_unstable_by_key(|event| (event.user, event.sequence));
        for event in &ordered {
            batch.put_cf(events, event_key(event.user, event.sequence), &event.record);
        }
        ordered.sort_unstable_by_key(|event| (event.user, event.message_key));
        for event in &ordered {
            let key = message_key(event.user, event.message_key);
            batch.put_cf(messages, key, event.sequence.to_be_bytes());
        }
        for (generation, user, record) in &commit.states {
            self.put_state(batch, *generation, *user, record)?;
        }
        for due in &commit.due {
            batch.put_cf(self.family(DUE)?, due_key(*due), []);
        }
        self.put_counters(batch, commit.shard, commit.counters)
    }

    fn put_relocation(&self, batch: &mut WriteBatch, relocation: &Relocation) -> Result<(), Error> {
        let (events, messages) = (self.family(EVENTS)?, self.family(MESSAGES)?);
        let (exposures, identity) = (self.family(EXPOSURES)?, self.family(IDENTITY)?);
        for (user, sequence, key) in &relocation.events {
            batch.delete_cf(events, event_key(*user, *sequence));
            batch.delete_cf(messages, message_key(*user, *key));
        }
        for &MovedMark { from, to, message_key: key, sequence } in &relocation.marks {
            batch.delete_cf(messages, message_key(from, key));
            batch.put_cf(messages, message_key(to, key), sequence.to_be_bytes());
        }
        for (user, record) in &relocation.bases {
            match record {
                Some(record) => batch.put_cf(self.family(BASES)?, user.as_bytes(), record),
                None => batch.delete_cf(self.family(BASES)?, user.as_bytes()),
            }
        }
        for user in &relocation.users {
            self.remove_states(batch, *user)?;
        }
        for (user, record) in &relocation.exposures {
            match record {
                Some(record) => batch.put_cf(exposures, user.as_bytes(), record),
                None => batch.delete_cf(exposures, user.as_bytes()),
            }
        }
        for (user, record) in &relocation.profiles {
            match record {
                Some(record) => batch.put_cf(self.family(PROFILES)?, user.as_bytes(), record),
                None => batch.delete_cf(self.family(PROFILES)?, user.as_bytes()),
            }
        }
        for NewLink { id, before, after } in &relocation.links {
            if let Some(person) = before {
                batch.delete_cf(identity, linked_id_key(*person, *id));
            }
            match after {
                Some((person, record)) => {
                    batch.put_cf(identity, linked_id_key(*person, *id), []);
                    batch.put_cf(identity, link_key(*id), record);
                }
                None => batch.delete_cf(identity, link_key(*id)),
            }
        }
        Ok(())
    }

    /// Puts the removal of all keys that start with `prefix` into the batch; says how many there are.
    fn remove_prefix(&self, batch: &mut WriteBatch, name: &'static str, prefix: &[u8]) -> Result<u64, Error> {
        let family = self.family(name)?;
        let (mut count, mut last) = (0, None);
        for entry in self.reader().scan(name, prefix, "listing what to erase")? {
            let (key, _) = entry?;
            if count < MAX_SINGLE_DELETES {
                batch.delete_cf(family, &key);
            }
            (count, last) = (count + 1, Some(key));
        }
        if let Some(last) = last.filter(|_| count > MAX_SINGLE_DELETES) {
            batch.delete_range_cf(family, prefix, last.as_ref());
            batch.delete_cf(family, &last);
        }
        Ok(count)
    }
}

impl Read for RocksStore {
    fn state(&self, generation: Generation, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        match self.states.get(generation, user) {
            Some(record) => Ok(Some(record)),
            None => self.reader().state(generation, user),
        }
    }

    fn states(&self, generation: Generation, users: &[UserKey]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let mut records: Vec<_> = users.iter().map(|user| self.states.get(generation, *user)).collect();
        let missing = users.iter().zip(&mut records).filter(|(_, record)| record.is_none());
        let (missing, slots): (Vec<UserKey>, Vec<_>) = missing.map(|(user, slot)| (*user, slot)).unzip();
        for (slot, record) in slots.into_iter().zip(self.reader().states(generation, &missing)?) {
            *slot = record;
        }
        Ok(records)
    }

    fn contains_messages(&self, messages: &[(UserKey, MessageKey)]) -> Result<Vec<bool>, Error> {
        self.reader().contains_messages(messages)
    }

    fn message_sequence(&self, user: UserKey, message_key: MessageKey) -> Result<Option<u64>, Error> {
        self.reader().message_sequence(user, message_key)
    }

    fn events_after(&self, user: UserKey, after: u64) -> Result<EventRecords<'_>, Error> {
        self.reader().events_after(user, after)
    }

    fn last_sequence(&self, user: UserKey) -> Result<u64, Error> {
        self.reader().last_sequence(user)
    }

    fn all_events(&self) -> Result<EventRecords<'_>, Error> {
        self.reader().events(&[], &[])
    }

    fn event_cursor(&self) -> Result<Box<dyn EventCursor + '_>, Error> {
        self.reader().event_cursor()
    }

    fn users(&self, generation: Generation, after: Option<UserKey>) -> Result<Users<'_>, Error> {
        self.reader().users(generation, after)
    }

    fn base(&self, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.reader().base(user)
    }

    fn marks(&self, user: UserKey) -> Result<Vec<(MessageKey, u64)>, Error> {
        self.reader().marks(user)
    }

    fn exposures(&self, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.reader().exposures(user)
    }

    fn profile(&self, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.reader().profile(user)
    }

    fn has_profiles(&self) -> Result<bool, Error> {
        self.reader().has_profiles()
    }

    fn tombstone(&self, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.reader().tombstone(user)
    }

    fn link(&self, id: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.reader().link(id)
    }

    fn linked_ids(&self, person: UserKey) -> Result<Vec<UserKey>, Error> {
        self.reader().linked_ids(person)
    }

    fn has_links(&self) -> Result<bool, Error> {
        self.reader().has_links()
    }
}

impl Store for RocksStore {
    fn snapshot(&self) -> Result<Box<dyn Read + '_>, Error> {
        Ok(Box::new(RocksSnapshot { db: &self.db, snapshot: self.db.snapshot() }))
    }

    fn state_if_cached(&self, generation: Generation, user: UserKey) -> Result<Cached, Error> {
        if let Some(record) = self.states.get(generation, user) {
            return Ok(Cached::Known(Some(record)));
        }
        let place = StatePlace::new(generation, user);
        self.reader().cached(place.family, place.key(), "reading a state")
    }

    fn exposures_if_cached(&self, user: UserKey) -> Result<Cached, Error> {
        self.reader().cached(EXPOSURES, user.as_bytes(), "reading exposures")
    }

    fn profile_if_cached(&self, user: UserKey) -> Result<Cached, Error> {
        self.reader().cached(PROFILES, user.as_bytes(), "reading a profile")
    }

    fn link_if_cached(&self, id: UserKey) -> Result<Cached, Error> {
        self.reader().cached(IDENTITY, &link_key(id), "reading a link")
    }

    fn commit(&self, commit: &Commit) -> Result<(), Error> {
        let mut batch = WriteBatch::default();
        self.put_commit(&mut batch, commit)?;
        self.write(batch, self.sync, "committing events")?;
        for (generation, user, record) in &commit.states {
            self.states.put(*generation, *user, record);
        }
        Ok(())
    }

    fn relocate(&self, commit: &Commit, relocation: &Relocation) -> Result<(), Error> {
        let mut batch = WriteBatch::default();
        self.put_relocation(&mut batch, relocation)?;
        self.put_commit(&mut batch, commit)?;
        self.write(batch, self.sync, "moving events between users")
    }

    fn prune(&self, pruning: &Pruning) -> Result<(), Error> {
        let (user, mut batch) = (pruning.user, WriteBatch::default());
        let (events, messages, due) = (self.family(EVENTS)?, self.family(MESSAGES)?, self.family(DUE)?);
        for sequence in &pruning.events {
            batch.delete_cf(events, event_key(user, *sequence));
        }
        for key in &pruning.marks {
            batch.delete_cf(messages, message_key(user, *key));
        }
        if let Some(record) = &pruning.base {
            batch.put_cf(self.family(BASES)?, user.as_bytes(), record);
        }
        for day in &pruning.done {
            batch.delete_cf(due, due_key(Due { day: *day, user }));
        }
        for day in &pruning.due {
            batch.put_cf(due, due_key(Due { day: *day, user }), []);
        }
        self.write(batch, self.sync, "removing old events")
    }

    fn replace_bases(&self, bases: &[(UserKey, Vec<u8>)]) -> Result<(), Error> {
        let mut batch = WriteBatch::default();
        for (user, record) in bases {
            batch.put_cf(self.family(BASES)?, user.as_bytes(), record);
        }
        self.write(batch, false, "replacing bases")
    }

    fn due(&self, day: u32, limit: usize) -> Result<Vec<Due>, Error> {
        self.reader().due(day, limit)
    }

    fn retention(&self) -> Result<Option<Vec<u8>>, Error> {
        self.reader().get(META, RETENTION_KEY, "reading how far retention is")
    }

    fn put_retention(&self, record: &[u8]) -> Result<(), Error> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(META)?, RETENTION_KEY, record);
        self.write(batch, self.sync, "writing how far retention is")
    }

    fn erase(&self, erasure: &Erasure) -> Result<Erased, Error> {
        let user = erasure.user.as_bytes();
        let mut batch = WriteBatch::default();
        let erased = Erased {
            states: self.remove_states(&mut batch, erasure.user)?,
            events: self.remove_prefix(&mut batch, EVENTS, user)?,
            messages: self.remove_prefix(&mut batch, MESSAGES, user)?,
            exposures: self.remove_prefix(&mut batch, EXPOSURES, user)?,
            profiles: self.remove_prefix(&mut batch, PROFILES, user)?,
            quarantined: 0,
            links: 0,
        };
        for (user, record) in &erasure.profiles {
            batch.put_cf(self.family(PROFILES)?, user.as_bytes(), record);
        }
        batch.delete_cf(self.family(BASES)?, user);
        for day in &erasure.due {
            batch.delete_cf(self.family(DUE)?, due_key(Due { day: *day, user: erasure.user }));
        }
        let ids = self.linked_ids(erasure.user)?;
        // An answer that is put meanwhile would lose its place, or be lost.
        let mut answers = self.answers.writing();
        for user in ids.iter().chain([&erasure.user]) {
            answers.removed(self.answer_table().erase(&mut batch, *user)?);
        }
        for id in &ids {
            batch.delete_cf(self.family(IDENTITY)?, link_key(*id));
            batch.put_cf(self.family(TOMBSTONES)?, id.as_bytes(), &erasure.tombstone);
        }
        self.remove_prefix(&mut batch, IDENTITY, &linked_ids_prefix(erasure.user))?;
        batch.put_cf(self.family(TOMBSTONES)?, user, &erasure.tombstone);
        self.put_counters(&mut batch, erasure.shard, erasure.counters)?;
        let mut bounds = self.quarantine.lock();
        let after = self.quarantine_table().remove(&mut batch, *bounds, &erasure.quarantined)?;
        self.write(batch, self.sync, "erasing a user")?;
        answers.written();
        let before = std::mem::replace(&mut *bounds, after);
        let quarantined = before.entries.saturating_sub(after.entries);
        Ok(Erased { quarantined, links: ids.len() as u64, ..erased })
    }

    fn remove_tombstone(&self, user: UserKey) -> Result<(), Error> {
        let mut batch = WriteBatch::default();
        batch.delete_cf(self.family(TOMBSTONES)?, user.as_bytes());
        self.write(batch, self.sync, "removing a tombstone")
    }

    fn replace_states(&self, generation: Generation, states: &[(UserKey, Vec<u8>)]) -> Result<(), Error> {
        let mut batch = WriteBatch::default();
        for (user, record) in states {
            self.put_state(&mut batch, generation, *user, record)?;
        }
        self.write(batch, false, "replacing states")
    }

    fn drop_states(&self, generation: Generation) -> Result<(), Error> {
        let first = StatePlace::new(generation, UserKey::from_bytes([0; UserKey::LEN]));
        let last = StatePlace::new(generation, UserKey::from_bytes([u8::MAX; UserKey::LEN]));
        let family = self.family(first.family)?;
        let mut batch = WriteBatch::default();
        // A range ends before its end.
        batch.delete_range_cf(family, first.key(), last.key());
        batch.delete_cf(family, last.key());
        self.write(batch, false, "removing states")?;
        self.states.clear();
        self.db.compact_range_cf(family, Some(first.key()), Some(last.key()));
        Ok(())
    }

    fn generations(&self) -> Result<Option<Vec<u8>>, Error> {
        self.reader().get(META, GENERATIONS_KEY, "reading the generations")
    }

    fn put_generations(&self, record: &[u8]) -> Result<(), Error> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(META)?, GENERATIONS_KEY, record);
        // A synced write also syncs every log written before it, so the states written before are down with it.
        self.write(batch, true, "writing the generations")
    }

    fn first_feature_set(&self) -> Result<Option<ContentHash>, Error> {
        let stored = self.reader().get(META, FEATURE_SET_KEY, "reading the feature set")?;
        let hash = |bytes: Vec<u8>| match bytes.as_slice().try_into() {
            Ok(bytes) => Ok(ContentHash::from_bytes(bytes)),
            Err(_) => Err(corrupted("feature set", "hash")),
        };
        stored.map(hash).transpose()
    }

    fn counters(&self) -> Result<Vec<(u32, Counters)>, Error> {
        let mut counters = Vec::new();
        for entry in self.reader().scan(META, COUNTERS_PREFIX, "reading counters")? {
            let (key, record) = entry?;
            let shard = key.get(COUNTERS_PREFIX.len()..).and_then(|shard| shard.try_into().ok());
            let shard = u32::from_be_bytes(shard.ok_or_else(|| corrupted("counters", "key"))?);
            let decoded = rocks_counters::decode(&record);
            let decoded =
                decoded.map_err(|source| Error::corrupted(format!("counters of writer {shard}"), source))?;
            counters.push((shard, decoded));
        }
        Ok(counters)
    }

    fn put_exposures(&self, user: UserKey, record: &[u8]) -> Result<(), Error> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(EXPOSURES)?, user.as_bytes(), record);
        self.write(batch, false, "writing exposures")
    }

    fn put_ledger(
        &self,
        user: UserKey,
        exposures: Option<&[u8]>,
        rows: &[(Vec<u8>, Option<Vec<u8>>)],
    ) -> Result<(), Error> {
        let (mut batch, meta) = (WriteBatch::default(), self.family(META)?);
        if let Some(record) = exposures {
            batch.put_cf(self.family(EXPOSURES)?, user.as_bytes(), record);
        }
        for (key, value) in rows {
            let key = [LEDGER_PREFIX, key].concat();
            match value {
                Some(value) => batch.put_cf(meta, key, value),
                None => batch.delete_cf(meta, key),
            }
        }
        self.write(batch, false, "writing exposures and the ledger")
    }

    fn ledger(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        let rows = self.reader().scan(META, LEDGER_PREFIX, "reading the ledger")?;
        let rows = rows.map(|row| {
            let (key, value) = row?;
            Ok((key.get(LEDGER_PREFIX.len()..).unwrap_or_default().to_vec(), value.to_vec()))
        });
        rows.collect()
    }

    fn put_profile(&self, user: UserKey, record: &[u8]) -> Result<(), Error> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(PROFILES)?, user.as_bytes(), record);
        self.write(batch, self.sync, "writing a profile")
    }

    fn append_quarantine(&self, records: &[Vec<u8>], keep: u64) -> Result<u64, Error> {
        let mut bounds = self.quarantine.lock();
        let mut batch = WriteBatch::default();
        let after = self.quarantine_table().append(&mut batch, *bounds, records, keep)?;
        self.write(batch, self.sync, "writing the quarantine")?;
        let before = std::mem::replace(&mut *bounds, after);
        Ok(before.entries.saturating_add(records.len() as u64).saturating_sub(after.entries))
    }

    fn quarantined(&self, before: Option<u64>, limit: usize) -> Result<Vec<QuarantineRecord>, Error> {
        self.quarantine_table().newest(before, limit)
    }

    fn remove_quarantined(&self, numbers: &[u64]) -> Result<u64, Error> {
        let mut bounds = self.quarantine.lock();
        let mut batch = WriteBatch::default();
        let after = self.quarantine_table().remove(&mut batch, *bounds, numbers)?;
        self.write(batch, self.sync, "removing from the quarantine")?;
        let before = std::mem::replace(&mut *bounds, after);
        Ok(before.entries.saturating_sub(after.entries))
    }

    fn quarantine_len(&self) -> u64 {
        self.quarantine.lock().entries
    }

    fn answers(&self) -> &dyn Answers {
        self
    }

    fn flush(&self) -> Result<(), Error> {
        self.db.flush_wal(true).map_err(failed("syncing the log"))?;
        for family in rocks_open::TABLES {
            let flushed = self.db.flush_cf_opt(self.family(family)?, &FlushOptions::default());
            flushed.map_err(failed("flushing write buffers"))?;
        }
        Ok(())
    }

    fn usage(&self) -> Usage {
        let sum = |property: &str| {
            let families = rocks_open::TABLES;
            let values = families.iter().filter_map(|name| {
                let family = self.db.cf_handle(name)?;
                self.db.property_int_value_cf(family, property).ok().flatten()
            });
            values.sum()
        };
        let states = self.states.usage();
        Usage {
            write_buffer_bytes: sum("rocksdb.cur-size-all-mem-tables"),
            block_cache_bytes: self.cache.get_usage() as u64,
            state_cache_bytes: states.bytes as u64,
            state_cache_hits: states.hits,
            state_cache_misses: states.misses,
            disk_bytes: sum("rocksdb.total-sst-files-size"),
        }
    }
}
