//! What came of decisions, as the label that a model's score is measured by.
//!
//! Not here: what decisions were worth (`reward`), or measuring (`report`).

use augur_domain::{DecisionId, OutcomeKind, Timestamp};

use crate::reward::{RewardRule, Rewards};
use crate::{DataDirectory, Error};

/// What the scores of one alias foretell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The alias, as in `scores.NAME`.
    pub alias: String,
    /// An outcome of this kind makes a decision positive.
    pub kind: OutcomeKind,
    /// Whether its absence does instead, as for a model of who stays away.
    pub negated: bool,
    /// Outcomes later than so long after their decision do not count; younger decisions, by the last one of the log, have
    /// no label yet.
    pub within_ms: i64,
}

impl Label {
    /// For people, such as `CONVERTED within 14d`.
    pub(super) fn spelled(&self) -> String {
        let within = augur_domain::time::format_duration_ms(self.within_ms);
        let no = if self.negated { "not " } else { "" };
        format!("{no}{} within {within}", self.kind.as_str())
    }
}

/// Outcomes by what they label.
#[derive(Debug, Default)]
pub(super) struct Labels {
    all: Vec<(Label, Rewards)>,
}

impl Labels {
    pub(super) fn read(directory: &DataDirectory, labels: &[Label]) -> Result<Self, Error> {
        let read = |label: &Label| {
            let rule = RewardRule::sum_of(label.kind, label.within_ms);
            Ok::<_, Error>((label.clone(), Rewards::read(&directory.outcomes_dir(), &[rule])?))
        };
        Ok(Self { all: labels.iter().map(read).collect::<Result<_, _>>()? })
    }

    /// What labels the scores of `alias`.
    pub(super) fn find(&self, alias: &str) -> Option<&Label> {
        self.all.iter().find(|(label, _)| label.alias == alias).map(|(label, _)| label)
    }

    /// What came of a decision; `None` if nobody said what to look for.
    pub(super) fn of(&self, alias: &str, decision: DecisionId, decided_at: Timestamp) -> Option<bool> {
        let (label, outcomes) = self.all.iter().find(|(label, _)| label.alias == alias)?;
        Some(outcomes.any(decision, decided_at, label.within_ms) != label.negated)
    }
}
