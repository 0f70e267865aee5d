//! Whole fits: what comes out, what is refused, what is warned about.

use augur_domain::math;
use augur_domain::rng::{Purpose, Rng};

use super::*;

fn options() -> Options {
    Options::new("churn", "no purchase within 60 d", ContentHash::from_bytes([1; 32]), at(0))
}

fn at(day: i64) -> Timestamp {
    Timestamp::from_unix_ms(1_760_000_000_000 + day * augur_domain::time::DAY_MS)
}

/// Users with several rows each: counts, a value missing more often for those who leave, a constant, noise.
fn table(rows: usize) -> TrainingTable {
    let names = ["purchases", "recency", "constant", "noise"].map(str::to_owned).to_vec();
    let mut table = TrainingTable::new(names).unwrap();
    let mut rng = Rng::new(3, Purpose::Simulation);
    for row in 0..rows {
        let purchases = (rng.next_f64() * 20.0).floor();
        let recency = (rng.next_f64() * 90.0).floor();
        let label = rng.next_f64() < math::sigmoid(1.0 - 0.9 * math::ln_1p(purchases) + 0.03 * recency);
        let unknown = rng.next_f64() < if label { 0.4 } else { 0.1 };
        let values = [Some(purchases), (!unknown).then_some(recency), Some(4.0), Some(rng.next_f64())];
        let day = (row * 100 / rows) as i64;
        let split = if day < 80 { Split::Train } else { Split::Test };
        let group = rng.below(rows as u64 / 3);
        table.push(&Row { values: &values, label, group, time: at(day), split }).unwrap();
    }
    table
}

#[test]
fn a_fit_gives_a_model_that_ranks_and_is_calibrated() {
    let table = table(4_000);
    let Trained { artifact, report } = fit(&table, &options()).unwrap();
    let content = artifact.content();
    let features: Vec<&str> =
        content.body.linear().unwrap().1.iter().map(|input| input.feature.as_str()).collect();
    assert_eq!(features, ["purchases", "recency", "noise"]);
    assert!(
        content.body.linear().unwrap().1[0].weight < -0.3 && content.body.linear().unwrap().1[1].weight > 0.2,
        "{content:?}"
    );
    assert!(
        content.body.linear().unwrap().1[1].missing_weight > 0.5,
        "absence is informative here: {content:?}"
    );
    assert_eq!(content.body.linear().unwrap().1[0].missing_weight, 0.0);
    assert_eq!(report.dropped, ["constant"]);
    assert_eq!(report.calibrator, "platt");
    assert_eq!((report.train_rows, report.test_rows), (3_200, 800));
    let [train, out_of_fold, out_of_time] =
        [report.train, report.out_of_fold, report.out_of_time].map(Option::unwrap);
    assert_eq!((train.rows, out_of_fold.rows, out_of_time.rows), (3_200, 3_200, 800));
    assert!(out_of_time.roc_auc.unwrap() > 0.7, "{out_of_time:?}");
    assert!(out_of_time.ece < 0.06, "{out_of_time:?}");
    assert!(train.roc_auc >= out_of_fold.roc_auc, "in sample is no worse than out of fold");
    let warnings = report.warnings.join("\n");
    assert!(warnings.contains("column `constant` never varies"), "{warnings}");
    assert_eq!(report.warnings.len(), 1, "{warnings}");
    // The artifact holds the same report, and survives its bytes.
    let stored: Report = serde_json::from_str(&content.report).unwrap();
    assert_eq!(stored.out_of_time, Some(out_of_time));
    assert_eq!(Artifact::decode(&artifact.encode()).unwrap(), artifact);
    assert_eq!(content.lineage.data, table.hash());
}

#[test]
fn a_model_tells_how_its_inputs_were_defined_when_all_are_known() {
    let table = table(1_500);
    let definition = |name: &str| (name.to_owned(), ContentHash::of(&[name.as_bytes()]));
    let told = |names: &[&str]| {
        let definitions = names.iter().map(|name| definition(name)).collect();
        let trained = fit(&table, &Options { definitions, ..options() }).unwrap();
        let inputs = trained.artifact.content().body.linear().unwrap().1.to_vec();
        inputs.into_iter().map(|input| input.definition).collect::<Vec<_>>()
    };
    let known = told(&["noise", "purchases", "constant", "recency"]);
    assert_eq!(known, ["purchases", "recency", "noise"].map(|name| Some(definition(name).1)));
    assert_eq!(told(&["purchases", "recency"]), [None; 3]);
}

#[test]
fn same_data_and_seed_give_the_same_bytes() {
    let table = table(1_500);
    let bytes = |options: &Options| fit(&table, options).unwrap().artifact.encode();
    let base = bytes(&options());
    assert_eq!(base, bytes(&options()));
    assert_ne!(base, bytes(&Options { seed: 1, ..options() }));
    assert_ne!(base, bytes(&Options { alpha: 2.0, ..options() }));
}

#[test]
fn rows_held_back_change_no_weight() {
    let base = table(2_000);
    let mut poisoned = TrainingTable::new(base.columns().to_vec()).unwrap();
    for (split, sign) in [(Split::Train, 1.0), (Split::Test, -1e6)] {
        for row in base.part(split) {
            let values: Vec<Option<f64>> =
                (0..base.columns().len()).map(|column| row.value(column).map(|value| value * sign)).collect();
            let label = row.label == (split == Split::Train);
            poisoned.push(&Row { values: &values, label, group: row.group, time: row.time, split }).unwrap();
        }
    }
    let [left, right] = [&base, &poisoned].map(|table| fit(table, &options()).unwrap().artifact);
    assert_eq!(left.content().body.linear().unwrap().1, right.content().body.linear().unwrap().1);
    assert_eq!(left.content().calibrator, right.content().calibrator);
    assert_eq!(left.content().body.linear().unwrap().0, right.content().body.linear().unwrap().0);
}

#[test]
fn every_calibration_can_be_chosen() {
    let table = table(2_000);
    for calibration in [Calibration::Identity, Calibration::Platt, Calibration::Isotonic] {
        let trained = fit(&table, &Options { calibration, ..options() }).unwrap();
        assert_eq!(trained.report.calibrator, calibration.as_str());
        assert!(trained.report.out_of_time.unwrap().roc_auc.unwrap() > 0.65);
    }
}

/// `rows` rows of one column, each its own user.
fn simple(rows: usize, row: impl Fn(usize) -> (Option<f64>, bool)) -> TrainingTable {
    let mut table = TrainingTable::new(vec!["x".to_owned()]).unwrap();
    for index in 0..rows {
        let (value, label) = row(index);
        let (group, time) = (index as u64, at(0));
        table.push(&Row { values: &[value], label, group, time, split: Split::Train }).unwrap();
    }
    table
}

#[test]
fn what_cannot_be_learned_from_is_refused_with_counts() {
    let one_class = fit(&simple(200, |i| (Some(i as f64), false)), &options()).unwrap_err();
    assert_eq!(one_class.to_string(), "all 200 training rows are negative; expected both classes");
    let few = fit(&simple(200, |i| (Some(i as f64), i < 9)), &options()).unwrap_err();
    assert!(matches!(few, Error::TooFewRows { rows: 200, positives: 9, negatives: 191, .. }), "{few}");
    let none = fit(&simple(0, |_| (None, false)), &options()).unwrap_err();
    assert!(matches!(none, Error::TooFewRows { rows: 0, .. }), "{none}");
    let constant = fit(&simple(200, |i| (Some(1.5), i % 2 == 0)), &options()).unwrap_err();
    assert!(matches!(constant, Error::NothingToLearn { columns: 1 }), "{constant}");
    let absent = fit(&simple(200, |i| (None, i % 2 == 0)), &options()).unwrap_err();
    assert!(matches!(absent, Error::NothingToLearn { columns: 1 }), "{absent}");
}

#[test]
fn options_out_of_bounds_are_refused() {
    let table = simple(200, |i| (Some(i as f64), i % 2 == 0));
    for (broken, option) in [
        (Options { alpha: 0.0, ..options() }, "alpha"),
        (Options { alpha: f64::NAN, ..options() }, "alpha"),
        (Options { folds: 1, ..options() }, "folds"),
        (Options { transforms: vec![("y".to_owned(), Transform::Identity)], ..options() }, "transforms"),
    ] {
        match fit(&table, &broken) {
            Err(Error::InvalidOption { option: found, .. }) => assert_eq!(found, option),
            other => panic!("{option}: {other:?}"),
        }
    }
    let nameless = fit(&table, &Options { name: String::new(), ..options() }).unwrap_err();
    assert!(matches!(nameless, Error::InvalidContent { .. }), "{nameless}");
}

#[test]
fn only_absence_can_be_informative() {
    // The value never varies, but whoever has none is positive.
    let table = simple(400, |i| ((i % 3 != 0).then_some(5.0), i % 3 == 0));
    let trained = fit(&table, &options()).unwrap();
    let input = &trained.artifact.content().body.linear().unwrap().1[0];
    assert_eq!((input.weight, input.scale), (0.0, 1.0));
    assert!(input.missing_weight > 2.0, "{input:?}");
    assert!(trained.report.train.unwrap().roc_auc.unwrap() > 0.999);
}

#[test]
fn leaks_and_untimely_rows_are_warned_about() {
    let mut table = simple(300, |i| (Some(f64::from(u8::from(i % 2 == 0)) + i as f64 * 1e-6), i % 2 == 0));
    let late = Row { values: &[Some(0.5)], label: true, group: 9_999, time: at(-1), split: Split::Test };
    table.push(&late).unwrap();
    let warnings = fit(&table, &options()).unwrap().report.warnings.join("\n");
    assert!(warnings.contains("feature `x` alone has ROC-AUC 1.000"), "{warnings}");
    assert!(warnings.contains("300 training rows are not earlier than the first test row"), "{warnings}");
    assert!(!warnings.contains("  "), "{warnings}");
}

#[test]
fn one_person_cannot_be_folded_and_is_told() {
    let mut table = TrainingTable::new(vec!["x".to_owned()]).unwrap();
    for index in 0..200_u32 {
        let values = [Some(f64::from(index % 17))];
        let label = index % 3 == 0;
        table.push(&Row { values: &values, label, group: 1, time: at(0), split: Split::Train }).unwrap();
    }
    let report = fit(&table, &options()).unwrap().report;
    assert_eq!((report.calibrator.as_str(), report.out_of_fold), ("identity", None));
    assert!(
        report.warnings.iter().any(|warning| warning.contains("too few groups")),
        "{:?}",
        report.warnings
    );
}

#[test]
fn a_model_can_be_measured_on_another_table_or_refused() {
    let trained = fit(&table(1_000), &options()).unwrap();
    assert_eq!(predictions(&trained.artifact, &table(500), Split::Test).unwrap().len(), 100);
    let other = simple(10, |_| (Some(1.0), true));
    assert!(matches!(
        predictions(&trained.artifact, &other, Split::Train),
        Err(Error::FeatureMismatch { missing, .. }) if missing.len() == 3
    ));
}

#[test]
fn calibration_undoes_what_weights_do_to_probabilities() {
    let table = table(6_000);
    let rate = |split| {
        let rows: Vec<bool> = table.part(split).map(|row| row.label).collect();
        rows.iter().filter(|label| **label).count() as f64 / rows.len() as f64
    };
    for positive_weight in [PositiveWeight::Balanced, PositiveWeight::Fixed(12.0), PositiveWeight::Fixed(0.1)]
    {
        for family in [Family::Logistic, Family::Boosted] {
            let mut options = Options { positive_weight, family: Some(family), ..options() };
            options.boosting.max_rounds = 40;
            let trained = fit(&table, &options).unwrap();
            let scored = predictions(&trained.artifact, &table, Split::Test).unwrap();
            let mean = |of: fn(&Score) -> f64| {
                scored.iter().map(|(score, _)| of(score)).sum::<f64>() / scored.len() as f64
            };
            let calibrated = mean(|score| score.calibrated);
            assert!(
                (calibrated - rate(Split::Test)).abs() < 0.03,
                "{family:?} {positive_weight}: {calibrated}"
            );
            if let PositiveWeight::Fixed(weight) = positive_weight {
                let raw = mean(|score| score.raw);
                assert_eq!(raw > calibrated, weight > 1.0, "the weight acted: {raw} {calibrated}");
            }
            assert!(trained.report.out_of_time.unwrap().ece < 0.06);
        }
    }
}

#[test]
fn settings_are_looked_for_and_every_one_is_told() {
    let table = table(2_000);
    // One pass over the rows has nothing to be looked for.
    for family in Family::ALL.into_iter().filter(|family| *family != Family::Ftrl) {
        let mut options = Options { family: Some(family), search: Search::Quick, ..options() };
        options.forest.trees = 40;
        options.boosting.max_rounds = 20;
        let trained = fit(&table, &options).unwrap();
        let tried = &trained.report.considered;
        assert!(tried.len() >= 3 && tried[0].settings.is_empty(), "{tried:?}");
        let best = tried.iter().map(|tried| tried.log_loss.unwrap()).fold(f64::INFINITY, f64::min);
        let plain = fit(&table, &Options { search: Search::None, ..options.clone() }).unwrap();
        assert!(best <= tried[0].log_loss.unwrap());
        // What was chosen is what the lineage tells, and again the same bytes.
        let is_plain = best == tried[0].log_loss.unwrap();
        let same_body = trained.artifact.content().body == plain.artifact.content().body;
        assert_eq!(is_plain, same_body, "{tried:?}");
        assert_eq!(fit(&table, &options).unwrap().artifact.encode(), trained.artifact.encode());
    }
}

#[test]
fn stray_values_are_held_within_the_training_rows_bounds() {
    let table = table(3_000);
    let trained = fit(&table, &Options { winsorise: 0.02, ..options() }).unwrap();
    let inputs = trained.artifact.content().body.linear().unwrap().1;
    let (low, high) = inputs[1].clip.unwrap();
    assert!(low >= 0.0 && high <= math::ln_1p(90.0) && low < high, "{inputs:?}");
    assert_eq!(Artifact::decode(&trained.artifact.encode()).unwrap(), trained.artifact);
    // The margins of training rows are those of the scorer: the report's figures rest on it.
    let plain = fit(&table, &options()).unwrap();
    assert_ne!(plain.artifact.content().body, trained.artifact.content().body);
    assert!(trained.report.out_of_time.unwrap().roc_auc.unwrap() > 0.7);
}

#[test]
fn a_fit_keeps_how_its_inputs_and_scores_were_distributed() {
    use crate::drift::{Drift, Observed, Thresholds};

    let table = table(4_000);
    let artifact = fit(&table, &options()).unwrap().artifact;
    let reference = artifact.content().reference.clone().unwrap();
    let features: Vec<&str> = artifact.content().body.features().iter().map(|(name, _)| *name).collect();
    assert_eq!(reference.inputs.len(), features.len());
    assert!((reference.scores.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    let people: std::collections::BTreeSet<u64> = table.part(Split::Test).map(|row| row.group).collect();
    assert_eq!(reference.rows, people.len() as u64);
    // `recency` is the one with values missing.
    assert!(reference.inputs[1].missing_share > 0.1 && reference.inputs[0].missing_share == 0.0);
    // The rows fitted on are of the same world.
    let mut seen = Observed::new(&reference);
    let scored = predictions(&artifact, &table, Split::Train).unwrap();
    for (row, (score, _)) in table.part(Split::Train).zip(&scored) {
        let bins = reference.inputs.iter().zip(&features).map(|(input, feature)| {
            let column = table.columns().iter().position(|column| column == feature).unwrap();
            row.value(column).and_then(|value| input.bin(value))
        });
        seen.count(bins, score.calibrated);
    }
    let drift = Drift::between(&reference, &seen, features.iter().copied(), &Thresholds::default());
    assert!(!drift.drifted, "{drift:?}");
}
