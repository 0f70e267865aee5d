//! Reads of features that were made long ago, made again from the event log: as they were answered, and as a training
//! set would have it.
//!
//! A read names how many of the user's events had been applied (its watermark). The first so many events of the log, in
//! the order of their arrival, give the answer as it was, to the bit. A training set knows no arrivals: it sees what is
//! visible before the instant. Where the two are not the same events, the events that make the difference are told.
//! Not here: comparing with what was logged (`shadow-harness`), or training sets themselves (`training`).

mod walk;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use augur_domain::{FeatureVector, Timestamp, UserKey, Value};

use crate::identity::link_of;
use crate::retention::Base;
use crate::state::UserState;
use crate::store::Read;
use crate::training::{EventLog, UserLog};
use crate::{Error, FeatureSchema, StoredEvent, rebuild};
use walk::{Seen, Walk};

/// Names of events by which two reads differ that are told of one read; further ones are counted as any event.
const MAX_DIFFERING: usize = 32;

/// A read that was made.
#[derive(Debug, Clone, PartialEq)]
pub struct PastRead {
    /// Its instant.
    pub now: Timestamp,
    /// How many of the user's events had been applied then.
    pub watermark: u64,
    /// What the request told: names, ascending, and values.
    pub context: Vec<(Arc<str>, Value)>,
}

/// Why a read and a training set do not see the same events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unseen {
    /// The event came after the read, though it happened before it.
    LateEvent,
    /// An event was taken back: the retraction came after the read, though it was said before it.
    Retraction,
    /// The event came under another id, whose link was stored after the read, though it was claimed before it.
    Link,
    /// The read saw the event, which says that it happened in the read's very millisecond, or after it: a training set
    /// leaves it out.
    Ahead,
}

/// An event, or several of one name, that only one of both sees.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Differing {
    /// Why.
    pub why: Unseen,
    /// The event's name; `None` for any, when there are too many names.
    pub event: Option<Arc<str>>,
}

/// A read made again.
#[derive(Debug, Clone, PartialEq)]
pub struct Recomputed {
    /// By the events that had been applied. Its watermark is lower than the read's when they are not all in the log.
    pub as_received: FeatureVector,
    /// By the events that are visible before the instant, as a training set sees them; `None` when these are the same.
    pub as_of: Option<FeatureVector>,
    /// The events of which the two differ, each once.
    pub differing: Vec<Differing>,
}

/// What is known of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The user's events lie under the user's own key.
    Own,
    /// They lie under a person's key, to whom the id was linked.
    Linked {
        /// To whom.
        person: UserKey,
        /// From when on.
        since: Timestamp,
    },
    /// The user was erased.
    Erased,
}

/// Makes reads again, user by user. Of a user with many events only some are in memory at a time, except for those that
/// came under a linked id.
pub struct Recomputer<'a> {
    view: &'a dyn Read,
    events: EventLog<'a>,
    state_bytes: usize,
}

impl std::fmt::Debug for Recomputer<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Recomputer").field("state_bytes", &self.state_bytes).finish_non_exhaustive()
    }
}

impl<'a> Recomputer<'a> {
    /// Reads from `view`. Events and states of one user take about `memory_bytes`.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn open(view: &'a dyn Read, memory_bytes: usize) -> Result<Self, Error> {
        let part = (memory_bytes / 8).max(1 << 20);
        Ok(Self { view, events: EventLog::open(view, part)?, state_bytes: part })
    }

    /// Where the user's events are.
    ///
    /// # Errors
    /// [`Error::Storage`] or [`Error::Corrupted`].
    pub fn standing(&self, user: UserKey) -> Result<Standing, Error> {
        if self.view.tombstone(user)?.is_some() {
            return Ok(Standing::Erased);
        }
        Ok(link_of(self.view, user)?
            .map_or(Standing::Own, |link| Standing::Linked { person: link.person, since: link.since }))
    }

    /// The user's reads, ascending by instant, made again under `schema`; of an erased user as of one without events.
    /// `None` for those that saw events which are not kept any more and for which no state under `schema` stands.
    ///
    /// # Errors
    /// [`Error::Storage`] or [`Error::Corrupted`].
    pub fn recompute(
        &mut self,
        user: UserKey,
        schema: &FeatureSchema,
        reads: &[PastRead],
    ) -> Result<Vec<Option<Recomputed>>, Error> {
        let Standing::Linked { person, since } = self.standing(user)? else {
            return self.of_log(user, schema, reads);
        };
        // Before the link the id had a log of its own, which lies behind the person's now.
        let (own, persons) = reads.split_at(reads.partition_point(|read| read.now <= since));
        let mut made = Vec::with_capacity(reads.len());
        if !own.is_empty() {
            let events = self.came_under(user, person)?;
            for run in runs(own) {
                made.extend(Walk::new(run).of_events(&events, schema).into_iter().map(Some));
            }
        }
        made.extend(self.of_log(person, schema, persons)?);
        Ok(made)
    }

    fn of_log(
        &mut self,
        user: UserKey,
        schema: &FeatureSchema,
        reads: &[PastRead],
    ) -> Result<Vec<Option<Recomputed>>, Error> {
        let mut made = Vec::with_capacity(reads.len());
        let base = if reads.is_empty() { None } else { Base::of(self.view, user)? };
        // The generation does not matter: a state says under which definitions it was made.
        let beginning = base.as_ref().map(|base| base.state_under(schema));
        for run in runs(reads) {
            let gone = match (&base, &beginning) {
                (Some(base), Some(Some(_))) => run.partition_point(|read| read.watermark < base.sequence),
                (Some(_), _) => run.len(),
                (None, _) => 0,
            };
            let (lost, kept) = run.split_at(gone);
            made.extend(lost.iter().map(|_| None));
            if kept.is_empty() {
                continue;
            }
            let after = base.as_ref().map_or(0, |base| base.sequence);
            let state = beginning.clone().flatten().unwrap_or_else(|| UserState::new(schema));
            let log = UserLog::open_at(&mut self.events, user, after)?;
            let walk = Walk::new(kept);
            let found = walk.of_log(log, &mut self.events, state, schema, self.state_bytes)?;
            made.extend(found.into_iter().map(Some));
        }
        Ok(made)
    }

    /// The events that came under the id before its link, as its own log had them.
    fn came_under(&self, id: UserKey, person: UserKey) -> Result<Vec<Seen>, Error> {
        let mut events = Vec::new();
        for record in self.view.events(person)? {
            let stored = rebuild::decode(record?)?;
            if stored.origin == Some(id) {
                events.push(Seen::under_its_own_id(stored, events.len() as u64 + 1));
            }
        }
        Ok(events)
    }
}

impl From<&StoredEvent> for Unseen {
    /// Of an event that came after a read which might have seen it.
    fn from(stored: &StoredEvent) -> Self {
        if stored.event.kind == augur_domain::event::EventKind::Retract {
            Self::Retraction
        } else if stored.origin.is_some() && stored.visible_from.is_some() {
            Self::Link
        } else {
            Self::LateEvent
        }
    }
}

/// Runs of reads in which later ones have seen at least as much as earlier ones. Links that are undone, and decisions
/// that overtook each other, end a run.
fn runs(reads: &[PastRead]) -> impl Iterator<Item = &[PastRead]> {
    reads.chunk_by(|one, next| one.watermark <= next.watermark)
}
