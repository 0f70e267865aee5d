//! Circuit breakers: what is slow or broken is left alone for a while, so that answers do not wait for it.
//!
//! One stands before each thing that can be slow or broken. Not here: which those are (`breakers`), or what is answered
//! without them (`decide`).

mod machine;
#[cfg(test)]
mod tests;
mod window;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

pub use machine::{Machine, Mode, Outcome, Permit, Refused, Settings, State};
pub use window::Tally;

/// One breaker, shared by all that call what it stands before. Asking costs a lock that nobody holds for long.
#[derive(Debug)]
pub struct Breaker {
    name: Arc<str>,
    machine: Mutex<Machine>,
    /// What it is when nobody forces it.
    unforced: Mode,
    refused: AtomicU64,
    transitions: AtomicU64,
}

/// Where a breaker stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// What it stands before.
    pub name: Arc<str>,
    /// What it does.
    pub state: State,
    /// The calls of its window.
    pub tally: Tally,
    /// Calls refused since the start.
    pub refused: u64,
    /// Changes of its state since the start.
    pub transitions: u64,
    /// While open: after which it is tried.
    pub open_for: Option<Duration>,
}

/// One call under way. Dropped without being ended, it says nothing about what was called.
#[derive(Debug)]
#[must_use]
pub struct Call<'a> {
    breaker: &'a Breaker,
    permit: Option<Permit>,
    began: Duration,
}

impl Breaker {
    /// One before `name`. `unforced` is [`Mode::Automatic`] or [`Mode::MetricsOnly`].
    pub fn new(name: impl Into<Arc<str>>, settings: Settings, unforced: Mode) -> Self {
        let name = name.into();
        // Any number that differs from name to name.
        let seed = name.bytes().fold(0_u64, |seed, byte| seed.rotate_left(7) ^ u64::from(byte));
        Self {
            name,
            machine: Mutex::new(Machine::new(settings, unforced, seed)),
            unforced,
            refused: AtomicU64::new(0),
            transitions: AtomicU64::new(0),
        }
    }

    /// What it stands before.
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Leave to call at `now`, on a clock that all calls of this breaker share.
    ///
    /// # Errors
    /// [`Refused`], with when to ask again.
    pub fn admit(&self, now: Duration) -> Result<Call<'_>, Refused> {
        self.permit(now).map(|permit| Call { breaker: self, permit: Some(permit), began: now })
    }

    /// [`Self::admit`] for a call that another thread may end, with [`Self::end`].
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub fn permit(&self, now: Duration) -> Result<Permit, Refused> {
        let admitted = self.with(now, |machine| machine.admit(now));
        admitted.inspect_err(|_| {
            self.refused.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// Takes back what [`Self::permit`] gave.
    pub fn end(&self, permit: Permit, outcome: Outcome, took: Duration, now: Duration) {
        self.with(now, |machine| machine.end(permit, outcome, took, now));
    }

    /// Where it stands.
    pub fn standing(&self, now: Duration) -> Standing {
        let (state, tally, open_for) =
            self.with(now, |machine| (machine.state(now), machine.tally(now), machine.open_for()));
        Standing {
            name: Arc::clone(&self.name),
            state,
            tally,
            refused: self.refused.load(Ordering::Relaxed),
            transitions: self.transitions.load(Ordering::Relaxed),
            open_for,
        }
    }

    /// Forces it open or closed, or with `None` gives it back to its calls.
    pub fn force(&self, mode: Option<Mode>, now: Duration) {
        self.with(now, |machine| machine.set_mode(mode.unwrap_or(self.unforced), now));
    }

    /// Does something with the machine, and tells when its state changes by it.
    fn with<T>(&self, now: Duration, work: impl FnOnce(&mut Machine) -> T) -> T {
        let mut machine = self.machine.lock();
        let before = machine.last_state();
        let done = work(&mut machine);
        let after = machine.last_state();
        if before == after {
            return done;
        }
        let tally = machine.tally(now);
        drop(machine);
        self.transitions.fetch_add(1, Ordering::Relaxed);
        let (breaker, from, to) = (&*self.name, before.as_str(), after.as_str());
        let Tally { calls, failed, slow } = tally;
        tracing::warn!(breaker, from, to, calls, failed, slow, "a circuit breaker changed its state");
        done
    }
}

impl Call<'_> {
    /// Ends the call at `now`.
    pub fn end(mut self, outcome: Outcome, now: Duration) {
        let took = now.saturating_sub(self.began);
        self.give_back(outcome, took, now);
    }

    /// [`Self::end`] of a call that took another time than that between the two instants.
    pub fn end_after(mut self, outcome: Outcome, took: Duration, now: Duration) {
        self.give_back(outcome, took, now);
    }

    /// When it began.
    pub const fn began(&self) -> Duration {
        self.began
    }

    fn give_back(&mut self, outcome: Outcome, took: Duration, now: Duration) {
        if let Some(permit) = self.permit.take() {
            self.breaker.end(permit, outcome, took, now);
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.give_back(Outcome::Unknown, Duration::ZERO, self.began);
    }
}
