//! How far retention has come: whether the days on which users are due follow the policy in force.
//!
//! They are noted with each event, by the policy of that time. Under another policy every user is looked at once, which
//! notes them anew. Layout of version 1 inside the seal of [`crate::bytes`]: the policy's hash, how far it is
//! (0 nobody, 1 everybody, 2 some were looked at) and the last of these (16 bytes). Not here: what a look does (`visit`).

use augur_domain::{ContentHash, UserKey};

use super::Retention;
use crate::Error;
use crate::bytes;
use crate::error::DecodeError;
use crate::store::Store;

const MAGIC: u8 = b'R';
const VERSION: u8 = 1;

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
}

impl Progress {
    /// Goes on with what is stored, or begins anew under another policy than that. To be called before anything is
    /// written under the policy.
    pub(crate) fn open(store: &dyn Store, retention: &Retention) -> Result<Self, Error> {
        let stored = store.retention()?;
        let is_new = stored.is_none();
        let stored = stored.map(|record| Self::decode(&record)).transpose();
        let stored = stored.map_err(|source| Error::corrupted("progress of retention", source))?;
        let policy = retention.hash();
        if let Some(known) = stored.filter(|stored| stored.policy == policy) {
            return Ok(known);
        }
        let begun = Self { policy, complete: retention.keeps_everything(), after: None };
        if !(is_new && begun.complete) {
            store.put_retention(&begun.encoded())?;
        }
        Ok(begun)
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
        });
        record
    }

    fn decode(record: &[u8]) -> Result<Self, DecodeError> {
        let (_, mut reader) = bytes::unseal(record, MAGIC, VERSION)?;
        let policy = ContentHash::from_bytes(reader.array("policy")?);
        let (how_far, last) = (reader.byte("how far")?, UserKey::from_bytes(reader.array("last user")?));
        let (complete, after) = match how_far {
            NOBODY => (false, None),
            EVERYBODY => (true, Some(last)),
            SOME => (false, Some(last)),
            _ => return Err(DecodeError::Invalid { field: "how far" }),
        };
        reader.finish()?;
        Ok(Self { policy, complete, after })
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
        };
        let record = progress.encoded();
        let hex: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = format!("5201{}02{}", "03".repeat(32), "09".repeat(16));
        assert!(hex.starts_with(&expected), "stored progress depends on these bytes: {hex}");
        assert_eq!((record.len(), Progress::decode(&record).unwrap()), (55, progress));
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
