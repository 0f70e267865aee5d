//! How long raw events and dedup marks are kept, and what stands for events that are gone.
//!
//! An event's age counts from when it happened or was received, whichever is later. It goes at the first midnight (UTC)
//! behind its time. A user's state before events go is kept as a base, from which the rest of the log is applied; so
//! features stay as they are. Not here: clocks and threads (the server's sweeper), or the texts that lengths are
//! written in.

mod base;
mod progress;
mod visit;

use std::sync::Arc;

use augur_domain::time::DAY_MS;
use augur_domain::{ContentHash, Event, Timestamp};

pub(crate) use base::Base;
pub(crate) use progress::Progress;
pub(crate) use visit::{Visit, visit};

use crate::Error;

/// How long things are kept. By default, for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// How long events are kept whose name is not in `by_name`, in milliseconds; `None` for good.
    pub events_ms: Option<i64>,
    /// How long events of a name are kept; ascending by name.
    pub by_name: Vec<(Arc<str>, Option<i64>)>,
    /// How long a message is recognised when it is sent again; `None` for good. No event goes before.
    pub dedup_marks_ms: Option<i64>,
    /// Most users looked at in one [`crate::FeatureStore::sweep`]; 1..=10 000.
    pub users_per_sweep: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { events_ms: None, by_name: Vec::new(), dedup_marks_ms: None, users_per_sweep: 100 }
    }
}

impl Retention {
    /// Most users in one sweep.
    pub const MAX_USERS_PER_SWEEP: u32 = 10_000;

    /// Refuses what has no meaning.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`].
    pub fn check(&self) -> Result<(), Error> {
        let invalid = |name, found: i64, expected| {
            Err(Error::InvalidConfig { name, found: found.to_string(), expected })
        };
        if !(1..=Self::MAX_USERS_PER_SWEEP).contains(&self.users_per_sweep) {
            return invalid("users_per_sweep", i64::from(self.users_per_sweep), "1 to 10000");
        }
        if let Some(marks_ms) = self.dedup_marks_ms.filter(|ms| *ms < DAY_MS) {
            return invalid("dedup_marks_ms", marks_ms, "at least a day");
        }
        let least = self.dedup_marks_ms.unwrap_or(DAY_MS);
        if let Some(short) = self.lengths().find(|ms| *ms < least) {
            return invalid("events_ms", short, "at least a day, and as long as dedup marks");
        }
        Ok(())
    }

    fn lengths(&self) -> impl Iterator<Item = i64> {
        self.by_name.iter().filter_map(|(_, ms)| *ms).chain(self.events_ms)
    }

    /// Whether everything is kept.
    pub fn keeps_everything(&self) -> bool {
        self.dedup_marks_ms.is_none() && self.lengths().next().is_none()
    }

    /// Equal for policies that keep everything equally long.
    fn hash(&self) -> ContentHash {
        let mut text = format!("{:?} {:?}", self.events_ms, self.dedup_marks_ms);
        for (name, ms) in &self.by_name {
            text.push_str(&format!(" {name:?} {ms:?}"));
        }
        ContentHash::of(&[text.as_bytes()])
    }

    /// The first day on which the event is to go.
    fn event_day(&self, event: &Event) -> Option<u32> {
        let place = self.by_name.binary_search_by(|(name, _)| (**name).cmp(&event.name));
        let of_name = place.ok().and_then(|place| self.by_name.get(place));
        let length_ms = of_name.map_or(self.events_ms, |(_, ms)| *ms);
        Some(day_after(event, length_ms?))
    }

    /// The first day on which its dedup mark is to go.
    fn mark_day(&self, event: &Event) -> Option<u32> {
        Some(day_after(event, self.dedup_marks_ms?))
    }

    /// The days on which something of the event is due.
    pub(crate) fn days(&self, event: &Event) -> impl Iterator<Item = u32> + use<> {
        self.event_day(event).into_iter().chain(self.mark_day(event))
    }
}

fn day_after(event: &Event, length_ms: i64) -> u32 {
    let kept_from = event.event_time.max(event.received_at);
    let day = kept_from.unix_ms().saturating_add(length_ms).saturating_add(DAY_MS - 1).div_euclid(DAY_MS);
    u32::try_from(day.max(0)).unwrap_or(u32::MAX)
}

/// The day of an instant; what is due on it or before is to go.
pub(crate) fn today(now: Timestamp) -> u32 {
    u32::try_from(now.unix_ms().div_euclid(DAY_MS).max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
