//! Decides as a test says, by [`decide`] as it stands, and compares.
//!
//! Not here: reading tests (`resolve`), telling people what came of them.

use std::sync::Arc;

use augur_domain::decision::{Availability, Decision, DecisionInputs};
use augur_domain::{ContentHash, DecisionId, FeatureStatus, FeatureVector, ModelRef, Reason, Value};
use augur_models::Scorer;

use super::{Expect, Given, Histories, Mismatch, PolicyTest, TestOutcome};
use crate::compile::loaded_models;
use crate::decide::decide;
use crate::snapshot::{Point, PolicySnapshot};

/// Values agree within this share of the expected one, so that a test can give them rounded.
const VALUE_TOLERANCE: f64 = 1e-6;

pub(super) fn run(policy: &mut PolicySnapshot, test: &PolicyTest, histories: &dyn Histories) -> TestOutcome {
    stand_in(policy, &test.given);
    let inputs = inputs(policy, test, histories);
    let decision = decide(policy, &inputs);
    TestOutcome {
        name: test.name.clone(),
        file: test.file.clone(),
        line: test.line,
        mismatches: compare(&test.expect, &decision),
        decision,
    }
}

/// Puts a scorer that says what the test gives behind every alias that it speaks of, and nothing behind the others.
fn stand_in(policy: &mut PolicySnapshot, given: &Given) {
    for model in &mut policy.models {
        let score = given.scores.iter().find(|(name, _)| *name == model.name);
        let segment = given.segments.iter().find(|(name, _)| *name == model.name);
        let scorer = match (score, segment) {
            (Some((_, score)), _) => Scorer::of_probability(*score),
            (None, Some((_, segment))) => Some(Scorer::of_segment(segment)),
            (None, None) => None,
        };
        let version = || ModelRef {
            name: Arc::clone(&model.registered_name),
            version: 0,
            artifact: ContentHash::default(),
        };
        model.loaded = scorer.map(|scorer| (version(), Arc::new(scorer)));
        if let Some(previous) = &mut model.previous {
            let score = given.previous_scores.iter().find(|(name, _)| *name == model.name);
            let scorer = score.and_then(|(_, score)| Scorer::of_probability(*score));
            previous.loaded = scorer.map(|scorer| (version(), Arc::new(scorer)));
        }
    }
    policy.loaded = loaded_models(&policy.models);
}

fn inputs(policy: &PolicySnapshot, test: &PolicyTest, histories: &dyn Histories) -> DecisionInputs {
    let given = &test.given;
    let models = policy.askable().map(|(name, version)| {
        let loaded = if version.is_some() { Availability::Available } else { Availability::NotLoaded };
        (Arc::clone(name), loaded)
    });
    let (features_availability, features) = if given.features_unavailable {
        (Availability::Failed, FeatureVector::not_found(&policy.features))
    } else {
        (Availability::Available, features(given, histories))
    };
    DecisionInputs {
        decision_id: DecisionId::new(given.now, [0; 10]),
        now: given.now,
        seed: given.seed,
        decision_point: Arc::clone(&test.point),
        user: given.user,
        context: given.context.clone(),
        features_availability,
        features,
        models: models.collect(),
        exposures: given.exposures.clone(),
        person: given.person.clone(),
        budgets: spent(policy, test, given),
        peek: false,
        time_left_us: given.time_left_us,
    }
}

/// What is spent of every budget of the decision point; nothing of those that the test does not name.
fn spent(policy: &PolicySnapshot, test: &PolicyTest, given: &Given) -> Vec<(Arc<str>, u64)> {
    let point = policy.point(&test.point);
    let budgets = point.into_iter().flat_map(Point::budgets).map(|(action, _)| {
        let named = given.budgets.iter().find(|(known, _)| known == action);
        (Arc::clone(action), named.map_or(0, |(_, spent)| *spent))
    });
    budgets.collect()
}

/// What the given events make, with the given values in their places. Whoever has a value is a known user.
fn features(given: &Given, histories: &dyn Histories) -> FeatureVector {
    let mut vector = histories.features(&given.events, given.now, &given.context);
    if given.features.is_empty() {
        return vector;
    }
    vector.watermark = vector.watermark.max(1);
    for value in vector.values.iter_mut().filter(|value| value.status == FeatureStatus::NotFound) {
        value.status = FeatureStatus::NullValue;
    }
    for (slot, given_value) in &given.features {
        let Some(value) = vector.values.get_mut(*slot) else { continue };
        value.status = FeatureStatus::Present;
        value.event_time = Some(given.now);
        value.value = match given_value {
            Value::Number(number) => number.get(),
            Value::Boolean(boolean) => f64::from(u8::from(*boolean)),
            Value::Text(_) => 0.0,
        };
        if let (Value::Text(text), Ok(slot)) = (given_value, u32::try_from(*slot)) {
            vector.texts.retain(|(known, _)| *known != slot);
            let place = vector.texts.partition_point(|(known, _)| *known < slot);
            vector.texts.insert(place, (slot, Arc::clone(text)));
        }
    }
    vector
}

fn compare(expect: &Expect, decision: &Decision) -> Vec<Mismatch> {
    let mut mismatches = Vec::new();
    let mut differs = |what: &str, expected: &str, found: String| {
        let (what, expected) = (what.to_owned(), expected.to_owned());
        mismatches.push(Mismatch { what, expected, found });
    };
    if let Some(action) = expect.action.as_ref().filter(|action| **action != decision.action) {
        differs("action", action, decision.action.to_string());
    }
    for word in expect.reasons.iter().filter(|word| !decision.reasons.iter().any(|why| says(why, word))) {
        let found: Vec<String> = decision.reasons.iter().map(in_words).collect();
        differs("reason", word, found.join(", "));
    }
    for (action, word) in &expect.refused {
        let outcome = decision.candidates.iter().find(|outcome| outcome.action == *action);
        if let Some(outcome) = outcome.filter(|outcome| !says(&outcome.reason, word)) {
            differs(&format!("refused.{action}"), word, in_words(&outcome.reason));
        }
    }
    if let Some(rung) = expect.rung.as_ref().filter(|rung| **rung != decision.rung.as_str()) {
        differs("rung", rung, decision.rung.as_str().to_owned());
    }
    if let Some(value) = expect.value.filter(|value| {
        let allowed = VALUE_TOLERANCE * value.abs().max(1.0);
        (decision.value - value).abs() > allowed
    }) {
        differs("value", &value.to_string(), decision.value.to_string());
    }
    for (experiment, arm) in &expect.arms {
        let found = decision.assignments.iter().find(|found| *found.experiment == **experiment);
        let found = found.map_or("none", |found| &*found.arm);
        if found != arm {
            differs(&format!("arms.{experiment}"), arm, found.to_owned());
        }
    }
    if let Some(word) =
        expect.shadow.as_ref().filter(|word| !decision.shadow.iter().any(|why| says(why, word)))
    {
        let found: Vec<String> = decision.shadow.iter().map(in_words).collect();
        differs("shadow", word, found.join(", "));
    }
    mismatches
}

/// Whether `word` is the reason's code, its whole detail, or the word that its detail ends with.
fn says(reason: &Reason, word: &str) -> bool {
    let detail = reason.detail.as_deref().unwrap_or_default();
    reason.code.as_str() == word
        || detail == word
        || detail.rsplit_once(": ").is_some_and(|(_, last)| last == word)
}

/// `RULE_DENIED VIP_PAYS_FULL`
fn in_words(reason: &Reason) -> String {
    match &reason.detail {
        Some(detail) => format!("{} {detail}", reason.code),
        None => reason.code.to_string(),
    }
}
