//! How many different hashes were seen, from the longest run of leading zeros per register.
//!
//! HyperLogLog (Flajolet, Fusy, Gandouet and Meunier, 2007) on 64-bit hashes, read by the improved raw estimator of
//! Ertl ("New cardinality estimation algorithms for HyperLogLog sketches", 2017), which needs no switch between ranges
//! and depends on the registers alone, never on the order of arrival. Not here: small counts, which are exact.

use augur_domain::math;

use crate::bytes::{self, Reader};
use crate::error::DecodeError;

/// 2^16 registers need no more than two bytes for their number.
pub(crate) const PRECISIONS: std::ops::RangeInclusive<u8> = 4..=16;
/// Ranks are at most 64 - 4 + 1.
const RANKS: usize = 64;

/// The relative standard error of an estimate from 2^precision registers.
pub(crate) fn standard_error(precision: u8) -> f64 {
    1.04 / math::sqrt((1_u64 << precision.min(63)) as f64)
}

/// The register that a hash belongs to, and its rank there: 1 + the leading zeros of what remains.
pub(super) fn place(hash: u64, precision: u8) -> (u16, u8) {
    let precision = u32::from(precision);
    let register = (hash >> 64_u32.saturating_sub(precision).min(63)) as u16;
    // The bit behind the last keeps the rank of a remainder of zeros at its greatest.
    let rest = (hash << precision) | (1 << precision.saturating_sub(1));
    (register, rest.leading_zeros() as u8 + 1)
}

/// How many registers have each rank.
#[derive(Debug)]
pub(super) struct Histogram {
    counts: [u32; RANKS],
    touched: u32,
}

impl Histogram {
    pub(super) const fn new() -> Self {
        Self { counts: [0; RANKS], touched: 0 }
    }

    /// Another register, of a rank above 0.
    pub(super) fn count(&mut self, rank: u8) {
        if let Some(count) = self.counts.get_mut(usize::from(rank)) {
            *count += 1;
            self.touched += 1;
        }
    }

    /// The histogram of the registers that were encoded here.
    pub(super) fn take(reader: &mut Reader<'_>, precision: u8) -> Result<Self, DecodeError> {
        const FIELD: &str = "registers";
        let mut histogram = Self::new();
        let touched = reader.count(FIELD, 1)?;
        let registers = 1_usize << precision.min(16);
        let longest = 65_u8.saturating_sub(precision);
        let dense = is_dense(touched, registers);
        for _ in 0..if dense { registers } else { touched } {
            if !dense {
                reader.unsigned(FIELD)?;
            }
            let rank = reader.byte(FIELD)?;
            if rank > longest {
                return Err(DecodeError::Invalid { field: FIELD });
            }
            if rank > 0 {
                histogram.count(rank);
            }
        }
        Ok(histogram)
    }

    /// Ertl's algorithm 6.
    pub(super) fn estimate(&self, precision: u8) -> f64 {
        if self.touched == 0 {
            return 0.0;
        }
        let registers = (1_u64 << precision.min(63)) as f64;
        let longest = 64 - usize::from(precision.min(63));
        let of_rank = |rank: usize| f64::from(self.counts.get(rank).copied().unwrap_or(0));
        let mut sum = registers * tau(1.0 - of_rank(longest + 1) / registers);
        for rank in (1..=longest).rev() {
            sum = 0.5 * (sum + of_rank(rank));
        }
        sum += registers * sigma((registers - f64::from(self.touched)) / registers);
        registers * registers / (2.0 * std::f64::consts::LN_2 * sum)
    }
}

/// x + sum over k of x^(2^k) 2^(k-1), for x below 1.
fn sigma(x: f64) -> f64 {
    let (mut power, mut weight, mut sum) = (x, 1.0, x);
    loop {
        power *= power;
        let before = sum;
        sum += power * weight;
        weight += weight;
        if sum <= before {
            return sum;
        }
    }
}

/// A third of 1 - x - sum over k of (1 - x^(2^-k))^2 2^-k.
fn tau(x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut root, mut weight, mut sum) = (x, 1.0, 1.0 - x);
    loop {
        root = math::sqrt(root);
        let before = sum;
        weight *= 0.5;
        sum -= (1.0 - root) * (1.0 - root) * weight;
        if sum >= before {
            return sum / 3.0;
        }
    }
}

/// Whether all registers are written, not the touched ones each with its number.
const fn is_dense(touched: usize, registers: usize) -> bool {
    touched * 2 >= registers
}

/// All registers of one sketch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Registers {
    precision: u8,
    ranks: Vec<u8>,
}

impl Registers {
    pub(super) fn new(precision: u8) -> Self {
        Self { precision, ranks: vec![0; 1 << precision.min(16)] }
    }

    pub(super) fn add(&mut self, hash: u64) {
        let (register, rank) = place(hash, self.precision);
        if let Some(kept) = self.ranks.get_mut(usize::from(register)) {
            *kept = rank.max(*kept);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (kept, rank) in self.ranks.iter_mut().zip(&other.ranks) {
            *kept = (*kept).max(*rank);
        }
    }

    pub(super) fn histogram(&self) -> Histogram {
        let mut histogram = Histogram::new();
        for &rank in self.ranks.iter().filter(|rank| **rank > 0) {
            histogram.count(rank);
        }
        histogram
    }

    #[cfg(test)]
    fn estimate(&self) -> f64 {
        self.histogram().estimate(self.precision)
    }

    /// The touched registers when they are fewer than half, else all.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let touched = self.ranks.iter().filter(|rank| **rank > 0).count();
        bytes::put_unsigned(out, touched as u64);
        if self.is_dense(touched) {
            out.extend_from_slice(&self.ranks);
            return;
        }
        let mut next = 0;
        for (register, &rank) in self.ranks.iter().enumerate().filter(|(_, rank)| **rank > 0) {
            bytes::put_unsigned(out, (register - next) as u64);
            out.push(rank);
            next = register + 1;
        }
    }

    const fn is_dense(&self, touched: usize) -> bool {
        is_dense(touched, self.ranks.len())
    }

    pub(super) fn decode(reader: &mut Reader<'_>, precision: u8) -> Result<Self, DecodeError> {
        const FIELD: &str = "registers";
        let invalid = DecodeError::Invalid { field: FIELD };
        let mut registers = Self::new(precision);
        let touched = reader.count(FIELD, 1)?;
        if registers.is_dense(touched) {
            for rank in &mut registers.ranks {
                *rank = reader.byte(FIELD)?;
            }
        } else {
            let mut next = 0_usize;
            for _ in 0..touched {
                let skipped = usize::try_from(reader.unsigned(FIELD)?).map_err(|_| invalid.clone())?;
                let register = next.checked_add(skipped).ok_or_else(|| invalid.clone())?;
                *registers.ranks.get_mut(register).ok_or_else(|| invalid.clone())? = reader.byte(FIELD)?;
                next = register + 1;
            }
        }
        let longest = 65_u8.saturating_sub(precision);
        let found = registers.ranks.iter().filter(|rank| **rank > 0).count();
        let fits = registers.ranks.iter().all(|rank| *rank <= longest);
        if fits && found == touched { Ok(registers) } else { Err(invalid) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::hash::hash;
    use super::*;
    use augur_domain::Value;
    use augur_domain::value::Finite;

    fn hash_of(number: u64) -> u64 {
        hash(&Value::Number(Finite::new(number as f64).unwrap()))
    }

    #[test]
    fn ranks_count_leading_zeros_and_end_with_the_hash() {
        assert_eq!(place(u64::MAX, 12), (4_095, 1));
        assert_eq!(place(0, 12), (0, 53));
        assert_eq!(place(1 << 51, 12), (0, 1));
        assert_eq!(place(1, 4), (0, 60));
        assert_eq!(place(0, 16), (0, 49));
    }

    /// Over 200 sketches at each size, the root mean square error is what theory says, and no bias is to be seen.
    #[test]
    fn the_error_is_as_stated() {
        for (precision, count) in [(8, 100), (8, 1_000), (8, 10_000), (12, 1_000), (12, 30_000)] {
            let rounds = if precision == 8 { 200 } else { 20 };
            let (mut squares, mut sum) = (0.0, 0.0);
            for round in 0..rounds {
                let mut registers = Registers::new(precision);
                for number in 0..count {
                    registers.add(hash_of(round * 1_000_000 + number));
                }
                let error = registers.estimate() / count as f64 - 1.0;
                squares += error * error;
                sum += error;
            }
            let stated = standard_error(precision);
            let found = math::sqrt(squares / rounds as f64);
            assert!(found < stated * 1.4, "p {precision}, n {count}: {found} is above {stated}");
            let bias = (sum / rounds as f64).abs();
            assert!(bias < stated * 3.5 / math::sqrt(rounds as f64), "p {precision}, n {count}: bias {bias}");
        }
    }

    #[test]
    fn estimates_have_golden_bits() {
        let mut registers = Registers::new(12);
        for number in 0..10_000 {
            registers.add(hash_of(number));
        }
        assert_eq!(registers.estimate().to_bits(), GOLDEN, "features depend on these bits");
    }

    const GOLDEN: u64 = 4_666_713_935_242_856_634;

    #[test]
    fn registers_round_trip_sparse_and_dense() {
        for count in [0, 1, 50, 700, 100_000] {
            let mut registers = Registers::new(10);
            (0..count).for_each(|number| registers.add(hash_of(number)));
            let mut out = Vec::new();
            registers.encode(&mut out);
            let mut reader = Reader::of(&out);
            assert_eq!(Registers::decode(&mut reader, 10).unwrap(), registers);
            assert!(reader.finish().is_ok());
        }
    }
}
