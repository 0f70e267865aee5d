//! Against closed forms, symmetry, and sampling.

use augur_domain::rng::{Purpose, Rng};

use super::*;
use crate::explore::Evidence;

fn contender(value: f64, evidence: Option<(f64, f64)>) -> Contender {
    let evidence = evidence.map(|(successes, failures)| Evidence { successes, failures });
    Contender { candidate: 0, value, may_be_explored: true, evidence }
}

fn of(contenders: &[Contender]) -> Vec<f64> {
    probabilities(contenders, &vec![true; contenders.len()], TieBreak::Declared)
}

/// P(Beta(a1, b1) > Beta(a0, b0)) for whole numbers, by the sum of Miller (2014).
fn beats(one: (u32, u32), other: (u32, u32)) -> f64 {
    let b1 = f64::from(one.1) + 1.0;
    let (a0, b0) = (f64::from(other.0) + 1.0, f64::from(other.1) + 1.0);
    let ln_beta = |a: f64, b: f64| math::ln_gamma(a) + math::ln_gamma(b) - math::ln_gamma(a + b);
    (0..=one.0)
        .map(f64::from)
        .map(|i| {
            let ln = ln_beta(a0 + i, b0 + b1) - math::ln(b1 + i) - ln_beta(1.0 + i, b1) - ln_beta(a0, b0);
            math::exp(ln)
        })
        .sum()
}

#[test]
fn two_contenders_have_the_odds_of_the_closed_form() {
    for (one, other) in [
        ((0, 0), (0, 0)),
        ((0, 0), (3, 1)),
        ((1, 0), (0, 1)),
        ((10, 90), (15, 85)),
        ((0, 1_000), (2, 400)),
        ((900, 3), (40, 0)),
        ((500, 500), (3, 3)),
        ((5_000, 95_000), (5_100, 94_900)),
        ((30, 20_000), (45, 20_000)),
    ] {
        let evidence = |(successes, failures): (u32, u32)| Some((f64::from(successes), f64::from(failures)));
        let found = of(&[contender(2.5, evidence(one)), contender(2.5, evidence(other))]);
        let expected = beats(one, other);
        assert!((found[0] - expected).abs() < 1e-6, "{one:?} {other:?}: {found:?}, {expected}");
        assert!((found[0] + found[1] - 1.0).abs() < 1e-6, "{found:?}");
    }
}

#[test]
fn equals_have_equal_odds_and_order_does_not_matter() {
    let five = vec![contender(1.0, Some((3.0, 7.0))); 5];
    assert!(of(&five).iter().all(|odds| (odds - 0.2).abs() < 1e-7), "{:?}", of(&five));
    let mut mixed =
        vec![contender(1.0, Some((3.0, 7.0))), contender(2.0, Some((1.0, 9.0))), contender(0.3, None)];
    let there = of(&mixed);
    mixed.reverse();
    let mut back = of(&mixed);
    back.reverse();
    assert!(there.iter().zip(&back).all(|(one, other)| (one - other).abs() < 1e-12), "{there:?} {back:?}");
}

#[test]
fn the_certain_compete_by_their_value() {
    // Worth 2 times a uniform variable, against 0.5 for sure: below it one time in four.
    let found = of(&[contender(2.0, Some((0.0, 0.0))), contender(0.5, None), contender(0.4, None)]);
    for (found, expected) in found.iter().zip([0.75, 0.25, 0.0]) {
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    }
    assert_eq!(of(&[contender(0.0, Some((5.0, 5.0))), contender(-1.0, None)]), [1.0, 0.0]);
    // What costs something when it succeeds: worth -1 times a uniform variable, against -0.25 for sure.
    let costly = of(&[contender(-1.0, Some((0.0, 0.0))), contender(-0.25, None)]);
    assert!((costly[0] - 0.25).abs() < 1e-9 && (costly[1] - 0.75).abs() < 1e-9, "{costly:?}");
}

/// A Beta variable with whole parameters: the a-th smallest of a + b - 1 uniform ones.
fn sample((successes, failures): (usize, usize), rng: &mut Rng) -> f64 {
    let mut uniform: Vec<f64> = (0..successes + failures + 1).map(|_| rng.next_f64()).collect();
    uniform.sort_by(f64::total_cmp);
    uniform[successes]
}

#[test]
fn sampling_agrees() {
    let cases: [&[(f64, (usize, usize))]; 3] = [
        &[(1.0, (3, 7)), (1.0, (5, 9)), (1.0, (0, 2))],
        &[(2.0, (2, 12)), (1.0, (6, 8)), (0.7, (9, 3)), (5.0, (0, 14))],
        &[(1.0, (20, 2)), (1.2, (14, 4)), (1.1, (1, 0)), (0.9, (12, 0)), (3.0, (2, 7))],
    ];
    const SAMPLES: u32 = 40_000;
    let mut rng = Rng::new(7, Purpose::Simulation);
    for case in cases {
        let contenders: Vec<Contender> = case
            .iter()
            .map(|(value, (successes, failures))| {
                contender(*value, Some((*successes as f64, *failures as f64)))
            })
            .collect();
        let found = of(&contenders);
        assert!((found.iter().sum::<f64>() - 1.0).abs() < 1e-6, "{found:?}");
        let mut wins = vec![0_u32; case.len()];
        for _ in 0..SAMPLES {
            let worths: Vec<f64> =
                case.iter().map(|(value, counts)| value * sample(*counts, &mut rng)).collect();
            let best = (0..worths.len()).max_by(|a, b| worths[*a].total_cmp(&worths[*b])).unwrap();
            wins[best] += 1;
        }
        for (odds, wins) in found.iter().zip(&wins) {
            let deviation = math::sqrt(odds * (1.0 - odds) / f64::from(SAMPLES)).max(1e-5);
            let share = f64::from(*wins) / f64::from(SAMPLES);
            assert!((odds - share).abs() < 4.5 * deviation, "{odds} {share}: {found:?} {wins:?}");
        }
    }
}

/// Evidence of any size: the odds before they are made to add up do so nearly.
#[test]
fn the_odds_add_up_by_themselves() {
    let mut rng = Rng::new(3, Purpose::Simulation);
    for _ in 0..60 {
        let count = 2 + rng.below(4) as usize;
        let contenders: Vec<Contender> = (0..count)
            .map(|_| {
                let size = math::exp(rng.next_f64() * 9.0);
                let rate = rng.next_f64();
                contender(0.5 + rng.next_f64(), Some((size * rate, size * (1.0 - rate))))
            })
            .collect();
        let sum: f64 = of(&contenders).iter().sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}: {contenders:?}");
    }
}
