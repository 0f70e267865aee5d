//! Durable ingest beside its limit: the same event records, dedup marks and states, in groups of the same size, written
//! by as many threads to the bare engine with the same sync.
//!
//! Not here: the network in front of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Instant;

use augur_domain::event::EventOutcome;
use augur_domain::{Event, UserKey};
use augur_feature_store::store::{Commit, Generation, NewEvent, Read as _, RocksStore, Store as _};
use augur_feature_store::{Config, FeatureSchema, FeatureStore, UserState, apply};

use crate::{Failure, shop};

const CALLERS: u64 = 64;
const EVENTS_PER_CALL: u64 = 50;
const EVENTS_PER_USER: u64 = 20;

/// What one run took.
struct Taken {
    events_per_second: f64,
    /// Of all threads, those of callers and of the engine among them. Unlike the rate it means something on a machine that
    /// does other work, too.
    processor_us_per_event: f64,
}

/// A clock of time passed and of processor time spent.
struct Watch {
    start: Instant,
    ticks: u64,
}

impl Watch {
    fn start() -> Result<Self, Failure> {
        Ok(Self { ticks: ticks()?, start: Instant::now() })
    }

    fn stop(self, events: u64) -> Result<Taken, Failure> {
        const MICROSECONDS_PER_TICK: f64 = 10_000.0;
        let seconds = self.start.elapsed().as_secs_f64();
        let ticks = (ticks()? - self.ticks) as f64;
        Ok(Taken {
            events_per_second: events as f64 / seconds,
            processor_us_per_event: ticks * MICROSECONDS_PER_TICK / events as f64,
        })
    }
}

/// Of processor time that this process spent, in user and kernel mode.
fn ticks() -> Result<u64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let spent = after_name.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    spent.sum::<Result<u64, _>>().map_err(Failure::from)
}

pub(crate) fn measure(events: u64) -> Result<(), Failure> {
    let schema = Arc::new(shop::schema()?);
    let users = (events / EVENTS_PER_USER).max(1);
    let whole_dir = tempfile::tempdir()?;
    let whole = Config::new(whole_dir.path());
    let (whole_taken, group) = ingest(&whole, &schema, events, users)?;
    let commits = commits(&whole, &schema, events, users, group)?;
    let bare_dir = tempfile::tempdir()?;
    // Nobody reads what it writes.
    let bare = Config { state_cache_bytes: 0, ..Config::new(bare_dir.path()) };
    let bare_taken = write_bare(&bare, &commits, events)?;
    let features = schema.feature_set().features().len();
    println!(
        "ingest: {events} events of {users} users, {features} features, {CALLERS} callers of {EVENTS_PER_CALL}, {group} events per commit"
    );
    let line = |what, taken: &Taken| {
        let Taken { events_per_second, processor_us_per_event } = taken;
        println!(
            "  {what:<12} {events_per_second:>9.0} events/s, {processor_us_per_event:.1} us of processor per event"
        );
    };
    line("whole store", &whole_taken);
    line("bare engine", &bare_taken);
    println!(
        "  ratio        {:>9.2} by rate, {:.2} by processor time",
        whole_taken.events_per_second / bare_taken.events_per_second,
        bare_taken.processor_us_per_event / whole_taken.processor_us_per_event,
    );
    Ok(())
}

/// What it took, and the events per commit.
fn ingest(
    config: &Config,
    schema: &Arc<FeatureSchema>,
    events: u64,
    users: u64,
) -> Result<(Taken, u64), Failure> {
    let store = FeatureStore::open(config, Arc::clone(schema))?;
    // Made beforehand: callers have their events.
    let batches = (0..events).step_by(EVENTS_PER_CALL as usize).map(|first| {
        let batch = first..events.min(first + EVENTS_PER_CALL);
        Mutex::new(batch.map(|number| shop::event(number, users)).collect())
    });
    let batches: Vec<Mutex<Vec<Event>>> = batches.collect();
    let next = AtomicUsize::new(0);
    let watch = Watch::start()?;
    std::thread::scope(|threads| {
        let caller = || -> Result<(), Failure> {
            let (sender, receiver) = mpsc::channel();
            loop {
                let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) else { return Ok(()) };
                let batch = std::mem::take(&mut *batch.lock().map_err(|_| "a caller panicked")?);
                let sender = sender.clone();
                store.ingest(batch, move |answer| drop(sender.send(answer)))?;
                let outcomes = receiver.recv()??;
                if outcomes.iter().any(|outcome| *outcome != EventOutcome::Accepted) {
                    return Err("an event was not accepted".into());
                }
            }
        };
        let callers: Vec<_> = (0..CALLERS).map(|_| threads.spawn(caller)).collect();
        callers.into_iter().try_for_each(|caller| caller.join().map_err(|_| "a caller panicked")?)
    })?;
    let taken = watch.stop(events)?;
    let commits = store.stats().commits.max(1);
    store.close()?;
    Ok((taken, (events / commits).max(1)))
}

/// What the writers had to store, in groups of the size they had, split like the users of two shards.
fn commits(
    config: &Config,
    schema: &FeatureSchema,
    events: u64,
    users: u64,
    group: u64,
) -> Result<Vec<Vec<Commit>>, Failure> {
    let store = RocksStore::open(config)?;
    let mut states: BTreeMap<UserKey, UserState> = BTreeMap::new();
    let mut shards = Vec::new();
    for shard in 0..config.shards {
        let is_mine = |user: &UserKey| {
            user.as_bytes().first().is_some_and(|byte| *byte as usize % config.shards == shard)
        };
        let mine = (0..events).map(|number| shop::event(number, users)).filter(|event| is_mine(&event.user));
        let mine: Vec<_> = mine.collect();
        let mut commits = Vec::new();
        for chunk in mine.chunks(group as usize) {
            let mut commit = Commit { shard: shard as u32, ..Commit::default() };
            let mut touched = BTreeSet::new();
            for event in chunk {
                let state = states.entry(event.user).or_insert_with(|| UserState::new(schema));
                let changes = apply(state, event, schema);
                state.commit(changes);
                touched.insert(event.user);
                let (user, message_key) = (event.user, event.message_key);
                let sequence = store.message_sequence(user, message_key)?.ok_or("an event is missing")?;
                commit.events.push(NewEvent { user, sequence, message_key, record: Vec::new() });
            }
            for user in touched {
                let mut record = Vec::new();
                if let Some(state) = states.get(&user) {
                    state.encode(schema, &mut record);
                }
                commit.states.push((Generation::FIRST, user, record));
            }
            commits.push(commit);
        }
        shards.push(commits);
    }
    let mut records = BTreeMap::new();
    for record in store.all_events()? {
        let record = record?;
        records.insert((record.user, record.sequence), record.record);
    }
    for event in shards.iter_mut().flatten().flat_map(|commit| &mut commit.events) {
        event.record = records.remove(&(event.user, event.sequence)).ok_or("a record is missing")?;
    }
    Ok(shards)
}

fn write_bare(config: &Config, shards: &[Vec<Commit>], events: u64) -> Result<Taken, Failure> {
    let store = RocksStore::open(config)?;
    let watch = Watch::start()?;
    std::thread::scope(|threads| {
        let writer = |commits: &[Commit]| commits.iter().try_for_each(|commit| store.commit(commit));
        let writers: Vec<_> = shards.iter().map(|commits| threads.spawn(move || writer(commits))).collect();
        writers.into_iter().try_for_each(|writer| -> Result<(), Failure> {
            writer.join().map_err(|_| "a writer panicked")??;
            Ok(())
        })
    })?;
    watch.stop(events)
}
