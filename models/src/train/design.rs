//! From a table to the matrix that is fitted: transformed, imputed, standardised columns and indicators of what
//! is missing; and back, from the fitted coefficients to the inputs of an artifact.
//!
//! Standardisation uses the scorer's own arithmetic, so a training row and a served row give the same bits. Not
//! here: the fit.

use augur_domain::math;

use super::newton::Coefficients;
use super::table::{Split, TrainingTable};
use super::{Options, shape};
use crate::artifact::{Input, Transform};
use crate::metrics;
use crate::scorer::MAX_DEVIATIONS;

/// Rows of equal width, one after another.
#[derive(Clone)]
pub(super) struct Matrix {
    pub(super) width: usize,
    pub(super) values: Vec<f64>,
}

impl Matrix {
    pub(super) fn rows(&self) -> impl Iterator<Item = &[f64]> + Clone {
        self.values.chunks_exact(self.width.max(1))
    }
}

/// How one table column enters the matrix.
#[derive(Clone)]
pub(super) struct Column {
    pub(super) index: usize,
    pub(super) feature: String,
    pub(super) transform: Transform,
    /// Bounds of transformed values.
    pub(super) clip: Option<(f64, f64)>,
    pub(super) mean: f64,
    /// 1 when the values present never vary and only their absence is informative.
    pub(super) scale: f64,
    /// Where the value stands in a matrix row.
    value_at: Option<usize>,
    indicator: Option<Indicator>,
    pub(super) missing_share: f64,
    pub(super) auc_alone: Option<f64>,
}

/// The standardised 0/1 column that says that a value is missing.
#[derive(Clone)]
struct Indicator {
    at: usize,
    mean: f64,
    scale: f64,
}

/// The training part of a table, ready to be fitted.
#[derive(Clone)]
pub(super) struct Design {
    pub(super) matrix: Matrix,
    pub(super) labels: Vec<bool>,
    pub(super) columns: Vec<Column>,
    /// Columns that never vary, in value or in presence.
    pub(super) dropped: Vec<String>,
}

impl Design {
    /// The columns and the matrix.
    #[cfg(test)]
    pub(super) fn new(table: &TrainingTable, options: &Options) -> Self {
        Self::measure(table, options).with_rows(table, 1)
    }

    /// The columns as all rows have them, and the matrix and the labels of every so many-th row.
    pub(super) fn with_rows(&self, table: &TrainingTable, stride: usize) -> Self {
        let rows = || table.part(Split::Train).step_by(stride.max(1));
        let labels: Vec<bool> = rows().map(|row| row.label).collect();
        let width = self.matrix.width;
        let mut values = Vec::with_capacity(labels.len() * width);
        let mut transformed = Vec::with_capacity(self.columns.len());
        for row in rows() {
            let of_row = self.columns.iter().map(|column| row.value(column.index));
            transformed.clear();
            transformed.extend(of_row.clone().map(|value| value.unwrap_or(0.0)));
            // Rows are short, and columns are mostly transformed alike: runs of columns are.
            let mut rest = transformed.as_mut_slice();
            for run in self.columns.chunk_by(|left, right| left.transform == right.transform) {
                let (of_run, after) = rest.split_at_mut(run.len().min(rest.len()));
                run.iter().take(1).for_each(|first| first.transform.apply_to_all(of_run));
                rest = after;
            }
            for ((column, value), transformed) in self.columns.iter().zip(of_row).zip(&transformed) {
                column.write(value.map(|_| *transformed), &mut values);
            }
        }
        let matrix = Matrix { width, values };
        Self { matrix, labels, columns: self.columns.clone(), dropped: self.dropped.clone() }
    }

    /// The columns alone, and the width that a matrix would have.
    pub(super) fn measure(table: &TrainingTable, options: &Options) -> Self {
        let labels: Vec<bool> = table.part(Split::Train).map(|row| row.label).collect();
        let (mut columns, mut dropped) = (Vec::new(), Vec::new());
        let mut width = 0;
        for (index, feature) in table.columns().iter().enumerate() {
            match Column::measure(table, index, feature, options, width) {
                Some(column) => {
                    width += column.width();
                    columns.push(column);
                }
                None => dropped.push(feature.clone()),
            }
        }
        Self { matrix: Matrix { width, values: Vec::new() }, labels, columns, dropped }
    }

    /// Where the fit sets out from when an earlier model's weights are known: the same margins as its own wherever it
    /// reads the same columns in the same way, and nothing for what it does not read.
    pub(super) fn coefficients_of(&self, intercept: f64, inputs: &[Input]) -> Coefficients {
        let mut start = Coefficients { intercept, ..Coefficients::zero(self.matrix.width) };
        for column in &self.columns {
            let known =
                |input: &&Input| input.feature == column.feature && input.transform == column.transform;
            let Some(input) = inputs.iter().find(known) else { continue };
            let per_unit = input.weight / input.scale;
            if let Some(weight) = column.value_at.and_then(|at| start.weights.get_mut(at)) {
                *weight = per_unit * column.scale;
                start.intercept += per_unit * (column.mean - input.mean);
            }
            if let Some(indicator) = &column.indicator
                && let Some(weight) = start.weights.get_mut(indicator.at)
            {
                *weight = input.missing_weight * indicator.scale;
                start.intercept += input.missing_weight * indicator.mean;
            }
        }
        start
    }

    /// Places in the matrix that a column fills.
    pub(super) fn places(column: &Column) -> Vec<usize> {
        column.value_at.into_iter().chain(column.indicator.as_ref().map(|indicator| indicator.at)).collect()
    }

    /// The artifact's intercept and inputs for these coefficients of the matrix.
    pub(super) fn inputs(&self, coefficients: &Coefficients) -> (f64, Vec<Input>) {
        let mut intercept = coefficients.intercept;
        let mut inputs = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let weight_at = |at: usize| coefficients.weights.get(at).copied().unwrap_or(0.0);
            let mut missing_weight = 0.0;
            if let Some(indicator) = &column.indicator {
                // w * (missing - mean) / scale, with the part that does not depend on the row moved aside.
                missing_weight = weight_at(indicator.at) / indicator.scale;
                intercept -= missing_weight * indicator.mean;
            }
            inputs.push(Input {
                feature: column.feature.clone(),
                transform: column.transform,
                mean: column.mean,
                scale: column.scale,
                weight: column.value_at.map_or(0.0, weight_at),
                imputation: column.mean,
                clip: column.clip,
                missing_weight,
                definition: None,
            });
        }
        (intercept, inputs)
    }
}

impl Column {
    /// Measures column `index` over the training rows; its first matrix place is `at`. `None` if it never varies.
    fn measure(
        table: &TrainingTable,
        index: usize,
        feature: &str,
        options: &Options,
        at: usize,
    ) -> Option<Self> {
        let mut rows = 0_usize;
        let mut present: Vec<(f64, bool)> = Vec::new();
        for row in table.part(Split::Train) {
            rows += 1;
            present.extend(row.value(index).map(|value| (value, row.label)));
        }
        let transform = options.transform_of(feature).unwrap_or_else(|| shape::transform(&present));
        let mut transformed: Vec<f64> = present.iter().map(|(value, _)| *value).collect();
        transform.apply_to_all(&mut transformed);
        present.iter_mut().zip(transformed).for_each(|((value, _), transformed)| *value = transformed);
        let auc_alone = metrics::roc_auc(&present).map(|auc| auc.max(1.0 - auc));
        let clip = shape::clip(&present, options.winsorise);
        if let Some((low, high)) = clip {
            present.iter_mut().for_each(|(value, _)| *value = value.clamp(low, high));
        }
        let moments = Moments::of(&present);
        let missing = rows - present.len();
        let missing_share = missing as f64 / rows.max(1) as f64;
        let varies = moments.scale > 0.0;
        let informative_absence = missing > 0 && !present.is_empty();
        if !varies && !informative_absence {
            return None;
        }
        let indicator = informative_absence.then(|| Indicator {
            at: at + usize::from(varies),
            mean: missing_share,
            scale: math::sqrt(missing_share * (1.0 - missing_share)),
        });
        Some(Self {
            index,
            feature: feature.to_owned(),
            transform,
            clip,
            mean: moments.mean,
            scale: if varies { moments.scale } else { 1.0 },
            value_at: varies.then_some(at),
            indicator,
            missing_share,
            auc_alone: auc_alone.filter(|_| varies),
        })
    }

    fn width(&self) -> usize {
        usize::from(self.value_at.is_some()) + usize::from(self.indicator.is_some())
    }

    /// Takes a value that is transformed already.
    fn write(&self, value: Option<f64>, out: &mut Vec<f64>) {
        if self.value_at.is_some() {
            let (low, high) = self.clip.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
            let transformed = value.map_or(self.mean, |value| value.clamp(low, high));
            let deviations = (transformed - self.mean) * (1.0 / self.scale);
            out.push(deviations.clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS));
        }
        if let Some(indicator) = &self.indicator {
            let missing = f64::from(u8::from(value.is_none()));
            out.push((missing - indicator.mean) / indicator.scale);
        }
    }
}

/// Mean and standard deviation; the deviation is 0 when the values do not vary beyond rounding.
struct Moments {
    mean: f64,
    scale: f64,
}

impl Moments {
    fn of(values: &[(f64, bool)]) -> Self {
        let count = values.len().max(1) as f64;
        // Dividing before adding keeps sums of the largest floats finite.
        let mean = values.iter().fold(0.0, |sum, (value, _)| sum + value / count);
        let widest = values.iter().fold(0.0_f64, |widest, (value, _)| widest.max((value - mean).abs()));
        if !(widest > 1e-10 * mean.abs() && (1e-150..=1e150).contains(&widest)) {
            return Self { mean, scale: 0.0 };
        }
        let squares = values.iter().fold(0.0, |sum, (value, _)| {
            let share = (value - mean) / widest;
            sum + share * share
        });
        Self { mean, scale: widest * math::sqrt(squares / count) }
    }
}
