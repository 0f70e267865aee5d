//! The example policy, one situation after another.

use augur_decision::{MAX_REASONS, decide, decide_default};
use augur_domain::decision::{Availability, DecisionInputs, Rung};
use augur_domain::feature::FeatureVector;
use augur_domain::time::{DAY_MS, HOUR_MS};
use augur_domain::{ContentHash, Reason, ReasonCode, Value};

use crate::support::{
    EXAMPLE, NOW, expose, features, in_words, inputs, loaded, lose_feature, number, set_context, set_feature,
};

struct Case {
    name: &'static str,
    point: &'static str,
    change: fn(&mut DecisionInputs),
    expected: &'static str,
}

/// Without changes both scores are one half: free shipping is worth 9 * 0.5 - 3, the discount 40 * 0.5 - 16.
const CASES: &[Case] = &[
    Case {
        name: "the highest value wins",
        point: "cart_page",
        change: |_| {},
        expected: "discount_10 4 CHAMPION
  because HIGHEST_VALUE
  free_shipping 1.5: OUTRANKED
  discount_10 4: HIGHEST_VALUE
  none 0: OUTRANKED",
    },
    Case {
        name: "an action that is not eligible is refused before it is valued",
        point: "cart_page",
        change: |inputs| set_context(inputs, "cart_value", number(20.0)),
        expected: "free_shipping 1.5 CHAMPION
  because HIGHEST_VALUE
  free_shipping 1.5: HIGHEST_VALUE
  discount_10 -: NOT_ELIGIBLE
  none 0: OUTRANKED",
    },
    Case {
        name: "eligibility without its input refuses and says so",
        point: "cart_page",
        change: |inputs| inputs.context.clear(),
        expected: "free_shipping 1.5 CHAMPION
  because HIGHEST_VALUE
  because MISSING_INPUT rule no_gifts_abroad: context.country
  because MISSING_INPUT rule tiny_carts_stay_plain: context.cart_value
  free_shipping 1.5: HIGHEST_VALUE
  discount_10 -: MISSING_INPUT action discount_10: context.cart_value
  none 0: OUTRANKED",
    },
    Case {
        name: "context of another type than declared is missing",
        point: "cart_page",
        change: |inputs| set_context(inputs, "country", number(49.0)),
        expected: "discount_10 4 CHAMPION
  because HIGHEST_VALUE
  because MISSING_INPUT rule no_gifts_abroad: context.country
  free_shipping 1.5: OUTRANKED
  discount_10 4: HIGHEST_VALUE
  none 0: OUTRANKED",
    },
    Case {
        name: "deny rules refuse, and with nothing left the default is given",
        point: "cart_page",
        change: |inputs| {
            set_feature(inputs, "purchases_30d", 5.5);
            set_context(inputs, "country", Value::Text("US".into()));
        },
        expected: "none 0 CHAMPION
  because NO_ELIGIBLE_ACTION
  free_shipping -: RULE_DENIED SHIPS_AT_HOME_ONLY
  discount_10 -: RULE_DENIED VIP_PAYS_FULL
  none 0: NO_ELIGIBLE_ACTION",
    },
    Case {
        name: "an allow rule leaves only what it names",
        point: "cart_page",
        change: |inputs| set_context(inputs, "cart_value", number(4.0)),
        expected: "none 0 CHAMPION
  because NO_ELIGIBLE_ACTION
  free_shipping -: RULE_NOT_ALLOWED TINY_CART
  discount_10 -: NOT_ELIGIBLE
  none 0: NO_ELIGIBLE_ACTION",
    },
    Case {
        name: "a boost multiplies, then adds, and is named when its action is chosen",
        point: "cart_page",
        change: |inputs| {
            set_feature(inputs, "seconds_since_last_purchase", 3e6);
            set_feature(inputs, "sessions_count", 4.0);
        },
        expected: "discount_10 7 CHAMPION
  because HIGHEST_VALUE
  because RULE_BOOSTED WELCOME_BACK
  free_shipping 3.25: OUTRANKED
  discount_10 7: HIGHEST_VALUE
  none 0: OUTRANKED",
    },
    Case {
        name: "false and missing is false: no complaint about an input that cannot matter",
        point: "cart_page",
        change: |inputs| lose_feature(inputs, "seconds_since_last_purchase"),
        expected: "discount_10 4 CHAMPION
  because HIGHEST_VALUE
  free_shipping 1.5: OUTRANKED
  discount_10 4: HIGHEST_VALUE
  none 0: OUTRANKED",
    },
    Case {
        name: "a rule that needs a missing feature does not fire",
        point: "cart_page",
        change: |inputs| {
            lose_feature(inputs, "purchases_30d");
            lose_feature(inputs, "seconds_since_last_purchase");
            set_feature(inputs, "sessions_count", 4.0);
        },
        expected: "discount_10 4 CHAMPION
  because HIGHEST_VALUE
  because MISSING_INPUT rule vip_no_discount: features.purchases_30d
  because MISSING_INPUT rule returning_after_long: features.seconds_since_last_purchase
  free_shipping 1.5: OUTRANKED
  discount_10 4: HIGHEST_VALUE
  none 0: OUTRANKED",
    },
    Case {
        name: "force beats value",
        point: "cart_page",
        change: |inputs| {
            set_feature(inputs, "add_to_carts_1h", 3.0);
            set_feature(inputs, "add_to_carts_24h", -9.0);
        },
        expected: "discount_10 -15.99506421696055 CHAMPION
  because RULE_FORCED ABANDONED_CART
  free_shipping -2.998889448816124: OUTRANKED
  discount_10 -15.99506421696055: RULE_FORCED ABANDONED_CART
  none 0: OUTRANKED",
    },
    Case {
        name: "deny beats force",
        point: "cart_page",
        change: |inputs| {
            set_feature(inputs, "add_to_carts_1h", 3.0);
            set_feature(inputs, "purchases_30d", 6.0);
        },
        expected: "free_shipping 1.5 CHAMPION
  because HIGHEST_VALUE
  free_shipping 1.5: HIGHEST_VALUE
  discount_10 -: RULE_DENIED VIP_PAYS_FULL
  none 0: OUTRANKED",
    },
    Case {
        name: "caps beat force",
        point: "cart_page",
        change: |inputs| {
            set_feature(inputs, "add_to_carts_1h", 3.0);
            expose(inputs, "discount_10", "onsite", 6 * DAY_MS);
            expose(inputs, "discount_10", "onsite", 2 * DAY_MS);
        },
        expected: "free_shipping 1.5 CHAMPION
  because HIGHEST_VALUE
  free_shipping 1.5: HIGHEST_VALUE
  discount_10 4: FREQUENCY_CAP 2 per 7d until now + 1d
  none 0: OUTRANKED",
    },
    Case {
        name: "of several caps the one that holds longest is named, and channels count across actions",
        point: "cart_page",
        change: |inputs| {
            for hours in [3, 4, 5, 6] {
                expose(inputs, "free_shipping", "onsite", hours * HOUR_MS);
            }
        },
        expected: "none 0 CHAMPION
  because NO_ELIGIBLE_ACTION
  free_shipping 1.5: FREQUENCY_CAP 3 per 7d until now + 163h
  discount_10 4: FREQUENCY_CAP 4 per 1d per channel until now + 18h
  none 0: NO_ELIGIBLE_ACTION",
    },
    Case {
        name: "an exposure of exactly the window's age no longer counts",
        point: "cart_page",
        change: |inputs| {
            expose(inputs, "discount_10", "onsite", 7 * DAY_MS);
            expose(inputs, "discount_10", "onsite", DAY_MS);
        },
        expected: "discount_10 4 CHAMPION
  because HIGHEST_VALUE
  free_shipping 1.5: OUTRANKED
  discount_10 4: HIGHEST_VALUE
  none 0: OUTRANKED",
    },
    Case {
        name: "an exposure later than now counts",
        point: "cart_page",
        change: |inputs| {
            expose(inputs, "discount_10", "onsite", DAY_MS);
            expose(inputs, "discount_10", "onsite", -HOUR_MS);
        },
        expected: "free_shipping 1.5 CHAMPION
  because HIGHEST_VALUE
  free_shipping 1.5: HIGHEST_VALUE
  discount_10 4: FREQUENCY_CAP 2 per 7d until now + 6d
  none 0: OUTRANKED",
    },
    Case {
        name: "a model that may not be used leaves values at their fallback",
        point: "cart_page",
        change: |inputs| inputs.models[0].1 = Availability::BreakerOpen,
        expected: "free_shipping 0.5 RULES_ONLY
  because HIGHEST_VALUE
  because MODEL_UNAVAILABLE conversion
  because VALUE_UNKNOWN action free_shipping: scores.conversion
  because VALUE_UNKNOWN action discount_10: scores.conversion
  free_shipping 0.5: HIGHEST_VALUE
  discount_10 0: OUTRANKED
  none 0: OUTRANKED",
    },
    Case {
        name: "a model that is not listed may not be used",
        point: "cart_page",
        change: |inputs| inputs.models.truncate(1),
        expected: "discount_10 4 RULES_ONLY
  because HIGHEST_VALUE
  because MODEL_UNAVAILABLE churn
  free_shipping 1.5: OUTRANKED
  discount_10 4: HIGHEST_VALUE
  none 0: OUTRANKED",
    },
    Case {
        name: "without features rules do what they can",
        point: "cart_page",
        change: |inputs| inputs.features_availability = Availability::BreakerOpen,
        expected: "free_shipping 0.5 RULES_ONLY
  because HIGHEST_VALUE
  because FEATURES_UNAVAILABLE BREAKER_OPEN
  because MISSING_INPUT rule vip_no_discount: features.purchases_30d
  because VALUE_UNKNOWN action free_shipping: scores.conversion
  because VALUE_UNKNOWN action discount_10: scores.conversion
  because MISSING_INPUT rule returning_after_long: features.seconds_since_last_purchase
  because MISSING_INPUT rule save_the_abandoned_cart: features.add_to_carts_1h
  free_shipping 0.5: HIGHEST_VALUE
  discount_10 0: OUTRANKED
  none 0: OUTRANKED",
    },
    Case {
        name: "without features a point may give its default at once",
        point: "weekly_email",
        change: |inputs| inputs.features_availability = Availability::DeadlineExceeded,
        expected: "no_email 0 DEFAULT_ACTION
  because FEATURES_UNAVAILABLE DEADLINE_EXCEEDED
  email_winback -: FEATURES_UNAVAILABLE DEADLINE_EXCEEDED
  email_digest -: FEATURES_UNAVAILABLE DEADLINE_EXCEEDED
  no_email 0: FEATURES_UNAVAILABLE DEADLINE_EXCEEDED",
    },
    Case {
        name: "features of other definitions are not read",
        point: "weekly_email",
        change: |inputs| inputs.features.feature_set = ContentHash::of(&[b"other"]),
        expected: "no_email 0 DEFAULT_ACTION
  because FEATURES_UNAVAILABLE FEATURE_SET_MISMATCH
  email_winback -: FEATURES_UNAVAILABLE FEATURE_SET_MISMATCH
  email_digest -: FEATURES_UNAVAILABLE FEATURE_SET_MISMATCH
  no_email 0: FEATURES_UNAVAILABLE FEATURE_SET_MISMATCH",
    },
    Case {
        name: "an unknown person is scored by what the model learned for missing values",
        point: "cart_page",
        change: |inputs| inputs.features = FeatureVector::not_found(&features()),
        expected: "discount_10 4 CHAMPION
  because HIGHEST_VALUE
  because USER_UNKNOWN
  because MISSING_INPUT rule vip_no_discount: features.purchases_30d
  because MISSING_INPUT rule returning_after_long: features.seconds_since_last_purchase
  because MISSING_INPUT rule save_the_abandoned_cart: features.add_to_carts_1h
  free_shipping 1.5: OUTRANKED
  discount_10 4: HIGHEST_VALUE
  none 0: OUTRANKED",
    },
    Case {
        name: "a rule without points holds only where one of its actions is offered",
        point: "weekly_email",
        change: |inputs| {
            inputs.context.clear();
            set_feature(inputs, "purchases_30d", 6.0);
        },
        expected: "email_digest 1 CHAMPION
  because HIGHEST_VALUE
  email_winback -: RULE_DENIED ACTIVE_NOW
  email_digest 1: HIGHEST_VALUE
  no_email 0: OUTRANKED",
    },
    Case {
        name: "a decision point that the policy lacks gets an empty action",
        point: "basement",
        change: |_| {},
        expected: " 0 DEFAULT_ACTION
  because NO_ELIGIBLE_ACTION unknown decision point basement",
    },
];

#[test]
fn the_example_policy_decides_as_documented() {
    let policy = loaded(EXAMPLE);
    for case in CASES {
        let mut inputs = inputs(case.point);
        (case.change)(&mut inputs);
        let decision = decide(&policy, &inputs);
        assert_eq!(in_words(&decision), case.expected, "{}", case.name);
        assert_eq!(decision, decide(&policy, &inputs), "{}", case.name);
    }
}

#[test]
fn the_answer_carries_what_the_caller_needs() {
    let policy = loaded(EXAMPLE);
    let decision = decide(&policy, &inputs("cart_page"));
    assert_eq!(&*decision.payload, r#"{"code":"SAVE10","percent":10}"#);
    assert_eq!(&*decision.channel, "onsite");
    assert!(decision.counts_against_caps);
    assert_eq!(decision.expires_at, Some(NOW.plus_millis(HOUR_MS / 2)));
    assert_eq!(decision.propensity, 1.0);
    let aliases: Vec<&str> = decision.scores.iter().map(|score| &*score.alias).collect();
    assert_eq!(aliases, ["conversion", "churn"]);
    assert_eq!(decision.scores[0].model.as_ref().unwrap().version, 3);
    assert_eq!(decision.scores[0].score.unwrap().calibrated, 0.5);
}

#[test]
fn a_caller_can_ask_for_the_default() {
    let policy = loaded(EXAMPLE);
    let decision = decide_default(&policy, &inputs("cart_page"), Reason::new(ReasonCode::LogUnavailable));
    assert_eq!(
        in_words(&decision),
        "none 0 DEFAULT_ACTION
  because LOG_UNAVAILABLE
  free_shipping -: LOG_UNAVAILABLE
  discount_10 -: LOG_UNAVAILABLE
  none 0: LOG_UNAVAILABLE"
    );
    assert_eq!(decision.rung, Rung::DefaultAction);
    assert!(!decision.counts_against_caps);
    assert_eq!(decision.candidates[2].probability, 1.0);
}

const TWO_ACTIONS: &str = r#"
version = 1
[[decision_point]]
name = "p"
actions = ["a", "b", "none"]
default_action = "none"
deadline = "1s"
[[action]]
name = "a"
[[action]]
name = "b"
[[action]]
name = "none"
"#;

fn rule(id: &str, then: &str, actions: &str, rest: &str) -> String {
    format!(
        "[[rule]]\nid = \"{id}\"\nwhen = \"true\"\nthen = \"{then}\"\nactions = {actions}\nreason = \"{}\"\n{rest}\n",
        id.to_uppercase()
    )
}

fn decide_with(rules: &[String]) -> String {
    in_words(&decide(&loaded(&format!("{TWO_ACTIONS}{}", rules.concat())), &inputs("p")))
}

#[test]
fn ties_go_to_the_action_declared_first() {
    assert!(decide_with(&[]).starts_with("a 0 CHAMPION\n  because HIGHEST_VALUE\n"));
}

#[test]
fn the_force_rule_of_highest_priority_that_can_wins() {
    let forced = decide_with(&[
        rule("low", "force", r#"["a"]"#, "priority = 1"),
        rule("high", "force", r#"["b"]"#, "priority = 2"),
        rule("late", "force", r#"["a"]"#, "priority = 2"),
    ]);
    assert!(forced.starts_with("b 0 CHAMPION\n  because RULE_FORCED HIGH\n"), "{forced}");
    let forced = decide_with(&[
        rule("no", "deny", r#"["b"]"#, "priority = -5"),
        rule("low", "force", r#"["none"]"#, "priority = 1"),
        rule("high", "force", r#"["b"]"#, "priority = 2"),
    ]);
    assert!(forced.starts_with("none 0 CHAMPION\n  because RULE_FORCED LOW\n"), "{forced}");
    let best_of_two = decide_with(&[
        rule("more", "boost", r#"["b"]"#, "add = 1"),
        rule("either", "force", r#"["a", "b"]"#, ""),
    ]);
    assert!(
        best_of_two.starts_with("b 1 CHAMPION\n  because RULE_FORCED EITHER\n  because RULE_BOOSTED MORE\n")
    );
}

#[test]
fn allow_rules_add_up_and_deny_beats_them() {
    let left = decide_with(&[
        rule("first", "allow", r#"["a"]"#, ""),
        rule("second", "allow", r#"["b"]"#, ""),
        rule("no", "deny", r#"["a"]"#, "priority = -1"),
    ]);
    assert_eq!(
        left,
        "b 0 CHAMPION
  because HIGHEST_VALUE
  a -: RULE_DENIED NO
  b 0: HIGHEST_VALUE
  none 0: OUTRANKED"
    );
}

#[test]
fn boosts_never_leave_the_range_of_numbers() {
    let rules: Vec<String> =
        (0..40).map(|n| rule(&format!("b{n}"), "boost", r#"["a"]"#, "factor = 1e12\nadd = 1")).collect();
    let decision = decide(&loaded(&format!("{TWO_ACTIONS}{}", rules.concat())), &inputs("p"));
    assert_eq!(&*decision.action, "a");
    assert!(decision.value.is_finite() && decision.value > 1e290);
}

#[test]
fn reasons_are_bounded_and_say_when_there_were_more() {
    let rules: Vec<String> = (0..200)
        .map(|n| {
            rule(&format!("r{n}"), "deny", r#"["a"]"#, "").replace("true", "features.purchases_7d > 1.0")
        })
        .collect();
    let mut inputs = inputs("p");
    lose_feature(&mut inputs, "purchases_7d");
    let decision = decide(&loaded(&format!("{TWO_ACTIONS}{}", rules.concat())), &inputs);
    assert_eq!(decision.reasons.len(), MAX_REASONS);
    assert_eq!(decision.reasons[1].detail.as_deref(), Some("rule r0: features.purchases_7d"));
    assert_eq!(decision.reasons[MAX_REASONS - 1].detail.as_deref(), Some("and more"));
}

#[test]
fn a_division_by_zero_is_an_unanswered_question() {
    let rule = rule("ratio", "deny", r#"["a"]"#, "").replace("true", "1.0 / features.purchases_7d > 1.0");
    let decision = decide(&loaded(&format!("{TWO_ACTIONS}{rule}")), &inputs("p"));
    assert_eq!(
        decision.reasons[1].to_owned(),
        Reason::with(ReasonCode::MissingInput, "rule ratio: division by zero".into())
    );
}
