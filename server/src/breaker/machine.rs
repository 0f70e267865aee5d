//! The states of a circuit breaker and what moves it from one to another. Pure: every instant is handed in.
//!
//! Not here: sharing one between threads, its metrics and its log lines (`super`).

use std::collections::VecDeque;
use std::time::Duration;

use super::window::{Tally, Window};

/// When a breaker opens, and how it closes again.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How far back calls are counted; forgotten a tenth at a time.
    pub window: Duration,
    /// Calls in the window below which no share opens it.
    pub minimum_calls: u64,
    /// Share of failed calls that opens it, above 0 to 1; above 1 never.
    pub failed_share: f64,
    /// Share of slow calls that opens it, above 0 to 1; above 1 never.
    pub slow_share: f64,
    /// A call that takes as long is slow.
    pub slow_after: Duration,
    /// Failures in a row that open it; 0 for never.
    pub consecutive_failures: u32,
    /// How long it is open the first time; twice as long each time that it opens again without having closed.
    pub open_for: Duration,
    /// It is open no longer than this at a time.
    pub max_open_for: Duration,
    /// Calls let through to try it, at most at once; so many good ones close it. At least 1.
    pub probes: u32,
    /// After which a trying call that has not ended counts as failed.
    pub probe_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(10),
            minimum_calls: 20,
            failed_share: 0.5,
            slow_share: 0.5,
            slow_after: Duration::from_millis(25),
            consecutive_failures: 10,
            open_for: Duration::from_millis(250),
            max_open_for: Duration::from_secs(30),
            probes: 3,
            probe_timeout: Duration::from_secs(5),
        }
    }
}

/// Who says what a breaker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The calls that went through it.
    Automatic,
    /// Somebody: nothing goes through.
    ForcedOpen,
    /// Somebody: everything goes through.
    ForcedClosed,
    /// Nobody: everything goes through, and is counted.
    MetricsOnly,
}

/// What a breaker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Everything goes through.
    Closed,
    /// Nothing goes through.
    Open,
    /// A few calls go through, to try it.
    HalfOpen,
    /// Nothing goes through, because somebody says so.
    ForcedOpen,
    /// Everything goes through, because somebody says so.
    ForcedClosed,
    /// Everything goes through and is counted only.
    MetricsOnly,
}

impl State {
    /// Every state, in the order of the numbers that metrics use: 0 is the first.
    pub const ALL: [Self; 6] =
        [Self::Closed, Self::HalfOpen, Self::Open, Self::ForcedOpen, Self::ForcedClosed, Self::MetricsOnly];

    /// The word used on the wire, in metrics and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "CLOSED",
            Self::Open => "OPEN",
            Self::HalfOpen => "HALF_OPEN",
            Self::ForcedOpen => "FORCED_OPEN",
            Self::ForcedClosed => "FORCED_CLOSED",
            Self::MetricsOnly => "METRICS_ONLY",
        }
    }
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it should.
    Succeeded,
    /// It did not.
    Failed,
    /// Nobody knows, or it says nothing about what was called: the caller went away.
    Unknown,
}

/// Leave to call. Given back with [`Machine::end`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    /// Which stay in a state it was given in: what ends later says nothing about a later one.
    pub(super) epoch: u64,
    /// Its number, if it is a trying call.
    pub(super) probe: Option<u64>,
}

/// No leave to call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// After which it may be worth asking again; zero when nobody can tell.
    pub retry_after: Duration,
}

#[derive(Debug, Clone)]
enum Phase {
    Closed,
    Open {
        until: Duration,
    },
    HalfOpen {
        /// Trying calls under way, each with the instant at which it counts as failed; at most [`Settings::probes`].
        under_way: VecDeque<(u64, Duration)>,
        good: u32,
    },
}

/// One breaker without a lock, a clock or a name.
#[derive(Debug, Clone)]
pub struct Machine {
    settings: Settings,
    mode: Mode,
    phase: Phase,
    window: Window,
    /// Failures since the last success.
    in_a_row: u32,
    /// Times opened since it was last closed.
    openings: u32,
    pub(super) epoch: u64,
    next_probe: u64,
    /// The latest instant seen: time never goes back in here.
    now: Duration,
    jitter: u64,
}

impl Machine {
    /// A closed one. `seed` makes those that opened together try again at different instants.
    pub fn new(settings: Settings, mode: Mode, seed: u64) -> Self {
        let window = Window::new(settings.window);
        let (phase, now) = (Phase::Closed, Duration::ZERO);
        let jitter = seed;
        Self { settings, mode, phase, window, in_a_row: 0, openings: 0, epoch: 0, next_probe: 0, now, jitter }
    }

    /// What it does at `now`.
    pub fn state(&mut self, now: Duration) -> State {
        self.advance(now);
        self.last_state()
    }

    /// What it did when it was last asked.
    pub fn last_state(&self) -> State {
        match (self.mode, &self.phase) {
            (Mode::ForcedOpen, _) => State::ForcedOpen,
            (Mode::ForcedClosed, _) => State::ForcedClosed,
            (Mode::MetricsOnly, _) => State::MetricsOnly,
            (Mode::Automatic, Phase::Closed) => State::Closed,
            (Mode::Automatic, Phase::Open { .. }) => State::Open,
            (Mode::Automatic, Phase::HalfOpen { .. }) => State::HalfOpen,
        }
    }

    /// While it is open by itself: after which it is tried, as of the instant of the last call.
    pub fn open_for(&self) -> Option<Duration> {
        match (self.mode, &self.phase) {
            (Mode::Automatic, Phase::Open { until }) => Some(until.saturating_sub(self.now)),
            _ => None,
        }
    }

    /// The calls of the window.
    pub fn tally(&mut self, now: Duration) -> Tally {
        self.advance(now);
        self.window.tally(self.now)
    }

    /// Says who decides from now on. Whoever gives it back to the calls begins with a closed one that knows of none.
    pub fn set_mode(&mut self, mode: Mode, now: Duration) {
        self.advance(now);
        if mode != self.mode {
            self.mode = mode;
            self.close();
        }
    }

    /// Leave to call at `now`, or not.
    ///
    /// # Errors
    /// [`Refused`], with when to ask again.
    pub fn admit(&mut self, now: Duration) -> Result<Permit, Refused> {
        self.advance(now);
        let epoch = self.epoch;
        match (self.mode, &mut self.phase) {
            (Mode::ForcedOpen, _) => Err(Refused { retry_after: Duration::ZERO }),
            (Mode::ForcedClosed | Mode::MetricsOnly, _) | (_, Phase::Closed) => {
                Ok(Permit { epoch, probe: None })
            }
            (_, Phase::Open { until }) => Err(Refused { retry_after: until.saturating_sub(self.now) }),
            (_, Phase::HalfOpen { under_way, .. }) if under_way.len() >= self.settings.probes as usize => {
                let first = under_way.front().map_or(self.now, |(_, expires_at)| *expires_at);
                Err(Refused { retry_after: first.saturating_sub(self.now) })
            }
            (_, Phase::HalfOpen { under_way, .. }) => {
                let number = self.next_probe;
                self.next_probe += 1;
                under_way.push_back((number, self.now + self.settings.probe_timeout));
                Ok(Permit { epoch, probe: Some(number) })
            }
        }
    }

    /// Takes a permit back: the call ended at `now` after `took`.
    pub fn end(&mut self, permit: Permit, outcome: Outcome, took: Duration, now: Duration) {
        self.advance(now);
        if permit.epoch != self.epoch {
            return;
        }
        if let (Phase::HalfOpen { under_way, .. }, Some(number)) = (&mut self.phase, permit.probe) {
            under_way.retain(|(known, _)| *known != number);
        }
        let failed = match outcome {
            Outcome::Unknown => return,
            Outcome::Failed => true,
            Outcome::Succeeded => false,
        };
        let slow = took >= self.settings.slow_after;
        self.window.count(self.now, failed, slow);
        self.in_a_row = if failed { self.in_a_row.saturating_add(1) } else { 0 };
        if self.mode == Mode::Automatic {
            self.judge(failed, slow);
        }
    }

    /// What the call that just ended, and those before it, mean.
    fn judge(&mut self, failed: bool, slow: bool) {
        let slow_matters = self.settings.slow_share <= 1.0;
        match &mut self.phase {
            Phase::Open { .. } => {}
            Phase::HalfOpen { .. } if failed || (slow && slow_matters) => self.open(),
            Phase::HalfOpen { good, .. } => {
                *good += 1;
                if *good >= self.settings.probes.max(1) {
                    self.close();
                }
            }
            Phase::Closed => {
                let Settings { minimum_calls, consecutive_failures, failed_share, slow_share, .. } =
                    self.settings;
                let tally = self.window.tally(self.now);
                let shares = tally.failed_share() >= failed_share || tally.slow_share() >= slow_share;
                let in_a_row = consecutive_failures > 0 && self.in_a_row >= consecutive_failures;
                if in_a_row || (tally.calls >= minimum_calls.max(1) && shares) {
                    self.open();
                }
            }
        }
    }

    /// Does what the time up to `now` brings: an open one is tried, a trying call that takes too long has failed.
    fn advance(&mut self, now: Duration) {
        self.now = self.now.max(now);
        match &self.phase {
            Phase::Closed => {}
            Phase::Open { until } if *until > self.now => {}
            Phase::Open { .. } => {
                self.epoch += 1;
                self.phase = Phase::HalfOpen { under_way: VecDeque::new(), good: 0 };
            }
            Phase::HalfOpen { under_way, .. } => {
                if under_way.front().is_some_and(|(_, expires_at)| *expires_at <= self.now) {
                    self.open();
                }
            }
        }
    }

    fn open(&mut self) {
        self.openings = self.openings.saturating_add(1);
        self.epoch += 1;
        let until = self.now.saturating_add(self.open_length());
        self.phase = Phase::Open { until };
    }

    fn close(&mut self) {
        self.openings = 0;
        self.in_a_row = 0;
        self.epoch += 1;
        self.window.clear();
        self.phase = Phase::Closed;
    }

    /// Doubled with each opening up to the cap, then shortened by up to a quarter, so that breakers do not march in step.
    fn open_length(&mut self) -> Duration {
        let Settings { open_for, max_open_for, .. } = self.settings;
        let doublings = self.openings.saturating_sub(1).min(20);
        let longest = open_for.saturating_mul(1 << doublings).min(max_open_for);
        // SplitMix64, Steele, Lea and Flood 2014.
        self.jitter = self.jitter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.jitter;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let per_mille = 750 + mixed % 251;
        longest.mul_f64(per_mille as f64 / 1_000.0)
    }
}
