//! When something first and last happened.
//!
//! Not here: the values that came with it (`edge`).

use augur_domain::Timestamp;

use super::{Input, Keep, Measured, put_time, seconds, take_back, take_time};
use crate::bytes::{self, Reader};
use crate::error::DecodeError;
use crate::schema::{AggregateSpec, Measure};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recency {
    first: Timestamp,
    last: Timestamp,
}

impl Keep for Recency {
    fn begin(at: Timestamp, _spec: &AggregateSpec) -> Self {
        Self { first: at, last: at }
    }

    fn add(&mut self, input: &Input<'_>, _spec: &AggregateSpec) {
        self.first = self.first.min(input.at);
        self.last = self.last.max(input.at);
    }

    fn merge(&mut self, other: &Self, _spec: &AggregateSpec) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }

    fn measure(&self, measure: Measure, now: Timestamp, _spec: &AggregateSpec) -> Option<Measured> {
        match measure {
            Measure::SinceLast => Some(Measured::number(seconds(now.millis_since(self.last)))),
            Measure::SinceFirst => Some(Measured::number(seconds(now.millis_since(self.first)))),
            _ => None,
        }
    }

    fn latest(&self) -> Timestamp {
        self.last
    }

    fn encode(&self, _spec: &AggregateSpec, out: &mut Vec<u8>) {
        put_time(out, self.last);
        bytes::put_unsigned(out, self.last.millis_since(self.first).unsigned_abs());
    }

    fn decode(reader: &mut Reader<'_>, _spec: &AggregateSpec) -> Result<Self, DecodeError> {
        let last = take_time(reader, "last time")?;
        let first = take_back(reader, last, "time span")?;
        Ok(Self { first, last })
    }
}
