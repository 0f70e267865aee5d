//! The skew, counted: by feature, by cause, and by what it would have done to decisions.
//!
//! Not here: finding it (`compare`), or deciding again (`run`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use augur_domain::{ContentHash, Decision, DecisionRecord};
use serde::Serialize;

use super::compare::FeatureDifference;
use super::definitions::{Known, KnownDefinitions};
use crate::candidate::ScoreShift;
use crate::report::{EXIT_DIFFERENT, EXIT_EMPTY};

/// Differences that are shown of one feature.
const MAX_EXAMPLES: usize = 3;
/// Decisions that are shown of those that come out otherwise.
const MAX_FLIPS: usize = 20;
/// Reasons for not comparing that are told apart; further ones are counted together.
const MAX_REASONS: usize = 100;
/// Features in the text; JSON has all.
const SHOWN_FEATURES: usize = 20;

/// Why a feature came out otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SkewKind {
    /// An event came after the decision, though it happened before it.
    LateEvent,
    /// An event was taken back: the retraction came after the decision, though it was said before it.
    Retraction,
    /// The id was linked to a person since, or a link that was claimed before the decision was stored after it.
    LinkSince,
    /// The decision saw an event that says it happened in the decision's very millisecond, or later: a training set leaves
    /// it out.
    AheadOfTime,
    /// The feature is defined otherwise now.
    DefinitionChanged,
    /// Events that the decision saw are no longer under this id: a link was undone.
    HistoryChanged,
    /// None of these. It should not happen.
    Unexplained,
}

impl SkewKind {
    /// The word used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LateEvent => "late_event",
            Self::Retraction => "retraction",
            Self::LinkSince => "link_since",
            Self::AheadOfTime => "ahead_of_time",
            Self::DefinitionChanged => "definition_changed",
            Self::HistoryChanged => "history_changed",
            Self::Unexplained => "unexplained",
        }
    }
}

impl fmt::Display for SkewKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// One value that came out otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SkewExample {
    /// The decision.
    pub decision_id: String,
    /// Its position in the log.
    pub sequence: u64,
    /// The value as logged, with its status.
    pub logged: String,
    /// As computed again.
    pub recomputed: String,
    /// Why.
    pub kinds: BTreeSet<SkewKind>,
}

/// What is known of one feature.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct FeatureSkew {
    /// Its name.
    pub feature: String,
    /// Decisions in which it was compared.
    pub compared: u64,
    /// Of them with another value, status, text or instant of the latest event, bit by bit.
    pub skewed: u64,
    /// Their share.
    pub share: f64,
    /// How many have this cause; one may have several.
    pub kinds: BTreeMap<SkewKind, u64>,
    /// Of the skewed those with another status, as `LOGGED -> RECOMPUTED`: among them defaults that stood in.
    pub statuses: BTreeMap<String, u64>,
    /// Of the skewed those in which nothing but the instant of the latest event differs.
    pub age_alone: u64,
    /// Largest difference where both have a number.
    pub max_absolute: f64,
    /// Largest difference as a share of the larger of both numbers, up to 2 for numbers of unlike sign.
    pub max_relative: f64,
    /// The first.
    pub examples: Vec<SkewExample>,
}

/// A decision that comes out otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FlipExample {
    /// The decision.
    pub decision_id: String,
    /// Its position in the log.
    pub sequence: u64,
    /// Where.
    pub decision_point: String,
    /// What was given.
    pub logged: String,
    /// What is given by the features computed again.
    pub recomputed: String,
    /// The features that differ.
    pub features: Vec<String>,
    /// Why they do.
    pub kinds: BTreeSet<SkewKind>,
}

/// Decisions whose features could not be computed again, or that could not be decided again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotCompared {
    /// Why.
    pub reason: String,
    /// How many.
    pub decisions: u64,
}

/// The skew of a log. Depends on the log, the event log and the definitions alone.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct SkewReport {
    /// Records read.
    pub records: u64,
    /// Decisions whose features were computed again.
    pub compared: u64,
    /// Of them with at least one feature that differs.
    pub skewed: u64,
    /// Their share.
    pub share: f64,
    /// Skewed decisions by cause; one may have several.
    pub kinds: BTreeMap<SkewKind, u64>,
    /// One for each feature that was compared, most often skewed first.
    pub features: Vec<FeatureSkew>,
    /// Logged features that the definitions lack: decided again without a value, not compared.
    pub removed_features: Vec<String>,
    /// Features of the definitions that no decision has.
    pub added_features: Vec<String>,
    /// Decisions with a feature that differs, or that the definitions lack, which were decided again, by the policies and
    /// models that decided.
    pub decided: u64,
    /// Of them with another action.
    pub flipped: u64,
    /// Their share of all compared decisions.
    pub flip_share: f64,
    /// What scores did in skewed decisions, by alias.
    pub scores: BTreeMap<String, ScoreShift>,
    /// The first decisions with another action, by user.
    pub flips: Vec<FlipExample>,
    /// Decisions whose features could not be computed again, most frequent reason first.
    pub not_compared: Vec<NotCompared>,
    /// Decisions that should have been decided again and could not be.
    pub not_decided: Vec<NotCompared>,
}

/// The report on its way.
#[derive(Default)]
pub(super) struct Counting {
    pub(super) report: SkewReport,
    features: BTreeMap<String, FeatureSkew>,
    /// Decisions compared, by policy.
    compared: BTreeMap<ContentHash, u64>,
    not_compared: BTreeMap<String, u64>,
    not_decided: BTreeMap<String, u64>,
}

impl Counting {
    pub(super) fn cannot_compare(&mut self, reason: String, decisions: u64) {
        count(&mut self.not_compared, reason, decisions);
    }

    pub(super) fn cannot_decide(&mut self, reason: String) {
        count(&mut self.not_decided, reason, 1);
    }

    pub(super) fn compared(
        &mut self,
        record: &DecisionRecord,
        known: &Known,
        differences: &[FeatureDifference],
    ) {
        self.report.compared += 1;
        *self.compared.entry(record.policy).or_default() += 1;
        if differences.is_empty() {
            return;
        }
        self.report.skewed += 1;
        let kinds: BTreeSet<SkewKind> = differences.iter().flat_map(|of| of.kinds.iter().copied()).collect();
        for kind in kinds {
            *self.report.kinds.entry(kind).or_default() += 1;
        }
        for difference in differences {
            if let Some(info) = known.logged.features().get(difference.slot) {
                self.feature(&info.name).take(record, difference);
            }
        }
    }

    fn feature(&mut self, name: &str) -> &mut FeatureSkew {
        if !self.features.contains_key(name) {
            let new = FeatureSkew { feature: name.to_owned(), ..FeatureSkew::default() };
            self.features.insert(name.to_owned(), new);
        }
        self.features.entry(name.to_owned()).or_default()
    }

    pub(super) fn decided(
        &mut self,
        record: &DecisionRecord,
        decision: &Decision,
        known: &Known,
        differences: &[FeatureDifference],
    ) {
        let (report, logged) = (&mut self.report, &record.decision);
        report.decided += 1;
        for score in &decision.scores {
            let before = logged.scores.iter().find(|before| before.alias == score.alias);
            if let (Some(before), Some(now)) = (before.and_then(|before| before.score), score.score) {
                let shift = report.scores.entry(score.alias.to_string()).or_default();
                shift.take(before.calibrated, now.calibrated);
            }
        }
        if decision.action == logged.action {
            return;
        }
        report.flipped += 1;
        if report.flips.len() < MAX_FLIPS {
            let name = |of: &FeatureDifference| Some(known.logged.features().get(of.slot)?.name.to_string());
            report.flips.push(FlipExample {
                decision_id: record.inputs.decision_id.to_string(),
                sequence: record.sequence,
                decision_point: record.inputs.decision_point.to_string(),
                logged: logged.action.to_string(),
                recomputed: decision.action.to_string(),
                features: differences.iter().filter_map(name).collect(),
                kinds: differences.iter().flat_map(|of| of.kinds.iter().copied()).collect(),
            });
        }
    }

    pub(super) fn finish(mut self, definitions: &KnownDefinitions<'_>) -> SkewReport {
        for (policy, known) in definitions.all() {
            let compared = self.compared.get(&policy).copied().unwrap_or_default();
            for (info, _) in
                known.logged.features().iter().zip(&known.slots).filter(|(_, slot)| slot.is_some())
            {
                self.feature(&info.name).compared += compared;
            }
        }
        (self.report.removed_features, self.report.added_features) = definitions.unmatched();
        let mut report = self.report;
        let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
        report.share = share(report.skewed, report.compared);
        report.flip_share = share(report.flipped, report.compared);
        report.scores.values_mut().for_each(ScoreShift::settle);
        report.features = self.features.into_values().collect();
        for feature in &mut report.features {
            feature.share = share(feature.skewed, feature.compared);
        }
        // Stable: names stay in order among features that are skewed equally often.
        report.features.sort_by_key(|feature| std::cmp::Reverse(feature.skewed));
        report.not_compared = reasons(self.not_compared);
        report.not_decided = reasons(self.not_decided);
        report
    }
}

impl FeatureSkew {
    fn take(&mut self, record: &DecisionRecord, difference: &FeatureDifference) {
        let FeatureDifference { logged, recomputed, kinds, .. } = difference;
        self.skewed += 1;
        for kind in kinds {
            *self.kinds.entry(*kind).or_default() += 1;
        }
        let (before, now) = (logged.value.status, recomputed.value.status);
        if before != now {
            *self.statuses.entry(format!("{} -> {}", before.as_str(), now.as_str())).or_default() += 1;
        }
        self.age_alone += u64::from(logged.differs_in_age_alone(recomputed));
        if let (Some(before), Some(now)) = (logged.value.usable(), recomputed.value.usable()) {
            let absolute = (now - before).abs();
            let larger = before.abs().max(now.abs());
            self.max_absolute = self.max_absolute.max(absolute);
            self.max_relative = self.max_relative.max(if larger > 0.0 { absolute / larger } else { 0.0 });
        }
        if self.examples.len() < MAX_EXAMPLES {
            self.examples.push(SkewExample {
                decision_id: record.inputs.decision_id.to_string(),
                sequence: record.sequence,
                logged: logged.told(),
                recomputed: recomputed.told(),
                kinds: kinds.clone(),
            });
        }
    }
}

fn count(counts: &mut BTreeMap<String, u64>, reason: String, decisions: u64) {
    let known = counts.contains_key(&reason) || counts.len() < MAX_REASONS;
    *counts.entry(if known { reason } else { "others".to_owned() }).or_default() += decisions;
}

fn reasons(counts: BTreeMap<String, u64>) -> Vec<NotCompared> {
    let mut list: Vec<NotCompared> =
        counts.into_iter().map(|(reason, decisions)| NotCompared { reason, decisions }).collect();
    list.sort_by_key(|of| std::cmp::Reverse(of.decisions));
    list
}

impl SkewReport {
    /// 0 when nothing differs, 3 when something does, 7 when nothing could be compared.
    pub const fn exit_code(&self) -> u8 {
        if self.compared == 0 {
            EXIT_EMPTY
        } else if self.skewed > 0 {
            EXIT_DIFFERENT
        } else {
            0
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

fn words<Kind: fmt::Display>(counts: &BTreeMap<Kind, u64>) -> String {
    counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for SkewReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, compared, skewed, decided, flipped, .. } = self;
        match (*compared, *skewed) {
            (0, _) => {
                writeln!(formatter, "NOTHING TO COMPARE: no decision's features could be computed again")?
            }
            (_, 0) => writeln!(
                formatter,
                "NO SKEW: the features of all {compared} decisions came out the same, bit by bit"
            )?,
            _ => writeln!(
                formatter,
                "SKEW: {skewed} of {compared} decisions ({}) have features that come out otherwise: {}",
                percent(self.share),
                words(&self.kinds)
            )?,
        }
        writeln!(formatter, "{records} records read")?;
        for NotCompared { reason, decisions } in &self.not_compared {
            writeln!(formatter, "  {decisions} not compared: {reason}")?;
        }
        for (what, names) in [
            ("not in the definitions", &self.removed_features),
            ("not in the decisions", &self.added_features),
        ] {
            if !names.is_empty() {
                writeln!(formatter, "{what}: {}", names.join(", "))?;
            }
        }
        let skewed_features: Vec<_> = self.features.iter().filter(|feature| feature.skewed > 0).collect();
        for feature in skewed_features.iter().take(SHOWN_FEATURES) {
            feature.write(formatter)?;
        }
        if let Some(more) = skewed_features.len().checked_sub(SHOWN_FEATURES).filter(|more| *more > 0) {
            writeln!(formatter, "{more} more features differ; --json has them")?;
        }
        if *skewed > 0 || *decided > 0 {
            self.write_flips(formatter, *decided, *flipped)?;
        }
        Ok(())
    }
}

impl SkewReport {
    fn write_flips(&self, formatter: &mut fmt::Formatter<'_>, decided: u64, flipped: u64) -> fmt::Result {
        writeln!(
            formatter,
            "{flipped} decisions would have come out otherwise: {} of those compared; {decided} were decided again",
            percent(self.flip_share)
        )?;
        for NotCompared { reason, decisions } in &self.not_decided {
            writeln!(formatter, "  {decisions} could not be: {reason}")?;
        }
        for (alias, shift) in &self.scores {
            writeln!(
                formatter,
                "scores.{alias}: {} of {} changed, mean {:.4} -> {:.4}, by at most {:.4}",
                shift.changed, shift.scored, shift.logged_mean, shift.candidate_mean, shift.largest
            )?;
        }
        for flip in self.flips.iter().take(5) {
            let kinds: Vec<_> = flip.kinds.iter().map(|kind| kind.as_str()).collect();
            let features: Vec<_> = flip.features.iter().take(5).map(String::as_str).collect();
            writeln!(
                formatter,
                "e.g. {} at {}: {} -> {}, by {} ({})",
                flip.decision_id,
                flip.decision_point,
                flip.logged,
                flip.recomputed,
                features.join(", "),
                kinds.join(", ")
            )?;
        }
        Ok(())
    }
}

impl FeatureSkew {
    fn write(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}: {} of {} ({}), by at most {:.6} ({}); {}",
            self.feature,
            self.skewed,
            self.compared,
            percent(self.share),
            self.max_absolute,
            percent(self.max_relative),
            words(&self.kinds)
        )?;
        if !self.statuses.is_empty() {
            write!(formatter, "; {}", words(&self.statuses))?;
        }
        writeln!(formatter)?;
        for example in self.examples.iter().take(1) {
            writeln!(
                formatter,
                "  e.g. {}: {} -> {}",
                example.decision_id, example.logged, example.recomputed
            )?;
        }
        Ok(())
    }
}
