//! `Decide` over gRPC, all of it: one connection, a current-thread client, the shipped definitions, two models, a
//! known user. One call at a time gives the latency floor; sixty-four at once gives the throughput per server.
//!
//! Client and server share the machine, so a figure here is a bound from below. Not here: open-loop load
//! (`loadtest`) or the decision alone (`decision`'s bench).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::allow_attributes,
    missing_docs,
    reason = "a benchmark may fail loudly, and criterion's macro makes the main function"
)]

use std::collections::BTreeMap;
use std::path::Path;

use augur_domain::{ContentHash, Timestamp};
use augur_models::artifact::{Body, Content, Input, Lineage, Transform};
use augur_models::{Artifact, Calibrator};
use augur_proto::v1;
use augur_proto::v1::decision_service_client::DecisionServiceClient;
use augur_server::{App, Config, Running, SystemClock, serve_app};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// Calls at once in the throughput bench.
const AT_ONCE: usize = 64;
/// Inputs of each model.
const INPUTS: [&str; 8] = [
    "purchases_7d",
    "purchases_30d",
    "revenue_30d",
    "page_views_1d",
    "view_items_1d",
    "add_to_carts_1h",
    "seconds_since_last_event",
    "sessions_count",
];

struct Bench {
    server: Runtime,
    client: Runtime,
    channel: Channel,
    running: Running,
    shutdown: CancellationToken,
    _dir: tempfile::TempDir,
}

fn artifact(name: &str, weight: f64) -> Artifact {
    let input = |feature: &&str| Input {
        feature: (*feature).to_owned(),
        transform: Transform::SignedLog1p,
        mean: 0.5,
        scale: 1.5,
        weight,
        imputation: 0.0,
        clip: None,
        missing_weight: 0.1,
        definition: None,
    };
    Artifact::new(Content {
        name: name.to_owned(),
        task: name.to_owned(),
        positive_class: "yes".to_owned(),
        feature_set: ContentHash::default(),
        body: Body::Linear { intercept: -1.0, inputs: INPUTS.iter().map(input).collect() },
        calibrator: Calibrator::Identity,
        lineage: Lineage {
            data: ContentHash::default(),
            seed: 1,
            parameters: "{}".to_owned(),
            created_at: Timestamp::from_unix_ms(0),
            code_version: "bench".to_owned(),
        },
        report: String::new(),
        reference: None,
    })
    .unwrap()
}

fn open(dir: &Path) -> App {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".parse().unwrap();
    config.server.http_listen = None;
    config.server.workers = 1;
    config.data.dir = dir.to_owned();
    config.data.features = shipped.join("features.toml");
    config.data.policy = shipped.join("policy.toml");
    let app = App::open(config, SystemClock::new()).unwrap();
    for (name, weight) in [("conversion", 0.3), ("churn", -0.2)] {
        let version = app.publish(&artifact(name, weight), "bench", "").unwrap().version;
        app.set_alias(name, "champion", version, "bench", "bench").unwrap();
    }
    app
}

fn request(user: usize) -> v1::DecideRequest {
    let number = v1::Value { kind: Some(v1::value::Kind::Number(60.0)) };
    let country = v1::Value { kind: Some(v1::value::Kind::Text("DE".to_owned())) };
    v1::DecideRequest {
        subject: Some(v1::Subject { id: Some(v1::subject::Id::UserId(format!("user-{user}"))) }),
        decision_point: "cart_page".to_owned(),
        context: BTreeMap::from([("cart_value".to_owned(), number), ("country".to_owned(), country)]),
        ..v1::DecideRequest::default()
    }
}

fn start() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let server = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let client = Builder::new_current_thread().enable_all().build().unwrap();
    let shutdown = CancellationToken::new();
    let app = open(dir.path());
    let running = server
        .block_on(async {
            let names = ["page_view", "view_item", "add_to_cart", "purchase"];
            let events = (0..1_000).map(|n| v1::Event {
                message_id: n.to_string(),
                user_id: format!("user-{}", n % 250),
                event: names.get(n / 250).copied().unwrap_or("search").to_owned(),
                ..v1::Event::default()
            });
            app.ingest(events.collect(), None).await.unwrap();
            serve_app(app, shutdown.clone()).await
        })
        .unwrap();
    let endpoint = Channel::from_shared(format!("http://{}", running.address)).unwrap();
    let channel = client.block_on(endpoint.connect()).unwrap();
    Bench { server, client, channel, running, shutdown, _dir: dir }
}

fn decide(criterion: &mut Criterion) {
    let bench = start();
    let mut user = 0;
    let mut group = criterion.benchmark_group("decide_grpc");
    group.throughput(Throughput::Elements(1));
    group.bench_function("one_at_a_time", |bencher| {
        let mut decisions = DecisionServiceClient::new(bench.channel.clone());
        bencher.iter(|| {
            user = (user + 1) % 250;
            bench.client.block_on(decisions.decide(request(user))).unwrap()
        });
    });
    group.throughput(Throughput::Elements(AT_ONCE as u64));
    group.bench_function("sixty_four_at_once", |bencher| {
        bencher.iter(|| {
            bench.client.block_on(async {
                let mut calls = tokio::task::JoinSet::new();
                for _ in 0..AT_ONCE {
                    user = (user + 1) % 250;
                    let mut decisions = DecisionServiceClient::new(bench.channel.clone());
                    let request = request(user);
                    calls.spawn(async move { decisions.decide(request).await.unwrap() });
                }
                calls.join_all().await.len()
            })
        });
    });
    group.finish();
    let Bench { server, client, channel, running, shutdown, _dir } = bench;
    drop((channel, client));
    shutdown.cancel();
    server.block_on(running.finished()).unwrap();
}

criterion_group!(benches, decide);
criterion_main!(benches);
