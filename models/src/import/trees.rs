//! Foreign trees laid out as ours: each decision cuts the line of numbers into pieces that go left or right by turns.
//!
//! Our nodes know one border and one way for what is missing. A decision of several borders (zero as missing, sets of
//! categories, equality) becomes a small search tree of such nodes; the nodes at which it ends up on the same side are copies
//! that share one pair of children, so nothing below is repeated. Not here: what a library's decisions mean.

use crate::Error;
use crate::trees::{MAX_NODES, Node, Split, Tree};

/// Where a row goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

impl Side {
    pub(super) const fn when_left(left: bool) -> Self {
        if left { Self::Left } else { Self::Right }
    }

    pub(super) const fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

/// What one inner node asks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Decision {
    input: u16,
    /// The greatest value of each piece but the last, ascending.
    cuts: Vec<f64>,
    /// Where the first piece goes; neighbours go to different sides.
    first: Side,
    missing: Side,
}

impl Decision {
    /// A decision by pieces, each with the greatest value in it, ascending; values above them all go to `last`. Pieces
    /// without a value, as their greatest is not above the one before, say nothing.
    pub(super) fn new(input: u16, pieces: &[(f64, Side)], last: Side, missing: Side) -> Self {
        let (mut cuts, mut sides): (Vec<f64>, Vec<Side>) = (Vec::new(), Vec::new());
        let mut below = f64::NEG_INFINITY;
        for (greatest, side) in pieces {
            if *greatest <= below {
                continue;
            }
            match sides.last() {
                Some(previous) if previous == side => {
                    cuts.pop();
                }
                _ => sides.push(*side),
            }
            cuts.push(*greatest);
            below = *greatest;
        }
        if below < f64::MAX {
            match sides.last() {
                Some(previous) if *previous == last => {
                    cuts.pop();
                }
                _ => sides.push(last),
            }
        } else {
            cuts.pop();
        }
        let first = sides.first().copied().unwrap_or(last);
        if cuts.is_empty() && missing != first {
            cuts.push(f64::MAX);
        }
        Self { input, cuts, first, missing }
    }

    /// The side that every row goes to, if there is but one.
    fn only_side(&self) -> Option<Side> {
        self.cuts.is_empty().then_some(self.first)
    }

    fn side(&self, piece: usize) -> Side {
        if piece.is_multiple_of(2) { self.first } else { self.first.other() }
    }

    /// Whether missing values can be led to a piece out of `from..=to`.
    fn takes_missing(&self, from: usize, to: usize) -> bool {
        to > from || self.side(from) == self.missing
    }
}

/// A node as its library has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ForeignNode {
    Leaf(f64),
    Inner {
        /// What the rows that come by add on average, for telling what each input did.
        value: f64,
        decision: Decision,
        left: usize,
        right: usize,
    },
}

impl ForeignNode {
    /// What a row that ends here adds, or rows that come by.
    pub(super) const fn value(&self) -> f64 {
        match self {
            Self::Leaf(value) | Self::Inner { value, .. } => *value,
        }
    }
}

/// Lays a tree out, its root being node `root`. `fault` words the complaint about a node.
pub(super) fn lay_out(
    nodes: &[ForeignNode],
    root: usize,
    fault: impl Fn(usize, &str) -> Error,
) -> Result<Tree, Error> {
    let mut layout = Layout { nodes: vec![leaf(0.0)] };
    let mut visited = vec![false; nodes.len()];
    let mut waiting: Vec<(usize, Vec<usize>)> = vec![(root, vec![0])];
    while let Some((at, places)) = waiting.pop() {
        let node = nodes.get(at).ok_or_else(|| fault(at, "is asked for, but is not there"))?;
        match visited.get_mut(at) {
            Some(seen) if !*seen => *seen = true,
            _ => return Err(fault(at, "is a child of two nodes, or of its own descendant")),
        }
        match node {
            ForeignNode::Leaf(value) => layout.put(&places, leaf(*value)),
            ForeignNode::Inner { value, decision, left, right } => match decision.only_side() {
                Some(Side::Left) => waiting.push((*left, places)),
                Some(Side::Right) => waiting.push((*right, places)),
                None => {
                    let (to_left, to_right) = layout.decide(&places, *value, decision)?;
                    waiting.push((*right, to_right));
                    waiting.push((*left, to_left));
                }
            },
        }
    }
    Ok(Tree { nodes: layout.nodes })
}

struct Layout {
    nodes: Vec<Node>,
}

impl Layout {
    /// Puts the decision's search tree at all `places`; gives the places whose rows go left, and right.
    fn decide(
        &mut self,
        places: &[usize],
        value: f64,
        decision: &Decision,
    ) -> Result<(Vec<usize>, Vec<usize>), Error> {
        let (mut to_left, mut to_right) = (Vec::new(), Vec::new());
        let mut open = vec![(places.to_vec(), 0, decision.cuts.len())];
        while let Some((places, from, to)) = open.pop() {
            if from == to {
                match decision.side(from) {
                    Side::Left => to_left.extend(places),
                    Side::Right => to_right.extend(places),
                }
                continue;
            }
            let middle = from + (to - from) / 2;
            let left = self.pair()?;
            let split = Split {
                input: decision.input,
                threshold: decision.cuts.get(middle).copied().unwrap_or(f64::MAX),
                missing_right: !decision.takes_missing(from, middle),
                // Bounded by the most nodes of a tree.
                left: left as u32,
            };
            self.put(&places, Node { value, split: Some(split) });
            open.push((vec![left + 1], middle + 1, to));
            open.push((vec![left], from, middle));
        }
        Ok((to_left, to_right))
    }

    fn put(&mut self, places: &[usize], node: Node) {
        for place in places {
            if let Some(at) = self.nodes.get_mut(*place) {
                *at = node;
            }
        }
    }

    /// Two places behind all others.
    fn pair(&mut self) -> Result<usize, Error> {
        let left = self.nodes.len();
        if left + 2 > MAX_NODES {
            let what = "nodes of a tree, its decisions unfolded";
            return Err(Error::TooLarge { what, found: left as u64 + 2, limit: MAX_NODES as u64 });
        }
        self.nodes.extend([leaf(0.0), leaf(0.0)]);
        Ok(left)
    }
}

const fn leaf(value: f64) -> Node {
    Node { value, split: None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::trees::{DoubledRow, Ensemble, Flat, Link};

    fn tree(decision: Decision) -> Flat {
        let nodes = [
            ForeignNode::Inner { value: 0.0, decision, left: 1, right: 2 },
            ForeignNode::Leaf(-1.0),
            ForeignNode::Leaf(1.0),
        ];
        let tree = lay_out(&nodes, 0, |_, _| panic!("whole")).unwrap();
        let ensemble = Ensemble { base: 0.0, link: Link::Sum, trees: vec![tree] };
        ensemble.validate(1).unwrap();
        Flat::new(&ensemble)
    }

    proptest! {
        #[test]
        fn every_number_takes_the_side_of_its_piece(
            mut uppers in prop::collection::vec(-20_i32..20, 0..12),
            sides in prop::collection::vec(any::<bool>(), 12),
            last: bool,
            missing: bool,
        ) {
            uppers.sort_unstable();
            let pieces: Vec<(f64, Side)> =
                uppers.iter().zip(&sides).map(|(upper, left)| (f64::from(*upper), Side::when_left(*left))).collect();
            let decision = Decision::new(0, &pieces, Side::when_left(last), Side::when_left(missing));
            let flat = tree(decision);
            let margin = |x: f64| flat.margin(&DoubledRow::<2>::new(std::iter::once(x)));
            let told = |side: bool| if side { -1.0 } else { 1.0 };
            for x in (-44..=44).map(|half| f64::from(half) / 2.0).chain([f64::MAX, -f64::MAX]) {
                // Of pieces with the same greatest value, the first has all there is.
                let own = pieces.iter().find(|(greatest, _)| x <= *greatest).map_or(last, |(_, side)| *side == Side::Left);
                prop_assert_eq!(margin(x), told(own), "{}", x);
            }
            prop_assert_eq!(margin(f64::NAN), told(missing));
        }
    }

    #[test]
    fn subtrees_are_shared_not_repeated() {
        // Each decision has 32 pieces; repeated, ten levels of them would be 16^10 leaves.
        let pieces: Vec<(f64, Side)> =
            (0..31).map(|at| (f64::from(at), Side::when_left(at % 2 == 0))).collect();
        let mut nodes = Vec::new();
        for level in 0..10 {
            let decision = Decision::new(0, &pieces, Side::Right, Side::Left);
            nodes.push(ForeignNode::Inner {
                value: 0.0,
                decision,
                left: level * 2 + 2,
                right: level * 2 + 1,
            });
            nodes.push(ForeignNode::Leaf(1.0));
        }
        nodes.push(ForeignNode::Leaf(2.0));
        let tree = lay_out(&nodes, 0, |at, what| panic!("{at} {what}")).unwrap();
        assert!(tree.nodes.len() < 10 * 64, "{}", tree.nodes.len());
        assert_eq!(tree.depth(), 50);
    }

    #[test]
    fn a_tree_that_is_none_is_refused() {
        let decision = || Decision::new(0, &[(0.0, Side::Left)], Side::Right, Side::Left);
        let fault = |at: usize, problem: &str| Error::Foreign {
            format: "x",
            place: at.to_string(),
            problem: problem.to_owned(),
            expected: String::new(),
        };
        let to_itself = [ForeignNode::Inner { value: 0.0, decision: decision(), left: 0, right: 0 }];
        assert!(lay_out(&to_itself, 0, fault).unwrap_err().to_string().contains("child of two nodes"));
        let to_nowhere = [ForeignNode::Inner { value: 0.0, decision: decision(), left: 7, right: 7 }];
        assert!(lay_out(&to_nowhere, 0, fault).unwrap_err().to_string().contains("not there"));
    }
}
