//! Comparisons with names of segments that the model behind the alias does not have: they are never equal.
//!
//! Looks only at segments of which a version is loaded. Not here: segments that nothing declares; such a policy does not
//! load.

use std::collections::BTreeSet;

use augur_expression::Slot;

use super::{FindingCode, Lint};
use crate::file::suggestion;
use crate::names::Input;
use crate::question::Question;

pub(super) fn check(lint: &mut Lint<'_>) {
    let mut found = BTreeSet::new();
    for (offset, title, question) in questions(lint) {
        for slot in question.slots() {
            let Some(Input::Segment(model)) = lint.policy.inputs.get(*slot) else { continue };
            let known = lint.segment_names(*model);
            let unknown = |text: &&str| !known.is_empty() && !known.iter().any(|name| name == text);
            for text in question.expression().texts_compared(*slot).into_iter().filter(unknown) {
                let (message, next_step) = told(lint, &title, *slot, text, &known);
                found.insert((offset, message, next_step));
            }
        }
    }
    for (offset, message, next_step) in found {
        lint.add(FindingCode::SegmentUnknown, offset, message, &next_step);
    }
}

fn told(lint: &Lint<'_>, title: &str, slot: Slot, text: &str, known: &[String]) -> (String, String) {
    let path = lint.policy.inputs.path(slot);
    let message = format!("{title} compares `{path}` with '{text}', and the model has no such segment");
    let hint = suggestion(text, known.iter().map(String::as_str));
    let hint = if hint.is_empty() { "take one of them".to_owned() } else { hint };
    (message, format!("it has {}; {hint}", known.join(", ")))
}

/// Every expression, with where it stands and what that is called.
fn questions<'l>(lint: &'l Lint<'_>) -> Vec<(usize, String, &'l Question)> {
    let rules =
        lint.rules.iter().filter_map(|rule| Some((rule.offset, rule.title(), &**rule.info.when.as_ref()?)));
    let mut questions: Vec<_> = rules.collect();
    for point in &lint.policy.points {
        for candidate in &point.candidates {
            let entry = lint.file.actions.iter().find(|entry| *entry.name.value == *candidate.action.name);
            let Some(entry) = entry else { continue };
            let title = format!("action `{}`", entry.name.value);
            let asked = [&candidate.value, &candidate.eligible_when].into_iter().flatten();
            let evidence = candidate.evidence.iter().flat_map(|evidence| evidence.questions());
            questions.extend(
                asked.chain(evidence).map(|question| (entry.name.offset, title.clone(), &**question)),
            );
        }
        for local in &point.experiments {
            let Some(entry) = lint.file.experiments.get(local.experiment) else { continue };
            let title = format!("experiment `{}`", entry.name.value);
            questions.extend(local.when.iter().map(|when| (entry.name.offset, title.clone(), &**when)));
        }
    }
    questions
}
