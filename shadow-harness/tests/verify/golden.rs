//! Decisions recorded once come out the same today.

use std::cell::Cell;
use std::collections::BTreeSet;

use augur_decision_log::Reader;
use augur_domain::ReasonCode;
use augur_shadow_harness::{DataDirectory, Options, Verdict, verify};

use crate::{copy, golden, replay, replay_on};

#[test]
fn every_byte_of_the_golden_log_is_decided_again() {
    let report = replay(&golden());
    assert_eq!(report.verdict, Verdict::Identical, "{report}");
    assert_eq!((report.exit_code(), report.records, report.equal), (0, 300, 300));
    assert!(report.to_string().starts_with("IDENTICAL: all 300 decisions"), "{report}");
}

/// A golden log that never takes a step proves nothing about it.
#[test]
fn the_golden_log_takes_every_step_of_a_decision() {
    let (mut given, mut segments, mut rungs, mut models) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut policies = BTreeSet::new();
    for item in Reader::open(&golden().join("decisions")).unwrap() {
        let (position, record) = item.unwrap();
        segments.insert(position.segment);
        policies.insert(record.policy);
        models.extend(record.models.iter().map(|(_, model)| model.artifact));
        rungs.insert(record.decision.rung);
        given.extend(record.decision.reasons.iter().map(|reason| reason.code));
        given.extend(record.decision.candidates.iter().map(|candidate| candidate.reason.code));
    }
    assert_eq!((segments.len(), policies.len(), models.len(), rungs.len()), (4, 2, 3, 3));
    // Not decided by anything then (15), given without asking the policy at all (14, 17), or younger than this log.
    let absent = [ReasonCode::Explored, ReasonCode::DeadlineExceeded, ReasonCode::LogUnavailable];
    let youngest = ReasonCode::LogUnavailable;
    let known = ReasonCode::ALL.iter().filter(|code| **code <= youngest);
    for code in known.filter(|code| !absent.contains(code)) {
        assert!(given.contains(code), "no record gives {code}");
    }
}

#[test]
fn the_report_does_not_depend_on_the_number_of_threads() {
    let dir = copy();
    let changed = dir.path().join("models/churn/versions/000002.model");
    std::fs::remove_file(changed).unwrap();
    let plain = |threads| {
        let mut report = replay_on(dir.path(), threads).unwrap();
        (report.elapsed_ms, report.records_per_second) = (0, 0.0);
        report
    };
    let one = plain(1);
    assert_eq!(one.unverifiable, 200);
    for threads in [2, 3, 8] {
        assert_eq!(plain(threads), one);
    }
}

#[test]
fn progress_is_told_to_the_last_record() {
    let data = DataDirectory::new(golden());
    let read = Cell::new(0);
    let progress = |records: u64| {
        assert!(records >= read.get());
        read.set(records);
    };
    verify(&data.decisions_dir(), &data, Options { threads: 1, progress: &progress, ..Options::default() })
        .unwrap();
    assert_eq!(read.get(), 300);
}

#[test]
fn the_report_is_json() {
    let report = replay(&golden());
    let json: serde_json::Value = serde_json::from_str(&report.to_json().unwrap()).unwrap();
    assert_eq!(json["verdict"], "identical");
    assert_eq!(json["records"], 300);
    assert_eq!(json["exit_code"], 0);
    let actions: u64 = json["actions"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(actions, 300);
}
