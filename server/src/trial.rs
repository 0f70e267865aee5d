//! A version on trial: the active policy once more, with the challenger in the champion's place, for a share of users.
//!
//! Both are loaded whole and immutable, so a decision is wholly of one of them, and its record names the models that it
//! asked: replay needs nothing else. Not here: the hash that sorts users (`augur_domain::canary`), how the arms compare
//! (`arms`), or when a trial begins and ends (`canaries`).

use std::sync::{Arc, OnceLock};

use augur_decision::{Model, ModelSource, PolicySnapshot, PolicySource};
use augur_domain::canary::{Arm, CanaryArm, arm_of};
use augur_domain::{DecisionRecord, FeatureSet, ModelRef, UserKey};
use augur_models::registry::Canary;
use augur_models::scorer::Kind;
use augur_models::{Registry, Scorer};
use parking_lot::Mutex;

use crate::arms::{Arms, CanaryReport, Verdict};
use crate::config;

/// The policy with a challenger.
#[derive(Debug)]
pub(crate) struct Trial {
    policy: PolicySnapshot,
    models: Vec<(Arc<str>, ModelRef)>,
    canary: Canary,
    /// Goes over to the next load of the same trial.
    watch: OnceLock<Arc<Watch>>,
}

/// What a trial came to while this process served it.
#[derive(Debug)]
struct Watch {
    arms: Mutex<Arms>,
    verdict: OnceLock<Verdict>,
}

/// What decides for one user.
pub(crate) struct Side<'a> {
    pub(crate) policy: &'a PolicySnapshot,
    /// The exact version behind each alias that has one.
    pub(crate) models: &'a [(Arc<str>, ModelRef)],
    /// The trial that the decision is part of.
    pub(crate) canary: Option<CanaryArm>,
}

/// The models of a policy, with the challenger in one place.
struct WithChallenger<'a> {
    champions: &'a PolicySnapshot,
    canary: &'a Canary,
    challenger: Arc<Scorer>,
}

impl ModelSource for WithChallenger<'_> {
    fn scorer(
        &self,
        name: &str,
        alias: &str,
        kind: Kind,
        _features: &FeatureSet,
    ) -> Result<Option<(ModelRef, Arc<Scorer>)>, String> {
        if name == &*self.canary.challenger.name && alias == self.canary.alias {
            self.challenger.require(kind, name).map_err(|error| error.to_string())?;
            return Ok(Some((self.canary.challenger.clone(), Arc::clone(&self.challenger))));
        }
        let mut declared = self.champions.declared_models().iter();
        let champion = declared.find(|model| **model.registered_name() == *name && **model.alias() == *alias);
        Ok(champion.and_then(|model| Some((model.version()?.clone(), Arc::clone(model.scorer()?)))))
    }

    fn previous(
        &self,
        name: &str,
        alias: &str,
        kind: Kind,
        _features: &FeatureSet,
    ) -> Option<(ModelRef, Arc<Scorer>)> {
        let mut declared = self.champions.declared_models().iter().filter(|model| model.kind() == kind);
        let champion = declared.find(|model| {
            **model.registered_name() == *name && **model.alias() == *alias && model.wants_previous()
        });
        champion?.previous().cloned()
    }
}

impl Trial {
    /// The trial of one of the models that `champions` asks, the first by the policy's order, if there is one and its
    /// version can be used: one that cannot decides nothing, and is told in the log. `kept` is what is loaded already.
    pub(crate) fn load(
        source: &PolicySource,
        champions: &PolicySnapshot,
        registry: &Registry,
        kept: impl Fn(&ModelRef) -> Option<Arc<Scorer>>,
    ) -> Option<Self> {
        let canary = champions.declared_models().iter().find_map(|model| of(model, registry))?;
        let load = || -> Result<Self, String> {
            let features = champions.features();
            let challenger = match kept(&canary.challenger) {
                Some(scorer) => scorer,
                None => {
                    let artifact = registry.load(&canary.challenger).map_err(|error| error.to_string())?;
                    Arc::new(Scorer::new(&artifact, features).map_err(|error| error.to_string())?)
                }
            };
            let models = WithChallenger { champions, canary: &canary, challenger };
            let policy = PolicySnapshot::load(source, Arc::clone(features), &models)
                .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
            let models = policy.models().to_vec();
            Ok(Self { models, policy, canary: canary.clone(), watch: OnceLock::new() })
        };
        match load() {
            Ok(trial) => Some(trial),
            Err(problem) => {
                let (model, version) = (&canary.challenger.name, canary.challenger.version);
                tracing::warn!(%model, version, %problem, "a version on trial cannot be used; the champion decides");
                None
            }
        }
    }

    /// Begins to count, or goes on where `before` was, if that is the same trial at the same share.
    pub(crate) fn begin(&self, before: Option<&Self>, settings: &config::Canary) {
        let same = before.filter(|before| before.canary == self.canary).and_then(|before| before.watch.get());
        let fresh = || {
            let arms = Mutex::new(Arms::new(self.canary.clone(), settings.clone()));
            Arc::new(Watch { arms, verdict: OnceLock::new() })
        };
        let _ = self.watch.set(same.map_or_else(fresh, Arc::clone));
    }

    /// The trial.
    pub(crate) const fn canary(&self) -> &Canary {
        &self.canary
    }

    /// What scores in this trial.
    pub(crate) const fn policy(&self) -> &PolicySnapshot {
        &self.policy
    }

    /// What came of it, once something did.
    pub(crate) fn verdict(&self) -> Option<&Verdict> {
        self.watch.get()?.verdict.get()
    }

    /// How it stands by what this process decided.
    pub(crate) fn report(&self) -> Option<CanaryReport> {
        Some(self.watch.get()?.arms.lock().report())
    }

    /// Counts a decision. True when something has come of the trial just now. A challenger that is worse decides nothing
    /// from here on with `roll_back`, and is only told of without.
    pub(crate) fn take(&self, record: &DecisionRecord, roll_back: bool) -> bool {
        let Some(watch) = self.watch.get() else { return false };
        let Some(verdict) = watch.arms.lock().take(record) else { return false };
        if let (Verdict::Worse(why), false) = (&verdict, roll_back) {
            let Canary { challenger, .. } = &self.canary;
            tracing::warn!(model = %challenger.name, version = challenger.version, %why, "a version on trial is worse");
            return false;
        }
        watch.verdict.set(verdict).is_ok()
    }

    /// Who answers for `user` at `point`; `None` where the model on trial is not asked, or was found worse.
    pub(crate) fn arm(&self, user: UserKey, point: &str) -> Option<CanaryArm> {
        let mut asked = self.policy.point(point)?.models(&self.policy);
        if !asked.any(|model| is_of(model, &self.canary)) || matches!(self.verdict(), Some(Verdict::Worse(_)))
        {
            return None;
        }
        let Canary { challenger, salt, share_ppm, .. } = &self.canary;
        let arm = arm_of(salt, *share_ppm, user);
        Some(CanaryArm { challenger: challenger.clone(), salt: *salt, share_ppm: *share_ppm, arm })
    }

    /// What decides: the challenger's policy, or else `champions`.
    pub(crate) fn side<'a>(
        &'a self,
        canary: CanaryArm,
        champions: (&'a PolicySnapshot, &'a [(Arc<str>, ModelRef)]),
    ) -> Side<'a> {
        let (policy, models) = match canary.arm {
            Arm::Challenger => (&self.policy, self.models.as_slice()),
            Arm::Champion => champions,
        };
        Side { policy, models, canary: Some(canary) }
    }
}

fn is_of(model: &Model, canary: &Canary) -> bool {
    **model.registered_name() == *canary.challenger.name && **model.alias() == *canary.alias
}

/// The trial beside one alias of the policy, against the version that decides there.
fn of(model: &Model, registry: &Registry) -> Option<Canary> {
    let champion = model.version()?;
    let canary = registry.canary(model.registered_name(), model.alias());
    let canary = canary.unwrap_or_else(|error| {
        tracing::warn!(%error, "whether a version is on trial cannot be told; the champion decides");
        None
    });
    canary.filter(|canary| canary.champion == *champion)
}
