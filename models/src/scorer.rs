//! The scoring kernel: one fixed order, no allocation, the same bits for serving and replay.
//!
//! Not here: batches. One row at a time in one order is what makes a replayed score equal the served one.

mod clusters;
mod linear;
mod stand_in;

use std::sync::Arc;

use augur_domain::decision::Score;
use augur_domain::feature::{FeatureStatus, FeatureValue};
use augur_domain::value::ValueType;
use augur_domain::{ContentHash, FeatureSet, FeatureVector, math};

use crate::Error;
use crate::artifact::{Artifact, Body, MAX_INPUTS, Reference};
use crate::calibrate::Calibrator;
use crate::trees::{DoubledRow, Flat};
use clusters::Clusters;
#[cfg(feature = "train")]
pub(crate) use clusters::{nearest, squared_distance};
use linear::Linear;
pub use linear::MAX_DEVIATIONS;

/// A model bound to the slots of one feature set. Immutable; share it freely.
#[derive(Debug, Clone, PartialEq)]
pub struct Scorer {
    kernel: Kernel,
    calibrator: Calibrator,
    definitions_match: bool,
    reference: Option<Arc<Reference>>,
}

/// What a model answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A [`Score`].
    Probability,
    /// The name of a segment.
    Segments,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Probability => "a probability",
            Self::Segments => "segments",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Kernel {
    Clusters(Clusters),
    Linear(Linear),
    Trees {
        /// Per input of the trees.
        slots: Vec<usize>,
        flat: Flat,
    },
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
            Body::Linear { intercept, inputs } => Kernel::Linear(Linear::new(*intercept, &slots, inputs)),
            Body::Trees { ensemble, .. } => Kernel::Trees { slots, flat: Flat::new(ensemble) },
            Body::Clusters { inputs, centroids, names } => {
                Kernel::Clusters(Clusters::new(slots, inputs, centroids, names))
            }
        };
        let reference = content.reference.clone().map(Arc::new);
        Ok(Self { kernel, calibrator: content.calibrator.clone(), definitions_match, reference })
    }

    /// What it answers with.
    pub const fn kind(&self) -> Kind {
        match self.kernel {
            Kernel::Linear(_) | Kernel::Trees { .. } => Kind::Probability,
            Kernel::Clusters(_) => Kind::Segments,
        }
    }

    /// Refuses another kind than `wanted`; `model` is its name, for the complaint.
    ///
    /// # Errors
    /// [`Error::WrongKind`].
    pub fn require(&self, wanted: Kind, model: &str) -> Result<(), Error> {
        let found = self.kind();
        if found == wanted {
            return Ok(());
        }
        Err(Error::WrongKind { model: model.to_owned(), found: found.as_str(), expected: wanted.as_str() })
    }

    /// The segment of one user: that of the nearest centre, the first among equals. A value that is missing, or outside
    /// the vector, is taken for the mean of training. `None` of a model that gives a probability.
    pub fn segment(&self, features: &FeatureVector) -> Option<&Arc<str>> {
        match &self.kernel {
            Kernel::Clusters(clusters) => clusters.assign(features),
            Kernel::Linear(_) | Kernel::Trees { .. } => None,
        }
    }

    /// The names of its segments, none of a model that gives a probability.
    pub fn segments(&self) -> &[Arc<str>] {
        match &self.kernel {
            Kernel::Clusters(clusters) => clusters.names(),
            Kernel::Linear(_) | Kernel::Trees { .. } => &[],
        }
    }

    /// Scores one user. Never fails: a value that is missing, or outside the vector, takes the imputation or the way
    /// that was learned for it. A model of segments has no probability; it scores everyone with a margin of 0, and
    /// [`Self::require`] keeps it from being asked.
    pub fn score(&self, features: &FeatureVector) -> Score {
        let margin = match &self.kernel {
            Kernel::Linear(linear) => linear.margin(features),
            Kernel::Trees { slots, flat } => margin_of_trees(flat, slots, features),
            Kernel::Clusters(_) => 0.0,
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
            Kernel::Linear(linear) => linear.contributions(features, out),
            Kernel::Trees { slots, flat } => {
                let mut per_input = vec![0.0; slots.len()];
                attribute_to_inputs(flat, slots, features, &mut per_input);
                out.extend(slots.iter().copied().zip(per_input));
            }
            Kernel::Clusters(_) => {}
        }
    }

    /// What [`Self::contributions`] are added to: the margin, or the probability of a forest, before any input is
    /// looked at.
    pub fn expectation(&self) -> f64 {
        match &self.kernel {
            Kernel::Linear(linear) => linear.intercept(),
            Kernel::Trees { flat, .. } => flat.expectation(),
            Kernel::Clusters(_) => 0.0,
        }
    }

    /// Slots read, in the model's order.
    pub fn slots(&self) -> Vec<usize> {
        match &self.kernel {
            Kernel::Linear(linear) => linear.slots().collect(),
            Kernel::Trees { slots, .. } => slots.clone(),
            Kernel::Clusters(clusters) => clusters.slots.clone(),
        }
    }

    /// How inputs and scores were distributed in training, if the artifact tells.
    pub const fn reference(&self) -> Option<&Arc<Reference>> {
        self.reference.as_ref()
    }

    /// Whether every input is defined as it was in training. Of a model that does not tell how its inputs were defined,
    /// whether the feature set is the very one that it was trained on.
    pub const fn definitions_match(&self) -> bool {
        self.definitions_match
    }
}

fn margin_of_trees(flat: &Flat, slots: &[usize], features: &FeatureVector) -> f64 {
    match slots.len() {
        0..=64 => margin_by::<128>(flat, slots, features),
        65..=512 => margin_by::<1_024>(flat, slots, features),
        _ => margin_by::<{ 2 * MAX_INPUTS }>(flat, slots, features),
    }
}

/// Apart for each size, so that a short row does not pay for the pages of stack that a long one takes.
#[inline(never)]
fn margin_by<const N: usize>(flat: &Flat, slots: &[usize], features: &FeatureVector) -> f64 {
    flat.margin(&doubled_row::<N>(slots, features))
}

fn attribute_to_inputs(flat: &Flat, slots: &[usize], features: &FeatureVector, per_input: &mut [f64]) {
    match slots.len() {
        0..=64 => flat.attribute(&doubled_row::<128>(slots, features), per_input),
        _ => flat.attribute(&doubled_row::<{ 2 * MAX_INPUTS }>(slots, features), per_input),
    }
}

#[inline(always)]
fn doubled_row<const N: usize>(slots: &[usize], features: &FeatureVector) -> DoubledRow<N> {
    DoubledRow::new(slots.iter().map(|slot| features.values.get(*slot).map_or(f64::NAN, usable_or_nan)))
}

/// The values in `slots` side by side, NaN where missing, without an allocation whatever their number.
#[inline(always)]
fn with_row<T>(slots: &[usize], features: &FeatureVector, walk: impl FnOnce(&mut [f64]) -> T) -> T {
    match slots.len() {
        0..=64 => walk(fill(&mut [0.0; 64], slots, features)),
        _ => with_long_row(slots, features, walk),
    }
}

/// Apart, so that the short row does not pay for the long one's pages of stack.
#[inline(never)]
fn with_long_row<T>(slots: &[usize], features: &FeatureVector, walk: impl FnOnce(&mut [f64]) -> T) -> T {
    match slots.len() {
        0..=512 => walk(fill(&mut [0.0; 512], slots, features)),
        _ => walk(fill(&mut [0.0; MAX_INPUTS], slots, features)),
    }
}

#[inline(always)]
fn fill<'r>(row: &'r mut [f64], slots: &[usize], features: &FeatureVector) -> &'r mut [f64] {
    let mut filled = 0;
    for (place, slot) in row.iter_mut().zip(slots) {
        *place = features.values.get(*slot).map_or(f64::NAN, usable_or_nan);
        filled += 1;
    }
    row.get_mut(..filled).unwrap_or_default()
}

/// The number; NaN when it may not be used.
#[inline(always)]
fn usable_or_nan(value: &FeatureValue) -> f64 {
    // A mask from a table, for a branch on the status would be guessed wrong as often as users differ.
    let unusable = UNUSABLE.get(usize::from(value.status as u8 & 7)).copied().unwrap_or(u64::MAX);
    f64::from_bits(value.value.to_bits() | unusable)
}

/// By the number of a status: 0 when its value may be used, else all ones, which makes a NaN of any value.
const UNUSABLE: [u64; 8] = [mask(0), mask(1), mask(2), mask(3), mask(4), mask(5), mask(6), mask(7)];

const fn mask(status: u8) -> u64 {
    match FeatureStatus::from_u8(status) {
        Some(status) if status.is_usable() => 0,
        _ => u64::MAX,
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
