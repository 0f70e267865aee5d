//! Queues, groups and failing engines.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

use augur_domain::ids::MessageKey;
use augur_domain::{Event, Value};

use super::*;
use crate::store::{
    Cached, Commit, Due, Erased, Erasure, EventCursor, EventRecords, Generation, MemoryStore, NewEvent,
    Pruning, QuarantineRecord, Read, Relocation, Usage, Users,
};
use crate::testing::{event, schema, user};
use crate::{FeatureStore, Verdict};

/// Memory whose commits can be made to fail, to panic or to wait.
#[derive(Default)]
pub(super) struct Faulty {
    inner: MemoryStore,
    pub(super) fails: AtomicBool,
    /// Panic when a group is stored already.
    pub(super) panics: AtomicBool,
    pub(super) gate: Mutex<()>,
    commits: Mutex<Vec<usize>>,
}

impl Read for Faulty {
    fn state(&self, generation: Generation, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.inner.state(generation, user)
    }
    fn message_sequence(&self, user: UserKey, message_key: MessageKey) -> Result<Option<u64>, Error> {
        self.inner.message_sequence(user, message_key)
    }
    fn events_after(&self, user: UserKey, after: u64) -> Result<EventRecords<'_>, Error> {
        self.inner.events_after(user, after)
    }
    fn last_sequence(&self, user: UserKey) -> Result<u64, Error> {
        self.inner.last_sequence(user)
    }
    fn all_events(&self) -> Result<EventRecords<'_>, Error> {
        self.inner.all_events()
    }
    fn event_cursor(&self) -> Result<Box<dyn EventCursor + '_>, Error> {
        self.inner.event_cursor()
    }
    fn users(&self, generation: Generation, after: Option<UserKey>) -> Result<Users<'_>, Error> {
        self.inner.users(generation, after)
    }
    fn base(&self, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.inner.base(user)
    }
    fn marks(&self, user: UserKey) -> Result<Vec<(MessageKey, u64)>, Error> {
        self.inner.marks(user)
    }
    fn exposures(&self, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.inner.exposures(user)
    }
    fn profile(&self, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.inner.profile(user)
    }
    fn has_profiles(&self) -> Result<bool, Error> {
        self.inner.has_profiles()
    }
    fn tombstone(&self, user: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.inner.tombstone(user)
    }
    fn link(&self, id: UserKey) -> Result<Option<Vec<u8>>, Error> {
        self.inner.link(id)
    }
    fn linked_ids(&self, person: UserKey) -> Result<Vec<UserKey>, Error> {
        self.inner.linked_ids(person)
    }
    fn has_links(&self) -> Result<bool, Error> {
        self.inner.has_links()
    }
}

impl Store for Faulty {
    fn snapshot(&self) -> Result<Box<dyn Read + '_>, Error> {
        self.inner.snapshot()
    }
    fn state_if_cached(&self, generation: Generation, user: UserKey) -> Result<Cached, Error> {
        self.inner.state_if_cached(generation, user)
    }
    fn exposures_if_cached(&self, user: UserKey) -> Result<Cached, Error> {
        self.inner.exposures_if_cached(user)
    }
    fn profile_if_cached(&self, user: UserKey) -> Result<Cached, Error> {
        self.inner.profile_if_cached(user)
    }
    fn link_if_cached(&self, id: UserKey) -> Result<Cached, Error> {
        self.inner.link_if_cached(id)
    }
    fn commit(&self, commit: &Commit) -> Result<(), Error> {
        let _open = self.gate.lock();
        if self.fails.load(Ordering::SeqCst) {
            return Err(Error::Storage { action: "committing events", detail: "no space left".to_owned() });
        }
        self.commits.lock().push(commit.events.len());
        self.inner.commit(commit)?;
        assert!(!self.panics.load(Ordering::SeqCst), "on purpose");
        Ok(())
    }
    fn relocate(&self, commit: &Commit, relocation: &Relocation) -> Result<(), Error> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(Error::Storage { action: "moving events", detail: "no space left".to_owned() });
        }
        self.inner.relocate(commit, relocation)?;
        assert!(!self.panics.load(Ordering::SeqCst), "on purpose");
        Ok(())
    }
    fn prune(&self, pruning: &Pruning) -> Result<(), Error> {
        self.inner.prune(pruning)
    }
    fn replace_bases(&self, bases: &[(UserKey, Vec<u8>)]) -> Result<(), Error> {
        self.inner.replace_bases(bases)
    }
    fn due(&self, day: u32, limit: usize) -> Result<Vec<Due>, Error> {
        self.inner.due(day, limit)
    }
    fn retention(&self) -> Result<Option<Vec<u8>>, Error> {
        self.inner.retention()
    }
    fn put_retention(&self, record: &[u8]) -> Result<(), Error> {
        self.inner.put_retention(record)
    }
    fn erase(&self, erasure: &Erasure) -> Result<Erased, Error> {
        self.inner.erase(erasure)
    }
    fn remove_tombstone(&self, user: UserKey) -> Result<(), Error> {
        self.inner.remove_tombstone(user)
    }
    fn replace_states(&self, generation: Generation, states: &[(UserKey, Vec<u8>)]) -> Result<(), Error> {
        self.inner.replace_states(generation, states)
    }
    fn drop_states(&self, generation: Generation) -> Result<(), Error> {
        self.inner.drop_states(generation)
    }
    fn generations(&self) -> Result<Option<Vec<u8>>, Error> {
        self.inner.generations()
    }
    fn put_generations(&self, record: &[u8]) -> Result<(), Error> {
        self.inner.put_generations(record)
    }
    fn counters(&self) -> Result<Vec<(u32, Counters)>, Error> {
        self.inner.counters()
    }
    fn put_ledger(
        &self,
        user: UserKey,
        exposures: Option<&[u8]>,
        rows: &[(Vec<u8>, Option<Vec<u8>>)],
    ) -> Result<(), Error> {
        self.inner.put_ledger(user, exposures, rows)
    }
    fn ledger(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        self.inner.ledger()
    }
    fn put_exposures(&self, user: UserKey, record: &[u8]) -> Result<(), Error> {
        self.inner.put_exposures(user, record)
    }
    fn put_profile(&self, user: UserKey, record: &[u8]) -> Result<(), Error> {
        self.inner.put_profile(user, record)
    }
    fn append_quarantine(&self, records: &[Vec<u8>], keep: u64) -> Result<u64, Error> {
        self.inner.append_quarantine(records, keep)
    }
    fn quarantined(&self, before: Option<u64>, limit: usize) -> Result<Vec<QuarantineRecord>, Error> {
        self.inner.quarantined(before, limit)
    }
    fn remove_quarantined(&self, numbers: &[u64]) -> Result<u64, Error> {
        self.inner.remove_quarantined(numbers)
    }
    fn quarantine_len(&self) -> u64 {
        self.inner.quarantine_len()
    }
    fn answers(&self) -> &dyn crate::store::Answers {
        self.inner.answers()
    }
    fn flush(&self) -> Result<(), Error> {
        self.inner.flush()
    }
    fn usage(&self) -> Usage {
        self.inner.usage()
    }
}

type Answer = Result<Vec<EventOutcome>, Error>;

fn open(store: &Arc<Faulty>, shards: usize, queue_events: usize, batch_events: usize) -> FeatureStore {
    let config = Config { shards, queue_events, batch_events, ..Config::new("unused") };
    let store: Arc<dyn Store> = Arc::<Faulty>::clone(store);
    FeatureStore::with_store(store, &config, Arc::new(schema()), |_| {}).unwrap()
}

fn send(store: &FeatureStore, events: Vec<Event>) -> Result<mpsc::Receiver<Answer>, Error> {
    let (sender, receiver) = mpsc::channel();
    store.ingest(events, move |answer| sender.send(answer).unwrap())?;
    Ok(receiver)
}

fn purchases(who: u8, ids: std::ops::Range<u64>) -> Vec<Event> {
    ids.map(|id| event(who, id, "purchase", id as i64, 1.0)).collect()
}

#[test]
fn outcomes_keep_their_order_over_shards_and_within_a_batch() {
    let store = open(&Arc::default(), 3, 1_000, 100);
    let mut events: Vec<Event> = (0..40).map(|who| event(who, 1, "purchase", 0, 1.0)).collect();
    events.insert(20, event(3, 1, "purchase", 0, 1.0));
    let outcomes = send(&store, events).unwrap().recv().unwrap().unwrap();
    for (index, outcome) in outcomes.iter().enumerate() {
        let expected = if index == 20 { EventOutcome::Duplicate } else { EventOutcome::Accepted };
        assert_eq!(*outcome, expected, "event {index}");
    }
    let stats = store.stats();
    assert_eq!((stats.events_total, stats.users_total, stats.duplicates), (40, 40, 1));
    assert_eq!(send(&store, Vec::new()).unwrap().recv().unwrap(), Ok(Vec::new()));
}

#[test]
fn the_same_message_of_another_user_is_another_event() {
    let store = open(&Arc::default(), 2, 100, 100);
    let events = vec![event(1, 7, "purchase", 0, 1.0), event(2, 7, "purchase", 0, 1.0)];
    let outcomes = send(&store, events).unwrap().recv().unwrap().unwrap();
    assert_eq!(outcomes, [EventOutcome::Accepted, EventOutcome::Accepted]);
}

#[test]
fn a_full_queue_refuses_whole_requests_and_frees_its_room() {
    let engine = Arc::new(Faulty::default());
    let store = open(&engine, 1, 10, 4);
    let gate = engine.gate.lock();
    let first = send(&store, purchases(1, 0..6)).unwrap();
    let full = send(&store, purchases(1, 6..11)).unwrap_err();
    assert_eq!(full, Error::QueueFull { shard: 0, queued: 6, limit: 10, unit: "events" });
    let second = send(&store, purchases(1, 6..10)).unwrap();
    assert_eq!(send(&store, purchases(1, 0..11)).unwrap_err(), Error::TooManyEvents { found: 11, limit: 10 });
    assert_eq!(store.stats().queued_events, 10);
    drop(gate);
    assert!(first.recv().unwrap().is_ok() && second.recv().unwrap().is_ok());
    assert_eq!(store.stats().queued_events, 0);
    assert!(send(&store, purchases(1, 10..20)).unwrap().recv().unwrap().is_ok());
}

fn with_note(who: u8, id: u64, bytes: usize) -> Event {
    let mut event = event(who, id, "purchase", id as i64, 1.0);
    event.properties.insert(0, ("note".into(), Value::Text("x".repeat(bytes).into())));
    event
}

#[test]
fn queues_and_commits_are_bounded_in_bytes_too() {
    const MIB: usize = 1 << 20;
    let engine = Arc::new(Faulty::default());
    let config = Config { shards: 1, queue_bytes: 32 * MIB, ..Config::new("unused") };
    let shared: Arc<dyn Store> = Arc::<Faulty>::clone(&engine);
    let store = FeatureStore::with_store(shared, &config, Arc::new(schema()), |_| {}).unwrap();
    let gate = engine.gate.lock();
    // Larger than the queue, and yet taken while nothing waits.
    let large = send(&store, vec![with_note(1, 0, 33 * MIB)]).unwrap();
    let full = send(&store, vec![with_note(1, 1, 1)]).unwrap_err();
    assert!(matches!(full, Error::QueueFull { shard: 0, unit: "bytes", .. }), "{full}");
    assert_eq!(store.stats().queued_events, 1);
    drop(gate);
    assert!(large.recv().unwrap().is_ok());
    let gate = engine.gate.lock();
    let waiting: Vec<_> = (1..6).map(|id| send(&store, vec![with_note(1, id, 6 * MIB)]).unwrap()).collect();
    assert!(matches!(send(&store, vec![with_note(1, 6, 6 * MIB)]), Err(Error::QueueFull { .. })));
    drop(gate);
    for answer in waiting {
        assert!(answer.recv().unwrap().is_ok());
    }
    let commits = engine.commits.lock().clone();
    assert!(commits.iter().sum::<usize>() == 6 && commits.iter().all(|events| *events <= 3), "{commits:?}");
    assert!(commits.len() >= 3);
    assert_eq!(store.stats().queued_events, 0);
}

#[test]
fn one_refused_shard_leaves_no_reservation_in_another() {
    let engine = Arc::new(Faulty::default());
    let store = open(&engine, 2, 5, 5);
    let (left, right) = (user(2), user(1));
    assert_eq!((shard_of(left, 2), shard_of(right, 2)), (0, 1));
    let of = |user: UserKey, ids: std::ops::Range<u64>| {
        purchases(1, ids).into_iter().map(move |event| Event { user, ..event }).collect::<Vec<_>>()
    };
    let gate = engine.gate.lock();
    let waiting = send(&store, of(right, 0..5)).unwrap();
    let mut both = of(left, 0..5);
    both.extend(of(right, 5..6));
    assert!(matches!(send(&store, both), Err(Error::QueueFull { .. })));
    let other = send(&store, of(left, 0..5)).unwrap();
    drop(gate);
    assert!(waiting.recv().unwrap().is_ok() && other.recv().unwrap().is_ok());
}

#[test]
fn what_waits_goes_into_one_commit_up_to_the_bound() {
    let engine = Arc::new(Faulty::default());
    let store = open(&engine, 1, 1_000, 10);
    let gate = engine.gate.lock();
    let waiting: Vec<_> =
        (0..8).map(|part| send(&store, purchases(1, part * 4..part * 4 + 4)).unwrap()).collect();
    drop(gate);
    for answer in waiting {
        assert!(answer.recv().unwrap().is_ok());
    }
    let commits = engine.commits.lock().clone();
    assert_eq!(commits.iter().sum::<usize>(), 32);
    assert!(commits.len() <= 5 && commits.iter().all(|events| *events < 14), "{commits:?}");
    let stored = store.events_of(user(1)).unwrap();
    assert!(stored.iter().zip(1..).all(|(event, sequence)| event.sequence == sequence));
}

#[test]
fn a_failed_write_counts_nothing_and_the_writer_lives_on() {
    let engine = Arc::new(Faulty::default());
    let store = open(&engine, 1, 100, 100);
    assert!(send(&store, purchases(1, 0..2)).unwrap().recv().unwrap().is_ok());
    let before = store.state(user(1)).unwrap();
    engine.fails.store(true, Ordering::SeqCst);
    let error = send(&store, purchases(1, 1..4)).unwrap().recv().unwrap().unwrap_err();
    assert!(error.to_string().contains("no space left"), "{error}");
    assert_eq!(store.state(user(1)).unwrap(), before);
    engine.fails.store(false, Ordering::SeqCst);
    let outcomes = send(&store, purchases(1, 1..4)).unwrap().recv().unwrap().unwrap();
    assert_eq!(outcomes, [EventOutcome::Duplicate, EventOutcome::Accepted, EventOutcome::Accepted]);
    let stats = store.stats();
    assert_eq!((stats.events_total, stats.failed_commits, stats.queued_events), (4, 1, 0));
}

#[test]
fn a_damaged_state_is_rebuilt_from_the_log_by_the_next_event() {
    let engine = Arc::new(Faulty::default());
    let store = open(&engine, 1, 100, 100);
    assert!(send(&store, purchases(9, 0..3)).unwrap().recv().unwrap().is_ok());
    let damage =
        || engine.inner.replace_states(Generation::FIRST, &[(user(9), b"damaged".to_vec())]).unwrap();
    damage();
    let error = store.features(user(9), augur_domain::Timestamp::MIN).unwrap_err().to_string();
    assert!(error.ends_with("the next event of this user rebuilds it from the event log"), "{error}");
    let mut mixed = purchases(1, 0..2);
    mixed.extend(purchases(9, 2..4));
    let outcomes = send(&store, mixed).unwrap().recv().unwrap().unwrap();
    use EventOutcome::{Accepted, Duplicate};
    assert_eq!(outcomes, [Accepted, Accepted, Duplicate, Accepted]);
    assert_eq!(store.verify_user(user(9)).unwrap(), Verdict::Identical { events: 4 });
    let stats = store.stats();
    assert_eq!((stats.events_total, stats.users_total), (6, 2));
    damage();
    let outcomes = send(&store, purchases(9, 3..4)).unwrap().recv().unwrap().unwrap();
    assert_eq!(outcomes, [Duplicate]);
    assert_eq!(store.verify_user(user(9)).unwrap(), Verdict::Identical { events: 4 });
}

#[test]
fn a_damaged_log_fails_its_own_request_only() {
    let engine = Arc::new(Faulty::default());
    let store = open(&engine, 1, 100, 100);
    engine.inner.replace_states(Generation::FIRST, &[(user(9), b"damaged".to_vec())]).unwrap();
    // The first event is missing: a state rebuilt from the rest would put the next event in the place of the second.
    let second =
        NewEvent { user: user(9), sequence: 2, message_key: MessageKey::default(), record: Vec::new() };
    engine.inner.commit(&Commit { events: vec![second], ..Commit::default() }).unwrap();
    let gate = engine.gate.lock();
    let first = send(&store, purchases(2, 0..1)).unwrap();
    let mut mixed = purchases(1, 0..2);
    mixed.extend(purchases(9, 0..1));
    let bad = send(&store, mixed).unwrap();
    let good = send(&store, purchases(3, 0..2)).unwrap();
    drop(gate);
    assert!(first.recv().unwrap().is_ok() && good.recv().unwrap().is_ok());
    let error = bad.recv().unwrap().unwrap_err();
    assert!(matches!(error, Error::Corrupted { .. }));
    assert!(error.to_string().ends_with("restore a backup of the data directory"), "{error}");
    assert_eq!(store.state(user(1)).unwrap(), None, "nothing of the failed request is counted");
}

#[test]
fn a_panic_fails_its_group_and_the_writer_lives_on() {
    let engine = Arc::new(Faulty::default());
    let store = open(&engine, 1, 100, 100);
    engine.panics.store(true, Ordering::SeqCst);
    let error = send(&store, purchases(1, 0..2)).unwrap().recv().unwrap().unwrap_err();
    assert_eq!(error, Error::Panicked { detail: "on purpose".to_owned() });
    engine.panics.store(false, Ordering::SeqCst);
    let outcomes = send(&store, purchases(1, 1..3)).unwrap().recv().unwrap().unwrap();
    assert_eq!(outcomes, [EventOutcome::Duplicate, EventOutcome::Accepted]);
    let stats = store.stats();
    assert_eq!(
        (stats.failed_commits, stats.events_total, stats.users_total, stats.queued_events),
        (1, 3, 1, 0)
    );
    assert_eq!(engine.counters().unwrap(), [(0, Counters { events: 3, users: 1, erased_users: 0 })]);
    assert_eq!(store.verify_user(user(1)).unwrap(), Verdict::Identical { events: 3 });
}

#[test]
fn a_panicking_callback_does_not_end_the_writer() {
    let store = open(&Arc::default(), 1, 100, 100);
    store.ingest(purchases(1, 0..1), |_| panic!("on purpose")).unwrap();
    assert!(send(&store, purchases(1, 1..2)).unwrap().recv().unwrap().is_ok());
}

#[test]
fn closing_works_off_the_queue_and_refuses_more() {
    let engine = Arc::new(Faulty::default());
    let store = open(&engine, 2, 100, 4);
    let answers: Vec<_> = (0..10).map(|who| send(&store, purchases(who, 0..4)).unwrap()).collect();
    store.close().unwrap();
    for answer in answers {
        assert_eq!(answer.try_recv().unwrap().unwrap().len(), 4);
    }
    assert_eq!(send(&store, purchases(1, 9..10)).unwrap_err(), Error::Closed);
    assert_eq!(store.stats().events_total, 40);
}

#[test]
fn the_last_owner_may_be_a_callback() {
    let store = Arc::new(open(&Arc::default(), 1, 100, 4));
    let (sender, receiver) = mpsc::channel();
    let owner = Arc::clone(&store);
    let (release, released) = mpsc::channel::<()>();
    store
        .ingest(purchases(1, 0..1), move |_| {
            released.recv().unwrap();
            drop(owner);
            sender.send(()).unwrap();
        })
        .unwrap();
    drop(store);
    release.send(()).unwrap();
    receiver.recv().unwrap();
}
