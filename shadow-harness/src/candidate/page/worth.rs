//! What the candidate is worth and what it costs: estimates with their intervals and what they lean on, and timings.
//!
//! Not here: the estimators (`off_policy`).

use augur_models::page::{Markup, figure, whole};

use crate::candidate::report::{CandidateReport, Percentiles};

pub(super) fn all(page: &mut Markup, report: &CandidateReport) {
    page.raw("<section><h2>What it is worth</h2>");
    match &report.value {
        Some(value) => value.write(page),
        None => {
            page.raw(
                "<p class=\"fine\">No outcomes were joined: name what counts with <code>--reward</code>.</p>",
            );
        }
    }
    page.raw("</section>");
    timing(page, report);
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
