//! `ln(1 + x)` and `exp(-x)` of several numbers at once: the steps of libm's `log1p` and `exp` with selections in place
//! of branches, so that the compiler can do them side by side.
//!
//! The bits are those of [`super::ln_1p`] and [`super::exp`]; tests hold that. Not here: anything that libm has only for
//! one number.

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

const INVERSE_LN2: f64 = f64::from_bits(0x3ff7_1547_652b_82fe);
const P: [f64; 5] = [
    f64::from_bits(0x3fc5_5555_5555_553e),
    f64::from_bits(0xbf66_c16c_16be_bd93),
    f64::from_bits(0x3f11_566a_af25_de2c),
    f64::from_bits(0xbebb_bd41_c5d2_6bf1),
    f64::from_bits(0x3e66_3769_72be_a4d0),
];
/// Up to here `exp` takes a number as it is: 2^-28, half of ln 2, and three halves of it, as far as high words tell.
const LEAST_CURVED: f64 = f64::from_bits(0x3e30_0000_ffff_ffff);
const MOST_UNREDUCED: f64 = f64::from_bits(0x3fd6_2e42_ffff_ffff);
const MOST_REDUCED_ONCE: f64 = f64::from_bits(0x3ff0_a2b1_ffff_ffff);
/// Below `exp` of minus this, results are taken for 0.
const MOST_NEGATIVE: f64 = 708.0;

/// `exp(-|x|)` of each number, in place; 0 where that is below `exp(-708)`, and where a number is not one.
#[inline(always)]
pub fn exp_of_negative(values: &mut [f64]) {
    for value in values {
        *value = one_exp(value.abs());
    }
}

/// [`super::exp`] of minus `x`, which is not negative.
#[inline(always)]
fn one_exp(x: f64) -> f64 {
    let two_to_52 = f64::from_bits(TWO_TO_52);
    let in_range = x <= MOST_NEGATIVE;
    let x = select(in_range, x, 0.0);
    // The floor of the number of halvings, by rounding to a whole number and taking one back where that went up.
    let halvings = INVERSE_LN2 * x + 0.5;
    let rounded = (halvings + two_to_52) - two_to_52;
    let floor = rounded - select(rounded > halvings, 1.0, 0.0);
    let k = select(x > MOST_REDUCED_ONCE, floor, 1.0);
    let k = select(x > MOST_UNREDUCED, k, 0.0);
    let (hi, lo) = (k * LN2_HI - x, -(k * LN2_LO));
    let reduced = hi - lo;
    let [p1, p2, p3, p4, p5] = P;
    let square = reduced * reduced;
    let c = reduced - square * (p1 + square * (p2 + square * (p3 + square * (p4 + square * p5))));
    let near_one = 1.0 + (reduced * c / (2.0 - c) - lo + hi);
    let near_one = select(x > LEAST_CURVED, near_one, 1.0 - x);
    let power = f64::from_bits((1_023_u64 << 52).wrapping_sub((k + two_to_52).to_bits() << 52));
    select(in_range, near_one * power, 0.0)
}

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
    use super::super::{exp, exp2, ln_1p};
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
    fn the_bits_of_exp_are_those_of_one_at_a_time() {
        let check = |value: f64| {
            let mut values = [value, -value, value];
            exp_of_negative(&mut values);
            let expected = exp(-value.abs());
            assert!(values.iter().all(|found| found.to_bits() == expected.to_bits()), "{value:e} {values:?}");
        };
        let borders = [LEAST_CURVED, MOST_UNREDUCED, MOST_REDUCED_ONCE, 1.0, MOST_NEGATIVE.next_down(), 0.0];
        for border in borders {
            for value in [border.next_down(), border, border.next_up()] {
                check(value);
            }
        }
        // Where the number of halvings changes.
        for halves in 0..2_042 {
            let border = f64::from(halves) * 0.5 / INVERSE_LN2;
            for value in [border.next_down().next_down(), border.next_down(), border, border.next_up()] {
                check(value);
            }
        }
        (-1_074..9).for_each(|power| check(f64::from_bits(1).max(exp2(f64::from(power)))));
        let mut rng = Rng::new(8, Purpose::Simulation);
        for _ in 0..1_000_000 {
            check(rng.next_f64());
            check(rng.next_f64() * 40.0);
            check(rng.next_f64() * 708.0);
        }
        let mut far = [709.0, f64::MAX, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
        exp_of_negative(&mut far);
        assert_eq!(far, [0.0; 5]);
    }

    #[test]
    fn what_is_not_finite_stays_unknown() {
        let mut values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -f64::NAN];
        signed_ln_1p(&mut values);
        assert!(values.iter().all(|value| value.is_nan()));
    }
}
