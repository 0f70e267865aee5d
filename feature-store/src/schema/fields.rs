//! Reads the keys of one table, each with its type and bounds, with a complaint for whatever does not fit.
//!
//! Not here: which keys a table has (`document`, `declaration`).

use std::ops::RangeInclusive;
use std::sync::Arc;

use augur_domain::event::{MAX_EVENT_NAME_BYTES, MAX_PROPERTY_NAME_BYTES};
use augur_domain::time::{format_duration_ms, parse_duration_ms};
use augur_domain::value::Finite;
use augur_domain::{Value, ValueType};
use augur_expression::CompileError;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::complaints::{Complaints, did_you_mean};

/// Longest name that may be declared; the suffix comes on top.
const MAX_NAME_BYTES: usize = 100;
/// Most event names on one declaration.
const MAX_EVENTS: usize = 64;
/// Most half-lives or windows on one declaration.
const MAX_LENGTHS: usize = 16;
/// Longest default of a text.
const MAX_DEFAULT_BYTES: usize = 256;
/// Most entries of a table that names things.
const MAX_ENTRIES: usize = 64;

/// The types that a property, a value of the context and a feature may have, by their words.
pub(super) const VALUE_TYPES: [(&str, ValueType); 3] =
    [("number", ValueType::Number), ("text", ValueType::Text), ("boolean", ValueType::Boolean)];

/// A value and where it stands in the file.
#[derive(Debug, Clone)]
pub(super) struct Located<T> {
    /// Byte offset.
    pub(super) place: usize,
    pub(super) value: T,
}

/// An expression as written.
#[derive(Debug, Clone)]
pub(super) struct Written {
    /// Where its first character stands in the file.
    pub(super) place: usize,
    /// Whether it stands there as it is, without escapes, so that offsets into it are offsets into the file.
    verbatim: bool,
    pub(super) text: String,
}

impl Written {
    /// An expression that stands for what a key at `place` says in another way.
    pub(super) fn made_for(place: usize, text: String) -> Self {
        Self { place, verbatim: false, text }
    }

    pub(super) fn complain(&self, error: CompileError, complaints: &mut Complaints<'_>) {
        let place = if self.verbatim { self.place.saturating_add(error.offset) } else { self.place };
        complaints.add_with_hint(place, error.message, error.expected, error.hint);
    }
}

/// One table with everything needed to read its keys and complain about them.
pub(super) struct Fields<'t, 'c, 'a> {
    pub(super) table: &'t DeTable<'t>,
    /// Where the table starts, for what is missing.
    pub(super) start: usize,
    pub(super) complaints: &'c mut Complaints<'a>,
}

/// Complains about every key that is not known, and tells those that would have been right.
pub(super) fn refuse_unknown_keys(
    table: &DeTable<'_>,
    is_known: impl Fn(&str) -> bool,
    offered: &[&str],
    complaints: &mut Complaints<'_>,
) {
    for key in table.keys() {
        let word = key.get_ref().as_ref();
        if !is_known(word) {
            let hint = did_you_mean(word, offered.iter().copied());
            complaints.add_with_hint(
                key.span().start,
                format!("unknown key `{word}`"),
                format!("one of {}", offered.join(", ")),
                hint,
            );
        }
    }
}

impl<'t> Fields<'t, '_, '_> {
    pub(super) fn missing(&mut self, key: &str, expected: impl Into<String>) {
        self.complaints.add(self.start, format!("`{key}` is missing"), expected);
    }

    fn misfit(&mut self, key: &str, value: &Spanned<DeValue<'_>>, expected: impl Into<String>) {
        let quoted = self.complaints.quote(value.span());
        self.complaints.add(value.span().start, format!("`{key}` is `{quoted}`"), expected);
    }

    /// A text value with its place. Complains when it is of another type, or absent though required.
    pub(super) fn text(&mut self, key: &'static str, required: Option<&str>) -> Option<Located<String>> {
        let Some(value) = self.table.get(key) else {
            if let Some(expected) = required {
                self.missing(key, expected);
            }
            return None;
        };
        let place = value.span().start;
        if let Some(text) = value.get_ref().as_str() {
            return Some(Located { place, value: text.to_owned() });
        }
        let kind = value.get_ref().type_str();
        let quoted = self.complaints.quote(value.span());
        self.complaints.add(place, format!("`{key}` is the {kind} `{quoted}`"), "text in quotes");
        None
    }

    /// A text of at most `most` bytes, empty when absent.
    pub(super) fn short_text(&mut self, key: &'static str, most: usize) -> String {
        let Some(Located { place, value: text }) = self.text(key, None) else { return String::new() };
        if text.len() > most {
            let message = format!("{key} has {} bytes", text.len());
            self.complaints.add(place, message, format!("at most {most}"));
        }
        text
    }

    /// The name of a declaration.
    pub(super) fn name(&mut self) -> Option<Located<String>> {
        const EXPECTED: &str =
            "a name like `purchases`: a-z, 0-9 and _, starting with a letter, at most 100 bytes";
        let name = self.text("name", Some(EXPECTED))?;
        if is_name(&name.value) {
            return Some(name);
        }
        let shown: String = name.value.chars().take(MAX_NAME_BYTES).collect();
        self.complaints.add(name.place, format!("`{shown}` is not a feature name"), EXPECTED);
        None
    }

    /// One word of a closed list.
    pub(super) fn word<T: Copy>(
        &mut self,
        key: &'static str,
        what: &str,
        known: &[(&'static str, T)],
        required: bool,
    ) -> Option<T> {
        let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
        let expected = format!("one of {}", words.join(", "));
        let Located { place, value: word } = self.text(key, required.then_some(expected.as_str()))?;
        let found = known.iter().find(|(known, _)| *known == word).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let hint = did_you_mean(&word, words);
            self.complaints.add_with_hint(place, format!("unknown {what} `{word}`"), expected, hint);
        }
        found
    }

    /// The elements of an array; complains about anything else and about an empty or overlong one.
    pub(super) fn elements(&mut self, key: &'static str, most: usize) -> Option<&'t [Spanned<DeValue<'t>>]> {
        let value = self.table.get(key)?;
        let Some(array) = value.get_ref().as_array() else {
            self.misfit(key, value, "an array of texts in quotes");
            return None;
        };
        if array.is_empty() || array.len() > most {
            let message = format!("`{key}` has {} elements", array.len());
            self.complaints.add(value.span().start, message, format!("1 to {most}"));
            return None;
        }
        Some(array)
    }

    /// Sorted event names; `Some(empty)` when the key is absent, `None` after a complaint.
    pub(super) fn events(&mut self) -> Option<Vec<Located<Arc<str>>>> {
        if !self.table.contains_key("events") {
            return Some(Vec::new());
        }
        let elements = self.elements("events", MAX_EVENTS)?;
        let mut names: Vec<Located<Arc<str>>> = Vec::new();
        let mut complete = true;
        for element in elements {
            let place = element.span().start;
            let quoted = self.complaints.quote(element.span());
            match element.get_ref().as_str() {
                Some(name) if is_event_name(name) => {
                    if names.iter().any(|known| &*known.value == name) {
                        let message = format!("event {quoted} is listed twice");
                        self.complaints.add(place, message, "each event once");
                        complete = false;
                    }
                    names.push(Located { place, value: name.into() });
                }
                _ => {
                    self.complaints.add(place, format!("{quoted} is not an event name"), EVENT_NAME_FORM);
                    complete = false;
                }
            }
        }
        names.sort_unstable_by(|left, right| left.value.cmp(&right.value));
        complete.then_some(names)
    }

    /// The name of a property.
    pub(super) fn property(&mut self, expected: &str) -> Option<Located<Arc<str>>> {
        let Located { place, value: name } = self.text("property", Some(expected))?;
        if name.is_empty() || name.len() > MAX_PROPERTY_NAME_BYTES {
            let expected = format!("a property name of 1 to {MAX_PROPERTY_NAME_BYTES} bytes");
            self.complaints.add(place, format!("`property` has {} bytes", name.len()), expected);
            return None;
        }
        Some(Located { place, value: name.into() })
    }

    /// The entries of a table, ascending by name; `Some(empty)` when the key is absent.
    fn entries<T>(
        &mut self,
        key: &str,
        expected: &str,
        mut read: impl FnMut(&mut Self, &str, usize, &Spanned<DeValue<'t>>) -> Option<T>,
    ) -> Option<Vec<(Arc<str>, Located<T>)>> {
        let Some(value) = self.table.get(key) else { return Some(Vec::new()) };
        let Some(table) = value.get_ref().as_table() else {
            self.misfit(key, value, expected);
            return None;
        };
        if table.is_empty() || table.len() > MAX_ENTRIES {
            let message = format!("`{key}` has {} entries", table.len());
            self.complaints.add(value.span().start, message, format!("1 to {MAX_ENTRIES}"));
            return None;
        }
        let mut entries: Vec<(Arc<str>, Located<T>)> = Vec::new();
        for (name, value) in table {
            let (word, place) = (name.get_ref().as_ref(), name.span().start);
            let value = read(self, word, place, value)?;
            entries.push((Arc::from(word), Located { place, value }));
        }
        entries.sort_by(|(left, _), (right, _)| left.cmp(right));
        Some(entries)
    }

    /// Names with their types, ascending by name.
    pub(super) fn types(
        &mut self,
        key: &str,
        is_good: fn(&str) -> bool,
        form: &str,
    ) -> Option<Vec<(Arc<str>, Located<ValueType>)>> {
        let expected = format!("a table of names and types, like `{key} = {{ category = \"text\" }}`");
        self.entries(key, &expected, |fields, name, place, value| {
            if !is_good(name) {
                let shown: String = name.chars().take(MAX_NAME_BYTES).collect();
                fields.complaints.add(place, format!("`{shown}` in `{key}` is not a name"), form);
                return None;
            }
            let word = value.get_ref().as_str().unwrap_or_default();
            let found = VALUE_TYPES.iter().find(|(known, _)| *known == word).map(|(_, found)| *found);
            if found.is_none() {
                let quoted = fields.complaints.quote(value.span());
                let words = VALUE_TYPES.map(|(word, _)| word);
                fields.complaints.add_with_hint(
                    value.span().start,
                    format!("type {quoted} of `{name}` in `{key}` is not known"),
                    format!("one of {}", words.join(", ")),
                    did_you_mean(word, words),
                );
            }
            found
        })
    }

    /// What an event of each name weighs, ascending by name.
    pub(super) fn weights(&mut self) -> Option<Vec<(Arc<str>, Located<f64>)>> {
        const EXPECTED: &str = "a weight per event, like `weights = { page_view = 1.0, purchase = 10.0 }`";
        if !self.table.contains_key("weights") {
            self.missing("weights", EXPECTED);
            return None;
        }
        self.entries("weights", EXPECTED, |fields, name, place, value| {
            if !is_event_name(name) {
                let shown: String = name.chars().take(MAX_NAME_BYTES).collect();
                fields.complaints.add(place, format!("`{shown}` is not an event name"), EVENT_NAME_FORM);
                return None;
            }
            let weight = finite(value);
            if weight.is_none() {
                let quoted = fields.complaints.quote(value.span());
                let message = format!("weight {quoted} of `{name}` is not a number");
                fields.complaints.add(value.span().start, message, "a finite number, like 1.0");
            }
            weight.map(Finite::get)
        })
    }

    /// Lengths of time, each at least `least_ms`, as declared.
    pub(super) fn lengths(&mut self, key: &'static str, least_ms: i64) -> Option<Vec<i64>> {
        if !self.table.contains_key(key) {
            self.missing(key, format!("lengths of time, like `{key} = [\"1d\", \"7d\"]`"));
            return None;
        }
        let elements = self.elements(key, MAX_LENGTHS)?;
        let mut lengths = Vec::new();
        let mut complete = true;
        for element in elements {
            match self.one_length(key, element, least_ms) {
                Some(length_ms) => lengths.push(length_ms),
                None => complete = false,
            }
        }
        complete.then_some(lengths)
    }

    /// A length of time; `None` when it is absent or after a complaint.
    pub(super) fn length(&mut self, key: &'static str, least_ms: i64) -> Option<Located<i64>> {
        let value = self.table.get(key)?;
        let length_ms = self.one_length(key, value, least_ms)?;
        Some(Located { place: value.span().start, value: length_ms })
    }

    fn one_length(&mut self, key: &str, value: &Spanned<DeValue<'_>>, least_ms: i64) -> Option<i64> {
        let place = value.span().start;
        let Some(text) = value.get_ref().as_str() else {
            let quoted = self.complaints.quote(value.span());
            let message = format!("{quoted} in `{key}` is not a length of time");
            self.complaints.add(place, message, "text like \"30m\", \"24h\" or \"7d\"");
            return None;
        };
        match parse_duration_ms(text) {
            Err(message) => {
                // The message carries its own expectation; the house form keeps the two apart.
                let (message, expected) = message.split_once("; expected ").unwrap_or((&message, ""));
                self.complaints.add(place, format!("{message} in `{key}`"), expected);
                None
            }
            Ok(length_ms) if length_ms < least_ms => {
                let expected = format!("at least {}", format_duration_ms(least_ms));
                self.complaints.add(place, format!("`{text}` in `{key}` is too short"), expected);
                None
            }
            Ok(length_ms) => Some(length_ms),
        }
    }

    /// `true` or `false`; `None` when it is absent or after a complaint.
    pub(super) fn boolean(&mut self, key: &'static str) -> Option<Located<bool>> {
        let value = self.table.get(key)?;
        let found = value.get_ref().as_bool();
        if found.is_none() {
            self.misfit(key, value, "`true` or `false`");
        }
        found.map(|found| Located { place: value.span().start, value: found })
    }

    /// A whole number, `absent` when the key is not there; `None` after a complaint.
    pub(super) fn whole(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u32>,
        absent: u32,
    ) -> Option<u32> {
        let Some(value) = self.table.get(key) else { return Some(absent) };
        let found = value.get_ref().as_integer().and_then(|number| number.to_string().parse::<u32>().ok());
        let found = found.filter(|number| range.contains(number));
        if found.is_none() {
            self.misfit(key, value, format!("a whole number from {} to {}", range.start(), range.end()));
        }
        found
    }

    /// Words of a closed list, each once, as declared; `None` when the key is absent or after a complaint.
    pub(super) fn words<T: Copy>(
        &mut self,
        key: &'static str,
        known: &[(&'static str, T)],
    ) -> Option<Vec<T>> {
        let elements = self.elements(key, known.len())?;
        let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
        let mut found = Vec::new();
        let mut seen = Vec::new();
        for element in elements {
            let word = element.get_ref().as_str().unwrap_or_default();
            let place = element.span().start;
            let quoted = self.complaints.quote(element.span());
            let Some((_, meaning)) = known.iter().find(|(known, _)| *known == word) else {
                let hint = did_you_mean(word, words.iter().copied());
                let expected = format!("one of {}", words.join(", "));
                self.complaints.add_with_hint(place, format!("unknown {quoted} in `{key}`"), expected, hint);
                return None;
            };
            if seen.contains(&word) {
                self.complaints.add(place, format!("{quoted} is listed twice in `{key}`"), "each word once");
                return None;
            }
            seen.push(word);
            found.push(*meaning);
        }
        Some(found)
    }

    /// The value that stands in where there is none.
    pub(super) fn default(&mut self) -> Option<Located<Value>> {
        let value = self.table.get("default")?;
        let found = match value.get_ref() {
            DeValue::Boolean(found) => Some(Value::Boolean(*found)),
            DeValue::String(text) if text.len() <= MAX_DEFAULT_BYTES => {
                Some(Value::Text(text.as_ref().into()))
            }
            _ => finite(value).map(Value::Number),
        };
        if found.is_none() {
            let quoted = self.complaints.quote(value.span());
            let message = format!("default {quoted} is not a value");
            let expected = format!(
                "a finite number like 0.0, `true` or `false`, or a text of at most {MAX_DEFAULT_BYTES} bytes"
            );
            self.complaints.add(value.span().start, message, expected);
        }
        found.map(|found| Located { place: value.span().start, value: found })
    }

    /// An expression as written, not looked into yet.
    pub(super) fn written(&mut self, key: &'static str, required: Option<&str>) -> Option<Written> {
        let Located { place, value: text } = self.text(key, required)?;
        let source = self.table.get(key).map_or("", |value| self.complaints.source(value.span()));
        let quotes = source.len() - source.trim_start_matches(['"', '\'']).len();
        let verbatim = source.get(quotes..).is_some_and(|rest| rest.starts_with(text.as_str()));
        let place = if verbatim { place.saturating_add(quotes) } else { place };
        Some(Written { place, verbatim, text })
    }

    /// The finite numbers of a table with exactly these keys.
    pub(super) fn numbers<const N: usize>(
        &mut self,
        key: &'static str,
        wanted: [&'static str; N],
        expected: &str,
    ) -> Option<Located<[f64; N]>> {
        let value = self.table.get(key)?;
        let Some(table) = value.get_ref().as_table() else {
            self.misfit(key, value, expected);
            return None;
        };
        refuse_unknown_keys(table, |key| wanted.contains(&key), &wanted, self.complaints);
        let mut numbers = [0.0; N];
        for (slot, name) in numbers.iter_mut().zip(wanted) {
            match table.get(name).and_then(finite) {
                Some(number) => *slot = number.get(),
                None => {
                    self.misfit(key, value, expected);
                    return None;
                }
            }
        }
        Some(Located { place: value.span().start, value: numbers })
    }
}

const EVENT_NAME_FORM: &str = "a text of 1 to 128 bytes, like \"purchase\"";

fn is_event_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_EVENT_NAME_BYTES
}

/// Whether it can be the name of a feature or of a value of the context.
pub(super) fn is_name(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_ascii_lowercase())
        && characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && name.len() <= MAX_NAME_BYTES
}

fn finite(value: &Spanned<DeValue<'_>>) -> Option<Finite> {
    let digits = match value.get_ref() {
        DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
        DeValue::Float(number) => number.as_str(),
        _ => return None,
    };
    digits.parse::<f64>().ok().and_then(Finite::new)
}
