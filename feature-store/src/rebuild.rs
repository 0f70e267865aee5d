//! From one user's event log to a state.
//!
//! Not here: all users, or what need not be computed because an older state has it (`generation`).

use augur_domain::UserKey;

use crate::retention::Base;
use crate::state::UserState;
use crate::store::{EventRecord, Read, Store};
use crate::{DecodeError, Definitions, Error, FeatureSchema, StoredEvent, event_record};

/// Where the user's log begins: the state of the events that were removed and of those before them, and the last
/// sequence in it; an empty one and 0 while all are there. Under definitions for which no such state was kept, what is
/// left of those events makes it.
pub(crate) fn beginning(
    store: &(impl Read + ?Sized),
    definitions: &Definitions,
    user: UserKey,
) -> Result<(UserState, u64), Error> {
    let schema = definitions.schema();
    let Some(base) = Base::of(store, user)? else { return Ok((UserState::new(schema), 0)) };
    if let Some(state) = base.state(definitions) {
        return Ok((state, base.sequence));
    }
    let mut state = UserState::new(schema);
    for record in store.events(user)? {
        let record = record?;
        if record.sequence > base.sequence {
            break;
        }
        apply_record(&mut state, record, schema)?;
    }
    state.stand_at(base.sequence);
    Ok((state, base.sequence))
}

/// The user's state by the first `events` events of the log.
pub(crate) fn state_of(
    store: &dyn Read,
    definitions: &Definitions,
    user: UserKey,
    events: u64,
) -> Result<UserState, Error> {
    let (mut state, after) = beginning(store, definitions, user)?;
    for record in store.events_after(user, after)? {
        let record = record?;
        if record.sequence > events {
            break;
        }
        apply_record(&mut state, record, definitions.schema())?;
    }
    Ok(state)
}

/// The user's state by the whole event log, in place of one that cannot be read.
///
/// # Errors
/// [`Error::Corrupted`] also for a log with a gap: an event applied behind it would take the place of a stored one.
pub(crate) fn heal(store: &dyn Store, definitions: &Definitions, user: UserKey) -> Result<UserState, Error> {
    let (mut state, after) = beginning(store, definitions, user)?;
    for record in store.events_after(user, after)? {
        let record = record?;
        if record.sequence != state.watermark().saturating_add(1) {
            let source = DecodeError::Invalid { field: "sequence" };
            return Err(Error::corrupted(format!("event log of user {user}"), source));
        }
        apply_record(&mut state, record, definitions.schema())?;
    }
    Ok(state)
}

/// What can still be read of a log of which [`heal`] and [`state_of`] refuse a record: its state stands at the log's
/// end, and lacks what cannot be read.
pub(crate) fn salvage(
    store: &dyn Store,
    definitions: &Definitions,
    user: UserKey,
) -> Result<UserState, Error> {
    let schema = definitions.schema();
    let base = or_unreadable(Base::of(store, user))?.flatten();
    let known = base.and_then(|base| Some((base.state(definitions)?, base.sequence)));
    let (mut state, after) = known.unwrap_or_else(|| (UserState::new(schema), 0));
    for record in store.events_after(user, after)? {
        let record = record?;
        let sequence = record.sequence;
        if let Some(stored) = or_unreadable(decode(record))? {
            state.take_in(&stored.event, schema);
        }
        state.stand_at(sequence);
    }
    Ok(state)
}

/// `None` for what is stored and cannot be read.
fn or_unreadable<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Err(Error::Corrupted { .. }) => Ok(None),
        read => read.map(Some),
    }
}

fn apply_record(state: &mut UserState, record: EventRecord, schema: &FeatureSchema) -> Result<(), Error> {
    let stored = decode(record)?;
    state.take_in(&stored.event, schema);
    Ok(())
}

/// Of most users' states; where it is not enough the record grows.
pub(crate) const USUAL_RECORD_BYTES: usize = 512;

pub(crate) fn encoded(state: &UserState, schema: &FeatureSchema) -> Vec<u8> {
    let mut record = Vec::with_capacity(USUAL_RECORD_BYTES);
    state.encode(schema, &mut record);
    record
}

pub(crate) fn decode(record: EventRecord) -> Result<StoredEvent, Error> {
    let EventRecord { user, sequence, record } = record;
    event_record::decode(user, sequence, &record)
        .map_err(|source| Error::corrupted(format!("event {sequence} of user {user}"), source))
}
