//! What events look like that came without a taxonomy, and the `events.toml` that would declare them.
//!
//! A proposal for a person to read and to cut, not a rule: bounds and choices stand in comments, because the next event
//! may be beyond those seen so far. Not here: where the events come from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use augur_domain::event::EventKind;
use augur_domain::{Event, Value, ValueType};

use super::Taxonomy;

/// Names of events that are told apart; as many as a taxonomy may declare.
const MAX_EVENTS: usize = 1_000;
/// Properties of one event that are told apart; as many as it may declare.
const MAX_PROPERTIES: usize = 128;
/// Longest name that can be declared, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// Different texts of a property up to which they are listed.
const MAX_CHOICES: usize = 12;
/// A text longer than this is no choice.
const MAX_CHOICE_BYTES: usize = 40;
/// A name is taken for a misspelt one when the other is so many times as frequent.
const TIMES_AS_FREQUENT: u64 = 20;
/// Edits, counted by Damerau and Levenshtein, up to which one name is taken for another.
const MAX_EDITS: usize = 2;
/// Shorter names are not taken for misspelt ones.
const LEAST_MISSPELT_BYTES: usize = 4;
/// Parts of names of properties that often hold what identifies a person.
const PERSONAL: [&str; 12] = [
    "email",
    "e_mail",
    "phone",
    "first_name",
    "last_name",
    "full_name",
    "address",
    "birth",
    "password",
    "iban",
    "ip",
    "token",
];
/// Read by every event, and declared by none.
const VERSION_PROPERTY: &str = "schema_version";

/// Events as they were seen, summed up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    events: BTreeMap<Arc<str>, ObservedEvent>,
    /// Events of names for which there was no room.
    beyond: u64,
}

/// All events of one name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ObservedEvent {
    /// How many.
    pub count: u64,
    /// By name; at most 128.
    pub properties: BTreeMap<Arc<str>, ObservedProperty>,
    /// Times that a property was met for which there was no room.
    pub beyond: u64,
}

/// One property in all events of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct ObservedProperty {
    /// Events in which it held a number, a text, a boolean.
    pub numbers: u64,
    /// See [`Self::numbers`].
    pub texts: u64,
    /// See [`Self::numbers`].
    pub booleans: u64,
    /// The least number.
    pub least: f64,
    /// The greatest number.
    pub greatest: f64,
    /// Bytes of the longest text.
    pub longest_bytes: usize,
    /// The texts, while they are at most 12 short ones.
    pub choices: Option<BTreeSet<Arc<str>>>,
}

impl Default for ObservedProperty {
    fn default() -> Self {
        Self {
            numbers: 0,
            texts: 0,
            booleans: 0,
            least: f64::INFINITY,
            greatest: f64::NEG_INFINITY,
            longest_bytes: 0,
            choices: Some(BTreeSet::new()),
        }
    }
}

impl Observed {
    /// Takes in one event. Records of retractions are passed over: what they repeat was counted.
    pub fn take_in(&mut self, event: &Event) {
        if event.kind == EventKind::Retract {
            return;
        }
        let has_room = self.events.contains_key(&event.name) || self.events.len() < MAX_EVENTS;
        if !has_room || !can_be_declared(&event.name) {
            self.beyond += 1;
            return;
        }
        let seen = self.events.entry(Arc::clone(&event.name)).or_default();
        seen.count += 1;
        for (name, value) in &event.properties {
            let has_room = seen.properties.contains_key(name) || seen.properties.len() < MAX_PROPERTIES;
            if !has_room || !can_be_declared(name) {
                seen.beyond += 1;
                continue;
            }
            seen.properties.entry(Arc::clone(name)).or_default().take_in(value);
        }
    }

    /// What was seen, by name of the event.
    pub const fn events(&self) -> &BTreeMap<Arc<str>, ObservedEvent> {
        &self.events
    }

    /// The event that is probably meant by a rare name, among those seen and those that `declared` has.
    pub fn meant_event(&self, name: &str, declared: &Taxonomy) -> Option<Arc<str>> {
        if declared.event(name).is_some() {
            return None;
        }
        let count = self.events.get(name)?.count;
        let seen = self.events.iter().filter(|(_, other)| is_more(other.count, count));
        let seen = seen.map(|(other, _)| other);
        nearest(name, declared.events().map(|event| &event.name).chain(seen))
    }

    /// The text of an `events.toml` that takes what was seen, with what was seen in comments.
    pub fn proposal(&self, declared: &Taxonomy) -> String {
        let mut text = String::from("version = 1\n");
        for (name, event) in &self.events {
            event.propose(name, self.meant_event(name, declared), declared, &mut text);
        }
        if self.beyond > 0 {
            let _ = write!(text, "\n# {} events of other names are left out.\n", self.beyond);
        }
        text
    }
}

impl ObservedEvent {
    /// The property that is probably meant by a rare name, among those seen and declared.
    pub fn meant_property(&self, event: &str, name: &str, declared: &Taxonomy) -> Option<Arc<str>> {
        let known = declared.event(event).map_or(&[][..], |event| &event.properties);
        if known.iter().any(|property| &*property.name == name) {
            return None;
        }
        let count = self.properties.get(name)?.count();
        let seen = self.properties.iter().filter(|(_, other)| is_more(other.count(), count));
        nearest(name, known.iter().map(|property| &property.name).chain(seen.map(|(other, _)| other)))
    }

    fn propose(&self, name: &str, meant: Option<Arc<str>>, declared: &Taxonomy, out: &mut String) {
        let _ = write!(out, "\n# Seen {} times.", self.count);
        if let Some(meant) = meant {
            let _ =
                write!(out, " Misspelt {meant}? Then leave this out and add it to the `aliases` of {meant}.");
        }
        let _ = write!(out, "\n[[event]]\nname = {}\nproperty = [\n", quoted(name));
        for (property, seen) in self.properties.iter().filter(|(name, _)| &***name != VERSION_PROPERTY) {
            let meant = self.meant_property(name, property, declared);
            let is_required = seen.count() == self.count;
            let required = if is_required { ", required = true" } else { "" };
            let least =
                if seen.value_type() == ValueType::Number && seen.least >= 0.0 { ", min = 0" } else { "" };
            let (quoted, value_type) = (quoted(property), seen.value_type());
            let _ = write!(out, "    {{ name = {quoted}, type = \"{value_type}\"{least}{required} }},");
            let _ = writeln!(out, " # {}", seen.comment(property, self.count, meant));
        }
        out.push_str("]\n");
        if self.beyond > 0 {
            let _ = writeln!(out, "# Other properties were met {} times and are left out.", self.beyond);
        }
    }
}

impl ObservedProperty {
    fn take_in(&mut self, value: &Value) {
        match value {
            Value::Boolean(_) => self.booleans += 1,
            Value::Number(number) => {
                self.numbers += 1;
                self.least = self.least.min(number.get());
                self.greatest = self.greatest.max(number.get());
            }
            Value::Text(text) => {
                self.texts += 1;
                self.longest_bytes = self.longest_bytes.max(text.len());
                let is_choice = text.len() <= MAX_CHOICE_BYTES && !text.contains(char::is_control);
                self.choices = self.choices.take().filter(|_| is_choice).map(|mut choices| {
                    choices.insert(Arc::clone(text));
                    choices
                });
                self.choices = self.choices.take().filter(|choices| choices.len() <= MAX_CHOICES);
            }
        }
    }

    /// Events that had it.
    pub const fn count(&self) -> u64 {
        self.numbers + self.texts + self.booleans
    }

    /// The type that most of them had.
    pub const fn value_type(&self) -> ValueType {
        if self.texts >= self.numbers && self.texts >= self.booleans {
            ValueType::Text
        } else if self.numbers >= self.booleans {
            ValueType::Number
        } else {
            ValueType::Boolean
        }
    }

    fn comment(&self, name: &str, events: u64, meant: Option<Arc<str>>) -> String {
        let share = 100.0 * self.count() as f64 / events.max(1) as f64;
        let mut parts = vec![format!("in {share:.1} %")];
        match self.value_type() {
            ValueType::Number => parts.push(format!("{} to {}", self.least, self.greatest)),
            ValueType::Text => parts.push(match &self.choices {
                // Seen again and again, so hardly anybody's own.
                Some(choices) if self.texts >= TIMES_AS_FREQUENT * choices.len() as u64 => {
                    let choices = choices.iter().map(|choice| quoted(choice));
                    format!("one_of = [{}]", choices.collect::<Vec<_>>().join(", "))
                }
                _ => format!("at most {} bytes", self.longest_bytes),
            }),
            _ => {}
        }
        let others = [
            (self.numbers, ValueType::Number),
            (self.texts, ValueType::Text),
            (self.booleans, ValueType::Boolean),
        ];
        for (count, other) in
            others.into_iter().filter(|(count, other)| *count > 0 && *other != self.value_type())
        {
            parts.push(format!("a {other} {count} times, which would be set aside"));
        }
        if let Some(meant) = meant {
            parts.push(format!("misspelt {meant}? then name it in its `renamed_from`"));
        }
        let name = name.to_ascii_lowercase();
        if name.split(['_', '-', '.']).any(|part| PERSONAL.contains(&part))
            || PERSONAL.iter().any(|personal| personal.len() > 3 && name.contains(personal))
        {
            parts.push("personal? `sensitive = true` keeps it out".to_owned());
        }
        parts.join("; ").replace(char::is_control, " ")
    }
}

fn can_be_declared(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
}

const fn is_more(other: u64, count: u64) -> bool {
    other / TIMES_AS_FREQUENT >= count
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a Arc<str>>) -> Option<Arc<str>> {
    if name.len() < LEAST_MISSPELT_BYTES {
        return None;
    }
    let edits = known
        .filter(|known| &***known != name)
        .map(|known| (strsim::damerau_levenshtein(name, known), known));
    let near = edits.filter(|(edits, _)| *edits <= MAX_EDITS).min_by_key(|(edits, _)| *edits);
    near.map(|(_, known)| Arc::clone(known))
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{any_event, event};

    fn seen(events: impl IntoIterator<Item = Event>) -> Observed {
        let mut observed = Observed::default();
        events.into_iter().for_each(|event| observed.take_in(&event));
        observed
    }

    fn with(name: &str, properties: &[(&str, Value)]) -> Event {
        let properties = properties.iter().map(|(name, value)| ((*name).into(), value.clone()));
        Event { properties: properties.collect(), ..event(1, 1, name, 0, 0.0) }
    }

    fn number(value: f64) -> Value {
        Value::Number(augur_domain::value::Finite::new(value).unwrap())
    }

    #[test]
    fn what_was_seen_is_proposed_with_its_doubts() {
        let usual = with("purchase", &[("currency", Value::Text("EUR".into())), ("value", number(12.5))]);
        let mut events = vec![usual; 40];
        events.push(with("purchase", &[("currency", Value::Text("USD".into())), ("valeu", number(-1.0))]));
        events.push(with("purchse", &[("email", Value::Text("a@b.c".into()))]));
        let proposal = seen(events).proposal(&Taxonomy::untyped());
        let expected = r#"version = 1

# Seen 41 times.
[[event]]
name = "purchase"
property = [
    { name = "currency", type = "text", required = true }, # in 100.0 %; one_of = ["EUR", "USD"]
    { name = "valeu", type = "number" }, # in 2.4 %; -1 to -1; misspelt value? then name it in its `renamed_from`
    { name = "value", type = "number", min = 0 }, # in 97.6 %; 12.5 to 12.5
]

# Seen 1 times. Misspelt purchase? Then leave this out and add it to the `aliases` of purchase.
[[event]]
name = "purchse"
property = [
    { name = "email", type = "text", required = true }, # in 100.0 %; at most 5 bytes; personal? `sensitive = true` keeps it out
]
"#;
        assert_eq!(proposal, expected);
        Taxonomy::parse("events.toml", &proposal).unwrap();
    }

    #[test]
    fn declared_names_are_known_however_rare() {
        let text = "version = 1\n[[event]]\nname = \"purchase\"\nproperty = [{ name = \"value\", type = \"number\" }]\n";
        let declared = Taxonomy::parse("events.toml", text).unwrap();
        let observed =
            seen([with("purchsae", &[("vale", number(1.0))]), with("purchase", &[("vale", number(1.0))])]);
        assert_eq!(observed.meant_event("purchsae", &declared).as_deref(), Some("purchase"));
        assert_eq!(observed.meant_event("purchase", &declared), None);
        let property = observed.events()["purchase"].meant_property("purchase", "vale", &declared);
        assert_eq!(property.as_deref(), Some("value"));
    }

    proptest! {
        #[test]
        fn every_proposal_is_a_taxonomy(events in prop::collection::vec(any_event(), 0..20)) {
            let events = events.into_iter().filter_map(|event| {
                let name = augur_domain::event_name::canonical(&event.name)?.into_owned().into();
                Some(Event { name, ..event })
            });
            let events: Vec<Event> = events.collect();
            let observed = seen(events.clone());
            let parsed = Taxonomy::parse("events.toml", &observed.proposal(&Taxonomy::untyped()));
            prop_assert!(parsed.is_ok(), "{parsed:?}");
            for event in events.into_iter().filter(|event| event.kind != EventKind::Retract) {
                prop_assert!(!can_be_declared(&event.name) || parsed.as_ref().unwrap().event(&event.name).is_some());
            }
        }
    }
}
