//! Rules that read the segment of a user.
//!
//! Not here: which centre is nearest; the models' own crate tests it.

use augur_decision::decide;
use augur_domain::Decision;
use augur_domain::decision::{Availability, Rung};

use crate::support::{inputs, load, loaded, lose_feature, set_feature};

const BASE: &str = r#"version = 1
[[decision_point]]
name = "cart_page"
actions = ["gift", "none"]
default_action = "none"
deadline = "50ms"
segments = ["carts"]
[decision_point.context]
cart_value = "number"
country = "text"
[[segment]]
name = "carts"
model = "by_carts"
[[action]]
name = "gift"
value = "1.0"
[[action]]
name = "none"
[[rule]]
id = "many_need_no_gift"
when = "segments.carts == 'many'"
then = "deny"
actions = ["gift"]
reason = "FILLS_CART"
"#;

fn told(decision: &Decision) -> String {
    let reasons: Vec<String> = decision
        .reasons
        .iter()
        .map(|reason| format!("{} {}", reason.code, reason.detail.as_deref().unwrap_or("-")))
        .collect();
    format!("{}: {}", decision.action, reasons.join(", "))
}

#[test]
fn a_rule_reads_the_segment_as_text() {
    let policy = loaded(BASE);
    let names: Vec<&str> = policy.models().iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["segments.carts"]);
    let mut inputs = inputs("cart_page");
    inputs.models = vec![("segments.carts".into(), Availability::Available)];
    for (carts, action) in [(4.0, "gift"), (5.0, "gift"), (5.1, "none"), (90.0, "none")] {
        set_feature(&mut inputs, "add_to_carts_24h", carts);
        let decision = decide(&policy, &inputs);
        assert_eq!((&*decision.action, decision.rung), (action, Rung::Champion), "{carts}");
        assert!(decision.scores.is_empty());
    }
    // A missing value is the mean of training, which is among the few.
    lose_feature(&mut inputs, "add_to_carts_24h");
    assert_eq!(&*decide(&policy, &inputs).action, "gift");
}

#[test]
fn without_its_model_a_segment_is_missing_and_says_so() {
    let mut inputs = inputs("cart_page");
    set_feature(&mut inputs, "add_to_carts_24h", 90.0);
    let without = "gift: HIGHEST_VALUE -, MODEL_UNAVAILABLE segments.carts, \
                   MISSING_INPUT rule many_need_no_gift: segments.carts";
    inputs.models = vec![("segments.carts".into(), Availability::BreakerOpen)];
    let decision = decide(&loaded(BASE), &inputs);
    assert_eq!((told(&decision).as_str(), decision.rung), (without, Rung::RulesOnly));
    // Nothing is published under that alias.
    inputs.models = vec![("segments.carts".into(), Availability::NotLoaded)];
    let unpublished = BASE.replace("model = \"by_carts\"", "model = \"by_carts\"\nalias = \"challenger\"");
    assert_eq!(told(&decide(&loaded(&unpublished), &inputs)), without);
    // Without features nobody is in any segment.
    inputs.models = vec![("segments.carts".into(), Availability::Available)];
    inputs.features_availability = Availability::BreakerOpen;
    let decision = told(&decide(&loaded(BASE), &inputs));
    assert!(decision.contains("MISSING_INPUT rule many_need_no_gift: segments.carts"), "{decision}");
}

#[test]
fn a_model_of_another_kind_and_an_unknown_segment_are_told_at_load() {
    let complaint = |text: &str| {
        let complaints = load(text).unwrap_err();
        complaints.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let probability = complaint(&BASE.replace("by_carts", "mixed"));
    assert!(probability.contains("model `mixed` gives a probability, not segments"), "{probability}");
    let model =
        BASE.replace("segments = [\"carts\"]", "models = [\"carts\"]").replace("[[segment]]", "[[model]]");
    let segments = complaint(&model.replace("segments.carts == 'many'", "scores.carts > 0.5"));
    assert!(segments.contains("model `by_carts` gives segments, not a probability"), "{segments}");
    let unlisted = complaint(&BASE.replace("segments = [\"carts\"]", "segments = []"));
    assert!(unlisted.contains("name `carts` in `segments` of cart_page"), "{unlisted}");
    let unknown = complaint(&BASE.replace("segments = [\"carts\"]", "segments = [\"cart\"]"));
    assert!(unknown.contains("there is no segment `cart`") && unknown.contains("`carts`"), "{unknown}");
    let number = complaint(&BASE.replace("'many'", "3"));
    assert!(number.contains("text"), "{number}");
}
