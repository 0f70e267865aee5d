//! Ensembles of decision trees as they are scored: flat nodes, one fixed order, no allocation.
//!
//! A node sends a value at or below its threshold to the left, a greater one to the right, and a missing one where
//! training found that it belongs. Not here: how trees are grown (`train`), or the bytes they are kept in
//! (`artifact`).

mod flat;

#[cfg(feature = "train")]
pub(crate) use flat::logit;
pub(crate) use flat::{DoubledRow, Flat};

use crate::Error;
use crate::artifact::{coefficient, invalid};

/// Most trees of an ensemble.
pub const MAX_TREES: usize = 5_000;
/// Most nodes of one tree.
pub const MAX_NODES: usize = 65_535;
/// Most nodes of all trees together: 16 bytes each while scoring.
pub const MAX_ALL_NODES: usize = 4_000_000;

/// How the leaves that a row falls into make its margin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Link {
    /// The margin is the base plus the sum of the leaves: boosted trees.
    Sum = 1,
    /// The leaves hold probabilities; the margin is the logit of the base plus their mean: forests.
    Mean = 2,
}

impl Link {
    /// The link with this stored number.
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Sum),
            2 => Some(Self::Mean),
            _ => None,
        }
    }
}

/// One node. The children of an inner node stand side by side, behind it; several nodes may share one pair of children.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Node {
    /// What a row that ends here adds; for an inner node, the mean of what the training rows that came by add.
    pub value: f64,
    /// Where rows go on; `None` makes it a leaf.
    pub split: Option<Split>,
}

/// Where the rows of an inner node go on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Split {
    /// Which input is asked.
    pub input: u16,
    /// The greatest value that goes to the left.
    pub threshold: f64,
    /// Whether a missing value goes to the right.
    pub missing_right: bool,
    /// Place of the left child in the tree; the right one stands next to it.
    pub left: u32,
}

/// One tree, its root first.
#[derive(Debug, Clone, PartialEq)]
pub struct Tree {
    /// Every child stands behind its parent, so that every walk ends.
    pub nodes: Vec<Node>,
}

/// All trees of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Ensemble {
    /// Added once.
    pub base: f64,
    /// How leaves are put together.
    pub link: Link,
    /// In scoring order.
    pub trees: Vec<Tree>,
}

impl Ensemble {
    /// Refuses whatever could make a walk leave the tree, not end, or end in something that is not a number.
    pub(crate) fn validate(&self, inputs: usize) -> Result<(), Error> {
        coefficient("trees.base", self.base)?;
        if self.trees.is_empty() || self.trees.len() > MAX_TREES {
            return Err(invalid("trees", format!("{} trees", self.trees.len()), "1 to 5000 trees"));
        }
        let nodes: usize = self.trees.iter().map(|tree| tree.nodes.len()).sum();
        if nodes > MAX_ALL_NODES {
            return Err(invalid("trees", format!("{nodes} nodes"), "at most 4000000 nodes in all"));
        }
        self.trees.iter().enumerate().try_for_each(|(index, tree)| tree.validate(index, inputs))
    }
}

impl Tree {
    fn validate(&self, tree: usize, inputs: usize) -> Result<(), Error> {
        if self.nodes.is_empty() || self.nodes.len() > MAX_NODES {
            let field = format!("trees[{tree}]");
            return Err(invalid(&field, format!("{} nodes", self.nodes.len()), "1 to 65535 nodes"));
        }
        for (at, node) in self.nodes.iter().enumerate() {
            let field = |part: &str| format!("trees[{tree}].nodes[{at}].{part}");
            coefficient(&field("value"), node.value)?;
            let Some(split) = node.split else { continue };
            if !split.threshold.is_finite() {
                return Err(invalid(&field("threshold"), split.threshold.to_string(), "a finite number"));
            }
            if usize::from(split.input) >= inputs {
                return Err(invalid(&field("input"), split.input.to_string(), "one of the model's inputs"));
            }
            let left = split.left as usize;
            if left <= at || left + 1 >= self.nodes.len() {
                return Err(invalid(
                    &field("left"),
                    left.to_string(),
                    "a place behind the node, with a next one",
                ));
            }
        }
        Ok(())
    }

    /// The most steps from the root to a leaf.
    pub fn depth(&self) -> usize {
        let mut depths = vec![0_usize; self.nodes.len()];
        let mut deepest = 0;
        for (at, node) in self.nodes.iter().enumerate() {
            let depth = depths.get(at).copied().unwrap_or(0);
            deepest = deepest.max(depth);
            if let Some(split) = node.split {
                let left = split.left as usize;
                for child in depths.iter_mut().skip(left).take(2) {
                    *child = (*child).max(depth + 1);
                }
            }
        }
        deepest
    }
}
