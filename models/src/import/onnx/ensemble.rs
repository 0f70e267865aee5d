//! `TreeEnsembleClassifier` of two classes and `TreeEnsembleRegressor`, as onnxruntime walks them.
//!
//! A missing value fails every comparison but `!=`, unless the node tracks it as true. Leaves are summed in `f64` in the order of
//! the trees; onnxruntime sums in `f32`, and in an order of its own from several threads. Not here: laying trees out.

use std::collections::BTreeMap;

use super::super::trees::{Decision, ForeignNode, Side, lay_out};
use super::super::{AskedColumns as Asked, too_many_inputs};
use super::columns::Column;
use super::proto::Operation;
use super::{Scored, second_class};
use crate::Error;
use crate::artifact::{Body, TreeInput};
use crate::trees::{Ensemble, Link, MAX_ALL_NODES, MAX_TREES, Tree};

/// What a leaf adds, and how the sum becomes a margin.
struct Leaves {
    /// By tree and node, as the file numbers them.
    values: BTreeMap<(i64, i64), f64>,
    base: f64,
    link: Link,
}

pub(super) fn classifier(node: &Operation<'_>, columns: &[Column]) -> Result<Scored, Error> {
    let positive = second_class(node, "classlabels_int64s", "classlabels_strings")?;
    let leaves = classes(node)?;
    ensemble(node, columns, leaves, Some(positive))
}

pub(super) fn regressor(node: &Operation<'_>, columns: &[Column]) -> Result<Scored, Error> {
    let aggregate = node.text("aggregate_function").unwrap_or("SUM");
    let transform = node.text("post_transform").unwrap_or("NONE");
    let targets = node.integer("n_targets").unwrap_or(1);
    if (aggregate, transform, targets) != ("SUM", "NONE", 1) {
        let problem = format!("{targets} targets, {aggregate}, post_transform {transform}");
        return Err(node.fault(problem, "1 target, SUM, post_transform NONE"));
    }
    let weights = Weights::read(node, "target")?;
    let mut values = BTreeMap::new();
    for (place, _, weight) in weights.each() {
        *values.entry(place).or_insert(0.0) += weight;
    }
    let base = node.floats("base_values").first().copied().map_or(0.0, f64::from);
    ensemble(node, columns, Leaves { values, base, link: Link::Sum }, None)
}

/// The weights of leaves, an entry per leaf and class.
struct Weights<'n> {
    trees: &'n [i64],
    nodes: &'n [i64],
    classes: &'n [i64],
    weights: &'n [f32],
}

impl<'n> Weights<'n> {
    fn read(node: &'n Operation<'_>, of: &str) -> Result<Self, Error> {
        let integers = |part: &str| node.integers(&format!("{of}_{part}"));
        let weights = node.floats(&format!("{of}_weights"));
        let this = Self {
            trees: integers("treeids"),
            nodes: integers("nodeids"),
            classes: integers("ids"),
            weights,
        };
        let lengths = [this.trees.len(), this.nodes.len(), this.classes.len()];
        if weights.is_empty() || lengths.iter().any(|length| *length != weights.len()) {
            let problem = format!("`{of}_weights` has {} numbers", weights.len());
            return Err(node.fault(problem, "one weight, tree, node and class per leaf"));
        }
        if let Some(weight) = weights.iter().find(|weight| !weight.is_finite()) {
            return Err(node.fault(format!("`{of}_weights` has {weight}"), "finite numbers"));
        }
        Ok(this)
    }

    fn each(&self) -> impl Iterator<Item = ((i64, i64), i64, f64)> {
        let places = self.trees.iter().copied().zip(self.nodes.iter().copied());
        let told = self.classes.iter().zip(self.weights);
        places.zip(told).map(|(place, (class, weight))| (place, *class, f64::from(*weight)))
    }
}

/// What the leaves of a classifier add, and what their sum is: a margin or the probability itself.
fn classes(node: &Operation<'_>) -> Result<Leaves, Error> {
    let weights = Weights::read(node, "class")?;
    let transform = node.text("post_transform").unwrap_or("NONE");
    let base = node.floats("base_values");
    let one_class = weights.classes.windows(2).all(|pair| pair.first() == pair.last());
    let none_negative = weights.weights.iter().all(|weight| *weight >= 0.0);
    if weights.classes.iter().any(|class| !(0..=1).contains(class)) || base.len() > 2 {
        return Err(node.fault("weights of a third class".to_owned(), "classes 0 and 1"));
    }
    // onnxruntime: weights of a single class are the positive one's; none of them negative, they add up to its probability.
    let link = match (one_class, none_negative, transform) {
        (false, _, "LOGISTIC" | "SOFTMAX") => Link::Sum,
        (true, false, "LOGISTIC") => Link::Sum,
        (true, true, "LOGISTIC") if base.len() == 2 => Link::Sum,
        (_, true, "NONE") if base.len() < 2 || !one_class => Link::Mean,
        _ => {
            let problem = format!(
                "post_transform {transform}, weights of {} class(es), {} negative",
                if one_class { "1" } else { "2" },
                if none_negative { "none" } else { "some" }
            );
            return Err(node.fault(
                problem,
                "LOGISTIC over margins, SOFTMAX of two classes, or NONE over probabilities",
            ));
        }
    };
    let share = |class: i64| match (one_class, transform, class) {
        (true, ..) | (_, _, 1) => 1.0,
        (_, "SOFTMAX", _) => -1.0,
        _ => 0.0,
    };
    let mut values = BTreeMap::new();
    for (place, class, weight) in weights.each() {
        *values.entry(place).or_insert(0.0) += share(class) * weight;
    }
    let base = match base {
        [] => 0.0,
        [one] if one_class => f64::from(*one),
        [_, positive] if transform != "SOFTMAX" => f64::from(*positive),
        [negative, positive] => f64::from(*positive) - f64::from(*negative),
        base => return Err(node.fault(format!("{} base values", base.len()), "one per class")),
    };
    Ok(Leaves { values, base, link })
}

/// The nodes of all trees, as parallel arrays.
struct Arrays<'n> {
    trees: &'n [i64],
    ids: &'n [i64],
    features: &'n [i64],
    modes: &'n [&'n str],
    thresholds: &'n [f32],
    when_true: &'n [i64],
    when_false: &'n [i64],
    tracks: &'n [i64],
}

fn ensemble(
    node: &Operation<'_>,
    columns: &[Column],
    leaves: Leaves,
    positive: Option<String>,
) -> Result<Scored, Error> {
    let arrays = Arrays::read(node)?;
    let mut asked = Asked::default();
    let mut trees = Vec::new();
    let mut from = 0;
    while let Some(tree) = arrays.trees.get(from) {
        let length = arrays.trees.iter().skip(from).take_while(|other| *other == tree).count();
        trees.push(arrays.tree(node, from, length, columns, &leaves, &mut asked)?);
        from += length;
        if trees.len() > MAX_TREES {
            return Err(node.fault(format!("more than {MAX_TREES} trees"), "at most 5000 trees"));
        }
    }
    if leaves.link == Link::Mean {
        // Leaves that add up to a probability, as leaves whose mean is one.
        let count = trees.len() as f64;
        trees.iter_mut().flat_map(|tree| &mut tree.nodes).for_each(|node| node.value *= count);
    }
    let inputs: Vec<TreeInput> = asked
        .columns
        .iter()
        .filter_map(|column| columns.get(*column))
        .map(|column| TreeInput { feature: column.feature.clone(), definition: None })
        .collect();
    if inputs.is_empty() {
        return Err(node.fault("no tree asks any column".to_owned(), "a model of at least one split"));
    }
    let ensemble = Ensemble { base: leaves.base, link: leaves.link, trees };
    Ok(Scored { body: Body::Trees { inputs, ensemble }, positive, notes: Vec::new() })
}

impl<'n> Arrays<'n> {
    fn read(node: &'n Operation<'_>) -> Result<Self, Error> {
        let this = Self {
            trees: node.integers("nodes_treeids"),
            ids: node.integers("nodes_nodeids"),
            features: node.integers("nodes_featureids"),
            modes: node.texts("nodes_modes"),
            thresholds: node.floats("nodes_values"),
            when_true: node.integers("nodes_truenodeids"),
            when_false: node.integers("nodes_falsenodeids"),
            tracks: node.integers("nodes_missing_value_tracks_true"),
        };
        let count = this.trees.len();
        let lengths = [this.ids.len(), this.features.len(), this.modes.len(), this.thresholds.len()];
        let children = [this.when_true.len(), this.when_false.len()];
        let same = lengths.iter().chain(&children).all(|length| *length == count);
        if !same || (!this.tracks.is_empty() && this.tracks.len() != count) {
            return Err(node
                .fault(format!("{count} nodes, and lists of other lengths"), "one entry per node in each"));
        }
        if count == 0 || count > MAX_ALL_NODES {
            return Err(node.fault(format!("{count} nodes"), "1 to 4000000 nodes"));
        }
        Ok(this)
    }

    /// The tree whose `length` nodes begin at `from`.
    fn tree(
        &self,
        operation: &Operation<'_>,
        from: usize,
        length: usize,
        columns: &[Column],
        leaves: &Leaves,
        asked: &mut Asked,
    ) -> Result<Tree, Error> {
        let tree = self.trees.get(from).copied().unwrap_or_default();
        let ids = self.ids.iter().skip(from).take(length);
        let places: BTreeMap<i64, usize> = ids.copied().zip(0..).collect();
        let fault = |at: usize, problem: &str| {
            let id = self.ids.get(from + at).copied().unwrap_or_default();
            operation
                .fault(format!("tree {tree}, node {id} {problem}"), "trees whose nodes have one parent each")
        };
        if places.len() != length {
            return Err(fault(0, "and others have one id twice"));
        }
        let mut nodes = Vec::with_capacity(length);
        for at in 0..length {
            nodes.push(self.node(from + at, &places, columns, leaves, asked, |problem| fault(at, problem))?);
        }
        fill_means(&mut nodes);
        // A root is the first node of its tree, as onnxruntime takes it.
        lay_out(&nodes, 0, fault)
    }

    fn node(
        &self,
        at: usize,
        places: &BTreeMap<i64, usize>,
        columns: &[Column],
        leaves: &Leaves,
        asked: &mut Asked,
        fault: impl Fn(&str) -> Error,
    ) -> Result<ForeignNode, Error> {
        let integers = [self.trees, self.ids, self.features, self.when_true, self.when_false];
        let ([Some(tree), Some(id), Some(feature), Some(yes), Some(no)], Some(mode), Some(threshold)) = (
            integers.map(|array| array.get(at).copied()),
            self.modes.get(at),
            self.thresholds.get(at).copied(),
        ) else {
            return Err(fault("is not there"));
        };
        if *mode == "LEAF" {
            return Ok(ForeignNode::Leaf(leaves.values.get(&(tree, id)).copied().unwrap_or(0.0)));
        }
        let column = usize::try_from(feature).ok().and_then(|at| Some((at, columns.get(at)?)));
        let (place, column) = column.ok_or_else(|| fault("asks a column that is not there"))?;
        // An infinite one tells missing values from all others.
        if threshold.is_nan() {
            return Err(fault("has a threshold that is not a number"));
        }
        let tracked = self.tracks.get(at).is_some_and(|tracked| *tracked != 0);
        let input = asked.input(place).ok_or_else(too_many_inputs)?;
        let decision =
            decision(input, mode, threshold, tracked, column).ok_or_else(|| fault("has an unknown mode"))?;
        let child = |id: i64| places.get(&id).copied().ok_or_else(|| fault("has a child that is not there"));
        Ok(ForeignNode::Inner { value: 0.0, decision, left: child(yes)?, right: child(no)? })
    }
}

/// The decision of a node over values of the feature; true is left.
fn decision(input: u16, mode: &str, threshold: f32, tracked: bool, column: &Column) -> Option<Decision> {
    let (yes, no) = (Side::Left, Side::Right);
    let below = threshold.next_down();
    let (pieces, last): (Vec<(f32, Side)>, Side) = match mode {
        "BRANCH_LEQ" => (vec![(threshold, yes)], no),
        "BRANCH_LT" => (vec![(below, yes)], no),
        "BRANCH_GTE" => (vec![(below, no)], yes),
        "BRANCH_GT" => (vec![(threshold, no)], yes),
        "BRANCH_EQ" => (vec![(below, no), (threshold, yes)], no),
        "BRANCH_NEQ" => (vec![(below, yes), (threshold, no)], yes),
        _ => return None,
    };
    let missing = match column.when_missing() {
        Some(value) => pieces.iter().find(|(greatest, _)| value <= *greatest).map_or(last, |(_, side)| *side),
        None => Side::when_left(tracked || mode == "BRANCH_NEQ"),
    };
    if !column.falls() {
        let pieces: Vec<(f64, Side)> = pieces.iter().map(|(at, side)| (column.border(*at), *side)).collect();
        return Some(Decision::new(input, &pieces, last, missing));
    }
    // The order is turned round: what was above the last border comes first.
    let sides = pieces.iter().skip(1).map(|(_, side)| *side).chain([last]);
    let mut turned: Vec<(f64, Side)> =
        pieces.iter().zip(sides).map(|((at, _), side)| (column.border(*at), side)).collect();
    turned.reverse();
    Some(Decision::new(input, &turned, pieces.first().map_or(last, |(_, side)| *side), missing))
}

/// ONNX does not tell what the rows that come by an inner node add: half of each child's stands in for it.
fn fill_means(nodes: &mut [ForeignNode]) {
    // Children mostly stand behind their parents, so one pass from the end fills nearly all.
    for at in (0..nodes.len()).rev() {
        let Some(ForeignNode::Inner { left, right, .. }) = nodes.get(at) else { continue };
        let mean = |child: &usize| nodes.get(*child).map_or(0.0, ForeignNode::value);
        let filled = mean(left) / 2.0 + mean(right) / 2.0;
        if let Some(ForeignNode::Inner { value, .. }) = nodes.get_mut(at) {
            *value = filled;
        }
    }
}
