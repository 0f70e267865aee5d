//! What a rule says beside its condition: when it holds, its mode, its owner, the keys it sets, and its sentence.
//!
//! Not here: mistakes in them (`bad_policies`).

use augur_decision::{Mode, decide};
use augur_domain::{Decision, ReasonCode, Timestamp};

use crate::support::{NOW, inputs, loaded, set_feature};

const BASE: &str = r#"version = 1
[[decision_point]]
name = "cart_page"
actions = ["discount_10", "plain", "none"]
default_action = "none"
deadline = "50ms"
[decision_point.context]
cart_value = "number"
country = "text"
[[action]]
name = "discount_10"
payload = { code = "SAVE10", percent = 10 }
value_fallback = 2.0
[[action]]
name = "plain"
value_fallback = 1.0
[[action]]
name = "none"
"#;

fn policy(rules: &str) -> String {
    format!("{BASE}{rules}")
}

fn answer(rules: &str) -> Decision {
    decide(&loaded(&policy(rules)), &inputs("cart_page"))
}

fn rule(rest: &str) -> String {
    format!("[[rule]]\nid = \"r\"\nwhen = \"context.cart_value > 10\"\nreason = \"R\"\n{rest}\n")
}

#[test]
fn a_rule_holds_between_its_dates_only() {
    let deny = |dates: &str| answer(&rule(&format!("then = \"deny\"\nactions = [\"discount_10\"]\n{dates}")));
    // Now is 2027-01-15T08:00:00Z.
    assert_eq!(NOW, Timestamp::parse_rfc3339("2027-01-15T08:00:00Z").unwrap());
    for (dates, holds) in [
        ("", true),
        ("valid_from = \"2027-01-15\"", true),
        ("valid_from = 2027-01-15", true),
        ("valid_from = \"2027-01-15T08:00:00Z\"", true),
        ("valid_from = \"2027-01-15T09:00:00+01:00\"", true),
        ("valid_from = 2027-01-15T08:00:00.001Z", false),
        ("valid_until = \"2027-01-15T08:00:00Z\"", false),
        ("valid_until = \"2027-01-16\"", true),
        ("valid_from = \"2027-01-01\"\nvalid_until = \"2027-01-15\"", false),
    ] {
        assert_eq!(&*deny(dates).action, if holds { "plain" } else { "discount_10" }, "{dates}");
    }
}

#[test]
fn a_shadow_rule_is_told_and_changes_nothing() {
    let without = answer("");
    for (effect, code) in [
        ("then = \"deny\"", ReasonCode::RuleDenied),
        ("then = \"allow\"", ReasonCode::RuleNotAllowed),
        ("then = \"force\"", ReasonCode::RuleForced),
        ("then = \"boost\"\nfactor = 9", ReasonCode::RuleBoosted),
        ("then = \"set\"\nset = { percent = 15 }", ReasonCode::RuleSet),
    ] {
        let text = rule(&format!("{effect}\nactions = [\"discount_10\"]\nmode = \"shadow\""));
        let mut decision = answer(&text);
        let told: Vec<_> = decision.shadow.drain(..).map(|why| (why.code, why.detail.unwrap())).collect();
        assert_eq!(told, [(code, "R".into())], "{effect}");
        assert_eq!(decision, without, "{effect}");
    }
}

#[test]
fn a_shadow_rule_that_would_not_have_fired_is_silent() {
    for rest in [
        "then = \"deny\"\nactions = [\"discount_10\"]\nvalid_until = \"2020-01-01\"",
        // Another action than that one is chosen.
        "then = \"set\"\nset = { percent = 15 }\nactions = [\"plain\"]",
    ] {
        assert_eq!(answer(&rule(&format!("{rest}\nmode = \"shadow\""))).shadow, []);
    }
    let missing = "[[rule]]\nid = \"r\"\nwhen = \"context.country == 'FR' || features.revenue_30d > 1\"\n\
                   then = \"deny\"\nactions = [\"plain\"]\nreason = \"R\"\nmode = \"shadow\"\n";
    let decision = answer(missing);
    assert_eq!((decision.shadow.len(), decision.reasons.len()), (0, 1));
}

#[test]
fn a_rule_that_is_off_is_checked_and_never_asked() {
    let off = rule("then = \"deny\"\nactions = [\"discount_10\"]\nmode = \"off\"");
    assert_eq!(answer(&off), answer(""));
    let complaints = crate::support::load(&policy(&off.replace("cart_value", "card_value"))).unwrap_err();
    assert_eq!(complaints.len(), 1, "{complaints:?}");
}

#[test]
fn set_rules_change_keys_of_the_chosen_payload() {
    let set =
        "then = \"set\"\nset = { percent = 15, banner = \"Hello\" }\nactions = [\"discount_10\", \"none\"]";
    let decision = answer(&rule(set));
    assert_eq!(&*decision.payload, r#"{"banner":"Hello","code":"SAVE10","percent":15}"#);
    let why: Vec<_> = decision.reasons.iter().map(|why| why.code).collect();
    assert_eq!(why, [ReasonCode::HighestValue, ReasonCode::RuleSet]);
    // Of another action's payload nothing is changed, and nothing is said.
    let mut others = loaded(&policy(&rule("then = \"set\"\nset = { percent = 15 }\nactions = [\"plain\"]")));
    assert_eq!(decide(&others, &inputs("cart_page")), answer(""));
    // An action without a payload gets one.
    let force =
        "[[rule]]\nid = \"f\"\nwhen = \"true\"\nthen = \"force\"\nactions = [\"none\"]\nreason = \"F\"\n";
    others = loaded(&policy(&format!("{force}{}", rule(set))));
    assert_eq!(&*decide(&others, &inputs("cart_page")).payload, r#"{"banner":"Hello","percent":15}"#);
}

#[test]
fn of_two_rules_that_set_a_key_the_higher_priority_wins() {
    let set = |id: &str, percent: u32, priority: i32| {
        format!(
            "[[rule]]\nid = \"{id}\"\nwhen = \"true\"\nthen = \"set\"\nset = {{ percent = {percent}, {id} = true }}\n\
             actions = [\"discount_10\"]\nreason = \"R\"\npriority = {priority}\n"
        )
    };
    let decision = answer(&format!("{}{}{}", set("a", 1, 0), set("b", 2, 5), set("c", 3, 5)));
    assert_eq!(&*decision.payload, r#"{"a":true,"b":true,"c":true,"code":"SAVE10","percent":2}"#);
    assert_eq!(decision.reasons.len(), 4);
}

#[test]
fn rules_read_like_sentences() {
    let text = policy(
        r#"[[rule]]
id = "regulars_pay_full"
when = "features.purchases_30d >= 5"
then = "deny"
actions = ["discount_10"]
reason = "REGULARS_PAY_FULL"
owner = "growth"
[[rule]]
id = "winter"
when = "context.country in ['DE', 'AT'] && !has(features.revenue_30d)"
then = "set"
set = { percent = 15, banner = "Winter" }
actions = ["discount_10", "plain"]
points = ["cart_page"]
reason = "WINTER"
valid_from = "2026-12-01"
valid_until = "2027-03-01"
mode = "shadow"
[[rule]]
id = "push"
when = "context.cart_value > 10"
then = "boost"
add = 2
actions = ["plain"]
reason = "PUSH"
mode = "off"
"#,
    );
    let policy = loaded(&text);
    let sentences: Vec<String> = policy.rules().iter().map(|rule| policy.rule_in_english(rule)).collect();
    assert_eq!(
        sentences,
        [
            "if the number of purchases_30d is at least 5 then refuse discount_10 (REGULARS_PAY_FULL)",
            "at cart_page: if the request's country is one of AT or DE and the number of revenue_30d is missing then set \
             banner to \"Winter\" and percent to 15 in the payload of discount_10 and plain (WINTER), from \
             2026-12-01T00:00:00.000Z, until 2027-03-01T00:00:00.000Z, in shadow: recorded, without effect",
            "if the request's cart_value is more than 10 then add 2 to the value of plain (PUSH), switched off",
        ]
    );
    let [first, second, _] = policy.rules() else { panic!("three rules") };
    assert_eq!(first.owner().map(|owner| &**owner), Some("growth"));
    assert_eq!((second.mode(), second.validity().from.is_some()), (Mode::Shadow, true));
    assert_eq!(policy.action_in_english("cart_page", "plain").unwrap(), "may always be given; is worth 1");
}

#[test]
fn a_rule_that_cannot_be_answered_does_not_set() {
    let text = policy(
        "[[rule]]\nid = \"r\"\nwhen = \"features.revenue_30d > 1\"\nthen = \"set\"\nset = { a = 1 }\n\
         actions = [\"discount_10\"]\nreason = \"R\"\n",
    );
    let mut person = inputs("cart_page");
    set_feature(&mut person, "revenue_30d", 5.0);
    assert!(decide(&loaded(&text), &person).payload.contains("\"a\":1"));
    crate::support::lose_feature(&mut person, "revenue_30d");
    let decision = decide(&loaded(&text), &person);
    assert!(!decision.payload.contains("\"a\":1"));
    assert_eq!(decision.reasons.last().unwrap().code, ReasonCode::MissingInput);
}
