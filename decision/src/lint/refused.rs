//! Actions that are never given: never eligible, or refused by a rule that always fires.
//!
//! Not here: actions that no decision point offers; such a policy does not load.

use augur_expression::Cases;

use super::{FindingCode, Lint};
use crate::rule::{Effect, Validity};

pub(super) fn check(lint: &mut Lint<'_>) {
    let mut found = Vec::new();
    for entry in &lint.file.actions {
        let name = &entry.name.value;
        let offering = lint.policy.points.iter().filter_map(|point| {
            let candidate = point.candidates.iter().find(|candidate| *candidate.action.name == **name)?;
            Some((point, candidate))
        });
        let offering: Vec<_> = offering.collect();
        let ineligible = offering.iter().all(|(_, candidate)| {
            let question = candidate.eligible_when.as_ref();
            question.is_some_and(|question| Cases::of(question.expression()).is_never())
        });
        if ineligible && !offering.is_empty() {
            let message = format!("action `{name}` is never given: its `eligible_when` is never true");
            found.push((entry.name.offset, message, "mend `eligible_when`, or take the action out"));
            continue;
        }
        let always_denies = |rule: &&super::LintedRule<'_>| {
            rule.does(Effect::Deny)
                && !rule.yields()
                && rule.is_live(lint.context.now)
                && rule.info.validity == Validity::default()
                && rule.info.actions.iter().any(|action| **action == **name)
                && rule.cases.as_ref().is_some_and(Cases::is_always)
        };
        let refused_at = |point: &crate::snapshot::Point| {
            lint.rules.iter().filter(always_denies).find(|rule| rule.holds_at(&point.name))
        };
        let by: Option<Vec<_>> = offering.iter().map(|(point, _)| refused_at(point)).collect();
        if let Some(rule) = by.as_ref().and_then(|by| by.first()) {
            let message = format!("action `{name}` is never given: {} always refuses it", rule.title());
            found.push((entry.name.offset, message, "narrow the rule, or take the action out"));
        }
    }
    for (offset, message, next_step) in found {
        lint.add(FindingCode::AlwaysRefused, offset, message, next_step);
    }
}
