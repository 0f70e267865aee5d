//! What every learner of trees must do: learn what a line cannot, keep missing values apart, be the same twice, act on
//! weights, and never let a person's rows speak about themselves.

use augur_domain::rng::{Purpose, Rng};
use augur_domain::{ContentHash, Timestamp};
use proptest::prelude::*;

use super::bins::Binned;
use super::grow::{Limits, Sample, grow};
use crate::artifact::Body;
use crate::train::{
    Boosting, Family, Growing, Options, PositiveWeight, Row, Split, TrainingTable, fit, predictions,
};
use crate::trees::Tree;

fn options(family: Family) -> Options {
    let mut options =
        Options::new("churn", "gone", ContentHash::from_bytes([1; 32]), Timestamp::from_unix_ms(0));
    options.family = Some(family);
    options.forest = Growing { trees: 40, ..Growing::FOREST };
    options.boosting = Boosting { max_rounds: 80, learning_rate: 0.2, ..Boosting::default() };
    options
}

/// The label is the exclusive or of two columns' signs, but for one in ten; a third column is noise. No line can tell.
fn exclusive_or(rows: usize) -> TrainingTable {
    let mut table = TrainingTable::new(["a", "b", "noise"].map(str::to_owned).to_vec()).unwrap();
    let mut rng = Rng::new(5, Purpose::Simulation);
    for row in 0..rows {
        let [a, b, noise] = [(); 3].map(|()| rng.next_f64() - 0.5);
        let label = ((a > 0.0) != (b > 0.0)) != (rng.next_f64() < 0.1);
        let missing = a > 0.0 && row % 3 == 0;
        let values = [(!missing).then_some(a), Some(b * 1e-6), Some(noise)];
        let split = if row % 4 == 3 { Split::Test } else { Split::Train };
        let (group, time) = (row as u64 / 2, Timestamp::from_unix_ms(row as i64));
        table.push(&Row { values: &values, label, group, time, split }).unwrap();
    }
    table
}

#[test]
fn every_family_of_trees_learns_what_a_line_cannot() {
    let table = exclusive_or(4_000);
    let line = fit(&table, &options(Family::Logistic)).unwrap().report.out_of_time.unwrap();
    assert!(line.roc_auc.unwrap() < 0.7, "{line:?}");
    for family in [Family::Tree, Family::Forest, Family::Boosted] {
        let trained = fit(&table, &options(family)).unwrap();
        let report = &trained.report;
        let test = report.out_of_time.unwrap();
        assert!(test.roc_auc.unwrap() > 0.88, "{family:?}: {test:?}");
        assert!(test.ece < 0.06, "{family:?}: {test:?}");
        let unseen = report.out_of_fold.unwrap();
        assert!((unseen.roc_auc.unwrap() - test.roc_auc.unwrap()).abs() < 0.03, "{family:?}: {unseen:?}");
        let noise = report.features.iter().find(|feature| feature.feature == "noise");
        let useful = report.features.iter().find(|feature| feature.feature == "b").unwrap();
        assert!(
            noise.is_none_or(|noise| noise.importance < useful.importance / 3.0),
            "{:?}",
            report.features
        );
        assert_eq!(report.family, family.as_str());
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let table = exclusive_or(1_200);
    for family in [Family::Forest, Family::Boosted] {
        let bytes = |seed| fit(&table, &Options { seed, ..options(family) }).unwrap().artifact.encode();
        assert_eq!(bytes(1), bytes(1));
        assert_ne!(bytes(1), bytes(2));
    }
}

#[test]
fn the_choice_falls_on_the_family_that_is_best_on_rows_left_out() {
    let trained = fit(&exclusive_or(2_000), &Options { family: None, ..options(Family::Tree) }).unwrap();
    let report = &trained.report;
    assert_eq!(report.considered.len(), 3);
    let least = report.considered.iter().min_by(|a, b| a.log_loss.partial_cmp(&b.log_loss).unwrap()).unwrap();
    assert_eq!(report.family, least.family.as_str());
    assert_ne!(least.family, Family::Logistic);
}

#[test]
fn weights_move_margins_and_calibration_moves_probabilities_back() {
    let table = exclusive_or(3_000);
    for family in Family::ALL {
        let plain = fit(&table, &options(family)).unwrap();
        let weighted =
            fit(&table, &Options { positive_weight: PositiveWeight::Fixed(8.0), ..options(family) }).unwrap();
        let mean = |trained: &crate::train::Trained, of: fn(&augur_domain::decision::Score) -> f64| {
            let scored = predictions(&trained.artifact, &table, Split::Test).unwrap();
            scored.iter().map(|(score, _)| of(score)).sum::<f64>() / scored.len() as f64
        };
        assert!(mean(&weighted, |s| s.raw) > mean(&plain, |s| s.raw) + 0.05, "{family:?}");
        let (before, after) = (mean(&plain, |s| s.calibrated), mean(&weighted, |s| s.calibrated));
        assert!((before - after).abs() < 0.04, "{family:?}: {before} {after}");
    }
}

#[test]
fn a_person_with_many_rows_does_not_vouch_for_themselves() {
    // Labels are pure chance per person and the columns tell who it is: whoever sees the person knows the label.
    let mut table = TrainingTable::new(["who"].map(str::to_owned).to_vec()).unwrap();
    let mut rng = Rng::new(9, Purpose::Simulation);
    for person in 0..200_u64 {
        let label = rng.next_f64() < 0.5;
        for _ in 0..10 {
            let (values, time) = ([Some(person as f64)], Timestamp::from_unix_ms(0));
            table.push(&Row { values: &values, label, group: person, time, split: Split::Train }).unwrap();
        }
    }
    for family in [Family::Tree, Family::Forest, Family::Boosted] {
        let mut options = options(family);
        options.tree = Growing { max_depth: 12, min_rows: 5, ..Growing::TREE };
        let report = fit(&table, &options).unwrap().report;
        let unseen = report.out_of_fold.unwrap().roc_auc.unwrap();
        assert!((0.35..0.65).contains(&unseen), "{family:?}: {unseen}");
    }
}

/// Per threshold and direction of the missing, the gain of splitting all rows there, found by trying every one.
fn best_gain(values: &[Option<f64>], gradients: &[f64]) -> f64 {
    let score =
        |of: &[f64]| if of.is_empty() { 0.0 } else { of.iter().sum::<f64>().powi(2) / of.len() as f64 };
    let mut best = 0.0_f64;
    for border in values.iter().flatten().chain([&f64::MAX]) {
        for missing_right in [false, true] {
            let right = |value: &Option<f64>| value.map_or(missing_right, |value| value > *border);
            let side = |wanted| {
                let rows = values.iter().zip(gradients).filter(|(value, _)| right(value) == wanted);
                rows.map(|(_, gradient)| *gradient).collect::<Vec<f64>>()
            };
            let (low, high) = (side(false), side(true));
            if !low.is_empty() && !high.is_empty() {
                best = best.max(score(&low) + score(&high) - score(gradients));
            }
        }
    }
    best
}

proptest! {
    #[test]
    fn a_stump_is_the_best_there_is(
        rows in prop::collection::vec((prop::option::weighted(0.8, -20_i32..20), -10_i32..10), 2..60),
    ) {
        let mut table = TrainingTable::new(vec!["x".to_owned()]).unwrap();
        let mut values = Vec::new();
        for (value, _) in &rows {
            let value = value.map(f64::from);
            values.push(value);
            let time = Timestamp::from_unix_ms(0);
            table.push(&Row { values: &[value], label: true, group: 0, time, split: Split::Train }).unwrap();
        }
        let gradients: Vec<f64> = rows.iter().map(|(_, gradient)| f64::from(*gradient)).collect();
        let hessians = vec![1.0; rows.len()];
        let binned = Binned::new(&table);
        let columns: Vec<usize> = (0..binned.columns.len()).collect();
        let sample = Sample {
            binned: &binned,
            columns: &columns,
            rows: (0..rows.len() as u32).collect(),
            gradients: &gradients,
            hessians: &hessians,
        };
        let limits = Limits {
            max_leaves: 2,
            max_depth: 1,
            min_rows: 1,
            min_hessian: 0.0,
            lambda: 0.0,
            min_gain: 1e-9,
            columns_per_split: None,
        };
        let Tree { nodes } = grow(sample, limits, &mut Rng::new(0, Purpose::Training));
        let expected = best_gain(&values, &gradients);
        let found = if nodes.len() == 1 {
            0.0
        } else {
            let split = nodes[0].split.unwrap();
            let goes_right = |value: &Option<f64>| value.map_or(split.missing_right, |v| v > split.threshold);
            let rows_right = values.iter().filter(|value| goes_right(value)).count() as f64;
            let rows_left = values.len() as f64 - rows_right;
            let square = |node: usize, rows: f64| nodes[node].value * nodes[node].value * rows;
            square(1, rows_left) + square(2, rows_right) - square(0, values.len() as f64)
        };
        prop_assert!((found - expected).abs() <= 1e-9 * (1.0 + expected), "{found} {expected}");
    }
}

#[test]
fn columns_that_no_split_asks_are_not_read() {
    let mut table = TrainingTable::new(["constant", "x"].map(str::to_owned).to_vec()).unwrap();
    for row in 0..400_i32 {
        let (values, time) = ([Some(1.0), Some(f64::from(row))], Timestamp::from_unix_ms(0));
        let label = row % 10 == 0 || row > 300;
        table.push(&Row { values: &values, label, group: row as u64, time, split: Split::Train }).unwrap();
    }
    let trained = fit(&table, &options(Family::Boosted)).unwrap();
    let Body::Trees { inputs, .. } = &trained.artifact.content().body else { panic!("no trees") };
    assert_eq!(inputs.iter().map(|input| input.feature.as_str()).collect::<Vec<_>>(), ["x"]);
    assert_eq!(trained.report.dropped, ["constant"]);
    // And what is read back scores alike.
    let again = crate::Artifact::decode(&trained.artifact.encode()).unwrap();
    let set = |artifact: &crate::Artifact| predictions(artifact, &table, Split::Train).unwrap();
    assert_eq!(set(&trained.artifact), set(&again));
}
