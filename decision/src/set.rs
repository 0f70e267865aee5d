//! Rules that set keys of the chosen action's payload: texts are put together when the policy is loaded, where one
//! rule alone sets them.
//!
//! Not here: which rules fire (`decide`), or how values become JSON (`file`).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::experiment::ArmPayload;
use crate::file::quoted_json;
use crate::rule::Rule;
use crate::snapshot::Candidate;

/// The keys of a payload with their JSON texts, ordered by key, each once.
pub(crate) type Fields = [(Box<str>, Box<str>)];

/// What a rule does to payloads.
#[derive(Debug)]
pub(crate) struct Changes {
    fields: Arc<Fields>,
    /// Per candidate of the rule the whole payload when no other rule sets anything.
    alone: Vec<(usize, Arc<str>)>,
}

impl Changes {
    /// Prepares `fields` for each of `candidates`.
    pub(crate) fn new<'c>(
        fields: Arc<Fields>,
        candidates: impl Iterator<Item = (usize, &'c Candidate)>,
    ) -> Self {
        let prepare = |(index, candidate): (usize, &Candidate)| {
            let payload = &candidate.action.fields;
            (index, json(&merged(payload, std::iter::once(&*fields))).into())
        };
        Self { alone: candidates.map(prepare).collect(), fields }
    }
}

/// The payload of `candidate`, which has the place `index`, after `rules` fired, the most important first: where two
/// set one key, the first wins. They change what an arm gives `instead` of the action's own payload, if one does.
pub(crate) fn payload<'r>(
    candidate: &Candidate,
    index: usize,
    instead: Option<&ArmPayload>,
    rules: impl DoubleEndedIterator<Item = &'r Rule> + Clone,
) -> Arc<str> {
    let all = rules.filter_map(|rule| rule.changes.as_ref());
    let mut changes = all.clone();
    let (Some(first), another) = (changes.next(), changes.next()) else {
        return Arc::clone(instead.map_or(&candidate.action.payload, |instead| &instead.json));
    };
    let alone = first.alone.iter().find(|(known, _)| *known == index);
    let alone = alone.filter(|_| another.is_none() && instead.is_none());
    if let Some((_, prepared)) = alone {
        return Arc::clone(prepared);
    }
    let base = instead.map_or(&candidate.action.fields, |instead| &instead.fields);
    json(&merged(base, all.rev().map(|changes| &*changes.fields))).into()
}

/// `payload` with the fields of `changes` in their place, the later over the earlier.
fn merged<'f>(payload: &'f Fields, changes: impl Iterator<Item = &'f Fields>) -> BTreeMap<&'f str, &'f str> {
    let all = std::iter::once(payload).chain(changes).flatten();
    all.map(|(key, value)| (&**key, &**value)).collect()
}

fn json(fields: &BTreeMap<&str, &str>) -> String {
    let mut text = String::from("{");
    for (index, (key, value)) in fields.iter().enumerate() {
        text.push_str(if index == 0 { "" } else { "," });
        quoted_json(key, &mut text);
        text.push(':');
        text.push_str(value);
    }
    text.push('}');
    text
}
