//! What users were given before: the packed list that frequency caps count, and the lock that makes reading it,
//! deciding and adding to it one step.
//!
//! Not here: what a cap is (`decision`) or where the record is kept (`store`).

use std::collections::BTreeMap;

use augur_domain::decision::Exposure;
use augur_domain::time::DAY_MS;
use augur_domain::{DecisionId, Timestamp, UserKey};
use parking_lot::{Mutex, MutexGuard};

use crate::bytes;
use crate::error::DecodeError;

const MAGIC: u8 = b'X';
/// Version 1 holds plain exposures alone, and lists of such are still written in it.
const VERSION: u8 = 2;
const PLAIN_VERSION: u8 = 1;
/// No cap looks back further: this is the longest length of time that any file may name
/// ([`augur_domain::time::parse_duration_ms`]). Not the window of today's policy: tomorrow's may be longer.
const KEPT_MS: i64 = 400 * DAY_MS;
/// No cap allows more exposures of one action, or in one channel or category (`decision` refuses larger counts), so none
/// can tell a list with this many from a longer one. Those that are held are counted apart: they may yet fall away.
const KEPT_PER_CAP: u32 = 1_000;
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

    /// The locks of all of these users, each once and in one order, so that no two callers wait for each other.
    pub(crate) fn lock_all(&self, users: &[UserKey]) -> Vec<ExposureGuard<'_>> {
        let mut stripes: Vec<usize> = users.iter().map(|user| self.index(*user)).collect();
        stripes.sort_unstable();
        stripes.dedup();
        let locks = stripes.into_iter().filter_map(|index| self.locks.get(index));
        locks.map(|lock| ExposureGuard { _stripe: lock.lock() }).collect()
    }

    #[expect(clippy::indexing_slicing, reason = "the index is reduced modulo a length that is never 0")]
    fn stripe(&self, user: UserKey) -> &Mutex<()> {
        &self.locks[self.index(user)]
    }

    fn index(&self, user: UserKey) -> usize {
        spread(user) as usize % self.locks.len()
    }
}

/// A number that spreads users evenly; their keys are hashes already. Keys of two equal halves, as tests have them, are
/// spread, too.
pub(crate) fn spread(user: UserKey) -> u64 {
    let (words, _) = user.as_bytes().as_chunks::<8>();
    words.iter().fold(0, |sum, word| sum.rotate_left(1) ^ u64::from_le_bytes(*word))
}

/// Adds an exposure to a list ordered by time, and drops those that no cap of any policy can still count: older than
/// [`KEPT_MS`] before it, no longer held at its instant, or behind [`KEPT_PER_CAP`] newer ones of the same action and as
/// many of the same channel and category.
pub(crate) fn add(list: &mut Vec<Exposure>, exposure: &Exposure) {
    let place = list.partition_point(|kept| kept.at <= exposure.at);
    list.insert(place, exposure.clone());
    let oldest = exposure.at.plus_millis(-KEPT_MS);
    let too_old = list.partition_point(|kept| kept.at < oldest);
    list.drain(..too_old);
    list.retain(|kept| kept.holds_until.is_none_or(|until| exposure.at < until));
    if list.len() > KEPT_PER_CAP as usize {
        let mut counted = counted(list).into_iter();
        list.retain(|_| counted.next().unwrap_or(true));
    }
}

/// For each exposure, whether some cap could count it: whether few enough newer ones share its action, its channel or its
/// category.
fn counted(list: &[Exposure]) -> Vec<bool> {
    let mut newer = BTreeMap::<(u8, &str, bool), u32>::new();
    let mut counted = Vec::with_capacity(list.len());
    for exposure in list.iter().rev() {
        let mut counts = false;
        let scopes = [(0, &exposure.action), (1, &exposure.channel), (2, &exposure.category)];
        // Actions without a channel have none in common, nor a category.
        for (scope, name) in scopes.into_iter().filter(|(scope, name)| *scope == 0 || !name.is_empty()) {
            let alike = newer.entry((scope, name, exposure.holds_until.is_some())).or_default();
            *alike += 1;
            counts |= *alike <= KEPT_PER_CAP;
        }
        counted.push(counts);
    }
    counted.reverse();
    counted
}

pub(crate) fn encode(list: &[Exposure], out: &mut Vec<u8>) {
    let plain = list.iter().all(Exposure::is_plain);
    bytes::seal(out, MAGIC, if plain { PLAIN_VERSION } else { VERSION }, |out| {
        bytes::put_unsigned(out, list.len() as u64);
        for exposure in list {
            bytes::put_signed(out, exposure.at.unix_ms());
            bytes::put_text(out, &exposure.action);
            bytes::put_text(out, &exposure.channel);
            if !plain {
                bytes::put_text(out, &exposure.category);
                out.extend_from_slice(exposure.decision.as_bytes());
                out.push(u8::from(exposure.holds_until.is_some()));
                if let Some(until) = exposure.holds_until {
                    bytes::put_signed(out, until.unix_ms());
                }
            }
        }
    });
}

pub(crate) fn decode(record: &[u8]) -> Result<Vec<Exposure>, DecodeError> {
    let (version, mut reader) = bytes::unseal(record, MAGIC, VERSION)?;
    let count = reader.count("exposures", 3)?;
    let mut list = Vec::with_capacity(count);
    for _ in 0..count {
        let at = Timestamp::from_unix_ms(reader.signed("exposure time")?);
        let action = reader.text("exposure action")?;
        let mut exposure = Exposure::new(action, reader.text("exposure channel")?, at);
        if version > PLAIN_VERSION {
            exposure.category = reader.text("exposure category")?.into();
            exposure.decision = DecisionId::from_bytes(reader.array("exposure decision")?);
            exposure.holds_until = match reader.byte("exposure holds until")? {
                0 => None,
                1 => Some(Timestamp::from_unix_ms(reader.signed("exposure holds until")?)),
                _ => return Err(DecodeError::Invalid { field: "exposure holds until" }),
            };
        }
        list.push(exposure);
    }
    reader.finish()?;
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exposure(action: &str, at_ms: i64) -> Exposure {
        Exposure::new(action, "email", Timestamp::from_unix_ms(at_ms))
    }

    #[test]
    fn golden_bytes() {
        let mut out = Vec::new();
        encode(&[exposure("offer", 1_000)], &mut out);
        let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "580101d00f056f6666657205656d61696cedd890cc", "stored records depend on these bytes");
    }

    fn held(at_ms: i64) -> Exposure {
        let until = Timestamp::from_unix_ms(at_ms + 60_000);
        let decision = DecisionId::from_bytes([0xa5; 16]);
        Exposure { category: "offers".into(), decision, holds_until: Some(until), ..exposure("offer", at_ms) }
    }

    #[test]
    fn golden_bytes_of_version_2() {
        let mut out = Vec::new();
        encode(&[held(1_000)], &mut out);
        let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "580201d00f056f6666657205656d61696c066f6666657273a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a50190b90712495187",
            "stored records depend on these bytes"
        );
    }

    #[test]
    fn the_list_is_ordered_and_forgets_what_no_cap_can_reach() {
        let mut list = vec![exposure("old", 10), exposure("kept", 30)];
        add(&mut list, &exposure("late", 20));
        assert_eq!(list, vec![exposure("old", 10), exposure("late", 20), exposure("kept", 30)]);
        add(&mut list, &exposure("new", 20 + KEPT_MS));
        assert_eq!(list, vec![exposure("late", 20), exposure("kept", 30), exposure("new", 20 + KEPT_MS)]);
    }

    #[test]
    fn a_rare_action_survives_busy_ones() {
        let busy = |at_ms| Exposure { channel: "push".into(), ..exposure("busy", at_ms) };
        let bare = |at_ms| Exposure { channel: "".into(), ..exposure("bare", at_ms) };
        let mut list = Vec::new();
        add(&mut list, &exposure("rare", 0));
        for at_ms in 1..=3_000 {
            add(&mut list, &busy(at_ms));
            add(&mut list, &bare(at_ms));
        }
        let of = |action: &str| list.iter().filter(|kept| &*kept.action == action).collect::<Vec<_>>();
        assert_eq!(of("rare"), [&exposure("rare", 0)]);
        for (action, newest) in [("busy", busy(3_000)), ("bare", bare(3_000))] {
            assert_eq!((of(action).len(), of(action).last()), (KEPT_PER_CAP as usize, Some(&&newest)));
        }
    }

    #[test]
    fn a_channel_keeps_enough_of_its_own_beside_a_busy_action() {
        let mut list = Vec::new();
        for at_ms in 0..1_000 {
            add(&mut list, &exposure("offer", at_ms));
        }
        for at_ms in 1_000..3_000 {
            add(&mut list, &Exposure { channel: "push".into(), ..exposure("offer", at_ms) });
        }
        let of = |channel: &str| list.iter().filter(|kept| &*kept.channel == channel).count();
        assert_eq!((of("email"), of("push")), (1_000, 1_000));
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
        fn plain_and_held_round_trip_side_by_side(times in prop::collection::vec((any::<i32>(), any::<bool>()), 0..20)) {
            let of = |(at, plain)| if plain { exposure("plain", at) } else { held(at) };
            let list: Vec<_> = times.into_iter().map(|(at, plain)| of((i64::from(at), plain))).collect();
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
