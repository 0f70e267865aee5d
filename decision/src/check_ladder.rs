//! Whether fallback ladders and the scores they fall back to fit the rest of the policy; and those scores, compiled.
//!
//! Not here: the form of single values (`file`), or steps that are never reached, which is no fault (`lint`).

use augur_domain::decision::Rung;

use crate::ask::{Prior, PriorBySegment, PriorScore};
use crate::check::unknown;
use crate::file::{Complaints, ModelEntry, PointEntry, Policy};
use crate::snapshot::Model;

/// Adds everything that does not fit to `complaints`.
pub(crate) fn check_ladder(policy: &Policy, complaints: &mut Complaints<'_>) {
    for model in &policy.models {
        let Some(by_segment) = &model.prior_by_segment else { continue };
        let segment = &by_segment.segment;
        if !policy.segments.iter().any(|known| known.name.value == segment.value) {
            let known = policy.segments.iter().map(|known| &*known.name.value);
            unknown("segment", segment, known, complaints);
            continue;
        }
        let falls_back = |point: &&PointEntry| {
            asks(point, &model.name.value) && point.fallback.ladder.has(Rung::SegmentDefault)
        };
        for point in policy.points.iter().filter(falls_back) {
            if !point.segments.iter().any(|known| known.value == segment.value) {
                let (name, segment) = (&point.name.value, &segment.value);
                let message = format!("`{name}` falls back to scores by `{segment}`, which it does not read");
                let expected = format!("`{segment}` in `segments` of `{name}`");
                complaints.add(point.name.offset, message, expected, "");
            }
        }
    }
}

fn asks(point: &PointEntry, model: &str) -> bool {
    point.models.iter().any(|known| known.value == model)
}

/// Whether some ladder wants the version before the present one of this model or segment.
pub(crate) fn wants_previous(policy: &Policy, name: &str, is_segment: bool) -> bool {
    policy.points.iter().any(|point| {
        let asked = if is_segment { &point.segments } else { &point.models };
        point.fallback.ladder.has(Rung::PreviousModel) && asked.iter().any(|known| known.value == name)
    })
}

/// What the policy falls back to in place of the model, with `models` to find segments in.
pub(crate) fn prior(entry: &ModelEntry, models: &[Model]) -> Option<Prior> {
    let name = &entry.name.value;
    let overall = PriorScore::new(entry.prior.as_ref()?.value, name);
    let by_segment = entry.prior_by_segment.as_ref().and_then(|by_segment| {
        let path = format!("segments.{}", by_segment.segment.value);
        let model = models.iter().position(|model| *model.name == *path)?;
        let scores = by_segment.scores.iter().map(|(segment, score)| {
            (segment.value.as_str().into(), PriorScore::new(*score, &format!("{name}: {}", segment.value)))
        });
        Some(PriorBySegment { model, scores: scores.collect() })
    });
    Some(Prior { overall, by_segment })
}
