//! Rules on trial: what they would have done, recorded, while nothing changes.
//!
//! Not here: rules that act (`decide`).

use std::sync::Arc;

use augur_domain::Reason;

use crate::answer::MAX_REASONS;
use crate::row::DecisionRow;
use crate::rule::{Effect, Origin, Rule};

/// For each rule in the mode `shadow` that would have fired, the reason that it would have given, by priority. A rule
/// whose condition cannot be answered would not have fired, and is silent here; so is one that sets keys of another payload
/// than that of the candidate `chosen`.
/// `acting` is the acting row of each table.
pub(crate) fn shadow_reasons(
    row: &DecisionRow<'_>,
    acting: &[Option<usize>],
    chosen: usize,
    shadow: &mut Vec<Reason>,
) {
    let about_it = |rule: &&Rule| rule.effect != Effect::Set || rule.candidates.contains(&chosen);
    let holding =
        row.point.shadow.iter().filter(|rule| rule.validity.holds_at(row.inputs.now)).filter(about_it);
    let firing = holding.filter(|rule| match rule.origin {
        Origin::Rule | Origin::Row => rule.when.expression().evaluate(row).as_boolean() == Some(true),
        Origin::Hit { table, row } => acting.get(table) == Some(&Some(row)),
    });
    shadow.clear();
    shadow.extend(
        firing
            .map(|rule| Reason::with(rule.effect.reason_code(), Arc::clone(&rule.reason)))
            .take(MAX_REASONS),
    );
}
