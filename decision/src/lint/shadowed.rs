//! Rules that change nothing because another one always did it before.
//!
//! Not here: rules that disagree (`conflicts`).

use super::{FindingCode, Lint, LintedRule, MAX_PER_TABLE, tables};
use crate::rule::Effect;

pub(super) fn check(lint: &mut Lint<'_>) {
    let mut found = Vec::new();
    let compared = lint.compared();
    for rule in &compared {
        if let Some(other) = compared.iter().find(|other| shadows(other, rule)) {
            found.push((rule.offset, sentence(rule, other)));
        }
    }
    for (offset, message) in found {
        let next_step = "take it out, narrow the other one, or give this one a higher `priority`";
        lint.add(FindingCode::Shadowed, offset, message, next_step);
    }
    check_rows(lint);
}

/// Rows of tables of which one row acts: those to which the rows before them leave nothing.
fn check_rows(lint: &mut Lint<'_>) {
    let mut found = Vec::new();
    for table in 0..lint.file.tables.len() {
        for (before, row) in tables::hidden_rows(lint, table).into_iter().take(MAX_PER_TABLE) {
            let whenever = match before.as_slice() {
                [only] => format!("row {only} always acts before it"),
                _ => "the rows before it leave nothing to it".to_owned(),
            };
            found.push((row.offset, format!("{} never acts: {whenever}", row.title())));
        }
    }
    for (offset, message) in found {
        let next_step = "take it out, move it up, or narrow the rows before it";
        lint.add(FindingCode::Shadowed, offset, message, next_step);
    }
}

/// Whether `rule` can change nothing that `other` has not changed already.
fn shadows(other: &LintedRule<'_>, rule: &LintedRule<'_>) -> bool {
    if other.info.effect != rule.info.effect || !other.is_before(rule) || !other.fires_with(rule) {
        return false;
    }
    match rule.info.effect {
        Effect::Deny | Effect::Allow => other.covers_actions_of(rule),
        // What names the default action always decides, for that one is never refused.
        Effect::Force => {
            let with_default = |rule: &LintedRule<'_>| {
                rule.points.iter().all(|point| other.info.actions.contains(point.default_action()))
            };
            other.covers_actions_of(rule) || with_default(rule)
        }
        // Each of them changes something on top of the others.
        Effect::Boost | Effect::Set => false,
    }
}

fn sentence(rule: &LintedRule<'_>, other: &LintedRule<'_>) -> String {
    let (title, other) = (rule.title(), other.title());
    match rule.info.effect {
        Effect::Deny => format!("{title} refuses nothing that {other} has not refused before"),
        Effect::Allow => format!("{title} leaves nothing that {other} does not leave"),
        _ => format!("{title} never decides: {other} fires whenever it does, and is asked first"),
    }
}
