//! `augur train --table`, as typed: every family on a table of one's own, what is written, what bad tables are told.
//!
//! Not here: how good the families are (`models`), or training from stored events (`demo`).

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")
)]

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Output};

fn train(table: &Path, arguments: &[&str]) -> Output {
    let table = table.to_str().unwrap();
    let line = [&["--json", "train", "--table", table, "--label", "bought"], arguments].concat();
    Command::new(env!("CARGO_BIN_EXE_augur")).args(line).output().unwrap()
}

/// `augur models assess`: its exit code, and its JSON or what it complains of.
fn assess(arguments: &[&str]) -> (i32, serde_json::Value) {
    let line = [&["--json", "models", "assess", "--label", "bought"], arguments].concat();
    let output = Command::new(env!("CARGO_BIN_EXE_augur")).args(line).output().unwrap();
    let complaint = || String::from_utf8_lossy(&output.stderr).into_owned().into();
    let answer = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| complaint());
    (output.status.code().unwrap(), answer)
}

/// Visits of 400 people; those who look at few pages for long, or at many in a hurry, buy.
fn visits() -> String {
    let mut rows = "visitor,pages,seconds,member,part,bought\n".to_owned();
    for visitor in 0..400_u64 {
        for visit in 0..3_u64 {
            let draw = (visitor * 3 + visit).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let (pages, seconds) = (draw >> 8 & 31, draw >> 20 & 511);
            let bought = (pages < 12) == (seconds > 200);
            let member = if visitor % 7 == 0 { "" } else { ["false", "true"][(visitor % 2) as usize] };
            let part = ["train", "train", "train", "later", "latest"][(visitor % 5) as usize];
            writeln!(rows, "v{visitor},{pages},{seconds},{member},{part},{}", u8::from(bought)).unwrap();
        }
    }
    rows
}

#[test]
fn a_table_of_ones_own_is_learned_and_measured_by_part() {
    let dir = tempfile::tempdir().unwrap();
    let table = dir.path().join("visits.csv");
    std::fs::write(&table, visits()).unwrap();
    let out = dir.path().join("model");
    let arguments =
        ["--split", "part", "--group", "visitor", "--family", "boosted", "--out", out.to_str().unwrap()];
    let trained = train(&table, &arguments);
    assert!(trained.status.success(), "{trained:?}");
    let answer: serde_json::Value = serde_json::from_slice(&trained.stdout).unwrap();
    let parts: Vec<&String> = answer["splits"].as_object().unwrap().keys().collect();
    assert_eq!(parts, ["later", "latest", "train"]);
    assert!(answer["splits"]["latest"]["roc_auc"].as_f64().unwrap() > 0.95, "{answer}");
    assert_eq!(answer["features"], 3);
    let model = std::fs::read(out.join("model.augurmdl")).unwrap();
    assert_eq!(augur_models::Artifact::decode(&model).unwrap().name(), "table");
    let written: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("metrics.json")).unwrap()).unwrap();
    assert_eq!(written, answer);

    // The same model on the same table has the same figures.
    let (model, table_name) = (out.join("model.augurmdl"), table.to_str().unwrap());
    let (code, assessed) = assess(&[model.to_str().unwrap(), "--table", table_name, "--split", "part"]);
    assert_eq!((code, &assessed["splits"]), (0, &answer["splits"]));
    assert_eq!(assessed["evaluation"]["part"], "all");
    let narrow = dir.path().join("narrow.csv");
    std::fs::write(&narrow, "pages,bought\n3,1\n30,0\n").unwrap();
    let (code, told) = assess(&[model.to_str().unwrap(), "--table", narrow.to_str().unwrap()]);
    let expected = "there is no column `seconds`, `member` that the model reads";
    assert!(code == 1 && told.to_string().contains(expected), "{told}");

    let line = train(&table, &["--ignore", "part,visitor", "--family", "auto"]);
    let answer: serde_json::Value = serde_json::from_slice(&line.stdout).unwrap();
    assert_eq!(answer["report"]["considered"].as_array().unwrap().len(), 3, "{answer}");
    assert_ne!(answer["report"]["family"], "logistic");
}

#[test]
fn a_table_that_cannot_be_learned_from_is_told_where_and_what() {
    let dir = tempfile::tempdir().unwrap();
    let table = dir.path().join("visits.csv");
    std::fs::write(&table, visits()).unwrap();
    let complaint = |arguments: &[&str]| {
        let output = train(&table, arguments);
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let text = complaint(&["--group", "visitor"]);
    assert!(text.contains("row 1, column `part` holds `train`") && text.contains("--ignore"), "{text}");
    let text = complaint(&["--split", "parts"]);
    assert!(text.contains("no column `parts`") && text.contains("visitor, pages"), "{text}");
    let text = complaint(&["--ignore", "part,visitor", "--positive-weight", "0"]);
    assert!(text.contains("positive_weight") && text.contains("0.001 to 1000"), "{text}");
    std::fs::write(&table, "a,bought\n1,1\n2,maybe\n").unwrap();
    let text = complaint(&[]);
    assert!(text.contains("row 2, column `bought` holds `maybe`"), "{text}");
}
