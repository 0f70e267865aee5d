//! Amounts as whole millionths, whose sums are the same bits in any order and can be taken back.
//!
//! Not here: counts, which are whole already.

/// Parts of one.
const UNITS: f64 = 1e6;
/// Up to here every amount is a whole number of units that a double holds exactly: 2^53 millionths.
const GREATEST_UNITS: f64 = 9_007_199_254_740_992.0;

/// The nearest number of millionths. Amounts beyond nine milliards (2^53 millionths) count as that, so that no sum
/// of fewer than 2^74 events can overflow.
pub(super) fn units(amount: f64) -> i128 {
    (amount * UNITS).round().clamp(-GREATEST_UNITS, GREATEST_UNITS) as i128
}

/// The amount nearest to so many millionths.
pub(super) fn amount(units: i128) -> f64 {
    units as f64 / UNITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_of_six_places_come_back() {
        for amount_in in [0.0, 0.1, -12.34, 19.99, 0.000_001, 123_456_789.654_321] {
            assert_eq!(amount(units(amount_in)), amount_in);
        }
        assert_eq!(units(0.000_000_4), 0);
        assert_eq!(units(f64::MAX), -units(f64::MIN));
        assert_eq!(units(-7.25), -units(7.25));
    }
}
