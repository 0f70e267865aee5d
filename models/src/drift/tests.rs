//! Drift: known values, no alarm from noise at any size, and an alarm where there is something.

use augur_domain::rng::{Purpose, Rng};
use proptest::prelude::*;

use super::*;

/// A reference of `rows` rows: a uniform input in ten bins with some values missing, and scores.
fn reference(rng: &mut Rng, rows: u64) -> Reference {
    let edges: Vec<f64> = (1..10).map(|edge| f64::from(edge) / 10.0).collect();
    let input = InputReference { edges, shares: vec![0.1; 10], missing_share: 0.0 };
    let blank = Reference { inputs: vec![input], scores: [0.0; SCORE_BINS], base_rate: 0.3, rows };
    let mut seen = Observed::new(&blank);
    for _ in 0..rows {
        sample(rng, &blank, &mut seen, |value| value);
    }
    let present: u64 = seen.inputs[0].bins.iter().sum();
    let share = |count: &u64, of: u64| *count as f64 / of as f64;
    let mut filled = blank;
    filled.inputs[0].shares = seen.inputs[0].bins.iter().map(|count| share(count, present)).collect();
    filled.inputs[0].missing_share = share(&seen.inputs[0].missing, rows);
    filled.scores = seen.scores.map(|count| share(&count, rows));
    filled
}

/// One row of an unchanged world, seen through `change`.
fn sample(rng: &mut Rng, reference: &Reference, seen: &mut Observed, change: impl Fn(f64) -> f64) {
    let value = (rng.next_f64() >= 0.05).then(|| change(rng.next_f64()));
    let score = rng.next_f64() * rng.next_f64();
    let bin = value.and_then(|value| reference.inputs[0].bin(value));
    seen.count([bin], score);
}

fn compare(reference: &Reference, seen: &Observed) -> Drift {
    Drift::between(reference, seen, ["uniform"], &Thresholds::default())
}

#[test]
fn samples_of_one_distribution_raise_no_alarm_at_any_size() {
    let mut rng = Rng::new(11, Purpose::Simulation);
    // (rows now, repetitions): the bands hold at small sizes, the sizes that matter at large ones.
    for (rows, repetitions) in [(200, 400), (1_000, 200), (10_000, 40), (100_000, 4)] {
        let (mut alarms, mut out_of_band) = (0, 0);
        for _ in 0..repetitions {
            let reference = reference(&mut rng, rows.min(2_000));
            let mut seen = Observed::new(&reference);
            for _ in 0..rows {
                sample(&mut rng, &reference, &mut seen, |value| value);
            }
            let drift = compare(&reference, &seen);
            alarms += u32::from(drift.drifted);
            let shift = drift.inputs[0].shift;
            out_of_band += u32::from(shift.psi > shift.psi_band || shift.ks > shift.ks_band);
        }
        // One in a hundred is promised; twice that, and a little, is chance.
        assert!(alarms <= repetitions / 50 + 1, "{alarms} alarms in {repetitions} at {rows} rows");
        assert!(out_of_band <= repetitions / 50 + 1, "{out_of_band} in {repetitions} at {rows} rows");
    }
}

#[test]
fn a_shift_that_matters_is_told_at_every_size() {
    let mut rng = Rng::new(12, Purpose::Simulation);
    let reference = reference(&mut rng, 2_000);
    for rows in [500, 5_000, 50_000] {
        let mut seen = Observed::new(&reference);
        for _ in 0..rows {
            sample(&mut rng, &reference, &mut seen, |value| value * value);
        }
        let drift = compare(&reference, &seen);
        assert!(drift.drifted && drift.inputs[0].shift.drifted, "{rows} rows: {drift:?}");
        assert!(!drift.scores.drifted, "the scores are as they were");
    }
}

#[test]
fn values_that_go_missing_are_told() {
    let mut rng = Rng::new(13, Purpose::Simulation);
    let reference = reference(&mut rng, 2_000);
    let mut seen = Observed::new(&reference);
    for row in 0..1_000 {
        let bin = (row % 4 != 0).then(|| reference.inputs[0].bin(rng.next_f64())).flatten();
        seen.count([bin], rng.next_f64() * rng.next_f64());
    }
    let drift = compare(&reference, &seen);
    assert!(drift.inputs[0].drifted);
    assert!(drift.inputs[0].missing_share > 0.2 && drift.inputs[0].missing_band < 0.1);
    assert!(!drift.scores.drifted);
}

#[test]
fn published_values_are_met() {
    // Without rounding: many rows make the added halves vanish.
    let psi = stability_index(&[0.1, 0.2, 0.3, 0.4], 1_000_000_000_000, &[250_000_000_000; 4]);
    assert!((psi - 0.228_217_409_573).abs() < 1e-9, "{psi}");
    // SciPy's ks_2samp of these two is 0.375.
    let a = [0.05, 0.1, 0.1, 0.2, 0.35, 0.4, 0.55, 0.7];
    let b = [0.1, 0.2, 0.3, 0.3, 0.6, 0.65, 0.8, 0.9];
    let input = InputReference {
        edges: vec![0.05, 0.1, 0.2, 0.3, 0.35, 0.4, 0.55, 0.6, 0.65, 0.7, 0.8],
        shares: Vec::new(),
        missing_share: 0.0,
    };
    let mut counts = ([0_u64; 12], [0_u64; 12]);
    a.iter().for_each(|value| counts.0[input.bin(*value).unwrap()] += 1);
    b.iter().for_each(|value| counts.1[input.bin(*value).unwrap()] += 1);
    let shares: Vec<f64> = counts.0.iter().map(|count| *count as f64 / 8.0).collect();
    assert!((distance(&shares, &counts.1) - 0.375).abs() < 1e-12);
}

#[test]
fn nothing_seen_is_no_drift() {
    let mut rng = Rng::new(14, Purpose::Simulation);
    let reference = reference(&mut rng, 500);
    let drift = compare(&reference, &Observed::new(&reference));
    assert!(!drift.drifted && drift.rows == 0 && drift.inputs[0].shift.psi == 0.0);
}

#[test]
fn what_grows_by_itself_is_told_and_does_not_count() {
    let mut rng = Rng::new(16, Purpose::Simulation);
    let reference = reference(&mut rng, 2_000);
    let thresholds = Thresholds::default();
    let seen = |missing_of_ten: u32| {
        let mut seen = Observed::new(&reference);
        for row in 0..1_000_u32 {
            let bin = (row % 10 >= missing_of_ten).then(|| reference.inputs[0].bin(1e9)).flatten();
            seen.count([bin], 0.5);
        }
        let mut drift = compare(&reference, &seen);
        drift.scores.drifted = false;
        drift
    };
    let name = seen(0).inputs[0].feature.clone();
    assert!(seen(0).excusing(&thresholds, |_| false).drifted);
    let excused = seen(0).excusing(&thresholds, |feature| feature == name);
    assert!(!excused.drifted && !excused.inputs[0].drifted && excused.inputs[0].grows);
    assert!(excused.inputs[0].shift.drifted, "the shift itself is told");
    let mut scores = seen(0);
    scores.scores.drifted = true;
    assert!(scores.excusing(&thresholds, |_| true).drifted, "the scores count as before");
    assert!(seen(5).excusing(&thresholds, |_| true).drifted, "so does what is missing");
}

proptest! {
    #[test]
    fn every_value_has_one_bin_and_measures_stay_finite(
        values in prop::collection::vec(prop::num::f64::ANY, 0..50),
        probabilities in prop::collection::vec(prop::num::f64::ANY, 50),
    ) {
        let mut rng = Rng::new(15, Purpose::Simulation);
        let reference = reference(&mut rng, 300);
        let mut seen = Observed::new(&reference);
        for (value, probability) in values.iter().zip(probabilities) {
            let bin = reference.inputs[0].bin(*value);
            prop_assert_eq!(bin.is_some(), value.is_finite());
            seen.count([bin], probability);
        }
        let drift = compare(&reference, &seen);
        prop_assert!(drift.inputs[0].shift.psi.is_finite() && drift.inputs[0].shift.ks <= 1.0);
        prop_assert!(drift.scores.psi.is_finite());
    }
}
