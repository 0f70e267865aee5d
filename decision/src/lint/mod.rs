//! Checks of a whole policy that loads: what can never happen, what nobody notices, what looks like a slip.
//!
//! Findings are advice: a policy with findings decides. Each check has a file. What a condition can be is known as far as
//! its comparisons tell ([`augur_expression::Cases`]); a check that is not sure says nothing. Not here: faults that keep a
//! policy from loading (`check`, `compile`).

mod caps;
mod conflicts;
mod ladder;
mod never;
mod refused;
mod shadowed;
mod unread;

use std::sync::Arc;

use augur_domain::{Diagnostic, Timestamp};
use augur_expression::Cases;

use crate::file::{Complaints, Policy, parse};
use crate::rule::{Effect, Mode, RuleInfo};
use crate::snapshot::{Point, PolicySnapshot};
use crate::source::{SourceFile, Sources};

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
}

impl FindingCode {
    /// The word used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NeverTrue => "NEVER_TRUE",
            Self::StaleFeature => "STALE_FEATURE",
            Self::WindowOver => "WINDOW_OVER",
            Self::Shadowed => "SHADOWED",
            Self::EqualPriority => "EQUAL_PRIORITY",
            Self::AllowDenied => "ALLOW_DENIED",
            Self::AlwaysRefused => "ALWAYS_REFUSED",
            Self::CapNeverBinds => "CAP_NEVER_BINDS",
            Self::ModelUnread => "MODEL_UNREAD",
            Self::SegmentUnread => "SEGMENT_UNREAD",
            Self::ContextUnread => "CONTEXT_UNREAD",
            Self::WordUnheard => "WORD_UNHEARD",
            Self::RungUnreachable => "RUNG_UNREACHABLE",
        }
    }

    /// How much it matters.
    pub const fn severity(self) -> Severity {
        match self {
            Self::WindowOver
            | Self::ModelUnread
            | Self::SegmentUnread
            | Self::ContextUnread
            | Self::WordUnheard => Severity::Note,
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
    /// Per feature, in slot order, the largest value that it can have, where there is one: the time since something that
    /// is forgotten after a while.
    pub greatest: &'a [Option<f64>],
}

impl PolicySnapshot {
    /// Everything that looks amiss in this policy, in file order. `source` is what it was loaded from.
    pub fn lint<'s>(&self, source: impl Into<Sources<'s>>, context: LintContext<'_>) -> Vec<Finding> {
        let sources = source.into();
        let mut complaints = Complaints::new(sources);
        let file = parse(sources, &mut complaints);
        let source = sources.policy;
        let rules = self.rules.iter().map(|info| LintedRule::new(self, &file, info)).collect();
        let mut lint = Lint { policy: self, file: &file, source, context, rules, findings: Vec::new() };
        never::check(&mut lint);
        shadowed::check(&mut lint);
        conflicts::check(&mut lint);
        refused::check(&mut lint);
        caps::check(&mut lint);
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
    source: &'a SourceFile,
    context: LintContext<'a>,
    /// In file order.
    rules: Vec<LintedRule<'a>>,
    findings: Vec<(usize, Finding)>,
}

impl Lint<'_> {
    fn add(&mut self, code: FindingCode, offset: usize, message: String, next_step: &str) {
        let SourceFile { name, text } = self.source;
        let complaint = Diagnostic::at_offset(name, text, offset, message, "").with_hint(next_step);
        self.findings.push((offset, Finding { code, complaint }));
    }
}

/// A rule with what the checks ask of it.
struct LintedRule<'a> {
    info: &'a RuleInfo,
    /// Where it begins in the file.
    offset: usize,
    /// When its condition can be true; `None` of a rule that holds nowhere.
    cases: Option<Cases>,
    /// The decision points where it holds.
    points: Vec<&'a Point>,
}

impl<'a> LintedRule<'a> {
    fn new(policy: &'a PolicySnapshot, file: &Policy, info: &'a RuleInfo) -> Self {
        let entry = file.rules.iter().find(|entry| *entry.id.value == *info.id);
        let named = |point: &&Point| info.points.as_ref().is_none_or(|points| points.contains(&point.name));
        let offers = |point: &&Point| point.actions().any(|action| info.actions.contains(action));
        Self {
            info,
            offset: entry.map_or(0, |entry| entry.id.offset),
            cases: info.when.as_ref().map(|when| Cases::of(when.expression())),
            points: policy.points.iter().filter(named).filter(offers).collect(),
        }
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
        let rank = |rule: &Self| (std::cmp::Reverse(rule.info.priority), rule.offset);
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
