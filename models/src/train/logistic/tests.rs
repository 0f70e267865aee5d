//! Parity with linfa, its traps, and what the finishing steps are for.

use augur_domain::rng::{Purpose, Rng};
use augur_domain::{ContentHash, Timestamp, math};

use super::*;
use crate::artifact::{Artifact, Body, Content, Transform};
use crate::calibrate::Calibrator;
use crate::train::{Family, Options, Row, Split, TrainingTable, predictions};

fn options() -> Options {
    let mut options =
        Options::new("churn", "gone", ContentHash::from_bytes([1; 32]), Timestamp::from_unix_ms(0));
    options.default_transform = Some(Transform::Identity);
    options
}

const fn penalty(alpha: f64) -> Penalty {
    Penalty { alpha, l1_ratio: 0.0, positive_weight: 1.0 }
}

/// Three informative columns of very different scale, a positive share steered by `offset`.
fn table(rows: usize, offset: f64) -> TrainingTable {
    let names = ["small", "middle", "large"].map(str::to_owned).to_vec();
    let mut table = TrainingTable::new(names).unwrap();
    let mut rng = Rng::new(11, Purpose::Simulation);
    for row in 0..rows {
        let [a, b, c] = [(); 3].map(|()| rng.next_f64() + rng.next_f64() + rng.next_f64() - 1.5);
        let label = rng.next_f64() < math::sigmoid(offset + 2.0 * a - b + 0.5 * c);
        let values = [Some(a * 1e-4), Some(b), Some(c * 1e5)];
        let time = Timestamp::from_unix_ms(row as i64);
        table.push(&Row { values: &values, label, group: row as u64, time, split: Split::Train }).unwrap();
    }
    table
}

fn scored(design: &Design, coefficients: &Coefficients, table: &TrainingTable) -> Vec<f64> {
    let (intercept, inputs) = design.inputs(coefficients);
    let content = Content {
        name: "churn".to_owned(),
        task: "churn".to_owned(),
        positive_class: "gone".to_owned(),
        feature_set: ContentHash::from_bytes([1; 32]),
        body: Body::Linear { intercept, inputs },
        calibrator: Calibrator::Identity,
        lineage: options().lineage(table, Family::Logistic, None),
        report: String::new(),
        reference: None,
    };
    let artifact = Artifact::new(content).unwrap();
    predictions(&artifact, table, Split::Train).unwrap().iter().map(|(score, _)| score.raw).collect()
}

/// linfa's own probabilities of `true`, from its own matrix product.
fn linfa_probabilities(design: &Design) -> (Vec<f64>, bool) {
    let shape = (design.labels.len(), design.matrix.width);
    let records = Array2::from_shape_vec(shape, design.matrix.values.clone()).unwrap();
    let model = linfa_model(&design.matrix, &design.labels, 1.0, 1e-5).unwrap();
    let positive = model.labels().pos.class;
    let probabilities = model.predict_probabilities(&records);
    (probabilities.iter().map(|p| if positive { *p } else { 1.0 - p }).collect(), positive)
}

#[test]
fn scorer_and_linfa_agree_at_every_base_rate() {
    for (offset, rate, majority) in [(-2.8, 0.1, false), (0.0, 0.5, true), (2.8, 0.9, true)] {
        let table = table(3_000, offset);
        let design = Design::new(&table, &options());
        let share = design.labels.iter().filter(|label| **label).count() as f64 / 3_000.0;
        assert!((share - rate).abs() < 0.05, "{share}");
        let coefficients = lbfgs(&design.matrix, &design.labels, 1.0, 1e-5).unwrap();
        let (expected, linfa_positive) = linfa_probabilities(&design);
        if rate != 0.5 {
            assert_eq!(linfa_positive, majority, "linfa no longer calls the majority positive");
        }
        for (found, expected) in scored(&design, &coefficients, &table).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} is not {expected} at {rate}");
        }
        // The polarity is ours whatever linfa calls positive: the first column raises the probability.
        assert!(coefficients.weights[0] > 0.5, "{coefficients:?}");
    }
}

#[test]
fn the_finish_reaches_the_optimum_and_proves_it() {
    let table = table(2_000, -1.0);
    let design = Design::new(&table, &options());
    let (coefficients, convergence) = fit(&design, penalty(1.0), None).unwrap();
    assert!(convergence.gradient_norm <= convergence.tolerance, "{convergence:?}");
    let problem = Problem {
        matrix: &design.matrix,
        labels: &design.labels,
        penalty: penalty(1.0),
        without: None,
        held: &[],
    };
    let best = problem.objective(&coefficients);
    assert_eq!(best, convergence.objective);
    for index in 0..=design.matrix.width {
        for change in [1e-3, -1e-3] {
            let mut beside = coefficients.clone();
            match beside.weights.get_mut(index) {
                Some(weight) => *weight += change,
                None => beside.intercept += change,
            }
            assert!(problem.objective(&beside) > best, "coordinate {index} was not at its best");
        }
    }
}

#[test]
fn newton_alone_reaches_the_same_optimum_from_far_away() {
    let table = table(500, 0.0);
    let design = Design::new(&table, &options());
    let problem = Problem {
        matrix: &design.matrix,
        labels: &design.labels,
        penalty: penalty(0.5),
        without: None,
        held: &[],
    };
    let near = problem.minimise(Coefficients::zero(3), "test").unwrap();
    let far = Coefficients { weights: vec![40.0, -35.0, 50.0], intercept: -60.0 };
    let far = problem.minimise(far, "test").unwrap();
    for (left, right) in near.coefficients.weights.iter().zip(&far.coefficients.weights) {
        assert!((left - right).abs() < 1e-8, "{near:?} {far:?}");
    }
}

#[test]
fn separable_and_repeated_columns_still_converge() {
    let names = ["x", "same", "opposite"].map(str::to_owned).to_vec();
    let mut table = TrainingTable::new(names).unwrap();
    for row in 0..400_u32 {
        let x = f64::from(row);
        let values = [Some(x), Some(x), Some(-x)];
        let time = Timestamp::from_unix_ms(0);
        let group = u64::from(row);
        table.push(&Row { values: &values, label: row >= 200, group, time, split: Split::Train }).unwrap();
    }
    let design = Design::new(&table, &options());
    for alpha in [1e-6, 1.0, 1e6] {
        let (coefficients, convergence) = fit(&design, penalty(alpha), None).unwrap();
        assert!(convergence.gradient_norm <= convergence.tolerance, "{convergence:?}");
        assert!((coefficients.weights[0] - coefficients.weights[1]).abs() < 1e-3, "{coefficients:?}");
    }
}

#[test]
fn a_weight_acts_like_so_many_copies_of_a_row() {
    let once = table(600, -1.0);
    let design = Design::new(&once, &options());
    // The same standardised matrix, with every positive row three times.
    let mut values = Vec::new();
    let mut labels = Vec::new();
    for (row, label) in design.matrix.rows().zip(&design.labels) {
        for _ in 0..if *label { 3 } else { 1 } {
            values.extend_from_slice(row);
            labels.push(*label);
        }
    }
    let matrix = Matrix { width: design.matrix.width, values };
    let problem =
        Problem { matrix: &matrix, labels: &labels, penalty: penalty(1.0), without: None, held: &[] };
    let expected = problem.minimise(Coefficients::zero(matrix.width), "copies").unwrap().coefficients;
    let weighted = Penalty { positive_weight: 3.0, ..penalty(1.0) };
    let (found, _) = fit(&design, weighted, None).unwrap();
    for (found, expected) in found.weights.iter().zip(&expected.weights) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
    assert!((found.intercept - expected.intercept).abs() < 1e-6);
}

/// Two hundred rows that scikit-learn was given too, by arithmetic alone.
fn arithmetic_table() -> TrainingTable {
    let names: Vec<String> = (0..5).map(|column| format!("c{column}")).collect();
    let columns: Vec<Vec<f64>> = (0..5_u64)
        .map(|c| {
            (0..200_u64)
                .map(move |r| ((r * (2 * c + 3) * 7919 + c * 104_729 + r * r * 31) % 1009) as f64 / 1009.0)
        })
        .map(Iterator::collect)
        .collect();
    let standard = |values: &[f64], row: usize| {
        let mean = values.iter().sum::<f64>() / 200.0;
        let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / 200.0;
        (values[row] - mean) / variance.sqrt()
    };
    let mut table = TrainingTable::new(names).unwrap();
    for r in 0..200 {
        let [a, b, c] = [0, 1, 2].map(|column: usize| standard(&columns[column], r));
        let drawn = ((r as u64 * 7877 + (r * r) as u64 * 17) % 997) as f64 / 997.0;
        let label = drawn < math::sigmoid(1.5 * a - b + 0.1 * c);
        let values: Vec<Option<f64>> = columns.iter().map(|column| Some(column[r])).collect();
        let time = Timestamp::from_unix_ms(0);
        table.push(&Row { values: &values, label, group: r as u64, time, split: Split::Train }).unwrap();
    }
    table
}

/// Made with scikit-learn 1.9.1: `LogisticRegression(C=1/alpha, l1_ratio=l1_ratio, solver="saga", tol=1e-13)` on the
/// standardised columns.
#[test]
fn elastic_net_reaches_the_published_optimum_and_its_zeros() {
    type Optimum = (f64, f64, [f64; 5], f64, f64);
    let expected: [Optimum; 3] = [
        (
            5.0,
            0.5,
            [1.3196572175608967, -0.6342216902760157, 0.09709102038288236, 0.02303259560988564, 0.0],
            -0.3572595829961924,
            101.15572189869994,
        ),
        (
            8.0,
            1.0,
            [1.197963571592815, -0.5101127942853304, 0.0, 0.0, 0.0],
            -0.33359949461881316,
            109.08172842327998,
        ),
        (
            2.0,
            0.1,
            [1.4911686088184286, -0.7553738619648968, 0.13144370679173772, 0.09202247086939619, 0.0],
            -0.38997041773477403,
            95.08379571644421,
        ),
    ];
    let table = arithmetic_table();
    let design = Design::new(&table, &options());
    assert_eq!(design.labels.iter().filter(|label| **label).count(), 88);
    for (alpha, l1_ratio, weights, intercept, objective) in expected {
        let (found, convergence) = fit(&design, Penalty { l1_ratio, ..penalty(alpha) }, None).unwrap();
        assert!((convergence.objective - objective).abs() < 1e-9, "{convergence:?}");
        assert!((found.intercept - intercept).abs() < 1e-6, "{found:?}");
        for (found, expected) in found.weights.iter().zip(weights) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected} at {alpha}");
            assert_eq!(*found == 0.0, expected == 0.0, "zeros are exact");
        }
    }
}

#[test]
fn a_warm_start_takes_fewer_steps_to_the_same_optimum() {
    let (earlier, later) = (table(2_000, -1.0), table(2_400, -1.0));
    let design = Design::new(&earlier, &options());
    let (coefficients, _) = fit(&design, penalty(1.0), None).unwrap();
    let (intercept, inputs) = design.inputs(&coefficients);
    // On the rows that it was fitted on an earlier model is the optimum already.
    let again = design.coefficients_of(intercept, &inputs);
    assert_eq!(fit(&design, penalty(1.0), Some(again)).unwrap().1.newton_steps, 0);
    let design = Design::new(&later, &options());
    let problem = Problem {
        matrix: &design.matrix,
        labels: &design.labels,
        penalty: penalty(1.0),
        without: None,
        held: &[],
    };
    let cold = problem.minimise(Coefficients::zero(3), "cold").unwrap();
    let (warm, convergence) =
        fit(&design, penalty(1.0), Some(design.coefficients_of(intercept, &inputs))).unwrap();
    assert!(convergence.warm_start && convergence.lbfgs_gradient_norm.is_none());
    assert!(convergence.newton_steps < cold.steps, "{convergence:?} {cold:?}");
    for (warm, cold) in warm.weights.iter().zip(&cold.coefficients.weights) {
        assert!((warm - cold).abs() < 1e-6, "{warm} {cold}");
    }
}
