//! Whether the entries of a policy file fit together: names and defaults.
//!
//! Not here: the form of single values (`file`) the meaning of expressions (`compile`), or caps and their like (`check_limits`).

use std::collections::{BTreeMap, BTreeSet};

use crate::check_experiments::check_experiments;
use crate::check_ladder::check_ladder;
use crate::check_limits::{bound_of, check_limits};
use crate::compile_exploration::check_exploration;
use crate::file::{
    ActionEntry, Complaints, Located, MAX_PAYLOAD_BYTES, MAX_PLACED_RULES, MAX_TABLE_FAULTS, PointEntry,
    Policy, RuleEntry, suggestion,
};
use crate::rule::Effect;

/// Adds everything that does not fit to `complaints`.
pub(crate) fn check(policy: &Policy, complaints: &mut Complaints<'_>) {
    unique(policy.points.iter().map(|point| &point.name), "decision point", complaints);
    unique(policy.models.iter().map(|model| &model.name), "model", complaints);
    unique(policy.segments.iter().map(|segment| &segment.name), "segment", complaints);
    unique(policy.actions.iter().map(|action| &action.name), "action", complaints);
    unique(policy.channels.iter().map(|channel| &channel.name), "channel", complaints);
    unique(policy.rules.iter().map(|rule| &rule.id), "rule", complaints);
    unique(policy.tables.iter().map(|table| &table.name), "table", complaints);
    if policy.points.is_empty() && complaints.is_empty() {
        complaints.add(0, "the policy has no decision point", "at least one `[[decision_point]]`", "");
    }
    let names = Known::of(policy);
    for point in &policy.points {
        names.all(&names.actions, "action", &point.actions, complaints);
        names.all(&names.models, "model", &point.models, complaints);
        names.all(&names.segments, "segment", &point.segments, complaints);
        check_default(point, policy, complaints);
    }
    for action in &policy.actions {
        check_action(action, policy, complaints);
    }
    let mut said = BTreeSet::new();
    for word in &policy.words {
        names.all(&names.models, "model", std::slice::from_ref(&word.model), complaints);
        if !word.feature.value.is_empty() && !said.insert((&word.model.value, &word.feature.value)) {
            let (feature, model) = (&word.feature.value, &word.model.value);
            let message = format!("`{feature}` is explained twice for the model `{model}`");
            complaints.add(word.feature.offset, message, "one `[[explain]]` for each feature of a model", "");
        }
    }
    let mut faults_of_table = (None, 0);
    for (rule, table) in policy.every_rule() {
        if table != faults_of_table.0 {
            faults_of_table = (table, complaints.len());
        }
        if table.is_some() && complaints.len() - faults_of_table.1 >= MAX_TABLE_FAULTS {
            continue;
        }
        names.all(&names.actions, "action", &rule.actions, complaints);
        check_points(rule, policy, &names, complaints);
        check_effect(rule, policy, complaints);
    }
    check_limits(policy, complaints);
    check_placed(policy, complaints);
    check_sets(policy, complaints);
    check_experiments(policy, complaints);
    check_exploration(policy, complaints);
    check_ladder(policy, complaints);
}

/// Whether `rule` holds at `point`: the point offers one of its actions, and is named if the rule names points.
pub(crate) fn applies(rule: &RuleEntry, point: &PointEntry) -> bool {
    let named = rule.points.as_ref().is_none_or(|points| contains(points, &point.name.value));
    named && rule.actions.iter().any(|action| contains(&point.actions, &action.value))
}

fn contains(names: &[Located<String>], wanted: &str) -> bool {
    names.iter().any(|name| name.value == wanted)
}

pub(crate) fn unique<'p>(
    names: impl Iterator<Item = &'p Located<String>>,
    kind: &str,
    complaints: &mut Complaints<'_>,
) {
    let mut seen = BTreeSet::new();
    for name in names.filter(|name| !name.value.is_empty()) {
        if !seen.insert(&name.value) {
            let message = format!("the {kind} `{}` is declared twice", name.value);
            complaints.add(name.offset, message, "another name", "");
        }
    }
}

/// The names that entries may refer to.
struct Known<'p> {
    points: BTreeMap<&'p str, &'p PointEntry>,
    actions: BTreeSet<&'p str>,
    models: BTreeSet<&'p str>,
    segments: BTreeSet<&'p str>,
}

impl<'p> Known<'p> {
    fn of(policy: &'p Policy) -> Self {
        Self {
            points: policy.points.iter().map(|point| (&*point.name.value, point)).collect(),
            actions: policy.actions.iter().map(|action| &*action.name.value).collect(),
            models: policy.models.iter().map(|model| &*model.name.value).collect(),
            segments: policy.segments.iter().map(|segment| &*segment.name.value).collect(),
        }
    }

    fn all(
        &self,
        known: &BTreeSet<&str>,
        kind: &str,
        names: &[Located<String>],
        complaints: &mut Complaints<'_>,
    ) {
        for name in names.iter().filter(|name| !known.contains(&*name.value)) {
            unknown(kind, name, known.iter().copied(), complaints);
        }
    }
}

pub(crate) fn unknown<'k>(
    kind: &str,
    name: &Located<String>,
    known: impl Iterator<Item = &'k str>,
    complaints: &mut Complaints<'_>,
) {
    let hint = suggestion(&name.value, known);
    let message = format!("there is no {kind} `{}`", name.value);
    complaints.add(name.offset, message, format!("the name of a declared {kind}"), hint);
}

/// The default action is given whenever nothing else is left, so nothing may stand that could never refuse it.
fn check_default(point: &PointEntry, policy: &Policy, complaints: &mut Complaints<'_>) {
    let Some(default) = &point.default_action else { return };
    if !contains(&point.actions, &default.value) {
        if !point.actions.is_empty() {
            let offered = point.actions.iter().map(|action| &*action.value);
            let message = format!("the default action `{}` is not in `actions`", default.value);
            complaints.add(
                default.offset,
                message,
                "one of the point's actions",
                suggestion(&default.value, offered),
            );
        }
        return;
    }
    let Some(action) = policy.actions.iter().find(|action| action.name.value == default.value) else {
        return;
    };
    let conditional = action.eligible_when.as_ref().map(|_| "has `eligible_when`");
    let consented = action.requires_consent.first().map(|_| "requires a consent");
    let Some(problem) = bound_of(action, policy).or(conditional).or(consented) else { return };
    let message = format!("the default action `{}` {problem}, but a default is never refused", default.value);
    complaints.add(default.offset, message, "an action that may always be given", "");
}

fn check_action(action: &ActionEntry, policy: &Policy, complaints: &mut Complaints<'_>) {
    let offered = policy.points.iter().any(|point| contains(&point.actions, &action.name.value));
    if !offered && !action.name.value.is_empty() {
        let message = format!("no decision point offers the action `{}`", action.name.value);
        complaints.add(action.name.offset, message, "its name in `actions` of a decision point", "");
    }
}

fn check_points(rule: &RuleEntry, policy: &Policy, names: &Known<'_>, complaints: &mut Complaints<'_>) {
    let Some(points) = &rule.points else { return };
    for name in points {
        match names.points.get(&*name.value) {
            None => unknown("decision point", name, names.points.keys().copied(), complaints),
            Some(point) if !applies(rule, point) && known_actions(rule, policy) => {
                let message = format!("`{}` offers none of the rule's actions", name.value);
                complaints.add(name.offset, message, "a decision point that offers one of them", "");
            }
            Some(_) => {}
        }
    }
}

/// Whether every action of the rule is declared; if not, that has been said already.
fn known_actions(rule: &RuleEntry, policy: &Policy) -> bool {
    let declared = |name: &str| policy.actions.iter().any(|action| action.name.value == name);
    rule.actions.iter().all(|action| declared(&action.value))
}

fn check_effect(rule: &RuleEntry, policy: &Policy, complaints: &mut Complaints<'_>) {
    if rule.then != Some(Effect::Deny) {
        return;
    }
    for point in policy.points.iter().filter(|point| applies(rule, point)) {
        let Some(default) = &point.default_action else { continue };
        if let Some(denied) = rule.actions.iter().find(|action| action.value == default.value) {
            let message = format!(
                "{} denies `{}`, the default action of `{}`, which is never refused",
                rule.title(),
                denied.value,
                point.name.value
            );
            complaints.add(denied.offset, message, "other actions, or `points` without that one", "");
        }
    }
}

/// Bounds what the rules take at all decision points together.
fn check_placed(policy: &Policy, complaints: &mut Complaints<'_>) {
    let mut placed = 0;
    for (rule, _) in policy.every_rule() {
        placed += policy.points.iter().filter(|point| applies(rule, point)).count();
        if placed > MAX_PLACED_RULES {
            let message =
                format!("rules hold at more than {MAX_PLACED_RULES} places, counting each decision point");
            complaints.add(rule.id.offset, message, "fewer rules, or `points` that name fewer", "");
            return;
        }
    }
}

/// Keys can be set in a table alone, and whatever rules set must fit the payload together.
fn check_sets(policy: &Policy, complaints: &mut Complaints<'_>) {
    let mut bytes: BTreeMap<&str, usize> =
        policy.actions.iter().map(|action| (&*action.name.value, action.payload.len())).collect();
    for (rule, _) in policy.every_rule().filter(|(rule, _)| rule.then == Some(Effect::Set)) {
        let own: usize = rule.set.value.iter().map(|(key, value)| key.len() + value.len() + 4).sum();
        for name in &rule.actions {
            let Some(action) = policy.actions.iter().find(|action| action.name.value == name.value) else {
                continue;
            };
            if action.fields.is_none() {
                let message =
                    format!("the payload of `{}` is no table, so no key of it can be set", name.value);
                complaints.add(name.offset, message, "an action whose `payload` is a table, or none", "");
            }
            let Some(all) = bytes.get_mut(&*name.value) else { continue };
            let before = *all;
            *all = before.saturating_add(own);
            if before <= MAX_PAYLOAD_BYTES && *all > MAX_PAYLOAD_BYTES {
                let message =
                    format!("with all that rules set, the payload of `{}` has {all} bytes", name.value);
                complaints.add(rule.set.offset, message, format!("at most {MAX_PAYLOAD_BYTES}"), "");
            }
        }
    }
}
