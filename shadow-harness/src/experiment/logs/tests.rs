//! Outcomes joined to decisions: twice, late, of nobody, and while both logs have an unfinished end.

use std::path::PathBuf;
use std::sync::mpsc::channel;

use augur_decision_log::{Config, Durability, Log, OutcomeLog, Record, SegmentedLog};
use augur_domain::decision::{Assignment, Availability, Observed, Rung};
use augur_domain::feature::{FeatureStatus, FeatureValue};
use augur_domain::value::Finite;
use augur_domain::{
    ContentHash, Decision, DecisionInputs, DecisionRecord, FeatureVector, OutcomeRecord, UserKey,
};

use super::*;

const START: i64 = 1_795_366_965_000;
const HOUR: i64 = 3_600_000;

fn at(hours: i64) -> Timestamp {
    Timestamp::from_unix_ms(START + hours * HOUR)
}

fn id(n: u8) -> DecisionId {
    DecisionId::new(at(i64::from(n)), [n; 10])
}

/// Decision `n` for `user`, made `n` hours after the start.
fn decision(n: u8, user: u8, arm: &str, enrolled: bool) -> DecisionRecord {
    DecisionRecord {
        sequence: 0,
        policy: ContentHash::default(),
        models: Vec::new(),
        request: Vec::new(),
        inputs: DecisionInputs {
            decision_id: id(n),
            now: at(i64::from(n)),
            seed: 0,
            decision_point: Arc::from("cart_page"),
            user: UserKey::from_bytes([user; 16]),
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
            person: Default::default(),
            budgets: Vec::new(),
            peek: false,
            time_left_us: None,
        },
        canary: None,
        decision: Decision {
            action: Arc::from("nothing"),
            payload: Arc::default(),
            channel: Arc::default(),
            counts_against_caps: false,
            value: 0.0,
            propensity: 1.0,
            rung: Rung::Champion,
            scores: Vec::new(),
            candidates: Vec::new(),
            reasons: Vec::new(),
            expires_at: None,
            category: Arc::default(),
            holds_until: None,
            assignments: vec![Assignment { experiment: Arc::from("tone"), arm: Arc::from(arm), enrolled }],
            shadow: Vec::new(),
        },
        observed: Observed::default(),
    }
}

fn outcome(
    key: u8,
    decision: DecisionId,
    kind: OutcomeKind,
    value: Option<f64>,
    hours: i64,
) -> OutcomeRecord {
    OutcomeRecord {
        sequence: 0,
        outcome: OutcomeKey::from_bytes([key; 16]),
        decision,
        kind,
        value: value.and_then(Finite::new),
        occurred_at: at(hours),
        received_at: at(hours),
    }
}

fn write<R: Record>(dir: PathBuf, records: &[R]) {
    let config = Config { durability: Durability::Synced, ..Config::new(dir) };
    let (log, _) = SegmentedLog::<R>::open(config).unwrap();
    let (told, written) = channel();
    for record in records {
        let told = told.clone();
        log.append(record, move |outcome| told.send(outcome.unwrap()).unwrap()).unwrap();
    }
    assert_eq!(written.iter().take(records.len()).count(), records.len());
}

fn query() -> LogQuery {
    LogQuery {
        name: "tone".to_owned(),
        kind: OutcomeKind::Converted,
        from: Timestamp::MIN,
        until: Timestamp::MAX,
        within_ms: 24 * HOUR,
        rule: None,
        known_at: Timestamp::MAX,
    }
}

/// Four people: ada in `a`, bob in `b` and later `a`, cyd only looked at, dee in `c`.
fn written() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let decisions = [
        decision(1, 1, "a", true),
        decision(2, 2, "b", true),
        decision(3, 3, "a", false),
        decision(4, 2, "a", true),
        decision(5, 4, "c", true),
    ];
    write(dir.path().join("decisions"), &decisions);
    let outcomes = [
        outcome(1, id(2), OutcomeKind::Value, Some(5.0), 3),
        outcome(2, id(1), OutcomeKind::Converted, None, 5),
        outcome(2, id(1), OutcomeKind::Converted, None, 6),
        outcome(1, id(2), OutcomeKind::Value, Some(5.0), 7),
        outcome(3, id(4), OutcomeKind::Value, Some(2.5), 6),
        outcome(4, id(2), OutcomeKind::Clicked, None, 3),
        outcome(5, id(2), OutcomeKind::Converted, None, 200),
        outcome(6, id(9), OutcomeKind::Converted, None, 9),
        outcome(7, id(3), OutcomeKind::Converted, None, 9),
    ];
    write(dir.path().join("outcomes"), &outcomes);
    dir
}

fn read(dir: &tempfile::TempDir, query: &LogQuery) -> Result<(Units, Joined), Error> {
    let read = read_declared(dir, query, &mut |_| Ok(Declared::default()))?;
    assert!(read.expected.is_empty(), "nobody said what was to be expected");
    Ok((read.units, read.joined))
}

fn read_declared(
    dir: &tempfile::TempDir,
    query: &LogQuery,
    declares: Declares<'_>,
) -> Result<Enrolments, Error> {
    read_logs(&dir.path().join("decisions"), &dir.path().join("outcomes"), query, declares, &|| {})
}

#[test]
fn shares_and_figures_from_before_are_those_of_the_decision_that_counted_in() {
    let dir = tempfile::tempdir().unwrap();
    let by_policy = |n, user, arm, policy: u8, before: f64| {
        let mut record = decision(n, user, arm, true);
        record.policy = ContentHash::from_bytes([policy; 32]);
        let value = FeatureValue { value: before, status: FeatureStatus::Present, event_time: None };
        record.inputs.features.values = vec![value];
        record
    };
    let decisions = [
        by_policy(1, 1, "a", 1, 10.0),
        by_policy(2, 2, "b", 1, 20.0),
        by_policy(3, 3, "b", 2, 30.0),
        // Later words of the same user change neither.
        by_policy(4, 1, "a", 2, 99.0),
    ];
    write(dir.path().join("decisions"), &decisions);
    let shares = |a: f64| vec![("a".to_owned(), a), ("b".to_owned(), 1.0 - a)];
    let mut asked = 0;
    let mut declares = |policy: ContentHash| {
        asked += 1;
        let share = if policy == ContentHash::from_bytes([1; 32]) { 0.5 } else { 0.25 };
        Ok(Declared { shares: shares(share), pre: Some(0) })
    };
    let read = read_declared(&dir, &query(), &mut declares).unwrap();
    // Two by the first policy, one by the second.
    assert_eq!(read.expected, [("a".to_owned(), 1.25), ("b".to_owned(), 1.75)]);
    assert_eq!((read.joined.units_with_pre, asked), (3, 2), "each policy is asked once");
    let before: Vec<_> = read.units.units.iter().map(|unit| unit.before).collect();
    assert_eq!(before, [Some(10.0), Some(20.0), Some(30.0)]);
    let mut half = |policy: ContentHash| {
        let known = policy == ContentHash::from_bytes([1; 32]);
        Ok(Declared { shares: if known { shares(0.5) } else { Vec::new() }, pre: None })
    };
    assert!(read_declared(&dir, &query(), &mut half).unwrap().expected.is_empty(), "of one nothing is known");
}

#[test]
fn each_outcome_counts_once_and_only_with_its_decision() {
    let dir = written();
    let (units, joined) = read(&dir, &query()).unwrap();
    assert_eq!(joined, Joined { decisions: 4, outcomes: 6, repeated: 2, joined: 3, units_with_pre: 0 });
    assert_eq!(units.arms(), ["a", "b", "c"]);
    assert_eq!((units.len(), units.of_several_arms()), (3, 1));
    let told: Vec<_> = units.units.iter().map(|unit| (unit.arm, unit.converted, unit.value)).collect();
    assert_eq!(told, [(0, true, 0.0), (1, false, 7.5), (2, false, 0.0)]);

    let late = LogQuery { within_ms: 1_000 * HOUR, ..query() };
    assert!(read(&dir, &late).unwrap().0.units[1].converted);
    let clicks = LogQuery { kind: OutcomeKind::Clicked, ..query() };
    assert!(read(&dir, &clicks).unwrap().0.units[1].converted);
    let from = LogQuery { from: at(2), until: at(4), ..query() };
    assert_eq!(read(&dir, &from).unwrap().0.len(), 1);
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    let dir = written();
    let wrong = LogQuery { name: "ton".to_owned(), ..query() };
    let message = read(&dir, &wrong).unwrap_err().to_string();
    assert_eq!(message, "no unit was enrolled in `ton`; the log knows tone");
    std::fs::remove_dir_all(dir.path().join("outcomes")).unwrap();
    assert_eq!(read(&dir, &query()).unwrap().1.outcomes, 0, "nobody reported yet");
}

#[test]
fn logs_that_are_being_written_may_end_in_half_a_frame() {
    let dir = written();
    for log in ["decisions", "outcomes"] {
        let segment = dir.path().join(log).join("000000000001.log");
        let bytes = std::fs::read(&segment).unwrap();
        let whole = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
        std::fs::write(&segment, &bytes[..whole - 3]).unwrap();
    }
    let joined = read(&dir, &query()).unwrap().1;
    assert_eq!((joined.decisions, joined.outcomes), (3, 5));
    assert!(Log::open(Config::new(dir.path().join("decisions"))).unwrap().1.truncated.is_some());
    assert!(OutcomeLog::open(Config::new(dir.path().join("outcomes"))).unwrap().1.truncated.is_some());
}

#[test]
fn a_rule_says_what_a_decision_is_worth() {
    let dir = written();
    let rule = RewardRule { default: 0.5, ..RewardRule::sum_of(OutcomeKind::Value, 24 * HOUR) };
    let query = LogQuery { kind: OutcomeKind::Value, rule: Some(rule), ..query() };
    let values = |query: &LogQuery| {
        let (units, joined) = read(&dir, query).unwrap();
        (units.units.iter().map(|unit| unit.value).collect::<Vec<f64>>(), joined)
    };
    let (told, joined) = values(&query);
    // Bob's two decisions are worth 5 and 2.5; ada's and dee's have no value, and the default.
    assert_eq!(told, [0.5, 7.5, 0.5]);
    assert_eq!((joined.outcomes, joined.repeated, joined.joined), (2, 1, 2));
    let young = LogQuery { known_at: at(5), ..query };
    assert_eq!(values(&young).0, [0.0, 7.5, 0.0], "nobody knows yet");
}
