//! What a lint finds in holdouts, experiments and comparisons with segments.

use augur_decision::{LintContext, SourceFile};

use crate::support::{NOW, loaded};

const BASE: &str = r#"version = 1
[[decision_point]]
name = "cart"
actions = ["a", "none"]
default_action = "none"
deadline = "50ms"
segments = ["carts"]
[[decision_point]]
name = "mail"
actions = ["a", "none"]
default_action = "none"
deadline = "50ms"
[[action]]
name = "a"
[[action]]
name = "none"
[[segment]]
name = "carts"
model = "by_carts"
"#;

/// `CODE message` per finding, without notes about what nothing reads.
fn lint(more: &str) -> Vec<String> {
    let source = SourceFile { name: "policy.toml".to_owned(), text: format!("{BASE}{more}") };
    let findings = loaded(&source.text).lint(&source, LintContext { now: NOW, features: &[] });
    let told = findings.iter().filter(|finding| finding.code.as_str() != "SEGMENT_UNREAD");
    told.map(|finding| format!("{} {}", finding.code.as_str(), finding.complaint.message)).collect()
}

fn holdout(more: &str) -> String {
    format!("[[holdout]]\nname = \"everyone\"\n{more}\n")
}

fn experiment(more: &str, arm: &str) -> String {
    format!(
        "[[experiment]]\nname = \"x\"\n{more}\n[[experiment.arm]]\nname = \"control\"\n[[experiment.arm]]\nname = \"bold\"\n{arm}\n"
    )
}

const FACTOR: &str = "factor.a = 2.0";
const NONE: [&str; 0] = [];

#[test]
fn a_holdout_beside_an_experiment_is_as_it_should_be() {
    assert_eq!(lint(&(holdout("share = 0.05") + &experiment("share = 0.5", FACTOR))), NONE);
}

#[test]
fn experiments_and_holdouts_without_anybody_are_told() {
    for (text, expected) in [
        (
            holdout("share = 1.0") + &experiment("share = 0.5", FACTOR),
            "NOBODY_IN nobody is in experiment `x`: holdout `everyone` keeps everybody from it",
        ),
        (experiment("share = 0.0", FACTOR), "NOBODY_IN nobody is in experiment `x`: its `share` is 0"),
        (
            experiment(
                "share = 1.0\nwhen = \"features.purchases_7d > 5 && features.purchases_7d < 3\"",
                FACTOR,
            ),
            "NOBODY_IN nobody is in experiment `x`: its `when` contradicts itself",
        ),
        (holdout("share = 0.0"), "NOBODY_IN holdout `everyone` holds nobody out: its `share` is 0"),
        (
            holdout("share = 0.1\nuntil = \"2020-01-01\""),
            "WINDOW_OVER holdout `everyone` holds no more since 2020-01-01T00:00:00.000Z",
        ),
        (
            experiment("share = 0.5\nvalid_until = \"2020-01-01\"", FACTOR),
            "WINDOW_OVER experiment `x` holds no more since 2020-01-01T00:00:00.000Z",
        ),
    ] {
        assert_eq!(lint(&text), [expected]);
    }
    // A holdout that ends leaves somebody.
    let ends = holdout("share = 1.0\nuntil = \"2090-01-01\"") + &experiment("share = 0.5", FACTOR);
    assert_eq!(lint(&ends), NONE);
}

#[test]
fn an_experiment_that_goes_around_a_holdout_is_told() {
    let cart = holdout("share = 0.1\npoints = [\"cart\"]");
    assert_eq!(
        lint(&(cart.clone() + &experiment("share = 0.5", FACTOR))),
        [
            "HOLDOUT_MIXED whoever holdout `everyone` keeps from experiment `x` at `cart` is in an arm of it at `mail`, where \
          the holdout does not hold"
        ]
    );
    assert_eq!(lint(&(cart.clone() + &experiment("share = 0.5\npoints = [\"cart\"]", FACTOR))), NONE);
    assert_eq!(lint(&(cart + &experiment("share = 0.5\npoints = [\"mail\"]", FACTOR))), NONE);
}

#[test]
fn arms_that_differ_in_nothing_are_told() {
    assert_eq!(
        lint(&experiment("share = 0.5", "")),
        ["EXPERIMENT_IDLE the arms of experiment `x` differ in nothing"]
    );
    let rule = "[[rule]]\nid = \"r\"\nwhen = \"experiments.x == 'bold'\"\nthen = \"deny\"\nactions = [\"a\"]\nreason = \"R\"\n";
    assert_eq!(lint(&(experiment("share = 0.5", "") + rule)), NONE);
}

#[test]
fn segments_that_the_model_does_not_have_are_told() {
    let rule = |when: &str| {
        format!(
            "[[rule]]\nid = \"r\"\nwhen = \"{when}\"\nthen = \"deny\"\nactions = [\"a\"]\npoints = [\"cart\"]\nreason = \"R\"\n"
        )
    };
    assert_eq!(
        lint(&rule("segments.carts in ['few', 'mamy']")),
        ["SEGMENT_UNKNOWN rule `r` compares `segments.carts` with 'mamy', and the model has no such segment"]
    );
    assert_eq!(lint(&rule("segments.carts == 'many'")), NONE);
}
