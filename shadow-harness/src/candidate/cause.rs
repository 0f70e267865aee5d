//! Why the candidate gave something else: the first of a few causes that explains it.
//!
//! Not here: field by field differences (`difference`).

use std::fmt;

use augur_domain::decision::{CandidateOutcome, Score, ScoreOutcome};
use augur_domain::{Decision, Reason, ReasonCode};
use serde::{Serialize, Serializer};

use crate::Stage;

/// Why an answer differs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The candidate refuses what was given: the code, and how it is spelled with its detail.
    Refused(ReasonCode, String),
    /// The candidate no longer refuses what it gives.
    NoLongerRefused(ReasonCode, String),
    /// A rule forced one of both.
    Forced(String),
    /// The candidate does not offer what was given, or was not asked for it.
    NotOffered,
    /// A model scored otherwise: its alias.
    Score(String),
    /// A model's margin is the same, and its calibrator makes something else of it: its alias.
    Calibration(String),
    /// Something was drawn at random.
    Drawn,
    /// Values came out otherwise.
    Value,
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(_, reason) => write!(formatter, "now refused: {reason}"),
            Self::NoLongerRefused(_, reason) => write!(formatter, "no longer refused: {reason}"),
            Self::Forced(reason) => write!(formatter, "forced: {reason}"),
            Self::NotOffered => formatter.write_str("not offered"),
            Self::Score(alias) => write!(formatter, "score of {alias}"),
            Self::Calibration(alias) => write!(formatter, "calibration of {alias}"),
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
            return Self::Refused(given_before.reason.code, spelled(&given_before.reason));
        }
        if let Some(now_given) = outcome(logged, &candidate.action).filter(|outcome| is_refusal(outcome)) {
            return Self::NoLongerRefused(now_given.reason.code, spelled(&now_given.reason));
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
        candidate
            .scores
            .iter()
            .find_map(|score| {
                let before = logged.scores.iter().find(|before| before.alias == score.alias);
                Self::of_score(score, before)
            })
            .unwrap_or(Self::Value)
    }

    fn of_score(now: &ScoreOutcome, before: Option<&ScoreOutcome>) -> Option<Self> {
        let bits = |of: fn(Score) -> f64, outcome: Option<&ScoreOutcome>| {
            outcome.and_then(|outcome| outcome.score).map(|score| of(score).to_bits())
        };
        let differs = |of| bits(of, Some(now)) != bits(of, before);
        if !differs(|score| score.calibrated) {
            return None;
        }
        let alias = now.alias.to_string();
        let is_model = differs(|score| score.margin) || differs(|score| score.raw);
        Some(if is_model { Self::Score(alias) } else { Self::Calibration(alias) })
    }

    /// In which stage of deciding it lies.
    pub fn stage(&self) -> Stage {
        use ReasonCode::{BudgetPaced, BudgetSpent, FrequencyCap};
        match self {
            Self::Refused(FrequencyCap | BudgetPaced | BudgetSpent, _)
            | Self::NoLongerRefused(FrequencyCap | BudgetPaced | BudgetSpent, _) => Stage::Cap,
            Self::Refused(..) | Self::NoLongerRefused(..) | Self::Forced(_) | Self::NotOffered => Stage::Rule,
            Self::Score(_) => Stage::Score,
            Self::Calibration(_) => Stage::Calibration,
            Self::Drawn => Stage::Arbitration,
            Self::Value => Stage::Value,
        }
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
