//! The thread that seals closed segments and removes old ones: beside the writer, never in its way.
//!
//! Not here: how a segment is sealed (`sealed`) or removed (`retention`).
//!
//! One segment is worked on at a time and one block of it is in memory. After each block the thread rests for as long
//! as the block took, so that it never takes more than half of one core.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use augur_domain::ContentHash;

use crate::anchor::Anchor;
use crate::bases::list;
use crate::config::{Clock, Retention};
use crate::disk::Disk;
use crate::error::Error;
use crate::file::{Ending, ending};
use crate::format::Record;
use crate::retention::retire;
use crate::sealed::seal;
use crate::segment::path;

/// How often ages are looked at when nothing happens.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// Longest rest after a block.
const LONGEST_REST: Duration = Duration::from_millis(50);

/// What the thread works on.
pub(crate) struct Task {
    pub(crate) disk: Box<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) retention: Retention,
    pub(crate) clock: Clock,
}

/// What the thread has found and done.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Sequence of the first record that is kept.
    pub(crate) first_sequence: AtomicU64,
    /// Segments that are sealed, and those that are closed but not sealed.
    pub(crate) sealed_segments: AtomicU64,
    pub(crate) unsealed_segments: AtomicU64,
    /// Bytes of all segments' files when last looked.
    pub(crate) file_bytes: AtomicU64,
    /// Since the log was begun.
    pub(crate) removed_segments: AtomicU64,
    /// Attempts to seal or to remove that failed since the log was opened.
    pub(crate) failures: AtomicU64,
}

/// The thread. Dropping it stops the work under way.
pub(crate) struct Sealer {
    waker: Option<Waker>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Tells the thread that there may be something to do; never waits for it.
#[derive(Clone)]
pub(crate) struct Waker(SyncSender<()>);

impl Waker {
    pub(crate) fn wake(&self) {
        // One that waits already is enough.
        let _ = self.0.try_send(());
    }
}

impl Sealer {
    /// Starts the thread, which looks at everything first.
    pub(crate) fn start<R: Record>(task: Task, progress: Arc<Progress>) -> std::io::Result<Self> {
        let (waker, woken) = sync_channel(1);
        let stopping = Arc::new(AtomicBool::new(false));
        let mut work =
            Work { task, progress, stopping: Arc::clone(&stopping), sealed: BTreeMap::new(), given_up: None };
        let thread = std::thread::Builder::new()
            .name(R::FORMAT.sealer.to_owned())
            .spawn(move || work.run::<R>(&woken))?;
        Ok(Self { waker: Some(Waker(waker)), stopping, thread: Some(thread) })
    }

    pub(crate) fn waker(&self) -> Option<Waker> {
        self.waker.clone()
    }

    /// Ends the thread; a segment that was being sealed stays as it was.
    pub(crate) fn stop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        self.waker = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that seals a log died");
        }
    }
}

impl Drop for Sealer {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Work {
    task: Task,
    progress: Arc<Progress>,
    stopping: Arc<AtomicBool>,
    /// The hashes of the segments that are known to be sealed.
    sealed: BTreeMap<u64, ContentHash>,
    /// A damaged segment that is not tried again.
    given_up: Option<u64>,
}

impl Work {
    fn run<R: Record>(&mut self, woken: &Receiver<()>) {
        loop {
            self.tidy::<R>();
            match woken.recv_timeout(LOOK_INTERVAL) {
                _ if self.is_stopping() => return,
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Seals what is closed, in order, and removes what is old.
    fn tidy<R: Record>(&mut self) {
        let (dir, log) = (self.task.dir.display().to_string(), R::FORMAT.name);
        if let Err(error) = self.seal_closed::<R>() {
            if matches!(error, Error::Closed) {
                return;
            }
            self.progress.failures.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%error, dir, log, "a closed segment was not sealed; it stays as it is");
        }
        let (retention, now) = (self.task.retention, self.task.clock.now());
        match retire(R::FORMAT, self.task.disk.as_mut(), &self.task.dir, retention, now) {
            Ok(0) => {}
            Ok(segments) => tracing::info!(segments, dir, log, "removed old segments of a log"),
            Err(error) => {
                self.progress.failures.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%error, dir, log, "old segments of a log were not removed");
            }
        }
        if let Err(error) = self.survey::<R>() {
            tracing::warn!(%error, dir, log, "a log's files could not be counted");
        }
    }

    /// Seals every closed segment that is not, so that each is chained to the one before.
    fn seal_closed<R: Record>(&mut self) -> Result<(), Error> {
        let dir = self.task.dir.clone();
        let bases = list(R::FORMAT, &dir)?;
        let mut previous: ContentHash = Anchor::read(R::FORMAT, &dir)?.previous;
        for (base, successor) in bases.as_slice().iter().zip(bases.as_slice().iter().skip(1)) {
            if let Some(hash) = self.hash_of::<R>(*base)? {
                previous = hash;
                continue;
            }
            if self.given_up == Some(*base) {
                return Ok(());
            }
            let stopping = Arc::clone(&self.stopping);
            let mut rest = |worked: Duration| {
                // sleep: the rest that keeps this thread out of the way of those that answer.
                std::thread::sleep(worked.min(LONGEST_REST));
                !stopping.load(Ordering::Acquire)
            };
            let sealed = seal::<R>(self.task.disk.as_mut(), &dir, *base, *successor, previous, &mut rest);
            if let Err(error) = &sealed
                && !matches!(error, Error::Io { .. } | Error::Closed)
            {
                self.given_up = Some(*base);
            }
            previous = sealed?.hash;
            self.sealed.insert(*base, previous);
            self.progress.sealed_segments.fetch_add(1, Ordering::Relaxed);
            let _ =
                self.progress
                    .unsealed_segments
                    .try_update(Ordering::Relaxed, Ordering::Relaxed, |closed| closed.checked_sub(1));
        }
        Ok(())
    }

    /// The hash of a segment, if it is sealed.
    fn hash_of<R: Record>(&mut self, base: u64) -> Result<Option<ContentHash>, Error> {
        if let Some(hash) = self.sealed.get(&base) {
            return Ok(Some(*hash));
        }
        let (_, Ending::Sealed(footer)) = ending(R::FORMAT, &self.task.dir, base)? else { return Ok(None) };
        self.sealed.insert(base, footer.hash);
        Ok(Some(footer.hash))
    }

    fn survey<R: Record>(&mut self) -> Result<(), Error> {
        let dir = &self.task.dir;
        let bases = list(R::FORMAT, dir)?;
        let anchor = Anchor::read(R::FORMAT, dir)?;
        let mut file_bytes = 0;
        for base in bases.as_slice() {
            let path = path(dir, *base);
            let data = std::fs::metadata(&path).map_err(|error| Error::io("inspect", &path, error))?;
            file_bytes += data.len();
        }
        self.sealed.retain(|base, _| *base >= anchor.first_sequence);
        let sealed = self.sealed.len() as u64;
        // The last one is being written.
        let closed = (bases.as_slice().len() as u64).saturating_sub(1);
        let progress = &self.progress;
        progress.first_sequence.store(anchor.first_sequence, Ordering::Relaxed);
        progress.sealed_segments.store(sealed, Ordering::Relaxed);
        progress.unsealed_segments.store(closed.saturating_sub(sealed), Ordering::Relaxed);
        progress.file_bytes.store(file_bytes, Ordering::Relaxed);
        progress.removed_segments.store(anchor.removed_segments, Ordering::Relaxed);
        Ok(())
    }
}
