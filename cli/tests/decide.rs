//! `augur decide` and `augur decisions explain`, as typed: a run that broke off goes on, and nobody is decided for twice.
//!
//! Not here: how one decision is made (`server`).

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")
)]

mod support;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use arrow_array::cast::AsArray;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use support::{Server, augur, json};

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

/// `augur decide` of a server, under way.
fn decide_remotely(endpoint: &str, users: &str, output: &Path, more: &[&str]) -> Child {
    let line = ["--json", "decide", "--input", users, "--user", "customer", "--point", "cart_page"];
    Command::new(env!("CARGO_BIN_EXE_augur"))
        .args(line)
        .args(["--context", "cart_value=basket", "--endpoint", endpoint, "--output"])
        .arg(output)
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn wait_for(path: &Path, child: &mut Child) {
    while !path.exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before there was {}", path.display());
        // sleep: another process gives no event to wait for
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Records in the log, all of which replay.
fn records(data: &str) -> u64 {
    let replayed = json(&augur(&["--json", "replay", "--verify", "--data", data]));
    assert_eq!(replayed["verdict"], "identical", "{replayed}");
    replayed["records"].as_u64().unwrap()
}

#[test]
fn a_server_that_is_killed_and_comes_back_decides_for_nobody_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (data, users) = prepared(dir.path(), 14_000);
    let output = dir.path().join("decisions.parquet");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut server = Server::start_at(Path::new(&data), &free);
    let more = ["--batch", "100", "--in-flight", "3", "--patience", "2m"];
    let mut run = decide_remotely(&server.endpoint, &users, &output, &more);
    // The first ten thousand are written down, the rest is under way.
    wait_for(&dir.path().join("decisions.parquet.parts/000000.parquet"), &mut run);
    server.kill();
    let mut server = Server::start_at(Path::new(&data), &free);
    let done = run.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(3), "one row has no number: {done:?}");
    let report = json(&done);
    assert_eq!((&report["decided"], &report["failed"]), (&13_999.into(), &1.into()), "{report}");
    let (rows, groups) = written(&output);
    assert_eq!((rows.len(), groups), (13_999, 2));
    let ids: BTreeSet<&str> = rows.iter().map(|(_, id)| id.as_str()).collect();
    assert_eq!(ids.len(), 13_999, "every row has a decision of its own");
    assert!(rows.windows(2).all(|pair| pair[0].0 < pair[1].0), "in the order of the file");
    server.kill();
    let made = records(&data);
    // Decided and not yet kept under their keys when the server died: nobody was told of these.
    assert!((13_999..=13_999 + 300).contains(&made), "{made} records");
}

#[test]
fn a_run_whose_server_is_gone_for_good_breaks_off_and_goes_on_with_another() {
    let dir = tempfile::tempdir().unwrap();
    let (data, users) = prepared(dir.path(), 1_500);
    let output = dir.path().join("decisions.parquet");
    let mut server = Server::start(Path::new(&data));
    let more = ["--batch", "5", "--in-flight", "1", "--patience", "1ms"];
    let mut run = decide_remotely(&server.endpoint, &users, &output, &more);
    wait_for(&dir.path().join("decisions.parquet.parts/run"), &mut run);
    server.kill();
    let broken = run.wait_with_output().unwrap();
    assert_eq!(broken.status.code(), Some(1), "{broken:?}");
    assert!(String::from_utf8(broken.stderr).unwrap().contains("--resume"));
    assert!(!output.exists());

    let mut server = Server::start(Path::new(&data));
    let resumed =
        decide_remotely(&server.endpoint, &users, &output, &["--resume"]).wait_with_output().unwrap();
    assert_eq!(json(&resumed)["decided"], 1_499, "{resumed:?}");
    let undeclared =
        decide_remotely(&server.endpoint, &users, &output.with_extension("2"), &["--context", "x=basket"]);
    let undeclared = String::from_utf8(undeclared.wait_with_output().unwrap().stderr).unwrap();
    assert!(undeclared.contains("out of") && undeclared.contains("cart_value"), "{undeclared}");
    server.kill();
    let made = records(&data);
    assert!((1_499..=1_499 + 5).contains(&made), "{made} records");
}
