//! One ingest, spread over writers: takes room in their queues, collects what each says and answers once all have.
//!
//! Not here: how events are split, or what becomes of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use augur_domain::event::EventOutcome;
use augur_domain::{Event, UserKey};
use parking_lot::Mutex;

use crate::{Error, event_record};

pub(super) type Done = Box<dyn FnOnce(Result<Vec<EventOutcome>, Error>) + Send>;

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
    /// `outcomes` holds what is settled already; the others are overwritten.
    pub(super) fn new(outcomes: Vec<EventOutcome>, parts: usize, done: Done) -> Arc<Self> {
        let progress = Progress { outcomes, parts_open: parts, error: None, done: Some(done) };
        Arc::new(Self { progress: Mutex::new(progress) })
    }

    fn finish_part(&self, events: &[(usize, Queued)], result: Result<Vec<EventOutcome>, Error>) {
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

/// What waits in one shard's queue or is being written. Bounds the queue: the channel holds whatever this lets through.
#[derive(Debug, Default)]
pub(super) struct Room {
    events: AtomicUsize,
    bytes: AtomicUsize,
}

/// Bounds of a [`Room`], or a part of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

impl Room {
    /// Takes room, or says what is full: how much waits, the bound and its unit.
    pub(super) fn take(&self, wanted: Limits, limits: Limits) -> Result<(), (usize, usize, &'static str)> {
        let events = self.events.fetch_add(wanted.events, Ordering::AcqRel);
        let bytes = self.bytes.fetch_add(wanted.bytes, Ordering::AcqRel);
        let full = if events.saturating_add(wanted.events) > limits.events {
            (events, limits.events, "events")
        } else if bytes.saturating_add(wanted.bytes) > limits.bytes && bytes > 0 {
            (bytes, limits.bytes, "bytes")
        } else {
            return Ok(());
        };
        self.give_back(wanted);
        Err(full)
    }

    pub(super) fn give_back(&self, taken: Limits) {
        self.events.fetch_sub(taken.events, Ordering::AcqRel);
        self.bytes.fetch_sub(taken.bytes, Ordering::AcqRel);
    }

    pub(super) fn events(&self) -> usize {
        self.events.load(Ordering::Relaxed)
    }
}

/// An event on its way to the log of a person.
#[derive(Debug)]
pub(super) struct Queued {
    /// Under the person's key.
    pub(super) event: Event,
    /// The id under which it came, if that is another one.
    pub(super) origin: Option<UserKey>,
    /// An id that must be linked to the person by now, or the event is not stored.
    pub(super) needs: Option<UserKey>,
}

/// The events of a request that belong to one shard, each with its place in the request.
#[derive(Debug, Default)]
pub(super) struct Share {
    pub(super) events: Vec<(usize, Queued)>,
    /// Approximately.
    pub(super) bytes: usize,
}

impl Share {
    pub(super) fn push(&mut self, index: usize, event: Queued) {
        self.bytes = self.bytes.saturating_add(event_record::approximate_bytes(&event.event));
        self.events.push((index, event));
    }
}

/// A share on its way. Dropped unfinished, it answers [`Error::Closed`], so that no
/// caller waits for ever.
pub(super) struct Part {
    pub(super) share: Share,
    request: Arc<Request>,
    /// Where it took room.
    room: Arc<Room>,
    finished: bool,
}

impl Part {
    pub(super) const fn new(request: Arc<Request>, share: Share, room: Arc<Room>) -> Self {
        Self { share, request, room, finished: false }
    }

    pub(super) fn finish(mut self, result: Result<Vec<EventOutcome>, Error>) {
        self.answer(result);
    }

    fn answer(&mut self, result: Result<Vec<EventOutcome>, Error>) {
        if !std::mem::replace(&mut self.finished, true) {
            self.room.give_back(Limits { events: self.share.events.len(), bytes: self.share.bytes });
            self.request.finish_part(&self.share.events, result);
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.answer(Err(Error::Closed));
    }
}
