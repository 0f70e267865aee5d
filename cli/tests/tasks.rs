//! `augur tasks`, as typed: the shipped file is valid and listed, a bad one is told line by line.
//!
//! Not here: what tasks mean (the feature store), or training for them (`demo`).

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")
)]

use std::path::PathBuf;
use std::process::{Command, Output};

fn augur(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_augur")).args(arguments).output().unwrap()
}

fn shipped(name: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../config").join(name).to_str().unwrap().to_owned()
}

#[test]
fn the_shipped_tasks_are_valid_and_listed() {
    let checked = augur(&["--json", "tasks", "check", &shipped("tasks.toml")]);
    assert!(checked.status.success(), "{checked:?}");
    let listed = augur(&["--json", "tasks", "list", &shipped("tasks.toml")]);
    let tasks: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let told: Vec<&str> =
        tasks.as_array().unwrap().iter().map(|task| task["positive_class"].as_str().unwrap()).collect();
    assert_eq!(told, ["no event within 14d", "purchase within 7d"]);
    let text = augur(&["tasks", "list", &shipped("tasks.toml")]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("active within 30d"), "{text:?}");
}

#[test]
fn faults_are_told_with_line_and_column() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tasks.toml");
    let text = "version = 1\n[[task]]\nname = \"churn\"\nkind = \"churn\"\nhorizont = \"7d\"\nexclude = [\"purchases_7\"]\n";
    std::fs::write(&path, text).unwrap();
    let (file, features, events) = (path.to_str().unwrap(), shipped("features.toml"), shipped("events.toml"));
    let checked = augur(&["tasks", "check", file, "--features", &features, "--events", &events]);
    assert_eq!(checked.status.code(), Some(3), "{checked:?}");
    let told = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(
        told.contains("tasks.toml:5:1: unknown key `horizont`") && told.contains("did you mean `horizon`?"),
        "{told}"
    );
    assert!(told.contains("tasks.toml:6:11: there is no feature `purchases_7`; "), "{told}");
}
