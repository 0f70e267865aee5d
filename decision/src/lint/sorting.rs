//! Holdouts and experiments that have nobody, that get into each other's way, or that differ in nothing.
//!
//! Not here: ranges of a layer that share buckets; such a policy does not load.

use augur_domain::Timestamp;
use augur_domain::assignment::BUCKETS;
use augur_expression::Cases;

use super::{FindingCode, Lint};
use crate::experiment::{Holdout, LocalExperiment};
use crate::file::ExperimentEntry;
use crate::rule::Validity;
use crate::snapshot::Point;

type Found = Vec<(FindingCode, usize, String, &'static str)>;

pub(super) fn check(lint: &mut Lint<'_>) {
    let mut found = Vec::new();
    holdouts(lint, &mut found);
    for (index, entry) in lint.file.experiments.iter().enumerate() {
        if is_over(entry.validity, lint.context.now) {
            let message = told_over("experiment", &entry.name.value, entry.validity);
            found.push((
                FindingCode::WindowOver,
                entry.name.offset,
                message,
                "take it out, or give it another `valid_until`",
            ));
            continue;
        }
        let here = |point: &'_ &Point| point.experiments.iter().any(|local| local.experiment == index);
        let points: Vec<&Point> = lint.policy.points.iter().filter(here).collect();
        if let Some((why, next_step)) = nobody(lint, entry, index, &points) {
            let message = format!("nobody is in experiment `{}`: {why}", entry.name.value);
            found.push((FindingCode::NobodyIn, entry.name.offset, message, next_step));
            continue;
        }
        if points.iter().flat_map(|point| local(point, index)).all(is_idle) {
            let message = format!("the arms of experiment `{}` differ in nothing", entry.name.value);
            let next_step = "let an arm change what its decision points offer, or read it in a rule; leave it if that is what \
                             is tried";
            found.push((FindingCode::ExperimentIdle, entry.name.offset, message, next_step));
        }
        mixed(lint, entry, &points, &mut found);
    }
    for (code, offset, message, next_step) in found {
        lint.add(code, offset, message, next_step);
    }
}

fn holdouts(lint: &Lint<'_>, found: &mut Found) {
    for entry in &lint.file.holdouts {
        let name = &entry.name.value;
        if is_over(entry.validity, lint.context.now) {
            let message = told_over("holdout", name, entry.validity);
            found.push((
                FindingCode::WindowOver,
                entry.name.offset,
                message,
                "take it out, or give it another `until`",
            ));
        } else if entry.below == 0 {
            let message = format!("holdout `{name}` holds nobody out: its `share` is 0");
            found.push((
                FindingCode::NobodyIn,
                entry.name.offset,
                message,
                "give it a share, or take it out",
            ));
        }
    }
}

/// Why no user can ever be in the experiment, if that is so, and what to do.
fn nobody(
    lint: &Lint<'_>,
    entry: &ExperimentEntry,
    index: usize,
    points: &[&Point],
) -> Option<(String, &'static str)> {
    if entry.ranges.iter().all(|range| range.value.0 >= range.value.1) {
        return Some(("its `share` is 0".to_owned(), "give it a share, or take it out"));
    }
    if entry.arms.iter().all(|arm| arm.weight <= 0.0) {
        return Some(("no arm has a `weight`".to_owned(), "give the arms weights, or take it out"));
    }
    let mut conditions = points.iter().flat_map(|point| local(point, index)).map(|local| local.when.as_ref());
    let never = |when: Option<&std::sync::Arc<crate::question::Question>>| {
        when.is_some_and(|when| Cases::of(when.expression()).is_never())
    };
    if !points.is_empty() && conditions.all(never) {
        return Some(("its `when` contradicts itself".to_owned(), "mend `when`, or take it out"));
    }
    let holds_all =
        |holdout: &&Holdout| holdout.below >= BUCKETS && lasts_as_long(holdout.validity, entry.validity);
    let mut by = None;
    for point in points {
        by = Some(holdouts_at(lint, point).find(holds_all)?);
    }
    let by = by?;
    let why = format!("holdout `{}` keeps everybody from it", by.name);
    Some((why, "give the holdout a smaller `share`, or other `points`"))
}

/// Holdouts that hold at some of the experiment's points and not at others.
fn mixed(lint: &Lint<'_>, entry: &ExperimentEntry, points: &[&Point], found: &mut Found) {
    for (index, holdout) in lint.policy.experiments.holdouts.iter().enumerate() {
        let idle = holdout.below == 0 || is_over(holdout.validity, lint.context.now);
        let apart =
            holdout.validity.until.is_some_and(|until| entry.validity.from.is_some_and(|from| until <= from));
        let (held, free): (Vec<&&Point>, Vec<&&Point>) =
            points.iter().partition(|point| point.holdouts.contains(&index));
        let (Some(held), Some(free)) = (held.first(), free.first()) else { continue };
        if idle || apart {
            continue;
        }
        let message = format!(
            "whoever holdout `{}` keeps from experiment `{}` at `{}` is in an arm of it at `{}`, where the holdout does not \
             hold",
            holdout.name, entry.name.value, held.name, free.name
        );
        let next_step = "let both hold at the same decision points; a holdout without `points` holds at all";
        found.push((FindingCode::HoldoutMixed, entry.name.offset, message, next_step));
    }
}

fn local(point: &Point, experiment: usize) -> impl Iterator<Item = &LocalExperiment> {
    point.experiments.iter().filter(move |local| local.experiment == experiment)
}

fn is_idle(local: &LocalExperiment) -> bool {
    let changes = local.changes.iter().any(|arm| !(arm.payloads.is_empty() && arm.factors.is_empty()));
    !changes && !local.is_read
}

fn holdouts_at<'l>(lint: &'l Lint<'_>, point: &'l Point) -> impl Iterator<Item = &'l Holdout> {
    point.holdouts.iter().filter_map(|index| lint.policy.experiments.holdouts.get(*index))
}

/// Whether a holdout begins no later and ends no sooner than what it is to cover.
fn lasts_as_long(own: Validity, other: Validity) -> bool {
    let from = own.from.is_none_or(|from| other.from.is_some_and(|other| from <= other));
    from && own.until.is_none_or(|until| other.until.is_some_and(|other| until >= other))
}

fn is_over(validity: Validity, now: Timestamp) -> bool {
    validity.until.is_some_and(|until| until <= now)
}

fn told_over(kind: &str, name: &str, validity: Validity) -> String {
    let since = validity.until.map_or_else(String::new, |until| format!(" since {until}"));
    format!("{kind} `{name}` holds no more{since}")
}
