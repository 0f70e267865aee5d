//! Newton's method for penalised logistic regression: the steps to the optimum, the gradient that proves it, and the
//! cheap refits of folds.
//!
//! A step reuses the second derivatives of the last one for as long as each step takes nine tenths of the gradient
//! away. Not here: the first approach to the optimum (linfa's L-BFGS, in [`super::logistic`]).

use augur_domain::math;

use super::curvature::{Accumulator, Factor, Hessian, dot};
use super::design::Matrix;
use super::elastic;
use super::logistic::Penalty;
use crate::Error;

/// Most Newton steps of one fit.
const MAX_STEPS: usize = 200;
/// A step that leaves more of the gradient than this asks for new second derivatives.
const STALE: f64 = 0.1;

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

    const fn weight(&self, label: bool) -> f64 {
        if label { self.penalty.positive_weight } else { 1.0 }
    }

    /// Largest absolute partial derivative that no subgradient of the penalty cancels.
    pub(super) fn gradient_norm(&self, at: &Coefficients) -> f64 {
        self.norm(&self.evaluate(at.clone()))
    }

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
        let mut loss = 0.0;
        for (row, label) in self.rows() {
            let margin = at.margin(row);
            // One exponential gives the loss, in the form that cannot overflow, and the probability.
            let small = math::exp(-margin.abs());
            let against = if label { -margin } else { margin };
            let weight = self.weight(label);
            loss += weight * (against.max(0.0) + math::ln_1p(small));
            add_gradient(
                &mut gradient,
                row,
                weight * (probability(margin, small) - f64::from(u8::from(label))),
            );
        }
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

    fn model(&self, at: &Coefficients) -> Option<Model> {
        let mut sum = Accumulator::new(at.weights.len());
        for (row, label) in self.rows() {
            let margin = at.margin(row);
            let probability = probability(margin, math::exp(-margin.abs()));
            sum.add(row, self.weight(label) * probability * (1.0 - probability));
        }
        let mut hessian = sum.finish(self.penalty.l2());
        self.held.iter().for_each(|column| hessian.hold(*column));
        if self.penalty.l1() > 0.0 {
            Some(Model::Elastic(hessian))
        } else {
            hessian.factor().map(Model::Smooth)
        }
    }

    fn step(&self, model: &Model, point: &Point, norm: f64) -> Vec<f64> {
        match model {
            Model::Smooth(factor) => factor.step(&point.gradient),
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
        let mut model: Option<Model> = None;
        let mut steps = 0;
        while norm > tolerance && steps < MAX_STEPS {
            let is_fresh = model.is_none();
            let Some(current) = model.take().or_else(|| self.model(&point.at)) else { break };
            let step = self.step(&current, &point, norm);
            let Some(next) = self.shorten(&point, &step) else { if is_fresh { break } else { continue } };
            point = next;
            let left = self.norm(&point);
            if left <= STALE * norm {
                model = Some(current);
            }
            norm = left;
            steps += 1;
        }
        if norm > tolerance {
            return Err(Error::NotConverged { what, gradient_norm: norm, tolerance, steps });
        }
        let Point { at: coefficients, objective, .. } = point;
        Ok(Optimum { coefficients, objective, gradient_norm: norm, tolerance, steps })
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

/// The sigmoid of `margin`, given `exp(-|margin|)`.
fn probability(margin: f64, small: f64) -> f64 {
    if margin >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) }
}

fn add_gradient(gradient: &mut [f64], row: &[f64], error: f64) {
    for (part, value) in gradient.iter_mut().zip(row) {
        *part += error * value;
    }
    if let Some(intercept) = gradient.last_mut() {
        *intercept += error;
    }
}
