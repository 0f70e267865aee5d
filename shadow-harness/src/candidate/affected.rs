//! What came of what was given, by action, where a candidate agrees and where it gives something else.
//!
//! Not here: deciding (`run`), or estimates of what nobody tried (`off_policy`).

use serde::Serialize;

/// What came of the decisions that gave an action, of those that are old enough.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Came {
    /// Decisions.
    pub decisions: u64,
    /// Of them with an outcome in time.
    pub rewarded: u64,
    /// Sum of their rewards, by the declared rule.
    pub reward: f64,
}

impl Came {
    fn take(&mut self, reward: f64, is_rewarded: bool) {
        self.decisions += 1;
        self.rewarded += u64::from(is_rewarded);
        self.reward += reward;
    }
}

/// What is known of the outcomes of an action under a candidate. What comes of decisions that the candidate changes to this
/// action, nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct ActionOutcomes {
    /// Decisions in which candidate and log agree on the action: their outcomes stay.
    pub kept: Came,
    /// Decisions in which the candidate gives something else: their outcomes are at stake.
    pub given_up: Came,
}

impl ActionOutcomes {
    pub(super) fn take(&mut self, is_kept: bool, reward: f64, is_rewarded: bool) {
        let came = if is_kept { &mut self.kept } else { &mut self.given_up };
        came.take(reward, is_rewarded);
    }
}
