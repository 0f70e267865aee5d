//! A candidate, loaded beside the policy that decides.
//!
//! Not here: its turn (`turn`), or when it is loaded again (`workers`).

use std::path::Path;
use std::sync::Arc;

use augur_decision::{ModelSource, PolicySnapshot, PolicySource};
use augur_domain::decision::Availability;
use augur_domain::{DecisionInputs, DecisionRecord, FeatureSet, ModelRef};
use augur_models::scorer::Kind;
use augur_models::{Registry, Scorer};

use crate::Error;
use crate::active::{Active, SENT_POLICY, policy_source};
use crate::config::ShadowCandidate;
use crate::files::Layout;

/// Least characters of a policy's id by which it is looked for.
const LEAST_ID: usize = 6;

/// A policy with its models, compiled against the definitions that serve.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) policy: PolicySnapshot,
    /// The exact version behind each alias that has one.
    pub(super) models: Vec<(Arc<str>, ModelRef)>,
}

/// The registry, with other versions in the place of some, and what is loaded already.
struct Changed<'a> {
    registry: &'a Registry,
    changes: &'a [(String, String)],
    active: &'a Active,
}

impl Candidate {
    /// Loads what `declared` says, as it differs from `active`.
    ///
    /// # Errors
    /// One sentence for the operator.
    pub(super) fn load(
        declared: &ShadowCandidate,
        active: &Active,
        registry: &Registry,
        layout: &Layout,
    ) -> Result<Self, String> {
        let source = match &declared.policy {
            None => active.source().clone(),
            Some(policy) => source(policy, layout).map_err(|error| error.to_string())?,
        };
        let models = Changed { registry, changes: &declared.models, active };
        let features = Arc::clone(active.policy().features());
        let policy = PolicySnapshot::load(&source, features, &models).map_err(|faults| {
            let faults = faults.iter().take(8).map(ToString::to_string);
            faults.collect::<Vec<_>>().join("; ")
        })?;
        for (model, version) in &declared.models {
            if !policy.declared_models().iter().any(|known| **known.registered_name() == **model) {
                return Err(format!("its policy asks no model `{model}`, for which it names `{version}`"));
            }
        }
        let models = policy.models().to_vec();
        Ok(Self { policy, models })
    }

    /// What it decides from: what was decided from, with its own models.
    pub(super) fn inputs(&self, record: &DecisionRecord) -> DecisionInputs {
        let models = self.policy.askable().map(|(name, version)| {
            let availability = version.map_or(Availability::NotLoaded, |version| then(record, name, version));
            (Arc::clone(name), availability)
        });
        DecisionInputs { models: models.collect(), ..record.inputs.clone() }
    }
}

/// Whether this version could be asked: as it was for the answer where that asked the same one, else it can.
fn then(record: &DecisionRecord, name: &Arc<str>, version: &ModelRef) -> Availability {
    let same = record.models.iter().any(|(known, asked)| known == name && asked == version);
    let told = record.inputs.models.iter().find(|(known, _)| same && known == name);
    told.map_or(Availability::Available, |(_, availability)| *availability)
}

/// The files of a policy that decided here, by the beginning of its id, or else those at a path.
fn source(policy: &str, layout: &Layout) -> Result<PolicySource, Error> {
    let path = Path::new(policy);
    let is_id = policy.len() >= LEAST_ID && policy.chars().all(|c| c.is_ascii_hexdigit());
    if !is_id || path.exists() {
        return policy_source(path);
    }
    let dir = layout.policies();
    let entries = std::fs::read_dir(&dir).map_err(Error::file("read", &dir))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut found: Vec<String> = names.filter(|name| name.starts_with(policy)).collect();
    match (found.pop(), found.is_empty()) {
        (Some(name), true) => policy_source(&dir.join(name).join(SENT_POLICY)),
        (None, _) => Err(Error::NotFound {
            kind: "policy",
            name: policy.to_owned(),
            hint: "`augur policy history` lists those that decided here".to_owned(),
        }),
        (Some(_), false) => Err(Error::NotFound {
            kind: "policy",
            name: policy.to_owned(),
            hint: "several ids begin like that; name more of it".to_owned(),
        }),
    }
}

impl Changed<'_> {
    fn find(
        &self,
        name: &str,
        alias: &str,
        kind: Kind,
        features: &FeatureSet,
    ) -> Result<Option<(ModelRef, Arc<Scorer>)>, augur_models::Error> {
        let version = match self.changes.iter().find(|(model, _)| model == name) {
            Some((_, selector)) => self.registry.find(name, selector)?,
            None => match self.registry.resolve(name, alias)? {
                Some(version) => version,
                None => return Ok(None),
            },
        };
        let scorer = match self.active.loaded().scorer(&version, features) {
            Some(loaded) => loaded,
            None => Arc::new(Scorer::new(&self.registry.load(&version)?, features)?),
        };
        scorer.require(kind, name)?;
        Ok(Some((version, scorer)))
    }
}

impl ModelSource for Changed<'_> {
    fn scorer(
        &self,
        name: &str,
        alias: &str,
        kind: Kind,
        features: &FeatureSet,
    ) -> Result<Option<(ModelRef, Arc<Scorer>)>, String> {
        self.find(name, alias, kind, features).map_err(|error| error.to_string())
    }

    fn previous(
        &self,
        name: &str,
        alias: &str,
        kind: Kind,
        _features: &FeatureSet,
    ) -> Option<(ModelRef, Arc<Scorer>)> {
        let mut declared = self.active.policy().declared_models().iter();
        let model = declared.find(|model| {
            **model.registered_name() == *name && **model.alias() == *alias && model.kind() == kind
        });
        model?.previous().cloned()
    }
}
