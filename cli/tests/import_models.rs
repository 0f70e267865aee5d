//! `augur models import`, as typed: into a data directory by the names of its features, into a file, and what is refused.
//!
//! Not here: how imported models score (`augur_models::import`).

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../models/testdata/import").join(name)
}

fn augur(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_augur")).args(arguments).output().unwrap()
}

/// A directory with the shipped definitions.
fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let shipped = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../config");
    for file in std::fs::read_dir(shipped).unwrap() {
        let file = file.unwrap().path();
        std::fs::copy(&file, dir.path().join(file.file_name().unwrap())).unwrap();
    }
    dir
}

fn import(file: &str, dir: &Path, more: &[&str]) -> Output {
    let (file, dir) = (fixture(file), dir.to_str().unwrap());
    let line = ["--json", "models", "import", file.to_str().unwrap(), "--name", "guest"];
    augur(&[&line[..], &["--positive-class", "a purchase", "--data", dir, "--by", "ann"], more].concat())
}

const MAP: &str = r#"
[rename]
views_7d = "page_views_1h"
spend_30d = "page_views_1d"
recency_h = "page_views_7d"
visits = "purchases_7d"
category = "purchases_30d"
"#;

#[test]
fn a_model_is_published_for_the_served_features_and_shown() {
    let dir = directory();
    let map = dir.path().join("map.toml");
    std::fs::write(&map, MAP).unwrap();
    let imported = import("lightgbm-binary.txt", dir.path(), &["--features", map.to_str().unwrap()]);
    assert!(imported.status.success(), "{imported:?}");
    let answer: serde_json::Value = serde_json::from_slice(&imported.stdout).unwrap();
    assert_eq!(
        (&answer["version"], &answer["format"], &answer["trees"]),
        (&1.into(), &"lightgbm".into(), &20.into())
    );
    let data = dir.path().to_str().unwrap();
    // No training told how good it is; a table does.
    let table = dir.path().join("rows.csv");
    let rows: String =
        (0..40).map(|n| format!("{},{},{},{},3,{}\n", n, 40 - n, n * 2, n % 5, n % 2)).collect();
    let header = "page_views_1h,page_views_1d,page_views_7d,purchases_7d,purchases_30d,bought\n";
    std::fs::write(&table, format!("{header}{rows}")).unwrap();
    let table = table.to_str().unwrap();
    let line =
        ["--json", "models", "assess", "guest@1", "--table", table, "--label", "bought", "--data", data];
    let assessed = augur(&line);
    let assessed: serde_json::Value = serde_json::from_slice(&assessed.stdout).unwrap();
    assert_eq!(assessed["splits"]["all"]["rows"], 40, "{assessed}");
    let shown = augur(&["--json", "models", "show", "guest", "1", "--data", data]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["positive_class"], "a purchase");
    assert_eq!(shown["report"], serde_json::Value::Null, "nothing is known of its quality");
    assert_eq!(shown["lineage"]["parameters"]["imported"]["format"], "lightgbm", "{shown}");
    assert!(shown["inputs"][0]["definition"].is_string(), "{shown}");
    let promoted = augur(&["models", "promote", "guest", "1", "--data", data, "--reason", "trial"]);
    assert!(promoted.status.success(), "{promoted:?}");
}

#[test]
fn columns_that_are_not_served_are_named() {
    let dir = directory();
    let refused = import("lightgbm-binary.txt", dir.path(), &[]);
    assert!(!refused.status.success());
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("views_7d") && told.contains("[rename]") && told.contains("revenue_30d"), "{told}");
    let map = dir.path().join("map.toml");
    std::fs::write(&map, "renames = 1\n").unwrap();
    let refused = import("lightgbm-binary.txt", dir.path(), &["--features", map.to_str().unwrap()]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("map.toml") && told.contains("line 1"), "{told}");
}

#[test]
fn a_model_is_written_to_a_file_with_another_calibrator() {
    let dir = tempfile::tempdir().unwrap();
    let (map, out) = (dir.path().join("map.toml"), dir.path().join("model"));
    std::fs::write(&map, r#"order = ["a", "b", "c", "d", "e"]"#).unwrap();
    let file = fixture("onnx-logistic.onnx");
    let imported = augur(&[
        "models",
        "import",
        file.to_str().unwrap(),
        "--name",
        "guest",
        "--positive-class",
        "a purchase",
        "--features",
        map.to_str().unwrap(),
        "--calibrator",
        "platt:-0.9,0.05",
        "--out",
        out.to_str().unwrap(),
    ]);
    assert!(imported.status.success(), "{imported:?}");
    let artifact =
        augur_models::Artifact::decode(&std::fs::read(out.join("model.augurmdl")).unwrap()).unwrap();
    let features: Vec<&str> = artifact.content().body.features().into_iter().map(|(name, _)| name).collect();
    assert_eq!(features, ["a", "b", "c", "d", "e"]);
    assert_eq!(artifact.content().calibrator, augur_models::Calibrator::Platt { a: -0.9, b: 0.05 });
}
