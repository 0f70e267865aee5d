//! What a policy is loaded from: the text that people wrote, and the models that its aliases name.
//!
//! Not here: reading files or the registry. The caller does both.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use augur_domain::{ContentHash, FeatureSet, ModelRef};
use augur_models::Scorer;
use augur_models::scorer::Kind;

/// A file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// As complaints should name it.
    pub name: String,
    /// Its whole text.
    pub text: String,
}

/// A policy with the files that it names, such as decision tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySource {
    /// `policy.toml`.
    pub policy: SourceFile,
    /// The files beside it, by the name that the policy uses.
    pub files: BTreeMap<String, SourceFile>,
}

impl PolicySource {
    /// `policy` with every file that it names and `read` finds. One that is not found is a fault of the policy, told when
    /// it is loaded.
    ///
    /// # Errors
    /// The first of `read`, which gets a plain file name.
    pub fn gather<E>(
        policy: SourceFile,
        mut read: impl FnMut(&str) -> Result<Option<SourceFile>, E>,
    ) -> Result<Self, E> {
        let mut files = BTreeMap::new();
        for name in crate::file::named_files(&policy.text) {
            if let Some(file) = read(&name)? {
                files.insert(name, file);
            }
        }
        Ok(Self { policy, files })
    }

    /// The hash of everything that people wrote, without the feature definitions, which change on their own.
    pub fn text_hash(&self) -> ContentHash {
        let mut parts: Vec<&[u8]> = vec![self.policy.text.as_bytes()];
        for (name, file) in &self.files {
            parts.extend([name.as_bytes(), file.text.as_bytes()]);
        }
        ContentHash::of(&parts)
    }
}

impl From<SourceFile> for PolicySource {
    fn from(policy: SourceFile) -> Self {
        Self { policy, files: BTreeMap::new() }
    }
}

/// What a policy is loaded from, borrowed: a policy that names no file can be given as its text alone.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    pub(crate) policy: &'a SourceFile,
    pub(crate) files: Option<&'a BTreeMap<String, SourceFile>>,
}

impl<'a> Sources<'a> {
    /// The file that the policy calls `name`.
    pub(crate) fn file(self, name: &str) -> Option<&'a SourceFile> {
        self.files.and_then(|files| files.get(name))
    }
}

impl<'a> From<&'a SourceFile> for Sources<'a> {
    fn from(policy: &'a SourceFile) -> Self {
        Self { policy, files: None }
    }
}

impl<'a> From<&'a PolicySource> for Sources<'a> {
    fn from(source: &'a PolicySource) -> Self {
        Self { policy: &source.policy, files: Some(&source.files) }
    }
}

/// What is archived beside a policy's `features.toml`: which feature set that text made when the policy decided.
///
/// A later release may give the same text another hash, because it reckons a feature differently. Decisions were made
/// from logged values, so they can be made again all the same; without this their policy's id could not be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefinitionsSeal {
    /// The feature set's hash then.
    pub feature_set: ContentHash,
    /// The hash of the archived text, so that a changed one is not taken for it.
    pub features_text: ContentHash,
}

impl DefinitionsSeal {
    /// The file's name in a policy's archive.
    pub const FILE: &str = "definitions.seal";

    /// The seal of `features_text`, which made the set `feature_set`.
    pub fn new(feature_set: ContentHash, features_text: &str) -> Self {
        Self { feature_set, features_text: ContentHash::of(&[features_text.as_bytes()]) }
    }

    /// Whether `features_text` is the text that was archived.
    pub fn covers(&self, features_text: &str) -> bool {
        *self == Self::new(self.feature_set, features_text)
    }

    /// Reads what [`Display`](fmt::Display) wrote; `None` if that is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let (first, second) = text.strip_suffix('\n')?.split_once('\n')?;
        Some(Self {
            feature_set: first.strip_prefix("feature_set ")?.parse().ok()?,
            features_text: second.strip_prefix("features.toml ")?.parse().ok()?,
        })
    }
}

impl fmt::Display for DefinitionsSeal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "feature_set {}\nfeatures.toml {}", self.feature_set, self.features_text)
    }
}

/// Finds the model that an alias stands for at this moment.
pub trait ModelSource {
    /// The exact version behind `alias` of the model `name`, ready to be asked for `kind` with vectors of `features`.
    /// `None` while nothing is published under that alias: its score, or segment, is then missing.
    ///
    /// # Errors
    /// One sentence for the author of the policy, e.g. that the model was trained on other features, or gives segments
    /// where a probability is wanted.
    fn scorer(
        &self,
        name: &str,
        alias: &str,
        kind: Kind,
        features: &FeatureSet,
    ) -> Result<Option<(ModelRef, Arc<Scorer>)>, String>;

    /// The version that `alias` pointed at before the present one: of those that can be asked, the latest. A policy asks
    /// where a fallback ladder may need it; without one, that step is passed over.
    fn previous(
        &self,
        _name: &str,
        _alias: &str,
        _kind: Kind,
        _features: &FeatureSet,
    ) -> Option<(ModelRef, Arc<Scorer>)> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_is_read_as_it_was_written() {
        let seal = DefinitionsSeal::new(ContentHash::from_bytes([7; 32]), "version = 1");
        let text = seal.to_string();
        assert_eq!(DefinitionsSeal::parse(&text), Some(seal));
        assert!(seal.covers("version = 1") && !seal.covers("version = 2"));
        for bad in ["", "feature_set", &text[1..], text.trim_end(), &text.replace("07", "zz")] {
            assert_eq!(DefinitionsSeal::parse(bad), None, "{bad}");
        }
    }
}
