//! The case that deciding is measured by: 20 rules, 2 models of 20 inputs, 40 features, 5 actions, reasons and verdicts on.
//!
//! Not here: what is measured. The bench and the test that counts allocations share it.

use std::fmt::Write;
use std::sync::Arc;

use augur_decision::ModelSource;
use augur_domain::decision::{Availability, DecisionInputs, Exposure, Person};
use augur_domain::feature::{FeatureInfo, FeatureSet, FeatureStatus, FeatureValue, FeatureVector};
use augur_domain::rng::Rng;
use augur_domain::value::Finite;
use augur_domain::{ContentHash, DecisionId, ModelRef, Timestamp, UserKey, Value, ValueType};
use augur_models::artifact::{Body, Content, Input, Lineage, Transform};
use augur_models::scorer::Kind;
use augur_models::{Artifact, Calibrator, Scorer};

const FEATURES: usize = 40;
const INPUTS_PER_MODEL: usize = 20;
/// Rules of the case.
pub const RULES: usize = 20;
const ACTIONS: usize = 5;
/// The instant of every decision.
pub const NOW: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

/// Forty numbers.
pub fn features() -> Arc<FeatureSet> {
    let info = |index: usize| FeatureInfo {
        name: format!("f{index}").into(),
        value_type: ValueType::Number,
        description: "".into(),
        events: None,
        definition: ContentHash::default(),
        unit: "".into(),
    };
    Arc::new(FeatureSet::new(ContentHash::of(&[b"bench"]), (0..FEATURES).map(info).collect()))
}

/// Two linear models.
pub struct Published;

impl ModelSource for Published {
    fn scorer(
        &self,
        name: &str,
        _alias: &str,
        _kind: Kind,
        features: &FeatureSet,
    ) -> Result<Option<(ModelRef, Arc<Scorer>)>, String> {
        let first = if name == "churn" { FEATURES - INPUTS_PER_MODEL } else { 0 };
        let input = |index: usize| Input {
            feature: format!("f{index}"),
            transform: if index.is_multiple_of(2) { Transform::SignedLog1p } else { Transform::Identity },
            mean: 2.0,
            scale: 3.0,
            weight: if index.is_multiple_of(3) { -0.2 } else { 0.3 },
            imputation: 1.0,
            clip: None,
            missing_weight: 0.1,
            definition: None,
        };
        let artifact = Artifact::new(Content {
            name: name.to_owned(),
            task: name.to_owned(),
            positive_class: name.to_owned(),
            feature_set: features.hash(),
            body: Body::Linear {
                intercept: -0.5,
                inputs: (first..first + INPUTS_PER_MODEL).map(input).collect(),
            },
            calibrator: Calibrator::Platt { a: -1.1, b: 0.1 },
            lineage: Lineage {
                data: ContentHash::default(),
                seed: 0,
                parameters: "{}".to_owned(),
                created_at: NOW,
                code_version: "bench".to_owned(),
            },
            report: String::new(),
            reference: None,
        })
        .map_err(|error| error.to_string())?;
        let scorer = Scorer::new(&artifact, features).map_err(|error| error.to_string())?;
        Ok(Some((ModelRef { name: name.into(), version: 1, artifact: artifact.id() }, Arc::new(scorer))))
    }
}

/// The policy of the case with so many rules; `words` says what moved the scores.
pub fn policy_text(rules: usize, words: bool) -> String {
    let mut text = String::from(
        "version = 1\n[[decision_point]]\nname = \"cart\"\nactions = [\"a0\", \"a1\", \"a2\", \"a3\", \"none\"]\n\
         default_action = \"none\"\ndeadline = \"50ms\"\nmodels = [\"conversion\", \"churn\"]\n\
         [decision_point.context]\ncart_value = \"number\"\ncountry = \"text\"\n\
         [[model]]\nname = \"conversion\"\n[[model]]\nname = \"churn\"\n[[action]]\nname = \"none\"\n",
    );
    for action in 0..ACTIONS - 1 {
        let _ = write!(
            text,
            "[[action]]\nname = \"a{action}\"\nchannel = \"onsite\"\npayload = {{ percent = {action} }}\n\
             value = \"{}.0 * scores.conversion - 2.0 * scores.churn\"\n\
             eligible_when = \"context.cart_value > {action}.0\"\n\
             caps = [\"2 per 7d\", \"5 per 24h per channel\"]\nexpires_after = \"30m\"\n",
            8 - action
        );
    }
    for feature in 0..if words { FEATURES } else { 0 } {
        for model in ["conversion", "churn"] {
            let _ = write!(
                text,
                "[[explain]]\nmodel = \"{model}\"\nfeature = \"f{feature}\"\nraises = \"F{feature}_UP\"\n\
                 lowers = \"F{feature}_DOWN\"\n"
            );
        }
    }
    for rule in 0..rules {
        let then = match rule % 4 {
            0 => "then = \"boost\"\nfactor = 1.1",
            1 | 2 => "then = \"deny\"",
            _ => "then = \"force\"",
        };
        let _ = write!(
            text,
            "[[rule]]\nid = \"r{rule}\"\nwhen = \"features.f{} > {}.5 && scores.churn >= 0.2 && \
             !(context.country in ['DE', 'FR']) && features.f{} < 5.0\"\n{then}\nactions = [\"a{}\"]\n\
             reason = \"R{rule}\"\npriority = {rule}\n",
            rule % FEATURES,
            // No two conditions alike: each is parsed on its own.
            7 + rule / FEATURES,
            (rule + 20) % FEATURES,
            rule % (ACTIONS - 1)
        );
    }
    text
}

/// Somebody, with a request, four exposures and a feature missing here and there.
pub fn person(features: &FeatureSet, rng: &mut Rng) -> DecisionInputs {
    let values = (0..FEATURES).map(|_| FeatureValue {
        value: rng.next_f64() * 10.0,
        status: if rng.next_f64() < 0.05 { FeatureStatus::NullValue } else { FeatureStatus::Present },
        event_time: Some(NOW),
    });
    let values = values.collect();
    let exposure =
        |hours: i64| Exposure::new(format!("a{}", hours % 4), "onsite", NOW.plus_millis(-hours * 3_600_000));
    DecisionInputs {
        decision_id: DecisionId::new(NOW, [1; 10]),
        now: NOW,
        seed: 1,
        decision_point: "cart".into(),
        user: UserKey::default(),
        context: vec![
            ("cart_value".into(), Value::Number(Finite::new(rng.next_f64() * 100.0).unwrap_or_default())),
            ("country".into(), Value::Text(if rng.next_f64() < 0.5 { "DE".into() } else { "US".into() })),
        ],
        features_availability: Availability::Available,
        features: FeatureVector { feature_set: features.hash(), watermark: 9, values, texts: Vec::new() },
        models: vec![
            ("conversion".into(), Availability::Available),
            ("churn".into(), Availability::Available),
        ],
        exposures: [150, 90, 30, 3].into_iter().map(exposure).collect(),
        person: Person::default(),
        budgets: Vec::new(),
        peek: false,
        time_left_us: None,
    }
}
