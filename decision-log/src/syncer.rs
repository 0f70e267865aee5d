//! Syncs what the writer has written, on a thread of its own: a sync takes as long as many writes, and whoever waits
//! for a write must not wait for it.
//!
//! Not here: when to sync (`log`), or the syncs that must come before something else (`writer`).

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use crate::disk::DiskFile;

/// The thread. Dropping it waits for the sync under way.
pub(crate) struct Syncer {
    requests: Option<SyncSender<Request>>,
    thread: Option<JoinHandle<()>>,
}

/// What a sync is to reach.
pub(crate) struct Request {
    pub(crate) file: Box<dyn DiskFile>,
    /// The last record that `file` holds.
    pub(crate) sequence: u64,
}

impl Syncer {
    /// Starts the thread under `name`; `told` runs on it after every sync, with the sequence up to which it reached.
    pub(crate) fn start(name: &str, told: impl Fn(u64, io::Result<()>) + Send + 'static) -> io::Result<Self> {
        // One under way and one waiting: what a third would cover, the waiting one's successor will.
        let (requests, received) = sync_channel(1);
        let thread =
            std::thread::Builder::new().name(name.to_owned()).spawn(move || sync_all(&received, told))?;
        Ok(Self { requests: Some(requests), thread: Some(thread) })
    }

    /// Asks for a sync.
    pub(crate) fn request(&self, request: Request) -> Asked {
        match self.requests.as_ref().map(|requests| requests.try_send(request)) {
            Some(Ok(())) => Asked::Taken,
            Some(Err(TrySendError::Full(_))) => Asked::Behind,
            Some(Err(TrySendError::Disconnected(_))) | None => Asked::Gone,
        }
    }

    /// Ends the thread once it has done what it was asked for; what it found has been told then.
    pub(crate) fn stop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that syncs a log died");
        }
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The sync will come.
    Taken,
    /// The thread is behind: ask again.
    Behind,
    /// There is no thread any more.
    Gone,
}

fn sync_all(requests: &Receiver<Request>, told: impl Fn(u64, io::Result<()>)) {
    for Request { mut file, sequence } in requests {
        told(sequence, file.sync());
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_died_is_told_from_one_that_is_behind() {
        let syncer = Syncer::start("test", |_, _| panic!("a bug")).unwrap();
        let file = tempfile::tempfile().unwrap();
        let request = || Request { file: Box::new(file.try_clone().unwrap()), sequence: 1 };
        assert_eq!(syncer.request(request()), Asked::Taken);
        while syncer.request(request()) != Asked::Gone {
            std::thread::yield_now();
        }
    }
}
