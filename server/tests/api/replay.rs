//! What the server recorded, decided again from the data directory alone, byte for byte.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use augur_decision::{DefinitionsSeal, ModelSource, PREVIOUS, PolicySnapshot, SourceFile, decide};
use augur_decision_log::{Reader, codec};
use augur_domain::{DecisionRecord, FeatureSet, ModelRef};
use augur_feature_store::FeatureSchema;
use augur_models::scorer::Kind;
use augur_models::{Registry, Scorer};
use augur_proto::v1;

use crate::served::{Served, artifact, cart, promote, purchase, subject};

/// The very models of one record.
struct Recorded<'a> {
    registry: &'a Registry,
    record: &'a DecisionRecord,
}

impl ModelSource for Recorded<'_> {
    fn scorer(
        &self,
        name: &str,
        _alias: &str,
        _kind: Kind,
        features: &FeatureSet,
    ) -> Result<Option<(ModelRef, Arc<Scorer>)>, String> {
        Ok(self.recorded(name, false, features))
    }

    fn previous(
        &self,
        name: &str,
        _: &str,
        _: Kind,
        features: &FeatureSet,
    ) -> Option<(ModelRef, Arc<Scorer>)> {
        self.recorded(name, true, features)
    }
}

impl Recorded<'_> {
    fn recorded(&self, name: &str, previous: bool, features: &FeatureSet) -> Option<(ModelRef, Arc<Scorer>)> {
        let is_it = |(alias, model): &&(Arc<str>, ModelRef)| {
            &*model.name == name && alias.starts_with(PREVIOUS) == previous
        };
        let (_, model) = self.record.models.iter().find(is_it)?;
        let artifact = self.registry.load(model).unwrap();
        Some((model.clone(), Arc::new(Scorer::new(&artifact, features).unwrap())))
    }
}

fn read(path: &Path) -> SourceFile {
    SourceFile { name: path.display().to_string(), text: std::fs::read_to_string(path).unwrap() }
}

pub(crate) fn decide_again(data: &Path, record: &DecisionRecord) -> augur_domain::Decision {
    decide(&policy_of(data, record), &record.inputs)
}

/// What decided: the archived policy with the very models of the record.
fn policy_of(data: &Path, record: &DecisionRecord) -> PolicySnapshot {
    let bundle = data.join("policies").join(record.policy.to_string());
    let features = read(&bundle.join("features.toml"));
    let seal = DefinitionsSeal::parse(&read(&bundle.join(DefinitionsSeal::FILE)).text).unwrap();
    assert!(seal.covers(&features.text));
    assert_eq!(seal.feature_set, record.inputs.features.feature_set);
    let schema = FeatureSchema::parse(&features.name, &features.text).unwrap();
    let registry = Registry::open(data.join("models")).unwrap();
    let models = Recorded { registry: &registry, record };
    let source = read(&bundle.join("policy.toml"));
    let policy = PolicySnapshot::load(&source, Arc::clone(schema.feature_set()), &models).unwrap();
    assert_eq!(policy.id(), record.policy);
    policy
}

#[tokio::test]
async fn every_record_decides_the_same_again() {
    let served = Served::start().await;
    let points = ["cart_page", "home_page", "weekly_email"];
    for round in 0..4 {
        for n in 0..9 {
            let user = format!("u{}", n % 4);
            served.ingest(vec![purchase(&format!("{round}-{n}"), &user, 3.0 * f64::from(n))]).await;
            let point = points[n as usize % points.len()];
            let request = if point == "cart_page" {
                cart(&user, 20.0 * f64::from(n))
            } else {
                let decision_point = point.to_owned();
                v1::DecideRequest {
                    subject: subject(&user),
                    decision_point,
                    context: BTreeMap::new(),
                    ..v1::DecideRequest::default()
                }
            };
            served.decide(request).await;
        }
        // Models come and move, and so does the policy, while the log goes on.
        let name = ["churn", "conversion"][round % 2];
        promote(&served, &artifact(name, "revenue_30d", 0.01 * (round as f64 + 1.0))).await;
        let policy = served.policies().get_policy(v1::GetPolicyRequest {}).await.unwrap().into_inner();
        let policy_toml = format!("{}\n# round {round}\n", policy.policy_toml);
        served
            .policies()
            .activate_policy(v1::ActivatePolicyRequest { policy_toml, ..Default::default() })
            .await
            .unwrap();
    }
    assert_eq!(every_record_decides_again(&served), 36);
    served.stop().await;
}

/// Compares every record with what its archived policy decides on its inputs; says how many there are.
pub(crate) fn every_record_decides_again(served: &Served) -> usize {
    let data = served.dir().join("data");
    let mut records = 0;
    let mut policies = Vec::new();
    for entry in Reader::open(&data.join("decisions")).unwrap() {
        let (_, record) = entry.unwrap();
        let of = (record.policy, record.models.clone());
        let known = policies.iter().position(|(known, _)| *known == of);
        let place = known.unwrap_or_else(|| {
            policies.push((of, policy_of(&data, &record)));
            policies.len() - 1
        });
        let again = decide(&policies[place].1, &record.inputs);
        let (mut recorded_bytes, mut bytes) = (Vec::new(), Vec::new());
        codec::encode_decision(&record.decision, &mut recorded_bytes);
        codec::encode_decision(&again, &mut bytes);
        assert_eq!(
            recorded_bytes, bytes,
            "record {}: {:?} is not {again:?}",
            record.sequence, record.decision
        );
        records += 1;
    }
    records
}
