//! Exports through the binary, and what a comparison finds.
//!
//! Not here: real data (`golden_values`).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

use std::process::{Command, Output};

fn augur(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_augur")).args(arguments).arg("--json").output().unwrap()
}

fn answer(arguments: &[&str]) -> serde_json::Value {
    let output = augur(arguments);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {}\n{stdout}\n{stderr}", output.status);
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{stdout}"))
}

#[test]
fn a_wrong_value_and_a_missing_row_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let data = dir.path().join("shop").to_str().unwrap().to_owned();
    let events = file("events.csv", "user,at,what\na,2026-01-01,view_item\na,2026-01-02,view_item\n");
    let maps = ["--map", "user_id=user", "--map", "timestamp=at", "--map", "event=what"];
    answer(&[&["import", &events, "--data", &data][..], &maps].concat());
    let labels = file("labels.csv", "user_id,timestamp\na,2026-01-03\nb,2026-01-03\n");
    let out = dir.path().join("rows.parquet").to_str().unwrap().to_owned();
    answer(&["features", "export", "--data", &data, "--labels", &labels, "--out", &out]);

    let compare = |golden: &str| {
        let golden = file("golden.csv", golden);
        let output = augur(&[
            "features",
            "compare",
            "--export",
            &out,
            "--golden",
            &golden,
            "--map",
            "views=view_items_1d",
        ]);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code(), report)
    };
    let good = compare("views\n1.5\n\n\"\"\n");
    let found = good.1["differences"][0]["found"].as_f64().unwrap();
    let (code, report) = compare(&format!("views\n{found}\n\"\"\n"));
    assert_eq!((code, &report["different"]), (Some(0), &0.into()), "{report}");
    let (code, report) = compare("views\n0.25\n1\n");
    assert_eq!((code, &report["different"]), (Some(3), &2.into()), "{report}");
    assert_eq!(report["differences"][1]["row"], 2);
    let (code, report) = compare(&format!("views\n{found}\n\"\"\n0\n"));
    assert_eq!((code, &report["missing_rows"]), (Some(3), &1.into()), "{report}");
    assert_eq!(compare("views\n1\n").0, Some(1), "more rows than the golden file");
}
