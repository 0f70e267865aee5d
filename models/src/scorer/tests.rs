//! The kernel against the formula, its edges, and its bits.

use std::sync::Arc;

use augur_domain::ContentHash;
use augur_domain::feature::{FeatureInfo, FeatureStatus, FeatureValue};
use proptest::prelude::*;

use super::*;
use crate::artifact::tests::{linear, sample, sample_without_definitions};
use crate::artifact::{Content, Input, Transform};

fn feature_set(names: &[(&str, ValueType)]) -> FeatureSet {
    let feature = |(name, value_type): &(&str, ValueType)| FeatureInfo {
        name: Arc::from(*name),
        value_type: *value_type,
        description: Arc::from(""),
        events: None,
        // As the sample has them.
        definition: ContentHash::from_bytes(if *name == "is_member" { [4; 32] } else { [3; 32] }),
        unit: "".into(),
    };
    FeatureSet::new(ContentHash::from_bytes([7; 32]), names.iter().map(feature).collect())
}

/// The sample's features in another order, with a stranger between them.
fn shop() -> FeatureSet {
    feature_set(&[
        ("is_member", ValueType::Boolean),
        ("country", ValueType::Text),
        ("purchases_30d", ValueType::Number),
    ])
}

fn vector(values: &[Option<f64>]) -> FeatureVector {
    let value = |value: &Option<f64>| FeatureValue {
        value: value.unwrap_or(0.0),
        status: if value.is_some() { FeatureStatus::Present } else { FeatureStatus::NullValue },
        event_time: None,
    };
    FeatureVector {
        feature_set: ContentHash::from_bytes([7; 32]),
        watermark: 0,
        values: values.iter().map(value).collect(),
        texts: Vec::new(),
    }
}

fn scorer(content: Content) -> Scorer {
    Scorer::new(&Artifact::new(content).unwrap(), &shop()).unwrap()
}

#[test]
fn inputs_are_found_by_name_and_follow_the_formula() {
    let scorer = scorer(sample());
    assert!(scorer.definitions_match());
    assert_eq!(scorer.slots(), [2, 0]);
    let score = scorer.score(&vector(&[Some(1.0), None, Some(3.0)]));
    let margin = -0.5 - 1.25 * (4_f64.ln() - 0.75) / 0.5 + 0.3 * (1.0 - 0.25) / 0.4;
    assert!((score.margin - margin).abs() < 1e-14, "{score:?}");
    assert!((score.raw - 1.0 / (1.0 + (-margin).exp())).abs() < 1e-15);
    assert!((score.calibrated - 1.0 / (1.0 + (-0.9 * margin + 0.05).exp())).abs() < 1e-15);
}

#[test]
fn missing_values_take_what_was_learned_for_them() {
    let scorer = scorer(sample());
    // Both imputations are the means, so only the intercept and the indicator's weight are left.
    let missing = scorer.score(&vector(&[None, None, None]));
    assert_eq!(missing.margin, -0.5 + 0.125);
    assert_eq!(scorer.score(&FeatureVector::not_found(&shop())), missing);
    // A vector that is too short, or holds what no vector should, is all missing.
    assert_eq!(scorer.score(&vector(&[])), missing);
    assert_eq!(scorer.score(&vector(&[Some(f64::NAN), None, Some(f64::INFINITY)])), missing);
}

#[test]
fn all_missing_features_are_named() {
    let artifact = Artifact::new(sample()).unwrap();
    let set = feature_set(&[("purchases_30d", ValueType::Text), ("other", ValueType::Number)]);
    let error = Scorer::new(&artifact, &set).unwrap_err();
    match &error {
        Error::FeatureMismatch { model, missing, .. } => {
            assert_eq!(model, "churn");
            assert_eq!(missing, &["purchases_30d", "is_member"]);
        }
        other => panic!("{other}"),
    }
    assert!(error.to_string().contains("no numeric feature `purchases_30d`, `is_member`"), "{error}");
}

#[test]
fn only_a_change_of_its_own_inputs_makes_other_definitions() {
    let matches = |content: Content, features: Vec<FeatureInfo>| {
        let other = FeatureSet::new(ContentHash::from_bytes([8; 32]), features);
        Scorer::new(&Artifact::new(content).unwrap(), &other).unwrap().definitions_match()
    };
    let features = shop().features().to_vec();
    let mut grown = features.clone();
    grown.insert(0, FeatureInfo { name: "another".into(), ..features[2].clone() });
    grown[2].definition = ContentHash::from_bytes([99; 32]);
    assert!(matches(sample(), grown), "what the model does not read may change");
    let mut changed = features.clone();
    changed[2].definition = ContentHash::from_bytes([99; 32]);
    assert!(!matches(sample(), changed));
    // An artifact that does not tell how its inputs were defined belongs to the set of its training alone.
    assert!(!matches(sample_without_definitions(), features));
}

#[test]
fn extreme_values_stay_finite() {
    let mut content = sample();
    for input in crate::artifact::tests::linear(&mut content).1 {
        (input.mean, input.scale, input.weight) = (-f64::MAX, 1e-300, 1e9);
        input.transform = Transform::Identity;
    }
    content.calibrator = Calibrator::Platt { a: -1e9, b: 1e9 };
    let scorer = scorer(content);
    for value in [f64::MAX, -f64::MAX, 0.0] {
        let score = scorer.score(&vector(&[Some(value), None, Some(-value)]));
        assert!(score.margin.is_finite() && (0.0..=1.0).contains(&score.raw), "{score:?}");
        assert!((0.0..=1.0).contains(&score.calibrated), "{score:?}");
    }
}

#[test]
fn bits_are_pinned() {
    // A change here means that logged decisions no longer replay.
    let score = scorer(sample()).score(&vector(&[Some(1.0), None, Some(3.0)]));
    let bits = [score.margin, score.raw, score.calibrated].map(f64::to_bits);
    assert_eq!(bits, [0xbff8_73a7_7d71_90d6, 0x3fc6_d0f5_a84b_1946, 0x3fc8_cee9_e9af_9840], "{bits:#x?}");
}

proptest! {
    #[test]
    fn contributions_give_the_margin_to_the_bit(member in any::<Option<bool>>(), purchases in prop::option::of(-1e9..1e9_f64)) {
        let scorer = scorer(sample());
        let features = vector(&[member.map(|m| f64::from(u8::from(m))), None, purchases]);
        let mut out = vec![(9, 9.0); 5];
        scorer.contributions(&features, &mut out);
        prop_assert_eq!(out.iter().map(|(slot, _)| *slot).collect::<Vec<_>>(), vec![2, 0]);
        let sum = out.iter().fold(scorer.expectation(), |sum, (_, part)| sum + part);
        prop_assert_eq!(sum.to_bits(), scorer.score(&features).margin.to_bits());
    }
}

#[test]
fn values_outside_the_clip_score_as_its_bounds() {
    let mut content = sample();
    linear(&mut content).1[0].clip = Some((0.5, 2.0));
    let (clipped, free) = (scorer(content), scorer(sample()));
    let margin =
        |scorer: &Scorer, value: f64| scorer.score(&vector(&[None, None, Some(value)])).margin.to_bits();
    // What lies between the bounds is read as without them, to the bit.
    assert_eq!(margin(&clipped, 1.0), margin(&free, 1.0));
    assert_eq!(margin(&clipped, 1e6), margin(&clipped, 1e7));
    assert_eq!(margin(&clipped, -3.0), margin(&clipped, 0.1));
    assert_ne!(margin(&clipped, 1e6), margin(&free, 1e6));
}

/// The formula as it is written down, one input after another.
fn by_the_formula(intercept: f64, inputs: &[Input], values: &[Option<f64>]) -> f64 {
    let weigh = |input: &Input, value: f64| {
        let deviations = (value - input.mean) * (1.0 / input.scale);
        input.weight * deviations.clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS)
    };
    inputs.iter().zip(values).fold(intercept, |margin, (input, value)| {
        let (low, high) = input.clip.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
        margin
            + match value {
                Some(value) => weigh(input, input.transform.apply(*value).clamp(low, high)),
                None => weigh(input, input.imputation) + input.missing_weight,
            }
    })
}

/// Names of `count` inputs and their slots: every third slot of the set is a stranger's.
fn wide(count: usize) -> (FeatureSet, Vec<usize>) {
    let names: Vec<String> = (0..count * 3 / 2).map(|slot| format!("feature_{slot}")).collect();
    let listed: Vec<(&str, ValueType)> =
        names.iter().map(|name| (name.as_str(), ValueType::Number)).collect();
    let slots = (0..names.len()).filter(|slot| slot % 3 != 2).take(count).collect();
    (feature_set(&listed), slots)
}

proptest! {
    #[test]
    fn a_wide_model_scores_as_the_formula_to_the_bit(
        count in prop_oneof![2_usize..70, Just(600)],
        seed in any::<u64>(),
        logarithms in 0_u64..3,
    ) {
        let mut rng = augur_domain::rng::Rng::new(seed, augur_domain::rng::Purpose::Simulation);
        let (set, slots) = wide(count);
        let inputs: Vec<Input> = slots.iter().map(|slot| Input {
            feature: format!("feature_{slot}"),
            transform: if rng.below(2) < logarithms { Transform::SignedLog1p } else { Transform::Identity },
            clip: (rng.below(3) == 0).then(|| (-rng.next_f64(), rng.next_f64() * 4.0)),
            mean: rng.next_f64() - 0.5,
            scale: rng.next_f64() + 1e-3,
            weight: rng.next_f64() - 0.5,
            imputation: rng.next_f64(),
            missing_weight: rng.next_f64(),
            definition: None,
        }).collect();
        let values: Vec<Option<f64>> =
            inputs.iter().map(|_| (rng.below(6) > 0).then(|| (rng.next_f64() - 0.3) * 1e4)).collect();
        let mut all = vec![None; set.features().len()];
        for (slot, value) in slots.iter().zip(&values) {
            all[*slot] = *value;
        }
        let expected = by_the_formula(0.25, &inputs, &values);
        let content = Content { body: Body::Linear { intercept: 0.25, inputs }, ..sample_without_definitions() };
        let scorer = Scorer::new(&Artifact::new(content).unwrap(), &set).unwrap();
        prop_assert_eq!(scorer.slots(), slots);
        prop_assert_eq!(scorer.score(&vector(&all)).margin.to_bits(), expected.to_bits());
    }
}
