//! Rules that disagree: force rules of equal priority, allow rules against deny rules.
//!
//! Not here: rules that agree and repeat each other (`shadowed`), rows of one table (`overlaps`).

use super::{FindingCode, Lint, LintedRule};
use crate::rule::Effect;

pub(super) fn check(lint: &mut Lint<'_>) {
    let live = lint.compared();
    let mut found = Vec::new();
    for (index, rule) in live.iter().enumerate() {
        let earlier = live.get(..index).unwrap_or_default();
        if let Some(other) = earlier.iter().find(|other| race(other, rule)) {
            let (title, other) = (rule.title(), other.title());
            let message = format!(
                "{other} and {title} can fire together with equal priority and force different actions: the first in \
                 the file decides"
            );
            let next_step = "give the one that should decide a higher `priority`";
            found.push((FindingCode::EqualPriority, rule.offset, message, next_step));
        }
        let denies = |other: &&&LintedRule<'_>| {
            other.does(Effect::Deny) && other.fires_with(rule) && other.covers_actions_of(rule)
        };
        if let Some(other) = live.iter().find(denies).filter(|_| rule.does(Effect::Allow)) {
            let (title, other) = (rule.title(), other.title());
            let message = format!(
                "{title} leaves only actions that {other} refuses whenever it fires: nothing is left but the default \
                 action"
            );
            found.push((
                FindingCode::AllowDenied,
                rule.offset,
                message,
                "take one of both out, or narrow one",
            ));
        }
    }
    for (code, offset, message, next_step) in found {
        lint.add(code, offset, message, next_step);
    }
}

/// Whether the order in the file decides between two force rules.
fn race(one: &LintedRule<'_>, two: &LintedRule<'_>) -> bool {
    let (Some(cases), Some(others)) = (&one.cases, &two.cases) else { return false };
    let same_actions = one.covers_actions_of(two) && two.covers_actions_of(one);
    // Of rows of one table more is told (`overlaps`).
    !one.is_row_with(two)
        && one.does(Effect::Force)
        && two.does(Effect::Force)
        && one.info.priority == two.info.priority
        && !same_actions
        && one.meets(two)
        && !cases.and(others).is_never()
}
