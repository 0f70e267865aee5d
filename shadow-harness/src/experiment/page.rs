//! A report on an experiment as a page for people.
//!
//! Not here: the figures (`report`), or how a page is written (`augur_models::page`).

use augur_models::page::{self, Markup, figure, percent, span_cell, whole};

use super::interval::Interval;
use super::report::{Differences, Report};

impl Report {
    /// One self-contained HTML file about the experiment `name`; every text is escaped.
    pub fn html(&self, name: &str) -> String {
        let mut page = Markup::default();
        page::open(&mut page, &format!("{name} – experiment"), "Experiment");
        page.raw("<h1>").text(name).raw("</h1><p class=\"lead\">").text(&format!(
            "{} units in {} arms; intervals at {} %.",
            whole(self.units),
            self.arms.len(),
            self.confidence * 100.0
        ));
        page.raw("</p></header>");
        self.doubts(&mut page);
        self.arms(&mut page);
        self.comparisons(&mut page);
        page::close(&mut page);
        page.finish()
    }

    fn doubts(&self, page: &mut Markup) {
        let mut found = Vec::new();
        if let Some(check) = self.sample_ratio.as_ref().filter(|check| check.mismatch) {
            found.push(format!(
                "Sample ratio mismatch (p {:.2e}): the arms were not filled as declared. Do not believe the differences \
                 below before you know why: bots, redirects, lost logs, late enrolment.",
                check.p_value
            ));
        }
        if self.units_of_several_arms > 0 {
            found.push(format!(
                "{} units were met in several arms; each counts in its first one.",
                whole(self.units_of_several_arms)
            ));
        }
        if self.comparisons.is_empty() {
            found.push("There is one arm only, so nothing to compare it with.".to_owned());
        }
        if !found.is_empty() {
            page::begin_box(page, "warnings", "Look at this first");
            page::list(page, &found);
            page::end_box(page);
        }
    }

    fn arms(&self, page: &mut Markup) {
        page.raw("<section><h2>Arms</h2>");
        let most = self.arms.iter().map(|arm| arm.conversion_interval.high).fold(0.0, f64::max);
        let scale = format!("0 to {}", percent(most));
        let header = [
            "arm",
            "units",
            "declared",
            "converted",
            "share",
            "interval",
            &scale,
            "value a unit",
            "deviation",
        ];
        page.begin_table("What came of each arm", &header);
        for arm in &self.arms {
            let Interval { low, high } = arm.conversion_interval;
            page.raw("<tr>").heading(&arm.arm).cell(&whole(arm.units)).cell(&percent(arm.declared_share));
            page.cell(&whole(arm.conversions)).cell(&percent(arm.conversion_rate));
            page.cell(&format!("{} to {}", percent(low), percent(high)));
            span_cell(page, (low, arm.conversion_rate, high), (0.0, most), None);
            page.cell(&figure(Some(arm.value_mean), 4)).cell(&figure(arm.value_deviation, 4)).raw("</tr>");
        }
        page.end_table();
        page.raw("</section>");
    }

    fn comparisons(&self, page: &mut Markup) {
        for comparison in &self.comparisons {
            page.raw("<section><h2>").text(&comparison.arm).raw(" <small>against ").text(&comparison.control);
            page.raw("</small></h2>");
            differences(page, "Conversion, as a share of units", &comparison.conversion);
            if let Some(value) = &comparison.value {
                differences(page, "Value a unit", value);
            }
            page.raw("</section>");
        }
        if !self.comparisons.is_empty() {
            page.raw("<p class=\"fine\">").text(&format!(
                "Any time: holds however often this is read, narrowest at {} units. Once: only at a time fixed beforehand. \
                 The dotted line is no difference.",
                whole(self.tuned_for)
            ));
            page.raw("</p>");
        }
    }
}

fn differences(page: &mut Markup, caption: &str, found: &Differences) {
    let mut rows: Vec<(&str, f64, Interval, Option<f64>)> = Vec::new();
    if let Some(always) = found.always {
        rows.push(("any time", found.difference, always.interval, Some(always.p_value)));
    }
    if let Some(once) = found.once {
        rows.push(("once", found.difference, once, found.p_value_once));
    }
    if let Some(adjusted) = &found.adjusted {
        let once = adjusted.once;
        rows.push(("once, with CUPED", once.difference, once.interval, Some(once.p_value)));
        if let Some(always) = adjusted.always {
            rows.push(("any time, with CUPED", once.difference, always.interval, Some(always.p_value)));
        }
    }
    if rows.is_empty() {
        page.raw("<p class=\"fine\">").text(caption).raw(": too few yet, or nothing varies.</p>");
        return;
    }
    let low = rows.iter().map(|row| row.2.low).fold(0.0, f64::min);
    let high = rows.iter().map(|row| row.2.high).fold(0.0, f64::max);
    let scale = format!("{low:+.4} to {high:+.4}");
    let relative = found
        .relative
        .map_or_else(String::new, |relative| format!("; {:+.1} % of the control\u{2019}s", 100.0 * relative));
    page.begin_table(&format!("{caption}{relative}"), &["read", "difference", "interval", &scale, "p-value"]);
    for (read, difference, Interval { low: from, high: to }, p_value) in rows {
        page.raw("<tr>").heading(read).cell(&format!("{difference:+.4}"));
        page.cell(&format!("{from:+.4} to {to:+.4}"));
        span_cell(page, (from, difference, to), (low, high), Some(0.0));
        page.cell(&p_value.map_or_else(|| "–".to_owned(), |p| format!("{p:.4}"))).raw("</tr>");
    }
    page.end_table();
}
