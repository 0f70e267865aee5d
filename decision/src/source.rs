//! What a policy is loaded from: the text that people wrote, and the models that its aliases name.
//!
//! Not here: reading files or the registry. The caller does both.

use std::sync::Arc;

use augur_domain::{FeatureSet, ModelRef};
use augur_models::Scorer;

/// A file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// As complaints should name it.
    pub name: String,
    /// Its whole text.
    pub text: String,
}

/// The two files that together say how decisions are made. They are loaded together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFiles {
    /// Decision points, models, actions and rules.
    pub policy: SourceFile,
    /// The features that the policy's expressions read.
    pub features: SourceFile,
}

/// Finds the model that an alias stands for at this moment.
pub trait ModelSource {
    /// The exact version behind `alias` of the model `name`, ready to score vectors of `features`.
    /// `None` while nothing is published under that alias: its score is then missing.
    ///
    /// # Errors
    /// One sentence for the author of the policy, e.g. that the model was trained on other features.
    fn scorer(
        &self,
        name: &str,
        alias: &str,
        features: &FeatureSet,
    ) -> Result<Option<(ModelRef, Arc<Scorer>)>, String>;
}
