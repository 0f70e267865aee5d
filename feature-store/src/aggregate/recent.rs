//! The latest events one by one, so that a window that holds no more of them is exact to the millisecond.
//!
//! What is kept and what is known to be missing depend on the set of events alone: the greatest N by time, then by
//! weight, and the time of the one behind them. Not here: windows that reach further back; tiles answer those.

use augur_domain::Timestamp;

use super::cell::Cell;
use super::take_back;
use crate::bytes::{self, Reader};
use crate::error::DecodeError;

/// Most events that a declaration may ask to keep.
pub(crate) const MAX_EXACT_EVENTS: u32 = 4_096;

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Recent {
    /// Ascending by time, then by weight.
    events: Vec<(Timestamp, f64)>,
    /// The latest event that did not fit, while a window can still reach it.
    dropped: Option<Timestamp>,
}

impl Recent {
    pub(super) fn add(&mut self, at: Timestamp, weight: f64, most: usize) {
        let place = self.events.partition_point(|event| !precedes((at, weight), *event));
        self.events.insert(place, (at, weight));
        self.keep(most);
    }

    fn keep(&mut self, most: usize) {
        let over = self.events.len().saturating_sub(most);
        let dropped = self.events.drain(..over).next_back().map(|(at, _)| at);
        self.dropped = self.dropped.max(dropped);
    }

    /// Forgets what no window can reach any more.
    pub(super) fn expire(&mut self, oldest: Timestamp) {
        let expired = self.events.partition_point(|(at, _)| *at < oldest);
        self.events.drain(..expired);
        self.dropped = self.dropped.filter(|at| *at >= oldest);
    }

    pub(super) fn merge(&mut self, other: &Self, most: usize) {
        self.events.extend_from_slice(&other.events);
        self.events.sort_by(|one, two| one.0.cmp(&two.0).then(one.1.total_cmp(&two.1)));
        self.dropped = self.dropped.max(other.dropped);
        self.keep(most);
    }

    /// Whether nothing since `start` is missing.
    pub(super) fn covers(&self, start: Timestamp) -> bool {
        self.dropped.is_none_or(|dropped| dropped < start)
    }

    /// Everything from `start` to `end`, from the latest back.
    pub(super) fn cell<C: Cell>(&self, start: Timestamp, end: Timestamp) -> Option<C> {
        let inside = self.events.iter().rev().skip_while(|(at, _)| *at > end);
        let mut weights = inside.take_while(|(at, _)| *at >= start).map(|(_, weight)| *weight);
        let mut cell = C::of(weights.next()?);
        weights.for_each(|weight| cell.merge(&C::of(weight)));
        Some(cell)
    }

    /// The latest first; weights of counts are left out.
    pub(super) fn encode(&self, latest: Timestamp, counts: bool, out: &mut Vec<u8>) {
        bytes::put_unsigned(out, self.events.len() as u64);
        let mut newer = latest;
        for &(at, weight) in self.events.iter().rev() {
            bytes::put_unsigned(out, newer.millis_since(at).unsigned_abs());
            if !counts {
                bytes::put_f64(out, weight);
            }
            newer = at;
        }
        out.push(u8::from(self.dropped.is_some()));
        if let Some(dropped) = self.dropped {
            bytes::put_unsigned(out, newer.millis_since(dropped).unsigned_abs());
        }
    }

    pub(super) fn decode(
        reader: &mut Reader<'_>,
        (latest, oldest): (Timestamp, Timestamp),
        counts: bool,
        most: usize,
    ) -> Result<Self, DecodeError> {
        const FIELD: &str = "recent events";
        let invalid = DecodeError::Invalid { field: FIELD };
        let count = reader.count(FIELD, 1)?;
        let mut recent = Self { events: Vec::with_capacity(count), dropped: None };
        let mut newer = latest;
        for _ in 0..count {
            let at = take_back(reader, newer, FIELD)?;
            let weight = if counts { 1.0 } else { reader.finite(FIELD)? };
            if recent.events.last().is_some_and(|newer| precedes(*newer, (at, weight))) {
                return Err(invalid);
            }
            recent.events.push((at, weight));
            newer = at;
        }
        recent.events.reverse();
        recent.dropped = match reader.byte(FIELD)? {
            0 => None,
            1 if count == most => Some(take_back(reader, newer, FIELD)?),
            _ => return Err(invalid),
        };
        let within = count <= most && newer >= oldest && recent.dropped.is_none_or(|at| at >= oldest);
        if within { Ok(recent) } else { Err(invalid) }
    }
}

/// Whether `one` comes before `two` in the order of the list.
fn precedes(one: (Timestamp, f64), two: (Timestamp, f64)) -> bool {
    one.0.cmp(&two.0).then(one.1.total_cmp(&two.1)).is_lt()
}
