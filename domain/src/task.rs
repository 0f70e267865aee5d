//! What a prediction task foretells: the word that declarations, artifacts and labels share.
//!
//! Not here: whole tasks (the feature store declares them), or what an artifact keeps of one (the models).

use serde::{Deserialize, Serialize};

/// What makes a label positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// The event comes within the horizon.
    Conversion,
    /// It does not.
    Churn,
}

impl TaskKind {
    /// The word used in declarations and parameters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Conversion => "conversion",
            Self::Churn => "churn",
        }
    }
}
