//! Point reads of features as the users grow in number: latency, memory and disk, from states written straight into the
//! engine.
//!
//! Not here: events behind those states; there are none.

use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Instant;

use augur_domain::{Timestamp, UserKey};
use augur_feature_store::store::{Generation, RocksStore, Store as _};
use augur_feature_store::{Config, FeatureSchema, FeatureStore, UserState, apply};

use crate::{Failure, shop};

/// Different states, each given to many users.
const STATES: u64 = 2_000;
const EVENTS_PER_STATE: u64 = 40;
const USERS_PER_WRITE: usize = 1_000;
/// From here on writing takes long enough to tell how far it is.
const TELLING_USERS: u64 = 1_000_000;
const SMALLEST_USERS: u64 = 10_000;
/// Writing passes by the users' keys, so that few are held and sorted at a time.
const PASSES: u64 = 32;
/// Of reads; the median round is told, so that a moment in which the machine did something else is not.
const ROUNDS: usize = 5;
const READS_PER_ROUND: u64 = 100_000;

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
    let reads = READS_PER_ROUND.min(users * 20);
    // Fills the caches.
    latencies(&store, now, users, reads, 0)?;
    let round = |seed| latencies(&store, now, users, reads, seed);
    let known = (1..=ROUNDS as u64).map(round).collect::<Result<Vec<_>, _>>()?;
    let unknown = (0..ROUNDS).map(|_| absent(&store, now, users, reads)).collect::<Result<Vec<_>, _>>()?;
    let stats = store.stats();
    println!(
        "  {users:>9} users: known user p50 {:.1} us, p99 {:.1} us; unknown user p50 {:.1} us, p99 {:.1} us; \
         {:.0} MiB on disk ({:.0} bytes per user), {:.0} MiB of caches and write buffers (bound {}), process {:.0} MiB; written in {written_s:.0} s",
        percentile(&known, 0.50),
        percentile(&known, 0.99),
        percentile(&unknown, 0.50),
        percentile(&unknown, 0.99),
        mebibytes(stats.disk_bytes),
        stats.disk_bytes as f64 / users as f64,
        mebibytes(stats.block_cache_bytes + stats.state_cache_bytes + stats.write_buffer_bytes),
        (config.block_cache_bytes + config.state_cache_bytes + config.write_buffer_bytes) >> 20,
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
    let mut written = 0;
    for pass in 0..PASSES {
        // In key order: nothing has to be sorted again by the engine.
        let mut pass_users: Vec<(UserKey, usize)> = (0..users)
            .map(|number| (shop::user(number), (number % states.len() as u64) as usize))
            .filter(|(user, _)| pass_of(*user) == pass)
            .collect();
        pass_users.sort_unstable();
        for batch in pass_users.chunks(USERS_PER_WRITE) {
            let batch =
                batch.iter().map(|(user, state)| (*user, states.get(*state).cloned().unwrap_or_default()));
            store.replace_states(Generation::FIRST, &batch.collect::<Vec<_>>())?;
        }
        written += pass_users.len();
        if users >= TELLING_USERS {
            eprint!("\r  {written:>9} of {users} users written");
        }
    }
    if users >= TELLING_USERS {
        eprintln!();
    }
    store.flush()?;
    Ok(())
}

/// Ascending with the keys.
fn pass_of(user: UserKey) -> u64 {
    user.as_bytes().first().map_or(0, |byte| u64::from(*byte) * PASSES / 256)
}

/// How long this thread waited for a processor that others held: no part of a read. Waiting for a disk is not in it.
struct Waits {
    schedule: std::fs::File,
    last_ns: u64,
}

impl Waits {
    fn open() -> Result<Self, Failure> {
        let mut waits = Self { schedule: std::fs::File::open("/proc/thread-self/schedstat")?, last_ns: 0 };
        waits.since_last_ns()?;
        Ok(waits)
    }

    fn since_last_ns(&mut self) -> Result<u64, Failure> {
        let mut line = [0; 64];
        let length = self.schedule.read_at(&mut line, 0)?;
        let line = std::str::from_utf8(line.get(..length).unwrap_or_default())?;
        let waited_ns: u64 = line.split_whitespace().nth(1).ok_or("no schedule")?.parse()?;
        Ok(waited_ns - std::mem::replace(&mut self.last_ns, waited_ns))
    }
}

/// Nanoseconds of each read of a random known user, ascending.
fn latencies(
    store: &FeatureStore,
    now: Timestamp,
    users: u64,
    reads: u64,
    seed: u64,
) -> Result<Vec<u64>, Failure> {
    let mut taken = Vec::with_capacity(reads as usize);
    let mut waits = Waits::open()?;
    for read in 0..reads {
        let user = shop::user(shop::scattered(seed << 40 | read) % users);
        let start = Instant::now();
        let features = store.features(user, now)?;
        let spent = start.elapsed().as_nanos() as u64;
        taken.push(spent.saturating_sub(waits.since_last_ns()?));
        if features.watermark == 0 {
            return Err("a user is missing".into());
        }
    }
    taken.sort_unstable();
    Ok(taken)
}

fn absent(store: &FeatureStore, now: Timestamp, users: u64, reads: u64) -> Result<Vec<u64>, Failure> {
    let mut taken = Vec::with_capacity(reads as usize);
    let mut waits = Waits::open()?;
    for read in 0..reads {
        let start = Instant::now();
        let features = store.features(shop::user(users + 1 + read), now)?;
        let spent = start.elapsed().as_nanos() as u64;
        taken.push(spent.saturating_sub(waits.since_last_ns()?));
        if features.watermark != 0 {
            return Err("a user is there who should not be".into());
        }
    }
    taken.sort_unstable();
    Ok(taken)
}

/// In microseconds, of the median round; each is ascending.
fn percentile(rounds: &[Vec<u64>], share: f64) -> f64 {
    let of_round = |taken: &Vec<u64>| {
        let index = (taken.len().saturating_sub(1) as f64 * share) as usize;
        taken.get(index).copied().unwrap_or_default()
    };
    let mut rounds: Vec<u64> = rounds.iter().map(of_round).collect();
    rounds.sort_unstable();
    rounds.get(rounds.len() / 2).copied().unwrap_or_default() as f64 / 1_000.0
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
