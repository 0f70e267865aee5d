//! Counts and sums whose events weigh 2^(-age / half-life).
//!
//! Kept relative to the latest event, so every exponent is at or below zero and nothing can overflow, however
//! short the half-life or long the life (forward decay with a moving landmark: Cormode, Shkapenyuk, Srivastava
//! and Xu, ICDE 2009). Not here: timers; an idle user costs nothing.

use augur_domain::{Timestamp, math};

use super::{add_bounded, put_time, take_time};
use crate::bytes::{self, Reader};
use crate::error::DecodeError;

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
    pub(super) fn new(at: Timestamp, half_lives: usize) -> Self {
        Self { reference: at, sums: vec![0.0; half_lives] }
    }

    pub(super) fn add(&mut self, at: Timestamp, amount: f64, half_lives_ms: &[i64]) {
        let ahead_ms = at.millis_since(self.reference);
        for (sum, &half_life_ms) in self.sums.iter_mut().zip(half_lives_ms) {
            *sum = if ahead_ms >= 0 {
                add_bounded(settle(*sum * math::decay(ahead_ms, half_life_ms)), amount)
            } else {
                add_bounded(*sum, amount * math::decay(-ahead_ms, half_life_ms))
            };
        }
        self.reference = self.reference.max(at);
    }

    pub(super) fn value(&self, index: usize, half_life_ms: i64, now: Timestamp) -> f64 {
        let sum = self.sums.get(index).copied().unwrap_or(0.0);
        settle(sum * math::decay(now.millis_since(self.reference), half_life_ms))
    }

    pub(super) const fn latest(&self) -> Timestamp {
        self.reference
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_time(out, self.reference);
        for &sum in &self.sums {
            bytes::put_f64(out, sum);
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>, half_lives: usize) -> Result<Self, DecodeError> {
        let reference = take_time(reader, "decay reference time")?;
        let sums = (0..half_lives).map(|_| reader.finite("decayed sum")).collect::<Result<_, _>>()?;
        Ok(Self { reference, sums })
    }
}

/// What is too small to matter becomes exactly 0, and so does negative zero.
fn settle(sum: f64) -> f64 {
    if sum.abs() < NEGLIGIBLE { 0.0 } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(unix_ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(unix_ms)
    }

    #[test]
    fn late_events_weigh_what_their_age_says() {
        let half_lives = [1_000];
        let mut decayed = Decayed::new(at(5_000), 1);
        decayed.add(at(5_000), 1.0, &half_lives);
        decayed.add(at(3_000), 1.0, &half_lives);
        assert_eq!(decayed.value(0, 1_000, at(5_000)), 1.25);
        assert_eq!(decayed.value(0, 1_000, at(6_000)), 0.625);
        assert_eq!(decayed.latest(), at(5_000));
    }

    #[test]
    fn ten_thousand_half_lives_neither_overflow_nor_leave_dust() {
        let half_lives = [1_000];
        let mut decayed = Decayed::new(at(0), 1);
        decayed.add(at(0), -1e300, &half_lives);
        decayed.add(at(10_000_000), 1.0, &half_lives);
        assert_eq!(decayed.value(0, 1_000, at(10_000_000)), 1.0);
        assert_eq!(decayed.value(0, 1_000, at(20_000_000)).to_bits(), 0);
    }

    #[test]
    fn huge_values_stay_finite() {
        let mut decayed = Decayed::new(at(0), 1);
        for _ in 0..4 {
            decayed.add(at(0), f64::MAX, &[1_000]);
        }
        assert_eq!(decayed.value(0, 1_000, at(0)), f64::MAX);
    }
}
