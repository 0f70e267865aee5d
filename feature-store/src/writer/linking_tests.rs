//! Changes of links on engines that fail, with full queues and when the store closes: nobody waits for ever, and what
//! is believed is what is stored.

use std::sync::mpsc;
use std::time::Duration;

use augur_domain::Timestamp;
use augur_domain::event::{ClaimedBy, IdentityClaim};

use super::tests::Faulty;
use super::*;
use crate::testing::{START_MS, event, schema, user};
use crate::{FeatureStore, LinkOutcome, Verdict};

const SHARDS: usize = 8;

type Answer = mpsc::Receiver<Result<Vec<EventOutcome>, Error>>;

fn open(engine: &Arc<Faulty>, queue_events: usize) -> FeatureStore {
    let config = Config { shards: SHARDS, queue_events, ..Config::new("unused") };
    let engine: Arc<dyn Store> = Arc::<Faulty>::clone(engine);
    FeatureStore::with_store(engine, &config, Arc::new(schema()), |_| {}).unwrap()
}

fn submit(store: &FeatureStore, events: Vec<Incoming>) -> Result<Answer, Error> {
    let (sender, receiver) = mpsc::channel();
    store.ingest(events, move |answer| drop(sender.send(answer)))?;
    Ok(receiver)
}

fn answer(waiting: &Answer) -> Result<Vec<EventOutcome>, Error> {
    waiting.recv_timeout(Duration::from_secs(60)).expect("no answer within a minute")
}

fn plain(who: u8, message: u64) -> Incoming {
    event(who, message, "purchase", 0, 1.0).into()
}

fn login(who: u8, message: u64, device: u8) -> Incoming {
    Incoming { claim: Some(claim(device)), ..plain(who, message) }
}

fn claim(device: u8) -> IdentityClaim {
    IdentityClaim { id: user(device), by: ClaimedBy::Device }
}

/// Two users whose writers are two.
fn apart() -> (u8, u8) {
    assert_ne!(shard_of(user(1), SHARDS), shard_of(user(2), SHARDS));
    (1, 2)
}

fn is_sound(store: &FeatureStore) {
    for user in store.users_to_verify().unwrap() {
        assert!(matches!(store.verify_user(user.unwrap()).unwrap(), Verdict::Identical { .. }));
    }
    assert!(store.routing_for_tests().contains("routes: {}, persons: {}"));
}

#[test]
fn a_change_that_is_not_stored_is_told_and_can_be_made_again() {
    let engine = Arc::new(Faulty::default());
    let store = open(&engine, 1_000);
    let (known, device) = apart();
    answer(&submit(&store, vec![plain(device, 1)]).unwrap()).unwrap();
    engine.fails.store(true, Ordering::SeqCst);
    assert!(store.link(user(known), claim(device), Timestamp::from_unix_ms(START_MS)).is_err());
    let failed = submit(&store, vec![login(known, 2, device), plain(device, 3)]).unwrap();
    assert!(answer(&failed).is_err());
    engine.fails.store(false, Ordering::SeqCst);
    assert_eq!((store.resolve(user(device)).unwrap(), store.stats().failed_links), (user(device), 2));
    is_sound(&store);
    let again = submit(&store, vec![login(known, 2, device), plain(device, 3), plain(device, 1)]).unwrap();
    use EventOutcome::{Accepted, Duplicate};
    assert_eq!(answer(&again).unwrap(), [Accepted, Accepted, Duplicate]);
    assert_eq!(store.events_of(user(device)).unwrap().len(), 3);
    is_sound(&store);
}

#[test]
fn after_a_panic_the_store_says_who_is_who() {
    let engine = Arc::new(Faulty::default());
    let store = open(&engine, 1_000);
    let (known, device) = apart();
    answer(&submit(&store, vec![plain(device, 1), plain(known, 2)]).unwrap()).unwrap();
    assert_eq!(store.resolve(user(device)).unwrap(), user(device));
    engine.panics.store(true, Ordering::SeqCst);
    let at = Timestamp::from_unix_ms(START_MS);
    let error = store.link(user(known), claim(device), at).unwrap_err();
    assert!(matches!(error, Error::Panicked { .. }), "{error}");
    engine.panics.store(false, Ordering::SeqCst);
    // It was stored all the same; both writers go on by it.
    assert_eq!(store.resolve(user(device)).unwrap(), user(known));
    assert_eq!(store.link(user(known), claim(device), at).unwrap(), LinkOutcome::AlreadyLinked);
    let later = submit(&store, vec![plain(device, 3), plain(known, 4), plain(device, 1)]).unwrap();
    use EventOutcome::{Accepted, Duplicate};
    assert_eq!(answer(&later).unwrap(), [Accepted, Accepted, Duplicate]);
    is_sound(&store);
    assert_eq!((store.stats().users_total, store.stats().events_total), (1, 4));
}

#[test]
fn links_pass_full_queues_and_a_refused_request_links_nobody() {
    let engine = Arc::new(Faulty::default());
    let store = open(&engine, 4);
    let (known, device) = apart();
    let gate = engine.gate.lock();
    let full = submit(&store, (0..4).map(|message| plain(known, message)).collect()).unwrap();
    let refused = submit(&store, vec![login(known, 9, device)]).unwrap_err();
    assert!(matches!(refused, Error::QueueFull { .. }), "{refused}");
    assert!(store.routing_for_tests().contains("routes: {}, persons: {}"));
    // A call needs no room: it waits for what is queued.
    let at = Timestamp::from_unix_ms(START_MS);
    std::thread::scope(|scope| {
        let link = scope.spawn(|| store.link(user(known), claim(device), at));
        while store.routing_for_tests().contains("routes: {}") {
            std::thread::yield_now();
        }
        drop(gate);
        assert_eq!(link.join().unwrap(), Ok(LinkOutcome::Linked { events: 0 }));
    });
    answer(&full).unwrap();
    is_sound(&store);
}

#[test]
fn a_store_that_closes_carries_out_the_changes_in_its_queues() {
    let engine = Arc::new(Faulty::default());
    let store = open(&engine, 1_000);
    let (known, device) = apart();
    let gate = engine.gate.lock();
    let waiting: Vec<Answer> = (0..20)
        .map(|round| {
            let (to, from) = if round % 2 == 0 { (known, device) } else { (device, known) };
            let batch = vec![plain(from, round * 10), login(to, round * 10 + 1, 200 + round as u8)];
            submit(&store, batch).unwrap()
        })
        .collect();
    drop(gate);
    store.close().unwrap();
    for waiting in waiting {
        assert_eq!(answer(&waiting).unwrap(), [const { EventOutcome::Accepted }; 2]);
    }
    assert_eq!(store.person(user(known)).unwrap().links.len(), 10);
    let closed = store.link(user(known), claim(99), Timestamp::from_unix_ms(START_MS));
    assert_eq!(closed, Err(Error::Closed));
    is_sound(&store);
}
