//! `[breakers]`: when what is slow or broken is left alone.
//!
//! Not here: how the keys are read (`settings`), or the breakers (`crate::breaker`).

use std::time::Duration;

use crate::breaker::{Mode, Settings};

/// `[breakers]`
#[derive(Debug, Clone, PartialEq)]
pub struct Breakers {
    /// Whether the breaker before feature reads opens, or only counts.
    pub features: Mode,
    /// The same of those before models.
    pub models: Mode,
    /// The same of that before the decision log.
    pub log: Mode,
    /// A read of features that takes as long is slow.
    pub features_slow_after: Duration,
    /// A decision that takes as long is slow, for every model that it asks.
    pub models_slow_after: Duration,
    /// A record that waits as long for the log is slow.
    pub log_slow_after: Duration,
    /// What they have in common; each has a `slow_after` of its own.
    pub common: Settings,
}

impl Default for Breakers {
    fn default() -> Self {
        Self {
            features: Mode::Automatic,
            models: Mode::Automatic,
            log: Mode::Automatic,
            features_slow_after: Duration::from_millis(50),
            models_slow_after: Duration::from_millis(20),
            log_slow_after: Duration::from_millis(500),
            common: Settings::default(),
        }
    }
}

impl Breakers {
    /// What all have in common, with this as slow.
    pub fn slow_after(&self, slow_after: Duration) -> Settings {
        Settings { slow_after, ..self.common.clone() }
    }
}
