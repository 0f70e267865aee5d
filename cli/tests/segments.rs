//! `augur segments train`, as typed: from a table, and from a data directory into a policy's alias.
//!
//! Not here: how well segments are found (`models`), or rules that read them (`decision`).

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")
)]

use std::fmt::Write;
use std::process::{Command, Output};

fn augur(line: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_augur")).args(line).output().unwrap()
}

/// 100 visitors who look, 50 who buy now and then, 20 who buy a lot.
fn visitors() -> String {
    let mut rows = "visitor,visits,spend\n".to_owned();
    let groups = [(100_u64, 3, 0), (50, 30, 20), (20, 60, 2_000)];
    for (group, (count, visits, spend)) in groups.into_iter().enumerate() {
        for visitor in 0..count {
            let draw = visitor.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61;
            writeln!(rows, "g{group}-{visitor},{},{}", visits + draw / 3, spend + draw * spend / 40).unwrap();
        }
    }
    rows
}

#[test]
fn a_table_is_segmented_named_and_written() {
    let dir = tempfile::tempdir().unwrap();
    let (table, out) = (dir.path().join("visitors.csv"), dir.path().join("segments"));
    std::fs::write(&table, visitors()).unwrap();
    let (table, out_text) = (table.to_str().unwrap(), out.to_str().unwrap());
    let line = ["--json", "segments", "train", "--name", "value", "--table", table, "--ignore", "visitor"];
    let named = ["--k", "3", "--names", "low,mid,high", "--order-by", "spend", "--out", out_text];
    let trained = augur(&[&line[..], &named[..]].concat());
    assert!(trained.status.success(), "{trained:?}");
    let answer: serde_json::Value = serde_json::from_slice(&trained.stdout).unwrap();
    let clusters = answer["report"]["clusters"].as_array().unwrap();
    let told: Vec<(&str, u64)> = clusters
        .iter()
        .map(|cluster| (cluster["name"].as_str().unwrap(), cluster["rows"].as_u64().unwrap()))
        .collect();
    assert_eq!(told, [("low", 100), ("mid", 50), ("high", 20)]);
    let artifact =
        augur_models::Artifact::decode(&std::fs::read(out.join("model.augurmdl")).unwrap()).unwrap();
    assert_eq!(artifact.id().to_string(), answer["artifact"].as_str().unwrap());
    let page = std::fs::read_to_string(out.join("card.html")).unwrap();
    assert!(page.contains("Segment of a user") && page.contains("high</th>"), "{page}");

    let (model, assigned) = (out.join("model.augurmdl"), dir.path().join("assigned.csv"));
    let line_of = |table, out: &std::path::Path| {
        let of =
            ["--json", "segments", "assign", model.to_str().unwrap(), "--id", "visitor", "--table", table];
        augur(&[&of[..], &["--out", out.to_str().unwrap()]].concat())
    };
    let told: serde_json::Value = serde_json::from_slice(&line_of(table, &assigned).stdout).unwrap();
    assert_eq!(told["segments"], serde_json::json!({ "low": 100, "mid": 50, "high": 20 }));
    let written = std::fs::read_to_string(&assigned).unwrap();
    assert!(written.starts_with("visitor,segment\ng0-0,low\n") && written.ends_with(",high\n"), "{written}");
    assert_eq!(written.lines().filter(|line| line.starts_with("g1-") && line.ends_with(",mid")).count(), 50);
    let narrow = dir.path().join("narrow.csv");
    std::fs::write(&narrow, "visitor,visits\na,3\n").unwrap();
    let refused = String::from_utf8(line_of(narrow.to_str().unwrap(), &assigned).stderr).unwrap();
    assert!(refused.contains("no column `spend` that the model reads"), "{refused}");

    let chosen = augur(&[&line[..], &["--k", "auto"]].concat());
    let answer: serde_json::Value = serde_json::from_slice(&chosen.stdout).unwrap();
    assert_eq!(answer["report"]["clusters"][0]["name"], "s0");
    assert_eq!(answer["report"]["counts_tried"].as_array().unwrap().len(), 9, "{answer}");

    let refused = augur(&[&line[1..], &["--k", "3", "--names", "low,high"]].concat());
    let complaint = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && complaint.contains("2 names for 3 segments"), "{complaint}");
    let refused = augur(&[&line[1..7], &["--features", "visit"]].concat());
    let complaint = String::from_utf8(refused.stderr).unwrap();
    assert!(complaint.contains("visits"), "{complaint}");
}
