//! What stands for the events of a user that were removed: the states that all events up to a place in the log made.
//!
//! Layout of version 1 inside the seal of [`crate::bytes`]: the sequence, how many events were removed, from when reads
//! of the past may begin here, the origins (a number, 16 bytes each), then the states (a number; each its generation and
//! its record with the length in front), by generation. The state records carry their own seal and fingerprint. Not here:
//! when events are removed (`visit`).

use augur_domain::{Timestamp, UserKey};

use crate::bytes;
use crate::error::DecodeError;
use crate::state::UserState;
use crate::store::{Generation, Read};
use crate::{Definitions, Error, FeatureSchema};

const MAGIC: u8 = b'B';
const VERSION: u8 = 1;

/// Where the log of a user begins now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Base {
    /// The last event in the states. Of the events up to here some are gone; behind it all are there.
    pub(crate) sequence: u64,
    /// Events removed so far.
    pub(crate) removed: u64,
    /// All events up to the sequence could be seen after this instant, so a read of a later one may begin here.
    pub(crate) visible_at: Timestamp,
    /// Other ids than the person's own by which events up to the sequence came; ascending.
    pub(crate) origins: Vec<UserKey>,
    /// Encoded states, ascending by generation.
    pub(crate) states: Vec<(Generation, Vec<u8>)>,
}

impl Default for Base {
    /// Before any event.
    fn default() -> Self {
        let visible_at = Timestamp::MIN;
        Self { sequence: 0, removed: 0, visible_at, origins: Vec::new(), states: Vec::new() }
    }
}

impl Base {
    /// The base of the user, if events were removed.
    pub(crate) fn of(view: &(impl Read + ?Sized), user: UserKey) -> Result<Option<Self>, Error> {
        let Some(record) = view.base(user)? else { return Ok(None) };
        let base = Self::decode(&record);
        base.map(Some).map_err(|source| Error::corrupted(format!("base of user {user}"), source))
    }

    /// The state under these definitions, if it was kept.
    pub(crate) fn state(&self, definitions: &Definitions) -> Option<UserState> {
        let place =
            self.states.binary_search_by_key(&definitions.generation(), |(generation, _)| *generation);
        let (_, record) = self.states.get(place.ok()?)?;
        let state = UserState::decode(record, definitions.schema()).ok()?;
        (state.watermark() == self.sequence).then_some(state)
    }

    /// The state under definitions of any generation that was kept, if they are these.
    pub(crate) fn state_under(&self, schema: &FeatureSchema) -> Option<UserState> {
        let mut states = self.states.iter().filter_map(|(_, record)| UserState::decode(record, schema).ok());
        states.rfind(|state| state.watermark() == self.sequence)
    }

    pub(crate) fn put_state(&mut self, generation: Generation, record: Vec<u8>) {
        match self.states.binary_search_by_key(&generation, |(known, _)| *known) {
            Ok(place) => {
                if let Some(known) = self.states.get_mut(place) {
                    known.1 = record;
                }
            }
            Err(place) => self.states.insert(place, (generation, record)),
        }
    }

    pub(crate) fn put_origin(&mut self, origin: UserKey) {
        if let Err(place) = self.origins.binary_search(&origin) {
            self.origins.insert(place, origin);
        }
    }

    pub(crate) fn encoded(&self) -> Vec<u8> {
        let mut record = Vec::new();
        bytes::seal(&mut record, MAGIC, VERSION, |out| {
            bytes::put_unsigned(out, self.sequence);
            bytes::put_unsigned(out, self.removed);
            bytes::put_signed(out, self.visible_at.unix_ms());
            bytes::put_unsigned(out, self.origins.len() as u64);
            for origin in &self.origins {
                out.extend_from_slice(origin.as_bytes());
            }
            bytes::put_unsigned(out, self.states.len() as u64);
            for (generation, state) in &self.states {
                bytes::put_unsigned(out, u64::from(generation.number()));
                bytes::put_bytes(out, state);
            }
        });
        record
    }

    pub(crate) fn decode(record: &[u8]) -> Result<Self, DecodeError> {
        let (_, mut reader) = bytes::unseal(record, MAGIC, VERSION)?;
        let (sequence, removed) = (reader.unsigned("sequence")?, reader.unsigned("removed events")?);
        let visible_at = Timestamp::from_unix_ms(reader.signed("visibility")?);
        let mut origins = Vec::with_capacity(reader.count("origins", UserKey::LEN)?);
        for _ in 0..origins.capacity() {
            origins.push(UserKey::from_bytes(reader.array("origin")?));
        }
        let mut states = Vec::with_capacity(reader.count("states", 2)?);
        for _ in 0..states.capacity() {
            let number = u32::try_from(reader.unsigned("generation")?).ok().and_then(Generation::new);
            let generation = number.ok_or(DecodeError::Invalid { field: "generation" })?;
            states.push((generation, reader.bytes("state")?.to_vec()));
        }
        reader.finish()?;
        let ascend =
            origins.is_sorted_by(|one, two| one < two) && states.is_sorted_by(|one, two| one.0 < two.0);
        if !ascend {
            return Err(DecodeError::Invalid { field: "order" });
        }
        Ok(Self { sequence, removed, visible_at, origins, states })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn base() -> Base {
        Base {
            sequence: 300,
            removed: 299,
            visible_at: Timestamp::from_unix_ms(1_000),
            origins: vec![UserKey::from_bytes([7; 16])],
            states: vec![(Generation::FIRST, b"state".to_vec())],
        }
    }

    #[test]
    fn golden_bytes() {
        let record = base().encoded();
        let hex: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex, "4201ac02ab02d00f01070707070707070707070707070707070101057374617465918cdde2",
            "stored bases depend on these bytes"
        );
        assert_eq!(Base::decode(&record).unwrap(), base());
    }

    #[test]
    fn one_order_only() {
        let mut twice = base();
        twice.origins.push(UserKey::from_bytes([7; 16]));
        assert_eq!(Base::decode(&twice.encoded()), Err(DecodeError::Invalid { field: "order" }));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(body: Vec<u8>) {
            let mut record = Vec::new();
            bytes::seal(&mut record, MAGIC, VERSION, |out| out.extend_from_slice(&body));
            let _ = (Base::decode(&record), Base::decode(&body));
        }
    }
}
