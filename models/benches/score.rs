//! What one score costs: thirty-two and forty features, with and without logarithms, trees, and binding and loading a
//! model.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::allow_attributes,
    reason = "criterion's macros; fixed input"
)]

use std::hint::black_box;
use std::sync::Arc;

use augur_domain::feature::{FeatureInfo, FeatureStatus, FeatureValue};
use augur_domain::rng::{Purpose, Rng};
use augur_domain::{ContentHash, FeatureSet, FeatureVector, Timestamp, ValueType};
use augur_models::artifact::{Artifact, Body, Content, Input, Lineage, Transform, TreeInput};
use augur_models::trees::{Ensemble, Link, Node, Split, Tree};
use augur_models::{Calibrator, Scorer};
use criterion::{Criterion, criterion_group, criterion_main};

const FEATURES: usize = 40;

fn feature_set() -> FeatureSet {
    let feature = |index| FeatureInfo {
        name: Arc::from(format!("feature_{index}")),
        value_type: ValueType::Number,
        description: Arc::from(""),
        events: None,
        definition: ContentHash::default(),
        unit: "".into(),
    };
    FeatureSet::new(ContentHash::from_bytes([1; 32]), (0..FEATURES).map(feature).collect())
}

fn artifact(transform: Transform, inputs: usize) -> Artifact {
    let input = |index: usize| Input {
        feature: format!("feature_{index}"),
        transform,
        mean: index as f64 * 0.5,
        scale: 1.0 + index as f64,
        weight: 0.1 - index as f64 * 0.01,
        imputation: 0.0,
        clip: None,
        missing_weight: 0.2,
        definition: None,
    };
    Artifact::new(Content {
        name: "churn".to_owned(),
        task: "churn".to_owned(),
        positive_class: "gone".to_owned(),
        feature_set: ContentHash::from_bytes([1; 32]),
        body: Body::Linear { intercept: -1.0, inputs: (0..inputs).map(input).collect() },
        calibrator: Calibrator::Platt { a: -0.9, b: 0.1 },
        lineage: Lineage {
            data: ContentHash::from_bytes([2; 32]),
            seed: 0,
            parameters: String::new(),
            created_at: Timestamp::MIN,
            code_version: "0".to_owned(),
        },
        report: String::new(),
        reference: None,
    })
    .expect("the content keeps its rules")
}

/// Users that differ in their values and in what is missing, about an eighth: of one user over and over, the processor
/// would learn every branch.
fn users(set: &FeatureSet) -> Vec<FeatureVector> {
    let mut rng = Rng::new(2, Purpose::Simulation);
    let mut value = || {
        let status = if rng.below(8) == 7 { FeatureStatus::NullValue } else { FeatureStatus::Present };
        FeatureValue { value: rng.next_f64() * 28.0, status, event_time: None }
    };
    let mut user = || {
        let mut vector = FeatureVector::not_found(set);
        vector.values.iter_mut().for_each(|place| *place = value());
        vector
    };
    (0..64).map(|_| user()).collect()
}

fn score(criterion: &mut Criterion) {
    let set = feature_set();
    let users = users(&set);
    let mut turn = users.iter().cycle();
    let mut next = move || black_box(turn.next().expect("a cycle does not end"));
    for transform in [Transform::Identity, Transform::SignedLog1p] {
        let name = transform.as_str();
        for inputs in [32, FEATURES] {
            let scorer = Scorer::new(&artifact(transform, inputs), &set).expect("all features are there");
            criterion.bench_function(&format!("score_{inputs}_features/{name}"), |bencher| {
                bencher.iter(|| scorer.score(next()));
            });
        }
        let scorer = Scorer::new(&artifact(transform, FEATURES), &set).expect("all features are there");
        let mut contributions = Vec::with_capacity(FEATURES);
        criterion.bench_function(&format!("contributions_40_features/{name}"), |bencher| {
            bencher.iter(|| scorer.contributions(next(), &mut contributions));
        });
    }
}

/// A hundred complete trees of depth 8.
fn trees() -> Artifact {
    let mut rng = Rng::new(1, Purpose::Simulation);
    let mut tree = || {
        let node = |at: u32| {
            let split = Split {
                input: rng.below(FEATURES as u64) as u16,
                threshold: rng.next_f64() * 28.0,
                missing_right: at.is_multiple_of(2),
                left: 2 * at + 1,
            };
            Node { value: rng.next_f64() - 0.5, split: (at < 255).then_some(split) }
        };
        Tree { nodes: (0..511).map(node).collect() }
    };
    let trees = (0..100).map(|_| tree()).collect();
    let input = |index| TreeInput { feature: format!("feature_{index}"), definition: None };
    let inputs = (0..FEATURES).map(input).collect();
    let mut content = artifact(Transform::Identity, FEATURES).content().clone();
    content.body = Body::Trees { inputs, ensemble: Ensemble { base: 0.0, link: Link::Sum, trees } };
    Artifact::new(content).expect("the content keeps its rules")
}

fn score_trees(criterion: &mut Criterion) {
    let set = feature_set();
    let scorer = Scorer::new(&trees(), &set).expect("all features are there");
    let users = users(&set);
    for (count, name) in [(1, "one_user"), (users.len(), "users_that_differ")] {
        let mut turn = users.iter().take(count).cycle();
        criterion.bench_function(&format!("score_100_trees_of_depth_8/{name}"), |bencher| {
            bencher.iter(|| scorer.score(black_box(turn.next().expect("a cycle does not end"))));
        });
    }
}

fn load(criterion: &mut Criterion) {
    let set = feature_set();
    let bytes = artifact(Transform::SignedLog1p, FEATURES).encode();
    criterion.bench_function("decode_and_bind_40_features", |bencher| {
        bencher.iter(|| {
            let artifact = Artifact::decode(black_box(&bytes)).expect("whole bytes");
            Scorer::new(&artifact, &set).expect("all features are there")
        });
    });
}

criterion_group!(benches, score, score_trees, load);
criterion_main!(benches);
