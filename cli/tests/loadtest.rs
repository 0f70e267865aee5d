//! The load test's commands, run against its own bare echo: no server and no data are needed.
//!
//! Not here: load on a real server (`demo`, `kill`), or the arithmetic (`augur-loadtest`'s own tests).

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")
)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

fn augur(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_augur")).args(args).output().unwrap()
}

fn json(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

struct Echo {
    process: Child,
    endpoint: String,
    process_id: String,
}

impl Echo {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_augur"))
            .args(["loadtest", "echo", "--reply-bytes", "700", "--workers", "1", "--json"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        let endpoint = ready["endpoint"].as_str().unwrap().to_owned();
        Self { process_id: process.id().to_string(), process, endpoint }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_run_beside_an_echo_tells_ratios_and_costs() {
    let echo = Echo::start();
    let target = ["--endpoint", &echo.endpoint, "--point", "any", "--server-pid", &echo.process_id, "--json"];
    let run = ["loadtest", "decide", "--rate", "2000", "--requests", "1000", "--warm-up", "0.1"];
    let beside = ["--echo", "--echo-workers", "1", "--rounds", "2"];
    let output = augur(&[&run[..], &target, &beside].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = json(&output);
    assert_eq!((&report["requests"], &report["ok"]), (&1_000.into(), &1_000.into()));
    assert_eq!(report["echo"]["answer_bytes"], 700);
    assert_eq!(report["echo"]["rounds"].as_array().unwrap().len(), 2);
    assert!(report["echo"]["ratios"]["p50"].as_f64().unwrap() > 0.0);
    assert!(report["server"]["resident_bytes"].as_u64().unwrap() > 1_000_000);
    assert!(report["client"]["cpu_seconds"].as_f64().unwrap() > 0.0);
    assert!(report["percentiles"].as_array().unwrap().len() > 10);
}

#[test]
fn kept_runs_are_compared_and_a_regression_has_its_exit_code() {
    let echo = Echo::start();
    let dir = tempfile::tempdir().unwrap();
    let run = |name: &str| {
        let output = augur(&[
            "loadtest",
            "decide",
            "--endpoint",
            &echo.endpoint,
            "--point",
            "any",
            "--rate",
            "5000",
            "--requests",
            "500",
            "--warm-up",
            "0",
            "--zipf",
            "1.1",
            "--json",
        ]);
        let path = dir.path().join(name);
        std::fs::write(&path, &output.stdout).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (first, second) = (run("first.json"), run("second.json"));
    let output = augur(&["loadtest", "compare", &first, &second, "--at-most", "1000000", "--json"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(json(&output)["ratios"]["p99"].as_f64().unwrap() > 0.0);
    let refused = augur(&["loadtest", "compare", &first, &second, "--at-most", "0"]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&refused.stdout).contains("beyond the bound: p99"));
    std::fs::write(&second, "{}").unwrap();
    let unreadable = augur(&["loadtest", "compare", &first, &second]);
    assert_eq!(unreadable.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unreadable.stderr).contains("second.json"));
}

#[test]
fn the_highest_rate_is_searched_and_a_wrong_objective_refused() {
    let echo = Echo::start();
    let search = |slo: &str| {
        augur(&[
            "loadtest",
            "search",
            "--endpoint",
            &echo.endpoint,
            "--point",
            "any",
            "--slo",
            slo,
            "--from",
            "50",
            "--up-to",
            "100",
            "--step-seconds",
            "0.2",
            "--warm-up",
            "0",
            "--json",
        ])
    };
    let output = search("max=100s");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let found = json(&output);
    assert_eq!(
        (found["highest_per_second"].as_f64(), found["is_lower_bound"].as_bool()),
        (Some(100.0), Some(true))
    );
    let missed = search("p50=1us");
    assert_eq!(missed.status.code(), Some(3));
    assert!(json(&missed)["highest_per_second"].is_null());
    let wrong = search("p98=2ms");
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("p99=2ms"));
}

#[test]
fn kinds_that_a_server_does_not_know_are_counted_as_failed() {
    let echo = Echo::start();
    let output = augur(&[
        "loadtest",
        "mix",
        "--endpoint",
        &echo.endpoint,
        "--point",
        "any",
        "--decide",
        "200",
        "--ingest",
        "20",
        "--outcomes",
        "10",
        "--seconds",
        "0.5",
        "--warm-up",
        "0",
        "--users",
        "50",
        "--json",
    ]);
    assert_eq!(output.status.code(), Some(3));
    let report = json(&output);
    assert_eq!(report["decide"]["ok"], report["decide"]["requests"]);
    assert_eq!(report["ingest"]["errors"]["UNIMPLEMENTED"], report["ingest"]["requests"]);
    assert!(report["features"].is_null());
}
