//! Rules that read text and boolean features.
//!
//! Not here: the types of the expression language, which its own crate tests.

use std::sync::Arc;

use augur_decision::{ModelSource, PolicySnapshot, SourceFile, decide};
use augur_domain::decision::{Availability, DecisionInputs, Person};
use augur_domain::feature::{FeatureInfo, FeatureValue};
use augur_domain::{
    ContentHash, DecisionId, Diagnostic, FeatureSet, FeatureStatus, FeatureVector, ReasonCode, UserKey,
    ValueType,
};

use crate::support::{NOW, Shelf};

const POLICY: &str = r#"
version = 1

[[decision_point]]
name = "home"
actions = ["seeds", "nothing"]
default_action = "nothing"
deadline = "50ms"

[[action]]
name = "seeds"
eligible_when = "features.favourite == 'garden' && features.is_member"

[[action]]
name = "nothing"
"#;

fn features() -> Arc<FeatureSet> {
    let info = |(name, value_type): (&str, ValueType)| FeatureInfo {
        name: name.into(),
        value_type,
        description: "".into(),
        events: None,
        definition: ContentHash::default(),
        unit: "".into(),
    };
    let typed =
        [("visits", ValueType::Number), ("favourite", ValueType::Text), ("is_member", ValueType::Boolean)];
    Arc::new(FeatureSet::new(ContentHash::from_bytes([3; 32]), typed.map(info).to_vec()))
}

fn load(text: &str) -> Result<PolicySnapshot, Vec<Diagnostic>> {
    let models: &dyn ModelSource = &Shelf;
    PolicySnapshot::load(
        &SourceFile { name: "policy.toml".to_owned(), text: text.to_owned() },
        features(),
        models,
    )
}

fn inputs(favourite: Option<&str>, status: FeatureStatus, is_member: f64) -> DecisionInputs {
    let value = |value, status| FeatureValue { value, status, event_time: None };
    let present = FeatureStatus::Present;
    DecisionInputs {
        decision_id: DecisionId::new(NOW, [7; 10]),
        now: NOW,
        seed: 1,
        decision_point: "home".into(),
        user: UserKey::from_bytes([5; 16]),
        context: Vec::new(),
        features_availability: Availability::Available,
        features: FeatureVector {
            feature_set: features().hash(),
            watermark: 1,
            values: vec![value(2.0, present), value(0.0, status), value(is_member, present)],
            texts: favourite.map(|text| (1, text.into())).into_iter().collect(),
        },
        models: Vec::new(),
        exposures: Vec::new(),
        person: Person::default(),
        budgets: Vec::new(),
        peek: false,
        time_left_us: None,
    }
}

#[test]
fn texts_and_booleans_are_read_by_their_type() {
    let policy = load(POLICY).unwrap();
    let action = |inputs: &DecisionInputs| decide(&policy, inputs).action.to_string();
    let present = FeatureStatus::Present;
    assert_eq!(action(&inputs(Some("garden"), present, 1.0)), "seeds");
    assert_eq!(action(&inputs(Some("garden"), FeatureStatus::Defaulted, 1.0)), "seeds");
    assert_eq!(action(&inputs(Some("garden"), present, 0.0)), "nothing");
    assert_eq!(action(&inputs(Some("kitchen"), present, 1.0)), "nothing");
    // A text that may not be used is missing, and so is one that is not there.
    assert_eq!(action(&inputs(Some("garden"), FeatureStatus::OutsideMaxAge, 1.0)), "nothing");
    assert_eq!(action(&inputs(None, FeatureStatus::NullValue, 1.0)), "nothing");
}

#[test]
fn a_user_without_events_is_unknown_whatever_the_request_tells() {
    let policy = load(POLICY).unwrap();
    let unknown = |inputs: &DecisionInputs| {
        decide(&policy, inputs).reasons.iter().any(|reason| reason.code == ReasonCode::UserUnknown)
    };
    let mut inputs = inputs(Some("garden"), FeatureStatus::Present, 1.0);
    assert!(!unknown(&inputs));
    inputs.features.watermark = 0;
    inputs.features.values[0].status = FeatureStatus::NotFound;
    assert!(unknown(&inputs));
}

#[test]
fn a_text_compared_with_a_number_is_a_complaint_with_its_place() {
    let complaints = load(&POLICY.replace("'garden'", "3")).unwrap_err();
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    assert!(complaints[0].to_string().starts_with("policy.toml:12:"), "{}", complaints[0]);
}
