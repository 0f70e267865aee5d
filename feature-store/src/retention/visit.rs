//! One look at one user, in the user's turn: what is old goes, in one step with the base that stands for it.
//!
//! Not here: who is looked at, and when (`feature_store`).

use std::collections::BTreeSet;

use augur_domain::UserKey;
use augur_domain::ids::MessageKey;

use super::{Base, Retention};
use crate::generation::{Live, LiveStates};
use crate::store::{Pruning, Store};
use crate::writer::Turn;
use crate::{Error, rebuild};

/// Events and marks of one user that go in one step; what is left stays due.
const MAX_REMOVED: usize = 20_000;

/// What a look at a user removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Visit {
    pub(crate) events: u64,
    pub(crate) marks: u64,
    /// Whether more of the user is due: too much for one step, or a build reads the log.
    pub(crate) unfinished: bool,
}

/// What is due of a user.
#[derive(Default)]
struct Found {
    /// Ascending.
    events: Vec<u64>,
    marks: Vec<MessageKey>,
    /// Days on which more will be due.
    later: BTreeSet<u32>,
    unfinished: bool,
}

/// Removes what is due of the user by `today`. `done` are the days under which the user was found; without any, the
/// days on which more will be due are noted.
pub(crate) fn visit(turn: &Turn<'_>, user: UserKey, done: Vec<u32>, today: u32) -> Result<Visit, Error> {
    // A builder goes by the logs as they are.
    if turn.generations.is_building() {
        return Ok(Visit { unfinished: true, ..Visit::default() });
    }
    let (store, notes_days) = (turn.store, done.is_empty());
    let found = look(store, turn.retention, user, today)?;
    let (events, marks) = (found.events.len() as u64, found.marks.len() as u64);
    let base = match found.events.last() {
        Some(last) => Some(base(store, &turn.generations.live(), user, *last, events)?.encoded()),
        None => None,
    };
    let done = if found.unfinished { Vec::new() } else { done };
    let due = if notes_days { found.later.into_iter().collect() } else { Vec::new() };
    let _rewriting = (events > 0).then(|| turn.generations.rewriting());
    store.prune(&Pruning { user, events: found.events, marks: found.marks, base, done, due })?;
    Ok(Visit { events, marks, unfinished: found.unfinished })
}

fn look(store: &dyn Store, retention: &Retention, user: UserKey, today: u32) -> Result<Found, Error> {
    let mut found = Found::default();
    for record in store.events(user)? {
        let stored = rebuild::decode(record?)?;
        if found.events.len().max(found.marks.len()) == MAX_REMOVED {
            found.unfinished = true;
            // What is left is looked at again, under a day that has come.
            found.later.insert(today);
            break;
        }
        let event = &stored.event;
        if retention.event_day(event).is_some_and(|day| day <= today) {
            found.events.push(stored.sequence);
        }
        if retention.mark_day(event).is_some_and(|day| day <= today)
            && store.contains_message(user, event.message_key)?
        {
            found.marks.push(event.message_key);
        }
        found.later.extend(retention.days(event).filter(|day| *day > today));
    }
    Ok(found)
}

/// The base once the events up to `last` may be gone.
fn base(store: &dyn Store, live: &Live, user: UserKey, last: u64, removed: u64) -> Result<Base, Error> {
    let known = Base::of(store, user)?;
    let before = known.as_ref().map_or(0, |base| base.sequence);
    let mut base = known.unwrap_or_default();
    base.removed = base.removed.saturating_add(removed);
    if last <= before {
        return Ok(base);
    }
    let mut states = LiveStates::beginning(store, live, user)?;
    for record in store.events_after(user, before)? {
        let stored = rebuild::decode(record?)?;
        if stored.sequence > last {
            break;
        }
        states.apply(&stored.event, live);
        base.visible_at = base.visible_at.max(stored.visible_at());
        if let Some(origin) = stored.origin {
            base.put_origin(origin);
        }
    }
    base.sequence = last;
    let mut encoded = Vec::new();
    states.encode(user, live, &mut encoded);
    // Those of generations that are gone go, too.
    base.states.clear();
    for (generation, _, record) in encoded {
        base.put_state(generation, record);
    }
    Ok(base)
}
