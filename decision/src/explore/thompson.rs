//! Thompson sampling without sampling: how probably each contender is the best.
//!
//! A contender with evidence is worth its value times a Beta(1 + successes, 1 + failures) variable, the posterior of a
//! success rate after a uniform prior; one without is worth its value for sure. The probability that it is the best is
//! the integral of its density times the product of the others' distribution functions, by Gauss-Legendre quadrature of
//! ten points on fixed panels around every posterior. Not here: the draw, which is made from these probabilities.
//!
//! Error: below 1e-6 in each probability, held by tests to closed forms, to a finer quadrature and to sampling.

use augur_domain::distribution::incomplete_beta;
use augur_domain::math;

use super::{Contender, TieBreak};

/// Contenders with evidence of one decision point; the work grows with the square.
pub(crate) const MAX_POSTERIORS: usize = 16;
/// More trials than this count as so many, in the same proportion: the functions stay exact, and some doubt is left.
const MAX_TRIALS: f64 = 1e5;
/// Borders of panels, in standard deviations from the mean. The far ones are for tails that fall off like e^-x.
const BORDERS: [f64; 15] =
    [-40.0, -22.0, -14.0, -9.0, -5.0, -2.5, -1.0, 0.0, 1.0, 2.5, 5.0, 9.0, 14.0, 22.0, 40.0];
/// Borders near both ends of the rate, where a density like x^0.4 is no polynomial.
const END_BORDERS: [f64; 5] = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1];
/// A panel that can add less than this to any probability is left out.
const NEGLIGIBLE: f64 = 1e-13;
/// Abscissas above zero and weights (Abramowitz and Stegun, table 25.4, n = 10).
const POINTS: [(f64, f64); 5] = [
    (0.148_874_338_981_631_2, 0.295_524_224_714_752_9),
    (0.433_395_394_129_247_2, 0.269_266_719_309_996_4),
    (0.679_409_568_299_024_4, 0.219_086_362_515_982),
    (0.865_063_366_688_984_5, 0.149_451_349_150_580_6),
    (0.973_906_528_517_171_7, 0.066_671_344_308_688_1),
];

/// What one contender may be worth.
struct Posterior {
    /// Its place among the contenders.
    place: usize,
    value: f64,
    a: f64,
    b: f64,
    ln_scale: f64,
}

impl Posterior {
    fn new(place: usize, contender: &Contender) -> Option<Self> {
        let evidence = contender.evidence.filter(|_| contender.value != 0.0)?;
        let trials = evidence.successes + evidence.failures;
        let shrink = if trials > MAX_TRIALS { MAX_TRIALS / trials } else { 1.0 };
        let (a, b) = (1.0 + evidence.successes * shrink, 1.0 + evidence.failures * shrink);
        let ln_scale = math::ln_gamma(a + b) - math::ln_gamma(a) - math::ln_gamma(b);
        Some(Self { place, value: contender.value, a, b, ln_scale })
    }

    /// Probability that it is worth at most `x`.
    fn cdf(&self, x: f64) -> f64 {
        let rate = x / self.value;
        if self.value > 0.0 {
            incomplete_beta(self.a, self.b, rate)
        } else {
            incomplete_beta(self.b, self.a, 1.0 - rate)
        }
    }

    fn density(&self, x: f64) -> f64 {
        let rate = x / self.value;
        if rate <= 0.0 || rate >= 1.0 {
            return 0.0;
        }
        let ln = self.ln_scale + (self.a - 1.0) * math::ln(rate) + (self.b - 1.0) * math::ln_1p(-rate);
        math::exp(ln) / self.value.abs()
    }

    /// The ends of what it may be worth, and the borders between.
    fn borders(&self) -> impl Iterator<Item = f64> {
        let total = self.a + self.b;
        let mean = self.a / total;
        let deviation = math::sqrt(mean * (1.0 - mean) / (total + 1.0));
        let value = self.value;
        let around = BORDERS.into_iter().map(move |border| (mean + border * deviation).clamp(0.0, 1.0));
        let ends = END_BORDERS.into_iter().flat_map(|border| [border, 1.0 - border]);
        around.chain(ends).map(move |rate| value * rate)
    }

    fn least(&self) -> f64 {
        self.value.min(0.0)
    }
}

/// How probably each contender is the best of those that are `explored`; 0 for the rest.
pub(super) fn probabilities(contenders: &[Contender], explored: &[bool], tie_break: TieBreak) -> Vec<f64> {
    let taking_part = || contenders.iter().enumerate().zip(explored).filter(|(_, explored)| **explored);
    let posteriors: Vec<Posterior> =
        taking_part().filter_map(|((place, contender), _)| Posterior::new(place, contender)).collect();
    let is_certain = |place: usize| posteriors.iter().all(|posterior| posterior.place != place);
    let certain = || {
        let all = taking_part().filter(|((place, _), _)| is_certain(*place));
        all.map(|((place, contender), _)| (place, contender.value))
    };
    let mut probabilities = vec![0.0; contenders.len()];
    let highest = certain().map(|(_, worth)| worth).reduce(f64::max);
    if let Some(highest) = highest {
        let all_below: f64 = posteriors.iter().map(|posterior| posterior.cdf(highest)).product();
        let mut equals: Vec<usize> =
            certain().filter(|(_, worth)| *worth >= highest).map(|(place, _)| place).collect();
        if tie_break == TieBreak::Declared {
            equals.truncate(1);
        }
        let each = all_below / equals.len().max(1) as f64;
        add(&mut probabilities, equals.into_iter().map(|place| (place, each)));
    }
    let from = posteriors.iter().map(Posterior::least).chain(highest).fold(f64::NEG_INFINITY, f64::max);
    for panel in panels(&posteriors, from) {
        integrate(&posteriors, panel, &mut probabilities);
    }
    probabilities
}

/// Panels above `from` that can matter.
fn panels(posteriors: &[Posterior], from: f64) -> Vec<(f64, f64)> {
    let mut borders: Vec<f64> =
        posteriors.iter().flat_map(Posterior::borders).filter(|x| *x > from).collect();
    borders.push(from);
    borders.extend(posteriors.iter().map(|posterior| posterior.value.max(0.0)).filter(|x| *x > from));
    borders.sort_by(f64::total_cmp);
    borders.dedup();
    let mut below: Vec<f64> = Vec::new();
    let mut panels = Vec::with_capacity(borders.len());
    let mut left = None;
    for right in borders {
        let at: Vec<f64> = posteriors.iter().map(|posterior| posterior.cdf(right)).collect();
        if let Some(left) = left {
            let most = (0..at.len()).map(|own| {
                let gained = at.get(own).zip(below.get(own)).map_or(0.0, |(right, left)| right - left);
                let others = at.iter().enumerate().filter(|(other, _)| *other != own);
                gained * others.map(|(_, cdf)| cdf).product::<f64>()
            });
            if most.fold(0.0, f64::max) > NEGLIGIBLE {
                panels.push((left, right));
            }
        }
        (left, below) = (Some(right), at);
    }
    panels
}

/// Adds to each posterior's probability what the panel holds of it.
fn integrate(posteriors: &[Posterior], (left, right): (f64, f64), probabilities: &mut [f64]) {
    let (middle, half) = (0.5 * (left + right), 0.5 * (right - left));
    for (abscissa, weight) in POINTS.into_iter().flat_map(|(x, weight)| [(-x, weight), (x, weight)]) {
        let x = middle + half * abscissa;
        let below: Vec<f64> = posteriors.iter().map(|posterior| posterior.cdf(x)).collect();
        let shares = posteriors.iter().enumerate().map(|(own, posterior)| {
            let others = below.iter().enumerate().filter(|(other, _)| *other != own);
            let others: f64 = others.map(|(_, cdf)| cdf).product();
            (posterior.place, weight * half * posterior.density(x) * others)
        });
        add(probabilities, shares);
    }
}

fn add(probabilities: &mut [f64], shares: impl Iterator<Item = (usize, f64)>) {
    for (place, share) in shares {
        if let Some(probability) = probabilities.get_mut(place) {
            *probability += share;
        }
    }
}

#[cfg(test)]
#[path = "thompson_tests.rs"]
mod tests;
