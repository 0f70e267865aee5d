//! The top of the page: what was replayed, the verdict with its gates, what to look at first, key figures, and what the
//! report stands on.
//!
//! Not here: anything that is looked at in detail.

use augur_models::page::{self, Markup, figure, percent, whole};

use crate::candidate::report::{CandidateReport, Control, GateOutcome, Passing, Side, Verdict};

/// Segments that change more often than all by at least so much are pointed at, and at most so many of them.
const LEAST_LIFT: f64 = 1.5;
const MAX_SEGMENTS: usize = 4;

pub(super) fn all(page: &mut Markup, report: &CandidateReport) {
    let title = title(report);
    page::open(page, &format!("{title} – candidate replay"), "Candidate replay");
    page.raw("<h1>").text(&title).raw("</h1><p class=\"lead\">").text(&lead(report)).raw("</p>");
    let validity = &report.validity;
    let span = if validity.first_at.is_empty() {
        String::new()
    } else {
        format!("{} to {}", day(&validity.first_at), day(&validity.last_at))
    };
    page::chips(
        page,
        &[("log", &span), ("records", &whole(report.records)), ("caps count", &report.subject.exposures)],
    );
    page.raw("</header>");
    verdict(page, report);
    warnings(page, report);
    tiles(page, report);
    validity_section(page, report);
}

fn title(report: &CandidateReport) -> String {
    let subject = &report.subject;
    let mut parts: Vec<&str> = Vec::new();
    if !subject.policy.is_empty() {
        parts.push(subject.policy.rsplit('/').next().unwrap_or(&subject.policy));
    }
    parts.extend(subject.models.iter().map(String::as_str));
    if parts.is_empty() { "candidate".to_owned() } else { parts.join(", ") }
}

/// The date of an instant as RFC 3339 has it.
fn day(instant: &str) -> &str {
    instant.split('T').next().unwrap_or(instant)
}

fn lead(report: &CandidateReport) -> String {
    let flips = report.flips;
    format!(
        "{} of {} decisions ({}, 95 % {} to {}) come out otherwise, for {} of {} users.",
        whole(flips.flipped),
        whole(flips.decisions),
        percent(flips.share),
        percent(flips.low),
        percent(flips.high),
        whole(report.users_changed),
        whole(report.users)
    )
}

fn verdict(page: &mut Markup, report: &CandidateReport) {
    let (class, title, words) = match report.verdict {
        Verdict::Unasked => {
            ("plain", "Comparison", "No gates were given, so nothing is asked of the candidate.")
        }
        Verdict::Promote => ("promote", "✓ Promote", "The candidate passes every gate."),
        Verdict::Hold => (
            "hold",
            "◌ Hold",
            "There is no telling whether the candidate is what it should be; see which gate.",
        ),
        Verdict::Reject => ("reject", "✕ Reject", "The candidate fails a gate."),
    };
    page::begin_box(page, class, title);
    page.raw("<p>").text(words).raw("</p>");
    page.begin_table("Gates", &["gate", "outcome", "found", "bound", "95 % interval", "note"]);
    for gate in &report.gates {
        page.raw("<tr>").heading(&gate.gate);
        let (class, word) = match gate.outcome {
            Passing::Passes => ("passes", "✓ passes"),
            Passing::Fails => ("fails", "✕ fails"),
            Passing::Unsure => ("unsure", "◌ unsure"),
        };
        page.raw("<td class=\"").raw(class).raw("\">").text(word).raw("</td>");
        page.cell(&figure(gate.found, 4)).cell(&bound(gate)).cell(&interval(gate)).words(&gate.note);
        page.raw("</tr>");
    }
    page.end_table();
    page::end_box(page);
}

fn interval(gate: &GateOutcome) -> String {
    gate.low.zip(gate.high).map_or_else(|| "–".to_owned(), |(low, high)| format!("{low:.4} to {high:.4}"))
}

fn bound(gate: &GateOutcome) -> String {
    let side = match gate.side {
        Side::AtMost => "≤",
        Side::AtLeast => "≥",
    };
    format!("{side} {}", gate.bound)
}

/// Everything that makes a reader doubt, or look closer.
fn warnings(page: &mut Markup, report: &CandidateReport) {
    let mut found = Vec::new();
    match &report.validity.control {
        None => found.push("No control replay was made: what differs need not be the candidate's doing.".to_owned()),
        Some(control) if !control.is_clean() => found.push(format!(
            "The control does not hold: of {} records {} came out differently and {} could not be decided again by \
             what decided them; {} places of the log are damaged. What differs below need not be the candidate's doing.",
            whole(control.records),
            whole(control.different),
            whole(control.unverifiable),
            whole(control.corrupt)
        )),
        Some(_) => {}
    }
    for missing in report.uncompared.iter().take(5) {
        found.push(format!("{} decisions could not be made: {}", whole(missing.decisions), missing.reason));
    }
    if report.not_carried > 0 {
        found.push(format!(
            "{} decisions were made with caps as logged: there are too many users to carry them all.",
            whole(report.not_carried)
        ));
    }
    if let Some(value) = report.value.as_ref().filter(|value| !value.verdict.identifiable) {
        let reasons = value.verdict.refusals.iter().map(|of| format!("The value cannot be told: {of}."));
        found.extend(reasons);
    }
    for (alias, shift) in &report.scores {
        if shift.distribution.as_ref().is_some_and(|found| found.shifted) {
            found.push(format!("Scores of {alias} are distributed otherwise, beyond chance."));
        }
    }
    for segment in report
        .segments
        .iter()
        .filter(|segment| segment.stands_out && segment.lift > Some(LEAST_LIFT))
        .take(MAX_SEGMENTS)
    {
        found.push(format!(
            "{} {} changes more than the rest: {} of its decisions.",
            segment.by,
            segment.segment,
            percent(segment.flips.share)
        ));
    }
    for (experiment, arms) in &report.experiments {
        let moved: u64 = arms.values().map(|arm| arm.moved).sum();
        if moved > 0 {
            found.push(format!(
                "Experiment {experiment}: {} decisions would be of another arm, or of none; it would start anew.",
                whole(moved)
            ));
        }
    }
    if !found.is_empty() {
        page::begin_box(page, "warnings", "Look at this first");
        page::list(page, &found);
        page::end_box(page);
    }
}

fn tiles(page: &mut Markup, report: &CandidateReport) {
    let flips = report.flips;
    let part = |part: u64, of: u64| if of == 0 { 0.0 } else { part as f64 / of as f64 };
    let control = report
        .validity
        .control
        .as_ref()
        .map_or("not made", |control| if control.is_clean() { "identical" } else { "DIFFERS" });
    let compared = report.flips.decisions;
    let mut tiles = vec![
        (
            "Decisions changed",
            percent(flips.share),
            format!("95 %: {} to {}", percent(flips.low), percent(flips.high)),
        ),
        (
            "Users affected",
            percent(part(report.users_changed, report.users)),
            format!("{} of {}", whole(report.users_changed), whole(report.users)),
        ),
        ("Control replay", control.to_owned(), "byte for byte".to_owned()),
        (
            "Below the top rung",
            percent(part(report.validity.fallbacks_candidate, compared)),
            format!("{} as logged", percent(part(report.validity.fallbacks_logged, compared))),
        ),
    ];
    if let Some(value) = &report.value {
        let logged = value.diagnostics.logged_value;
        let headline = value.headline.as_ref().filter(|_| value.verdict.identifiable);
        let told = headline.map_or_else(|| "no telling".to_owned(), |found| figure(Some(found.value), 4));
        tiles.push(("Value a decision", told, format!("{} as logged", figure(Some(logged), 4))));
    }
    if let Some(ratio) = report.timing.cost_ratio {
        tiles.push(("Cost of deciding", format!("× {ratio:.2}"), "median, in this replay".to_owned()));
    }
    page::tiles(page, &tiles);
}

fn validity_section(page: &mut Markup, report: &CandidateReport) {
    let validity = &report.validity;
    page.raw("<section><h2>What it stands on</h2><dl class=\"lineage\">");
    let missed: u64 = report.uncompared.iter().map(|of| of.decisions).sum();
    let control = match &validity.control {
        None => "not made".to_owned(),
        Some(Control { records, equal, different, unverifiable, corrupt, .. }) => format!(
            "{} records: {} the same, {} different, {} not decidable, {} damaged places",
            whole(*records),
            whole(*equal),
            whole(*different),
            whole(*unverifiable),
            whole(*corrupt)
        ),
    };
    let subject = &report.subject;
    let as_logged = |text: &str| if text.is_empty() { "as logged".to_owned() } else { text.to_owned() };
    let mut facts = vec![
        ("candidate's policy".to_owned(), as_logged(&subject.policy)),
        ("candidate's models".to_owned(), as_logged(&subject.models.join(", "))),
        ("decisions from".to_owned(), validity.first_at.clone()),
        ("to".to_owned(), validity.last_at.clone()),
        ("records read".to_owned(), whole(report.records)),
        ("compared".to_owned(), whole(report.flips.decisions)),
        ("not decidable".to_owned(), whole(missed)),
        ("control replay".to_owned(), control),
        ("below the top rung, as logged".to_owned(), whole(validity.fallbacks_logged)),
        ("by the candidate".to_owned(), whole(validity.fallbacks_candidate)),
    ];
    let joined = |of: &std::collections::BTreeSet<String>| of.iter().cloned().collect::<Vec<_>>().join(", ");
    facts.push(("policies that decided".to_owned(), joined(&validity.policies)));
    for (alias, versions) in &validity.models {
        facts.push((format!("versions of {alias}"), joined(versions)));
    }
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        page.raw("<dt>").text(name).raw("</dt><dd>").text(value).raw("</dd>");
    }
    page.raw("</dl></section>");
}
