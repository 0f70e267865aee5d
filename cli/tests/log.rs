//! `augur log`, as typed, over a log of several segments, policies and feature sets: counts, damage, the last lines, and
//! Parquet that says what the records say.
//!
//! Not here: deciding again (`replay`), or other programs that open the Parquet (`tests/python`).

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, UInt64Type};
use arrow_array::{Array, RecordBatch};
use augur_loadtest::domain::DecisionRecord;
use augur_shadow_harness::DataDirectory;
use augur_shadow_harness::decision_log::{Config, Log, Reader};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shadow-harness/testdata/golden")
}

fn log(arguments: &[&str]) -> Output {
    let line = [&["--json", "log"], arguments].concat();
    Command::new(env!("CARGO_BIN_EXE_augur")).args(line).output().unwrap()
}

fn answer(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

fn records() -> Vec<DecisionRecord> {
    Reader::open(&golden().join("decisions")).unwrap().map(|item| item.unwrap().1).collect()
}

fn copied() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(golden().join("decisions")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    dir
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = names.filter(|path| path.extension().is_some_and(|is| is == "log")).collect();
    segments.sort();
    segments
}

#[test]
fn a_whole_log_is_counted() {
    let golden = golden();
    let output = log(&["stat", "--data", golden.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    let (answer, records) = (answer(&output), records());
    assert_eq!(answer["records"], records.len());
    assert_eq!(answer["segments"].as_array().unwrap().len(), segments(&golden.join("decisions")).len());
    let mut points = BTreeMap::<&str, u64>::new();
    for record in &records {
        *points.entry(&record.inputs.decision_point).or_default() += 1;
    }
    assert_eq!(answer["points"], serde_json::to_value(points).unwrap());
    let verified = log(&["verify", "--data", golden.to_str().unwrap()]);
    assert_eq!(verified.status.code(), Some(0));
}

#[test]
fn damage_is_told_with_its_place_and_its_exit_code() {
    let verify = |dir: &Path| {
        let output = log(&["verify", "--decisions", dir.to_str().unwrap()]);
        (output.status.code().unwrap(), answer(&output))
    };
    let dir = copied();
    let second = &segments(dir.path())[1];
    let mut bytes = std::fs::read(second).unwrap();
    bytes[200] ^= 1;
    std::fs::write(second, bytes).unwrap();
    let (code, found) = verify(dir.path());
    assert_eq!(code, 4);
    let name = second.file_name().unwrap().to_str().unwrap();
    assert!(found["first_faults"][0].as_str().unwrap().contains(name), "{found}");
    assert!(found["lost_records"].as_u64().unwrap() >= 1);
    assert_eq!(
        found["records"].as_u64().unwrap() + found["lost_records"].as_u64().unwrap(),
        records().len() as u64,
        "what lies behind the damage is read"
    );

    let dir = copied();
    std::fs::remove_file(&segments(dir.path())[1]).unwrap();
    assert_eq!(verify(dir.path()).0, 4, "a segment is missing");

    let dir = copied();
    for segment in segments(dir.path()) {
        std::fs::remove_file(segment).unwrap();
    }
    assert_eq!(verify(dir.path()).0, 7);
    assert_eq!(log(&["verify", "--decisions", "/nowhere"]).status.code(), Some(1));
}

/// A copy of the golden log, all of its closed segments sealed.
fn sealed() -> tempfile::TempDir {
    let dir = copied();
    let (log, _) = Log::open(Config::new(dir.path())).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while log.stats().sealed_segments + 1 < segments(dir.path()).len() as u64 {
        assert!(std::time::Instant::now() < deadline, "{:?}", log.stats());
        std::thread::yield_now();
    }
    log.close().unwrap();
    dir
}

#[test]
fn sealed_segments_are_verified_shown_and_replayed_as_before() {
    let dir = sealed();
    let place = ["--decisions", dir.path().to_str().unwrap()];
    let run = |line: &[&str]| log(&[line, &place[..]].concat());
    let stat = answer(&run(&["stat"]));
    let told = stat["segments"].as_array().unwrap();
    assert!(told.len() > 1 && told.split_last().unwrap().1.iter().all(|segment| segment["sealed"] == true));
    assert_eq!(stat["first_sequence"], 1);
    assert_eq!(stat["last_hash"].as_str().unwrap().len(), 64);
    assert_eq!(run(&["verify"]).status.code(), Some(0));

    let golden = golden();
    let records = records();
    for record in [&records[0], records.last().unwrap()] {
        for name in [record.sequence.to_string(), record.inputs.decision_id.to_string()] {
            let data = golden.to_str().unwrap();
            let shown = answer(&run(&["show", &name, "--data", data]));
            assert_eq!(shown["decision_id"], record.inputs.decision_id.to_string());
            assert_eq!(shown["sequence"], record.sequence);
            assert_eq!(shown["seed"], record.inputs.seed);
            assert_eq!(shown["sealed"], record.sequence == 1);
            let features = shown["features"].as_array().unwrap();
            assert_eq!(features.len(), record.inputs.features.values.len());
            assert!(!features[0]["name"].as_str().unwrap().starts_with("slot"), "{shown}");
        }
    }
    let absent = run(&["show", "99999999"]);
    assert_eq!(absent.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&absent.stderr).contains("one that is in the log"), "{absent:?}");

    // A whole segment in the place of another of the same length is found by the chain alone: here, its own raw copy.
    let raw = segments(&golden.join("decisions"))[0].clone();
    std::fs::copy(raw, &segments(dir.path())[0]).unwrap();
    let verified = run(&["verify"]);
    assert_eq!(verified.status.code(), Some(4));
    let fault = answer(&verified)["first_faults"][0].as_str().unwrap().to_owned();
    assert!(fault.contains("it is not sealed, though segment"), "{fault}");
}

#[test]
fn what_is_held_is_told_until_it_is_released() {
    let dir = copied();
    let place = ["--decisions", dir.path().to_str().unwrap()];
    let run = |line: &[&str]| log(&[line, &place[..]].concat());
    assert_eq!(run(&["hold", "export", "--from", "7"]).status.code(), Some(0));
    assert_eq!(answer(&run(&["stat"]))["holds"], serde_json::json!({ "export": 7 }));
    assert_eq!(
        answer(&run(&["hold", "--list"]))["holds"],
        serde_json::json!([{ "name": "export", "first_sequence": 7 }])
    );
    assert_eq!(run(&["hold", "export", "--release"]).status.code(), Some(0));
    assert_eq!(run(&["hold", "export", "--release"]).status.code(), Some(1));
    assert_eq!(run(&["hold", "No!", "--from", "7"]).status.code(), Some(1));
    assert_eq!(answer(&run(&["hold", "--list"]))["holds"], serde_json::json!([]));
}

#[test]
fn the_last_lines_are_the_last_decisions() {
    let golden = golden();
    let output = log(&["tail", "--data", golden.to_str().unwrap(), "-n", "3"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let records = records();
    for (line, record) in lines.iter().zip(&records[records.len() - 3..]) {
        assert_eq!(line["decision_id"], record.inputs.decision_id.to_string());
        assert_eq!(line["action"], *record.decision.action);
    }
    let point = &*records[0].inputs.decision_point;
    let output = log(&["tail", "--data", golden.to_str().unwrap(), "-n", "100000", "--point", point]);
    let count = records.iter().filter(|record| &*record.inputs.decision_point == point).count();
    assert_eq!(output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count(), count);
}

fn batches(out: &Path) -> Vec<RecordBatch> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(out)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .flat_map(|day| std::fs::read_dir(day).unwrap().map(|entry| entry.unwrap().path()))
        .collect();
    files.sort();
    files
        .into_iter()
        .flat_map(|file| {
            let file = std::fs::File::open(file).unwrap();
            ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap()
        })
        .map(Result::unwrap)
        .collect()
}

#[test]
fn an_export_says_what_the_records_say_and_goes_on_where_it_was() {
    let (golden, out) = (golden(), tempfile::tempdir().unwrap());
    let arguments = ["export", "--data", golden.to_str().unwrap(), "--out", out.path().to_str().unwrap()];
    let first = answer(&log(&arguments));
    assert_eq!(first["left_open"], true, "the last segment may still be written");
    let second = answer(&log(&arguments));
    assert_eq!((&second["records"], &second["segments_before"]), (&Value::from(0), &first["segments"]));
    let last = answer(&log(&[&arguments[..], &["--partial"]].concat()));
    let records = records();
    let exported = first["records"].as_u64().unwrap() + last["records"].as_u64().unwrap();
    assert_eq!(exported, records.len() as u64);

    let by_sequence: BTreeMap<u64, &DecisionRecord> =
        records.iter().map(|record| (record.sequence, record)).collect();
    let source = DataDirectory::new(&golden);
    let mut seen = 0;
    for batch in batches(out.path()) {
        let sequences = batch["sequence"].as_primitive::<UInt64Type>();
        let ids = batch["decision_id"].as_string::<i32>();
        let probabilities = batch["candidate_probabilities"].as_list::<i32>();
        let candidates = batch["candidates"].as_list::<i32>();
        for row in 0..batch.num_rows() {
            seen += 1;
            let record = by_sequence[&sequences.value(row)];
            assert_eq!(ids.value(row), record.inputs.decision_id.to_string());
            let of_row = probabilities.value(row);
            let of_row: Vec<f64> = of_row.as_primitive::<Float64Type>().values().to_vec();
            let logged: Vec<f64> = record.decision.candidates.iter().map(|of| of.probability).collect();
            assert_eq!(of_row, logged);
            assert_eq!(candidates.value(row).len(), logged.len());
            let set = source.feature_set(record.policy).unwrap();
            for (slot, info) in set.features().iter().enumerate() {
                let column = batch.column_by_name(&format!("feature.{}", info.name)).unwrap();
                assert_eq!(
                    column.is_null(row),
                    record.inputs.features.usable(slot).is_none(),
                    "{}",
                    info.name
                );
                if let Some(column) =
                    column.as_primitive_opt::<Float64Type>().filter(|column| !column.is_null(row))
                {
                    assert_eq!(Some(column.value(row)), record.inputs.features.usable(slot));
                }
            }
        }
    }
    assert_eq!(seen, records.len());
}

#[test]
fn an_export_without_policies_has_no_features_and_says_so() {
    let (dir, out) = (copied(), tempfile::tempdir().unwrap());
    let decisions = dir.path().to_str().unwrap();
    let exported =
        log(&["export", "--decisions", decisions, "--out", out.path().to_str().unwrap(), "--partial"]);
    let exported = answer(&exported);
    assert_eq!(exported["without_features"], exported["records"]);
    assert!(
        batches(out.path())[0].schema().fields().iter().all(|field| !field.name().starts_with("feature."))
    );
    std::fs::write(out.path().join("exported.json"), "{").unwrap();
    let refused = log(&["export", "--decisions", decisions, "--out", out.path().to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("remove the folder to begin anew"));
}
