//! A server on a free port over a temporary data directory, and what tests ask of it.

use std::collections::BTreeMap;
use std::path::Path;

use augur_domain::Timestamp;
use augur_domain::time::DAY_MS;
use augur_models::artifact::{Body, Content, Input, Lineage, Transform};
use augur_models::{Artifact, Calibrator};
use augur_proto::convert::timestamp_to_wire;
use augur_proto::v1;
use augur_proto::v1::breaker_service_client::BreakerServiceClient;
use augur_proto::v1::decision_service_client::DecisionServiceClient;
use augur_proto::v1::event_service_client::EventServiceClient;
use augur_proto::v1::feature_service_client::FeatureServiceClient;
use augur_proto::v1::identity_service_client::IdentityServiceClient;
use augur_proto::v1::log_service_client::LogServiceClient;
use augur_proto::v1::model_service_client::ModelServiceClient;
use augur_proto::v1::policy_service_client::PolicyServiceClient;
use augur_proto::v1::privacy_service_client::PrivacyServiceClient;
use augur_proto::v1::profile_service_client::ProfileServiceClient;
use augur_server::{App, Clock, Config, FixedClock, Running, SystemClock, serve_app};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// 2026-11-22T17:02:45Z
pub(crate) const NOW: Timestamp = Timestamp::from_unix_ms(1_795_366_965_000);

/// A running server.
pub(crate) struct Served {
    dir: TempDir,
    pub(crate) clock: FixedClock,
    pub(crate) running: Running,
    pub(crate) channel: Channel,
    shutdown: CancellationToken,
    config: Config,
}

/// The shipped definitions over an empty directory, on free ports.
pub(crate) fn config(dir: &Path) -> Config {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".parse().unwrap();
    config.server.http_listen = Some("127.0.0.1:0".parse().unwrap());
    config.data.dir = dir.join("data");
    config.data.features = shipped.join("features.toml");
    config.data.policy = dir.join("shipped.toml");
    // The shipped deadlines are for a machine that has time for its callers; tests share theirs with other tests.
    let policy = std::fs::read_to_string(shipped.join("policy.toml")).unwrap();
    let patient = policy.replace("deadline = \"50ms\"", "deadline = \"50s\"");
    assert_ne!(policy, patient);
    std::fs::write(&config.data.policy, patient).unwrap();
    config.data.block_cache_bytes = 8 << 20;
    config.data.write_buffer_bytes = 8 << 20;
    config
}

impl Served {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        change(&mut config);
        Self::open(dir, config, FixedClock::new(NOW)).await
    }

    /// On the machine's own clocks, for what is measured: [`Self::clock`] moves nothing.
    pub(crate) async fn start_on_time(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        change(&mut config);
        Self::open_on(dir, config, FixedClock::new(NOW), SystemClock::new()).await
    }

    async fn open(dir: TempDir, config: Config, clock: FixedClock) -> Self {
        let app_clock = clock.clone();
        Self::open_on(dir, config, clock, app_clock).await
    }

    async fn open_on(
        dir: TempDir,
        config: Config,
        clock: FixedClock,
        app_clock: impl Clock + 'static,
    ) -> Self {
        let app_config = config.clone();
        let app = tokio::task::spawn_blocking(move || App::open(app_config, app_clock)).await.unwrap();
        let shutdown = CancellationToken::new();
        let running = serve_app(app.unwrap(), shutdown.clone()).await.unwrap();
        let endpoint = Channel::from_shared(format!("http://{}", running.address)).unwrap();
        let channel = endpoint.connect().await.unwrap();
        Self { dir, clock, running, channel, shutdown, config }
    }

    /// Shuts down, and starts again over the same directory after `change`.
    pub(crate) async fn restart_with(self, change: impl FnOnce(&mut Config, &Path)) -> Self {
        let Self { dir, clock, running, channel, shutdown, mut config } = self;
        drop(channel);
        shutdown.cancel();
        running.finished().await.unwrap();
        change(&mut config, dir.path());
        Self::open(dir, config, clock).await
    }

    pub(crate) async fn stop(self) {
        drop(self.ended().await);
    }

    /// Shuts down and leaves the directory.
    pub(crate) async fn ended(self) -> TempDir {
        let Self { running, channel, shutdown, dir, .. } = self;
        drop(channel);
        shutdown.cancel();
        running.finished().await.unwrap();
        dir
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn breakers(&self) -> BreakerServiceClient<Channel> {
        BreakerServiceClient::new(self.channel.clone())
    }

    pub(crate) fn decisions(&self) -> DecisionServiceClient<Channel> {
        DecisionServiceClient::new(self.channel.clone())
    }

    pub(crate) fn events(&self) -> EventServiceClient<Channel> {
        EventServiceClient::new(self.channel.clone())
    }

    pub(crate) fn features(&self) -> FeatureServiceClient<Channel> {
        FeatureServiceClient::new(self.channel.clone())
    }

    pub(crate) fn log(&self) -> LogServiceClient<Channel> {
        LogServiceClient::new(self.channel.clone())
    }

    pub(crate) fn models(&self) -> ModelServiceClient<Channel> {
        ModelServiceClient::new(self.channel.clone())
    }

    pub(crate) fn policies(&self) -> PolicyServiceClient<Channel> {
        PolicyServiceClient::new(self.channel.clone())
    }

    pub(crate) fn identity(&self) -> IdentityServiceClient<Channel> {
        IdentityServiceClient::new(self.channel.clone())
    }

    pub(crate) fn profiles(&self) -> ProfileServiceClient<Channel> {
        ProfileServiceClient::new(self.channel.clone())
    }

    pub(crate) fn privacy(&self) -> PrivacyServiceClient<Channel> {
        PrivacyServiceClient::new(self.channel.clone())
    }

    /// Sends events and returns what became of them.
    pub(crate) async fn ingest(&self, events: Vec<v1::Event>) -> Vec<v1::EventOutcome> {
        let request = v1::IngestRequest { events, sent_at: None };
        let response = self.events().ingest(request).await.unwrap().into_inner();
        response.results.iter().map(v1::EventResult::outcome).collect()
    }

    pub(crate) async fn decide(&self, request: v1::DecideRequest) -> v1::DecideResponse {
        self.decisions().decide(request).await.unwrap().into_inner()
    }

    /// One feature of a user: its status and value.
    pub(crate) async fn feature(&self, user: &str, name: &str) -> (v1::FeatureStatus, Option<f64>) {
        let request = v1::GetFeaturesRequest {
            subject: subject(user),
            features: vec![name.to_owned()],
            ..v1::GetFeaturesRequest::default()
        };
        let response = self.features().get_features(request).await.unwrap().into_inner();
        let value = &response.features[0];
        (value.status(), value.value)
    }
}

pub(crate) fn subject(user: &str) -> Option<v1::Subject> {
    Some(v1::Subject { id: Some(v1::subject::Id::UserId(user.to_owned())) })
}

pub(crate) fn number(value: f64) -> v1::Value {
    v1::Value { kind: Some(v1::value::Kind::Number(value)) }
}

pub(crate) fn text(value: &str) -> v1::Value {
    v1::Value { kind: Some(v1::value::Kind::Text(value.to_owned())) }
}

/// An event `age_ms` before [`NOW`].
pub(crate) fn event(message_id: &str, user: &str, name: &str, age_ms: i64) -> v1::Event {
    v1::Event {
        message_id: message_id.to_owned(),
        user_id: user.to_owned(),
        event: name.to_owned(),
        timestamp: Some(timestamp_to_wire(NOW.plus_millis(-age_ms))),
        ..v1::Event::default()
    }
}

/// A purchase of `value`, yesterday.
pub(crate) fn purchase(message_id: &str, user: &str, value: f64) -> v1::Event {
    let properties = BTreeMap::from([("value".to_owned(), number(value))]);
    v1::Event { properties, ..event(message_id, user, "Order Completed", DAY_MS) }
}

/// A question of the cart page.
pub(crate) fn cart(user: &str, cart_value: f64) -> v1::DecideRequest {
    v1::DecideRequest {
        subject: subject(user),
        decision_point: "cart_page".to_owned(),
        context: BTreeMap::from([
            ("cart_value".to_owned(), number(cart_value)),
            ("country".to_owned(), text("DE")),
        ]),
        ..v1::DecideRequest::default()
    }
}

/// A model of one feature.
pub(crate) fn artifact(name: &str, feature: &str, weight: f64) -> Artifact {
    let input = Input {
        feature: feature.to_owned(),
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
        created_at: NOW,
        code_version: "test".to_owned(),
    };
    Artifact::new(Content {
        name: name.to_owned(),
        task: name.to_owned(),
        positive_class: "yes".to_owned(),
        feature_set: augur_domain::ContentHash::default(),
        body: Body::Linear { intercept: -1.0, inputs: vec![input] },
        calibrator: Calibrator::Identity,
        lineage,
        report: String::new(),
        reference: None,
    })
    .unwrap()
}

/// Puts `artifact` into the registry as another process would, and returns its version.
pub(crate) fn publish(served: &Served, artifact: &Artifact) -> u32 {
    let registry = augur_models::Registry::open(served.dir().join("data/models")).unwrap();
    let card = augur_models::registry::Card {
        published_by: "tests".to_owned(),
        published_at: NOW,
        notes: String::new(),
    };
    registry.publish(artifact.name(), artifact, &card).unwrap().version
}

/// Publishes and points `champion` at it over the wire.
pub(crate) async fn promote(served: &Served, artifact: &Artifact) -> v1::SetAliasResponse {
    let version = publish(served, artifact);
    let request = v1::SetAliasRequest {
        model: artifact.name().to_owned(),
        alias: "champion".to_owned(),
        version,
        reason: "a test".to_owned(),
        moved_by: "tests".to_owned(),
    };
    served.models().set_alias(request).await.unwrap().into_inner()
}
