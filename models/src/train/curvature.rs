//! The second derivatives of the log loss and the linear system of a Newton step.
//!
//! Rows are taken four at a time, always the same four, so that sums are the same on every machine. Not here: what is
//! minimised (`newton`), or steps under an L1 penalty (`elastic`).

use augur_domain::math;

/// Rows whose products are added up before the Hessian is touched.
const BLOCK: usize = 4;

/// Lower triangle of a symmetric matrix, by lines.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hessian {
    pub(super) lines: Vec<Vec<f64>>,
}

/// Adds up `weight * row * row^T` over rows extended by a 1 for the intercept.
pub(super) struct Accumulator {
    hessian: Hessian,
    /// Rows of the open block, each with its 1.
    rows: [Vec<f64>; BLOCK],
    weights: [f64; BLOCK],
    filled: usize,
}

impl Accumulator {
    pub(super) fn new(width: usize) -> Self {
        let mut row = vec![0.0; width + 1];
        if let Some(intercept) = row.last_mut() {
            *intercept = 1.0;
        }
        Self {
            hessian: Hessian { lines: (0..=width).map(|index| vec![0.0; index + 1]).collect() },
            rows: [row.clone(), row.clone(), row.clone(), row],
            weights: [0.0; BLOCK],
            filled: 0,
        }
    }

    pub(super) fn add(&mut self, row: &[f64], weight: f64) {
        if let (Some(place), Some(of)) = (self.rows.get_mut(self.filled), self.weights.get_mut(self.filled)) {
            for (value, of_row) in place.iter_mut().zip(row) {
                *value = *of_row;
            }
            *of = weight;
            self.filled += 1;
        }
        if self.filled == BLOCK {
            self.flush();
        }
    }

    /// The sum, with `ridge` on the diagonal of every coordinate but the intercept.
    pub(super) fn finish(mut self, ridge: f64) -> Hessian {
        self.flush();
        let width = self.hessian.lines.len() - 1;
        for line in self.hessian.lines.iter_mut().take(width) {
            if let Some(diagonal) = line.last_mut() {
                *diagonal += ridge;
            }
        }
        self.hessian
    }

    fn flush(&mut self) {
        for weight in self.weights.iter_mut().skip(self.filled) {
            *weight = 0.0;
        }
        let [first, second, third, fourth] = &self.rows;
        let [w1, w2, w3, w4] = self.weights;
        let columns = first.iter().zip(second).zip(third).zip(fourth);
        for (line, (((a, b), c), d)) in self.hessian.lines.iter_mut().zip(columns) {
            let (a, b, c, d) = (a * w1, b * w2, c * w3, d * w4);
            let rows = first.iter().zip(second).zip(third).zip(fourth);
            for (entry, (((e, f), g), h)) in line.iter_mut().zip(rows) {
                *entry += (a * e + b * f) + (c * g + d * h);
            }
        }
        self.filled = 0;
    }
}

impl Hessian {
    /// Takes a coordinate out of the system: a step will not move it.
    pub(super) fn hold(&mut self, coordinate: usize) {
        for (index, line) in self.lines.iter_mut().enumerate() {
            if index == coordinate {
                line.fill(0.0);
                if let Some(diagonal) = line.last_mut() {
                    *diagonal = 1.0;
                }
            } else if let Some(entry) = line.get_mut(coordinate) {
                *entry = 0.0;
            }
        }
    }

    /// The full line of a coordinate, as if the upper triangle were there too.
    pub(super) fn full_line(&self, coordinate: usize) -> Vec<f64> {
        let below = self.lines.iter().skip(coordinate + 1).filter_map(|line| line.get(coordinate));
        let own = self.lines.get(coordinate).map_or(&[][..], Vec::as_slice);
        own.iter().chain(below).copied().collect()
    }

    /// Cholesky's factor, with a growing ridge where rounding has made the matrix indefinite. `None` when even a large
    /// ridge does not help.
    pub(super) fn factor(&self) -> Option<Factor> {
        let largest = self.lines.iter().filter_map(|line| line.last()).fold(0.0_f64, |a, b| a.max(*b));
        let mut ridge = 0.0;
        for _ in 0..10 {
            if let Some(factor) = cholesky(&self.lines, ridge) {
                return Some(Factor { lines: factor });
            }
            ridge = if ridge == 0.0 { 1e-12 * largest } else { ridge * 100.0 };
        }
        None
    }
}

/// Lower triangle `l` with `l * l^T` the matrix.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Factor {
    lines: Vec<Vec<f64>>,
}

impl Factor {
    /// `-(l * l^T)^-1 * gradient`: the Newton step.
    pub(super) fn step(&self, gradient: &[f64]) -> Vec<f64> {
        let mut forward: Vec<f64> = Vec::with_capacity(gradient.len());
        for (line, part) in self.lines.iter().zip(gradient) {
            let diagonal = line.last().copied().unwrap_or(1.0);
            forward.push((-part - dot(&forward, line)) / diagonal);
        }
        let mut solution = forward;
        for (index, line) in self.lines.iter().enumerate().rev() {
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

/// Over the shorter of the two, in four sums side by side.
pub(super) fn dot(left: &[f64], right: &[f64]) -> f64 {
    let length = left.len().min(right.len());
    let (left, right) = (left.get(..length).unwrap_or_default(), right.get(..length).unwrap_or_default());
    let (mut left, mut right) = (left.chunks_exact(4), right.chunks_exact(4));
    let mut sums = [0.0; 4];
    for (a, b) in left.by_ref().zip(right.by_ref()) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest = left.remainder().iter().zip(right.remainder()).fold(0.0, |sum, (a, b)| sum + a * b);
    let [first, second, third, fourth] = sums;
    (first + second) + (third + fourth) + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cholesky_solves_a_known_system() {
        // [4 2 1; 2 3 0; 1 0 2] * [1 2 3] = [11 8 7]
        let hessian = Hessian { lines: vec![vec![4.0], vec![2.0, 3.0], vec![1.0, 0.0, 2.0]] };
        let step = hessian.factor().unwrap().step(&[-11.0, -8.0, -7.0]);
        for (found, expected) in step.iter().zip([1.0, 2.0, 3.0]) {
            assert!((found - expected).abs() < 1e-14, "{step:?}");
        }
        assert_eq!(hessian.full_line(0), [4.0, 2.0, 1.0]);
    }

    #[test]
    fn a_singular_system_gets_a_ridge() {
        let hessian = Hessian { lines: vec![vec![1.0], vec![1.0, 1.0]] };
        let step = hessian.factor().unwrap().step(&[-1.0, -1.0]);
        assert!(step.iter().all(|part| part.is_finite() && *part > 0.0), "{step:?}");
    }

    #[test]
    fn a_held_coordinate_does_not_move() {
        let mut hessian = Hessian { lines: vec![vec![4.0], vec![2.0, 3.0], vec![1.0, 0.0, 2.0]] };
        hessian.hold(1);
        assert_eq!(hessian.lines, [vec![4.0], vec![0.0, 1.0], vec![1.0, 0.0, 2.0]]);
        assert_eq!(hessian.factor().unwrap().step(&[-5.0, 0.0, -3.0])[1], 0.0);
    }

    #[test]
    fn blocks_add_up_to_the_sum_over_rows() {
        let rows: Vec<Vec<f64>> =
            (0..11).map(|row| (0..5).map(|at| f64::from(row * 5 + at).sin()).collect()).collect();
        let mut sum = Accumulator::new(5);
        for (index, row) in rows.iter().enumerate() {
            sum.add(row, 1.0 + index as f64);
        }
        let hessian = sum.finish(0.5);
        for (i, line) in hessian.lines.iter().enumerate() {
            for (j, found) in line.iter().enumerate() {
                let value = |row: &Vec<f64>, at: usize| row.get(at).copied().unwrap_or(1.0);
                let products =
                    rows.iter().enumerate().map(|(k, row)| (1.0 + k as f64) * value(row, i) * value(row, j));
                let ridge = if i == j && i < 5 { 0.5 } else { 0.0 };
                assert!((products.sum::<f64>() + ridge - found).abs() < 1e-12);
            }
        }
    }
}
