//! Work other than ingest that must not overlap with a user's events: it takes its turn in the queue of the user's
//! shard, after every event that was queued before it and before every later one.
//!
//! Not here: what the work is (`erasure`).

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Tally, panic_message};
use crate::generation::Generations;
use crate::store::{Counters, Store};
use crate::{Error, Retention};

/// Turns that may wait in one shard's queue.
pub(super) const MAX_WAITING_TURNS: usize = 1_000;

/// What a piece of work may use while it has its turn. Nobody else writes to users of this shard.
pub(crate) struct Turn<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) generations: &'a Generations,
    pub(crate) retention: &'a Retention,
    pub(crate) shard: u32,
    pub(super) counters: &'a mut Counters,
    pub(super) tally: &'a Tally,
}

impl Turn<'_> {
    /// As they are stored.
    pub(crate) const fn counters(&self) -> Counters {
        *self.counters
    }

    /// Says that others are stored now.
    pub(crate) fn stored_counters(&mut self, after: Counters) {
        self.tally.count(self.counters, after);
    }
}

/// A piece of work in a queue. Dropped undone, it answers [`Error::Closed`].
pub(super) type Work = Box<dyn FnOnce(&mut Turn<'_>) -> Ended + Send>;

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Done,
    /// Nobody knows what was stored.
    Panicked,
}

/// Who waits for the result of a turn.
struct Waiting<T, F: FnOnce(Result<T, Error>)> {
    done: Option<F>,
    result: std::marker::PhantomData<fn(T)>,
}

impl<T, F: FnOnce(Result<T, Error>)> Waiting<T, F> {
    fn answer(&mut self, result: Result<T, Error>) {
        let Some(done) = self.done.take() else { return };
        // A writer outlives the callbacks it runs.
        if catch_unwind(AssertUnwindSafe(|| done(result))).is_err() {
            tracing::error!("the callback of a turn panicked");
        }
    }
}

impl<T, F: FnOnce(Result<T, Error>)> Drop for Waiting<T, F> {
    fn drop(&mut self) {
        self.answer(Err(Error::Closed));
    }
}

/// `work`, whose result goes to `done`, whatever happens to it.
pub(super) fn work<T: Send + 'static>(
    work: impl FnOnce(&mut Turn<'_>) -> Result<T, Error> + Send + 'static,
    done: impl FnOnce(Result<T, Error>) + Send + 'static,
) -> Work {
    let mut waiting = Waiting { done: Some(done), result: std::marker::PhantomData };
    Box::new(move |turn| match catch_unwind(AssertUnwindSafe(|| work(turn))) {
        Ok(result) => {
            waiting.answer(result);
            Ended::Done
        }
        Err(panic) => {
            let detail = panic_message(&*panic).to_owned();
            tracing::error!(detail, "a feature writer panicked during a turn");
            waiting.answer(Err(Error::Panicked { detail }));
            Ended::Panicked
        }
    })
}
