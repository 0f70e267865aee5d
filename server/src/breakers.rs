//! The circuit breakers of one server: before feature reads, the decision log, each version of a model that is asked and
//! each candidate of live shadow.
//!
//! Not here: when one opens (`breaker`), or what is answered without what it stands before (`decide`).

mod models;
mod progress;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use augur_domain::ModelRef;
use parking_lot::Mutex;

use crate::breaker::{Breaker, Mode, Settings, Standing};
use crate::metrics::{self, Metrics};
use crate::suggest::did_you_mean;
use crate::{App, Error, config};

pub(crate) use models::{Asked, ModelBreakers};
pub(crate) use progress::{Progress, Waiting};

/// What the breaker before reads of features and exposures is called.
pub(crate) const FEATURES: &str = "features";
/// What the breaker before the decision log is called.
pub(crate) const LOG: &str = "log";
/// Breakers kept at most beside those in use: of versions that are not asked any more. A forced one may be among them.
const MAX_IDLE: usize = 64;

/// All of them.
#[derive(Debug)]
pub(crate) struct Breakers {
    pub(crate) features: Breaker,
    pub(crate) log: Breaker,
    /// Of the log's writer.
    pub(crate) log_progress: Progress,
    settings: config::Breakers,
    /// Of what comes and goes: versions of models and candidates, by name.
    others: Mutex<BTreeMap<Arc<str>, Arc<Breaker>>>,
}

impl Breakers {
    pub(crate) fn new(settings: &config::Breakers) -> Self {
        let config::Breakers { features, log, features_slow_after, log_slow_after, .. } = *settings;
        Self {
            features: Breaker::new(FEATURES, settings.slow_after(features_slow_after), features),
            log: Breaker::new(LOG, settings.slow_after(log_slow_after), log),
            log_progress: Progress::default(),
            settings: settings.clone(),
            others: Mutex::default(),
        }
    }

    /// The breaker before this version of a model. Another version begins with another one.
    pub(crate) fn of_model(&self, version: &ModelRef) -> Arc<Breaker> {
        let name = format!("model/{}@{}", version.name, version.version);
        let settings = self.settings.slow_after(self.settings.models_slow_after);
        self.of(name, settings, self.settings.models)
    }

    /// The breaker before this candidate of live shadow.
    pub(crate) fn of_candidate(&self, name: &str, time_budget: Duration) -> Arc<Breaker> {
        self.of(format!("shadow/{name}"), self.settings.slow_after(time_budget), Mode::Automatic)
    }

    /// The breaker of this name, a new one if there is none.
    fn of(&self, name: String, settings: Settings, mode: Mode) -> Arc<Breaker> {
        let mut others = self.others.lock();
        if let Some(known) = others.get(&*name) {
            return Arc::clone(known);
        }
        let is_idle = |breaker: &Arc<Breaker>| Arc::strong_count(breaker) == 1;
        if others.values().filter(|breaker| is_idle(breaker)).count() >= MAX_IDLE {
            others.retain(|_, breaker| !is_idle(breaker));
        }
        let breaker = Arc::new(Breaker::new(name, settings, mode));
        others.insert(Arc::clone(breaker.name()), Arc::clone(&breaker));
        breaker
    }

    /// Those in use and the latest that were, by name.
    fn with_all<T>(&self, mut look: impl FnMut(&Breaker) -> T) -> Vec<T> {
        let others: Vec<Arc<Breaker>> = self.others.lock().values().map(Arc::clone).collect();
        let own = [&self.features, &self.log].into_iter();
        own.chain(others.iter().map(|breaker| &**breaker)).map(&mut look).collect()
    }

    /// Where each stands.
    pub(crate) fn standings(&self, now: Duration) -> Vec<Standing> {
        self.with_all(|breaker| breaker.standing(now))
    }

    /// Brings the metrics up to date.
    pub(crate) fn tell(&self, now: Duration, metrics: &Metrics) {
        for Standing { name, state, tally, refused, transitions, .. } in self.standings(now) {
            let number = crate::breaker::State::ALL.iter().position(|known| *known == state).unwrap_or(0);
            for (gauge, value) in [
                (metrics::BREAKER_STATE, number as f64),
                (metrics::BREAKER_CALLS, tally.calls as f64),
                (metrics::BREAKER_FAILED_SHARE, tally.failed_share()),
                (metrics::BREAKER_SLOW_SHARE, tally.slow_share()),
                (metrics::BREAKER_REFUSED, refused as f64),
                (metrics::BREAKER_TRANSITIONS, transitions as f64),
            ] {
                metrics.set_labelled(gauge, &[("breaker", &*name)], value);
            }
        }
    }
}

impl App {
    /// Where each circuit breaker stands.
    pub fn breakers(&self) -> Vec<Standing> {
        self.breakers.standings(self.clock.monotonic())
    }

    /// Forces the breaker called `name` open or closed until it is released, or until the next start; `None` releases
    /// it. Returns where it stands then.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none of this name.
    pub fn force_breaker(&self, name: &str, mode: Option<Mode>) -> Result<Standing, Error> {
        let now = self.clock.monotonic();
        let forced = self.breakers.with_all(|breaker| {
            (**breaker.name() == *name).then(|| {
                breaker.force(mode, now);
                breaker.standing(now)
            })
        });
        let Some(standing) = forced.into_iter().flatten().next() else {
            let names = self.breakers.with_all(|breaker| Arc::clone(breaker.name()));
            let near = did_you_mean(name, names.iter().map(|name| &**name));
            let hint = format!("{near} there are {}", names.join(", ")).trim_start().to_owned();
            return Err(Error::NotFound {
                kind: "circuit breaker",
                name: name.chars().take(100).collect(),
                hint,
            });
        };
        tracing::info!(breaker = name, state = standing.state.as_str(), "a circuit breaker was set by call");
        Ok(standing)
    }
}
