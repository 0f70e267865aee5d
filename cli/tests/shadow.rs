//! `augur shadow` and `augur breaker`: candidates of a serving process, what they came to, and what is left alone.
//!
//! Not here: what candidates may do wrong (`augur-server`), or the figures (`augur-shadow-harness`).

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod support;

use std::time::{Duration, Instant};

use augur_loadtest::{Client, v1};
use serde_json::Value;

use support::{Server, augur, json};

/// Longer than any of this takes, shorter than anybody waits.
const LONG: Duration = Duration::from_secs(60);

/// Asks for so many decisions; the id of the policy that made them.
fn decide(endpoint: &str, people: u64) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::connect(endpoint, 1).await.unwrap();
        let mut policy = String::new();
        for person in 0..people {
            let request = v1::DecideRequest {
                subject: Some(v1::Subject { id: Some(v1::subject::Id::UserId(format!("p{person}"))) }),
                decision_point: "home_page".to_owned(),
                ..v1::DecideRequest::default()
            };
            policy = client.decisions().decide(request).await.unwrap().into_inner().policy_id;
        }
        policy
    })
}

fn of<'a>(told: &'a Value, pointer: &str) -> &'a Value {
    told.pointer(pointer).unwrap_or(&Value::Null)
}

#[test]
fn a_candidate_decides_again_is_compared_and_can_be_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let policy = decide(&Server::start(&data).endpoint, 1);
    let place = data.to_str().unwrap();
    assert_eq!(augur(&["shadow", "report", "--data", place]).status.code(), Some(1), "nobody decided again");

    let candidates = format!("again: policy={}", policy.chars().take(12).collect::<String>());
    let variables = [("AUGUR_SHADOW_CANDIDATES", &*candidates), ("AUGUR_SHADOW_SHARE", "1")];
    let server = Server::start_with(&data, "127.0.0.1:0", &variables);
    decide(&server.endpoint, 50);
    let since = Instant::now();
    let report = loop {
        let report = json(&augur(&["shadow", "report", "--data", place, "--json"]));
        if of(&report, "/0/records") == &Value::from(50) {
            break report;
        }
        assert!(since.elapsed() < LONG, "{report}");
        // sleep: another process writes them.
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(of(&report, "/0/candidate"), "again");
    assert_eq!(of(&report, "/0/turns/same"), &Value::from(50));
    assert_eq!(of(&report, "/0/agreement/share"), &Value::from(1.0));
    assert_eq!(of(&report, "/0/kept/offered"), &Value::from(50));
    let text = augur(&["shadow", "report", "--data", place, "--point", "home_page"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("agreement: 100.00 %"), "{text}");
    let tail = augur(&["shadow", "tail", "--data", place, "-n", "3"]);
    assert_eq!(String::from_utf8(tail.stdout).unwrap().lines().count(), 3);
    assert!(augur(&["shadow", "tail", "--data", place, "--differing"]).stdout.is_empty());

    let breaker =
        |line: &[&str]| augur(&[&["breaker"], line, &["--endpoint", &server.endpoint, "--json"]].concat());
    let listed = breaker(&["list"]);
    assert_eq!(listed.status.code(), Some(0), "{listed:?}");
    let told = json(&listed);
    let names = told.as_array().unwrap().iter().map(|it| of(it, "/name").as_str().unwrap());
    assert_eq!(names.collect::<Vec<_>>(), ["features", "log", "shadow/again"]);
    assert_eq!(of(&json(&breaker(&["force", "shadow/again", "open"])), "/state"), "FORCED_OPEN");
    assert_eq!(breaker(&["list"]).status.code(), Some(3));
    assert_eq!(of(&json(&breaker(&["release", "shadow/again"])), "/state"), "CLOSED");
    let unknown = breaker(&["force", "shadow/agian", "open"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("shadow/again"), "{unknown:?}");
}
