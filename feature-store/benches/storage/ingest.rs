//! Durable ingest beside its limit: the same event records, dedup marks and states, in groups of the same size, written
//! by as many threads to the bare engine with the same sync.
//!
//! Not here: the network in front of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Instant;

use augur_domain::UserKey;
use augur_domain::event::EventOutcome;
use augur_feature_store::store::{Commit, Generation, NewEvent, Read as _, RocksStore, Store as _};
use augur_feature_store::{Config, FeatureSchema, FeatureStore, UserState, apply};

use crate::{Failure, shop};

const CALLERS: u64 = 64;
const EVENTS_PER_CALL: u64 = 50;
const EVENTS_PER_USER: u64 = 20;

/// The figures of one run of the whole.
struct Ingested {
    events_per_second: f64,
    events_per_commit: u64,
}

pub(crate) fn measure(events: u64) -> Result<(), Failure> {
    let schema = Arc::new(shop::schema()?);
    let users = (events / EVENTS_PER_USER).max(1);
    let whole_dir = tempfile::tempdir()?;
    let whole = Config::new(whole_dir.path());
    let ingested = ingest(&whole, &schema, events, users)?;
    let commits = commits(&whole, &schema, events, users, ingested.events_per_commit)?;
    let bare_dir = tempfile::tempdir()?;
    let bare = write_bare(&Config::new(bare_dir.path()), &commits, events)?;
    let features = schema.feature_set().features().len();
    println!(
        "ingest: {events} events of {users} users, {features} features, {CALLERS} callers of {EVENTS_PER_CALL}"
    );
    println!(
        "  whole store   {:>9.0} events/s, {} events per commit",
        ingested.events_per_second, ingested.events_per_commit
    );
    println!("  bare engine   {bare:>9.0} events/s with the same bytes, groups and sync");
    println!("  ratio         {:>9.2}", ingested.events_per_second / bare);
    Ok(())
}

fn ingest(
    config: &Config,
    schema: &Arc<FeatureSchema>,
    events: u64,
    users: u64,
) -> Result<Ingested, Failure> {
    let store = FeatureStore::open(config, Arc::clone(schema))?;
    let next = AtomicU64::new(0);
    let start = Instant::now();
    std::thread::scope(|threads| {
        let caller = || -> Result<(), Failure> {
            let (sender, receiver) = mpsc::channel();
            loop {
                let first = next.fetch_add(EVENTS_PER_CALL, Ordering::Relaxed);
                if first >= events {
                    return Ok(());
                }
                let batch = (first..events.min(first + EVENTS_PER_CALL)).map(|it| shop::event(it, users));
                let sender = sender.clone();
                store.ingest(batch.collect(), move |answer| drop(sender.send(answer)))?;
                let outcomes = receiver.recv()??;
                if outcomes.iter().any(|outcome| *outcome != EventOutcome::Accepted) {
                    return Err("an event was not accepted".into());
                }
            }
        };
        let callers: Vec<_> = (0..CALLERS).map(|_| threads.spawn(caller)).collect();
        callers.into_iter().try_for_each(|caller| caller.join().map_err(|_| "a caller panicked")?)
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let commits = store.stats().commits.max(1);
    store.close()?;
    Ok(Ingested { events_per_second: events as f64 / seconds, events_per_commit: (events / commits).max(1) })
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

/// Events per second.
fn write_bare(config: &Config, shards: &[Vec<Commit>], events: u64) -> Result<f64, Failure> {
    let store = RocksStore::open(config)?;
    let start = Instant::now();
    std::thread::scope(|threads| {
        let writer = |commits: &[Commit]| commits.iter().try_for_each(|commit| store.commit(commit));
        let writers: Vec<_> = shards.iter().map(|commits| threads.spawn(move || writer(commits))).collect();
        writers.into_iter().try_for_each(|writer| -> Result<(), Failure> {
            writer.join().map_err(|_| "a writer panicked")??;
            Ok(())
        })
    })?;
    Ok(events as f64 / start.elapsed().as_secs_f64())
}
