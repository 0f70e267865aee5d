//! A shop's features, two models with known scores, and a builder of inputs.
//!
//! Not here: policies; the tests carry their own or read the example.

use std::sync::Arc;

use augur_decision::{ModelSource, PolicySnapshot, SourceFile};
use augur_domain::decision::{Availability, DecisionInputs, Exposure, Person};
use augur_domain::feature::{FeatureInfo, FeatureSet, FeatureStatus, FeatureValue, FeatureVector};
use augur_domain::value::Finite;
use augur_domain::{
    ContentHash, Decision, DecisionId, Diagnostic, ModelRef, Timestamp, UserKey, Value, ValueType,
};
use augur_models::artifact::{Body, ClusterInput, Content, Input, Lineage, Transform};
use augur_models::scorer::Kind;
use augur_models::{Artifact, Calibrator, Scorer};

pub(crate) const EXAMPLE: &str = include_str!("../../testdata/policy.toml");

/// An arbitrary Tuesday.
pub(crate) const NOW: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

pub(crate) const FEATURES: [&str; 9] = [
    "purchases_7d",
    "purchases_30d",
    "add_to_carts_1h",
    "add_to_carts_24h",
    "revenue_30d",
    "seconds_since_last_purchase",
    "seconds_since_last_event",
    "sessions_count",
    "sessions_current_events",
];

pub(crate) fn features() -> Arc<FeatureSet> {
    let info = |name: &str| FeatureInfo {
        name: name.into(),
        value_type: ValueType::Number,
        description: "a feature of the shop".into(),
        events: None,
        definition: ContentHash::default(),
        unit: "".into(),
    };
    let features = FEATURES.iter().map(|name| info(name)).collect();
    Arc::new(FeatureSet::new(ContentHash::of(&[b"the shop's features"]), features))
}

/// A model whose margin is the value of one feature, 0 if it is missing: at 0 the score is one half.
pub(crate) fn model(name: &str, feature: &str, features: &FeatureSet) -> (ModelRef, Arc<Scorer>) {
    let input = Input {
        feature: feature.to_owned(),
        transform: Transform::Identity,
        mean: 0.0,
        scale: 1.0,
        weight: 1.0,
        imputation: 0.0,
        clip: None,
        missing_weight: 0.0,
        definition: None,
    };
    scored(name, Body::Linear { intercept: 0.0, inputs: vec![input] }, features)
}

/// `few` below 5 of the feature, `many` from there on; whoever has none is at 2.
pub(crate) fn segments(name: &str, feature: &str, features: &FeatureSet) -> (ModelRef, Arc<Scorer>) {
    let input = ClusterInput {
        feature: feature.to_owned(),
        transform: Transform::Identity,
        mean: 2.0,
        scale: 1.0,
        clip: None,
        definition: None,
    };
    let body = Body::Clusters {
        inputs: vec![input],
        centroids: vec![vec![-2.0], vec![8.0]],
        names: vec!["few".to_owned(), "many".to_owned()],
    };
    scored(name, body, features)
}

fn scored(name: &str, body: Body, features: &FeatureSet) -> (ModelRef, Arc<Scorer>) {
    let lineage = Lineage {
        data: ContentHash::default(),
        seed: 0,
        parameters: "{}".to_owned(),
        created_at: NOW,
        code_version: "0".to_owned(),
    };
    let artifact = Artifact::new(Content {
        name: name.to_owned(),
        task: name.to_owned(),
        positive_class: name.to_owned(),
        feature_set: features.hash(),
        body,
        calibrator: Calibrator::Identity,
        lineage,
        report: String::new(),
        reference: None,
    })
    .unwrap();
    let version = ModelRef { name: name.into(), version: 3, artifact: artifact.id() };
    (version, Arc::new(Scorer::new(&artifact, features).unwrap()))
}

/// `conversion` follows `add_to_carts_24h`, `churn` follows `sessions_current_events`, `by_carts` gives segments; `mixed`
/// is never of the kind that is asked for and `broken` cannot be used; nothing else is published.
pub(crate) struct Shelf;

impl ModelSource for Shelf {
    fn scorer(
        &self,
        name: &str,
        alias: &str,
        kind: Kind,
        features: &FeatureSet,
    ) -> Result<Option<(ModelRef, Arc<Scorer>)>, String> {
        match (name, alias) {
            ("by_carts", "champion") => Ok(Some(segments(name, "add_to_carts_24h", features))),
            ("mixed", _) if kind == Kind::Segments => Ok(Some(model(name, "add_to_carts_24h", features))),
            ("mixed", _) => Ok(Some(segments(name, "add_to_carts_24h", features))),
            ("conversion", "champion") => Ok(Some(model(name, "add_to_carts_24h", features))),
            ("churn", "champion") => Ok(Some(model(name, "sessions_current_events", features))),
            ("broken", _) => Err("the feature `shoe_size` is not in the feature set".to_owned()),
            _ => Ok(None),
        }
    }

    /// `conversion` followed `revenue_30d` before, and so did `by_carts`; nothing else was published before.
    fn previous(
        &self,
        name: &str,
        alias: &str,
        _: Kind,
        features: &FeatureSet,
    ) -> Option<(ModelRef, Arc<Scorer>)> {
        let (version, scorer) = match (name, alias) {
            ("conversion", "champion") => model(name, "revenue_30d", features),
            ("by_carts", "champion") => segments(name, "revenue_30d", features),
            _ => return None,
        };
        Some((ModelRef { version: 2, ..version }, scorer))
    }
}

pub(crate) fn load(text: &str) -> Result<PolicySnapshot, Vec<Diagnostic>> {
    let source = SourceFile { name: "policy.toml".to_owned(), text: text.to_owned() };
    PolicySnapshot::load(&source, features(), &Shelf)
}

/// The policy, or a panic with every complaint.
pub(crate) fn loaded(text: &str) -> PolicySnapshot {
    load(text).unwrap_or_else(|complaints| {
        let lines: Vec<String> = complaints.iter().map(ToString::to_string).collect();
        panic!("{}", lines.join("\n"))
    })
}

/// A known person with every feature at 0, both models available, a cart of 50 in Germany.
pub(crate) fn inputs(point: &str) -> DecisionInputs {
    let zero = FeatureValue { value: 0.0, status: FeatureStatus::Present, event_time: Some(NOW) };
    let features = features();
    let mut inputs = DecisionInputs {
        decision_id: DecisionId::new(NOW, [7; 10]),
        now: NOW,
        seed: 11,
        decision_point: point.into(),
        user: UserKey::from_bytes([5; 16]),
        context: Vec::new(),
        features_availability: Availability::Available,
        features: FeatureVector {
            feature_set: features.hash(),
            watermark: 4,
            values: vec![zero; FEATURES.len()],
            texts: Vec::new(),
        },
        models: vec![
            ("conversion".into(), Availability::Available),
            ("churn".into(), Availability::Available),
        ],
        exposures: Vec::new(),
        person: Person::default(),
        budgets: Vec::new(),
        peek: false,
        time_left_us: None,
    };
    set_context(&mut inputs, "cart_value", number(50.0));
    set_context(&mut inputs, "country", Value::Text("DE".into()));
    inputs
}

pub(crate) fn number(value: f64) -> Value {
    Value::Number(Finite::new(value).unwrap())
}

pub(crate) fn set_context(inputs: &mut DecisionInputs, name: &str, value: Value) {
    inputs.context.retain(|(known, _)| &**known != name);
    inputs.context.push((name.into(), value));
    inputs.context.sort_by(|a, b| a.0.cmp(&b.0));
}

pub(crate) fn set_feature(inputs: &mut DecisionInputs, name: &str, value: f64) {
    feature_mut(inputs, name).value = value;
}

pub(crate) fn lose_feature(inputs: &mut DecisionInputs, name: &str) {
    *feature_mut(inputs, name) =
        FeatureValue { value: 0.0, status: FeatureStatus::NullValue, event_time: None };
}

fn feature_mut<'a>(inputs: &'a mut DecisionInputs, name: &str) -> &'a mut FeatureValue {
    let slot = FEATURES.iter().position(|known| *known == name).unwrap();
    &mut inputs.features.values[slot]
}

/// Puts an exposure `age_ms` before now.
pub(crate) fn expose(inputs: &mut DecisionInputs, action: &str, channel: &str, age_ms: i64) {
    let at = inputs.now.plus_millis(-age_ms);
    inputs.exposures.push(Exposure::new(action, channel, at));
    inputs.exposures.sort_by_key(|exposure| exposure.at);
}

/// A decision in a few lines: the answer, the reasons, one line per candidate.
pub(crate) fn in_words(decision: &Decision) -> String {
    let mut lines = vec![format!("{} {} {}", decision.action, decision.value, decision.rung.as_str())];
    let reason = |reason: &augur_domain::Reason| match &reason.detail {
        Some(detail) => format!("{} {detail}", reason.code),
        None => reason.code.to_string(),
    };
    lines.extend(decision.reasons.iter().map(|why| format!("  because {}", reason(why))));
    for candidate in &decision.candidates {
        let value = candidate.value.map_or("-".to_owned(), |value| value.to_string());
        let until = candidate.next_eligible_at.map_or(String::new(), |until| {
            let wait_ms = until.millis_since(NOW);
            format!(" until now + {}", augur_domain::time::format_duration_ms(wait_ms))
        });
        lines.push(format!("  {} {value}: {}{until}", candidate.action, reason(&candidate.reason)));
    }
    lines.join("\n")
}
