//! The scoring kernel: one fixed order, no allocation, the same bits for serving and replay.
//!
//! Not here: batches. One row at a time in one order is what makes a replayed score equal the served one.

use augur_domain::decision::Score;
use augur_domain::value::ValueType;
use augur_domain::{FeatureSet, FeatureVector, math};

use crate::Error;
use crate::artifact::{Artifact, Input, Transform};
use crate::calibrate::Calibrator;

/// Standardised values are held within this many standard deviations: beyond it a value says nothing more, and
/// no product or sum of bounded terms can overflow.
pub const MAX_DEVIATIONS: f64 = 1e6;

/// A model bound to the slots of one feature set. Immutable; share it freely.
#[derive(Debug, Clone, PartialEq)]
pub struct Scorer {
    terms: Vec<Term>,
    intercept: f64,
    calibrator: Calibrator,
    definitions_match: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Term {
    slot: usize,
    transform: Transform,
    mean: f64,
    inverse_scale: f64,
    weight: f64,
    /// The whole contribution of a missing value.
    when_missing: f64,
}

impl Scorer {
    /// Finds the model's inputs among `features`, by name.
    ///
    /// Another feature set than that in training is accepted when every input is there (a set grows without ending
    /// its models); [`Self::definitions_match`] tells whether they mean the same.
    ///
    /// # Errors
    /// [`Error::FeatureMismatch`] naming all inputs that the set lacks or holds as text or timestamps.
    pub fn new(artifact: &Artifact, features: &FeatureSet) -> Result<Self, Error> {
        let content = artifact.content();
        let mut terms = Vec::with_capacity(content.inputs.len());
        let mut missing = Vec::new();
        for input in &content.inputs {
            match numeric_slot(features, &input.feature) {
                Some(slot) => terms.push(Term::new(slot, input)),
                None => missing.push(input.feature.clone()),
            }
        }
        if !missing.is_empty() {
            let feature_set = features.hash().short();
            return Err(Error::FeatureMismatch { model: content.name.clone(), feature_set, missing });
        }
        let defined = |input: &Input| {
            let info = features.features().get(features.slot(&input.feature)?)?;
            Some(input.definition? == info.definition)
        };
        let told: Option<Vec<bool>> = content.inputs.iter().map(defined).collect();
        Ok(Self {
            terms,
            intercept: content.intercept,
            calibrator: content.calibrator.clone(),
            definitions_match: told
                .map_or(content.feature_set == features.hash(), |told| told.into_iter().all(|same| same)),
        })
    }

    /// Scores one user. Never fails: a value that is missing, or outside the vector, takes the imputation that
    /// was learned for it.
    pub fn score(&self, features: &FeatureVector) -> Score {
        let mut margin = self.intercept;
        for term in &self.terms {
            margin += term.contribution(features);
        }
        Score { margin, raw: math::sigmoid(margin), calibrated: self.calibrator.probability(margin) }
    }

    /// What each input adds to the margin, as (slot, contribution) in the model's order, written over `out`.
    /// A contribution of 0 is that of a user at the training mean. Summed in order onto [`Self::intercept`] they
    /// give the margin to the bit.
    pub fn contributions(&self, features: &FeatureVector, out: &mut Vec<(usize, f64)>) {
        out.clear();
        out.extend(self.terms.iter().map(|term| (term.slot, term.contribution(features))));
    }

    /// Margin before any input is looked at.
    pub const fn intercept(&self) -> f64 {
        self.intercept
    }

    /// Slots read, in the model's order.
    pub fn slots(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.terms.iter().map(|term| term.slot)
    }

    /// Whether every input is defined as it was in training. Of a model that does not tell how its inputs were defined,
    /// whether the feature set is the very one that it was trained on.
    pub const fn definitions_match(&self) -> bool {
        self.definitions_match
    }
}

impl Term {
    fn new(slot: usize, input: &Input) -> Self {
        let mut term = Self {
            slot,
            transform: input.transform,
            mean: input.mean,
            inverse_scale: 1.0 / input.scale,
            weight: input.weight,
            when_missing: 0.0,
        };
        term.when_missing = term.weigh(input.imputation) + input.missing_weight;
        term
    }

    fn contribution(&self, features: &FeatureVector) -> f64 {
        match features.usable(self.slot) {
            // The vector's contract is finite values; a stray one is treated as missing, not spread.
            Some(value) if value.is_finite() => self.weigh(self.transform.apply(value)),
            _ => self.when_missing,
        }
    }

    fn weigh(&self, transformed: f64) -> f64 {
        let deviations = (transformed - self.mean) * self.inverse_scale;
        self.weight * deviations.clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS)
    }
}

fn numeric_slot(features: &FeatureSet, name: &str) -> Option<usize> {
    let slot = features.slot(name)?;
    let value_type = features.features().get(slot)?.value_type;
    match value_type {
        ValueType::Boolean | ValueType::Number | ValueType::Duration => Some(slot),
        ValueType::Text | ValueType::Timestamp => None,
    }
}

#[cfg(test)]
mod tests;
