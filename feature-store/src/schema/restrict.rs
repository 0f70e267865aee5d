//! Definitions with some of their aggregates only, for building the states of the rest from elsewhere.
//!
//! Not here: which ones are wanted (`generation::plan`).

use super::FeatureSchema;

impl FeatureSchema {
    /// The same layout of states, in which events touch only the aggregates that `kept` (by index) says.
    pub(crate) fn touching_only(&self, kept: impl Fn(usize) -> bool) -> Self {
        let mut restricted = self.clone();
        for indexes in restricted.by_event.values_mut().chain([&mut restricted.every_event]) {
            indexes.retain(|index| kept(*index));
        }
        restricted
    }
}
