//! `LinearClassifier` of two classes and `LinearRegressor`: a weighted sum.
//!
//! Sums are in `f64`; onnxruntime's in `f32` differ in the seventh digit. Not here: what is done to columns before.

use std::collections::BTreeMap;

use super::columns::Column;
use super::proto::Operation;
use super::{Scored, second_class};
use crate::Error;
use crate::artifact::{Body, Input, MAX_COEFFICIENT, Transform};

pub(super) fn classifier(node: &Operation<'_>, columns: &[Column]) -> Result<Scored, Error> {
    let positive = second_class(node, "classlabels_ints", "classlabels_strings")?;
    let (weights, intercepts) = (node.floats("coefficients"), node.floats("intercepts"));
    let transform = node.text("post_transform").unwrap_or("NONE");
    let (weights, intercept) = match (weights.len(), intercepts, transform) {
        (one, [intercept], "LOGISTIC") if one == columns.len() => (widened(weights), f64::from(*intercept)),
        (two, [negative, positive], "LOGISTIC" | "SOFTMAX") if two == 2 * columns.len() => {
            let (of_negative, of_positive) = weights.split_at(columns.len());
            let mut pairs = of_negative.iter().zip(of_positive).chain([(negative, positive)]);
            if transform == "SOFTMAX" {
                let difference =
                    |(negative, positive): (&f32, &f32)| f64::from(*positive) - f64::from(*negative);
                (
                    of_negative.iter().zip(of_positive).map(difference).collect(),
                    difference((negative, positive)),
                )
            } else if pairs.all(|(negative, positive)| (*negative + *positive).abs() <= 0.0) {
                (widened(of_positive), f64::from(*positive))
            } else {
                let expected = "opposite weights for the two classes: one against the other is one sum";
                return Err(node.fault("each class has weights of its own".to_owned(), expected));
            }
        }
        (weights, intercepts, transform) => {
            let problem = format!(
                "{weights} coefficients, {} intercepts, post_transform {transform}",
                intercepts.len()
            );
            let expected =
                format!("{0} and 1 with LOGISTIC, or twice that with LOGISTIC or SOFTMAX", columns.len());
            return Err(node.fault(problem, &expected));
        }
    };
    scored(node, columns, &weights, intercept, Some(positive))
}

pub(super) fn regressor(node: &Operation<'_>, columns: &[Column]) -> Result<Scored, Error> {
    let (weights, intercepts) = (node.floats("coefficients"), node.floats("intercepts"));
    let one =
        node.integer("targets").unwrap_or(1) == 1 && node.text("post_transform").unwrap_or("NONE") == "NONE";
    if !one || weights.len() != columns.len() || intercepts.len() > 1 {
        let expected = format!("one target, post_transform NONE, {} coefficients", columns.len());
        return Err(node.fault(format!("{} coefficients", weights.len()), &expected));
    }
    scored(node, columns, &widened(weights), intercepts.first().copied().map_or(0.0, f64::from), None)
}

fn widened(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().copied().map(f64::from).collect()
}

fn scored(
    node: &Operation<'_>,
    columns: &[Column],
    weights: &[f64],
    intercept: f64,
    positive: Option<String>,
) -> Result<Scored, Error> {
    let mut notes = Vec::new();
    let mut inputs = Vec::with_capacity(columns.len());
    let mut seen = BTreeMap::new();
    for (at, (column, weight)) in columns.iter().zip(weights).enumerate() {
        if let Some(first) = seen.insert(&column.feature, at) {
            let problem = format!("columns {first} and {at} are both feature `{}`", column.feature);
            return Err(node.fault(problem, "each feature once"));
        }
        if column.when_missing().is_none() {
            notes.push(format!(
                "`{}` has no Imputer: where it is missing the original gives no number, and here it adds what the \
                 column's centre adds",
                column.feature
            ));
        }
        inputs.push(input(column, *weight));
    }
    Ok(Scored { body: Body::Linear { intercept, inputs }, positive, notes })
}

/// `weight * (x - offset) * factor` as an input. A scale far above the factor's keeps the bound on deviations far from any
/// value; powers of two change no digit.
fn input(column: &Column, weight: f64) -> Input {
    let affine = column.affine();
    let sign = if affine.factor < 0.0 { -1.0 } else { 1.0 };
    let factor = affine.factor.abs();
    let mut widening = 1.0;
    while widening < 1e15 && (weight * widening * 2.0).abs() <= MAX_COEFFICIENT / 2.0 {
        widening *= 2.0;
    }
    // What is read for a missing value, taken back to a value before scaling.
    let imputation = affine.when_missing.map_or(affine.offset, |read| read / affine.factor + affine.offset);
    Input {
        feature: column.feature.clone(),
        transform: Transform::Identity,
        mean: affine.offset,
        scale: widening / factor,
        weight: weight * sign * widening,
        imputation,
        missing_weight: 0.0,
        definition: None,
        clip: None,
    }
}
