//! Point reads of features as the users grow in number: latency, memory and disk, from states written straight into the
//! engine.
//!
//! Not here: events behind those states; there are none.

use std::sync::Arc;
use std::time::Instant;

use augur_domain::Timestamp;
use augur_feature_store::store::{Generation, RocksStore, Store as _};
use augur_feature_store::{Config, FeatureSchema, FeatureStore, UserState, apply};

use crate::{Failure, shop};

/// Different states, each given to many users.
const STATES: u64 = 2_000;
const EVENTS_PER_STATE: u64 = 40;
const USERS_PER_WRITE: u64 = 1_000;
const SMALLEST_USERS: u64 = 10_000;
const READS: u64 = 200_000;

pub(crate) fn measure(most_users: u64) -> Result<(), Failure> {
    let schema = Arc::new(shop::schema()?);
    let states = states(&schema);
    let bytes: usize = states.iter().map(Vec::len).sum();
    println!(
        "scale: {} features, states of {} bytes on average",
        schema.feature_set().features().len(),
        bytes / states.len()
    );
    let mut users = SMALLEST_USERS.min(most_users);
    loop {
        measure_one(&schema, &states, users)?;
        if users >= most_users {
            return Ok(());
        }
        users = (users * 10).min(most_users);
    }
}

fn measure_one(schema: &Arc<FeatureSchema>, states: &[Vec<u8>], users: u64) -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let config = Config::new(dir.path());
    let start = Instant::now();
    write(&config, schema, states, users)?;
    let written_s = start.elapsed().as_secs_f64();
    let store = FeatureStore::open(&config, Arc::clone(schema))?;
    let now = shop::event(STATES * EVENTS_PER_STATE, 1).event_time;
    let reads = READS.min(users * 20);
    // Fills the cache.
    latencies(&store, now, users, reads, 0)?;
    let mut known = latencies(&store, now, users, reads, 1)?;
    let mut unknown = absent(&store, now, users, reads)?;
    let stats = store.stats();
    println!(
        "  {users:>9} users: known user p50 {:.1} us, p99 {:.1} us; unknown user p50 {:.1} us; \
         {:.0} MiB on disk ({:.0} bytes per user), {:.0} MiB of cache and write buffers (bound {}), process {:.0} MiB; written in {written_s:.0} s",
        percentile(&mut known, 0.50),
        percentile(&mut known, 0.99),
        percentile(&mut unknown, 0.50),
        mebibytes(stats.disk_bytes),
        stats.disk_bytes as f64 / users as f64,
        mebibytes(stats.block_cache_bytes + stats.write_buffer_bytes),
        (config.block_cache_bytes + config.write_buffer_bytes) >> 20,
        mebibytes(resident_bytes()?),
    );
    Ok(())
}

fn states(schema: &FeatureSchema) -> Vec<Vec<u8>> {
    let grown = (0..STATES).map(|number| {
        let mut state = UserState::new(schema);
        for event in 0..1 + shop::scattered(number) % (2 * EVENTS_PER_STATE) {
            let changes = apply(&state, &shop::event(event * STATES + number, 1), schema);
            state.commit(changes);
        }
        let mut record = Vec::new();
        state.encode(schema, &mut record);
        record
    });
    grown.collect()
}

fn write(config: &Config, schema: &FeatureSchema, states: &[Vec<u8>], users: u64) -> Result<(), Failure> {
    // Says which definitions the states follow.
    drop(FeatureStore::open(config, Arc::new(schema.clone()))?);
    let store = RocksStore::open(config)?;
    let mut number = 0;
    while number < users {
        let last = users.min(number + USERS_PER_WRITE);
        let batch = (number..last).zip(states.iter().cycle().skip((number % states.len() as u64) as usize));
        let batch: Vec<_> = batch.map(|(number, state)| (shop::user(number), state.clone())).collect();
        store.replace_states(Generation::FIRST, &batch)?;
        number = last;
    }
    store.flush()?;
    Ok(())
}

/// Nanoseconds of each read of a random known user.
fn latencies(
    store: &FeatureStore,
    now: Timestamp,
    users: u64,
    reads: u64,
    seed: u64,
) -> Result<Vec<u64>, Failure> {
    let mut taken = Vec::with_capacity(reads as usize);
    for read in 0..reads {
        let user = shop::user(shop::scattered(seed << 40 | read) % users);
        let start = Instant::now();
        let features = store.features(user, now)?;
        taken.push(start.elapsed().as_nanos() as u64);
        if features.watermark == 0 {
            return Err("a user is missing".into());
        }
    }
    Ok(taken)
}

fn absent(store: &FeatureStore, now: Timestamp, users: u64, reads: u64) -> Result<Vec<u64>, Failure> {
    let mut taken = Vec::with_capacity(reads as usize);
    for read in 0..reads {
        let start = Instant::now();
        let features = store.features(shop::user(users + 1 + read), now)?;
        taken.push(start.elapsed().as_nanos() as u64);
        if features.watermark != 0 {
            return Err("a user is there who should not be".into());
        }
    }
    Ok(taken)
}

/// In microseconds.
fn percentile(taken: &mut [u64], share: f64) -> f64 {
    taken.sort_unstable();
    let index = (taken.len().saturating_sub(1) as f64 * share) as usize;
    taken.get(index).copied().unwrap_or_default() as f64 / 1_000.0
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Of this process.
fn resident_bytes() -> Result<u64, Failure> {
    const PAGE_BYTES: u64 = 4_096;
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split_whitespace().nth(1).ok_or("no resident pages")?.parse()?;
    Ok(pages * PAGE_BYTES)
}
