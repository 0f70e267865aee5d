//! Records for tests: one with every field filled, and arbitrary ones.
//!
//! Not here: anything that production code may use.

use std::sync::Arc;

use augur_domain::canary::{Arm, CanaryArm};
use augur_domain::decision::{
    Assignment, Availability, CandidateOutcome, Exposure, Observed, Person, Rung, Score, ScoreOutcome,
};
use augur_domain::feature::FeatureValue;
use augur_domain::value::Finite;
use augur_domain::{
    ContentHash, Decision, DecisionId, DecisionInputs, DecisionRecord, FeatureStatus, FeatureVector,
    ModelRef, Reason, ReasonCode, Timestamp, UserKey, Value,
};
use proptest::prelude::*;

/// A record with every kind of field in use. Its bytes are pinned by `testdata/v2/record.bin`.
pub(crate) fn full_record() -> DecisionRecord {
    let mut record = record_without_texts();
    let features = &mut record.inputs.features;
    let text = FeatureValue { value: 0.0, status: FeatureStatus::Present, event_time: None };
    features.values.extend([text; 2]);
    features.texts = vec![(3, Arc::from("garden")), (4, Arc::from("Küche"))];
    record
}

/// Everything that version 1 can hold. Its bytes are pinned by `testdata/v1/record.bin`.
pub(crate) fn record_without_texts() -> DecisionRecord {
    let model =
        ModelRef { name: Arc::from("churn"), version: 3, artifact: ContentHash::from_bytes([0xab; 32]) };
    let now = Timestamp::from_unix_ms(1_795_366_965_123);
    DecisionRecord {
        sequence: 0x0102_0304_0506_0708,
        policy: ContentHash::from_bytes([0x11; 32]),
        models: vec![(Arc::from("churn"), model.clone())],
        request: vec![0x0a, 0x03, b'a', b'd', b'a'],
        inputs: DecisionInputs {
            decision_id: DecisionId::new(now, [0x5a; 10]),
            now,
            seed: 0xdead_beef_cafe_f00d,
            decision_point: Arc::from("cart_page"),
            user: UserKey::from_bytes(*b"0123456789abcdef"),
            context: vec![
                (Arc::from("cart_value"), Value::Number(Finite::new(99.5).unwrap())),
                (Arc::from("country"), Value::Text(Arc::from("Österreich"))),
                (Arc::from("returning"), Value::Boolean(true)),
            ],
            features_availability: Availability::Available,
            features: FeatureVector {
                feature_set: ContentHash::from_bytes([0x22; 32]),
                watermark: 42,
                values: vec![
                    FeatureValue { value: 2.5, status: FeatureStatus::Present, event_time: Some(now) },
                    FeatureValue { value: 0.0, status: FeatureStatus::NotFound, event_time: None },
                    FeatureValue { value: -1.0, status: FeatureStatus::Defaulted, event_time: None },
                ],
                texts: Vec::new(),
            },
            models: vec![
                (Arc::from("churn"), Availability::Available),
                (Arc::from("conversion"), Availability::BreakerOpen),
            ],
            exposures: vec![Exposure::new(
                Arc::from("send_offer"),
                Arc::from("email"),
                now.plus_millis(-86_400_000),
            )],
            person: Person::default(),
            budgets: Vec::new(),
            peek: false,
            time_left_us: None,
        },
        decision: full_decision(model, now),
        canary: None,
        observed: Observed { read_us: 12, decide_us: 3 },
    }
}

fn full_decision(model: ModelRef, now: Timestamp) -> Decision {
    Decision {
        action: Arc::from("send_offer"),
        payload: Arc::from(r#"{"discount":0.1}"#),
        channel: Arc::from("email"),
        counts_against_caps: true,
        value: 4.75,
        propensity: 0.875,
        rung: Rung::RulesOnly,
        scores: vec![
            ScoreOutcome {
                alias: Arc::from("churn"),
                model: Some(model),
                score: Some(Score { margin: -0.25, raw: 0.4378, calibrated: 0.31 }),
            },
            ScoreOutcome { alias: Arc::from("conversion"), model: None, score: None },
        ],
        candidates: vec![
            CandidateOutcome {
                action: Arc::from("send_offer"),
                value: Some(4.75),
                probability: 0.875,
                reason: Reason::new(ReasonCode::HighestValue),
                next_eligible_at: None,
            },
            CandidateOutcome {
                action: Arc::from("call"),
                value: None,
                probability: 0.0,
                reason: Reason::with(ReasonCode::FrequencyCap, Arc::from("2 per 7d")),
                next_eligible_at: Some(now.plus_millis(518_400_000)),
            },
        ],
        reasons: vec![
            Reason::new(ReasonCode::HighestValue),
            Reason::with(ReasonCode::ModelUnavailable, Arc::from("conversion")),
        ],
        expires_at: Some(now.plus_millis(3_600_000)),
        category: Arc::default(),
        holds_until: None,
        assignments: Vec::new(),
        shadow: Vec::new(),
    }
}

/// A small record whose `sequence` and size differ from others by `number`.
pub(crate) fn numbered_record(number: u64) -> DecisionRecord {
    let mut record = record_without_texts();
    record.sequence = number;
    record.request = number.to_string().into_bytes();
    record
}

fn text() -> impl Strategy<Value = Arc<str>> {
    "\\PC{0,12}".prop_map(Arc::from)
}

fn instant() -> impl Strategy<Value = Timestamp> {
    (Timestamp::MIN.unix_ms()..=Timestamp::MAX.unix_ms()).prop_map(Timestamp::from_unix_ms)
}

/// Any bits, NaN included.
fn float() -> impl Strategy<Value = f64> {
    any::<u64>().prop_map(f64::from_bits)
}

fn hash() -> impl Strategy<Value = ContentHash> {
    any::<[u8; 32]>().prop_map(ContentHash::from_bytes)
}

fn model() -> impl Strategy<Value = ModelRef> {
    (text(), any::<u32>(), hash()).prop_map(|(name, version, artifact)| ModelRef { name, version, artifact })
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Boolean),
        any::<f64>().prop_filter_map("finite", Finite::new).prop_map(Value::Number),
        text().prop_map(Value::Text),
    ]
}

fn availability() -> impl Strategy<Value = Availability> {
    (1_u8..=5).prop_map(|number| Availability::from_u8(number).unwrap())
}

fn reason() -> impl Strategy<Value = Reason> {
    (prop::sample::select(ReasonCode::ALL), prop::option::of(text()))
        .prop_map(|(code, detail)| Reason { code, detail })
}

fn features() -> impl Strategy<Value = FeatureVector> {
    let status = (1_u8..=5).prop_map(|number| FeatureStatus::from_u8(number).unwrap());
    let feature = (float(), status, prop::option::of(instant()), prop::option::weighted(0.2, text()))
        .prop_map(|(value, status, event_time, text)| (FeatureValue { value, status, event_time }, text));
    (hash(), any::<u64>(), prop::collection::vec(feature, 0..8)).prop_map(
        |(feature_set, watermark, features)| {
            let (values, texts): (Vec<_>, Vec<_>) = features.into_iter().unzip();
            let texts = (0..).zip(texts).filter_map(|(slot, text)| Some((slot, text?))).collect();
            FeatureVector { feature_set, watermark, values, texts }
        },
    )
}

fn exposure() -> impl Strategy<Value = Exposure> {
    let more = (text(), any::<[u8; 16]>(), prop::option::of(instant()));
    (text(), text(), instant(), prop::option::weighted(0.2, more)).prop_map(|(action, channel, at, more)| {
        let mut exposure = Exposure::new(action, channel, at);
        if let Some((category, decision, holds_until)) = more {
            exposure.category = category;
            exposure.decision = DecisionId::from_bytes(decision);
            exposure.holds_until = holds_until;
        }
        exposure
    })
}

fn person() -> impl Strategy<Value = Person> {
    let lists = (
        prop::collection::vec((text(), value()), 0..3),
        prop::collection::vec((text(), any::<bool>()), 0..3),
        prop::collection::vec(text(), 0..3),
    );
    let head = (availability(), prop::option::of(text()));
    let known = (head, lists).prop_map(|((availability, time_zone), (traits, consents, suppressed))| {
        Person { availability, time_zone, traits, consents, suppressed }
    });
    prop_oneof![Just(Person::default()), known]
}

fn inputs() -> impl Strategy<Value = DecisionInputs> {
    let who = (any::<[u8; 16]>(), instant(), any::<u64>(), text(), any::<[u8; 16]>());
    let what = (
        prop::collection::vec((text(), value()), 0..4),
        availability(),
        features(),
        prop::collection::vec((text(), availability()), 0..4),
        prop::collection::vec(exposure(), 0..4),
    );
    let budgets = prop::collection::vec((text(), any::<u64>()), 0..2);
    let last = (any::<bool>(), prop::option::of(any::<u64>()));
    (who, what, person(), budgets, last).prop_map(
        |((id, now, seed, decision_point, user), what, person, budgets, (peek, time_left_us))| {
            let (context, features_availability, features, models, exposures) = what;
            DecisionInputs {
                decision_id: DecisionId::from_bytes(id),
                now,
                seed,
                decision_point,
                user: UserKey::from_bytes(user),
                context,
                features_availability,
                features,
                models,
                exposures,
                person,
                budgets,
                peek,
                time_left_us,
            }
        },
    )
}

fn decision() -> impl Strategy<Value = Decision> {
    let rung = prop::sample::select((1..=5).filter_map(Rung::from_u8).collect::<Vec<_>>());
    let score =
        (float(), float(), float()).prop_map(|(margin, raw, calibrated)| Score { margin, raw, calibrated });
    let score = (text(), prop::option::of(model()), prop::option::of(score))
        .prop_map(|(alias, model, score)| ScoreOutcome { alias, model, score });
    let candidate = (text(), prop::option::of(float()), float(), reason(), prop::option::of(instant()))
        .prop_map(|(action, value, probability, reason, next_eligible_at)| CandidateOutcome {
            action,
            value,
            probability,
            reason,
            next_eligible_at,
        });
    let chosen = (text(), text(), text(), any::<bool>(), float(), float(), rung);
    let lists = (
        prop::collection::vec(score, 0..3),
        prop::collection::vec(candidate, 0..4),
        prop::collection::vec(reason(), 0..4),
        prop::option::of(instant()),
    );
    let assignment = (text(), text(), any::<bool>()).prop_map(|(experiment, arm, enrolled)| Assignment {
        experiment,
        arm,
        enrolled,
    });
    let more = (
        text(),
        prop::option::of(instant()),
        prop::collection::vec(assignment, 0..3),
        prop::collection::vec(reason(), 0..3),
    );
    let more = prop::option::of(more).prop_map(Option::unwrap_or_default);
    (chosen, lists, more).prop_map(|(chosen, (scores, candidates, reasons, expires_at), more)| {
        let (category, holds_until, assignments, shadow) = more;
        let (action, payload, channel, counts_against_caps, value, propensity, rung) = chosen;
        Decision {
            action,
            payload,
            channel,
            counts_against_caps,
            value,
            propensity,
            rung,
            scores,
            candidates,
            reasons,
            expires_at,
            category,
            holds_until,
            assignments,
            shadow,
        }
    })
}

/// [`full_record`] as part of a canary. Its bytes are pinned by `testdata/v4/record.bin`.
pub(crate) fn record_on_trial() -> DecisionRecord {
    let challenger =
        ModelRef { name: Arc::from("churn"), version: 4, artifact: ContentHash::from_bytes([0xcd; 32]) };
    let salt = ContentHash::from_bytes([0x33; 32]);
    let canary = CanaryArm { challenger, salt, share_ppm: 50_000, arm: Arm::Challenger };
    DecisionRecord { canary: Some(canary), ..full_record() }
}

/// [`record_on_trial`] with all that version 4 cannot hold. Its bytes are pinned by `testdata/v8/record.bin`.
pub(crate) fn record_of_today() -> DecisionRecord {
    let mut record = record_on_trial();
    let now = record.inputs.now;
    let plan = Value::Text(Arc::from("gold"));
    record.inputs.person = Person {
        availability: Availability::Available,
        time_zone: Some(Arc::from("Europe/Vienna")),
        traits: vec![
            (Arc::from("age"), Value::Number(Finite::new(41.0).unwrap())),
            (Arc::from("plan"), plan),
        ],
        consents: vec![(Arc::from("marketing"), true), (Arc::from("profiling"), false)],
        suppressed: vec![Arc::from("sms")],
    };
    record.inputs.budgets = vec![(Arc::from("send_offer"), 9_999)];
    record.inputs.peek = true;
    for exposure in &mut record.inputs.exposures {
        exposure.category = Arc::from("offers");
        exposure.decision = DecisionId::new(exposure.at, [0xa5; 10]);
        exposure.holds_until = Some(now.plus_millis(600_000));
    }
    record.decision.category = Arc::from("offers");
    record.decision.holds_until = Some(now.plus_millis(3_600_000));
    let arm = |experiment, arm, enrolled| Assignment { experiment, arm, enrolled };
    record.decision.assignments = vec![
        arm(Arc::from("subject_line"), Arc::from("short"), true),
        arm(Arc::from("price"), Arc::from("control"), false),
    ];
    record.decision.shadow = vec![Reason::with(ReasonCode::RuleDenied, Arc::from("VIP_PAYS_FULL"))];
    record
}

/// [`record_of_today`], asked how much time was left. Its bytes are pinned by `testdata/v10/record.bin`.
pub(crate) fn record_in_time() -> DecisionRecord {
    let mut record = record_of_today();
    record.inputs.time_left_us = Some(2_500);
    record
}

/// Any record that the types allow, floats with any bits.
pub(crate) fn any_record() -> impl Strategy<Value = DecisionRecord> {
    let head = (any::<u64>(), hash(), prop::collection::vec((text(), model()), 0..3));
    let request = prop::collection::vec(any::<u8>(), 0..64);
    let canary =
        (model(), hash(), any::<u32>(), any::<bool>()).prop_map(|(challenger, salt, share_ppm, on)| {
            let arm = if on { Arm::Challenger } else { Arm::Champion };
            CanaryArm { challenger, salt, share_ppm, arm }
        });
    let tail = (prop::option::of(canary), any::<(u32, u32)>());
    (head, request, inputs(), decision(), tail).prop_map(
        |((sequence, policy, models), request, inputs, decision, (canary, (read_us, decide_us)))| {
            DecisionRecord {
                sequence,
                policy,
                models,
                request,
                inputs,
                decision,
                canary,
                observed: Observed { read_us, decide_us },
            }
        },
    )
}
