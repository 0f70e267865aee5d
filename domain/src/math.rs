//! The only door to transcendental functions for code whose bits are logged or replayed.
//!
//! std's `exp`, `ln` and friends may differ by platform and compiler version; `libm` is pure Rust and
//! pinned to an exact version, so the same inputs give the same bits wherever a log is replayed.
//! Not here: `mul_add`, sums (callers add in index order), or anything that allocates.

mod lanes;

pub use lanes::{exp_of_negative, signed_ln_1p};

/// e to the power `x`.
pub fn exp(x: f64) -> f64 {
    libm::exp(x)
}

/// 2 to the power `x`.
pub fn exp2(x: f64) -> f64 {
    libm::exp2(x)
}

/// Natural logarithm.
pub fn ln(x: f64) -> f64 {
    libm::log(x)
}

/// ln(1 + x), exact near zero.
pub fn ln_1p(x: f64) -> f64 {
    libm::log1p(x)
}

/// Natural logarithm of the gamma function of a positive `x`.
pub fn ln_gamma(x: f64) -> f64 {
    libm::lgamma(x)
}

/// The complementary error function.
pub fn erfc(x: f64) -> f64 {
    libm::erfc(x)
}

/// Square root (correctly rounded by IEEE 754 everywhere, named here for completeness).
pub fn sqrt(x: f64) -> f64 {
    libm::sqrt(x)
}

/// The logistic function 1 / (1 + e^-x), computed on the side that cannot overflow.
pub fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + exp(-x))
    } else {
        let e = exp(x);
        e / (1.0 + e)
    }
}

/// The weight 2^(-age / half_life) of something `age_ms` old; 1 for ages at or below zero, exactly 0 once the
/// weight would pass below 2^-1000 (far beneath anything a sum can notice, and clear of subnormals).
pub fn decay(age_ms: i64, half_life_ms: i64) -> f64 {
    if age_ms <= 0 {
        return 1.0;
    }
    let half_lives = age_ms as f64 / half_life_ms as f64;
    if half_lives > 1_000.0 { 0.0 } else { exp2(-half_lives) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bits() {
        // A change here means old decision logs no longer replay: bump the log's engine version instead.
        for (value, bits) in [
            (exp(1.0), 0x4005_bf0a_8b14_576a_u64),
            (exp2(-0.1), 0x3fed_db68_0117_ab12),
            (ln(10.0), 0x4002_6bb1_bbb5_5516),
            (ln_1p(1e-9), 0x3e11_2e0b_e801_f1d9),
            (sigmoid(-2.0), 0x3fbe_8415_2bac_31ae),
        ] {
            assert_eq!(value.to_bits(), bits, "{value}");
        }
    }

    #[test]
    fn decay_halves_and_never_overflows() {
        assert_eq!(decay(0, 1_000), 1.0);
        assert_eq!(decay(-5, 1_000), 1.0);
        assert_eq!(decay(3_000, 1_000), 0.125);
        assert_eq!(decay(i64::MAX, 1), 0.0);
    }

    #[test]
    fn sigmoid_is_symmetric_and_bounded() {
        for x in [0.0, 1.0, 30.0, 800.0] {
            assert!((sigmoid(x) + sigmoid(-x) - 1.0).abs() < 1e-15);
            assert!((0.0..=1.0).contains(&sigmoid(-x)));
        }
    }
}
