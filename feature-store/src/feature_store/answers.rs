//! Kept answers, for callers.
//!
//! Not here: when an answer is kept, or who waits for it (the server).

use augur_domain::ids::AnswerKey;
use augur_domain::{Timestamp, UserKey};

use super::FeatureStore;
use crate::Error;
use crate::answer::{self, KeptAnswer};
use crate::store::{Cached, NewAnswer};

/// Removed in one write at most: others who keep answers wait for it.
const REMOVED_AT_ONCE: usize = 1_000;
/// Writes of one call at most.
const WRITES: usize = 20;

impl FeatureStore {
    /// What was answered under a key, unless it has expired by `now`.
    ///
    /// # Errors
    /// [`Error::Storage`] or [`Error::Corrupted`].
    pub fn kept_answer(&self, key: AnswerKey, now: Timestamp) -> Result<Option<KeptAnswer>, Error> {
        decoded(self.store.answers().answer(key)?, now)
    }

    /// [`Self::kept_answer`] if memory can tell; `None` when only a read that may block can.
    ///
    /// # Errors
    /// As [`Self::kept_answer`].
    pub fn kept_answer_if_cached(
        &self,
        key: AnswerKey,
        now: Timestamp,
    ) -> Result<Option<Option<KeptAnswer>>, Error> {
        match self.store.answers().answer_if_cached(key)? {
            Cached::Known(record) => decoded(record, now).map(Some),
            Cached::NotCached => Ok(None),
        }
    }

    /// Keeps what was answered about a user. Survives a killed process; a power cut may take the last moments.
    ///
    /// # Errors
    /// [`Error::Storage`] or [`Error::Corrupted`].
    pub fn keep_answer(&self, key: AnswerKey, user: UserKey, answer: &KeptAnswer) -> Result<(), Error> {
        let record = answer::encode(answer);
        self.store.answers().put_answer(&NewAnswer { key, user, expires_at: answer.expires_at, record })
    }

    /// Removes at most 20 000 answers that have expired, the oldest first; says whether more may be there. Blocks.
    ///
    /// # Errors
    /// [`Error::Storage`] or [`Error::Corrupted`].
    pub fn remove_expired_answers(&self, now: Timestamp) -> Result<bool, Error> {
        for _ in 0..WRITES {
            let removed = self.store.answers().remove_expired_answers(now, REMOVED_AT_ONCE)?;
            if removed < REMOVED_AT_ONCE as u64 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How many answers are kept, expired ones that were not removed yet among them.
    pub fn kept_answers(&self) -> u64 {
        self.store.answers().answers_len()
    }
}

fn decoded(record: Option<Vec<u8>>, now: Timestamp) -> Result<Option<KeptAnswer>, Error> {
    let Some(record) = record else { return Ok(None) };
    let kept = answer::decode(&record).map_err(|source| Error::corrupted("kept answer", source))?;
    Ok(Some(kept).filter(|kept| kept.expires_at > now))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Config;
    use crate::testing::{schema, user};

    #[test]
    fn expired_answers_are_not_given_and_then_removed() {
        let store = FeatureStore::in_memory(&Config::new("unused"), Arc::new(schema())).unwrap();
        let at = Timestamp::from_unix_ms;
        let key = |number: usize| {
            let mut key = [0; 16];
            key[..8].copy_from_slice(&number.to_be_bytes());
            AnswerKey::from_bytes(key)
        };
        let answer = |expires_ms| KeptAnswer {
            fingerprint: [1; 16],
            expires_at: at(expires_ms),
            bytes: b"answer".to_vec(),
        };
        for number in 0..2_500 {
            store.keep_answer(key(number), user(1), &answer(10)).unwrap();
        }
        store.keep_answer(key(9_999), user(1), &answer(11)).unwrap();
        assert_eq!(store.kept_answer(key(7), at(9)).unwrap(), Some(answer(10)));
        assert_eq!(store.kept_answer(key(7), at(10)).unwrap(), None);
        assert_eq!(store.kept_answer_if_cached(key(7), at(10)).unwrap(), Some(None));
        assert_eq!((store.remove_expired_answers(at(9)).unwrap(), store.kept_answers()), (false, 2_501));
        assert_eq!((store.remove_expired_answers(at(10)).unwrap(), store.kept_answers()), (false, 1));
    }
}
