//! The scoring kernel: one fixed order, no allocation, the same bits for serving and replay.
//!
//! Not here: batches. One row at a time in one order is what makes a replayed score equal the served one.

use augur_domain::decision::Score;
use augur_domain::value::ValueType;
use augur_domain::{ContentHash, FeatureSet, FeatureVector, math};

use crate::Error;
use crate::artifact::{Artifact, Body, Input, MAX_INPUTS, Transform};
use crate::calibrate::Calibrator;
use crate::trees::Flat;

/// Standardised values are held within this many standard deviations: beyond it a value says nothing more, and
/// no product or sum of bounded terms can overflow.
pub const MAX_DEVIATIONS: f64 = 1e6;

/// A model bound to the slots of one feature set. Immutable; share it freely.
#[derive(Debug, Clone, PartialEq)]
pub struct Scorer {
    kernel: Kernel,
    calibrator: Calibrator,
    definitions_match: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Kernel {
    Linear {
        intercept: f64,
        terms: Vec<Term>,
    },
    Trees {
        /// Per input of the trees.
        slots: Vec<usize>,
        flat: Flat,
    },
}

#[derive(Debug, Clone, PartialEq)]
struct Term {
    slot: usize,
    transform: Transform,
    /// Bounds of transformed values; infinite where there are none.
    low: f64,
    high: f64,
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
        let read = content.body.features();
        let found: Vec<Option<usize>> = read.iter().map(|(name, _)| numeric_slot(features, name)).collect();
        let Some(slots) = found.iter().copied().collect::<Option<Vec<usize>>>() else {
            let absent = read.iter().zip(&found).filter(|(_, slot)| slot.is_none());
            let missing = absent.map(|((name, _), _)| (*name).to_owned()).collect();
            let feature_set = features.hash().short();
            return Err(Error::FeatureMismatch { model: content.name.clone(), feature_set, missing });
        };
        let defined = |(slot, (_, definition)): (&usize, &(&str, Option<ContentHash>))| {
            Some((*definition)? == features.features().get(*slot)?.definition)
        };
        let told: Option<Vec<bool>> = slots.iter().zip(&read).map(defined).collect();
        let definitions_match =
            told.map_or(content.feature_set == features.hash(), |told| told.into_iter().all(|same| same));
        let kernel = match &content.body {
            Body::Linear { intercept, inputs } => Kernel::Linear {
                intercept: *intercept,
                terms: slots.iter().zip(inputs).map(|(slot, input)| Term::new(*slot, input)).collect(),
            },
            Body::Trees { ensemble, .. } => Kernel::Trees { slots, flat: Flat::new(ensemble) },
        };
        Ok(Self { kernel, calibrator: content.calibrator.clone(), definitions_match })
    }

    /// Scores one user. Never fails: a value that is missing, or outside the vector, takes the imputation or the way
    /// that was learned for it.
    pub fn score(&self, features: &FeatureVector) -> Score {
        let margin = match &self.kernel {
            Kernel::Linear { intercept, terms } => {
                terms.iter().fold(*intercept, |margin, term| margin + term.contribution(features))
            }
            Kernel::Trees { slots, flat } => with_row(slots, features, |row| flat.margin(row)),
        };
        Score { margin, raw: math::sigmoid(margin), calibrated: self.calibrator.probability(margin) }
    }

    /// What each input adds, as (slot, contribution) in the model's order, written over `out`.
    ///
    /// Of a linear model, to the margin: 0 is the contribution of a user at the training mean, and summed in order onto
    /// [`Self::expectation`] they give the margin to the bit. Of trees, along the way of the row through each tree
    /// (Saabas): to the margin of boosted trees, to the probability of a forest, to rounding.
    pub fn contributions(&self, features: &FeatureVector, out: &mut Vec<(usize, f64)>) {
        out.clear();
        match &self.kernel {
            Kernel::Linear { terms, .. } => {
                out.extend(terms.iter().map(|term| (term.slot, term.contribution(features))));
            }
            Kernel::Trees { slots, flat } => {
                let mut per_input = vec![0.0; slots.len()];
                with_row(slots, features, |row| flat.attribute(row, &mut per_input));
                out.extend(slots.iter().copied().zip(per_input));
            }
        }
    }

    /// What [`Self::contributions`] are added to: the margin, or the probability of a forest, before any input is
    /// looked at.
    pub fn expectation(&self) -> f64 {
        match &self.kernel {
            Kernel::Linear { intercept, .. } => *intercept,
            Kernel::Trees { flat, .. } => flat.expectation(),
        }
    }

    /// Slots read, in the model's order.
    pub fn slots(&self) -> Vec<usize> {
        match &self.kernel {
            Kernel::Linear { terms, .. } => terms.iter().map(|term| term.slot).collect(),
            Kernel::Trees { slots, .. } => slots.clone(),
        }
    }

    /// Whether every input is defined as it was in training. Of a model that does not tell how its inputs were defined,
    /// whether the feature set is the very one that it was trained on.
    pub const fn definitions_match(&self) -> bool {
        self.definitions_match
    }
}

impl Term {
    fn new(slot: usize, input: &Input) -> Self {
        let (low, high) = input.clip.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
        let mut term = Self {
            slot,
            transform: input.transform,
            low,
            high,
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
            Some(value) if value.is_finite() => {
                self.weigh(self.transform.apply(value).clamp(self.low, self.high))
            }
            _ => self.when_missing,
        }
    }

    fn weigh(&self, transformed: f64) -> f64 {
        let deviations = (transformed - self.mean) * self.inverse_scale;
        self.weight * deviations.clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS)
    }
}

/// The inputs side by side, NaN where missing, without an allocation whatever their number.
fn with_row<T>(slots: &[usize], features: &FeatureVector, walk: impl FnOnce(&[f64]) -> T) -> T {
    match slots.len() {
        0..=64 => walk(fill(&mut [0.0; 64], slots, features)),
        65..=512 => walk(fill(&mut [0.0; 512], slots, features)),
        _ => walk(fill(&mut [0.0; MAX_INPUTS], slots, features)),
    }
}

fn fill<'r>(row: &'r mut [f64], slots: &[usize], features: &FeatureVector) -> &'r [f64] {
    for (place, slot) in row.iter_mut().zip(slots) {
        *place = features.usable(*slot).filter(|value| value.is_finite()).unwrap_or(f64::NAN);
    }
    row
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
