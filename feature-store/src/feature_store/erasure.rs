//! Erasing a user: everything under the key is removed in one step, in the user's turn among the events, and a tombstone
//! keeps later events out.
//!
//! Layout of a tombstone, version 1, inside the seal of [`crate::bytes`]: when the user was erased. Not here: the
//! decision log, which is another room's, and the tables (`store`).

use std::collections::BTreeSet;
use std::sync::{Arc, mpsc};

use augur_domain::{Timestamp, UserKey};

use super::FeatureStore;
use crate::bytes;
use crate::error::DecodeError;
use crate::profile::{self, Profile, Section};
use crate::store::{Erased, Erasure, Store};
use crate::writer::Turn;
use crate::{Error, quarantine, rebuild};

const MAGIC: u8 = b'T';
const VERSION: u8 = 1;
/// Quarantine entries looked at in one go.
const QUARANTINE_PAGE: usize = 1_000;

/// What an erasure does with the opt-outs of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OptOuts {
    /// Who wanted nothing from a channel gets nothing from it after the erasure either.
    #[default]
    Kept,
    /// They go with everything else.
    Forgotten,
}

/// What an erasure removed, store by store. What is not in it was not touched: the decision log keeps what it recorded,
/// and backups keep what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErasureReceipt {
    /// Whose data it was.
    pub user: UserKey,
    /// When the user was erased first; events are refused from then on.
    pub erased_at: Timestamp,
    /// Records of features.
    pub states: u64,
    /// Events in the event log.
    pub events: u64,
    /// Marks by which events were recognised when sent again.
    pub dedup_marks: u64,
    /// Lists of what the user was given, for caps.
    pub exposures: u64,
    /// Profiles: time zone, traits, consents, suppressions.
    pub profiles: u64,
    /// Opt-outs that stay, see [`FeatureStore::erase_user`].
    pub opt_outs_kept: u64,
    /// Events set aside.
    pub quarantined: u64,
    /// Ids that were linked to the user; their events are refused from then on, too.
    pub links: u64,
}

impl FeatureStore {
    /// Removes everything stored about a person, under whichever id named, in one step and durably, after the events that are queued already.
    /// Later events of the user are answered `SUPPRESSED` and not kept. Blocks until it is done. Erased again, a user stays
    /// erased since the first time, and the receipt tells what had come meanwhile, such as exposures.
    ///
    /// Linked ids are apart from the person then; what came under them before is erased with it.
    ///
    /// Channels that the person suppressed stay suppressed, under the person's key and every linked one, unless
    /// `opt_outs` says that they go, too. That is all that is left of the profile.
    ///
    /// Reads find nothing from then on. The engine overwrites the bytes in its files when it next compacts them.
    ///
    /// # Errors
    /// [`Error::QueueFull`] when too many such steps wait, [`Error::Closed`], [`Error::Storage`] or
    /// [`Error::Corrupted`]; then the user may or may not be erased, and erasing again is safe.
    pub fn erase_user(
        &self,
        user: UserKey,
        now: Timestamp,
        opt_outs: OptOuts,
    ) -> Result<ErasureReceipt, Error> {
        loop {
            let person = self.identity.person(user)?;
            if let Some(receipt) = self.erase_person(user, person, (now, opt_outs))? {
                return Ok(receipt);
            }
        }
    }

    /// Erases `user`, for whom `id` stands; `None`, and nothing is erased, when it stands for somebody else by the time
    /// that it is the user's turn.
    fn erase_person(
        &self,
        id: UserKey,
        user: UserKey,
        (now, opt_outs): (Timestamp, OptOuts),
    ) -> Result<Option<ErasureReceipt>, Error> {
        let mut keys = self.store.linked_ids(user)?;
        keys.push(user);
        let quarantined = self.quarantined_of(&keys)?;
        let identity = Arc::clone(&self.identity);
        let (sender, receiver) = mpsc::channel();
        let work = move |turn: &mut Turn<'_>| {
            // A change of links that was in the queue before.
            if identity.person(id)? != user {
                return Ok(None);
            }
            // Nobody may be about to write back what they read before.
            let _exposures = identity.exposure_writes.lock(user);
            let ids = turn.store.linked_ids(user)?;
            let _profiles = identity.profile_writes.lock(user);
            let opt_outs = match opt_outs {
                OptOuts::Kept => profile::merged(&identity.sections(user)?).opt_outs(),
                OptOuts::Forgotten => Profile::default(),
            };
            let left = left_of_profiles(ids.iter().copied().chain([user]), &opt_outs);
            let (erased_at, erased) = erase(turn, user, now, (quarantined, left))?;
            identity.forget(&ids);
            Ok(Some((erased_at, erased, opt_outs.suppressions.len() as u64)))
        };
        // A receiver that is gone has nobody waiting for it.
        self.writers.take_turn(user, work, move |result| drop(sender.send(result)))?;
        let erased = receiver.recv().map_err(|_| Error::Closed)??;
        let Some((erased_at, erased, opt_outs_kept)) = erased else { return Ok(None) };
        // What was set aside between the look and the tombstone, which keeps out all that comes after it.
        self.forget_holds(&keys)?;
        let late = self.store.remove_quarantined(&self.quarantined_of(&keys)?)?;
        Ok(Some(ErasureReceipt {
            user,
            erased_at,
            states: erased.states,
            events: erased.events,
            dedup_marks: erased.messages,
            exposures: erased.exposures,
            profiles: erased.profiles,
            opt_outs_kept,
            quarantined: erased.quarantined.saturating_add(late),
            links: erased.links,
        }))
    }

    /// Since when the user is erased; `None` for everybody else.
    ///
    /// # Errors
    /// [`Error::Storage`] or [`Error::Corrupted`].
    pub fn erased_at(&self, user: UserKey) -> Result<Option<Timestamp>, Error> {
        erased_at(&*self.store, self.identity.person(user)?)
    }

    /// Lets an erased user's events in again, after a new consent: those that come from now on. What was erased stays
    /// erased, and ids that were linked to the user stay refused until they are readmitted themselves. Blocks until it is
    /// done.
    ///
    /// # Errors
    /// [`Error::QueueFull`] when too many such steps wait, [`Error::Closed`] or [`Error::Storage`].
    pub fn readmit_user(&self, user: UserKey) -> Result<(), Error> {
        let (sender, receiver) = mpsc::channel();
        let work = move |turn: &mut Turn<'_>| turn.store.remove_tombstone(user);
        self.writers.take_turn(user, work, move |result| drop(sender.send(result)))?;
        receiver.recv().map_err(|_| Error::Closed)?
    }

    /// Numbers of the quarantine entries about the user.
    fn quarantined_of(&self, keys: &[UserKey]) -> Result<Vec<u64>, Error> {
        let (mut numbers, mut before) = (Vec::new(), None);
        loop {
            let page = self.store.quarantined(before, QUARANTINE_PAGE)?;
            for entry in &page {
                let event = quarantine::decode(&entry.record);
                // One that cannot be read may be about anybody.
                if event.map_or(true, |event| keys.iter().any(|key| event.names(*key))) {
                    numbers.push(entry.number);
                }
            }
            match page.last() {
                Some(last) => before = Some(last.number),
                None => return Ok(numbers),
            }
        }
    }
}

/// The opt-outs under each of these keys: apart from each other from now on, all of them stay left alone.
fn left_of_profiles(keys: impl Iterator<Item = UserKey>, opt_outs: &Profile) -> Vec<(UserKey, Vec<u8>)> {
    let section = |origin| Section { origin, joined_at: None, profile: opt_outs.clone() };
    let keys = keys.filter(|_| !opt_outs.is_empty());
    keys.map(|key| (key, profile::encode(&[section(key)]))).collect()
}

fn erase(
    turn: &mut Turn<'_>,
    user: UserKey,
    now: Timestamp,
    (quarantined, profiles): (Vec<u64>, Vec<(UserKey, Vec<u8>)>),
) -> Result<(Timestamp, Erased), Error> {
    let before = erased_at(turn.store, user)?;
    let erased_at = before.unwrap_or(now);
    let mut counters = turn.counters();
    let had_state = turn.store.state(turn.generations.serving().generation(), user)?.is_some();
    counters.erased_users = counters.erased_users.saturating_add(u64::from(had_state));
    let mut due = BTreeSet::new();
    for record in turn.store.events(user)? {
        // One that cannot be read goes, too, and its day finds nobody.
        due.extend(rebuild::decode(record?).iter().flat_map(|stored| turn.retention.days(&stored.event)));
    }
    let due = due.into_iter().collect();
    let (shard, tombstone) = (turn.shard, encode(erased_at));
    let erasure = Erasure { user, tombstone, due, profiles, quarantined, shard, counters };
    let erased = turn.store.erase(&erasure)?;
    turn.stored_counters(counters);
    Ok((erased_at, erased))
}

fn erased_at(store: &dyn Store, user: UserKey) -> Result<Option<Timestamp>, Error> {
    let record = store.tombstone(user)?;
    let erased_at = record.map(|record| decode(&record)).transpose();
    erased_at.map_err(|source| Error::corrupted(format!("tombstone of user {user}"), source))
}

fn encode(erased_at: Timestamp) -> Vec<u8> {
    let mut record = Vec::new();
    bytes::seal(&mut record, MAGIC, VERSION, |out| bytes::put_signed(out, erased_at.unix_ms()));
    record
}

fn decode(record: &[u8]) -> Result<Timestamp, DecodeError> {
    let (_, mut reader) = bytes::unseal(record, MAGIC, VERSION)?;
    let erased_at = Timestamp::from_unix_ms(reader.signed("time of erasure")?);
    reader.finish()?;
    Ok(erased_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use augur_domain::decision::Exposure;
    use augur_domain::event::{ClaimedBy, EventOutcome, IdentityClaim, Quarantine, QuarantineReason};
    use augur_domain::{Event, FeatureStatus};
    use proptest::prelude::*;

    use crate::profile::Said;
    use crate::testing::{START_MS, event, schema, user};
    use crate::{Config, QuarantinedEvent, Verdict};

    fn open() -> FeatureStore {
        FeatureStore::in_memory(&Config::new("unused"), Arc::new(schema())).unwrap()
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(START_MS + ms)
    }

    fn send(store: &FeatureStore, events: Vec<Event>) -> Vec<EventOutcome> {
        let (sender, receiver) = mpsc::channel();
        store.ingest(events, move |answer| sender.send(answer).unwrap()).unwrap();
        receiver.recv().unwrap().unwrap()
    }

    fn aside(who: Option<u8>) -> QuarantinedEvent {
        let quarantine =
            Quarantine { reason: QuarantineReason::TooLate, field: "timestamp".into(), detail: "x".into() };
        QuarantinedEvent {
            received_at: at(0),
            user: who.map(user),
            message_key: None,
            name: "old".into(),
            quarantine,
            payload: Vec::new(),
            anonymous: None,
            previous: None,
            retracts: None,
            clock_offset_ms: 0,
        }
    }

    fn everything_about(store: &FeatureStore, who: u8) {
        send(store, (0..5).map(|id| event(who, id, "purchase", id as i64, 1.0)).collect());
        let given = Exposure::new("offer", "email", at(5));
        store.record_exposure(user(who), &given).unwrap();
        let said = Said { value: true, at: at(1) };
        let profile = Profile { consents: vec![("marketing".into(), said)], ..Profile::default() };
        store.update_profile(user(who), &profile).unwrap();
        store.quarantine(vec![aside(Some(who)), aside(None)]).unwrap();
    }

    #[test]
    fn nothing_is_left_and_nothing_comes_back() {
        let store = open();
        everything_about(&store, 1);
        everything_about(&store, 2);
        let receipt = store.erase_user(user(1), at(10), OptOuts::Kept).unwrap();
        let expected = ErasureReceipt {
            user: user(1),
            erased_at: at(10),
            states: 1,
            events: 5,
            dedup_marks: 5,
            exposures: 1,
            profiles: 1,
            opt_outs_kept: 0,
            quarantined: 1,
            links: 0,
        };
        assert_eq!(receipt, expected);
        let features = store.features(user(1), at(20)).unwrap();
        assert!(features.values.iter().all(|value| value.status == FeatureStatus::NotFound));
        assert_eq!(store.events_of(user(1)).unwrap(), []);
        assert_eq!(store.exposures(user(1), at(0)).unwrap(), []);
        assert_eq!(store.verify_user(user(1)).unwrap(), Verdict::Unknown);
        assert!(store.quarantined(9).unwrap().iter().all(|entry| entry.user != Some(user(1))));
        assert_eq!((store.stats().users_total, store.stats().quarantined), (1, 3));

        let mixed = vec![event(1, 0, "purchase", 0, 1.0), event(2, 99, "purchase", 0, 1.0)];
        assert_eq!(send(&store, mixed), [EventOutcome::Suppressed, EventOutcome::Accepted]);
        store.quarantine(vec![aside(Some(1))]).unwrap();
        assert_eq!((store.stats().suppressed, store.stats().quarantined), (2, 3));
        assert_eq!(store.events_of(user(1)).unwrap(), []);
        assert_eq!(store.verify_user(user(2)).unwrap(), Verdict::Identical { events: 6 });
    }

    #[test]
    fn erasing_again_keeps_the_first_time_and_readmission_starts_from_nothing() {
        let store = open();
        everything_about(&store, 1);
        store.erase_user(user(1), at(10), OptOuts::Kept).unwrap();
        let again = store.erase_user(user(1), at(99), OptOuts::Kept).unwrap();
        assert_eq!((again.erased_at, again.states, again.events), (at(10), 0, 0));
        assert_eq!(store.erased_at(user(1)).unwrap(), Some(at(10)));
        store.readmit_user(user(1)).unwrap();
        assert_eq!(store.erased_at(user(1)).unwrap(), None);
        assert_eq!(send(&store, vec![event(1, 0, "purchase", 0, 1.0)]), [EventOutcome::Accepted]);
        assert_eq!(store.verify_user(user(1)).unwrap(), Verdict::Identical { events: 1 });
        assert_eq!(store.stats().users_total, 1);
    }

    #[test]
    fn events_queued_before_are_erased_and_those_after_suppressed() {
        let store = open();
        for round in 0..50_u64 {
            let (sender, receiver) = mpsc::channel();
            let events = (0..20).map(|id| event(1, round * 100 + id, "purchase", 0, 1.0)).collect();
            store.ingest(events, move |answer| sender.send(answer).unwrap()).unwrap();
            let receipt = store.erase_user(user(1), at(1), OptOuts::Kept).unwrap();
            assert_eq!(receipt.events, 20, "round {round}");
            assert!(receiver.recv().unwrap().unwrap().iter().all(|it| *it == EventOutcome::Accepted));
            assert_eq!(send(&store, vec![event(1, 7_777, "purchase", 0, 1.0)]), [EventOutcome::Suppressed]);
            store.readmit_user(user(1)).unwrap();
        }
    }

    #[test]
    fn linked_ids_are_erased_with_their_person() {
        let store = open();
        everything_about(&store, 2);
        everything_about(&store, 1);
        let claim = IdentityClaim { id: user(2), by: ClaimedBy::Device };
        store.link(user(1), claim, at(6)).unwrap();
        let receipt = store.erase_user(user(2), at(10), OptOuts::Kept).unwrap();
        assert_eq!((receipt.user, receipt.links), (user(1), 1));
        assert_eq!(receipt.quarantined, 2);
        for who in [1, 2] {
            let late = event(who, 99, "purchase", 0, 1.0);
            assert_eq!(send(&store, vec![late]), [EventOutcome::Suppressed], "user {who}");
            assert_eq!(store.events_of(user(who)).unwrap(), []);
        }
        store.readmit_user(user(2)).unwrap();
        assert_eq!(send(&store, vec![event(2, 1, "purchase", 0, 1.0)]), [EventOutcome::Accepted]);
    }

    #[test]
    fn who_was_linked_before_its_turn_is_not_erased_alone() {
        let store = open();
        everything_about(&store, 2);
        let claim = IdentityClaim { id: user(2), by: ClaimedBy::Device };
        store.link(user(1), claim, at(6)).unwrap();
        // As if the link had been in the queue when the person was looked up.
        assert_eq!(store.erase_person(user(2), user(2), (at(10), OptOuts::Kept)).unwrap(), None);
        assert_eq!((store.events_of(user(2)).unwrap().len(), store.erased_at(user(2)).unwrap()), (5, None));
        store.unlink(user(2)).unwrap();
        assert_eq!(
            store.erase_person(user(2), user(1), (at(10), OptOuts::Kept)).unwrap(),
            None,
            "another one by now"
        );
        assert_eq!(store.erase_user(user(2), at(10), OptOuts::Kept).unwrap().events, 5);
    }

    #[test]
    fn an_erased_id_is_linked_to_nobody_until_it_is_readmitted() {
        let store = open();
        everything_about(&store, 2);
        store.erase_user(user(2), at(10), OptOuts::Kept).unwrap();
        let claim = IdentityClaim { id: user(2), by: ClaimedBy::Device };
        let login = crate::Incoming { event: event(1, 50, "login", 11, 1.0), claim: Some(claim) };
        let (sender, receiver) = mpsc::channel();
        store.ingest(vec![login], move |answer| sender.send(answer).unwrap()).unwrap();
        assert_eq!(receiver.recv().unwrap().unwrap(), [EventOutcome::Accepted]);
        assert_eq!(store.link(user(1), claim, at(12)).unwrap(), crate::LinkOutcome::Kept);
        assert_eq!(send(&store, vec![event(2, 1, "purchase", 12, 1.0)]), [EventOutcome::Suppressed]);
        store.readmit_user(user(2)).unwrap();
        let linked = crate::LinkOutcome::Linked { events: 0 };
        assert_eq!(store.link(user(1), claim, at(13)).unwrap(), linked);
        assert_eq!(send(&store, vec![event(2, 1, "purchase", 14, 1.0)]), [EventOutcome::Accepted]);
    }

    #[test]
    fn a_closed_store_says_so() {
        let store = open();
        store.close().unwrap();
        assert_eq!(store.erase_user(user(1), at(1), OptOuts::Kept), Err(Error::Closed));
    }

    #[test]
    fn golden_bytes() {
        let record = encode(Timestamp::from_unix_ms(1_000));
        let hex: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5401d00fc8f7c4b1", "stored tombstones depend on these bytes");
        assert_eq!(decode(&record).unwrap(), Timestamp::from_unix_ms(1_000));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(body: Vec<u8>) {
            let mut record = Vec::new();
            bytes::seal(&mut record, MAGIC, VERSION, |out| out.extend_from_slice(&body));
            let _ = (decode(&record), decode(&body));
        }
    }
}
