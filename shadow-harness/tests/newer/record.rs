//! Records the newer golden log: 320 decisions of one policy, with exposures, holds and budgets carried as a server does.
//!
//! `cargo test -p augur-shadow-harness --test newer -- --ignored record`, with `testdata/golden_newer` removed. To be run
//! again only as the first golden log is: recording anew gives away the proof that decisions made yesterday still come out
//! the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::channel;

use augur_decision::{ModelSource, PolicySnapshot, SourceFile, decide};
use augur_decision_log::{Config, Log};
use augur_domain::canary::{Arm, CanaryArm};
use augur_domain::decision::{Availability, Exposure, Observed, Person};
use augur_domain::feature::FeatureValue;
use augur_domain::rng::{Purpose, Rng};
use augur_domain::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use augur_domain::{
    ContentHash, DecisionId, DecisionInputs, DecisionRecord, FeatureSet, FeatureStatus, FeatureVector,
    ModelRef, Timestamp, UserKey, Value,
};
use augur_feature_store::FeatureSchema;
use augur_models::Scorer;
use augur_models::scorer::Kind;
use augur_shadow_harness::DataDirectory;

use crate::golden;

pub(crate) const RECORDS: u64 = 320;
const USERS: u64 = 24;
const FIRST_INSTANT: Timestamp = Timestamp::from_unix_ms(1_790_000_000_000);
const POLICY: &str = include_str!("../../testdata/source_newer/policy.toml");
const FEATURES: &str = include_str!("../../testdata/source_newer/features.toml");

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

/// What a server keeps between decisions.
#[derive(Default)]
struct Kept {
    exposures: BTreeMap<UserKey, Vec<Exposure>>,
    spent: BTreeMap<(Arc<str>, Timestamp), u64>,
}

#[test]
#[ignore = "records the golden log anew"]
fn record() {
    let data = DataDirectory::new(golden());
    assert!(!golden().exists(), "{} exists; remove it first", golden().display());
    let schema = FeatureSchema::parse("features.toml", FEATURES).unwrap();
    let source = SourceFile { name: "policy.toml".to_owned(), text: POLICY.to_owned() };
    let policy = PolicySnapshot::load(&source, Arc::clone(schema.feature_set()), &NoModels).unwrap();
    let dir = data.policy_dir(policy.id());
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("policy.toml"), POLICY).unwrap();
    std::fs::write(dir.join("features.toml"), FEATURES).unwrap();
    let decisions = data.decisions_dir();
    let (log, _) = Log::open(Config { segment_bytes: 96 * 1024, ..Config::new(&decisions) }).unwrap();
    let (mut rng, mut kept) = (Rng::new(2027, Purpose::Simulation), Kept::default());
    for number in 0..RECORDS {
        let record = kept.decide(&policy, number, &mut rng);
        let (told, answer) = channel();
        log.append(&record, move |outcome| drop(told.send(outcome))).unwrap();
        answer.recv().unwrap().unwrap();
    }
    log.close().unwrap();
    std::fs::remove_file(decisions.join("LOCK")).unwrap();
}

impl Kept {
    fn decide(&mut self, policy: &PolicySnapshot, number: u64, rng: &mut Rng) -> DecisionRecord {
        let now = FIRST_INSTANT.plus_millis(number as i64 * 23 * MINUTE_MS);
        let mut unique = [0; 10];
        unique[..8].copy_from_slice(&rng.next_u64().to_le_bytes());
        let name = if rng.below(3) == 0 { "mail" } else { "app" };
        let point = policy.point(name).unwrap();
        let who = rng.below(USERS);
        let user = UserKey::from_bytes([who as u8 + 1; 16]);
        let held = self.exposures.get(&user).map_or(&[][..], Vec::as_slice);
        let spent = point.budgets().map(|(action, budget)| {
            let window = (Arc::clone(action), budget.since(now));
            (Arc::clone(action), self.spent.get(&window).copied().unwrap_or_default())
        });
        let mut budgets: Vec<_> = spent.collect();
        budgets.sort();
        let country = ["DE", "FR", "US", "JP"][rng.below(4) as usize];
        let inputs = DecisionInputs {
            decision_id: DecisionId::new(now, unique),
            now,
            seed: rng.next_u64(),
            decision_point: Arc::from(name),
            user,
            context: (name == "app")
                .then(|| (Arc::from("country"), Value::Text(country.into())))
                .into_iter()
                .collect(),
            features_availability: Availability::Available,
            features: features(policy.features(), now, rng),
            models: Vec::new(),
            exposures: point.countable(held, now),
            person: person(who, rng),
            budgets,
            peek: rng.below(12) == 0,
            time_left_us: None,
        };
        let decision = decide(policy, &inputs);
        if decision.counts_against_caps && !inputs.peek {
            self.exposures.entry(user).or_default().push(Exposure {
                category: Arc::clone(&decision.category),
                decision: decision.holds_until.map_or(DecisionId::NONE, |_| inputs.decision_id),
                holds_until: decision.holds_until,
                ..Exposure::new(Arc::clone(&decision.action), Arc::clone(&decision.channel), now)
            });
        }
        if let Some(budget) = point.budget(&decision.action).filter(|_| !inputs.peek) {
            *self.spent.entry((Arc::clone(&decision.action), budget.since(now))).or_default() += 1;
        }
        let canary = (rng.below(4) == 0).then(|| CanaryArm {
            challenger: ModelRef {
                name: Arc::from("churn"),
                version: 3,
                artifact: ContentHash::of(&[b"made up"]),
            },
            salt: ContentHash::of(&[b"salt"]),
            share_ppm: 100_000,
            arm: if rng.below(2) == 0 { Arm::Champion } else { Arm::Challenger },
        });
        DecisionRecord {
            sequence: 0,
            policy: policy.id(),
            models: policy.models().to_vec(),
            request: inputs.decision_id.as_bytes().to_vec(),
            decision,
            canary,
            observed: Observed { read_us: rng.below(50) as u32, decide_us: rng.below(5) as u32 },
            inputs,
        }
    }
}

fn features(set: &FeatureSet, now: Timestamp, rng: &mut Rng) -> FeatureVector {
    let mut texts = Vec::new();
    let values = set.features().iter().enumerate().map(|(slot, feature)| {
        let event_time = Some(now.plus_millis(-(rng.below(30 * DAY_MS as u64) as i64)));
        let nothing = FeatureValue { value: 0.0, status: FeatureStatus::NullValue, event_time: None };
        if &*feature.name == "last_category" {
            if rng.below(2) == 0 {
                return nothing;
            }
            let text = ["shoes", "books"][rng.below(2) as usize];
            texts.push((slot as u32, Arc::from(text)));
            return FeatureValue { value: 0.0, status: FeatureStatus::Present, event_time };
        }
        FeatureValue { value: (rng.next_f64() * 8.0).trunc(), status: FeatureStatus::Present, event_time }
    });
    let values = values.collect();
    FeatureVector { feature_set: set.hash(), watermark: rng.below(1_000) + 1, values, texts }
}

fn person(who: u64, rng: &mut Rng) -> Person {
    let zones = [Some("Europe/Berlin"), Some("America/New_York"), Some("Nowhere/Land"), None];
    let said = |name: &str, says: bool| (Arc::from(name), says);
    Person {
        time_zone: zones[(who % 4) as usize].map(Arc::from),
        traits: vec![(
            Arc::from("plan"),
            Value::Text(if who.is_multiple_of(3) { "gold" } else { "free" }.into()),
        )],
        consents: vec![said("marketing", !who.is_multiple_of(5)), said("personal", rng.below(4) != 0)],
        suppressed: if who == 7 { vec![Arc::from("email")] } else { Vec::new() },
        ..Person::default()
    }
}

/// Outcomes follow within an hour of a decision; candidates join them.
pub(crate) const OUTCOME_AFTER_MS: i64 = HOUR_MS;
