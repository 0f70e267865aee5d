//! Changed decisions shown whole: scores, what both say of every action, and the difference of reasons.
//!
//! Not here: which ones are shown (`report::examples`).

use augur_models::page::{Markup, figure};

use crate::candidate::report::{ActionView, CandidateReport, Example};

pub(super) fn all(page: &mut Markup, report: &CandidateReport) {
    if report.examples.is_empty() {
        return;
    }
    page.raw("<section><h2>Changed decisions <small>of the most frequent causes, those with most at stake</small></h2>");
    for (place, example) in report.examples.iter().enumerate() {
        // The first is open, to show what there is to see.
        page.raw(if place == 0 { "<details class=\"example\" open>" } else { "<details class=\"example\">" });
        whole(page, example);
        page.raw("</details>");
    }
    page.raw("</section>");
}

fn whole(page: &mut Markup, example: &Example) {
    page.raw("<summary>")
        .text(&example.logged)
        .raw(" → <strong>")
        .text(&example.candidate)
        .raw("</strong> <span>");
    page.text(&format!("{} · record {} at {}", example.cause, example.sequence, example.decision_point));
    page.raw("</span></summary><dl class=\"lineage\">");
    let gain = if example.gain == 0.0 { String::new() } else { figure(Some(example.gain), 4) };
    for (name, value) in [
        ("decision", example.decision_id.as_str()),
        ("user", &example.user_key),
        ("at", &example.at),
        ("stage", example.stage.as_str()),
        ("worth more, by the candidate's values", &gain),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    {
        page.raw("<dt>").text(name).raw("</dt><dd>").text(value).raw("</dd>");
    }
    page.raw("</dl>");
    reasons(page, example);
    if !example.scores.is_empty() {
        let row = |(alias, both): (&String, &crate::candidate::report::Both<f64>)| {
            let change = both.candidate.zip(both.logged).map(|(now, before)| now - before);
            let change = change.map_or_else(|| "–".to_owned(), |change| format!("{change:+.4}"));
            vec![alias.clone(), figure(both.logged, 4), figure(both.candidate, 4), change]
        };
        let rows: Vec<Vec<String>> = example.scores.iter().map(row).collect();
        page.table("Scores", &["model", "logged", "candidate", "change"], &rows);
    }
    actions(page, example);
}

/// Reasons that went, came and stayed.
fn reasons(page: &mut Markup, example: &Example) {
    let (before, now) = (&example.logged_reasons, &example.candidate_reasons);
    page.raw("<ul class=\"diff\" aria-label=\"Difference of reasons\">");
    for reason in before.iter().filter(|reason| !now.contains(reason)) {
        page.raw("<li class=\"gone\">− ").text(reason).raw("</li>");
    }
    for reason in now.iter().filter(|reason| !before.contains(reason)) {
        page.raw("<li class=\"new\">+ ").text(reason).raw("</li>");
    }
    for reason in now.iter().filter(|reason| before.contains(reason)) {
        page.raw("<li>  ").text(reason).raw("</li>");
    }
    page.raw("</ul>");
}

fn actions(page: &mut Markup, example: &Example) {
    page.begin_table(
        "What both say of every action",
        &[
            "action",
            "logged value",
            "probability",
            "why, why not",
            "candidate's value",
            "probability",
            "why, why not",
        ],
    );
    for (action, both) in &example.actions {
        page.raw("<tr>").heading(action);
        for view in [&both.logged, &both.candidate] {
            view_of(page, view.as_ref());
        }
        page.raw("</tr>");
    }
    page.end_table();
}

fn view_of(page: &mut Markup, view: Option<&ActionView>) {
    match view {
        Some(view) => {
            page.cell(&figure(view.value, 4)).cell(&figure(Some(view.probability), 3)).words(&view.reason);
        }
        None => {
            page.cell("–").cell("–").words("not offered");
        }
    }
}
