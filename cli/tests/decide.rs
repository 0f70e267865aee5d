//! `augur decide` and `augur decisions explain`, as typed: a run that broke off goes on, and nobody is decided for twice.
//!
//! Not here: how one decision is made (`server`).

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")
)]

use std::fmt::Write;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Output};

use arrow_array::cast::AsArray;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

fn augur(line: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_augur")).args(line).output().unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

/// A data directory with one user who did something, and a file of `count` rows of whom the third has no basket.
fn prepared(dir: &Path, count: u64) -> (String, String) {
    let (events, data, users) = (dir.join("events.csv"), dir.join("data"), dir.join("users.csv"));
    std::fs::write(&events, "who,at,what\nc1,2026-11-01T00:00:00Z,purchase\n").unwrap();
    let line = ["import", events.to_str().unwrap(), "--data", data.to_str().unwrap()];
    let map = ["--map", "user_id=who", "--map", "timestamp=at", "--map", "event=what"];
    let imported = augur(&[&line[..], &map].concat());
    assert!(imported.status.success(), "{imported:?}");
    let mut rows = "customer,basket\n".to_owned();
    for n in 0..count {
        let basket = if n == 2 { "a lot".to_owned() } else { (n % 100).to_string() };
        writeln!(rows, "c{n},{basket}").unwrap();
    }
    std::fs::write(&users, rows).unwrap();
    (data.to_str().unwrap().to_owned(), users.to_str().unwrap().to_owned())
}

/// Row and decision id of every row of a Parquet file, and how many row groups it has.
fn written(path: &Path) -> (Vec<(u64, String)>, usize) {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let groups = builder.metadata().num_row_groups();
    let mut rows = Vec::new();
    for batch in builder.build().unwrap() {
        let batch = batch.unwrap();
        let numbers = batch["row"].as_primitive::<arrow_array::types::UInt64Type>();
        let ids = batch["decision_id"].as_string::<i32>();
        rows.extend(numbers.values().iter().zip(ids).map(|(row, id)| (*row, id.unwrap().to_owned())));
    }
    (rows, groups)
}

#[test]
fn a_run_that_broke_off_goes_on_and_decides_for_nobody_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (data, users) = prepared(dir.path(), 12_000);
    let output = dir.path().join("decisions.parquet");
    let line = |more: &[&'static str]| {
        let mut line =
            vec!["--json", "decide", "--input", &users, "--user", "customer", "--point", "cart_page"];
        line.extend([
            "--context",
            "cart_value=basket",
            "--data",
            &data,
            "--output",
            output.to_str().unwrap(),
        ]);
        line.extend(more);
        augur(&line)
    };
    let whole = line(&[]);
    assert_eq!(whole.status.code(), Some(3), "one row has no number: {whole:?}");
    let report = json(&whole);
    assert_eq!(
        (&report["rows"], &report["decided"], &report["failed"]),
        (&12_000.into(), &11_999.into(), &1.into())
    );
    let (first, groups) = written(&output);
    assert_eq!((first.len(), groups), (11_999, 2));
    let failures = std::fs::read_to_string(dir.path().join("decisions.parquet.failures.csv")).unwrap();
    assert_eq!(failures, "row,user,field,found,expected\n3,c2,basket,a lot,a finite number or nothing\n");

    let explained = augur(&["decisions", "explain", &first[0].1, "--data", &data]);
    let said = String::from_utf8(explained.stdout).unwrap();
    assert!(said.contains("at cart_page") && said.contains("every action"), "{said}");
    assert!(
        said.contains("USER_UNKNOWN") && said.contains("Nothing is known about this user yet."),
        "{said}"
    );
    let explained = json(&augur(&["--json", "decisions", "explain", &first[0].1, "--data", &data]));
    assert_eq!(explained["decision_id"], first[0].1.as_str());
    assert!(explained["reasons"][0]["sentence"].as_str().unwrap().ends_with('.'), "{explained}");
    assert!(!explained["candidates"].as_array().unwrap().is_empty());
    let unknown = augur(&["decisions", "explain", "7", "--data", &data]);
    assert_eq!(unknown.status.code(), Some(1));
}

#[test]
fn what_the_log_holds_of_a_broken_run_is_taken_from_there() {
    let dir = tempfile::tempdir().unwrap();
    let (data, users) = prepared(dir.path(), 500);
    let output = dir.path().join("decisions.parquet");
    let output_text = output.to_str().unwrap();
    let line = ["--json", "decide", "--input", &users, "--user", "customer", "--point", "cart_page"];
    let line = [&line[..], &["--data", &data, "--output", output_text]].concat();
    let missing = augur(&[&line[..], &["--resume"]].concat());
    assert!(String::from_utf8(missing.stderr).unwrap().contains("no run to go on with"));

    // The parts cannot be joined, since the output cannot get its name: the run breaks off after deciding.
    let note = dir.path().join("decisions.parquet.parts/run");
    std::fs::create_dir_all(dir.path().join("decisions.parquet.parts/000000.parquet")).unwrap();
    let broken = augur(&line);
    assert_eq!(broken.status.code(), Some(1), "{broken:?}");
    assert!(note.exists());
    std::fs::remove_dir(dir.path().join("decisions.parquet.parts/000000.parquet")).unwrap();
    let refused = augur(&line);
    assert!(String::from_utf8(refused.stderr).unwrap().contains("--resume"), "a new run must not begin");

    let resumed = json(&augur(&[&line[..], &["--resume"]].concat()));
    assert_eq!((&resumed["decided"], &resumed["found_in_log"]), (&500.into(), &500.into()), "{resumed}");
    let (rows, _) = written(&output);
    assert_eq!(rows.iter().map(|(row, _)| *row).collect::<Vec<_>>(), (1..=500).collect::<Vec<_>>());
    let replayed = json(&augur(&["--json", "replay", "--verify", "--data", &data]));
    assert_eq!(replayed["records"], 500, "nobody was decided for twice: {replayed}");
}
