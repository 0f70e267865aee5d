//! Figures of a report against numbers reckoned by hand.

use augur_decision_log::{Config, ShadowLog};
use augur_domain::decision::Rung;
use augur_domain::live_shadow::{ShadowAnswer, ShadowCounts, ShadowRecord, ShadowStatus};
use augur_domain::{ContentHash, DecisionId, Reason, ReasonCode, Timestamp};

use super::*;

fn answer(action: &str, score: f64, decide_us: u32) -> ShadowAnswer {
    ShadowAnswer {
        policy: ContentHash::from_bytes([1; 32]),
        models: Vec::new(),
        action: action.into(),
        rung: Rung::Champion,
        value: 1.0,
        propensity: 1.0,
        scores: vec![("churn".into(), Some(score))],
        reasons: vec![Reason::with(ReasonCode::RuleForced, action.into())],
        decide_us,
    }
}

fn record(number: u64, point: &str, kept: f64, shadowed: Option<ShadowAnswer>) -> ShadowRecord {
    let served = answer("mail", 0.25, 10);
    let status = match &shadowed {
        Some(answer) if answer.action == served.action => ShadowStatus::Same,
        Some(_) => ShadowStatus::Differs,
        None => ShadowStatus::TimedOut,
    };
    ShadowRecord {
        sequence: 0,
        decision: DecisionId::from_bytes([number as u8; 16]),
        decision_sequence: number,
        decided_at: Timestamp::from_unix_ms(1_795_366_965_000 + number as i64),
        decision_point: point.into(),
        candidate: "next".into(),
        status,
        kept,
        counts: ShadowCounts { offered: number * 10, thinned: number * 8, full: number / 4, refused: 0 },
        counted_since: Timestamp::from_unix_ms(if number <= 4 { 1 } else { 2 }),
        served,
        candidates: shadowed,
        problem: "".into(),
    }
}

fn records() -> Vec<ShadowRecord> {
    vec![
        record(1, "cart", 0.5, Some(answer("mail", 0.25, 20))),
        record(2, "cart", 0.5, Some(answer("none", 0.75, 40))),
        record(3, "cart", 0.25, Some(answer("mail", 0.25, 30))),
        record(4, "home", 0.5, Some(answer("none", 0.5, 1_234_567))),
        record(5, "home", 0.5, None),
    ]
}

fn written(records: &[ShadowRecord]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = ShadowLog::open(Config::new(dir.path())).unwrap();
    for record in records {
        log.append(record, |_| ()).unwrap();
    }
    log.close().unwrap();
    dir
}

#[test]
fn shares_are_weighted_by_the_probability_of_being_kept() {
    let dir = written(&records());
    let reports = report(dir.path(), &Filter::default(), |_| ()).unwrap();
    let [next] = &reports[..] else { panic!("{reports:?}") };
    assert_eq!(next.turns, Turns { same: 2, differs: 2, failed: 0, timed_out: 1 });
    // Weights of the answered turns: 2, 2, 4, 2; those that agree: 2 and 4.
    let agreement = next.agreement.unwrap();
    assert_eq!((agreement.records, agreement.share), (2, 0.6));
    assert!(agreement.interval.low < 0.35 && agreement.interval.high > 0.8, "{agreement:?}");
    let cart = &next.flips_by_point[0];
    assert_eq!((&*cart.decision_point, cart.answered, cart.flips.share), ("cart", 3, 0.25));
    let home = &next.flips_by_point[1];
    assert_eq!((home.answered, home.flips.share), (1, 1.0));
    let flips: Vec<_> = next.flips.iter().map(|it| (&*it.decision_point, it.share.share)).collect();
    assert_eq!(flips, [("home", 1.0), ("cart", 0.25)]);
    assert_eq!((&*next.flips[1].served, &*next.flips[1].candidates), ("mail", "none"));
    assert_eq!(next.flips[1].example, DecisionId::from_bytes([2; 16]).to_string());
    // Each start of the server counts by itself: 40 and 50 offered.
    assert_eq!((next.kept.offered, next.kept.thinned, next.kept.full), (90, 72, 2));
    assert_eq!((next.kept.least, next.kept.most), (0.25, 0.5));
    // 12 squared over 4 + 4 + 16 + 4 + 4.
    assert_eq!((next.kept.weights, next.kept.effective), (12.0, 4.5));
    let score = &next.scores[0];
    assert_eq!((score.records, score.served_mean, score.candidates_mean), (4, 0.25, 0.4));
    assert_eq!((score.mean_distance, score.largest_distance), (0.15, 0.5));
    assert_eq!(next.latency.served_us, [10, 10, 10]);
    assert_eq!(next.latency.candidates_us, [30, 1_230_000, 1_230_000]);
    let lost = next.reasons.iter().find(|it| it.reason.contains("mail")).unwrap();
    assert_eq!((lost.only_served, lost.only_candidates), (2, 0));
    assert_eq!(next.notes.len(), 2, "{:?}", next.notes);
    let text = text(next);
    for part in ["agreement: 60.00 %", "cart: mail -> none: 25.00 %", "no answer", "for want of room"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn one_point_from_an_instant_on() {
    let dir = written(&records());
    let filter = Filter {
        decision_point: Some("cart".to_owned()),
        since: Some(Timestamp::from_unix_ms(1_795_366_965_002)),
        ..Filter::default()
    };
    let reports = report(dir.path(), &filter, |_| ()).unwrap();
    assert_eq!((reports.len(), reports[0].records), (1, 2));
    let other = Filter { candidate: Some("nobody".to_owned()), ..Filter::default() };
    assert!(report(dir.path(), &other, |_| ()).unwrap().is_empty());
}

#[test]
fn equal_weights_give_the_plain_interval() {
    let all: Vec<_> = (1..=20)
        .map(|number| {
            let action = if number % 4 == 0 { "none" } else { "mail" };
            record(number, "cart", 0.1, Some(answer(action, 0.25, 10)))
        })
        .collect();
    let dir = written(&all);
    let reports = report(dir.path(), &Filter::default(), |_| ()).unwrap();
    let agreement = reports[0].agreement.unwrap();
    // Wilson's interval of 15 of 20 at 95 %.
    assert!((agreement.interval.low - 0.531_3).abs() < 1e-3, "{agreement:?}");
    assert!((agreement.interval.high - 0.888_1).abs() < 1e-3, "{agreement:?}");
    assert!((agreement.share - 0.75).abs() < 1e-12);
}
