//! The threads that wait for the disk, so that those which serve calls never do.
//!
//! A read first asks what is in memory, on the serving thread; only what is not there comes here. Not here: which
//! reads those are (`read`, `decide`), or long work on files, which has threads of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use metrics::Counter;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::Error;

type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of threads behind one bounded queue. Dropping it waits for them, so no read may hold what owns it.
pub(crate) struct StorageThreads {
    jobs: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
    queue: usize,
    taken: Counter,
    refused: Counter,
}

impl std::fmt::Debug for StorageThreads {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let threads = self.threads.len();
        formatter.debug_struct("StorageThreads").field("threads", &threads).finish_non_exhaustive()
    }
}

impl StorageThreads {
    /// Starts `threads` threads with room for `queue` reads that wait. Counts what is taken and what is refused.
    pub(crate) fn start(
        threads: usize,
        queue: usize,
        taken: Counter,
        refused: Counter,
    ) -> Result<Self, Error> {
        let (jobs, waiting) = sync_channel::<Job>(queue);
        let waiting = Arc::new(Mutex::new(waiting));
        let start = |index| {
            let waiting = Arc::clone(&waiting);
            let thread = std::thread::Builder::new().name(format!("augur-storage-{index}"));
            thread.spawn(move || work(&waiting)).map_err(Error::file("start", "storage thread".as_ref()))
        };
        let threads = (0..threads).map(start).collect::<Result<_, _>>()?;
        Ok(Self { jobs: Some(jobs), threads, queue, taken, refused })
    }

    /// Runs `read` on one of the threads.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when the queue is full; [`Error::Internal`] when `read` panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.submit(read)?.await.map_err(|_| Error::Internal)
    }

    /// Queues `read`; when what is returned is dropped before its turn, it is not run at all. The channel closes
    /// without an answer when `read` panicked.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when the queue is full.
    pub(crate) fn submit<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<oneshot::Receiver<T>, Error> {
        let (told, answer) = oneshot::channel();
        let job = move || {
            if !told.is_closed() {
                // Nobody may be waiting any more.
                let _ = told.send(read());
            }
        };
        let queued = self.jobs.as_ref().is_some_and(|jobs| jobs.try_send(Box::new(job)).is_ok());
        if !queued {
            self.refused.increment(1);
            return Err(Error::Overloaded { what: "the queue of reads from disk", limit: self.queue });
        }
        self.taken.increment(1);
        Ok(answer)
    }
}

/// Works off what is queued, then ends.
impl Drop for StorageThreads {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A thread cannot have panicked: it catches what its jobs do.
            let _ = thread.join();
        }
    }
}

fn work(waiting: &Mutex<Receiver<Job>>) {
    loop {
        // The lock is held while waiting: the others wait for it, then for a job.
        let job = waiting.lock().recv();
        let Ok(job) = job else { return };
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            tracing::error!("a read from disk panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn start(threads: usize, queue: usize) -> StorageThreads {
        StorageThreads::start(threads, queue, Counter::noop(), Counter::noop()).unwrap()
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_abandoned_reads_are_not_run() {
        let threads = start(1, 1);
        let (release, held) = mpsc::channel::<()>();
        let (begun, has_begun) = oneshot::channel();
        let holding = threads.run(move || {
            let _ = begun.send(());
            held.recv().unwrap();
            1
        });
        let mut holding = Box::pin(holding);
        assert!(still_waits(&mut holding).await);
        has_begun.await.unwrap();

        // One waits, the next is refused.
        let (ran, has_run) = mpsc::channel::<()>();
        let mut waiting = Box::pin(threads.run(move || ran.send(()).unwrap()));
        assert!(still_waits(&mut waiting).await);
        let refused = threads.run(|| ()).await.unwrap_err();
        assert!(matches!(refused, Error::Overloaded { limit: 1, .. }), "{refused}");

        drop(waiting);
        release.send(()).unwrap();
        assert_eq!(holding.as_mut().await.unwrap(), 1);
        drop(holding);
        // Works off the queue.
        drop(threads);
        assert!(has_run.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_panic_ends_one_read_and_no_thread() {
        let threads = start(1, 4);
        let failed = threads.run(|| panic!("on purpose")).await.unwrap_err();
        assert!(matches!(failed, Error::Internal), "{failed}");
        assert_eq!(threads.run(|| 7).await.unwrap(), 7);
    }

    /// Polls once; whether it is still waiting.
    async fn still_waits<T>(future: &mut (impl Future<Output = T> + Unpin)) -> bool {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending())
        })
        .await
    }
}
