//! Tests of policies in files: read against the policy, run by the same `decide`, told exactly.

use std::sync::Arc;

use augur_decision::{Histories, PolicySnapshot, SourceFile, TestOutcome};
use augur_domain::{Event, FeatureVector, Timestamp, Value};

use crate::support::{EXAMPLE, features, loaded};

/// Nobody has a history here; what events make is for whoever knows features.
struct Nobody;

impl Histories for Nobody {
    fn features(&self, events: &[Event], _now: Timestamp, _context: &[(Arc<str>, Value)]) -> FeatureVector {
        let mut vector = FeatureVector::not_found(&features());
        vector.watermark = events.len() as u64;
        vector
    }
}

fn file(text: &str) -> SourceFile {
    SourceFile { name: "policy_tests.toml".to_owned(), text: format!("version = 1\n{text}") }
}

fn run(text: &str) -> Vec<TestOutcome> {
    let mut policy = loaded(EXAMPLE);
    let tests = policy.read_tests(&file(text)).unwrap();
    tests.iter().map(|test| policy.run_test(test, &Nobody)).collect()
}

fn complaints(policy: &PolicySnapshot, text: &str) -> Vec<String> {
    let complaints = policy.read_tests(&file(text)).unwrap_err();
    complaints.iter().map(ToString::to_string).collect()
}

const GIVEN: &str = "decision_point = \"cart_page\"\ngiven.features = { purchases_30d = 0, purchases_7d = 0 }\n\
                     given.scores = { conversion = 0.25, churn = 0.5 }\n\
                     given.context = { cart_value = 50, country = \"DE\" }\n";

#[test]
fn given_scores_are_what_rules_and_values_see() {
    let outcome = run(&format!("[[test]]\nname = \"scores\"\n{GIVEN}expect.rung = \"CHAMPION\"\n"));
    assert!(outcome[0].passed(), "{outcome:?}");
    let scores: Vec<f64> =
        outcome[0].decision.scores.iter().map(|score| score.score.unwrap().calibrated).collect();
    assert_eq!(scores, [0.25, 0.5]);
    assert_eq!((&*outcome[0].name, outcome[0].line), ("scores", 3));
}

#[test]
fn what_is_not_as_expected_is_told_key_by_key() {
    let outcomes = run(&format!(
        "[[test]]\nname = \"wrong\"\n{GIVEN}expect.action = \"none\"\nexpect.reason = \"NO_SUCH_WORD\"\n\
         expect.rung = \"RULES_ONLY\"\nexpect.value = 1e6\n"
    ));
    let outcome = &outcomes[0];
    let told: Vec<&str> = outcome.mismatches.iter().map(|mismatch| &*mismatch.what).collect();
    let action_differs = *outcome.decision.action != *"none";
    let expected: &[&str] =
        if action_differs { &["action", "reason", "rung", "value"] } else { &["reason", "rung", "value"] };
    assert_eq!(told, expected, "{outcome:?}");
    let rung = outcome.mismatches.iter().find(|mismatch| mismatch.what == "rung").unwrap();
    assert_eq!((&*rung.expected, &*rung.found), ("RULES_ONLY", "CHAMPION"));
}

#[test]
fn one_test_leaves_nothing_for_the_next() {
    let outcomes = run(&format!(
        "[[test]]\nname = \"with scores\"\n{GIVEN}expect.rung = \"CHAMPION\"\n\
         [[test]]\nname = \"without\"\ndecision_point = \"cart_page\"\nexpect.rung = \"RULES_ONLY\"\n\
         expect.reason = \"USER_UNKNOWN\"\n"
    ));
    assert!(outcomes.iter().all(TestOutcome::passed), "{outcomes:?}");
}

#[test]
fn mistakes_are_told_with_their_place_and_the_nearest_name() {
    let policy = loaded(EXAMPLE);
    let told = complaints(
        &policy,
        "[[test]]\nname = \"a\"\ndecision_point = \"cart_page\"\ngiven.features = { purchase_30d = 1 }\n\
         given.scores = { conversion = 1.5, churm = 0.1 }\ngiven.context = { cart_value = \"much\" }\n\
         given.exposures = [{ action = \"nothing\" }]\ngiven.noww = 1\nexpect.action = \"recomend\"\n",
    );
    for part in [
        "policy_tests.toml:5:20: there is no feature `purchase_30d`; expected the name of a declared feature; did you mean `purchases_30d`?",
        "the score of `conversion` is no probability; expected a number from 0 to 1",
        "there is no model `churm`; expected the name of a declared model; did you mean `churn`?",
        "`cart_value` is a text; expected a number",
        "when it was is not said once; expected `ago = \"2d\"`, or `at` with an instant",
        "`noww` is not a key of given",
        "does not offer the action `recomend`",
    ] {
        assert!(told.iter().any(|line| line.contains(part)), "{part} not in\n{}", told.join("\n"));
    }
    for (bad, part) in [
        ("", "the file has no test"),
        (
            "[[test]]\nname = \"a\"\ndecision_point = \"cart_page\"\nexpect = {}\n",
            "the test `a` expects nothing",
        ),
        (
            "[[test]]\nname = \"a\"\ndecision_point = \"cart\"\nexpect.rung = \"x\"\n",
            "no decision point `cart`",
        ),
        ("[[test]\n", "policy_tests.toml:2:"),
        (
            "[[test]]\nname = \"a\"\ndecision_point = \"cart_page\"\ngiven.now = 2026-01-15\nexpect.rung = \"x\"\n",
            "is not an instant",
        ),
    ] {
        let told = complaints(&policy, bad);
        assert!(told.iter().any(|line| line.contains(part)), "{bad}: {told:?}");
    }
}

#[test]
fn a_policy_names_files_beside_it_only() {
    let named = |list: &str| {
        crate::support::load(&EXAMPLE.replacen("version = 1", &format!("version = 1\ntests = {list}"), 1))
    };
    assert_eq!(named("[\"a.toml\", \"b_2.toml\"]").unwrap().test_files(), ["a.toml", "b_2.toml"]);
    for bad in [
        "[\"../a.toml\"]",
        "[\"/etc/a.toml\"]",
        "[\"a.txt\"]",
        "[\"a.toml\", \"a.toml\"]",
        "\"a.toml\"",
        "[\".toml\"]",
    ] {
        let told = named(bad).unwrap_err();
        assert!(told[0].to_string().contains("`tests`"), "{bad}: {}", told[0]);
    }
    let with_tests = named("[\"a.toml\"]").unwrap();
    assert_ne!(with_tests.id(), loaded(EXAMPLE).id(), "which tests hold is part of the policy");
}
