//! Which version deserves an alias: promotion through gates, rollback in one step, and what people look at before.
//!
//! Not here: moving an alias and deciding with it (`admin`), or what the gates measure (`augur_models::registry`).

use augur_domain::ModelRef;
use augur_models::registry::{Description, Difference, GateOutcome, Gates};

use crate::active::Registered;
use crate::{App, Error};

/// What came of a promotion.
#[derive(Debug, Clone, PartialEq)]
pub struct Promoted {
    /// Whether the alias was moved.
    pub moved: bool,
    /// The version that it pointed at before, 0 if there was none.
    pub previous_version: u32,
    /// What the gates found.
    pub gates: Vec<GateOutcome>,
}

/// What came of a rollback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolledBack {
    /// The version that was taken back.
    pub previous_version: u32,
    /// The version that decides now.
    pub target: ModelRef,
}

impl App {
    /// Everything about the version of `model` that `selector` names, a number or an alias.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown model, [`Error::Models`].
    pub fn describe_model(&self, model: &str, selector: &str) -> Result<Description, Error> {
        if self.registry.versions(model)?.is_empty() {
            return Err(self.unknown_model(model)?);
        }
        Ok(self.registry.describe(model, self.registry.find(model, selector)?.version)?)
    }

    /// The whole card of that version, as JSON.
    ///
    /// # Errors
    /// As [`Self::describe_model`].
    pub fn model_card(&self, model: &str, version: u32) -> Result<Vec<u8>, Error> {
        Ok(self.registry.full_card(model, version)?.to_json()?)
    }

    /// How two versions of `model` differ.
    ///
    /// # Errors
    /// As [`Self::describe_model`].
    pub fn compare_models(&self, model: &str, first: &str, second: &str) -> Result<Difference, Error> {
        Ok(Difference::between(&self.describe_model(model, first)?, &self.describe_model(model, second)?))
    }

    /// Points `alias` at a version, once it passes `gates` against the version that the alias points at now, or
    /// whatever they find with `force`.
    ///
    /// # Errors
    /// As [`Self::set_alias`]. Then nothing moved.
    #[expect(clippy::too_many_arguments, reason = "one line of the history, field by field")]
    pub fn promote(
        &self,
        model: &str,
        alias: &str,
        version: u32,
        gates: Gates,
        force: bool,
        who: &str,
        why: &str,
    ) -> Result<Promoted, Error> {
        let _one_at_a_time = self.admin.lock();
        if self.registry.versions(model)?.is_empty() {
            return Err(self.unknown_model(model)?);
        }
        let candidate = self.registry.card(model, version)?;
        let present = self.registry.resolve(model, alias)?;
        let present = present.map(|present| self.registry.card(model, present.version)).transpose()?;
        let previous_version = present.as_ref().map_or(0, |card| card.version);
        let gates = gates.check(&candidate.report, present.as_ref().map(|card| &card.report));
        let moved = force || gates.iter().all(|gate| gate.passed);
        if moved {
            self.move_alias(model, alias, version, who, why)?;
        }
        Ok(Promoted { moved, previous_version, gates })
    }

    /// Points `alias` back at the version before, and decides with it from now on. What the active policy asks is
    /// kept loaded, so that this reads the history and no model.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown model; [`Error::Models`] when there is no version to return to or it cannot be
    /// used; [`Error::NotNow`] as for
    /// [`Self::set_alias`]. Then nothing moved.
    pub fn rollback_alias(
        &self,
        model: &str,
        alias: &str,
        who: &str,
        why: &str,
    ) -> Result<RolledBack, Error> {
        let _one_at_a_time = self.admin.lock();
        // A history without versions is still rolled back: what decided before is kept loaded.
        if self.registry.versions(model)?.is_empty() && self.registry.history(model)?.is_empty() {
            return Err(self.unknown_model(model)?);
        }
        let active = self.active();
        let present = self.registry.resolve(model, alias)?.map_or(0, |present| present.version);
        let mut next = None;
        let now = self.clock.now();
        let target = self.registry.rollback_if(model, alias, who, why, now, |target| {
            if self.is_asked(model, alias) {
                if active.loaded().scorer(target, &self.feature_set()).is_none() {
                    self.check_usable(model, alias, target)?;
                }
                let registered =
                    Registered::lenient(&self.registry).reusing(active.loaded()).with(model, alias, target);
                next = Some(self.reloaded(registered)?);
                return Ok(());
            }
            Ok::<(), Error>(self.registry.load(target).map(drop)?)
        })?;
        if let Some(next) = next {
            self.begin(next);
        }
        tracing::info!(model, alias, version = target.version, previous = present, "alias rolled back");
        Ok(RolledBack { previous_version: present, target })
    }
}
