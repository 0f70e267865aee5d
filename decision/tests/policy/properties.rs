//! What holds for every input: totality, determinism, caps, and an answer from the point's own actions.
//!
//! Not here: single situations (`cases`).

use augur_decision::{PolicySnapshot, decide};
use augur_domain::decision::{Availability, DecisionInputs, Exposure};
use augur_domain::feature::{FeatureStatus, FeatureValue, FeatureVector};
use augur_domain::time::{DAY_MS, HOUR_MS};
use augur_domain::value::Finite;
use augur_domain::{ContentHash, Decision, Timestamp, Value};
use proptest::prelude::*;

use crate::support::{EXAMPLE, FEATURES, NOW, features, inputs, loaded, set_feature};

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Boolean),
        any::<f64>().prop_filter_map("finite", |number| Finite::new(number).map(Value::Number)),
        prop_oneof![Just("DE"), Just("US"), Just("")].prop_map(|text| Value::Text(text.into())),
    ]
}

fn any_availability() -> impl Strategy<Value = Availability> {
    (1_u8..=5).prop_map(|number| Availability::from_u8(number).unwrap())
}

/// Any bits at all, NaN and infinities too: the function must be total even where callers keep to the contract.
fn any_feature() -> impl Strategy<Value = FeatureValue> {
    let number = prop_oneof![any::<f64>(), -5.0..10.0_f64, Just(f64::NAN), Just(f64::INFINITY)];
    (number, 1_u8..=5).prop_map(|(value, status)| FeatureValue {
        value,
        status: FeatureStatus::from_u8(status).unwrap(),
        event_time: None,
    })
}

fn any_exposure() -> impl Strategy<Value = Exposure> {
    let action = prop_oneof![Just("discount_10"), Just("free_shipping"), Just("email_digest"), Just("gone")];
    let channel = prop_oneof![Just("onsite"), Just("email"), Just("")];
    let at_ms = prop_oneof![any::<i64>(), (NOW.unix_ms() - 8 * DAY_MS)..(NOW.unix_ms() + DAY_MS)];
    (action, channel, at_ms)
        .prop_map(|(action, channel, at_ms)| Exposure::new(action, channel, Timestamp::from_unix_ms(at_ms)))
}

prop_compose! {
    pub(crate) fn any_inputs()(
        point in prop_oneof![Just("cart_page"), Just("weekly_email"), Just("unheard_of")],
        now_ms in prop_oneof![Just(NOW.unix_ms()), any::<i64>()],
        context in prop::collection::btree_map(
            prop_oneof![Just("cart_value"), Just("country"), Just("other")], any_value(), 0..4),
        features_availability in any_availability(),
        known_definitions in prop::bool::weighted(0.9),
        values in prop::collection::vec(any_feature(), 0..12),
        models in prop::collection::vec(
            (prop_oneof![Just("conversion"), Just("churn"), Just("other")], any_availability()), 0..4),
        exposures in prop::collection::vec(any_exposure(), 0..8),
    ) -> DecisionInputs {
        let feature_set = if known_definitions { features().hash() } else { ContentHash::of(&[b"other"]) };
        DecisionInputs {
            now: Timestamp::from_unix_ms(now_ms),
            context: context.into_iter().map(|(name, value)| (name.into(), value)).collect(),
            features_availability,
            features: FeatureVector { feature_set, watermark: 1, values, texts: Vec::new() },
            models: models.into_iter().map(|(alias, availability)| (alias.into(), availability)).collect(),
            exposures,
            ..inputs(point)
        }
    }
}

fn is_sound(
    policy: &PolicySnapshot,
    inputs: &DecisionInputs,
    decision: &Decision,
) -> Result<(), TestCaseError> {
    prop_assert!(decision.value.is_finite());
    prop_assert_eq!(decision.propensity, 1.0);
    prop_assert!(!decision.reasons.is_empty());
    let Some(point) = policy.point(&inputs.decision_point) else {
        prop_assert!(decision.candidates.is_empty());
        return Ok(());
    };
    prop_assert!(point.actions().any(|action| *action == decision.action));
    let candidates: Vec<_> = decision.candidates.iter().map(|candidate| &candidate.action).collect();
    prop_assert_eq!(candidates, point.actions().collect::<Vec<_>>());
    prop_assert_eq!(decision.candidates.iter().map(|candidate| candidate.probability).sum::<f64>(), 1.0);
    for candidate in &decision.candidates {
        prop_assert_eq!(candidate.probability == 1.0, candidate.action == decision.action);
        prop_assert!(candidate.value.is_none_or(f64::is_finite));
        prop_assert!(
            candidate.next_eligible_at.is_none_or(|until| until > inputs.now || until == Timestamp::MAX)
        );
    }
    for score in decision.scores.iter().filter_map(|outcome| outcome.score) {
        prop_assert!(score.margin.is_finite() && score.raw.is_finite() && score.calibrated.is_finite());
    }
    Ok(())
}

/// One visit of a simulated person.
#[derive(Debug, Clone)]
struct Visit {
    wait_ms: i64,
    point: &'static str,
    features: Vec<f64>,
}

fn any_visit() -> impl Strategy<Value = Visit> {
    let wait_ms = prop_oneof![0..HOUR_MS, 0..(3 * DAY_MS), Just(24 * HOUR_MS), Just(7 * DAY_MS)];
    let point = prop_oneof![Just("cart_page"), Just("weekly_email")];
    (wait_ms, point, prop::collection::vec(0.0..8.0_f64, FEATURES.len()))
        .prop_map(|(wait_ms, point, features)| Visit { wait_ms, point, features })
}

/// The caps of the example policy, counted here by brute force: action, per channel, limit, window.
const CAPS: [(&str, bool, usize, i64); 7] = [
    ("free_shipping", false, 3, 7 * DAY_MS),
    ("discount_10", false, 2, 7 * DAY_MS),
    ("discount_10", true, 4, DAY_MS),
    ("email_winback", false, 1, 14 * DAY_MS),
    ("email_winback", true, 1, DAY_MS),
    ("email_digest", false, 1, 6 * DAY_MS),
    ("email_digest", true, 1, DAY_MS),
];

fn counted(given: &[Exposure], action: &str, channel: Option<&str>, now: Timestamp, window_ms: i64) -> usize {
    let same = |one: &&Exposure| channel.map_or(&*one.action == action, |channel| &*one.channel == channel);
    given.iter().filter(same).filter(|one| now.millis_since(one.at) < window_ms).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_input_gets_a_sound_answer_and_the_same_one_twice(inputs in any_inputs()) {
        let policy = loaded_once();
        let decision = decide(policy, &inputs);
        is_sound(policy, &inputs, &decision)?;
        prop_assert_eq!(&decision, &decide(policy, &inputs));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// What cannot count may be left out: the decision is the same to the bit, and little enough is left.
    #[test]
    fn exposures_that_cannot_count_change_nothing(
        inputs in any_inputs(),
        mut exposures in prop::collection::vec(any_exposure(), 0..60),
    ) {
        let policy = loaded_once();
        exposures.sort_by_key(|exposure| exposure.at);
        let inputs = DecisionInputs { exposures, ..inputs };
        let Some(point) = policy.point(&inputs.decision_point) else { return Ok(()) };
        let countable = point.countable(&inputs.exposures, inputs.now);
        prop_assert!(countable.len() <= CAPS.iter().map(|(_, _, limit, _)| limit).sum());
        let fewer = DecisionInputs { exposures: countable, ..inputs.clone() };
        prop_assert_eq!(decide(policy, &inputs), decide(policy, &fewer));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is given is recorded, and no cap is ever passed; what a refusal promises is true to the millisecond.
    #[test]
    fn caps_hold_over_a_whole_history(visits in prop::collection::vec(any_visit(), 1..60)) {
        let policy = loaded_once();
        let mut given: Vec<Exposure> = Vec::new();
        let mut now = NOW;
        for visit in visits {
            now = now.plus_millis(visit.wait_ms);
            let mut inputs = inputs(visit.point);
            inputs.now = now;
            inputs.exposures.clone_from(&given);
            for (name, value) in FEATURES.iter().zip(&visit.features) {
                set_feature(&mut inputs, name, *value);
            }
            let decision = decide(policy, &inputs);
            let channel = &decision.channel;
            for (action, per_channel, limit, window_ms) in CAPS {
                let scope = per_channel.then_some(&**channel);
                if *decision.action == *action {
                    prop_assert!(counted(&given, action, scope, now, window_ms) < limit);
                }
            }
            for refused in &decision.candidates {
                let Some(until) = refused.next_eligible_at else { continue };
                let code_at = |at: Timestamp| {
                    let mut later = inputs.clone();
                    later.now = at;
                    let later = decide(policy, &later);
                    let same = later.candidates.iter().find(|other| other.action == refused.action).unwrap();
                    same.reason.code
                };
                prop_assert_eq!(code_at(until.plus_millis(-1)), augur_domain::ReasonCode::FrequencyCap);
                prop_assert_ne!(code_at(until), augur_domain::ReasonCode::FrequencyCap);
            }
            if decision.counts_against_caps {
                let (action, channel) = (decision.action.clone(), decision.channel.clone());
                given.push(Exposure::new(action, channel, now));
            }
        }
    }
}

fn loaded_once() -> &'static PolicySnapshot {
    static POLICY: std::sync::OnceLock<PolicySnapshot> = std::sync::OnceLock::new();
    POLICY.get_or_init(|| loaded(EXAMPLE))
}
