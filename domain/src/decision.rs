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
    /// Per model alias of the policy, whether its model may be used now; with `previous.` before it, whether the version
    /// before may. Aliases not listed may not be used.
    pub models: Vec<(Arc<str>, Availability)>,
    /// What this user was already given within the longest cap window, oldest first.
    pub exposures: Vec<Exposure>,
    /// What is known of the person beside features.
    pub person: Person,
    /// Per action with a budget, ordered by name: how much of it is spent within its window, as of `now`.
    pub budgets: Vec<(Arc<str>, u64)>,
    /// Only a look at what would be decided: it counts against nothing and enrols nobody.
    pub peek: bool,
    /// How much of the time that the answer may take was left when deciding began, in microseconds. `None` where the
    /// decision point's ladder does not ask, or nobody waits.
    pub time_left_us: Option<u64>,
}

/// What is known of a person beside features: said by the person, not computed from behaviour. Lists are ordered by
/// name, each name once.
#[derive(Debug, Clone, PartialEq)]
pub struct Person {
    /// Whether it could be read. If not, what was said of old is not known, and the rest is what the request says.
    pub availability: Availability,
    /// Name of an IANA time zone, if one is known; not necessarily one that exists.
    pub time_zone: Option<Arc<str>>,
    /// What expressions read as `user.<name>`.
    pub traits: Vec<(Arc<str>, Value)>,
    /// Per purpose whether the person consented. A purpose not listed was never asked about.
    pub consents: Vec<(Arc<str>, bool)>,
    /// Channels that the person wants nothing from; `*` is all of them.
    pub suppressed: Vec<Arc<str>>,
}

impl Default for Person {
    /// Nothing is known, and nobody failed to read it.
    fn default() -> Self {
        Self {
            availability: Availability::Available,
            time_zone: None,
            traits: Vec::new(),
            consents: Vec::new(),
            suppressed: Vec::new(),
        }
    }
}

impl Person {
    /// Whether nothing at all is known, and nobody failed to read it.
    pub fn is_unknown(&self) -> bool {
        self.availability == Availability::Available
            && self.time_zone.is_none()
            && self.traits.is_empty()
            && self.consents.is_empty()
            && self.suppressed.is_empty()
    }
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
    /// Its category then, empty if it had none.
    pub category: Arc<str>,
    /// The decision that gave it; [`DecisionId::NONE`] where that was not kept.
    pub decision: DecisionId,
    /// Until when it counts unless its delivery is confirmed; `None` if it counts for good.
    pub holds_until: Option<Timestamp>,
}

impl Exposure {
    /// One that counts for good, of no category and no known decision.
    pub fn new(action: impl Into<Arc<str>>, channel: impl Into<Arc<str>>, at: Timestamp) -> Self {
        Self {
            action: action.into(),
            channel: channel.into(),
            at,
            category: Arc::default(),
            decision: DecisionId::NONE,
            holds_until: None,
        }
    }

    /// Whether action, channel and instant say all there is.
    pub fn is_plain(&self) -> bool {
        self.category.is_empty() && self.decision == DecisionId::NONE && self.holds_until.is_none()
    }
}

/// Which arm of an experiment the user is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The experiment.
    pub experiment: Arc<str>,
    /// The arm, by the experiment's own hash.
    pub arm: Arc<str>,
    /// Whether this decision counts the user in; a look does not.
    pub enrolled: bool,
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
    /// The action's category, empty if it has none.
    pub category: Arc<str>,
    /// Until when it counts against frequency caps unless its delivery is confirmed; `None` if it counts for good.
    pub holds_until: Option<Timestamp>,
    /// Arms of the experiments that hold here, in declaration order.
    pub assignments: Vec<Assignment>,
    /// What rules on trial would have done, in order; they changed nothing.
    pub shadow: Vec<Reason>,
}

impl Default for Decision {
    /// Nothing is given.
    fn default() -> Self {
        Self {
            action: Arc::default(),
            payload: Arc::default(),
            channel: Arc::default(),
            counts_against_caps: false,
            value: 0.0,
            propensity: 1.0,
            rung: Rung::DefaultAction,
            scores: Vec::new(),
            candidates: Vec::new(),
            reasons: Vec::new(),
            expires_at: None,
            category: Arc::default(),
            holds_until: None,
            assignments: Vec::new(),
            shadow: Vec::new(),
        }
    }
}

/// Steps of the fallback ladder, best first. Numbers are stored: never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Rung {
    /// Every model that the decision point uses was asked.
    Champion = 1,
    /// An earlier version of a model stood in for one that could not be used.
    PreviousModel = 2,
    /// The score that the policy declares, for the user's segment or for everybody, stood in for a model.
    SegmentDefault = 3,
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
            2 => Some(Self::PreviousModel),
            3 => Some(Self::SegmentDefault),
            4 => Some(Self::RulesOnly),
            5 => Some(Self::DefaultAction),
            _ => None,
        }
    }

    /// The word used on the wire, in metrics and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Champion => "CHAMPION",
            Self::PreviousModel => "PREVIOUS_MODEL",
            Self::SegmentDefault => "SEGMENT_DEFAULT",
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
    /// The exact version asked, absent when none was loaded or the policy's own score stood in.
    pub model: Option<ModelRef>,
    /// The score, absent when neither the model nor what stands in for it could be used.
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
