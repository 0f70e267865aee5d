//! What goes into a decision, what comes out, and the record that proves it.
//!
//! Not here: the function between them (`decision`) or the record's bytes (`decision-log`). The rule for
//! [`DecisionInputs`]: whatever the answer depends on, beside the policy, is a field of it.

use std::sync::Arc;

use crate::canary::CanaryArm;
use crate::feature::FeatureVector;
use crate::ids::{ContentHash, DecisionId, UserKey};
use crate::model::ModelRef;
use crate::reason::Reason;
use crate::time::Timestamp;
use crate::value::Value;

/// Everything that one decision depends on beside the policy.
#[derive(Debug, Clone, PartialEq)]
pub struct DecisionInputs {
    /// Names the decision.
    pub decision_id: DecisionId,
    /// The one instant that all ages, windows and caps are reckoned from.
    pub now: Timestamp,
    /// Seeds every random draw of this decision.
    pub seed: u64,
    /// The place that asks; known to the policy, or the request would have been refused.
    pub decision_point: Arc<str>,
    /// Whom it is about.
    pub user: UserKey,
    /// Request-time values, ordered by name, each name once.
    pub context: Vec<(Arc<str>, Value)>,
    /// Whether the features could be read.
    pub features_availability: Availability,
    /// The features as read, or all `NOT_FOUND`.
    pub features: FeatureVector,
    /// Per model alias of the policy, whether its model may be used now. Aliases not listed may not be used.
    pub models: Vec<(Arc<str>, Availability)>,
    /// What this user was already given within the longest cap window, oldest first.
    pub exposures: Vec<Exposure>,
}

/// Whether something that can be slow or broken may be used. Numbers are stored: never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Availability {
    /// It may.
    Available = 1,
    /// It answered with an error.
    Failed = 2,
    /// Its breaker is open.
    BreakerOpen = 3,
    /// There was no time left to use it.
    DeadlineExceeded = 4,
    /// Nothing is loaded under that name.
    NotLoaded = 5,
}

impl Availability {
    /// The availability with this stored number.
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Available),
            2 => Some(Self::Failed),
            3 => Some(Self::BreakerOpen),
            4 => Some(Self::DeadlineExceeded),
            5 => Some(Self::NotLoaded),
            _ => None,
        }
    }

    /// The word used in details and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Available => "AVAILABLE",
            Self::Failed => "FAILED",
            Self::BreakerOpen => "BREAKER_OPEN",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotLoaded => "NOT_LOADED",
        }
    }
}

/// One earlier decision that counts against frequency caps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposure {
    /// The action given.
    pub action: Arc<str>,
    /// Its channel then, empty if it had none.
    pub channel: Arc<str>,
    /// When it was given.
    pub at: Timestamp,
}

/// The answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The chosen action.
    pub action: Arc<str>,
    /// The action's payload: a JSON text, empty if none was declared.
    pub payload: Arc<str>,
    /// The action's channel, empty if it has none.
    pub channel: Arc<str>,
    /// Whether this decision counts against frequency caps (the action has some).
    pub counts_against_caps: bool,
    /// The value it was chosen by.
    pub value: f64,
    /// Probability that this action is chosen for these inputs, after rules and caps; in (0, 1].
    pub propensity: f64,
    /// How good an answer this is.
    pub rung: Rung,
    /// Models asked, in the order of the decision point's declaration.
    pub scores: Vec<ScoreOutcome>,
    /// Every action of the decision point, in declaration order.
    pub candidates: Vec<CandidateOutcome>,
    /// Why, most important first.
    pub reasons: Vec<Reason>,
    /// Until when the answer may be used, if the action declares it.
    pub expires_at: Option<Timestamp>,
}

/// Steps of the fallback ladder, best first. Numbers are stored: never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Rung {
    /// Every model that the decision point uses was asked.
    Champion = 1,
    /// Models or features were missing; rules and values did what they could without them.
    RulesOnly = 4,
    /// The declared default action.
    DefaultAction = 5,
}

impl Rung {
    /// The rung with this stored number.
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Champion),
            4 => Some(Self::RulesOnly),
            5 => Some(Self::DefaultAction),
            _ => None,
        }
    }

    /// The word used on the wire, in metrics and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Champion => "CHAMPION",
            Self::RulesOnly => "RULES_ONLY",
            Self::DefaultAction => "DEFAULT_ACTION",
        }
    }
}

/// What one model said.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreOutcome {
    /// The name that rules use: `scores.<alias>`.
    pub alias: Arc<str>,
    /// The exact version asked, absent when none was loaded.
    pub model: Option<ModelRef>,
    /// The score, absent when the model could not be used.
    pub score: Option<Score>,
}

/// A score at each stage, so that a difference can be placed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// The linear or summed output before the link function.
    pub margin: f64,
    /// The model's probability of its positive class, uncalibrated.
    pub raw: f64,
    /// After the calibrator: what rules and values see.
    pub calibrated: f64,
}

/// What became of one action.
#[derive(Debug, Clone, PartialEq)]
pub struct CandidateOutcome {
    /// The action.
    pub action: Arc<str>,
    /// Its value after boosts, absent when it was refused before values were asked.
    pub value: Option<f64>,
    /// Probability of being chosen for these inputs; 0 when refused.
    pub probability: f64,
    /// Why it was chosen, outranked or refused.
    pub reason: Reason,
    /// The earliest instant at which the refusal would end by itself, when that is known.
    pub next_eligible_at: Option<Timestamp>,
}

/// One line of the decision log: enough to decide again, bit for bit.
#[derive(Debug, Clone, PartialEq)]
pub struct DecisionRecord {
    /// Position in the log, counted from 1 without gaps.
    pub sequence: u64,
    /// The policy that decided.
    pub policy: ContentHash,
    /// The exact model behind each alias, in the order of the policy's aliases.
    pub models: Vec<(Arc<str>, ModelRef)>,
    /// The request as received.
    pub request: Vec<u8>,
    /// What the decision depended on.
    pub inputs: DecisionInputs,
    /// The canary that this decision was part of, if it was.
    pub canary: Option<CanaryArm>,
    /// The answer.
    pub decision: Decision,
    /// Measured, not decided: replay ignores it.
    pub observed: Observed,
}

/// How long the stages of a decision took, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Observed {
    /// Reading features and exposures.
    pub read_us: u32,
    /// Inside `decide`.
    pub decide_us: u32,
}
