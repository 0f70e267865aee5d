//! The closed space of reasons that a decision can give.
//!
//! Not here: prose for people. Every code is explained in `docs/reason-codes.md`.

use std::fmt;
use std::sync::Arc;

macro_rules! reason_codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $word:literal;)*) => {
        /// Why something was decided. Numbers are stored and on the wire: never renumber.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum ReasonCode {
            $($(#[doc = $doc])+ $variant = $number,)*
        }

        impl ReasonCode {
            /// Every code, in numeric order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word used on the wire, in metrics, in logs and in the documentation.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// What it says to people, and what its detail names where it has one, as the documentation of the code.
            const fn documentation(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),+),)*
                }
            }

            /// The code with this stored number.
            pub const fn from_u8(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

reason_codes! {
    /// The action had the highest value among those left.
    HighestValue = 1, "HIGHEST_VALUE";
    /// Another eligible action was chosen before this one.
    Outranked = 2, "OUTRANKED";
    /// A `force` rule chose the action. Detail: the rule's reason code.
    RuleForced = 3, "RULE_FORCED";
    /// A `deny` rule removed the action. Detail: the rule's reason code.
    RuleDenied = 4, "RULE_DENIED";
    /// A `boost` rule changed the action's value. Detail: the rule's reason code.
    RuleBoosted = 5, "RULE_BOOSTED";
    /// The action's `eligible_when` was false.
    NotEligible = 6, "NOT_ELIGIBLE";
    /// A frequency cap of the action is used up. Detail: the cap.
    FrequencyCap = 7, "FREQUENCY_CAP";
    /// A rule or an eligibility condition could not be answered, so it did not fire. Detail: `where: name`.
    MissingInput = 8, "MISSING_INPUT";
    /// The action's value expression could not be answered; it stands at its declared fallback value.
    ValueUnknown = 9, "VALUE_UNKNOWN";
    /// No action was left; the decision point's default was given.
    NoEligibleAction = 10, "NO_ELIGIBLE_ACTION";
    /// A model was not available. Detail: the alias.
    ModelUnavailable = 11, "MODEL_UNAVAILABLE";
    /// The user's features could not be read. Detail: the cause.
    FeaturesUnavailable = 12, "FEATURES_UNAVAILABLE";
    /// Nothing is known about this user yet.
    UserUnknown = 13, "USER_UNKNOWN";
    /// The deadline left no time for a better answer.
    DeadlineExceeded = 14, "DEADLINE_EXCEEDED";
    /// Chosen at random by the declared exploration.
    Explored = 15, "EXPLORED";
    /// Only actions named by an `allow` rule were left, and this one is not among them. Detail: the reason code.
    RuleNotAllowed = 16, "RULE_NOT_ALLOWED";
    /// The decision log could not be written; the default was given by the declared policy.
    LogUnavailable = 17, "LOG_UNAVAILABLE";
    /// An input raised a model's score. Detail: `model: word`, the word that the policy declares for it.
    ScoreRaised = 18, "SCORE_RAISED";
    /// An input lowered a model's score. Detail: `model: word`, the word that the policy declares for it.
    ScoreLowered = 19, "SCORE_LOWERED";
    /// The person has not consented to a purpose that the action needs. Detail: the purpose.
    NoConsent = 20, "NO_CONSENT";
    /// The person wants nothing from the action's channel. Detail: the channel, or `*`.
    Suppressed = 21, "SUPPRESSED";
    /// It is a quiet hour where the person is. Detail: the quiet hours and the time zone.
    QuietHours = 22, "QUIET_HOURS";
    /// The action's budget is spent. Detail: the budget.
    BudgetSpent = 23, "BUDGET_SPENT";
    /// The action's budget is ahead of its pace. Detail: the budget.
    BudgetPaced = 24, "BUDGET_PACED";
    /// The user is held out. Detail: the holdout.
    HeldOut = 25, "HELD_OUT";
    /// The user is in an arm of an experiment that had a say. Detail: `experiment: arm`.
    ExperimentArm = 26, "EXPERIMENT_ARM";
    /// A `set` rule changed the payload. Detail: the rule's reason code.
    RuleSet = 27, "RULE_SET";
    /// The person's time zone is not known; the declared policy stands in. Detail: what was said, and the stand-in.
    TimeZoneUnknown = 28, "TIME_ZONE_UNKNOWN";
    /// Refused since one too like it was given lately. Detail: what they share.
    Diversity = 29, "DIVERSITY";
    /// The version before stood in for a model that could not be used. Detail: the alias.
    PreviousModel = 30, "PREVIOUS_MODEL";
    /// The score that the policy declares stood in for a model. Detail: the alias, or `alias: segment`.
    PriorScore = 31, "PRIOR_SCORE";
    /// The action's value was lowered since it is too like what was given lately. Detail: what they share.
    DiversityPenalty = 32, "DIVERSITY_PENALTY";
}

impl ReasonCode {
    /// What it says to people, in whole sentences.
    pub fn sentence(self) -> &'static str {
        let documentation = self.documentation();
        documentation.split_once(DETAIL).map_or(documentation, |(sentence, _)| sentence).trim()
    }
}

/// Begins what the documentation of a code says about its detail.
const DETAIL: &str = " Detail:";

impl fmt::Display for ReasonCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A code with what it refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The closed code.
    pub code: ReasonCode,
    /// What it refers to: a rule's own reason code, a cap, a model alias, a feature.
    pub detail: Option<Arc<str>>,
}

impl Reason {
    /// A reason that needs no detail.
    pub const fn new(code: ReasonCode) -> Self {
        Self { code, detail: None }
    }

    /// A reason that names what it refers to.
    pub const fn with(code: ReasonCode, detail: Arc<str>) -> Self {
        Self { code, detail: Some(detail) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_says_something_to_people() {
        let mut sentences: Vec<_> = ReasonCode::ALL.iter().map(|code| code.sentence()).collect();
        for sentence in &sentences {
            let whole = sentence.ends_with('.') && sentence.starts_with(char::is_uppercase);
            assert!(whole && !sentence.contains("Detail") && !sentence.contains("  "), "{sentence}");
        }
        assert_eq!(ReasonCode::NotEligible.sentence(), "The action's `eligible_when` was false.");
        assert_eq!(ReasonCode::FrequencyCap.sentence(), "A frequency cap of the action is used up.");
        sentences.sort_unstable();
        sentences.dedup();
        assert_eq!(sentences.len(), ReasonCode::ALL.len());
    }

    #[test]
    fn numbers_and_words_are_unique_and_reversible() {
        let mut words: Vec<_> = ReasonCode::ALL.iter().map(|code| code.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), ReasonCode::ALL.len());
        for code in ReasonCode::ALL {
            assert_eq!(ReasonCode::from_u8(*code as u8), Some(*code));
        }
    }
}
