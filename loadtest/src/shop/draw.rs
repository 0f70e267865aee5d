//! Draws from the distributions that lives are made of.
//!
//! Not here: the generator itself (`augur_domain::rng`).

use augur_domain::math;
use augur_domain::rng::Rng;

/// True with this probability.
pub(super) fn chance(rng: &mut Rng, probability: f64) -> bool {
    rng.next_f64() < probability
}

/// Uniform in `low..high`.
pub(super) fn between(rng: &mut Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * rng.next_f64()
}

/// Exponential with this mean.
pub(super) fn exponential(rng: &mut Rng, mean: f64) -> f64 {
    -mean * math::ln(1.0 - rng.next_f64())
}

/// Close to a standard normal: twelve uniforms less six, within ±6.
pub(super) fn normal(rng: &mut Rng) -> f64 {
    (0..12).map(|_| rng.next_f64()).sum::<f64>() - 6.0
}

/// Poisson with a small mean, at most 20 (Knuth's product of uniforms).
pub(super) fn poisson(rng: &mut Rng, mean: f64) -> u32 {
    let floor = math::exp(-mean);
    let mut product = rng.next_f64();
    let mut count = 0;
    while product > floor && count < 20 {
        product *= rng.next_f64();
        count += 1;
    }
    count
}

/// An index drawn by these weights.
pub(super) fn weighted(rng: &mut Rng, weights: &[f64]) -> usize {
    let mut left = rng.next_f64() * weights.iter().sum::<f64>();
    for (index, weight) in weights.iter().enumerate() {
        left -= weight;
        if left < 0.0 {
            return index;
        }
    }
    weights.len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use augur_domain::rng::Purpose;

    use super::*;

    fn mean(draw: impl FnMut() -> f64) -> f64 {
        const DRAWS: usize = 50_000;
        std::iter::repeat_with(draw).take(DRAWS).sum::<f64>() / DRAWS as f64
    }

    #[test]
    fn means_are_as_declared() {
        let mut rng = Rng::new(3, Purpose::Simulation);
        assert!((mean(|| exponential(&mut rng, 40.0)) / 40.0 - 1.0).abs() < 0.02);
        assert!(mean(|| normal(&mut rng)).abs() < 0.02);
        assert!((mean(|| normal(&mut rng).powi(2)) - 1.0).abs() < 0.03);
        assert!((mean(|| f64::from(poisson(&mut rng, 0.7))) - 0.7).abs() < 0.02);
        assert!((mean(|| weighted(&mut rng, &[1.0, 0.0, 3.0]) as f64) - 1.5).abs() < 0.02);
    }
}
