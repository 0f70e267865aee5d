//! What users were given before: the packed list that frequency caps count, and the lock that makes reading it,
//! deciding and adding to it one step.
//!
//! Not here: what a cap is (`decision`) or where the record is kept (`store`).

use augur_domain::decision::Exposure;
use augur_domain::{Timestamp, UserKey};
use parking_lot::{Mutex, MutexGuard};

use crate::bytes;
use crate::error::DecodeError;

const MAGIC: u8 = b'X';
const VERSION: u8 = 1;
/// Most exposures remembered per user; the oldest make room.
pub(crate) const MAX_EXPOSURES: usize = 1_024;
/// Locks over all users. More than any likely number of decisions at once, so that waiting is rare.
const STRIPES: usize = 1_024;

/// Held while one user's decision reads exposures, decides and records: nobody else does so for that user.
#[derive(Debug)]
#[must_use = "the guard protects only while it is held"]
pub struct ExposureGuard<'a> {
    _stripe: MutexGuard<'a, ()>,
}

/// A fixed set of locks; each user has one, which others may share.
#[derive(Debug)]
pub(crate) struct Stripes {
    locks: Vec<Mutex<()>>,
}

impl Stripes {
    pub(crate) fn new() -> Self {
        Self { locks: (0..STRIPES).map(|_| Mutex::new(())).collect() }
    }

    pub(crate) fn lock(&self, user: UserKey) -> ExposureGuard<'_> {
        ExposureGuard { _stripe: self.stripe(user).lock() }
    }

    #[expect(clippy::indexing_slicing, reason = "the index is reduced modulo a length that is never 0")]
    fn stripe(&self, user: UserKey) -> &Mutex<()> {
        &self.locks[spread(user) as usize % self.locks.len()]
    }
}

/// A number that spreads users evenly; their keys are hashes already.
pub(crate) fn spread(user: UserKey) -> u64 {
    let (words, _) = user.as_bytes().as_chunks::<8>();
    words.iter().fold(0, |sum, word| sum ^ u64::from_le_bytes(*word))
}

/// Adds an exposure to a list ordered by time, dropping those before `keep_since` and the oldest beyond the bound.
pub(crate) fn add(list: &mut Vec<Exposure>, exposure: &Exposure, keep_since: Timestamp) {
    list.retain(|kept| kept.at >= keep_since);
    let place = list.partition_point(|kept| kept.at <= exposure.at);
    list.insert(place, exposure.clone());
    let surplus = list.len().saturating_sub(MAX_EXPOSURES);
    list.drain(..surplus);
}

pub(crate) fn encode(list: &[Exposure], out: &mut Vec<u8>) {
    bytes::seal(out, MAGIC, VERSION, |out| {
        bytes::put_unsigned(out, list.len() as u64);
        for exposure in list {
            bytes::put_signed(out, exposure.at.unix_ms());
            bytes::put_text(out, &exposure.action);
            bytes::put_text(out, &exposure.channel);
        }
    });
}

pub(crate) fn decode(record: &[u8]) -> Result<Vec<Exposure>, DecodeError> {
    let (_, mut reader) = bytes::unseal(record, MAGIC, VERSION)?;
    let count = reader.count("exposures", 3)?;
    let mut list = Vec::with_capacity(count);
    for _ in 0..count {
        let at = Timestamp::from_unix_ms(reader.signed("exposure time")?);
        let action = reader.text("exposure action")?.into();
        let channel = reader.text("exposure channel")?.into();
        list.push(Exposure { action, channel, at });
    }
    reader.finish()?;
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exposure(action: &str, at_ms: i64) -> Exposure {
        Exposure { action: action.into(), channel: "email".into(), at: Timestamp::from_unix_ms(at_ms) }
    }

    #[test]
    fn golden_bytes() {
        let mut out = Vec::new();
        encode(&[exposure("offer", 1_000)], &mut out);
        let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "580101d00f056f6666657205656d61696cedd890cc", "stored records depend on these bytes");
    }

    #[test]
    fn the_list_is_ordered_trimmed_and_bounded() {
        let mut list = vec![exposure("old", 10), exposure("kept", 30)];
        add(&mut list, &exposure("late", 20), Timestamp::from_unix_ms(15));
        assert_eq!(list, vec![exposure("late", 20), exposure("kept", 30)]);
        for at_ms in 0..2_000 {
            add(&mut list, &exposure("many", 1_000 + at_ms), Timestamp::MIN);
        }
        assert_eq!(list.len(), MAX_EXPOSURES);
        assert_eq!(list.last(), Some(&exposure("many", 2_999)));
    }

    proptest! {
        #[test]
        fn round_trips(times in prop::collection::vec(any::<i32>(), 0..20), action: String) {
            let list: Vec<_> = times.iter().map(|&at| exposure(&action, i64::from(at))).collect();
            let mut out = Vec::new();
            encode(&list, &mut out);
            prop_assert_eq!(decode(&out).unwrap(), list);
        }

        #[test]
        fn arbitrary_bytes_never_panic(body: Vec<u8>) {
            let mut record = Vec::new();
            bytes::seal(&mut record, MAGIC, VERSION, |out| out.extend_from_slice(&body));
            let _ = (decode(&record), decode(&body));
        }
    }
}
