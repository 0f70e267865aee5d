//! What users would get otherwise: flips by segment, why, what became of which action, volumes, experiments.
//!
//! Not here: whether that is better (`models`, `worth`).

use augur_models::page::{
    self, Ink, Markup, bars_cell, figure, heat_cell, legend, percent, span_cell, whole,
};

use crate::candidate::report::{CandidateReport, Flips};

/// Actions that the matrix has room for, most frequent first; the volumes have more.
const MAX_MATRIX: usize = 12;
/// Rows of the other tables.
const MAX_ROWS: usize = 60;

pub(super) fn all(page: &mut Markup, report: &CandidateReport) {
    flips(page, report);
    causes(page, report);
    actions(page, report);
    experiments(page, report);
}

fn flips(page: &mut Markup, report: &CandidateReport) {
    page.raw("<section><h2>Who gets something else <small>share of decisions with another action, with Wilson's 95 % \
              interval; the dotted line is the share in all, and lift is over it</small></h2>");
    let overall = report.flips.share;
    let rungs: Vec<(&str, &Flips)> = report.by_rung.iter().map(|(rung, flips)| (*rung, flips)).collect();
    let points: Vec<(&str, &Flips)> =
        report.by_point.iter().map(|(point, flips)| (point.as_str(), flips)).collect();
    flips_table(page, "By decision point", "decision point", &points, overall);
    flips_table(page, "By rung, as logged", "rung", &rungs, overall);
    let kinds: std::collections::BTreeSet<&str> =
        report.segments.iter().map(|segment| segment.by.as_str()).collect();
    for by in kinds {
        let of_this = || report.segments.iter().filter(|segment| segment.by == by);
        let most = of_this().map(|segment| segment.flips.high).fold(overall, f64::max);
        let scale = scale(most);
        page.begin_table(
            &format!("By {by}"),
            &["segment", "decisions", "changed", "share", "95 % interval", &scale, "lift", "stands out"],
        );
        for segment in of_this().take(MAX_ROWS) {
            flips_row(page, &segment.segment, &segment.flips, most, overall);
            page.cell(&segment.lift.map_or_else(|| "–".to_owned(), |lift| format!("× {lift:.2}")));
            page.cell(if segment.stands_out { "yes" } else { "" }).raw("</tr>");
        }
        page.end_table();
    }
    if !report.segments.is_empty() {
        page.raw("<p class=\"fine\">A segment stands out when a z test against all other decisions says so at 1 %, held to that \
                  over all segments together (Holm).</p>");
    }
    page.raw("</section>");
}

fn flips_table(page: &mut Markup, caption: &str, by: &str, rows: &[(&str, &Flips)], overall: f64) {
    if rows.is_empty() {
        return;
    }
    let most = rows.iter().map(|(_, flips)| flips.high).fold(overall, f64::max);
    page.begin_table(caption, &[by, "decisions", "changed", "share", "95 % interval", &scale(most)]);
    for (name, flips) in rows.iter().take(MAX_ROWS) {
        flips_row(page, name, flips, most, overall);
        page.raw("</tr>");
    }
    page.end_table();
}

/// What the drawn column spans.
fn scale(most: f64) -> String {
    format!("0 to {}", percent(most))
}

fn flips_row(page: &mut Markup, name: &str, flips: &Flips, most: f64, overall: f64) {
    page.raw("<tr>").heading(name).cell(&whole(flips.decisions)).cell(&whole(flips.flipped));
    page.cell(&percent(flips.share));
    page.cell(&format!("{} to {}", percent(flips.low), percent(flips.high)));
    span_cell(page, (flips.low, flips.share, flips.high), (0.0, most), Some(overall));
}

fn causes(page: &mut Markup, report: &CandidateReport) {
    if report.causes.is_empty() {
        return;
    }
    let share = |count: u64| percent(count as f64 / report.flips.flipped.max(1) as f64);
    page.raw("<section><h2>Why <small>the first cause that explains each changed decision</small></h2>");
    let stages: Vec<(&str, u64)> = report.stages.iter().map(|(stage, count)| (*stage, *count)).collect();
    let causes: Vec<(&str, u64)> =
        report.causes.iter().map(|(cause, count)| (cause.as_str(), *count)).collect();
    for (caption, by, rows) in [("By stage of deciding", "stage", stages), ("By cause", "cause", causes)] {
        let mut rows = rows;
        rows.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let most = rows.first().map_or(0, |(_, count)| *count) as f64;
        page.begin_table(caption, &[by, "decisions", "of those changed", ""]);
        for (name, count) in rows.into_iter().take(MAX_ROWS) {
            page.raw("<tr>").heading(name).cell(&whole(count)).cell(&share(count));
            span_cell(page, (0.0, count as f64, count as f64), (0.0, most), None);
            page.raw("</tr>");
        }
        page.end_table();
    }
    page.raw("</section>");
}

fn actions(page: &mut Markup, report: &CandidateReport) {
    if report.actions.is_empty() {
        return;
    }
    let mut rows: Vec<_> = report.actions.iter().collect();
    rows.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.logged.max(counts.candidate)));
    let most = rows.first().map_or(0, |(_, counts)| counts.logged.max(counts.candidate)) as f64;
    page.raw("<section><h2>What is given</h2>");
    legend(page, &[(Ink::Second, "as logged"), (Ink::Main, "by the candidate")]);
    page.begin_table(
        "How often each action is given",
        &["action", "logged", "candidate", "change", "ratio", ""],
    );
    for (action, counts) in rows.iter().take(MAX_ROWS) {
        let (logged, candidate) = (counts.logged as f64, counts.candidate as f64);
        page.raw("<tr>").heading(action).cell(&whole(counts.logged)).cell(&whole(counts.candidate));
        page.cell(&format!("{:+}", counts.candidate as i128 - i128::from(counts.logged)));
        page.cell(&figure((logged > 0.0).then(|| candidate / logged), 2));
        bars_cell(page, (logged, candidate), most);
        page.raw("</tr>");
    }
    page.end_table();
    let names: Vec<&str> = rows.iter().take(MAX_MATRIX).map(|(action, _)| action.as_str()).collect();
    matrix(page, report, &names);
    page.raw("</section>");
}

fn matrix(page: &mut Markup, report: &CandidateReport, names: &[&str]) {
    let header: Vec<&str> = std::iter::once("logged ↓ candidate →").chain(names.iter().copied()).collect();
    page.begin_table("What became what; colours are shares of the row", &header);
    for logged in names {
        let row = report.confusion.get(*logged);
        let total: u64 = row.map_or(0, |row| row.values().sum());
        page.raw("<tr>").heading(logged);
        for candidate in names {
            let count = row.and_then(|row| row.get(*candidate)).copied().unwrap_or(0);
            let text = if count == 0 { "·".to_owned() } else { whole(count) };
            heat_cell(page, count as f64 / total.max(1) as f64, &text);
        }
        page.raw("</tr>");
    }
    page.end_table();
    if report.actions.len() > names.len() {
        let left_out = report.actions.len() - names.len();
        page.raw("<p class=\"fine\">")
            .text(&format!("{left_out} less frequent actions are left out."))
            .raw("</p>");
    }
}

fn experiments(page: &mut Markup, report: &CandidateReport) {
    if report.experiments.is_empty() {
        return;
    }
    page.raw("<section><h2>Experiments <small>by the arm as logged; moved are those of another arm now, or of none</small></h2>");
    for (experiment, arms) in report.experiments.iter().take(MAX_ROWS) {
        let most = arms.values().map(|arm| arm.flips.high).fold(report.flips.share, f64::max);
        page.begin_table(
            experiment,
            &["arm", "decisions", "changed", "share", "95 % interval", &scale(most), "moved"],
        );
        for (arm, found) in arms {
            flips_row(page, arm, &found.flips, most, report.flips.share);
            page.cell(&whole(found.moved)).raw("</tr>");
        }
        page.end_table();
    }
    page.raw("</section>");
}

/// Ends a figure with its figures as a table folded away.
pub(super) fn end_with_figures(page: &mut Markup, caption: &str, header: &[&str], rows: &[Vec<String>]) {
    page::details(page, caption, header, rows);
    page::end(page);
}
