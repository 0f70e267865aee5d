//! What moved a score, in the policy's words.
//!
//! Not here: how contributions are reckoned; the models' own crate tests it.

use augur_decision::decide;
use augur_domain::decision::Availability;
use augur_domain::{Reason, ReasonCode};

use crate::support::{inputs, load, loaded, lose_feature, set_feature};

/// `conversion` follows `add_to_carts_24h`, `churn` follows `sessions_current_events`.
const BASE: &str = r#"version = 1
[[decision_point]]
name = "cart_page"
actions = ["gift", "none"]
default_action = "none"
deadline = "50ms"
models = ["conversion", "churn"]
[decision_point.context]
cart_value = "number"
country = "text"
[[model]]
name = "conversion"
[[model]]
name = "churn"
[[action]]
name = "gift"
value = "scores.conversion"
[[action]]
name = "none"
[[explain]]
model = "conversion"
feature = "add_to_carts_24h"
raises = "FILLS_CART"
lowers = "EMPTIES_CART"
[[explain]]
model = "churn"
feature = "sessions_current_events"
lowers = "BUSY"
"#;

fn moved(carts: f64, events: f64) -> Vec<String> {
    let mut inputs = inputs("cart_page");
    set_feature(&mut inputs, "add_to_carts_24h", carts);
    set_feature(&mut inputs, "sessions_current_events", events);
    words(&decide(&loaded(BASE), &inputs).reasons)
}

fn words(reasons: &[Reason]) -> Vec<String> {
    let about = |reason: &&Reason| matches!(reason.code, ReasonCode::ScoreRaised | ReasonCode::ScoreLowered);
    let said = reasons.iter().filter(about);
    said.map(|reason| format!("{} {}", reason.code, reason.detail.as_deref().unwrap_or("-"))).collect()
}

#[test]
fn each_direction_has_its_word_or_none() {
    assert_eq!(moved(2.0, -1.0), ["SCORE_RAISED conversion: FILLS_CART", "SCORE_LOWERED churn: BUSY"]);
    assert_eq!(moved(-2.0, 1.0), ["SCORE_LOWERED conversion: EMPTIES_CART"]);
    // What moved nothing says nothing.
    assert_eq!(moved(0.0, 0.0), [] as [&str; 0]);
}

#[test]
fn words_stand_behind_the_choice_and_change_nothing_else() {
    let plain = BASE.split("[[explain]]").next().unwrap();
    let mut inputs = inputs("cart_page");
    set_feature(&mut inputs, "add_to_carts_24h", 2.0);
    let (with, without) = (decide(&loaded(BASE), &inputs), decide(&loaded(plain), &inputs));
    assert_eq!(with.reasons[0], without.reasons[0]);
    assert_eq!(words(&with.reasons), ["SCORE_RAISED conversion: FILLS_CART"]);
    assert_eq!(augur_domain::Decision { reasons: without.reasons.clone(), ..with.clone() }, without);
    assert_eq!(decide(&loaded(BASE), &inputs), with);
}

#[test]
fn without_a_score_there_is_nothing_to_explain() {
    let policy = loaded(BASE);
    let mut inputs = inputs("cart_page");
    set_feature(&mut inputs, "add_to_carts_24h", 2.0);
    inputs.models[0].1 = Availability::Failed;
    assert_eq!(words(&decide(&policy, &inputs).reasons), [] as [&str; 0]);
    inputs.models[0].1 = Availability::Available;
    inputs.features_availability = Availability::Failed;
    assert_eq!(words(&decide(&policy, &inputs).reasons), [] as [&str; 0]);
    inputs.features_availability = Availability::Available;
    // The model's imputation is 0, so a missing value moves nothing here.
    lose_feature(&mut inputs, "add_to_carts_24h");
    assert_eq!(words(&decide(&policy, &inputs).reasons), [] as [&str; 0]);
}

#[test]
fn mistakes_are_told_with_their_place() {
    let complaints = |from: &str, to: &str| -> Vec<String> {
        let text = BASE.replacen(from, to, 1);
        load(&text).unwrap_err().iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        complaints("feature = \"add_to_carts_24h\"", "feature = \"add_to_cart_24h\""),
        [
            "policy.toml:22:11: there is no feature `add_to_cart_24h`; expected the name of a declared feature; did you mean `add_to_carts_24h`?"
        ]
    );
    assert_eq!(
        complaints("model = \"churn\"", "model = \"chrun\""),
        [
            "policy.toml:26:9: there is no model `chrun`; expected the name of a declared model; did you mean `churn`?"
        ]
    );
    assert_eq!(
        complaints("lowers = \"BUSY\"", ""),
        ["policy.toml:25:1: explain has no `raises`; expected `raises`, `lowers` or both"]
    );
    assert_eq!(
        complaints("lowers = \"BUSY\"", "lowers = \"busy\""),
        [
            "policy.toml:28:10: `busy` is not a reason code; expected upper-case letters, digits and underscores, at most 64, like `VIP_PAYS_FULL`"
        ]
    );
    assert_eq!(
        complaints("name = \"churn\"", "name = \"churn\"\nexplain_most = 9"),
        ["policy.toml:15:16: `explain_most` is the number `9`; expected 1 to 8"]
    );
    let twice = format!(
        "{BASE}[[explain]]\nmodel = \"churn\"\nfeature = \"sessions_current_events\"\nraises = \"IDLE\"\n"
    );
    assert_eq!(
        load(&twice).unwrap_err()[0].to_string(),
        "policy.toml:31:11: `sessions_current_events` is explained twice for the model `churn`; expected one `[[explain]]` for each feature of a model"
    );
}
