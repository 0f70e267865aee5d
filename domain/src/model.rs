//! Which model, exactly.
//!
//! Not here: weights, scoring, training or the registry (`models`).

use std::sync::Arc;

use crate::ids::ContentHash;

/// An immutable model version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModelRef {
    /// The model's name, e.g. `churn`.
    pub name: Arc<str>,
    /// Counted from 1 within the name.
    pub version: u32,
    /// Hash of the artifact's bytes.
    pub artifact: ContentHash,
}
