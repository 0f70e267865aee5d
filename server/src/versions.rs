//! Calls that change the feature definitions while serving: build a version, switch to it, go back, retire.
//!
//! Definitions, the states that follow them and the policy compiled against them change together: readers take all
//! three from one handle. Order of a switch: the policy's files, then the feature store's record, which names the
//! policy too, then the file that says which policy decides; a restart anywhere in between goes on consistently. Not
//! here: the states (`augur_feature_store`).

use std::sync::Arc;

use augur_decision::PolicySource;
use augur_domain::{ContentHash, ModelRef};
use augur_feature_store::store::Generation;
use augur_feature_store::{Definitions, FeatureSchema, GenerationStatus, Version};

use crate::active::{self, FEATURES_FILE, Loaded, Registered, Remembered};
use crate::{App, Error};

/// What decides and what is read from, after a switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switched {
    /// The version that serves now.
    pub version: u32,
    /// Its definitions.
    pub feature_set: ContentHash,
    /// The policy that decides now.
    pub policy: ContentHash,
    /// The version that served before.
    pub previous_version: u32,
}

/// What a switch may go on in spite of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accepted {
    /// Models in use that were trained on other definitions of what they read.
    pub models: bool,
    /// Users who were set aside when the version was built, see [`Version::set_aside`].
    pub set_aside: bool,
}

impl App {
    /// Begins to build states for the definitions in `text` beside those that serve: the new version. Nothing that
    /// is read changes.
    ///
    /// # Errors
    /// [`Error::Diagnostics`] with everything wrong in it; [`Error::Store`] when there is nothing to build or
    /// another build comes first.
    pub fn build_features(&self, text: &str) -> Result<u32, Error> {
        let schema =
            FeatureSchema::parse_with(FEATURES_FILE, text, &self.taxonomy).map_err(Error::Diagnostics)?;
        let generation = self.store.build(&Arc::new(schema))?;
        tracing::info!(version = generation.number(), "building a version of the feature definitions");
        Ok(generation.number())
    }

    /// Every version that is remembered, ascending.
    pub fn feature_versions(&self) -> Vec<Version> {
        self.store.versions()
    }

    /// Serves a version that is ready, and decides by `policy`, or by the present policy when there is none. Both
    /// change in one step: every decision is made wholly by the old ones or wholly by the new ones.
    ///
    /// # Errors
    /// [`Error::Diagnostics`] when the policy, or a model that it uses, does not fit the definitions;
    /// [`Error::NotNow`] for what is not `accepted`; [`Error::Store`] for a version that is not ready. Then
    /// nothing changed.
    pub fn switch_features(
        &self,
        version: u32,
        policy: Option<PolicySource>,
        accepted: Accepted,
    ) -> Result<Switched, Error> {
        let _one_at_a_time = self.admin.lock();
        let definitions = self.version(version)?;
        if !accepted.set_aside {
            self.refuse_set_aside(&definitions)?;
        }
        let source = policy.unwrap_or_else(|| self.active().source().clone());
        let next =
            Loaded::load(source, definitions.schema().feature_set(), Registered::strict(&self.registry))?;
        if !accepted.models {
            refuse_other_definitions(next.of_other_definitions())?;
        }
        self.switch_to(definitions, next)
    }

    /// Serves the version that served before, and decides by the policy that decided then. Its states are current.
    ///
    /// # Errors
    /// [`Error::NotNow`] when there is none; [`Error::Diagnostics`] or [`Error::DataDirectory`] when its policy
    /// cannot be loaded any more.
    pub fn roll_back_features(&self) -> Result<Switched, Error> {
        let _one_at_a_time = self.admin.lock();
        let previous =
            self.store.versions().into_iter().find(|version| version.status == GenerationStatus::Previous);
        let Some(previous) = previous else {
            return Err(Error::NotNow {
                problem: "no version that served before is kept".to_owned(),
                next_step: "build the definitions that you want and switch to them".to_owned(),
            });
        };
        let definitions = self.version(previous.generation.number())?;
        let source = active::noted_source(&self.layout, &previous.note);
        let source = source.transpose()?.unwrap_or_else(|| self.active().source().clone());
        // Going back must be possible: a model that cannot be used any more is missing, and said to be.
        let next =
            Loaded::load(source, definitions.schema().feature_set(), Registered::lenient(&self.registry))?;
        self.switch_to(definitions, next)
    }

    /// Takes a version out of use for ever and gives its space back.
    ///
    /// # Errors
    /// [`Error::Store`] for the one that serves, or an unknown one.
    pub fn retire_features(&self, version: u32) -> Result<(), Error> {
        let _one_at_a_time = self.admin.lock();
        let generation = self.version(version)?.generation();
        Ok(self.store.retire(generation)?)
    }

    fn refuse_set_aside(&self, definitions: &Definitions) -> Result<(), Error> {
        let versions = self.store.versions().into_iter();
        let mut of_these = versions.filter(|version| version.generation == definitions.generation());
        let set_aside = of_these.next().map_or(0, |version| version.set_aside);
        if set_aside == 0 {
            return Ok(());
        }
        Err(Error::NotNow {
            problem: format!("{set_aside} users were set aside, because their events cannot all be read"),
            next_step:
                "look at them with `augur features versions`, restore a backup, or go on without what cannot \
                        be read (--accept-set-aside)"
                    .to_owned(),
        })
    }

    fn version(&self, version: u32) -> Result<Arc<Definitions>, Error> {
        let generation = Generation::new(version).ok_or_else(|| {
            Error::field("version".to_owned(), "0".to_owned(), "a number that GetFeatureVersions lists")
        })?;
        Ok(self.store.definitions_of(generation)?)
    }

    fn switch_to(&self, definitions: Arc<Definitions>, next: Loaded) -> Result<Switched, Error> {
        let before = self.active();
        let switched = Switched {
            version: definitions.generation().number(),
            feature_set: definitions.schema().feature_set().hash(),
            policy: next.policy().id(),
            previous_version: before.definitions().generation().number(),
        };
        active::save_bundle(&self.layout, &next, &active::features_source(definitions.schema()))?;
        let (note, leaving) = (Remembered::note(&next), Remembered::note(before.loaded()));
        self.store.switch(definitions.generation(), &note, &leaving)?;
        // From here on the store says what serves; a restart would follow it.
        let remembered = self.remember(&next);
        self.note_switch(switched.policy);
        self.active.store(Arc::new(next.begun(
            definitions,
            &self.metrics,
            &self.config,
            &self.breakers,
            Some(self.active().loaded()),
        )));
        drop(before);
        tracing::info!(
            version = switched.version,
            feature_set = %switched.feature_set.short(),
            policy = %switched.policy.short(),
            "feature definitions switched"
        );
        remembered?;
        self.store.give_back()?;
        Ok(switched)
    }
}

fn refuse_other_definitions(models: &[ModelRef]) -> Result<(), Error> {
    if models.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = models.iter().map(|model| format!("{} {}", model.name, model.version)).collect();
    Err(Error::NotNow {
        problem: format!("trained on other definitions of features that they read: {}", names.join(", ")),
        next_step: "train them on the new definitions, or accept them as they are (--accept-models)"
            .to_owned(),
    })
}
