//! The control replay: the same policy and models over the same inputs must give the same bytes.
//!
//! Not here: deciding one record again (`check`), or what the findings mean (`report`).

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use augur_decision::ENGINE_VERSION;
use augur_decision_log::{Error as LogError, Reader};

use crate::check::{Checker, Chunk, Snapshots, Tally};
use crate::error::Error;
use crate::report::{TruncatedTail, Verdict, VerifyReport};
use crate::source::SnapshotSource;

/// Most threads that may be asked for.
const MAX_THREADS: usize = 256;
/// A chunk is handed out once it holds this many bytes or records.
const CHUNK_BYTES: usize = 512 * 1024;
const CHUNK_RECORDS: usize = 512;
/// Chunks that may wait per thread.
const WAITING_CHUNKS: usize = 2;
/// How often an unfinished end is looked at again before it is called one, and how long apart.
const TAIL_LOOKS: u32 = 5;
const TAIL_PAUSE: Duration = Duration::from_millis(10);

/// How to replay.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Threads that decide, beside the caller's own, which reads; 0 means one per core. At most 256.
    pub threads: usize,
    /// Told, on the caller's thread, how many records have been read so far.
    pub progress: &'a dyn Fn(u64),
}

impl std::fmt::Debug for Options<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Options").field("threads", &self.threads).finish_non_exhaustive()
    }
}

impl Default for Options<'_> {
    /// One thread per core, and nobody told of progress.
    fn default() -> Self {
        Self { threads: 0, progress: &|_| () }
    }
}

/// Decides every record of the log in `log_dir` again and compares the answers byte for byte. Damage in the log is
/// reported and skipped, so that one bad sector does not hide the rest. The log may be written meanwhile: what is
/// there when its end is reached is the end.
///
/// # Errors
/// [`Error::Log`] when the log cannot be read or was written by a later version, [`Error::TooManyThreads`].
pub fn verify(
    log_dir: &Path,
    source: &dyn SnapshotSource,
    options: Options<'_>,
) -> Result<VerifyReport, Error> {
    let started = Instant::now();
    let threads = threads(options.threads)?;
    let mut reader = Reader::open(log_dir)?;
    let snapshots = Snapshots::new(source);
    let (feed, chunks) = sync_channel(threads * WAITING_CHUNKS);
    let chunks = Arc::new(Mutex::new(chunks));
    let (read, mut tally) = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let (chunks, checker) = (Arc::clone(&chunks), Checker::new(log_dir, &snapshots));
                scope.spawn(move || work(&chunks, checker))
            })
            .collect();
        // Only workers hold the receiver now: should all of them die, reading fails instead of waiting for them.
        drop(chunks);
        let read = Feeding { feed, chunk: Chunk::default(), records: 0, progress: options.progress }
            .read_log(&mut reader);
        let mut tally = Tally::default();
        // All are joined before one that died is told: a scope does not forgive a panic that nobody has looked at.
        let ended: Vec<_> = workers.into_iter().map(ScopedJoinHandle::join).collect();
        for worker in ended {
            tally.add(worker.map_err(|_| Error::ThreadDied)?);
        }
        Ok::<_, Error>((read?, tally))
    })?;
    let (found, truncated_tail) = read;
    tally.add(found);
    if let Some((_, error)) = tally.fatal {
        return Err(error.into());
    }
    Ok(report(&tally, truncated_tail, started))
}

fn threads(asked: usize) -> Result<usize, Error> {
    match asked {
        0 => Ok(std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS)),
        1..=MAX_THREADS => Ok(asked),
        found => Err(Error::TooManyThreads { found, limit: MAX_THREADS }),
    }
}

/// One thread: takes chunks until there are no more.
fn work(chunks: &Mutex<Receiver<Chunk>>, mut checker: Checker<'_>) -> Tally {
    loop {
        let chunk = chunks.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(chunk) = chunk else { return checker.tally };
        checker.check(&chunk);
    }
}

/// The reading thread's work.
struct Feeding<'a> {
    feed: SyncSender<Chunk>,
    chunk: Chunk,
    records: u64,
    progress: &'a dyn Fn(u64),
}

impl Feeding<'_> {
    /// Reads the log to its end; damage goes into the tally.
    fn read_log(mut self, reader: &mut Reader) -> Result<(Tally, Option<TruncatedTail>), LogError> {
        let mut found = Tally::default();
        let mut truncated_tail = None;
        let mut looks = 0;
        loop {
            let error = match reader.next_bytes() {
                Ok(Some((position, bytes))) => {
                    let start = self.chunk.bytes.len();
                    self.chunk.bytes.extend_from_slice(bytes);
                    self.chunk.records.push((position, start..self.chunk.bytes.len()));
                    self.records += 1;
                    looks = 0;
                    let full =
                        self.chunk.bytes.len() >= CHUNK_BYTES || self.chunk.records.len() >= CHUNK_RECORDS;
                    if full && !self.hand_out() {
                        break;
                    }
                    continue;
                }
                Ok(None) => break,
                Err(error) => error,
            };
            match error {
                LogError::TruncatedTail { .. } if looks < TAIL_LOOKS => {
                    looks += 1;
                    // sleep: a live server may be half way through this write, which is done in a moment.
                    std::thread::sleep(TAIL_PAUSE);
                }
                LogError::TruncatedTail { file, offset, bytes } => {
                    truncated_tail = Some(TruncatedTail { file: file.display().to_string(), offset, bytes });
                    break;
                }
                LogError::Corrupted { .. } | LogError::Gap { .. } => {
                    found.add_fault(reader.next_sequence(), &error);
                    if reader.skip_damage()?.is_none() {
                        break;
                    }
                }
                other => return Err(other),
            }
        }
        self.hand_out();
        Ok((found, truncated_tail))
    }

    /// False when every worker has died, which joining them will tell.
    fn hand_out(&mut self) -> bool {
        let sent = self.feed.send(std::mem::take(&mut self.chunk)).is_ok();
        (self.progress)(self.records);
        sent
    }
}

fn report(tally: &Tally, truncated_tail: Option<TruncatedTail>, started: Instant) -> VerifyReport {
    let elapsed = started.elapsed();
    let report = VerifyReport {
        verdict: Verdict::Identical,
        exit_code: 0,
        records: tally.records,
        equal: tally.equal,
        different: tally.different,
        unverifiable: tally.unverifiable,
        corrupt: tally.corrupt,
        first_differences: tally.differences.clone(),
        missing: tally.missing(),
        first_faults: tally.faults.clone(),
        truncated_tail,
        actions: tally.actions(),
        reasons: tally.reasons(),
        rungs: tally.rungs(),
        engine_version: ENGINE_VERSION,
        elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        records_per_second: tally.records as f64 / elapsed.as_secs_f64().max(1e-9),
    };
    report.settle()
}
