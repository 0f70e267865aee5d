//! The event log's record: everything that was accepted with an event, so that any feature can be computed later.
//!
//! The user and the sequence are in the key, not here. Layout of version 1 inside the seal of [`crate::bytes`]:
//! message key (16 bytes), kind, event time, delay until receipt, name, then the properties, each a name, a tag
//! and a value. Version 2 puts in front what a plain event does not have: a byte that says which of the two are
//! there, the origin (16 bytes), and from when it is visible, counted from the event time. A plain event is still
//! written in version 1. Not here: validation, which came before.

use std::sync::Arc;

use augur_domain::event::EventKind;
use augur_domain::ids::{MessageKey, UserKey};
use augur_domain::value::Finite;
use augur_domain::{Event, Timestamp, Value};

use crate::bytes::{self, Reader};
use crate::error::DecodeError;

const MAGIC: u8 = b'E';
const PLAIN_VERSION: u8 = 1;
const VERSION: u8 = 2;

const HAS_ORIGIN: u8 = 1;
const HAS_VISIBLE_FROM: u8 = 2;

const FALSE: u8 = 0;
const TRUE: u8 = 1;
const NUMBER: u8 = 2;
const TEXT: u8 = 3;

/// An event with its place among the events of its user.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// Counted from 1 per user in the order of arrival, without gaps but for events that were kept long enough.
    pub sequence: u64,
    /// The event as it was accepted, with every property.
    pub event: Event,
    /// The anonymous or former id under which it came, when that is linked to this person; `None` for the person's
    /// own key.
    pub origin: Option<UserKey>,
    /// When it became part of this person's log, where that is later than by its event time: the time of the link
    /// for an event from another id, the time of the retraction for a retraction.
    pub visible_from: Option<Timestamp>,
}

impl StoredEvent {
    /// From when a read of the past may see it: strictly after this instant.
    pub fn visible_at(&self) -> Timestamp {
        self.visible_from.map_or(self.event.event_time, |from| from.max(self.event.event_time))
    }
}

/// Writes the record of `event`; see [`StoredEvent`] for `origin` and `visible_from`.
pub(crate) fn encode(
    event: &Event,
    origin: Option<UserKey>,
    visible_from: Option<Timestamp>,
    out: &mut Vec<u8>,
) {
    let has = |present: bool, flag: u8| if present { flag } else { 0 };
    let flags = has(origin.is_some(), HAS_ORIGIN) | has(visible_from.is_some(), HAS_VISIBLE_FROM);
    let version = if flags == 0 { PLAIN_VERSION } else { VERSION };
    bytes::seal(out, MAGIC, version, |out| {
        if version == VERSION {
            out.push(flags);
            out.extend_from_slice(origin.as_ref().map_or(&[], |key| key.as_bytes().as_slice()));
            if let Some(from) = visible_from {
                bytes::put_signed(out, from.millis_since(event.event_time));
            }
        }
        out.extend_from_slice(event.message_key.as_bytes());
        out.push(event.kind as u8);
        bytes::put_signed(out, event.event_time.unix_ms());
        bytes::put_signed(out, event.received_at.millis_since(event.event_time));
        bytes::put_text(out, &event.name);
        bytes::put_unsigned(out, event.properties.len() as u64);
        for (name, value) in &event.properties {
            bytes::put_text(out, name);
            put_value(out, value);
        }
    });
}

/// About as many bytes as the event takes in the log, without encoding it; never less than 64.
pub(crate) fn approximate_bytes(event: &Event) -> usize {
    const FIXED: usize = 64;
    const NUMBER: usize = 8;
    let properties = event.properties.iter().map(|(name, value)| {
        let value_bytes = value.as_text().map_or(NUMBER, str::len);
        name.len().saturating_add(value_bytes).saturating_add(NUMBER)
    });
    properties.fold(FIXED.saturating_add(event.name.len()), usize::saturating_add)
}

pub(crate) fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Boolean(false) => out.push(FALSE),
        Value::Boolean(true) => out.push(TRUE),
        Value::Number(number) => {
            out.push(NUMBER);
            bytes::put_f64(out, number.get());
        }
        Value::Text(text) => {
            out.push(TEXT);
            bytes::put_text(out, text);
        }
    }
}

pub(crate) fn decode(user: UserKey, sequence: u64, record: &[u8]) -> Result<StoredEvent, DecodeError> {
    let (version, mut reader) = bytes::unseal(record, MAGIC, VERSION)?;
    let flags = if version == PLAIN_VERSION { 0 } else { reader.byte("flags")? };
    // A record of version 2 has at least one of the two: an event has one encoding.
    if flags > HAS_ORIGIN | HAS_VISIBLE_FROM || (version == VERSION && flags == 0) {
        return Err(DecodeError::Invalid { field: "flags" });
    }
    let has = |flag: u8| flags & flag != 0;
    let origin = has(HAS_ORIGIN).then(|| reader.array("origin").map(UserKey::from_bytes)).transpose()?;
    let visible_ms = has(HAS_VISIBLE_FROM).then(|| reader.signed("visible from")).transpose()?;
    let event = take_event(user, &mut reader)?;
    reader.finish()?;
    let visible_from = visible_ms.map(|ms| event.event_time.plus_millis(ms));
    Ok(StoredEvent { sequence, event, origin, visible_from })
}

fn take_event(user: UserKey, reader: &mut Reader<'_>) -> Result<Event, DecodeError> {
    let message_key = MessageKey::from_bytes(reader.array("message key")?);
    let kind = EventKind::from_u8(reader.byte("kind")?).ok_or(DecodeError::Invalid { field: "kind" })?;
    let event_time = Timestamp::from_unix_ms(reader.signed("event time")?);
    let received_at = event_time.plus_millis(reader.signed("receipt delay")?);
    let name = reader.text("event name")?.into();
    let count = reader.count("properties", 2)?;
    let mut properties: Vec<(Arc<str>, Value)> = Vec::with_capacity(count);
    for _ in 0..count {
        let name: Arc<str> = reader.text("property name")?.into();
        // `Event::property` searches by halves: names out of order would be there and not be found.
        if properties.last().is_some_and(|(previous, _)| *previous >= name) {
            return Err(DecodeError::Invalid { field: "property order" });
        }
        properties.push((name, take_value(reader)?));
    }
    Ok(Event { message_key, user, kind, name, event_time, received_at, properties })
}

pub(crate) fn take_value(reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
    const FIELD: &str = "property value";
    Ok(match reader.byte(FIELD)? {
        FALSE => Value::Boolean(false),
        TRUE => Value::Boolean(true),
        NUMBER => {
            let number = Finite::new(reader.finite(FIELD)?);
            Value::Number(number.ok_or(DecodeError::Invalid { field: FIELD })?)
        }
        TEXT => Value::Text(reader.text(FIELD)?.into()),
        _ => return Err(DecodeError::Invalid { field: FIELD }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::any_event;
    use augur_domain::time::DAY_MS;
    use proptest::prelude::*;

    fn purchase() -> Event {
        Event {
            message_key: MessageKey::from_bytes([7; 16]),
            user: UserKey::from_bytes([9; 16]),
            kind: EventKind::Track,
            name: "purchase".into(),
            event_time: Timestamp::from_unix_ms(1_000),
            received_at: Timestamp::from_unix_ms(1_250),
            properties: vec![
                ("currency".into(), Value::Text("EUR".into())),
                ("gift".into(), Value::Boolean(true)),
                ("value".into(), Value::Number(Finite::new(12.5).unwrap())),
            ],
        }
    }

    fn encoded(stored: &StoredEvent) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&stored.event, stored.origin, stored.visible_from, &mut out);
        out
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn golden_bytes_of_a_plain_event() {
        let stored = StoredEvent { sequence: 4, event: purchase(), origin: None, visible_from: None };
        let out = encoded(&stored);
        assert_eq!(
            hex(&out),
            "45010707070707070707070707070707070701d00ff403087075726368617365030863757272656e637903034555520467696674010576616c7565020000000000002940f0d006fe",
            "stored events depend on these bytes"
        );
        assert_eq!(decode(stored.event.user, 4, &out).unwrap(), stored);
        assert_eq!(stored.visible_at(), stored.event.event_time);
    }

    #[test]
    fn golden_bytes_of_an_event_from_a_linked_id() {
        let event = Event { kind: EventKind::Retract, ..purchase() };
        let origin = Some(UserKey::from_bytes([3; 16]));
        let visible_from = Some(Timestamp::from_unix_ms(5_000));
        let stored = StoredEvent { sequence: 4, event, origin, visible_from };
        let out = encoded(&stored);
        assert_eq!(
            hex(&out),
            "45020303030303030303030303030303030303c03e0707070707070707070707070707070706d00ff403087075726368617365030863757272656e637903034555520467696674010576616c7565020000000000002940f1141300",
            "stored events depend on these bytes"
        );
        assert_eq!(decode(stored.event.user, 4, &out).unwrap(), stored);
        assert_eq!(stored.visible_at().unix_ms(), 5_000);
        let late = StoredEvent { visible_from: Some(Timestamp::MIN), ..stored };
        assert_eq!(late.visible_at(), late.event.event_time);
    }

    #[test]
    fn an_event_has_one_encoding() {
        let mut plain = Vec::new();
        encode(&purchase(), None, None, &mut plain);
        for flags in [0, 4, 255] {
            let mut record = Vec::new();
            bytes::seal(&mut record, MAGIC, VERSION, |out| {
                out.push(flags);
                out.extend_from_slice(&plain[2..plain.len() - 4]);
            });
            let refused = decode(UserKey::default(), 1, &record).unwrap_err();
            assert_eq!(refused, DecodeError::Invalid { field: "flags" });
        }
    }

    proptest! {
        #[test]
        fn round_trips(
            event in any_event(),
            origin: Option<[u8; 16]>,
            visible_ms in prop::option::of(-DAY_MS..1_000 * DAY_MS),
        ) {
            // As every instant of the wire does, times and their differences fit a timestamp.
            let event_time = Timestamp::from_unix_ms(event.event_time.unix_ms() / 4);
            let event = Event { event_time, received_at: event_time, ..event };
            let visible_from = visible_ms.map(|ms| event_time.plus_millis(ms));
            let origin = origin.map(UserKey::from_bytes);
            let stored = StoredEvent { sequence: 9, event, origin, visible_from };
            prop_assert_eq!(decode(stored.event.user, 9, &encoded(&stored)).unwrap(), stored);
        }

        #[test]
        fn plain_events_round_trip(event in any_event()) {
            let stored = StoredEvent { sequence: 1, event, origin: None, visible_from: None };
            prop_assert_eq!(decode(stored.event.user, 1, &encoded(&stored)).unwrap(), stored);
        }

        #[test]
        fn arbitrary_bytes_never_panic(body: Vec<u8>) {
            let user = UserKey::default();
            for version in [PLAIN_VERSION, VERSION] {
                let mut record = Vec::new();
                bytes::seal(&mut record, MAGIC, version, |out| out.extend_from_slice(&body));
                let _ = (decode(user, 1, &record), decode(user, 1, &body));
            }
        }
    }
}
