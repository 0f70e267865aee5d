//! Everything that changes states, mixed at random, on an engine with a cache of states and on one in memory, which has
//! none: after each step both say the same, and the cache says what is stored.
//!
//! Not here: what is right (`identity/versions_tests.rs`, `retention/tests.rs`), or races of readers with writers
//! (`store/state_cache/tests.rs`).

#![cfg(feature = "rocksdb")]

use std::fmt::Debug;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use augur_domain::event::{ClaimedBy, EventOutcome, IdentityClaim};
use augur_domain::time::DAY_MS;
use augur_domain::{Event, Timestamp, UserKey};
use parking_lot::Mutex;
use proptest::prelude::*;

use super::FeatureStore;
use crate::store::{Cached, Generation, MemoryStore, RocksStore, Store, faulty};
use crate::testing::{DEFINITIONS, START_MS, event};
use crate::{Config, Error, FeatureSchema, GenerationStatus, Incoming, NoContext, Retention, Verdict};

const IDS: u8 = 6;
const DAMAGED: &[u8] = b"damaged";
const NAMES: [&str; 3] = ["purchase", "page_view", "view_item"];

/// What the first version is followed by.
const OTHERS: [&str; 2] = [
    "version = 1\n[[feature]]\nname = 'visits'\nkind = 'sessions'\ngap = '30m'\n",
    "version = 1\n[[feature]]\nname = 'spend'\nkind = 'windowed_sum'\nevents = ['purchase']\nproperty = 'value'\nwindows = ['1h', '400d']\n\
     [[feature]]\nname = 'seen'\nkind = 'time_since_last'\nevents = ['view_item']\n",
];

fn definitions(number: usize) -> Arc<FeatureSchema> {
    let text = number.checked_sub(1).map_or(DEFINITIONS, |other| OTHERS[other]);
    Arc::new(FeatureSchema::parse("features.toml", text).unwrap())
}

fn key(id: u8) -> UserKey {
    UserKey::from_bytes([id * 40 + 5; 16])
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(START_MS + ms)
}

#[derive(Debug, Clone)]
struct Sent {
    id: u8,
    message: u64,
    name: &'static str,
    at_ms: i64,
    takes_back: bool,
    claims: Option<u8>,
}

#[derive(Debug, Clone)]
enum Step {
    Send(Vec<Sent>),
    Link {
        known: u8,
        id: u8,
    },
    Unlink(u8),
    Erase(u8),
    Readmit(u8),
    Build(usize),
    /// To the version that is ready, else back to the previous one.
    Switch,
    Retire,
    Sweep {
        at_ms: i64,
    },
    /// Overwrites the state that serves with bytes that are none.
    Damage(u8),
    Reopen,
}

fn sent() -> impl Strategy<Value = Sent> {
    let claims = prop_oneof![8 => Just(None), 1 => (0..IDS).prop_map(Some)];
    let takes_back = prop::bool::weighted(0.15);
    let name = prop::sample::select(&NAMES[..]);
    (0..IDS, 0..20_u64, name, 0..12 * DAY_MS, takes_back, claims).prop_map(
        |(id, message, name, at_ms, takes_back, claims)| Sent {
            id,
            message,
            name,
            at_ms,
            takes_back,
            claims,
        },
    )
}

/// What the engine refuses during a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fails {
    Nothing,
    Writes,
    /// Reads of many at once: then each user is read alone.
    ReadsOfMany,
}

fn steps() -> impl Strategy<Value = Vec<(Step, Fails)>> {
    let step = prop_oneof![
        20 => prop::collection::vec(sent(), 1..9).prop_map(Step::Send),
        5 => (0..IDS, 0..IDS).prop_map(|(known, id)| Step::Link { known, id }),
        3 => (0..IDS).prop_map(Step::Unlink),
        2 => (0..IDS).prop_map(Step::Erase),
        2 => (0..IDS).prop_map(Step::Readmit),
        3 => (0..=OTHERS.len()).prop_map(Step::Build),
        3 => Just(Step::Switch),
        1 => Just(Step::Retire),
        4 => (0..20 * DAY_MS).prop_map(|at_ms| Step::Sweep { at_ms }),
        3 => (0..IDS).prop_map(Step::Damage),
        2 => Just(Step::Reopen),
    ];
    let fails =
        prop_oneof![8 => Just(Fails::Nothing), 1 => Just(Fails::Writes), 1 => Just(Fails::ReadsOfMany)];
    prop::collection::vec((step, fails), 1..50)
}

/// A feature store, and the engine below whatever makes its writes fail.
struct Side {
    store: FeatureStore,
    engine: Arc<dyn Store>,
    fails: Arc<Mutex<Fails>>,
    shards: usize,
    of_disk: Option<Config>,
}

impl Side {
    fn begin(engine: Arc<dyn Store>, shards: usize, of_disk: Option<Config>) -> Self {
        let fails = Arc::new(Mutex::new(Fails::Nothing));
        let store = Self::open(&engine, &fails, shards);
        Self { store, engine, fails, shards, of_disk }
    }

    fn open(engine: &Arc<dyn Store>, fails: &Arc<Mutex<Fails>>, shards: usize) -> FeatureStore {
        let fails = Arc::clone(fails);
        let hook: faulty::Hook = Box::new(move |call| match (*fails.lock(), call) {
            (Fails::ReadsOfMany, "states" | "contains_messages") => Err(faulty::gone()),
            (Fails::Writes, call) if !faulty::is_read(call) => Err(faulty::gone()),
            _ => Ok(()),
        });
        let faulty: Arc<dyn Store> = Arc::new(faulty::Faulty { engine: Arc::clone(engine), hook });
        let retention = Retention {
            events_ms: Some(3 * DAY_MS),
            dedup_marks_ms: Some(2 * DAY_MS),
            ..Retention::default()
        };
        let config = Config { shards, retention, ..Config::new("unused") };
        FeatureStore::with_store(faulty, &config, definitions(0), |_| {}).unwrap()
    }

    fn reopen(&mut self) {
        self.store.close().unwrap();
        if let Some(config) = &self.of_disk {
            // Whatever holds the directory goes before it is opened again.
            let in_between: Arc<dyn Store> = Arc::new(MemoryStore::new());
            self.store = Self::open(&in_between, &self.fails, 1);
            self.engine = in_between;
            self.engine = Arc::new(RocksStore::open(config).unwrap());
        }
        self.store = Self::open(&self.engine, &self.fails, self.shards);
    }

    fn send(&self, events: &[Sent]) -> Result<Vec<EventOutcome>, Error> {
        let incoming = |sent: &Sent| {
            let event = Event {
                user: key(sent.id),
                ..event(0, sent.message, sent.name, sent.at_ms, sent.message as f64 + 0.5)
            };
            if sent.takes_back {
                let (now, original) = (at(13 * DAY_MS), event.message_key);
                return Event::retraction(key(sent.id), original, now, now).into();
            }
            let claim = sent.claims.map(|id| IdentityClaim { id: key(id), by: ClaimedBy::Alias });
            Incoming { event, claim }
        };
        let (sender, receiver) = mpsc::channel();
        self.store.ingest(events.iter().map(incoming).collect(), move |answer| drop(sender.send(answer)))?;
        receiver.recv_timeout(Duration::from_secs(60)).unwrap()
    }

    fn live(&self, status: GenerationStatus) -> Option<Generation> {
        let versions = self.store.versions();
        versions.iter().find(|version| version.status == status).map(|version| version.generation)
    }

    fn built(&self) {
        let waiting = Instant::now();
        while self.live(GenerationStatus::Building).is_some() {
            assert!(waiting.elapsed() < Duration::from_secs(60), "{:?}", self.store.versions());
            std::thread::yield_now();
        }
    }

    /// Says what came of it.
    fn carry_out(&mut self, step: &Step, fails: Fails) -> String {
        let may_fail = !matches!(step, Step::Build(_) | Step::Reopen | Step::Damage(_));
        *self.fails.lock() = if may_fail { fails } else { Fails::Nothing };
        let store = &self.store;
        let came = match *step {
            Step::Send(ref events) => told(&self.send(events)),
            Step::Link { known, id } => {
                told(&store.link(key(known), IdentityClaim { id: key(id), by: ClaimedBy::Device }, at(0)))
            }
            Step::Unlink(id) => told(&store.unlink(key(id))),
            Step::Erase(id) => told(&store.erase_user(key(id), at(0), crate::OptOuts::Kept)),
            Step::Readmit(id) => told(&store.readmit_user(key(id))),
            Step::Build(number) => {
                let begun = store.build(&definitions(number));
                self.built();
                told(&begun)
            }
            Step::Switch => {
                let to = self.live(GenerationStatus::Ready).or_else(|| self.live(GenerationStatus::Previous));
                let switched = to.map(|to| store.switch(to, "", "").map(|it| it.generation()));
                format!("{switched:?} {}", told(&store.give_back()))
            }
            Step::Retire => {
                let goes =
                    self.live(GenerationStatus::Ready).or_else(|| self.live(GenerationStatus::Previous));
                format!("{:?}", goes.map(|goes| store.retire(goes)))
            }
            Step::Sweep { at_ms } => told(&store.sweep(at(at_ms))),
            Step::Damage(id) => {
                let (serving, person) = (store.definitions().generation(), store.resolve(key(id)).unwrap());
                if self.engine.state(serving, person).unwrap().is_some() {
                    self.engine.replace_states(serving, &[(person, DAMAGED.to_vec())]).unwrap();
                }
                String::new()
            }
            Step::Reopen => {
                self.reopen();
                String::new()
            }
        };
        // A sweep that failed is answered before all its turns are over.
        self.store.writers.pass().unwrap();
        *self.fails.lock() = Fails::Nothing;
        // Of several writers that fail, any may be the one whose error is told.
        if came.contains("Err(") && fails == Fails::Writes { "an error".to_owned() } else { came }
    }

    /// All that can be asked about everybody.
    fn observed(&self) -> Vec<String> {
        let (store, engine, mut seen) = (&self.store, &self.engine, Vec::new());
        for user in (0..IDS).map(key) {
            let features = store.features(user, at(20 * DAY_MS));
            let definitions = store.definitions();
            let cached = store.features_if_cached(&definitions, user, at(20 * DAY_MS), &NoContext);
            if let Ok(Some(cached)) = cached {
                assert_eq!(Ok(cached), features);
            }
            let verdict = store.verify_user(user);
            let person = store.resolve(user).unwrap();
            let state = engine.state(definitions.generation(), person).unwrap();
            // Until the next event.
            let is_damaged = state.as_deref() == Some(DAMAGED);
            let is_whole = matches!(verdict, Ok(Verdict::Identical { .. } | Verdict::Unknown));
            assert!(is_whole || is_damaged, "{user}: {verdict:?}");
            seen.push(format!(
                "{user}: {:?} {features:?} {:?} {verdict:?} {:?} {:?}",
                store.resolve(user),
                store.events_of(user),
                engine.marks(user),
                engine.base(user),
            ));
        }
        for number in store.versions().iter().map(|version| version.generation.number()) {
            seen.extend(self.states_of(Generation::new(number).unwrap()));
        }
        let mut stats = store.stats();
        (stats.write_buffer_bytes, stats.block_cache_bytes, stats.disk_bytes) = (0, 0, 0);
        (stats.state_cache_bytes, stats.state_cache_hits, stats.state_cache_misses) = (0, 0, 0);
        // How many groups there are is chance.
        stats.commits = 0;
        seen.push(format!("{stats:?}"));
        seen
    }

    /// By every way of reading them.
    fn states_of(&self, generation: Generation) -> Vec<String> {
        let users: Vec<UserKey> = (0..IDS).map(key).collect();
        let stored = self.engine.snapshot().unwrap();
        let stored = users.iter().map(|user| stored.state(generation, *user).unwrap()).collect::<Vec<_>>();
        // The second time, what was old in the cache is young.
        for _ in 0..2 {
            for (user, stored) in users.iter().zip(&stored) {
                match self.engine.state_if_cached(generation, *user).unwrap() {
                    Cached::Known(known) => assert_eq!(&known, stored, "{user} in {generation}"),
                    Cached::NotCached => {}
                }
                assert_eq!(&self.engine.state(generation, *user).unwrap(), stored, "{user} in {generation}");
            }
            assert_eq!(self.engine.states(generation, &users).unwrap(), stored, "{generation}");
        }
        stored.into_iter().map(|state| format!("{generation}: {state:?}")).collect()
    }
}

fn told<T: Debug>(result: &Result<T, Error>) -> String {
    format!("{result:?}")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_store_with_a_cache_of_any_size_is_one_without(
        steps in steps(),
        shards in 1..4_usize,
        state_cache_bytes in prop_oneof![1 => Just(0), 3 => 20_000..300_000_usize, 2 => Just(32 << 20)],
    ) {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { sync: false, state_cache_bytes, ..Config::new(dir.path()) };
        let engine: Arc<dyn Store> = Arc::new(RocksStore::open(&config).unwrap());
        let mut one = Side::begin(engine, shards, Some(config));
        let mut other = Side::begin(Arc::new(MemoryStore::new()), shards, None);
        for (step, fails) in &steps {
            let came = (one.carry_out(step, *fails), other.carry_out(step, *fails));
            prop_assert_eq!(came.0, came.1, "{:?}", step);
            let seen = (one.observed(), other.observed());
            prop_assert_eq!(seen.0, seen.1, "after {:?}", step);
        }
        let usage = one.engine.usage();
        prop_assert!(usage.state_cache_bytes <= state_cache_bytes as u64);
    }
}
