//! Commands that fail once a server runs in this process still end in order: an error and a code, never a signal.
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
