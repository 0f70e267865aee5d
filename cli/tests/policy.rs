//! `augur policy`, as typed: what is told, in which form, and with which exit code.
//!
//! Not here: what policies mean (`decision`), or activation (`server`).

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn augur(line: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_augur")).args(line).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn answer(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config")
}

/// The shipped definitions, with the policy as `change` makes it.
fn changed(change: impl FnOnce(String) -> String) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    for file in ["features.toml", "events.toml", "policy_tests.toml"] {
        std::fs::copy(shipped().join(file), dir.path().join(file)).unwrap();
    }
    let policy = change(std::fs::read_to_string(shipped().join("policy.toml")).unwrap());
    let path = dir.path().join("policy.toml");
    std::fs::write(&path, policy).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

#[test]
fn the_shipped_policy_passes_its_tests() {
    let policy = shipped().join("policy.toml");
    let tested = augur(&["policy", "test", policy.to_str().unwrap()]);
    assert!(tested.status.success(), "{}", said(&tested));
    assert!(said(&tested).contains("0 failed"), "{}", said(&tested));
    let one = augur(&["--json", "policy", "test", policy.to_str().unwrap(), "--only", "abandoned cart is"]);
    assert_eq!(answer(&one)["passed"], 1);
    assert_eq!(answer(&one)["tests"][0]["action"], "free_shipping");
}

#[test]
fn a_failing_test_is_told_with_what_became_of_the_actions() {
    let (_dir, policy) =
        changed(|text| text.replace("features.purchases_30d >= 5.0", "features.purchases_30d >= 50.0"));
    let tested = augur(&["policy", "test", &policy]);
    assert_eq!(tested.status.code(), Some(4), "{}", said(&tested));
    let text = said(&tested);
    assert!(text.contains("FAILED  regulars pay the full price"), "{text}");
    assert!(text.contains("refused.discount_10: expected REGULARS_PAY_FULL, found "), "{text}");
    assert!(text.contains("what became of the actions") && text.contains("discount_10 at "), "{text}");
    let told = answer(&augur(&["--json", "policy", "test", &policy]));
    assert_eq!(told["failed"], 2, "{told}");
}

#[test]
fn faulty_tests_and_missing_tests_are_told_apart() {
    let (dir, policy) = changed(|text| text);
    let file = dir.path().join("policy_tests.toml");
    std::fs::write(
        &file,
        "version = 1\n[[test]]\nname = \"a\"\ndecision_point = \"cart_pag\"\nexpect.rung = \"X\"\n",
    )
    .unwrap();
    let faulty = augur(&["--json", "policy", "test", &policy]);
    assert_eq!(faulty.status.code(), Some(3));
    assert_eq!(answer(&faulty)["faults"][0]["line"], 4);
    std::fs::remove_file(&file).unwrap();
    let none = augur(&["policy", "test", &policy]);
    assert_eq!(none.status.code(), Some(1));
    assert!(String::from_utf8(none.stderr).unwrap().contains("has no tests"));
}

#[test]
fn a_table_beside_the_policy_is_checked_with_it() {
    let table = "[[table]]\nname = \"ships\"\nfile = \"ships.csv\"\nhit = \"first\"\nthen = \"deny\"\n\
                 actions = [\"free_shipping\"]\npoints = [\"cart_page\"]\n";
    let (dir, policy) = changed(|text| format!("{text}\n{table}"));
    let check = || augur(&["--json", "policy", "check", &policy]);
    let missing = check();
    assert_eq!(answer(&missing)["faults"][0]["message"], "there is no file `ships.csv` beside the policy");
    let file = dir.path().join("ships.csv");
    std::fs::write(&file, "context.country,reason\nDE,SHIPS\n> 5,SHIPS\n").unwrap();
    let faulty = check();
    assert_eq!(faulty.status.code(), Some(3));
    let fault = &answer(&faulty)["faults"][0];
    assert_eq!((&fault["line"], &fault["column"]), (&Value::from(3), &Value::from(1)));
    assert!(fault["file"].as_str().unwrap().ends_with("ships.csv"), "{fault}");
    std::fs::write(&file, "context.country,reason\nDE,SHIPS\n").unwrap();
    assert!(check().status.success(), "{}", said(&check()));
}

#[test]
fn a_policy_is_linted_with_places_and_next_steps() {
    let shipped = shipped().join("policy.toml");
    let clean = augur(&["--json", "policy", "lint", shipped.to_str().unwrap(), "--deny", "warnings"]);
    assert!(clean.status.success(), "{}", said(&clean));
    assert_eq!(answer(&clean)["warnings"], 0, "{}", said(&clean));
    let (_dir, policy) = changed(|text| text.replace("features.sessions_count > 3.0", "3.0 < 2.0"));
    let line = ["policy", "lint", policy.as_str()];
    let advised = augur(&line);
    assert!(advised.status.success(), "findings are advice");
    let text = said(&advised);
    assert!(text.contains(": warning ALWAYS_REFUSED: action `welcome_back` is never given"), "{text}");
    assert_eq!(augur(&[&line[..], &["--deny", "warnings"]].concat()).status.code(), Some(3));
}

#[test]
fn findings_about_rows_lead_into_their_file_and_can_be_denied_by_code() {
    let table = "[[table]]\nname = \"ships\"\nfile = \"ships.csv\"\nhit = \"first\"\nthen = \"deny\"\n\
                 actions = [\"free_shipping\"]\npoints = [\"cart_page\"]\nreason = \"SHIPS\"\n";
    let (dir, policy) = changed(|text| format!("{text}\n{table}"));
    std::fs::write(dir.path().join("ships.csv"), "context.cart_value\n< 20\n< 10\n> 20\n").unwrap();
    let line = ["--json", "policy", "lint", policy.as_str()];
    let linted = answer(&augur(&line));
    let of = |code: &str| {
        let findings = linted["findings"].as_array().unwrap().iter();
        findings.filter(|found| found["code"] == code).map(ToString::to_string).collect::<Vec<_>>()
    };
    let (shadowed, gaps) = (of("SHADOWED"), of("TABLE_GAP"));
    assert!(shadowed.len() == 1 && shadowed[0].contains("ships.csv") && shadowed[0].contains("\"line\":3"));
    assert!(gaps.iter().any(|gap| gap.contains("`context.cart_value` = 20")), "{gaps:?}");
    let denied = |what: &str| augur(&[&line[..], &["--deny", what]].concat()).status.code();
    assert_eq!((denied("TABLE_GAP"), denied("CAP_NEVER_BINDS,NEVER_TRUE")), (Some(3), Some(0)));
    let no_code = augur(&[&line[..], &["--deny", "TABLE_GAPS"]].concat());
    assert!(String::from_utf8(no_code.stderr).unwrap().contains("TABLE_INCOMPLETE"), "codes are listed");
    let checked = augur(&["policy", "check", &policy]);
    assert!(checked.status.success(), "warnings are no faults");
    assert!(said(&checked).contains("ships.csv:3:1: warning SHADOWED: row 2 of table `ships` never acts"));
    assert!(said(&checked).contains("is valid"), "{}", said(&checked));
}

#[test]
fn the_sample_of_quiet_hours_is_a_policy() {
    let (_dir, policy) = changed(|text| {
        assert!(text.contains("\n#: [[channel]]"), "the sample is there");
        text.lines().map(|line| format!("{}\n", line.trim_start_matches("#:"))).collect()
    });
    let checked = augur(&["policy", "check", &policy]);
    assert!(checked.status.success(), "{}", said(&checked));
    let told = said(&augur(&["policy", "explain", &policy]));
    assert!(told.contains("21:00-08:00"), "{told}");
    let tested = augur(&["policy", "test", &policy]);
    assert!(tested.status.success(), "{}", said(&tested));
}

#[test]
fn a_policy_is_told_and_compared() {
    let (_dir, policy) = changed(|text| text.replace("priority = 50", "priority = 51"));
    let told = augur(&["policy", "explain", &policy]);
    assert!(told.status.success());
    let text = said(&told);
    assert!(text.contains("cart_page: answers within 50 ms; none unless there is better"), "{text}");
    assert!(text.contains("1. regulars_pay_full: if ") && text.contains("at most 3 per 7d"), "{text}");
    let points = &answer(&augur(&["--json", "policy", "explain", &policy]))["decision_points"];
    assert_eq!(points[0]["rules"][0]["id"], "regulars_pay_full");

    let shipped = shipped();
    let differ = augur(&["policy", "diff", shipped.to_str().unwrap(), &policy]);
    assert_eq!(differ.status.code(), Some(3));
    assert_eq!(said(&differ), "rule save_the_abandoned_cart: priority was 50, is now 51\n");
    let table = "[[table]]\nname = \"ships\"\nfile = \"ships.csv\"\nhit = \"first\"\nthen = \"deny\"\nactions = [\"free_shipping\"]\n";
    let with_table = |rows: &str, features: &str| {
        let (dir, policy) = changed(|text| format!("{text}\n{table}"));
        std::fs::write(dir.path().join("ships.csv"), rows).unwrap();
        let path = dir.path().join("features.toml");
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + features).unwrap();
        (dir, policy)
    };
    let (_one, before) = with_table("context.country,reason\nDE,SHIPS\n", "");
    let feature = "[[feature]]\nname = \"looks\"\nkind = \"total_count\"\nevents = [\"view_item\"]\n";
    let (_two, after) = with_table("context.country,reason\nAT,SHIPS\nCH,SHIPS\n", feature);
    let differ = augur(&["policy", "diff", &before, &after]);
    assert_eq!(
        said(&differ),
        "ships.csv: row 1: context.country was `DE`, is now `AT`\nships.csv: row 2 (CH, SHIPS) was added\n\
         features.toml: feature looks was added\n"
    );
    let table = augur(&["--json", "policy", "diff", shipped.to_str().unwrap(), &after]);
    assert!(answer(&table)["differences"].to_string().contains("\"sentence\":\"ships.csv was added\""));

    let same = augur(&["--json", "policy", "diff", &policy, &policy]);
    assert!(same.status.success() && answer(&same)["same"] == true);
}
