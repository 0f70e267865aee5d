//! Where the policy that decided is found again.
//!
//! Not here: caching (`check`), or loading a policy for serving (`server`).

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;

use augur_decision::{
    DefinitionsSeal, ENGINE_VERSION, ModelSource, PREVIOUS, PolicySnapshot, PolicySource, SourceFile,
};
use augur_domain::{ContentHash, Diagnostic, FeatureSet, ModelRef};
use augur_feature_store::FeatureSchema;
use augur_models::scorer::Kind;
use augur_models::{Registry, Scorer};

/// Gives back the policy that decided, with the very models that stood behind its aliases then.
pub trait SnapshotSource: Sync {
    /// The policy `policy` with `models` behind its aliases; aliases that are not listed had none.
    ///
    /// # Errors
    /// What is missing, or no longer what it was.
    fn snapshot(
        &self,
        policy: ContentHash,
        models: &[(Arc<str>, ModelRef)],
    ) -> Result<PolicySnapshot, Missing>;
}

/// Something that a replay needs and does not have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Missing {
    /// A policy.
    #[error("policy {id} cannot be used: {reason}")]
    Policy {
        /// Its id in the log.
        id: ContentHash,
        /// Why not.
        reason: String,
    },
    /// A model.
    #[error("model `{name}` version {version} ({artifact}) cannot be used: {reason}")]
    Model {
        /// Its name in the registry.
        name: String,
        /// Its version.
        version: u32,
        /// The hash of its artifact.
        artifact: ContentHash,
        /// Why not.
        reason: String,
    },
}

impl Missing {
    fn policy(id: ContentHash, reason: impl Into<String>) -> Self {
        Self::Policy { id, reason: reason.into() }
    }

    fn model(model: &ModelRef, reason: impl Into<String>) -> Self {
        Self::Model {
            name: model.name.to_string(),
            version: model.version,
            artifact: model.artifact,
            reason: reason.into(),
        }
    }
}

/// A data directory as the server keeps it:
///
/// ```text
/// <data>/policies/<policy id>/policy.toml, features.toml     every policy that ever decided
/// <data>/policies/<policy id>/*.csv                          the files of tables that it names
/// <data>/policies/<policy id>/definitions.seal               which feature set that features.toml made then
/// <data>/models/                                             the model registry
/// <data>/decisions/                                          the decision log
/// ```
#[derive(Debug, Clone)]
pub struct DataDirectory {
    dir: PathBuf,
}

impl DataDirectory {
    /// Uses the data directory `dir`, reading only.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The directory itself.
    pub fn path(&self) -> &std::path::Path {
        &self.dir
    }

    /// Where the files of a policy lie.
    pub fn policy_dir(&self, policy: ContentHash) -> PathBuf {
        self.dir.join("policies").join(policy.to_string())
    }

    /// Where the model registry lies.
    pub fn models_dir(&self) -> PathBuf {
        self.dir.join("models")
    }

    /// Where the decision log lies.
    pub fn decisions_dir(&self) -> PathBuf {
        self.dir.join("decisions")
    }

    /// Where the log of live shadow lies.
    pub fn shadow_dir(&self) -> PathBuf {
        self.dir.join("shadow")
    }

    /// Where the log of outcomes lies.
    pub fn outcomes_dir(&self) -> PathBuf {
        self.dir.join("outcomes")
    }

    /// The features that `policy` was compiled against, which the records of its decisions hold in slot order.
    ///
    /// # Errors
    /// When its files are gone or cannot be read.
    pub fn feature_set(&self, policy: ContentHash) -> Result<Arc<FeatureSet>, Missing> {
        Ok(self.files(policy)?.0)
    }

    /// The features that `policy` was compiled against, and the definitions as they are computed by today.
    ///
    /// # Errors
    /// As [`Self::feature_set`].
    pub(crate) fn feature_schema(
        &self,
        policy: ContentHash,
    ) -> Result<(Arc<FeatureSet>, Arc<FeatureSchema>), Missing> {
        let (features, schema, _) = self.archived(policy)?;
        Ok((features, schema))
    }

    /// The policy `policy` as it was archived, without models: what it declares, not what it decides.
    ///
    /// # Errors
    /// When its files are gone or cannot be read.
    pub fn declared(&self, policy: ContentHash) -> Result<PolicySnapshot, Missing> {
        let (features, source) = self.files(policy)?;
        PolicySnapshot::load(&source, features, &NoModels)
            .map_err(|complaints| Missing::policy(policy, joined(&complaints)))
    }

    /// The features that `policy` was compiled against and its text.
    ///
    /// # Errors
    /// As [`Self::feature_set`].
    pub(crate) fn policy_files(
        &self,
        policy: ContentHash,
    ) -> Result<(Arc<FeatureSet>, PolicySource), Missing> {
        self.files(policy)
    }

    /// The feature definitions and the policy text of `policy`.
    fn files(&self, policy: ContentHash) -> Result<(Arc<FeatureSet>, PolicySource), Missing> {
        let (features, _, source) = self.archived(policy)?;
        Ok((features, source))
    }

    fn archived(
        &self,
        policy: ContentHash,
    ) -> Result<(Arc<FeatureSet>, Arc<FeatureSchema>, PolicySource), Missing> {
        let dir = self.policy_dir(policy);
        let read = |name: &str| {
            let path = dir.join(name);
            let text = std::fs::read_to_string(&path).map_err(|error| {
                Missing::policy(policy, format!("cannot read {}: {error}", path.display()))
            })?;
            Ok(SourceFile { name: path.display().to_string(), text })
        };
        let (policy_file, features_file) = (read("policy.toml")?, read("features.toml")?);
        let schema = FeatureSchema::parse(&features_file.name, &features_file.text)
            .map_err(|complaints| Missing::policy(policy, joined(&complaints)))?;
        let schema = Arc::new(schema);
        let features = schema.feature_set();
        // Without a seal, or with one of another text, the definitions speak for themselves.
        let seal = read(DefinitionsSeal::FILE).ok().and_then(|file| DefinitionsSeal::parse(&file.text));
        let sealed = seal.filter(|seal| seal.covers(&features_file.text)).map(|seal| seal.feature_set);
        let features = match sealed {
            Some(hash) if hash != features.hash() => {
                Arc::new(FeatureSet::new(hash, features.features().to_vec()))
            }
            _ => Arc::clone(features),
        };
        // One that is missing is told when the policy is loaded.
        let policy = PolicySource::gather(policy_file, |name| Ok::<_, Missing>(read(name).ok()))?;
        Ok((features, schema, policy))
    }

    fn scorer(&self, model: &ModelRef, features: &FeatureSet) -> Result<Scorer, Missing> {
        let dir = self.models_dir();
        // Opening a registry would create the directory; a replay changes nothing.
        if !dir.is_dir() {
            return Err(Missing::model(model, format!("there is no directory {}", dir.display())));
        }
        Registry::open(dir)
            .and_then(|registry| registry.load(model))
            .and_then(|artifact| Scorer::new(&artifact, features))
            .map_err(|error| Missing::model(model, error.to_string()))
    }
}

impl SnapshotSource for DataDirectory {
    fn snapshot(
        &self,
        policy: ContentHash,
        models: &[(Arc<str>, ModelRef)],
    ) -> Result<PolicySnapshot, Missing> {
        let (features, source) = self.files(policy)?;
        let load = |models: &dyn ModelSource| {
            PolicySnapshot::load(&source, Arc::clone(&features), models)
                .map_err(|complaints| Missing::policy(policy, joined(&complaints)))
        };
        // The log names models by the policy's own aliases, a policy asks for them by the registry's: loaded
        // without models first, it tells which is which.
        let bare = load(&NoModels)?;
        if bare.id() != policy {
            let reason = format!(
                "the files in {} have the id {} under decision engine {ENGINE_VERSION}; they were changed, or \
                 another engine decided",
                self.policy_dir(policy).display(),
                bare.id(),
            );
            return Err(Missing::policy(policy, reason));
        }
        let pinned = PinnedModels { directory: self, bare: &bare, models, missing: RefCell::default() };
        let loaded = load(&pinned);
        if let Some(missing) = pinned.missing.into_inner() {
            return Err(missing);
        }
        let loaded = loaded?;
        if loaded.models() != models {
            let aliases: Vec<_> = models.iter().map(|(alias, _)| &**alias).collect();
            let reason = format!(
                "the log names models for `{}`, which the policy does not ask so",
                aliases.join("`, `")
            );
            return Err(Missing::policy(policy, reason));
        }
        Ok(loaded)
    }
}

/// No model at all.
struct NoModels;

impl ModelSource for NoModels {
    fn scorer(
        &self,
        _: &str,
        _: &str,
        _: Kind,
        _: &FeatureSet,
    ) -> Result<Option<(ModelRef, Arc<Scorer>)>, String> {
        Ok(None)
    }
}

/// The models that a log names.
struct PinnedModels<'a> {
    directory: &'a DataDirectory,
    bare: &'a PolicySnapshot,
    models: &'a [(Arc<str>, ModelRef)],
    /// The first that was not found.
    missing: RefCell<Option<Missing>>,
}

impl ModelSource for PinnedModels<'_> {
    fn scorer(
        &self,
        name: &str,
        alias: &str,
        kind: Kind,
        features: &FeatureSet,
    ) -> Result<Option<(ModelRef, Arc<Scorer>)>, String> {
        let asked = |known: &str| {
            self.bare.declared_models().iter().any(|model| {
                **model.name() == *known
                    && **model.registered_name() == *name
                    && **model.alias() == *alias
                    && model.kind() == kind
            })
        };
        let Some((_, model)) = self.models.iter().find(|(known, _)| asked(known)) else { return Ok(None) };
        self.scorer_of(model, features).map(Some)
    }

    fn previous(
        &self,
        name: &str,
        alias: &str,
        kind: Kind,
        features: &FeatureSet,
    ) -> Option<(ModelRef, Arc<Scorer>)> {
        let asked = |known: &str| {
            let known = known.strip_prefix(PREVIOUS)?;
            self.bare.declared_models().iter().find(|model| {
                **model.name() == *known
                    && **model.registered_name() == *name
                    && **model.alias() == *alias
                    && model.kind() == kind
            })
        };
        let (_, model) = self.models.iter().find(|(known, _)| asked(known).is_some())?;
        self.scorer_of(model, features).ok()
    }
}

impl PinnedModels<'_> {
    fn scorer_of(&self, model: &ModelRef, features: &FeatureSet) -> Result<(ModelRef, Arc<Scorer>), String> {
        match self.directory.scorer(model, features) {
            Ok(scorer) => Ok((model.clone(), Arc::new(scorer))),
            Err(missing) => {
                let text = missing.to_string();
                self.missing.borrow_mut().get_or_insert(missing);
                Err(text)
            }
        }
    }
}

fn joined(complaints: &[Diagnostic]) -> String {
    let lines: Vec<_> = complaints.iter().map(ToString::to_string).collect();
    lines.join("; ")
}
