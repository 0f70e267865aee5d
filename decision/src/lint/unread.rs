//! What is declared and read by nothing: models, segments, context, words.
//!
//! Not here: what reads them (`names`).

use augur_expression::Slot;
use augur_models::scorer::Kind;

use super::{FindingCode, Lint};
use crate::file::DeclaredEntry;
use crate::names::Input;
use crate::snapshot::{Point, PolicySnapshot};

pub(super) fn check(lint: &mut Lint<'_>) {
    let mut found = Vec::new();
    for entry in &lint.file.models {
        let name = &entry.name.value;
        let asking: Vec<&Point> = asking(lint.policy, name, Kind::Probability);
        if asking.is_empty() {
            let message = format!("no decision point asks the model `{name}`");
            let next_step = "name it in `models` of a decision point, or take it out";
            found.push((FindingCode::ModelUnread, entry.name.offset, message, next_step));
        } else if asking.iter().all(|point| !reads(lint.policy, point, &format!("scores.{name}"))) {
            let message = format!("the model `{name}` is asked, and nothing reads its score");
            let next_step = "read `scores` of it, or spare the time to ask it";
            found.push((FindingCode::ModelUnread, entry.name.offset, message, next_step));
        }
    }
    for entry in &lint.file.segments {
        let path = format!("segments.{}", entry.name.value);
        let asking = asking(lint.policy, &path, Kind::Segments);
        let by_segment = lint.file.models.iter().filter_map(|model| model.prior_by_segment.as_ref());
        let chooses = by_segment.map(|prior| &prior.segment.value).any(|name| *name == entry.name.value);
        if !chooses && asking.iter().all(|point| !reads(lint.policy, point, &path)) {
            let message = format!("nothing reads `{path}`");
            let next_step = "read it in a rule of a decision point that lists it, or take it out";
            found.push((FindingCode::SegmentUnread, entry.name.offset, message, next_step));
        }
    }
    for entry in &lint.file.points {
        let Some(point) = lint.policy.point(&entry.name.value) else { continue };
        for DeclaredEntry { name, .. } in &entry.context {
            let path = format!("context.{}", name.value);
            if !reads(lint.policy, point, &path) {
                let message = format!("no rule or action of `{}` reads `{path}`", point.name);
                let next_step = "take it out, unless features read it";
                found.push((FindingCode::ContextUnread, name.offset, message, next_step));
            }
        }
    }
    for word in &lint.file.words {
        if asking(lint.policy, &word.model.value, Kind::Probability).is_empty() {
            let message = format!(
                "the word about `{}` is never said: no decision point asks `{}`",
                word.feature.value, word.model.value
            );
            found.push((
                FindingCode::WordUnheard,
                word.model.offset,
                message,
                "take it out, or ask the model",
            ));
        }
    }
    for (code, offset, message, next_step) in found {
        lint.add(code, offset, message, next_step);
    }
}

/// The decision points that ask the model called `name`.
fn asking<'p>(policy: &'p PolicySnapshot, name: &str, kind: Kind) -> Vec<&'p Point> {
    let lists = |point: &&Point| {
        let listed = if kind == Kind::Segments { &point.segments } else { &point.models };
        let mut models = listed.iter().filter_map(|index| policy.models.get(*index));
        models.any(|model| *model.name == *name)
    };
    policy.points.iter().filter(lists).collect()
}

/// Whether any expression of `point` reads `path`.
fn reads(policy: &PolicySnapshot, point: &Point, path: &str) -> bool {
    let is_it = |slot: &Slot| {
        !matches!(policy.inputs.get(*slot), Some(Input::Feature(..) | Input::Now))
            && policy.inputs.path(*slot) == path
    };
    // Rows of tables are rules, too.
    let shadow = point.shadow.iter().map(|rule| &rule.when);
    let of_experiments = point.experiments.iter().filter_map(|experiment| experiment.when.as_ref());
    let mut asked = point.questions().chain(shadow).chain(of_experiments);
    asked.any(|question| question.slots().iter().any(is_it))
}
