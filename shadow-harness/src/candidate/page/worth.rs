//! What the candidate is worth and what it costs: estimates with their intervals and what they lean on, and timings.
//!
//! Not here: the estimators (`off_policy`).

use augur_models::page::{self, Markup, figure, percent, span_cell, whole};

use crate::candidate::report::{CandidateReport, Percentiles};
use crate::off_policy::Evaluation;

pub(super) fn all(page: &mut Markup, report: &CandidateReport) {
    page.raw("<section><h2>What it is worth</h2>");
    match &report.value {
        Some(value) => value_of(page, value),
        None => {
            page.raw(
                "<p class=\"fine\">No outcomes were joined: name what counts with <code>--reward</code>.</p>",
            );
        }
    }
    page.raw("</section>");
    timing(page, report);
}

/// An evaluation, as every report shows it.
pub(in crate::candidate) fn value_of(page: &mut Markup, value: &Evaluation) {
    let diagnostics = &value.diagnostics;
    if value.verdict.identifiable {
        page.raw("<p class=\"fine\">The log can tell: nothing speaks against the estimates.</p>");
    } else {
        page::begin_box(page, "hold", "Not identifiable");
        page.raw("<p>This log cannot tell what the candidate is worth; the estimates below are not to be believed.</p>");
        let refusals: Vec<String> = value.verdict.refusals.iter().map(ToString::to_string).collect();
        page::list(page, &refusals);
        page::end_box(page);
    }
    let covered = diagnostics.covered.map_or_else(|| "–".to_owned(), percent);
    page::tiles(
        page,
        &[
            ("As logged", figure(Some(diagnostics.logged_value), 4), "mean reward a decision".to_owned()),
            (
                "Effective rows",
                whole(diagnostics.effective_rows as u64),
                format!("of {}; by equal weights", whole(diagnostics.rows)),
            ),
            (
                "Mean weight",
                figure(Some(diagnostics.mean_weight), 3),
                format!("± {:.3}; 1 if the log tells all", diagnostics.mean_weight_error),
            ),
            ("Covered", covered, "could have been given then".to_owned()),
            (
                "Largest weight",
                figure(Some(diagnostics.max_weight), 1),
                format!("smallest propensity {:.4}", diagnostics.min_propensity),
            ),
        ],
    );
    let ends = value.estimates.iter().filter_map(|estimate| estimate.normal.map(|found| found.high));
    let most = ends.fold(diagnostics.logged_value, f64::max).max(0.0);
    page.begin_table(
        "Value a decision by the candidate, normal and bootstrap intervals of 95 %; the dotted line is the log's",
        &["estimator", "value", "interval", "", "bootstrap", "parameter"],
    );
    for estimate in &value.estimates {
        let between = |low: f64, high: f64| format!("{low:.4} to {high:.4}");
        page.raw("<tr>").heading(estimate.estimator.name()).cell(&figure(Some(estimate.value), 4));
        match estimate.normal {
            Some(found) => {
                page.cell(&between(found.low, found.high));
                span_cell(
                    page,
                    (found.low, estimate.value, found.high),
                    most,
                    Some(diagnostics.logged_value),
                );
            }
            None => {
                page.cell("–").cell("");
            }
        }
        page.cell(&estimate.bootstrap.map_or_else(|| "–".to_owned(), |found| between(found.low, found.high)));
        page.cell(&figure(estimate.parameter, 3)).raw("</tr>");
    }
    page.end_table();
}

fn timing(page: &mut Markup, report: &CandidateReport) {
    let timing = &report.timing;
    let row = |name: &str, found: &Percentiles| {
        vec![
            name.to_owned(),
            whole(found.count),
            figure(Some(found.p50_us), 1),
            figure(Some(found.p95_us), 1),
            figure(Some(found.p99_us), 1),
            figure(Some(found.max_us), 1),
        ]
    };
    page.raw("<section><h2>What it costs</h2>");
    let rows = [
        row("reading, as logged", &timing.logged_read),
        row("deciding, as logged", &timing.logged_decide),
        row("deciding again, as then", &timing.replayed),
        row("deciding again, candidate", &timing.candidate),
    ];
    page.table(
        "Microseconds a decision",
        &["stage", "measured", "half within", "95 % within", "99 % within", "longest"],
        &rows,
    );
    page.raw("<p class=\"fine\">Both last rows are of the same decisions in this replay, one right after the other.</p>");
    page.raw("</section>");
}
