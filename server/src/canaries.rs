//! Trials begun, changed and ended while serving, by people and by themselves.
//!
//! Not here: what a trial does to a decision (`trial`), or how its arms compare (`arms`).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use augur_decision_log::{Error as LogError, Reader};
use augur_models::registry::{Canary, CanaryChange};
use tokio_util::sync::CancellationToken;

use crate::active::Registered;
use crate::arms::{Arms, CanaryReport, Verdict};
use crate::{App, Error, config};

/// Who ends a trial when nobody does.
const BY_ITSELF: &str = "augur";
/// Between two tries to write down what came of a trial.
const TRY_AGAIN: Duration = Duration::from_secs(60);

impl App {
    /// Puts a version of `model` on trial for a share of the users of an alias, or changes the share of its trial; 0 ends
    /// it. Holds from the next decision on; the time of `change` is this server's.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown model, [`Error::Models`]; [`Error::NotNow`] when the active policy does not ask
    /// the alias, the version cannot score its features, or another alias has a trial.
    pub fn set_canary(&self, model: &str, change: &CanaryChange<'_>) -> Result<(), Error> {
        let _one_at_a_time = self.admin.lock();
        if self.registry.versions(model)?.is_empty() {
            return Err(self.unknown_model(model)?);
        }
        if change.share_ppm > 0 {
            self.check_trial(model, change)?;
        }
        self.write_canary(model, change)
    }

    /// How the trial beside `alias` of `model` stands by what this process decided since it began, if there is one.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown model, [`Error::Models`].
    pub fn canary(&self, model: &str, alias: &str) -> Result<Option<CanaryReport>, Error> {
        if self.registry.versions(model)?.is_empty() {
            return Err(self.unknown_model(model)?);
        }
        let active = self.active();
        let trial = active.loaded().trial();
        let asked = |canary: &Canary| &*canary.challenger.name == model && canary.alias == alias;
        Ok(trial.filter(|trial| asked(trial.canary())).and_then(|trial| trial.report()))
    }

    /// The caller holds the lock.
    fn write_canary(&self, model: &str, change: &CanaryChange<'_>) -> Result<(), Error> {
        let change = CanaryChange { at: self.clock.now(), ..*change };
        self.registry.set_canary(model, &change)?;
        let active = self.active();
        self.begin(self.reloaded(Registered::lenient(&self.registry).reusing(active.loaded()))?);
        let CanaryChange { alias, version, share_ppm, .. } = change;
        tracing::info!(model, alias, version, share_ppm, "canary changed");
        Ok(())
    }

    fn check_trial(&self, model: &str, change: &CanaryChange<'_>) -> Result<(), Error> {
        let CanaryChange { alias, version, .. } = *change;
        let refused = |problem: String, next_step: &str| {
            Err(Error::NotNow { problem, next_step: next_step.to_owned() })
        };
        if !self.is_asked(model, alias) || self.registry.resolve(model, alias)?.is_none() {
            let problem = format!("no version decides at alias `{alias}` of model `{model}`");
            return refused(problem, "promote one first, in a policy that asks for the alias");
        }
        let active = self.active();
        let other = active.loaded().trial().map(|trial| trial.canary());
        let other = other.filter(|other| *other.challenger.name != *model || other.alias != alias);
        if let Some(Canary { challenger, alias, .. }) = other {
            let problem = format!("alias `{alias}` of model `{}` has a trial", challenger.name);
            return refused(problem, "stop that canary first: one at a time");
        }
        self.check_usable(model, alias, &self.registry.find(model, &version.to_string())?)
    }

    /// Does what the verdict of the active trial says, if there is one: ends the trial, or promotes its version.
    fn settle(&self) -> Result<(), Error> {
        let _one_at_a_time = self.admin.lock();
        let active = self.active();
        let Some(trial) = active.loaded().trial() else { return Ok(()) };
        let Canary { alias, challenger, .. } = trial.canary();
        let (model, version) = (&*challenger.name, challenger.version);
        match trial.verdict() {
            None => {}
            Some(Verdict::Worse(why)) => {
                let at = self.clock.now();
                let who = BY_ITSELF;
                let change = CanaryChange { alias, version, share_ppm: 0, promotion: None, who, why, at };
                self.write_canary(model, &change)?;
                self.metrics.count_canary_end(model, "ROLLED_BACK");
            }
            Some(Verdict::Passed(why)) => {
                self.move_alias(model, alias, version, BY_ITSELF, why)?;
                self.metrics.count_canary_end(model, "PROMOTED");
            }
        }
        Ok(())
    }
}

/// Settles trials once something has come of them, until told to stop; then a last time.
pub(crate) async fn settle(app: Arc<App>, stop: CancellationToken) {
    let mut tries = tokio::time::interval(TRY_AGAIN);
    tries.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => {}
            () = app.canary_settles.notified() => {}
            _ = tries.tick() => {}
        }
        let settling = Arc::clone(&app);
        let settled = tokio::task::spawn_blocking(move || settling.settle()).await;
        if let Ok(Err(error)) = settled {
            tracing::error!(%error, "a trial is over and that cannot be written down; it is tried again");
        }
        if stop.is_cancelled() {
            return;
        }
    }
}

/// Reads what was decided in `canary` at its present share from the decision log in `dir`, which may be in use.
///
/// # Errors
/// [`Error::Log`].
pub fn canary_report(dir: &Path, canary: &Canary, settings: &config::Canary) -> Result<CanaryReport, Error> {
    let mut arms = Arms::new(canary.clone(), settings.clone());
    for entry in Reader::open(dir)? {
        match entry {
            Ok((_, record)) => drop(arms.take(&record)),
            // What the writer is about to finish.
            Err(LogError::TruncatedTail { .. }) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(arms.report())
}
