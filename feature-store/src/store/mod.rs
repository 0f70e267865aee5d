//! What a storage engine must offer, so that everything above it is written once.
//!
//! An engine is a [`Store`]. It keeps eight tables under a user's key (states by generation, events, dedup marks, bases, exposures,
//! profile, links, tombstone) and five that belong to nobody (kept answers, quarantine, counters, generations, days on which something is due). Records are opaque bytes; their layouts belong
//! to `state`, `event_record`, `exposure`, `profile`, `identity`, `quarantine`, `generation` and `retention`. What every engine promises:
//!
//! - **Order.** Events come by user key and then by sequence, users by key.
//! - **Atomicity.** Each method that writes takes effect whole or not at all, for readers and after a crash.
//! - **Durability.** [`Store::commit`], [`Store::relocate`], [`Store::prune`], [`Store::erase`], [`Store::put_profile`],
//!   [`Store::put_generations`] and [`Store::append_quarantine`] survive the loss of power once they
//!   return, when the engine was opened so; the other writes do after the next of these or [`Store::flush`].
//! - **Idempotence.** Writing the same again changes nothing; so does erasing a user of whom nothing is stored.
//! - **Reads.** A point read sees every write that returned before it began. An iterator shows what was there at its
//!   start, and a [`Store::snapshot`] what was there at its own, for all tables of all users, whatever is written
//!   meanwhile. Readers never wait for writers.
//! - **Erasure.** Nothing under the user's key, and no answer about the user, is left but the tombstone, what the erasure puts in the place of the profile, and until its day the note that something is due.
//!   Ids that were linked to the user get a tombstone, too.
//! - **One writer per user.** Callers see to it; the engine need not.
//!
//! The suite `contract` holds every engine to this. Not here: features, threads, locks over several calls.

mod answers;
#[cfg(test)]
mod contract;
#[cfg(test)]
pub(crate) mod faulty;
mod memory;
mod pruning;
mod relocation;
#[cfg(feature = "rocksdb")]
mod rocks;
#[cfg(feature = "rocksdb")]
mod rocks_answers;
#[cfg(feature = "rocksdb")]
mod rocks_counters;
#[cfg(feature = "rocksdb")]
mod rocks_open;
#[cfg(feature = "rocksdb")]
mod rocks_quarantine;
#[cfg(feature = "rocksdb")]
mod rocks_read;
#[cfg(feature = "rocksdb")]
mod state_cache;

use augur_domain::ids::MessageKey;
use augur_domain::{ContentHash, UserKey};

pub use answers::{Answers, NewAnswer};
pub use memory::MemoryStore;
pub use pruning::{Due, Pruning};
pub use relocation::{MovedMark, NewLink, Relocation};
#[cfg(feature = "rocksdb")]
pub use rocks::RocksStore;

use crate::Error;

/// One set of states, kept for one version of the feature definitions. Counted from 1; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(u32);

impl Generation {
    /// The one that a new directory begins with.
    pub const FIRST: Self = Self(1);

    /// The generation of this number; `None` for 0.
    pub const fn new(number: u32) -> Option<Self> {
        if number == 0 { None } else { Some(Self(number)) }
    }

    /// Its number.
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl std::fmt::Display for Generation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

/// What one group of events changes. All of it is stored, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Commit {
    /// The writer's number; its counters are kept under it.
    pub shard: u32,
    /// Events in the order of arrival, each with the mark by which it is recognised when sent again.
    pub events: Vec<NewEvent>,
    /// New states, each user once per generation.
    pub states: Vec<(Generation, UserKey, Vec<u8>)>,
    /// Days on which something of a user becomes due to be removed.
    pub due: Vec<Due>,
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
    /// Users at their first event. One who was erased and comes back counts again.
    pub users: u64,
    /// Users erased, or merged into others.
    pub erased_users: u64,
}

/// Bytes that an engine uses, and what its cache of states is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Unflushed writes in memory.
    pub write_buffer_bytes: u64,
    /// Cached blocks in memory.
    pub block_cache_bytes: u64,
    /// Cached states in memory.
    pub state_cache_bytes: u64,
    /// Reads of a state that found it there, since the start.
    pub state_cache_hits: u64,
    /// Reads of a state that did not.
    pub state_cache_misses: u64,
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

/// One entry of the quarantine, still encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineRecord {
    /// Higher than those of all earlier entries; never given again.
    pub number: u64,
    /// The encoded entry.
    pub record: Vec<u8>,
}

/// Event records one after another: those that were there at its start, whatever is committed meanwhile.
pub type EventRecords<'a> = Box<dyn Iterator<Item = Result<EventRecord, Error>> + 'a>;
/// A place in the event log that moves forward or jumps, over the events that were there when it was made.
#[expect(clippy::missing_errors_doc, reason = "as for the store")]
pub trait EventCursor {
    /// Goes to the first event at or after `sequence` of `user`, or of the users behind.
    fn seek(&mut self, user: UserKey, sequence: u64) -> Result<(), Error>;
    /// The event at the place, going on to the one behind it; `None` at the end of the log.
    fn next_record(&mut self) -> Result<Option<EventRecord>, Error>;
}

/// Users one after another.
pub type Users<'a> = Box<dyn Iterator<Item = Result<UserKey, Error>> + 'a>;

/// What an engine tells from memory alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cached {
    /// What a read would give: the record, or that there is none.
    Known(Option<Vec<u8>>),
    /// Only a read that may block can tell.
    NotCached,
}

/// Everything of one user, to be removed in one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Whose.
    pub user: UserKey,
    /// What is left in its place, see [`Read::tombstone`].
    pub tombstone: Vec<u8>,
    /// Days under which it is noted that something of the user is due.
    pub due: Vec<u32>,
    /// What is left in the place of profiles: of the user, and of ids that were linked to the user.
    pub profiles: Vec<(UserKey, Vec<u8>)>,
    /// Numbers of quarantine entries that are about the user.
    pub quarantined: Vec<u64>,
    /// The writer's number and its counters as they are afterwards.
    pub shard: u32,
    /// See [`Self::shard`].
    pub counters: Counters,
}

/// What an erasure removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Erased {
    /// State records.
    pub states: u64,
    /// Event records.
    pub events: u64,
    /// Dedup marks.
    pub messages: u64,
    /// Exposure records.
    pub exposures: u64,
    /// Profiles.
    pub profiles: u64,
    /// Quarantine entries.
    pub quarantined: u64,
    /// Ids that were linked to the user.
    pub links: u64,
}

/// A row of the ledger: key and value.
pub type LedgerRow = (Vec<u8>, Vec<u8>);
/// A change of a row of the ledger; without a value it goes.
pub type LedgerChange = (Vec<u8>, Option<Vec<u8>>);

/// What can be read of users: in the engine as it is now, or in a [`Store::snapshot`] of it. Every method may block on a
/// disk and fails with [`Error::Storage`] or [`Error::Corrupted`].
#[expect(clippy::missing_errors_doc, reason = "the trait's own sentence covers every method")]
pub trait Read {
    /// The user's encoded state in a generation.
    fn state(&self, generation: Generation, user: UserKey) -> Result<Option<Vec<u8>>, Error>;
    /// The sequence of this user's event with this message key, if one was stored.
    fn message_sequence(&self, user: UserKey, message_key: MessageKey) -> Result<Option<u64>, Error>;
    /// Whether an event of this user with this message key was stored.
    fn contains_message(&self, user: UserKey, message_key: MessageKey) -> Result<bool, Error> {
        Ok(self.message_sequence(user, message_key)?.is_some())
    }
    /// [`Self::state`] of each of these users, who come in key order.
    fn states(&self, generation: Generation, users: &[UserKey]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        users.iter().map(|user| self.state(generation, *user)).collect()
    }
    /// [`Self::contains_message`] for each of these users and message keys, which come in key order.
    fn contains_messages(&self, messages: &[(UserKey, MessageKey)]) -> Result<Vec<bool>, Error> {
        messages.iter().map(|(user, message_key)| self.contains_message(*user, *message_key)).collect()
    }
    /// The user's events in the order of their sequence.
    fn events(&self, user: UserKey) -> Result<EventRecords<'_>, Error> {
        self.events_after(user, 0)
    }
    /// The user's events with a sequence greater than `after`, in its order.
    fn events_after(&self, user: UserKey, after: u64) -> Result<EventRecords<'_>, Error>;
    /// The sequence of the user's last event, 0 without one.
    fn last_sequence(&self, user: UserKey) -> Result<u64, Error>;
    /// All events, by user and then by sequence.
    fn all_events(&self) -> Result<EventRecords<'_>, Error>;
    /// A cursor before the first of all events, which are ordered by user and then by sequence.
    fn event_cursor(&self) -> Result<Box<dyn EventCursor + '_>, Error>;
    /// Every user with a state, in key order.
    /// Every user with a state in a generation, in key order, behind `after` if it is given.
    fn users(&self, generation: Generation, after: Option<UserKey>) -> Result<Users<'_>, Error>;
    /// What stands for the user's events that were removed, encoded.
    fn base(&self, user: UserKey) -> Result<Option<Vec<u8>>, Error>;
    /// The user's dedup marks: message keys with the sequences of their events, by key.
    fn marks(&self, user: UserKey) -> Result<Vec<(MessageKey, u64)>, Error>;
    /// The user's encoded exposures.
    fn exposures(&self, user: UserKey) -> Result<Option<Vec<u8>>, Error>;
    /// The person's encoded profile.
    fn profile(&self, user: UserKey) -> Result<Option<Vec<u8>>, Error>;
    /// Whether anybody has a profile.
    fn has_profiles(&self) -> Result<bool, Error>;
    /// What an erasure left of the user, if there was one.
    fn tombstone(&self, user: UserKey) -> Result<Option<Vec<u8>>, Error>;
    /// The encoded link of an id to a person.
    fn link(&self, id: UserKey) -> Result<Option<Vec<u8>>, Error>;
    /// The ids linked to a person, in key order.
    fn linked_ids(&self, person: UserKey) -> Result<Vec<UserKey>, Error>;
    /// Whether any id is linked to anybody.
    fn has_links(&self) -> Result<bool, Error>;
}

/// A storage engine; the module says what it promises. Every method may block on a disk, except where it says
/// otherwise, and fails with [`Error::Storage`] or [`Error::Corrupted`].
#[expect(clippy::missing_errors_doc, reason = "the trait's own sentence covers every method")]
pub trait Store: Read + Send + Sync + 'static {
    /// A consistent view of everything at this moment. Costs little until dropped, when what it kept from being
    /// cleaned up is; so hold it briefly.
    fn snapshot(&self) -> Result<Box<dyn Read + '_>, Error>;
    /// The user's encoded state in a generation, if memory can tell; never blocks on a disk.
    fn state_if_cached(&self, generation: Generation, user: UserKey) -> Result<Cached, Error>;
    /// The user's encoded exposures, if memory can tell; never blocks on a disk.
    fn exposures_if_cached(&self, user: UserKey) -> Result<Cached, Error>;
    /// The person's encoded profile, if memory can tell; never blocks on a disk.
    fn profile_if_cached(&self, user: UserKey) -> Result<Cached, Error>;
    /// The encoded link of an id, if memory can tell; never blocks on a disk.
    fn link_if_cached(&self, id: UserKey) -> Result<Cached, Error>;
    /// Stores a group.
    fn commit(&self, commit: &Commit) -> Result<(), Error>;
    /// Stores a group in one step with what moves between users.
    fn relocate(&self, commit: &Commit, relocation: &Relocation) -> Result<(), Error>;
    /// Removes what has been kept long enough of one user, in one step with what stands for it.
    fn prune(&self, pruning: &Pruning) -> Result<(), Error>;
    /// Overwrites bases outside a commit, before the states that follow them.
    fn replace_bases(&self, bases: &[(UserKey, Vec<u8>)]) -> Result<(), Error>;
    /// At most `limit` of what is due on `day` or before, by day and then by user.
    fn due(&self, day: u32, limit: usize) -> Result<Vec<Due>, Error>;
    /// How far retention has come, encoded.
    fn retention(&self) -> Result<Option<Vec<u8>>, Error>;
    /// Replaces that record.
    fn put_retention(&self, record: &[u8]) -> Result<(), Error>;
    /// Removes everything of a user, also the links of other ids to this user, and leaves tombstones under the user's key
    /// and under these ids. What was removed can no longer be read, by any snapshot made later; an engine may take
    /// longer to free its space.
    fn erase(&self, erasure: &Erasure) -> Result<Erased, Error>;
    /// Takes a tombstone away.
    fn remove_tombstone(&self, user: UserKey) -> Result<(), Error>;
    /// Overwrites states of a generation outside a commit.
    fn replace_states(&self, generation: Generation, states: &[(UserKey, Vec<u8>)]) -> Result<(), Error>;
    /// Removes every state of a generation and gives their space back; may take long, and is not one step.
    fn drop_states(&self, generation: Generation) -> Result<(), Error>;
    /// The encoded record of the generations there are.
    fn generations(&self) -> Result<Option<Vec<u8>>, Error>;
    /// Replaces that record; everything written before is durable with it.
    fn put_generations(&self, record: &[u8]) -> Result<(), Error>;
    /// Which definitions the states of the first generation follow, as directories tell it that know no others.
    fn first_feature_set(&self) -> Result<Option<ContentHash>, Error> {
        Ok(None)
    }
    /// The counters of every writer there ever was.
    fn counters(&self) -> Result<Vec<(u32, Counters)>, Error>;
    /// Replaces the user's exposures; survives the end of the process, not of the machine.
    fn put_exposures(&self, user: UserKey, record: &[u8]) -> Result<(), Error>;
    /// Replaces the user's exposures, if a record is given, and the rows of the ledger, `None` for those that go, in one
    /// step; survives the end of the process, not of the machine.
    fn put_ledger(&self, user: UserKey, exposures: Option<&[u8]>, rows: &[LedgerChange])
    -> Result<(), Error>;
    /// Every row of the ledger, keys in order.
    fn ledger(&self) -> Result<Vec<LedgerRow>, Error>;
    /// Replaces the person's profile.
    fn put_profile(&self, user: UserKey, record: &[u8]) -> Result<(), Error>;
    /// Appends to the quarantine in order, each entry under a number higher than any before, and removes the oldest
    /// entries beyond `keep`.
    fn append_quarantine(&self, records: &[Vec<u8>], keep: u64) -> Result<u64, Error>;
    /// At most `limit` entries of the quarantine with their numbers, newest first; with `before`, only those with
    /// lower numbers.
    fn quarantined(&self, before: Option<u64>, limit: usize) -> Result<Vec<QuarantineRecord>, Error>;
    /// Removes entries of the quarantine; says how many were there.
    fn remove_quarantined(&self, numbers: &[u64]) -> Result<u64, Error>;
    /// How many entries the quarantine holds.
    fn quarantine_len(&self) -> u64;
    /// The table of kept answers.
    fn answers(&self) -> &dyn Answers;
    /// Makes everything durable and moves it out of memory buffers.
    fn flush(&self) -> Result<(), Error>;
    /// Bytes used now.
    fn usage(&self) -> Usage;
}
