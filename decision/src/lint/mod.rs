//! Checks of a whole policy that loads: what can never happen, what nobody notices, what looks like a slip.
//!
//! Findings are advice: a policy with findings decides. Each check has a file. What a condition can be is known as far as
//! its comparisons tell ([`augur_expression::Cases`]); a check that is not sure says nothing. Not here: faults that keep a
//! policy from loading (`check`, `compile`).

mod caps;
mod conflicts;
mod gaps;
mod ladder;
mod never;
mod overlaps;
mod refused;
mod segments;
mod shadowed;
mod sorting;
mod tables;
mod unread;

use std::sync::Arc;

use augur_domain::{Diagnostic, Timestamp};
use augur_expression::Cases;

use crate::file::{Complaints, Policy, RuleEntry, parse};
use crate::rule::{Effect, Hit, Mode, RuleInfo};
use crate::snapshot::{Point, PolicySnapshot};
use crate::source::Sources;

/// Findings of one kind that are told of one table; many rows share one mistake.
const MAX_PER_TABLE: usize = 20;
/// Rules, and rows of tables all of whose rows act, that are compared with each other; those behind are not looked at in
/// pairs.
const MAX_COMPARED: usize = 3_000;

/// What was found. The words are the codes of `augur policy lint`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingCode {
    /// A condition that is never true.
    NeverTrue,
    /// A rule reads a feature that forgets sooner than the rule asks.
    StaleFeature,
    /// A rule whose `valid_until` is past.
    WindowOver,
    /// A rule that another one always beats to it.
    Shadowed,
    /// Two force rules of equal priority that can fire together and name different actions.
    EqualPriority,
    /// An allow rule that leaves only what a deny rule refuses.
    AllowDenied,
    /// Two rows of a table of equal priority that can hold together and do different things.
    TableOverlap,
    /// Values for which no row holds of a table that is said to be complete.
    TableIncomplete,
    /// An experiment that nobody can be in, or a holdout that holds nobody out.
    NobodyIn,
    /// An experiment that reaches, at one decision point, who is held out at another.
    HoldoutMixed,
    /// A comparison with the name of a segment that the model does not have.
    SegmentUnknown,
    /// An action that is never given.
    AlwaysRefused,
    /// A cap that another one always reaches first.
    CapNeverBinds,
    /// A model that no decision point asks, or that is asked and read by nothing.
    ModelUnread,
    /// A segment that no decision point reads.
    SegmentUnread,
    /// Context that no expression reads.
    ContextUnread,
    /// A word about a model that no decision point asks.
    WordUnheard,
    /// A step of a fallback ladder that no decision reaches, or a score to fall back to that no ladder uses.
    RungUnreachable,
    /// An experiment whose arms differ in nothing.
    ExperimentIdle,
    /// Values for which no row of a table holds.
    TableGap,
}

impl FindingCode {
    /// Every code.
    pub const ALL: [Self; 20] = [
        Self::NeverTrue,
        Self::StaleFeature,
        Self::WindowOver,
        Self::Shadowed,
        Self::EqualPriority,
        Self::AllowDenied,
        Self::TableOverlap,
        Self::TableIncomplete,
        Self::NobodyIn,
        Self::HoldoutMixed,
        Self::SegmentUnknown,
        Self::AlwaysRefused,
        Self::CapNeverBinds,
        Self::ModelUnread,
        Self::SegmentUnread,
        Self::ContextUnread,
        Self::WordUnheard,
        Self::RungUnreachable,
        Self::ExperimentIdle,
        Self::TableGap,
    ];

    /// The word used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NeverTrue => "NEVER_TRUE",
            Self::StaleFeature => "STALE_FEATURE",
            Self::WindowOver => "WINDOW_OVER",
            Self::Shadowed => "SHADOWED",
            Self::EqualPriority => "EQUAL_PRIORITY",
            Self::AllowDenied => "ALLOW_DENIED",
            Self::TableOverlap => "TABLE_OVERLAP",
            Self::TableIncomplete => "TABLE_INCOMPLETE",
            Self::NobodyIn => "NOBODY_IN",
            Self::HoldoutMixed => "HOLDOUT_MIXED",
            Self::SegmentUnknown => "SEGMENT_UNKNOWN",
            Self::AlwaysRefused => "ALWAYS_REFUSED",
            Self::CapNeverBinds => "CAP_NEVER_BINDS",
            Self::ModelUnread => "MODEL_UNREAD",
            Self::SegmentUnread => "SEGMENT_UNREAD",
            Self::ContextUnread => "CONTEXT_UNREAD",
            Self::WordUnheard => "WORD_UNHEARD",
            Self::RungUnreachable => "RUNG_UNREACHABLE",
            Self::ExperimentIdle => "EXPERIMENT_IDLE",
            Self::TableGap => "TABLE_GAP",
        }
    }

    /// How much it matters.
    pub const fn severity(self) -> Severity {
        match self {
            Self::WindowOver
            | Self::ModelUnread
            | Self::SegmentUnread
            | Self::ContextUnread
            | Self::WordUnheard
            | Self::ExperimentIdle
            | Self::TableGap => Severity::Note,
            _ => Severity::Warning,
        }
    }
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Something that was written has no effect, or another one than it seems.
    Warning,
    /// Something is not used.
    Note,
}

impl Severity {
    /// The word used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was found.
    pub code: FindingCode,
    /// Where, in a sentence; the hint is the next step.
    pub complaint: Diagnostic,
}

/// What a lint knows beside the policy.
#[derive(Debug, Clone, Copy)]
pub struct LintContext<'a> {
    /// The instant at which windows are over.
    pub now: Timestamp,
    /// Per feature, in slot order, what it can be; nothing of those behind the last.
    pub features: &'a [PossibleValues],
}

/// What a feature can be, as far as its definition tells.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PossibleValues {
    /// The smallest value, if there is one: counts are never negative.
    pub least: Option<f64>,
    /// The largest value, if there is one: the time since something that is forgotten after a while.
    pub greatest: Option<f64>,
    /// Whether it is a whole number.
    pub is_whole: bool,
}

impl PolicySnapshot {
    /// Everything that looks amiss in this policy, in file order. `source` is what it was loaded from.
    pub fn lint<'s>(&self, source: impl Into<Sources<'s>>, context: LintContext<'_>) -> Vec<Finding> {
        let sources = source.into();
        let mut complaints = Complaints::new(sources);
        let file = parse(sources, &mut complaints);
        let rules = file.every_rule().zip(&self.rules);
        let rules = rules.map(|((entry, _), info)| LintedRule::new(self, entry, info)).collect();
        let mut lint = Lint { policy: self, file: &file, complaints, context, rules, findings: Vec::new() };
        never::check(&mut lint);
        shadowed::check(&mut lint);
        conflicts::check(&mut lint);
        overlaps::check(&mut lint);
        gaps::check(&mut lint);
        refused::check(&mut lint);
        caps::check(&mut lint);
        sorting::check(&mut lint);
        segments::check(&mut lint);
        unread::check(&mut lint);
        ladder::check(&mut lint);
        let mut findings = lint.findings;
        findings.sort_by_key(|(offset, finding)| (*offset, finding.code));
        findings.into_iter().map(|(_, finding)| finding).collect()
    }
}

/// A lint under way.
struct Lint<'a> {
    policy: &'a PolicySnapshot,
    /// The policy as written, for places.
    file: &'a Policy,
    /// Knows the files that places are in.
    complaints: Complaints<'a>,
    context: LintContext<'a>,
    /// In file order: rules, then the rows of tables.
    rules: Vec<LintedRule<'a>>,
    findings: Vec<(usize, Finding)>,
}

impl Lint<'_> {
    fn add(&mut self, code: FindingCode, offset: usize, message: String, next_step: &str) {
        let Some(complaint) = self.complaints.at(offset, message, "") else { return };
        let complaint = complaint.with_hint(next_step);
        self.findings.push((offset, Finding { code, complaint }));
    }

    /// The rules that act and are asked by themselves, at most [`MAX_COMPARED`]: not rows of tables of which one row acts.
    fn compared(&self) -> Vec<&LintedRule<'_>> {
        let now = self.context.now;
        let by_itself = |rule: &&LintedRule<'_>| rule.is_live(now) && !rule.yields();
        self.rules.iter().filter(by_itself).take(MAX_COMPARED).collect()
    }
}

/// A rule, or a row of a table, with what the checks ask of it.
struct LintedRule<'a> {
    info: &'a RuleInfo,
    /// Where it begins in the files.
    offset: usize,
    /// When its condition can be true; `None` of a rule that holds nowhere.
    cases: Option<Cases>,
    /// The decision points where it holds.
    points: Vec<&'a Point>,
}

impl<'a> LintedRule<'a> {
    fn new(policy: &'a PolicySnapshot, entry: &RuleEntry, info: &'a RuleInfo) -> Self {
        let named = |point: &&Point| info.points.as_ref().is_none_or(|points| points.contains(&point.name));
        let offers = |point: &&Point| point.actions().any(|action| info.actions.contains(action));
        Self {
            info,
            offset: entry.id.offset,
            cases: info.when.as_ref().map(|when| Cases::of(when.expression())),
            points: policy.points.iter().filter(named).filter(offers).collect(),
        }
    }

    /// How findings call it: ``rule `vip` `` or ``row 3 of table `shipping` ``.
    fn title(&self) -> String {
        match &self.info.row {
            Some(row) => format!("row {} of table `{}`", row.row, row.table),
            None => format!("rule `{}`", self.info.id),
        }
    }

    /// Whether it is a row of a table of which one row acts, so that another row may stand in its way.
    fn yields(&self) -> bool {
        self.info.row.as_ref().is_some_and(|row| row.hit != Hit::Collect)
    }

    fn is_row_with(&self, other: &Self) -> bool {
        let table = |rule: &Self| rule.info.row.as_ref().map(|row| Arc::clone(&row.table));
        table(self).is_some() && table(self) == table(other)
    }

    /// Whether it acts and can fire at all.
    fn is_live(&self, now: Timestamp) -> bool {
        let over = self.info.validity.until.is_some_and(|until| until <= now);
        self.info.mode == Mode::On && !over && self.cases.as_ref().is_some_and(|cases| !cases.is_never())
    }

    fn does(&self, effect: Effect) -> bool {
        self.info.effect == effect
    }

    /// Whether this is asked before `other`: by priority, then by place in the file.
    fn is_before(&self, other: &Self) -> bool {
        let rank = |rule: &Self| {
            // Rows stand behind rules of equal priority.
            (std::cmp::Reverse(rule.info.priority), rule.info.row.is_some(), rule.offset)
        };
        rank(self) < rank(other)
    }

    /// Whether this surely fires whenever `other` does.
    fn fires_with(&self, other: &Self) -> bool {
        let (Some(own), Some(others)) = (&self.cases, &other.cases) else { return false };
        let same = self.info.condition() == other.info.condition();
        let points = other.points.iter().all(|point| self.holds_at(&point.name));
        points && self.holds_as_long_as(other) && (same || others.is_within(own))
    }

    fn holds_at(&self, point: &Arc<str>) -> bool {
        self.points.iter().any(|known| known.name == *point)
    }

    fn holds_as_long_as(&self, other: &Self) -> bool {
        let (own, others) = (self.info.validity, other.info.validity);
        let from = own.from.is_none_or(|from| others.from.is_some_and(|other| from <= other));
        let until = own.until.is_none_or(|until| others.until.is_some_and(|other| until >= other));
        from && until
    }

    /// Whether both can hold at the same instant.
    fn meets(&self, other: &Self) -> bool {
        let before = |one: &Self, two: &Self| match (one.info.validity.until, two.info.validity.from) {
            (Some(until), Some(from)) => until <= from,
            _ => false,
        };
        let common_point = other.points.iter().any(|point| self.holds_at(&point.name));
        common_point && !before(self, other) && !before(other, self)
    }

    /// Whether every action of `other` is one of its own.
    fn covers_actions_of(&self, other: &Self) -> bool {
        other.info.actions.iter().all(|action| self.info.actions.contains(action))
    }
}
