//! An evaluation as a page for people, or as a part of one.
//!
//! Not here: the figures (`evaluation`), or how a page is written (`augur_models::page`).

use augur_models::page::{self, Markup, figure, percent, span_cell, whole};

use super::evaluation::Evaluation;

impl Evaluation {
    /// One self-contained HTML file about rows that came from `source`; every text is escaped.
    pub fn html(&self, source: &str) -> String {
        let mut page = Markup::default();
        page::open(&mut page, &format!("{source} – off-policy evaluation"), "Off-policy evaluation");
        page.raw("<h1>")
            .text(source)
            .raw("</h1><p class=\"lead\">What another policy would have been worth on ");
        page.text(&whole(self.diagnostics.rows)).raw(" logged decisions.</p></header>");
        self.write(&mut page);
        page::close(&mut page);
        page.finish()
    }

    /// Writes the evaluation into a page: the verdict, what it leans on, all estimates.
    pub(crate) fn write(&self, page: &mut Markup) {
        let value = self;
        let diagnostics = &value.diagnostics;
        if value.verdict.identifiable {
            page.raw("<p class=\"fine\">The log can tell: nothing speaks against the estimates.</p>");
        } else {
            page::begin_box(page, "hold", "Not identifiable");
            page.raw("<p>This log cannot tell what the target policy is worth; the estimates below are not to be believed.</p>");
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
        let intervals = || value.estimates.iter().filter_map(|estimate| estimate.normal);
        let logged = diagnostics.logged_value;
        let low = intervals().map(|found| found.low).fold(logged.min(0.0), f64::min);
        let high = intervals().map(|found| found.high).fold(logged.max(0.0), f64::max);
        let scale = format!("{} to {}", figure(Some(low), 3), figure(Some(high), 3));
        let caption = format!(
            "Value a decision of the target policy, with normal and bootstrap intervals of {:.0} %; the dotted line is the log's",
            100.0 * value.confidence
        );
        page.begin_table(&caption, &["estimator", "value", "interval", &scale, "bootstrap", "parameter"]);
        for estimate in &value.estimates {
            let between = |low: f64, high: f64| format!("{low:.4} to {high:.4}");
            page.raw("<tr>").heading(estimate.estimator.name()).cell(&figure(Some(estimate.value), 4));
            match estimate.normal {
                Some(found) => {
                    page.cell(&between(found.low, found.high));
                    span_cell(page, (found.low, estimate.value, found.high), (low, high), Some(logged));
                }
                None => {
                    page.cell("–").cell("");
                }
            }
            page.cell(
                &estimate.bootstrap.map_or_else(|| "–".to_owned(), |found| between(found.low, found.high)),
            );
            page.cell(&figure(estimate.parameter, 3)).raw("</tr>");
        }
        page.end_table();
    }
}
