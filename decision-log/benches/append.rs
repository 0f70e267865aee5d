//! What an append costs its caller, and how many records the log takes.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to measure")]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use augur_decision_log::{Config, Durability, Error, Log, Reader, codec};
use augur_domain::decision::{Availability, CandidateOutcome, Observed, Person, Rung, Score, ScoreOutcome};
use augur_domain::feature::FeatureValue;
use augur_domain::{
    ContentHash, Decision, DecisionId, DecisionInputs, DecisionRecord, FeatureStatus, FeatureVector,
    ModelRef, Reason, ReasonCode, Timestamp, UserKey,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// A record of the usual size: 40 features, 2 models, 5 actions, a request of 200 bytes.
fn record() -> DecisionRecord {
    let now = Timestamp::from_unix_ms(1_795_366_965_123);
    let model = ModelRef { name: Arc::from("churn"), version: 3, artifact: ContentHash::default() };
    let aliases = [Arc::from("churn"), Arc::from("conversion")];
    let feature = |number: u32| FeatureValue {
        value: f64::from(number) * 0.37,
        status: FeatureStatus::Present,
        event_time: Some(now.plus_millis(-60_000)),
    };
    let candidate = |name: &str| CandidateOutcome {
        action: Arc::from(name),
        value: Some(4.75),
        probability: 0.2,
        reason: Reason::new(ReasonCode::Outranked),
        next_eligible_at: None,
    };
    let score = |alias: &Arc<str>| ScoreOutcome {
        alias: Arc::clone(alias),
        model: Some(model.clone()),
        score: Some(Score { margin: -0.25, raw: 0.4378, calibrated: 0.31 }),
    };
    DecisionRecord {
        sequence: 0,
        policy: ContentHash::default(),
        models: aliases.iter().map(|alias| (Arc::clone(alias), model.clone())).collect(),
        request: vec![7; 200],
        inputs: DecisionInputs {
            decision_id: DecisionId::new(now, [1; 10]),
            now,
            seed: 99,
            decision_point: Arc::from("cart_page"),
            user: UserKey::default(),
            context: Vec::new(),
            features_availability: Availability::Available,
            features: FeatureVector {
                feature_set: ContentHash::default(),
                watermark: 42,
                values: (0..40).map(feature).collect(),
                texts: Vec::new(),
            },
            models: aliases.iter().map(|alias| (Arc::clone(alias), Availability::Available)).collect(),
            exposures: Vec::new(),
            person: Person::default(),
            budgets: Vec::new(),
            peek: false,
            time_left_us: None,
        },
        decision: Decision {
            action: Arc::from("free_shipping"),
            payload: Arc::from(r#"{"banner":"free"}"#),
            channel: Arc::from("onsite"),
            counts_against_caps: true,
            value: 4.75,
            propensity: 0.2,
            rung: Rung::Champion,
            scores: aliases.iter().map(score).collect(),
            candidates: ["free_shipping", "discount", "reminder", "survey", "nothing"].map(candidate).into(),
            reasons: vec![Reason::new(ReasonCode::HighestValue)],
            expires_at: None,
            category: Arc::default(),
            holds_until: None,
            assignments: Vec::new(),
            shadow: Vec::new(),
        },
        canary: None,
        observed: Observed { read_us: 3, decide_us: 2 },
    }
}

fn codec_costs(criterion: &mut Criterion) {
    let record = record();
    let mut bytes = Vec::new();
    codec::encode_record(&record, &mut bytes);
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    let mut out = Vec::new();
    group.bench_function("encode_record", |bencher| {
        bencher.iter(|| {
            out.clear();
            codec::encode_record(black_box(&record), &mut out);
        });
    });
    group.bench_function("decode_record", |bencher| {
        bencher.iter(|| codec::decode_record(black_box(&bytes)));
    });
    group.bench_function("find_sections", |bencher| {
        bencher.iter(|| codec::RecordView::parse(black_box(&bytes)));
    });
    group.finish();
}

/// Appends until the queue takes it: the only error that a healthy log gives.
fn append(log: &Log, record: &DecisionRecord) {
    while let Err(error) = log.append(record, |outcome| drop(black_box(outcome))) {
        assert!(matches!(error, Error::QueueFull { .. }), "{error}");
        std::thread::yield_now();
    }
}

fn append_costs(criterion: &mut Criterion) {
    let record = record();
    let mut group = criterion.benchmark_group("append");
    group.throughput(Throughput::Elements(1));
    group.measurement_time(Duration::from_secs(3));
    for (name, durability) in [("written", Durability::Written), ("synced", Durability::Synced)] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let config = Config { durability, ..Config::new(dir.path()) };
        let (log, _) = Log::open(config).expect("a new log");
        group.bench_function(format!("{name}, as fast as the log takes them"), |bencher| {
            bencher.iter(|| append(&log, &record));
        });
        group.bench_function(format!("{name}, one at a time until told"), |bencher| {
            bencher.iter_custom(|iterations| {
                let (sender, receiver) = channel();
                let started = Instant::now();
                for _ in 0..iterations {
                    let sender = sender.clone();
                    let told = move |outcome| drop(sender.send(outcome));
                    log.append(&record, told).expect("room");
                    receiver.recv().expect("an answer").expect("a sequence");
                }
                started.elapsed()
            });
        });
    }
    group.finish();
}

fn read_costs(criterion: &mut Criterion) {
    const RECORDS: u64 = 100_000;
    let record = record();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (log, _) = Log::open(Config::new(dir.path())).expect("a new log");
    for _ in 0..RECORDS {
        append(&log, &record);
    }
    log.close().expect("a clean end");
    let mut group = criterion.benchmark_group("read");
    group.throughput(Throughput::Elements(RECORDS)).sample_size(10);
    group.bench_function("checked bytes", |bencher| {
        bencher.iter(|| {
            let mut reader = Reader::open(dir.path()).expect("a log");
            while let Some((_, bytes)) = reader.next_bytes().expect("an intact log") {
                black_box(bytes);
            }
        });
    });
    group.finish();
}

criterion_group!(benches, codec_costs, append_costs, read_costs);
criterion_main!(benches);
