//! What the shape of a column's training values asks for: a logarithm where they are skewed, bounds where they stray.
//!
//! Not here: standardising (`design`). Test rows are never looked at.

use augur_domain::math;

use crate::artifact::Transform;

/// Values with less skewness than this are left as they are: an exponential distribution has 2, a uniform one 0.
const SKEWED: f64 = 1.0;

/// A logarithm if the values are skewed and become less so.
pub(super) fn transform(present: &[(f64, bool)]) -> Transform {
    let plain = skewness(present.iter().map(|(value, _)| *value)).abs();
    if plain <= SKEWED {
        return Transform::Identity;
    }
    let logarithm = Transform::SignedLog1p;
    let tamed = skewness(present.iter().map(|(value, _)| logarithm.apply(*value))).abs();
    // Of two values a logarithm is two values.
    if tamed < 0.9 * plain { logarithm } else { Transform::Identity }
}

/// The third standardised moment; 0 for values that do not vary.
fn skewness(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let count = values.clone().count().max(1) as f64;
    let mean = values.clone().fold(0.0, |sum, value| sum + value / count);
    let widest = values.clone().fold(0.0_f64, |widest, value| widest.max((value - mean).abs()));
    if !(widest > 0.0 && widest.is_finite()) {
        return 0.0;
    }
    let (squares, cubes) = values.fold((0.0, 0.0), |(squares, cubes), value| {
        let share = (value - mean) / widest;
        (squares + share * share, cubes + share * share * share)
    });
    let variance = squares / count;
    if variance > 0.0 { cubes / count / (variance * math::sqrt(variance)) } else { 0.0 }
}

/// The values that leave `share` of all below and above; `None` for a share of 0 or when nothing lies outside.
pub(super) fn clip(present: &[(f64, bool)], share: f64) -> Option<(f64, f64)> {
    if share <= 0.0 || present.is_empty() {
        return None;
    }
    let mut sorted: Vec<f64> = present.iter().map(|(value, _)| *value).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let cut = (share * sorted.len() as f64) as usize;
    let (low, high) = (*sorted.get(cut)?, *sorted.get(sorted.len() - 1 - cut)?);
    // A column whose bulk is one value would be left with nothing.
    let strays = sorted.first() < Some(&low) || sorted.last() > Some(&high);
    (strays && low < high).then_some((low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl Iterator<Item = f64>) -> Vec<(f64, bool)> {
        values.map(|value| (value, false)).collect()
    }

    #[test]
    fn only_skewed_columns_are_taken_logarithms_of() {
        assert_eq!(transform(&of((0..1_000).map(f64::from))), Transform::Identity);
        let skewed = of((0..1_000).map(|at| (f64::from(at) / 100.0).exp()));
        assert_eq!(transform(&skewed), Transform::SignedLog1p);
        assert_eq!(transform(&of((0..1_000).map(|at| f64::from(at % 50 / 49)))), Transform::Identity);
        assert_eq!(transform(&of([3.0; 9].into_iter())), Transform::Identity);
        assert_eq!(transform(&[]), Transform::Identity);
    }

    #[test]
    fn as_many_values_as_asked_lie_outside_the_bounds() {
        let values = of((0..1_000).map(f64::from));
        assert_eq!(clip(&values, 0.01), Some((10.0, 989.0)));
        assert_eq!(clip(&values, 0.0), None);
        // Too few rows for a thousandth, and a column that is nearly always nothing.
        assert_eq!(clip(&values[..100], 0.001), None);
        assert_eq!(clip(&of((0..1_000).map(|at| f64::from(at / 999))), 0.01), None);
        assert_eq!(clip(&[], 0.01), None);
    }
}
