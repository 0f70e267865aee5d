//! What is done to a column before a model reads it, in `f32`.
//!
//! Not here: reading features; for trees these steps go into the thresholds, for linear models into mean and scale.

use super::super::numbers::greatest;
use super::proto::Operation;
use crate::Error;

/// A feature and its steps.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    pub(super) feature: String,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    /// What stands in for a missing value.
    Impute(f32),
    /// `(x - offset) * factor`.
    Scale { offset: f32, factor: f32 },
}

/// `(x - offset) * factor` of a whole column, and what stands in for a missing value, before that.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Affine {
    pub(super) offset: f64,
    pub(super) factor: f64,
    /// What a missing value ends up as, after all steps.
    pub(super) when_missing: Option<f64>,
}

impl Column {
    pub(super) const fn new(feature: String) -> Self {
        Self { feature, steps: Vec::new() }
    }

    /// What the model reads in the place of `value`; NaN stands for missing, before and after.
    fn read(&self, value: f32) -> f32 {
        self.steps.iter().fold(value, |value, step| match step {
            Step::Impute(stand_in) if value.is_nan() => *stand_in,
            Step::Impute(_) => value,
            Step::Scale { offset, factor } => (value - offset) * factor,
        })
    }

    /// What the model reads when the feature is missing; `None` when that is missing too.
    pub(super) fn when_missing(&self) -> Option<f32> {
        Some(self.read(f32::NAN)).filter(|value| !value.is_nan())
    }

    /// Whether a greater value is read as a lesser one.
    pub(super) fn falls(&self) -> bool {
        let factors =
            self.steps.iter().map(|step| if let Step::Scale { factor, .. } = step { *factor } else { 1.0 });
        factors.filter(|factor| *factor < 0.0).count() % 2 == 1
    }

    /// The greatest feature value that is read as at most `threshold`, or for a column that falls, as more.
    pub(super) fn border(&self, threshold: f32) -> f64 {
        // Features are rounded to `f32` first; rounding and every step keep the order or turn it round.
        greatest(|x| (self.read(x as f32) <= threshold) != self.falls())
    }

    pub(super) fn affine(&self) -> Affine {
        let (mut offset, mut factor) = (0.0, 1.0);
        for step in &self.steps {
            if let Step::Scale { offset: next_offset, factor: next_factor } = step {
                offset += f64::from(*next_offset) / factor;
                factor *= f64::from(*next_factor);
            }
        }
        Affine { offset, factor, when_missing: self.when_missing().map(f64::from) }
    }
}

/// The columns behind an `Imputer`.
pub(super) fn imputed(node: &Operation<'_>, columns: &[Column]) -> Result<Vec<Column>, Error> {
    let replaced = node.float("replaced_value_float").unwrap_or(0.0);
    if !replaced.is_nan() {
        let expected = "NaN: here nothing but a missing value is replaced";
        return Err(node.fault(format!("replaces {replaced}"), expected));
    }
    let stand_ins = per_column(node, "imputed_value_floats", columns.len())?;
    Ok(stepped(columns, stand_ins.into_iter().map(Step::Impute)))
}

/// The columns behind a `Scaler`.
pub(super) fn scaled(node: &Operation<'_>, columns: &[Column]) -> Result<Vec<Column>, Error> {
    let offsets = per_column(node, "offset", columns.len())?;
    let factors = per_column(node, "scale", columns.len())?;
    if let Some(factor) = factors.iter().find(|factor| !(1e-30..=1e30).contains(&factor.abs())) {
        return Err(
            node.fault(format!("`scale` has {factor:e}"), "factors of 1e-30 to 1e30 in absolute value")
        );
    }
    let steps = offsets.into_iter().zip(factors).map(|(offset, factor)| Step::Scale { offset, factor });
    Ok(stepped(columns, steps))
}

fn stepped(columns: &[Column], steps: impl Iterator<Item = Step>) -> Vec<Column> {
    let mut columns = columns.to_vec();
    columns.iter_mut().zip(steps).for_each(|(column, step)| column.steps.push(step));
    columns
}

/// One finite number per column; a single one is for all.
fn per_column(node: &Operation<'_>, name: &str, columns: usize) -> Result<Vec<f32>, Error> {
    let numbers = node.floats(name);
    if let Some(number) = numbers.iter().find(|number| !number.is_finite()) {
        return Err(node.fault(format!("`{name}` has {number}"), "finite numbers"));
    }
    match numbers {
        [one] => Ok(vec![*one; columns]),
        numbers if numbers.len() == columns => Ok(numbers.to_vec()),
        numbers => {
            Err(node.fault(format!("`{name}` has {} numbers", numbers.len()), &format!("1 or {columns}")))
        }
    }
}
