//! `[shadow]`: candidates that decide again on live traffic.
//!
//! Not here: how the keys are read (`settings`), or what is done with them (`crate::live_shadow`).

use std::time::Duration;

/// `[shadow]`
#[derive(Debug, Clone, PartialEq)]
pub struct Shadow {
    /// Who decides again; nobody when empty.
    pub candidates: Vec<ShadowCandidate>,
    /// Share of decisions that are kept for them, above 0 to 1.
    pub share: f64,
    /// Most bytes of decisions that wait for them.
    pub queue_bytes: usize,
    /// Threads on which they decide.
    pub threads: usize,
    /// A candidate that takes longer for one decision has not answered.
    pub time_budget: Duration,
    /// A thread whose candidate takes as long is given up and replaced.
    pub abandon_after: Duration,
    /// Threads given up for a candidate before it is not asked any more.
    pub max_abandoned: usize,
    /// The oldest segments of their log go while it takes more bytes than this.
    pub keep_bytes: u64,
}

/// What decides in the place of the active policy and its models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShadowCandidate {
    /// What it is called in records and metrics.
    pub name: String,
    /// A policy that decided here before, by the beginning of its id, or a policy file; `None` is the active policy.
    pub policy: Option<String>,
    /// Models by their names in the registry, each with the version or the alias to ask in the place of what the policy says.
    pub models: Vec<(String, String)>,
}

impl Default for Shadow {
    fn default() -> Self {
        Self {
            candidates: Vec::new(),
            share: 0.1,
            queue_bytes: 16 << 20,
            threads: 1,
            time_budget: Duration::from_millis(50),
            abandon_after: Duration::from_secs(1),
            max_abandoned: 3,
            keep_bytes: 1 << 30,
        }
    }
}
