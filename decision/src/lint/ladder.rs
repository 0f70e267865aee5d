//! Steps of fallback ladders that are never reached, and scores to fall back to that no ladder uses.
//!
//! Not here: what a step means (`ladder`).

use augur_domain::decision::Rung;

use super::{FindingCode, Lint};
use crate::file::PointEntry;
use crate::ladder::word;
use crate::snapshot::{Point, PolicySnapshot, WhenFeaturesUnavailable};

pub(super) fn check(lint: &mut Lint<'_>) {
    let mut found = Vec::new();
    for entry in &lint.file.points {
        let Some(point) = lint.policy.point(&entry.name.value) else { continue };
        for (rung, offset) in &entry.fallback.places {
            if let Some(why) = never_reached(lint.policy, point, *rung) {
                let message = format!("`{}` of `{}` is never reached: {why}", word(*rung), point.name);
                found.push((FindingCode::RungUnreachable, *offset, message, "take it out of `fallback`"));
            }
        }
        found.extend(too_slow(entry, point));
    }
    for entry in &lint.file.models {
        let Some(prior) = &entry.prior else { continue };
        let falls_back = |point: &Point| {
            let asks = point.models(lint.policy).any(|model| *model.name == *entry.name.value);
            asks && point.ladder.has(Rung::SegmentDefault)
        };
        if !lint.policy.points.iter().any(falls_back) {
            let message = format!("no decision point falls back to the `prior` of `{}`", entry.name.value);
            let next_step = "put `segment_default` into `fallback` of a decision point that asks the model";
            found.push((FindingCode::RungUnreachable, prior.offset, message, next_step));
        }
    }
    for (code, offset, message, next_step) in found {
        lint.add(code, offset, message, next_step);
    }
}

/// Why no decision ever stands on the step; `None` when one may.
fn never_reached(policy: &PolicySnapshot, point: &Point, rung: Rung) -> Option<&'static str> {
    let models = || point.models(policy);
    let all_have_priors = point.ladder.has(Rung::SegmentDefault)
        && !point.models.is_empty()
        && point.segments.is_empty()
        && models().all(|model| model.prior.is_some());
    // With less time than that, rules alone may be what is left.
    let in_time = !point.ladder.asks_time();
    match rung {
        Rung::PreviousModel if point.models.is_empty() && point.segments.is_empty() => {
            Some("the decision point asks no model")
        }
        Rung::SegmentDefault if !models().any(|model| model.prior.is_some()) => {
            Some("no model of the decision point has a `prior`")
        }
        Rung::RulesOnly if all_have_priors && in_time => {
            Some("every model of the decision point has a `prior`")
        }
        Rung::RulesOnly if point.models.is_empty() && point.segments.is_empty() && in_time => {
            let gives_default = point.when_features_unavailable == WhenFeaturesUnavailable::Default;
            gives_default.then_some("no model is asked, and without features the default action is given")
        }
        _ => None,
    }
}

/// Steps that need more time than there ever is.
fn too_slow(entry: &PointEntry, point: &Point) -> Vec<(FindingCode, usize, String, &'static str)> {
    let deadline_us = point.deadline_ms.unsigned_abs().saturating_mul(1_000);
    let steps = point.ladder.steps().iter().filter(|step| step.needs_us >= deadline_us);
    let found = steps.filter_map(|step| {
        let (_, offset) = entry.fallback.times.iter().find(|(rung, _)| *rung == step.rung)?;
        let message = format!(
            "`{}` of `{}` is never reached: it needs more time than the deadline leaves",
            step.word, point.name
        );
        let next_step = "let it need less, or move the `deadline`";
        Some((FindingCode::RungUnreachable, *offset, message, next_step))
    });
    found.collect()
}
