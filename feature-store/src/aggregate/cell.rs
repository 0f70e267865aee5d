//! What a tile, or all time, holds of the events in it: counts, sums, moments, extremes.
//!
//! Cells are merged, never subtracted from one another. Only those that are whole numbers can take an event back.
//! Not here: which events belong to a cell (`windowed`, `total`).

use augur_domain::math;

use super::{add_bounded, fixed};
use crate::bytes::{self, Reader};
use crate::error::DecodeError;
use crate::schema::WindowStatistic;

/// A commutative summary of weights.
pub(crate) trait Cell: Clone + PartialEq + std::fmt::Debug {
    /// The cell of one event.
    fn of(weight: f64) -> Self;
    /// Takes in another cell.
    fn merge(&mut self, other: &Self);
    /// The cell that undoes the event's, where there is one.
    fn undoing(weight: f64) -> Option<Self>;
    /// Whether it holds nothing any more, after events were taken back.
    fn is_void(&self) -> bool;
    /// What is asked for, `None` when this cell does not know it.
    fn statistic(&self, what: WindowStatistic) -> Option<f64>;
    fn encode(&self, out: &mut Vec<u8>);
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

/// What is asked for of no cell at all.
pub(super) const fn of_nothing(what: WindowStatistic) -> Option<f64> {
    match what {
        WindowStatistic::Count | WindowStatistic::Sum => Some(0.0),
        _ => None,
    }
}

/// A number of events. Below zero only while a taking-back has met no event yet; it reads as 0 then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count(i64);

impl Cell for Count {
    fn of(_weight: f64) -> Self {
        Self(1)
    }

    fn merge(&mut self, other: &Self) {
        self.0 = self.0.wrapping_add(other.0);
    }

    fn undoing(_weight: f64) -> Option<Self> {
        Some(Self(-1))
    }

    fn is_void(&self) -> bool {
        self.0 == 0
    }

    fn statistic(&self, what: WindowStatistic) -> Option<f64> {
        matches!(what, WindowStatistic::Count | WindowStatistic::Sum).then_some(self.0.max(0) as f64)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        bytes::put_signed(out, self.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(reader.signed("count")?))
    }
}

/// A sum of doubles, held inside the finite range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sum(f64);

impl Cell for Sum {
    fn of(weight: f64) -> Self {
        Self(weight)
    }

    fn merge(&mut self, other: &Self) {
        self.0 = add_bounded(self.0, other.0);
    }

    fn undoing(_weight: f64) -> Option<Self> {
        None
    }

    fn is_void(&self) -> bool {
        false
    }

    fn statistic(&self, what: WindowStatistic) -> Option<f64> {
        // Adding +0 keeps a sum of nothing from being -0.
        matches!(what, WindowStatistic::Sum).then_some(self.0 + 0.0)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        bytes::put_f64(out, self.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(reader.finite("sum")?))
    }
}

/// A sum of millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fixed(i128);

impl Cell for Fixed {
    fn of(weight: f64) -> Self {
        Self(fixed::units(weight))
    }

    fn merge(&mut self, other: &Self) {
        self.0 = self.0.wrapping_add(other.0);
    }

    fn undoing(weight: f64) -> Option<Self> {
        Some(Self(-fixed::units(weight)))
    }

    fn is_void(&self) -> bool {
        self.0 == 0
    }

    fn statistic(&self, what: WindowStatistic) -> Option<f64> {
        matches!(what, WindowStatistic::Sum).then_some(fixed::amount(self.0))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        bytes::put_signed_wide(out, self.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(reader.signed_wide("sum")?))
    }
}

/// Number, mean and sum of squared deviations (Welford 1962; Chan, Golub and LeVeque 1979 for the merge).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Moments {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Cell for Moments {
    fn of(weight: f64) -> Self {
        Self { count: 1, mean: weight, squares: 0.0 }
    }

    fn merge(&mut self, other: &Self) {
        let (own, others) = (self.count as f64, other.count as f64);
        let both = own + others;
        let apart = add_bounded(other.mean, -self.mean);
        self.mean = add_bounded(self.mean, apart * (others / both));
        let between = bounded(apart * apart * (own * (others / both)));
        self.squares = add_bounded(add_bounded(self.squares, other.squares), between);
        self.count = self.count.saturating_add(other.count);
    }

    fn undoing(_weight: f64) -> Option<Self> {
        None
    }

    fn is_void(&self) -> bool {
        false
    }

    fn statistic(&self, what: WindowStatistic) -> Option<f64> {
        let count = self.count as f64;
        match what {
            WindowStatistic::Count => Some(count),
            WindowStatistic::Sum => Some(bounded(self.mean * count)),
            WindowStatistic::Mean => Some(self.mean),
            WindowStatistic::Variance => Some(self.squares / count),
            WindowStatistic::StandardDeviation => Some(math::sqrt(self.squares / count)),
            WindowStatistic::Min | WindowStatistic::Max => None,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        bytes::put_unsigned(out, self.count);
        bytes::put_f64(out, self.mean);
        // One event has no deviation.
        if self.count > 1 {
            bytes::put_f64(out, self.squares);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.unsigned("moments")?;
        let mean = reader.finite("mean")?;
        let squares = if count > 1 { reader.finite("squared deviations")? } else { 0.0 };
        if count == 0 || squares < 0.0 {
            return Err(DecodeError::Invalid { field: "moments" });
        }
        Ok(Self { count, mean, squares })
    }
}

/// The least and the greatest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Extremes {
    least: f64,
    greatest: f64,
}

impl Cell for Extremes {
    fn of(weight: f64) -> Self {
        Self { least: weight, greatest: weight }
    }

    fn merge(&mut self, other: &Self) {
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
    }

    fn undoing(_weight: f64) -> Option<Self> {
        None
    }

    fn is_void(&self) -> bool {
        false
    }

    fn statistic(&self, what: WindowStatistic) -> Option<f64> {
        match what {
            WindowStatistic::Min => Some(self.least),
            WindowStatistic::Max => Some(self.greatest),
            _ => None,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        bytes::put_f64(out, self.least);
        bytes::put_f64(out, self.greatest);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (least, greatest) = (reader.finite("least")?, reader.finite("greatest")?);
        if least > greatest {
            return Err(DecodeError::Invalid { field: "extremes" });
        }
        Ok(Self { least, greatest })
    }
}

const fn bounded(number: f64) -> f64 {
    number.clamp(f64::MIN, f64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variance_of_huge_close_numbers_keeps_its_digits() {
        // A sum of squares would lose all of them.
        let values: Vec<f64> = (0..1_000).map(|index| 1e9 + f64::from(index % 10)).collect();
        let mut moments = Moments::of(values[0]);
        values[1..].iter().for_each(|value| moments.merge(&Moments::of(*value)));
        let variance = moments.statistic(WindowStatistic::Variance).unwrap();
        assert!((variance - 8.25).abs() < 1e-6, "{variance}");
        assert_eq!(moments.statistic(WindowStatistic::Count), Some(1_000.0));
    }

    #[test]
    fn huge_values_stay_finite() {
        let mut moments = Moments::of(f64::MAX);
        moments.merge(&Moments::of(f64::MIN));
        moments.merge(&Moments::of(f64::MIN));
        for what in [WindowStatistic::Mean, WindowStatistic::Sum, WindowStatistic::StandardDeviation] {
            assert!(moments.statistic(what).unwrap().is_finite());
        }
    }

    #[test]
    fn a_count_below_zero_reads_as_none() {
        let mut count = Count::undoing(1.0).unwrap();
        assert_eq!(count.statistic(WindowStatistic::Count), Some(0.0));
        count.merge(&Count::of(1.0));
        assert!(count.is_void());
    }
}
