//! Aggregates that mean the same under new definitions, taken over from the state under the old ones.
//!
//! Not here: which ones do (`generation::plan`).

use super::UserState;

impl UserState {
    /// Makes this state the one that has seen what `from` has: it keeps its own aggregates and takes `carried`, pairs
    /// of an index here and one in `from`.
    pub(crate) fn take_over(&mut self, from: &Self, carried: &[(usize, usize)]) {
        self.watermark = from.watermark;
        self.span = from.span;
        for &(to, at) in carried {
            if let (Some(slot), Some(aggregate)) = (self.aggregates.get_mut(to), from.aggregates.get(at)) {
                slot.clone_from(aggregate);
            }
        }
    }
}
