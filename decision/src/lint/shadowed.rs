//! Rules that change nothing because another one always did it before.
//!
//! Not here: rules that disagree (`conflicts`).

use super::{FindingCode, Lint, LintedRule};
use crate::rule::Effect;

pub(super) fn check(lint: &mut Lint<'_>) {
    let now = lint.context.now;
    let mut found = Vec::new();
    for (index, rule) in lint.rules.iter().enumerate().filter(|(_, rule)| rule.is_live(now)) {
        let others = lint.rules.iter().enumerate().filter(|(other, _)| *other != index);
        let mut others = others.map(|(_, other)| other).filter(|other| other.is_live(now));
        if let Some(other) = others.find(|other| shadows(other, rule)) {
            found.push((rule.offset, sentence(rule, other)));
        }
    }
    for (offset, message) in found {
        lint.add(
            FindingCode::Shadowed,
            offset,
            message,
            "take it out, narrow the other one, or give this one a higher `priority`",
        );
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
    let (id, other) = (&rule.info.id, &other.info.id);
    match rule.info.effect {
        Effect::Deny => format!("rule `{id}` refuses nothing that `{other}` has not refused before"),
        Effect::Allow => format!("rule `{id}` leaves nothing that `{other}` does not leave"),
        _ => format!("rule `{id}` never decides: `{other}` fires whenever it does, and is asked first"),
    }
}
