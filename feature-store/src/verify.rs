//! Whether what is served is what the event log says, user by user, to the bit.
//!
//! One snapshot is compared with itself, so it can be done while events come in. Not here: repair; a state that
//! cannot be read is rebuilt by the user's next event, any other by a rebuild.

use std::iter::Peekable;
use std::sync::Arc;

use augur_domain::{FeatureVector, UserKey};

use crate::rebuild;
use crate::state::UserState;
use crate::store::{EventCursor, Generation, Read, Users};
use crate::{Definitions, Error, FeatureSchema, NoContext};

/// Whether a stored state equals what its event log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Byte for byte.
    Identical {
        /// Events replayed.
        events: u64,
    },
    /// Not.
    Different {
        /// Events that the stored state says it has seen; 0 when there is none or it cannot be read.
        events: u64,
        /// Events found in the log, up to there if the state can be read.
        logged_events: u64,
        /// Features whose values differ when read at the latest event; empty when only hidden state differs.
        features: Vec<FeatureDifference>,
    },
    /// Nothing is stored about the user.
    Unknown,
}

/// A feature that is served otherwise than the event log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureDifference {
    /// The feature's name.
    pub feature: Arc<str>,
    /// In what way.
    pub kind: DifferenceKind,
}

/// How a served value differs from what the event log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DifferenceKind {
    /// Both have a value, or neither has, and they differ.
    Mismatch,
    /// The event log says a value; none is served.
    Missing,
    /// A value is served; the event log knows none.
    Extra,
}

pub(crate) fn verify(view: &dyn Read, definitions: &Definitions, user: UserKey) -> Result<Verdict, Error> {
    let schema = definitions.schema();
    let Some(record) = view.state(definitions.generation(), user)? else {
        let logged = rebuild::state_of(view, definitions, user, u64::MAX)?;
        return Ok(if logged.watermark() == 0 {
            Verdict::Unknown
        } else {
            different(&UserState::new(schema), &logged, schema)
        });
    };
    let Ok(stored) = UserState::decode(&record, schema) else {
        let logged = rebuild::state_of(view, definitions, user, u64::MAX)?;
        return Ok(different(&UserState::new(schema), &logged, schema));
    };
    // The first `watermark` events of the log are those that the state has seen.
    let logged = rebuild::state_of(view, definitions, user, stored.watermark())?;
    Ok(if rebuild::encoded(&logged, schema) == record {
        Verdict::Identical { events: stored.watermark() }
    } else {
        different(&stored, &logged, schema)
    })
}

fn different(stored: &UserState, logged: &UserState, schema: &FeatureSchema) -> Verdict {
    let now = stored.last_event_time().max(logged.last_event_time()).unwrap_or_default();
    let (left, right) = (stored.read(now, schema, &NoContext), logged.read(now, schema, &NoContext));
    let names = schema.feature_set().features().iter().enumerate();
    let features = names.filter_map(|(slot, info)| {
        let kind = difference(&left, &right, slot)?;
        Some(FeatureDifference { feature: Arc::clone(&info.name), kind })
    });
    Verdict::Different {
        events: stored.watermark(),
        logged_events: logged.watermark(),
        features: features.collect(),
    }
}

fn difference(stored: &FeatureVector, logged: &FeatureVector, slot: usize) -> Option<DifferenceKind> {
    let bits = |vector: &FeatureVector| {
        let value = vector.values.get(slot);
        value.map(|value| (value.value.to_bits(), value.status, value.event_time))
    };
    if bits(stored) == bits(logged) && stored.text(slot) == logged.text(slot) {
        return None;
    }
    Some(match (stored.usable(slot), logged.usable(slot)) {
        (None, Some(_)) => DifferenceKind::Missing,
        (Some(_), None) => DifferenceKind::Extra,
        _ => DifferenceKind::Mismatch,
    })
}

/// Every user with a state or an event, in key order.
pub(crate) fn users<'a>(
    view: &'a dyn Read,
    generation: Generation,
) -> Result<impl Iterator<Item = Result<UserKey, Error>> + 'a, Error> {
    let logged = LoggedUsers { cursor: view.event_cursor()?, last: None };
    Ok(Merged { served: view.users(generation, None)?.peekable(), logged: logged.peekable() })
}

/// The user of the first event at or behind `key`, from the start again when there is none; `None` without events.
pub(crate) fn user_from(view: &dyn Read, key: UserKey) -> Result<Option<UserKey>, Error> {
    let mut cursor = view.event_cursor()?;
    cursor.seek(key, 0)?;
    if let Some(record) = cursor.next_record()? {
        return Ok(Some(record.user));
    }
    cursor.seek(UserKey::default(), 0)?;
    Ok(cursor.next_record()?.map(|record| record.user))
}

struct LoggedUsers<'a> {
    cursor: Box<dyn EventCursor + 'a>,
    last: Option<UserKey>,
}

impl LoggedUsers<'_> {
    fn next_user(&mut self) -> Result<Option<UserKey>, Error> {
        if let Some(last) = self.last {
            self.cursor.seek(last, u64::MAX)?;
        }
        self.last = self.cursor.next_record()?.map(|record| record.user);
        Ok(self.last)
    }
}

impl Iterator for LoggedUsers<'_> {
    type Item = Result<UserKey, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_user().transpose()
    }
}

struct Merged<'a> {
    served: Peekable<Users<'a>>,
    logged: Peekable<LoggedUsers<'a>>,
}

impl Iterator for Merged<'_> {
    type Item = Result<UserKey, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match (self.served.peek(), self.logged.peek()) {
            (Some(Ok(served)), Some(Ok(logged))) if served == logged => {
                self.logged.next();
                self.served.next()
            }
            (Some(Ok(served)), Some(Ok(logged))) if served > logged => self.logged.next(),
            (None, _) | (_, Some(Err(_))) => self.logged.next(),
            _ => self.served.next(),
        }
    }
}

#[cfg(test)]
mod tests;
