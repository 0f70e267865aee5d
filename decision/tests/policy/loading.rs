//! What a loaded policy tells its callers.
//!
//! Not here: what it decides.

use augur_decision::{PolicySnapshot, WhenFeaturesUnavailable};
use augur_domain::ValueType;
use augur_domain::time::DAY_MS;

use crate::support::{EXAMPLE, loaded};

#[test]
fn is_shared_between_threads() {
    fn assert_shared<T: Send + Sync + 'static>() {}
    assert_shared::<PolicySnapshot>();
}

#[test]
fn tells_points_models_context_and_windows() {
    let policy = loaded(EXAMPLE);
    let names: Vec<&str> = policy.decision_points().iter().map(|point| &**point.name()).collect();
    assert_eq!(names, ["cart_page", "weekly_email"]);
    let cart = policy.point("cart_page").unwrap();
    assert_eq!(cart.deadline_ms(), 50);
    assert_eq!(cart.longest_cap_window_ms(), 7 * DAY_MS);
    assert_eq!(cart.when_features_unavailable(), WhenFeaturesUnavailable::Rules);
    let context: Vec<(&str, ValueType)> =
        cart.context_schema().iter().map(|(name, t)| (&**name, *t)).collect();
    assert_eq!(context, [("cart_value", ValueType::Number), ("country", ValueType::Text)]);
    let actions: Vec<&str> = cart.actions().map(|name| &**name).collect();
    assert_eq!(actions, ["free_shipping", "discount_10", "none"]);
    assert_eq!(&**cart.default_action(), "none");
    assert_eq!(cart.models(&policy).count(), 2);
    let email = policy.point("weekly_email").unwrap();
    assert_eq!(email.when_features_unavailable(), WhenFeaturesUnavailable::Default);
    assert_eq!(policy.longest_cap_window_ms(), 14 * DAY_MS);
    assert!(policy.point("nowhere").is_none());
}

#[test]
fn models_without_a_version_are_declared_but_not_loaded() {
    let policy = loaded(&EXAMPLE.replace("alias = \"champion\"", "alias = \"challenger\""));
    let loaded: Vec<&str> = policy.models().iter().map(|(alias, _)| &**alias).collect();
    assert_eq!(loaded, ["churn"]);
    let declared = policy.declared_models();
    assert_eq!((&**declared[0].name(), &**declared[0].alias()), ("conversion", "challenger"));
    assert!(declared[0].version().is_none());
    assert_eq!(&**declared[1].registered_name(), "churn");
}

#[test]
fn the_id_feels_every_byte_of_the_text() {
    let id = loaded(EXAMPLE).id();
    assert_eq!(id, loaded(EXAMPLE).id());
    assert_ne!(id, loaded(&format!("{EXAMPLE}\n")).id());
    // Decision logs name policies by this: if it moves without a change of the example, raise the engine version.
    assert_eq!(loaded("version = 1\n[[decision_point]]\nname = \"p\"\nactions = [\"a\"]\ndefault_action = \"a\"\ndeadline = \"1s\"\n[[action]]\nname = \"a\"\n").id().short(), "888e06d14c79");
}

#[test]
fn context_may_have_other_types_at_other_points() {
    let text = EXAMPLE
        .replace("on_features_unavailable = \"default\"", "[decision_point.context]\ncart_value = \"text\"");
    let rules = "[[rule]]\nid = \"plain\"\nwhen = \"now > now - duration('1h')\"\nthen = \"boost\"\nadd = 1\nactions = [\"none\", \"no_email\"]\nreason = \"PLAIN\"\n";
    let policy = loaded(&format!("{text}{rules}"));
    assert_eq!(policy.point("weekly_email").unwrap().context_schema()[0].1, ValueType::Text);
}
