//! Which versions stand behind the candidate's aliases: those asked for by name, else those that decided then, else
//! those that the registry's aliases point at.
//!
//! Not here: the policy (`run`).

use std::path::PathBuf;
use std::sync::Arc;

use augur_decision::{ModelSource, PREVIOUS};
use augur_domain::{FeatureSet, ModelRef};
use augur_models::scorer::Kind;
use augur_models::{Registry, Scorer};

/// A version asked for in the place of whatever an alias points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedVersion {
    /// The model's name in the registry.
    pub name: String,
    /// A version's number, or an alias.
    pub selector: String,
}

/// Gives the candidate its models.
pub(super) struct CandidateModels<'a> {
    pub(super) dir: PathBuf,
    pub(super) pinned: &'a [PinnedVersion],
    /// Those of the record.
    pub(super) logged: &'a [(Arc<str>, ModelRef)],
}

impl CandidateModels<'_> {
    fn version(&self, registry: &Registry, name: &str, alias: &str) -> Result<Option<ModelRef>, String> {
        if let Some(pinned) = self.pinned.iter().find(|pinned| pinned.name == name) {
            return registry.find(name, &pinned.selector).map(Some).map_err(|error| error.to_string());
        }
        // One model behind two aliases is logged under both; which alias is not told by the registry's name alone.
        let present = |alias: &str| !alias.starts_with(PREVIOUS);
        if let Some((_, model)) =
            self.logged.iter().find(|(alias, model)| present(alias) && &*model.name == name)
        {
            return Ok(Some(model.clone()));
        }
        registry.resolve(name, alias).map_err(|error| error.to_string())
    }
}

impl ModelSource for CandidateModels<'_> {
    fn scorer(
        &self,
        name: &str,
        alias: &str,
        kind: Kind,
        features: &FeatureSet,
    ) -> Result<Option<(ModelRef, Arc<Scorer>)>, String> {
        // Opening a registry would create the directory; a replay changes nothing.
        if !self.dir.is_dir() {
            return Ok(None);
        }
        let registry = Registry::open(&self.dir).map_err(|error| error.to_string())?;
        let Some(version) = self.version(&registry, name, alias)? else { return Ok(None) };
        let artifact = registry.load(&version).map_err(|error| error.to_string())?;
        let scorer = Scorer::new(&artifact, features).map_err(|error| error.to_string())?;
        scorer.require(kind, name).map_err(|error| error.to_string())?;
        Ok(Some((version, Arc::new(scorer))))
    }

    /// The one that was logged, else what the registry's alias pointed at before, if it is another than the present one.
    fn previous(
        &self,
        name: &str,
        alias: &str,
        kind: Kind,
        features: &FeatureSet,
    ) -> Option<(ModelRef, Arc<Scorer>)> {
        let registry = self.dir.is_dir().then(|| Registry::open(&self.dir).ok())??;
        let present = self.version(&registry, name, alias).ok()?;
        let logged = self.logged.iter().filter(|(alias, _)| alias.starts_with(PREVIOUS));
        let logged = logged.map(|(_, model)| model).filter(|model| &*model.name == name).cloned();
        let earlier = registry.previous(name, alias).unwrap_or_default();
        let mut versions = logged.chain(earlier).filter(|version| Some(version) != present.as_ref());
        versions.find_map(|version| {
            let scorer = Scorer::new(&registry.load(&version).ok()?, features).ok()?;
            scorer.require(kind, name).ok()?;
            Some((version, Arc::new(scorer)))
        })
    }
}
