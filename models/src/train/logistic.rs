//! The fit itself: linfa's L-BFGS on some of the rows for the approach, then our own gradient on all of them to judge it
//! and Newton steps to finish.
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
    /// Of the whole penalty.
    pub(super) alpha: f64,
    /// Share of it that is L1.
    pub(super) l1_ratio: f64,
    /// What a positive row weighs, a negative one weighing 1.
    pub(super) positive_weight: f64,
}

impl Penalty {
    pub(super) const fn l1(self) -> f64 {
        self.alpha * self.l1_ratio
    }

    pub(super) const fn l2(self) -> f64 {
        self.alpha * (1.0 - self.l1_ratio)
    }
}

/// Most rows that linfa sees: near enough to the optimum for Newton, whose steps cost less.
const APPROACH_ROWS: usize = 2_000;
/// Most rows of the steps between linfa's answer and all rows.
const REFINE_ROWS: usize = 10_000;
/// Where those steps end, per row: the optimum of some rows is this far from that of all anyway.
const REFINE_GRADIENT: f64 = 1e-4;
/// Where linfa ends, per row, for the same reason.
const APPROACH_GRADIENT: f64 = 1e-3;

/// Fits the whole training part, from `start` if there is one. linfa knows neither weights nor L1: with them its answer
/// is only where Newton sets out.
pub(super) fn fit(
    design: &Design,
    penalty: Penalty,
    start: Option<Coefficients>,
) -> Result<(Coefficients, Convergence), Error> {
    let problem =
        Problem { matrix: &design.matrix, labels: &design.labels, penalty, without: None, held: &[] };
    let warm = start.is_some();
    let (start, lbfgs_error) = match start.map_or_else(|| approach(design, penalty), Ok) {
        Ok(start) => (start, None),
        Err(error) => (Coefficients::zero(design.matrix.width), Some(error)),
    };
    let optimum = problem.minimise(start, "logistic regression")?;
    let lbfgs_gradient_norm = (!warm && lbfgs_error.is_none()).then_some(optimum.first_gradient_norm);
    let Optimum { coefficients, objective, gradient_norm, tolerance, steps, .. } = optimum;
    let convergence = Convergence {
        objective,
        lbfgs_gradient_norm,
        lbfgs_error,
        warm_start: warm,
        newton_steps: steps,
        gradient_norm,
        tolerance,
    };
    Ok((coefficients, convergence))
}

/// No weights at all.
pub(super) fn zero(design: &Design) -> Coefficients {
    Coefficients::zero(design.matrix.width)
}

/// linfa's answer on a few evenly spaced rows, and where there are many, Newton's on some more: what all rows cost is
/// paid for the last steps alone.
fn approach(design: &Design, penalty: Penalty) -> Result<Coefficients, String> {
    let few = Sample::of(design, penalty, APPROACH_ROWS);
    let coefficients = lbfgs(&few.matrix, &few.labels, few.penalty.alpha, APPROACH_GRADIENT)?;
    if design.labels.len() <= 2 * REFINE_ROWS {
        return Ok(coefficients);
    }
    let more = Sample::of(design, penalty, REFINE_ROWS);
    let problem = Problem {
        matrix: &more.matrix,
        labels: &more.labels,
        penalty: more.penalty,
        without: None,
        held: &[],
    };
    let refined =
        problem.minimise_to(REFINE_GRADIENT, coefficients.clone(), "logistic regression of some rows");
    Ok(refined.map_or(coefficients, |optimum| optimum.coefficients))
}

/// Evenly spaced rows with their share of the penalty.
struct Sample {
    matrix: Matrix,
    labels: Vec<bool>,
    penalty: Penalty,
}

impl Sample {
    fn of(design: &Design, penalty: Penalty, most: usize) -> Self {
        let stride = design.labels.len().div_ceil(most).max(1);
        let labels: Vec<bool> = design.labels.iter().step_by(stride).copied().collect();
        let values = design.matrix.rows().step_by(stride).flatten().copied().collect();
        let share = labels.len() as f64 / design.labels.len().max(1) as f64;
        let penalty = Penalty { alpha: penalty.alpha * share, ..penalty };
        Self { matrix: Matrix { width: design.matrix.width, values }, labels, penalty }
    }
}

/// linfa's answer, turned so that the positive class is `true`. Its last steps cost far more than Newton's.
fn lbfgs(
    matrix: &Matrix,
    labels: &[bool],
    alpha: f64,
    gradient_per_row: f64,
) -> Result<Coefficients, String> {
    let model = linfa_model(matrix, labels, alpha, gradient_per_row)?;
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
    gradient_per_row: f64,
) -> Result<FittedLogisticRegression<f64, bool>, String> {
    let records = Array2::from_shape_vec((labels.len(), matrix.width), matrix.values.clone())
        .map_err(|error| error.to_string())?;
    let dataset = DatasetBase::new(records, Array1::from(labels.to_vec()));
    LogisticRegression::default()
        .alpha(alpha)
        .with_intercept(true)
        .max_iterations(100)
        .gradient_tolerance(gradient_per_row * labels.len().max(100) as f64)
        .fit(&dataset)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
