//! Retention beside a store that keeps everything.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use augur_domain::event::{ClaimedBy, EventOutcome, IdentityClaim};
use augur_domain::time::DAY_MS;
use augur_domain::{Event, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::store::{Due, MemoryStore, Store, faulty};
use crate::testing::{START_MS, event, history, schema, user};
use crate::{Config, FeatureSchema, FeatureStore, Label, Verdict};

fn policy() -> Retention {
    let by_name = vec![("page_view".into(), Some(DAY_MS)), ("view_item".into(), None)];
    Retention { events_ms: Some(3 * DAY_MS), by_name, dedup_marks_ms: None, users_per_sweep: 2 }
}

fn open(engine: &Arc<dyn Store>, retention: Retention) -> FeatureStore {
    open_with(engine, retention, schema())
}

fn open_with(engine: &Arc<dyn Store>, retention: Retention, schema: FeatureSchema) -> FeatureStore {
    let config = Config { retention, ..Config::new("unused") };
    FeatureStore::with_store(Arc::clone(engine), &config, Arc::new(schema), |_| {}).unwrap()
}

fn engine() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

/// On a disk that is not waited for.
#[cfg(feature = "rocksdb")]
fn engine_in(dir: &std::path::Path) -> Arc<dyn Store> {
    let config = Config { sync: false, ..Config::new(dir) };
    Arc::new(crate::store::RocksStore::open(&config).unwrap())
}

fn shipped() -> FeatureSchema {
    FeatureSchema::parse("features.toml", include_str!("../../../config/features.toml")).unwrap()
}

fn send(store: &FeatureStore, events: &[Event]) -> Vec<EventOutcome> {
    let (sender, receiver) = mpsc::channel();
    store.ingest(events.to_vec(), move |answer| sender.send(answer).unwrap()).unwrap();
    receiver.recv().unwrap().unwrap()
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(START_MS + ms)
}

fn sweep_all(store: &FeatureStore, now: Timestamp) -> u64 {
    let mut events = 0;
    loop {
        let swept = store.sweep(now).unwrap();
        events += swept.events;
        if !swept.more {
            return events;
        }
    }
}

fn assert_same(one: &FeatureStore, other: &FeatureStore, who: u8, now: Timestamp) {
    let (one_read, other_read) =
        (one.features(user(who), now).unwrap(), other.features(user(who), now).unwrap());
    assert_eq!(one_read, other_read, "user {who}");
    let (one_state, other_state) = (one.state(user(who)).unwrap(), other.state(user(who)).unwrap());
    assert_eq!(one_state, other_state, "user {who}");
    let verdict = one.verify_user(user(who)).unwrap();
    assert!(matches!(verdict, Verdict::Identical { .. } | Verdict::Unknown), "user {who}: {verdict:?}");
}

/// A part of a history: up to which event, when it is swept, whether the store is opened anew then.
type Cut = (usize, i64, bool);

fn cuts() -> impl Strategy<Value = Vec<Cut>> {
    prop::collection::vec((0_usize..60, 0..20 * DAY_MS, any::<bool>()), 1..5)
}

/// Two stores with the same events, one of which is swept: what can be read is the same, or said to be another.
fn run(
    (swept, kept): (&Arc<dyn Store>, &Arc<dyn Store>),
    schema: fn() -> FeatureSchema,
    mut events: Vec<Event>,
    mut cuts: Vec<Cut>,
    label_ms: i64,
) {
    // Mostly in order, with some late ones.
    let count = events.len();
    events.sort_by_key(|event| event.event_time);
    if count > 4 {
        events.swap(1, count - 2);
    }
    let mut swept_store = open_with(swept, policy(), schema());
    let kept_store = open_with(kept, Retention::default(), schema());
    cuts.sort();
    let (mut from, mut now) = (0, at(0));
    for (cut, sweep_ms, reopens) in cuts {
        let until = cut.clamp(from, count);
        let part = &events[from..until];
        assert_eq!(send(&swept_store, part), send(&kept_store, part));
        // What is gone is still known when it is sent again.
        assert_eq!(send(&swept_store, &events[..until]), vec![EventOutcome::Duplicate; until]);
        from = until;
        now = now.max(at(sweep_ms));
        sweep_all(&swept_store, now);
        if reopens {
            swept_store.close().unwrap();
            swept_store = open_with(swept, policy(), schema());
        }
        // One of them is taken back; what is gone cannot be.
        let original = until.checked_sub(1).and_then(|last| events.get(last / 2 + cut % (last / 2 + 1)));
        if let Some(original) = original {
            let back = [Event::retraction(original.user, original.message_key, now, now)];
            let there = swept_store.events_of(original.user).unwrap();
            let is_there = there.iter().any(|it| it.event.message_key == original.message_key);
            let outcome = send(&swept_store, &back);
            assert!(is_there || outcome[0] != EventOutcome::Accepted);
            if is_there {
                assert_eq!(send(&kept_store, &back), outcome);
            }
        }
        for who in 0..3 {
            assert_same(&swept_store, &kept_store, who, at(21 * DAY_MS));
        }
    }
    send(&swept_store, &events[from..]);
    send(&kept_store, &events[from..]);
    let end = at(40 * DAY_MS);
    let removed = sweep_all(&swept_store, end) + swept_store.stats().retention_events_removed;
    assert_eq!(
        swept_store.between_sweeps(|history_from| history_from.is_some()),
        removed > 0 || !events.is_empty()
    );
    for who in 0..3 {
        assert_same(&swept_store, &kept_store, who, end);
        let left = swept_store.events_of(user(who)).unwrap();
        assert!(left.iter().all(|stored| &*stored.event.name == "view_item"), "{left:?}");
        let all = kept_store.events_of(user(who)).unwrap().len() as u64;
        assert_eq!(swept_store.removed_events(user(who)).unwrap(), all - left.len() as u64);
        // Reads of the past are the same, or say that they are not.
        let label = |ms| Label { user: user(who), at: at(ms), outcome: None };
        let labels = [label(label_ms), label(39 * DAY_MS)];
        let rows = |store: &FeatureStore| -> Vec<_> {
            store.training_rows(&labels).unwrap().map(Result::unwrap).collect()
        };
        for (row, whole) in rows(&swept_store).into_iter().zip(rows(&kept_store)) {
            assert!(row.before_history || row == whole);
            assert!(!row.before_history || row.at == at(label_ms));
        }
    }
    assert_eq!(swept.due(u32::MAX, 9).unwrap(), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn features_are_those_of_a_store_that_keeps_everything(
        events in history(3, 60), cuts in cuts(), label_ms in 0..20 * DAY_MS,
    ) {
        run((&engine(), &engine()), schema, events, cuts, label_ms);
    }

    #[test]
    fn and_so_are_those_of_the_shipped_definitions(
        events in history(3, 60), cuts in cuts(), label_ms in 0..20 * DAY_MS,
    ) {
        run((&engine(), &engine()), shipped, events, cuts, label_ms);
    }
}

#[cfg(feature = "rocksdb")]
proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn and_so_they_are_on_disk(
        events in history(3, 60), cuts in cuts(), label_ms in 0..20 * DAY_MS, is_shipped: bool,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let schema = if is_shipped { shipped } else { schema };
        run((&engine_in(dir.path()), &engine()), schema, events, cuts, label_ms);
    }
}

#[test]
fn a_user_of_whom_nothing_is_due_is_never_visited() {
    let engine = engine();
    let store = open(&engine, policy());
    sweep_all(&store, at(0));
    send(
        &store,
        &[
            event(1, 1, "purchase", 0, 1.0),
            event(2, 2, "page_view", 0, 1.0),
            event(3, 3, "view_item", 0, 1.0),
        ],
    );
    sweep_all(&store, at(DAY_MS - 1));
    assert_eq!(store.stats().retention_users_visited, 0);
    assert_eq!(sweep_all(&store, at(DAY_MS)), 1);
    assert_eq!(store.stats().retention_users_visited, 1);
    assert_eq!(sweep_all(&store, at(3 * DAY_MS)), 1);
    sweep_all(&store, at(900 * DAY_MS));
    let stats = store.stats();
    assert_eq!((stats.retention_users_visited, stats.retention_users_removed), (2, 2));
    assert_eq!(stats.retention_events_removed, 2);
    assert_eq!(store.events_of(user(3)).unwrap().len(), 1);
}

#[test]
fn another_policy_finds_what_came_before_it() {
    let engine = engine();
    let keeping = open(&engine, Retention::default());
    let events: Vec<Event> = (0..9).map(|who| event(who, u64::from(who), "purchase", 0, 1.0)).collect();
    send(&keeping, &events);
    keeping.close().unwrap();
    let store = open(&engine, policy());
    assert_eq!(sweep_all(&store, at(DAY_MS)), 0);
    // Everybody was noted, so that now each is found.
    assert_eq!(sweep_all(&store, at(3 * DAY_MS)), 9);
    store.close().unwrap();
    let again = open(&engine, policy());
    assert_eq!(again.sweep(at(9 * DAY_MS)).unwrap(), crate::Swept::default());
}

#[test]
fn marks_go_in_their_own_time() {
    let engine = engine();
    let marks = Retention { dedup_marks_ms: Some(2 * DAY_MS), by_name: Vec::new(), ..policy() };
    let store = open(&engine, marks);
    let purchase = event(1, 1, "purchase", 0, 1.0);
    send(&store, std::slice::from_ref(&purchase));
    sweep_all(&store, at(2 * DAY_MS - 1));
    assert_eq!(send(&store, std::slice::from_ref(&purchase)), [EventOutcome::Duplicate]);
    sweep_all(&store, at(2 * DAY_MS));
    assert_eq!((store.stats().retention_marks_removed, store.stats().retention_events_removed), (1, 0));
    assert!(!engine.contains_message(user(1), purchase.message_key).unwrap());
    sweep_all(&store, at(3 * DAY_MS));
    assert_eq!((store.stats().retention_marks_removed, store.stats().retention_events_removed), (1, 1));
}

#[test]
fn an_erased_user_leaves_neither_base_nor_day() {
    let engine = engine();
    let store = open(&engine, policy());
    send(&store, &[event(1, 1, "page_view", 0, 1.0), event(1, 2, "purchase", 0, 1.0)]);
    sweep_all(&store, at(DAY_MS));
    assert!(engine.base(user(1)).unwrap().is_some());
    store.erase_user(user(1), at(DAY_MS), crate::OptOuts::Kept).unwrap();
    assert_eq!((engine.base(user(1)).unwrap(), engine.due(u32::MAX, 9).unwrap()), (None, Vec::<Due>::new()));
    store.readmit_user(user(1)).unwrap();
    send(&store, &[event(1, 1, "page_view", 0, 1.0)]);
    assert_eq!(store.verify_user(user(1)).unwrap(), Verdict::Identical { events: 1 });
}

#[test]
fn new_definitions_begin_with_what_is_left() {
    let engine = engine();
    let store = open(&engine, policy());
    let events: Vec<Event> = (0..4).map(|day| event(1, day, "purchase", day as i64 * DAY_MS, 1.0)).collect();
    send(&store, &events);
    sweep_all(&store, at(4 * DAY_MS));
    store.close().unwrap();
    let more = format!(
        "{}\n[[feature]]\nname = \"all_purchases\"\nkind = \"total_count\"\nevents = [\"purchase\"]\n",
        crate::testing::DEFINITIONS
    );
    let schema = FeatureSchema::parse("features.toml", &more).unwrap();
    let store = open_with(&engine, policy(), schema);
    let features = store.features(user(1), at(4 * DAY_MS)).unwrap();
    assert_eq!(features.values.last().unwrap().value, 2.0, "two of four are left");
    assert_eq!(store.verify_user(user(1)).unwrap(), Verdict::Identical { events: 4 });
    sweep_all(&store, at(9 * DAY_MS));
    send(&store, &[event(1, 9, "purchase", 9 * DAY_MS, 1.0)]);
    assert_eq!(store.verify_user(user(1)).unwrap(), Verdict::Identical { events: 5 });
}

#[test]
fn links_carry_what_is_gone_and_are_undone_while_nothing_is() {
    let (engine, plain) = (engine(), engine());
    let (store, kept) = (open(&engine, policy()), open(&plain, Retention::default()));
    let of = |who: u8, id: u64, day: i64| event(who, id, "purchase", day * DAY_MS, 1.0);
    let early = [of(1, 1, 0), of(2, 2, 0), of(2, 3, 1), event(2, 4, "view_item", 0, 1.0)];
    let late = [of(1, 5, 4), of(2, 6, 4)];
    for it in [&store, &kept] {
        send(it, &early);
    }
    assert_eq!(sweep_all(&store, at(4 * DAY_MS)), 3);
    let claim = IdentityClaim { id: user(2), by: ClaimedBy::Device };
    for it in [&store, &kept] {
        it.link(user(1), claim, at(4 * DAY_MS)).unwrap();
        send(it, &late);
    }
    let now = at(5 * DAY_MS);
    let names = kept.features(user(1), now).unwrap();
    assert_eq!(store.features(user(1), now).unwrap().values.len(), names.values.len());
    let count = |it: &FeatureStore| it.state(user(1)).unwrap().unwrap().watermark();
    assert_eq!((count(&store), count(&kept)), (6, 6));
    assert_eq!(store.verify_user(user(1)).unwrap(), Verdict::Identical { events: 6 });
    assert_eq!(send(&store, &early), vec![EventOutcome::Duplicate; 4]);
    assert_eq!(store.unlink(user(2)), Err(Error::HistoryRemoved { id: user(2) }));
    assert!(engine.base(user(2)).unwrap().is_none());
    // A later link is undone as ever.
    let third = event(3, 7, "purchase", 4 * DAY_MS, 1.0);
    send(&store, std::slice::from_ref(&third));
    store.link(user(1), IdentityClaim { id: user(3), by: ClaimedBy::Device }, at(5 * DAY_MS)).unwrap();
    assert_eq!(store.verify_user(user(1)).unwrap(), Verdict::Identical { events: 7 });
    assert_eq!(store.unlink(user(3)).unwrap(), Some(1));
    assert_eq!(store.verify_user(user(1)).unwrap(), Verdict::Identical { events: 6 });
    assert_eq!(store.verify_user(user(3)).unwrap(), Verdict::Identical { events: 1 });
}

#[test]
fn settings_without_meaning_are_refused() {
    let short =
        Retention { events_ms: Some(DAY_MS), dedup_marks_ms: Some(2 * DAY_MS), ..Retention::default() };
    for refused in [short, Retention { users_per_sweep: 0, ..Retention::default() }] {
        assert!(matches!(refused.check(), Err(Error::InvalidConfig { .. })));
    }
    assert_eq!(policy().check(), Ok(()));
}

/// Holds up whoever lists users while it is closed.
#[derive(Default)]
struct Gate {
    closed: parking_lot::Mutex<bool>,
    opened: parking_lot::Condvar,
}

impl Gate {
    fn set(&self, closed: bool) {
        *self.closed.lock() = closed;
        self.opened.notify_all();
    }

    fn pass(&self) {
        self.opened.wait_while(&mut self.closed.lock(), |closed| *closed);
    }
}

/// Even when an assertion fails, so that the store can be closed.
struct Opens<'a>(&'a Gate);

impl Drop for Opens<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

const NEW_DEFINITIONS: &str = "
version = 1

[[feature]]
name = \"all_events\"
kind = \"total_count\"

[[feature]]
name = \"events\"
kind = \"windowed_count\"
windows = [\"1m\", \"1h\", \"24h\", \"30d\"]
";

/// An id and its person, who have both lost events, become one when the builder has come to one of them.
#[test]
fn a_link_of_what_is_gone_is_in_a_version_that_is_being_built() {
    // The person and the id: keys are in the order of numbers, and the builder has come to those up to 64.
    for (person, id) in [(1, 99), (99, 1), (1, 2), (98, 99), (100, 99)] {
        let (engine, gate) = (engine(), Arc::new(Gate::default()));
        let (of_hook, listed) = (Arc::clone(&gate), AtomicBool::new(false));
        let hook: faulty::Hook = Box::new(move |call| {
            if call == "users" && listed.swap(true, Ordering::SeqCst) {
                of_hook.pass();
            }
            Ok(())
        });
        let store = open(&engine, policy());
        let of = |who: u8, id: u64, day: i64| event(who, id, "purchase", day * DAY_MS, 1.0);
        for who in 1..=99 {
            let id = u64::from(who) * 2;
            send(&store, &[of(who, id, 0), of(who, id + 1, 5)]);
        }
        assert_eq!(sweep_all(&store, at(4 * DAY_MS)), 99);
        store.close().unwrap();
        let faulty: Arc<dyn Store> = Arc::new(faulty::Faulty { engine: Arc::clone(&engine), hook });
        let store = open(&faulty, policy());
        gate.set(true);
        let _opens = Opens(&gate);
        let schema = Arc::new(FeatureSchema::parse("features.toml", NEW_DEFINITIONS).unwrap());
        let generation = store.build(&schema).unwrap();
        let version = || store.versions().pop().unwrap();
        assert_eq!(version().history_from, Some(at(3 * DAY_MS + 1)));
        until(|| version().build.unwrap().users_done == 64);
        // Of a new person, a state is there before the builder comes.
        send(&store, &[of(100, 1, 5)]);
        let claim = IdentityClaim { id: user(id), by: ClaimedBy::Device };
        store.link(user(person), claim, at(6 * DAY_MS)).unwrap();
        gate.set(false);
        until(|| version().status == crate::GenerationStatus::Ready);
        store.switch(generation, "", "").unwrap();
        let value = |who, name: &str| {
            let features = store.features(user(who), at(6 * DAY_MS)).unwrap();
            features.values[store.schema().feature_set().slot(name).unwrap()].value
        };
        // What is left of each is what a new feature knows, and an unchanged one knows all.
        let expected = if person == 100 { (2.0, 3.0) } else { (2.0, 4.0) };
        assert_eq!((value(person, "all_events"), value(person, "events_30d")), expected, "{id} to {person}");
        for who in 1..=100 {
            let verdict = store.verify_user(user(who)).unwrap();
            assert!(matches!(verdict, Verdict::Identical { .. } | Verdict::Unknown), "{who}: {verdict:?}");
        }
    }
}

fn until(is_so: impl Fn() -> bool) {
    let waiting = std::time::Instant::now();
    while !is_so() {
        assert!(waiting.elapsed().as_secs() < 60, "not within a minute");
        std::thread::yield_now();
    }
}

#[test]
fn a_message_that_both_sent_counts_once_while_one_of_them_has_it() {
    for is_taken_back in [false, true] {
        let (engine, plain) = (engine(), engine());
        let (store, kept) = (open(&engine, policy()), open(&plain, Retention::default()));
        let both = |who: u8| event(who, 1, "purchase", 0, 1.0);
        let late = |who: u8, day: i64| Event { received_at: at(day * DAY_MS), ..both(who) };
        // The person's copy came later, so it is kept longer.
        let events = [both(2), late(1, 3), event(1, 2, "purchase", 4 * DAY_MS, 1.0)];
        for it in [&store, &kept] {
            send(it, &events);
            if is_taken_back {
                send(it, &[Event::retraction(user(1), both(1).message_key, at(3 * DAY_MS), at(3 * DAY_MS))]);
            }
        }
        assert_eq!(sweep_all(&store, at(4 * DAY_MS)), 1);
        let claim = IdentityClaim { id: user(2), by: ClaimedBy::Device };
        for it in [&store, &kept] {
            it.link(user(1), claim, at(4 * DAY_MS)).unwrap();
        }
        let now = at(4 * DAY_MS);
        let (found, expected) = (store.features(user(1), now).unwrap(), kept.features(user(1), now).unwrap());
        assert_eq!(found.values, expected.values, "{is_taken_back}");
        assert!(matches!(store.verify_user(user(1)).unwrap(), Verdict::Identical { .. }));
        sweep_all(&store, at(9 * DAY_MS));
        assert_eq!(store.features(user(1), now).unwrap().values, expected.values);
        assert!(matches!(store.verify_user(user(1)).unwrap(), Verdict::Identical { .. }));
    }
}
