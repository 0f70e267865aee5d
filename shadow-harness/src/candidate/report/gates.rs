//! What a candidate is held to, and whether it keeps to it: every gate with what was found, the bound, the interval, and
//! a verdict over all of them.
//!
//! Not here: reading them from a file (`gate_file`).

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::CandidateReport;
use super::quality::{Measured, Quality};
use super::shift::Distribution;

/// What must hold for a candidate to be promoted. What is left out is not asked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Gates {
    /// Fewest decisions that must have been compared.
    pub min_decisions: Option<f64>,
    /// Most decisions that may come out otherwise, as a share.
    pub max_flip_share: Option<f64>,
    /// Most decisions that may come out otherwise, as a share, by decision point.
    pub max_flip_share_at: BTreeMap<String, f64>,
    /// Most users for whom anything may come out otherwise, as a share.
    pub max_changed_user_share: Option<f64>,
    /// Most decisions that the candidate may be unable to make, as a share. Left out: none.
    pub max_uncompared_share: Option<f64>,
    /// Most decisions that the candidate may make below the top rung, as a share.
    pub max_fallback_share: Option<f64>,
    /// How many times as often as logged an action may be given.
    pub max_growth: BTreeMap<String, f64>,
    /// How many times as long deciding may take.
    pub max_cost_ratio: Option<f64>,
    /// The candidate's estimated value over that of the log.
    pub min_value_ratio: Option<f64>,
    /// Of scores, by alias.
    pub scores: BTreeMap<String, ScoreGates>,
}

/// What must hold of the scores of one alias.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ScoreGates {
    /// Largest stability index.
    pub max_psi: Option<f64>,
    /// Largest distance of distributions.
    pub max_ks: Option<f64>,
    /// Least change of ROC-AUC; may be negative.
    pub min_auc_change: Option<f64>,
    /// Largest change of log loss; may be negative.
    pub max_log_loss_change: Option<f64>,
    /// Largest calibration error of the candidate, over bins of as many rows each.
    pub max_ece: Option<f64>,
}

/// What became of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Passing {
    /// It is kept.
    Passes,
    /// It is not.
    Fails,
    /// There is no telling: the interval lies on both sides of the bound, or nothing could be measured.
    Unsure,
}

/// Which side of the bound is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// At most the bound.
    AtMost,
    /// At least the bound.
    AtLeast,
}

/// One gate, and whether the candidate passes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateOutcome {
    /// Its name.
    pub gate: String,
    /// What was found; `None` if it cannot be told, which does not pass.
    pub found: Option<f64>,
    /// 95 % interval of it, where it is an estimate; the gate goes by the interval then.
    pub low: Option<f64>,
    /// Its upper end.
    pub high: Option<f64>,
    /// Which side of the bound is good.
    pub side: Side,
    /// The bound.
    pub bound: f64,
    /// What became of it.
    pub outcome: Passing,
    /// Whether it passes.
    pub passes: bool,
    /// Why there is no telling, empty otherwise.
    pub note: String,
}

/// What to do with the candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// No gates were given, and nothing speaks against it.
    #[default]
    Unasked,
    /// It passes every gate.
    Promote,
    /// Of some gate there is no telling, or the control replay does not hold.
    Hold,
    /// It fails a gate.
    Reject,
}

impl Verdict {
    /// The exit code that a program should end with: 0, 8 to hold, 3 to reject.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Unasked | Self::Promote => 0,
            Self::Reject => 3,
            Self::Hold => 8,
        }
    }

    /// The word used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unasked => "UNASKED",
            Self::Promote => "PROMOTE",
            Self::Hold => "HOLD",
            Self::Reject => "REJECT",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Gates on their way to outcomes.
struct Check {
    outcomes: Vec<GateOutcome>,
}

impl Check {
    fn add(&mut self, gate: &str, side: Side, bound: f64, measured: Measurement) {
        let keeps = |value: f64| match side {
            Side::AtMost => value <= bound,
            Side::AtLeast => value >= bound,
        };
        let Measurement { found, interval, note } = measured;
        let outcome = match (found, interval) {
            (None, _) => Passing::Unsure,
            (Some(_), Some((low, high))) => match (keeps(low), keeps(high)) {
                (true, true) => Passing::Passes,
                (false, false) => Passing::Fails,
                _ => Passing::Unsure,
            },
            (Some(found), None) if keeps(found) => Passing::Passes,
            (Some(_), None) => Passing::Fails,
        };
        let straddles = outcome == Passing::Unsure && note.is_empty();
        self.outcomes.push(GateOutcome {
            gate: gate.to_owned(),
            found,
            low: interval.map(|(low, _)| low),
            high: interval.map(|(_, high)| high),
            side,
            bound,
            outcome,
            passes: outcome == Passing::Passes,
            note: if straddles { "the interval lies on both sides of the bound".to_owned() } else { note },
        });
    }

    fn at_most(&mut self, gate: &str, bound: Option<f64>, measured: impl FnOnce() -> Measurement) {
        if let Some(bound) = bound {
            self.add(gate, Side::AtMost, bound, measured());
        }
    }

    fn at_least(&mut self, gate: &str, bound: Option<f64>, measured: impl FnOnce() -> Measurement) {
        if let Some(bound) = bound {
            self.add(gate, Side::AtLeast, bound, measured());
        }
    }
}

/// What a gate looks at.
struct Measurement {
    found: Option<f64>,
    interval: Option<(f64, f64)>,
    note: String,
}

impl Measurement {
    /// A fact about this log.
    fn counted(found: f64) -> Self {
        Self { found: Some(found), interval: None, note: String::new() }
    }

    fn estimated(found: f64, low: f64, high: f64) -> Self {
        Self { found: Some(found), interval: Some((low, high)), note: String::new() }
    }

    fn unknown(note: impl Into<String>) -> Self {
        Self { found: None, interval: None, note: note.into() }
    }
}

impl Gates {
    pub(super) fn check(&self, report: &CandidateReport) -> Vec<GateOutcome> {
        let mut check = Check { outcomes: Vec::new() };
        let share = |part: u64, of: u64| part as f64 / of.max(1) as f64;
        let missed: u64 = report.uncompared.iter().map(|of| of.decisions).sum();
        let compared = report.flips.decisions;
        let uncompared = Measurement::counted(share(missed, report.records));
        check.add("max_uncompared_share", Side::AtMost, self.max_uncompared_share.unwrap_or(0.0), uncompared);
        check.at_least("min_decisions", self.min_decisions, || Measurement::counted(compared as f64));
        check.at_most("max_flip_share", self.max_flip_share, || Measurement::counted(report.flips.share));
        for (point, bound) in &self.max_flip_share_at {
            let flips = report.by_point.get(point);
            check.at_most(&format!("max_flip_share_at.{point}"), Some(*bound), || {
                flips.map_or_else(
                    || Measurement::unknown("there are no decisions of this point"),
                    |flips| Measurement::counted(flips.share),
                )
            });
        }
        check.at_most("max_changed_user_share", self.max_changed_user_share, || {
            Measurement::counted(share(report.users_changed, report.users))
        });
        check.at_most("max_fallback_share", self.max_fallback_share, || {
            Measurement::counted(share(report.validity.fallbacks_candidate, compared))
        });
        for (action, bound) in &self.max_growth {
            let counts = report.actions.get(action.as_str()).copied().unwrap_or_default();
            let growth = counts.candidate as f64 / (counts.logged.max(1)) as f64;
            check.at_most(&format!("max_growth.{action}"), Some(*bound), || Measurement::counted(growth));
        }
        check.at_most("max_cost_ratio", self.max_cost_ratio, || {
            report.timing.cost_ratio.map_or_else(
                || Measurement::unknown("what decided then could not be timed"),
                Measurement::counted,
            )
        });
        check.at_least("min_value_ratio", self.min_value_ratio, || value_ratio(report));
        for (alias, gates) in &self.scores {
            gates.check(alias, report, &mut check);
        }
        check.outcomes
    }

    /// Over all of them: what fails rejects, what cannot be told holds.
    pub(super) fn verdict(outcomes: &[GateOutcome], are_declared: bool, control_holds: bool) -> Verdict {
        let any = |wanted: Passing| outcomes.iter().any(|gate| gate.outcome == wanted);
        if !control_holds {
            Verdict::Hold
        } else if any(Passing::Fails) {
            Verdict::Reject
        } else if any(Passing::Unsure) {
            Verdict::Hold
        } else if are_declared {
            Verdict::Promote
        } else {
            Verdict::Unasked
        }
    }
}

fn value_ratio(report: &CandidateReport) -> Measurement {
    let Some(value) = &report.value else {
        return Measurement::unknown("no outcomes were joined: name a --reward");
    };
    if let Some(refusal) = value.verdict.refusals.first() {
        return Measurement::unknown(format!("not identifiable: {refusal}"));
    }
    let logged = value.diagnostics.logged_value;
    if logged <= 0.0 {
        return Measurement::unknown("the log is worth nothing, so there is no ratio to it");
    }
    match value.headline.as_ref().and_then(|headline| Some((headline.value, headline.normal?))) {
        Some((found, interval)) => {
            Measurement::estimated(found / logged, interval.low / logged, interval.high / logged)
        }
        None => Measurement::unknown("there is no interval of the value"),
    }
}

impl ScoreGates {
    fn check(&self, alias: &str, report: &CandidateReport, check: &mut Check) {
        let shift = report.scores.get(alias);
        let distribution = shift.and_then(|shift| shift.distribution.as_ref());
        let moved = |of: fn(&Distribution) -> (f64, f64)| match (shift, distribution) {
            (None, _) => Measurement::unknown("there are no scores of this name in both"),
            (Some(_), None) => Measurement::counted(0.0),
            (Some(_), Some(found)) => beyond_chance(of(found)),
        };
        check.at_most(&format!("scores.{alias}.max_psi"), self.max_psi, || moved(|of| (of.psi, of.psi_band)));
        check.at_most(&format!("scores.{alias}.max_ks"), self.max_ks, || moved(|of| (of.ks, of.ks_band)));
        let quality = report.quality.get(alias);
        let measured = |of: fn(&Measured) -> Option<Measurement>| match quality {
            None => {
                Measurement::unknown(format!("it is not known what came of it: name a --label {alias}=KIND"))
            }
            Some(Quality { measured: None, rows, positives, .. }) => {
                Measurement::unknown(format!("too few labels: {positives} positives of {rows}"))
            }
            Some(Quality { measured: Some(found), .. }) => {
                of(found).unwrap_or_else(|| Measurement::unknown("it could not be measured"))
            }
        };
        check.at_least(&format!("scores.{alias}.min_auc_change"), self.min_auc_change, || {
            measured(|found| {
                let change = found.candidate.metrics.roc_auc? - found.logged.metrics.roc_auc?;
                let interval = found.differences?.roc_auc?;
                Some(Measurement::estimated(change, interval.low, interval.high))
            })
        });
        check.at_most(&format!("scores.{alias}.max_log_loss_change"), self.max_log_loss_change, || {
            measured(|found| {
                let change = found.candidate.metrics.log_loss - found.logged.metrics.log_loss;
                let interval = found.differences?.log_loss?;
                Some(Measurement::estimated(change, interval.low, interval.high))
            })
        });
        check.at_most(&format!("scores.{alias}.max_ece"), self.max_ece, || {
            measured(|found| {
                let ece = found.candidate.metrics.ece_equal_mass?;
                let interval = found.candidate.intervals?.ece_equal_mass?;
                Some(Measurement::estimated(ece, interval.low, interval.high))
            })
        });
    }
}

/// A distance, of which chance alone may make as much as its band.
fn beyond_chance((found, band): (f64, f64)) -> Measurement {
    if found > band {
        Measurement::counted(found)
    } else {
        // Chance explains all of it, or none: it may be anything from nothing to what was found.
        Measurement::estimated(found, 0.0, found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(side: Side, bound: f64, measured: Measurement) -> Passing {
        let mut check = Check { outcomes: Vec::new() };
        check.add("gate", side, bound, measured);
        check.outcomes[0].outcome
    }

    #[test]
    fn estimates_pass_with_their_whole_interval_and_counts_as_they_are() {
        use Passing::{Fails, Passes, Unsure};
        let estimate = |low: f64, high: f64| Measurement::estimated(f64::midpoint(low, high), low, high);
        assert_eq!(outcome(Side::AtLeast, 1.0, estimate(1.0, 1.2)), Passes);
        assert_eq!(outcome(Side::AtLeast, 1.0, estimate(0.9, 1.2)), Unsure);
        assert_eq!(outcome(Side::AtLeast, 1.0, estimate(0.5, 0.9)), Fails);
        assert_eq!(outcome(Side::AtMost, 1.0, estimate(0.5, 1.0)), Passes);
        assert_eq!(outcome(Side::AtMost, 1.0, estimate(1.1, 1.2)), Fails);
        assert_eq!(outcome(Side::AtMost, 1.0, Measurement::counted(1.0)), Passes);
        assert_eq!(outcome(Side::AtMost, 1.0, Measurement::counted(1.1)), Fails);
        assert_eq!(outcome(Side::AtMost, 1.0, Measurement::unknown("why")), Unsure);
        assert_eq!(outcome(Side::AtMost, 0.1, beyond_chance((0.2, 0.3))), Unsure);
        assert_eq!(outcome(Side::AtMost, 0.1, beyond_chance((0.2, 0.15))), Fails);
        assert_eq!(outcome(Side::AtMost, 0.1, beyond_chance((0.05, 0.3))), Passes);
    }

    #[test]
    fn the_worst_gate_makes_the_verdict_and_a_broken_control_holds_it() {
        let gate = |outcome: Passing| GateOutcome {
            gate: String::new(),
            found: None,
            low: None,
            high: None,
            side: Side::AtMost,
            bound: 0.0,
            outcome,
            passes: outcome == Passing::Passes,
            note: String::new(),
        };
        let (passes, fails, unsure) = (gate(Passing::Passes), gate(Passing::Fails), gate(Passing::Unsure));
        let verdict = |gates: &[&GateOutcome], control: bool| {
            let gates: Vec<GateOutcome> = gates.iter().map(|gate| (*gate).clone()).collect();
            Gates::verdict(&gates, true, control)
        };
        assert_eq!(verdict(&[&passes, &passes], true), Verdict::Promote);
        assert_eq!(verdict(&[&passes, &unsure], true), Verdict::Hold);
        assert_eq!(verdict(&[&unsure, &fails], true), Verdict::Reject);
        assert_eq!(verdict(&[&passes, &fails], false), Verdict::Hold);
        assert_eq!(Gates::verdict(&[passes], false, true), Verdict::Unasked);
        let codes =
            [Verdict::Unasked, Verdict::Promote, Verdict::Hold, Verdict::Reject].map(Verdict::exit_code);
        assert_eq!(codes, [0, 0, 8, 3]);
    }
}
