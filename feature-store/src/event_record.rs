//! The event log's record: everything that was accepted with an event, so that any feature can be computed later.
//!
//! The user and the sequence are in the key, not here. Layout of version 1 inside the seal of [`crate::bytes`]:
//! message key (16 bytes), kind, event time, delay until receipt, name, then the properties, each a name, a tag
//! and a value. Not here: validation, which came before.

use std::sync::Arc;

use augur_domain::event::EventKind;
use augur_domain::ids::{MessageKey, UserKey};
use augur_domain::value::Finite;
use augur_domain::{Event, Timestamp, Value};

use crate::bytes::{self, Reader};
use crate::error::DecodeError;

const MAGIC: u8 = b'E';
const VERSION: u8 = 1;

const FALSE: u8 = 0;
const TRUE: u8 = 1;
const NUMBER: u8 = 2;
const TEXT: u8 = 3;

/// An event with its place among the events of its user.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// Counted from 1 per user, without gaps, in the order of arrival.
    pub sequence: u64,
    /// The event as it was accepted, with every property.
    pub event: Event,
}

pub(crate) fn encode(event: &Event, out: &mut Vec<u8>) {
    bytes::seal(out, MAGIC, VERSION, |out| {
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

fn put_value(out: &mut Vec<u8>, value: &Value) {
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

pub(crate) fn decode(user: UserKey, record: &[u8]) -> Result<Event, DecodeError> {
    let (_, mut reader) = bytes::unseal(record, MAGIC, VERSION)?;
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
        properties.push((name, take_value(&mut reader)?));
    }
    reader.finish()?;
    Ok(Event { message_key, user, kind, name, event_time, received_at, properties })
}

fn take_value(reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
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
    use proptest::prelude::*;

    #[test]
    fn golden_bytes() {
        let event = Event {
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
        };
        let mut out = Vec::new();
        encode(&event, &mut out);
        let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "45010707070707070707070707070707070701d00ff403087075726368617365030863757272656e637903034555520467696674010576616c7565020000000000002940f0d006fe",
            "stored events depend on these bytes"
        );
        assert_eq!(decode(event.user, &out).unwrap(), event);
    }

    proptest! {
        #[test]
        fn round_trips(event in any_event()) {
            let mut out = Vec::new();
            encode(&event, &mut out);
            prop_assert_eq!(decode(event.user, &out).unwrap(), event);
        }

        #[test]
        fn arbitrary_bytes_never_panic(body: Vec<u8>) {
            let mut record = Vec::new();
            bytes::seal(&mut record, MAGIC, VERSION, |out| out.extend_from_slice(&body));
            let _ = (decode(UserKey::default(), &record), decode(UserKey::default(), &body));
        }
    }
}
