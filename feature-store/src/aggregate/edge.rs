//! The first or the last value of a property, by event time and, at the same millisecond, by message key.
//!
//! Not here: texts longer than [`MAX_TEXT_BYTES`], which do not count.

use augur_domain::ids::MessageKey;
use augur_domain::{Timestamp, Value};

use super::{Input, Keep, Measured, put_time, put_value, take_time, take_value};
use crate::bytes::Reader;
use crate::error::DecodeError;
use crate::schema::{AggregateKind, AggregateSpec, Measure};

/// Longest text that is kept in a state; an event with a longer one does not count.
pub(crate) const MAX_TEXT_BYTES: usize = 256;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Edge {
    at: Timestamp,
    message_key: MessageKey,
    value: Option<Value>,
}

impl Edge {
    fn take_in(&mut self, (at, message_key): (Timestamp, MessageKey), value: &Value, spec: &AggregateSpec) {
        let last = matches!(spec.kind, AggregateKind::Edge { last: true, .. });
        let (own, others) = ((self.at, self.message_key), (at, message_key));
        if self.value.is_none() || if last { others > own } else { others < own } {
            *self = Self { at, message_key, value: Some(value.clone()) };
        }
    }
}

impl Keep for Edge {
    fn begin(at: Timestamp, _spec: &AggregateSpec) -> Self {
        Self { at, message_key: MessageKey::from_bytes([0; 16]), value: None }
    }

    fn add(&mut self, input: &Input<'_>, spec: &AggregateSpec) {
        if let Some(value) = input.value {
            self.take_in((input.at, input.message_key), value, spec);
        }
    }

    fn merge(&mut self, other: &Self, spec: &AggregateSpec) {
        if let Some(value) = &other.value {
            self.take_in((other.at, other.message_key), value, spec);
        }
    }

    fn measure(&self, measure: Measure, _now: Timestamp, _spec: &AggregateSpec) -> Option<Measured> {
        match measure {
            Measure::FirstValue | Measure::LastValue => self.value.as_ref().map(Measured::value),
            _ => None,
        }
    }

    fn latest(&self) -> Timestamp {
        self.at
    }

    fn encode(&self, _spec: &AggregateSpec, out: &mut Vec<u8>) {
        put_time(out, self.at);
        out.extend_from_slice(self.message_key.as_bytes());
        if let Some(value) = &self.value {
            put_value(out, value);
        }
    }

    fn decode(reader: &mut Reader<'_>, _spec: &AggregateSpec) -> Result<Self, DecodeError> {
        let at = take_time(reader, "edge time")?;
        let message_key = MessageKey::from_bytes(reader.array("edge message key")?);
        Ok(Self { at, message_key, value: Some(take_value(reader)?) })
    }
}
