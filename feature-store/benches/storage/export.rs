//! As many labels as events, exported within a bound of memory: time, peak memory, size.
//!
//! Not here: whether the rows are right; tests say that.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use augur_feature_store::{Config, ExportOptions, FeatureStore, Label, TrainingOptions, export_parquet};

use crate::{Failure, shop};

/// Events of a user, on average, where the number of users is not given.
const EVENTS_PER_USER: u64 = 25;
const EVENTS_PER_BATCH: u64 = 10_000;
/// From here on storing takes long enough to tell how far it is.
const TELLING_EVENTS: u64 = 1_000_000;
const MEMORY_MIB: [usize; 2] = [64, 512];

pub(crate) fn measure(events: u64, users: Option<u64>, memory_mib: Option<u64>) -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let schema = Arc::new(shop::schema()?);
    let config = Config { sync: false, ..Config::new(dir.path().join("store")) };
    let users = users.unwrap_or(events / EVENTS_PER_USER).max(1);
    let start = Instant::now();
    let store = FeatureStore::open(&config, Arc::clone(&schema))?;
    ingest(&store, events, users)?;
    store.close()?;
    drop(store);
    println!(
        "export: {events} events of {users} users, {} features; stored in {:.0} s",
        schema.feature_set().features().len(),
        start.elapsed().as_secs_f64()
    );
    let store = FeatureStore::open(&config, schema)?;
    let memory_mib = memory_mib.map_or(MEMORY_MIB.to_vec(), |mib| vec![mib as usize]);
    for memory_mib in memory_mib {
        measure_one(&store, dir.path(), events, users, memory_mib)?;
    }
    Ok(())
}

fn ingest(store: &FeatureStore, events: u64, users: u64) -> Result<(), Failure> {
    let (sender, answers) = mpsc::channel();
    for first in (0..events).step_by(EVENTS_PER_BATCH as usize) {
        let batch = (first..(first + EVENTS_PER_BATCH).min(events)).map(|number| shop::event(number, users));
        let sender = sender.clone();
        store.ingest(batch.collect(), move |answer| drop(sender.send(answer)))?;
        answers.recv()??;
        if events >= TELLING_EVENTS && first % (events / 20).max(1) < EVENTS_PER_BATCH {
            eprint!("\r  {first:>9} of {events} events stored");
        }
    }
    if events >= TELLING_EVENTS {
        eprintln!();
    }
    Ok(())
}

fn measure_one(
    store: &FeatureStore,
    dir: &Path,
    labels: u64,
    users: u64,
    memory_mib: usize,
) -> Result<(), Failure> {
    let rows = TrainingOptions { memory_bytes: memory_mib << 20, ..TrainingOptions::default() };
    // Makes the kernel forget the peak so far.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let before = memory("VmRSS")?;
    let start = Instant::now();
    let mut sorter = store.label_sorter(dir, rows)?;
    for number in 0..labels {
        let dice = shop::scattered(number ^ 0x5eed);
        let at = shop::event(dice % labels, 1).event_time.plus_millis(1);
        sorter.push(&Label {
            user: shop::user((dice >> 24) % users),
            at,
            outcome: Some((dice & 1) as f64),
        })?;
    }
    let sorted = sorter.finish()?;
    let read_s = start.elapsed().as_secs_f64();
    let features = Arc::clone(store.schema().feature_set());
    let options = ExportOptions { rows, ..ExportOptions::default() };
    let written = export_parquet(
        &dir.join("rows.parquet"),
        &features,
        store.training_rows_of(sorted, rows)?,
        &options,
        |_| {},
    )?;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "  {} rows within {memory_mib} MiB: {seconds:.0} s ({read_s:.0} s to take and sort labels), {:.0} rows/s; \
         process {:.0} MiB before, peak {:.0} MiB; file {:.0} MiB",
        written.rows,
        written.rows as f64 / seconds,
        before as f64 / 1024.0,
        memory("VmHWM")? as f64 / 1024.0,
        written.bytes as f64 / f64::from(1 << 20),
    );
    Ok(())
}

/// A line of the process's status, in KiB.
fn memory(name: &str) -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(name)).ok_or("no such line")?;
    Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse()?)
}
