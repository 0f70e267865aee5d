//! The families of models, each fitted with margins for rows that the fit has not seen; and the choice among them.
//!
//! Not here: the learners themselves (`logistic`, `trees`), calibration and the report (`assess`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::design::Design;
use super::report::Convergence;
use super::table::{Split, StoredRow, TrainingTable};
use super::trees::{self, Binned, Rows};
use super::{Options, folds, logistic};
use crate::Error;
use crate::artifact::{Body, TreeInput};
use crate::calibrate::{self, Calibrator};
use crate::metrics::{self, LOG_LOSS_CLIP};
use crate::trees::Ensemble;

/// A kind of model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// L2-penalised logistic regression on transformed, standardised values.
    Logistic,
    /// One decision tree.
    Tree,
    /// A random forest, whose leaves hold probabilities.
    Forest,
    /// Gradient-boosted trees.
    Boosted,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 4] = [Self::Logistic, Self::Tree, Self::Forest, Self::Boosted];

    /// The word used in reports and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logistic => "logistic",
            Self::Tree => "tree",
            Self::Forest => "forest",
            Self::Boosted => "boosted",
        }
    }
}

/// A family that was tried, and how good it was on rows left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Considered {
    /// Which.
    pub family: Family,
    /// Log loss of rows that the fit had not seen, after Platt's calibration on them; absent without folds.
    pub log_loss: Option<f64>,
    /// ROC-AUC of the same rows.
    pub roc_auc: Option<f64>,
}

/// A fitted body with everything that calibration and report need.
pub(super) struct Learned {
    pub(super) family: Family,
    pub(super) body: Body,
    /// Margin and label of every training row by a fit that has not seen its person; empty without folds.
    pub(super) out_of_fold: Vec<(f64, bool)>,
    pub(super) convergence: Option<Convergence>,
    pub(super) trees: Option<usize>,
    /// Every family that was tried, in their order; empty when one was asked for.
    pub(super) considered: Vec<Considered>,
}

/// Fits the family asked for, or every one and takes that with the least log loss on rows left out.
pub(super) fn learn(
    table: &TrainingTable,
    design: &Design,
    options: &Options,
    progress: &mut dyn FnMut(&str),
) -> Result<Learned, Error> {
    let folds = {
        let groups: Vec<u64> = table.part(Split::Train).map(|row| row.group).collect();
        folds::assign(&groups, &design.labels, options.folds, options.seed)
    };
    let mut fit = |family| {
        progress(&format!("{}: fitting", Family::as_str(family)));
        one(family, table, design, folds.as_deref(), options, progress)
    };
    if let Some(family) = options.family {
        return fit(family);
    }
    let mut considered = Vec::new();
    let mut best: Option<(f64, Learned)> = None;
    for family in [Family::Logistic, Family::Forest, Family::Boosted] {
        let learned = fit(family)?;
        let quality = quality(&learned);
        // Without folds nothing can be compared, and the simplest stays.
        let log_loss = quality.log_loss.unwrap_or(f64::INFINITY);
        considered.push(quality);
        if best.as_ref().is_none_or(|(least, _)| log_loss < *least) {
            best = Some((log_loss, learned));
        }
    }
    let (_, mut learned) = best.ok_or(Error::NothingToLearn { columns: table.columns().len() })?;
    learned.considered = considered;
    Ok(learned)
}

fn quality(learned: &Learned) -> Considered {
    let calibrator = calibrate::platt(&learned.out_of_fold).unwrap_or(Calibrator::Identity);
    let pairs: Vec<(f64, bool)> =
        learned.out_of_fold.iter().map(|(margin, label)| (calibrator.probability(*margin), *label)).collect();
    Considered {
        family: learned.family,
        log_loss: metrics::log_loss(&pairs, LOG_LOSS_CLIP),
        roc_auc: metrics::roc_auc(&pairs),
    }
}

fn one(
    family: Family,
    table: &TrainingTable,
    design: &Design,
    folds: Option<&[usize]>,
    options: &Options,
    progress: &mut dyn FnMut(&str),
) -> Result<Learned, Error> {
    if family == Family::Logistic {
        return linear(design, folds, options);
    }
    let rows: Vec<StoredRow<'_>> = table.part(Split::Train).collect();
    let weights: Vec<f64> =
        rows.iter().map(|row| if row.label { options.positive_weight } else { 1.0 }).collect();
    let binned = Binned::new(table);
    let data = Rows { binned: &binned, rows: &rows, weights: &weights, folds };
    let (ensemble, margins) = match family {
        Family::Tree => trees::single_tree(&data, &options.tree, options.seed),
        Family::Forest => trees::forest(&data, &options.forest, options.seed, &mut |done| {
            progress(&format!("forest: {done} of {} trees", options.forest.trees));
        }),
        Family::Boosted | Family::Logistic => {
            trees::boost(&data, &options.boosting, options.seed, &mut |round, loss| {
                let loss =
                    loss.map_or_else(String::new, |loss| format!(", log loss of rows left out {loss:.5}"));
                progress(&format!("boosted: round {round}{loss}"));
            })
        }
    };
    let trees = Some(ensemble.trees.len());
    let body = compact(ensemble, table, options);
    let out_of_fold = margins.into_iter().zip(design.labels.iter().copied()).collect();
    Ok(Learned { family, body, out_of_fold, convergence: None, trees, considered: Vec::new() })
}

fn linear(design: &Design, folds: Option<&[usize]>, options: &Options) -> Result<Learned, Error> {
    let penalty = logistic::Penalty { alpha: options.alpha, positive_weight: options.positive_weight };
    let (coefficients, convergence) = logistic::fit(design, penalty)?;
    let margins = match folds {
        Some(assigned) => folds::out_of_fold_margins(design, assigned, penalty, &coefficients)?,
        None => Vec::new(),
    };
    let (intercept, mut inputs) = design.inputs(&coefficients);
    let definitions = options.definitions_of(inputs.iter().map(|input| input.feature.as_str()));
    for (input, definition) in inputs.iter_mut().zip(definitions) {
        input.definition = definition;
    }
    Ok(Learned {
        family: Family::Logistic,
        body: Body::Linear { intercept, inputs },
        out_of_fold: margins.into_iter().zip(design.labels.iter().copied()).collect(),
        convergence: Some(convergence),
        trees: None,
        considered: Vec::new(),
    })
}

/// Leaves out the columns that no split asks, and counts the others anew.
fn compact(mut ensemble: Ensemble, table: &TrainingTable, options: &Options) -> Body {
    let mut places: BTreeMap<u16, u16> = BTreeMap::new();
    let splits = ensemble.trees.iter().flat_map(|tree| &tree.nodes).filter_map(|node| node.split);
    for split in splits {
        places.insert(split.input, 0);
    }
    // A constant model reads nothing, yet has to name what it could have read.
    if places.is_empty() {
        places.insert(0, 0);
    }
    for (place, to) in places.values_mut().enumerate() {
        *to = place as u16;
    }
    for node in ensemble.trees.iter_mut().flat_map(|tree| &mut tree.nodes) {
        if let Some(split) = &mut node.split {
            split.input = places.get(&split.input).copied().unwrap_or(0);
        }
    }
    let names: Vec<&String> =
        places.keys().filter_map(|column| table.columns().get(usize::from(*column))).collect();
    let definitions = options.definitions_of(names.iter().map(|name| name.as_str()));
    let inputs = names.into_iter().zip(definitions);
    let inputs = inputs.map(|(name, definition)| TreeInput { feature: name.clone(), definition }).collect();
    Body::Trees { inputs, ensemble }
}
