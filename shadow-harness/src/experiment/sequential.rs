//! Intervals and p-values that hold however often they are looked at, and whenever one stops.
//!
//! The test is the mixture sequential probability ratio test with a normal mixture (Robbins 1970; Johari, Koomen, Pekelis
//! and Walsh, Always Valid Inference, 2022), in the asymptotic form of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas
//! (Time-uniform central limit theory and asymptotic confidence sequences, 2024, theorem 2.2): for a
//! difference with estimated variance `V` after `n` units the interval is the difference plus and minus
//!
//! `sqrt( 2 V (n rho^2 + 1) / (n rho^2) * ln( sqrt(n rho^2 + 1) / alpha ) )`
//!
//! and it covers the truth at all `n` at once with probability `1 - alpha`, as `n` grows. `rho` decides where the interval
//! is narrowest, not whether it holds: it is set for a number of units that must be chosen before looking.
//! Not here: intervals for one look (`interval`), which are narrower and do not survive a second one.

use augur_domain::math::{exp, ln, sqrt};
use serde::Serialize;

use super::interval::Interval;

/// What may be said at every look.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AlwaysValid {
    /// Interval for the difference.
    pub interval: Interval,
    /// p-value of no difference.
    pub p_value: f64,
}

/// Judges `difference`, whose variance is estimated as `variance`, after `units` of both arms together; narrowest at
/// `tuned_for` units. `alpha` is the share of false alarms over all looks together. `None` when nothing varies.
pub fn always_valid(
    difference: f64,
    variance: f64,
    units: u64,
    tuned_for: u64,
    alpha: f64,
) -> Option<AlwaysValid> {
    if variance <= 0.0 || units == 0 {
        return None;
    }
    // n rho^2, the only way in which rho and n appear.
    let time = units as f64 * mixture(tuned_for, alpha);
    let wide = sqrt(time + 1.0);
    let reach = sqrt(variance * 2.0 * (time + 1.0) / time * ln(wide / alpha));
    let ratio = wide * exp(-difference * difference * time / (2.0 * variance * (time + 1.0)));
    let interval = Interval { low: difference - reach, high: difference + reach };
    Some(AlwaysValid { interval, p_value: ratio.min(1.0) })
}

/// `rho^2` by which the interval is about narrowest at `tuned_for` units (Waudby-Smith et al., appendix).
fn mixture(tuned_for: u64, alpha: f64) -> f64 {
    let twice = -2.0 * ln(alpha);
    (twice + ln(twice + 1.0)) / tuned_for.max(1) as f64
}

#[cfg(test)]
mod tests {
    use augur_domain::rng::{Purpose, Rng};

    use super::*;
    use crate::experiment::interval::Share;

    // Computed with mpmath 1.3 at 30 digits from the formula of the paper, which is written otherwise there.
    #[test]
    fn it_agrees_with_thirty_digits() {
        let judged = always_valid(0.06, 0.0002, 1_000, 5_000, 0.05).unwrap();
        assert!((judged.interval.high - 0.06 - 0.047_572_556_441_023_96).abs() < 1e-14, "{judged:?}");
        assert!((judged.p_value - 0.006_434_486_104_820_974).abs() < 1e-14, "{judged:?}");
        assert_eq!(always_valid(0.0, 0.0, 10, 10, 0.05), None);
    }

    #[test]
    fn interval_and_p_value_say_the_same() {
        for step in 1..200 {
            let judged = always_valid(f64::from(step) * 0.001, 0.000_4, 3_000, 10_000, 0.05).unwrap();
            assert_eq!(judged.interval.low > 0.0, judged.p_value < 0.05, "{judged:?}");
        }
    }

    /// Two arms without any difference, looked at after every hundred units: how often each test cries out at least once.
    fn false_alarms(rate: f64, experiments: u64) -> (f64, f64) {
        const UNITS: u64 = 10_000;
        const LOOK_EVERY: u64 = 100;
        let (mut always, mut once) = (0, 0);
        for experiment in 0..experiments {
            let mut random = Rng::new(experiment, Purpose::Simulation);
            let mut arms = [Share { hits: 0, of: 0 }; 2];
            let (mut cried, mut cried_naively) = (false, false);
            for unit in 1..=UNITS {
                let arm = &mut arms[usize::from(random.next_f64() < 0.5)];
                arm.of += 1;
                arm.hits += u64::from(random.next_f64() < rate);
                if unit % LOOK_EVERY == 0 && unit >= 2 * LOOK_EVERY {
                    let [ours, theirs] = arms;
                    let spread = |share: Share| share.rate() * (1.0 - share.rate()) / share.of as f64;
                    let (difference, variance) = (ours.rate() - theirs.rate(), spread(ours) + spread(theirs));
                    let judged = always_valid(difference, variance, unit, UNITS, 0.05);
                    cried |= judged.is_some_and(|judged| judged.p_value < 0.05);
                    cried_naively |= ours.p_value(theirs).is_some_and(|p| p < 0.05);
                }
            }
            always += u64::from(cried);
            once += u64::from(cried_naively);
        }
        (always as f64 / experiments as f64, once as f64 / experiments as f64)
    }

    #[test]
    fn peeking_a_hundred_times_raises_no_more_false_alarms_than_stated() {
        for rate in [0.02, 0.3] {
            let (always, once) = false_alarms(rate, 400);
            // Of 400 experiments 5 % is 20 with a standard deviation of 4.4.
            assert!(always <= 0.05 + 0.022, "rate {rate}: {always} of experiments without a difference");
            // A test for one look is no test for a hundred.
            assert!(once > 0.15, "rate {rate}: {once}; the simulation would not notice a bad test");
        }
    }
}
