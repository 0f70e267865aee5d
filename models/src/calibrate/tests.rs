//! Known answers and properties of the calibrators.

use proptest::prelude::*;

use super::*;

const LABELS: [bool; 10] = [false, true, false, false, true, false, true, false, true, true];

#[test]
fn platt_matches_the_reference() {
    // Values that linfa (f64) and scikit-learn agree on.
    let pairs: Vec<(f64, bool)> = (0_u8..10).map(|i| f64::from(i) * 0.5 - 2.0).zip(LABELS).collect();
    let Calibrator::Platt { a, b } = platt(&pairs).unwrap() else { panic!("not Platt") };
    assert!((a + 0.399_119_3).abs() < 1e-7, "{a}");
    assert!((b - 0.099_779_8).abs() < 1e-7, "{b}");
}

#[test]
fn isotonic_matches_the_reference() {
    // scikit-learn's IsotonicRegression on the same points.
    let scores = [0.0, 0.0, 0.2, 0.2, 0.2, 0.35, 0.5, 0.5, 0.8, 0.95];
    let pairs: Vec<(f64, bool)> = scores.into_iter().zip(LABELS).collect();
    let third = 1.0 / 3.0;
    let expected = [third, third, third, 0.5, 2.0 / 3.0, 1.0, 1.0];
    let fitted = isotonic(&pairs).unwrap();
    let mut backwards = pairs;
    backwards.reverse();
    assert_eq!(fitted, isotonic(&backwards).unwrap());
    for (at, expected) in [0.0, 0.2, 0.35, 0.5, 0.6, 0.8, 0.95].into_iter().zip(expected) {
        assert!((fitted.probability(at) - expected).abs() < 1e-12, "{at}: {}", fitted.probability(at));
    }
    assert_eq!(fitted.probability(-1e308), fitted.probability(0.0));
    assert_eq!(fitted.probability(1e308), 1.0);
}

#[test]
fn isotonic_pools_right_edges_that_linfa_gets_wrong() {
    let pairs: Vec<(f64, bool)> =
        (1_u8..=6).map(f64::from).zip([false, true, false, true, false, true]).collect();
    let fitted = isotonic(&pairs).unwrap();
    let found: Vec<f64> = (1_u8..=6).map(|x| fitted.probability(f64::from(x))).collect();
    assert_eq!(found, [0.0, 0.5, 0.5, 0.5, 0.5, 1.0]);
}

#[test]
fn one_class_is_refused() {
    for class in [true, false] {
        let pairs = [(0.0, class), (1.0, class)];
        for result in [platt(&pairs), isotonic(&pairs)] {
            assert!(matches!(result, Err(Error::OneClass { rows: 2, class: found, .. }) if found == class));
        }
    }
    assert!(matches!(platt(&[]), Err(Error::OneClass { rows: 0, .. })));
}

#[test]
fn platt_survives_separated_and_constant_margins() {
    let separated: Vec<(f64, bool)> = (0..1_000).map(|i| (f64::from(i) * 10.0 - 5_000.0, i >= 500)).collect();
    let Calibrator::Platt { a, .. } = platt(&separated).unwrap() else { panic!("not Platt") };
    assert!(a < 0.0);
    let constant: Vec<(f64, bool)> = (0..100).map(|i| (3.0, i < 25)).collect();
    let fitted = platt(&constant).unwrap();
    assert!((fitted.probability(3.0) - 0.25).abs() < 0.01, "{}", fitted.probability(3.0));
}

fn pairs() -> impl Strategy<Value = Vec<(f64, bool)>> {
    prop::collection::vec(((-50_i32..50).prop_map(|i| f64::from(i) / 8.0), any::<bool>()), 2..200)
}

proptest! {
    #[test]
    fn calibrators_are_monotone_probabilities(pairs in pairs(), at in prop::collection::vec(-20.0..20.0_f64, 2..20)) {
        prop_assume!(pairs.iter().any(|pair| pair.1) && pairs.iter().any(|pair| !pair.1));
        let mut at = at;
        at.sort_by(f64::total_cmp);
        let fitted = isotonic(&pairs).unwrap();
        let found: Vec<f64> = at.iter().map(|margin| fitted.probability(*margin)).collect();
        prop_assert!(found.iter().all(|p| (0.0..=1.0).contains(p)), "{found:?}");
        prop_assert!(found.is_sorted(), "{found:?}");
    }

    #[test]
    fn isotonic_keeps_the_base_rate_and_beats_every_constant(pairs in pairs()) {
        prop_assume!(pairs.iter().any(|pair| pair.1) && pairs.iter().any(|pair| !pair.1));
        let fitted = isotonic(&pairs).unwrap();
        let predicted: Vec<(f64, bool)> = pairs.iter().map(|(m, label)| (fitted.probability(*m), *label)).collect();
        let rows = pairs.len() as f64;
        let rate = crate::metrics::base_rate(&pairs).unwrap();
        let mean = predicted.iter().map(|(p, _)| p).sum::<f64>() / rows;
        prop_assert!((mean - rate).abs() < 1e-12);
        let constant: Vec<(f64, bool)> = pairs.iter().map(|(_, label)| (rate, *label)).collect();
        let brier = |of: &[(f64, bool)]| crate::metrics::brier(of).unwrap();
        prop_assert!(brier(&predicted) <= brier(&constant) + 1e-12);
    }

    #[test]
    fn platt_is_at_a_minimum(pairs in pairs()) {
        prop_assume!(pairs.iter().any(|pair| pair.1) && pairs.iter().any(|pair| !pair.1));
        let targets = Targets::of(&pairs).unwrap();
        let Calibrator::Platt { a, b } = platt(&pairs).unwrap() else { panic!("not Platt") };
        let best = PlattFit { a, b }.loss(&pairs, &targets);
        for (da, db) in [(1e-3, 0.0), (-1e-3, 0.0), (0.0, 1e-3), (0.0, -1e-3)] {
            let beside = PlattFit { a: a + da, b: b + db };
            prop_assert!(beside.loss(&pairs, &targets) >= best - 1e-9);
        }
    }
}
