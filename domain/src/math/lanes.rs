//! `ln(1 + x)` of several numbers at once: the steps of libm's `log1p` with selections in place of branches, so that
//! the compiler can do them side by side.
//!
//! The bits are those of [`super::ln_1p`]; a test holds that. Not here: anything that libm has only for one number.

const LN2_HI: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
const LN2_LO: f64 = f64::from_bits(0x3dea_39ef_3579_3c76);
const LG: [f64; 7] = [
    f64::from_bits(0x3fe5_5555_5555_5593),
    f64::from_bits(0x3fd9_9999_9997_fa04),
    f64::from_bits(0x3fd2_4924_9422_9359),
    f64::from_bits(0x3fcc_71c5_1d8e_78af),
    f64::from_bits(0x3fc7_4664_96cb_03de),
    f64::from_bits(0x3fc3_9a09_d078_c69f),
    f64::from_bits(0x3fc2_f112_df3e_5244),
];
/// From here on `1 + x` is halved at least once before its logarithm is taken.
const LEAST_REDUCED: f64 = f64::from_bits(0x3fda_827a_0000_0000);
/// High words of 1 and of half the root of 2: a mantissa is moved from one to the other.
const TO_HALF_ROOT: u64 = (0x3ff0_0000 - 0x3fe6_a09e) << 32;
const HALF_ROOT: u64 = 0x3fe6_a09e << 32;
const MANTISSA: u64 = (1 << 52) - 1;
/// 2^52: whole numbers below it, put into its mantissa, become floats by a subtraction.
const TWO_TO_52: u64 = 0x4330_0000_0000_0000;

/// `sign(x) * ln(1 + |x|)` of each finite number, NaN of each that is not finite, in place.
// A loop of its own, of a length that is not known: what the compiler can do for two or four numbers in one step.
#[inline(never)]
pub fn signed_ln_1p(values: &mut [f64]) {
    for value in values {
        *value = one(*value);
    }
}

#[inline(always)]
fn one(value: f64) -> f64 {
    let x = value.abs();
    let u = 1.0 + x;
    let shifted = u.to_bits().wrapping_add(TO_HALF_ROOT);
    let powers = f64::from_bits((shifted >> 52) | TWO_TO_52) - (f64::from_bits(TWO_TO_52) + 1_023.0);
    // What the rounding of 1 + x lost, as far as it can matter.
    let lost = select(powers >= 2.0, 1.0 - (u - x), x - (u - 1.0)) / u;
    let lost = select(powers < 54.0, lost, 0.0);
    let reduced = f64::from_bits((shifted & MANTISSA).wrapping_add(HALF_ROOT)) - 1.0;

    let is_reduced = x >= LEAST_REDUCED;
    let f = select(is_reduced, reduced, x);
    let k = select(is_reduced, powers, 0.0);
    let c = select(is_reduced, lost, 0.0);

    let [lg1, lg2, lg3, lg4, lg5, lg6, lg7] = LG;
    let half_square = 0.5 * f * f;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let t1 = w * (lg2 + w * (lg4 + w * lg6));
    let t2 = z * (lg1 + w * (lg3 + w * (lg5 + w * lg7)));
    let logarithm = s * (half_square + (t2 + t1)) + (k * LN2_LO + c) - half_square + f + k * LN2_HI;
    select(x <= f64::MAX, logarithm.copysign(value), f64::NAN)
}

/// A choice of bits: of a plain `if` the compiler makes a branch, and then takes numbers one at a time.
#[inline(always)]
fn select(first: bool, if_true: f64, if_false: f64) -> f64 {
    let mask = u64::from(first).wrapping_neg();
    f64::from_bits((if_true.to_bits() & mask) | (if_false.to_bits() & !mask))
}

#[cfg(test)]
mod tests {
    use super::super::{exp2, ln_1p};
    use super::*;
    use crate::rng::{Purpose, Rng};

    fn check(value: f64) {
        let expected = if value < 0.0 { -ln_1p(-value) } else { ln_1p(value) };
        // Five, so that both the loop of several at once and that of the rest are tried.
        let mut values = [value, -value, value, -value, value];
        signed_ln_1p(&mut values);
        for (place, logarithm) in values.into_iter().enumerate() {
            let expected = if place % 2 == 0 { expected } else { -expected };
            assert_eq!(logarithm.to_bits(), expected.to_bits(), "{value:e}");
        }
    }

    #[test]
    fn the_bits_are_those_of_one_at_a_time() {
        let borders = [LEAST_REDUCED, 1.0, 3.0, exp2(-53.0), exp2(53.0), exp2(54.0), 0.5, 1e-300];
        for border in borders {
            for value in [border.next_down(), border, border.next_up()] {
                check(value);
            }
        }
        (0..100_000).for_each(|whole| check(f64::from(whole)));
        (-1_074..1_024).for_each(|power| check(f64::from_bits(1).max(exp2(f64::from(power)))));
        let mut rng = Rng::new(7, Purpose::Simulation);
        for _ in 0..1_000_000 {
            let any = f64::from_bits(rng.next_u64());
            if any.is_finite() {
                check(any);
            }
            check(rng.next_f64());
            check(rng.next_f64() * 1e7);
        }
        check(0.0);
        check(f64::MAX);
        check(f64::MIN_POSITIVE);
    }

    #[test]
    fn what_is_not_finite_stays_unknown() {
        let mut values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -f64::NAN];
        signed_ln_1p(&mut values);
        assert!(values.iter().all(|value| value.is_nan()));
    }
}
