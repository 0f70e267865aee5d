//! The demo, whole and small: what a newcomer runs first must work and say true things.
//!
//! Not here: how fast it is (that is measured in release).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

use std::path::Path;
use std::process::{Command, Output};

fn augur(arguments: &[&str], data: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_augur")).args(arguments).arg("--data").arg(data).output().unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}\n{stdout}\n{stderr}"))
}

#[test]
fn the_demo_tells_a_true_story_and_leaves_data_that_other_commands_use() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("shop");
    let output = augur(&["demo", "--users", "150", "--seed", "4", "--json"], &data);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let story = json(&output);

    let events = story["ingest"]["events"].as_u64().unwrap();
    assert!(events > 3_000, "{events} events");
    assert_eq!(story["ingest"]["accepted"].as_u64().unwrap(), events);
    let models = story["models"].as_array().unwrap();
    assert_eq!(models.len(), 2);
    for model in models {
        let auc = model["report"]["out_of_time"]["roc_auc"].as_f64().unwrap();
        assert!((0.55..0.98).contains(&auc), "{model}");
    }
    assert_eq!(story["decide"]["requests"], 150);
    assert_eq!(story["decide"]["ok"], 150);
    let by_action = story["decisions_by_action"].as_object().unwrap();
    let decided: u64 = by_action.values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(decided, 150);
    assert!(by_action.len() >= 2, "{by_action:?}");
    assert_eq!(story["replay"]["verdict"], "identical");
    assert_eq!(story["replay"]["records"], 150);

    let replay = augur(&["replay", "--verify", "--json"], &data);
    assert!(replay.status.success(), "{}", String::from_utf8_lossy(&replay.stderr));
    assert_eq!(json(&replay)["verdict"], "identical");
    let replay = Command::new(env!("CARGO_BIN_EXE_augur"))
        .args(["replay", "--verify", "--decisions", "."])
        .current_dir(data.join("data/decisions"))
        .output()
        .unwrap();
    assert!(replay.status.success(), "{}", String::from_utf8_lossy(&replay.stderr));

    // The same policy, its own exposures carried along, changes nothing; without the cap of an action it does.
    let policy = data.join("policy.toml");
    let same = augur(&["replay", "--policy", policy.to_str().unwrap(), "--json"], &data);
    assert!(same.status.success(), "{}", String::from_utf8_lossy(&same.stderr));
    let same = json(&same);
    assert_eq!((&same["records"], &same["flips"]["flipped"]), (&150.into(), &0.into()), "{same}");

    // What was just replayed says why its models scored as they did.
    let log: Vec<u8> = std::fs::read_dir(data.join("data/decisions"))
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.unwrap().path()).ok())
        .flatten()
        .collect();
    for word in ["churn: TIME_AWAY", "conversion: TIME_SINCE_PURCHASE"] {
        assert!(log.windows(word.len()).any(|bytes| bytes == word.as_bytes()), "{word}");
    }

    let page = data.join("churn.html");
    let card = augur(&["models", "card", "churn@1", "--html", page.to_str().unwrap(), "--json"], &data);
    assert!(card.status.success(), "{}", String::from_utf8_lossy(&card.stderr));
    let page = std::fs::read_to_string(page).unwrap();
    assert_eq!(
        page,
        std::fs::read_to_string(data.join("data/models/churn/versions/000001.card.html")).unwrap()
    );
    assert!(page.starts_with("<!doctype html>") && page.contains("Reliability"));

    let listed = json(&augur(&["models", "list", "--json"], &data));
    let names: Vec<_> =
        listed.as_array().unwrap().iter().map(|version| version["model"].as_str().unwrap()).collect();
    assert_eq!(names, ["churn", "conversion"]);

    watched(&data);

    let verified = augur(&["features", "verify", "--sample", "40", "--json"], &data);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    assert_eq!(json(&verified)["different"], 0);

    for entry in std::fs::read_dir(data.join("data/models/churn/versions")).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let listed = json(&augur(&["models", "list", "--json"], &data));
    assert_eq!(listed[0]["aliases"], serde_json::json!(["champion"]));
    assert_eq!((&listed[0]["model"], &listed[0]["missing"]), (&"churn".into(), &true.into()));
}

/// Nothing drifted far between training and deciding, so nothing is trained again; once bounds are tight, it is, and told
/// why. How far a small shop drifts depends on the hour at which the test runs, so the first bounds are wide.
fn watched(data: &Path) {
    let config = data.join("augur.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let wide = |line: &str| match line.split(' ').next() {
        Some(key @ ("psi" | "ks" | "missing")) => format!("{key} = 0.9\n"),
        _ => format!("{line}\n"),
    };
    std::fs::write(&config, text.lines().map(wide).collect::<String>()).unwrap();
    let monitored = augur(&["models", "monitor", "--json"], data);
    let found = json(&monitored);
    assert_eq!(monitored.status.code(), Some(0), "{found}");
    for model in found.as_array().unwrap() {
        assert_eq!(model.get("drifted"), Some(&false.into()), "{model}");
    }
    let inputs = found.pointer("/0/drift/inputs").unwrap().as_array().unwrap();
    let growing: Vec<&str> = inputs
        .iter()
        .filter(|input| input.get("grows") == Some(&true.into()))
        .map(|input| input.get("feature").unwrap().as_str().unwrap())
        .collect();
    assert_eq!(growing, ["seconds_since_first_event", "sessions_count", "orders"]);

    let rested = json(&augur(&["train", "--task", "churn", "--if-drifted", "--json"], data));
    assert_eq!(rested.get("trained"), Some(&false.into()), "{rested}");
    assert_eq!(versions(data), 1);

    let tight = |line: &str| match line.split(' ').next() {
        Some(key @ ("psi" | "ks")) => format!("{key} = 0.001\n"),
        Some("false_alarm") => "false_alarm = 0.5\n".to_owned(),
        _ => format!("{line}\n"),
    };
    std::fs::write(&config, text.lines().map(tight).collect::<String>()).unwrap();
    let trained = augur(&["train", "--task", "churn", "--if-drifted", "30d", "--json"], data);
    let trained = json(&trained);
    assert_eq!(trained.get("version"), Some(&2.into()), "{trained}");
    let shown = json(&augur(&["models", "show", "churn", "--json"], data));
    let why = shown.pointer("/lineage/parameters/trigger").unwrap().as_str().unwrap();
    assert!(why.starts_with("version 1 drifted: "), "{why}");
    let moved = shown.pointer("/moves/0/why").unwrap().as_str().unwrap();
    assert_eq!(moved, why);
    std::fs::write(&config, text).unwrap();
}

fn versions(data: &Path) -> usize {
    std::fs::read_dir(data.join("data/models/churn/versions"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|it| it == "model"))
        .count()
}

#[test]
fn the_story_is_readable_without_a_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let output = augur(&["demo", "--users", "120"], &dir.path().join("shop"));
    let text = String::from_utf8(output.stdout).unwrap();
    for part in ["events per second", "ROC-AUC", "p99", "identical", "augur serve", "augur replay --verify"] {
        assert!(text.contains(part), "`{part}` is missing in\n{text}");
    }
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
