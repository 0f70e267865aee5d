//! Intervals for shares, for differences of shares and for differences of means, looked at once.
//!
//! Not here: looking more than once (`sequential`).

use augur_domain::distribution::{normal_cdf, normal_quantile, student_cdf, student_quantile};
use augur_domain::math::sqrt;
use serde::Serialize;

use super::moments::Moments;

/// From where to where.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// So many of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Share {
    /// How many had it.
    pub hits: u64,
    /// Of how many; at least one where an interval is asked for.
    pub of: u64,
}

impl Share {
    /// The share itself; 0 of nothing.
    pub fn rate(self) -> f64 {
        if self.of == 0 { 0.0 } else { self.hits as f64 / self.of as f64 }
    }

    /// Wilson's score interval (Wilson 1927; Brown, Cai and DasGupta 2001 recommend it): it holds for small numbers and
    /// rates near zero, where the textbook's plus and minus does not.
    pub fn interval(self, confidence: f64) -> Interval {
        let (n, p) = (self.of.max(1) as f64, self.rate());
        let z = two_sided(confidence);
        let z2 = z * z / n;
        let centre = p + z2 / 2.0;
        let reach = z * sqrt(p * (1.0 - p) / n + z2 / (4.0 * n));
        let within = |end: f64| (end / (1.0 + z2)).clamp(0.0, 1.0);
        Interval { low: within(centre - reach), high: within(centre + reach) }
    }

    /// Interval for this share less another, of other people: Newcombe's hybrid score interval (Newcombe 1998, method
    /// 10), made of the two Wilson intervals.
    pub fn less(self, other: Self, confidence: f64) -> Interval {
        let (ours, theirs) = (self.interval(confidence), other.interval(confidence));
        let (p1, p2) = (self.rate(), other.rate());
        let reach = |a: f64, b: f64| sqrt(a * a + b * b);
        Interval {
            low: p1 - p2 - reach(p1 - ours.low, theirs.high - p2),
            high: p1 - p2 + reach(ours.high - p1, p2 - theirs.low),
        }
    }

    /// Two-sided p-value of equal shares: the pooled z test. `None` when all or none had it.
    pub fn p_value(self, other: Self) -> Option<f64> {
        let (n1, n2) = (self.of as f64, other.of as f64);
        let pooled = Self { hits: self.hits + other.hits, of: self.of + other.of }.rate();
        let variance = pooled * (1.0 - pooled) * (1.0 / n1 + 1.0 / n2);
        (variance > 0.0 && variance.is_finite())
            .then(|| 2.0 * normal_cdf(-(self.rate() - other.rate()).abs() / sqrt(variance)))
    }
}

/// A difference of two means, by Welch's test (Welch 1947): the variances may differ.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MeanDifference {
    /// The difference.
    pub difference: f64,
    /// Interval for it.
    pub interval: Interval,
    /// Degrees of freedom, by Welch and Satterthwaite.
    pub degrees: f64,
    /// Two-sided p-value of no difference.
    pub p_value: f64,
}

/// The mean of `ours` less that of `theirs`. `None` when one has fewer than two values or nothing varies.
pub fn mean_difference(ours: &Moments, theirs: &Moments, confidence: f64) -> Option<MeanDifference> {
    let (v1, v2) = (ours.variance_of_mean()?, theirs.variance_of_mean()?);
    let variance = v1 + v2;
    if variance <= 0.0 {
        return None;
    }
    let (n1, n2) = (ours.count as f64, theirs.count as f64);
    let degrees = variance * variance / (v1 * v1 / (n1 - 1.0) + v2 * v2 / (n2 - 1.0));
    let difference = ours.mean - theirs.mean;
    let reach = student_quantile(0.5 + confidence / 2.0, degrees) * sqrt(variance);
    let p_value = 2.0 * student_cdf(-difference.abs() / sqrt(variance), degrees);
    let interval = Interval { low: difference - reach, high: difference + reach };
    Some(MeanDifference { difference, interval, degrees, p_value })
}

/// How many standard deviations to either side hold `confidence`.
fn two_sided(confidence: f64) -> f64 {
    normal_quantile(0.5 + confidence / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} instead of {expected}");
    }

    // Computed with mpmath 1.3 at 30 digits from the formulas of the papers.
    #[test]
    fn wilson_agrees_with_thirty_digits() {
        let interval = Share { hits: 15, of: 120 }.interval(0.95);
        close(interval.low, 0.077_234_972_733_953_72);
        close(interval.high, 0.196_029_402_080_073_9);
        let none = Share { hits: 0, of: 50 }.interval(0.95);
        close(none.low, 0.0);
        close(none.high, 0.071_347_599_133_358_73);
    }

    // The first and the second row are examples (a) and (d) of Newcombe 1998, table II: 0.0524 to 0.3339 and 0.1705 to 0.8090.
    #[test]
    fn newcombe_agrees_with_the_paper() {
        for ((x1, n1), (x2, n2), low, high) in [
            ((56, 70), (48, 80), 0.052_431_472_402_364_88, 0.333_872_654_036_906),
            ((9, 10), (3, 10), 0.170_522_723_934_502_9, 0.809_017_973_535_488),
            ((10, 10), (0, 20), 0.679_086_037_141_914_7, 1.0),
        ] {
            let interval = Share { hits: x1, of: n1 }.less(Share { hits: x2, of: n2 }, 0.95);
            close(interval.low, low);
            close(interval.high, high);
        }
    }

    #[test]
    fn welch_agrees_with_thirty_digits() {
        let control =
            [27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4];
        let ours = [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 30.6, 24.1];
        let found = mean_difference(&Moments::of(&ours), &Moments::of(&control), 0.95).unwrap();
        close(found.difference, 2.82);
        assert!((found.degrees - 27.904_943_981_172_14).abs() < 1e-9, "{found:?}");
        close(found.p_value, 0.008_477_553_381_235_09);
        close(found.interval.low, 0.780_371_542_852_375_5);
        close(found.interval.high, 4.859_628_457_147_625);
        assert_eq!(mean_difference(&Moments::of(&[1.0]), &Moments::of(&control), 0.95), None);
        assert_eq!(mean_difference(&Moments::of(&[1.0; 3]), &Moments::of(&[1.0; 4]), 0.95), None);
    }
}
