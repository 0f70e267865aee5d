//! Calls that change what decides: aliases of models, and the policy. One at a time; readers never wait.
//!
//! All of them block on files and belong off the async threads. Not here: who may make them (authorisation is not
//! built yet, which is why only loopback addresses are listened on).

use std::sync::Arc;

use augur_decision::{PolicySource, SourceFile};
use augur_domain::ModelRef;
use augur_models::registry::{AliasChange, Card, PublishedCard};
use augur_models::scorer::Kind;
use augur_models::{Artifact, Scorer};

use crate::active::{self, Loaded, Registered, Remembered, Unusable};
use crate::suggest::did_you_mean;
use crate::{App, Error};

/// One model of the registry.
#[derive(Debug)]
pub struct ModelListing {
    /// Its name.
    pub name: String,
    /// Its versions with their cards, oldest first.
    pub versions: Vec<(ModelRef, PublishedCard)>,
    /// The last move of each alias, sorted by alias.
    pub aliases: Vec<AliasChange>,
}

/// Aliases of the policy after its models were loaded again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// Those with a model.
    pub loaded: Vec<Arc<str>>,
    /// Those without.
    pub missing: Vec<Arc<str>>,
}

impl App {
    /// Everything in the registry.
    ///
    /// # Errors
    /// [`Error::Models`].
    pub fn models(&self) -> Result<Vec<ModelListing>, Error> {
        let mut listings = Vec::new();
        for name in self.registry.names()? {
            let mut versions = Vec::new();
            for version in self.registry.versions(&name)? {
                let card = self.registry.card(&name, version.version)?;
                versions.push((version, card));
            }
            let mut aliases: Vec<AliasChange> = self.registry.history(&name)?;
            // The last change of each alias is the one that holds.
            aliases.reverse();
            aliases.sort_by(|a, b| a.alias.cmp(&b.alias));
            aliases.dedup_by(|later, first| later.alias == first.alias);
            listings.push(ModelListing { name, versions, aliases });
        }
        Ok(listings)
    }

    /// Points an alias at a version and decides with it from now on. Returns the version it pointed at before, 0 if
    /// none.
    ///
    /// # Errors
    /// [`Error::Models`] for an unknown version or a bad name; [`Error::NotNow`] when the active policy uses the
    /// alias and the model cannot score its features, or another model in use cannot be loaded any more. Then
    /// nothing moved.
    pub fn set_alias(
        &self,
        model: &str,
        alias: &str,
        version: u32,
        who: &str,
        why: &str,
    ) -> Result<u32, Error> {
        let _one_at_a_time = self.admin.lock();
        self.move_alias(model, alias, version, who, why)
    }

    /// [`Self::set_alias`]; the caller holds the lock.
    pub(crate) fn move_alias(
        &self,
        model: &str,
        alias: &str,
        version: u32,
        who: &str,
        why: &str,
    ) -> Result<u32, Error> {
        let versions = self.registry.versions(model)?;
        if versions.is_empty() {
            return Err(self.unknown_model(model)?);
        }
        let active = self.active();
        let mut registered = Registered::lenient(&self.registry).beside(active.loaded());
        if let Some(target) = versions.iter().find(|known| known.version == version) {
            self.check_usable(model, alias, target)?;
            registered = registered.with(model, alias, target);
        }
        // As it will be once the alias has moved: afterwards it would be too late to refuse.
        let next = self.reloaded(registered)?;
        let previous = self.registry.resolve(model, alias)?.map_or(0, |previous| previous.version);
        self.registry.set_alias(model, alias, version, who, why, self.clock.now())?;
        self.begin(next);
        tracing::info!(model, alias, version, previous, "alias moved");
        Ok(previous)
    }

    /// A model that was never published, with the nearest name that was.
    pub(crate) fn unknown_model(&self, model: &str) -> Result<Error, Error> {
        let names = self.registry.names()?;
        let hint = did_you_mean(model, names.iter().map(String::as_str));
        Ok(Error::NotFound { kind: "model", name: model.chars().take(100).collect(), hint })
    }

    /// Adds a version to the registry. It decides nothing before an alias points at it.
    ///
    /// # Errors
    /// [`Error::Models`].
    pub fn publish(&self, artifact: &Artifact, who: &str, notes: &str) -> Result<ModelRef, Error> {
        let card =
            Card { published_by: who.to_owned(), published_at: self.clock.now(), notes: notes.to_owned() };
        Ok(self.registry.publish(artifact.name(), artifact, &card)?)
    }

    /// Reads the registry again.
    ///
    /// # Errors
    /// [`Error::NotNow`] when an alias with a model would lose it; the old ones stay in use.
    pub fn reload_models(&self) -> Result<Reloaded, Error> {
        let _one_at_a_time = self.admin.lock();
        let active = self.active();
        let next = self.reloaded(Registered::lenient(&self.registry).beside(active.loaded()))?;
        let missing: Vec<Arc<str>> = next.missing().map(Arc::clone).collect();
        let declared = next.policy().declared_models().iter().map(|model| Arc::clone(model.name()));
        let loaded = declared.filter(|name| !missing.contains(name)).collect();
        self.begin(next);
        Ok(Reloaded { loaded, missing })
    }

    /// Decides by `next` from now on, with the definitions that serve.
    pub(crate) fn begin(&self, next: Loaded) {
        let before = self.active();
        let definitions = Arc::clone(before.definitions());
        let next =
            next.begun(definitions, &self.metrics, &self.config, &self.breakers, Some(before.loaded()));
        self.active.store(Arc::new(next));
    }

    /// Keeps over a restart that `next` decides.
    pub(crate) fn remember(&self, next: &Loaded) -> Result<(), Error> {
        let kept = Remembered::read(&self.layout)?;
        let configured = kept.map_or_else(|| self.active().source().text_hash(), |kept| kept.configured);
        Remembered::new(next, configured).write(&self.layout)
    }

    /// The active policy with the models of `registered`. A model that was missing may stay missing; one that is in
    /// use may not get lost.
    pub(crate) fn reloaded(&self, registered: Registered<'_>) -> Result<Loaded, Error> {
        let now = self.active();
        let next = Loaded::load(now.source().clone(), &self.feature_set(), registered)?;
        let in_use = |lost: &&Unusable| {
            let mut declared = now.policy().declared_models().iter();
            declared.any(|model| {
                model.version().is_some()
                    && **model.registered_name() == *lost.model
                    && **model.alias() == *lost.alias
            })
        };
        let Some(lost) = next.unusable().iter().find(in_use) else { return Ok(next) };
        tracing::warn!(
            model = lost.model,
            alias = lost.alias,
            problem = lost.problem,
            "models stay as they are"
        );
        Err(Error::NotNow {
            problem: format!(
                "model `{}` at `{}`, which decides now, can no longer be used",
                lost.model, lost.alias
            ),
            next_step: "nothing was changed; the server's log says what is wrong with it".to_owned(),
        })
    }

    /// Whether the active policy asks this alias.
    pub(crate) fn is_asked(&self, model: &str, alias: &str) -> bool {
        !self.kinds_asked(model, alias).is_empty()
    }

    /// What the active policy asks this alias for.
    fn kinds_asked(&self, model: &str, alias: &str) -> Vec<Kind> {
        let active = self.active();
        let asked = active.policy().declared_models().iter();
        let asked = asked.filter(|known| **known.registered_name() == *model && **known.alias() == *alias);
        asked.map(augur_decision::Model::kind).collect()
    }

    /// Refuses a version that the active policy would ask and cannot.
    pub(crate) fn check_usable(&self, model: &str, alias: &str, target: &ModelRef) -> Result<(), Error> {
        let kinds = self.kinds_asked(model, alias);
        if kinds.is_empty() {
            return Ok(());
        }
        let scorer =
            self.registry.load(target).and_then(|artifact| Scorer::new(&artifact, &self.feature_set()));
        let asked = scorer.and_then(|scorer| kinds.iter().try_for_each(|kind| scorer.require(*kind, model)));
        let problem = match asked {
            Ok(()) => return Ok(()),
            // Where the file lies is the server's own affair.
            Err(augur_models::Error::Corrupted { problem, .. }) => {
                format!("version {} of model `{model}` is damaged: {problem}", target.version)
            }
            Err(error) => error.to_string(),
        };
        Err(Error::NotNow { problem, next_step: "the alias was not moved".to_owned() })
    }
}

/// A policy that came by a call, with those of the files that came with it that it names.
pub(crate) fn sent(text: String, files: &[SourceFile]) -> PolicySource {
    let policy = SourceFile { name: active::SENT_POLICY.to_owned(), text };
    let find = |name: &str| Ok(files.iter().find(|file| file.name == name).cloned());
    PolicySource::gather(policy, find).unwrap_or_else(|never: std::convert::Infallible| match never {})
}
