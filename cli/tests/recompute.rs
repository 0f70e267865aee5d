//! `augur replay --recompute` over a running server: features of logged decisions are made again from the event log, to the
//! bit as long as nothing came late, and each cause of a difference is told by its name.
//!
//! Not here: which events a read sees (`feature-store`), or sorting decisions by user (`shadow-harness`).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at what it did not expect"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use augur_loadtest::domain::Timestamp;
use augur_loadtest::{Client, convert, v1};
use serde_json::Value;

const FEATURES: &str = r#"
version = 1

[context]
cart_value = "number"

[[feature]]
name = "purchases"
kind = "total_count"
events = ["purchase"]

[[feature]]
name = "spend"
kind = "decayed_sum"
events = ["purchase"]
property = "value"
half_lives = ["1d"]
default = 0.5

[[feature]]
name = "visits"
kind = "windowed_count"
events = ["page_view"]
windows = ["1h", "30d"]

[[feature]]
name = "last_item"
kind = "last_value"
events = ["view_item"]
property = "item"
type = "text"

[[feature]]
name = "cart_by_spend"
kind = "request"
expression = "context.cart_value / (features.spend_1d + 1.0)"
default = 1.0
"#;

const POLICY: &str = r#"
version = 1

[[decision_point]]
name = "here"
actions = ["offer", "none"]
default_action = "none"
deadline = "10s"

[decision_point.context]
cart_value = "number"

[[action]]
name = "offer"
value = "10.0 + features.cart_by_spend"
eligible_when = "features.purchases >= 2.0"

[[action]]
name = "none"
"#;

const POLICY_TESTS: &str = r#"
version = 1

[[test]]
name = "nothing is known"
decision_point = "here"
expect = { action = "none" }
"#;

struct Server {
    child: Child,
    endpoint: String,
}

impl Server {
    fn start(data: &Path) -> Self {
        std::fs::create_dir_all(data).unwrap();
        std::fs::write(data.join("features.toml"), FEATURES).unwrap();
        std::fs::write(data.join("policy.toml"), POLICY).unwrap();
        std::fs::write(data.join("policy_tests.toml"), POLICY_TESTS).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_augur"))
            .args(["serve", "--json", "--data"])
            .arg(data)
            .env("AUGUR_SERVER_LISTEN", "127.0.0.1:0")
            .env("AUGUR_SERVER_HTTP_LISTEN", "")
            .env("AUGUR_DATA_EVENTS", "")
            .env("AUGUR_DATA_TASKS", "")
            .env("AUGUR_TELEMETRY_LOG_LEVEL", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("the first line of `augur serve` is `{line}`: {error}"));
        let endpoint = ready["endpoint"].as_str().unwrap().to_owned();
        Self { child, endpoint }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A running server and what was sent to it.
struct Shop {
    server: Server,
    client: Client,
    sent: u64,
}

impl Shop {
    async fn open(data: &Path) -> Self {
        let server = Server::start(data);
        let client = Client::connect(&server.endpoint, 1).await.unwrap();
        Self { server, client, sent: 0 }
    }

    /// Sends an event that happened so many minutes ago; says its message id.
    async fn send(&mut self, minutes_ago: i64, event: v1::Event) -> String {
        self.sent += 1;
        let message_id = format!("message {}", self.sent);
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        let at = Timestamp::from_unix_ms(now_ms - minutes_ago * 60_000);
        let timestamp = Some(convert::timestamp_to_wire(at));
        let event = v1::Event { message_id: message_id.clone(), timestamp, ..event };
        let request = v1::IngestRequest { events: vec![event], sent_at: None };
        let answer = self.client.events().ingest(request).await.unwrap().into_inner();
        assert_eq!(answer.results[0].outcome(), v1::EventOutcome::Accepted, "{:?}", answer.results[0]);
        message_id
    }

    /// Decides; says the action and the decision's id.
    async fn decide(&self, who: v1::subject::Id, cart_value: Option<f64>) -> (String, String) {
        let number = |number| v1::Value { kind: Some(v1::value::Kind::Number(number)) };
        let cart = cart_value.map(|value| ("cart_value".to_owned(), number(value)));
        let request = v1::DecideRequest {
            subject: Some(v1::Subject { id: Some(who) }),
            decision_point: "here".into(),
            context: cart.into_iter().collect(),
            ..v1::DecideRequest::default()
        };
        let answer = self.client.decisions().decide(request).await.unwrap().into_inner();
        (answer.action, answer.decision_id)
    }

    fn user(&self, line: &[&str]) {
        let line = [&["user"], line, &["--endpoint", &self.server.endpoint]].concat();
        let done = Command::new(env!("CARGO_BIN_EXE_augur")).args(line).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    }
}

fn known(id: &str) -> v1::subject::Id {
    v1::subject::Id::UserId(id.to_owned())
}

fn of(id: &str, name: &str) -> v1::Event {
    v1::Event { user_id: id.to_owned(), event: name.to_owned(), ..v1::Event::default() }
}

fn purchase(id: &str, value: f64) -> v1::Event {
    let value = v1::Value { kind: Some(v1::value::Kind::Number(value)) };
    v1::Event { properties: BTreeMap::from([("value".to_owned(), value)]), ..of(id, "purchase") }
}

fn view(id: &str, item: &str) -> v1::Event {
    let item = v1::Value { kind: Some(v1::value::Kind::Text(item.to_owned())) };
    v1::Event { properties: BTreeMap::from([("item".to_owned(), item)]), ..of(id, "view_item") }
}

/// Returns once the clock shows another millisecond: an event of this very one would be ahead of a decision in it.
fn next_millisecond() {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let before = now();
    while now() <= before {
        std::thread::yield_now();
    }
}

/// The exit code and the report.
fn recompute(data: &Path, more: &[&str]) -> (i32, Value) {
    let line = [&["--json", "replay", "--recompute", "--data", data.to_str().unwrap()], more].concat();
    let output = Command::new(env!("CARGO_BIN_EXE_augur")).args(line).output().unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    (output.status.code().unwrap(), report)
}

fn feature<'a>(report: &'a Value, name: &str) -> &'a Value {
    let features = report["features"].as_array().unwrap();
    features.iter().find(|feature| feature["feature"] == name).unwrap_or_else(|| panic!("{report:#}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_in_time_is_computed_again_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let mut shop = Shop::open(dir.path()).await;
    let mut decisions = 0;
    for who in 0..8_i64 {
        let id = format!("u{who}");
        // Out of order, but all before the decisions.
        for round in 0..6_i64 {
            let minutes = 5 + (who * 7 + round * 13) % 50 * 60;
            shop.send(minutes, purchase(&id, 0.1 * round as f64 + 3.3)).await;
            shop.send(minutes + 1, view(&id, &format!("item {round}"))).await;
        }
    }
    for round in 0..4_i64 {
        for who in 0..8 {
            let id = format!("u{who}");
            shop.decide(known(&id), (who % 2 == 0).then_some(10.0 + round as f64)).await;
            shop.send(0, purchase(&id, 0.7)).await;
            decisions += 1;
        }
        shop.decide(known("nobody"), Some(3.0)).await;
        decisions += 1;
        next_millisecond();
    }
    // Linked, and decided for afterwards by both names.
    shop.user(&["link", "--user-id", "u0", "--previous-id", "u1"]);
    for id in ["u0", "u1"] {
        shop.decide(known(id), None).await;
        decisions += 1;
    }
    for as_of in ["event-time", "received"] {
        let (code, report) = recompute(dir.path(), &["--as-of", as_of]);
        assert_eq!((code, &report["skewed"]), (0, &Value::from(0)), "{as_of}: {report:#}");
        assert_eq!((&report["compared"], &report["records"]), (&decisions.into(), &decisions.into()));
        assert_eq!(feature(&report, "last_item")["compared"], decisions);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_cause_of_a_difference_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut shop = Shop::open(dir.path()).await;
    for id in ["late", "back", "person", "gone"] {
        shop.send(60, purchase(id, 10.0)).await;
    }
    let taken_back = shop.send(90, purchase("back", 5.0)).await;
    let device = || v1::Event { anonymous_id: "device".into(), ..of("", "page_view") };
    shop.send(50, device()).await;
    shop.send(45, v1::Event { anonymous_id: "other device".into(), ..of("", "page_view") }).await;
    shop.send(44, v1::Event { anonymous_id: "other device".into(), ..of("parted", "login") }).await;
    let (given, late) = shop.decide(known("late"), None).await;
    assert_eq!(given, "none");
    assert_eq!(shop.decide(known("back"), None).await.0, "offer");
    for id in ["person", "gone", "parted"] {
        shop.decide(known(id), None).await;
    }
    shop.decide(v1::subject::Id::AnonymousId("device".into()), None).await;
    // What the decisions could not know.
    shop.send(30, purchase("late", 20.0)).await;
    let retraction = v1::Event { retracts_message_id: taken_back, ..of("back", "") };
    shop.send(10, v1::Event { r#type: v1::EventType::Retract.into(), ..retraction }).await;
    shop.send(10, v1::Event { anonymous_id: "device".into(), ..of("person", "login") }).await;
    shop.user(&["unlink", "--anonymous-id", "other device"]);
    shop.user(&["erase", "--user-id", "gone", "--yes"]);

    let (code, report) = recompute(dir.path(), &[]);
    assert_eq!(code, 3, "{report:#}");
    assert_eq!((&report["records"], &report["compared"]), (&6.into(), &5.into()), "{report:#}");
    assert!(report["not_compared"][0]["reason"].as_str().unwrap().contains("erased"), "{report:#}");
    let kinds = &report["kinds"];
    for (kind, decisions) in [("late_event", 1), ("retraction", 1), ("link_since", 2), ("history_changed", 1)]
    {
        assert_eq!(kinds[kind], decisions, "{kind}: {report:#}");
    }
    assert_eq!((&kinds["unexplained"], &kinds["definition_changed"]), (&Value::Null, &Value::Null));
    let spend = feature(&report, "spend_1d");
    assert_eq!(spend["kinds"]["late_event"], 1);
    assert!(spend["max_absolute"].as_f64().unwrap() > 15.0, "{spend}");
    // The late purchase is the second, and two are what the offer asks for; the one taken back was.
    assert_eq!(report["flipped"], 2, "{report:#}");
    let flip = report["flips"].as_array().unwrap().iter().find(|flip| flip["decision_id"] == *late).unwrap();
    assert_eq!((&flip["logged"], &flip["recomputed"]), (&"none".into(), &"offer".into()));
    assert_eq!(flip["kinds"], serde_json::json!(["late_event"]));

    // As it came, only what was rewritten differs.
    let (_, received) = recompute(dir.path(), &["--as-of", "received", "--memory", "16"]);
    let kinds: Vec<&String> = received["kinds"].as_object().unwrap().keys().collect();
    assert_eq!(kinds, ["history_changed", "link_since"], "{received:#}");
    let (code, nothing) = recompute(dir.path(), &["--from", "2100-01-01T00:00:00Z"]);
    assert_eq!((code, &nothing["records"]), (7, &0.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_definitions_are_held_against_what_was_logged() {
    let dir = tempfile::tempdir().unwrap();
    let mut shop = Shop::open(dir.path()).await;
    for minutes in [3_000, 2_000, 100] {
        shop.send(minutes, purchase("u", 10.0)).await;
    }
    shop.decide(known("u"), Some(5.0)).await;
    // Without a cart its default stands in.
    shop.decide(known("u"), None).await;
    let new = dir.path().join("new.toml");
    let text = FEATURES
        .replace("half_lives = [\"1d\"]", "half_lives = [\"1d\", \"7d\"]")
        .replace("default = 1.0", "")
        .replace("name = \"visits\"", "name = \"looks\"")
        .replace(
            "events = [\"purchase\"]\n\n[[feature]]\nname = \"spend\"",
            "events = [\"refund\"]\n\n[[feature]]\nname = \"spend\"",
        );
    std::fs::write(&new, text).unwrap();
    let (code, report) = recompute(dir.path(), &["--features", new.to_str().unwrap()]);
    assert_eq!((code, &report["skewed"]), (3, &2.into()), "{report:#}");
    assert_eq!(report["kinds"], serde_json::json!({ "definition_changed": 2 }), "{report:#}");
    let purchases = feature(&report, "purchases");
    assert_eq!((&purchases["skewed"], &purchases["max_absolute"]), (&2.into(), &3.0.into()), "{report:#}");
    let statuses = &feature(&report, "cart_by_spend")["statuses"];
    assert_eq!(*statuses, serde_json::json!({ "DEFAULTED -> NULL_VALUE": 1 }), "{report:#}");
    assert_eq!(report["removed_features"], serde_json::json!(["visits_1h", "visits_30d"]));
    assert_eq!(report["added_features"], serde_json::json!(["looks_1h", "looks_30d", "spend_7d"]));
    assert_eq!(report["flipped"], 2, "three purchases are none by the new definition: {report:#}");
    std::fs::write(&new, "version = 1\n[[feature]]\nname = \"x\"\nkind = \"totl_count\"\n").unwrap();
    let line = [
        "replay",
        "--recompute",
        "--data",
        dir.path().to_str().unwrap(),
        "--features",
        new.to_str().unwrap(),
    ];
    let refused = Command::new(env!("CARGO_BIN_EXE_augur")).args(line).output().unwrap();
    let complaint = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(1) && complaint.contains("new.toml:4"), "{complaint}");
}
