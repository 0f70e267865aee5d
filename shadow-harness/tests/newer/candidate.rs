//! Candidates over the newer golden log: budgets and caps are carried, outcomes joined, and who is affected is told.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::channel;

use augur_decision::{PolicySource, SourceFile};
use augur_decision_log::{Config, Durability, OutcomeLog, Reader};
use augur_domain::ids::OutcomeKey;
use augur_domain::time::DAY_MS;
use augur_domain::value::Finite;
use augur_domain::{DecisionRecord, OutcomeKind, OutcomeRecord, Timestamp};
use augur_shadow_harness::candidate::{
    CandidateOptions, CandidateReport, Edit, Exposures, Subject, replay_candidate,
};
use augur_shadow_harness::reward::{RewardRule, Take};
use augur_shadow_harness::{DataDirectory, off_policy};

use crate::record::OUTCOME_AFTER_MS;
use crate::{copy, golden};

fn records() -> Vec<DecisionRecord> {
    Reader::open(&golden().join("decisions")).unwrap().map(|item| item.unwrap().1).collect()
}

fn replay(dir: PathBuf, edit: Option<Edit<'_>>, reward: Option<&RewardRule>) -> CandidateReport {
    let directory = DataDirectory::new(dir);
    let segments = ["user.plan", "context.country", "features.last_category"].map(|by| by.parse().unwrap());
    let options = CandidateOptions {
        policy: None,
        edit,
        pinned: &[],
        exposures: Exposures::Carried,
        from: Timestamp::MIN,
        reward,
        segments: &segments,
        most_ids: 7,
        evaluating: off_policy::Options { resamples: 0, ..off_policy::Options::default() },
        gates: None,
        labels: &[],
        control: None,
        subject: Subject::default(),
        progress: &|_| (),
    };
    replay_candidate(&directory.decisions_dir(), &directory, &options).unwrap()
}

fn replaced(from: &str, to: &str) -> impl Fn(&PolicySource) -> Result<PolicySource, String> {
    let (from, to) = (from.to_owned(), to.to_owned());
    move |source| {
        assert!(source.policy.text.contains(&from), "{from}");
        let text = source.policy.text.replace(&from, &to);
        Ok(PolicySource::from(SourceFile { name: "candidate.toml".to_owned(), text }))
    }
}

#[test]
fn the_policy_itself_carried_in_order_changes_nothing() {
    let report = replay(golden(), None, None);
    assert_eq!((report.flips.flipped, report.records), (0, records().len() as u64), "{report}");
}

#[test]
fn a_smaller_budget_is_spent_in_order_and_no_further() {
    let smaller = replaced("total = 12, per = \"none\"", "total = 5, per = \"none\"");
    let report = replay(golden(), Some(&smaller), None);
    let peeked = records().iter().filter(|record| record.inputs.peek).count() as u64;
    let gifts = report.actions["gift"];
    assert!(gifts.logged >= 12, "{report}");
    // A look is given what it would be given, and spends nothing.
    assert!((5..=5 + peeked).contains(&gifts.candidate), "{gifts:?}, {peeked} looks");
    let refused: u64 = report
        .causes
        .iter()
        .filter(|(cause, _)| cause.contains("BUDGET_SPENT"))
        .map(|(_, count)| count)
        .sum();
    assert!(refused > 0, "{report}");
    let larger = replaced("total = 12, per = \"none\"", "total = 100000, per = \"none\"");
    let more = replay(golden(), Some(&larger), None);
    assert!(more.actions["gift"].candidate > gifts.logged, "{more}");
}

#[test]
fn who_is_affected_is_told_by_id() {
    let no_vouchers = replaced(
        "caps = [\"2 per week per category\", \"1 per 24h\"]",
        "caps = [\"1 per 30d per category\"]",
    );
    let report = replay(golden(), Some(&no_vouchers), None);
    assert!(report.flips.flipped > 7, "{report}");
    assert_eq!(report.changed_decisions.len(), 7);
}

#[test]
fn outcomes_are_joined_by_the_declared_rule() {
    let dir = copy();
    let records = records();
    let vouchers: Vec<_> = records.iter().filter(|record| &*record.decision.action == "voucher").collect();
    let config = Config { durability: Durability::Synced, ..Config::new(dir.path().join("outcomes")) };
    let (log, _) = OutcomeLog::open(config).unwrap();
    let mut key = 0_u8;
    let mut report_outcome = |record: &DecisionRecord, after_ms: i64, value: f64, repeated: bool| {
        key += u8::from(!repeated);
        let at = record.inputs.now.plus_millis(after_ms);
        let outcome = OutcomeRecord {
            sequence: 0,
            outcome: OutcomeKey::from_bytes([key; 16]),
            decision: record.inputs.decision_id,
            kind: OutcomeKind::Value,
            value: Finite::new(value),
            occurred_at: at,
            received_at: at,
        };
        let (told, answer) = channel();
        log.append(&outcome, move |written| drop(told.send(written))).unwrap();
        answer.recv().unwrap().unwrap();
    };
    report_outcome(vouchers[0], 2 * OUTCOME_AFTER_MS, 5.0, false);
    report_outcome(vouchers[0], 2 * OUTCOME_AFTER_MS, 5.0, true);
    report_outcome(vouchers[0], OUTCOME_AFTER_MS, 3.0, false);
    report_outcome(vouchers[1], 2 * DAY_MS, 70.0, false);
    log.close().unwrap();

    let rule = |take| RewardRule { take, default: 0.5, ..RewardRule::sum_of(OutcomeKind::Value, DAY_MS) };
    let last = records.last().unwrap().inputs.now;
    let is_mature = |record: &&DecisionRecord| record.inputs.now <= last.plus_millis(-DAY_MS);
    let mature = records.iter().filter(is_mature).count() as u64;
    let mature_vouchers = vouchers.iter().copied().filter(is_mature).count() as u64;
    let mut rewards = BTreeMap::new();
    for take in Take::ALL {
        let report = replay(dir.path().to_owned(), None, Some(&rule(take)));
        let joined = report.joined.unwrap();
        assert_eq!((joined.outcomes, joined.late, joined.repeated, joined.without_decision), (2, 1, 1, 0));
        assert_eq!((joined.rewarded, joined.defaulted), (1, mature - 1));
        assert_eq!(joined.immature, records.len() as u64 - mature);
        let kept = report.outcomes["voucher"].kept;
        assert_eq!((kept.decisions, kept.rewarded), (mature_vouchers, 1), "{report}");
        rewards.insert(take.as_str(), kept.reward - 0.5 * (mature_vouchers - 1) as f64);
        assert!(report.value.is_some());
    }
    let expected = [("count", 2.0), ("first", 3.0), ("last", 5.0), ("max", 5.0), ("sum", 8.0)];
    assert_eq!(rewards, BTreeMap::from(expected));
    // What the candidate gives up is told apart.
    let fewer = replaced("value = \"4.0 + features.spend_7d / 50.0\"", "value = \"-5.0\"");
    let report = replay(dir.path().to_owned(), Some(&fewer), Some(&rule(Take::Sum)));
    assert!(report.outcomes["voucher"].given_up.decisions > 0, "{report}");
}
