//! Why the candidate gave something else: the first of a few causes that explains it.
//!
//! Not here: field by field differences (`difference`).

use std::fmt;

use augur_domain::decision::CandidateOutcome;
use augur_domain::{Decision, Reason, ReasonCode};
use serde::{Serialize, Serializer};

/// Why an answer differs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The candidate refuses what was given.
    Refused(String),
    /// The candidate no longer refuses what it gives.
    NoLongerRefused(String),
    /// A rule forced one of both.
    Forced(String),
    /// The candidate does not offer what was given, or was not asked for it.
    NotOffered,
    /// A model scored otherwise: its alias.
    Score(String),
    /// Something was drawn at random.
    Drawn,
    /// Values came out otherwise.
    Value,
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) => write!(formatter, "now refused: {reason}"),
            Self::NoLongerRefused(reason) => write!(formatter, "no longer refused: {reason}"),
            Self::Forced(reason) => write!(formatter, "forced: {reason}"),
            Self::NotOffered => formatter.write_str("not offered"),
            Self::Score(alias) => write!(formatter, "score of {alias}"),
            Self::Drawn => formatter.write_str("drawn at random"),
            Self::Value => formatter.write_str("value"),
        }
    }
}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Cause {
    /// Of two decisions with different actions.
    pub(super) fn of(logged: &Decision, candidate: &Decision) -> Self {
        let Some(given_before) = outcome(candidate, &logged.action) else { return Self::NotOffered };
        if is_refusal(given_before) {
            return Self::Refused(spelled(&given_before.reason));
        }
        if let Some(now_given) = outcome(logged, &candidate.action).filter(|outcome| is_refusal(outcome)) {
            return Self::NoLongerRefused(spelled(&now_given.reason));
        }
        let choice = |decision: &Decision| decision.reasons.first().cloned();
        for reason in [choice(candidate), choice(logged)].into_iter().flatten() {
            match reason.code {
                ReasonCode::RuleForced => {
                    return Self::Forced(reason.detail.as_deref().unwrap_or("").to_owned());
                }
                ReasonCode::Explored => return Self::Drawn,
                _ => {}
            }
        }
        let shifted = candidate.scores.iter().find(|score| {
            let before = logged.scores.iter().find(|before| before.alias == score.alias);
            let bits =
                |score: Option<augur_domain::decision::Score>| score.map(|score| score.calibrated.to_bits());
            before.is_none_or(|before| bits(before.score) != bits(score.score))
        });
        shifted.map_or(Self::Value, |score| Self::Score(score.alias.to_string()))
    }
}

fn outcome<'a>(decision: &'a Decision, action: &str) -> Option<&'a CandidateOutcome> {
    decision.candidates.iter().find(|candidate| &*candidate.action == action)
}

/// Only what stood until the choice has a value to be chosen by, or is the choice.
fn is_refusal(outcome: &CandidateOutcome) -> bool {
    use ReasonCode::{
        BudgetPaced, BudgetSpent, FrequencyCap, HeldOut, MissingInput, NoConsent, NotEligible, QuietHours,
        RuleDenied, RuleNotAllowed, Suppressed, TimeZoneUnknown,
    };
    matches!(
        outcome.reason.code,
        BudgetPaced
            | BudgetSpent
            | FrequencyCap
            | HeldOut
            | MissingInput
            | NoConsent
            | NotEligible
            | QuietHours
            | RuleDenied
            | RuleNotAllowed
            | Suppressed
            | TimeZoneUnknown
    )
}

fn spelled(reason: &Reason) -> String {
    match &reason.detail {
        Some(detail) => format!("{} ({detail})", reason.code),
        None => reason.code.to_string(),
    }
}
