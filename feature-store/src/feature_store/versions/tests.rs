//! Versions that are built, switched and rolled back while events come in, on the engine in memory;
//! `tests/versions_on_disk.rs` has what needs a disk.

use std::collections::BTreeSet;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use augur_domain::event::EventOutcome;
use augur_domain::{Event, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::store::{Commit, MemoryStore, NewEvent, Read, Store};
use crate::testing::{START_MS, event, history, user};
use crate::{Config, GenerationStatus, UserState, Verdict, apply, rebuild};

const USERS: u8 = 6;

/// Pieces of definitions, from which versions are put together.
const PIECES: [&str; 6] = [
    "[[feature]]\nname = 'purchases'\nkind = 'decayed_count'\nevents = ['purchase']\nhalf_lives = ['7d']\n",
    "[[feature]]\nname = 'purchases'\nkind = 'decayed_count'\nevents = ['purchase']\nhalf_lives = ['1h', '7d']\n",
    "[[feature]]\nname = 'spend'\nkind = 'windowed_sum'\nevents = ['purchase']\nproperty = 'value'\nwindows = ['1d']\n",
    "[[feature]]\nname = 'spend'\nkind = 'windowed_sum'\nevents = ['purchase']\nproperty = 'value'\nwindows = ['30d']\n",
    "[[feature]]\nname = 'visits'\nkind = 'sessions'\ngap = '30m'\n",
    "[[feature]]\nname = 'since'\nkind = 'time_since_last'\nevents = ['view_item']\n",
];

fn definitions(pieces: &BTreeSet<usize>) -> Arc<FeatureSchema> {
    let mut names = BTreeSet::new();
    let mut text = "version = 1\n".to_owned();
    // Of two pieces of one name, the first stands.
    for piece in pieces.iter().filter(|piece| names.insert(**piece / 2 * 2 + **piece / 4 * (**piece % 2))) {
        text.push_str(PIECES[*piece]);
    }
    Arc::new(FeatureSchema::parse("features.toml", &text).unwrap())
}

fn of(pieces: &[usize]) -> Arc<FeatureSchema> {
    definitions(&pieces.iter().copied().collect())
}

fn open(engine: &Arc<MemoryStore>, schema: &Arc<FeatureSchema>) -> FeatureStore {
    let config = Config { shards: 2, ..Config::new("unused") };
    let engine: Arc<dyn Store> = Arc::<MemoryStore>::clone(engine);
    FeatureStore::with_store(engine, &config, Arc::clone(schema), |_| {}).unwrap()
}

fn send(store: &FeatureStore, events: &[Event]) {
    let (sender, receiver) = mpsc::channel();
    store.ingest(events.to_vec(), move |answer| sender.send(answer).unwrap()).unwrap();
    assert!(receiver.recv().unwrap().unwrap().iter().all(|outcome| *outcome == EventOutcome::Accepted));
}

fn status(store: &FeatureStore, generation: Generation) -> GenerationStatus {
    store.versions().iter().find(|version| version.generation == generation).unwrap().status
}

/// Waits until the build is over.
fn ready(store: &FeatureStore, generation: Generation) {
    let waiting = Instant::now();
    while status(store, generation) != GenerationStatus::Ready {
        assert!(waiting.elapsed() < Duration::from_secs(60), "{:?}", store.versions());
        std::thread::yield_now();
    }
}

/// Every user's state in a generation is, to the bit, what the event log says.
fn assert_current(engine: &dyn Read, definitions: &crate::Definitions, events: &[Event]) {
    for who in 0..USERS {
        let of_user: Vec<_> =
            engine.events(user(who)).unwrap().map(|it| rebuild::decode(it.unwrap())).collect();
        let stored = engine.state(definitions.generation(), user(who)).unwrap();
        assert_eq!(of_user.len(), events.iter().filter(|event| event.user == user(who)).count());
        if of_user.is_empty() {
            assert_eq!(stored, None);
            continue;
        }
        let mut state = UserState::new(definitions.schema());
        for event in of_user {
            state.commit(apply(&state, &event.unwrap().event, definitions.schema()));
        }
        assert_eq!(stored.unwrap(), rebuild::encoded(&state, definitions.schema()), "user {who}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever is built from whatever, however events and restarts fall in between: states are those of the log.
    #[test]
    fn a_new_version_is_what_the_event_log_says(
        old in prop::collection::btree_set(0..PIECES.len(), 1..4),
        new in prop::collection::btree_set(0..PIECES.len(), 1..4),
        events in history(USERS, 120),
        before in 0.0..1.0_f64,
        batch in 1..9_usize,
        restart_every in 1..12_usize,
    ) {
        let (old, new) = (definitions(&old), definitions(&new));
        prop_assume!(old.feature_set().hash() != new.feature_set().hash());
        let engine = Arc::new(MemoryStore::new());
        let mut store = open(&engine, &old);
        let (first, rest) = events.split_at((events.len() as f64 * before) as usize);
        if !first.is_empty() {
            send(&store, first);
        }
        let generation = store.build(&new).unwrap();
        for (number, batch) in rest.chunks(batch).enumerate() {
            send(&store, batch);
            if number % restart_every == restart_every - 1 {
                drop(store);
                store = open(&engine, &old);
            }
        }
        ready(&store, generation);
        let built = store.definitions_of(generation).unwrap();
        assert_current(&*engine, &built, &events);
        assert_current(&*engine, &store.definitions(), &events);

        store.switch(generation, "", "").unwrap();
        drop(store);
        let store = open(&engine, &old);
        prop_assert_eq!(store.definitions().generation(), generation, "the file did not change");
        for who in 0..USERS {
            let events = events.iter().filter(|event| event.user == user(who)).count() as u64;
            let expected = if events == 0 { Verdict::Unknown } else { Verdict::Identical { events } };
            prop_assert_eq!(store.verify_user(user(who)).unwrap(), expected);
        }
    }
}

fn purchases(ids: std::ops::Range<u64>) -> Vec<Event> {
    ids.map(|id| event((id % u64::from(USERS)) as u8, id, "purchase", id as i64 * 60_000, 1.5)).collect()
}

#[test]
fn a_rollback_serves_as_if_there_had_been_no_switch() {
    let (old, new) = (of(&[0, 2, 4]), of(&[1, 3, 4]));
    let (engine, straight) = (Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new()));
    let (store, never) = (open(&engine, &old), open(&straight, &old));
    let [first, second, third] = [purchases(0..40), purchases(40..80), purchases(80..120)];
    send(&store, &first);
    let generation = store.build(&new).unwrap();
    ready(&store, generation);
    send(&store, &second);
    let now = store.switch(generation, "policy two", "policy one").unwrap();
    assert_eq!(store.schema().feature_set().hash(), new.feature_set().hash());
    send(&store, &third);
    assert_eq!(store.previous_version(), Some(Generation::FIRST));
    store.switch(Generation::FIRST, "policy one", "policy two").unwrap();
    send(&never, &[first, second, third].concat());
    let at = Timestamp::from_unix_ms(START_MS + 200 * 60_000);
    for who in 0..USERS {
        let (rolled_back, never) = (store.features(user(who), at), never.features(user(who), at));
        assert_eq!(rolled_back.unwrap(), never.unwrap());
    }
    // And forward again, which is as current.
    assert_eq!((store.previous_version(), now.generation()), (Some(generation), generation));
    assert_current(&*engine, &now, &purchases(0..120));
    assert_eq!(store.versions()[1].note, "policy two");
}

#[test]
fn what_did_not_change_is_carried_over_without_the_log() {
    let (old, new) = (of(&[0, 2, 4]), of(&[2, 4]));
    let engine = Arc::new(MemoryStore::new());
    let store = open(&engine, &old);
    send(&store, &purchases(0..60));
    let generation = store.build(&new).unwrap();
    ready(&store, generation);
    let version = store.versions().pop().unwrap();
    let build = version.build.unwrap();
    assert_eq!((build.users_done, build.events_done), (u64::from(USERS), 0), "no event was read");
    assert_eq!((build.carried_over, build.built, build.problem), (2, 0, None));
    assert_current(&*engine, &store.definitions_of(generation).unwrap(), &purchases(0..60));
}

#[test]
fn only_what_is_possible_is_done() {
    let [one, two, three] = [of(&[0]), of(&[1]), of(&[4])];
    let engine = Arc::new(MemoryStore::new());
    let store = open(&engine, &one);
    send(&store, &purchases(0..60));
    let refused = |error: Error| matches!(error, Error::Generation { .. });
    assert!(refused(store.build(&one).unwrap_err()), "serves already");
    assert!(refused(store.retire(Generation::FIRST).unwrap_err()), "serves");
    assert!(refused(store.switch(Generation::FIRST, "", "").unwrap_err()));
    assert!(refused(store.switch(Generation::new(9).unwrap(), "", "").unwrap_err()));
    let second = store.build(&two).unwrap();
    assert!(refused(store.build(&three).unwrap_err()), "one at a time");
    ready(&store, second);
    assert!(refused(store.build(&two).unwrap_err()));
    store.switch(second, "", "").unwrap();
    let third = store.build(&three).unwrap();
    ready(&store, third);
    let held = store.definitions_of(Generation::FIRST).unwrap();
    store.switch(third, "", "").unwrap();
    store.give_back().unwrap();
    assert_eq!(status(&store, Generation::FIRST), GenerationStatus::Retiring, "somebody reads from it");
    assert!(engine.state(Generation::FIRST, user(1)).unwrap().is_some());
    drop(held);
    store.give_back().unwrap();
    assert_eq!(status(&store, Generation::FIRST), GenerationStatus::Retired);
    assert_eq!(engine.state(Generation::FIRST, user(1)).unwrap(), None);
    send(&store, &purchases(60..70));
    assert_eq!(engine.state(Generation::FIRST, user(1)).unwrap(), None, "and is not written any more");
    store.retire(second).unwrap();
    assert_eq!(status(&store, second), GenerationStatus::Retired);
    assert_eq!(store.previous_version(), None);
    assert_current(&*engine, &store.definitions(), &purchases(0..70));
}

#[test]
fn an_edited_file_wins_over_a_switch() {
    let [one, two, three] = [of(&[0]), of(&[1]), of(&[1, 4])];
    let engine = Arc::new(MemoryStore::new());
    let store = open(&engine, &one);
    send(&store, &purchases(0..60));
    let second = store.build(&two).unwrap();
    ready(&store, second);
    store.switch(second, "", "").unwrap();
    drop(store);
    let store = open(&engine, &three);
    assert_eq!(store.schema().feature_set().hash(), three.feature_set().hash());
    assert_current(&*engine, &store.definitions(), &purchases(0..60));
    assert!(store.versions().iter().filter(|version| version.status.is_live()).count() == 1);
    drop(store);
    // The file that names a version which is kept needs no build.
    let store = open(&engine, &three);
    let fourth = store.build(&one).unwrap();
    ready(&store, fourth);
    drop(store);
    let store = open(&engine, &one);
    assert_eq!(store.definitions().generation(), fourth);
}

/// Overwrites a stored event with bytes that are none.
fn damage_event(engine: &MemoryStore, who: u8, sequence: u64) {
    let stored = engine.events(user(who)).unwrap().nth(sequence as usize - 1).unwrap().unwrap();
    let message_key = rebuild::decode(stored).unwrap().event.message_key;
    let record = b"no event".to_vec();
    let events = vec![NewEvent { user: user(who), sequence, message_key, record }];
    let (_, counters) = engine.counters().unwrap()[0];
    engine.commit(&Commit { events, shard: 0, counters, ..Commit::default() }).unwrap();
}

#[test]
fn a_user_whose_log_cannot_be_read_is_set_aside_and_the_others_are_built() {
    for while_serving in [true, false] {
        let engine = Arc::new(MemoryStore::new());
        let (old, new) = (of(&[0, 4]), of(&[3, 4]));
        let store = open(&engine, &old);
        send(&store, &purchases(0..60));
        damage_event(&engine, 2, 4);
        // Of another one, neither the state nor the log can be read.
        damage_event(&engine, 3, 10);
        engine.replace_states(Generation::FIRST, &[(user(3), b"no state".to_vec())]).unwrap();
        let store = if while_serving {
            let generation = store.build(&new).unwrap();
            ready(&store, generation);
            store.switch(generation, "", "").unwrap();
            store
        } else {
            drop(store);
            open(&engine, &new)
        };
        let version = store.versions().pop().unwrap();
        assert_eq!((version.set_aside, version.set_aside_users), (2, vec![user(2), user(3)]));
        let at = Timestamp::from_unix_ms(START_MS + 61 * 60_000);
        let spend = store.schema().feature_set().slot("spend_30d").unwrap();
        let spent = |who| store.features(user(who), at).unwrap().values[spend].value;
        // Nine of ten are left.
        assert_eq!([spent(1), spent(2), spent(3)], [15.0, 13.5, 13.5]);
        for who in 0..USERS {
            match store.verify_user(user(who)) {
                Err(Error::Corrupted { .. }) => assert!(matches!(who, 2 | 3)),
                verdict => assert_eq!(verdict, Ok(Verdict::Identical { events: 10 })),
            }
        }
        // What comes next is put behind what is there.
        send(&store, &purchases(60..72));
        assert_eq!([spent(1), spent(2), spent(3)], [18.0, 16.5, 16.5]);
        let sequences = |who| engine.events(user(who)).unwrap().map(|it| it.unwrap().sequence).last();
        assert_eq!([sequences(2), sequences(3)], [Some(12); 2]);
        drop(store);
        let store = open(&engine, if while_serving { &old } else { &new });
        assert_eq!(store.versions().pop().unwrap().set_aside, 2, "remembered");
    }
}

#[test]
fn a_user_whose_base_cannot_be_read_counts_once() {
    const DAMAGED: u8 = 120;
    for while_serving in [true, false] {
        let engine = Arc::new(MemoryStore::new());
        let (old, new) = (of(&[0, 4]), of(&[3, 4]));
        let store = open(&engine, &old);
        let events: Vec<Event> =
            (0..DAMAGED).map(|who| event(who, u64::from(who), "purchase", 0, 1.5)).collect();
        send(&store, &events);
        let bases: Vec<_> = (0..DAMAGED).map(|who| (user(who), b"no base".to_vec())).collect();
        engine.replace_bases(&bases).unwrap();
        let store = if while_serving {
            let generation = store.build(&new).unwrap();
            ready(&store, generation);
            store
        } else {
            drop(store);
            open(&engine, &new)
        };
        // More than are listed, so that the list cannot tell who was counted.
        assert_eq!(store.versions().pop().unwrap().set_aside, u64::from(DAMAGED), "{while_serving}");
    }
}

#[test]
fn a_store_closes_in_the_middle_of_a_build() {
    let engine = Arc::new(MemoryStore::new());
    let store = open(&engine, &of(&[0]));
    let many = |who: u64| event(0, who, "purchase", 0, 1.0);
    let events: Vec<Event> = (0..2_000).map(|who| Event { user: key(who), ..many(who) }).collect();
    send(&store, &events);
    let generation = store.build(&of(&[1, 4])).unwrap();
    store.close().unwrap();
    drop(store);
    let store = open(&engine, &of(&[0]));
    ready(&store, generation);
    let definitions = store.definitions_of(generation).unwrap();
    assert_eq!(engine.users(definitions.generation(), None).unwrap().count(), 2_000);
}

fn key(number: u64) -> augur_domain::UserKey {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    augur_domain::UserKey::from_bytes(bytes)
}
