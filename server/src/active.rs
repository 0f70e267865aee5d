//! The policy that decides now, with everything that goes with it, and the files that keep it over a restart.
//!
//! Not here: what a policy means (`augur_decision`), or the calls that change it (`admin`).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use augur_decision::{ModelSource, PolicySnapshot, SourceFile};
use augur_domain::decision::{Availability, Rung};
use augur_domain::{ContentHash, FeatureSet, ModelRef};
use augur_models::{Registry, Scorer};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::files::{self, Layout};
use crate::metrics::{Metrics, RungCounters};

/// What a policy is called in complaints when it came by a call and not from a file.
pub(crate) const SENT_POLICY: &str = "policy.toml";

/// A loaded policy. Immutable: a change of policy or model makes a new one.
#[derive(Debug)]
pub struct Active {
    policy: PolicySnapshot,
    source: SourceFile,
    availability: Vec<(Arc<str>, Availability)>,
    models: Vec<(Arc<str>, ModelRef)>,
    counters: BTreeMap<Arc<str>, RungCounters>,
}

impl Active {
    /// Loads the policy in `source`, with the models that the registry's aliases name now.
    ///
    /// # Errors
    /// [`Error::Diagnostics`] with everything wrong in it.
    pub(crate) fn load(
        source: SourceFile,
        features: &Arc<FeatureSet>,
        registry: &Registry,
        metrics: &Metrics,
    ) -> Result<Self, Error> {
        let policy = PolicySnapshot::load(&source, Arc::clone(features), &Registered(registry))
            .map_err(Error::Diagnostics)?;
        let availability = policy.declared_models().iter().map(|model| {
            let loaded = model.version().is_some();
            let available = if loaded { Availability::Available } else { Availability::NotLoaded };
            (Arc::clone(model.name()), available)
        });
        let counters = policy.decision_points().iter();
        let counters = counters.map(|point| (Arc::clone(point.name()), metrics.decisions(point.name())));
        Ok(Self {
            availability: availability.collect(),
            models: policy.models().to_vec(),
            counters: counters.collect(),
            policy,
            source,
        })
    }

    /// The policy.
    pub fn policy(&self) -> &PolicySnapshot {
        &self.policy
    }

    /// The file it was loaded from.
    pub fn source(&self) -> &SourceFile {
        &self.source
    }

    /// Per declared model alias, whether it can be asked.
    pub(crate) fn availability(&self) -> &[(Arc<str>, Availability)] {
        &self.availability
    }

    /// The exact version behind each alias that has one.
    pub(crate) fn models(&self) -> &[(Arc<str>, ModelRef)] {
        &self.models
    }

    pub(crate) fn count(&self, point: &str, rung: Rung) {
        if let Some(counters) = self.counters.get(point) {
            counters.count(rung);
        }
    }
}

/// The registry, as a policy asks it.
pub(crate) struct Registered<'a>(pub(crate) &'a Registry);

impl ModelSource for Registered<'_> {
    fn scorer(
        &self,
        name: &str,
        alias: &str,
        features: &FeatureSet,
    ) -> Result<Option<(ModelRef, Arc<Scorer>)>, String> {
        let words = |error: augur_models::Error| error.to_string();
        let Some(model) = self.0.resolve(name, alias).map_err(words)? else { return Ok(None) };
        let artifact = self.0.load(&model).map_err(words)?;
        let scorer = Scorer::new(&artifact, features).map_err(words)?;
        Ok(Some((model, Arc::new(scorer))))
    }
}

/// `<data>/active_policy`
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    /// The policy that decides.
    pub(crate) active: String,
    /// What the configured file was when it was last loaded: a change of it means that somebody edited it.
    pub(crate) file: String,
}

impl Remembered {
    pub(crate) fn read(layout: &Layout) -> Result<Option<Self>, Error> {
        let path = layout.active_policy();
        if !path.exists() {
            return Ok(None);
        }
        let text = files::read_text(&path)?;
        toml::from_str(&text).map(Some).map_err(|error| Error::DataDirectory {
            path,
            problem: error.message().to_owned(),
            next_step: "remove this file; the configured policy decides then",
        })
    }

    pub(crate) fn write(&self, layout: &Layout) -> Result<(), Error> {
        let text = format!("active = \"{}\"\nfile = \"{}\"\n", self.active, self.file);
        files::write_whole(&layout.active_policy(), text.as_bytes(), 0o644)
    }
}

/// Keeps a policy's files under its id, so that whatever it decides can be decided again.
pub(crate) fn save_bundle(layout: &Layout, active: &Active, features: &SourceFile) -> Result<(), Error> {
    let dir = layout.policy(&active.policy.id());
    for (name, text) in [("policy.toml", &active.source.text), ("features.toml", &features.text)] {
        let path = dir.join(name);
        if !path.is_file() {
            files::write_whole(&path, text.as_bytes(), 0o644)?;
        }
    }
    Ok(())
}

/// Reads a file as people call it.
pub(crate) fn source_file(path: &Path) -> Result<SourceFile, Error> {
    Ok(SourceFile { name: path.display().to_string(), text: files::read_text(path)? })
}

/// The policy that a restart goes on with: the configured file's, unless another one was activated by call since
/// that file last changed.
pub(crate) fn choose(
    layout: &Layout,
    configured: Active,
    load: impl FnOnce(SourceFile) -> Result<Active, Error>,
) -> Result<Active, Error> {
    let id = configured.policy.id().to_string();
    let kept = Remembered::read(layout)?.filter(|kept| kept.file == id && kept.active != id);
    let Some(kept) = kept else {
        Remembered { active: id.clone(), file: id }.write(layout)?;
        return Ok(configured);
    };
    let path = layout.active_policy();
    let other: ContentHash = kept.active.parse().map_err(|error: augur_domain::ids::ParseIdError| {
        let next_step = "remove this file; the configured policy decides then";
        Error::DataDirectory { path, problem: error.to_string(), next_step }
    })?;
    tracing::warn!(
        policy = %other.short(),
        configured = %configured.policy.id().short(),
        "going on with the policy that was activated by call; change the configured file to take it back"
    );
    load(source_file(&layout.policy(&other).join("policy.toml"))?)
}
