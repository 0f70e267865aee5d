//! Rows of one table that can hold together, with equal priority, and do different things, so that their order decides.
//!
//! In tables of which the first row acts, that is what the order is for. Not here: rows that never act (`shadowed`), force
//! rules that are no rows of one table (`conflicts`).

use super::{FindingCode, Lint, LintedRule, MAX_COMPARED, MAX_PER_TABLE};
use crate::rule::{Effect, Hit, RuleInfo};

pub(super) fn check(lint: &mut Lint<'_>) {
    let mut found = Vec::new();
    for (index, table) in lint.file.tables.iter().enumerate().filter(|(_, table)| table.hit != Hit::First) {
        let live = lint.rows(index).iter().filter(|row| row.is_live(lint.context.now));
        let rows: Vec<&LintedRule<'_>> = live.take(MAX_COMPARED).collect();
        let differ = if table.hit == Hit::Priority { decide_differently } else { undo_each_other };
        let pairs = rows.iter().enumerate().filter_map(|(place, row)| {
            let earlier = rows.get(..place)?.iter().filter(|other| differ(other.info, row.info));
            earlier
                .filter(|other| other.meets(row))
                .find_map(|other| Some((other, row, together(lint, other, row)?)))
        });
        for (other, row, example) in pairs.take(MAX_PER_TABLE) {
            let number = |row: &LintedRule<'_>| row.info.row.as_ref().map_or(0, |row| row.row);
            let message = format!(
                "rows {} and {} of table `{}` both hold for {example}, with equal priority, and do different things: the \
                 first decides",
                number(other),
                number(row),
                table.name.value
            );
            found.push((row.offset, message));
        }
    }
    for (offset, message) in found {
        let next_step = "narrow one, or give the one that should decide a higher `priority`";
        lint.add(FindingCode::TableOverlap, offset, message, next_step);
    }
}

/// An example of values for which both rows surely hold.
fn together(lint: &Lint<'_>, one: &LintedRule<'_>, two: &LintedRule<'_>) -> Option<String> {
    let (cases, others) = (one.cases.as_ref()?, two.cases.as_ref()?);
    if !cases.meets(others) {
        return None;
    }
    let both = cases.surely().and(&others.surely()).within_domains(&|slot| lint.domain(slot));
    lint.examples(&both, [], 1)?.into_iter().next()
}

/// Of rows one of which acts: whether it matters which.
fn decide_differently(one: &RuleInfo, two: &RuleInfo) -> bool {
    let outcome = |rule: &RuleInfo| {
        let boost = (rule.boost.factor.to_bits(), rule.boost.add.to_bits());
        (
            rule.effect,
            rule.actions.clone(),
            boost,
            std::sync::Arc::clone(&rule.set),
            std::sync::Arc::clone(&rule.reason),
        )
    };
    one.priority == two.priority && outcome(one) != outcome(two)
}

/// Of rows that all act: whether one undoes what the other does.
fn undo_each_other(one: &RuleInfo, two: &RuleInfo) -> bool {
    let same_actions = one.actions == two.actions;
    let common_action = one.actions.iter().any(|action| two.actions.contains(action));
    let same_key = |(key, value): &(Box<str>, Box<str>)| {
        two.set.iter().any(|(other, other_value)| other == key && other_value != value)
    };
    one.priority == two.priority
        && one.effect == two.effect
        && match one.effect {
            Effect::Force => !same_actions,
            Effect::Set => common_action && one.set.iter().any(same_key),
            Effect::Allow | Effect::Deny | Effect::Boost => false,
        }
}
