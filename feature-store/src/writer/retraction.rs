//! Takes an event back: finds what a request for a retraction names, and makes the record that un-counts it.
//!
//! The record repeats the original's name, properties and event time, so that applying it needs nothing else. Not here:
//! un-counting (`state`).

use std::sync::Arc;

use augur_domain::event::{EventKind, Quarantine, QuarantineReason};
use augur_domain::ids::{MessageKey, UserKey};
use augur_domain::{Event, Timestamp};

use crate::store::Store;
use crate::{Error, StoredEvent, rebuild};

/// What goes into the log for a retraction.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Retraction {
    pub(super) event: Event,
    pub(super) origin: Option<UserKey>,
    pub(super) visible_from: Option<Timestamp>,
}

/// The stored event with this message key. Its dedup mark says where it is; should it not be there, the log is searched.
pub(crate) fn stored_original(
    store: &dyn Store,
    user: UserKey,
    message_key: MessageKey,
) -> Result<Option<StoredEvent>, Error> {
    let Some(sequence) = store.message_sequence(user, message_key)? else { return Ok(None) };
    let mut cursor = store.event_cursor()?;
    cursor.seek(user, sequence)?;
    if let Some(record) = cursor.next_record()?
        && (record.user, record.sequence) == (user, sequence)
    {
        let stored = rebuild::decode(record)?;
        if stored.event.message_key == message_key {
            return Ok(Some(stored));
        }
    }
    for record in store.events(user)? {
        let stored = rebuild::decode(record?)?;
        if stored.event.message_key == message_key {
            return Ok(Some(stored));
        }
    }
    Ok(None)
}

/// The record that takes `original` back, or why it stays; `retractable` names what may be taken back, all when `None`.
pub(super) fn retract(
    request: &Event,
    original: Option<&StoredEvent>,
    retractable: Option<&[Arc<str>]>,
) -> Result<Retraction, Quarantine> {
    let refuse =
        |reason, detail: String| Quarantine { reason, field: "retracts_message_id".to_owned(), detail };
    let Some(original) = original else {
        let detail =
            "no such event of this user is stored; expected the message_id of an accepted event".to_owned();
        return Err(refuse(QuarantineReason::UnknownOriginal, detail));
    };
    let StoredEvent { event: told, origin, .. } = original;
    if matches!(told.kind, EventKind::Retract | EventKind::Alias) {
        let detail = format!("the event is `{}`; expected an event that counts", told.name);
        return Err(refuse(QuarantineReason::NotRetractable, detail));
    }
    if retractable.is_some_and(|names| names.binary_search(&told.name).is_err()) {
        let detail = format!("`{}` is not declared retractable; expected an event that is", told.name);
        return Err(refuse(QuarantineReason::NotRetractable, detail));
    }
    let event = Event {
        message_key: request.message_key,
        user: request.user,
        kind: EventKind::Retract,
        name: Arc::clone(&told.name),
        event_time: told.event_time,
        received_at: request.received_at,
        properties: told.properties.clone(),
    };
    // Nothing knew of it before it was said, nor before the original itself was to be seen.
    let visible_from = request.event_time.max(original.visible_at());
    let visible_from = Some(visible_from).filter(|from| *from > told.event_time);
    Ok(Retraction { event, origin: *origin, visible_from })
}
