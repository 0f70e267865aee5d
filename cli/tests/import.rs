//! Imports as people do them: again, with another mapping, with a typing error.
//!
//! Not here: how each kind of file is read (`src/import`), or a real history (`real_data`).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

use std::io::Write;
use std::path::Path;
use std::process::Command;

const EVENTS: &str =
    "who,at,day,what,amount\nanna,1700000000,20231114,order,9.5\nben,1700000060,20231115,visit,\n";

/// The report and the exit code.
fn import(data: &Path, file: &Path, mapping: &[&str]) -> (serde_json::Value, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_augur"))
        .args(["import", "--json", "--data"])
        .args([data, file])
        .args(mapping)
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}\n{stdout}\n{stderr}"));
    (report, output.status.code())
}

#[test]
fn the_same_file_counts_once_however_it_is_mapped_or_packed() {
    let dir = tempfile::tempdir().unwrap();
    let (data, file) = (dir.path().join("data"), dir.path().join("events.csv"));
    std::fs::write(&file, EVENTS).unwrap();
    let mapping = ["--map", "user_id=who", "--map", "timestamp=at", "--map", "event=what"];
    let (first, code) = import(&data, &file, &mapping);
    assert_eq!((&first["accepted"], code), (&2.into(), Some(0)), "{first}");
    assert_eq!(first["first_event_time"], "2023-11-14T22:13:20.000Z");
    assert_eq!(first["last_event_time"], "2023-11-14T22:14:20.000Z");

    let corrected = [&mapping[..], &["--map", "value=amount", "--map-event", "order=purchase"]].concat();
    let (again, code) = import(&data, &file, &corrected);
    assert_eq!((&again["accepted"], &again["duplicates"], code), (&0.into(), &2.into(), Some(0)), "{again}");

    let packed = dir.path().join("events.csv.gz");
    let mut encoder =
        flate2::write::GzEncoder::new(std::fs::File::create(&packed).unwrap(), flate2::Compression::fast());
    encoder.write_all(EVENTS.as_bytes()).unwrap();
    encoder.write_all(b"cleo,1700000120,20231115,visit,\n").unwrap();
    encoder.finish().unwrap();
    let (packed, _) = import(&data, &packed, &mapping);
    assert_eq!((&packed["accepted"], &packed["duplicates"]), (&1.into(), &2.into()), "{packed}");
}

#[test]
fn dates_without_separators_are_not_taken_for_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("events.csv");
    std::fs::write(&file, EVENTS).unwrap();
    let mapping = |at| ["--map", "user_id=who", "--map", at, "--map", "event=what"];
    let (guessed, code) = import(&dir.path().join("guessed"), &file, &mapping("timestamp=day"));
    assert_eq!((&guessed["bad_rows"], code), (&2.into(), Some(3)), "{guessed}");
    assert!(guessed["bad_row_examples"][0]["expected"].as_str().unwrap().contains("`:%Y%m%d`"), "{guessed}");
    assert!(guessed["first_event_time"].is_null());
    let (told, code) = import(&dir.path().join("told"), &file, &mapping("timestamp=day:%Y%m%d"));
    assert_eq!((&told["first_event_time"], code), (&"2023-11-14T00:00:00.000Z".into(), Some(0)), "{told}");
}

#[test]
fn a_field_that_no_line_has_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("events.jsonl");
    std::fs::write(&file, "{\"who\":\"anna\",\"at\":1700000000,\"amount\":9.5}\n").unwrap();
    let mapping =
        ["--map", "user_id=who", "--map", "timestamp=at", "--event-name", "visit", "--map", "value=amonut"];
    let (report, code) = import(&dir.path().join("data"), &file, &mapping);
    assert_eq!((&report["accepted"], code), (&1.into(), Some(3)), "{report}");
    assert_eq!(report["absent_columns"], serde_json::json!(["amonut"]));
    assert_eq!(report["seen_fields"], serde_json::json!(["amount", "at", "who"]));
}
