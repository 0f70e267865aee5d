//! Against the publication's arithmetic, against the batch fit, and going on where it was left.

use augur_domain::ContentHash;
use augur_domain::rng::{Purpose, Rng};
use proptest::prelude::*;

use super::*;
use crate::artifact::Transform;
use crate::train::{Family, Options, Trained, fit};

fn options(family: Family) -> Options {
    let mut options =
        Options::new("churn", "gone", ContentHash::from_bytes([1; 32]), Timestamp::from_unix_ms(0));
    options.family = Some(family);
    options
}

fn table(rows: std::ops::Range<usize>) -> TrainingTable {
    table_at(rows, |row| row as i64 / 3)
}

fn table_at(rows: std::ops::Range<usize>, time_of: fn(usize) -> i64) -> TrainingTable {
    let mut table = TrainingTable::new(vec!["a".to_owned(), "b".to_owned()]).unwrap();
    let mut rng = Rng::new(7, Purpose::Simulation);
    for row in 0..rows.end {
        let (a, b) = (rng.next_f64() * 6.0, rng.next_f64());
        let absent = rng.next_f64() < 0.2;
        let label = rng.next_f64()
            < math::sigmoid(1.0 - 1.2 * math::ln_1p(a) + 1.5 * b + f64::from(u8::from(absent)));
        if rows.contains(&row) {
            let values = [(!absent).then_some(a), Some(b)];
            let split = if row % 5 == 4 { Split::Test } else { Split::Train };
            let time = Timestamp::from_unix_ms(time_of(row));
            table.push(&Row { values: &values, label, group: row as u64, time, split }).unwrap();
        }
    }
    table
}

#[test]
fn one_step_is_the_publications() {
    let input = Input {
        feature: "a".to_owned(),
        transform: Transform::Identity,
        clip: None,
        mean: 0.0,
        scale: 1.0,
        weight: 0.0,
        imputation: 0.0,
        missing_weight: 0.0,
        definition: None,
    };
    let settings = Online { learning_rate: 0.5, beta: 1.0, l1: 0.1, l2: 0.2 };
    let mut learner = Learner::new(vec![input], settings);
    // p = 0.5, g = -0.5 * 2 = -1: sigma = 2, w = 0, z = -1, n = 1; w = (1 - 0.1) / ((1 + 1) / 0.5 + 0.2).
    assert_eq!(learner.update(&[2.0, 0.0, 1.0], true, 1.0), 0.0);
    let (intercept, inputs) = learner.model();
    assert!((inputs[0].weight - 0.9 / 4.2).abs() < 1e-15, "{inputs:?}");
    assert_eq!(inputs[0].missing_weight, 0.0);
    assert!((intercept - 0.4 / (1.5 / 0.5 + 0.2)).abs() < 1e-15);
}

#[test]
fn one_pass_comes_near_the_batch_fit() {
    let table = table(0..20_000);
    let figures = |family| {
        let Trained { artifact, report } = fit(&table, &options(family)).unwrap();
        assert!(artifact.content().body.linear().is_some());
        let of = report.out_of_time.unwrap();
        (of.roc_auc.unwrap(), of.log_loss)
    };
    let (online, batch) = (figures(Family::Ftrl), figures(Family::Logistic));
    assert!((online.0 - batch.0).abs() < 0.005 && (online.1 - batch.1).abs() < 0.005, "{online:?} {batch:?}");
}

#[test]
fn it_goes_on_where_it_was_left_to_the_bit() {
    let first = fit(&table(0..2_000), &options(Family::Ftrl)).unwrap().artifact;
    let warm = |from: &Artifact, rows: &TrainingTable| {
        fit(rows, &Options { warm_start: Some(from.clone()), ..options(Family::Ftrl) }).unwrap().artifact
    };
    let at_once = warm(&first, &table(2_001..6_000));
    // Rows that were learned from before are left out by their time.
    let halves = warm(&warm(&first, &table(2_001..4_002)), &table(1_000..6_000));
    assert_eq!(at_once.content().body, halves.content().body);
    assert_ne!(first.content().body, halves.content().body);
    assert_eq!(State::of(&at_once).unwrap(), State::of(&halves).unwrap());
    let again =
        fit(&table(2_001..6_000), &Options { warm_start: Some(first.clone()), ..options(Family::Ftrl) });
    assert_eq!(again.unwrap().artifact.encode(), at_once.encode());
    // Nothing is new: there is nothing to learn from.
    let nothing = fit(&table(0..2_000), &Options { warm_start: Some(first), ..options(Family::Ftrl) });
    assert!(matches!(nothing, Err(Error::TooFewRows { rows: 0, .. })), "{nothing:?}");
}

#[test]
fn rows_of_a_single_instant_are_not_learned_from_twice() {
    let cutoffs = table_at(0..2_000, |row| 1_000 + (row as i64 / 500) * 500);
    let mut options = options(Family::Ftrl);
    for part in batches(&cutoffs, 300).unwrap() {
        assert_eq!(
            part.part(Split::Train).map(|row| row.time).collect::<std::collections::BTreeSet<_>>().len(),
            1
        );
        options.warm_start = Some(fit(&part, &options).unwrap().artifact);
    }
    let nothing = fit(&cutoffs, &options);
    assert!(matches!(nothing, Err(Error::TooFewRows { rows: 0, .. })), "{nothing:?}");
    // A table without times says nothing about what was seen.
    let timeless = table_at(0..1_000, |_| 0);
    options.warm_start =
        Some(fit(&timeless, &Options { warm_start: None, ..options.clone() }).unwrap().artifact);
    assert!(fit(&timeless, &options).is_ok());
}

#[test]
fn batches_share_no_instant_and_lose_no_row() {
    let table = table(0..1_000);
    let batches = batches(&table, 150).unwrap();
    assert_eq!(batches.len(), 5);
    let train = |table: &TrainingTable| table.part(Split::Train).count();
    assert_eq!(batches.iter().map(train).sum::<usize>(), train(&table));
    for pair in batches.windows(2) {
        let latest = pair[0].part(Split::Train).map(|row| row.time).max();
        assert!(latest < pair[1].part(Split::Train).map(|row| row.time).min());
        assert!(train(&pair[0]) >= 150 && pair[0].part(Split::Test).count() == 200);
    }
}

#[test]
fn a_batch_models_weights_are_where_it_sets_out() {
    let table = table(0..4_000);
    let batch = fit(&table, &options(Family::Logistic)).unwrap().artifact;
    let learner = Learner::resume(&batch, Online { l1: 0.5, ..Online::default() }, 4_000).unwrap().unwrap();
    let (intercept, inputs) = learner.model();
    let (expected, of_batch) = batch.content().body.linear().unwrap();
    assert!((intercept - expected).abs() < 1e-12);
    for (found, expected) in inputs.iter().zip(of_batch) {
        assert!((found.weight - expected.weight).abs() < 1e-12);
        assert!((found.missing_weight - expected.missing_weight).abs() < 1e-12);
    }
}

proptest! {
    #[test]
    fn a_state_of_any_text_never_panics(text in "\\PC{0,80}", z in prop::collection::vec(any::<u64>(), 0..6)) {
        let artifact = fit(&table(0..300), &options(Family::Ftrl)).unwrap().artifact;
        let mut content = artifact.content().clone();
        content.lineage.parameters = text;
        prop_assert_eq!(State::of(&Artifact::new(content.clone()).unwrap()).unwrap(), None);
        let n = &z;
        content.lineage.parameters = serde_json::json!({
            "online": {
                "settings": Online::default(), "rows": 3, "until_ms": null, "z_bits": &z, "n_bits": n
            }
        }).to_string();
        if let Ok(Some(state)) = State::of(&Artifact::new(content).unwrap()) {
            prop_assert!(state.n_bits.iter().all(|bits| f64::from_bits(*bits) >= 0.0));
        }
    }
}
