//! Reading users from RocksDB: as it is now, as it was at a snapshot, or as far as memory can tell.
//!
//! Not here: writes, quarantine and counters (`rocks`).

use augur_domain::UserKey;
use augur_domain::ids::MessageKey;
use rocksdb::{
    ColumnFamily, DB, DBRawIterator, Direction, ErrorKind, IteratorMode, ReadOptions, ReadTier, Snapshot,
};

use super::rocks_open::{
    BASES, DUE, EVENTS, EXPOSURES, IDENTITY, LATER_STATES, MESSAGES, PROFILES, STATES, TOMBSTONES,
};
use super::{Cached, Due, EventCursor, EventRecord, EventRecords, Generation, Read, Users};
use crate::Error;
use crate::error::DecodeError;

/// Scans read ahead this far and leave the cache to point reads.
const READAHEAD_BYTES: usize = 1 << 20;

/// Key and value.
type Entry = (Box<[u8]>, Box<[u8]>);

pub(super) fn failed(action: &'static str) -> impl Fn(rocksdb::Error) -> Error {
    move |error| match error.kind() {
        ErrorKind::Corruption => {
            let source = DecodeError::Engine { action, detail: error.to_string() };
            Error::corrupted("data", source)
        }
        _ => Error::Storage { action, detail: error.to_string() },
    }
}

pub(super) fn corrupted(what: impl Into<String>, field: &'static str) -> Error {
    Error::corrupted(what, DecodeError::Invalid { field })
}

pub(super) fn message_key(user: UserKey, message_key: MessageKey) -> [u8; 32] {
    let mut key = [0; 32];
    let (head, tail) = key.split_at_mut(UserKey::LEN);
    head.copy_from_slice(user.as_bytes());
    tail.copy_from_slice(message_key.as_bytes());
    key
}

/// Where a state is kept: family and key. The first generation's place is that of directories that know no others.
pub(super) struct StatePlace {
    pub(super) family: &'static str,
    key: [u8; GENERATION_BYTES + UserKey::LEN],
    /// Leading bytes of the key that are not used.
    unused: usize,
}

const GENERATION_BYTES: usize = 4;

impl StatePlace {
    pub(super) fn new(generation: Generation, user: UserKey) -> Self {
        let mut key = [0; GENERATION_BYTES + UserKey::LEN];
        let (head, tail) = key.split_at_mut(GENERATION_BYTES);
        head.copy_from_slice(&generation.number().to_be_bytes());
        tail.copy_from_slice(user.as_bytes());
        let (family, unused) =
            if generation == Generation::FIRST { (STATES, GENERATION_BYTES) } else { (LATER_STATES, 0) };
        Self { family, key, unused }
    }

    pub(super) fn key(&self) -> &[u8] {
        self.key.get(self.unused..).unwrap_or_default()
    }

    /// What the keys of all states of the generation begin with.
    fn prefix(&self) -> &[u8] {
        self.key.get(self.unused..GENERATION_BYTES).unwrap_or_default()
    }
}

pub(super) fn event_key(user: UserKey, sequence: u64) -> [u8; 24] {
    let mut key = [0; 24];
    let (head, tail) = key.split_at_mut(UserKey::LEN);
    head.copy_from_slice(user.as_bytes());
    tail.copy_from_slice(&sequence.to_be_bytes());
    key
}

/// Days ascend as keys do.
pub(super) fn due_key(due: Due) -> [u8; 20] {
    let mut key = [0; 20];
    let (head, tail) = key.split_at_mut(4);
    head.copy_from_slice(&due.day.to_be_bytes());
    tail.copy_from_slice(due.user.as_bytes());
    key
}

fn event_record(key: &[u8], record: Vec<u8>) -> Result<EventRecord, Error> {
    let invalid = || corrupted("event log", "key");
    let (user, sequence) = key.split_first_chunk::<{ UserKey::LEN }>().ok_or_else(invalid)?;
    let sequence = sequence.try_into().map_err(|_| invalid())?;
    Ok(EventRecord { user: UserKey::from_bytes(*user), sequence: u64::from_be_bytes(sequence), record })
}

/// Reads ahead by itself once it is read in order, and little where it jumps.
/// Where the link of an id is.
pub(super) fn link_key(id: UserKey) -> [u8; 17] {
    let mut key = [b'L'; 17];
    let (_, tail) = key.split_at_mut(1);
    tail.copy_from_slice(id.as_bytes());
    key
}

/// What the keys of a person's linked ids start with.
pub(super) fn linked_ids_prefix(person: UserKey) -> [u8; 17] {
    let mut key = [b'P'; 17];
    let (_, tail) = key.split_at_mut(1);
    tail.copy_from_slice(person.as_bytes());
    key
}

/// Where it is noted that `id` is linked to `person`.
pub(super) fn linked_id_key(person: UserKey, id: UserKey) -> [u8; 33] {
    let mut key = [0; 33];
    let (head, tail) = key.split_at_mut(17);
    head.copy_from_slice(&linked_ids_prefix(person));
    tail.copy_from_slice(id.as_bytes());
    key
}

struct Cursor<'a>(DBRawIterator<'a>);

impl EventCursor for Cursor<'_> {
    fn seek(&mut self, user: UserKey, sequence: u64) -> Result<(), Error> {
        self.0.seek(event_key(user, sequence));
        self.0.status().map_err(failed("reading events"))
    }

    fn next_record(&mut self) -> Result<Option<EventRecord>, Error> {
        let record = self.0.item().map(|(key, record)| event_record(key, record.to_vec())).transpose()?;
        match record {
            Some(_) => self.0.next(),
            None => self.0.status().map_err(failed("reading events"))?,
        }
        Ok(record)
    }
}

/// Reads of the database, or of a snapshot of it.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) db: &'a DB,
    pub(super) snapshot: Option<&'a Snapshot<'a>>,
}

impl<'a> Reader<'a> {
    pub(super) fn family(self, name: &'static str) -> Result<&'a ColumnFamily, Error> {
        self.db.cf_handle(name).ok_or_else(|| Error::Storage {
            action: "looking up a column family",
            detail: format!("`{name}` is not open"),
        })
    }

    fn options(self) -> ReadOptions {
        let mut options = ReadOptions::default();
        if let Some(snapshot) = self.snapshot {
            options.set_snapshot(snapshot);
        }
        options
    }

    pub(super) fn get(
        self,
        family: &'static str,
        key: &[u8],
        action: &'static str,
    ) -> Result<Option<Vec<u8>>, Error> {
        self.db.get_cf_opt(self.family(family)?, key, &self.options()).map_err(failed(action))
    }

    pub(super) fn cached(
        self,
        family: &'static str,
        key: &[u8],
        action: &'static str,
    ) -> Result<Cached, Error> {
        let mut options = self.options();
        options.set_read_tier(ReadTier::BlockCache);
        match self.db.get_cf_opt(self.family(family)?, key, &options) {
            Ok(record) => Ok(Cached::Known(record)),
            Err(error) if error.kind() == ErrorKind::Incomplete => Ok(Cached::NotCached),
            Err(error) => Err(failed(action)(error)),
        }
    }

    /// Key-value pairs whose keys start with `prefix`, in key order.
    pub(super) fn scan(
        self,
        family: &'static str,
        prefix: &[u8],
        action: &'static str,
    ) -> Result<impl Iterator<Item = Result<Entry, Error>> + use<'a>, Error> {
        self.scan_from(family, prefix, prefix, action)
    }

    /// Those of them whose keys are not below `from`.
    fn scan_from(
        self,
        family: &'static str,
        prefix: &[u8],
        from: &[u8],
        action: &'static str,
    ) -> Result<impl Iterator<Item = Result<Entry, Error>> + use<'a>, Error> {
        let mut options = self.options();
        options.fill_cache(false);
        // One user's records are few: reading ahead of them would fetch those of hundreds of others.
        if prefix.len() < UserKey::LEN {
            options.set_readahead_size(READAHEAD_BYTES);
        }
        options.set_iterate_range(rocksdb::PrefixRange(prefix.to_vec()));
        let mode = IteratorMode::From(from, Direction::Forward);
        let entries = self.db.iterator_cf_opt(self.family(family)?, options, mode);
        Ok(entries.map(move |entry| entry.map_err(failed(action))))
    }

    pub(super) fn state(self, generation: Generation, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        let place = StatePlace::new(generation, user);
        self.get(place.family, place.key(), "reading a state")
    }

    /// The states of users who come in key order, in one pass over the buffers and files.
    pub(super) fn states(
        self,
        generation: Generation,
        users: &[UserKey],
    ) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let Some(first) = users.first() else { return Ok(Vec::new()) };
        let family = self.family(StatePlace::new(generation, *first).family)?;
        let places: Vec<_> = users.iter().map(|user| StatePlace::new(generation, *user)).collect();
        let keys = places.iter().map(StatePlace::key);
        let found = self.db.batched_multi_get_cf_opt(family, keys, true, &self.options());
        let records = found.into_iter().map(|record| Ok(record?.map(|record| record.to_vec())));
        records.collect::<Result<_, _>>().map_err(failed("reading states"))
    }

    /// Which of these marks are there; they come in key order.
    pub(super) fn contains_messages(self, messages: &[(UserKey, MessageKey)]) -> Result<Vec<bool>, Error> {
        let keys: Vec<_> = messages.iter().map(|(user, message)| message_key(*user, *message)).collect();
        let keys = keys.iter().map(<[u8; 32]>::as_slice);
        let found = self.db.batched_multi_get_cf_opt(self.family(MESSAGES)?, keys, true, &self.options());
        let found = found.into_iter().map(|mark| mark.map(|mark| mark.is_some()));
        found.collect::<Result<_, _>>().map_err(failed("looking up messages"))
    }

    /// The later generations that have a state.
    pub(super) fn later_generations(self) -> Result<Vec<Generation>, Error> {
        let mut generations: Vec<Generation> = Vec::new();
        let mut from = Some(Generation::FIRST);
        while let Some(next) = from.and_then(|it| Generation::new(it.number().checked_add(1)?)) {
            let place = StatePlace::new(next, UserKey::from_bytes([0; UserKey::LEN]));
            let mut entries = self.scan_from(LATER_STATES, &[], place.key(), "listing generations")?;
            let first = entries.next().transpose()?;
            let number = first.as_ref().and_then(|(key, _)| key.first_chunk().copied());
            from = number.map(u32::from_be_bytes).and_then(Generation::new);
            generations.extend(from);
        }
        Ok(generations)
    }

    pub(super) fn message_sequence(self, user: UserKey, message: MessageKey) -> Result<Option<u64>, Error> {
        let (family, key) = (self.family(MESSAGES)?, message_key(user, message));
        let found = self.db.get_pinned_cf_opt(family, key, &self.options());
        let Some(found) = found.map_err(failed("looking up a message"))? else { return Ok(None) };
        let sequence = found.as_ref().try_into().map_err(|_| corrupted("dedup mark", "sequence"))?;
        Ok(Some(u64::from_be_bytes(sequence)))
    }

    pub(super) fn events_after(self, user: UserKey, after: u64) -> Result<EventRecords<'a>, Error> {
        // There is no event behind the last number.
        let from = event_key(user, after.saturating_add(1));
        self.events(user.as_bytes(), &from)
    }

    pub(super) fn events(self, prefix: &[u8], from: &[u8]) -> Result<EventRecords<'a>, Error> {
        let entries = self.scan_from(EVENTS, prefix, from, "reading events")?;
        Ok(Box::new(entries.map(|entry| {
            let (key, record) = entry?;
            event_record(&key, record.into_vec())
        })))
    }

    pub(super) fn last_sequence(self, user: UserKey) -> Result<u64, Error> {
        let mut iterator = self.db.raw_iterator_cf_opt(self.family(EVENTS)?, self.options());
        iterator.seek_for_prev(event_key(user, u64::MAX));
        iterator.status().map_err(failed("reading events"))?;
        let Some(key) = iterator.key() else { return Ok(0) };
        let found = event_record(key, Vec::new())?;
        Ok(if found.user == user { found.sequence } else { 0 })
    }

    pub(super) fn event_cursor(self) -> Result<Box<dyn EventCursor + 'a>, Error> {
        let mut options = self.options();
        options.fill_cache(false);
        let mut iterator = self.db.raw_iterator_cf_opt(self.family(EVENTS)?, options);
        iterator.seek_to_first();
        iterator.status().map_err(failed("reading events"))?;
        Ok(Box::new(Cursor(iterator)))
    }

    pub(super) fn users(self, generation: Generation, after: Option<UserKey>) -> Result<Users<'a>, Error> {
        let from = StatePlace::new(generation, after.unwrap_or(UserKey::from_bytes([0; UserKey::LEN])));
        let entries = self.scan_from(from.family, from.prefix(), from.key(), "listing users")?;
        let users = entries.map(|entry| {
            let (key, _) = entry?;
            let user = key.last_chunk().ok_or_else(|| corrupted("states", "key"))?;
            Ok(UserKey::from_bytes(*user))
        });
        Ok(Box::new(users.skip_while(move |user| user.as_ref().is_ok_and(|user| Some(*user) == after))))
    }

    pub(super) fn base(self, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.get(BASES, user.as_bytes(), "reading a base")
    }

    pub(super) fn marks(self, user: UserKey) -> Result<Vec<(MessageKey, u64)>, Error> {
        let marks = self.scan(MESSAGES, user.as_bytes(), "listing dedup marks")?.map(|entry| {
            let (key, sequence) = entry?;
            let key = key.last_chunk().ok_or_else(|| corrupted("dedup mark", "key"))?;
            let sequence = sequence.as_ref().try_into().map_err(|_| corrupted("dedup mark", "sequence"))?;
            Ok((MessageKey::from_bytes(*key), u64::from_be_bytes(sequence)))
        });
        marks.collect()
    }

    pub(super) fn due(self, day: u32, limit: usize) -> Result<Vec<Due>, Error> {
        let mut due = Vec::new();
        for entry in self.scan(DUE, &[], "listing what is due")?.take(limit) {
            let (key, _) = entry?;
            let (day_of, user) = key.split_first_chunk().ok_or_else(|| corrupted("days", "key"))?;
            let user = user.try_into().map_err(|_| corrupted("days", "key"))?;
            let next = Due { day: u32::from_be_bytes(*day_of), user: UserKey::from_bytes(user) };
            if next.day > day {
                break;
            }
            due.push(next);
        }
        Ok(due)
    }

    pub(super) fn exposures(self, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.get(EXPOSURES, user.as_bytes(), "reading exposures")
    }

    pub(super) fn profile(self, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.get(PROFILES, user.as_bytes(), "reading a profile")
    }

    pub(super) fn has_profiles(self) -> Result<bool, Error> {
        let first = self.scan(PROFILES, &[], "looking for profiles")?.next().transpose()?;
        Ok(first.is_some())
    }

    pub(super) fn tombstone(self, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.get(TOMBSTONES, user.as_bytes(), "looking up a tombstone")
    }

    pub(super) fn link(self, id: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.get(IDENTITY, &link_key(id), "reading a link")
    }

    pub(super) fn linked_ids(self, person: UserKey) -> Result<Vec<UserKey>, Error> {
        let ids = self.scan(IDENTITY, &linked_ids_prefix(person), "listing links")?.map(|entry| {
            let (key, _) = entry?;
            let id = key.last_chunk::<{ UserKey::LEN }>().ok_or_else(|| corrupted("links", "key"))?;
            Ok(UserKey::from_bytes(*id))
        });
        ids.collect()
    }

    pub(super) fn has_links(self) -> Result<bool, Error> {
        let first = self.scan(IDENTITY, &[], "listing links")?.next().transpose()?;
        Ok(first.is_some())
    }
}

/// The database as it was at one moment.
pub(super) struct RocksSnapshot<'a> {
    pub(super) db: &'a DB,
    pub(super) snapshot: Snapshot<'a>,
}

impl RocksSnapshot<'_> {
    const fn reader(&self) -> Reader<'_> {
        Reader { db: self.db, snapshot: Some(&self.snapshot) }
    }
}

impl Read for RocksSnapshot<'_> {
    fn state(&self, generation: Generation, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.reader().state(generation, user)
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
