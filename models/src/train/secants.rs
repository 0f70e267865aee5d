//! What past steps told of the second derivatives: BFGS corrections of a Newton step, by the two loops of L-BFGS (Nocedal
//! and Wright, Numerical Optimization, 7.4) around a factor of the Hessian in place of a multiple of one.
//!
//! Not here: when steps are taken (`newton`).

use augur_domain::math;

use super::curvature::{Factor, dot};

/// Most steps that are remembered.
const MOST: usize = 8;

/// The last steps with the changes of the gradient along them, oldest first.
#[derive(Default)]
pub(super) struct Secants {
    pairs: Vec<Pair>,
}

struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    /// `step * change`, positive.
    curvature: f64,
}

impl Secants {
    /// Remembers a step. One without curvature, at the limit of rounding, would turn others round.
    pub(super) fn push(&mut self, step: Vec<f64>, change: Vec<f64>) {
        let curvature = dot(&step, &change);
        let least = f64::EPSILON * math::sqrt(dot(&change, &change) * dot(&step, &step));
        if curvature <= least || !curvature.is_finite() {
            return;
        }
        if self.pairs.len() == MOST {
            self.pairs.remove(0);
        }
        self.pairs.push(Pair { step, change, curvature });
    }

    pub(super) fn clear(&mut self) {
        self.pairs.clear();
    }

    /// The step that the factor's Hessian, corrected by what is remembered, takes against `gradient`.
    pub(super) fn step(&self, factor: &Factor, gradient: &[f64]) -> Vec<f64> {
        let mut slope = gradient.to_vec();
        let mut shares = Vec::with_capacity(self.pairs.len());
        for pair in self.pairs.iter().rev() {
            let share = dot(&pair.step, &slope) / pair.curvature;
            add(&mut slope, &pair.change, -share);
            shares.push(share);
        }
        let mut step = factor.step(&slope);
        for (pair, share) in self.pairs.iter().zip(shares.iter().rev()) {
            // `step` points down already, so both signs are turned.
            let back = dot(&pair.change, &step) / pair.curvature;
            add(&mut step, &pair.step, -(share + back));
        }
        step
    }
}

fn add(to: &mut [f64], what: &[f64], times: f64) {
    for (part, value) in to.iter_mut().zip(what) {
        *part += times * value;
    }
}

#[cfg(test)]
mod tests {
    use super::super::curvature::Hessian;
    use super::*;

    #[test]
    fn a_wrong_hessian_is_mended_by_the_steps_of_a_quadratic() {
        // The gradient of a quadratic with second derivatives [4 1; 1 3] and its least value at (1, -2).
        let gradient = |at: &[f64]| {
            let (x, y) = (at[0] - 1.0, at[1] + 2.0);
            vec![4.0 * x + y, x + 3.0 * y]
        };
        let factor = Hessian { lines: vec![vec![5.0], vec![0.0, 5.0]] }.factor().unwrap();
        let left = |remembers: bool| {
            let (mut at, mut secants) = (vec![3.0, 4.0], Secants::default());
            for _ in 0..8 {
                let before = gradient(&at);
                let step = secants.step(&factor, &before);
                add(&mut at, &step, 1.0);
                let change =
                    gradient(&at).iter().zip(&before).map(|(after, before)| after - before).collect();
                if remembers {
                    secants.push(step, change);
                }
            }
            gradient(&at).iter().fold(0.0_f64, |most, part| most.max(part.abs()))
        };
        assert!(left(true) < 1e-3 * left(false), "{} {}", left(true), left(false));
    }

    #[test]
    fn the_newest_secant_holds_and_steps_without_curvature_are_forgotten() {
        let factor = Hessian { lines: vec![vec![2.0], vec![0.0, 2.0]] }.factor().unwrap();
        let mut secants = Secants::default();
        secants.push(vec![1.0, 0.0], vec![-1.0, 0.0]);
        secants.push(vec![0.0, 0.0], vec![0.0, 0.0]);
        assert_eq!(secants.pairs.len(), 0);
        assert_eq!(secants.step(&factor, &[2.0, 4.0]), factor.step(&[2.0, 4.0]));
        for _ in 0..20 {
            secants.push(vec![0.5, 1.0], vec![2.0, 3.0]);
        }
        // Against the change of a step the corrected Hessian takes that step back.
        let step = secants.step(&factor, &[2.0, 3.0]);
        assert!((step[0] + 0.5).abs() < 1e-12 && (step[1] + 1.0).abs() < 1e-12, "{step:?}");
        assert_eq!(secants.pairs.len(), MOST);
    }
}
