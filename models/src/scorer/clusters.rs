//! The nearest centre, in one fixed order and without an allocation.
//!
//! Not here: how a value is standardised ([`ClusterInput::standardise`]) or how centres are found (`train`).

use std::sync::Arc;

use augur_domain::FeatureVector;

use super::with_row;
use crate::artifact::ClusterInput;

/// Segments bound to slots.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Clusters {
    pub(super) slots: Vec<usize>,
    inputs: Vec<ClusterInput>,
    centroids: Vec<Vec<f64>>,
    names: Vec<Arc<str>>,
}

impl Clusters {
    pub(super) fn new(
        slots: Vec<usize>,
        inputs: &[ClusterInput],
        centroids: &[Vec<f64>],
        names: &[String],
    ) -> Self {
        let names = names.iter().map(|name| Arc::from(name.as_str())).collect();
        Self { slots, inputs: inputs.to_vec(), centroids: centroids.to_vec(), names }
    }

    pub(super) fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    pub(super) fn assign(&self, features: &FeatureVector) -> Option<&Arc<str>> {
        let index = with_row(&self.slots, features, |row| {
            row.iter_mut().zip(&self.inputs).for_each(|(value, input)| *value = input.standardise(*value));
            nearest(row, self.centroids.iter().map(Vec::as_slice)).0
        });
        self.names.get(index)
    }
}

/// The index of the nearest centre, the lowest among equals, and the square of the distance to it. Squares are added
/// in the order of the inputs.
pub(crate) fn nearest<'c>(row: &[f64], centroids: impl Iterator<Item = &'c [f64]>) -> (usize, f64) {
    let mut best = (0, f64::INFINITY);
    for (index, centroid) in centroids.enumerate() {
        let distance = squared_distance(row, centroid);
        if distance < best.1 {
            best = (index, distance);
        }
    }
    best
}

/// The square of the Euclidean distance.
pub(crate) fn squared_distance(row: &[f64], centroid: &[f64]) -> f64 {
    row.iter().zip(centroid).fold(0.0, |sum, (value, at)| sum + (value - at) * (value - at))
}
