//! LightGBM text models: read line by line, and asked as `Tree::Decision` of LightGBM 4 asks them.
//!
//! The margin is LightGBM's raw score to the bit: leaves are summed in `f64` in the order of the trees. What the objective
//! and `average_output` do to it goes into the calibrator. Not here: laying trees out (`trees`).

mod sections;

use super::trees::{Decision, ForeignNode, Side, lay_out};
use super::{AskedColumns, ColumnNames, ForeignModel, too_many_inputs};
use crate::Error;
use crate::artifact::{Body, TreeInput};
use crate::calibrate::Calibrator;
use crate::trees::{Ensemble, Link, MAX_NODES, MAX_TREES, Tree};
use sections::{Line, Section, fault, sections};

pub(super) use sections::is_text_model;

/// Up to here LightGBM takes a number for zero, where zero counts as missing: the `f32` nearest to 1e-35.
const ZERO: f64 = 1e-35_f32 as f64;
/// Bits of `decision_type`.
const CATEGORICAL: i64 = 1;
const DEFAULT_LEFT: i64 = 2;
/// Most names that a model may list, asked or not.
const MAX_COLUMNS: usize = 1_000_000;
const BITS: usize = 32;
/// Longest set of categories, in words of 32.
const MAX_CATEGORY_WORDS: usize = 32_768;

/// What the head of the file says.
struct Head<'a> {
    version: &'a str,
    objective: &'a str,
    slope: f64,
    averaged: bool,
    names: Vec<&'a str>,
}

pub(super) fn read(bytes: &[u8], names: &ColumnNames) -> Result<ForeignModel, Error> {
    let sections = sections(bytes)?;
    let (first, rest) = sections
        .split_first()
        .ok_or_else(|| fault(1, "is the end".to_owned(), "`tree`, the first line of a LightGBM model"))?;
    let head = Head::read(first)?;
    if rest.is_empty() || rest.len() > MAX_TREES {
        return Err(fault(first.line, format!("there are {} trees", rest.len()), "1 to 5000 trees"));
    }
    let mut asked = AskedColumns::default();
    let trees = rest.iter().map(|section| tree(section, &head, &mut asked)).collect::<Result<Vec<_>, _>>()?;
    let inputs: Vec<TreeInput> = asked
        .columns
        .iter()
        .filter_map(|column| head.names.get(*column))
        .map(|name| TreeInput { feature: names.of(name), definition: None })
        .collect();
    if inputs.is_empty() {
        return Err(fault(
            first.line,
            "no tree asks any feature".to_owned(),
            "a model of at least one split",
        ));
    }
    let divisor = if head.averaged { trees.len() as f64 } else { 1.0 };
    let plain = !head.averaged && head.slope.to_bits() == 1.0_f64.to_bits();
    let details = vec![("version", head.version.to_owned()), ("objective", head.objective.to_owned())];
    Ok(ForeignModel {
        format: "lightgbm",
        details,
        body: Body::Trees { inputs, ensemble: Ensemble { base: 0.0, link: Link::Sum, trees } },
        calibrator: if plain {
            Calibrator::Identity
        } else {
            Calibrator::Platt { a: -head.slope / divisor, b: 0.0 }
        },
        notes: Vec::new(),
    })
}

impl<'a> Head<'a> {
    fn read(section: &Section<'a>) -> Result<Self, Error> {
        let version = section.required("version")?;
        if !["v2", "v3", "v4"].contains(&version.value) {
            let expected = "version v2, v3 or v4; save the model with a current LightGBM";
            return Err(fault(version.line, format!("version `{}`", version.value), expected));
        }
        for key in ["num_class", "num_tree_per_iteration"] {
            let classes = section.required(key)?;
            if classes.value != "1" {
                let found = format!("`{key}={}`", classes.value);
                let expected =
                    "1: a score is the probability of one class, so a model of several classes has none";
                return Err(fault(classes.line, found, expected));
            }
        }
        let objective = section.required("objective")?;
        let feature_names = section.required("feature_names")?;
        let names: Vec<&str> = feature_names.value.split(' ').filter(|name| !name.is_empty()).collect();
        let greatest = section.required("max_feature_idx")?.number::<usize>()?;
        if names.len() > MAX_COLUMNS || names.len() != greatest.saturating_add(1) {
            let found = format!("{} names", names.len());
            return Err(fault(
                feature_names.line,
                found,
                "one name per feature, `max_feature_idx` and one more",
            ));
        }
        Ok(Self {
            version: version.value,
            objective: objective.value,
            slope: slope(&objective)?,
            averaged: section.flag("average_output"),
            names,
        })
    }
}

/// What the raw score is multiplied with before the logistic function.
fn slope(objective: &Line<'_>) -> Result<f64, Error> {
    let mut words = objective.value.split(' ');
    let name = words.next().unwrap_or_default();
    match name {
        "binary" => {
            let sigmoid = words.find_map(|word| word.strip_prefix("sigmoid:")).unwrap_or("1");
            sigmoid.parse().ok().filter(|slope: &f64| *slope > 0.0 && *slope <= 1e6).ok_or_else(|| {
                fault(objective.line, format!("`sigmoid:{sigmoid}`"), "a number above 0, at most 1000000")
            })
        }
        "cross_entropy" | "xentropy" => Ok(1.0),
        _ => {
            let expected = "`binary` or `cross_entropy`: no other objective says how a score becomes the probability \
                            of one class";
            Err(fault(objective.line, format!("objective `{name}`"), expected))
        }
    }
}

/// The arrays of one tree, of one length each.
struct Arrays<'a> {
    section: &'a Section<'a>,
    features: Vec<usize>,
    thresholds: Vec<f64>,
    decisions: Vec<i64>,
    left: Vec<i64>,
    right: Vec<i64>,
    values: Vec<f64>,
    boundaries: Vec<usize>,
    categories: Vec<u32>,
}

fn tree(section: &Section<'_>, head: &Head<'_>, asked: &mut AskedColumns) -> Result<Tree, Error> {
    if let Some(linear) = section.optional("is_linear").filter(|line| line.value != "0") {
        let expected = "constant leaves; train without `linear_tree`";
        return Err(fault(linear.line, "a tree whose leaves are linear models".to_owned(), expected));
    }
    let leaf_count = section.required("num_leaves")?;
    let leaves = leaf_count.number::<usize>()?;
    if leaves == 0 || leaves > MAX_NODES / 2 + 1 {
        return Err(fault(leaf_count.line, format!("{leaves} leaves"), "1 to 32768 leaves"));
    }
    let leaf_values = section.numbers::<f64>("leaf_value", leaves)?;
    let mut nodes = Vec::with_capacity(2 * leaves);
    if leaves > 1 {
        let arrays = Arrays::read(section, leaves - 1)?;
        for at in 0..leaves - 1 {
            nodes.push(arrays.node(at, leaves, head, asked)?);
        }
    }
    nodes.extend(leaf_values.into_iter().map(ForeignNode::Leaf));
    lay_out(&nodes, 0, |at, problem| {
        let (kind, at) = if at < leaves - 1 { ("node", at) } else { ("leaf", at + 1 - leaves) };
        fault(section.line, format!("{kind} {at} {problem}"), "a tree: each node the child of one other")
    })
}

impl<'a> Arrays<'a> {
    fn read(section: &'a Section<'a>, inner: usize) -> Result<Self, Error> {
        let categorical = section.optional("num_cat").filter(|line| line.value != "0");
        let (boundaries, categories) = match categorical {
            None => (Vec::new(), Vec::new()),
            Some(line) => {
                let sets = line.number::<usize>()?;
                if sets > inner {
                    return Err(fault(line.line, format!("{sets} sets"), "at most one per split"));
                }
                let boundaries = section.numbers::<usize>("cat_boundaries", sets + 1)?;
                let words = boundaries.last().copied().unwrap_or(0);
                (boundaries, section.numbers::<u32>("cat_threshold", words)?)
            }
        };
        Ok(Self {
            section,
            features: section.numbers("split_feature", inner)?,
            thresholds: section.numbers("threshold", inner)?,
            decisions: section.numbers("decision_type", inner)?,
            left: section.numbers("left_child", inner)?,
            right: section.numbers("right_child", inner)?,
            values: section.numbers("internal_value", inner)?,
            boundaries,
            categories,
        })
    }

    fn node(
        &self,
        at: usize,
        leaves: usize,
        head: &Head<'_>,
        asked: &mut AskedColumns,
    ) -> Result<ForeignNode, Error> {
        let numbers = [&self.decisions, &self.left, &self.right].map(|array| array.get(at).copied());
        let ([Some(decision), Some(left), Some(right)], Some(feature), Some(threshold), Some(value)) =
            (numbers, self.features.get(at), self.thresholds.get(at), self.values.get(at))
        else {
            return Err(self.fault("split_feature", at, "no value", "as many as there are splits"));
        };
        if *feature >= head.names.len() {
            let found = format!("feature {feature}");
            return Err(self.fault("split_feature", at, &found, "a feature that has a name"));
        }
        let input = asked.input(*feature).ok_or_else(too_many_inputs)?;
        let decision = if decision & CATEGORICAL != 0 {
            self.by_category(input, *threshold, at)?
        } else {
            self.by_threshold(input, *threshold, decision, at)?
        };
        // Children below 0 are leaves, counted from -1 downwards.
        let child = |key: &'static str, child: i64| {
            let place = if child < 0 { (leaves - 1) as i64 - child - 1 } else { child };
            let place = usize::try_from(place).ok().filter(|place| *place < 2 * leaves - 1);
            place.ok_or_else(|| {
                self.fault(key, at, &format!("child {child}"), "a split or a leaf of this tree")
            })
        };
        let (left, right) = (child("left_child", left)?, child("right_child", right)?);
        Ok(ForeignNode::Inner { value: *value, decision, left, right })
    }

    fn by_threshold(&self, input: u16, threshold: f64, decision: i64, at: usize) -> Result<Decision, Error> {
        if !threshold.is_finite() {
            return Err(self.fault("threshold", at, &threshold.to_string(), "a finite number"));
        }
        let default = Side::when_left(decision & DEFAULT_LEFT != 0);
        let (left, right) = (Side::Left, Side::Right);
        match decision >> 2 & 3 {
            // Missing values are zeros.
            0 => Ok(Decision::new(input, &[(threshold, left)], right, Side::when_left(0.0 <= threshold))),
            // So are they here, and zeros go where training sent what is missing.
            1 => {
                let below = (-ZERO).next_down();
                let pieces = [
                    (threshold.min(below), left),
                    (below, right),
                    (ZERO, default),
                    (threshold.max(ZERO), left),
                ];
                Ok(Decision::new(input, &pieces, right, default))
            }
            2 => Ok(Decision::new(input, &[(threshold, left)], right, default)),
            other => {
                let found = format!("missing type {other}");
                Err(self.fault("decision_type", at, &found, "missing type 0 (none), 1 (zero) or 2 (NaN)"))
            }
        }
    }

    /// Numbers are cut to integers towards 0; those below 0, those not in the set and missing ones go to the right.
    fn by_category(&self, input: u16, set: f64, at: usize) -> Result<Decision, Error> {
        let expected = "the number of a set of at most 1048576 categories";
        let fault = || self.fault("threshold", at, &set.to_string(), expected);
        let index =
            Some(set).filter(|set| set.fract() == 0.0 && (0.0..1e9).contains(set)).ok_or_else(fault)?;
        let bounds = (self.boundaries.get(index as usize), self.boundaries.get(index as usize + 1));
        let (Some(from), Some(to)) = bounds else { return Err(fault()) };
        let words = self
            .categories
            .get(*from..*to)
            .filter(|words| words.len() <= MAX_CATEGORY_WORDS)
            .ok_or_else(fault)?;
        let mut pieces = vec![(-1.0, Side::Right)];
        for (word, place) in words.iter().zip(0_usize..) {
            for bit in 0..BITS {
                let above = (place * BITS + bit + 1) as f64;
                let side = Side::when_left(word >> bit & 1 == 1);
                match pieces.last_mut() {
                    // Runs of one side are one piece.
                    Some(last) if last.1 == side && last.0 >= 0.0 => last.0 = above.next_down(),
                    _ => pieces.push((above.next_down(), side)),
                }
            }
        }
        Ok(Decision::new(input, &pieces, Side::Right, Side::Right))
    }

    fn fault(&self, key: &'static str, at: usize, found: &str, expected: &str) -> Error {
        let line = self.section.optional(key).map_or(self.section.line, |line| line.line);
        fault(line, format!("`{key}` of split {at} is {found}"), expected)
    }
}
