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
