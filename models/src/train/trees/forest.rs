//! Forests and single trees: leaves hold the share of positives among the people that fell into them.
//!
//! A forest draws people, not rows, with replacement, so that who is left out of a tree is left out with all rows; the
//! margins of rows by the trees that have not seen their people are the out-of-fold ones. Not here: one tree (`grow`).

use std::collections::BTreeMap;

use augur_domain::math;
use augur_domain::rng::{Purpose, Rng};
use serde::Serialize;

use super::super::table::StoredRow;
use super::boost::Rows;
use super::grow::{Limits, Sample, grow};
use super::{Fitted, leaf};
use crate::trees::{Ensemble, Link, Tree};

/// How to grow a forest or a tree.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Growing {
    /// Trees of a forest.
    pub trees: usize,
    /// Most levels of a tree.
    pub max_depth: usize,
    /// Least rows of a leaf.
    pub min_rows: usize,
    /// Share of the columns looked at per split, drawn anew for each; `None` takes the square root of their number in a
    /// forest and all of them in a single tree.
    pub columns_per_split: Option<f64>,
}

impl Growing {
    /// A forest of 300 trees of depth 16 at most with 5 rows a leaf at least.
    pub const FOREST: Self = Self { trees: 300, max_depth: 16, min_rows: 5, columns_per_split: None };
    /// A tree of depth 6 at most with 50 rows a leaf at least.
    pub const TREE: Self = Self { trees: 1, max_depth: 6, min_rows: 50, columns_per_split: None };
}

/// A forest; `on_tree` is told the number of trees done.
pub(in crate::train) fn forest(
    data: &Rows<'_>,
    settings: &Growing,
    seed: u64,
    on_tree: &mut dyn FnMut(usize),
) -> Fitted {
    let mut rng = Rng::new(seed, Purpose::Training);
    let people = People::of(data);
    let mut trees = Vec::with_capacity(settings.trees);
    // Per row: the sum over trees that have not seen it, and how many those are.
    let mut unseen = vec![(0.0, 0_u32); data.rows.len()];
    for number in 1..=settings.trees {
        let drawn = people.draw(&mut rng);
        let times = |row: usize| people.of_row.get(row).and_then(|person| drawn.get(*person)).copied();
        let weights: Vec<f64> = data
            .weights
            .iter()
            .enumerate()
            .map(|(row, weight)| weight * f64::from(times(row).unwrap_or(0)))
            .collect();
        let columns = data.binned.columns.len();
        // The square root is the usual number for classification (Breiman 2001).
        let per_split = match settings.columns_per_split {
            Some(share) => (share * columns as f64) as usize,
            None => math::sqrt(columns as f64) as usize,
        };
        let tree = one_tree(data, &weights, settings, Some(per_split.max(1)), &mut rng);
        for (row, sum) in unseen.iter_mut().enumerate() {
            if let (Some(0), Some(values)) = (times(row), data.rows.get(row)) {
                *sum = (sum.0 + leaf(&tree, values), sum.1 + 1);
            }
        }
        trees.push(tree);
        on_tree(number);
    }
    let complete = unseen.iter().all(|(_, trees)| *trees > 0);
    let margin = |(sum, trees): &(f64, u32)| logit(sum / f64::from(*trees));
    let out_of_fold = if complete { unseen.iter().map(margin).collect() } else { Vec::new() };
    (Ensemble { base: 0.0, link: Link::Mean, trees }, out_of_fold)
}

/// One tree on all rows, and one per fold for the margins of those left out.
pub(in crate::train) fn single_tree(data: &Rows<'_>, settings: &Growing, seed: u64) -> Fitted {
    let mut rng = Rng::new(seed, Purpose::Training);
    let tree = one_tree(data, data.weights, settings, None, &mut rng);
    let mut out_of_fold = Vec::new();
    if let Some(folds) = data.folds {
        let count = folds.iter().max().map_or(0, |last| last + 1);
        let mut by_fold: Vec<Tree> = Vec::with_capacity(count);
        for fold in 0..count {
            let outside = |(of, weight): (&usize, &f64)| if *of == fold { 0.0 } else { *weight };
            let weights: Vec<f64> = folds.iter().zip(data.weights).map(outside).collect();
            by_fold.push(one_tree(data, &weights, settings, None, &mut rng));
        }
        let margin = |(fold, row): (&usize, &StoredRow<'_>)| {
            by_fold.get(*fold).map_or(0.0, |tree| logit(leaf(tree, row)))
        };
        out_of_fold = folds.iter().zip(data.rows).map(margin).collect();
    }
    (Ensemble { base: 0.0, link: Link::Mean, trees: vec![tree] }, out_of_fold)
}

/// A tree on the rows that weigh something.
fn one_tree(
    data: &Rows<'_>,
    weights: &[f64],
    settings: &Growing,
    columns_per_split: Option<usize>,
    rng: &mut Rng,
) -> Tree {
    let label = |row: &StoredRow<'_>| f64::from(u8::from(row.label));
    let gradients: Vec<f64> =
        data.rows.iter().zip(weights).map(|(row, weight)| -weight * label(row)).collect();
    let rows = weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0).map(|(row, _)| row as u32);
    let limits = Limits {
        max_leaves: 1 << 15,
        max_depth: settings.max_depth,
        min_rows: settings.min_rows,
        min_hessian: 0.0,
        lambda: 0.0,
        min_gain: 1e-12,
        columns_per_split,
    };
    let columns: Vec<usize> = (0..data.binned.columns.len()).collect();
    let sample = Sample {
        binned: data.binned,
        columns: &columns,
        rows: rows.collect(),
        gradients: &gradients,
        hessians: weights,
    };
    grow(sample, limits, rng)
}

/// Whose each row is.
struct People {
    /// Per row, a person's number.
    of_row: Vec<usize>,
    count: usize,
}

impl People {
    fn of(data: &Rows<'_>) -> Self {
        let mut numbers: BTreeMap<u64, usize> = BTreeMap::new();
        let of_row = data.rows.iter().map(|row| {
            let next = numbers.len();
            *numbers.entry(row.group).or_insert(next)
        });
        let of_row = of_row.collect();
        Self { of_row, count: numbers.len() }
    }

    /// How often each person is drawn, with replacement, in as many draws as there are people.
    fn draw(&self, rng: &mut Rng) -> Vec<u32> {
        let mut times = vec![0_u32; self.count];
        for _ in 0..self.count {
            if let Some(times) = times.get_mut(rng.below(self.count as u64) as usize) {
                *times += 1;
            }
        }
        times
    }
}

/// Log-odds, held where the scorer holds them.
fn logit(probability: f64) -> f64 {
    crate::trees::logit(probability)
}
