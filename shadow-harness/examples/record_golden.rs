//! Records the golden decision log: a data directory with two policies, three models and 300 decisions, written by
//! the production code from seeded inputs.
//!
//! `cargo run -p augur-shadow-harness --example record_golden -- shadow-harness/testdata/golden`
//!
//! To be run again only when the decision engine's version, or the meaning of feature definitions (both are part of a
//! policy's id), was raised on purpose: the log in the repository proves that decisions made yesterday still come out
//! the same, and recording it anew gives that proof away. Not here:
//! the replay, which is `tests/golden.rs`.
#![expect(clippy::print_stdout, reason = "a program for the command line")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;

use augur_decision::{ModelSource, PolicySnapshot, SourceFile, decide};
use augur_decision_log::{Config, Log};
use augur_domain::decision::{Availability, Exposure, Observed, Person};
use augur_domain::feature::FeatureValue;
use augur_domain::rng::{Purpose, Rng};
use augur_domain::time::{DAY_MS, HOUR_MS};
use augur_domain::value::Finite;
use augur_domain::{
    DecisionId, DecisionInputs, DecisionRecord, FeatureSet, FeatureStatus, FeatureVector, ModelRef,
    Timestamp, UserKey, Value,
};
use augur_feature_store::FeatureSchema;
use augur_models::artifact::{Body, Content, Input, Lineage, Transform};
use augur_models::calibrate::Knot;
use augur_models::registry::Card;
use augur_models::scorer::Kind;
use augur_models::{Artifact, Calibrator, Registry, Scorer};
use augur_shadow_harness::DataDirectory;

type Outcome<T> = Result<T, Box<dyn Error>>;

const SEED: u64 = 2026;
const RECORDS_PER_PHASE: u64 = 100;
const FIRST_INSTANT: Timestamp = Timestamp::from_unix_ms(1_790_000_000_000);

fn main() -> Outcome<()> {
    let dir = std::env::args_os().nth(1).map(PathBuf::from).ok_or("expected a directory to write to")?;
    if dir.exists() {
        return Err(format!("{} exists; remove it first", dir.display()).into());
    }
    let recorder = Recorder::new(&dir)?;
    recorder.record()?;
    println!("recorded {}", dir.display());
    Ok(())
}

struct Recorder {
    data: DataDirectory,
    registry: Registry,
    features: Arc<FeatureSet>,
    policy_text: String,
    features_text: String,
}

impl Recorder {
    fn new(dir: &Path) -> Outcome<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/source");
        let features_text = std::fs::read_to_string(source.join("features.toml"))?;
        let policy_text = std::fs::read_to_string(source.join("policy.toml"))?;
        let schema = FeatureSchema::parse("features.toml", &features_text).map_err(joined)?;
        let data = DataDirectory::new(dir);
        let registry = Registry::open(data.models_dir())?;
        Ok(Self { registry, data, features: Arc::clone(schema.feature_set()), policy_text, features_text })
    }

    /// Three phases: the policy with its first churn model, with its second one, and a changed policy.
    fn record(&self) -> Outcome<()> {
        let changed =
            self.policy_text.replace("9.0 * scores.conversion - 3.0", "8.0 * scores.conversion - 2.5");
        let mut rng = Rng::new(SEED, Purpose::Simulation);
        let decisions = self.data.decisions_dir();
        let (log, _) = Log::open(Config { segment_bytes: 96 * 1024, ..Config::new(&decisions) })?;
        self.publish("churn", -0.5, Calibrator::Platt { a: -0.9, b: 0.05 })?;
        self.publish("conversion", -0.2, isotonic())?;
        self.phase(&log, &self.policy_text, 0, &mut rng)?;
        self.publish("churn", 0.3, Calibrator::Identity)?;
        self.phase(&log, &self.policy_text, 1, &mut rng)?;
        self.phase(&log, &changed, 2, &mut rng)?;
        log.close()?;
        std::fs::remove_file(decisions.join("LOCK"))?;
        for name in self.registry.names()? {
            std::fs::remove_file(self.data.models_dir().join(name).join("lock"))?;
        }
        Ok(())
    }

    fn publish(&self, name: &str, intercept: f64, calibrator: Calibrator) -> Outcome<()> {
        let artifact = Artifact::new(Content {
            name: name.to_owned(),
            task: name.to_owned(),
            positive_class: format!("{name} within 30 d"),
            feature_set: self.features.hash(),
            body: Body::Linear { intercept, inputs: inputs_of(&self.features, intercept) },
            calibrator,
            lineage: Lineage {
                data: augur_domain::ContentHash::of(&[b"made up for the golden log"]),
                seed: SEED,
                parameters: "{}".to_owned(),
                created_at: FIRST_INSTANT,
                code_version: "golden".to_owned(),
            },
            report: String::new(),
            reference: None,
        })?;
        let card = Card {
            published_by: "record_golden".to_owned(),
            published_at: FIRST_INSTANT,
            notes: "made up for the golden log".to_owned(),
        };
        let version = self.registry.publish(name, &artifact, &card)?.version;
        self.registry.set_alias(
            name,
            "champion",
            version,
            "record_golden",
            "the next phase",
            FIRST_INSTANT,
        )?;
        Ok(())
    }

    fn phase(&self, log: &Log, policy_text: &str, phase: u64, rng: &mut Rng) -> Outcome<()> {
        let source = SourceFile { name: "policy.toml".to_owned(), text: policy_text.to_owned() };
        let models = Champions { registry: &self.registry };
        let policy = PolicySnapshot::load(&source, Arc::clone(&self.features), &models).map_err(joined)?;
        let dir = self.data.policy_dir(policy.id());
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join("policy.toml"), policy_text)?;
        std::fs::write(dir.join("features.toml"), &self.features_text)?;
        for number in 0..RECORDS_PER_PHASE {
            let inputs = random_inputs(&self.features, phase * RECORDS_PER_PHASE + number, rng);
            let record = DecisionRecord {
                sequence: 0,
                policy: policy.id(),
                models: policy.models().to_vec(),
                request: inputs.decision_id.as_bytes().to_vec(),
                decision: decide(&policy, &inputs),
                canary: None,
                observed: Observed { read_us: rng.below(50) as u32, decide_us: rng.below(5) as u32 },
                inputs,
            };
            let (told, answer) = channel();
            log.append(&record, move |outcome| drop(told.send(outcome)))?;
            answer.recv()??;
        }
        Ok(())
    }
}

/// The registry's champions.
struct Champions<'a> {
    registry: &'a Registry,
}

impl ModelSource for Champions<'_> {
    fn scorer(
        &self,
        name: &str,
        alias: &str,
        _kind: Kind,
        features: &FeatureSet,
    ) -> Result<Option<(ModelRef, Arc<Scorer>)>, String> {
        let find = || -> Result<Option<(ModelRef, Arc<Scorer>)>, augur_models::Error> {
            let Some(model) = self.registry.resolve(name, alias)? else { return Ok(None) };
            let scorer = Scorer::new(&self.registry.load(&model)?, features)?;
            Ok(Some((model, Arc::new(scorer))))
        };
        find().map_err(|error| error.to_string())
    }
}

fn isotonic() -> Calibrator {
    let knots = [(-3.0, 0.02), (-1.0, 0.11), (0.0, 0.4), (0.7, 0.4), (2.5, 0.93)];
    let knots = knots.map(|(margin, probability)| Knot { margin, probability });
    Calibrator::Isotonic { knots: knots.to_vec() }
}

/// Weights that differ by feature and model, and pull in both directions.
fn inputs_of(features: &FeatureSet, intercept: f64) -> Vec<Input> {
    let input = |(slot, feature): (usize, &augur_domain::feature::FeatureInfo)| Input {
        feature: feature.name.to_string(),
        transform: if slot % 2 == 0 { Transform::SignedLog1p } else { Transform::Identity },
        mean: 0.3 * (slot as f64 + 1.0),
        scale: 1.1 + slot as f64,
        weight: if slot % 3 == 0 { -0.7 - intercept } else { 0.45 + intercept },
        imputation: 0.2 * slot as f64,
        clip: None,
        missing_weight: 0.05,
        definition: None,
    };
    features.features().iter().enumerate().map(input).collect()
}

fn random_inputs(features: &FeatureSet, number: u64, rng: &mut Rng) -> DecisionInputs {
    let now = FIRST_INSTANT.plus_millis(number as i64 * 137_003);
    let mut unique = [0; 10];
    for (byte, random) in unique.iter_mut().zip(rng.next_u64().to_le_bytes().into_iter().cycle()) {
        *byte = random;
    }
    let on_cart_page = rng.below(3) != 0;
    DecisionInputs {
        decision_id: DecisionId::new(now, unique),
        now,
        seed: rng.next_u64(),
        decision_point: Arc::from(if on_cart_page { "cart_page" } else { "weekly_email" }),
        user: UserKey::from_bytes([rng.below(40) as u8; 16]),
        context: if on_cart_page { random_context(rng) } else { Vec::new() },
        features_availability: rarely(rng, 12, Availability::Failed, Availability::DeadlineExceeded),
        features: random_features(features, now, rng),
        models: ["conversion", "churn"]
            .into_iter()
            .map(|alias| {
                (Arc::from(alias), rarely(rng, 10, Availability::BreakerOpen, Availability::NotLoaded))
            })
            .collect(),
        exposures: random_exposures(now, rng),
        person: Person::default(),
        budgets: Vec::new(),
        peek: false,
        time_left_us: None,
    }
}

/// Usually available, one time in `out_of` one of two troubles.
fn rarely(rng: &mut Rng, out_of: u64, one: Availability, other: Availability) -> Availability {
    match rng.below(out_of * 2) {
        0 => one,
        1 => other,
        _ => Availability::Available,
    }
}

fn random_context(rng: &mut Rng) -> Vec<(Arc<str>, Value)> {
    let countries = ["DE", "FR", "NL", "US", "JP"];
    let mut context = Vec::new();
    if rng.below(8) != 0 {
        let amount = Finite::new((rng.next_f64() * 9_000.0).trunc() / 100.0).unwrap_or_default();
        context.push((Arc::from("cart_value"), Value::Number(amount)));
    }
    if let Some(country) = countries.get(rng.below(6) as usize) {
        context.push((Arc::from("country"), Value::Text(Arc::from(*country))));
    }
    context.push((Arc::from("returning"), Value::Boolean(rng.below(2) == 0)));
    context
}

fn random_features(features: &FeatureSet, now: Timestamp, rng: &mut Rng) -> FeatureVector {
    if rng.below(10) == 0 {
        return FeatureVector::not_found(features);
    }
    let watermark = rng.below(10_000);
    let values = features.features().iter().map(|feature| {
        let event_time = Some(now.plus_millis(-(rng.below(90 * DAY_MS as u64) as i64)));
        let status = match rng.below(12) {
            0 => FeatureStatus::NullValue,
            1 => FeatureStatus::OutsideMaxAge,
            2 => FeatureStatus::Defaulted,
            _ => FeatureStatus::Present,
        };
        let largest = if feature.name.starts_with("seconds") { 5_000_000.0 } else { 8.0 };
        let value = if status.is_usable() { rng.next_f64() * largest } else { 0.0 };
        FeatureValue { value, status, event_time: event_time.filter(|_| status == FeatureStatus::Present) }
    });
    FeatureVector { feature_set: features.hash(), watermark, values: values.collect(), texts: Vec::new() }
}

fn random_exposures(now: Timestamp, rng: &mut Rng) -> Vec<Exposure> {
    let given =
        [("free_shipping", "onsite"), ("discount", "onsite"), ("winback", "email"), ("digest", "email")];
    let mut exposures: Vec<_> = (0..rng.below(7))
        .filter_map(|_| {
            let (action, channel) = given.get(rng.below(4) as usize)?;
            let at = now.plus_millis(-(rng.below(16 * DAY_MS as u64) as i64) - HOUR_MS / 2);
            Some(Exposure::new(Arc::from(*action), Arc::from(*channel), at))
        })
        .collect();
    exposures.sort_by_key(|exposure| exposure.at);
    exposures
}

fn joined(complaints: Vec<augur_domain::Diagnostic>) -> String {
    complaints.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
