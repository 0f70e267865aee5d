//! Steps under an elastic-net penalty: coordinate descent on the quadratic model of the loss, as in glmnet (Friedman,
//! Hastie and Tibshirani, 2010), and the measure of how far a point is from the optimum.
//!
//! Not here: the line search along the step (`newton`).

use super::curvature::Hessian;

/// Most passes over the coordinates for one step.
const MAX_SWEEPS: usize = 1_000;

/// The part of the gradient that no subgradient of `l1 * |weight|` can cancel, per coordinate; the last, the intercept,
/// has no penalty.
pub(super) fn residuals<'a>(
    gradient: &'a [f64],
    weights: &'a [f64],
    l1: f64,
) -> impl Iterator<Item = f64> + 'a {
    gradient.iter().enumerate().map(move |(at, part)| match weights.get(at) {
        Some(weight) if *weight > 0.0 => part + l1,
        Some(weight) if *weight < 0.0 => part - l1,
        Some(_) => soft_threshold(*part, l1),
        None => *part,
    })
}

/// The step that minimises `gradient * step + step * hessian * step / 2 + l1 * |weights + step|`, until no coordinate
/// would change the gradient by more than `tolerance`.
pub(super) fn step(
    hessian: &Hessian,
    gradient: &[f64],
    weights: &[f64],
    l1: f64,
    tolerance: f64,
) -> Vec<f64> {
    let lines: Vec<Vec<f64>> = (0..gradient.len()).map(|at| hessian.full_line(at)).collect();
    let mut step = vec![0.0; gradient.len()];
    // The gradient of the quadratic model where the step ends.
    let mut slope = gradient.to_vec();
    for _ in 0..MAX_SWEEPS {
        let mut greatest = 0.0_f64;
        for (at, line) in lines.iter().enumerate() {
            let curvature = line.get(at).copied().unwrap_or(0.0);
            let (Some(place), Some(part)) = (step.get_mut(at), slope.get(at).copied()) else { continue };
            if curvature <= 0.0 {
                continue;
            }
            let moved = match weights.get(at) {
                Some(weight) => {
                    let from = weight + *place;
                    soft_threshold(from * curvature - part, l1) / curvature - from
                }
                None => -part / curvature,
            };
            if moved == 0.0 {
                continue;
            }
            *place += moved;
            for (slope, entry) in slope.iter_mut().zip(line) {
                *slope += entry * moved;
            }
            greatest = greatest.max((moved * curvature).abs());
        }
        if greatest <= tolerance {
            break;
        }
    }
    step
}

fn soft_threshold(value: f64, by: f64) -> f64 {
    if value > by {
        value - by
    } else if value < -by {
        value + by
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_ends_where_no_subgradient_is_left() {
        let hessian = Hessian { lines: vec![vec![4.0], vec![1.0, 3.0], vec![0.5, 0.2, 2.0]] };
        let (gradient, weights, l1) = ([-5.0, -0.9, 1.0], [0.0, 0.1], 1.0);
        let step = step(&hessian, &gradient, &weights, l1, 1e-14);
        let moved: Vec<f64> = weights.iter().zip(&step).map(|(weight, part)| weight + part).collect();
        let slope: Vec<f64> = (0..3)
            .map(|at| gradient[at] + hessian.full_line(at).iter().zip(&step).map(|(a, b)| a * b).sum::<f64>())
            .collect();
        assert!(residuals(&slope, &moved, l1).all(|rest| rest.abs() < 1e-12), "{moved:?} {slope:?}");
        assert_eq!(moved[1], 0.0, "the penalty holds the weak coordinate at nothing");
    }
}
