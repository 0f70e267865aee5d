//! How commands end: with an error that helps and the documented code, never a signal, also once a server runs.
//!
//! Not here: what is kept when the process is killed (`kill`).

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A race shows itself only now and then.
const ROUNDS: usize = 10;

fn augur(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_augur"));
    command.args(arguments);
    command
}

fn refused(output: &Output, words: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{}: {stderr}", output.status);
    assert!(stderr.contains(words), "{stderr}");
}

/// A data directory whose server listens where nobody else does.
fn quiet_data(data: &Path) {
    let config = "[server]\nlisten = \"127.0.0.1:0\"\nhttp_listen = \"\"\n[data]\ndir = \"data\"\n\
                  features = \"features.toml\"\npolicy = \"policy.toml\"\n";
    std::fs::create_dir_all(data).unwrap();
    std::fs::write(data.join("augur.toml"), config).unwrap();
}

#[test]
fn a_ready_file_that_cannot_be_written_is_told_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    quiet_data(&data);
    let missing = dir.path().join("nowhere/ready");
    let serve = ["serve", "--data", data.to_str().unwrap(), "--ready-file"];
    let output = augur(&serve).arg(&missing).output().unwrap();
    refused(&output, "nowhere/ready");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(!data.join("data/store").exists());
    refused(&augur(&serve).arg(dir.path()).output().unwrap(), "cannot");
}

#[test]
fn an_error_while_serving_shuts_the_server_down_first() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    quiet_data(&data);
    for _ in 0..ROUNDS {
        // Nothing can be written to a full device, so telling where it listens fails.
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = augur(&["serve", "--data", data.to_str().unwrap()])
            .stdout(full)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        refused(&output, "cannot write the report");
    }
}

#[test]
fn an_impossible_rate_is_told_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("shop");
    let output = augur(&["demo", "--users", "100", "--rate", "0", "--data"]).arg(&data).output().unwrap();
    refused(&output, "`rate` is 0");
    assert!(!data.exists());
    let nobody = "http://127.0.0.1:9";
    let output =
        augur(&["loadtest", "decide", "--endpoint", nobody, "--point", "p", "--rate", "0"]).output().unwrap();
    refused(&output, "`rate` is 0");
}

#[test]
fn a_checked_configuration_with_faults_is_answered_by_code_3() {
    let dir = tempfile::tempdir().unwrap();
    quiet_data(dir.path());
    let check = ["serve", "--check-config", "--json", "--data", dir.path().to_str().unwrap()];
    assert_eq!(augur(&check).output().unwrap().status.code(), Some(0));
    std::fs::write(dir.path().join("policy.toml"), "nonsense = 1\n").unwrap();
    for _ in ["a faulty policy", "a faulty configuration"] {
        let output = augur(&check).output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&answer["valid"], &answer["faults"][0]["line"]), (&false.into(), &1.into()), "{answer}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(":1:1: "));
        std::fs::write(dir.path().join("augur.toml"), "nonsense = 1\n").unwrap();
    }
}

#[test]
fn faulty_labels_point_at_the_help_of_labels() {
    let dir = tempfile::tempdir().unwrap();
    quiet_data(dir.path());
    let made = augur(&["serve", "--check-config", "--data", dir.path().to_str().unwrap()]).output().unwrap();
    assert_eq!(made.status.code(), Some(0));
    let labels = dir.path().join("labels.csv");
    std::fs::write(&labels, "user_id,timestamp\nanna,20231114\n").unwrap();
    let (data, out) = (dir.path().to_str().unwrap(), dir.path().join("rows.parquet"));
    let export = ["features", "export", "--data", data, "--labels"];
    let output = augur(&export).arg(&labels).arg("--out").arg(&out).output().unwrap();
    refused(&output, "timestamp `20231114`");
    refused(&output, "--help` of this command and of `augur features export`");
}

#[test]
fn arguments_not_of_their_form_are_told_by_code_2() {
    let nobody = ["--endpoint", "http://127.0.0.1:9"];
    for (arguments, words) in [
        (&["events", "quarantine", "list", "--reason", "TOO_LAZY"][..], "TOO_LATE"),
        (&["events", "quarantine", "list", "--since", "noon"], "RFC 3339"),
        (&["events", "quarantine", "replay", "7", "--set", "value"], "FIELD=VALUE"),
        (&["events", "retract", "--user-id", "u", "--message-id", "m", "--at", "noon"], "RFC 3339"),
    ] {
        let output = augur(arguments).args(nobody).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(words), "{stderr}");
    }
}
