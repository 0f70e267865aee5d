//! Newton's method for penalised logistic regression: the steps to the optimum, the gradient that proves it, and the
//! cheap refits of folds.
//!
//! The second derivatives of many rows are taken from some of them, and reused for as long as each step takes three
//! quarters of the gradient away; what the steps themselves tell mends them (`secants`). Only where that does not do are
//! those of all rows taken. Not here: the first approach to the optimum (linfa's L-BFGS, in [`super::logistic`]).

use super::curvature::{Accumulator, Factor, Hessian, dot};
use super::design::Matrix;
use super::elastic;
use super::logistic::Penalty;
use super::losses::{Losses, Weights};
use super::secants::Secants;
use crate::Error;

/// Most Newton steps of one fit.
const MAX_STEPS: usize = 200;
/// A step that leaves more of the gradient than this asks for new second derivatives.
const STALE: f64 = 0.25;
/// A step by the second derivatives of some rows that leaves more than this asks for those of all.
const MISLED: f64 = 0.5;
/// Rows that second derivatives are taken from at first: they cost as much as four gradients of as many rows.
const CURVATURE_ROWS: usize = 10_000;

/// A linear model over the columns of a matrix.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Coefficients {
    pub(super) weights: Vec<f64>,
    pub(super) intercept: f64,
}

impl Coefficients {
    pub(super) fn zero(width: usize) -> Self {
        Self { weights: vec![0.0; width], intercept: 0.0 }
    }

    /// The margin of one matrix row.
    pub(super) fn margin(&self, row: &[f64]) -> f64 {
        self.intercept + dot(row, &self.weights)
    }

    /// All coordinates, the intercept last.
    fn minus(&self, other: &Self) -> Vec<f64> {
        let mut parts = difference(&self.weights, &other.weights);
        parts.push(self.intercept - other.intercept);
        parts
    }

    fn moved(&self, step: &[f64], length: f64) -> Self {
        let moves = step.iter().map(|part| part * length);
        let weights = self.weights.iter().zip(moves).map(|(weight, part)| weight + part).collect();
        Self { weights, intercept: self.intercept + step.last().map_or(0.0, |part| part * length) }
    }
}

/// Minimise the log loss summed over the rows outside one fold, each weighed by its class, plus
/// `alpha * (l1_ratio * |weights|_1 + (1 - l1_ratio) / 2 * |weights|^2)`.
pub(super) struct Problem<'a> {
    pub(super) matrix: &'a Matrix,
    pub(super) labels: &'a [bool],
    pub(super) penalty: Penalty,
    /// Fold of each row and the fold left out; `None` uses every row.
    pub(super) without: Option<(&'a [usize], usize)>,
    /// Columns whose weights stay at 0.
    pub(super) held: &'a [usize],
}

/// An optimum and how it was reached.
#[derive(Debug)]
pub(super) struct Optimum {
    pub(super) coefficients: Coefficients,
    pub(super) objective: f64,
    pub(super) gradient_norm: f64,
    /// Where the steps set out from.
    pub(super) first_gradient_norm: f64,
    pub(super) tolerance: f64,
    pub(super) steps: usize,
}

/// A point with all that the rows say about it.
struct Point {
    at: Coefficients,
    objective: f64,
    /// Of the log loss and the L2 penalty; the intercept is the last coordinate.
    gradient: Vec<f64>,
}

/// The quadratic model that steps are made of.
enum Model {
    Smooth(Factor),
    Elastic(Hessian),
}

impl Problem<'_> {
    fn rows(&self) -> impl Iterator<Item = (&[f64], bool)> {
        self.matrix.rows().zip(self.labels).enumerate().filter_map(|(index, (row, label))| {
            let left_out = self.without.is_some_and(|(folds, fold)| folds.get(index) == Some(&fold));
            (!left_out).then_some((row, *label))
        })
    }

    const fn weights(&self) -> Weights {
        Weights { positive: self.penalty.positive_weight, negative: 1.0 }
    }

    /// Largest absolute partial derivative that no subgradient of the penalty cancels.
    fn norm(&self, point: &Point) -> f64 {
        let residuals = elastic::residuals(&point.gradient, &point.at.weights, self.penalty.l1());
        residuals.fold(0.0, |largest, part| largest.max(part.abs()))
    }

    /// What is minimised.
    #[cfg(test)]
    pub(super) fn objective(&self, at: &Coefficients) -> f64 {
        self.evaluate(at.clone()).objective
    }

    fn evaluate(&self, at: Coefficients) -> Point {
        let l2 = self.penalty.l2();
        let mut gradient: Vec<f64> =
            at.weights.iter().map(|weight| l2 * weight).chain(std::iter::once(0.0)).collect();
        let loss = Losses::new(&at, self.weights()).loss(self.rows(), &mut gradient);
        for column in self.held {
            if let Some(part) = gradient.get_mut(*column) {
                *part = 0.0;
            }
        }
        let (sizes, squares) = at
            .weights
            .iter()
            .fold((0.0, 0.0), |(sizes, squares), weight| (sizes + weight.abs(), squares + weight * weight));
        let objective = loss + self.penalty.l1() * sizes + 0.5 * l2 * squares;
        Point { at, objective, gradient }
    }

    /// From every so many-th row.
    fn model(&self, at: &Coefficients, stride: usize) -> Option<Model> {
        let mut sum = Accumulator::new(at.weights.len());
        let rows = self.rows().step_by(stride);
        Losses::new(at, self.weights())
            .curvatures(rows, |row, curvature| sum.add(row, curvature * stride as f64));
        let mut hessian = sum.finish(self.penalty.l2());
        self.held.iter().for_each(|column| hessian.hold(*column));
        if self.penalty.l1() > 0.0 {
            Some(Model::Elastic(hessian))
        } else {
            hessian.factor().map(Model::Smooth)
        }
    }

    fn step(&self, model: &Model, secants: &Secants, point: &Point, norm: f64) -> Vec<f64> {
        match model {
            Model::Smooth(factor) => secants.step(factor, &point.gradient),
            Model::Elastic(hessian) => {
                elastic::step(hessian, &point.gradient, &point.at.weights, self.penalty.l1(), 1e-3 * norm)
            }
        }
    }

    /// Newton steps with halving from `start` until the gradient vanishes.
    pub(super) fn minimise(&self, start: Coefficients, what: &'static str) -> Result<Optimum, Error> {
        // The gradient is a sum over rows; a billionth per row is far below what any metric can see.
        self.minimise_to(1e-9, start, what)
    }

    /// [`Self::minimise`] until the gradient is at most so much per row.
    pub(super) fn minimise_to(
        &self,
        per_row: f64,
        start: Coefficients,
        what: &'static str,
    ) -> Result<Optimum, Error> {
        let tolerance = per_row * self.labels.len().max(100) as f64;
        let mut point = self.evaluate(start);
        let mut norm = self.norm(&point);
        let first_gradient_norm = norm;
        let mut model: Option<Model> = None;
        let mut secants = Secants::default();
        let mut stride = self.labels.len().div_ceil(CURVATURE_ROWS).max(1);
        let mut steps = 0;
        while norm > tolerance && steps < MAX_STEPS {
            let is_fresh = model.is_none();
            let Some(current) = model.take().or_else(|| self.model(&point.at, stride)) else { break };
            let step = self.step(&current, &secants, &point, norm);
            let next = self.shorten(&point, &step);
            let left = next.as_ref().map_or(f64::INFINITY, |next| self.norm(next));
            if left <= STALE * norm {
                model = Some(current);
            } else if is_fresh && stride == 1 && next.is_none() {
                break;
            } else if is_fresh && left > MISLED * norm {
                stride = 1;
            }
            let Some(next) = next else {
                secants.clear();
                continue;
            };
            if model.is_some() {
                secants.push(next.at.minus(&point.at), difference(&next.gradient, &point.gradient));
            } else {
                secants.clear();
            }
            (point, norm) = (next, left);
            steps += 1;
        }
        if norm > tolerance {
            return Err(Error::NotConverged { what, gradient_norm: norm, tolerance, steps });
        }
        let Point { at: coefficients, objective, .. } = point;
        Ok(Optimum { coefficients, objective, gradient_norm: norm, first_gradient_norm, tolerance, steps })
    }

    /// Where the first of the halved steps ends that does not raise the objective.
    fn shorten(&self, from: &Point, step: &[f64]) -> Option<Point> {
        let mut length = 1.0;
        while length > 1e-12 {
            let next = self.evaluate(from.at.moved(step, length));
            // At the limit of rounding a full step may cost the last digits and still shrink the gradient.
            if next.objective <= from.objective + 1e-13 * from.objective.abs() {
                return Some(next);
            }
            length *= 0.5;
        }
        None
    }
}

fn difference(left: &[f64], right: &[f64]) -> Vec<f64> {
    left.iter().zip(right).map(|(left, right)| left - right).collect()
}
