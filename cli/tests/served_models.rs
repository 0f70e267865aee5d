//! What `augur models` asks of a process that serves: a version's trial from its first share to its end, and whether
//! models drifted.
//!
//! Not here: what a trial does to decisions and records, and how it ends by itself (`augur-server`).

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod support;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use augur_loadtest::{Client, v1};
use serde_json::Value;

use support::Server;

const DAY_S: u64 = 86_400;

/// `augur models ..`, of this server; its JSON and exit code.
fn models(server: &Server, arguments: &[&str]) -> (Value, i32) {
    augur(&[&["models"], arguments, &["--endpoint", &server.endpoint]].concat())
}

/// The JSON that it prints, or what it complains of as a text, and its exit code.
fn augur(arguments: &[&str]) -> (Value, i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_augur")).args(arguments).arg("--json").output().unwrap();
    let complaint = || Value::String(String::from_utf8_lossy(&output.stderr).into_owned());
    (serde_json::from_slice(&output.stdout).unwrap_or_else(|_| complaint()), output.status.code().unwrap())
}

fn fine(arguments: &[&str]) -> Value {
    let (told, code) = augur(arguments);
    assert_eq!(code, 0, "{arguments:?}: {told}");
    told
}

/// People who look at things every third day for sixty days; every second of them buys a day after each fifth look.
fn events() -> String {
    let mut rows = "who,at,what\n".to_owned();
    for person in 0..120_u64 {
        for look in 0..20_u64 {
            let at = 1_700_000_000 + look * 3 * DAY_S + person * 601;
            writeln!(rows, "p{person},{at},view_item").unwrap();
            if person % 2 == 0 && (look + person) % 5 == 0 {
                writeln!(rows, "p{person},{},purchase", at + DAY_S).unwrap();
            }
        }
    }
    rows
}

/// A data directory with two versions of `conversion`, of which the first decides.
fn trained(dir: &Path) -> std::path::PathBuf {
    let (data, file) = (dir.join("data"), dir.join("events.csv"));
    std::fs::write(&file, events()).unwrap();
    let (directory, file) = (data.to_str().unwrap(), file.to_str().unwrap());
    let mapping = ["--map", "user_id=who", "--map", "timestamp=at", "--map", "event=what"];
    fine(&[&["import", file, "--data", directory], &mapping[..]].concat());
    for more in [&["--search", "none"][..], &["--search", "none", "--alpha", "10", "--no-promote"]] {
        let task =
            ["train", "--task", "conversion", "--horizon", "5d", "--cutoffs", "6", "--data", directory];
        fine(&[&task[..], more].concat());
    }
    data
}

fn decide(endpoint: &str, people: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::connect(endpoint, 1).await.unwrap();
        for person in 0..people {
            let request = v1::DecideRequest {
                subject: Some(v1::Subject { id: Some(v1::subject::Id::UserId(format!("p{person}"))) }),
                decision_point: "home_page".to_owned(),
                ..v1::DecideRequest::default()
            };
            client.decisions().decide(request).await.unwrap();
        }
    });
}

#[test]
fn a_trial_begins_grows_stops_and_is_promoted() {
    let dir = tempfile::tempdir().unwrap();
    let data = trained(dir.path());
    let server = Server::start(&data);
    let start = |share: &str| {
        let line = ["canary", "start", "conversion", "2", "--share", share, "--reason", "a trial"];
        models(&server, &line)
    };
    let status = || models(&server, &["canary", "status", "conversion"]);
    assert_eq!(status().0.get("trial"), Some(&Value::Null));
    assert_eq!(start("20%").1, 0);
    let (begun, code) = start("0.5");
    assert_eq!((code, begun.get("share")), (0, Some(&0.5.into())));

    decide(&server.endpoint, 120);
    let (standing, code) = status();
    let figure =
        |arm: &str| standing.pointer(&format!("/trial/{arm}/decisions")).and_then(Value::as_u64).unwrap();
    let (champion, challenger) = (figure("champion"), figure("challenger"));
    assert_eq!((code, champion + challenger), (0, 120), "{standing}");
    assert!(challenger > 30, "{standing}");
    // The directory tells the same, also while the server writes it.
    let from_log = fine(&["models", "canary", "status", "conversion", "--data", data.to_str().unwrap()]);
    assert_eq!(from_log.get("trial"), standing.get("trial"));
    assert_eq!(from_log.pointer("/history/1/share_ppm"), Some(&500_000.into()));

    // A stranger is not promoted out of a trial, and neither is a trial that was stopped.
    let promote =
        |version: &str| models(&server, &["canary", "promote", "conversion", version, "--reason", "well"]);
    let (told, code) = promote("1");
    assert!(code == 1 && told.to_string().contains("not on trial"), "{told}");
    assert_eq!(models(&server, &["canary", "stop", "conversion", "2", "--reason", "enough"]).1, 0);
    let (told, code) = promote("2");
    assert!(code == 1 && told.to_string().contains("not on trial"), "{told}");
    let (told, code) = models(&server, &["canary", "stop", "conversion", "2", "--reason", "again"]);
    assert!(code == 1 && told.to_string().contains("is not on trial"), "{told}");

    assert_eq!(start("100%").1, 0);
    let (promoted, code) = promote("2");
    assert_eq!((code, promoted.get("moved")), (0, Some(&true.into())), "{promoted}");
    assert_eq!(status().0.get("trial"), Some(&Value::Null));
    let (back, code) = models(&server, &["rollback", "conversion", "--reason", "a test"]);
    assert_eq!((code, back.get("version")), (0, Some(&1.into())), "{back}");
    let (told, code) = models(&server, &["rollback", "conversio", "--reason", "a test"]);
    assert!(code == 1 && told.to_string().contains("did you mean `conversion`?"), "{told}");
}

#[test]
fn a_server_compares_its_models_with_their_training() {
    let dir = tempfile::tempdir().unwrap();
    let data = trained(dir.path());
    let directory = data.to_str().unwrap();
    let server = Server::start(&data);
    decide(&server.endpoint, 120);
    let (served, code) = models(&server, &["monitor"]);
    assert!(code == 0 || code == 3, "{served}");
    let told = |field: &str| served.pointer(&format!("/0/{field}")).cloned().unwrap();
    assert_eq!((told("model"), told("version")), ("conversion".into(), 1.into()));
    assert_eq!((told("decisions"), told("unscored_share")), (120.into(), 0.0.into()));
    assert_eq!(models(&server, &["monitor", "--since", "7d"]).0.pointer("/0/decisions"), Some(&120.into()));
    let (unknown, code) = models(&server, &["monitor", "--model", "conversio"]);
    assert!(code == 1 && unknown.to_string().contains("did you mean `conversion`?"), "{unknown}");
    let (unknown, _) = models(&server, &["monitor", "--version", "shadow"]);
    assert!(unknown.to_string().contains("no model that has a version `shadow`"), "{unknown}");

    // The directory is the server's own; whoever wants it is told whom to ask.
    let monitor = ["models", "monitor", "--data", directory];
    let (held, code) = augur(&monitor);
    assert!(code == 1 && held.to_string().contains("augur models monitor --endpoint URL"), "{held}");
    let (held, code) = augur(&["train", "--task", "conversion", "--if-drifted", "--data", directory]);
    assert!(code == 1 && held.to_string().contains("augur models monitor --endpoint URL"), "{held}");
    drop(server);
    assert_eq!(augur(&monitor).0, served);
}
