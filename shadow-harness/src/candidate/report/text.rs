//! The report in words, for a terminal: the verdict first, then what a reader asks next.
//!
//! Not here: the figures (`report`), or the page (`page`).

use std::collections::BTreeMap;
use std::fmt::{self, Formatter};

use super::{
    ActionCount, CandidateReport, Control, Example, Flips, GateOutcome, Passing, Quality, ScoreShift, Side,
    Timing, Uncompared, Verdict,
};
use crate::off_policy::Evaluation;

/// Entries of a list.
const MAX_LINES: usize = 10;
/// Changed decisions that are told; the JSON has more.
const MAX_EXAMPLES: usize = 5;

impl fmt::Display for CandidateReport {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        if self.verdict != Verdict::Unasked {
            writeln!(formatter, "{}", self.verdict)?;
        }
        self.gates.iter().try_for_each(|gate| write_gate(formatter, gate))?;
        self.write_validity(formatter)?;
        self.write_flips(formatter)?;
        section(formatter, "why", &self.causes)?;
        let changes = self.changes();
        section(formatter, "what became what", &changes)?;
        writeln!(formatter, "given, as logged and by the candidate")?;
        for (action, ActionCount { logged, candidate }) in &self.actions {
            writeln!(formatter, "  {action}: {logged} -> {candidate}")?;
        }
        for (alias, shift) in &self.scores {
            write_shift(formatter, alias, shift)?;
        }
        for (alias, quality) in &self.quality {
            write_quality(formatter, alias, quality)?;
        }
        self.write_outcomes(formatter)?;
        if let Some(value) = &self.value {
            write_value(formatter, value)?;
        }
        write_timing(formatter, &self.timing)?;
        self.examples.iter().take(MAX_EXAMPLES).try_for_each(|example| write_example(formatter, example))
    }
}

impl CandidateReport {
    /// `logged -> candidate`, of changed decisions.
    pub(in crate::candidate) fn changes(&self) -> BTreeMap<String, u64> {
        let mut changes = BTreeMap::new();
        for (logged, row) in &self.confusion {
            for (candidate, count) in row.iter().filter(|(candidate, _)| *candidate != logged) {
                changes.insert(format!("{logged} -> {candidate}"), *count);
            }
        }
        changes
    }

    fn write_outcomes(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        for (action, came) in &self.outcomes {
            let (kept, given_up) = (came.kept, came.given_up);
            writeln!(
                formatter,
                "came of {action}: {} of {} decisions that stay ({:.4} in all), {} of {} that change ({:.4})",
                kept.rewarded,
                kept.decisions,
                kept.reward,
                given_up.rewarded,
                given_up.decisions,
                given_up.reward
            )?;
        }
        let Some(joined) = &self.joined else { return Ok(()) };
        writeln!(
            formatter,
            "outcomes: {} in time, {} late, {} repeated, {} of other decisions; {} decisions are too young",
            joined.outcomes, joined.late, joined.repeated, joined.without_decision, joined.immature
        )
    }

    fn write_validity(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{} records, {} decided by the candidate", self.records, self.flips.decisions)?;
        match &self.validity.control {
            Some(control) if control.is_clean() => {
                writeln!(formatter, "  control: all {} came out the same, byte for byte", control.records)?;
            }
            Some(Control { records, equal, different, unverifiable, corrupt, .. }) => writeln!(
                formatter,
                "  control DOES NOT HOLD: of {records} records {equal} came out the same, {different} differently, \
                 {unverifiable} not at all, {corrupt} places are damaged; what is told below need not be the \
                 candidate's doing"
            )?,
            None => writeln!(formatter, "  no control replay was made")?,
        }
        for Uncompared { reason, decisions } in self.uncompared.iter().take(MAX_LINES) {
            writeln!(formatter, "  {decisions} could not be: {reason}")?;
        }
        let (before, now) = (self.validity.fallbacks_logged, self.validity.fallbacks_candidate);
        if before + now > 0 {
            writeln!(formatter, "  below the top rung: {before} as logged, {now} by the candidate")?;
        }
        Ok(())
    }

    fn write_flips(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Flips { flipped, share, low, high, .. } = self.flips;
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
            let (of, share) = (flips.decisions, percent(flips.share));
            writeln!(formatter, "  {point}: {} of {of}, {share}", flips.flipped)?;
        }
        for segment in self.segments.iter().filter(|segment| segment.stands_out).take(MAX_LINES) {
            let (of, share) = (segment.flips.decisions, percent(segment.flips.share));
            let (by, name, flipped) = (&segment.by, &segment.segment, segment.flips.flipped);
            writeln!(formatter, "  stands out: {by} {name}: {flipped} of {of}, {share}")?;
        }
        Ok(())
    }
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

fn write_gate(formatter: &mut Formatter<'_>, gate: &GateOutcome) -> fmt::Result {
    let GateOutcome { gate, found, low, high, side, bound, outcome, note, .. } = gate;
    let found = found.map_or_else(|| "no telling".to_owned(), |found| format!("{found:.4}"));
    let interval = low.zip(*high).map_or_else(String::new, |(low, high)| format!(" ({low:.4} to {high:.4})"));
    let side = match side {
        Side::AtMost => "at most",
        Side::AtLeast => "at least",
    };
    let word = match outcome {
        Passing::Passes => "passes",
        Passing::Fails => "FAILS",
        Passing::Unsure => "UNSURE",
    };
    let note = if note.is_empty() { String::new() } else { format!(": {note}") };
    writeln!(formatter, "gate {gate}: {found}{interval}, {side} {bound}: {word}{note}")
}

fn write_shift(formatter: &mut Formatter<'_>, alias: &str, shift: &ScoreShift) -> fmt::Result {
    writeln!(
        formatter,
        "scores.{alias}: {} of {} changed, mean {:.4} -> {:.4}, by at most {:.4}",
        shift.changed, shift.scored, shift.logged_mean, shift.candidate_mean, shift.largest
    )?;
    let Some(found) = &shift.distribution else { return Ok(()) };
    let word = if found.shifted { "SHIFTED" } else { "no shift that matters" };
    let rank =
        found.rank_correlation.map_or_else(String::new, |rank| format!(", rank correlation {rank:.3}"));
    writeln!(
        formatter,
        "  {word}: PSI {:.4} (by chance up to {:.4}), KS {:.4} (by chance up to {:.4}){rank}",
        found.psi, found.psi_band, found.ks, found.ks_band
    )
}

fn write_quality(formatter: &mut Formatter<'_>, alias: &str, quality: &Quality) -> fmt::Result {
    let Quality { label, rows, positives, measured } = quality;
    writeln!(formatter, "scores.{alias} against {label}: {positives} of {rows}")?;
    let Some(found) = measured else { return writeln!(formatter, "  too few to say anything") };
    let (before, now) = (&found.logged.metrics, &found.candidate.metrics);
    let figure = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
    let between =
        |of: fn(&augur_models::metrics::interval::Differences) -> Option<augur_models::metrics::Interval>| {
            found.differences.as_ref().and_then(of).map_or_else(String::new, |interval| {
                format!(" (change {:+.4} to {:+.4})", interval.low, interval.high)
            })
        };
    writeln!(
        formatter,
        "  ROC-AUC {} -> {}{}",
        figure(before.roc_auc),
        figure(now.roc_auc),
        between(|of| of.roc_auc)
    )?;
    writeln!(
        formatter,
        "  log loss {:.4} -> {:.4}{}",
        before.log_loss,
        now.log_loss,
        between(|of| of.log_loss)
    )?;
    writeln!(formatter, "  Brier {:.4} -> {:.4}{}", before.brier, now.brier, between(|of| of.brier))?;
    writeln!(
        formatter,
        "  calibration error {} -> {}",
        figure(before.ece_equal_mass),
        figure(now.ece_equal_mass)
    )
}

fn write_value(formatter: &mut Formatter<'_>, value: &Evaluation) -> fmt::Result {
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

fn write_timing(formatter: &mut Formatter<'_>, timing: &Timing) -> fmt::Result {
    let Some(ratio) = timing.cost_ratio else { return Ok(()) };
    writeln!(
        formatter,
        "deciding again takes {:.2} us as logged, {:.2} us by the candidate: {ratio:.2} times as long (medians)",
        timing.replayed.p50_us, timing.candidate.p50_us
    )
}

fn write_example(formatter: &mut Formatter<'_>, example: &Example) -> fmt::Result {
    let Example { sequence, user_key, decision_point, logged, candidate, cause, .. } = example;
    writeln!(formatter, "e.g. {sequence} {user_key} at {decision_point}: {logged} -> {candidate}, {cause}")
}

/// Most frequent first.
fn section(formatter: &mut Formatter<'_>, title: &str, counts: &BTreeMap<String, u64>) -> fmt::Result {
    let mut counts: Vec<_> = counts.iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    if !counts.is_empty() {
        writeln!(formatter, "{title}")?;
    }
    counts.iter().take(MAX_LINES).try_for_each(|(name, count)| writeln!(formatter, "  {count} {name}"))
}
