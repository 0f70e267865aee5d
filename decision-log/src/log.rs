//! The writing side as its owner sees it: open, append, close; and the one thread behind it.
//!
//! Not here: the queue (`queue`), the files (`writer`), mending (`recovery`).
//!
//! The thread takes everything that is queued, writes it in one go, and then tells the callers; what arrives in
//! the meantime forms the next group. Under load groups grow and the cost per record falls. Syncs that nobody waits
//! for run on a second thread (`syncer`), and full segments are sealed by a third (`sealer`).

use std::cell::Cell;
use std::fs::{File, TryLockError};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::backlog::Backlog;
use crate::config::{Config, Durability, MAX_RECORD_BYTES};
use crate::disk::{Disk, SystemDisk};
use crate::error::Error;
use crate::format::{Format, Record};
use crate::queue::{Batch, Done, Queue, Waiting, Wake, begin_frame, finish_frame};
use crate::recovery::recover;
use crate::sealer::{Progress, Sealer, Task, Waker};
use crate::syncer::{Asked, Syncer};
use crate::writer::{Limits, Writer};

/// The name of the file that a writer holds locked.
const LOCK_FILE: &str = "LOCK";
/// A buffer that grew beyond this many bytes is not kept for the next record.
const KEPT_BUFFER_BYTES: usize = 256 * 1024;

thread_local! {
    /// Where a caller's thread encodes before it takes the queue's lock.
    static FRAME: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The one writer of a directory.
pub struct SegmentedLog<R> {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<(), Error>>>,
    sealer: Option<Sealer>,
    durability: Durability,
    /// Held for as long as the log is open; the operating system lets go when the process ends, however it ends.
    _lock: File,
    format: &'static Format,
    holds: PhantomData<fn(&R)>,
}

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The sequence that the next record will get.
    pub next_sequence: u64,
    /// The sequence of the first record that is kept.
    pub first_sequence: u64,
    /// Segments found.
    pub segments: usize,
    /// The unfinished end that was cut off, if there was one.
    pub truncated: Option<TruncatedTail>,
}

/// An unfinished end that was cut off. Its record was never acknowledged as synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TruncatedTail {
    /// The segment.
    pub file: PathBuf,
    /// Its length now; 0 when the file held no finished header and was removed.
    pub offset: u64,
    /// How many bytes were dropped.
    pub bytes: u64,
}

/// Where the writer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Bytes waiting for the writer or being written.
    pub queued_bytes: usize,
    /// The last sequence that has left the process, 0 if none.
    pub written_sequence: u64,
    /// The last sequence known to be on the disk, 0 if none.
    pub synced_sequence: u64,
    /// The first sequence that is kept; 1 unless segments were removed.
    pub first_sequence: u64,
    /// Segments that are sealed.
    pub sealed_segments: u64,
    /// Segments that are full and not yet sealed.
    pub unsealed_segments: u64,
    /// Bytes of all segments' files, as of the last time that one was sealed or removed, or of the last minute.
    pub file_bytes: u64,
    /// Segments removed since the log was begun.
    pub removed_segments: u64,
    /// How often a segment could not be sealed or removed since the log was opened.
    pub sealing_failures: u64,
    /// Whether the log has stopped writing; see [`Error::Failed`].
    pub failed: bool,
}

struct Shared {
    queue: Queue,
    sealing: Arc<Progress>,
    written_sequence: AtomicU64,
    synced_sequence: AtomicU64,
}

impl<R: Record> std::fmt::Debug for SegmentedLog<R> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct(self.format.name).field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl<R: Record> SegmentedLog<R> {
    /// Opens the log in `config.dir` for writing, creating the directory if need be. An unfinished record at the
    /// end of the last segment is removed and reported. Cost: the last segment is read, of the others only their
    /// ends.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`], [`Error::Locked`], [`Error::Io`]; [`Error::Corrupted`], [`Error::Gap`] or
    /// [`Error::UnsupportedVersion`] when the directory holds anything that a crash does not explain. Nothing is
    /// changed then.
    pub fn open(config: Config) -> Result<(Self, Recovery), Error> {
        Self::open_on(Box::new(SystemDisk), config)
    }

    pub(crate) fn open_on(disk: Box<dyn Disk>, config: Config) -> Result<(Self, Recovery), Error> {
        config.validate()?;
        let Config { dir, queue_bytes, sync_interval, durability, .. } = config;
        create_dir(&dir)?;
        let lock = lock(&dir)?;
        let (resume, recovery) = recover(R::FORMAT, &dir)?;
        if let Some(tail) = &recovery.truncated {
            tracing::warn!(
                file = %tail.file.display(), offset = tail.offset, bytes = tail.bytes,
                log = R::FORMAT.name, "removed an unfinished record from the end of the log"
            );
        }
        let last = AtomicU64::new(recovery.next_sequence - 1);
        let sealing = Arc::new(Progress::default());
        sealing.first_sequence.store(recovery.first_sequence, Ordering::Relaxed);
        let shared = Arc::new(Shared {
            queue: Queue::new(queue_bytes),
            sealing: Arc::clone(&sealing),
            written_sequence: AtomicU64::new(last.load(Ordering::Relaxed)),
            synced_sequence: last,
        });
        let age_ms = config.segment_age.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        let limits = Limits { bytes: config.segment_bytes, age_ms };
        let task =
            Task { disk: disk.again(), dir: dir.clone(), retention: config.retention, clock: config.clock };
        let writer = Writer::open(R::FORMAT, disk, &dir, limits, durability, resume)?;
        let syncer = start_syncer(R::FORMAT, &shared, &dir)?;
        let sealer = match config.seal {
            false => None,
            true => Some(
                Sealer::start::<R>(task, sealing)
                    .map_err(|error| Error::io("start the sealer of", &dir, error))?,
            ),
        };
        let worker = Worker {
            format: R::FORMAT,
            shared: Arc::clone(&shared),
            writer,
            syncer,
            durability,
            sync_interval,
            sync_due: None,
            backlog: Backlog::default(),
            sealer: sealer.as_ref().and_then(Sealer::waker),
        };
        let thread = std::thread::Builder::new()
            .name(R::FORMAT.name.to_owned())
            .spawn(move || worker.run())
            .map_err(|error| Error::io("start the writer of", &dir, error))?;
        let log = Self {
            shared,
            thread: Some(thread),
            sealer,
            durability,
            _lock: lock,
            format: R::FORMAT,
            holds: PhantomData,
        };
        Ok((log, recovery))
    }

    /// Queues `record`, whose own `sequence` is ignored, and returns at once. `done` runs on the writer's thread,
    /// once, with the sequence that the record got or the reason why it was not logged; it must not block. When
    /// `append` itself returns an error, `done` is never called.
    ///
    /// # Errors
    /// [`Error::QueueFull`], [`Error::RecordTooLarge`], [`Error::Failed`] or [`Error::Closed`].
    pub fn append(
        &self,
        record: &R,
        done: impl FnOnce(Result<u64, Error>) + Send + 'static,
    ) -> Result<(), Error> {
        let mut frame = FRAME.take();
        begin_frame(&mut frame);
        record.encode(&mut frame);
        let limit_bytes = MAX_RECORD_BYTES.min(self.shared.queue.limit_bytes());
        let queued = if frame.len() > limit_bytes {
            Err(Error::RecordTooLarge { bytes: frame.len(), limit_bytes })
        } else {
            self.shared.queue.push(&frame, record.made_at(), done)
        };
        if frame.capacity() <= KEPT_BUFFER_BYTES {
            FRAME.set(frame);
        }
        queued
    }

    /// Where the writer stands.
    pub fn stats(&self) -> Stats {
        let sealing = &self.shared.sealing;
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Stats {
            first_sequence: read(&sealing.first_sequence),
            sealed_segments: read(&sealing.sealed_segments),
            unsealed_segments: read(&sealing.unsealed_segments),
            file_bytes: read(&sealing.file_bytes),
            removed_segments: read(&sealing.removed_segments),
            sealing_failures: read(&sealing.failures),
            queued_bytes: self.shared.queue.held_bytes(),
            written_sequence: self.shared.written_sequence.load(Ordering::Acquire),
            synced_sequence: self.shared.synced_sequence.load(Ordering::Acquire),
            failed: self.shared.queue.failure().is_some(),
        }
    }

    /// What has happened to a record before its caller is told.
    pub const fn durability(&self) -> Durability {
        self.durability
    }

    /// Writes and syncs what is queued and stops the writer. Dropping does the same and keeps errors to itself.
    ///
    /// # Errors
    /// The failure of the last sync, or [`Error::Failed`] when the log had stopped before.
    pub fn close(mut self) -> Result<(), Error> {
        self.stop()
    }
}

impl<R> SegmentedLog<R> {
    fn stop(&mut self) -> Result<(), Error> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        self.shared.queue.close();
        let written = thread
            .join()
            .unwrap_or_else(|_| Err(Error::Failed { cause: "the writer's thread died".to_owned() }));
        self.sealer = None;
        written
    }
}

impl<R> Drop for SegmentedLog<R> {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::error!(%error, log = self.format.name, "the log did not close cleanly");
        }
    }
}

/// Creates the directory and makes its name durable: a synced record is worth nothing in a directory that a power
/// cut takes away.
fn create_dir(dir: &Path) -> Result<(), Error> {
    if dir.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(dir).map_err(|error| Error::io("create", dir, error))?;
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    SystemDisk.sync_dir(parent).map_err(|error| Error::io("sync", parent, error))
}

/// Starts the thread of the syncs that nobody waits for. After a failed one there is no way to tell what is on the
/// disk, so the log stops.
fn start_syncer(format: &'static Format, shared: &Arc<Shared>, dir: &Path) -> Result<Syncer, Error> {
    let (shared, path) = (Arc::clone(shared), dir.to_owned());
    let told = move |sequence, synced: std::io::Result<()>| match synced {
        Ok(()) => {
            shared.synced_sequence.fetch_max(sequence, Ordering::AcqRel);
        }
        Err(error) => {
            let error = Error::io("sync", &path, error);
            tracing::error!(%error, log = format.name, "the log stops writing");
            shared.queue.fail(&error.to_string());
        }
    };
    Syncer::start(format.syncer, told).map_err(|error| Error::io("start the syncer of", dir, error))
}

/// Takes the directory for this process.
fn lock(dir: &Path) -> Result<File, Error> {
    let path = dir.join(LOCK_FILE);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| Error::io("open", &path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { path }),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", &path, error)),
    }
}

/// The thread.
struct Worker {
    format: &'static Format,
    shared: Arc<Shared>,
    writer: Writer,
    syncer: Syncer,
    durability: Durability,
    sync_interval: Duration,
    /// When what is written must be synced.
    sync_due: Option<Instant>,
    backlog: Backlog,
    /// Told when a segment was closed.
    sealer: Option<Waker>,
}

impl Worker {
    fn run(mut self) -> Result<(), Error> {
        let mut batch = Batch::default();
        loop {
            let wake = self.shared.queue.take(&mut batch, self.sync_due);
            if let Some(cause) = self.shared.queue.failure() {
                self.writer.fail(cause);
            }
            match wake {
                Wake::Batch => self.write(&mut batch),
                Wake::Time => {}
                Wake::Closed => {
                    // A sync under way may fail yet.
                    self.syncer.stop();
                    if let Some(cause) = self.shared.queue.failure() {
                        self.writer.fail(cause);
                    }
                    let closed = self.writer.close();
                    self.note(closed.is_ok());
                    return closed;
                }
            }
            if self.sync_due.is_some_and(|due| due <= Instant::now()) {
                self.sync();
            }
        }
    }

    /// Writes a batch, as many groups as it has segments, and tells every caller.
    fn write(&mut self, batch: &mut Batch) {
        let mut frames = batch.frames.as_mut_slice();
        let mut records = batch.records.drain(..).peekable();
        while let Some(first) = records.peek() {
            let room = match self.writer.prepare(first.now, || self.shared.queue.failure()) {
                Ok(room) => room,
                Err(error) => {
                    self.note(false);
                    self.shared.queue.release(frames.len());
                    for Waiting { done, .. } in records {
                        tell(done, Err(error.clone()));
                    }
                    break;
                }
            };
            if self.writer.is_synced() {
                self.note(true);
            }
            if self.writer.take_closed()
                && let Some(sealer) = &self.sealer
            {
                sealer.wake();
            }
            let mut group = Group::default();
            while let Some(record) = records.next_if(|_| (group.bytes as u64) < room) {
                group.bytes += record.frame_bytes;
                group.done.push((record.frame_bytes, record.done));
            }
            let (head, rest) = std::mem::take(&mut frames).split_at_mut(group.bytes);
            frames = rest;
            self.write_group(head, group);
        }
        batch.frames.clear();
    }

    /// Writes the frames of one segment in one go and tells their callers.
    fn write_group(&mut self, frames: &mut [u8], group: Group) {
        let first = self.writer.next_sequence();
        let seed = self.writer.seed();
        let mut rest = &mut *frames;
        for (sequence, (frame_bytes, _)) in (first..).zip(&group.done) {
            let (frame, behind) = std::mem::take(&mut rest).split_at_mut(*frame_bytes);
            finish_frame(frame, sequence, seed);
            rest = behind;
        }
        let mut outcome = self.writer.write(frames, group.done.len() as u64);
        if outcome.is_ok() && self.durability == Durability::Synced {
            outcome = self.writer.sync();
        }
        if outcome.is_ok() {
            self.backlog.wrote(Instant::now());
        }
        self.note(self.durability == Durability::Synced && outcome.is_ok());
        if self.sync_due.is_none() && self.durability == Durability::Written && self.writer.failed().is_none()
        {
            self.sync_due = Some(Instant::now() + self.sync_interval);
        }
        // Before anybody is told: whoever waits for an answer to append again finds room.
        self.shared.queue.release(group.bytes);
        for (sequence, (_, done)) in (first..).zip(group.done) {
            tell(done, outcome.clone().map(|()| sequence));
        }
    }

    fn sync(&mut self) {
        self.sync_due = None;
        self.backlog.synced(self.shared.synced_sequence.load(Ordering::Acquire));
        if let Some(waited) = self.backlog.overdue(Instant::now(), self.sync_interval) {
            let log = self.format.name;
            tracing::warn!(?waited, log, "the disk does not keep up with the log, which waits for it");
            return self.sync_here();
        }
        let request = match self.writer.sync_request() {
            None => return,
            Some(Ok(request)) => request,
            Some(Err(error)) => {
                tracing::warn!(%error, log = self.format.name, "the log is synced by its writer");
                return self.sync_here();
            }
        };
        let sequence = request.sequence;
        match self.syncer.request(request) {
            Asked::Taken => self.backlog.requested(sequence),
            Asked::Behind => self.sync_due = Some(Instant::now() + self.sync_interval),
            Asked::Gone => self.sync_here(),
        }
    }

    /// Syncs on this thread, so that nothing more is written until it is done.
    fn sync_here(&mut self) {
        let synced = self.writer.sync();
        self.note(synced.is_ok());
    }

    /// Publishes where the writer stands.
    fn note(&mut self, synced: bool) {
        let written = self.writer.next_sequence() - 1;
        self.shared.written_sequence.store(written, Ordering::Release);
        if synced {
            self.shared.synced_sequence.fetch_max(written, Ordering::AcqRel);
            self.backlog.clear();
        }
        if let Some(cause) = self.writer.failed() {
            self.shared.queue.fail(cause);
        }
    }
}

impl Drop for Worker {
    /// Whatever ends the thread, nobody waits for an answer that will not come.
    fn drop(&mut self) {
        for Waiting { done, .. } in self.shared.queue.abandon().records {
            tell(done, Err(Error::Closed));
        }
    }
}

/// Records that go into one segment together.
#[derive(Default)]
struct Group {
    bytes: usize,
    done: Vec<(usize, Done)>,
}

/// Tells a caller; one that panics takes nobody with it.
fn tell(done: Done, outcome: Result<u64, Error>) {
    if catch_unwind(AssertUnwindSafe(|| done(outcome))).is_err() {
        tracing::error!("a caller of a log panicked while it was told what became of its record");
    }
}

#[cfg(test)]
mod tests;
