//! Many simulated decisions of many people, and an oracle that counts by itself: no cap and no budget may ever be
//! exceeded, no decision may come without a reason, and the probabilities of its candidates must add up to one.
//!
//! `cargo run --release -p augur-decision --example simulate -- 10000000`. Not here: concurrency and storage, which the
//! server's tests drill; the pure function alone is asked, one decision after the other.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::allow_attributes,
    clippy::disallowed_methods,
    reason = "a simulation stops at what it did not expect, and says how it went"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use augur_decision::{ModelSource, PolicySnapshot, SourceFile, decide};
use augur_domain::decision::{Availability, DecisionInputs, Exposure, Person};
use augur_domain::feature::{FeatureSet, FeatureVector};
use augur_domain::rng::{Purpose, Rng};
use augur_domain::time::{DAY_MS, HOUR_MS};
use augur_domain::value::Finite;
use augur_domain::{ContentHash, Decision, DecisionId, ModelRef, Timestamp, UserKey, Value};
use augur_models::Scorer;
use augur_models::scorer::Kind;

const USERS: u64 = 20_000;
/// 2026-01-01 UTC.
const START_MS: i64 = 20_454 * DAY_MS;
const DAYS: i64 = 120;
const GIFTS_PER_DAY: u64 = 500;
const THOMPSON_ONE_IN: u64 = 200;
const POINTS: [&str; 4] = ["greedy", "epsilon", "softmax", "thompson"];

const POLICY: &str = r#"
version = 1

[time]
unknown_zone = "UTC"

[[action]]
name = "offer"
channel = "push"
category = "sales"
value = "context.taste"
caps = ["2 per 7d", "5 per 24h per channel"]
successes = 30
failures = 70

[[action]]
name = "gift"
channel = "push"
category = "sales"
value = "1.5 - context.taste"
caps = ["1 per day", "3 per week per category"]
budget = { total = 500, per = "day", time_zone = "UTC" }
successes = 25
failures = 60

[[action]]
name = "tip"
channel = "push"
value = "0.6"
caps = ["3 per 24h"]
successes = 8
failures = 20

[[action]]
name = "nothing"
value = "0.1"
successes = 1
failures = 9

[[rule]]
id = "picky"
when = "context.taste > 0.95"
then = "deny"
actions = ["gift"]
reason = "PICKY"

[[rule]]
id = "sure"
when = "context.taste < 0.02"
then = "force"
actions = ["offer"]
reason = "SURE"

[[holdout]]
name = "kept_out"
share = 0.01
"#;

const POINT: &str = r#"
[[decision_point]]
name = "NAME"
actions = ["offer", "gift", "tip", "nothing"]
default_action = "nothing"
deadline = "50ms"
context = { taste = "number" }
"#;

struct NoModels;

impl ModelSource for NoModels {
    fn scorer(
        &self,
        _: &str,
        _: &str,
        _: Kind,
        _: &FeatureSet,
    ) -> Result<Option<(ModelRef, Arc<Scorer>)>, String> {
        Ok(None)
    }
}

fn policy() -> PolicySnapshot {
    let mut text = POLICY.to_owned();
    for point in POINTS {
        text.push_str(&POINT.replace("NAME", point));
        text.push_str(match point {
            "epsilon" => "exploration = { kind = \"epsilon\", epsilon = 0.1 }\n",
            "softmax" => "exploration = { kind = \"softmax\", temperature = 0.3 }\n",
            "thompson" => "exploration = { kind = \"thompson\" }\n",
            _ => "tie_break = \"random\"\n",
        });
    }
    let source = SourceFile { name: "policy.toml".to_owned(), text };
    let features = Arc::new(FeatureSet::new(ContentHash::of(&[b"simulation"]), Vec::new()));
    PolicySnapshot::load(&source, features, &NoModels).unwrap_or_else(|faults| panic!("{faults:?}"))
}

/// What was given, counted without any help of the code under test.
#[derive(Default)]
struct Oracle {
    given: BTreeMap<UserKey, Vec<(i64, Arc<str>)>>,
    gifts: BTreeMap<i64, u64>,
}

impl Oracle {
    /// Whoever finds a limit exceeded after this ends the simulation.
    fn take(&mut self, user: UserKey, at_ms: i64, decision: &Decision) {
        let given = self.given.entry(user).or_default();
        given.retain(|(at, _)| at_ms - at < 8 * DAY_MS);
        given.push((at_ms, Arc::clone(&decision.action)));
        let count = |length_ms: i64, of: &dyn Fn(&str) -> bool| {
            given.iter().filter(|(at, action)| at_ms - at < length_ms && of(action)).count()
        };
        // 1970-01-01 was a Thursday; weeks begin on Monday.
        let (day, week) = (at_ms.div_euclid(DAY_MS), (at_ms.div_euclid(DAY_MS) + 3).div_euclid(7));
        let on_day = given.iter().filter(|(at, action)| at.div_euclid(DAY_MS) == day && &**action == "gift");
        let in_week = given
            .iter()
            .filter(|(at, action)| (at.div_euclid(DAY_MS) + 3).div_euclid(7) == week && &**action != "tip");
        let gifts = self.gifts.entry(day).or_default();
        *gifts += u64::from(&*decision.action == "gift");
        match &*decision.action {
            "offer" => {
                assert!(count(7 * DAY_MS, &|action| action == "offer") <= 2, "2 per 7d");
                assert!(count(24 * HOUR_MS, &|_| true) <= 5, "5 per 24h per channel");
            }
            "gift" => {
                assert!(on_day.count() <= 1, "1 per day");
                assert!(in_week.count() <= 3, "3 per week per category");
                assert!(*gifts <= GIFTS_PER_DAY, "500 per day");
            }
            _ => assert!(count(24 * HOUR_MS, &|action| action == "tip") <= 3, "3 per 24h"),
        }
    }

    fn gifts_today(&self, at_ms: i64) -> u64 {
        self.gifts.get(&at_ms.div_euclid(DAY_MS)).copied().unwrap_or(0)
    }
}

fn check(decision: &Decision) -> f64 {
    assert!(!decision.reasons.is_empty(), "a decision without a reason");
    let sum: f64 = decision.candidates.iter().map(|candidate| candidate.probability).sum();
    let off = (sum - 1.0).abs();
    assert!(off <= 1e-12, "probabilities add up to {sum}: {decision:?}");
    let chosen = decision.candidates.iter().find(|candidate| candidate.action == decision.action);
    let probability = chosen.map_or(0.0, |candidate| candidate.probability);
    assert!(probability > 0.0 && probability.to_bits() == decision.propensity.to_bits(), "{decision:?}");
    off
}

fn main() {
    let count: u64 = std::env::args().nth(1).map_or(200_000, |text| text.parse().unwrap());
    let policy = policy();
    let names: Vec<Arc<str>> = POINTS.map(Arc::from).into();
    let mut rng = Rng::new(1, Purpose::Simulation);
    let mut oracle = Oracle::default();
    let mut exposures: BTreeMap<UserKey, Vec<Exposure>> = BTreeMap::new();
    let mut actions: BTreeMap<Arc<str>, u64> = BTreeMap::new();
    let (mut refused, mut worst, started) = (0_u64, 0.0_f64, Instant::now());
    for number in 0..count {
        let at_ms = START_MS + (i128::from(number) * i128::from(DAYS * DAY_MS) / i128::from(count)) as i64;
        let now = Timestamp::from_unix_ms(at_ms);
        let mut key = [0; 16];
        key[..8].copy_from_slice(&rng.below(USERS).to_le_bytes());
        let user = UserKey::from_bytes(key);
        // Thompson's integrals take hundreds of times as long as all the rest.
        let thompson = rng.below(THOMPSON_ONE_IN) == 0;
        let name = &names[if thompson { 3 } else { rng.below(3) as usize }];
        let point = policy.point(name).unwrap();
        let list = exposures.entry(user).or_default();
        list.retain(|exposure| at_ms - exposure.at.unix_ms() < 32 * DAY_MS);
        let taste = Value::Number(Finite::new(rng.next_f64()).unwrap());
        let inputs = DecisionInputs {
            decision_id: DecisionId::new(now, [0; 10]),
            now,
            seed: rng.next_u64(),
            decision_point: Arc::clone(name),
            user,
            context: vec![("taste".into(), taste)],
            features_availability: Availability::Available,
            features: FeatureVector::not_found(policy.features()),
            models: Vec::new(),
            exposures: point.countable(list, now),
            person: Person::default(),
            budgets: vec![("gift".into(), oracle.gifts_today(at_ms))],
            peek: false,
            time_left_us: None,
        };
        let decision = decide(&policy, &inputs);
        worst = worst.max(check(&decision));
        refused +=
            u64::from(decision.candidates.iter().any(|candidate| candidate.next_eligible_at.is_some()));
        *actions.entry(Arc::clone(&decision.action)).or_default() += 1;
        if decision.counts_against_caps {
            oracle.take(user, at_ms, &decision);
            let exposure = Exposure::new(Arc::clone(&decision.action), Arc::clone(&decision.channel), now);
            list.push(Exposure { category: Arc::clone(&decision.category), ..exposure });
        }
    }
    let rate = count as f64 / started.elapsed().as_secs_f64();
    println!("{count} decisions of {USERS} people over {DAYS} days, {rate:.0}/s with the oracle");
    println!("no cap and no budget exceeded, no decision without a reason");
    println!(
        "probabilities add up to 1 within {worst:.1e}; {refused} decisions refused something for a while"
    );
    for (action, given) in actions {
        println!("  {action}: {given}");
    }
}
