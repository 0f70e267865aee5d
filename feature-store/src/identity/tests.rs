//! Links against a simple model, and one by one: policies, bounds, failures, leakage.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use augur_domain::decision::Exposure;
use augur_domain::event::{ClaimedBy, EventOutcome, IdentityClaim, QuarantineReason};
use augur_domain::time::{DAY_MS, HOUR_MS};
use augur_domain::{Event, Timestamp, UserKey};
use proptest::prelude::*;

use super::{IdentityConfig, Incoming, LinkOutcome, SharedDevice};
use crate::store::{MemoryStore, Store};
use crate::testing::{START_MS, event, schema, user};
use crate::{Config, Error, FeatureStore, Label, Verdict};

type Answer = mpsc::Receiver<Result<Vec<EventOutcome>, Error>>;

fn config(shards: usize, identity: IdentityConfig) -> Config {
    Config { shards, identity, ..Config::new("unused") }
}

fn open_on(store: &Arc<MemoryStore>, shards: usize, identity: IdentityConfig) -> FeatureStore {
    let store: Arc<dyn Store> = Arc::<MemoryStore>::clone(store);
    FeatureStore::with_store(store, &config(shards, identity), Arc::new(schema()), |_| {}).unwrap()
}

fn open(shards: usize) -> FeatureStore {
    open_on(&Arc::default(), shards, IdentityConfig::default())
}

fn submit(store: &FeatureStore, events: Vec<Incoming>) -> Answer {
    let (sender, receiver) = mpsc::channel();
    store.ingest(events, move |answer| drop(sender.send(answer))).unwrap();
    receiver
}

fn wait(answer: &Answer) -> Vec<EventOutcome> {
    answer.recv_timeout(Duration::from_secs(60)).expect("no answer within a minute").unwrap()
}

fn send(store: &FeatureStore, events: Vec<Incoming>) -> Vec<EventOutcome> {
    wait(&submit(store, events))
}

fn plain(who: u8, message: u64, at_ms: i64) -> Incoming {
    event(who, message, "purchase", at_ms, 1.0).into()
}

fn claiming(who: u8, message: u64, at_ms: i64, id: u8, by: ClaimedBy) -> Incoming {
    let claim = Some(IdentityClaim { id: user(id), by });
    Incoming { event: event(who, message, "login", at_ms, 1.0), claim }
}

fn login(who: u8, message: u64, at_ms: i64, device: u8) -> Incoming {
    claiming(who, message, at_ms, device, ClaimedBy::Device)
}

fn alias(who: u8, message: u64, at_ms: i64, former: u8) -> Incoming {
    claiming(who, message, at_ms, former, ClaimedBy::Alias)
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(START_MS + ms)
}

fn purchases(store: &FeatureStore, who: u8, at_ms: i64) -> f64 {
    let slot = store.schema().feature_set().slot("events_30d").unwrap();
    store.features(user(who), at(at_ms)).unwrap().values[slot].value
}

fn reasons(outcomes: &[EventOutcome]) -> Vec<Option<QuarantineReason>> {
    let reason = |outcome: &EventOutcome| match outcome {
        EventOutcome::Quarantined(quarantine) => Some(quarantine.reason),
        _ => None,
    };
    outcomes.iter().map(reason).collect()
}

fn all_is_identical(store: &FeatureStore) {
    for user in store.users().unwrap() {
        let verdict = store.verify_user(user.unwrap()).unwrap();
        assert!(matches!(verdict, Verdict::Identical { .. }), "{verdict:?}");
    }
}

/// Who is who and who did what, in the simplest way there is.
#[derive(Debug, Default)]
struct Model {
    /// Whom an id was linked to, and when.
    links: BTreeMap<u8, (u8, Timestamp)>,
    /// Per person and message: under which id it came, and its event time.
    logs: BTreeMap<u8, BTreeMap<u64, (u8, Timestamp)>>,
}

impl Model {
    fn person(&self, id: u8) -> u8 {
        self.links.get(&id).map_or(id, |(parent, _)| self.person(*parent))
    }

    fn members(&self, of: u8) -> BTreeSet<u8> {
        let children = self.links.iter().filter(|(_, (parent, _))| *parent == of);
        children.flat_map(|(child, _)| self.members(*child)).chain([of]).collect()
    }

    fn since(&self, id: u8) -> Timestamp {
        self.links.get(&id).map_or(Timestamp::MIN, |(parent, since)| (*since).max(self.since(*parent)))
    }

    fn event(&mut self, id: u8, message: u64, at: Timestamp) -> EventOutcome {
        let log = self.logs.entry(self.person(id)).or_default();
        if log.contains_key(&message) {
            return EventOutcome::Duplicate;
        }
        log.insert(message, (id, at));
        EventOutcome::Accepted
    }

    /// Whether the event that claims it may be stored.
    fn link(&mut self, known: u8, id: u8, since: Timestamp, by: ClaimedBy) -> bool {
        let (to, from) = (self.person(known), self.person(id));
        if id == known || (from == to && id != to) {
            return true;
        }
        if from == to {
            return false;
        }
        if from != id {
            return by == ClaimedBy::Device;
        }
        self.links.insert(id, (known, since));
        let moved = self.logs.remove(&id).unwrap_or_default();
        let log = self.logs.entry(to).or_default();
        for (message, came) in moved {
            log.entry(message).or_insert(came);
        }
        true
    }

    fn unlink(&mut self, id: u8) {
        let person = self.person(id);
        let ids = self.members(id);
        if self.links.remove(&id).is_none() {
            return;
        }
        let log = self.logs.remove(&person).unwrap_or_default();
        for (message, came) in log {
            let goes = if ids.contains(&came.0) { id } else { person };
            self.logs.entry(goes).or_default().insert(message, came);
        }
    }

    fn check(&self, store: &FeatureStore) {
        for id in 0..6 {
            let person = self.person(id);
            assert_eq!(store.resolve(user(id)).unwrap(), user(person), "person of {id}");
            let found = store.events_of(user(id)).unwrap();
            let expected = self.logs.get(&person).cloned().unwrap_or_default();
            assert_eq!(found.len(), expected.len(), "events of {id}");
            for (stored, sequence) in found.iter().zip(1..) {
                let message = u64::from_be_bytes(*stored.event.message_key.as_bytes().first_chunk().unwrap());
                let (came_by, at) = expected[&message];
                assert_eq!((stored.sequence, stored.event.user), (sequence, user(person)));
                assert_eq!(stored.origin, (came_by != person).then(|| user(came_by)), "origin of {message}");
                let since = if came_by == person { Timestamp::MIN } else { self.since(came_by) };
                assert_eq!(stored.visible_at(), at.max(since), "visibility of {message}");
            }
            // A store that only ever knew this person, in this order.
            let fresh = open(1);
            send(&fresh, found.iter().map(|stored| stored.event.clone().into()).collect());
            let now = at(20 * DAY_MS);
            let expected = fresh.features(user(person), now).unwrap();
            assert_eq!(store.features(user(id), now).unwrap(), expected, "features of {id}");
        }
        all_is_identical(store);
        let users = self.logs.values().filter(|log| !log.is_empty()).count();
        assert_eq!(store.stats().users_total, users as u64);
        let routing = store.routing_for_tests();
        assert!(routing.starts_with("Routing {") && routing.contains("routes: {}, persons: {}"), "{routing}");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Event { id: u8, message: u64, at_ms: i64 },
    Claim { known: u8, id: u8, message: u64, at_ms: i64, by: ClaimedBy },
    Unlink { id: u8 },
    Reopen,
}

/// Persons 0, 1 and 2, devices 3, 4 and 5; few messages, so that many are sent twice.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let time = 0..12 * DAY_MS;
    let device = (0..3_u8, 3..6_u8, 0..60_u64, time.clone()).prop_map(|(known, id, message, at_ms)| {
        Step::Claim { known, id, message, at_ms, by: ClaimedBy::Device }
    });
    let alias = (0..3_u8, 0..6_u8, 0..60_u64, time.clone()).prop_map(|(known, id, message, at_ms)| {
        Step::Claim { known, id, message, at_ms, by: ClaimedBy::Alias }
    });
    let event =
        (0..6_u8, 0..60_u64, time).prop_map(|(id, message, at_ms)| Step::Event { id, message, at_ms });
    let unlink = (0..6_u8).prop_map(|id| Step::Unlink { id });
    let step = prop_oneof![8 => event, 3 => device, 1 => alias, 2 => unlink, 1 => Just(Step::Reopen)];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Batches follow each other without waiting; what they answer and leave behind is what the model says.
    #[test]
    fn links_are_what_a_simple_model_says(steps in steps(), shards in 1..5_usize, per_batch in 1..6_usize) {
        let engine = Arc::new(MemoryStore::new());
        let mut store = open_on(&engine, shards, IdentityConfig::default());
        let mut model = Model::default();
        let mut open: Vec<(Answer, Vec<EventOutcome>)> = Vec::new();
        let (mut batch, mut expected) = (Vec::new(), Vec::new());
        for step in steps {
            let ends_batch = matches!(step, Step::Unlink { .. } | Step::Reopen);
            if batch.len() >= per_batch || (ends_batch && !batch.is_empty()) {
                open.push((submit(&store, std::mem::take(&mut batch)), std::mem::take(&mut expected)));
            }
            match step {
                Step::Event { id, message, at_ms } => {
                    batch.push(plain(id, message, at_ms));
                    expected.push(model.event(id, message, at(at_ms)));
                }
                Step::Claim { known, id, message, at_ms, by } => {
                    batch.push(claiming(known, message, at_ms, id, by));
                    let stored = model.link(known, id, at(at_ms), by);
                    expected.push(if stored { model.event(known, message, at(at_ms)) } else { refused() });
                }
                Step::Unlink { id } => {
                    let was_linked = model.links.contains_key(&id);
                    prop_assert_eq!(store.unlink(user(id)).unwrap().is_some(), was_linked);
                    model.unlink(id);
                }
                Step::Reopen => {
                    store.close().unwrap();
                    store = open_on(&engine, shards, IdentityConfig::default());
                }
            }
        }
        open.push((submit(&store, batch), expected));
        for (answer, expected) in open {
            let found = wait(&answer);
            for (found, expected) in found.iter().zip(&expected) {
                let same = matches!(
                    (found, expected),
                    (EventOutcome::Quarantined(_), EventOutcome::Quarantined(_))
                ) || found == expected;
                prop_assert!(same, "{found:?} instead of {expected:?}");
            }
            prop_assert_eq!(found.len(), expected.len());
        }
        model.check(&store);
    }
}

fn refused() -> EventOutcome {
    EventOutcome::Quarantined(super::refusal(QuarantineReason::LinkCycle, "any", "", ""))
}

#[test]
fn what_a_device_did_becomes_the_users_and_goes_back() {
    let store = open(4);
    send(&store, vec![plain(3, 1, 0), plain(3, 2, HOUR_MS), plain(0, 3, 0)]);
    assert_eq!((purchases(&store, 0, 2 * HOUR_MS), purchases(&store, 3, 2 * HOUR_MS)), (1.0, 2.0));

    let outcomes = send(&store, vec![login(0, 4, 2 * HOUR_MS, 3), plain(3, 5, 3 * HOUR_MS)]);
    assert_eq!(outcomes, [EventOutcome::Accepted, EventOutcome::Accepted]);
    let both = [0, 3].map(|who| purchases(&store, who, 4 * HOUR_MS));
    assert_eq!(both, [5.0, 5.0]);
    // By either id, also where the reader wants what is in memory only.
    let definitions = store.definitions();
    let read =
        |who| store.features_in_full_if_cached(&definitions, user(who), at(9), &crate::NoContext).unwrap();
    assert_eq!(
        read(3),
        Some(store.features_in_full(&definitions, user(0), at(9), &crate::NoContext).unwrap())
    );
    // A retry of what came before the link, under the name of then.
    assert_eq!(send(&store, vec![plain(3, 1, 0)]), [EventOutcome::Duplicate]);
    let person = store.person(user(3)).unwrap();
    assert_eq!((person.key, person.links.len()), (user(0), 1));
    assert_eq!((person.links[0].id, person.links[0].since), (user(3), at(2 * HOUR_MS)));

    assert_eq!(store.unlink(user(3)).unwrap(), Some(3));
    assert_eq!((purchases(&store, 0, 4 * HOUR_MS), purchases(&store, 3, 4 * HOUR_MS)), (2.0, 3.0));
    assert_eq!(send(&store, vec![plain(3, 5, 3 * HOUR_MS)]), [EventOutcome::Duplicate]);
    assert_eq!(store.unlink(user(3)).unwrap(), None);
    all_is_identical(&store);
}

#[test]
fn a_retraction_stays_with_the_message_that_both_had() {
    let store = open(2);
    let take_back = Event::retraction(user(3), plain(3, 1, 0).event.message_key, at(1), at(1));
    send(&store, vec![plain(3, 1, 0), take_back.into(), plain(0, 1, 0), login(0, 2, 2, 3)]);
    assert_eq!(purchases(&store, 0, 10), 1.0, "the login alone");
    store.unlink(user(3)).unwrap();
    assert_eq!(store.events_of(user(3)).unwrap(), []);
    assert_eq!((purchases(&store, 0, 10), purchases(&store, 3, 10)), (1.0, 0.0));
}

#[test]
fn a_moved_device_is_recognised_when_its_former_person_has_another_name() {
    let identity = IdentityConfig { shared_device: SharedDevice::Move, ..IdentityConfig::default() };
    let store = open_on(&Arc::default(), 3, identity);
    send(&store, vec![login(0, 1, 0, 3), plain(3, 2, 1), login(1, 3, 2, 3), alias(2, 4, 3, 0)]);
    assert_eq!(send(&store, vec![plain(3, 2, 1)]), [EventOutcome::Duplicate]);
}

#[test]
fn what_a_moved_device_left_goes_back_with_its_former_person() {
    let identity = IdentityConfig { shared_device: SharedDevice::Move, ..IdentityConfig::default() };
    let store = open_on(&Arc::default(), 3, identity);
    send(&store, vec![plain(3, 1, 0), login(0, 2, 1, 3), login(1, 3, 2, 3), alias(2, 4, 3, 0)]);
    assert_eq!(purchases(&store, 0, 10), 3.0);
    assert_eq!(store.unlink(user(0)).unwrap(), Some(2));
    assert_eq!([0, 1, 2].map(|who| purchases(&store, who, 10)), [2.0, 1.0, 1.0]);
    let log = store.events_of(user(0)).unwrap();
    assert_eq!((log[0].origin, log[1].origin), (Some(user(3)), None));
    all_is_identical(&store);
}

#[test]
fn caps_follow_the_person() {
    let store = open(2);
    let shown = |action: &str, ms| Exposure::new(action, "email", at(ms));
    store.record_exposure(user(3), &shown("a", 1)).unwrap();
    store.record_exposure(user(0), &shown("b", 2)).unwrap();
    let claim = IdentityClaim { id: user(3), by: ClaimedBy::Operator };
    assert_eq!(store.link(user(0), claim, at(5)).unwrap(), LinkOutcome::Linked { events: 0 });
    let of = |who| store.exposures(user(who), Timestamp::MIN).unwrap();
    assert_eq!(of(0), [shown("a", 1), shown("b", 2)]);
    {
        // One lock for both names.
        let _guard = store.exposure_guard(user(3));
        store.record_exposure(user(3), &shown("c", 3)).unwrap();
    }
    assert_eq!((of(0).len(), of(3).len()), (3, 3));
    // Apart again, both have seen it all.
    store.unlink(user(3)).unwrap();
    assert_eq!((of(0).len(), of(3).len()), (3, 3));
    store.record_exposure(user(3), &shown("d", 4)).unwrap();
    assert_eq!((of(0).len(), of(3).len()), (3, 4));
}

#[test]
fn nothing_of_a_device_is_seen_before_the_link() {
    let store = open(2);
    send(&store, vec![plain(0, 1, 0), plain(3, 2, 0), login(0, 3, 10 * HOUR_MS, 3)]);
    // Late, from before the link.
    send(&store, vec![plain(3, 4, HOUR_MS)]);
    let slot = store.schema().feature_set().slot("events_30d").unwrap();
    let seen = |who, at_ms| {
        let label = Label { user: user(who), at: at(at_ms), outcome: None };
        let row = store.training_rows(&[label]).unwrap().next().unwrap().unwrap();
        assert_eq!(row.user, user(0));
        row.features.values[slot].value
    };
    assert_eq!([seen(0, 10 * HOUR_MS), seen(3, 10 * HOUR_MS)], [1.0, 1.0]);
    assert_eq!([seen(0, 10 * HOUR_MS + 1), seen(3, 11 * HOUR_MS)], [4.0, 4.0]);
}

#[test]
fn a_retraction_that_moves_back_is_not_seen_later_than_before() {
    let store = open(2);
    let bought = event(3, 2, "purchase", 0, 1.0);
    // Told of after five days, as imports do.
    let taken_back = Event::retraction(bought.user, bought.message_key, at(HOUR_MS), at(5 * DAY_MS));
    send(&store, vec![bought.into(), taken_back.into(), login(0, 3, 2 * HOUR_MS, 3)]);
    let slot = store.schema().feature_set().slot("events_30d").unwrap();
    let seen = |who, at_ms| {
        let label = Label { user: user(who), at: at(at_ms), outcome: None };
        store.training_rows(&[label]).unwrap().next().unwrap().unwrap().features.values[slot].value
    };
    assert_eq!(seen(3, 2 * HOUR_MS + 1), 1.0, "the login alone");
    store.unlink(user(3)).unwrap();
    assert_eq!([seen(3, HOUR_MS), seen(3, 2 * HOUR_MS + 1)], [1.0, 0.0]);
}

#[test]
fn a_shared_device_follows_the_policy() {
    let shared = |shared_device| {
        open_on(&Arc::default(), 3, IdentityConfig { shared_device, ..IdentityConfig::default() })
    };
    let both_log_in = |store: &FeatureStore| {
        send(
            store,
            vec![plain(3, 1, 0), login(0, 2, 1, 3), plain(3, 3, 2), login(1, 4, 3, 3), plain(3, 5, 4)],
        )
    };
    let keep = shared(SharedDevice::Keep);
    assert_eq!(reasons(&both_log_in(&keep)), [None; 5]);
    assert_eq!((purchases(&keep, 0, 10), purchases(&keep, 1, 10)), (4.0, 1.0));

    let refuse = shared(SharedDevice::Refuse);
    let elsewhere = Some(QuarantineReason::LinkedElsewhere);
    assert_eq!(reasons(&both_log_in(&refuse)), [None, None, None, elsewhere, None]);
    assert_eq!((purchases(&refuse, 0, 10), purchases(&refuse, 1, 10)), (4.0, 0.0));

    let moves = shared(SharedDevice::Move);
    assert_eq!(reasons(&both_log_in(&moves)), [None; 5]);
    assert_eq!((purchases(&moves, 0, 10), purchases(&moves, 1, 10)), (3.0, 2.0));
    // What it left behind is still known.
    let again = send(&moves, vec![plain(3, 1, 0), plain(3, 3, 2), plain(3, 5, 4)]);
    assert_eq!(again, [EventOutcome::Duplicate, EventOutcome::Duplicate, EventOutcome::Duplicate]);
    assert_eq!(moves.person(user(0)).unwrap().links, []);
    assert_eq!(moves.unlink(user(3)).unwrap(), Some(1));
    assert_eq!((purchases(&moves, 1, 10), purchases(&moves, 3, 10)), (1.0, 1.0));
    for message in 0..20 {
        send(&moves, vec![login((message % 2) as u8, 100 + message, 20, 3)]);
    }
    let last = reasons(&send(&moves, vec![login(0, 200, 20, 3), login(1, 201, 20, 3)]));
    assert!(last.contains(&Some(QuarantineReason::TooManyLinks)), "{last:?}");
    for store in [keep, refuse, moves] {
        all_is_identical(&store);
    }
}

#[test]
fn known_users_merge_only_by_an_alias_and_never_in_a_circle() {
    let store = open(3);
    send(&store, vec![plain(0, 1, 0), plain(1, 2, 0), login(0, 3, 1, 3), login(1, 4, 1, 3)]);
    assert_eq!((purchases(&store, 0, 10), purchases(&store, 1, 10)), (2.0, 2.0));
    assert_eq!(reasons(&send(&store, vec![alias(1, 5, 2, 0), alias(0, 6, 3, 0)])), [None, None]);
    assert_eq!((purchases(&store, 0, 10), purchases(&store, 1, 10)), (6.0, 6.0));
    assert_eq!(store.resolve(user(3)).unwrap(), user(1));
    let found = reasons(&send(&store, vec![alias(0, 7, 4, 1), alias(2, 8, 4, 0), alias(1, 9, 4, 0)]));
    let elsewhere = Some(QuarantineReason::LinkedElsewhere);
    assert_eq!(found, [Some(QuarantineReason::LinkCycle), elsewhere, None]);
    // Undone, the former id has its own device again.
    store.unlink(user(0)).unwrap();
    assert_eq!(store.resolve(user(3)).unwrap(), user(0));
    assert_eq!((purchases(&store, 0, 10), purchases(&store, 1, 10)), (3.0, 4.0));
    all_is_identical(&store);
}

#[test]
fn bounds_refuse_and_leave_nothing_half_done() {
    let identity =
        IdentityConfig { max_links_per_person: 3, max_merge_events: 5, ..IdentityConfig::default() };
    let store = open_on(&Arc::default(), 2, identity);
    let too_many = Some(QuarantineReason::TooManyLinks);
    let logins = (0..10_u8).map(|number| login(0, 100 + u64::from(number), 0, 50 + number)).collect();
    let found = reasons(&send(&store, logins));
    assert_eq!(found[..4], [None, None, None, too_many]);
    assert_eq!(found.iter().filter(|reason| **reason == too_many).count(), 7);
    assert_eq!((store.person(user(0)).unwrap().links.len(), purchases(&store, 0, 10)), (3, 3.0));
    store.unlink(user(50)).unwrap();
    assert_eq!(reasons(&send(&store, vec![login(0, 200, 0, 60), login(0, 201, 0, 61)])), [None, too_many]);
    // A person with ids of its own brings them along.
    send(&store, vec![login(1, 300, 0, 70), login(2, 301, 0, 71), login(2, 302, 0, 72)]);
    assert_eq!(reasons(&send(&store, vec![alias(1, 303, 0, 2)])), [too_many]);

    send(&store, (0..6).map(|message| plain(90, message, 0)).collect());
    let found = reasons(&send(&store, vec![login(1, 400, 0, 90), plain(90, 401, 0)]));
    assert_eq!(found, [Some(QuarantineReason::MergeTooLarge), None]);
    assert_eq!((store.resolve(user(90)).unwrap(), purchases(&store, 90, 10)), (user(90), 7.0));
    all_is_identical(&store);
}

#[test]
fn ten_thousand_ids_are_the_most_that_can_be_allowed() {
    let identity = |links| IdentityConfig { max_links_per_person: links, ..IdentityConfig::default() };
    assert!(identity(10_000).check().is_ok());
    assert!(matches!(
        identity(10_001).check(),
        Err(Error::InvalidConfig { name: "max_links_per_person", .. })
    ));
    let store = open_on(&Arc::default(), 2, identity(10_000));
    let device = |number: u32| {
        let mut key = [7; 16];
        key[..4].copy_from_slice(&number.to_be_bytes());
        UserKey::from_bytes(key)
    };
    // The first login sees all devices pass; the last one is too many.
    let mut outcomes = Vec::new();
    for first in (0..10_001).step_by(2_000) {
        let events = (first..10_001.min(first + 2_000)).map(|number| {
            let claim = Some(IdentityClaim { id: device(number), by: ClaimedBy::Device });
            Incoming { claim, ..login(0, u64::from(number), 0, 0) }
        });
        outcomes.extend(reasons(&send(&store, events.collect())));
    }
    let refused = outcomes.iter().flatten().collect::<Vec<_>>();
    assert_eq!(refused, [&QuarantineReason::TooManyLinks]);
    assert_eq!(outcomes.iter().position(Option::is_some), Some(10_000));
    assert_eq!(store.person(user(0)).unwrap().links.len(), 10_000);
}

/// Every person's device is handed to the next one's shard while events and undoings go on.
#[test]
fn sixty_four_threads_in_opposite_directions_come_to_an_end() {
    let store = Arc::new(open_on(&Arc::default(), 8, IdentityConfig::default()));
    let (done, all) = mpsc::channel();
    for thread in 0..64_u8 {
        let (store, done) = (Arc::clone(&store), done.clone());
        std::thread::spawn(move || {
            for round in 0..15_u64 {
                let message = u64::from(thread) * 1_000 + round * 10;
                let (known, former) =
                    if thread % 2 == 0 { (thread, thread + 1) } else { (thread, thread - 1) };
                let device = 64 + (u64::from(thread) * 7 + round) as u8 % 64;
                send(
                    &store,
                    vec![
                        plain(device, message, 0),
                        login(known, message + 1, 0, device),
                        alias(known, message + 2, 0, former),
                        plain(device, message + 3, 0),
                    ],
                );
                if round % 3 == 0 {
                    store.unlink(user(former)).unwrap();
                    store.unlink(user(device)).unwrap();
                }
            }
            done.send(()).unwrap();
        });
    }
    for _ in 0..64 {
        all.recv_timeout(Duration::from_secs(120)).expect("the threads wait for each other");
    }
    all_is_identical(&store);

    let logged: usize =
        store.users().unwrap().map(|user| store.events_of(user.unwrap()).unwrap().len()).sum();
    assert_eq!(store.stats().events_total, logged as u64);
    store.close().unwrap();
}

#[test]
fn an_event_of_a_former_device_is_checked_at_its_writer() {
    let store = open(2);
    let claim = IdentityClaim { id: user(3), by: ClaimedBy::Operator };
    assert_eq!(store.link(user(0), claim, at(0)).unwrap(), LinkOutcome::Linked { events: 0 });
    assert_eq!(store.link(user(0), claim, at(0)).unwrap(), LinkOutcome::AlreadyLinked);
    let elsewhere = store.link(user(1), claim, at(0)).unwrap_err();
    let told = elsewhere.to_string();
    assert!(told.contains("id: ") && told.contains("belongs to"), "{told}");
    assert!(!told.contains("previous_id") && told.contains("undone first"), "{told}");
    let circle = IdentityClaim { id: user(0), by: ClaimedBy::Operator };
    assert!(matches!(store.link(user(3), circle, at(0)), Err(Error::LinkRefused(_))));
    let stats = store.stats();
    assert_eq!((stats.links_made, stats.links_undone, stats.failed_links), (1, 0, 0));
    let events: Vec<Event> = vec![event(3, 1, "purchase", 0, 1.0)];
    send(&store, events.into_iter().map(Incoming::from).collect());
    assert_eq!(store.stats().users_total, 1);
}

#[test]
fn memory_answers_for_linked_ids_for_persons_and_for_strangers() {
    let store = open(2);
    send(&store, vec![plain(9, 1, 0)]);
    send(&store, vec![login(1, 2, 10, 9)]);
    let definitions = store.definitions();
    let now = at(1_000);
    for who in [9, 1, 77] {
        let context = &crate::NoContext;
        let expected = store.features(user(who), now).unwrap();
        let cached = store.features_if_cached(&definitions, user(who), now, context).unwrap();
        assert_eq!(cached.as_ref(), Some(&expected), "{who}");
        let in_full = store.features_in_full_if_cached(&definitions, user(who), now, context).unwrap();
        assert_eq!(in_full.map(|(vector, _)| vector), Some(expected), "{who}");
        assert_eq!(store.exposures_if_cached(user(who), Timestamp::MIN).unwrap(), Some(Vec::new()), "{who}");
    }
    let slot = store.schema().feature_set().slot("events_30d").unwrap();
    let anonymous = store.features_in_full_if_cached(&definitions, user(9), now, &crate::NoContext).unwrap();
    assert_eq!(anonymous.unwrap().0.values[slot].value, 2.0);
}
