//! What the models of a decision point say of the user, or what stands in for them: each model is asked on the best step
//! of the point's ladder on which it can be.
//!
//! Not here: the steps (`ladder`), or what is told about them (`unavailable`).

use std::sync::Arc;

use augur_domain::decision::{Availability, DecisionInputs, Rung, Score, ScoreOutcome};
use augur_domain::{FeatureVector, ModelRef, math};
use augur_models::Scorer;

use crate::answer::put;
use crate::row::SegmentOutcome;
use crate::snapshot::{Model, Point, PolicySnapshot};

/// A score that the policy declares for when no model can be asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Prior {
    /// For everybody of whom nothing better is known.
    pub(crate) overall: PriorScore,
    pub(crate) by_segment: Option<PriorBySegment>,
}

/// Scores by segment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PriorBySegment {
    /// Index in the policy of the model that gives the segment.
    pub(crate) model: usize,
    /// By the segment's name.
    pub(crate) scores: Vec<(Arc<str>, PriorScore)>,
}

/// One declared score.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PriorScore {
    pub(crate) score: Score,
    /// `alias`, or `alias: segment`.
    pub(crate) words: Arc<str>,
}

/// The margin told for a score of 1, and with the sign turned for 0: their logits are infinite.
const MOST_MARGIN: f64 = 40.0;

impl PriorScore {
    /// A calibrated score from 0 to 1; the margin is its logit.
    pub(crate) fn new(probability: f64, words: &str) -> Self {
        let logit = math::ln(probability) - math::ln(1.0 - probability);
        let margin = logit.clamp(-MOST_MARGIN, MOST_MARGIN);
        Self { score: Score { margin, raw: probability, calibrated: probability }, words: words.into() }
    }
}

impl Prior {
    /// The score of who is in these segments.
    pub(crate) fn of(&self, point: &Point, segments: &[SegmentOutcome]) -> &PriorScore {
        let found = self.by_segment.as_ref().and_then(|PriorBySegment { model, scores }| {
            let place = point.segments.iter().position(|known| known == model)?;
            let name = segments.get(place)?.name.as_ref()?;
            scores.iter().find(|(known, _)| known == name)
        });
        found.map_or(&self.overall, |(_, score)| score)
    }
}

/// The segments of the user that the point reads. Without features nobody is in any.
pub(crate) fn assign_segments(
    policy: &PolicySnapshot,
    point: &Point,
    inputs: &DecisionInputs,
    features_usable: bool,
    segments: &mut Vec<SegmentOutcome>,
) {
    let assign = |model: &Model| {
        let mut steps = usable(point, model, inputs, features_usable);
        let found = steps.find_map(|(rung, _, scorer)| Some((rung, scorer.segment(&inputs.features)?)));
        let rung = found.map_or(Rung::RulesOnly, |(rung, _)| rung);
        SegmentOutcome { name: found.map(|(_, name)| Arc::clone(name)), rung }
    };
    segments.clear();
    segments.extend(point.segments(policy).map(assign));
}

/// Scores the point's models, with the step that each stands on. Without features none is asked: it would score nobody.
pub(crate) fn ask_models(
    policy: &PolicySnapshot,
    point: &Point,
    inputs: &DecisionInputs,
    features_usable: bool,
    segments: &[SegmentOutcome],
    (scores, rungs): (&mut Vec<ScoreOutcome>, &mut Vec<Rung>),
) {
    rungs.clear();
    scores.truncate(point.models.len());
    for (place, model) in point.models(policy).enumerate() {
        let mut steps = usable(point, model, inputs, features_usable);
        let scored = steps.find_map(|(rung, version, scorer)| {
            Some((rung, Some(version), score(scorer, &inputs.features)?))
        });
        let prior = || {
            let allowed = point.ladder.allows(Rung::SegmentDefault, inputs.time_left_us);
            let prior = model.prior.as_ref().filter(|_| allowed)?;
            Some((Rung::SegmentDefault, None, prior.of(point, segments).score))
        };
        let (rung, version, score) = match scored.or_else(prior) {
            Some((rung, version, score)) => (rung, version, Some(score)),
            None => (Rung::RulesOnly, model.version(), None),
        };
        rungs.push(rung);
        put_score(scores, place, model, version, score);
    }
}

/// The point's models, none of them asked.
pub(crate) fn ask_none(policy: &PolicySnapshot, point: &Point, scores: &mut Vec<ScoreOutcome>) {
    scores.truncate(point.models.len());
    for (place, model) in point.models(policy).enumerate() {
        put_score(scores, place, model, model.version(), None);
    }
}

/// Puts what a model said into the place of what some model said before, if there is any.
fn put_score(
    scores: &mut Vec<ScoreOutcome>,
    place: usize,
    model: &Model,
    version: Option<&ModelRef>,
    score: Option<Score>,
) {
    match scores.get_mut(place) {
        Some(outcome) => {
            put(&mut outcome.alias, &model.name);
            if outcome.model.as_ref() != version {
                outcome.model = version.cloned();
            }
            outcome.score = score;
        }
        None => {
            scores.push(ScoreOutcome { alias: Arc::clone(&model.name), model: version.cloned(), score });
        }
    }
}

/// The versions of `model` that may be asked, best first.
fn usable<'p, 'i>(
    point: &'i Point,
    model: &'p Model,
    inputs: &'i DecisionInputs,
    features_usable: bool,
) -> impl Iterator<Item = (Rung, &'p ModelRef, &'p Scorer)> {
    let champion = (Rung::Champion, &model.name, model.loaded.as_ref());
    let previous = model.previous.as_ref();
    let previous = previous.map(|previous| (Rung::PreviousModel, &previous.name, previous.loaded.as_ref()));
    let versions = std::iter::once(champion).chain(previous);
    versions.filter(move |_| features_usable).filter_map(move |(rung, name, loaded)| {
        let (version, scorer) = loaded.filter(|_| point.ladder.allows(rung, inputs.time_left_us))?;
        is_available(inputs, name).then_some((rung, version, &**scorer))
    })
}

/// Whether the inputs say that what is behind `name` may be asked.
pub(crate) fn is_available(inputs: &DecisionInputs, name: &str) -> bool {
    let found = inputs.models.iter().find(|(known, _)| **known == *name);
    found.is_some_and(|(_, availability)| *availability == Availability::Available)
}

fn score(scorer: &Scorer, features: &FeatureVector) -> Option<Score> {
    let score = scorer.score(features);
    (score.margin.is_finite() && score.raw.is_finite() && score.calibrated.is_finite()).then_some(score)
}
