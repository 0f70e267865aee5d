//! Whether caps, quiet hours, budgets and holds of a policy fit together.
//!
//! Not here: the form of each (`file`), or what they refuse (`limits`).

use crate::cap::{Scope, Window};
use crate::file::{ActionEntry, ChannelEntry, Complaints, Located, PointEntry, Policy};
use crate::quiet::{Quiet, leaves_time};

/// Adds everything that does not fit to `complaints`.
pub(crate) fn check_limits(policy: &Policy, complaints: &mut Complaints<'_>) {
    for channel in &policy.channels {
        check_channel(channel, policy, complaints);
    }
    for action in &policy.actions {
        check_scopes(action, complaints);
        check_hold(action, policy, complaints);
        check_quiet(action, policy, complaints);
    }
    for point in &policy.points {
        check_diversity(point, policy, complaints);
    }
    if policy.unknown_zone.is_none()
        && let Some(offset) = person_clock(policy)
    {
        let message = "this goes by the person's clock, but nothing says what to do when it is not known";
        complaints.add(offset, message, "`[time]` with `unknown_zone = \"hold\"` or the zone to assume", "");
    }
}

/// Why an action could be refused by what bounds it; `None` if nothing bounds it.
pub(crate) fn bound_of(action: &ActionEntry, policy: &Policy) -> Option<&'static str> {
    let in_channel =
        action.channel.as_ref().is_some_and(|channel| has_cap(policy, Scope::Channel, &channel.value));
    let in_category =
        action.category.as_ref().is_some_and(|category| has_cap(policy, Scope::Category, &category.value));
    if !action.caps.is_empty() {
        Some("has caps")
    } else if in_channel {
        Some("is in a channel with caps")
    } else if in_category {
        Some("is in a category with caps")
    } else if action.quiet.is_some() {
        Some("has quiet hours")
    } else if channel_quiet(action, policy).is_some() {
        Some("is in a channel with quiet hours")
    } else if action.budget.is_some() {
        Some("has a budget")
    } else {
        None
    }
}

/// Whether any action in what `scope` calls `name` has a cap that counts all of it.
fn has_cap(policy: &Policy, scope: Scope, name: &str) -> bool {
    let own = |action: &&ActionEntry| scope_name(action, scope).is_some_and(|own| own.value == name);
    let caps = policy.actions.iter().filter(own).flat_map(|action| &action.caps);
    caps.into_iter().any(|cap| cap.value.scope == scope)
}

fn scope_name(action: &ActionEntry, scope: Scope) -> Option<&Located<String>> {
    match scope {
        Scope::Action => Some(&action.name),
        Scope::Channel => action.channel.as_ref(),
        Scope::Category => action.category.as_ref(),
    }
}

/// Whether giving the action can use up a cap of its own, of its channel or of its category, or counts for diversity.
pub(crate) fn counts_against_caps(action: &ActionEntry, policy: &Policy) -> bool {
    let shared = [Scope::Channel, Scope::Category]
        .into_iter()
        .any(|scope| scope_name(action, scope).is_some_and(|name| has_cap(policy, scope, &name.value)));
    !action.caps.is_empty() || shared || policy.points.iter().any(|point| looks_back_at(point, action))
}

/// Whether the diversity of `point` counts the action: it does every one but the default.
fn looks_back_at(point: &PointEntry, action: &ActionEntry) -> bool {
    let is_default = |name: &Located<String>| name.value == action.name.value;
    !point.diversity.is_empty()
        && !point.default_action.as_ref().is_some_and(is_default)
        && point.actions.iter().any(|name| name.value == action.name.value)
}

/// Whether the diversity of decision points can make anything alike.
fn check_diversity(point: &PointEntry, policy: &Policy, complaints: &mut Complaints<'_>) {
    for rule in &point.diversity {
        let of = rule.value.of;
        let mut counted = policy.actions.iter().filter(|action| looks_back_at(point, action));
        if !counted.any(|action| scope_name(action, of).is_some()) {
            let message = format!("no action of `{}` has a {}", point.name.value, of.as_str());
            complaints.add(rule.offset, message, format!("a `{}` in some of its actions", of.as_str()), "");
        }
    }
}

/// The quiet hours of the action's channel.
pub(crate) fn channel_quiet<'p>(action: &ActionEntry, policy: &'p Policy) -> Option<&'p Located<Quiet>> {
    let channel = action.channel.as_ref()?;
    policy.channels.iter().find(|entry| entry.name.value == channel.value)?.quiet.as_ref()
}

/// Where the policy first reads a person's clock.
fn person_clock(policy: &Policy) -> Option<usize> {
    let channels = policy.channels.iter().filter_map(|channel| channel.quiet.as_ref());
    let quiet = channels.chain(policy.actions.iter().filter_map(|action| action.quiet.as_ref()));
    let caps = policy.actions.iter().flat_map(|action| &action.caps);
    let calendar = caps.filter(|cap| matches!(cap.value.window, Window::Calendar(_)));
    quiet.map(|quiet| quiet.offset).chain(calendar.map(|cap| cap.offset)).min()
}

/// Whether the same policy could decide otherwise by another release of the time zone database.
pub(crate) fn reads_time_zones(policy: &Policy) -> bool {
    let budgets = policy.actions.iter().filter_map(|action| action.budget.as_ref());
    person_clock(policy).is_some() || budgets.into_iter().any(|budget| budget.value.period.is_some())
}

fn check_channel(channel: &ChannelEntry, policy: &Policy, complaints: &mut Complaints<'_>) {
    let name = &channel.name.value;
    let used = |action: &ActionEntry| action.channel.as_ref().is_some_and(|own| own.value == *name);
    if !name.is_empty() && !policy.actions.iter().any(used) {
        let known = policy.actions.iter().filter_map(|action| action.channel.as_ref());
        let hint = crate::file::suggestion(name, known.map(|channel| &*channel.value));
        let message = format!("no action is in the channel `{name}`");
        complaints.add(channel.name.offset, message, "the `channel` of an action", hint);
    }
}

fn check_scopes(action: &ActionEntry, complaints: &mut Complaints<'_>) {
    for cap in &action.caps {
        if scope_name(action, cap.value.scope).is_none() {
            let scope = cap.value.scope.as_str();
            let message = format!("`{}` counts a {scope}, but the action has none", cap.value.words);
            complaints.add(cap.offset, message, format!("a `{scope}` in this action"), "");
        }
    }
}

fn check_hold(action: &ActionEntry, policy: &Policy, complaints: &mut Complaints<'_>) {
    let Some(within) = &action.confirm_within else { return };
    if action.budget.is_none() && !counts_against_caps(action, policy) {
        let message = format!(
            "`confirm_within` of `{}` holds nothing: no cap and no budget counts it",
            action.name.value
        );
        complaints.add(within.offset, message, "`caps` or a `budget`, or no `confirm_within`", "");
    }
}

fn check_quiet(action: &ActionEntry, policy: &Policy, complaints: &mut Complaints<'_>) {
    let quiets: Vec<&Located<Quiet>> = action.quiet.iter().chain(channel_quiet(action, policy)).collect();
    let values: Vec<Quiet> = quiets.iter().map(|quiet| quiet.value.clone()).collect();
    if let Some(first) = quiets.first().filter(|_| !leaves_time(&values)) {
        let message = format!("quiet hours leave no time for `{}`", action.name.value);
        complaints.add(first.offset, message, "some time of the week without quiet", "");
    }
}
