//! Measures the log: what an append costs its caller, how many records a second it takes beside a bare append, what
//! sealing makes of them, and how fast they are replayed from sealed segments.
//!
//! Not here: single steps (`benches`). Run it in a release build on a machine that does nothing else:
//! `cargo run --release -p augur-shadow-harness --example log_rates -- [records ...]`
#![expect(clippy::print_stdout, reason = "it tells what it measured")]
#![expect(clippy::expect_used, reason = "a measure that cannot run has nothing to tell")]

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use augur_decision_log::{Config, Error, Log, Reader, codec};
use augur_domain::DecisionId;
use augur_domain::DecisionRecord;
use augur_shadow_harness::{DataDirectory, Options, Verdict, verify};

const SYNC_INTERVAL: Duration = Duration::from_millis(5);
/// What may wait for a writer, here and of the log.
const QUEUE_BYTES: usize = 16 << 20;
/// Records of a measure of rates, and how many measures the median is of.
const RATE_RECORDS: u64 = 300_000;
const RUNS: usize = 5;

fn main() {
    let asked: Vec<u64> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let sizes = if asked.is_empty() { vec![10_000, 100_000, 1_000_000] } else { asked };
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden");
    let records: Vec<DecisionRecord> = Reader::open(&golden.join("decisions"))
        .expect("the golden log")
        .map(|item| item.expect("an intact record").1)
        .collect();
    caller_time(&records);
    rates(&records);
    println!(
        "\n    records   raw B   sealed B   sealed in   read/s    replayed/s, one thread   two   peak memory"
    );
    for size in sizes {
        replay(&golden, &records, size);
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

/// The golden decisions over and over, each with an id of its own.
fn made(records: &[DecisionRecord], number: u64) -> DecisionRecord {
    let index = usize::try_from(number).unwrap_or_default() % records.len();
    let mut record = records.get(index).expect("a golden record").clone();
    let mixed =
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let [a, b, c, d, e, f, g, h] = mixed.to_le_bytes();
    record.inputs.decision_id = DecisionId::new(record.inputs.now, [a, b, c, d, e, f, g, h, 0, 0]);
    record
}

/// Appends, and waits as long as the queue is full.
fn append(log: &Log, record: &DecisionRecord) {
    while let Err(error) = log.append(record, drop) {
        assert!(matches!(error, Error::QueueFull { .. }), "{error}");
        std::thread::yield_now();
    }
}

/// What an append costs who decides, at 20 000 a second.
fn caller_time(records: &[DecisionRecord]) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (log, _) = Log::open(Config::new(dir.path())).expect("a new log");
    let mut taken = Vec::with_capacity(100_000);
    let begin = Instant::now();
    for number in 0..100_000_u32 {
        let record = records.get(number as usize % records.len()).expect("a golden record");
        while begin.elapsed() < Duration::from_micros(50) * number {
            std::hint::spin_loop();
        }
        let started = Instant::now();
        append(&log, record);
        taken.push(started.elapsed().as_nanos() as f64);
    }
    log.close().expect("a clean end");
    taken.sort_by(f64::total_cmp);
    let at = |share: f64| taken.get((taken.len() as f64 * share) as usize).copied().unwrap_or_default();
    println!(
        "append at 20 000/s: {:.0} ns median, {:.0} ns p99, {:.0} ns p99.9",
        at(0.5),
        at(0.99),
        at(0.999)
    );
}

/// Records a second through the log, and bytes of the same size through nothing but a buffer, a write and a sync.
fn rates(records: &[DecisionRecord]) {
    let mut sizes = Vec::new();
    let mut bytes = Vec::new();
    for record in records {
        let before = bytes.len();
        codec::encode_record(record, &mut bytes);
        sizes.push(bytes.len() - before);
    }
    let mean = bytes.len() / records.len().max(1);
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let dir = tempfile::tempdir().expect("a temporary directory");
        ours.push(log_rate(dir.path(), records));
        bare.push(bare_rate(&dir.path().join("bare"), &bytes, &sizes));
    }
    let (ours, bare) = (median(ours), median(bare));
    println!(
        "as fast as they are taken, {mean} bytes a record: {ours:.0} records/s, bare append {bare:.0}/s, ratio {:.2}",
        ours / bare
    );
}

fn log_rate(dir: &Path, records: &[DecisionRecord]) -> f64 {
    let config =
        Config { sync_interval: SYNC_INTERVAL, queue_bytes: QUEUE_BYTES, seal: false, ..Config::new(dir) };
    let (log, _) = Log::open(config).expect("a new log");
    let started = Instant::now();
    for (record, _) in records.iter().cycle().zip(0..RATE_RECORDS) {
        append(&log, record);
    }
    log.close().expect("a clean end");
    RATE_RECORDS as f64 / started.elapsed().as_secs_f64()
}

/// One thread copies encoded records into a bounded buffer, a second writes it, a third syncs every interval.
fn bare_rate(path: &Path, bytes: &[u8], sizes: &[usize]) -> f64 {
    let mut file = File::create(path).expect("a file");
    let syncing = file.try_clone().expect("the same file");
    let buffer = Arc::new(Mutex::new(Vec::new()));
    let (ended, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let started = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !written.load(Ordering::Acquire) {
                // sleep: the interval of the syncs.
                std::thread::sleep(SYNC_INTERVAL);
                syncing.sync_data().expect("a sync");
            }
        });
        scope.spawn(|| {
            let mut taken = Vec::new();
            loop {
                let last = ended.load(Ordering::Acquire);
                std::mem::swap(&mut taken, &mut *buffer.lock().expect("a lock"));
                if taken.is_empty() && last {
                    return written.store(true, Ordering::Release);
                }
                if taken.is_empty() {
                    std::thread::yield_now();
                }
                file.write_all(&taken).expect("a write");
                taken.clear();
            }
        });
        let mut at = 0;
        for (size, _) in sizes.iter().cycle().zip(0..RATE_RECORDS) {
            let record = bytes.get(at..at + size).unwrap_or_default();
            at = (at + size) % bytes.len();
            loop {
                let mut buffer = buffer.lock().expect("a lock");
                if buffer.len() + size <= QUEUE_BYTES {
                    buffer.extend_from_slice(record);
                    break;
                }
                drop(buffer);
                std::thread::yield_now();
            }
        }
        ended.store(true, Ordering::Release);
    });
    RATE_RECORDS as f64 / started.elapsed().as_secs_f64()
}

/// Writes a log of this many records, seals it, reads it and replays it.
fn replay(golden: &Path, records: &[DecisionRecord], size: u64) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (log, _) = Log::open(Config::new(dir.path())).expect("a new log");
    let mut bytes = Vec::new();
    let (mut raw, started) = (0, Instant::now());
    for number in 0..size {
        let record = made(records, number);
        bytes.clear();
        codec::encode_record(&record, &mut bytes);
        raw += bytes.len() as u64;
        append(&log, &record);
        // Sealing rests as long as it works: the disk need not hold all of it raw.
        while number % 4_096 == 0 && log.stats().unsealed_segments > 2 {
            // sleep: the log does not tell when it has sealed a segment.
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    log.close().expect("a clean end");
    // One record in a segment of its own closes the last one.
    let (log, _) = Log::open(Config { segment_bytes: 4_096, ..Config::new(dir.path()) }).expect("the log");
    for number in 0..8 {
        append(&log, &made(records, size + number));
        // sleep: records that come one by one close segments of their own.
        std::thread::sleep(Duration::from_millis(5));
    }
    let closed = || std::fs::read_dir(dir.path()).expect("the log").count() as u64 - 2;
    while log.stats().sealed_segments < closed() {
        // sleep: the log does not tell when it has sealed a segment.
        std::thread::sleep(Duration::from_millis(20));
    }
    let sealed_in = started.elapsed();
    let file_bytes = log.stats().file_bytes;
    log.close().expect("a clean end");
    let began = Instant::now();
    let mut reader = Reader::open(dir.path()).expect("the log");
    let mut read = 0_u64;
    while reader.next_bytes().expect("an intact log").is_some() {
        read += 1;
    }
    let read_rate = read as f64 / began.elapsed().as_secs_f64();
    let data = DataDirectory::new(golden);
    let rate = |threads| {
        let rates = (0..3).map(|_| {
            let report =
                verify(dir.path(), &data, Options { threads, ..Options::default() }).expect("a verdict");
            assert_eq!((report.verdict, report.records), (Verdict::Identical, read));
            report.records_per_second
        });
        median(rates.collect())
    };
    let (one, two) = (rate(1), rate(2));
    println!(
        "{read:>11} {:>7} {:>10} {:>9.1} s {read_rate:>9.0} {one:>22.0} {two:>7.0} {:>8} KiB",
        raw / size.max(1),
        file_bytes / read.max(1),
        sealed_in.as_secs_f64(),
        peak_kib()
    );
}

/// The most memory that this process has had so far, as Linux tells it.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
