//! Newton's method for L2-penalised logistic regression: the last steps to the optimum, the gradient that proves
//! it, and the cheap refits of folds.
//!
//! Not here: the first approach to the optimum (linfa's L-BFGS, in [`super::logistic`]).

use augur_domain::math;

use super::design::Matrix;
use super::logistic::Penalty;
use crate::Error;

/// Most Newton steps of one fit.
const MAX_STEPS: usize = 100;

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
        row.iter().zip(&self.weights).fold(self.intercept, |sum, (value, weight)| sum + value * weight)
    }

    fn moved(&self, step: &[f64], length: f64) -> Self {
        let moves = step.iter().map(|part| part * length);
        let weights = self.weights.iter().zip(moves).map(|(weight, part)| weight + part).collect();
        Self { weights, intercept: self.intercept + step.last().map_or(0.0, |part| part * length) }
    }
}

/// Minimise `alpha / 2 * |weights|^2` plus the log loss summed over the rows outside one fold.
pub(super) struct Problem<'a> {
    pub(super) matrix: &'a Matrix,
    pub(super) labels: &'a [bool],
    pub(super) penalty: Penalty,
    /// Fold of each row and the fold left out; `None` uses every row.
    pub(super) without: Option<(&'a [usize], usize)>,
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

/// Gradient, and lower triangle of the Hessian by rows; the intercept is the last coordinate.
struct Curvature {
    gradient: Vec<f64>,
    hessian: Vec<Vec<f64>>,
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

    fn error(&self, probability: f64, label: bool) -> f64 {
        self.weight(label) * (probability - f64::from(u8::from(label)))
    }

    /// Penalised log loss, in the form that cannot overflow.
    pub(super) fn objective(&self, at: &Coefficients) -> f64 {
        let loss = self.rows().fold(0.0, |sum, (row, label)| {
            let margin = at.margin(row);
            let against = if label { -margin } else { margin };
            sum + self.weight(label) * (against.max(0.0) + math::ln_1p(math::exp(-against.abs())))
        });
        let squares = at.weights.iter().fold(0.0, |sum, weight| sum + weight * weight);
        loss + 0.5 * self.penalty.alpha * squares
    }

    /// Largest absolute partial derivative.
    pub(super) fn gradient_norm(&self, at: &Coefficients) -> f64 {
        let mut gradient = self.penalty_gradient(at);
        for (row, label) in self.rows() {
            add_gradient(&mut gradient, row, self.error(math::sigmoid(at.margin(row)), label));
        }
        norm(&gradient)
    }

    fn penalty_gradient(&self, at: &Coefficients) -> Vec<f64> {
        at.weights.iter().map(|weight| self.penalty.alpha * weight).chain(std::iter::once(0.0)).collect()
    }

    fn curvature(&self, at: &Coefficients) -> Curvature {
        let width = at.weights.len();
        let mut gradient = self.penalty_gradient(at);
        let mut hessian: Vec<Vec<f64>> = (0..=width).map(|index| vec![0.0; index + 1]).collect();
        let mut extended = vec![1.0; width + 1];
        for (row, label) in self.rows() {
            let probability = math::sigmoid(at.margin(row));
            add_gradient(&mut gradient, row, self.error(probability, label));
            let curvature = self.weight(label) * probability * (1.0 - probability);
            for (place, value) in extended.iter_mut().zip(row) {
                *place = *value;
            }
            for (line, value) in hessian.iter_mut().zip(&extended) {
                let scaled = curvature * value;
                for (entry, other) in line.iter_mut().zip(&extended) {
                    *entry += scaled * other;
                }
            }
        }
        for line in hessian.iter_mut().take(width) {
            if let Some(diagonal) = line.last_mut() {
                *diagonal += self.penalty.alpha;
            }
        }
        Curvature { gradient, hessian }
    }

    /// Newton steps with halving from `start` until the gradient vanishes.
    pub(super) fn minimise(&self, start: Coefficients, what: &'static str) -> Result<Optimum, Error> {
        // The gradient is a sum over rows; a billionth per row is far below what any metric can see.
        let tolerance = 1e-9 * self.labels.len().max(100) as f64;
        let mut at = start;
        let mut objective = self.objective(&at);
        let mut curvature = self.curvature(&at);
        let mut steps = 0;
        while norm(&curvature.gradient) > tolerance && steps < MAX_STEPS {
            let Some(step) = newton_direction(&curvature) else { break };
            let Some((next, next_objective)) = self.shorten(&at, objective, &step) else { break };
            (at, objective) = (next, next_objective);
            curvature = self.curvature(&at);
            steps += 1;
        }
        let gradient_norm = norm(&curvature.gradient);
        if gradient_norm > tolerance {
            return Err(Error::NotConverged { what, gradient_norm, tolerance, steps });
        }
        Ok(Optimum { coefficients: at, objective, gradient_norm, tolerance, steps })
    }

    /// The first of the halved steps that does not raise the objective.
    fn shorten(&self, at: &Coefficients, objective: f64, step: &[f64]) -> Option<(Coefficients, f64)> {
        let mut length = 1.0;
        while length > 1e-12 {
            let next = at.moved(step, length);
            let next_objective = self.objective(&next);
            // At the limit of rounding a full step may cost the last digit and still shrink the gradient.
            if next_objective <= objective + 1e-14 * objective.abs() {
                return Some((next, next_objective));
            }
            length *= 0.5;
        }
        None
    }
}

fn add_gradient(gradient: &mut [f64], row: &[f64], error: f64) {
    for (part, value) in gradient.iter_mut().zip(row) {
        *part += error * value;
    }
    if let Some(intercept) = gradient.last_mut() {
        *intercept += error;
    }
}

fn norm(gradient: &[f64]) -> f64 {
    gradient.iter().fold(0.0, |largest, part| largest.max(part.abs()))
}

/// Solves `hessian * step = -gradient` by Cholesky, with a growing ridge where rounding has made the matrix
/// indefinite. `None` when even a large ridge does not help.
fn newton_direction(curvature: &Curvature) -> Option<Vec<f64>> {
    let largest = curvature.hessian.iter().filter_map(|line| line.last()).fold(0.0_f64, |a, b| a.max(*b));
    let mut ridge = 0.0;
    for _ in 0..10 {
        if let Some(factor) = cholesky(&curvature.hessian, ridge) {
            return Some(solve(&factor, &curvature.gradient));
        }
        ridge = if ridge == 0.0 { 1e-12 * largest } else { ridge * 100.0 };
    }
    None
}

/// Lower triangle `l` with `l * l^T = matrix + ridge`; `None` if that is not positive definite.
fn cholesky(matrix: &[Vec<f64>], ridge: f64) -> Option<Vec<Vec<f64>>> {
    let mut factor: Vec<Vec<f64>> = Vec::with_capacity(matrix.len());
    for line in matrix {
        let mut row: Vec<f64> = Vec::with_capacity(line.len());
        for (value, above) in line.iter().zip(&factor) {
            let rest = value - dot(&row, above);
            row.push(rest / above.last()?);
        }
        let pivot = line.last()? + ridge - dot(&row, &row);
        if !(pivot > 0.0 && pivot.is_finite()) {
            return None;
        }
        row.push(math::sqrt(pivot));
        factor.push(row);
    }
    Some(factor)
}

/// `-(l * l^T)^-1 * gradient`.
fn solve(factor: &[Vec<f64>], gradient: &[f64]) -> Vec<f64> {
    let mut forward: Vec<f64> = Vec::with_capacity(gradient.len());
    for (line, part) in factor.iter().zip(gradient) {
        let diagonal = line.last().copied().unwrap_or(1.0);
        forward.push((-part - dot(&forward, line)) / diagonal);
    }
    let mut solution = forward;
    for (index, line) in factor.iter().enumerate().rev() {
        let (before, from) = solution.split_at_mut(index);
        let diagonal = line.last().copied().unwrap_or(1.0);
        let Some(value) = from.first_mut() else { continue };
        *value /= diagonal;
        for (earlier, entry) in before.iter_mut().zip(line) {
            *earlier -= entry * *value;
        }
    }
    solution
}

/// Over the shorter of the two.
fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).fold(0.0, |sum, (a, b)| sum + a * b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cholesky_solves_a_known_system() {
        // [4 2 1; 2 3 0; 1 0 2] * [1 2 3] = [11 8 7]
        let hessian = vec![vec![4.0], vec![2.0, 3.0], vec![1.0, 0.0, 2.0]];
        let step = newton_direction(&Curvature { gradient: vec![-11.0, -8.0, -7.0], hessian }).unwrap();
        for (found, expected) in step.iter().zip([1.0, 2.0, 3.0]) {
            assert!((found - expected).abs() < 1e-14, "{step:?}");
        }
    }

    #[test]
    fn a_singular_system_gets_a_ridge() {
        let hessian = vec![vec![1.0], vec![1.0, 1.0]];
        let step = newton_direction(&Curvature { gradient: vec![-1.0, -1.0], hessian }).unwrap();
        assert!(step.iter().all(|part| part.is_finite() && *part > 0.0), "{step:?}");
    }
}
