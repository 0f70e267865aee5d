//! `augur ope`, as typed: published values of the Open Bandit logs, logs that cannot tell, what bad tables are told.
//!
//! The Open Bandit logs are not part of the repository. They are looked for in the directory that `AUGUR_DATA` names, else
//! in `shared/data` beside the workspace; when they are not there that test says so and checks nothing. Not here: the
//! estimators (`shadow-harness`), which have published values of their own.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const COLUMNS: [&str; 6] = ["--reward", "reward", "--propensity", "pscore", "--target", "pi_e"];

fn ope(table: &Path, arguments: &[&str]) -> Output {
    let line = [&["--json", "ope", "--input", table.to_str().unwrap()], &COLUMNS[..], arguments].concat();
    Command::new(env!("CARGO_BIN_EXE_augur")).args(line).output().unwrap()
}

fn answer(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

fn open_bandit() -> Option<PathBuf> {
    let beside_workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
    let root = std::env::var_os("AUGUR_DATA").map_or_else(|| PathBuf::from(beside_workspace), PathBuf::from);
    let dir = root.join("open_bandit");
    if !dir.is_dir() {
        eprintln!("\nSKIPPED, NOTHING CHECKED: no data in {}; set AUGUR_DATA\n", dir.display());
    }
    dir.is_dir().then_some(dir)
}

/// Saito et al. 2020: ten thousand impressions of a fashion shop under two policies, and what the Open Bandit Pipeline
/// 0.5.5 makes of them.
#[test]
fn the_open_bandit_logs_give_their_published_values() {
    let Some(dir) = open_bandit() else { return };
    let expected = std::fs::read_to_string(dir.join("expected_women.json")).unwrap();
    let expected: Value = serde_json::from_str(&expected).unwrap();
    for (file, case) in expected["cases"].as_object().unwrap() {
        let model = ["--model", "q_hat", "--model-target", "dm", "--clip", "10", "--resamples", "200"];
        let output = ope(&dir.join(file), &[&model[..], &["--actions", "46"]].concat());
        let answer = answer(&output);
        let estimate = |name: &str| {
            let all = answer["estimates"].as_array().unwrap();
            all.iter().find(|estimate| estimate["estimator"] == name).unwrap()
        };
        let near = |found: &Value, expected: &Value, what: &str| {
            let (found, expected) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
            assert!(
                (found - expected).abs() <= 1e-9 * expected.abs().max(1.0),
                "{file} {what}: {found}, {expected}"
            );
        };
        for (ours, theirs) in [
            ("ips", "ipw"),
            ("snips", "snipw"),
            ("dm", "dm"),
            ("dr", "dr"),
            ("sndr", "sndr"),
            ("clipped_ips", "ipw_clip10"),
            ("switch_dr", "switch-dr10"),
            ("dr_os", "dr-os10"),
        ] {
            near(&estimate(ours)["value"], &case["estimates"][theirs], ours);
        }
        for (ours, theirs) in [("ips", "ipw"), ("dm", "dm"), ("dr", "dr"), ("snips", "snipw")] {
            near(&estimate(ours)["standard_error"], &case["normal_se"][theirs], ours);
            near(&estimate(ours)["normal"]["low"], &case["normal_ci95"][theirs][0], ours);
            near(&estimate(ours)["normal"]["high"], &case["normal_ci95"][theirs][1], ours);
        }
        for (ours, theirs) in [
            ("mean_weight", "mean_weight"),
            ("max_weight", "max_weight"),
            ("effective_rows", "ess"),
            ("min_propensity", "min_pscore"),
            ("zero_weights", "zero_weight"),
        ] {
            near(&answer["diagnostics"][ours], &case["diagnostics"][theirs], ours);
        }
        // One log explores uniformly and can tell; in the other, two rows carry all the weight.
        let uniform = case["logs"] == "random";
        assert_eq!(output.status.code(), Some(if uniform { 0 } else { 3 }), "{file}");
        assert_eq!(answer["verdict"]["identifiable"], uniform);
        if !uniform {
            let refusals = answer["verdict"]["refusals"].as_array().unwrap();
            let few = refusals.iter().find(|refusal| refusal["cause"] == "FEW_EFFECTIVE_ROWS").unwrap();
            let exploration = few["exploration"].as_f64().unwrap();
            assert!(exploration > 0.0 && exploration < 1.0, "{few}");
        }
    }
}

fn written(rows: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.csv");
    std::fs::write(&path, rows).unwrap();
    (dir, path)
}

#[test]
fn a_table_of_ones_own_is_told_in_words() {
    let rows: String = (0..500)
        .map(|row| format!("{},0.5,{},u{}\n", row % 3 % 2, 0.25 + 0.5 * f64::from(row % 2), row / 2))
        .collect();
    let (_dir, path) = written(&format!("reward,pscore,pi_e,user\n{rows}"));
    let line = [&["ope", "--input", path.to_str().unwrap()], &COLUMNS[..], &["--group", "user"]].concat();
    let output = Command::new(env!("CARGO_BIN_EXE_augur")).args(line).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("500 rows") && text.contains("value of the target policy: 0.3"), "{text}");
    assert!(!text.contains("  dm"), "without a reward model there is no estimate by one\n{text}");
    let grouped = answer(&ope(&path, &["--group", "user"]));
    assert_eq!(grouped["diagnostics"]["groups"], 250);
}

#[test]
fn what_cannot_be_used_is_named_with_its_place() {
    for (rows, arguments, expected) in [
        (
            "reward,pscore,pi_e\n1,0.5,0.5\n1,0,0.5\n",
            &[][..],
            "row 2: propensity is 0; expected a probability above 0",
        ),
        ("reward,pscore,pi_e\n1,0.5,x\n", &[], "row 1, column `pi_e` holds `x`; expected a number"),
        ("reward,pscore\n1,0.5\n", &[], "pi_e"),
        ("reward,pscore,pi_e\n", &[], "there are no rows"),
        ("reward,pscore,pi_e\n1,1,1\n", &["--model", "q"], "--model-target"),
        ("reward,pscore,pi_e\n1,1,1\n", &["--clip", "0"], "expected a number above 0"),
    ] {
        let (_dir, path) = written(rows);
        let output = ope(&path, arguments);
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && complaint.contains(expected), "{rows}: {complaint}");
    }
}
