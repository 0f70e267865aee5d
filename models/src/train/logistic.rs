//! The fit itself: linfa's L-BFGS for the approach, then our own gradient to judge it and Newton steps to finish.
//!
//! linfa 0.8 names the majority class positive whatever it is called, stops without saying whether it converged,
//! and gives up with an error on some clean data; this is the one file that knows. Not here: calibration.

use linfa::DatasetBase;
use linfa::traits::Fit;
use linfa_logistic::{FittedLogisticRegression, LogisticRegression};
use ndarray::{Array1, Array2};

use super::design::{Design, Matrix};
use super::newton::{Coefficients, Optimum, Problem};
use super::report::Convergence;
use crate::Error;

/// What the optimum depends on beside the rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Penalty {
    /// L2 penalty.
    pub(super) alpha: f64,
    /// What a positive row weighs, a negative one weighing 1.
    pub(super) positive_weight: f64,
}

/// Fits the whole training part. linfa knows no weights: with them its answer is only where Newton sets out.
pub(super) fn fit(design: &Design, penalty: Penalty) -> Result<(Coefficients, Convergence), Error> {
    let problem = Problem { matrix: &design.matrix, labels: &design.labels, penalty, without: None };
    let approach = lbfgs(&design.matrix, &design.labels, penalty.alpha);
    let (lbfgs_gradient_norm, lbfgs_error) = match &approach {
        Ok(coefficients) => (Some(problem.gradient_norm(coefficients)), None),
        Err(error) => (None, Some(error.clone())),
    };
    let start = approach.unwrap_or_else(|_| Coefficients::zero(design.matrix.width));
    let optimum = problem.minimise(start, "logistic regression")?;
    let Optimum { coefficients, objective, gradient_norm, tolerance, steps } = optimum;
    let convergence = Convergence {
        objective,
        lbfgs_gradient_norm,
        lbfgs_error,
        newton_steps: steps,
        gradient_norm,
        tolerance,
    };
    Ok((coefficients, convergence))
}

/// linfa's answer, turned so that the positive class is `true`.
fn lbfgs(matrix: &Matrix, labels: &[bool], alpha: f64) -> Result<Coefficients, String> {
    let model = linfa_model(matrix, labels, alpha)?;
    let sign = if model.labels().pos.class { 1.0 } else { -1.0 };
    let coefficients = Coefficients {
        weights: model.params().iter().map(|weight| sign * weight).collect(),
        intercept: sign * model.intercept(),
    };
    let finite = coefficients.intercept.is_finite() && coefficients.weights.iter().all(|w| w.is_finite());
    if finite { Ok(coefficients) } else { Err("L-BFGS gave coefficients that are not finite".to_owned()) }
}

fn linfa_model(
    matrix: &Matrix,
    labels: &[bool],
    alpha: f64,
) -> Result<FittedLogisticRegression<f64, bool>, String> {
    let records = Array2::from_shape_vec((labels.len(), matrix.width), matrix.values.clone())
        .map_err(|error| error.to_string())?;
    let dataset = DatasetBase::new(records, Array1::from(labels.to_vec()));
    LogisticRegression::default()
        .alpha(alpha)
        .with_intercept(true)
        .max_iterations(100)
        // Close enough for Newton, whose last steps cost far less than L-BFGS's.
        .gradient_tolerance(1e-5 * labels.len().max(100) as f64)
        .fit(&dataset)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
