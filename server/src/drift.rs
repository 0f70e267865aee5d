//! Drift as it shows while serving: a sample of decisions, counted into the bins of each model's reference, and told as
//! metrics whenever a window is full.
//!
//! Coarser than `augur models monitor`: whoever decides often counts often, so the bands are too narrow for pages that
//! ask many times for the same people. Not here: the measures (`augur_models::drift`).

use std::sync::Arc;

use augur_decision::PolicySnapshot;
use augur_domain::decision::{Availability, DecisionRecord, ScoreOutcome};
use augur_domain::{FeatureSet, FeatureVector, ModelRef};
use augur_models::Scorer;
use augur_models::artifact::Reference;
use augur_models::drift::{Drift, Observed};
use parking_lot::Mutex;

use crate::config;
use crate::metrics::{self, Metrics};

/// Most inputs of one model that are told as metrics, in the model's order.
const MAX_TOLD_INPUTS: usize = 100;
/// What the scores are called beside the inputs; no feature has such a name.
const SCORES: &str = "(scores)";

/// What is counted of one policy's models.
#[derive(Debug, Default)]
pub(crate) struct Watching {
    models: Vec<Watched>,
    sample: u64,
}

#[derive(Debug)]
struct Watched {
    version: ModelRef,
    names: Vec<Arc<str>>,
    slots: Vec<usize>,
    reference: Arc<Reference>,
    window: Mutex<Observed>,
}

impl Watching {
    /// For every model in use that keeps a reference.
    pub(crate) fn new(policy: &PolicySnapshot, monitor: &config::Monitor) -> Self {
        if monitor.sample == 0 {
            return Self::default();
        }
        let loaded =
            policy.declared_models().iter().filter_map(|model| Some((model.version()?, model.scorer()?)));
        let mut models: Vec<Watched> = Vec::new();
        for (version, scorer) in loaded {
            if !models.iter().any(|known| known.version == *version) {
                models.extend(Watched::new(version, scorer, policy.features()));
            }
        }
        Self { models, sample: monitor.sample }
    }

    /// Counts a decision, if it is of the sample, and tells what a full window shows.
    pub(crate) fn take(&self, record: &DecisionRecord, monitor: &config::Monitor, metrics: &Metrics) {
        let inputs = &record.inputs;
        for outcome in record.decision.scores.iter().filter(|outcome| outcome.score.is_none()) {
            metrics.count_unscored(outcome.model.as_ref().map_or(&*outcome.alias, |model| &*model.name));
        }
        // The seed is random, and costs nothing to look at.
        if self.sample == 0 || !inputs.seed.is_multiple_of(self.sample) {
            return;
        }
        if inputs.features_availability != Availability::Available {
            return;
        }
        for outcome in &record.decision.scores {
            let watched = self.models.iter().find(|model| outcome.model.as_ref() == Some(&model.version));
            if let Some(full) = watched.and_then(|model| model.take(outcome, &inputs.features, monitor)) {
                full.tell(&outcome_name(outcome), metrics);
            }
        }
    }
}

fn outcome_name(outcome: &ScoreOutcome) -> Arc<str> {
    outcome.model.as_ref().map_or_else(|| Arc::clone(&outcome.alias), |model| Arc::clone(&model.name))
}

/// What a full window showed.
struct Shown(Drift);

impl Watched {
    fn new(version: &ModelRef, scorer: &Scorer, features: &FeatureSet) -> Option<Self> {
        let reference = Arc::clone(scorer.reference()?);
        let slots = scorer.slots();
        let name = |slot: &usize| features.features().get(*slot).map(|feature| Arc::clone(&feature.name));
        let names = slots.iter().filter_map(name).collect();
        let window = Mutex::new(Observed::new(&reference));
        Some(Self { version: version.clone(), names, slots, reference, window })
    }

    fn take(
        &self,
        outcome: &ScoreOutcome,
        features: &FeatureVector,
        monitor: &config::Monitor,
    ) -> Option<Shown> {
        let score = outcome.score?;
        let bins = self.slots.iter().zip(&self.reference.inputs);
        let bins = bins.map(|(slot, input)| input.bin(features.usable(*slot)?));
        let mut window = self.window.lock();
        window.count(bins, score.calibrated);
        if window.rows() < monitor.window_decisions {
            return None;
        }
        let full = std::mem::replace(&mut *window, Observed::new(&self.reference));
        drop(window);
        let names = self.names.iter().map(|name| &**name);
        Some(Shown(Drift::between(&self.reference, &full, names, &monitor.thresholds())))
    }
}

impl Shown {
    fn tell(&self, model: &str, metrics: &Metrics) {
        let Self(drift) = self;
        let tell = |input: &str, psi: f64, band: f64| {
            let labels = [("model", model), ("input", input)];
            metrics.set_labelled(metrics::MODEL_DRIFT_PSI, &labels, psi);
            metrics.set_labelled(metrics::MODEL_DRIFT_BAND, &labels, band);
        };
        tell(SCORES, drift.scores.psi, drift.scores.psi_band);
        for input in drift.inputs.iter().take(MAX_TOLD_INPUTS) {
            tell(&input.feature, input.shift.psi, input.shift.psi_band);
        }
        for input in drift.inputs.iter().take(MAX_TOLD_INPUTS) {
            let labels = [("model", model), ("input", input.feature.as_str())];
            metrics.set_labelled(metrics::MODEL_MISSING_SHARE, &labels, input.missing_share);
        }
    }
}
