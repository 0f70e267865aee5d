//! When something first and last happened.
//!
//! Not here: ages; those are reckoned from the `now` of a read.

use augur_domain::Timestamp;

use super::{put_time, take_time};
use crate::bytes::{self, Reader};
use crate::error::DecodeError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recency {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

impl Recency {
    pub(super) const fn new(at: Timestamp) -> Self {
        Self { first: at, last: at }
    }

    pub(super) fn add(&mut self, at: Timestamp) {
        self.first = self.first.min(at);
        self.last = self.last.max(at);
    }

    pub(super) fn encode(self, out: &mut Vec<u8>) {
        put_time(out, self.first);
        bytes::put_unsigned(out, self.last.millis_since(self.first).unsigned_abs());
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let first = take_time(reader, "first time")?;
        let span_ms = i64::try_from(reader.unsigned("time span")?)
            .map_err(|_| DecodeError::Invalid { field: "time span" })?;
        Ok(Self { first, last: first.plus_millis(span_ms) })
    }
}
