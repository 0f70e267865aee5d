//! Kept answers in RocksDB: one column family with three kinds of keys, told by their first byte.
//!
//! `K` and the key leads to the whole entry: the user, the expiry and the record. `E`, the expiry in milliseconds (8 bytes,
//! big-endian) and the key says what is forgotten next; `U`, the user and the key says what is about a user. Those two
//! have no value. Not here: what an answer is (`crate::answer`).

use std::sync::atomic::{AtomicU64, Ordering};

use augur_domain::ids::AnswerKey;
use augur_domain::{Timestamp, UserKey};
use parking_lot::{Mutex, MutexGuard};
use rocksdb::WriteBatch;

use super::rocks::RocksStore;
use super::rocks_open::ANSWERS;
use super::rocks_read::{Reader, corrupted};
use super::{Answers, Cached, NewAnswer};
use crate::Error;

const KEY: u8 = b'K';
const EXPIRY: u8 = b'E';
const USER: u8 = b'U';
const KEY_BYTES: usize = 16;

fn place(kind: u8, parts: [&[u8]; 2]) -> Vec<u8> {
    [&[kind], parts.concat().as_slice()].concat()
}

/// Instants before 1970 are as good as it.
fn expiry_bytes(expires_at: Timestamp) -> [u8; 8] {
    u64::try_from(expires_at.unix_ms()).unwrap_or(0).to_be_bytes()
}

/// Whom an entry is about, when it expires, and its record.
fn parts(entry: &[u8]) -> Result<(UserKey, [u8; 8], &[u8]), Error> {
    let invalid = || corrupted("answer", "entry");
    let (user, rest) = entry.split_first_chunk::<{ UserKey::LEN }>().ok_or_else(invalid)?;
    let (expiry, record) = rest.split_first_chunk::<8>().ok_or_else(invalid)?;
    Ok((UserKey::from_bytes(*user), *expiry, record))
}

/// How many entries there are, and whose turn it is to write them.
#[derive(Debug, Default)]
pub(super) struct AnswerEntries {
    count: AtomicU64,
    turn: Mutex<()>,
}

impl AnswerEntries {
    /// What was counted at opening.
    pub(super) fn set(&self, count: u64) {
        self.count.store(count, Ordering::Relaxed);
    }

    /// One batch at a time: whoever removes looks first, and must not remove what was put since.
    pub(super) fn writing(&self) -> Writing<'_> {
        Writing { entries: self, _turn: self.turn.lock(), added: 0, removed: 0 }
    }
}

/// A batch that is put together; its entries count once it is written.
pub(super) struct Writing<'a> {
    entries: &'a AnswerEntries,
    _turn: MutexGuard<'a, ()>,
    added: u64,
    removed: u64,
}

impl Writing<'_> {
    pub(super) const fn removed(&mut self, count: u64) {
        self.removed += count;
    }

    pub(super) fn written(self) {
        self.entries.count.fetch_add(self.added, Ordering::Relaxed);
        self.entries.count.fetch_sub(self.removed, Ordering::Relaxed);
    }
}

/// The table's keys and entries.
#[derive(Clone, Copy)]
pub(super) struct AnswerTable<'a> {
    pub(super) reader: Reader<'a>,
}

impl AnswerTable<'_> {
    /// Counts what is there, by reading all that expires.
    pub(super) fn count(self) -> Result<u64, Error> {
        let mut entries = 0;
        for entry in self.reader.scan(ANSWERS, &[EXPIRY], "counting answers")? {
            entry?;
            entries += 1;
        }
        Ok(entries)
    }

    fn entry(self, key: AnswerKey) -> Result<Option<Vec<u8>>, Error> {
        self.reader.get(ANSWERS, &place(KEY, [key.as_bytes(), &[]]), "reading an answer")
    }

    /// Puts an answer into the batch.
    fn put(self, batch: &mut WriteBatch, answer: &NewAnswer) -> Result<(), Error> {
        let NewAnswer { key, user, expires_at, record } = answer;
        let family = self.reader.family(ANSWERS)?;
        let expiry = expiry_bytes(*expires_at);
        let entry = [user.as_bytes(), expiry.as_slice(), record].concat();
        batch.put_cf(family, place(KEY, [key.as_bytes(), &[]]), entry);
        batch.put_cf(family, place(EXPIRY, [&expiry, key.as_bytes()]), []);
        batch.put_cf(family, place(USER, [user.as_bytes(), key.as_bytes()]), []);
        Ok(())
    }

    /// Puts the removal of a key into the batch; says how many entries go, one or none.
    fn remove(self, batch: &mut WriteBatch, key: AnswerKey) -> Result<u64, Error> {
        let Some(entry) = self.entry(key)? else { return Ok(0) };
        let (user, expiry, _) = parts(&entry)?;
        let family = self.reader.family(ANSWERS)?;
        batch.delete_cf(family, place(KEY, [key.as_bytes(), &[]]));
        batch.delete_cf(family, place(EXPIRY, [&expiry, key.as_bytes()]));
        batch.delete_cf(family, place(USER, [user.as_bytes(), key.as_bytes()]));
        Ok(1)
    }

    /// Puts the removal of what is about a user into the batch; says how many entries go.
    pub(super) fn erase(self, batch: &mut WriteBatch, user: UserKey) -> Result<u64, Error> {
        let mut removed = 0;
        for entry in self.reader.scan(ANSWERS, &place(USER, [user.as_bytes(), &[]]), "listing answers")? {
            removed += self.remove(batch, key_at_end(&entry?.0)?)?;
        }
        Ok(removed)
    }

    /// Puts the removal of what has expired into the batch; says how many entries go.
    fn remove_expired(self, batch: &mut WriteBatch, now: Timestamp, limit: usize) -> Result<u64, Error> {
        let (mut removed, now) = (0, expiry_bytes(now));
        for entry in self.reader.scan(ANSWERS, &[EXPIRY], "listing expired answers")?.take(limit) {
            let (place, _) = entry?;
            let expiry = place.get(1..9).ok_or_else(|| corrupted("answer", "expiry"))?;
            if expiry > now.as_slice() {
                break;
            }
            removed += self.remove(batch, key_at_end(&place)?)?;
        }
        Ok(removed)
    }
}

impl Answers for RocksStore {
    fn answer(&self, key: AnswerKey) -> Result<Option<Vec<u8>>, Error> {
        let entry = self.answer_table().entry(key)?;
        entry.map(|entry| parts(&entry).map(|(_, _, record)| record.to_vec())).transpose()
    }

    fn answer_if_cached(&self, key: AnswerKey) -> Result<Cached, Error> {
        let place = place(KEY, [key.as_bytes(), &[]]);
        match self.answer_table().reader.cached(ANSWERS, &place, "reading an answer")? {
            Cached::Known(Some(entry)) => {
                parts(&entry).map(|(_, _, record)| Cached::Known(Some(record.to_vec())))
            }
            other => Ok(other),
        }
    }

    fn put_answer(&self, answer: &NewAnswer) -> Result<(), Error> {
        let (mut writing, mut batch) = (self.answer_entries().writing(), WriteBatch::default());
        writing.removed = self.answer_table().remove(&mut batch, answer.key)?;
        writing.added = 1;
        self.answer_table().put(&mut batch, answer)?;
        self.write(batch, false, "keeping an answer")?;
        writing.written();
        Ok(())
    }

    fn remove_expired_answers(&self, now: Timestamp, limit: usize) -> Result<u64, Error> {
        let (mut writing, mut batch) = (self.answer_entries().writing(), WriteBatch::default());
        let removed = self.answer_table().remove_expired(&mut batch, now, limit)?;
        writing.removed(removed);
        if removed > 0 {
            self.write(batch, false, "removing expired answers")?;
        }
        writing.written();
        Ok(removed)
    }

    fn answers_len(&self) -> u64 {
        self.answer_entries().count.load(Ordering::Relaxed)
    }
}

fn key_at_end(place: &[u8]) -> Result<AnswerKey, Error> {
    let key = place.last_chunk::<KEY_BYTES>().ok_or_else(|| corrupted("answer", "key"))?;
    Ok(AnswerKey::from_bytes(*key))
}
