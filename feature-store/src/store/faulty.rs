//! An engine for tests that stops at chosen calls: as if the process had died there, or until it may go on.
//!
//! Every write goes through one hook, and so does every listing of users and every read of many at once. Not here: what becomes of a write that
//! another engine had begun; each is one step by contract.

use std::sync::Arc;

use augur_domain::ids::MessageKey;
use augur_domain::{ContentHash, UserKey};

use super::{
    Cached, Commit, Counters, Due, Erased, Erasure, EventCursor, EventRecords, Generation, Pruning,
    QuarantineRecord, Read, Relocation, Store, Usage, Users,
};
use crate::Error;

/// Asked before each call, by its name; a refusal is the call's answer and nothing is written.
pub(crate) type Hook = Box<dyn Fn(&'static str) -> Result<(), Error> + Send + Sync>;

pub(crate) struct Faulty {
    pub(crate) engine: Arc<dyn Store>,
    pub(crate) hook: Hook,
}

/// Whether a hook is asked about a call that writes nothing.
pub(crate) fn is_read(call: &str) -> bool {
    matches!(call, "users" | "states" | "contains_messages")
}

/// What a hook answers for a process that is gone.
pub(crate) fn gone() -> Error {
    Error::Storage { action: "writing", detail: "the process is gone".to_owned() }
}

impl Faulty {
    fn asked(&self, call: &'static str) -> Result<&dyn Store, Error> {
        (self.hook)(call)?;
        Ok(&*self.engine)
    }
}

impl Read for Faulty {
    fn state(&self, generation: Generation, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.engine.state(generation, user)
    }
    fn states(&self, generation: Generation, users: &[UserKey]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        self.asked("states")?.states(generation, users)
    }
    fn contains_messages(&self, messages: &[(UserKey, MessageKey)]) -> Result<Vec<bool>, Error> {
        self.asked("contains_messages")?.contains_messages(messages)
    }
    fn message_sequence(&self, user: UserKey, message_key: MessageKey) -> Result<Option<u64>, Error> {
        self.engine.message_sequence(user, message_key)
    }
    fn events_after(&self, user: UserKey, after: u64) -> Result<EventRecords<'_>, Error> {
        self.engine.events_after(user, after)
    }
    fn last_sequence(&self, user: UserKey) -> Result<u64, Error> {
        self.engine.last_sequence(user)
    }
    fn all_events(&self) -> Result<EventRecords<'_>, Error> {
        self.engine.all_events()
    }
    fn event_cursor(&self) -> Result<Box<dyn EventCursor + '_>, Error> {
        self.engine.event_cursor()
    }
    fn users(&self, generation: Generation, after: Option<UserKey>) -> Result<Users<'_>, Error> {
        self.asked("users")?.users(generation, after)
    }
    fn base(&self, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.engine.base(user)
    }
    fn marks(&self, user: UserKey) -> Result<Vec<(MessageKey, u64)>, Error> {
        self.engine.marks(user)
    }
    fn exposures(&self, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.engine.exposures(user)
    }
    fn profile(&self, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.engine.profile(user)
    }
    fn has_profiles(&self) -> Result<bool, Error> {
        self.engine.has_profiles()
    }
    fn tombstone(&self, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.engine.tombstone(user)
    }
    fn link(&self, id: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.engine.link(id)
    }
    fn linked_ids(&self, person: UserKey) -> Result<Vec<UserKey>, Error> {
        self.engine.linked_ids(person)
    }
    fn has_links(&self) -> Result<bool, Error> {
        self.engine.has_links()
    }
}

impl Store for Faulty {
    fn snapshot(&self) -> Result<Box<dyn Read + '_>, Error> {
        self.engine.snapshot()
    }
    fn state_if_cached(&self, generation: Generation, user: UserKey) -> Result<Cached, Error> {
        self.engine.state_if_cached(generation, user)
    }
    fn exposures_if_cached(&self, user: UserKey) -> Result<Cached, Error> {
        self.engine.exposures_if_cached(user)
    }
    fn profile_if_cached(&self, user: UserKey) -> Result<Cached, Error> {
        self.engine.profile_if_cached(user)
    }
    fn link_if_cached(&self, id: UserKey) -> Result<Cached, Error> {
        self.engine.link_if_cached(id)
    }
    fn commit(&self, commit: &Commit) -> Result<(), Error> {
        self.asked("commit")?.commit(commit)
    }
    fn relocate(&self, commit: &Commit, relocation: &Relocation) -> Result<(), Error> {
        self.asked("relocate")?.relocate(commit, relocation)
    }
    fn prune(&self, pruning: &Pruning) -> Result<(), Error> {
        self.asked("prune")?.prune(pruning)
    }
    fn replace_bases(&self, bases: &[(UserKey, Vec<u8>)]) -> Result<(), Error> {
        self.asked("replace_bases")?.replace_bases(bases)
    }
    fn due(&self, day: u32, limit: usize) -> Result<Vec<Due>, Error> {
        self.engine.due(day, limit)
    }
    fn retention(&self) -> Result<Option<Vec<u8>>, Error> {
        self.engine.retention()
    }
    fn put_retention(&self, record: &[u8]) -> Result<(), Error> {
        self.asked("put_retention")?.put_retention(record)
    }
    fn erase(&self, erasure: &Erasure) -> Result<Erased, Error> {
        self.asked("erase")?.erase(erasure)
    }
    fn remove_tombstone(&self, user: UserKey) -> Result<(), Error> {
        self.asked("remove_tombstone")?.remove_tombstone(user)
    }
    fn replace_states(&self, generation: Generation, states: &[(UserKey, Vec<u8>)]) -> Result<(), Error> {
        self.asked("replace_states")?.replace_states(generation, states)
    }
    fn drop_states(&self, generation: Generation) -> Result<(), Error> {
        self.asked("drop_states")?.drop_states(generation)
    }
    fn generations(&self) -> Result<Option<Vec<u8>>, Error> {
        self.engine.generations()
    }
    fn put_generations(&self, record: &[u8]) -> Result<(), Error> {
        self.asked("put_generations")?.put_generations(record)
    }
    fn first_feature_set(&self) -> Result<Option<ContentHash>, Error> {
        self.engine.first_feature_set()
    }
    fn counters(&self) -> Result<Vec<(u32, Counters)>, Error> {
        self.engine.counters()
    }
    fn put_exposures(&self, user: UserKey, record: &[u8]) -> Result<(), Error> {
        self.asked("put_exposures")?.put_exposures(user, record)
    }
    fn put_ledger(
        &self,
        user: UserKey,
        exposures: Option<&[u8]>,
        rows: &[(Vec<u8>, Option<Vec<u8>>)],
    ) -> Result<(), Error> {
        self.asked("put_ledger")?.put_ledger(user, exposures, rows)
    }
    fn ledger(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        self.engine.ledger()
    }
    fn put_profile(&self, user: UserKey, record: &[u8]) -> Result<(), Error> {
        self.asked("put_profile")?.put_profile(user, record)
    }
    fn append_quarantine(&self, records: &[Vec<u8>], keep: u64) -> Result<u64, Error> {
        self.asked("append_quarantine")?.append_quarantine(records, keep)
    }
    fn quarantined(&self, before: Option<u64>, limit: usize) -> Result<Vec<QuarantineRecord>, Error> {
        self.engine.quarantined(before, limit)
    }
    fn remove_quarantined(&self, numbers: &[u64]) -> Result<u64, Error> {
        self.asked("remove_quarantined")?.remove_quarantined(numbers)
    }
    fn quarantine_len(&self) -> u64 {
        self.engine.quarantine_len()
    }
    fn answers(&self) -> &dyn super::Answers {
        self.engine.answers()
    }
    fn flush(&self) -> Result<(), Error> {
        self.asked("flush")?.flush()
    }
    fn usage(&self) -> Usage {
        self.engine.usage()
    }
}
