//! Finds what a file of tests names in the policy that the tests are about.
//!
//! Not here: running a test (`run`).

use std::collections::BTreeSet;
use std::sync::Arc;

use augur_domain::decision::{Exposure, Person};
use augur_domain::event::EventKind;
use augur_domain::ids::MessageKey;
use augur_domain::time::parse_duration_ms;
use augur_domain::value::Finite;
use augur_domain::{ContentHash, Diagnostic, Event, Timestamp, UserKey, Value, ValueType};
use augur_models::scorer::Kind;

use super::{Expect, Given, PolicyTest, USUAL_NOW};
use crate::file::test_entries::{
    EventEntry, ExpectEntry, ExposureEntry, GivenEntry, TestEntry, UserEntry, Values, When, parse,
};
use crate::file::{Complaints, Located, suggestion};
use crate::snapshot::{Point, PolicySnapshot};
use crate::source::SourceFile;

pub(super) fn read(policy: &PolicySnapshot, source: &SourceFile) -> Result<Vec<PolicyTest>, Vec<Diagnostic>> {
    let mut complaints = Complaints::new(source.into());
    let entries = parse(&source.text, &mut complaints);
    if entries.is_empty() && complaints.is_empty() {
        complaints.add(0, "the file has no test", "at least one `[[test]]`", "");
    }
    let mut names = BTreeSet::new();
    for entry in entries.iter().filter(|entry| !entry.name.value.is_empty()) {
        if !names.insert(&entry.name.value) {
            let message = format!("two tests are called `{}`", entry.name.value);
            complaints.add(entry.name.offset, message, "another name", "");
        }
    }
    let mut tests = Vec::with_capacity(entries.len());
    for entry in &entries {
        let Some(point) = find_point(policy, &entry.decision_point, &mut complaints) else { continue };
        let mut resolver = Resolver { policy, point, complaints: &mut complaints };
        tests.push(resolver.test(entry, source));
    }
    if complaints.is_empty() { Ok(tests) } else { Err(complaints.into_diagnostics()) }
}

fn find_point<'p>(
    policy: &'p PolicySnapshot,
    name: &Located<String>,
    complaints: &mut Complaints<'_>,
) -> Option<&'p Point> {
    let found = policy.point(&name.value);
    if found.is_none() && !name.value.is_empty() {
        let known = policy.decision_points().iter().map(|point| &**point.name());
        let hint = suggestion(&name.value, known);
        let message = format!("the policy has no decision point `{}`", name.value);
        complaints.add(name.offset, message, "the name of a decision point", hint);
    }
    found
}

struct Resolver<'a, 'c> {
    policy: &'a PolicySnapshot,
    point: &'a Point,
    complaints: &'a mut Complaints<'c>,
}

impl Resolver<'_, '_> {
    fn test(&mut self, entry: &TestEntry, source: &SourceFile) -> PolicyTest {
        let (line, _) = augur_domain::diagnostic::line_and_column(&source.text, entry.name.offset);
        PolicyTest {
            name: entry.name.value.clone(),
            file: source.name.clone(),
            line,
            point: Arc::clone(self.point.name()),
            given: self.given(&entry.given),
            expect: self.expect(&entry.expect, &entry.name),
        }
    }

    fn given(&mut self, entry: &GivenEntry) -> Given {
        let now = entry.now.unwrap_or(USUAL_NOW);
        let user = user_key(&entry.user.id);
        let mut features = self.features(&entry.features);
        features.sort_by_key(|(slot, _)| *slot);
        let mut events: Vec<Event> = Vec::with_capacity(entry.events.len());
        for (index, event) in entry.events.iter().enumerate() {
            events.extend(self.event(event, index, now, user));
        }
        events.sort_by_key(|event| event.event_time);
        let mut exposures: Vec<Exposure> =
            entry.exposures.iter().map(|exposure| self.exposure(exposure, now)).collect();
        exposures.sort_by_key(|exposure| exposure.at);
        Given {
            now,
            seed: entry.seed,
            user,
            features,
            features_unavailable: entry.features_unavailable,
            scores: self.scores(&entry.scores),
            previous_scores: self.scores(&entry.previous_scores),
            time_left_us: entry.time_left_ms.map(|left_ms| left_ms.unsigned_abs().saturating_mul(1_000)),
            segments: self.segments(&entry.segments),
            context: self.context(&entry.context),
            events,
            exposures,
            person: self.person(&entry.user),
            budgets: self.budgets(&entry.budgets),
        }
    }

    fn person(&mut self, entry: &UserEntry) -> Person {
        let mut traits: Vec<(Arc<str>, Value)> = Vec::with_capacity(entry.traits.len());
        traits.extend(
            entry.traits.iter().map(|(name, value)| (name.value.as_str().into(), value.value.clone())),
        );
        traits.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut consents: Vec<(Arc<str>, bool)> = Vec::with_capacity(entry.consents.len());
        for (purpose, value) in &entry.consents {
            match &value.value {
                Value::Boolean(given) => consents.push((purpose.value.as_str().into(), *given)),
                Value::Number(_) | Value::Text(_) => {
                    self.wrong_type(&purpose.value, value, ValueType::Boolean)
                }
            }
        }
        consents.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut suppressed: Vec<Arc<str>> =
            entry.suppressed.iter().map(|channel| channel.as_str().into()).collect();
        suppressed.sort();
        suppressed.dedup();
        let time_zone = entry.time_zone.as_deref().map(Arc::from);
        Person { time_zone, traits, consents, suppressed, ..Person::default() }
    }

    fn budgets(&mut self, given: &Values) -> Vec<(Arc<str>, u64)> {
        let mut found = Vec::with_capacity(given.len());
        for (action, value) in given {
            let Some(action) = self.offered(action) else { continue };
            let spent = value.value.as_number().filter(|spent| (0.0..=1e15).contains(spent));
            match spent {
                Some(spent) => found.push((action, spent as u64)),
                None => self.wrong_type(&action, value, ValueType::Number),
            }
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        found
    }

    fn features(&mut self, given: &Values) -> Vec<(usize, Value)> {
        let set = Arc::clone(self.policy.features());
        let mut found = Vec::with_capacity(given.len());
        for (name, value) in given {
            let Some(slot) = set.slot(&name.value) else {
                let known = set.features().iter().map(|feature| &*feature.name);
                self.unknown("feature", name, suggestion(&name.value, known));
                continue;
            };
            let value_type = set.features().get(slot).map_or(ValueType::Number, |feature| feature.value_type);
            let fitting = match (value_type, &value.value) {
                (ValueType::Number, Value::Number(_))
                | (ValueType::Boolean, Value::Boolean(_))
                | (ValueType::Text, Value::Text(_)) => Some(value.value.clone()),
                (ValueType::Duration, Value::Text(length)) => {
                    let length_ms = parse_duration_ms(length).ok();
                    length_ms.and_then(|length_ms| Finite::new(length_ms as f64)).map(Value::Number)
                }
                _ => None,
            };
            match fitting {
                Some(value) => found.push((slot, value)),
                None => self.wrong_type(&name.value, value, value_type),
            }
        }
        found
    }

    fn scores(&mut self, given: &Values) -> Vec<(Arc<str>, f64)> {
        let mut found = Vec::with_capacity(given.len());
        for (name, value) in given {
            let Some(model) = self.model(name, Kind::Probability, &name.value) else { continue };
            match value.value.as_number().filter(|score| (0.0..=1.0).contains(score)) {
                Some(score) => found.push((model, score)),
                None => {
                    let message = format!("the score of `{}` is no probability", name.value);
                    self.complaints.add(value.offset, message, "a number from 0 to 1", "");
                }
            }
        }
        found
    }

    fn segments(&mut self, given: &Values) -> Vec<(Arc<str>, Arc<str>)> {
        let mut found = Vec::with_capacity(given.len());
        for (name, value) in given {
            let path = format!("segments.{}", name.value);
            let Some(model) = self.model(name, Kind::Segments, &path) else { continue };
            match &value.value {
                Value::Text(segment) => found.push((model, Arc::clone(segment))),
                Value::Boolean(_) | Value::Number(_) => self.wrong_type(&name.value, value, ValueType::Text),
            }
        }
        found
    }

    fn model(&mut self, name: &Located<String>, kind: Kind, path: &str) -> Option<Arc<str>> {
        let declared = self.policy.declared_models().iter().filter(|model| model.kind() == kind);
        let known: Vec<Arc<str>> = declared.map(|model| Arc::clone(model.name())).collect();
        let found = known.iter().find(|known| &***known == path).cloned();
        if found.is_none() {
            let what = if kind == Kind::Segments { "segment" } else { "model" };
            let hint = suggestion(path, known.iter().map(|known| &**known));
            self.unknown(what, name, hint);
        }
        found
    }

    fn context(&mut self, given: &Values) -> Vec<(Arc<str>, Value)> {
        let declared = self.point.context_schema();
        let mut found = Vec::with_capacity(given.len());
        for (name, value) in given {
            match declared.iter().find(|(known, _)| **known == *name.value) {
                Some((known, value_type)) if *value_type == value.value.value_type() => {
                    if let Some(expected) = self.point.unmet(known, &value.value) {
                        let message = format!("`{}` in `context` does not fit its declaration", name.value);
                        self.complaints.add(value.offset, message, expected, "");
                    }
                    found.push((Arc::clone(known), value.value.clone()));
                }
                Some((_, value_type)) => self.wrong_type(&name.value, value, *value_type),
                None => {
                    let hint = suggestion(&name.value, declared.iter().map(|(known, _)| &**known));
                    let point = self.point.name();
                    let message = format!("`{point}` declares no context `{}`", name.value);
                    self.complaints.add(name.offset, message, "a declared name", hint);
                }
            }
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        found
    }

    fn event(&mut self, entry: &EventEntry, index: usize, now: Timestamp, user: UserKey) -> Option<Event> {
        let at = instant(entry.when, now);
        if at > now {
            let message = format!("the event `{}` is later than `now`", entry.name.value);
            self.complaints.add(entry.name.offset, message, "an instant before `now`", "");
            return None;
        }
        let mut properties: Vec<(Arc<str>, Value)> = entry
            .properties
            .iter()
            .map(|(name, value)| (name.value.as_str().into(), value.value.clone()))
            .collect();
        properties.sort_by(|(a, _), (b, _)| a.cmp(b));
        Some(Event {
            message_key: message_key(index),
            user,
            kind: EventKind::Track,
            name: entry.name.value.as_str().into(),
            event_time: at,
            received_at: at,
            properties,
        })
    }

    fn exposure(&mut self, entry: &ExposureEntry, now: Timestamp) -> Exposure {
        let points = self.policy.decision_points().iter();
        let actions = points.flat_map(|point| &point.candidates).map(|candidate| &candidate.action);
        let declared = actions.clone().find(|action| *action.name == *entry.action.value);
        if declared.is_none() && entry.channel.is_none() {
            let hint = suggestion(&entry.action.value, actions.map(|action| &*action.name));
            let message = format!("there is no action `{}`", entry.action.value);
            self.complaints.add(
                entry.action.offset,
                message,
                "a declared action, or a `channel` beside it",
                hint,
            );
        }
        let channel = entry.channel.as_deref().map(Arc::from);
        let of_action = || declared.map_or_else(|| "".into(), |action| Arc::clone(&action.channel));
        Exposure {
            category: entry.category.as_deref().map_or_else(Arc::default, Arc::from),
            ..Exposure::new(
                entry.action.value.as_str(),
                channel.unwrap_or_else(of_action),
                instant(entry.when, now),
            )
        }
    }

    fn expect(&mut self, entry: &ExpectEntry, test: &Located<String>) -> Expect {
        let action = entry.action.as_ref().and_then(|action| self.offered(action));
        let mut refused = Vec::with_capacity(entry.refused.len());
        for (action, code) in &entry.refused {
            refused.extend(self.offered(action).map(|action| (action, code.clone())));
        }
        let says_nothing = entry.action.is_none()
            && entry.reasons.is_empty()
            && entry.refused.is_empty()
            && entry.rung.is_none()
            && entry.value.is_none()
            && entry.arms.is_empty()
            && entry.shadow.is_none();
        if says_nothing {
            let message = format!("the test `{}` expects nothing", test.value);
            self.complaints.add(test.offset, message, "`action`, `reason` or `refused` under `expect`", "");
        }
        Expect {
            action,
            reasons: entry.reasons.clone(),
            refused,
            rung: entry.rung.as_ref().map(|rung| rung.value.clone()),
            value: entry.value,
            arms: entry.arms.iter().map(|(name, arm)| (name.value.clone(), arm.clone())).collect(),
            shadow: entry.shadow.clone(),
        }
    }

    fn offered(&mut self, name: &Located<String>) -> Option<Arc<str>> {
        let found = self.point.actions().find(|action| ***action == *name.value).cloned();
        if found.is_none() {
            let hint = suggestion(&name.value, self.point.actions().map(|action| &**action));
            let message = format!("`{}` does not offer the action `{}`", self.point.name(), name.value);
            self.complaints.add(name.offset, message, "one of the point's actions", hint);
        }
        found
    }

    fn unknown(&mut self, kind: &str, name: &Located<String>, hint: String) {
        let message = format!("there is no {kind} `{}`", name.value);
        self.complaints.add(name.offset, message, format!("the name of a declared {kind}"), hint);
    }

    fn wrong_type(&mut self, name: &str, value: &Located<Value>, expected: ValueType) {
        let message = format!("`{name}` is a {}", value.value.value_type());
        let expected = match expected {
            ValueType::Duration => "a length of time, like `\"30m\"`".to_owned(),
            other => format!("a {other}"),
        };
        self.complaints.add(value.offset, message, expected, "");
    }
}

fn instant(when: When, now: Timestamp) -> Timestamp {
    match when {
        When::Ago(length_ms) => now.plus_millis(-length_ms),
        When::At(at) => at,
    }
}

/// A key that depends on the id alone, so that whoever is drawn for is the same in every run.
fn user_key(id: &str) -> UserKey {
    UserKey::from_bytes(first_half(&ContentHash::of(&[b"user of a policy test", id.as_bytes()])))
}

fn message_key(index: usize) -> MessageKey {
    let index = (index as u64).to_le_bytes();
    MessageKey::from_bytes(first_half(&ContentHash::of(&[b"event of a policy test", &index])))
}

fn first_half(hash: &ContentHash) -> [u8; 16] {
    let mut half = [0; 16];
    half.iter_mut().zip(hash.as_bytes()).for_each(|(to, from)| *to = *from);
    half
}
