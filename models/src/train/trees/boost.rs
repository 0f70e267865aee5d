//! Gradient boosting of the log loss, with as many rounds as people left out say are good.
//!
//! Every fold grows its own trees in step with the others; the rounds end when the log loss of the rows left out has not
//! fallen for a while, and the model is then grown on all rows with the best number of rounds. Not here: one tree
//! (`grow`).

use augur_domain::math;
use augur_domain::rng::{Purpose, Rng};
use serde::Serialize;

use super::super::table::StoredRow;
use super::bins::Binned;
use super::grow::{Limits, Sample, draw, grow};
use super::{Fitted, leaf};
use crate::trees::{Ensemble, Link, Tree};

/// How to boost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Boosting {
    /// Most rounds, one tree each.
    pub max_rounds: usize,
    /// Rounds without a better log loss on the rows left out before growing ends.
    pub patience: usize,
    /// What is taken of each tree's values; smaller needs more rounds and overfits less.
    pub learning_rate: f64,
    /// Most leaves of a tree.
    pub max_leaves: usize,
    /// Least rows of a leaf.
    pub min_rows: usize,
    /// Added to the Hessian of each leaf.
    pub lambda: f64,
    /// Share of the rows that each tree is grown on.
    pub row_share: f64,
    /// Share of the columns that each tree may ask.
    pub column_share: f64,
}

impl Default for Boosting {
    fn default() -> Self {
        Self {
            max_rounds: 1_000,
            patience: 30,
            learning_rate: 0.05,
            max_leaves: 15,
            min_rows: 20,
            lambda: 1.0,
            row_share: 0.8,
            column_share: 0.8,
        }
    }
}

/// The rows to fit on, as every learner here takes them.
pub(in crate::train) struct Rows<'a> {
    pub(in crate::train) binned: &'a Binned,
    pub(in crate::train) rows: &'a [StoredRow<'a>],
    /// One per row.
    pub(in crate::train) weights: &'a [f64],
    /// One per row; `None` when there are too few people to leave some out.
    pub(in crate::train) folds: Option<&'a [usize]>,
}

/// One run of boosting: on the rows outside `fold`, or on all.
struct Run {
    fold: Option<usize>,
    base: f64,
    margins: Vec<f64>,
    trees: Vec<Tree>,
    rng: Rng,
}

/// Boosts; `on_round` is told the number of rounds done and the mean log loss of rows left out.
pub(in crate::train) fn boost(
    data: &Rows<'_>,
    settings: &Boosting,
    seed: u64,
    on_round: &mut dyn FnMut(usize, Option<f64>),
) -> Fitted {
    let Some(folds) = data.folds else {
        let rounds = settings.max_rounds.min(100);
        let mut run = Run::new(data, None, seed);
        for round in 0..rounds {
            run.grow(data, settings);
            on_round(round + 1, None);
        }
        return (run.ensemble(), Vec::new());
    };
    let count = folds.iter().max().map_or(0, |last| last + 1);
    let mut runs: Vec<Run> = (0..count).map(|fold| Run::new(data, Some(fold), seed)).collect();
    let mut best = (0, f64::INFINITY);
    for round in 1..=settings.max_rounds {
        for run in &mut runs {
            run.grow(data, settings);
        }
        let loss = left_out_loss(data, &runs, folds);
        on_round(round, Some(loss));
        // A fall below a millionth is noise that would keep growing for ever.
        if loss < best.1 - 1e-6 * best.1.min(1.0) {
            best = (round, loss);
        } else if round >= best.0 + settings.patience {
            break;
        }
    }
    let out_of_fold = folds.iter().zip(data.rows).map(|(fold, row)| {
        let Some(run) = runs.get(*fold) else { return 0.0 };
        run.trees.iter().take(best.0).fold(run.base, |sum, tree| sum + leaf(tree, row))
    });
    let out_of_fold = out_of_fold.collect();
    let mut run = Run::new(data, None, seed);
    for _ in 0..best.0.max(1) {
        run.grow(data, settings);
    }
    (run.ensemble(), out_of_fold)
}

fn left_out_loss(data: &Rows<'_>, runs: &[Run], folds: &[usize]) -> f64 {
    let (mut loss, mut weights) = (0.0, 0.0);
    for (index, ((fold, row), weight)) in folds.iter().zip(data.rows).zip(data.weights).enumerate() {
        let margin = runs.get(*fold).and_then(|run| run.margins.get(index)).copied().unwrap_or(0.0);
        let against = if row.label { -margin } else { margin };
        loss += weight * (against.max(0.0) + math::ln_1p(math::exp(-against.abs())));
        weights += weight;
    }
    loss / weights
}

impl Run {
    fn new(data: &Rows<'_>, fold: Option<usize>, seed: u64) -> Self {
        let mut run = Self {
            fold,
            base: 0.0,
            margins: Vec::new(),
            trees: Vec::new(),
            rng: Rng::new(seed.wrapping_add(fold.map_or(0, |fold| fold as u64 + 1)), Purpose::Training),
        };
        let (mut positive, mut all) = (0.0, 0.0);
        for (index, (row, weight)) in data.rows.iter().zip(data.weights).enumerate() {
            if run.grows_on(data, index) {
                all += weight;
                positive += if row.label { *weight } else { 0.0 };
            }
        }
        let rate = (positive / all).clamp(1e-6, 1.0 - 1e-6);
        run.base = math::ln(rate / (1.0 - rate));
        run.margins = vec![run.base; data.rows.len()];
        run
    }

    fn grows_on(&self, data: &Rows<'_>, row: usize) -> bool {
        match (self.fold, data.folds) {
            (Some(fold), Some(folds)) => folds.get(row) != Some(&fold),
            _ => true,
        }
    }

    fn grow(&mut self, data: &Rows<'_>, settings: &Boosting) {
        let mut gradients = Vec::with_capacity(data.rows.len());
        let mut hessians = Vec::with_capacity(data.rows.len());
        for ((row, weight), margin) in data.rows.iter().zip(data.weights).zip(&self.margins) {
            let probability = math::sigmoid(*margin);
            gradients.push(weight * (probability - f64::from(u8::from(row.label))));
            hessians.push(weight * probability * (1.0 - probability));
        }
        let mut rows = Vec::with_capacity(data.rows.len());
        for row in 0..data.rows.len() {
            let drawn = self.rng.next_f64() < settings.row_share;
            if drawn && self.grows_on(data, row) {
                rows.push(row as u32);
            }
        }
        let columns = data.binned.columns.len();
        let wanted = ((columns as f64 * settings.column_share) as usize).clamp(1, columns.max(1));
        let allowed = draw(columns, wanted, &mut self.rng);
        let limits = Limits {
            max_leaves: settings.max_leaves,
            max_depth: 32,
            min_rows: settings.min_rows,
            min_hessian: 1e-3,
            lambda: settings.lambda,
            min_gain: 1e-9,
            columns_per_split: None,
        };
        let sample = Sample {
            binned: data.binned,
            columns: &allowed,
            rows,
            gradients: &gradients,
            hessians: &hessians,
        };
        let mut tree = grow(sample, limits, &mut self.rng);
        for node in &mut tree.nodes {
            node.value *= settings.learning_rate;
        }
        for (margin, row) in self.margins.iter_mut().zip(data.rows) {
            *margin += leaf(&tree, row);
        }
        self.trees.push(tree);
    }

    fn ensemble(self) -> Ensemble {
        Ensemble { base: self.base, link: Link::Sum, trees: self.trees }
    }
}
