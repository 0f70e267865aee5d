//! The report for people.
//!
//! Not here: the figures (`compare`).

use std::fmt::Write as _;

use super::{CandidateReport, WeightedShare};

/// Lines of each list that people are shown; the JSON has all.
const SHOWN: usize = 10;

/// The report of one candidate.
pub fn text(report: &CandidateReport) -> String {
    let mut text = String::new();
    head(report, &mut text);
    flips(report, &mut text);
    differences(report, &mut text);
    for note in &report.notes {
        line(&mut text, &format!("  note: {note}"));
    }
    text
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn percent(share: &WeightedShare) -> String {
    let WeightedShare { share, interval, .. } = share;
    let [share, low, high] = [*share, interval.low, interval.high].map(|share| share * 100.0);
    format!("{share:.2} % [{low:.2}, {high:.2}]")
}

fn head(report: &CandidateReport, text: &mut String) {
    let CandidateReport { candidate, records, from, to, turns, kept, .. } = report;
    line(text, &format!("{candidate}: {records} turns from {from} to {to}"));
    line(
        text,
        &format!(
            "  turns: {} same, {} differ, {} failed, {} timed out",
            turns.same, turns.differs, turns.failed, turns.timed_out
        ),
    );
    line(
        text,
        &format!(
            "  kept: offered {}, not drawn {}, no room {}, left alone {}; probability {:.4} to {:.4}, worth {:.0} equal decisions",
            kept.offered, kept.thinned, kept.full, kept.refused, kept.least, kept.most, kept.effective
        ),
    );
    if !report.models.is_empty() {
        line(text, &format!("  policy {}; models {}", report.policies.join(", "), report.models.join(", ")));
    }
    match &report.agreement {
        Some(agreement) => line(text, &format!("  agreement: {} (95 %)", percent(agreement))),
        None => line(text, "  agreement: no turn brought an answer"),
    }
    let [served, shadowed] = [report.latency.served_us, report.latency.candidates_us];
    let times = |[median, p95, p99]: [u32; 3]| format!("{median} / {p95} / {p99} us");
    line(
        text,
        &format!("  deciding, median / p95 / p99: given {}, candidate {}", times(served), times(shadowed)),
    );
}

fn flips(report: &CandidateReport, text: &mut String) {
    for point in &report.flips_by_point {
        line(
            text,
            &format!(
                "  {}: {} answered, flips {}",
                point.decision_point,
                point.answered,
                percent(&point.flips)
            ),
        );
    }
    for flip in report.flips.iter().take(SHOWN) {
        let way = if flip.served == flip.candidates {
            format!("{} with another payload", flip.served)
        } else {
            format!("{} -> {}", flip.served, flip.candidates)
        };
        let share = percent(&flip.share);
        line(text, &format!("    {}: {way}: {share}, e.g. {}", flip.decision_point, flip.example));
    }
    for action in report.actions.iter().take(2 * SHOWN) {
        let (served, would) = (percent(&action.served), percent(&action.candidates));
        line(
            text,
            &format!("    {} {}: given {served}, candidate {would}", action.decision_point, action.action),
        );
    }
}

fn differences(report: &CandidateReport, text: &mut String) {
    for rung in report.rungs.iter().filter(|rung| rung.served != rung.candidates) {
        let _written =
            writeln!(text, "  rung {}: given {}, candidate {}", rung.rung, rung.served, rung.candidates);
    }
    for score in report.scores.iter().take(SHOWN) {
        let _written = writeln!(
            text,
            "  score {}: mean {:.4} given, {:.4} candidate; distance {:.4} in the mean, {:.4} at most",
            score.alias,
            score.served_mean,
            score.candidates_mean,
            score.mean_distance,
            score.largest_distance
        );
    }
    for reason in report.reasons.iter().take(SHOWN) {
        let _written = writeln!(
            text,
            "  reason {}: only given {}, only candidate {}",
            reason.reason, reason.only_served, reason.only_candidates
        );
    }
    for (problem, count) in report.problems.iter().take(SHOWN) {
        let _written = writeln!(text, "  problem: {problem} ({count} times)");
    }
}
