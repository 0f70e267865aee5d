//! The policy that decides now, with everything that goes with it, and the files that keep it over a restart.
//!
//! Not here: what a policy means (`augur_decision`), or the calls that change it (`admin`).

mod archive;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use augur_decision::{Model, ModelSource, PolicySnapshot, PolicySource, SourceFile};
use augur_domain::decision::Rung;
use augur_domain::{ContentHash, FeatureSet, ModelRef, UserKey};
use augur_feature_store::{Definitions, FeatureSchema};
use augur_models::scorer::Kind;
use augur_models::{Registry, Scorer};

use crate::Error;
use crate::breakers::{Breakers, ModelBreakers};
use crate::config::Config;
use crate::drift::Watching;
use crate::files::{self, Layout};
use crate::metrics::{Metrics, RungCounters};
use crate::trial::{Side, Trial};

pub(crate) use archive::{archived_tests, save_bundle, save_tests, tests_beside};

/// What a policy is called in complaints when it came by a call and not from a file.
pub(crate) const SENT_POLICY: &str = "policy.toml";

/// What definitions are called in complaints when they came by a call, and in archives.
pub(crate) const FEATURES_FILE: &str = "features.toml";

/// A policy that decides, by the definitions that it was compiled against. Immutable: a change of policy, model or
/// definitions makes a new one.
#[derive(Debug)]
pub struct Active {
    loaded: Loaded,
    definitions: Arc<Definitions>,
    counters: BTreeMap<Arc<str>, RungCounters>,
    watching: Watching,
    breakers: ModelBreakers,
    /// Of the policy with the version on trial, if there is one.
    trial_breakers: ModelBreakers,
}

/// A policy that was loaded and leaves nothing behind unless it begins to decide.
#[derive(Debug)]
pub(crate) struct Loaded {
    policy: PolicySnapshot,
    source: PolicySource,
    models: Vec<(Arc<str>, ModelRef)>,
    /// Versions that aliases of the policy pointed at before, ready to decide again.
    prior: Vec<(ModelRef, Arc<Scorer>)>,
    trial: Option<Trial>,
    notes: Notes,
}

/// Versions kept loaded per alias of the policy, beside the one in use, so that a rollback needs no file.
pub(crate) const PRIOR_VERSIONS: usize = 2;

impl Loaded {
    /// Loads the policy in `source`, with the models that `registered` finds now.
    ///
    /// # Errors
    /// [`Error::Diagnostics`] with everything wrong in it.
    pub(crate) fn load(
        source: PolicySource,
        features: &Arc<FeatureSet>,
        registered: Registered<'_>,
    ) -> Result<Self, Error> {
        let policy =
            PolicySnapshot::load(&source, Arc::clone(features), &registered).map_err(Error::Diagnostics)?;
        let prior = policy.declared_models().iter().flat_map(|model| registered.prior(model, features));
        let kept = |version: &ModelRef| registered.kept.and_then(|kept| kept.scorer(version, features));
        Ok(Self {
            prior: prior.collect(),
            trial: Trial::load(&source, &policy, registered.registry, kept),
            models: policy.models().to_vec(),
            notes: registered.notes.into_inner(),
            policy,
            source,
        })
    }

    /// What a policy does when it begins to decide: it counts, and says what is amiss with its models. A trial goes on
    /// counting where it was `before`.
    pub(crate) fn begun(
        self,
        definitions: Arc<Definitions>,
        metrics: &Metrics,
        config: &Config,
        breakers: &Breakers,
        before: Option<&Self>,
    ) -> Active {
        let points = self.policy.decision_points().iter();
        let counters = points.map(|point| (Arc::clone(point.name()), metrics.decisions(point.name())));
        let counters = counters.collect();
        for Unusable { model, alias, problem } in &self.notes.unusable {
            tracing::warn!(
                %model,
                %alias,
                %problem,
                "a model cannot be used: its score or segment is missing; train it again, or move the alias to a version that can"
            );
        }
        for model in &self.notes.of_other_definitions {
            tracing::warn!(
                model = %model.name,
                version = model.version,
                "a model was trained on other definitions of features that it reads; train it again"
            );
        }
        let watching = Watching::new(&self.policy, &config.monitor);
        if let Some(trial) = &self.trial {
            trial.begin(before.and_then(Self::trial), &config.canary);
        }
        let of = |policy: &PolicySnapshot| ModelBreakers::new(policy, breakers);
        let (breakers, on_trial) = (of(&self.policy), self.trial.as_ref().map(|trial| of(trial.policy())));
        let trial_breakers = on_trial.unwrap_or_default();
        Active { loaded: self, definitions, counters, watching, breakers, trial_breakers }
    }

    pub(crate) const fn policy(&self) -> &PolicySnapshot {
        &self.policy
    }

    /// The files it was loaded from.
    pub(crate) const fn source(&self) -> &PolicySource {
        &self.source
    }

    /// Declared model aliases that nothing is loaded for.
    pub(crate) fn missing(&self) -> impl Iterator<Item = &Arc<str>> {
        let declared = self.policy.declared_models().iter();
        declared.filter(|model| model.version().is_none()).map(Model::name)
    }

    /// The version on trial, if there is one.
    pub(crate) const fn trial(&self) -> Option<&Trial> {
        self.trial.as_ref()
    }

    /// What scores by this very version over `features`, if it is in use or kept.
    pub(crate) fn scorer(&self, version: &ModelRef, features: &FeatureSet) -> Option<Arc<Scorer>> {
        if self.policy.features().hash() != features.hash() {
            return None;
        }
        let on_trial = self.trial.iter().flat_map(|trial| trial.policy().declared_models());
        let in_use = self.policy.declared_models().iter().chain(on_trial);
        let in_use = in_use.flat_map(|model| {
            let present = model.version().zip(model.scorer());
            present.into_iter().chain(model.previous().map(|(version, scorer)| (version, scorer)))
        });
        let prior = self.prior.iter().map(|(version, scorer)| (version, scorer));
        in_use.chain(prior).find(|(known, _)| *known == version).map(|(_, scorer)| Arc::clone(scorer))
    }

    /// Models that are published and cannot be used.
    pub(crate) fn unusable(&self) -> &[Unusable] {
        &self.notes.unusable
    }

    /// Models in use that were trained on other feature definitions than are served.
    pub(crate) fn of_other_definitions(&self) -> &[ModelRef] {
        &self.notes.of_other_definitions
    }
}

impl Active {
    /// The policy.
    pub fn policy(&self) -> &PolicySnapshot {
        &self.loaded.policy
    }

    /// The files it was loaded from.
    pub fn source(&self) -> &PolicySource {
        &self.loaded.source
    }

    /// The definitions that it was compiled against; features are read by them.
    pub const fn definitions(&self) -> &Arc<Definitions> {
        &self.definitions
    }

    pub(crate) const fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// See [`Loaded::of_other_definitions`].
    pub(crate) fn of_other_definitions(&self) -> &[ModelRef] {
        self.loaded.of_other_definitions()
    }

    /// What decides for `user` at `point`.
    pub(crate) fn side(&self, user: UserKey, point: &str) -> Side<'_> {
        let Loaded { policy, models, trial, .. } = &self.loaded;
        let on_trial = trial.as_ref().and_then(|trial| Some((trial, trial.arm(user, point)?)));
        match on_trial {
            Some((trial, canary)) => trial.side(canary, (policy, models)),
            None => Side { policy, models, canary: None },
        }
    }

    /// The breakers before the models of `side`.
    pub(crate) fn breakers(&self, side: &Side<'_>) -> &ModelBreakers {
        if std::ptr::eq(side.policy, self.policy()) { &self.breakers } else { &self.trial_breakers }
    }

    pub(crate) const fn watching(&self) -> &Watching {
        &self.watching
    }

    pub(crate) fn count(&self, point: &str, rung: Rung) {
        if let Some(counters) = self.counters.get(point) {
            counters.count(rung);
        }
    }
}

/// A model behind an alias of the policy that cannot be used.
#[derive(Debug)]
pub(crate) struct Unusable {
    /// Its name in the registry.
    pub(crate) model: String,
    /// The alias.
    pub(crate) alias: String,
    /// Why.
    pub(crate) problem: String,
}

/// What was noticed about the models while a policy was loaded.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    unusable: Vec<Unusable>,
    of_other_definitions: Vec<ModelRef>,
}

/// The registry, as a policy asks it.
pub(crate) struct Registered<'a> {
    registry: &'a Registry,
    /// Whether a model that cannot be used is a fault of the policy. Otherwise its score is missing.
    strict: bool,
    /// An alias as if it had moved already.
    moved: Option<(&'a str, &'a str, &'a ModelRef)>,
    /// What is loaded already.
    kept: Option<&'a Loaded>,
    /// Whether versions in use are taken from there, too, and not read again.
    from_memory: bool,
    notes: RefCell<Notes>,
}

impl<'a> Registered<'a> {
    /// For a policy that somebody hands in: a model that cannot be used is told as a fault.
    pub(crate) fn strict(registry: &'a Registry) -> Self {
        Self {
            registry,
            strict: true,
            moved: None,
            kept: None,
            from_memory: false,
            notes: RefCell::default(),
        }
    }

    /// For a policy that is in use: it decides on without a model that cannot be used.
    pub(crate) fn lenient(registry: &'a Registry) -> Self {
        Self { strict: false, ..Self::strict(registry) }
    }

    /// As if `alias` of `model` pointed at `target`.
    pub(crate) fn with(self, model: &'a str, alias: &'a str, target: &'a ModelRef) -> Self {
        Self { moved: Some((model, alias, target)), ..self }
    }

    /// Prior versions that `loaded` keeps are taken from it.
    pub(crate) fn beside(self, loaded: &'a Loaded) -> Self {
        Self { kept: Some(loaded), ..self }
    }

    /// Everything that `loaded` holds is taken from it, and no file is read for it.
    pub(crate) fn reusing(self, loaded: &'a Loaded) -> Self {
        Self { from_memory: true, ..self.beside(loaded) }
    }

    /// The versions that the alias of `model` had before, as far as they can be used: the ones that rollbacks return to.
    fn prior(&self, model: &Model, features: &FeatureSet) -> Vec<(ModelRef, Arc<Scorer>)> {
        let (name, alias) = (model.registered_name(), model.alias());
        let Some(in_use) = model.version() else { return Vec::new() };
        let load = |version: ModelRef| {
            let loaded = model.previous().filter(|(known, _)| *known == version);
            // One that cannot be used now cannot be rolled back to; the rollback says so.
            loaded.cloned().or_else(|| self.load_earlier(name, version, model.kind(), features))
        };
        self.earlier(name, alias, in_use).into_iter().filter_map(load).collect()
    }

    /// The versions that `alias` of `model` had before `in_use`, latest first, no more than are kept.
    fn earlier(&self, model: &str, alias: &str, in_use: &ModelRef) -> Vec<ModelRef> {
        // An alias that is about to move still has what it is leaving.
        let present = self.registry.resolve(model, alias).ok().flatten();
        let earlier = self.registry.previous(model, alias).unwrap_or_default();
        let mut versions: Vec<ModelRef> = Vec::with_capacity(PRIOR_VERSIONS);
        for version in present.into_iter().chain(earlier) {
            if version != *in_use && !versions.contains(&version) && versions.len() < PRIOR_VERSIONS {
                versions.push(version);
            }
        }
        versions
    }

    /// An earlier version, if it can be asked.
    fn load_earlier(
        &self,
        name: &str,
        version: ModelRef,
        kind: Kind,
        features: &FeatureSet,
    ) -> Option<(ModelRef, Arc<Scorer>)> {
        let scorer = self.kept.and_then(|kept| kept.scorer(&version, features)).map_or_else(
            || Ok(Arc::new(Scorer::new(&self.registry.load(&version)?, features)?)),
            Ok::<_, augur_models::Error>,
        );
        let scorer = scorer.and_then(|scorer| scorer.require(kind, name).map(|()| scorer));
        Some((version, scorer.ok()?))
    }

    /// What `alias` of `model` points at, or is about to.
    fn target(&self, model: &str, alias: &str) -> Result<Option<ModelRef>, augur_models::Error> {
        let moved = self.moved.filter(|(name, moved, _)| *name == model && *moved == alias);
        match moved {
            Some((_, _, target)) => Ok(Some(target.clone())),
            None => self.registry.resolve(model, alias),
        }
    }

    fn find(
        &self,
        name: &str,
        alias: &str,
        kind: Kind,
        features: &FeatureSet,
    ) -> Result<Option<(ModelRef, Arc<Scorer>)>, augur_models::Error> {
        let Some(model) = self.target(name, alias)? else { return Ok(None) };
        let kept = self.kept.filter(|_| self.from_memory).and_then(|kept| kept.scorer(&model, features));
        let scorer = match kept {
            Some(scorer) => scorer,
            None => Arc::new(Scorer::new(&self.registry.load(&model)?, features)?),
        };
        scorer.require(kind, name)?;
        if !scorer.definitions_match() {
            self.notes.borrow_mut().of_other_definitions.push(model.clone());
        }
        Ok(Some((model, scorer)))
    }
}

impl ModelSource for Registered<'_> {
    fn scorer(
        &self,
        name: &str,
        alias: &str,
        kind: Kind,
        features: &FeatureSet,
    ) -> Result<Option<(ModelRef, Arc<Scorer>)>, String> {
        match self.find(name, alias, kind, features) {
            Ok(found) => Ok(found),
            Err(error) if self.strict => Err(error.to_string()),
            Err(error) => {
                let (model, alias, problem) = (name.to_owned(), alias.to_owned(), error.to_string());
                self.notes.borrow_mut().unusable.push(Unusable { model, alias, problem });
                Ok(None)
            }
        }
    }

    fn previous(
        &self,
        name: &str,
        alias: &str,
        kind: Kind,
        features: &FeatureSet,
    ) -> Option<(ModelRef, Arc<Scorer>)> {
        let in_use = self.target(name, alias).ok()??;
        let earlier = self.earlier(name, alias, &in_use).into_iter();
        earlier.filter_map(|version| self.load_earlier(name, version, kind, features)).next()
    }
}

/// `<data>/active_policy`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// The policy that decides.
    pub(crate) active: ContentHash,
    /// Hash of its text and of the files it names, without the feature definitions, which change on their own.
    pub(crate) text: ContentHash,
    /// The same of the configured file when it was last loaded: a change of it means that somebody edited it.
    pub(crate) configured: ContentHash,
    /// The definitions that served then; older versions did not say.
    features: Option<ContentHash>,
}

/// What to do about a damaged `active_policy`.
const DECIDE_BY_THE_FILE: &str =
    "restore this file from a backup, or remove it; the configured policy decides then";

impl Remembered {
    /// What is to be remembered when `active` decides and the configured file is that of `configured`.
    pub(crate) fn new(active: &Loaded, configured: ContentHash) -> Self {
        let features = Some(active.policy.features().hash());
        Self { active: active.policy.id(), text: active.source.text_hash(), configured, features }
    }

    /// What the feature store keeps with a switch of definitions, so that the two cannot come apart.
    pub(crate) fn note(loaded: &Loaded) -> String {
        format!("{} {}", loaded.policy.id(), loaded.source.text_hash())
    }

    /// With the policy that was noted when the definitions that serve were switched to, unless this is newer.
    fn switched(self, note: &str, serving: ContentHash) -> Self {
        let noted = note.split_once(' ').and_then(|(id, text)| Some((id.parse().ok()?, text.parse().ok()?)));
        match noted {
            Some((active, text)) if self.features != Some(serving) => Self { active, text, ..self },
            _ => self,
        }
    }

    pub(crate) fn read(layout: &Layout) -> Result<Option<Self>, Error> {
        let path = layout.active_policy();
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file("read", &path)(error)),
        };
        let read = |key: &str, table: &toml::Table| {
            let text = table.get(key).and_then(toml::Value::as_str);
            let text = text.ok_or_else(|| format!("it has no `{key}`"))?;
            text.parse().map_err(|error| format!("`{key}`: {error}"))
        };
        let remembered = || -> Result<Self, String> {
            let text = str::from_utf8(&bytes).map_err(|error| error.to_string())?;
            let table: toml::Table =
                toml::from_str(text).map_err(|error| error.message().replace('\n', ", "))?;
            Ok(Self {
                active: read("active", &table)?,
                text: read("text", &table)?,
                configured: read("configured", &table)?,
                features: table.get("features").map(|_| read("features", &table)).transpose()?,
            })
        };
        remembered().map(Some).map_err(|problem| Error::DataDirectory {
            path,
            problem: format!("which policy decides cannot be read: {problem}"),
            next_step: DECIDE_BY_THE_FILE,
        })
    }

    pub(crate) fn write(&self, layout: &Layout) -> Result<(), Error> {
        let Self { active, text, configured, features } = self;
        let mut text = format!("active = \"{active}\"\ntext = \"{text}\"\nconfigured = \"{configured}\"\n");
        if let Some(features) = features {
            text.push_str(&format!("features = \"{features}\"\n"));
        }
        files::write_whole(&layout.active_policy(), text.as_bytes(), 0o644)
    }
}

/// The text of definitions, as they are called in complaints and archives.
pub(crate) fn features_source(schema: &FeatureSchema) -> SourceFile {
    SourceFile { name: FEATURES_FILE.to_owned(), text: schema.source().to_owned() }
}

/// Reads a file as people call it.
pub(crate) fn source_file(path: &Path) -> Result<SourceFile, Error> {
    Ok(SourceFile { name: path.display().to_string(), text: files::read_text(path)? })
}

/// Reads a policy with the files beside it that it names.
pub(crate) fn policy_source(path: &Path) -> Result<PolicySource, Error> {
    PolicySource::gather(source_file(path)?, |name| {
        let beside = path.with_file_name(name);
        // One that is missing is a fault of the policy, told with its place there.
        if beside.exists() { source_file(&beside).map(Some) } else { Ok(None) }
    })
}

/// A policy to go on with, not yet remembered.
pub(crate) struct Chosen {
    pub(crate) loaded: Loaded,
    remembered: Option<Remembered>,
}

impl Chosen {
    /// Keeps its files, and what decides.
    pub(crate) fn settle(&self, layout: &Layout, features: &SourceFile) -> Result<(), Error> {
        save_bundle(layout, &self.loaded, features)?;
        self.remembered.as_ref().map_or(Ok(()), |remembered| remembered.write(layout))
    }
}

/// The policy that a restart goes on with: the configured file's, unless another one was activated by call since
/// that file last changed. Changed feature definitions give the other one a new id. `note` is what was noted when the
/// definitions `serving` were switched to.
///
/// When the other one cannot be loaded any more, the configured one decides, and the choice is looked at again at
/// the next start.
pub(crate) fn choose(
    layout: &Layout,
    configured: PolicySource,
    serving: ContentHash,
    note: &str,
    load: impl Fn(PolicySource) -> Result<Loaded, Error>,
) -> Result<Chosen, Error> {
    let file = configured.text_hash();
    let kept = Remembered::read(layout)?.filter(|kept| kept.configured == file);
    let kept = kept.map(|kept| kept.switched(note, serving)).filter(|kept| kept.text != file);
    let Some(kept) = kept else {
        let loaded = load(configured)?;
        let remembered = Some(Remembered::new(&loaded, file));
        return Ok(Chosen { loaded, remembered });
    };
    match kept_source(layout, kept.active, kept.text).and_then(&load) {
        Ok(loaded) => {
            tracing::warn!(
                policy = %loaded.policy.id().short(),
                "going on with the policy that was activated by call; change the configured file to take it back"
            );
            let remembered = Some(Remembered::new(&loaded, file));
            Ok(Chosen { loaded, remembered })
        }
        Err(error) => {
            tracing::warn!(
                policy = %kept.active.short(),
                %error,
                "the policy that was activated by call cannot be loaded any more; the configured one decides"
            );
            Ok(Chosen { loaded: load(configured)?, remembered: None })
        }
    }
}

/// The files of the policy that is noted so, if it is what it was.
pub(crate) fn noted_source(layout: &Layout, note: &str) -> Option<Result<PolicySource, Error>> {
    let (id, text) = note.split_once(' ')?;
    Some(kept_source(layout, id.parse().ok()?, text.parse().ok()?))
}

/// The files of a policy that decided, if it is what it was.
fn kept_source(layout: &Layout, id: ContentHash, text: ContentHash) -> Result<PolicySource, Error> {
    let source = policy_source(&layout.policy(&id).join(SENT_POLICY))?;
    if source.text_hash() == text {
        return Ok(source);
    }
    Err(Error::DataDirectory {
        path: source.policy.name.into(),
        problem: "the kept policy is not what it was".to_owned(),
        next_step: "restore it from a backup, or activate the policy again",
    })
}
