//! One tree, grown leaf by leaf, the most gainful split first.
//!
//! It minimises a second-order loss: a leaf's value is -G / (H + lambda), its gain G^2 / (H + lambda), where G and H add
//! up the gradients and Hessians of its rows (Chen and Guestrin, KDD 2016). With gradients of -w y and Hessians of w the
//! value is the weighted share of positives and the gain the fall of the Gini impurity: one grower for boosted trees,
//! forests and single trees. Not here: what the gradients are.
#![expect(
    clippy::indexing_slicing,
    reason = "every index was made here, from the lengths that it is used with"
)]

use augur_domain::rng::Rng;

use super::bins::{Binned, Column, MISSING};
use crate::trees::{Node, Split, Tree};

/// When to stop splitting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Limits {
    pub(super) max_leaves: usize,
    pub(super) max_depth: usize,
    /// Least rows of a leaf.
    pub(super) min_rows: usize,
    /// Least sum of Hessians of a leaf.
    pub(super) min_hessian: f64,
    /// Added to the Hessian of every leaf: shrinks the values of small ones.
    pub(super) lambda: f64,
    /// Least gain of a split.
    pub(super) min_gain: f64,
    /// Columns looked at per split, drawn anew for each; `None` looks at all.
    pub(super) columns_per_split: Option<usize>,
}

/// What a tree is grown on.
pub(super) struct Sample<'a> {
    pub(super) binned: &'a Binned,
    /// Places in [`Binned::columns`] that may be asked, ascending.
    pub(super) columns: &'a [usize],
    /// Rows to grow on.
    pub(super) rows: Vec<u32>,
    /// Per row of the table, among them those of `rows`.
    pub(super) gradients: &'a [f64],
    pub(super) hessians: &'a [f64],
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    gradient: f64,
    hessian: f64,
    rows: u32,
}

/// A split that was found, with its gain.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    gain: f64,
    /// Place in [`Binned::columns`].
    column: usize,
    /// The highest bin that goes to the left.
    bin: u8,
    missing_right: bool,
}

/// A leaf that may yet be split.
struct Leaf {
    node: usize,
    depth: usize,
    /// Its rows in the grower's order.
    range: std::ops::Range<usize>,
    sums: Sums,
    best: Option<Candidate>,
    /// Sums per bin of each of the sample's columns, when kept for the children.
    histograms: Vec<[Sums; 256]>,
}

struct Grower<'a> {
    sample: Sample<'a>,
    limits: Limits,
    rng: &'a mut Rng,
    nodes: Vec<Node>,
    buffer: Vec<u32>,
}

/// Grows a tree; the input of a split is the column's place in the table.
pub(super) fn grow(sample: Sample<'_>, limits: Limits, rng: &mut Rng) -> Tree {
    let rows = sample.rows.len();
    let mut grower = Grower { sample, limits, rng, nodes: Vec::new(), buffer: Vec::with_capacity(rows) };
    let mut open = vec![grower.root()];
    let mut leaves = 1;
    while leaves < limits.max_leaves {
        // Equal gains are settled by the older leaf, so that nothing hangs on chance.
        let next = open.iter().enumerate().filter_map(|(at, leaf)| Some((at, leaf.best?.gain)));
        let best = next.fold(None, |best: Option<(usize, f64)>, (at, gain)| match best {
            Some((_, greatest)) if greatest >= gain => best,
            _ => Some((at, gain)),
        });
        let Some((at, _)) = best else { break };
        let leaf = open.remove(at);
        let Some(candidate) = leaf.best else { break };
        open.extend(grower.split(leaf, candidate));
        leaves += 1;
    }
    Tree { nodes: grower.nodes }
}

impl Grower<'_> {
    fn root(&mut self) -> Leaf {
        let mut sums = Sums::default();
        for &row in &self.sample.rows {
            sums.add(self.sample.gradients[row as usize], self.sample.hessians[row as usize]);
        }
        self.nodes.push(Node { value: self.value(sums), split: None });
        let range = 0..self.sample.rows.len();
        let mut leaf = Leaf { node: 0, depth: 0, range, sums, best: None, histograms: Vec::new() };
        if self.limits.columns_per_split.is_none() {
            leaf.histograms = self.histograms(&leaf.range);
        }
        self.find(&mut leaf);
        leaf
    }

    fn value(&self, sums: Sums) -> f64 {
        let hessian = sums.hessian + self.limits.lambda;
        if hessian > 0.0 { -sums.gradient / hessian } else { 0.0 }
    }

    fn score(&self, sums: Sums) -> f64 {
        let hessian = sums.hessian + self.limits.lambda;
        if hessian > 0.0 { sums.gradient * sums.gradient / hessian } else { 0.0 }
    }

    fn histograms(&self, range: &std::ops::Range<usize>) -> Vec<[Sums; 256]> {
        let columns = self.sample.columns.iter().map(|column| &self.sample.binned.columns[*column]);
        columns.map(|column| self.histogram(column, range)).collect()
    }

    fn histogram(&self, column: &Column, range: &std::ops::Range<usize>) -> [Sums; 256] {
        let mut histogram = [Sums::default(); 256];
        for &row in &self.sample.rows[range.clone()] {
            let row = row as usize;
            histogram[usize::from(column.bins[row])]
                .add(self.sample.gradients[row], self.sample.hessians[row]);
        }
        histogram
    }

    /// The leaf's best split, if any is worth it.
    fn find(&mut self, leaf: &mut Leaf) {
        if leaf.depth >= self.limits.max_depth || leaf.range.len() < 2 * self.limits.min_rows {
            return;
        }
        let columns = self.sample.columns;
        match self.limits.columns_per_split {
            None => {
                for (&column, histogram) in columns.iter().zip(&leaf.histograms) {
                    leaf.best = better(leaf.best, self.best_of(column, histogram, leaf.sums));
                }
            }
            Some(wanted) => {
                for at in draw(columns.len(), wanted, self.rng) {
                    let column = columns[at];
                    let histogram = self.histogram(&self.sample.binned.columns[column], &leaf.range);
                    leaf.best = better(leaf.best, self.best_of(column, &histogram, leaf.sums));
                }
            }
        }
    }

    fn best_of(&self, column: usize, histogram: &[Sums; 256], all: Sums) -> Option<Candidate> {
        let missing = histogram[usize::from(MISSING)];
        let without = self.score(all);
        let mut best = None;
        let mut left = Sums::default();
        // The last border leaves only missing values to the right.
        let bins = self.sample.binned.columns[column].thresholds.len() + 1;
        for (bin, sums) in histogram.iter().take(bins).enumerate() {
            left = left.plus(*sums);
            for missing_right in [false, true] {
                let low = if missing_right { left } else { left.plus(missing) };
                let high = all.minus(low);
                if missing_right && missing.rows == 0 || !self.allows(low) || !self.allows(high) {
                    continue;
                }
                let gain = self.score(low) + self.score(high) - without;
                if gain > self.limits.min_gain {
                    best = better(best, Some(Candidate { gain, column, bin: bin as u8, missing_right }));
                }
            }
        }
        best
    }

    fn allows(&self, sums: Sums) -> bool {
        sums.rows as usize >= self.limits.min_rows.max(1) && sums.hessian >= self.limits.min_hessian
    }

    fn split(&mut self, leaf: Leaf, candidate: Candidate) -> [Leaf; 2] {
        let column = &self.sample.binned.columns[candidate.column];
        let goes_right = |row: u32| match column.bins[row as usize] {
            MISSING => candidate.missing_right,
            bin => bin > candidate.bin,
        };
        let (mut low, mut high) = (Sums::default(), Sums::default());
        self.buffer.clear();
        let mut end = leaf.range.start;
        for at in leaf.range.clone() {
            let row = self.sample.rows[at];
            let (gradient, hessian) =
                (self.sample.gradients[row as usize], self.sample.hessians[row as usize]);
            if goes_right(row) {
                high.add(gradient, hessian);
                self.buffer.push(row);
            } else {
                low.add(gradient, hessian);
                self.sample.rows[end] = row;
                end += 1;
            }
        }
        self.sample.rows[end..leaf.range.end].copy_from_slice(&self.buffer);
        let left = self.nodes.len();
        // Behind the last bin there is no border: only what is missing goes to the right, and any present value may
        // come that training never saw.
        let threshold = column.thresholds.get(usize::from(candidate.bin)).copied().unwrap_or(f64::MAX);
        let (input, missing_right) = (column.index as u16, candidate.missing_right);
        self.nodes[leaf.node].split = Some(Split { input, threshold, missing_right, left: left as u32 });
        for sums in [low, high] {
            let value = self.value(sums);
            self.nodes.push(Node { value, split: None });
        }
        let child = |node, range, sums| Leaf {
            node,
            depth: leaf.depth + 1,
            range,
            sums,
            best: None,
            histograms: Vec::new(),
        };
        let mut children =
            [child(left, leaf.range.start..end, low), child(left + 1, end..leaf.range.end, high)];
        self.hand_down(leaf.histograms, &mut children);
        for child in &mut children {
            self.find(child);
        }
        children
    }

    /// The smaller child's histograms are added up, the other's are what is left of the parent's.
    fn hand_down(&self, mut parent: Vec<[Sums; 256]>, children: &mut [Leaf; 2]) {
        let splittable = children.iter().any(|child| {
            child.depth < self.limits.max_depth && child.range.len() >= 2 * self.limits.min_rows
        });
        if parent.is_empty() || !splittable {
            return;
        }
        let smaller = usize::from(children[1].range.len() < children[0].range.len());
        let own = self.histograms(&children[smaller].range);
        for (of_parent, of_child) in parent.iter_mut().zip(&own) {
            for (left, right) in of_parent.iter_mut().zip(of_child) {
                *left = left.minus(*right);
            }
        }
        children[smaller].histograms = own;
        children[1 - smaller].histograms = parent;
    }
}

impl Sums {
    fn add(&mut self, gradient: f64, hessian: f64) {
        self.gradient += gradient;
        self.hessian += hessian;
        self.rows += 1;
    }

    fn plus(self, other: Self) -> Self {
        Self {
            gradient: self.gradient + other.gradient,
            hessian: self.hessian + other.hessian,
            rows: self.rows + other.rows,
        }
    }

    const fn minus(self, other: Self) -> Self {
        Self {
            gradient: self.gradient - other.gradient,
            hessian: self.hessian - other.hessian,
            rows: self.rows.saturating_sub(other.rows),
        }
    }
}

/// The greater gain; the earlier one of two that are equal.
fn better(best: Option<Candidate>, found: Option<Candidate>) -> Option<Candidate> {
    match (best, found) {
        (Some(best), Some(found)) if found.gain > best.gain => Some(found),
        (None, found) => found,
        (best, _) => best,
    }
}

/// `wanted` of the numbers below `all`, each as likely as any other, ascending.
pub(super) fn draw(all: usize, wanted: usize, rng: &mut Rng) -> Vec<usize> {
    let mut drawn = Vec::with_capacity(wanted);
    let mut needed = wanted.min(all);
    for number in 0..all {
        // Selection sampling (Knuth, TAOCP 2, 3.4.2, algorithm S).
        if rng.below((all - number) as u64) < needed as u64 {
            drawn.push(number);
            needed -= 1;
        }
    }
    drawn
}
