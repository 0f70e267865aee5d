//! An engine whose disk answers only when a test lets it.
//!
//! Not here: what a server does meanwhile (`main`).

use std::sync::Arc;

use augur_domain::UserKey;
use augur_domain::ids::MessageKey;
use augur_feature_store::Error;
use augur_feature_store::store::{
    Cached, Commit, Counters, Due, Erased, Erasure, EventCursor, EventRecords, Generation, MemoryStore,
    Pruning, QuarantineRecord, Read, Relocation, Store, Usage, Users,
};
use parking_lot::{Condvar, Mutex};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    States,
    Exposures,
    Profiles,
}

#[derive(Debug, Default)]
struct Disk {
    /// Records that are on the disk only.
    cold: Vec<(Table, UserKey)>,
    stuck: bool,
    /// Reads that wait for the disk now.
    waiting: usize,
}

/// Everything in memory, except that the cold records must be fetched from a disk that may be stuck.
#[derive(Debug, Default)]
pub(crate) struct SlowDisk {
    inner: MemoryStore,
    disk: Mutex<Disk>,
    changed: Condvar,
}

impl SlowDisk {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// From now on this record of the user is on the disk only, and stays there however often it is read.
    pub(crate) fn cool(&self, table: Table, user: UserKey) {
        self.disk.lock().cold.push((table, user));
    }

    pub(crate) fn set_stuck(&self, stuck: bool) {
        self.disk.lock().stuck = stuck;
        self.changed.notify_all();
    }

    /// Blocks until so many reads wait for the disk.
    pub(crate) fn wait_for_waiting(&self, reads: usize) {
        let mut disk = self.disk.lock();
        self.changed.wait_while(&mut disk, |disk| disk.waiting < reads);
    }

    fn is_cold(&self, table: Table, user: UserKey) -> bool {
        self.disk.lock().cold.contains(&(table, user))
    }

    /// What a read of a cold record waits for.
    fn fetch(&self, table: Table, user: UserKey) {
        let mut disk = self.disk.lock();
        if disk.cold.contains(&(table, user)) {
            disk.waiting += 1;
            self.changed.notify_all();
            self.changed.wait_while(&mut disk, |disk| disk.stuck);
            disk.waiting -= 1;
        }
    }
}

impl Read for SlowDisk {
    fn state(&self, generation: Generation, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.fetch(Table::States, user);
        self.inner.state(generation, user)
    }
    fn message_sequence(&self, user: UserKey, message_key: MessageKey) -> Result<Option<u64>, Error> {
        self.inner.message_sequence(user, message_key)
    }
    fn events_after(&self, user: UserKey, after: u64) -> Result<EventRecords<'_>, Error> {
        self.inner.events_after(user, after)
    }
    fn last_sequence(&self, user: UserKey) -> Result<u64, Error> {
        self.inner.last_sequence(user)
    }
    fn all_events(&self) -> Result<EventRecords<'_>, Error> {
        self.inner.all_events()
    }
    fn event_cursor(&self) -> Result<Box<dyn EventCursor + '_>, Error> {
        self.inner.event_cursor()
    }
    fn users(&self, generation: Generation, after: Option<UserKey>) -> Result<Users<'_>, Error> {
        self.inner.users(generation, after)
    }
    fn base(&self, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.inner.base(user)
    }
    fn marks(&self, user: UserKey) -> Result<Vec<(MessageKey, u64)>, Error> {
        self.inner.marks(user)
    }
    fn exposures(&self, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.fetch(Table::Exposures, user);
        self.inner.exposures(user)
    }
    fn profile(&self, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.fetch(Table::Profiles, user);
        self.inner.profile(user)
    }
    fn has_profiles(&self) -> Result<bool, Error> {
        self.inner.has_profiles()
    }
    fn tombstone(&self, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.inner.tombstone(user)
    }
    fn link(&self, id: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.inner.link(id)
    }
    fn linked_ids(&self, person: UserKey) -> Result<Vec<UserKey>, Error> {
        self.inner.linked_ids(person)
    }
    fn has_links(&self) -> Result<bool, Error> {
        self.inner.has_links()
    }
}

impl Store for SlowDisk {
    fn snapshot(&self) -> Result<Box<dyn Read + '_>, Error> {
        self.inner.snapshot()
    }
    fn state_if_cached(&self, generation: Generation, user: UserKey) -> Result<Cached, Error> {
        let cold = self.is_cold(Table::States, user);
        if cold { Ok(Cached::NotCached) } else { self.inner.state_if_cached(generation, user) }
    }
    fn exposures_if_cached(&self, user: UserKey) -> Result<Cached, Error> {
        let cold = self.is_cold(Table::Exposures, user);
        if cold { Ok(Cached::NotCached) } else { self.inner.exposures_if_cached(user) }
    }
    fn profile_if_cached(&self, user: UserKey) -> Result<Cached, Error> {
        let cold = self.is_cold(Table::Profiles, user);
        if cold { Ok(Cached::NotCached) } else { self.inner.profile_if_cached(user) }
    }
    fn link_if_cached(&self, id: UserKey) -> Result<Cached, Error> {
        self.inner.link_if_cached(id)
    }
    fn commit(&self, commit: &Commit) -> Result<(), Error> {
        self.inner.commit(commit)
    }
    fn relocate(&self, commit: &Commit, relocation: &Relocation) -> Result<(), Error> {
        self.inner.relocate(commit, relocation)
    }
    fn prune(&self, pruning: &Pruning) -> Result<(), Error> {
        self.inner.prune(pruning)
    }
    fn replace_bases(&self, bases: &[(UserKey, Vec<u8>)]) -> Result<(), Error> {
        self.inner.replace_bases(bases)
    }
    fn due(&self, day: u32, limit: usize) -> Result<Vec<Due>, Error> {
        self.inner.due(day, limit)
    }
    fn retention(&self) -> Result<Option<Vec<u8>>, Error> {
        self.inner.retention()
    }
    fn put_retention(&self, record: &[u8]) -> Result<(), Error> {
        self.inner.put_retention(record)
    }
    fn erase(&self, erasure: &Erasure) -> Result<Erased, Error> {
        self.inner.erase(erasure)
    }
    fn remove_tombstone(&self, user: UserKey) -> Result<(), Error> {
        self.inner.remove_tombstone(user)
    }
    fn replace_states(&self, generation: Generation, states: &[(UserKey, Vec<u8>)]) -> Result<(), Error> {
        self.inner.replace_states(generation, states)
    }
    fn drop_states(&self, generation: Generation) -> Result<(), Error> {
        self.inner.drop_states(generation)
    }
    fn generations(&self) -> Result<Option<Vec<u8>>, Error> {
        self.inner.generations()
    }
    fn put_generations(&self, record: &[u8]) -> Result<(), Error> {
        self.inner.put_generations(record)
    }
    fn counters(&self) -> Result<Vec<(u32, Counters)>, Error> {
        self.inner.counters()
    }
    fn put_ledger(
        &self,
        user: UserKey,
        exposures: Option<&[u8]>,
        rows: &[(Vec<u8>, Option<Vec<u8>>)],
    ) -> Result<(), Error> {
        self.inner.put_ledger(user, exposures, rows)
    }
    fn ledger(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        self.inner.ledger()
    }
    fn put_exposures(&self, user: UserKey, record: &[u8]) -> Result<(), Error> {
        self.inner.put_exposures(user, record)
    }
    fn put_profile(&self, user: UserKey, record: &[u8]) -> Result<(), Error> {
        self.inner.put_profile(user, record)
    }
    fn append_quarantine(&self, records: &[Vec<u8>], keep: u64) -> Result<u64, Error> {
        self.inner.append_quarantine(records, keep)
    }
    fn quarantined(&self, before: Option<u64>, limit: usize) -> Result<Vec<QuarantineRecord>, Error> {
        self.inner.quarantined(before, limit)
    }
    fn remove_quarantined(&self, places: &[u64]) -> Result<u64, Error> {
        self.inner.remove_quarantined(places)
    }
    fn quarantine_len(&self) -> u64 {
        self.inner.quarantine_len()
    }
    fn answers(&self) -> &dyn augur_feature_store::store::Answers {
        self.inner.answers()
    }
    fn flush(&self) -> Result<(), Error> {
        self.inner.flush()
    }
    fn usage(&self) -> Usage {
        self.inner.usage()
    }
}
