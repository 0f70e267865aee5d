//! What is slow or broken: models, the log and candidates. Whoever asks for a decision hardly notices.
//!
//! Not here: a disk that does not answer (`cold_reads`), or when a breaker opens (`augur_server::breaker`).
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::float_cmp,
        reason = "tests fail by panicking"
    )
)]

mod live_shadow;
mod models_and_log;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use augur_domain::Timestamp;
use augur_models::artifact::{Body, Content, Input, Lineage, Transform};
use augur_models::{Artifact, Calibrator};
use augur_proto::v1;
use augur_server::{App, Config, DecideCall, SystemClock};

/// Longer than any of this takes, shorter than anybody waits.
const LONG: Duration = Duration::from_secs(60);

/// An app with the shipped policy whose model `conversion` is a small one.
fn open(dir: &Path, change: impl FnOnce(&mut Config)) -> App {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let mut config = Config::default();
    config.data.dir = dir.join("data");
    config.data.features = shipped.join("features.toml");
    config.data.policy = shipped.join("policy.toml");
    change(&mut config);
    let app = App::open(config, SystemClock::new()).unwrap();
    app.publish(&model(0.5), "tests", "").unwrap();
    app.set_alias("conversion", "champion", 1, "tests", "a test").unwrap();
    app
}

/// A model of one feature.
fn model(weight: f64) -> Artifact {
    model_with(weight, -1.0)
}

fn model_with(weight: f64, intercept: f64) -> Artifact {
    let input = Input {
        feature: "purchase_count_30d".to_owned(),
        transform: Transform::Identity,
        mean: 0.0,
        scale: 1.0,
        weight,
        imputation: 0.0,
        clip: None,
        missing_weight: 0.0,
        definition: None,
    };
    let lineage = Lineage {
        data: augur_domain::ContentHash::default(),
        seed: 1,
        parameters: "{}".to_owned(),
        created_at: Timestamp::from_unix_ms(1_795_366_965_000),
        code_version: "test".to_owned(),
    };
    Artifact::new(Content {
        name: "conversion".to_owned(),
        task: "conversion".to_owned(),
        positive_class: "yes".to_owned(),
        feature_set: augur_domain::ContentHash::default(),
        body: Body::Linear { intercept, inputs: vec![input] },
        calibrator: Calibrator::Identity,
        lineage,
        report: String::new(),
        reference: None,
    })
    .unwrap()
}

/// A cart of 60, which may count against caps, seen by `user`.
fn cart(app: &App, user: &str) -> DecideCall {
    let number = |number| v1::Value { kind: Some(v1::value::Kind::Number(number)) };
    let subject = v1::Subject { id: Some(v1::subject::Id::UserId(user.to_owned())) };
    let request = v1::DecideRequest {
        subject: Some(subject),
        decision_point: "cart_page".to_owned(),
        context: BTreeMap::from([("cart_value".to_owned(), number(60.0))]),
        ..v1::DecideRequest::default()
    };
    DecideCall { bytes: Vec::new(), request, arrived: app.clock().monotonic(), allowed: Some(LONG) }
}
