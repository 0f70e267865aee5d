//! What a rule is: its effect, its mode, when it holds, and what people are told about it.
//!
//! Not here: how it is read (`file`), compiled (`compile`) or applied (`decide`).

use std::sync::Arc;

use augur_domain::{ReasonCode, Timestamp};

use crate::question::Question;
use crate::set::Changes;

/// What a rule does when its condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Only actions that a firing rule of this kind names are left.
    Allow,
    /// Its actions are refused.
    Deny,
    /// The best of its actions that is left is given.
    Force,
    /// The value of its actions is changed.
    Boost,
    /// Keys of the chosen action's payload are set.
    Set,
}

impl Effect {
    /// Every effect with the word that policies use.
    pub(crate) const WORDS: [(&str, Self); 5] = [
        ("allow", Self::Allow),
        ("deny", Self::Deny),
        ("force", Self::Force),
        ("boost", Self::Boost),
        ("set", Self::Set),
    ];

    /// The word that policies use.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, effect)| *effect == self).map_or("", |(word, _)| word)
    }

    /// The reason that names what such a rule did.
    pub(crate) const fn reason_code(self) -> ReasonCode {
        match self {
            Self::Allow => ReasonCode::RuleNotAllowed,
            Self::Deny => ReasonCode::RuleDenied,
            Self::Force => ReasonCode::RuleForced,
            Self::Boost => ReasonCode::RuleBoosted,
            Self::Set => ReasonCode::RuleSet,
        }
    }
}

/// Whether a rule acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// It acts.
    #[default]
    On,
    /// It is asked, and what it would have done is recorded; it changes nothing.
    Shadow,
    /// It is checked when the policy is loaded and never asked.
    Off,
}

impl Mode {
    /// Every mode with the word that policies use.
    pub(crate) const WORDS: [(&str, Self); 3] =
        [("on", Self::On), ("shadow", Self::Shadow), ("off", Self::Off)];

    /// The word that policies use.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, mode)| *mode == self).map_or("", |(word, _)| word)
    }
}

/// Which rows of a table act when several hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hit {
    /// The first.
    First,
    /// The one of highest priority, the first among equals.
    Priority,
    /// All of them, like so many rules.
    Collect,
}

impl Hit {
    /// Every way with the word that policies use.
    pub(crate) const WORDS: [(&str, Self); 3] =
        [("first", Self::First), ("priority", Self::Priority), ("collect", Self::Collect)];

    /// The word that policies use.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, hit)| *hit == self).map_or("", |(word, _)| word)
    }
}

/// A row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRow {
    /// The table.
    pub table: Arc<str>,
    /// Which rows of it act.
    pub hit: Hit,
    /// Counted from 1, without the titles.
    pub row: usize,
}

/// When a rule holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Validity {
    /// The first instant at which it holds; `None` for ever before.
    pub from: Option<Timestamp>,
    /// The first instant at which it holds no more; `None` for ever after.
    pub until: Option<Timestamp>,
}

impl Validity {
    /// Whether it holds at `now`.
    pub fn holds_at(self, now: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= now) && self.until.is_none_or(|until| now < until)
    }
}

/// A rule as it holds at one decision point. What it does is said by the list of the point that it stands in;
/// the lists are ordered by priority, highest first, then by place in the file.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) when: Arc<Question>,
    /// Where it stands.
    pub(crate) origin: Origin,
    pub(crate) effect: Effect,
    pub(crate) validity: Validity,
    pub(crate) reason: Arc<str>,
    pub(crate) priority: i64,
    /// Indices into the point's candidates, ascending, never empty.
    pub(crate) candidates: Vec<usize>,
    pub(crate) boost: Boost,
    /// What a rule that sets does to the payload of each candidate.
    pub(crate) changes: Option<Changes>,
}

/// What decides whether a rule fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A rule: its condition.
    Rule,
    /// A row of a table all of whose rows act: its condition.
    Row,
    /// A row of a table of which one row acts: whether that is the one. Indices into the tables of the point and their
    /// rows.
    Hit { table: usize, row: usize },
}

/// `value * factor + add`; does nothing to rules that do not boost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Boost {
    pub(crate) factor: f64,
    pub(crate) add: f64,
}

impl Boost {
    /// The changed value; the same one should the change leave the range of numbers.
    pub(crate) fn apply(self, value: f64) -> f64 {
        let changed = value * self.factor + self.add;
        if changed.is_finite() { changed + 0.0 } else { value }
    }
}

/// A rule as people read it, whatever its mode.
#[derive(Debug)]
pub struct RuleInfo {
    pub(crate) id: Arc<str>,
    pub(crate) effect: Effect,
    pub(crate) mode: Mode,
    pub(crate) validity: Validity,
    pub(crate) owner: Option<Arc<str>>,
    pub(crate) reason: Arc<str>,
    pub(crate) priority: i64,
    pub(crate) actions: Vec<Arc<str>>,
    pub(crate) points: Option<Vec<Arc<str>>>,
    pub(crate) boost: Boost,
    /// Keys and JSON texts of a rule that sets.
    pub(crate) set: Arc<[(Box<str>, Box<str>)]>,
    /// Its condition as compiled for the first decision point where it holds; `None` if it holds at none.
    pub(crate) when: Option<Arc<Question>>,
    pub(crate) row: Option<TableRow>,
}

impl RuleInfo {
    /// Its id.
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// What it does.
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// Whether it acts.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// When it holds.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Who answers for it, if that was said.
    pub fn owner(&self) -> Option<&Arc<str>> {
        self.owner.as_ref()
    }

    /// The code that answers give.
    pub fn reason(&self) -> &Arc<str> {
        &self.reason
    }

    /// Highest first.
    pub fn priority(&self) -> i64 {
        self.priority
    }

    /// Where it stands, if it is a row of a table.
    pub fn row(&self) -> Option<&TableRow> {
        self.row.as_ref()
    }

    /// The actions it is about.
    pub fn actions(&self) -> &[Arc<str>] {
        &self.actions
    }

    /// The decision points it names, `None` for every one that offers one of its actions.
    pub fn points(&self) -> Option<&[Arc<str>]> {
        self.points.as_deref()
    }

    /// Its condition as it was written, empty if it holds at no decision point.
    pub fn condition(&self) -> &str {
        self.when.as_ref().map_or("", |when| when.expression().source())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_holds_from_its_first_instant_until_before_its_last() {
        let at = Timestamp::from_unix_ms;
        let validity = Validity { from: Some(at(10)), until: Some(at(20)) };
        let holds: Vec<bool> = [9, 10, 19, 20].into_iter().map(|now| validity.holds_at(at(now))).collect();
        assert_eq!(holds, [false, true, true, false]);
        assert!(Validity::default().holds_at(Timestamp::MIN) && Validity::default().holds_at(Timestamp::MAX));
    }

    #[test]
    fn every_word_is_its_own() {
        assert!(Effect::WORDS.iter().all(|(word, effect)| effect.as_str() == *word));
        assert!(Mode::WORDS.iter().all(|(word, mode)| mode.as_str() == *word));
    }
}
