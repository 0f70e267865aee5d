//! Decayed counts and sums in whole numbers: the same bits in any order, and events can be taken back.
//!
//! Time is cut into cells of one half-life. An event adds its millionths, times 2^(part of the half-life gone by) in
//! 2^-40ths, to its cell; a read weighs whole cells by powers of two, which is exact. Only the [`CELLS`] newest cells
//! are kept and read, so what is dropped depends on the latest time alone. Against the plain sum of decayed amounts, each weight is
//! off by 2^-41 at most, each amount by half a millionth, and what is dropped weighs less than 2^-63 of its amount.
//! Not here: sums of doubles (`decayed`).

use augur_domain::{Timestamp, math};

use super::{Input, Keep, Measured, fixed, put_time, take_time};
use crate::bytes::{self, Reader};
use crate::error::DecodeError;
use crate::schema::{AggregateKind, AggregateSpec, Measure};

/// Cells that are kept per half-life.
const CELLS: i64 = 64;
/// 2^40: units of a weight inside a cell.
const WEIGHT_UNITS: f64 = 1_099_511_627_776.0;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DecayedCells {
    /// The latest time, of events taken back too.
    latest: Timestamp,
    /// One per half-life.
    grids: Vec<Vec<DecayCell>>,
}

/// Ascending by number, none of them 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DecayCell {
    number: i64,
    sum: i128,
}

impl DecayedCells {
    fn take_in(&mut self, at: Timestamp, units: i128, half_lives_ms: &[i64]) {
        self.advance(at, half_lives_ms);
        for (grid, &half_life_ms) in self.grids.iter_mut().zip(half_lives_ms) {
            let (number, growth) = place(at, half_life_ms);
            if number >= oldest(self.latest, half_life_ms) {
                add(grid, number, units.wrapping_mul((growth * WEIGHT_UNITS).round() as i128));
            }
        }
    }

    fn advance(&mut self, at: Timestamp, half_lives_ms: &[i64]) {
        if at <= self.latest {
            return;
        }
        self.latest = at;
        for (grid, &half_life_ms) in self.grids.iter_mut().zip(half_lives_ms) {
            let oldest = oldest(at, half_life_ms);
            let expired = grid.partition_point(|cell| cell.number < oldest);
            grid.drain(..expired);
        }
    }

    fn value(&self, index: usize, half_life_ms: i64, now: Timestamp) -> f64 {
        let mut worth = Worth::at(now.max(self.latest), half_life_ms);
        let cells = self.grids.get(index).map(Vec::as_slice).unwrap_or_default();
        cells.iter().rev().for_each(|cell| worth.add(*cell));
        worth.value()
    }
}

/// What cells, from the newest back, are worth at an instant that is not before the latest event.
struct Worth {
    newest: i64,
    growth: f64,
    sum: f64,
}

impl Worth {
    fn at(now: Timestamp, half_life_ms: i64) -> Self {
        let (newest, growth) = place(now, half_life_ms);
        Self { newest, growth, sum: 0.0 }
    }

    fn add(&mut self, cell: DecayCell) {
        if self.newest.saturating_sub(cell.number) < CELLS {
            self.sum += fixed::amount(cell.sum) * power_of_two(cell.number - self.newest);
        }
    }

    fn value(&self) -> f64 {
        self.sum / (self.growth * WEIGHT_UNITS)
    }
}

fn told(value: f64, spec: &AggregateSpec) -> Measured {
    // No number of events is below none, though a taking-back may have come before its event.
    Measured::number(if spec.counts() { value.max(0.0) } else { value })
}

/// The cell of an instant and 2^(part of the half-life gone by since its beginning).
fn place(at: Timestamp, half_life_ms: i64) -> (i64, f64) {
    let (number, rest_ms) = (at.unix_ms().div_euclid(half_life_ms), at.unix_ms().rem_euclid(half_life_ms));
    (number, math::exp2(rest_ms as f64 / half_life_ms as f64))
}

const fn oldest(latest: Timestamp, half_life_ms: i64) -> i64 {
    latest.unix_ms().div_euclid(half_life_ms) - (CELLS - 1)
}

/// 2^exponent for exponents from -63 to 0.
const fn power_of_two(exponent: i64) -> f64 {
    1.0 / (1_u64 << (-exponent) as u32) as f64
}

fn add(grid: &mut Vec<DecayCell>, number: i64, sum: i128) {
    let place = grid.partition_point(|cell| cell.number < number);
    match grid.get_mut(place) {
        Some(cell) if cell.number == number => {
            cell.sum = cell.sum.wrapping_add(sum);
            if cell.sum == 0 {
                grid.remove(place);
            }
        }
        _ if sum == 0 => {}
        _ => grid.insert(place, DecayCell { number, sum }),
    }
}

fn half_lives_ms(spec: &AggregateSpec) -> &[i64] {
    if let AggregateKind::Decayed { half_lives_ms, .. } = &spec.kind { half_lives_ms } else { &[] }
}

impl Keep for DecayedCells {
    fn begin(at: Timestamp, spec: &AggregateSpec) -> Self {
        Self { latest: at, grids: vec![Vec::new(); half_lives_ms(spec).len()] }
    }

    fn add(&mut self, input: &Input<'_>, spec: &AggregateSpec) {
        self.take_in(input.at, fixed::units(input.weight), half_lives_ms(spec));
    }

    fn retract(&mut self, input: &Input<'_>, spec: &AggregateSpec) {
        self.take_in(input.at, -fixed::units(input.weight), half_lives_ms(spec));
    }

    fn merge(&mut self, other: &Self, spec: &AggregateSpec) {
        let half_lives_ms = half_lives_ms(spec);
        self.advance(other.latest, half_lives_ms);
        for ((grid, others), &half_life_ms) in self.grids.iter_mut().zip(&other.grids).zip(half_lives_ms) {
            let oldest = oldest(self.latest, half_life_ms);
            for cell in others.iter().filter(|cell| cell.number >= oldest) {
                add(grid, cell.number, cell.sum);
            }
        }
    }

    fn measure(&self, measure: Measure, now: Timestamp, spec: &AggregateSpec) -> Option<Measured> {
        let Measure::Decayed { index, half_life_ms } = measure else { return None };
        Some(told(self.value(index, half_life_ms, now), spec))
    }

    fn peek(
        mut reader: Reader<'_>,
        measures: impl Iterator<Item = Measure>,
        now: Timestamp,
        spec: &AggregateSpec,
        mut tell: impl FnMut(Option<Measured>, Timestamp),
    ) -> Result<(), DecodeError> {
        let latest = take_time(&mut reader, "decay latest time")?;
        // Grids stand one behind the other, as their measures mostly do.
        let (mut ahead, mut next) = (reader.clone(), 0);
        for measure in measures {
            let Measure::Decayed { index, half_life_ms } = measure else {
                tell(None, latest);
                continue;
            };
            if index < next {
                (ahead, next) = (reader.clone(), 0);
            }
            for &passed_ms in half_lives_ms(spec).iter().take(index).skip(next) {
                each_cell(&mut ahead, latest, passed_ms, |_| ())?;
            }
            let mut worth = Worth::at(now.max(latest), half_life_ms);
            each_cell(&mut ahead, latest, half_life_ms, |cell| worth.add(cell))?;
            next = index.saturating_add(1);
            tell(Some(told(worth.value(), spec)), latest);
        }
        Ok(())
    }

    fn latest(&self) -> Timestamp {
        self.latest
    }

    fn encode(&self, spec: &AggregateSpec, out: &mut Vec<u8>) {
        put_time(out, self.latest);
        for (grid, &half_life_ms) in self.grids.iter().zip(half_lives_ms(spec)) {
            bytes::put_unsigned(out, grid.len() as u64);
            let mut newer = self.latest.unix_ms().div_euclid(half_life_ms);
            for cell in grid.iter().rev() {
                bytes::put_unsigned(out, newer.abs_diff(cell.number));
                bytes::put_signed_wide(out, cell.sum);
                newer = cell.number;
            }
        }
    }

    fn decode(reader: &mut Reader<'_>, spec: &AggregateSpec) -> Result<Self, DecodeError> {
        let latest = take_time(reader, "decay latest time")?;
        let half_lives_ms = half_lives_ms(spec);
        let grids = half_lives_ms.iter().map(|&half_life_ms| take_grid(reader, latest, half_life_ms));
        Ok(Self { latest, grids: grids.collect::<Result<_, _>>()? })
    }
}

fn take_grid(
    reader: &mut Reader<'_>,
    latest: Timestamp,
    half_life_ms: i64,
) -> Result<Vec<DecayCell>, DecodeError> {
    let mut grid = Vec::new();
    each_cell(reader, latest, half_life_ms, |cell| grid.push(cell))?;
    grid.reverse();
    Ok(grid)
}

/// The cells of one grid, from the newest back.
fn each_cell(
    reader: &mut Reader<'_>,
    latest: Timestamp,
    half_life_ms: i64,
    mut take: impl FnMut(DecayCell),
) -> Result<(), DecodeError> {
    const FIELD: &str = "decay cell";
    const INVALID: DecodeError = DecodeError::Invalid { field: FIELD };
    let count = reader.count(FIELD, 2)?;
    let oldest = oldest(latest, half_life_ms);
    let mut newer = latest.unix_ms().div_euclid(half_life_ms);
    for index in 0..count {
        let behind = i64::try_from(reader.unsigned(FIELD)?).map_err(|_| INVALID)?;
        let number = newer.checked_sub(behind).ok_or(INVALID)?;
        let sum = reader.signed_wide(FIELD)?;
        if number < oldest || sum == 0 || (index > 0 && behind == 0) {
            return Err(INVALID);
        }
        take(DecayCell { number, sum });
        newer = number;
    }
    Ok(())
}
