//! A count or a sum since ever.
//!
//! Not here: the cell itself (`cell`).

use augur_domain::Timestamp;

use super::cell::Cell;
use super::{Input, Keep, Measured, put_time, take_time};
use crate::bytes::Reader;
use crate::error::DecodeError;
use crate::schema::{AggregateSpec, Measure, WindowStatistic};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Total<C> {
    latest: Timestamp,
    cell: Option<C>,
}

impl<C: Cell> Total<C> {
    fn take_in(&mut self, at: Timestamp, cell: &C) {
        self.latest = self.latest.max(at);
        match &mut self.cell {
            Some(kept) => kept.merge(cell),
            None => self.cell = Some(cell.clone()),
        }
        if self.cell.as_ref().is_some_and(Cell::is_void) {
            self.cell = None;
        }
    }
}

impl<C: Cell> Keep for Total<C> {
    fn begin(at: Timestamp, _spec: &AggregateSpec) -> Self {
        Self { latest: at, cell: None }
    }

    fn add(&mut self, input: &Input<'_>, _spec: &AggregateSpec) {
        self.take_in(input.at, &C::of(input.weight));
    }

    fn retract(&mut self, input: &Input<'_>, _spec: &AggregateSpec) {
        if let Some(undoing) = C::undoing(input.weight) {
            self.take_in(input.at, &undoing);
        }
    }

    fn merge(&mut self, other: &Self, _spec: &AggregateSpec) {
        self.latest = self.latest.max(other.latest);
        if let Some(cell) = &other.cell {
            self.take_in(other.latest, cell);
        }
    }

    fn measure(&self, measure: Measure, _now: Timestamp, _spec: &AggregateSpec) -> Option<Measured> {
        let Measure::Total = measure else { return None };
        let sum = self.cell.as_ref().map_or(Some(0.0), |cell| cell.statistic(WindowStatistic::Sum));
        sum.map(Measured::number)
    }

    fn latest(&self) -> Timestamp {
        self.latest
    }

    fn encode(&self, _spec: &AggregateSpec, out: &mut Vec<u8>) {
        put_time(out, self.latest);
        out.push(u8::from(self.cell.is_some()));
        if let Some(cell) = &self.cell {
            cell.encode(out);
        }
    }

    fn decode(reader: &mut Reader<'_>, _spec: &AggregateSpec) -> Result<Self, DecodeError> {
        let latest = take_time(reader, "total latest time")?;
        let cell = match reader.byte("total presence")? {
            0 => None,
            1 => Some(C::decode(reader)?),
            _ => return Err(DecodeError::Invalid { field: "total presence" }),
        };
        Ok(Self { latest, cell })
    }
}
