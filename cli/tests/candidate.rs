//! `augur replay --policy` and `--model`, as typed: what a candidate changes, for whom and why, over a log of several
//! policies and models.
//!
//! Not here: replaying what was decided (`demo`, and `shadow-harness`).

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use augur_loadtest::domain::DecisionRecord;
use augur_shadow_harness::DataDirectory;
use augur_shadow_harness::decision_log::Reader;
use serde_json::Value;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shadow-harness/testdata/golden")
}

fn replay(arguments: &[&str]) -> Output {
    let golden = golden();
    let line = [&["--json", "replay", "--data", golden.to_str().unwrap()], arguments].concat();
    Command::new(env!("CARGO_BIN_EXE_augur")).args(line).output().unwrap()
}

fn answer(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

fn records() -> Vec<DecisionRecord> {
    Reader::open(&golden().join("decisions")).unwrap().map(|item| item.unwrap().1).collect()
}

/// The text of the policy that made the first decision.
fn first_policy() -> String {
    let policy = DataDirectory::new(golden()).policy_dir(records()[0].policy);
    std::fs::read_to_string(policy.join("policy.toml")).unwrap()
}

fn written(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("candidate.toml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

#[test]
fn a_rule_that_denies_an_action_takes_it_from_everybody_and_is_named() {
    let records = records();
    let mut given = BTreeMap::<(&str, &str), u64>::new();
    for record in &records {
        *given.entry((&record.inputs.decision_point, &record.decision.action)).or_default() += 1;
    }
    let policy = first_policy();
    let defaults: Vec<&str> = policy
        .lines()
        .filter_map(|line| line.strip_prefix("default_action = \"")?.strip_suffix('"'))
        .collect();
    let ((_, action), _) = given
        .iter()
        .filter(|((_, action), _)| !defaults.contains(action))
        .max_by_key(|(_, count)| **count)
        .unwrap();
    let rule = format!(
        "\n[[rule]]\nid = \"candidate\"\nwhen = \"true\"\nthen = \"deny\"\nactions = [\"{action}\"]\nreason = \"CANDIDATE\"\n"
    );
    let (_dir, path) = written(&(policy + &rule));
    let output = replay(&["--policy", &path]);
    let report = answer(&output);
    assert_eq!(report["records"], records.len());
    assert_eq!(report["actions"][*action]["candidate"], 0, "{report:#}");
    assert!(report["actions"][*action]["logged"].as_u64().unwrap() > 0);
    let causes = report["causes"].as_object().unwrap();
    assert!(causes.keys().any(|cause| cause.contains("RULE_DENIED (CANDIDATE)")), "{causes:?}");
    let flipped = report["flips"]["flipped"].as_u64().unwrap();
    assert_eq!(causes.values().map(|count| count.as_u64().unwrap()).sum::<u64>(), flipped);
    let (low, share, high) = (&report["flips"]["low"], &report["flips"]["share"], &report["flips"]["high"]);
    assert!(low.as_f64() < share.as_f64() && share.as_f64() < high.as_f64());
}

#[test]
fn other_models_change_scores_and_nothing_else_is_blamed() {
    let records = records();
    let version = |alias: &str| {
        let models = records.iter().flat_map(|record| &record.models);
        models.filter(|(known, _)| &**known == alias).map(|(_, model)| model.version).max().unwrap()
    };
    let newest = format!("churn={}", version("churn"));
    let report = answer(&replay(&["--model", &newest, "--exposures", "logged"]));
    let shift = &report["scores"]["churn"];
    assert!(shift["changed"].as_u64().unwrap() > 0, "{report:#}");
    assert!(shift["changed"].as_u64() < shift["scored"].as_u64(), "some were scored by that version");
    let causes = report["causes"].as_object().unwrap();
    assert!(!causes.is_empty() && causes.keys().all(|cause| cause == "score of churn"), "{causes:?}");
}

#[test]
fn gates_hold_a_candidate() {
    let (_dir, gates) = written("max_flip_share = 0.0\n[max_growth]\nnothing_of_the_kind = 1.0\n");
    let (_other, same) = written(&first_policy());
    let output = replay(&["--policy", &same, "--gate", &gates]);
    let report = answer(&output);
    let passes = report["gates"].as_array().unwrap().iter().all(|gate| gate["passes"] == true);
    assert_eq!(output.status.code(), Some(if passes { 0 } else { 3 }), "{report:#}");
    let (_dir, bad) = written("max_flips = 1\n");
    let refused = replay(&["--policy", &same, "--gate", &bad]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    for expected in ["candidate.toml:1:1: there is no gate `max_flips`", "did you mean `max_flip_share`?"] {
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn what_cannot_be_told_holds_and_what_passes_is_promoted() {
    let (_dir, same) = written(&first_policy());
    let (_other, gates) = written("max_flip_share = 1.0\n");
    let output = replay(&["--policy", &same, "--gate", &gates, "--segment", "action"]);
    let report = answer(&output);
    assert_eq!((output.status.code(), &report["verdict"]), (Some(0), &Value::from("PROMOTE")), "{report:#}");
    assert_eq!(report["validity"]["control"]["equal"], records().len());
    assert!(report["segments"].as_array().unwrap().iter().all(|segment| segment["by"] == "action"));
    assert!(report["timing"]["logged_decide"]["count"].as_u64().unwrap() > 0);
    // Without the control nothing is promoted, whatever the gates say.
    let output = replay(&["--policy", &same, "--gate", &gates, "--no-control"]);
    assert_eq!((output.status.code(), &answer(&output)["verdict"]), (Some(8), &Value::from("HOLD")));
    // No outcomes were joined, so there is no telling the value.
    let (_third, value) = written("min_value_ratio = 1.0\n");
    let output = replay(&["--policy", &same, "--gate", &value]);
    let report = answer(&output);
    assert_eq!((output.status.code(), &report["gates"][1]["outcome"]), (Some(8), &Value::from("UNSURE")));
    assert!(report["gates"][1]["note"].as_str().unwrap().contains("--reward"), "{report:#}");
    for (argument, bad) in [("--segment", "country"), ("--label", "churn=bought"), ("--label", "churn")] {
        assert_eq!(replay(&["--policy", &same, argument, bad]).status.code(), Some(2), "{argument} {bad}");
    }
}

#[test]
fn the_report_is_one_page_beside_the_answer() {
    let policy = first_policy();
    let rule =
        "\n[[rule]]\nid = \"no\"\nwhen = \"true\"\nthen = \"deny\"\nactions = [\"none\"]\nreason = \"NO\"\n";
    let deny = rule.replace("none", records()[0].decision.action.as_ref());
    let (dir, path) = written(&(policy + &deny));
    let page = dir.path().join("report.html");
    let arguments =
        ["--policy", &path, "--label", "churn=!converted@30d", "--report", page.to_str().unwrap()];
    let report = answer(&replay(&arguments));
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    let flipped = report["flips"]["flipped"].as_u64().unwrap();
    assert!(page.contains(&format!("{flipped} of ")) && page.contains("RULE_DENIED (NO)"), "{flipped}");
    assert!(report["examples"][0]["actions"].as_object().unwrap().len() > 1, "{report:#}");
    assert_eq!(report["quality"]["churn"]["label"], "not CONVERTED within 30d");
}

#[test]
fn what_cannot_be_decided_is_told_and_does_not_pass() {
    let policy = first_policy().replace("scores.", "scores.no_such_");
    let (_dir, path) = written(&policy);
    let output = replay(&["--policy", &path]);
    assert_eq!(output.status.code(), Some(3));
    let report = answer(&output);
    assert_eq!(report["uncompared"][0]["decisions"], records().len());
    assert!(report["uncompared"][0]["reason"].as_str().unwrap().contains("no_such_"), "{report:#}");
    let refused = replay(&["--model", "churn"]);
    assert!(String::from_utf8(refused.stderr).unwrap().contains("NAME=VERSION"));
    let both = replay(&["--verify", "--model", "churn=1"]);
    assert_eq!(both.status.code(), Some(2));
}

#[test]
fn rules_are_switched_off_and_reordered_without_a_file() {
    let policy = first_policy();
    let rule = "\n[[rule]]\nid = \"candidate\"\nwhen = \"true\"\nthen = \"deny\"\nactions = [\"discount\"]\nreason = \"CANDIDATE\"\n";
    let (_same, same) = written(&policy);
    let (_denied, denied) = written(&(policy.clone() + rule));
    let plain = answer(&replay(&["--policy", &same]));
    let off = answer(&replay(&["--policy", &denied, "--rule-off", "candidate"]));
    let told = |report: &Value| (report["actions"].clone(), report["confusion"].clone());
    assert_eq!(told(&off), told(&plain), "a rule that is off is as none");
    assert_ne!(told(&answer(&replay(&["--policy", &denied]))), told(&plain));
    // In every policy that decided, with nothing else changed.
    let report = answer(&replay(&["--rule-off", "vip_no_discount", "--exposures", "logged"]));
    let causes = report["causes"].as_object().unwrap();
    assert!(causes.keys().all(|cause| cause.contains("VIP_PAYS_FULL")), "{causes:?}");
    let reordered = replay(&["--rule-priority", "vip_no_discount=-5"]);
    assert_eq!(reordered.status.code(), Some(0), "{reordered:?}");
    let unknown = answer(&replay(&["--rule-off", "no_such_rule"]));
    assert!(unknown["uncompared"][0]["reason"].as_str().unwrap().contains("no_such_rule"), "{unknown:#}");
}

#[test]
fn caps_are_changed_without_a_file_and_the_affected_are_named() {
    let fewer = ["--cap", "free_shipping=1 per 7d", "--no-control", "--ids", "3"];
    let report = answer(&replay(&fewer));
    let given = &report["actions"]["free_shipping"];
    assert!(given["candidate"].as_u64() < given["logged"].as_u64(), "{report:#}");
    assert_eq!(report["changed_decisions"].as_array().unwrap().len(), 3);
    let more = answer(&replay(&["--cap", "free_shipping/1=1000 per 7d"]));
    assert!(more["actions"]["free_shipping"]["candidate"].as_u64() > given["candidate"].as_u64());
    let wrong = replay(&["--cap", "free_shipping"]);
    assert!(String::from_utf8(wrong.stderr).unwrap().contains("ACTION/N=CAP"));
}

#[test]
fn reward_rules_are_read_from_a_file() {
    let (_dir, rules) = written(
        "version = 1\n[[reward]]\nname = \"revenue\"\nkind = \"value\"\ntake = \"last\"\nwithin = \"1h\"\ndefault = 0.25\n\
         [[reward]]\nname = \"clicks\"\nkind = \"clicked\"\ntake = \"count\"\nwithin = \"1d\"\nvalue = 2.0\n",
    );
    let (_same, same) = written(&first_policy());
    let line = ["--policy", &same, "--rewards", &rules];
    let report = answer(&replay(&[&line[..], &["--reward", "revenue", "--resamples", "0"]].concat()));
    let joined = &report["joined"];
    assert_eq!((&joined["decisions"], &joined["rewarded"]), (&report["flips"]["decisions"], &0.into()));
    assert!(
        joined["defaulted"].as_u64().unwrap() > 0 && joined["immature"].as_u64().unwrap() > 0,
        "{joined}"
    );
    assert_eq!(report["value"]["diagnostics"]["logged_value"], 0.25);
    let ambiguous = String::from_utf8(replay(&line).stderr).unwrap();
    assert!(ambiguous.contains("one of revenue, clicks"), "{ambiguous}");
    let (_dir, wrong) = written("version = 1\n[[reward]]\nname = \"x\"\nkind = \"sold\"\nwithin = \"1d\"\n");
    let complaint = String::from_utf8(replay(&["--policy", &same, "--rewards", &wrong]).stderr).unwrap();
    assert!(complaint.contains("`sold` is no kind of outcome"), "{complaint}");
}

#[test]
fn differences_are_written_and_held_against_what_was_approved() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("approved.diff");
    let path = file.to_str().unwrap();
    let written = replay(&["--verify", "--differences", path]);
    assert_eq!((written.status.code(), &answer(&written)["different"]), (Some(0), &0.into()));
    assert_eq!(replay(&["--verify", "--approved", path]).status.code(), Some(0));
    let text = std::fs::read_to_string(&file).unwrap() + "record 3, decision x at y\n  score: a: 1 -> 2\n";
    std::fs::write(&file, text).unwrap();
    let held = replay(&["--verify", "--approved", path]);
    assert_eq!(held.status.code(), Some(3));
    assert_eq!(answer(&held)["unapproved"]["gone"].as_array().unwrap().len(), 1);
}
