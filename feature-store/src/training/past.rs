//! One user's life, told once for many instants: the state at each is that of the events visible before it, applied
//! in the order of their sequence.
//!
//! Instants that have seen the same events share a state; an event that only the later ones see makes them part. So
//! no event is applied more often than equal bits ask for: once per group of instants that it reaches. A log in
//! order is applied once, however many instants there are. A late event costs one more application per state that is
//! still open, and a state is closed as soon as nothing behind it in the log can be visible to it. Not here: which
//! instants there are (`training`), reading the log (`log`).

use std::collections::VecDeque;

use augur_domain::{FeatureVector, Timestamp};

use super::NumberedLabel;
use super::log::{EventLog, Place, UserLog};
use crate::state::UserState;
use crate::{Error, FeatureSchema, StoredEvent, rebuild};

/// What a state takes in memory for each of its encoded bytes, about.
const STATE_FACTOR: usize = 4;

/// Walks one user's log for ascending instants.
pub(crate) struct Past {
    log: UserLog,
    /// The state at the place: events before it are all visible to every instant still to come.
    state: UserState,
    place: Place,
}

impl Past {
    /// From the state that the events before the log made.
    pub(crate) fn open(log: UserLog, state: UserState) -> Self {
        Self { log, state, place: Place::default() }
    }

    /// The features of the first of `instants`, at least one of them. Instants ascend, from call to call too. An
    /// instant sees the events that are visible before it plus `reach_ms`. States of open instants take up to about
    /// `state_bytes`.
    pub(crate) fn read(
        &mut self,
        events: &mut EventLog<'_>,
        instants: &[NumberedLabel],
        reach_ms: i64,
        schema: &FeatureSchema,
        state_bytes: usize,
    ) -> Result<Vec<FeatureVector>, Error> {
        let mut place = self.place;
        let first = Fork { start: 0, state: self.state.clone(), bytes: 0 };
        let forks = VecDeque::from([first]);
        let mut walk = Walk {
            schema,
            instants,
            reach_ms,
            forks,
            spare_bytes: state_bytes,
            kept: None,
            read: Vec::new(),
        };
        walk.close(self.log.visible_from(place));
        while walk.read.len() < walk.instants.len() {
            let before = place;
            let Some(stored) = self.log.next(events, &mut place)? else { break };
            if let Fit::CutWithin = walk.take(stored, before) {
                walk.kept = Some((self.state.clone(), self.place));
            }
            walk.close(self.log.visible_from(place));
        }
        let last = walk.forks.pop_back().map(|fork| (fork.state, place));
        if let Some(next) = walk.kept.or(last) {
            (self.state, self.place) = next;
        }
        Ok(walk.read)
    }
}

/// The instants from `start` to the next fork's: they have seen the same events so far.
struct Fork {
    start: usize,
    state: UserState,
    bytes: usize,
}

struct Walk<'a> {
    schema: &'a FeatureSchema,
    /// Those of this walk; cut when their states would take too much memory.
    instants: &'a [NumberedLabel],
    reach_ms: i64,
    /// Ascending, never empty; the first begins at the first instant that is not read yet.
    forks: VecDeque<Fork>,
    spare_bytes: usize,
    /// Where the next walk begins: before the first event that the last instant does not see.
    kept: Option<(UserState, Place)>,
    read: Vec<FeatureVector>,
}

/// Whether there was memory for the states that an event makes part.
enum Fit {
    Fits,
    /// The instants behind were given up; the next walk can begin where it was kept.
    Cut,
    /// As [`Self::Cut`], but among the forks: the next walk must begin where this one did.
    CutWithin,
}

impl Walk<'_> {
    /// Carries an event into the states of the instants that see it.
    fn take(&mut self, stored: &StoredEvent, before: Place) -> Fit {
        let visible_at = stored.visible_at();
        let first =
            self.instants.partition_point(|wanted| wanted.label.at.plus_millis(self.reach_ms) <= visible_at);
        if first == self.instants.len() {
            self.keep(before);
            return Fit::Fits;
        }
        let fork = self.forks.partition_point(|fork| fork.start < first);
        let parts = fork > 0 && self.forks.get(fork).is_none_or(|next| next.start != first);
        if parts && !self.part(fork, first) {
            let is_last = fork == self.forks.len();
            if is_last {
                self.keep(before);
            }
            self.instants = self.instants.get(..first).unwrap_or_default();
            self.forks.truncate(fork);
            return if is_last { Fit::Cut } else { Fit::CutWithin };
        }
        for fork in self.forks.range_mut(fork..) {
            fork.state.take_in(&stored.event, self.schema);
        }
        Fit::Fits
    }

    /// Up to here the last instant saw every event, and with it all instants still to come.
    fn keep(&mut self, place: Place) {
        if let (None, Some(last)) = (&self.kept, self.forks.back()) {
            self.kept = Some((last.state.clone(), place));
        }
    }

    /// Gives the instants from `first` to `fork` a state of their own; false when there is no memory for it.
    fn part(&mut self, fork: usize, first: usize) -> bool {
        let Some(parent) = fork.checked_sub(1).and_then(|parent| self.forks.get(parent)) else { return true };
        let bytes = rebuild::encoded(&parent.state, self.schema).len().saturating_mul(STATE_FACTOR);
        let Some(spare_bytes) = self.spare_bytes.checked_sub(bytes) else { return false };
        let child = Fork { start: first, state: parent.state.clone(), bytes };
        self.spare_bytes = spare_bytes;
        self.forks.insert(fork, child);
        true
    }

    /// Reads the instants that no event still to come can reach, as none of those is visible before `visible_from`.
    fn close(&mut self, visible_from: Timestamp) {
        while let Some(NumberedLabel { label, context, .. }) = self.instants.get(self.read.len())
            && label.at.plus_millis(self.reach_ms) <= visible_from
            && let Some(fork) = self.forks.front_mut()
        {
            self.read.push(fork.state.read(label.at, self.schema, context));
            fork.start = self.read.len();
            if self.forks.get(1).is_some_and(|next| next.start == self.read.len())
                && let Some(done) = self.forks.pop_front()
            {
                self.spare_bytes = self.spare_bytes.saturating_add(done.bytes);
            }
        }
    }
}
