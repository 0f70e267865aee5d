//! How far retention has come: whether the days on which users are due follow the policy in force.
//!
//! They are noted with each event, by the policy of that time. Under another policy every user is looked at once, which
//! notes them anew. Layout of version 2 inside the seal of [`crate::bytes`]: the policy's hash, how far it is
//! (0 nobody, 1 everybody, 2 some were looked at), the last of these (16 bytes), and from when on nothing was removed (a
//! flag, then the instant), which version 1 lacks. Not here: what a look does (`visit`).

use augur_domain::time::DAY_MS;
use augur_domain::{ContentHash, Timestamp, UserKey};

use super::Retention;
use crate::Error;
use crate::bytes;
use crate::error::DecodeError;
use crate::store::Store;

const MAGIC: u8 = b'R';
const VERSION: u8 = 2;

const NOBODY: u8 = 0;
const EVERYBODY: u8 = 1;
const SOME: u8 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) policy: ContentHash,
    /// Whether every user was looked at under the policy.
    pub(crate) complete: bool,
    /// The last user who was.
    pub(crate) after: Option<UserKey>,
    /// No event of this instant or later was ever removed; `None` when none at all was.
    pub(crate) history_from: Option<Timestamp>,
}

impl Progress {
    /// Goes on with what is stored, or begins anew under another policy than that. To be called before anything is
    /// written under the policy.
    pub(crate) fn open(store: &dyn Store, retention: &Retention) -> Result<Self, Error> {
        let stored = Self::stored(store)?;
        let is_new = stored.is_none();
        let history_from = stored.and_then(|stored| stored.history_from);
        let policy = retention.hash();
        if let Some(known) = stored.filter(|stored| stored.policy == policy) {
            return Ok(known);
        }
        let begun = Self { policy, complete: retention.keeps_everything(), after: None, history_from };
        if !(is_new && begun.complete) {
            store.put_retention(&begun.encoded())?;
        }
        Ok(begun)
    }

    fn stored(store: &dyn Store) -> Result<Option<Self>, Error> {
        let stored = store.retention()?.map(|record| Self::decode(&record)).transpose();
        stored.map_err(|source| Error::corrupted("progress of retention", source))
    }

    /// See [`Self::history_from`], in a store that no sweep goes through now.
    pub(crate) fn stored_history(store: &dyn Store) -> Result<Option<Timestamp>, Error> {
        Ok(Self::stored(store)?.and_then(|stored| stored.history_from))
    }

    /// Before events are removed by `today`: notes from when on none will be. Once a day that is a write.
    pub(crate) fn limit_history(
        &mut self,
        store: &dyn Store,
        retention: &Retention,
        today: u32,
    ) -> Result<(), Error> {
        let Some(shortest_ms) = retention.lengths().min() else { return Ok(()) };
        let kept_from = i64::from(today).saturating_mul(DAY_MS).saturating_sub(shortest_ms).saturating_add(1);
        let kept_from = Timestamp::from_unix_ms(kept_from);
        if self.history_from.is_some_and(|known| known >= kept_from) {
            return Ok(());
        }
        let next = Self { history_from: Some(kept_from), ..*self };
        store.put_retention(&next.encoded())?;
        *self = next;
        Ok(())
    }

    pub(crate) fn encoded(&self) -> Vec<u8> {
        let mut record = Vec::new();
        bytes::seal(&mut record, MAGIC, VERSION, |out| {
            out.extend_from_slice(self.policy.as_bytes());
            out.push(match (self.complete, self.after) {
                (true, _) => EVERYBODY,
                (false, None) => NOBODY,
                (false, Some(_)) => SOME,
            });
            out.extend_from_slice(self.after.unwrap_or_default().as_bytes());
            out.push(u8::from(self.history_from.is_some()));
            if let Some(history_from) = self.history_from {
                bytes::put_signed(out, history_from.unix_ms());
            }
        });
        record
    }

    fn decode(record: &[u8]) -> Result<Self, DecodeError> {
        let (version, mut reader) = bytes::unseal(record, MAGIC, VERSION)?;
        let policy = ContentHash::from_bytes(reader.array("policy")?);
        let (how_far, last) = (reader.byte("how far")?, UserKey::from_bytes(reader.array("last user")?));
        let (complete, after) = match how_far {
            NOBODY => (false, None),
            EVERYBODY => (true, Some(last)),
            SOME => (false, Some(last)),
            _ => return Err(DecodeError::Invalid { field: "how far" }),
        };
        let has_limit = if version > 1 { reader.byte("history")? } else { 0 };
        let history_from = match has_limit {
            0 => None,
            1 => Some(Timestamp::from_unix_ms(reader.signed("history")?)),
            _ => return Err(DecodeError::Invalid { field: "history" }),
        };
        reader.finish()?;
        Ok(Self { policy, complete, after, history_from })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn golden_bytes() {
        let progress = Progress {
            policy: ContentHash::from_bytes([3; 32]),
            complete: false,
            after: Some(UserKey::from_bytes([9; 16])),
            history_from: Some(Timestamp::from_unix_ms(1_000)),
        };
        let record = progress.encoded();
        let hex: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = format!("5202{}02{}01d00f", "03".repeat(32), "09".repeat(16));
        assert!(hex.starts_with(&expected), "stored progress depends on these bytes: {hex}");
        assert_eq!((record.len(), Progress::decode(&record).unwrap()), (58, progress));
        let mut before = Vec::new();
        bytes::seal(&mut before, MAGIC, 1, |out| out.extend_from_slice(&record[2..51]));
        assert_eq!(Progress::decode(&before).unwrap(), Progress { history_from: None, ..progress });
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(body: Vec<u8>) {
            let mut record = Vec::new();
            bytes::seal(&mut record, MAGIC, VERSION, |out| out.extend_from_slice(&body));
            let _ = (Progress::decode(&record), Progress::decode(&body));
        }
    }
}
