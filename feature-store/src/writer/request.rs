//! One ingest, spread over writers: collects what each says and answers once all have.
//!
//! Not here: how events are split, or what becomes of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use augur_domain::Event;
use augur_domain::event::EventOutcome;
use parking_lot::Mutex;

use crate::Error;

type Done = Box<dyn FnOnce(Result<Vec<EventOutcome>, Error>) + Send>;

pub(super) struct Request {
    progress: Mutex<Progress>,
}

struct Progress {
    /// One per event, in the order of the request.
    outcomes: Vec<EventOutcome>,
    parts_open: usize,
    error: Option<Error>,
    done: Option<Done>,
}

impl Request {
    pub(super) fn new(events: usize, parts: usize, done: Done) -> Arc<Self> {
        let outcomes = vec![EventOutcome::Duplicate; events];
        let progress = Progress { outcomes, parts_open: parts, error: None, done: Some(done) };
        Arc::new(Self { progress: Mutex::new(progress) })
    }

    fn finish_part(&self, events: &[(usize, Event)], result: Result<Vec<EventOutcome>, Error>) {
        let mut progress = self.progress.lock();
        match result {
            Ok(outcomes) => {
                for ((index, _), outcome) in events.iter().zip(outcomes) {
                    if let Some(slot) = progress.outcomes.get_mut(*index) {
                        *slot = outcome;
                    }
                }
            }
            Err(error) => progress.error = Some(error),
        }
        progress.parts_open = progress.parts_open.saturating_sub(1);
        if progress.parts_open > 0 {
            return;
        }
        let Some(done) = progress.done.take() else { return };
        let answer = match progress.error.take() {
            Some(error) => Err(error),
            None => Ok(std::mem::take(&mut progress.outcomes)),
        };
        drop(progress);
        // A writer outlives the callbacks it runs.
        if catch_unwind(AssertUnwindSafe(|| done(answer))).is_err() {
            tracing::error!("the callback of an ingest panicked");
        }
    }
}

/// The events of a request that belong to one shard. Dropped unfinished, it answers [`Error::Closed`], so that no
/// caller waits for ever.
pub(super) struct Part {
    pub(super) events: Vec<(usize, Event)>,
    request: Arc<Request>,
    /// Gives back the room in the queue.
    queued: Arc<AtomicUsize>,
    finished: bool,
}

impl Part {
    pub(super) const fn new(
        request: Arc<Request>,
        events: Vec<(usize, Event)>,
        queued: Arc<AtomicUsize>,
    ) -> Self {
        Self { events, request, queued, finished: false }
    }

    pub(super) fn finish(mut self, result: Result<Vec<EventOutcome>, Error>) {
        self.answer(result);
    }

    fn answer(&mut self, result: Result<Vec<EventOutcome>, Error>) {
        if !std::mem::replace(&mut self.finished, true) {
            self.queued.fetch_sub(self.events.len(), Ordering::AcqRel);
            self.request.finish_part(&self.events, result);
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.answer(Err(Error::Closed));
    }
}
