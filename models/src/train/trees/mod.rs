//! Learners that grow trees: one tree, a forest, boosting. All are deterministic in the seed, keep to one thread, take
//! row weights, and give margins for rows that a fit has not seen, so that calibration and the choice of rounds see no
//! one twice.
//!
//! Why our own grower: linfa's trees keep only the modal label of a leaf, so they have no probabilities, and look at
//! every row again for every split; it has no boosting, and `perpetual` 2.1 needs a nightly compiler. Not here:
//! calibration, the report, the artifact.

mod bins;
mod boost;
mod forest;
mod grow;

pub use boost::Boosting;
pub use forest::Growing;

pub(super) use bins::Binned;
pub(super) use boost::{Rows, boost};
pub(super) use forest::{forest, single_tree};

use super::table::StoredRow;
use crate::trees::{Ensemble, Node, Tree};

/// An ensemble, and the margins of the training rows by trees that have not seen their people, in table order; none when
/// there are too few people to leave some out.
pub(super) type Fitted = (Ensemble, Vec<f64>);

/// What the tree says about a row: its leaf's value.
fn leaf(tree: &Tree, row: &StoredRow<'_>) -> f64 {
    let mut node: Option<&Node> = tree.nodes.first();
    while let Some(split) = node.and_then(|node| node.split) {
        let right = match row.value(usize::from(split.input)) {
            Some(value) => value > split.threshold,
            None => split.missing_right,
        };
        node = tree.nodes.get(split.left as usize + usize::from(right));
    }
    node.map_or(0.0, |node| node.value)
}

#[cfg(test)]
mod tests;
