//! Short ways to declarations and inputs, for the tests of the aggregates.
//!
//! Not here: anything that leaves them.

use augur_domain::ids::MessageKey;
use augur_domain::{ContentHash, Timestamp};

use super::{Input, Measured, MeasuredValue};
use crate::schema::{AggregateKind, AggregateSpec};

pub(super) fn at(unix_ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(unix_ms)
}

pub(super) fn input(unix_ms: i64, weight: f64) -> Input<'static> {
    let message_key = MessageKey::from_bytes([0; 16]);
    Input { at: at(unix_ms), message_key, is_page: false, weight, value: None }
}

pub(super) fn spec(kind: AggregateKind, counts: bool) -> AggregateSpec {
    let property = (!counts).then(|| "value".into());
    AggregateSpec {
        events: Vec::new(),
        property,
        weights: Vec::new(),
        filter: None,
        retractable: false,
        kind,
        definition: ContentHash::default(),
    }
}

impl Measured {
    /// The number, if it is one.
    pub(super) const fn as_number(&self) -> Option<f64> {
        if let MeasuredValue::Number(number) = self.value { Some(number) } else { None }
    }
}
