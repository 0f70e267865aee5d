//! `augur experiment report` over files, as typed.
//!
//! Not here: the statistics, or reading logs (`shadow-harness`).

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::float_cmp,
        reason = "tests fail by panicking"
    )
)]

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Output};

fn augur(line: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_augur")).args(line).output().unwrap()
}

/// Customers of two arms; `b` converts twice as often and spends more. Every fourth has two rows.
fn results(customers: u64, share_of_b: u64) -> String {
    let mut rows = "customer,variant,bought,revenue,before\n".to_owned();
    for customer in 0..customers {
        let draw =
            customer.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let (in_b, chance, before) = ((draw >> 40) % 100 < share_of_b, (draw >> 20) % 100, (draw >> 8) % 50);
        let arm = if in_b { "b" } else { "a" };
        let bought = chance < if in_b { 20 } else { 10 };
        let revenue = before + if bought { 30 } else { 0 };
        writeln!(rows, "c{customer},{arm},{bought},{revenue},{before}").unwrap();
        if customer.is_multiple_of(4) {
            writeln!(rows, "c{customer},{arm},,5,").unwrap();
        }
    }
    writeln!(rows, "c1,,true,9,9").unwrap();
    rows
}

/// The rows of a published table: its cells, without the marks around them.
fn published(title: &str) -> Vec<Vec<String>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/experiments.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows =
        page.lines().skip_while(|line| *line != title).skip(2).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| -> Vec<String> {
        row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    };
    rows.map(cells).collect()
}

#[test]
fn assignments_are_those_of_the_published_vectors() {
    let dir = tempfile::tempdir().unwrap();
    let policy = dir.path().join("policy.toml");
    std::fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/features.toml"),
        dir.path().join("features.toml"),
    )
    .unwrap();
    let buckets = published("| of | salt | user | hash | bucket |");
    assert_eq!(buckets.len(), 27);
    let arms = published("| salt | arm | weight | user | hash | distance |");
    let point = "version = 1\n[[decision_point]]\nname = \"here\"\nactions = [\"none\"]\ndefault_action = \"none\"\n\
                 deadline = \"50ms\"\n[[action]]\nname = \"none\"\n";
    let two_arms =
        "[[experiment.arm]]\nname = \"control\"\n[[experiment.arm]]\nname = \"bold\"\nweight = 3\n";
    // A salt is never empty.
    for row in buckets.iter().filter(|row| !row[1].is_empty()) {
        let [of, salt, user, _, bucket] = row.as_slice() else { panic!("{row:?}") };
        let declared = match of.as_str() {
            "holdout" => format!("[[holdout]]\nname = \"x\"\nshare = 0.5\nsalt = \"{salt}\"\n"),
            "layer" => format!(
                "[[layer]]\nname = \"l\"\nsalt = \"{salt}\"\n[[experiment]]\nname = \"x\"\nlayer = \"l\"\nshare = 0.5\n{two_arms}"
            ),
            _ => format!("[[experiment]]\nname = \"x\"\nshare = 0.5\nsalt = \"{salt}\"\n{two_arms}"),
        };
        std::fs::write(&policy, format!("{point}{declared}")).unwrap();
        let line =
            ["--json", "experiment", "assign", "--user-key", user, "--policy", policy.to_str().unwrap()];
        let told = augur(&line);
        let answer: serde_json::Value =
            serde_json::from_slice(&told.stdout).unwrap_or_else(|_| panic!("{told:?}"));
        let standing = &answer["standings"][0];
        assert_eq!(standing["bucket"].to_string(), *bucket, "{row:?}: {answer}");
        let below_half = standing["bucket"].as_u64().unwrap() < 500_000;
        assert_eq!(standing["standing"] == "IN", below_half, "{answer}");
        // The nearest arm, by the published distances.
        if of == "experiment" && salt == "checkout" && arms.iter().any(|arm| arm[3] == *user) {
            let distance = |name: &str, weight: &str| {
                let row =
                    arms.iter().find(|arm| arm[1] == name && arm[2] == weight && arm[3] == *user).unwrap();
                f64::from_bits(u64::from_str_radix(&row[5], 16).unwrap())
            };
            let nearest =
                if distance("bold", "3.0") < distance("control", "1.0") { "bold" } else { "control" };
            assert_eq!(standing["arm"], nearest, "{answer}");
        }
    }
    let wrong = augur(&["experiment", "assign", "--user-key", "12", "--policy", policy.to_str().unwrap()]);
    assert!(String::from_utf8(wrong.stderr).unwrap().contains("32 hexadecimal digits"));
}

fn report(file: &Path, more: &[&str]) -> Output {
    let line = ["--json", "experiment", "report", "--input", file.to_str().unwrap()];
    let columns = ["--unit", "customer", "--arm", "variant", "--outcome", "bought"];
    augur(&[&line[..], &columns, more].concat())
}

#[test]
fn a_file_of_another_system_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("results.csv");
    std::fs::write(&file, results(8_000, 50)).unwrap();
    let made = report(&file, &["--value", "revenue", "--pre", "before", "--tuned-for", "8000"]);
    assert!(made.status.success(), "{made:?}");
    let answer: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!((answer["units"].as_u64(), answer["file"]["rows"].as_u64()), (Some(8_000), Some(10_001)));
    assert_eq!(answer["file"]["rows_without_unit_or_arm"], 1);
    assert_eq!(answer["arms"][0]["arm"], "a");
    let conversion = &answer["comparisons"][0]["conversion"];
    assert!(conversion["always"]["interval"]["low"].as_f64().unwrap() > 0.0, "{conversion}");
    let value = &answer["comparisons"][0]["value"];
    assert!(value["adjusted"]["variance_reduction"].as_f64().unwrap() > 0.5, "{value}");

    let columns = ["--unit", "customer", "--arm", "variant", "--outcome", "bought"];
    let file_text = file.to_str().unwrap();
    let said = augur(&[&["experiment", "report", "--input", file_text][..], &columns].concat());
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("b against a") && said.contains("any time") && said.contains("better"), "{said}");
}

#[test]
fn wrong_shares_and_wrong_cells_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("results.csv");
    std::fs::write(&file, results(8_000, 55)).unwrap();
    let void = report(&file, &[]);
    assert_eq!(void.status.code(), Some(3), "{void:?}");
    let answer: serde_json::Value = serde_json::from_slice(&void.stdout).unwrap();
    assert_eq!(answer["sample_ratio"]["mismatch"], true);
    let declared = report(&file, &["--weights", "a=45,b=55"]);
    assert_eq!(declared.status.code(), Some(0), "{declared:?}");

    let complaint = |output: Output| {
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let wrong = complaint(report(&file, &["--value", "variant"]));
    assert!(wrong.contains("row 1, column `variant` has `"), "{wrong}");
    let wrong = complaint(report(&file, &["--weights", "a=1"]));
    assert!(wrong.contains("the weight of arm `b` is not given"), "{wrong}");
    let wrong = complaint(report(&file, &["--weights", "a"]));
    assert!(wrong.contains("ARM=WEIGHT"), "{wrong}");
    std::fs::write(&file, "customer,variant,bought\n,,\n").unwrap();
    assert!(complaint(report(&file, &[])).contains("1 rows, none with a unit and an arm"));
}
