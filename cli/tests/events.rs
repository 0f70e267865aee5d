//! `augur events`, as typed: what a faulty taxonomy says, and what a good one lists.
//!
//! Not here: what each complaint says; the feature store's tests do.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")
)]

use std::path::Path;
use std::process::{Command, Output};

fn augur(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_augur")).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_taxonomy_is_checked_and_listed() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/events.toml");
    let shipped = shipped.to_str().unwrap();
    let good = augur(&["events", "check", shipped]);
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    assert!(text(&good).starts_with("valid: 9 events with "), "{good:?}");
    let listed = text(&augur(&["events", "list", "--file", shipped]));
    assert!(listed.contains("purchase") && listed.contains("was revenue"), "{listed}");
    let json: serde_json::Value =
        serde_json::from_slice(&augur(&["--json", "events", "list", "--file", shipped]).stdout).unwrap();
    assert_eq!(json["events"][3]["name"], "page_view");
    assert_eq!(json["events"][3]["properties"][0]["type"], "text");

    let dir = tempfile::tempdir().unwrap();
    let faulty = dir.path().join("events.toml");
    std::fs::write(&faulty, "version = 1\n[policy]\nunknown_events = \"rejct\"\n").unwrap();
    let faulty = faulty.to_str().unwrap();
    let bad = augur(&["events", "check", faulty]);
    assert_eq!(bad.status.code(), Some(3), "{bad:?}");
    assert!(text(&bad).contains("events.toml:3:18: `unknown_events` is `\"rejct\"`"), "{bad:?}");
    let json: serde_json::Value =
        serde_json::from_slice(&augur(&["--json", "events", "check", faulty]).stdout).unwrap();
    assert_eq!((&json["valid"], &json["faults"][0]["line"]), (&false.into(), &3.into()));
    assert_eq!(augur(&["events", "check", "no-such-file"]).status.code(), Some(1));
}
