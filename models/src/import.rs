//! Models of other libraries, turned into bodies of our own artifact so that one scorer serves them all.
//!
//! LightGBM text models score to the same margin bits as LightGBM itself. ONNX models of `ai.onnx.ml` trees and linear
//! models take the same way through every tree, as their inputs are rounded to `f32` in the thresholds; sums are kept in
//! `f64`, where onnxruntime sums in `f32`. Not here: which features are served, publishing, or any other operator.

mod lightgbm;
mod numbers;
mod onnx;
mod trees;

use std::collections::BTreeMap;

use crate::Error;
use crate::artifact::{Body, MAX_INPUTS};
use crate::calibrate::Calibrator;

/// Largest model file that is read, in bytes.
pub const MAX_IMPORT_BYTES: usize = 64 * 1024 * 1024;

/// How the columns of a foreign model are called in the served feature set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ColumnNames {
    /// Names in the order of the columns, for models that have none of their own; empty when they have.
    pub order: Vec<String>,
    /// From the model's name to the feature's; columns that are not mentioned keep theirs.
    pub rename: BTreeMap<String, String>,
}

/// A model of another library, read whole.
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignModel {
    /// `lightgbm` or `onnx`.
    pub format: &'static str,
    /// What the file says of itself, e.g. its version and objective.
    pub details: Vec<(&'static str, String)>,
    /// Inputs and weights or trees.
    pub body: Body,
    /// From the margin to the probability that the library gives.
    pub calibrator: Calibrator,
    /// What a person should know before trusting it, a sentence each.
    pub notes: Vec<String>,
}

/// Reads a LightGBM text model or an ONNX model, told apart by their first bytes.
///
/// # Errors
/// [`Error::Foreign`] with the line or node when the file is damaged or holds what cannot be scored as its library does;
/// [`Error::TooLarge`] over [`MAX_IMPORT_BYTES`] or the bounds of our own trees.
pub fn read(bytes: &[u8], names: &ColumnNames) -> Result<ForeignModel, Error> {
    if bytes.len() > MAX_IMPORT_BYTES {
        let (found, limit) = (bytes.len() as u64, MAX_IMPORT_BYTES as u64);
        return Err(Error::TooLarge { what: "model file in bytes", found, limit });
    }
    let model = if lightgbm::is_text_model(bytes) {
        lightgbm::read(bytes, names)?
    } else {
        onnx::read(bytes, names)?
    };
    model.body.validate()?;
    model.calibrator.validate()?;
    Ok(model)
}

impl ColumnNames {
    /// What the column is called among the served features.
    fn of(&self, own: &str) -> String {
        self.rename.get(own).cloned().unwrap_or_else(|| own.to_owned())
    }
}

/// The columns that a model really asks, in the order in which they are met: the others need not be served.
#[derive(Debug, Default)]
struct AskedColumns {
    places: BTreeMap<usize, u16>,
    columns: Vec<usize>,
}

impl AskedColumns {
    /// The input that column `column` becomes; `None` when there are too many.
    fn input(&mut self, column: usize) -> Option<u16> {
        if let Some(place) = self.places.get(&column) {
            return Some(*place);
        }
        let place =
            u16::try_from(self.columns.len()).ok().filter(|place| usize::from(*place) < MAX_INPUTS)?;
        self.places.insert(column, place);
        self.columns.push(column);
        Some(place)
    }
}

fn too_many_inputs() -> Error {
    Error::TooLarge {
        what: "columns that the model asks",
        found: MAX_INPUTS as u64 + 1,
        limit: MAX_INPUTS as u64,
    }
}

#[cfg(test)]
mod tests;
