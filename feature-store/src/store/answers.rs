//! The table of kept answers: by key, by when they are forgotten, and by whom they are about.
//!
//! Not here: what an answer is (`crate::answer`), or how RocksDB keeps the table (`rocks_answers`).

use std::collections::{BTreeMap, BTreeSet};

use augur_domain::ids::AnswerKey;
use augur_domain::{Timestamp, UserKey};
use parking_lot::RwLock;

use super::Cached;
use crate::Error;

/// One answer to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAnswer {
    /// Under which it is found.
    pub key: AnswerKey,
    /// Whom it is about: it goes when the user is erased.
    pub user: UserKey,
    /// From when on it may be removed.
    pub expires_at: Timestamp,
    /// The encoded answer.
    pub record: Vec<u8>,
}

/// What an engine does with answers. As for [`super::Store`]: every method may block on a disk unless it says
/// otherwise, and fails with [`Error::Storage`] or [`Error::Corrupted`].
#[expect(clippy::missing_errors_doc, reason = "the trait's own sentence covers every method")]
pub trait Answers {
    /// The encoded answer under a key.
    fn answer(&self, key: AnswerKey) -> Result<Option<Vec<u8>>, Error>;
    /// [`Self::answer`], if memory can tell; never blocks on a disk.
    fn answer_if_cached(&self, key: AnswerKey) -> Result<Cached, Error>;
    /// Keeps an answer, in the place of an expired one of the same key; survives the end of the process, not of the
    /// machine.
    fn put_answer(&self, answer: &NewAnswer) -> Result<(), Error>;
    /// Removes at most `limit` answers that expire at `now` or before, the oldest first; says how many.
    fn remove_expired_answers(&self, now: Timestamp, limit: usize) -> Result<u64, Error>;
    /// How many entries are kept, expired ones that were not removed yet among them. Never blocks.
    fn answers_len(&self) -> u64;
}

/// The table in memory.
#[derive(Debug, Default)]
pub(super) struct MemoryAnswers {
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    by_key: BTreeMap<AnswerKey, NewAnswer>,
    by_expiry: BTreeSet<(Timestamp, AnswerKey)>,
}

impl Table {
    fn remove(&mut self, key: AnswerKey) {
        if let Some(answer) = self.by_key.remove(&key) {
            self.by_expiry.remove(&(answer.expires_at, key));
        }
    }
}

impl MemoryAnswers {
    /// Removes all about a user.
    pub(super) fn erase(&self, user: UserKey) {
        let mut table = self.table.write();
        let about = table.by_key.values().filter(|answer| answer.user == user);
        let keys: Vec<AnswerKey> = about.map(|answer| answer.key).collect();
        keys.into_iter().for_each(|key| table.remove(key));
    }
}

impl Answers for MemoryAnswers {
    fn answer(&self, key: AnswerKey) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.table.read().by_key.get(&key).map(|answer| answer.record.clone()))
    }

    fn answer_if_cached(&self, key: AnswerKey) -> Result<Cached, Error> {
        self.answer(key).map(Cached::Known)
    }

    fn put_answer(&self, answer: &NewAnswer) -> Result<(), Error> {
        let mut table = self.table.write();
        table.remove(answer.key);
        table.by_expiry.insert((answer.expires_at, answer.key));
        table.by_key.insert(answer.key, answer.clone());
        Ok(())
    }

    fn remove_expired_answers(&self, now: Timestamp, limit: usize) -> Result<u64, Error> {
        let mut table = self.table.write();
        let expired = table.by_expiry.iter().take_while(|(expires_at, _)| *expires_at <= now);
        let keys: Vec<AnswerKey> = expired.take(limit).map(|(_, key)| *key).collect();
        keys.iter().for_each(|key| table.remove(*key));
        Ok(keys.len() as u64)
    }

    fn answers_len(&self) -> u64 {
        self.table.read().by_key.len() as u64
    }
}
