//! The control replay: the same policy and models over the same inputs must give the same bytes.
//!
//! Not here: deciding one record again (`check`), what was done before (`progress_file`), or what the findings mean
//! (`report`).
//!
//! What a decision depended on is in its record, so segments are replayed in any order, by as many threads as there are:
//! each takes the next one, reads it and decides. A thread holds one block of one segment at a time.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use augur_decision::ENGINE_VERSION;
use augur_decision_log::{Error as LogError, Position, Reader};

use crate::check::{Checker, Snapshots, Tally};
use crate::error::Error;
use crate::progress_file::ProgressFile;
use crate::report::{TruncatedTail, Verdict, VerifyReport};
use crate::source::SnapshotSource;

/// Most threads that may be asked for.
const MAX_THREADS: usize = 256;
/// A thread tells how far it is after this many records.
const TELL_EVERY: u64 = 4_096;
/// How often an unfinished end is looked at again before it is called one, and how long apart.
const TAIL_LOOKS: u32 = 5;
const TAIL_PAUSE: Duration = Duration::from_millis(10);

/// How to replay.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Threads that read and decide, a segment at a time; 0 means one per core. At most 256.
    pub threads: usize,
    /// Told, on the caller's thread, how many records have been replayed so far.
    pub progress: &'a dyn Fn(u64),
    /// Where to note which segments came out the same, and to go on from when some are noted there.
    pub resume: Option<&'a Path>,
}

impl std::fmt::Debug for Options<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut fields = formatter.debug_struct("Options");
        fields.field("threads", &self.threads).field("resume", &self.resume).finish_non_exhaustive()
    }
}

impl Default for Options<'_> {
    /// One thread per core, nobody told of progress, and nothing noted.
    fn default() -> Self {
        Self { threads: 0, progress: &|_| (), resume: None }
    }
}

/// Decides every record of the log in `log_dir` again and compares the answers byte for byte. Damage in the log is
/// reported and skipped, so that one bad sector does not hide the rest. The log may be written meanwhile: what is
/// there when its end is reached is the end.
///
/// With `options.resume`, sealed segments that were replayed before without a finding, and are what they were, are counted
/// and not replayed again.
///
/// # Errors
/// [`Error::Log`] when the log cannot be read or was written by a later version, [`Error::TooManyThreads`],
/// [`Error::ProgressFile`].
pub fn verify(
    log_dir: &Path,
    source: &dyn SnapshotSource,
    options: Options<'_>,
) -> Result<VerifyReport, Error> {
    let started = Instant::now();
    let threads = threads(options.threads)?;
    let mut noted = options.resume.map(|path| ProgressFile::open(path, log_dir)).transpose()?;
    let mut tally = Tally::default();
    let spans = spans(log_dir, noted.as_ref(), &mut tally)?;
    let snapshots = Snapshots::new(source);
    let next = AtomicUsize::new(0);
    let (teller, told) = channel();
    let truncated_tail = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.min(spans.len().max(1)))
            .map(|_| {
                let work = Work { log_dir, spans: &spans, next: &next, told: teller.clone() };
                let checker = Checker::new(log_dir, &snapshots);
                scope.spawn(move || work.run(checker))
            })
            .collect();
        // Only workers hold a teller now: should all of them die, waiting for them ends.
        drop(teller);
        let mut truncated_tail = None;
        let mut failed = None;
        let mut records = tally.records;
        for news in told {
            match news {
                News::Records(more) => {
                    records += more;
                    (options.progress)(records);
                }
                News::Done { span, replayed, tail } => {
                    truncated_tail = truncated_tail.or(tail);
                    if let Some(noted) = &mut noted
                        && replayed.is_clean()
                        && let Some(until) = span.until
                    {
                        failed = failed.or(noted.add(span.base, until, &replayed).err());
                    }
                    tally.add(*replayed);
                }
                News::Failed(error) => failed = failed.or(Some(error.into())),
            }
        }
        // All are joined before one that died is told: a scope does not forgive a panic that nobody has looked at.
        let ended: Vec<_> = workers.into_iter().map(ScopedJoinHandle::join).collect();
        for worker in ended {
            worker.map_err(|_| Error::ThreadDied)?;
        }
        if let Some(noted) = &mut noted {
            failed = failed.or(noted.write().err());
        }
        failed.map_or(Ok(truncated_tail), Err)
    })?;
    if let Some((_, error)) = tally.fatal {
        return Err(error.into());
    }
    (options.progress)(tally.records);
    Ok(report(&tally, truncated_tail, started))
}

fn threads(asked: usize) -> Result<usize, Error> {
    match asked {
        0 => Ok(std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS)),
        1..=MAX_THREADS => Ok(asked),
        found => Err(Error::TooManyThreads { found, limit: MAX_THREADS }),
    }
}

/// What one thread replays at a time: a segment; the last two together, for whether the last is torn or damaged can
/// only be told behind the one before.
#[derive(Debug, Clone, Copy)]
struct Span {
    base: u64,
    /// Where the next span begins; the last one has no end.
    until: Option<u64>,
    /// Whether the log begins here.
    first: bool,
}

/// What is left to be replayed; what was before goes into `tally`.
fn spans(log_dir: &Path, noted: Option<&ProgressFile>, tally: &mut Tally) -> Result<Vec<Span>, Error> {
    let reader = Reader::open(log_dir)?;
    let bases = reader.segments();
    let starts =
        bases.split_last().map_or(bases, |(_, earlier)| if earlier.is_empty() { bases } else { earlier });
    let ends = starts.iter().skip(1).copied().map(Some).chain([None]);
    let mut spans = Vec::with_capacity(starts.len());
    for (index, (base, until)) in starts.iter().zip(ends).enumerate() {
        let done = match (noted, until) {
            (Some(noted), Some(until)) => noted.take(*base, until),
            _ => None,
        };
        match done {
            Some(before) => tally.add(before),
            None => spans.push(Span { base: *base, until, first: index == 0 }),
        }
    }
    if bases.is_empty() {
        spans.push(Span { base: 1, until: None, first: true });
    }
    Ok(spans)
}

/// What a thread tells.
enum News {
    /// So many more records are replayed.
    Records(u64),
    /// A span is replayed.
    Done { span: Span, replayed: Box<Tally>, tail: Option<TruncatedTail> },
    /// The log cannot be read.
    Failed(LogError),
}

/// One thread's work.
struct Work<'a> {
    log_dir: &'a Path,
    spans: &'a [Span],
    /// Which span is taken next, by whoever is free.
    next: &'a AtomicUsize,
    told: Sender<News>,
}

impl Work<'_> {
    fn run(self, mut checker: Checker<'_>) {
        while let Some(span) = self.spans.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let news = match self.replay(*span, &mut checker) {
                Ok(tail) => {
                    let replayed = Box::new(std::mem::take(&mut checker.tally));
                    News::Done { span: *span, replayed, tail }
                }
                Err(error) => News::Failed(error),
            };
            let failed = matches!(news, News::Failed(_));
            if self.told.send(news).is_err() || failed {
                return;
            }
        }
    }

    /// Replays one span; damage goes into the tally.
    fn replay(&self, span: Span, checker: &mut Checker<'_>) -> Result<Option<TruncatedTail>, LogError> {
        let mut reader = if span.first {
            Reader::open(self.log_dir)?
        } else {
            Reader::open_from(self.log_dir, span.base)?
        };
        let beyond = |sequence: u64| span.until.is_some_and(|until| sequence >= until);
        let mut looks = 0;
        let mut untold = 0;
        let tail = loop {
            let error = match reader.next_bytes() {
                // Behind its last record the end of a segment was looked at, too.
                Ok(Some((position, _))) if beyond(position.segment) => break None,
                Ok(Some((position, bytes))) => {
                    checker.check(position, bytes);
                    looks = 0;
                    untold += 1;
                    if untold == TELL_EVERY {
                        let _ = self.told.send(News::Records(std::mem::take(&mut untold)));
                    }
                    continue;
                }
                Ok(None) => break None,
                Err(error) => error,
            };
            match error {
                LogError::TruncatedTail { .. } if looks < TAIL_LOOKS => {
                    looks += 1;
                    // sleep: a live server may be half way through this write, which is done in a moment.
                    std::thread::sleep(TAIL_PAUSE);
                }
                LogError::TruncatedTail { file, offset, bytes } => {
                    break Some(TruncatedTail { file: file.display().to_string(), offset, bytes });
                }
                // The next span's damage is told there.
                LogError::Corrupted { ref file, .. } if self.is_next(span, file) => break None,
                // What was removed meanwhile was kept long enough.
                LogError::Removed { .. } => {
                    if reader.skip_damage()?.is_none() || beyond(reader.next_sequence()) {
                        break None;
                    }
                }
                LogError::Corrupted { .. } | LogError::Gap { .. } => {
                    checker.tally.add_fault(reader.next_sequence(), &error);
                    if reader.skip_damage()?.is_none() || beyond(reader.next_sequence()) {
                        break None;
                    }
                }
                other => return Err(other),
            }
        };
        let _ = self.told.send(News::Records(untold));
        Ok(tail)
    }

    /// Whether `file` is where the next span begins.
    fn is_next(&self, span: Span, file: &Path) -> bool {
        span.until.is_some_and(|until| {
            Position { sequence: until, segment: until, offset: 0 }.file(self.log_dir) == file
        })
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
