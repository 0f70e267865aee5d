//! Probability distributions that tests and intervals need: normal, Student's t, chi-square, beta.
//!
//! Not here: drawing from them (`rng`), or what is tested. All of it is computed on the pinned functions of
//! [`math`], so equal arguments give equal bits on every machine.

use crate::math;

/// Terms of a series or a continued fraction; those here need a few dozen for arguments that occur.
const MAX_TERMS: usize = 10_000;
/// Stands in for a denominator of zero in Lentz's method.
const TINY: f64 = 1e-300;
const BISECTIONS: usize = 200;

/// Probability that a standard normal variable is at most `x`.
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * math::erfc(-x / std::f64::consts::SQRT_2)
}

/// The `x` that a standard normal variable does not exceed with probability `probability`, in (0, 1); infinite at the ends.
pub fn normal_quantile(probability: f64) -> f64 {
    quantile(probability, normal_cdf)
}

/// Probability that Student's t with `degrees` > 0 degrees of freedom is at most `x`.
pub fn student_cdf(x: f64, degrees: f64) -> f64 {
    let tail = 0.5 * incomplete_beta(0.5 * degrees, 0.5, degrees / (degrees + x * x));
    if x > 0.0 { 1.0 - tail } else { tail }
}

/// The quantile of Student's t; infinite at probabilities 0 and 1.
pub fn student_quantile(probability: f64, degrees: f64) -> f64 {
    quantile(probability, |x| student_cdf(x, degrees))
}

/// Probability that chi-square with `degrees` > 0 degrees of freedom is at least `x`.
pub fn chi_square_survival(x: f64, degrees: f64) -> f64 {
    if x <= 0.0 { 1.0 } else { 1.0 - incomplete_gamma(0.5 * degrees, 0.5 * x) }
}

/// The regularised incomplete beta function I_x(a, b), `a` and `b` positive, `x` clamped to \[0, 1\]: the probability that
/// a Beta(a, b) variable is at most `x`. Continued fraction by Lentz's method (Numerical Recipes, 6.4); relative error
/// about 1e-13 where `a` and `b` are below 10^5.
pub fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x.is_nan() || a.is_nan() || b.is_nan() || a <= 0.0 || b <= 0.0 {
        return f64::NAN;
    }
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    // The fraction converges fast on this side alone.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta_below(b, a, 1.0 - x);
    }
    incomplete_beta_below(a, b, x)
}

fn incomplete_beta_below(a: f64, b: f64, x: f64) -> f64 {
    let ln_front =
        math::ln_gamma(a + b) - math::ln_gamma(a) - math::ln_gamma(b) + a * math::ln(x) + b * math::ln_1p(-x);
    let step = |index: usize| {
        let m = (index / 2) as f64;
        if index.is_multiple_of(2) {
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        } else {
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        }
    };
    let mut c = 1.0;
    let mut d = nonzero(1.0 + step(1)).recip();
    let mut fraction = d;
    for index in 2..MAX_TERMS {
        d = nonzero(1.0 + step(index) * d).recip();
        c = nonzero(1.0 + step(index) / c);
        fraction *= c * d;
        if (c * d - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    (math::exp(ln_front) * fraction / a).clamp(0.0, 1.0)
}

fn nonzero(number: f64) -> f64 {
    if number.abs() < TINY { TINY } else { number }
}

/// The regularised lower incomplete gamma function P(a, x), `a` positive. Series below `a + 1`, continued fraction above
/// (Numerical Recipes, 6.2).
pub fn incomplete_gamma(a: f64, x: f64) -> f64 {
    if x.is_nan() || a.is_nan() || a <= 0.0 {
        return f64::NAN;
    }
    if x <= 0.0 {
        return 0.0;
    }
    let front = math::exp(a * math::ln(x) - x - math::ln_gamma(a));
    if x < a + 1.0 {
        let (mut term, mut sum) = (a.recip(), a.recip());
        for index in 1..MAX_TERMS {
            term *= x / (a + index as f64);
            sum += term;
            if term < sum * f64::EPSILON {
                break;
            }
        }
        return (sum * front).min(1.0);
    }
    let mut b = x + 1.0 - a;
    let (mut c, mut d) = (TINY.recip(), nonzero(b).recip());
    let mut fraction = d;
    for index in 1..MAX_TERMS {
        let index = index as f64;
        let numerator = -index * (index - a);
        b += 2.0;
        d = nonzero(numerator * d + b).recip();
        c = nonzero(b + numerator / c);
        fraction *= c * d;
        if (c * d - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    (1.0 - front * fraction).clamp(0.0, 1.0)
}

/// Where a rising `cdf` that is symmetric around 0 reaches `probability`, by bisection down to neighbouring floats.
fn quantile(probability: f64, cdf: impl Fn(f64) -> f64) -> f64 {
    if !(0.0..=1.0).contains(&probability) {
        return f64::NAN;
    }
    // The lower tail is where the distribution function has digits to spare.
    if probability > 0.5 {
        return -quantile(1.0 - probability, cdf);
    }
    if probability == 0.0 {
        return f64::NEG_INFINITY;
    }
    let mut low = -1.0;
    while cdf(low) > probability && low > f64::MIN / 4.0 {
        low *= 2.0;
    }
    let mut high = 0.0;
    for _ in 0..BISECTIONS {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if cdf(middle) < probability {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1e-3), "{found} is not {expected}");
    }

    /// Known to more digits than a float has: tables in Abramowitz and Stegun, and closed forms.
    #[test]
    fn known_values() {
        near(normal_cdf(1.0), 0.841_344_746_068_542_9);
        near(normal_quantile(0.975), 1.959_963_984_540_054);
        near(normal_quantile(0.5), 0.0);
        // One degree is Cauchy, two have a closed form.
        near(student_cdf(1.0, 1.0), 0.75);
        near(student_cdf(-1.0, 2.0), 0.5 - 0.5 / math::sqrt(3.0));
        near(student_quantile(0.95, 7.0), 1.894_578_605_090_006);
        // Two degrees are exponential.
        near(chi_square_survival(3.0, 2.0), math::exp(-1.5));
        near(chi_square_survival(40.0, 2.0), math::exp(-20.0));
        near(chi_square_survival(3.841_458_820_694_124, 1.0), 0.05);
        // I_x(2, 3) = x^2 (6 - 8x + 3x^2).
        near(incomplete_beta(2.0, 3.0, 0.4), 0.16 * (6.0 - 3.2 + 0.48));
        near(incomplete_beta(0.5, 0.5, 0.25), 1.0 / 3.0);
        near(incomplete_beta(5.0, 1.0, 0.9), 0.9 * 0.9 * 0.9 * 0.9 * 0.9);
    }

    #[test]
    fn ends_and_nonsense() {
        assert_eq!((incomplete_beta(2.0, 3.0, -1.0), incomplete_beta(2.0, 3.0, 2.0)), (0.0, 1.0));
        assert!(incomplete_beta(0.0, 1.0, 0.5).is_nan() && incomplete_gamma(-1.0, 1.0).is_nan());
        assert_eq!((normal_quantile(0.0), normal_quantile(1.0)), (f64::NEG_INFINITY, f64::INFINITY));
        assert!(normal_quantile(1.5).is_nan() && normal_quantile(f64::NAN).is_nan());
        assert_eq!(chi_square_survival(0.0, 3.0), 1.0);
    }

    #[test]
    fn both_sides_add_up() {
        for a in [0.3, 1.0, 4.5, 120.0, 40_000.0] {
            for b in [0.7, 2.0, 33.0, 9_000.0] {
                for step in 1..20 {
                    let x = f64::from(step) / 20.0;
                    let sum = incomplete_beta(a, b, x) + incomplete_beta(b, a, 1.0 - x);
                    assert!((sum - 1.0).abs() < 1e-11, "{a} {b} {x}: {sum}");
                }
            }
        }
    }
}
