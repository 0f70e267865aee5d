//! Whether holdouts, layers and experiments fit together: names, salts, points, and ranges that keep apart.
//!
//! Not here: the form of single values (`file`) or the meaning of their conditions (`compile`).

use std::collections::BTreeSet;

use augur_domain::assignment::BUCKETS;

use crate::check::{unique, unknown};
use crate::experiment::NO_ARM;
use crate::file::{ArmEntry, Complaints, ExperimentEntry, Located, Policy};

/// Adds everything that does not fit to `complaints`.
pub(crate) fn check_experiments(policy: &Policy, complaints: &mut Complaints<'_>) {
    let Policy { holdouts, layers, experiments, .. } = policy;
    // Answers tell them apart by name alone.
    let named =
        holdouts.iter().map(|holdout| &holdout.name).chain(experiments.iter().map(|other| &other.name));
    unique(named, "holdout or experiment", complaints);
    unique(layers.iter().map(|layer| &layer.name), "layer", complaints);
    // Two of one kind with one salt would sort the users alike.
    unique(holdouts.iter().map(|holdout| &holdout.salt), "salt", complaints);
    unique(layers.iter().map(|layer| &layer.salt), "salt", complaints);
    unique(experiments.iter().map(|experiment| &experiment.salt), "salt", complaints);
    let points: BTreeSet<&str> = policy.points.iter().map(|point| &*point.name.value).collect();
    let named = holdouts.iter().map(|holdout| &holdout.points);
    for point in named.chain(experiments.iter().map(|experiment| &experiment.points)).flatten().flatten() {
        known(&points, "decision point", point, complaints);
    }
    let layers: BTreeSet<&str> = layers.iter().map(|layer| &*layer.name.value).collect();
    for experiment in experiments {
        if let Some(layer) = &experiment.layer {
            known(&layers, "layer", layer, complaints);
        }
        check_arms(experiment, policy, complaints);
    }
    check_ranges(experiments, complaints);
}

fn known(names: &BTreeSet<&str>, kind: &str, name: &Located<String>, complaints: &mut Complaints<'_>) {
    if !names.contains(&*name.value) {
        unknown(kind, name, names.iter().copied(), complaints);
    }
}

fn check_arms(experiment: &ExperimentEntry, policy: &Policy, complaints: &mut Complaints<'_>) {
    unique(experiment.arms.iter().map(|arm| &arm.name), "arm", complaints);
    for arm in experiment.arms.iter().filter(|arm| arm.name.value == NO_ARM) {
        let message = format!("an arm is called `{NO_ARM}`, which expressions read when a user is in no arm");
        complaints.add(arm.name.offset, message, "another name", "e.g. `control`");
    }
    let actions: BTreeSet<&str> = policy.actions.iter().map(|action| &*action.name.value).collect();
    for action in experiment.arms.iter().flat_map(changed) {
        known(&actions, "action", action, complaints);
    }
}

fn changed(arm: &ArmEntry) -> impl Iterator<Item = &Located<String>> {
    let payloads = arm.payloads.iter().map(|payload| &payload.action);
    payloads.chain(arm.factors.iter().map(|(action, _)| action))
}

/// One range of one experiment.
struct Range<'p> {
    experiment: &'p ExperimentEntry,
    first: u32,
    end: u32,
}

/// Refuses ranges of one layer that share buckets while both experiments last.
fn check_ranges(experiments: &[ExperimentEntry], complaints: &mut Complaints<'_>) {
    let mut ranges: Vec<Range<'_>> = Vec::new();
    for experiment in experiments {
        for range in &experiment.ranges {
            let (first, end) = range.value;
            let meets = |other: &&Range<'_>| {
                together(experiment, other.experiment) && first < other.end && other.first < end
            };
            if let Some(other) = ranges.iter().find(meets) {
                let (name, other_name) = (&experiment.name.value, &other.experiment.name.value);
                let message =
                    format!("`{name}` and `{other_name}` share buckets from {}", first.max(other.first));
                let taken = ranges.iter().filter(|other| together(experiment, other.experiment));
                let hint = free_from(taken, end - first);
                complaints.add(range.offset, message, "ranges of one layer that keep apart", hint);
            }
            ranges.push(Range { experiment, first, end });
        }
    }
}

/// Whether two experiments take from the same buckets at any instant.
fn together(one: &ExperimentEntry, other: &ExperimentEntry) -> bool {
    let layer = |experiment: &ExperimentEntry| experiment.layer.as_ref().map(|layer| layer.value.clone());
    let same_layer = std::ptr::eq(one, other) || (one.layer.is_some() && layer(one) == layer(other));
    let before = |first: &ExperimentEntry, second: &ExperimentEntry| {
        first.validity.until.is_some_and(|until| second.validity.from.is_some_and(|from| until <= from))
    };
    same_layer && !before(one, other) && !before(other, one)
}

/// Where `wanted` buckets in a row are free.
fn free_from<'p>(taken: impl Iterator<Item = &'p Range<'p>>, wanted: u32) -> String {
    let mut taken: Vec<(u32, u32)> = taken.map(|range| (range.first, range.end)).collect();
    taken.sort_unstable();
    let mut free = 0;
    for (first, end) in taken {
        if first >= free && first - free >= wanted {
            break;
        }
        free = free.max(end);
    }
    if BUCKETS - free < wanted {
        return "no such stretch of the layer is free; let another experiment end, or take a smaller share"
            .to_owned();
    }
    format!("the buckets from {free} on are free: `from = {}`", f64::from(free) / f64::from(BUCKETS))
}
