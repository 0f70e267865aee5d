//! Thresholds: the greatest number on one side of a rule, found among all of them.
//!
//! Not here: what the rules are.

/// The greatest finite `x` for which `holds`, which must hold up to some number and for none above it; negative infinity when
/// it holds for none. Looks at 64 numbers at most.
pub(super) fn greatest(holds: impl Fn(f64) -> bool) -> f64 {
    if holds(f64::MAX) {
        return f64::MAX;
    }
    if !holds(-f64::MAX) {
        return f64::NEG_INFINITY;
    }
    let (mut low, mut high) = (rank(-f64::MAX), rank(f64::MAX));
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if holds(at_rank(middle)) { low = middle } else { high = middle }
    }
    at_rank(low)
}

/// Finite numbers in their order, as integers without gaps.
const fn rank(x: f64) -> i128 {
    let bits = x.to_bits();
    let magnitude = (bits & (u64::MAX >> 1)) as i128;
    if bits >> 63 == 1 { -magnitude - 1 } else { magnitude }
}

fn at_rank(rank: i128) -> f64 {
    let magnitude = |rank: i128| f64::from_bits(u64::try_from(rank).unwrap_or(0));
    if rank < 0 { -magnitude(-rank - 1) } else { magnitude(rank) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_greatest_is_found(threshold in any::<f64>().prop_filter("finite", |x| x.is_finite())) {
            let found = greatest(|x| x <= threshold);
            prop_assert!(found == threshold, "{found} for {threshold}");
        }

        #[test]
        fn what_rounds_to_at_most_a_threshold_is_found(threshold in any::<f32>().prop_filter("finite", |x| x.is_finite())) {
            let found = greatest(|x| x as f32 <= threshold);
            prop_assert!(found as f32 <= threshold && found.next_up() as f32 > threshold);
        }
    }

    #[test]
    fn rules_that_hold_always_or_never_have_no_border() {
        assert_eq!(greatest(|_| true), f64::MAX);
        assert_eq!(greatest(|_| false), f64::NEG_INFINITY);
    }
}
