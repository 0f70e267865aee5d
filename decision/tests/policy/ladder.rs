//! Every rung of the fallback ladder: what is left when something cannot be used, or there is no time for it; and that
//! consent, suppression and caps hold on all of them.

use augur_decision::{LintContext, SourceFile, decide};
use augur_domain::decision::{Availability, DecisionInputs, Person, Rung};
use augur_domain::{Decision, ReasonCode};
use proptest::prelude::*;

use crate::support::{NOW, expose, in_words, inputs, load, loaded, set_feature};

const LADDER: &str =
    "[\"champion\", \"previous_model\", \"segment_default\", \"rules_only\", \"default_action\"]";

/// A mail whose worth is the score of `conversion` in percent, and nothing at 1.
fn policy(point: &str) -> String {
    format!(
        "version = 1\n\
         [[model]]\nname = \"conversion\"\nprior = 0.25\n\
         prior_by_segment = {{ segment = \"by_carts\", scores = {{ many = 0.75 }} }}\n\
         [[segment]]\nname = \"by_carts\"\n\
         [[decision_point]]\nname = \"cart\"\nactions = [\"mail\", \"none\"]\ndefault_action = \"none\"\n\
         deadline = \"20ms\"\nmodels = [\"conversion\"]\nsegments = [\"by_carts\"]\n{point}\n\
         [[action]]\nname = \"mail\"\nchannel = \"email\"\nvalue = \"scores.conversion * 100.0\"\n\
         value_fallback = 5.0\nrequires_consent = \"marketing\"\ncaps = [\"1 per 7d\"]\n\
         [[action]]\nname = \"none\"\nvalue_fallback = 1.0\n"
    )
}

fn with_ladder() -> String {
    policy(&format!("fallback = {LADDER}"))
}

/// Somebody who consented, and everything may be asked.
fn anybody() -> DecisionInputs {
    let mut inputs = inputs("cart");
    inputs.context.clear();
    inputs.person = Person { consents: vec![("marketing".into(), true)], ..Person::default() };
    for name in ["conversion", "previous.conversion", "segments.by_carts", "previous.segments.by_carts"] {
        allow(&mut inputs, name, Availability::Available);
    }
    inputs
}

fn allow(inputs: &mut DecisionInputs, name: &str, availability: Availability) {
    inputs.models.retain(|(known, _)| **known != *name);
    inputs.models.push((name.into(), availability));
}

fn codes(decision: &Decision) -> Vec<(ReasonCode, &str)> {
    let reasons = decision.reasons.iter();
    reasons.map(|reason| (reason.code, reason.detail.as_deref().unwrap_or_default())).collect()
}

#[test]
fn each_rung_is_given_when_what_is_above_cannot_be_used() {
    let policy = loaded(&with_ladder());
    assert_eq!(policy.models().len(), 4, "both versions of the model, and of the segment");
    let mut inputs = anybody();
    set_feature(&mut inputs, "revenue_30d", 2.0);
    let champion = decide(&policy, &inputs);
    assert_eq!((champion.rung, champion.value), (Rung::Champion, 50.0));

    for cause in [Availability::Failed, Availability::BreakerOpen, Availability::NotLoaded] {
        allow(&mut inputs, "conversion", cause);
        let previous = decide(&policy, &inputs);
        assert_eq!(previous.rung, Rung::PreviousModel);
        let [score] = &previous.scores[..] else { panic!("{previous:?}") };
        assert_eq!(score.model.as_ref().map(|model| model.version), Some(2));
        assert!(previous.value > 80.0, "by the revenue: {}", previous.value);
        assert_eq!(
            codes(&previous)[1..],
            [(ReasonCode::ModelUnavailable, "conversion"), (ReasonCode::PreviousModel, "conversion")]
        );
    }

    allow(&mut inputs, "previous.conversion", Availability::BreakerOpen);
    let prior = decide(&policy, &inputs);
    assert_eq!((prior.rung, prior.value, &*prior.action), (Rung::SegmentDefault, 25.0, "mail"));
    assert_eq!(prior.scores[0].model, None);
    assert_eq!(
        codes(&prior)[1..],
        [(ReasonCode::ModelUnavailable, "conversion"), (ReasonCode::PriorScore, "conversion")]
    );
    set_feature(&mut inputs, "add_to_carts_24h", 9.0);
    let by_segment = decide(&policy, &inputs);
    assert_eq!((by_segment.rung, by_segment.value), (Rung::SegmentDefault, 75.0));
    assert_eq!(codes(&by_segment)[2], (ReasonCode::PriorScore, "conversion: many"));

    let rules = loaded(&self::policy(
        "fallback = [\"champion\", \"previous_model\", \"rules_only\", \"default_action\"]",
    ));
    let rules = decide(&rules, &inputs);
    assert_eq!((rules.rung, rules.value, &*rules.action), (Rung::RulesOnly, 5.0, "mail"));
    assert!(
        codes(&rules).contains(&(ReasonCode::ValueUnknown, "action mail: scores.conversion")),
        "{}",
        in_words(&rules)
    );

    let default = loaded(&self::policy("fallback = [\"champion\", \"default_action\"]"));
    let default = decide(&default, &inputs);
    assert_eq!((default.rung, &*default.action), (Rung::DefaultAction, "none"));
    assert_eq!(codes(&default), [(ReasonCode::ModelUnavailable, "conversion")]);
    assert_eq!(default.candidates[0].reason.code, ReasonCode::ModelUnavailable);
}

#[test]
fn without_features_the_declared_score_of_everybody_stands_in() {
    let with_priors = with_ladder()
        .replace("segments = [\"by_carts\"]\n", "")
        .replace("prior_by_segment = { segment = \"by_carts\", scores = { many = 0.75 } }\n", "");
    let with_segment = loaded(&with_ladder());
    let policy = loaded(&with_priors);
    for cause in [Availability::Failed, Availability::DeadlineExceeded, Availability::BreakerOpen] {
        let mut inputs = anybody();
        inputs.features_availability = cause;
        let decision = decide(&policy, &inputs);
        assert_eq!((decision.rung, decision.value), (Rung::SegmentDefault, 25.0));
        assert_eq!(
            codes(&decision)[1..],
            [(ReasonCode::FeaturesUnavailable, cause.as_str()), (ReasonCode::PriorScore, "conversion")]
        );
        // A segment that expressions may read has no stand-in.
        assert_eq!(decide(&with_segment, &inputs).rung, Rung::RulesOnly);
    }
}

#[test]
fn a_segment_falls_back_to_the_version_before_and_to_nothing() {
    let policy = loaded(&with_ladder());
    let mut inputs = anybody();
    allow(&mut inputs, "segments.by_carts", Availability::Failed);
    let decision = decide(&policy, &inputs);
    assert_eq!(decision.rung, Rung::PreviousModel);
    assert!(codes(&decision).contains(&(ReasonCode::PreviousModel, "segments.by_carts")));
    allow(&mut inputs, "previous.segments.by_carts", Availability::Failed);
    let decision = decide(&policy, &inputs);
    assert_eq!(decision.rung, Rung::RulesOnly);
    assert!(codes(&decision).contains(&(ReasonCode::ModelUnavailable, "segments.by_carts")));
}

#[test]
fn the_time_that_is_left_chooses_the_step() {
    let times = "time_needed = { champion = \"8ms\", previous_model = \"4ms\", segment_default = \"2ms\", rules_only = \"1ms\" }";
    let text = policy(&format!("fallback = {LADDER}\n{times}"));
    // The segment would be asked with the champion's time; this is about the model.
    let text = text
        .replace("segments = [\"by_carts\"]\n", "")
        .replace("prior_by_segment = { segment = \"by_carts\", scores = { many = 0.75 } }\n", "");
    let policy = loaded(&text);
    assert!(policy.point("cart").unwrap().asks_time_left());
    let mut inputs = anybody();
    for (left_us, rung, step) in [
        (None, Rung::Champion, ""),
        (Some(8_000), Rung::Champion, ""),
        (Some(7_999), Rung::PreviousModel, "champion"),
        (Some(3_999), Rung::SegmentDefault, "champion"),
        (Some(1_999), Rung::RulesOnly, "champion"),
        (Some(999), Rung::DefaultAction, "champion"),
        (Some(0), Rung::DefaultAction, "champion"),
    ] {
        inputs.time_left_us = left_us;
        let decision = decide(&policy, &inputs);
        assert_eq!(decision.rung, rung, "{left_us:?}: {}", in_words(&decision));
        let late = codes(&decision).contains(&(ReasonCode::DeadlineExceeded, step));
        assert_eq!(late, !step.is_empty(), "{}", in_words(&decision));
        assert!(!codes(&decision).iter().any(|(code, _)| *code == ReasonCode::ModelUnavailable));
    }
}

#[test]
fn a_policy_without_a_ladder_asks_for_no_time_and_no_earlier_version() {
    let policy = loaded(&policy(""));
    assert_eq!(policy.models().len(), 2);
    assert!(!policy.point("cart").unwrap().asks_time_left());
    let mut inputs = anybody();
    inputs.time_left_us = Some(0);
    assert_eq!(decide(&policy, &inputs).rung, Rung::Champion);
    allow(&mut inputs, "conversion", Availability::Failed);
    let decision = decide(&policy, &inputs);
    assert_eq!((decision.rung, decision.value), (Rung::RulesOnly, 5.0));
}

proptest! {
    #[test]
    fn consent_suppression_and_caps_hold_on_every_rung(
        against in 0..3_usize,
        champion in 1..=5_u8, previous in 1..=5_u8, segment in 1..=5_u8, features in 1..=5_u8,
        left_us in prop::option::of(0..30_000_u64),
        ladder in prop::sample::subsequence(vec!["previous_model", "segment_default", "rules_only"], 0..=3),
        needed in prop::collection::vec(1..25_u32, 4),
    ) {
        let steps: Vec<&str> = ["champion"].into_iter().chain(ladder).chain(["default_action"]).collect();
        let times = steps.iter().zip(&needed).filter(|(step, _)| **step != "default_action");
        let times: Vec<String> = times.map(|(step, needed)| format!("{step} = \"{needed}ms\"")).collect();
        let policy = loaded(&policy(&format!("fallback = {steps:?}\ntime_needed = {{ {} }}", times.join(", "))));
        let mut inputs = anybody();
        for (name, number) in [("conversion", champion), ("previous.conversion", previous), ("segments.by_carts", segment)] {
            allow(&mut inputs, name, Availability::from_u8(number).unwrap());
        }
        inputs.features_availability = Availability::from_u8(features).unwrap();
        inputs.time_left_us = left_us;
        let free = decide(&policy, &inputs);
        match against {
            0 => inputs.person.consents.clear(),
            1 => inputs.person.suppressed.push("email".into()),
            _ => expose(&mut inputs, "mail", "email", 1_000),
        }
        let decision = decide(&policy, &inputs);
        prop_assert_eq!(&*decision.action, "none");
        prop_assert_eq!(decision.rung, free.rung, "who it is does not change the rung");
        let probability: f64 = decision.candidates.iter().map(|candidate| candidate.probability).sum();
        prop_assert!((probability - 1.0).abs() < 1e-12 && !decision.reasons.is_empty());
        prop_assert!(steps.contains(&&*free.rung.as_str().to_lowercase()), "{:?} of {steps:?}", free.rung);
    }
}

#[test]
fn ladders_that_are_none_are_refused_with_their_place() {
    for (point, message) in [
        ("fallback = [\"champion\", \"rules_only\"]", "`fallback` is no ladder; expected some of"),
        ("fallback = [\"rules_only\", \"default_action\"]", "`fallback` is no ladder"),
        (
            "fallback = [\"champion\", \"rules_only\", \"previous_model\", \"default_action\"]",
            "`fallback` is no ladder",
        ),
        ("fallback = [\"champion\", \"champion\", \"default_action\"]", "`fallback` is no ladder"),
        (
            "fallback = [\"champion\", \"rules\", \"default_action\"]",
            "`rules` is no step of a ladder; expected one of",
        ),
        ("fallback = []", "`fallback` is no ladder"),
        (
            "time_needed = { previous_model = \"1ms\" }",
            "`previous_model` is not a key of time_needed; expected one of `champion`, `rules_only`",
        ),
        ("time_needed = { default_action = \"1ms\" }", "`default_action` is not a key of time_needed"),
        ("time_needed = { champion = 5 }", "`champion` is the number `5`"),
        ("time_needed = \"5ms\"", "`time_needed` is the text `5ms`"),
    ] {
        let found = load(&policy(point)).err().unwrap_or_default();
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(found.len() == 1 && found[0].contains(message), "{point}: {found:?}");
    }
    let base = with_ladder();
    for (from, to, message) in [
        ("prior = 0.25", "prior = 1.25", "`prior` is the number `1.25`; expected a probability, from 0 to 1"),
        ("prior = 0.25\n", "", "`prior_by_segment` without `prior`"),
        ("many = 0.75", "many = -1", "`many` is the number `-1`"),
        ("scores = { many = 0.75 }", "scores = {}", "`scores` has 0 segments"),
        (
            "segment = \"by_carts\"",
            "segment = \"by_cart\"",
            "there is no segment `by_cart`; expected the name of a declared segment; did you mean `by_carts`?",
        ),
        (
            "segments = [\"by_carts\"]\n",
            "",
            "`cart` falls back to scores by `by_carts`, which it does not read",
        ),
    ] {
        let found = load(&base.replace(from, to)).err().unwrap_or_default();
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(found.len() == 1 && found[0].contains(message), "{to}: {found:?}");
    }
}

fn unreachable(text: &str) -> Vec<String> {
    let source = SourceFile { name: "policy.toml".to_owned(), text: text.to_owned() };
    let findings = loaded(text).lint(&source, LintContext { now: NOW, features: &[] });
    let found = findings.iter().filter(|finding| finding.code.as_str() == "RUNG_UNREACHABLE");
    found.map(|finding| format!("{} {}", finding.complaint.line, finding.complaint.message)).collect()
}

#[test]
fn steps_that_no_decision_reaches_are_told() {
    assert_eq!(unreachable(&with_ladder()), [] as [&str; 0]);
    let bare = with_ladder()
        .replace("models = [\"conversion\"]\nsegments = [\"by_carts\"]\n", "")
        .replace("scores.conversion * 100.0", "9.0");
    let found = unreachable(&bare);
    assert!(found.len() == 3, "{found:?}");
    assert!(
        found[0].contains("prior` of `conversion")
            && found[1].contains("asks no model")
            && found[2].contains("has a `prior`"),
        "{found:?}"
    );
    let slow = unreachable(&policy(&format!("fallback = {LADDER}\ntime_needed = {{ champion = \"20ms\" }}")));
    assert!(slow.len() == 1 && slow[0].contains("needs more time than the deadline leaves"), "{slow:?}");
    let sure = with_ladder()
        .replace("segments = [\"by_carts\"]\n", "")
        .replace("prior_by_segment = { segment = \"by_carts\", scores = { many = 0.75 } }\n", "");
    let sure = unreachable(&sure);
    assert!(sure.len() == 1 && sure[0].contains("`rules_only` of `cart` is never reached"), "{sure:?}");
}
