//! One logged decision as an evaluation sees it, checked once.
//!
//! Not here: reading it from a file.

use std::fmt;

/// What a reward model says of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Model {
    /// The expected reward of the logged action.
    pub(super) logged_action: f64,
    /// The expected reward under the target policy: the sum over actions of its probability and the action's reward.
    pub(super) target: f64,
}

/// One logged decision. All numbers are finite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoggedRow {
    reward: f64,
    weight: f64,
    logged_probability: f64,
    target_probability: f64,
    supported: Option<f64>,
    model: Option<Model>,
    /// `None`: a group of its own.
    group: Option<u64>,
}

/// What keeps a row from being used.
#[derive(Debug, Clone, PartialEq)]
pub struct RowFault {
    /// Which of the numbers.
    pub field: &'static str,
    /// Its value.
    pub found: f64,
    /// What it should be.
    pub expected: &'static str,
}

impl fmt::Display for RowFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} is {}; expected {}", self.field, self.found, self.expected)
    }
}

const FINITE: &str = "a finite number";
const PROBABILITY: &str = "a probability from 0 to 1";
const POSITIVE_PROBABILITY: &str = "a probability above 0, at most 1";

impl LoggedRow {
    /// A row with the reward that followed, the logging policy's probability of the action that it gave, and the target
    /// policy's probability of the same action.
    ///
    /// # Errors
    /// The first number out of its range.
    pub fn new(reward: f64, logged_probability: f64, target_probability: f64) -> Result<Self, RowFault> {
        check("reward", reward, FINITE, f64::is_finite)?;
        check("propensity", logged_probability, POSITIVE_PROBABILITY, |value| value > 0.0 && value <= 1.0)?;
        check("target probability", target_probability, PROBABILITY, |value| (0.0..=1.0).contains(&value))?;
        let weight = target_probability / logged_probability;
        check("weight", weight, FINITE, f64::is_finite)?;
        Ok(Self {
            reward,
            weight,
            logged_probability,
            target_probability,
            supported: None,
            model: None,
            group: None,
        })
    }

    /// The same with what a reward model expects of the logged action, and of the target policy.
    ///
    /// # Errors
    /// The first number that is not finite.
    pub fn with_model(self, logged_action: f64, target: f64) -> Result<Self, RowFault> {
        check("reward model", logged_action, FINITE, f64::is_finite)?;
        check("reward model under the target", target, FINITE, f64::is_finite)?;
        Ok(Self { model: Some(Model { logged_action, target }), ..self })
    }

    /// The same of a log that kept this row with probability `pass`.
    ///
    /// # Errors
    /// When it is no probability above 0.
    pub fn kept_with(self, pass: f64) -> Result<Self, RowFault> {
        check("pass probability", pass, POSITIVE_PROBABILITY, |value| value > 0.0 && value <= 1.0)?;
        let weight = self.weight / pass;
        check("weight", weight, FINITE, f64::is_finite)?;
        Ok(Self { weight, ..self })
    }

    /// The same with how much of the target policy's probability lies on actions that the logging policy could give.
    ///
    /// # Errors
    /// When it is no probability.
    pub fn with_supported(self, supported: f64) -> Result<Self, RowFault> {
        check("supported share", supported, PROBABILITY, |value| (0.0..=1.0).contains(&value))?;
        Ok(Self { supported: Some(supported), ..self })
    }

    /// The same as one of several rows of `group`, such as a user: they are resampled together.
    pub fn of_group(self, group: u64) -> Self {
        Self { group: Some(group), ..self }
    }

    /// `target / (logged * pass)`.
    pub fn weight(&self) -> f64 {
        self.weight
    }

    pub(super) fn reward(&self) -> f64 {
        self.reward
    }

    pub(super) fn target_probability(&self) -> f64 {
        self.target_probability
    }

    pub(super) fn logged_probability(&self) -> f64 {
        self.logged_probability
    }

    pub(super) fn supported(&self) -> Option<f64> {
        self.supported
    }

    pub(super) fn model(&self) -> Option<Model> {
        self.model
    }

    pub(super) fn group(&self) -> Option<u64> {
        self.group
    }

    /// Reward less what the model expected of the logged action; the reward itself without a model.
    pub(super) fn residual(&self) -> f64 {
        self.reward - self.model.map_or(0.0, |model| model.logged_action)
    }
}

fn check(
    field: &'static str,
    found: f64,
    expected: &'static str,
    fits: impl FnOnce(f64) -> bool,
) -> Result<(), RowFault> {
    if fits(found) { Ok(()) } else { Err(RowFault { field, found, expected }) }
}
