//! Whether the arms got the shares of units that were declared: the check without which nothing else is believed.
//!
//! Not here: why they did not.

use augur_domain::distribution::chi_square_survival;
use serde::Serialize;

/// Below this p-value the shares are taken for wrong: sample ratios are checked often, and a wrong one is gross (Fabijan
/// et al., Diagnosing Sample Ratio Mismatch in Online Controlled Experiments, KDD 2019).
pub const MISMATCH_BELOW: f64 = 0.001;

/// Counts against declared weights.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RatioCheck {
    /// Pearson's chi-square statistic.
    pub chi_square: f64,
    /// Probability of a statistic at least as large when the declared weights hold.
    pub p_value: f64,
    /// Whether the arms cannot have been assigned as declared.
    pub mismatch: bool,
}

/// Compares `units` per arm with `weights`, which must be positive and of the same length. `None` for fewer than two arms
/// or no units.
pub fn check(units: &[u64], weights: &[f64]) -> Option<RatioCheck> {
    let total: u64 = units.iter().sum();
    let weight: f64 = weights.iter().sum();
    if units.len() < 2 || units.len() != weights.len() || total == 0 || weight <= 0.0 {
        return None;
    }
    let mut chi_square = 0.0;
    for (found, share) in units.iter().zip(weights) {
        let expected = total as f64 * share / weight;
        let off = *found as f64 - expected;
        chi_square += off * off / expected;
    }
    let p_value = chi_square_survival(chi_square, (units.len() - 1) as f64);
    Some(RatioCheck { chi_square, p_value, mismatch: p_value < MISMATCH_BELOW })
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of Fabijan et al.: 821 588 and 815 482 users of an even split; p-value with mpmath.
    #[test]
    fn a_small_share_off_in_many_units_is_a_mismatch() {
        let check = check(&[821_588, 815_482], &[1.0, 1.0]).unwrap();
        assert!((check.chi_square - 22.774_3).abs() < 1e-3, "{check:?}");
        assert!((check.p_value / 1.8e-6 - 1.0).abs() < 0.05, "{check:?}");
        assert!(check.mismatch);
    }

    #[test]
    fn weights_need_not_add_up_and_chance_is_no_mismatch() {
        let even = check(&[1_020, 980], &[50.0, 50.0]).unwrap();
        assert!(!even.mismatch && even.p_value > 0.3, "{even:?}");
        assert!(check(&[1_020, 980], &[9.0, 1.0]).unwrap().mismatch);
        assert_eq!(check(&[10], &[1.0]), None);
        assert_eq!(check(&[0, 0], &[1.0, 1.0]), None);
    }
}
