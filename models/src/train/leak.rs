//! The screen for features that know the label: what ranks nearly as well alone as everything together, and without
//! which little is left, is more often the label in disguise than a discovery.
//!
//! A column is named when its ROC-AUC alone is at least 0.95; or when, of what a logistic regression on all columns ranks
//! better than chance, the column alone has three quarters and leaving it out takes a fifth away. The regressions are
//! judged on groups left out, on evenly spaced training rows; the three best columns are looked at. Not here: features
//! as of an instant, which keep the label's time out of them (`feature-store`).

use super::design::{Column, Design};
use super::logistic::{self, Penalty};
use super::{Options, Split, TrainingTable, folds};
use crate::Error;
use crate::metrics;

/// A column that ranks this well alone needs no comparison.
const SUSPICIOUS_AUC: f64 = 0.95;
/// Of what all columns together rank better than chance, the share that a suspect has alone.
const SHARE_ALONE: f64 = 0.75;
/// Of the same, the share that is lost without the suspect.
const SHARE_LOST: f64 = 0.20;
/// Columns worse than this alone are not worth a fit.
const LEAST_AUC: f64 = 0.65;
const MOST_SUSPECTS: usize = 3;
const MOST_ROWS: usize = 10_000;
const FOLDS: usize = 3;

/// A warning for every column that looks like the label.
pub(super) fn screen(
    table: &TrainingTable,
    design: &Design,
    options: &Options,
) -> Result<Vec<String>, Error> {
    let mut ranked: Vec<(f64, &Column)> =
        design.columns.iter().filter_map(|column| Some((column.auc_alone?, column))).collect();
    ranked.retain(|(alone, _)| *alone >= LEAST_AUC);
    ranked.sort_by(|left, right| right.0.total_cmp(&left.0));
    let reads = |column: &Column| {
        if options.label_readers.contains(&column.feature) { "; it reads the label's own event" } else { "" }
    };
    let certain = ranked.iter().filter(|(alone, _)| *alone >= SUSPICIOUS_AUC);
    let mut warnings: Vec<String> = certain
        .map(|(alone, column)| {
            format!(
                "feature `{}` alone has ROC-AUC {alone:.3}; check that it does not read the label's own event{}",
                column.feature,
                reads(column)
            )
        })
        .collect();
    ranked.retain(|(alone, _)| *alone < SUSPICIOUS_AUC);
    ranked.truncate(MOST_SUSPECTS);
    if ranked.is_empty() {
        return Ok(warnings);
    }
    let Some(comparison) = Comparison::new(table, design, options) else { return Ok(warnings) };
    let all = comparison.auc_without(None)?;
    for (alone, column) in ranked {
        if alone - 0.5 < SHARE_ALONE * (all - 0.5) {
            continue;
        }
        let without = comparison.auc_without(Some(&column.feature))?;
        if all - without >= SHARE_LOST * (all - 0.5) {
            warnings.push(format!(
                "feature `{}` may know the label: alone it has ROC-AUC {alone:.3}, all features together {all:.3}, \
                 without it {without:.3}; check that its value is known before the outcome{}",
                column.feature,
                reads(column)
            ));
        }
    }
    Ok(warnings)
}

/// Logistic regressions on the same rows and folds, with and without a column.
struct Comparison {
    design: Design,
    assigned: Vec<usize>,
    penalty: Penalty,
}

impl Comparison {
    /// `None` when there are too few groups for folds.
    fn new(table: &TrainingTable, design: &Design, options: &Options) -> Option<Self> {
        let rows = table.part(Split::Train).count();
        let stride = rows.div_ceil(MOST_ROWS).max(1);
        let groups: Vec<u64> = table.part(Split::Train).step_by(stride).map(|row| row.group).collect();
        let design = design.with_rows(table, stride);
        let assigned = folds::assign(&groups, &design.labels, FOLDS, options.seed)?;
        Some(Self { design, assigned, penalty: Penalty { alpha: 1.0, l1_ratio: 0.0, positive_weight: 1.0 } })
    }

    /// ROC-AUC of rows left out, by fits on all columns but one.
    fn auc_without(&self, feature: Option<&str>) -> Result<f64, Error> {
        let left_out = self.design.columns.iter().find(|column| Some(column.feature.as_str()) == feature);
        let held = left_out.map_or_else(Vec::new, Design::places);
        let start = logistic::zero(&self.design);
        let margins = folds::out_of_fold_margins(&self.design, &self.assigned, self.penalty, &start, &held)?;
        let pairs: Vec<(f64, bool)> = margins.into_iter().zip(self.design.labels.iter().copied()).collect();
        Ok(metrics::roc_auc(&pairs).unwrap_or(0.5))
    }
}
