//! The form in which trees are walked: sixteen bytes a node, sixteen trees in step so that the processor waits for
//! none of them.
//!
//! A row is laid out twice over, each input once with missing taken for the least and once for the greatest number, so
//! that a node finds the way of a missing value by the same comparison as any other.
//!
//! Not here: what the walk's end means (`Scorer`).

use super::{Ensemble, Link};

/// Trees that are walked side by side.
const LANES: usize = 16;

/// An ensemble, laid out to be walked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Flat {
    base: f64,
    link: Link,
    nodes: Vec<FlatNode>,
    /// Per node, what a row that ends there adds.
    values: Vec<f64>,
    roots: Vec<u32>,
    /// Per group of [`LANES`] trees, the steps that take every one of them to a leaf.
    steps: Vec<u16>,
}

/// A leaf is its own left child, and nothing is above its threshold: further steps stay.
#[derive(Debug, Clone, Copy, PartialEq)]
struct FlatNode {
    threshold: f64,
    left: u32,
    /// Where in the doubled row: twice the input, and one more when a missing value goes to the right.
    place: u32,
}

/// Inputs laid out for a walk: at `2 * input` a missing value is minus infinity, next to it plus infinity.
///
/// `N` is a power of two, so that a masked place is within it.
pub(crate) struct DoubledRow<const N: usize>([f64; N]);

impl<const N: usize> DoubledRow<N> {
    /// Lays out `values`, of which NaN and infinite ones are missing; at most `N / 2` of them.
    #[inline(always)]
    pub(crate) fn new(values: impl Iterator<Item = f64>) -> Self {
        let mut row = [0.0; N];
        for (pair, value) in row.as_chunks_mut::<2>().0.iter_mut().zip(values) {
            let is_finite = value.abs() <= f64::MAX;
            *pair = if is_finite { [value; 2] } else { [f64::NEG_INFINITY, f64::INFINITY] };
        }
        Self(row)
    }

    #[inline(always)]
    fn get(&self, place: u32) -> f64 {
        self.0.get(place as usize & (N - 1)).copied().unwrap_or(0.0)
    }
}

impl Flat {
    /// Lays out an ensemble that [`Ensemble::validate`] has accepted.
    pub(crate) fn new(ensemble: &Ensemble) -> Self {
        let (mut nodes, mut values, mut roots) = (Vec::new(), Vec::new(), Vec::new());
        for tree in &ensemble.trees {
            let root = nodes.len() as u32;
            roots.push(root);
            for (at, node) in tree.nodes.iter().enumerate() {
                values.push(node.value);
                nodes.push(match node.split {
                    Some(split) => FlatNode {
                        threshold: split.threshold,
                        left: root + split.left,
                        place: 2 * u32::from(split.input) + u32::from(split.missing_right),
                    },
                    None => FlatNode { threshold: f64::INFINITY, left: root + at as u32, place: 0 },
                });
            }
        }
        let depth = |trees: &[super::Tree]| trees.iter().map(|tree| tree.depth() as u16).max().unwrap_or(0);
        let steps = ensemble.trees.chunks(LANES).map(depth).collect();
        Self { base: ensemble.base, link: ensemble.link, nodes, values, roots, steps }
    }

    /// The margin of a row.
    pub(crate) fn margin<const N: usize>(&self, row: &DoubledRow<N>) -> f64 {
        let mut sum = 0.0;
        for (roots, steps) in self.roots.chunks(LANES).zip(&self.steps) {
            let mut places = [0_u32; LANES];
            for (place, root) in places.iter_mut().zip(roots) {
                *place = *root;
            }
            for _ in 0..*steps {
                for place in &mut places {
                    *place = self.next(*place, row);
                }
            }
            // Added in the order of the trees, whatever the lanes did.
            for place in places.iter().take(roots.len()) {
                sum += self.value(*place);
            }
        }
        self.linked(sum)
    }

    /// Adds what each input did to the row's margin (`Link::Sum`) or mean probability (`Link::Mean`): at every node on
    /// the way, the step from its mean to that of the child taken is the work of the input asked there (Saabas).
    pub(crate) fn attribute<const N: usize>(&self, row: &DoubledRow<N>, per_input: &mut [f64]) {
        let share = match self.link {
            Link::Sum => 1.0,
            Link::Mean => 1.0 / self.roots.len().max(1) as f64,
        };
        for root in &self.roots {
            let mut place = *root;
            loop {
                let next = self.next(place, row);
                if next == place {
                    break;
                }
                let input = self.nodes.get(place as usize).map_or(0, |node| node.place / 2);
                if let Some(sum) = per_input.get_mut(input as usize) {
                    *sum += (self.value(next) - self.value(place)) * share;
                }
                place = next;
            }
        }
    }

    /// The margin's or mean probability's value before any input was asked.
    pub(crate) fn expectation(&self) -> f64 {
        let sum = self.roots.iter().fold(0.0, |sum, root| sum + self.value(*root));
        match self.link {
            Link::Sum => self.base + sum,
            Link::Mean => self.base + sum / self.roots.len().max(1) as f64,
        }
    }

    fn linked(&self, sum: f64) -> f64 {
        match self.link {
            Link::Sum => self.base + sum,
            Link::Mean => logit(self.base + sum / self.roots.len().max(1) as f64),
        }
    }

    #[inline(always)]
    fn next<const N: usize>(&self, place: u32, row: &DoubledRow<N>) -> u32 {
        let Some(node) = self.nodes.get(place as usize) else { return place };
        node.left + u32::from(row.get(node.place) > node.threshold)
    }

    #[inline]
    fn value(&self, place: u32) -> f64 {
        self.values.get(place as usize).copied().unwrap_or(0.0)
    }
}

/// Log-odds; a forest that is sure is held at odds of a million to one, so that calibration has something to act on.
pub(crate) fn logit(probability: f64) -> f64 {
    const LEAST: f64 = 1e-6;
    let bounded = probability.clamp(LEAST, 1.0 - LEAST);
    augur_domain::math::ln(bounded) - augur_domain::math::ln_1p(-bounded)
}

#[cfg(test)]
mod tests {
    use super::super::{Node, Split, Tree};
    use super::*;

    fn stump(input: u16, threshold: f64, missing_right: bool, left: f64, right: f64) -> Tree {
        let split = Some(Split { input, threshold, missing_right, left: 1 });
        let leaf = |value| Node { value, split: None };
        Tree { nodes: vec![Node { value: (left + right) / 2.0, split }, leaf(left), leaf(right)] }
    }

    fn row(values: &[f64]) -> DoubledRow<8> {
        DoubledRow::new(values.iter().copied())
    }

    fn ensemble(trees: Vec<Tree>, link: Link) -> Ensemble {
        Ensemble { base: 0.25, link, trees }
    }

    #[test]
    fn borders_go_left_and_missing_values_where_they_belong() {
        for (missing_right, expected) in [(false, -1.0), (true, 1.0)] {
            let ensemble = ensemble(vec![stump(0, 2.0, missing_right, -1.0, 1.0)], Link::Sum);
            ensemble.validate(1).unwrap();
            let flat = Flat::new(&ensemble);
            assert_eq!(flat.margin(&row(&[2.0])), -0.75);
            assert_eq!(flat.margin(&row(&[2.0_f64.next_up()])), 1.25);
            assert_eq!(flat.margin(&row(&[f64::NAN])), 0.25 + expected);
        }
    }

    #[test]
    fn attributions_and_expectation_add_up_to_the_margin() {
        let trees: Vec<Tree> = (0..21)
            .map(|tree| stump(tree % 3, f64::from(tree) / 4.0, tree % 2 == 0, -f64::from(tree), 0.5))
            .collect();
        let flat = Flat::new(&ensemble(trees, Link::Sum));
        for row in [[0.0, 1.0, 2.0], [9.0, f64::NAN, -1.0], [f64::NAN; 3]] {
            let mut per_input = [0.0; 3];
            flat.attribute(&self::row(&row), &mut per_input);
            let told = flat.expectation() + per_input.iter().sum::<f64>();
            assert!((told - flat.margin(&self::row(&row))).abs() < 1e-12, "{told}");
        }
    }

    #[test]
    fn a_tree_that_could_be_walked_for_ever_is_refused() {
        let mut tree = stump(0, 0.0, false, 0.0, 1.0);
        tree.nodes[0].split = Some(Split { input: 0, threshold: 0.0, missing_right: false, left: 0 });
        assert!(ensemble(vec![tree.clone()], Link::Sum).validate(1).is_err());
        tree.nodes[0].split = Some(Split { input: 0, threshold: 0.0, missing_right: false, left: 2 });
        assert!(ensemble(vec![tree], Link::Sum).validate(1).is_err());
        assert!(ensemble(vec![stump(1, 0.0, false, 0.0, 1.0)], Link::Sum).validate(1).is_err());
    }
}
