//! Decisions recorded once come out the same today, and take the steps that newer records are for.

use std::collections::BTreeSet;

use augur_decision_log::Reader;
use augur_domain::ReasonCode;
use augur_shadow_harness::{DataDirectory, Options, Verdict, verify};

use crate::golden;
use crate::record::RECORDS;

#[test]
fn every_byte_of_the_newer_golden_log_is_decided_again() {
    let data = DataDirectory::new(golden());
    let report = verify(&data.decisions_dir(), &data, Options::default()).unwrap();
    assert_eq!(report.verdict, Verdict::Identical, "{report}");
    assert_eq!(report.equal, RECORDS);
}

/// A golden log that never takes a step proves nothing about it.
#[test]
fn the_newer_golden_log_has_every_version_and_step() {
    let dir = golden().join("decisions");
    let (mut versions, mut given, mut seen) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut reader = Reader::open(&dir).unwrap();
    while let Some((_, bytes)) = reader.next_bytes().unwrap() {
        versions.insert(u16::from_le_bytes([bytes[0], bytes[1]]));
    }
    for item in Reader::open(&dir).unwrap() {
        let (_, record) = item.unwrap();
        let (inputs, decision) = (&record.inputs, &record.decision);
        given.extend(decision.reasons.iter().map(|reason| reason.code));
        given.extend(decision.candidates.iter().map(|candidate| candidate.reason.code));
        for (step, is_taken) in [
            ("time zone", inputs.person.time_zone.is_some()),
            ("traits", !inputs.person.traits.is_empty()),
            ("suppressed", !inputs.person.suppressed.is_empty()),
            ("budgets", inputs.budgets.iter().any(|(_, spent)| *spent > 0)),
            ("holds", decision.holds_until.is_some()),
            ("held exposures", inputs.exposures.iter().any(|exposure| exposure.holds_until.is_some())),
            ("categories", inputs.exposures.iter().any(|exposure| !exposure.category.is_empty())),
            ("enrolled", decision.assignments.iter().any(|assignment| assignment.enrolled)),
            ("trial", !decision.shadow.is_empty()),
            ("peek", inputs.peek),
            ("drawn", decision.propensity < 1.0),
            ("canary", record.canary.is_some()),
        ] {
            if is_taken {
                seen.insert(step);
            }
        }
    }
    assert_eq!(versions, BTreeSet::from([5, 6, 7, 8]), "record versions");
    assert_eq!(seen.len(), 12, "{seen:?}");
    use ReasonCode::{
        BudgetPaced, BudgetSpent, Explored, FrequencyCap, HeldOut, NoConsent, QuietHours, RuleBoosted,
        RuleDenied, RuleSet, Suppressed, TimeZoneUnknown,
    };
    for code in [
        BudgetPaced,
        BudgetSpent,
        Explored,
        FrequencyCap,
        HeldOut,
        NoConsent,
        QuietHours,
        RuleBoosted,
        RuleDenied,
        RuleSet,
        Suppressed,
        TimeZoneUnknown,
    ] {
        assert!(given.contains(&code), "no record gives {code}");
    }
}
