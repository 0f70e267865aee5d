//! The record of one link: which person an id stands for, since when, by what.
//!
//! Layout of version 1 inside the seal of [`crate::bytes`]: person, whom it was linked to, since, by what, then the
//! persons it belonged to before. The id is in the key. Not here: who may be linked to whom (`routing`).

use augur_domain::event::ClaimedBy;
use augur_domain::{Timestamp, UserKey};

use crate::bytes;
use crate::error::DecodeError;

const MAGIC: u8 = b'L';
const VERSION: u8 = 1;

/// That an id is another name of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The id.
    pub id: UserKey,
    /// Whose name it is.
    pub person: UserKey,
    /// The id that it was linked to: the person, or one that is itself linked to the person.
    pub linked_to: UserKey,
    /// The time of the event, or of the call, that made the link.
    pub since: Timestamp,
    /// What made it.
    pub by: ClaimedBy,
    /// Persons it belonged to before, oldest first: a device that moved on left its events with them.
    pub former: Vec<UserKey>,
}

impl Link {
    pub(crate) fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::new();
        bytes::seal(&mut out, MAGIC, VERSION, |out| {
            out.extend_from_slice(self.person.as_bytes());
            out.extend_from_slice(self.linked_to.as_bytes());
            bytes::put_signed(out, self.since.unix_ms());
            out.push(self.by as u8);
            bytes::put_unsigned(out, self.former.len() as u64);
            for person in &self.former {
                out.extend_from_slice(person.as_bytes());
            }
        });
        out
    }

    pub(crate) fn decode(id: UserKey, record: &[u8]) -> Result<Self, DecodeError> {
        let (_, mut reader) = bytes::unseal(record, MAGIC, VERSION)?;
        let person = reader.array("person").map(UserKey::from_bytes)?;
        let linked_to = reader.array("linked id").map(UserKey::from_bytes)?;
        let since = Timestamp::from_unix_ms(reader.signed("since")?);
        let by = ClaimedBy::from_u8(reader.byte("claim")?).ok_or(DecodeError::Invalid { field: "claim" })?;
        let count = reader.count("former persons", UserKey::LEN)?;
        let mut former = Vec::with_capacity(count);
        for _ in 0..count {
            former.push(reader.array("former person").map(UserKey::from_bytes)?);
        }
        reader.finish()?;
        Ok(Self { id, person, linked_to, since, by, former })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::user;
    use proptest::prelude::*;

    #[test]
    fn golden_bytes() {
        let link = Link {
            id: user(1),
            person: user(2),
            linked_to: user(3),
            since: Timestamp::from_unix_ms(1_000),
            by: ClaimedBy::Alias,
            former: vec![user(4)],
        };
        let record = link.encoded();
        let hex: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "4c010202020202020202020202020202020203030303030303030303030303030303d00f020104040404040404040404040404040404693f0e24",
            "stored links depend on these bytes"
        );
        assert_eq!(Link::decode(user(1), &record).unwrap(), link);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(body: Vec<u8>) {
            let mut record = Vec::new();
            bytes::seal(&mut record, MAGIC, VERSION, |out| out.extend_from_slice(&body));
            if let Ok(link) = Link::decode(user(1), &record) {
                prop_assert_eq!(Link::decode(user(1), &link.encoded()).unwrap(), link);
            }
            let _ = Link::decode(user(1), &body);
        }
    }
}
