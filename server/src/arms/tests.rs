//! Gates over published values and over made-up arms.

use std::sync::Arc;

use augur_domain::canary::{CanaryArm, arm_of};
use augur_domain::decision::{Availability, Decision, DecisionInputs, Observed, Person, Score, ScoreOutcome};
use augur_domain::{ContentHash, DecisionId, FeatureVector, ModelRef, Timestamp, UserKey};
use augur_models::registry::Promotion;

use super::*;

const SETTINGS: config::Canary =
    config::Canary { roll_back: true, false_alarm: 0.01, margin: 0.005, slow_us: 1_000 };

#[test]
fn fisher_meets_published_values() {
    // The lady tasting tea: four of four, and three of four or better.
    assert!((fisher(4, 4, 0, 4) - 1.0 / 70.0).abs() < 1e-9);
    assert!((fisher(3, 4, 1, 4) - 17.0 / 70.0).abs() < 1e-9);
    // Fisher's twins of convicts (Statistical Methods, section 21.02): 465 of 2 674 775.
    assert!((fisher(10, 13, 2, 17) / (3_095.0 / 6_653_325.0) - 1.0).abs() < 1e-9);
}

#[test]
fn logarithms_of_factorials_are_those_of_products() {
    let mut sum = 0.0;
    for n in 1..3_000_u64 {
        sum += math::ln(n as f64);
        assert!((ln_factorial(n) - sum).abs() < 1e-9 * sum.max(1.0), "{n}");
    }
}

#[test]
fn a_gate_trips_on_more_that_matters_and_on_nothing_else() {
    let arm = |decisions, unscored| ArmFigures { decisions, unscored, ..ArmFigures::default() };
    let tripped = |challenger: ArmFigures| gates(&arm(10_000, 20), &challenger, 3, &SETTINGS)[0].tripped;
    assert!(!tripped(arm(1_000, 4)));
    assert!(tripped(arm(1_000, 40)));
    assert!(!tripped(arm(1_000, 0)));
    // Certain, and too little to matter.
    assert!(!tripped(arm(1_000_000, 6_000)));
    assert!(tripped(arm(1_000_000, 8_000)));
}

fn canary(promotion: Option<Promotion>) -> Canary {
    let model = |version| ModelRef {
        name: Arc::from("churn"),
        version,
        artifact: ContentHash::from_bytes([version as u8; 32]),
    };
    Canary {
        alias: "champion".to_owned(),
        champion: model(1),
        challenger: model(2),
        salt: ContentHash::from_bytes([9; 32]),
        share_ppm: 500_000,
        promotion,
        at: Timestamp::from_unix_ms(0),
    }
}

/// The `n`-th decision of a canary, at `n` milliseconds.
fn record(canary: &Canary, n: u64, scored: impl Fn(Arm) -> bool) -> DecisionRecord {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&n.to_le_bytes());
    let user = UserKey::from_bytes(key);
    let Canary { salt, share_ppm, challenger, champion, .. } = canary;
    let arm = arm_of(salt, *share_ppm, user);
    let model = if arm == Arm::Challenger { challenger } else { champion };
    let score = Score { margin: -1.0, raw: 0.25, calibrated: 0.25 };
    let outcome = ScoreOutcome {
        alias: Arc::from("churn"),
        model: Some(model.clone()),
        score: Some(score).filter(|_| scored(arm)),
    };
    DecisionRecord {
        sequence: n,
        policy: ContentHash::default(),
        models: Vec::new(),
        request: Vec::new(),
        inputs: DecisionInputs {
            decision_id: DecisionId::from_bytes([0; 16]),
            now: Timestamp::from_unix_ms(n as i64),
            seed: 0,
            decision_point: Arc::from("cart"),
            user,
            context: Vec::new(),
            features_availability: Availability::Available,
            features: FeatureVector {
                feature_set: ContentHash::default(),
                watermark: 0,
                values: Vec::new(),
                texts: Vec::new(),
            },
            models: Vec::new(),
            exposures: Vec::new(),
            person: Person::default(),
            budgets: Vec::new(),
            peek: false,
            time_left_us: None,
        },
        canary: Some(CanaryArm { challenger: challenger.clone(), salt: *salt, share_ppm: *share_ppm, arm }),
        decision: Decision {
            action: Arc::from("none"),
            payload: Arc::from(""),
            channel: Arc::from(""),
            counts_against_caps: false,
            value: 0.0,
            propensity: 1.0,
            rung: Rung::Champion,
            scores: vec![outcome],
            candidates: Vec::new(),
            reasons: Vec::new(),
            expires_at: None,
            category: Arc::default(),
            holds_until: None,
            assignments: Vec::new(),
            shadow: Vec::new(),
        },
        observed: Observed { read_us: 0, decide_us: 0 },
    }
}

#[test]
fn arms_that_are_alike_pass_once_their_time_and_decisions_are_over() {
    let canary = canary(Some(Promotion { after_ms: 5_000, min_decisions: 300 }));
    let mut arms = Arms::new(canary.clone(), SETTINGS);
    let verdicts: Vec<(u64, Verdict)> =
        (0..9_000).filter_map(|n| Some((n, arms.take(&record(&canary, n, |_| n % 10 > 0))?))).collect();
    assert!(matches!(verdicts.as_slice(), [(5_000, Verdict::Passed(_))]), "{verdicts:?}");
    assert!(!arms.worse() && arms.gates().len() == 3);
    let (champion, challenger) = arms.figures();
    assert_eq!(champion.decisions + challenger.decisions, 9_000);
    assert!((champion.mean_score, champion.score_deviation) == (0.25, 0.0) && champion.unscored > 300);
}

#[test]
fn a_challenger_without_scores_is_worse_at_the_first_look_and_stays_so() {
    let canary = canary(Some(Promotion { after_ms: 0, min_decisions: 0 }));
    let mut arms = Arms::new(canary.clone(), SETTINGS);
    let verdicts: Vec<Verdict> =
        (0..2_000).filter_map(|n| arms.take(&record(&canary, n, |arm| arm == Arm::Champion))).collect();
    let [Verdict::Worse(why)] = verdicts.as_slice() else { panic!("{verdicts:?}") };
    assert!(why.contains("unscored 1.0000 against 0.0000"), "{why}");
    assert!(arms.worse());
}

#[test]
fn decisions_of_other_canaries_and_shares_do_not_count() {
    let canary = canary(None);
    let mut arms = Arms::new(Canary { share_ppm: 250_000, ..canary.clone() }, SETTINGS);
    let mut stranger = Arms::new(Canary { salt: ContentHash::default(), ..canary.clone() }, SETTINGS);
    for n in 0..50 {
        arms.take(&record(&canary, n, |_| true));
        stranger.take(&record(&canary, n, |_| true));
    }
    for arms in [arms, stranger] {
        assert_eq!(arms.figures(), (ArmFigures::default(), ArmFigures::default()));
    }
}

/// Trials whose arms are alike, looked at after every decision: seeded, so that the count is the same on any machine.
#[test]
fn false_alarms_are_as_rare_as_stated() {
    let settings = config::Canary { false_alarm: 0.2, margin: 0.0, ..SETTINGS };
    let canary = canary(None);
    let alarms = (0..60_u64).filter(|trial| {
        let mut arms = Arms::new(canary.clone(), settings.clone());
        (0..2_000).any(|n| {
            let n = trial * 2_000 + n;
            // One decision in four without a score, whatever the arm.
            let draw = ContentHash::of(&[&n.to_le_bytes()]).as_bytes()[0];
            arms.take(&record(&canary, n, |_| draw >= 64)).is_some()
        })
    });
    let alarms = alarms.count();
    assert!(alarms <= 12, "{alarms} of 60 at 0.2");
}
