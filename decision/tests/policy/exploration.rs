//! Exploration and ties as decisions see them: odds that are told, add up, and are those of the draw.
//!
//! Not here: the odds themselves (`explore`).

use augur_decision::{PolicySnapshot, decide};
use augur_domain::decision::DecisionInputs;
use augur_domain::time::HOUR_MS;
use augur_domain::{Decision, ReasonCode, UserKey};
use proptest::prelude::*;

use crate::properties::any_inputs;
use crate::support::{expose, in_words, inputs, load, loaded, set_feature};

const POINT: &str = r#"
version = 1

[[decision_point]]
name = "cart_page"
actions = ["dear", "fair", "cheap", "capped", "none"]
default_action = "none"
deadline = "20ms"
"#;

const ACTIONS: &str = r#"
[[action]]
name = "dear"
value_fallback = 2.0
successes = 3
failures = "features.sessions_count"

[[action]]
name = "fair"
value_fallback = 1.5
successes = 6
failures = 9

[[action]]
name = "cheap"
value_fallback = 0.5
eligible_when = "features.purchases_7d < 1"

[[action]]
name = "capped"
value_fallback = 9.0
caps = ["1 per 24h"]

[[action]]
name = "none"

[[rule]]
id = "push"
when = "features.purchases_30d > 5"
then = "force"
actions = ["fair"]
reason = "PUSH"
"#;

fn policy(exploration: &str) -> PolicySnapshot {
    loaded(&[POINT, exploration, ACTIONS].concat())
}

/// With the capped action used up.
fn asked() -> DecisionInputs {
    let mut inputs = inputs("cart_page");
    expose(&mut inputs, "capped", "", HOUR_MS);
    inputs
}

const EPSILON: &str = "exploration = { kind = \"epsilon\", epsilon = 0.3 }";
const SOFTMAX: &str = "exploration = { kind = \"softmax\", temperature = 0.7 }";
const THOMPSON: &str = "exploration = { kind = \"thompson\" }";

fn probability(decision: &Decision, action: &str) -> f64 {
    decision.candidates.iter().find(|candidate| &*candidate.action == action).unwrap().probability
}

#[test]
fn odds_are_told_for_every_candidate_after_rules_and_caps() {
    let decision = decide(&policy(EPSILON), &asked());
    let found = ["dear", "fair", "cheap", "capped", "none"].map(|action| probability(&decision, action));
    for (found, expected) in found.iter().zip([0.8, 0.1, 0.1, 0.0, 0.0]) {
        assert!((found - expected).abs() < 1e-15, "{found} {expected}");
    }
    assert_eq!(decision.propensity, probability(&decision, &decision.action));

    let mut bought = asked();
    set_feature(&mut bought, "purchases_7d", 2.0);
    let decision = decide(&policy(EPSILON), &bought);
    assert!(
        (probability(&decision, "dear") - 0.85).abs() < 1e-15,
        "an action that is refused is not explored"
    );
}

#[test]
fn a_choice_that_is_not_the_best_says_so() {
    let policy = policy(EPSILON);
    let explored = (0..100).map(|seed| decide(&policy, &DecisionInputs { seed, ..asked() }));
    for decision in explored {
        let expected = if &*decision.action == "dear" { "HIGHEST_VALUE" } else { "EXPLORED epsilon 0.3" };
        assert!(in_words(&decision).contains(&format!("because {expected}\n")), "{}", in_words(&decision));
    }
}

#[test]
fn a_forced_choice_and_one_alone_are_not_explored() {
    for exploration in [EPSILON, SOFTMAX, THOMPSON] {
        let policy = policy(exploration);
        let mut forced = asked();
        set_feature(&mut forced, "purchases_30d", 6.0);
        for seed in 0..50 {
            let decision = decide(&policy, &DecisionInputs { seed, ..forced.clone() });
            assert_eq!((&*decision.action, decision.propensity), ("fair", 1.0));
            let others = decision.candidates.iter().filter(|candidate| &*candidate.action != "fair");
            assert!(others.into_iter().all(|candidate| candidate.probability == 0.0));
        }
    }
}

/// Pearson's statistic of the actions drawn against the odds told, with its degrees of freedom.
fn chi_square(policy: &PolicySnapshot, inputs: &DecisionInputs, draws: u64) -> (f64, usize) {
    let told = decide(policy, inputs);
    let mut counts = vec![0.0; told.candidates.len()];
    for seed in 0..draws {
        let decision = decide(policy, &DecisionInputs { seed, ..inputs.clone() });
        let odds =
            |decision: &Decision| -> Vec<f64> { decision.candidates.iter().map(|c| c.probability).collect() };
        assert_eq!(odds(&decision), odds(&told), "the odds do not depend on the seed");
        let place = decision.candidates.iter().position(|candidate| candidate.action == decision.action);
        counts[place.unwrap()] += 1.0;
    }
    let cells = told.candidates.iter().zip(&counts);
    let possible = cells.clone().filter(|(candidate, _)| candidate.probability > 0.0);
    assert!(cells.into_iter().all(|(candidate, count)| candidate.probability > 0.0 || *count == 0.0));
    let statistic = possible.clone().map(|(candidate, count)| {
        let expected = candidate.probability * draws as f64;
        (count - expected) * (count - expected) / expected
    });
    (statistic.sum(), possible.count() - 1)
}

/// 1e-4 of good draws would pass 15.1, 18.4 and 21.1 for 1, 2 and 3 degrees of freedom.
#[test]
fn draws_over_many_seeds_follow_the_odds_told() {
    for exploration in [EPSILON, SOFTMAX, THOMPSON] {
        let draws = if exploration == THOMPSON { 1_500 } else { 20_000 };
        let (statistic, degrees) = chi_square(&policy(exploration), &asked(), draws);
        assert!((1..=3).contains(&degrees), "{exploration}: {degrees}");
        assert!(statistic < [0.0, 15.1, 18.4, 21.1][degrees], "{exploration}: {statistic}");
    }
    let tied = loaded(&[POINT, "tie_break = \"random\"", &ACTIONS.replace("1.5", "2.0")].concat());
    let decision = decide(&tied, &asked());
    assert_eq!((probability(&decision, "dear"), probability(&decision, "fair")), (0.5, 0.5));
    assert_eq!(decision.reasons[0].code, ReasonCode::HighestValue);
    let (statistic, degrees) = chi_square(&tied, &asked(), 20_000);
    assert!(degrees == 1 && statistic < 15.1, "{statistic}");
}

#[test]
fn thompson_prefers_what_is_known_to_succeed() {
    let policy = policy(THOMPSON);
    let mut failing = asked();
    set_feature(&mut failing, "sessions_count", 200.0);
    let decision = decide(&policy, &failing);
    assert!(probability(&decision, "dear") < 0.001, "{:?}", decision.candidates);
    set_feature(&mut failing, "sessions_count", 0.0);
    assert!(probability(&decide(&policy, &failing), "dear") > 0.9);
}

#[test]
fn mistakes_are_refused() {
    for (exploration, actions, expected) in [
        ("exploration = { kind = \"greedy\" }", ACTIONS, "one of `epsilon`, `softmax`, `thompson`"),
        ("exploration = { kind = \"epsilon\" }", ACTIONS, "exploration has no `epsilon`"),
        ("exploration = { kind = \"epsilon\", epsilon = 2 }", ACTIONS, "a number from 0 to 1"),
        ("exploration = { kind = \"softmax\", temperature = 0 }", ACTIONS, "`temperature` is the number `0`"),
        ("exploration = { kind = \"thompson\", epsilon = 0.1 }", ACTIONS, "`epsilon` with another `kind`"),
        ("tie_break = \"dice\"", ACTIONS, "one of `declared`, `random`"),
        (
            THOMPSON,
            &ACTIONS.replace("successes", "#").replace("failures", "#"),
            "0 actions of `cart_page` declare",
        ),
        (EPSILON, &ACTIONS.replace("failures = 9", ""), "the action has no `failures`"),
        (EPSILON, &ACTIONS.replace("failures = 9", "failures = -9"), "a number from 0 to 10^12"),
        (EPSILON, &ACTIONS.replace("value_fallback = 1.5", ""), "counts successes that are worth nothing"),
        (EPSILON, &ACTIONS.replace("features.sessions_count", "context.country"), "not a known name"),
    ] {
        let complaints = load(&[POINT, exploration, "\n", actions].concat()).unwrap_err();
        let found = complaints.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(found.contains(expected), "expected {expected}\n{found}");
    }
}

/// A policy of the shape that people write, with anything that can be declared in it or not.
fn any_policy() -> impl Strategy<Value = String> {
    let exploration = prop_oneof![
        Just(String::new()),
        Just("tie_break = \"random\"".to_owned()),
        (0.0..=1.0)
            .prop_map(|epsilon| format!("exploration = {{ kind = \"epsilon\", epsilon = {epsilon} }}")),
        (0.01..10.0).prop_map(|t| format!(
            "tie_break = \"random\"\nexploration = {{ kind = \"softmax\", temperature = {t} }}"
        )),
    ];
    let action = (0..3_u8, prop_oneof![Just("1.0"), Just("2.5"), Just("-1.0")], any::<bool>(), any::<bool>());
    let condition = prop_oneof![
        Just("features.purchases_7d > 1"),
        Just("context.cart_value > 20"),
        Just("experiments.trial == 'b'"),
        Just("now > now - duration('1h')"),
        Just("features.sessions_count < 2"),
    ];
    let effect = prop_oneof![
        Just("then = \"deny\""),
        Just("then = \"allow\""),
        Just("then = \"force\""),
        Just("then = \"boost\"\nfactor = 1.5"),
    ];
    let rule = (condition, effect, 0..4_usize);
    (exploration, prop::collection::vec(action, 4), prop::collection::vec(rule, 0..4), 0.0..=1.0_f64).prop_map(
        |(exploration, actions, rules, share)| {
            let mut text = format!(
                "version = 1\n[[decision_point]]\nname = \"cart_page\"\nactions = [\"a0\", \"a1\", \"a2\", \"a3\", \"none\"]\n\
                 default_action = \"none\"\ndeadline = \"20ms\"\n{exploration}\n\
                 [decision_point.context]\ncart_value = \"number\"\n[[action]]\nname = \"none\"\n\
                 [[experiment]]\nname = \"trial\"\nshare = 0.5\n[[experiment.arm]]\nname = \"a\"\n\
                 [[experiment.arm]]\nname = \"b\"\nfactor.a1 = 2\n\
                 [[holdout]]\nname = \"some\"\nshare = {}\n",
                (share * 5.0).round() / 50.0
            );
            for (index, (kind, value, capped, eligible)) in actions.into_iter().enumerate() {
                let value = match kind {
                    0 => String::new(),
                    1 => format!("value_fallback = {value}\n"),
                    _ => format!("value = \"{value} + features.sessions_count\"\nvalue_fallback = 1\n"),
                };
                let cap = if capped { "caps = [\"1 per 24h\"]\n" } else { "" };
                let eligible = if eligible { "eligible_when = \"features.purchases_30d < 4\"\n" } else { "" };
                text += &format!("[[action]]\nname = \"a{index}\"\n{value}{cap}{eligible}");
            }
            for (index, (condition, effect, action)) in rules.into_iter().enumerate() {
                text += &format!(
                    "[[rule]]\nid = \"r{index}\"\nwhen = \"{condition}\"\n{effect}\nactions = [\"a{action}\"]\nreason = \"R{index}\"\n"
                );
            }
            text
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever the policy and the inputs: a reason, odds that add up, a choice that had a chance, and the same again.
    #[test]
    fn any_policy_gives_sound_odds(
        text in any_policy(),
        all in prop::collection::vec((any_inputs(), any::<u64>(), any::<[u8; 16]>(), any::<bool>()), 12),
    ) {
        let policy = loaded(&text);
        for (inputs, seed, user, peek) in all {
            let decision_point = "cart_page".into();
            let user = UserKey::from_bytes(user);
            let inputs = DecisionInputs { seed, user, peek, decision_point, ..inputs };
            let decision = decide(&policy, &inputs);
            prop_assert!(!decision.reasons.is_empty());
            let sum: f64 = decision.candidates.iter().map(|candidate| candidate.probability).sum();
            prop_assert!((sum - 1.0).abs() < 1e-12, "{sum}");
            prop_assert!(decision.propensity > 0.0 && decision.propensity <= 1.0);
            let chosen = decision.candidates.iter().find(|candidate| candidate.action == decision.action).unwrap();
            prop_assert_eq!(chosen.probability, decision.propensity);
            for refused in decision.candidates.iter().filter(|candidate| candidate.action != decision.action) {
                prop_assert!(refused.reason.code == ReasonCode::Outranked || refused.probability == 0.0);
            }
            prop_assert_eq!(&decision, &decide(&policy, &inputs));
        }
    }
}
