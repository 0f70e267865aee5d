//! What a candidate would have changed, counted while the log is replayed.
//!
//! Not here: deciding (`run`), causes (`cause`), or estimating values (`off_policy`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use augur_domain::{Decision, DecisionRecord, UserKey};
use augur_models::metrics::interval::wilson;
use serde::{Deserialize, Serialize};

use super::cause::Cause;
use crate::off_policy::Evaluation;

/// Changed decisions that are shown.
const MAX_EXAMPLES: usize = 20;
/// Causes and confusions that are told apart; further ones are counted together.
const MAX_KINDS: usize = 1_000;
/// Users whose decisions changed, told apart up to here.
const MAX_USERS: usize = 10_000_000;

/// How many decisions came out otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Flips {
    /// Decisions compared.
    pub decisions: u64,
    /// Of them with another action.
    pub flipped: u64,
    /// Their share.
    pub share: f64,
    /// Wilson's 95 % interval of it.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Flips {
    fn count(&mut self, flipped: bool) {
        self.decisions += 1;
        self.flipped += u64::from(flipped);
    }

    fn settle(&mut self) {
        if self.decisions > 0 {
            self.share = self.flipped as f64 / self.decisions as f64;
            let interval = wilson(self.flipped, self.decisions);
            (self.low, self.high) = (interval.low, interval.high);
        }
    }
}

/// How often an action was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ActionCount {
    /// As logged.
    pub logged: u64,
    /// By the candidate.
    pub candidate: u64,
}

/// What the scores of one alias did, over decisions where both have one.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct ScoreShift {
    /// Decisions where both have a score.
    pub scored: u64,
    /// Of them with another score, bit by bit.
    pub changed: u64,
    /// Mean calibrated score as logged.
    pub logged_mean: f64,
    /// By the candidate.
    pub candidate_mean: f64,
    /// Largest difference.
    pub largest: f64,
}

/// One changed decision.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Example {
    /// Position in the log.
    pub sequence: u64,
    /// Its id.
    pub decision_id: String,
    /// About whom.
    pub user_key: String,
    /// Where.
    pub decision_point: String,
    /// What was given.
    pub logged: String,
    /// What the candidate gives.
    pub candidate: String,
    /// Why.
    pub cause: Cause,
    /// The reasons as logged.
    pub logged_reasons: Vec<String>,
    /// The candidate's.
    pub candidate_reasons: Vec<String>,
}

/// Decisions that the candidate could not make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Uncompared {
    /// Why.
    pub reason: String,
    /// How many.
    pub decisions: u64,
}

/// What must hold for a candidate to pass. What is left out is not asked.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gates {
    /// Most decisions that may come out otherwise, as a share.
    pub max_flip_share: Option<f64>,
    /// Most decisions that the candidate may be unable to make, as a share. Left out: none.
    pub max_uncompared_share: Option<f64>,
    /// How many times as often as logged an action may be given.
    #[serde(default)]
    pub max_growth: BTreeMap<String, f64>,
    /// The candidate's estimated value, at the lower end of its interval, over that of the log.
    pub min_value_ratio: Option<f64>,
}

/// One gate, and whether the candidate passes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateOutcome {
    /// Its name.
    pub gate: String,
    /// What was found; `None` if it cannot be told, which does not pass.
    pub found: Option<f64>,
    /// The bound.
    pub bound: f64,
    /// Whether it passes.
    pub passes: bool,
}

/// What a candidate would have changed.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct CandidateReport {
    /// Records read.
    pub records: u64,
    /// Over all decisions that could be compared.
    pub flips: Flips,
    /// By decision point.
    pub by_point: BTreeMap<String, Flips>,
    /// By the rung as logged.
    pub by_rung: BTreeMap<&'static str, Flips>,
    /// Users with at least one changed decision.
    pub users_changed: u64,
    /// Users with at least one decision.
    pub users: u64,
    /// By action.
    pub actions: BTreeMap<String, ActionCount>,
    /// `logged -> candidate`, of changed decisions.
    pub confusion: BTreeMap<String, u64>,
    /// Why they changed.
    pub causes: BTreeMap<String, u64>,
    /// By alias.
    pub scores: BTreeMap<String, ScoreShift>,
    /// What the candidate could not decide, most frequent first.
    pub uncompared: Vec<Uncompared>,
    /// Decisions whose exposures were taken as logged, since too many users are carried already.
    pub not_carried: u64,
    /// The first changed decisions.
    pub examples: Vec<Example>,
    /// What the candidate is worth, if outcomes were joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Evaluation>,
    /// One for each gate.
    pub gates: Vec<GateOutcome>,
}

/// The report on its way.
#[derive(Debug, Default)]
pub(super) struct Counting {
    pub(super) report: CandidateReport,
    users: BTreeSet<UserKey>,
    users_changed: BTreeSet<UserKey>,
    uncompared: BTreeMap<String, u64>,
}

impl Counting {
    pub(super) fn cannot(&mut self, reason: String) {
        count(&mut self.uncompared, reason);
    }

    pub(super) fn compare(&mut self, record: &DecisionRecord, candidate: &Decision) {
        let logged = &record.decision;
        let flipped = logged.action != candidate.action;
        let report = &mut self.report;
        report.flips.count(flipped);
        report.by_point.entry(record.inputs.decision_point.to_string()).or_default().count(flipped);
        report.by_rung.entry(logged.rung.as_str()).or_default().count(flipped);
        report.actions.entry(logged.action.to_string()).or_default().logged += 1;
        report.actions.entry(candidate.action.to_string()).or_default().candidate += 1;
        for score in &candidate.scores {
            let before = logged.scores.iter().find(|before| before.alias == score.alias);
            if let (Some(before), Some(now)) = (before.and_then(|before| before.score), score.score) {
                let shift = report.scores.entry(score.alias.to_string()).or_default();
                shift.take(before.calibrated, now.calibrated);
            }
        }
        let user = record.inputs.user;
        if self.users.len() < MAX_USERS {
            self.users.insert(user);
        }
        if flipped {
            if self.users_changed.len() < MAX_USERS {
                self.users_changed.insert(user);
            }
            self.changed(record, candidate);
        }
    }

    fn changed(&mut self, record: &DecisionRecord, candidate: &Decision) {
        let logged = &record.decision;
        let cause = Cause::of(logged, candidate);
        count(&mut self.report.causes, cause.to_string());
        count(&mut self.report.confusion, format!("{} -> {}", logged.action, candidate.action));
        if self.report.examples.len() < MAX_EXAMPLES {
            self.report.examples.push(Example {
                sequence: record.sequence,
                decision_id: record.inputs.decision_id.to_string(),
                user_key: record.inputs.user.to_string(),
                decision_point: record.inputs.decision_point.to_string(),
                logged: logged.action.to_string(),
                candidate: candidate.action.to_string(),
                cause,
                logged_reasons: reasons(logged),
                candidate_reasons: reasons(candidate),
            });
        }
    }

    pub(super) fn finish(self, gates: &Gates, value: Option<Evaluation>) -> CandidateReport {
        let mut report = self.report;
        report.flips.settle();
        report.by_point.values_mut().chain(report.by_rung.values_mut()).for_each(Flips::settle);
        report.scores.values_mut().for_each(ScoreShift::settle);
        report.users = self.users.len() as u64;
        report.users_changed = self.users_changed.len() as u64;
        let mut uncompared: Vec<Uncompared> =
            self.uncompared.into_iter().map(|(reason, decisions)| Uncompared { reason, decisions }).collect();
        uncompared.sort_by_key(|of| std::cmp::Reverse(of.decisions));
        report.uncompared = uncompared;
        report.value = value;
        report.gates = gates.check(&report);
        report
    }
}

impl ScoreShift {
    pub(crate) fn take(&mut self, logged: f64, candidate: f64) {
        self.scored += 1;
        self.changed += u64::from(logged.to_bits() != candidate.to_bits());
        self.logged_mean += logged;
        self.candidate_mean += candidate;
        self.largest = self.largest.max((candidate - logged).abs());
    }

    pub(crate) fn settle(&mut self) {
        self.logged_mean /= self.scored as f64;
        self.candidate_mean /= self.scored as f64;
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: String) {
    let known = counts.contains_key(&name) || counts.len() < MAX_KINDS;
    *counts.entry(if known { name } else { "others".to_owned() }).or_default() += 1;
}

fn reasons(decision: &Decision) -> Vec<String> {
    let spelled = |reason: &augur_domain::Reason| match &reason.detail {
        Some(detail) => format!("{} ({detail})", reason.code),
        None => reason.code.to_string(),
    };
    decision.reasons.iter().map(spelled).collect()
}

impl Gates {
    fn check(&self, report: &CandidateReport) -> Vec<GateOutcome> {
        let at_most = |gate: &str, found: f64, bound: f64| GateOutcome {
            gate: gate.to_owned(),
            found: Some(found),
            bound,
            passes: found <= bound,
        };
        let mut gates = Vec::new();
        let missed: u64 = report.uncompared.iter().map(|of| of.decisions).sum();
        let share = missed as f64 / (report.records.max(1)) as f64;
        gates.push(at_most("max_uncompared_share", share, self.max_uncompared_share.unwrap_or(0.0)));
        if let Some(bound) = self.max_flip_share {
            gates.push(at_most("max_flip_share", report.flips.share, bound));
        }
        for (action, bound) in &self.max_growth {
            let counts = report.actions.get(action.as_str()).copied().unwrap_or_default();
            let growth = counts.candidate as f64 / (counts.logged.max(1)) as f64;
            gates.push(at_most(&format!("max_growth.{action}"), growth, *bound));
        }
        if let Some(bound) = self.min_value_ratio {
            let found = report.value.as_ref().filter(|value| value.verdict.identifiable).and_then(|value| {
                let low = value.headline.as_ref()?.normal?.low;
                Some(low / value.diagnostics.logged_value).filter(|ratio| ratio.is_finite())
            });
            let passes = found.is_some_and(|found| found >= bound);
            gates.push(GateOutcome { gate: "min_value_ratio".to_owned(), found, bound, passes });
        }
        gates
    }
}

impl CandidateReport {
    /// Whether it passes all gates.
    pub fn passes(&self) -> bool {
        self.gates.iter().all(|gate| gate.passes)
    }
}

impl fmt::Display for CandidateReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| format!("{:.2} %", 100.0 * share);
        let Flips { decisions, flipped, share, low, high } = self.flips;
        writeln!(formatter, "{} records, {decisions} decided by the candidate", self.records)?;
        for Uncompared { reason, decisions } in &self.uncompared {
            writeln!(formatter, "  {decisions} could not be: {reason}")?;
        }
        writeln!(
            formatter,
            "{flipped} come out otherwise: {} ({} to {}), for {} of {} users",
            percent(share),
            percent(low),
            percent(high),
            self.users_changed,
            self.users
        )?;
        for (point, flips) in &self.by_point {
            writeln!(
                formatter,
                "  {point}: {} of {}, {}",
                flips.flipped,
                flips.decisions,
                percent(flips.share)
            )?;
        }
        section(formatter, "why", &self.causes)?;
        section(formatter, "what became what", &self.confusion)?;
        writeln!(formatter, "given, as logged and by the candidate")?;
        for (action, ActionCount { logged, candidate }) in &self.actions {
            writeln!(formatter, "  {action}: {logged} -> {candidate}")?;
        }
        for (alias, shift) in &self.scores {
            writeln!(
                formatter,
                "scores.{alias}: {} of {} changed, mean {:.4} -> {:.4}, by at most {:.4}",
                shift.changed, shift.scored, shift.logged_mean, shift.candidate_mean, shift.largest
            )?;
        }
        if let Some(value) = &self.value {
            self.write_value(formatter, value)?;
        }
        for example in self.examples.iter().take(5) {
            writeln!(
                formatter,
                "e.g. {} {} at {}: {} -> {}, {}",
                example.sequence,
                example.user_key,
                example.decision_point,
                example.logged,
                example.candidate,
                example.cause
            )?;
        }
        for GateOutcome { gate, found, bound, passes } in &self.gates {
            let found = found.map_or_else(|| "not identifiable".to_owned(), |found| format!("{found:.4}"));
            let word = if *passes { "passes" } else { "FAILS" };
            writeln!(formatter, "gate {gate}: {found}, bound {bound}: {word}")?;
        }
        Ok(())
    }
}

impl CandidateReport {
    fn write_value(&self, formatter: &mut fmt::Formatter<'_>, value: &Evaluation) -> fmt::Result {
        let logged = value.diagnostics.logged_value;
        match &value.headline {
            Some(headline) if value.verdict.identifiable => {
                let interval = headline.normal.map_or_else(String::new, |interval| {
                    format!(" ({:.6} to {:.6})", interval.low, interval.high)
                });
                writeln!(
                    formatter,
                    "value a decision: {logged:.6} as logged, {:.6}{interval} by the candidate, {}",
                    headline.value,
                    headline.estimator.name()
                )
            }
            _ => {
                writeln!(
                    formatter,
                    "value a decision: {logged:.6} as logged; of the candidate NOT IDENTIFIABLE"
                )?;
                value.verdict.refusals.iter().try_for_each(|refusal| writeln!(formatter, "  {refusal}"))
            }
        }
    }
}

/// Most frequent first.
fn section(formatter: &mut fmt::Formatter<'_>, title: &str, counts: &BTreeMap<String, u64>) -> fmt::Result {
    let mut counts: Vec<_> = counts.iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    if !counts.is_empty() {
        writeln!(formatter, "{title}")?;
    }
    counts.iter().take(10).try_for_each(|(name, count)| writeln!(formatter, "  {count} {name}"))
}
