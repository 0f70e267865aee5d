//! What is too like what was given lately: refused, or worth less; and what a decision needs to know for it.

use augur_decision::decide;
use augur_domain::decision::{DecisionInputs, Exposure};
use augur_domain::time::{DAY_MS, HOUR_MS};
use augur_domain::{Decision, ReasonCode};
use proptest::prelude::*;

use crate::support::{NOW, inputs, load, loaded};

/// Three shoes and a hat, worth less and less, and nothing.
fn policy(point: &str) -> String {
    let action = |name: &str, category: &str, value: f64| {
        format!("[[action]]\nname = \"{name}\"\nchannel = \"web\"\n{category}value_fallback = {value:?}\n")
    };
    let shoes = "category = \"shoes\"\n";
    format!(
        "version = 1\n[[decision_point]]\nname = \"home\"\n\
         actions = [\"boots\", \"sandals\", \"socks\", \"hat\", \"none\"]\ndefault_action = \"none\"\n\
         deadline = \"50ms\"\n{point}\n{}{}{}{}[[action]]\nname = \"none\"\nvalue_fallback = 0.5\n",
        action("boots", shoes, 8.0),
        action("sandals", shoes, 6.0),
        action("socks", "", 4.0),
        action("hat", "category = \"hats\"\n", 3.0),
    )
}

/// Somebody who was given these, each so many hours ago, newest last.
fn given(given: &[(&str, i64)]) -> DecisionInputs {
    let mut inputs = inputs("home");
    inputs.context.clear();
    let exposure = |(action, hours): &(&str, i64)| Exposure {
        category: match *action {
            "boots" | "sandals" => "shoes".into(),
            "hat" => "hats".into(),
            _ => "".into(),
        },
        ..Exposure::new(*action, "web", NOW.plus_millis(-hours * HOUR_MS))
    };
    inputs.exposures = given.iter().map(exposure).collect();
    inputs.exposures.sort_by_key(|exposure| exposure.at);
    inputs
}

fn refusals(decision: &Decision) -> Vec<&str> {
    let refused = decision.candidates.iter().filter(|outcome| outcome.reason.code == ReasonCode::Diversity);
    refused.map(|outcome| &*outcome.action).collect()
}

#[test]
fn one_too_many_of_a_category_is_refused_until_it_is_not() {
    let policy =
        loaded(&policy("diversity = [{ of = \"category\", at_most = 1, among = 2, within = \"7d\" }]"));
    let point = policy.point("home").unwrap();
    assert_eq!(point.longest_cap_window_ms(), 7 * DAY_MS);
    assert_eq!(&*decide(&policy, &given(&[])).action, "boots");
    let inputs = given(&[("boots", 30), ("hat", 2)]);
    let decision = decide(&policy, &inputs);
    assert_eq!((&*decision.action, refusals(&decision)), ("socks", vec!["boots", "sandals", "hat"]));
    assert!(decision.counts_against_caps, "what is given is remembered");
    let boots = &decision.candidates[0];
    assert_eq!(boots.reason.detail.as_deref(), Some("category: 1 among 2 within 7d"));
    assert_eq!(boots.next_eligible_at, Some(NOW.plus_millis(-30 * HOUR_MS + 7 * DAY_MS)));
    // Two newer ones leave the boots out of sight; socks are of no category and never alike.
    let decision = decide(&policy, &given(&[("boots", 30), ("socks", 3), ("socks", 2)]));
    assert_eq!((&*decision.action, refusals(&decision)), ("boots", vec![]));
    // So does the time.
    assert_eq!(&*decide(&policy, &given(&[("boots", 24 * 7)])).action, "boots");
    // What others were given for, and the default, count for nothing here.
    assert_eq!(
        &*decide(&policy, &given(&[("hat", 9), ("none", 3), ("none", 2), ("elsewhere", 1)])).action,
        "boots"
    );
    assert!(refusals(&decide(&policy, &given(&[("hat", 9), ("none", 3), ("none", 2)]))).contains(&"hat"));
}

#[test]
fn a_penalty_lowers_the_value_and_says_so() {
    let text = policy("diversity = [{ of = \"action\", at_most = 2, within = \"24h\", penalty = 0.3 }]");
    let loaded_policy = loaded(&text);
    let twice = given(&[("boots", 5), ("boots", 3)]);
    let decision = decide(&loaded_policy, &twice);
    assert_eq!(
        (&*decision.action, decision.value, decision.candidates[0].value),
        ("sandals", 6.0, Some(8.0 * 0.7))
    );
    assert!(decision.reasons.iter().all(|reason| reason.code != ReasonCode::DiversityPenalty));
    let lighter = loaded(&text.replace("penalty = 0.3", "penalty = 0.2"));
    let decision = decide(&lighter, &twice);
    assert_eq!(&*decision.action, "boots");
    let why = decision.reasons.iter().find(|reason| reason.code == ReasonCode::DiversityPenalty).unwrap();
    assert_eq!(why.detail.as_deref(), Some("action: 2 within 1d"));
    assert_eq!(decide(&lighter, &given(&[("boots", 3)])).candidates[0].value, Some(8.0));
    // Below zero it goes down, too.
    let below = loaded(&text.replace("value_fallback = 8.0", "value_fallback = -8.0"));
    assert_eq!(decide(&below, &twice).candidates[0].value, Some(-8.0 - 0.3 * 8.0));
}

#[test]
fn it_beats_force_and_a_hold_that_ended_counts_no_more() {
    let rule =
        "[[rule]]\nid = \"r\"\nwhen = \"true\"\nthen = \"force\"\nactions = [\"boots\"]\nreason = \"R\"\n";
    let policy =
        loaded(&format!("{}{rule}", policy("diversity = [{ of = \"channel\", at_most = 1, among = 1 }]")));
    let mut inputs = given(&[("hat", 1)]);
    let decision = decide(&policy, &inputs);
    assert_eq!((&*decision.action, refusals(&decision).len()), ("none", 4));
    assert_eq!(decision.candidates[0].next_eligible_at, None, "it ends by what is given, not by time");
    inputs.exposures[0].holds_until = Some(NOW);
    assert_eq!(&*decide(&policy, &inputs).action, "boots");
}

#[test]
fn rules_that_say_nothing_are_refused_with_their_place() {
    for (rule, message) in [
        (
            "{ of = \"category\", at_most = 1 }",
            "looks at everything that was ever given; expected `among`, `within` or both",
        ),
        ("{ of = \"category\", at_most = 3, among = 2 }", "3 can never be among so few"),
        ("{ of = \"brand\", at_most = 1, among = 2 }", "`brand` is not a value of `of`"),
        ("{ of = \"action\", at_most = 0, among = 2 }", "`at_most` is the number `0`; expected 1 to 1000"),
        ("{ of = \"action\", at_most = 1, among = 2, penalty = 0 }", "`penalty` is the number `0`"),
        (
            "{ of = \"action\", at_most = 1, within = \"1d\", amongst = 2 }",
            "`amongst` is not a key of diversity",
        ),
        ("\"category\"", "`diversity` is the text `category`"),
    ] {
        let found = load(&policy(&format!("diversity = [{rule}]"))).err().unwrap_or_default();
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(!found.is_empty() && found[0].contains(message), "{rule}: {found:?}");
    }
    let bare = policy("diversity = [{ of = \"category\", at_most = 1, among = 2 }]");
    let bare = bare.replace("category = \"shoes\"\n", "").replace("category = \"hats\"\n", "");
    let found: Vec<String> = load(&bare).err().unwrap_or_default().iter().map(ToString::to_string).collect();
    assert!(found.len() == 1 && found[0].contains("no action of `home` has a category"), "{found:?}");
}

proptest! {
    /// What was given before makes nothing of the probabilities: they are exact, and only who stands has any. And what is
    /// left out as not countable changes nothing.
    #[test]
    fn probabilities_add_up_and_what_is_left_out_changes_nothing(
        rules in prop::collection::vec(
            (
                prop::sample::select(vec!["action", "channel", "category"]), 1..4_usize,
                prop::option::of(0..4_usize), prop::sample::select(vec!["6h", "1d", "3d"]), prop::option::of(0.1..1.0_f64),
            ),
            1..4,
        ),
        explores in prop::sample::select(vec![
            "", "exploration = { kind = \"softmax\", temperature = 2.0 }", "exploration = { kind = \"epsilon\", epsilon = 0.2 }",
        ]),
        before in prop::collection::vec(
            (prop::sample::select(vec!["boots", "sandals", "socks", "hat", "none", "elsewhere"]), 0..100_i64, prop::option::of(-50..50_i64)),
            0..20,
        ),
        seed: u64,
    ) {
        let rules: Vec<String> = rules.iter().map(|(of, at_most, more, within, penalty)| {
            let among = more.map_or_else(String::new, |more| format!(", among = {}", at_most + more));
            let penalty = penalty.map_or_else(String::new, |penalty| format!(", penalty = {penalty:?}"));
            format!("{{ of = \"{of}\", at_most = {at_most}{among}, within = \"{within}\"{penalty} }}")
        }).collect();
        let policy = loaded(&policy(&format!("diversity = [{}]\n{explores}", rules.join(", "))));
        let bare: Vec<(&str, i64)> = before.iter().map(|(action, hours, _)| (*action, *hours)).collect();
        let mut inputs = given(&bare);
        inputs.seed = seed;
        for (exposure, (_, _, hold)) in inputs.exposures.iter_mut().zip(&before) {
            exposure.holds_until = hold.map(|hours| NOW.plus_millis(hours * HOUR_MS));
        }
        let decision = decide(&policy, &inputs);
        let sum: f64 = decision.candidates.iter().map(|candidate| candidate.probability).sum();
        prop_assert!((sum - 1.0).abs() < 1e-12, "{sum}");
        for candidate in &decision.candidates {
            prop_assert!(candidate.reason.code != ReasonCode::Diversity || candidate.probability == 0.0);
        }
        prop_assert_eq!(&decide(&policy, &inputs), &decision);
        let kept = policy.point("home").unwrap().countable(&inputs.exposures, inputs.now);
        let less = decide(&policy, &DecisionInputs { exposures: kept, ..inputs });
        prop_assert_eq!(less, decision);
    }
}
