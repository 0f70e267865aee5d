//! The families of models, each fitted with margins for rows that the fit has not seen; and the choice among them.
//!
//! Not here: the learners themselves (`logistic`, `trees`), calibration and the report (`assess`).

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::design::Design;
use super::newton::Coefficients;
use super::report::Convergence;
use super::table::{Split, StoredRow, TrainingTable};
use super::trees::{self, Binned, Rows};
use super::{Options, folds, ftrl, logistic, search};
use crate::Error;
use crate::artifact::{Body, Input, TreeInput};
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
    /// Logistic regression learned row by row, in the order of time; it can go on from an earlier model.
    Ftrl,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 5] = [Self::Logistic, Self::Tree, Self::Forest, Self::Boosted, Self::Ftrl];

    /// The word used in reports and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logistic => "logistic",
            Self::Tree => "tree",
            Self::Forest => "forest",
            Self::Boosted => "boosted",
            Self::Ftrl => "ftrl",
        }
    }
}

/// A family that was tried with some settings, and how good it was on rows left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Considered {
    /// Which.
    pub family: Family,
    /// What was set otherwise than by the options, in words; empty for the options as they were.
    #[serde(default)]
    pub settings: String,
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
    /// All that was tried, in its order; empty when nothing was to be chosen.
    pub(super) considered: Vec<Considered>,
    /// What a later training can go on from.
    pub(super) online: Option<ftrl::State>,
    /// The options with the settings that were chosen.
    pub(super) options: Options,
}

/// What every fit is made on.
struct Data<'a> {
    table: &'a TrainingTable,
    labels: &'a [bool],
    /// The columns as `measured_by` has them.
    design: &'a Design,
    measured_by: &'a Options,
    folds: Option<Vec<usize>>,
    /// Cut once, for all trees.
    binned: OnceCell<Binned>,
}

impl Data<'_> {
    /// The columns as these options have them.
    fn design_of(&self, options: &Options) -> Cow<'_, Design> {
        if options.measures_like(self.measured_by) {
            Cow::Borrowed(self.design)
        } else {
            Cow::Owned(Design::measure(self.table, options))
        }
    }
}

/// The best of what was tried so far.
struct Best {
    log_loss: f64,
    learned: Learned,
}

/// Fits the family asked for, or every one and takes that with the least log loss on rows left out; with the settings
/// that the options ask to be looked for.
pub(super) fn learn(
    table: &TrainingTable,
    design: &Design,
    options: &Options,
    progress: &mut dyn FnMut(&str),
) -> Result<Learned, Error> {
    let groups: Vec<u64> = table.part(Split::Train).map(|row| row.group).collect();
    let folds = folds::assign(&groups, &design.labels, options.folds, options.seed);
    let (labels, binned) = (&design.labels, OnceCell::new());
    let data = Data { table, labels, design, measured_by: options, folds, binned };
    let families = match &options.family {
        Some(family) => std::slice::from_ref(family),
        None => &[Family::Logistic, Family::Forest, Family::Boosted],
    };
    let mut considered = Vec::new();
    let mut best: Option<Best> = None;
    for family in families {
        let found = searched(*family, &data, options, &mut considered, progress)?;
        if best.as_ref().is_none_or(|best| found.log_loss < best.log_loss) {
            best = Some(found);
        }
    }
    let mut learned = best.ok_or(Error::NothingToLearn { columns: table.columns().len() })?.learned;
    if considered.len() > 1 {
        learned.considered = considered;
    }
    Ok(learned)
}

/// The family with the best settings found, each kind of setting from where the last one left off.
fn searched(
    family: Family,
    data: &Data<'_>,
    options: &Options,
    considered: &mut Vec<Considered>,
    progress: &mut dyn FnMut(&str),
) -> Result<Best, Error> {
    let mut attempt = |settings: String, options: &Options| -> Result<Best, Error> {
        let told = if settings.is_empty() { String::new() } else { format!(" with {settings}") };
        let learned = one(family, data, options, &mut |step| progress(&format!("{step}{told}")))?;
        let quality = quality(&learned, settings);
        // Without folds nothing can be compared, and what comes first stays.
        let log_loss = quality.log_loss.unwrap_or(f64::INFINITY);
        considered.push(quality);
        Ok(Best { log_loss, learned })
    };
    let mut best = attempt(String::new(), options)?;
    let mut chosen = String::new();
    if data.folds.is_none() {
        return Ok(best);
    }
    for kind in search::kinds(options.search, family) {
        let (from, before) = (best.learned.options.clone(), chosen.clone());
        for setting in kind {
            let Some(changed) = setting.applied(family, &from) else { continue };
            let settings =
                if before.is_empty() { setting.to_string() } else { format!("{before}, {setting}") };
            let found = attempt(settings.clone(), &changed)?;
            if found.log_loss < best.log_loss {
                (best, chosen) = (found, settings);
            }
        }
    }
    Ok(best)
}

fn quality(learned: &Learned, settings: String) -> Considered {
    let calibrator = calibrate::platt(&learned.out_of_fold).unwrap_or(Calibrator::Identity);
    let pairs: Vec<(f64, bool)> =
        learned.out_of_fold.iter().map(|(margin, label)| (calibrator.probability(*margin), *label)).collect();
    Considered {
        family: learned.family,
        settings,
        log_loss: metrics::log_loss(&pairs, LOG_LOSS_CLIP),
        roc_auc: metrics::roc_auc(&pairs),
    }
}

fn one(
    family: Family,
    data: &Data<'_>,
    options: &Options,
    progress: &mut dyn FnMut(&str),
) -> Result<Learned, Error> {
    progress(&format!("{}: fitting", family.as_str()));
    match family {
        Family::Logistic => return linear(data, options, progress),
        Family::Ftrl => return online(data, options),
        Family::Tree | Family::Forest | Family::Boosted => {}
    }
    let rows: Vec<StoredRow<'_>> = data.table.part(Split::Train).collect();
    let positive_weight = options.positive_weight.of(data.labels);
    let weights: Vec<f64> = rows.iter().map(|row| if row.label { positive_weight } else { 1.0 }).collect();
    let binned = data.binned.get_or_init(|| Binned::new(data.table));
    let of_rows = Rows { binned, rows: &rows, weights: &weights, folds: data.folds.as_deref() };
    let (ensemble, margins) = match family {
        Family::Tree => trees::single_tree(&of_rows, &options.tree, options.seed),
        Family::Forest => trees::forest(&of_rows, &options.forest, options.seed, &mut |done| {
            progress(&format!("forest: {done} of {} trees", options.forest.trees));
        }),
        Family::Boosted | Family::Logistic | Family::Ftrl => {
            trees::boost(&of_rows, &options.boosting, options.seed, &mut |round, loss| {
                let loss =
                    loss.map_or_else(String::new, |loss| format!(", log loss of rows left out {loss:.5}"));
                progress(&format!("boosted: round {round}{loss}"));
            })
        }
    };
    let trees = Some(ensemble.trees.len());
    let body = compact(ensemble, data.table, options);
    let out_of_fold = margins.into_iter().zip(data.labels.iter().copied()).collect();
    let options = options.clone();
    Ok(Learned {
        family,
        body,
        out_of_fold,
        convergence: None,
        trees,
        considered: Vec::new(),
        online: None,
        options,
    })
}

fn linear(data: &Data<'_>, options: &Options, progress: &mut dyn FnMut(&str)) -> Result<Learned, Error> {
    let design = data.design_of(options).with_rows(data.table, 1);
    let penalty = logistic::Penalty {
        alpha: options.alpha,
        l1_ratio: options.l1_ratio,
        positive_weight: options.positive_weight.of(data.labels),
    };
    let earlier = options.warm_start.as_ref().and_then(|artifact| artifact.content().body.linear());
    let start = earlier.map(|(intercept, inputs)| design.coefficients_of(intercept, inputs));
    progress("logistic: searching the optimum");
    let (coefficients, convergence) = logistic::fit(&design, penalty, start)?;
    let margins = match &data.folds {
        Some(assigned) => {
            progress("logistic: fitting folds");
            folds::out_of_fold_margins(&design, assigned, penalty, &coefficients, &[])?
        }
        None => Vec::new(),
    };
    let (intercept, inputs) = design.inputs(&coefficients);
    Ok(Learned {
        family: Family::Logistic,
        body: Body::Linear { intercept, inputs: with_definitions(inputs, options) },
        out_of_fold: margins.into_iter().zip(data.labels.iter().copied()).collect(),
        convergence: Some(convergence),
        trees: None,
        considered: Vec::new(),
        online: None,
        options: options.clone(),
    })
}

/// One pass over the rows. Each margin is told before its row is learned from, so that calibration sees no row twice.
fn online(data: &Data<'_>, options: &Options) -> Result<Learned, Error> {
    let earlier = match &options.warm_start {
        Some(artifact) => ftrl::Learner::resume(artifact, options.online, data.labels.len() as u64)?,
        None => None,
    };
    let mut learner = earlier.unwrap_or_else(|| {
        let design = data.design_of(options);
        let (_, inputs) = design.inputs(&Coefficients::zero(design.matrix.width));
        ftrl::Learner::new(inputs, options.online)
    });
    let margins = learner.learn(data.table, options.positive_weight.of(data.labels))?;
    let (intercept, inputs) = learner.model();
    Ok(Learned {
        family: Family::Ftrl,
        body: Body::Linear { intercept, inputs: with_definitions(inputs, options) },
        out_of_fold: margins.into_iter().zip(data.labels.iter().copied()).collect(),
        convergence: None,
        trees: None,
        considered: Vec::new(),
        online: Some(learner.state()),
        options: options.clone(),
    })
}

fn with_definitions(mut inputs: Vec<Input>, options: &Options) -> Vec<Input> {
    let definitions = options.definitions_of(inputs.iter().map(|input| input.feature.as_str()));
    for (input, definition) in inputs.iter_mut().zip(definitions) {
        input.definition = definition;
    }
    inputs
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
