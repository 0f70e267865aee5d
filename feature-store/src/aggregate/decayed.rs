//! Counts and sums whose events weigh 2^(-age / half-life).
//!
//! Kept relative to the latest event, so every exponent is at or below zero and nothing can overflow, however
//! short the half-life or long the life (forward decay with a moving landmark: Cormode, Shkapenyuk, Srivastava
//! and Xu, ICDE 2009). Orders of arrival agree to rounding. Not here: timers; an idle user costs nothing. Nor sums that
//! are the same bits in any order (`decayed_cells`).

use augur_domain::{Timestamp, math};

use super::{Input, Keep, Measured, add_bounded, put_time, take_time};
use crate::bytes::{self, Reader};
use crate::error::DecodeError;
use crate::schema::{AggregateKind, AggregateSpec, Measure};

/// Below this a sum is nothing, and subnormal numbers are slow.
const NEGLIGIBLE: f64 = 1e-300;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decayed {
    /// The instant that the sums are true at: the latest event.
    reference: Timestamp,
    /// One per half-life.
    sums: Vec<f64>,
}

impl Decayed {
    fn add_all(&mut self, at: Timestamp, amounts: impl Iterator<Item = f64>, half_lives_ms: &[i64]) {
        let ahead_ms = at.millis_since(self.reference);
        for ((sum, amount), &half_life_ms) in self.sums.iter_mut().zip(amounts).zip(half_lives_ms) {
            *sum = if ahead_ms >= 0 {
                add_bounded(settle(*sum * math::decay(ahead_ms, half_life_ms)), amount)
            } else {
                add_bounded(*sum, settle(amount * math::decay(-ahead_ms, half_life_ms)))
            };
        }
        self.reference = self.reference.max(at);
    }
}

/// What a sum that was true at `reference` is worth at `now`.
fn worth(sum: f64, reference: Timestamp, half_life_ms: i64, now: Timestamp) -> Measured {
    Measured::number(settle(sum * math::decay(now.millis_since(reference), half_life_ms)))
}

fn half_lives_ms(spec: &AggregateSpec) -> &[i64] {
    if let AggregateKind::Decayed { half_lives_ms, .. } = &spec.kind { half_lives_ms } else { &[] }
}

impl Keep for Decayed {
    fn begin(at: Timestamp, spec: &AggregateSpec) -> Self {
        Self { reference: at, sums: vec![0.0; half_lives_ms(spec).len()] }
    }

    fn add(&mut self, input: &Input<'_>, spec: &AggregateSpec) {
        self.add_all(input.at, std::iter::repeat(input.weight), half_lives_ms(spec));
    }

    fn merge(&mut self, other: &Self, spec: &AggregateSpec) {
        self.add_all(other.reference, other.sums.iter().copied(), half_lives_ms(spec));
    }

    fn measure(&self, measure: Measure, now: Timestamp, _spec: &AggregateSpec) -> Option<Measured> {
        let Measure::Decayed { index, half_life_ms } = measure else { return None };
        let sum = self.sums.get(index).copied().unwrap_or(0.0);
        Some(worth(sum, self.reference, half_life_ms, now))
    }

    fn peek(
        mut reader: Reader<'_>,
        measures: impl Iterator<Item = Measure>,
        now: Timestamp,
        _spec: &AggregateSpec,
        mut tell: impl FnMut(Option<Measured>, Timestamp),
    ) -> Result<(), DecodeError> {
        let reference = take_time(&mut reader, "decay reference time")?;
        for measure in measures {
            let Measure::Decayed { index, half_life_ms } = measure else {
                tell(None, reference);
                continue;
            };
            let mut sums = reader.clone();
            sums.skip(index.saturating_mul(size_of::<f64>()), "decayed sum")?;
            let sum = sums.finite("decayed sum")?;
            tell(Some(worth(sum, reference, half_life_ms, now)), reference);
        }
        Ok(())
    }

    fn latest(&self) -> Timestamp {
        self.reference
    }

    fn encode(&self, _spec: &AggregateSpec, out: &mut Vec<u8>) {
        put_time(out, self.reference);
        for &sum in &self.sums {
            bytes::put_f64(out, sum);
        }
    }

    fn decode(reader: &mut Reader<'_>, spec: &AggregateSpec) -> Result<Self, DecodeError> {
        let reference = take_time(reader, "decay reference time")?;
        let sums =
            half_lives_ms(spec).iter().map(|_| reader.finite("decayed sum")).collect::<Result<_, _>>()?;
        Ok(Self { reference, sums })
    }
}

/// What is too small to matter becomes exactly 0, and so does negative zero.
fn settle(sum: f64) -> f64 {
    if sum.abs() < NEGLIGIBLE { 0.0 } else { sum }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, input, spec};
    use super::*;

    fn decayed(weights: &[(i64, f64)]) -> Decayed {
        let spec = of_a_second();
        let mut decayed = Decayed::begin(at(weights[0].0), &spec);
        for &(unix_ms, weight) in weights {
            decayed.add(&input(unix_ms, weight), &spec);
        }
        decayed
    }

    fn of_a_second() -> AggregateSpec {
        spec(AggregateKind::Decayed { half_lives_ms: vec![1_000], exact: false }, true)
    }

    fn value(decayed: &Decayed, now: i64) -> f64 {
        let measure = Measure::Decayed { index: 0, half_life_ms: 1_000 };
        decayed.measure(measure, at(now), &of_a_second()).unwrap().as_number().unwrap()
    }

    #[test]
    fn late_events_weigh_what_their_age_says() {
        let decayed = decayed(&[(5_000, 1.0), (3_000, 1.0)]);
        assert_eq!(value(&decayed, 5_000), 1.25);
        assert_eq!(value(&decayed, 6_000), 0.625);
        assert_eq!(decayed.latest(), at(5_000));
    }

    #[test]
    fn ten_thousand_half_lives_neither_overflow_nor_leave_dust() {
        let decayed = decayed(&[(0, -1e300), (10_000_000, 1.0)]);
        assert_eq!(value(&decayed, 10_000_000), 1.0);
        assert_eq!(value(&decayed, 20_000_000).to_bits(), 0);
    }

    #[test]
    fn huge_values_stay_finite() {
        assert_eq!(value(&decayed(&[(0, f64::MAX); 4]), 0), f64::MAX);
    }
}
