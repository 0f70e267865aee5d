//! The threads on which candidates decide, and the one that watches them: a thread whose candidate hangs is given up and
//! another takes its place; a candidate for which that happens too often is not asked any more.
//!
//! A thread that was given up ends when its candidate returns, and nothing is made of what it brings. There are never more
//! of them than candidates times `max_abandoned`. Not here: a turn (`turn`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use augur_decision_log::ShadowLog;
use augur_domain::Timestamp;
use augur_domain::live_shadow::{ShadowCounts, ShadowStatus};
use augur_models::Registry;
use parking_lot::Mutex;

use super::Job;
use super::candidate::Candidate;
use super::queue::Tallies;
use super::turn::{self, Came};
use crate::Error;
use crate::active::Active;
use crate::breaker::{Breaker, Mode, Outcome, Permit};
use crate::breakers::Breakers;
use crate::clock::Clock;
use crate::config::{self, ShadowCandidate};
use crate::files::Layout;

/// How long threads may take to end at the end.
const END_WITHIN: Duration = Duration::from_secs(1);

/// One candidate as configured, over all its loads.
struct Seat {
    declared: ShadowCandidate,
    name: Arc<str>,
    breaker: Arc<Breaker>,
    /// By [`ShadowStatus`], in its order.
    by_status: [AtomicU64; 4],
    refused: AtomicU64,
    abandoned: AtomicU64,
    unusable: AtomicBool,
}

/// How a candidate fares since the start.
pub(super) struct Standing {
    pub(super) name: Arc<str>,
    /// Turns, by [`ShadowStatus`], in its order.
    pub(super) by_status: [u64; 4],
    /// Turns that it did not get because it is left alone.
    pub(super) refused: u64,
    /// Threads given up.
    pub(super) abandoned: u64,
    /// Whether it cannot be loaded.
    pub(super) unusable: bool,
}

/// The candidates as loaded beside one active policy, in the order of the seats.
struct Loaded {
    of: Arc<Active>,
    candidates: Vec<Option<Arc<Candidate>>>,
}

/// A turn under way.
struct Turn {
    job: Arc<Job>,
    seat: usize,
    permit: Permit,
    began: Duration,
}

/// The place of one thread. Whoever takes the turn out of it says what came of it: the thread, or the watch.
#[derive(Default)]
struct Place {
    /// Which thread sits there.
    epoch: u64,
    turn: Option<Turn>,
}

struct Shared {
    settings: config::Shadow,
    layout: Layout,
    registry: Registry,
    clock: Arc<dyn Clock>,
    /// When counting began.
    since: Timestamp,
    log: Mutex<Option<ShadowLog>>,
    waiting: Mutex<Receiver<Box<Job>>>,
    tallies: Arc<Tallies>,
    seats: Vec<Seat>,
    loaded: Mutex<Option<Arc<Loaded>>>,
    places: Vec<Mutex<Place>>,
    stopping: AtomicBool,
    unwritten: AtomicU64,
}

/// The threads.
pub(super) struct Workers {
    shared: Arc<Shared>,
    /// Closed to end the watch.
    watch: Option<Sender<()>>,
    /// Told by each thread that ends in its place, and by the watch.
    ended: Mutex<Receiver<()>>,
}

impl Workers {
    pub(super) fn start(
        settings: &config::Shadow,
        layout: &Layout,
        breakers: &Breakers,
        clock: &Arc<dyn Clock>,
        log: ShadowLog,
        waiting: Receiver<Box<Job>>,
        tallies: Arc<Tallies>,
    ) -> Result<Self, Error> {
        let seat = |declared: &ShadowCandidate| Seat {
            name: declared.name.as_str().into(),
            breaker: breakers.of_candidate(&declared.name, settings.time_budget),
            declared: declared.clone(),
            by_status: Default::default(),
            refused: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            unusable: AtomicBool::new(false),
        };
        let shared = Arc::new(Shared {
            seats: settings.candidates.iter().map(seat).collect(),
            places: (0..settings.threads).map(|_| Mutex::default()).collect(),
            settings: settings.clone(),
            layout: layout.clone(),
            registry: Registry::open(layout.models())?,
            clock: Arc::clone(clock),
            since: clock.now(),
            log: Mutex::new(Some(log)),
            waiting: Mutex::new(waiting),
            tallies,
            loaded: Mutex::new(None),
            stopping: AtomicBool::new(false),
            unwritten: AtomicU64::new(0),
        });
        let (ends, ended) = channel();
        for place in 0..settings.threads {
            spawn(&shared, place, 0, None, ends.clone())?;
        }
        let (watch, told) = channel();
        let watching = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("augur-shadow-watch".to_owned());
        let watched = thread.spawn(move || watch_over(&watching, &told, &ends));
        watched.map_err(Error::file("start", "live shadow thread".as_ref()))?;
        Ok(Self { shared, watch: Some(watch), ended: Mutex::new(ended) })
    }

    pub(super) fn unwritten(&self) -> u64 {
        self.shared.unwritten.load(Ordering::Relaxed)
    }

    pub(super) fn standings(&self) -> Vec<Standing> {
        let standing = |seat: &Seat| Standing {
            name: Arc::clone(&seat.name),
            by_status: seat.by_status.each_ref().map(|count| count.load(Ordering::Relaxed)),
            refused: seat.refused.load(Ordering::Relaxed),
            abandoned: seat.abandoned.load(Ordering::Relaxed),
            unusable: seat.unusable.load(Ordering::Relaxed),
        };
        self.shared.seats.iter().map(standing).collect()
    }

    /// Waits a while for threads that do not hang, then closes the log. The queue's other end must be gone.
    pub(super) fn close(mut self) -> Result<(), Error> {
        self.shared.stopping.store(true, Ordering::Release);
        self.watch = None;
        let until = Instant::now() + END_WITHIN;
        // One of each place, and the watch.
        for _ in 0..=self.shared.places.len() {
            let left = until.saturating_duration_since(Instant::now());
            if self.ended.lock().recv_timeout(left).is_err() {
                tracing::warn!("a candidate of live shadow hangs at the end and is left");
                break;
            }
        }
        let log = self.shared.log.lock().take();
        log.map_or(Ok(()), |log| log.close().map_err(Error::ShadowLog))
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
    }
}

/// Starts the thread of a place, which begins with what its predecessor left.
fn spawn(
    shared: &Arc<Shared>,
    place: usize,
    epoch: u64,
    left: Option<(Arc<Job>, usize)>,
    ended: Sender<()>,
) -> Result<(), Error> {
    let shared = Arc::clone(shared);
    let thread = std::thread::Builder::new().name(format!("augur-shadow-{place}"));
    let run = move || {
        if work(&shared, place, epoch, left).is_some() {
            // Nobody may be waiting any more.
            let _ = ended.send(());
        }
    };
    thread.spawn(run).map(drop).map_err(Error::file("start", "live shadow thread".as_ref()))
}

/// Takes turns until the queue is closed; `None` when the thread was given up.
fn work(shared: &Shared, place: usize, epoch: u64, left: Option<(Arc<Job>, usize)>) -> Option<()> {
    if let Some((job, from)) = left {
        take_turns(shared, place, epoch, &job, from)?;
    }
    loop {
        // The lock is held while waiting: the others wait for it, then for a job.
        let next = shared.waiting.lock().recv();
        let Ok(job) = next else { return Some(()) };
        shared.tallies.release(job.bytes);
        if shared.stopping.load(Ordering::Acquire) {
            return Some(());
        }
        take_turns(shared, place, epoch, &Arc::from(job), 0)?;
    }
}

/// Every candidate from the seat `from` on decides; `None` when the thread was given up meanwhile.
fn take_turns(shared: &Shared, place: usize, epoch: u64, job: &Arc<Job>, from: usize) -> Option<()> {
    let loaded = shared.load(&job.active);
    for (number, (seat, candidate)) in shared.seats.iter().zip(&loaded.candidates).enumerate().skip(from) {
        let now = shared.clock.monotonic();
        let Some(candidate) = candidate else { continue };
        let Ok(permit) = seat.breaker.permit(now) else {
            seat.refused.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let mine = shared.places.get(place)?;
        {
            let mut mine = mine.lock();
            if mine.epoch != epoch {
                return None;
            }
            mine.turn = Some(Turn { job: Arc::clone(job), seat: number, permit, began: now });
        }
        let elapsed = || shared.clock.monotonic();
        let came = turn::take(job, &seat.name, candidate, shared.settings.time_budget, elapsed);
        let turn = {
            let mut mine = mine.lock();
            if mine.epoch != epoch {
                return None;
            }
            mine.turn.take()?
        };
        shared.settle(&turn, came);
    }
    Some(())
}

impl Shared {
    /// The candidates beside `active`. Loaded once for it; those that cannot be are told.
    fn load(&self, active: &Arc<Active>) -> Arc<Loaded> {
        let mut loaded = self.loaded.lock();
        if let Some(loaded) = loaded.as_ref().filter(|loaded| Arc::ptr_eq(&loaded.of, active)) {
            return Arc::clone(loaded);
        }
        let load = |seat: &Seat| {
            let candidate = Candidate::load(&seat.declared, active, &self.registry, &self.layout);
            seat.unusable.store(candidate.is_err(), Ordering::Relaxed);
            let told = |problem: &String| {
                tracing::warn!(candidate = &*seat.name, %problem, "a candidate of live shadow cannot be loaded");
            };
            candidate.inspect_err(told).ok().map(Arc::new)
        };
        let candidates = self.seats.iter().map(load).collect();
        let fresh = Arc::new(Loaded { of: Arc::clone(active), candidates });
        *loaded = Some(Arc::clone(&fresh));
        fresh
    }

    /// Tells the breaker, counts, and writes what came of a turn.
    fn settle(&self, turn: &Turn, came: Came) {
        let Some(seat) = self.seats.get(turn.seat) else { return };
        let now = self.clock.monotonic();
        let outcome = match came.status {
            ShadowStatus::Same | ShadowStatus::Differs => Outcome::Succeeded,
            ShadowStatus::Failed | ShadowStatus::TimedOut => Outcome::Failed,
        };
        seat.breaker.end(turn.permit, outcome, now.saturating_sub(turn.began), now);
        let place = ShadowStatus::ALL.iter().position(|status| *status == came.status);
        if let Some(count) = place.and_then(|place| seat.by_status.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let counts = ShadowCounts {
            offered: self.tallies.offered(),
            thinned: self.tallies.thinned(),
            full: self.tallies.full(),
            refused: seat.refused.load(Ordering::Relaxed),
        };
        let record = turn::record(&turn.job, &seat.name, came, (counts, self.since));
        let written = self.log.lock().as_ref().map(|log| log.append(&record, |_| ()));
        if !matches!(written, Some(Ok(()))) {
            self.unwritten.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Gives up the thread of `place` if its candidate hangs, and says what the next one is to begin with.
    fn give_up(&self, place: usize) -> Option<(u64, Arc<Job>, usize)> {
        let now = self.clock.monotonic();
        let mut there = self.places.get(place)?.lock();
        let hangs = |turn: &Turn| now.saturating_sub(turn.began) >= self.settings.abandon_after;
        if !there.turn.as_ref().is_some_and(hangs) {
            return None;
        }
        let turn = there.turn.take()?;
        there.epoch += 1;
        let epoch = there.epoch;
        drop(there);
        let seat = self.seats.get(turn.seat)?;
        let abandoned = seat.abandoned.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::error!(
            candidate = &*seat.name,
            abandoned,
            "a candidate of live shadow hangs; its thread is given up"
        );
        self.settle(&turn, Came::late());
        if abandoned >= self.settings.max_abandoned as u64 {
            tracing::error!(
                candidate = &*seat.name,
                "the candidate is not asked any more until it is released"
            );
            seat.breaker.force(Some(Mode::ForcedOpen), now);
        }
        Some((epoch, turn.job, turn.seat + 1))
    }
}

/// Looks at every place now and then, until told to end.
fn watch_over(shared: &Arc<Shared>, told: &Receiver<()>, ended: &Sender<()>) {
    let every = (shared.settings.abandon_after / 4).clamp(Duration::from_millis(1), Duration::from_secs(1));
    // Threads that could not be started are tried again at the next look.
    let mut missing: Vec<(usize, u64, Arc<Job>, usize)> = Vec::new();
    while told.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        for place in 0..shared.places.len() {
            let left = shared.give_up(place);
            missing.extend(left.map(|(epoch, job, from)| (place, epoch, job, from)));
        }
        missing.retain(|(place, epoch, job, from)| {
            let left = Some((Arc::clone(job), *from));
            let started = spawn(shared, *place, *epoch, left, ended.clone());
            started
                .inspect_err(|error| tracing::error!(%error, "a thread of live shadow is missing"))
                .is_err()
        });
    }
    // Nobody may be waiting any more.
    let _ = ended.send(());
}
