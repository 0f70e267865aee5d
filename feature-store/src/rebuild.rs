//! From the event log to states, for all users or for one.
//!
//! A rebuild of all can be cut off at any point: the note of which definitions the states follow is taken away
//! first and written last, so a half-done rebuild starts again. Not here: changing definitions while serving.

use augur_domain::UserKey;

use crate::config::Progress;
use crate::state::{UserState, apply};
use crate::store::{EventRecord, Read, Store};
use crate::{DecodeError, Error, FeatureSchema, StoredEvent, event_record};

/// States written together.
const STATES_PER_WRITE: usize = 1_000;

/// Makes every state follow `schema`, unless it does already.
pub(crate) fn ensure(
    store: &dyn Store,
    schema: &FeatureSchema,
    mut progress: impl FnMut(Progress),
) -> Result<(), Error> {
    let wanted = schema.feature_set().hash();
    let stored = store.feature_set()?;
    if stored == Some(wanted) {
        return Ok(());
    }
    let events_total: u64 = store.counters()?.iter().map(|(_, counters)| counters.events).sum();
    if events_total > 0 {
        let from = stored.map_or_else(|| "none".to_owned(), |hash| hash.short());
        tracing::info!(from, to = wanted.short(), events_total, "definitions changed: rebuilding all states");
        store.set_feature_set(None)?;
        let done = rebuild_all(store, schema, events_total, &mut progress)?;
        tracing::info!(users = done.users, events = done.events, "all states are rebuilt");
    }
    store.set_feature_set(Some(wanted))
}

fn rebuild_all(
    store: &dyn Store,
    schema: &FeatureSchema,
    events_total: u64,
    progress: &mut dyn FnMut(Progress),
) -> Result<Progress, Error> {
    let mut done = Progress { users: 0, events: 0, events_total };
    let mut ready: Vec<(UserKey, Vec<u8>)> = Vec::new();
    let mut current: Option<(UserKey, UserState)> = None;
    for record in store.all_events()? {
        let record = record?;
        if current.as_ref().is_none_or(|(user, _)| *user != record.user) {
            if let Some((user, state)) = current.take() {
                ready.push((user, encoded(&state, schema)));
                done.users += 1;
            }
            if ready.len() >= STATES_PER_WRITE {
                store.replace_states(&ready)?;
                ready.clear();
                progress(done);
                tracing::debug!(users = done.users, events = done.events, events_total, "rebuilding states");
            }
            current = Some((record.user, UserState::new(schema)));
        }
        if let Some((_, state)) = &mut current {
            apply_record(state, record, schema)?;
        }
        done.events += 1;
    }
    if let Some((user, state)) = current {
        ready.push((user, encoded(&state, schema)));
        done.users += 1;
    }
    store.replace_states(&ready)?;
    progress(done);
    Ok(done)
}

/// The user's state by the first `events` events of the log.
pub(crate) fn state_of(
    store: &dyn Read,
    schema: &FeatureSchema,
    user: UserKey,
    events: u64,
) -> Result<UserState, Error> {
    let mut state = UserState::new(schema);
    for record in store.events(user)? {
        let record = record?;
        if record.sequence > events {
            break;
        }
        apply_record(&mut state, record, schema)?;
    }
    Ok(state)
}

/// The user's state by the whole event log, in place of one that cannot be read.
///
/// # Errors
/// [`Error::Corrupted`] also for a log with a gap: an event applied behind it would take the place of a stored one.
pub(crate) fn heal(store: &dyn Store, schema: &FeatureSchema, user: UserKey) -> Result<UserState, Error> {
    let mut state = UserState::new(schema);
    for record in store.events(user)? {
        let record = record?;
        if record.sequence != state.watermark().saturating_add(1) {
            let source = DecodeError::Invalid { field: "sequence" };
            return Err(Error::corrupted(format!("event log of user {user}"), source));
        }
        apply_record(&mut state, record, schema)?;
    }
    Ok(state)
}

fn apply_record(state: &mut UserState, record: EventRecord, schema: &FeatureSchema) -> Result<(), Error> {
    let stored = decode(record)?;
    let changes = apply(state, &stored.event, schema);
    state.commit(changes);
    Ok(())
}

pub(crate) fn encoded(state: &UserState, schema: &FeatureSchema) -> Vec<u8> {
    let mut record = Vec::new();
    state.encode(schema, &mut record);
    record
}

pub(crate) fn decode(record: EventRecord) -> Result<StoredEvent, Error> {
    let EventRecord { user, sequence, record } = record;
    event_record::decode(user, sequence, &record)
        .map_err(|source| Error::corrupted(format!("event {sequence} of user {user}"), source))
}
