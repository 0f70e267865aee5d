//! Odds add up, draws follow them, and the greedy choice stays what it is without exploration.

use proptest::prelude::*;

use super::*;

fn contender(candidate: usize, value: f64) -> Contender {
    Contender { candidate, value, may_be_explored: true, evidence: None }
}

fn contenders(values: &[f64]) -> Vec<Contender> {
    values.iter().enumerate().map(|(index, value)| contender(index, *value)).collect()
}

fn odds(method: Option<Method>, tie_break: TieBreak, contenders: &[Contender]) -> Odds {
    let mut odds = Odds::default();
    odds.reckon(method, tie_break, contenders);
    odds
}

fn of(method: Method, values: &[f64]) -> Vec<f64> {
    odds(Some(method), TieBreak::Declared, &contenders(values)).probabilities
}

#[test]
fn odds_of_epsilon_and_softmax_are_exact() {
    assert_eq!(of(Method::Epsilon(0.25), &[1.0, 3.0, 2.0, 3.0]), [0.0625, 0.8125, 0.0625, 0.0625]);
    assert_eq!(of(Method::Epsilon(0.0), &[1.0, 3.0]), [0.0, 1.0]);
    let softmax = of(Method::Softmax { temperature: 0.5 }, &[1.0, 2.0, 1.0]);
    let weights = [(-2.0_f64), 0.0, -2.0].map(math::exp);
    let sum: f64 = weights.iter().sum();
    assert_eq!(softmax, weights.map(|weight| weight / sum));
    assert_eq!(of(Method::Softmax { temperature: 1e-12 }, &[1e12, -1e12]), [1.0, 0.0], "nothing overflows");
}

#[test]
fn ties_go_to_the_first_or_to_any() {
    let tied = contenders(&[1.0, 2.0, 2.0]);
    assert_eq!(odds(None, TieBreak::Declared, &tied).probabilities, [0.0, 1.0, 0.0]);
    assert_eq!(odds(None, TieBreak::Random, &tied).probabilities, [0.0, 0.5, 0.5]);
    let both = odds(Some(Method::Epsilon(0.3)), TieBreak::Random, &tied).probabilities;
    assert!((both[1] - 0.45).abs() < 1e-15 && both[1] == both[2], "{both:?}");
}

#[test]
fn whoever_may_not_be_explored_is_chosen_only_as_the_best() {
    let mut all = contenders(&[1.0, 2.0, 0.0]);
    all[2].may_be_explored = false;
    for method in [Method::Epsilon(0.3), Method::Softmax { temperature: 1.0 }, Method::Thompson] {
        assert_eq!(odds(Some(method), TieBreak::Declared, &all).probabilities[2], 0.0, "{method:?}");
    }
    all[2].value = 3.0;
    assert!(
        odds(Some(Method::Softmax { temperature: 1.0 }), TieBreak::Declared, &all).probabilities[2] > 0.5
    );
}

fn any_method() -> impl Strategy<Value = Option<Method>> {
    prop_oneof![
        Just(None),
        (0.0..=1.0).prop_map(|epsilon| Some(Method::Epsilon(epsilon))),
        (-12.0..12.0_f64).prop_map(|power| {
            Some(Method::Softmax { temperature: math::exp(power * std::f64::consts::LN_10) })
        }),
        Just(Some(Method::Thompson)),
    ]
}

fn any_contender() -> impl Strategy<Value = Contender> {
    let value = prop_oneof![-5.0..5.0_f64, (0..4_i32).prop_map(f64::from), -1e12..1e12_f64];
    let evidence = prop::option::of((0.0..1e4_f64, 0.0..1e4_f64));
    (value, any::<bool>(), evidence).prop_map(|(value, may_be_explored, evidence)| Contender {
        candidate: 0,
        value,
        may_be_explored,
        evidence: evidence.map(|(successes, failures)| Evidence { successes, failures }),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn odds_add_up_and_the_drawn_one_had_a_chance(
        method in any_method(),
        random in any::<bool>(),
        contenders in prop::collection::vec(any_contender(), 1..6),
        seeds in prop::collection::vec(any::<u64>(), 8),
    ) {
        let tie_break = if random { TieBreak::Random } else { TieBreak::Declared };
        let Odds { probabilities, greedy, .. } = odds(method, tie_break, &contenders);
        prop_assert!(probabilities.iter().all(|probability| (0.0..=1.0).contains(probability)), "{probabilities:?}");
        prop_assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{probabilities:?}");
        prop_assert!(greedy.contains(&true));
        for seed in seeds {
            let drawn = draw(&probabilities, seed, Purpose::Exploration);
            prop_assert!(probabilities[drawn] > 0.0);
            prop_assert_eq!(drawn, draw(&probabilities, seed, Purpose::Exploration));
        }
    }
}

/// Three degrees of freedom: 1e-4 beyond 21.1.
#[test]
fn draws_follow_the_odds() {
    let probabilities = [0.1, 0.0, 0.6, 0.05, 0.25];
    let mut counts = [0.0; 5];
    const DRAWS: u64 = 100_000;
    for seed in 0..DRAWS {
        counts[draw(&probabilities, seed, Purpose::Exploration)] += 1.0;
    }
    assert_eq!(counts[1], 0.0);
    let cells = probabilities.iter().zip(&counts).filter(|(probability, _)| **probability > 0.0);
    let statistic: f64 = cells
        .map(|(probability, count)| {
            let (expected, off) = (probability * DRAWS as f64, count - probability * DRAWS as f64);
            off * off / expected
        })
        .sum();
    assert!(statistic < 21.1, "{statistic}: {counts:?}");
}
