//! Everything that rewrites a person's log, mixed at random with versions of the definitions that come and go: every
//! live version of every person stays what the log says, and what is served is what a simple model counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use augur_domain::event::{ClaimedBy, EventOutcome, IdentityClaim, QuarantineReason};
use augur_domain::time::DAY_MS;
use augur_domain::{Event, Timestamp, UserKey};
use proptest::prelude::*;

use super::{IdentityConfig, Incoming};
use crate::store::{MemoryStore, Store};
use crate::testing::{START_MS, event};
use crate::{
    Config, Error, FeatureSchema, FeatureStore, GenerationStatus, UserState, Verdict, apply, rebuild,
};

type Answer = mpsc::Receiver<Result<Vec<EventOutcome>, Error>>;

/// Ids that are linked, erased and so on.
const IDS: u8 = 6;
/// Users of whom there is one event, so that a build has a way to go between two ids.
const OTHERS: u8 = 200;

const PURCHASES: &str =
    "[[feature]]\nname = 'purchases'\nkind = 'windowed_count'\nevents = ['purchase']\nwindows = ['400d']\n";

/// Definitions that share some aggregates and differ in others.
const DEFINITIONS: [&str; 3] = [
    "[[feature]]\nname = 'visits'\nkind = 'sessions'\ngap = '30m'\n",
    "[[feature]]\nname = 'spend'\nkind = 'decayed_sum'\nevents = ['purchase']\nproperty = 'value'\nhalf_lives = ['7d']\n",
    "[[feature]]\nname = 'since'\nkind = 'time_since_last'\nevents = ['purchase']\n\n[[feature]]\nname = 'visits'\nkind = 'sessions'\ngap = '1h'\n",
];

fn definitions(number: usize) -> Arc<FeatureSchema> {
    let text = format!("version = 1\n{PURCHASES}{}", DEFINITIONS[number]);
    Arc::new(FeatureSchema::parse("features.toml", &text).unwrap())
}

/// Ids are spread among the others.
fn key(id: u8) -> UserKey {
    UserKey::from_bytes([id * 40 + 5; 16])
}

fn other(number: u8) -> UserKey {
    let mut bytes = [number; 16];
    bytes[15] = number.wrapping_add(1);
    UserKey::from_bytes(bytes)
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(START_MS + ms)
}

/// What is known of an event.
#[derive(Debug, Clone, Copy)]
struct Known {
    came_by: u8,
    taken_back: bool,
}

#[derive(Debug, Default)]
struct Model {
    /// Whom an id was linked to.
    links: BTreeMap<u8, u8>,
    /// Per person and message.
    logs: BTreeMap<u8, BTreeMap<u64, Known>>,
    erased: BTreeSet<u8>,
}

impl Model {
    fn person(&self, id: u8) -> u8 {
        self.links.get(&id).map_or(id, |parent| self.person(*parent))
    }

    fn members(&self, of: u8) -> BTreeSet<u8> {
        let children = self.links.iter().filter(|(_, parent)| **parent == of);
        children.flat_map(|(child, _)| self.members(*child)).chain([of]).collect()
    }

    fn event(&mut self, id: u8, message: u64) -> EventOutcome {
        let person = self.person(id);
        if self.erased.contains(&person) {
            return EventOutcome::Suppressed;
        }
        let log = self.logs.entry(person).or_default();
        if log.contains_key(&message) {
            return EventOutcome::Duplicate;
        }
        log.insert(message, Known { came_by: id, taken_back: false });
        EventOutcome::Accepted
    }

    fn take_back(&mut self, id: u8, message: u64) -> EventOutcome {
        let person = self.person(id);
        if self.erased.contains(&person) {
            return EventOutcome::Suppressed;
        }
        let log = self.logs.entry(person).or_default();
        let Some(known) = log.get_mut(&message) else { return refused() };
        let was_taken_back = std::mem::replace(&mut known.taken_back, true);
        if was_taken_back { EventOutcome::Duplicate } else { EventOutcome::Accepted }
    }

    /// An event of `known` that names `id`.
    fn claim(&mut self, known: u8, id: u8, message: u64, by: ClaimedBy) -> EventOutcome {
        let (to, from) = (self.person(known), self.person(id));
        let is_settled = id == known || (from == to && id != to);
        let is_kept = by == ClaimedBy::Device && from != id && from != to;
        let is_erased = self.erased.contains(&to) || self.erased.contains(&from);
        if !(is_settled || is_kept || is_erased) {
            if from == to || from != id {
                return refused();
            }
            self.links.insert(id, known);
            let moved = self.logs.remove(&id).unwrap_or_default();
            let log = self.logs.entry(to).or_default();
            for (message, came) in moved {
                log.entry(message).or_insert(came).taken_back |= came.taken_back;
            }
        }
        self.event(known, message)
    }

    fn unlink(&mut self, id: u8) -> bool {
        let (person, ids) = (self.person(id), self.members(id));
        if self.links.remove(&id).is_none() {
            return false;
        }
        for (message, came) in self.logs.remove(&person).unwrap_or_default() {
            let goes = if ids.contains(&came.came_by) { id } else { person };
            self.logs.entry(goes).or_default().insert(message, came);
        }
        true
    }

    /// Says how many ids were linked to the person.
    fn erase(&mut self, id: u8) -> u64 {
        let person = self.person(id);
        let ids = self.members(person);
        self.logs.remove(&person);
        self.links.retain(|id, _| !ids.contains(id));
        self.erased.extend(&ids);
        ids.len() as u64 - 1
    }

    fn check(&self, store: &FeatureStore, engine: &dyn Store) {
        let purchases = store.schema().feature_set().slot("purchases_400d").unwrap();
        for id in 0..IDS {
            let person = self.person(id);
            assert_eq!(store.resolve(key(id)).unwrap(), key(person), "person of {id}");
            let log = self.logs.get(&person).cloned().unwrap_or_default();
            let expected = log.values().filter(|known| !known.taken_back).count() as f64;
            let found = store.features(key(id), at(20 * DAY_MS)).unwrap().values[purchases];
            assert_eq!(found.value, expected, "purchases of {id}");
            let records = log.len() + log.values().filter(|known| known.taken_back).count();
            assert_eq!(store.events_of(key(id)).unwrap().len(), records, "records of {id}");
        }
        let users = self.logs.values().filter(|log| !log.is_empty()).count();
        assert_eq!(store.stats().users_total, users as u64 + u64::from(OTHERS));
        self.check_generations(store, engine);
    }

    /// Every live version has a state of exactly those who have events, and it is what the log says, to the bit.
    fn check_generations(&self, store: &FeatureStore, engine: &dyn Store) {
        let everybody = (0..IDS).map(key).chain((0..OTHERS).map(other));
        let everybody: Vec<UserKey> = everybody.collect();
        for version in store.versions().into_iter().filter(|version| version.status.is_live()) {
            let definitions = store.definitions_of(version.generation).unwrap();
            for user in &everybody {
                let mut state = UserState::new(definitions.schema());
                for record in engine.events(*user).unwrap() {
                    let stored = rebuild::decode(record.unwrap()).unwrap();
                    state.commit(apply(&state, &stored.event, definitions.schema()));
                }
                let logged = (state.watermark() > 0).then(|| rebuild::encoded(&state, definitions.schema()));
                let stored = engine.state(version.generation, *user).unwrap();
                assert_eq!(stored, logged, "{user} in {:?}", version.generation);
            }
        }
        for user in store.users_to_verify().unwrap() {
            let verdict = store.verify_user(user.unwrap()).unwrap();
            assert!(matches!(verdict, Verdict::Identical { .. }), "{verdict:?}");
        }
    }
}

fn refused() -> EventOutcome {
    EventOutcome::Quarantined(super::refusal(QuarantineReason::LinkCycle, "any", "", ""))
}

#[derive(Debug, Clone)]
enum Step {
    Event {
        id: u8,
        message: u64,
        at_ms: i64,
    },
    TakeBack {
        id: u8,
        message: u64,
    },
    Claim {
        known: u8,
        id: u8,
        message: u64,
        at_ms: i64,
        by: ClaimedBy,
    },
    Unlink {
        id: u8,
    },
    Erase {
        id: u8,
    },
    Readmit {
        id: u8,
    },
    Build {
        definitions: usize,
    },
    /// To the version that is ready, else back to the previous one.
    Switch {
        waits: bool,
    },
    Retire,
    Reopen,
}

impl Step {
    /// Whether it is part of an ingest.
    const fn is_sent(&self) -> bool {
        matches!(self, Self::Event { .. } | Self::TakeBack { .. } | Self::Claim { .. })
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (time, message) = (0..12 * DAY_MS, 0..15_u64);
    let event = (0..IDS, message.clone(), time.clone()).prop_map(|(id, message, at_ms)| Step::Event {
        id,
        message,
        at_ms,
    });
    let take_back = (0..IDS, message.clone()).prop_map(|(id, message)| Step::TakeBack { id, message });
    let by = prop_oneof![2 => Just(ClaimedBy::Device), 1 => Just(ClaimedBy::Alias)];
    let claim = (0..3_u8, 0..IDS, message, time, by)
        .prop_map(|(known, id, message, at_ms, by)| Step::Claim { known, id, message, at_ms, by });
    let step = prop_oneof![
        24 => event,
        8 => take_back,
        10 => claim,
        6 => (0..IDS).prop_map(|id| Step::Unlink { id }),
        2 => (0..IDS).prop_map(|id| Step::Erase { id }),
        2 => (0..IDS).prop_map(|id| Step::Readmit { id }),
        5 => (0..DEFINITIONS.len()).prop_map(|definitions| Step::Build { definitions }),
        4 => any::<bool>().prop_map(|waits| Step::Switch { waits }),
        1 => Just(Step::Retire),
        2 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..70)
}

fn open(engine: &Arc<dyn Store>, shards: usize) -> FeatureStore {
    let identity = IdentityConfig::default();
    let config = Config { shards, identity, ..Config::new("unused") };
    FeatureStore::with_store(Arc::clone(engine), &config, definitions(0), |_| {}).unwrap()
}

fn submit(store: &FeatureStore, events: Vec<Incoming>) -> Answer {
    let (sender, receiver) = mpsc::channel();
    store.ingest(events, move |answer| drop(sender.send(answer))).unwrap();
    receiver
}

fn wait(answer: &Answer) -> Vec<EventOutcome> {
    answer.recv_timeout(Duration::from_secs(60)).expect("no answer within a minute").unwrap()
}

/// Waits until nothing is being built.
fn ready(store: &FeatureStore) {
    let waiting = Instant::now();
    while store.versions().iter().any(|version| version.status == GenerationStatus::Building) {
        assert!(waiting.elapsed() < Duration::from_secs(60), "{:?}", store.versions());
        std::thread::yield_now();
    }
}

/// Whether a call was made, or refused because it makes no sense now.
fn made<T>(result: Result<T, Error>) -> bool {
    match result {
        Ok(_) => true,
        Err(Error::Generation { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

fn live(store: &FeatureStore, status: GenerationStatus) -> Option<crate::store::Generation> {
    let versions = store.versions();
    versions.iter().find(|version| version.status == status).map(|version| version.generation)
}

fn purchase(id: u8, message: u64, at_ms: i64) -> Event {
    Event { user: key(id), ..event(0, message, "purchase", at_ms, 1.5) }
}

fn sent(model: &mut Model, step: &Step) -> (Incoming, EventOutcome) {
    match *step {
        Step::Event { id, message, at_ms } => (purchase(id, message, at_ms).into(), model.event(id, message)),
        Step::TakeBack { id, message } => {
            let original = purchase(id, message, 0).message_key;
            let request = Event::retraction(key(id), original, at(13 * DAY_MS), at(13 * DAY_MS));
            (request.into(), model.take_back(id, message))
        }
        Step::Claim { known, id, message, at_ms, by } => {
            let claim = Some(IdentityClaim { id: key(id), by });
            let incoming = Incoming { event: purchase(known, message, at_ms), claim };
            (incoming, model.claim(known, id, message, by))
        }
        _ => unreachable!(),
    }
}

fn carry_out(
    store: &mut FeatureStore,
    model: &mut Model,
    step: &Step,
    reopen: impl FnOnce() -> FeatureStore,
) {
    match *step {
        Step::Unlink { id } => {
            assert_eq!(store.unlink(key(id)).unwrap().is_some(), model.unlink(id), "link of {id}");
        }
        Step::Erase { id } => {
            assert_eq!(
                store.erase_user(key(id), at(0), crate::OptOuts::Kept).unwrap().links,
                model.erase(id),
                "{id}"
            );
        }
        Step::Readmit { id } => {
            store.readmit_user(key(id)).unwrap();
            model.erased.remove(&id);
        }
        Step::Build { definitions: number } => drop(made(store.build(&definitions(number)))),
        Step::Switch { waits } => {
            if waits {
                ready(store);
            }
            let to = live(store, GenerationStatus::Ready).or_else(|| live(store, GenerationStatus::Previous));
            if to.is_some_and(|to| made(store.switch(to, "", ""))) {
                store.give_back().unwrap();
            }
        }
        Step::Retire => {
            use GenerationStatus::{Building, Previous, Ready};
            let goes = [Building, Ready, Previous].into_iter().find_map(|status| live(store, status));
            assert!(goes.is_none_or(|goes| made(store.retire(goes))));
        }
        Step::Reopen => {
            store.close().unwrap();
            *store = reopen();
        }
        Step::Event { .. } | Step::TakeBack { .. } | Step::Claim { .. } => {}
    }
}

/// Ingests follow each other without waiting, while builds go on.
fn run(engine: &Arc<dyn Store>, steps: &[Step], shards: usize, per_batch: usize) {
    let mut store = open(engine, shards);
    let others = (0..OTHERS)
        .map(|number| Incoming::from(Event { user: other(number), ..event(0, 1, "purchase", 0, 1.0) }));
    wait(&submit(&store, others.collect()));
    let mut model = Model::default();
    let mut answers: Vec<(Answer, Vec<EventOutcome>)> = Vec::new();
    let (mut batch, mut expected) = (Vec::new(), Vec::new());
    for step in steps {
        if !batch.is_empty() && (batch.len() >= per_batch || !step.is_sent()) {
            answers.push((submit(&store, std::mem::take(&mut batch)), std::mem::take(&mut expected)));
        }
        if step.is_sent() {
            let (incoming, outcome) = sent(&mut model, step);
            batch.push(incoming);
            expected.push(outcome);
        } else {
            carry_out(&mut store, &mut model, step, || open(engine, shards));
        }
    }
    answers.push((submit(&store, batch), expected));
    for (answer, expected) in answers {
        let found = wait(&answer);
        let is_quarantined = |outcome: &EventOutcome| matches!(outcome, EventOutcome::Quarantined(_));
        for (found, expected) in found.iter().zip(&expected) {
            let same = (is_quarantined(found) && is_quarantined(expected)) || found == expected;
            assert!(same, "{found:?} instead of {expected:?}");
        }
        assert_eq!(found.len(), expected.len());
    }
    ready(&store);
    model.check(&store, &**engine);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_version_of_every_person_is_what_the_log_says(
        steps in steps(), shards in 1..5_usize, per_batch in 1..6_usize,
    ) {
        let engine: Arc<dyn Store> = Arc::new(MemoryStore::new());
        run(&engine, &steps, shards, per_batch);
    }
}

#[cfg(feature = "rocksdb")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn and_so_it_is_on_disk(
        steps in steps(), shards in 1..5_usize, per_batch in 1..6_usize,
        state_cache_bytes in prop_oneof![1 => 0..300_000_usize, 1 => Just(32 << 20)],
    ) {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { sync: false, state_cache_bytes, ..Config::new(dir.path()) };
        let engine: Arc<dyn Store> = Arc::new(crate::store::RocksStore::open(&config).unwrap());
        run(&engine, &steps, shards, per_batch);
    }
}
