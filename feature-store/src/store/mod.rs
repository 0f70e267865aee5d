//! What a storage engine must offer, so that everything above it is written once.
//!
//! Records are opaque bytes here; their layouts belong to `state`, `event_record`, `exposure` and `quarantine`.
//! One suite, `contract`, says what holds for every engine. Not here: features, threads, locks over several calls.

#[cfg(test)]
mod contract;
mod memory;
#[cfg(feature = "rocksdb")]
mod rocks;
#[cfg(feature = "rocksdb")]
mod rocks_open;

use augur_domain::ids::MessageKey;
use augur_domain::{ContentHash, UserKey};

pub use memory::MemoryStore;
#[cfg(feature = "rocksdb")]
pub use rocks::RocksStore;

use crate::Error;

/// What one group of events changes. All of it is stored, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Commit {
    /// The writer's number; its counters are kept under it.
    pub shard: u32,
    /// Events in the order of arrival, each with the mark by which it is recognised when sent again.
    pub events: Vec<NewEvent>,
    /// New states, each user once.
    pub states: Vec<(UserKey, Vec<u8>)>,
    /// The writer's counters as they are afterwards.
    pub counters: Counters,
}

/// One event to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Whom it is about.
    pub user: UserKey,
    /// Its place among the user's events, from 1.
    pub sequence: u64,
    /// Its message key; remembered per user, so that one sender's ids cannot swallow another user's events.
    pub message_key: MessageKey,
    /// The encoded event.
    pub record: Vec<u8>,
}

/// Running totals of one writer, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Events stored.
    pub events: u64,
    /// Users with at least one event.
    pub users: u64,
}

/// Bytes that an engine uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Unflushed writes in memory.
    pub write_buffer_bytes: u64,
    /// Cached blocks in memory.
    pub block_cache_bytes: u64,
    /// Files, approximately.
    pub disk_bytes: u64,
}

/// One stored event, still encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRecord {
    /// Whom it is about.
    pub user: UserKey,
    /// Its place among the user's events, from 1.
    pub sequence: u64,
    /// The encoded event.
    pub record: Vec<u8>,
}

/// Event records one after another: those that were there at its start, whatever is committed meanwhile.
pub type EventRecords<'a> = Box<dyn Iterator<Item = Result<EventRecord, Error>> + 'a>;
/// Users one after another.
pub type Users<'a> = Box<dyn Iterator<Item = Result<UserKey, Error>> + 'a>;

/// A storage engine. Every method may block on a disk and fails with [`Error::Storage`] or [`Error::Corrupted`].
#[expect(clippy::missing_errors_doc, reason = "the trait's own sentence covers every method")]
pub trait Store: Send + Sync + 'static {
    /// The user's encoded state.
    fn state(&self, user: UserKey) -> Result<Option<Vec<u8>>, Error>;
    /// Whether an event of this user with this message key was stored.
    fn contains_message(&self, user: UserKey, message_key: MessageKey) -> Result<bool, Error>;
    /// Stores a group, whole or not at all; durable on return if the engine was opened so.
    fn commit(&self, commit: &Commit) -> Result<(), Error>;
    /// The user's events in the order of their sequence.
    fn events(&self, user: UserKey) -> Result<EventRecords<'_>, Error>;
    /// All events, by user and then by sequence.
    fn all_events(&self) -> Result<EventRecords<'_>, Error>;
    /// Every user with a state, in key order.
    fn users(&self) -> Result<Users<'_>, Error>;
    /// Overwrites states, for a rebuild; need not be durable before the next [`Self::set_feature_set`].
    fn replace_states(&self, states: &[(UserKey, Vec<u8>)]) -> Result<(), Error>;
    /// Which definitions the states follow; `None` when they follow none for sure.
    fn feature_set(&self) -> Result<Option<ContentHash>, Error>;
    /// Says which definitions the states follow, durably, together with all states replaced before.
    fn set_feature_set(&self, feature_set: Option<ContentHash>) -> Result<(), Error>;
    /// The counters of every writer there ever was.
    fn counters(&self) -> Result<Vec<(u32, Counters)>, Error>;
    /// The user's encoded exposures.
    fn exposures(&self, user: UserKey) -> Result<Option<Vec<u8>>, Error>;
    /// Replaces the user's exposures; survives the end of the process, not of the machine.
    fn put_exposures(&self, user: UserKey, record: &[u8]) -> Result<(), Error>;
    /// Appends to the quarantine in order, and removes the oldest entries beyond `keep`.
    fn append_quarantine(&self, records: &[Vec<u8>], keep: u64) -> Result<(), Error>;
    /// The newest entries of the quarantine, newest first.
    fn newest_quarantined(&self, limit: usize) -> Result<Vec<Vec<u8>>, Error>;
    /// How many entries the quarantine holds.
    fn quarantine_len(&self) -> u64;
    /// Makes everything durable.
    fn flush(&self) -> Result<(), Error>;
    /// Bytes used now.
    fn usage(&self) -> Usage;
}
