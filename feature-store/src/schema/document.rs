//! From the text of `features.toml` to declarations, with a complaint for everything that does not fit.
//!
//! Not here: what a declaration expands to, and names that clash only after expansion (`compile`).

use std::sync::Arc;

use augur_domain::event::{MAX_EVENT_NAME_BYTES, MAX_PROPERTY_NAME_BYTES};
use augur_domain::time::{DAY_MS, MINUTE_MS, SECOND_MS, format_duration_ms, parse_duration_ms};
use augur_domain::value::Finite;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::complaints::{Complaints, did_you_mean};

/// Longest name that may be declared; the suffix comes on top.
const MAX_NAME_BYTES: usize = 100;
/// Longest description.
const MAX_DESCRIPTION_BYTES: usize = 1_000;
/// Most event names on one declaration.
const MAX_EVENTS: usize = 64;
/// Most half-lives or windows on one declaration.
const MAX_LENGTHS: usize = 16;

/// The kinds of feature that can be declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    DecayedCount,
    DecayedSum,
    WindowedCount,
    WindowedSum,
    TimeSinceLast,
    TimeSinceFirst,
    Sessions,
}

impl Kind {
    const ALL: [(&'static str, Self); 7] = [
        ("decayed_count", Self::DecayedCount),
        ("decayed_sum", Self::DecayedSum),
        ("windowed_count", Self::WindowedCount),
        ("windowed_sum", Self::WindowedSum),
        ("time_since_last", Self::TimeSinceLast),
        ("time_since_first", Self::TimeSinceFirst),
        ("sessions", Self::Sessions),
    ];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }

    /// Keys that this kind asks for, beside those that every kind may have.
    const fn own_keys(self) -> &'static [&'static str] {
        match self {
            Self::DecayedCount => &["half_lives"],
            Self::DecayedSum => &["half_lives", "property"],
            Self::WindowedCount => &["windows"],
            Self::WindowedSum => &["windows", "property"],
            Self::TimeSinceLast | Self::TimeSinceFirst => &[],
            Self::Sessions => &["gap"],
        }
    }
}

/// Keys that every kind may have.
const SHARED_KEYS: [&str; 6] = ["name", "kind", "events", "max_age", "default", "description"];
/// Keys that some kind asks for.
const KIND_KEYS: [&str; 4] = ["half_lives", "windows", "property", "gap"];

/// One `[[feature]]` table, checked by itself.
#[derive(Debug)]
pub(super) struct Declaration {
    /// Byte offset of the name, for complaints about clashes.
    pub(super) place: usize,
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Sorted, each once; empty means every event.
    pub(super) events: Vec<Arc<str>>,
    pub(super) property: Option<Arc<str>>,
    /// Half-lives or windows in ms, as declared; for sessions, the gap alone.
    pub(super) lengths: Vec<i64>,
    pub(super) max_age_ms: Option<i64>,
    pub(super) default: Option<f64>,
    pub(super) description: String,
}

/// Reads every declaration that can be read; the rest become complaints.
pub(super) fn read(text: &str, complaints: &mut Complaints<'_>) -> Vec<Declaration> {
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let place = error.span().map_or(0, |span| span.start);
        complaints.add(place, error.message().replace('\n', ", "), "valid TOML");
    }
    if !errors.is_empty() {
        return Vec::new();
    }
    let root = document.get_ref();
    refuse_unknown_keys(root, &["version", "feature"], complaints);
    check_version(root, complaints);
    let Some(features) = root.get("feature") else {
        complaints.add(0, "there is no feature", "at least one `[[feature]]` table");
        return Vec::new();
    };
    let Some(array) = features.get_ref().as_array() else {
        let kind = features.get_ref().type_str();
        complaints.add(
            features.span().start,
            format!("`feature` is a {kind}"),
            "tables headed `[[feature]]`",
        );
        return Vec::new();
    };
    if array.is_empty() {
        complaints.add(features.span().start, "there is no feature", "at least one `[[feature]]` table");
    }
    array.iter().filter_map(|item| read_feature(item, complaints)).collect()
}

fn check_version(root: &DeTable<'_>, complaints: &mut Complaints<'_>) {
    const EXPECTED: &str = "`version = 1`";
    match root.get("version") {
        None => complaints.add(0, "`version` is missing", EXPECTED),
        Some(value) => {
            let known = value.get_ref().as_integer().is_some_and(|number| number.to_string() == "1");
            if !known {
                let quoted = complaints.quote(value.span());
                complaints.add(value.span().start, format!("version {quoted} is not known"), EXPECTED);
            }
        }
    }
}

fn refuse_unknown_keys(table: &DeTable<'_>, known: &[&str], complaints: &mut Complaints<'_>) {
    for key in table.keys() {
        let word = key.get_ref().as_ref();
        if !known.contains(&word) {
            let hint = did_you_mean(word, known.iter().copied());
            complaints.add_with_hint(
                key.span().start,
                format!("unknown key `{word}`"),
                format!("one of {}", known.join(", ")),
                hint,
            );
        }
    }
}

/// One table with everything needed to read its keys and complain about them.
struct Fields<'t, 'c, 'a> {
    table: &'t DeTable<'t>,
    /// Where the table starts, for what is missing.
    start: usize,
    complaints: &'c mut Complaints<'a>,
}

fn read_feature(item: &Spanned<DeValue<'_>>, complaints: &mut Complaints<'_>) -> Option<Declaration> {
    let Some(table) = item.get_ref().as_table() else {
        let quoted = complaints.quote(item.span());
        complaints.add(item.span().start, format!("`{quoted}` is not a feature"), "a `[[feature]]` table");
        return None;
    };
    let known: Vec<&str> = SHARED_KEYS.iter().chain(&KIND_KEYS).copied().collect();
    refuse_unknown_keys(table, &known, complaints);
    let mut fields = Fields { table, start: item.span().start, complaints };
    let name = fields.name();
    let kind = fields.kind();
    let events = fields.events();
    let max_age_ms = fields.length("max_age", 1);
    let default = fields.default();
    let description = fields.description();
    let kind = kind?;
    fields.refuse_keys_of_other_kinds(kind);
    let lengths = match kind {
        Kind::DecayedCount | Kind::DecayedSum => fields.lengths("half_lives", SECOND_MS),
        Kind::WindowedCount | Kind::WindowedSum => fields.lengths("windows", MINUTE_MS),
        Kind::Sessions => fields.gap(),
        Kind::TimeSinceLast | Kind::TimeSinceFirst => Some(Vec::new()),
    };
    let property = match kind {
        Kind::DecayedSum | Kind::WindowedSum => Some(fields.property()?),
        _ => None,
    };
    let (place, name) = name?;
    let (events, lengths) = (events?, lengths?);
    Some(Declaration { place, name, kind, events, property, lengths, max_age_ms, default, description })
}

impl<'t> Fields<'t, '_, '_> {
    /// A text value with its place. Complains when it is of another type, or absent though required.
    fn text(&mut self, key: &'static str, required: Option<&str>) -> Option<(usize, String)> {
        let Some(value) = self.table.get(key) else {
            if let Some(expected) = required {
                self.complaints.add(self.start, format!("`{key}` is missing"), expected);
            }
            return None;
        };
        let place = value.span().start;
        if let Some(text) = value.get_ref().as_str() {
            return Some((place, text.to_owned()));
        }
        let kind = value.get_ref().type_str();
        let quoted = self.complaints.quote(value.span());
        self.complaints.add(place, format!("`{key}` is the {kind} `{quoted}`"), "text in quotes");
        None
    }

    fn name(&mut self) -> Option<(usize, String)> {
        const EXPECTED: &str =
            "a name like `purchases`: a-z, 0-9 and _, starting with a letter, at most 100 bytes";
        let (place, name) = self.text("name", Some(EXPECTED))?;
        let mut characters = name.chars();
        let good = characters.next().is_some_and(|first| first.is_ascii_lowercase())
            && characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            && name.len() <= MAX_NAME_BYTES;
        if good {
            return Some((place, name));
        }
        let shown: String = name.chars().take(MAX_NAME_BYTES).collect();
        self.complaints.add(place, format!("`{shown}` is not a feature name"), EXPECTED);
        None
    }

    fn kind(&mut self) -> Option<Kind> {
        let words = Kind::ALL.map(|(word, _)| word);
        let expected = format!("one of {}", words.join(", "));
        let (place, word) = self.text("kind", Some(&expected))?;
        let kind = Kind::ALL.iter().find(|(known, _)| *known == word).map(|(_, kind)| *kind);
        if kind.is_none() {
            let hint = did_you_mean(&word, words);
            self.complaints.add_with_hint(place, format!("unknown kind `{word}`"), expected, hint);
        }
        kind
    }

    fn refuse_keys_of_other_kinds(&mut self, kind: Kind) {
        for key in self.table.keys() {
            let word = key.get_ref().as_ref();
            if KIND_KEYS.contains(&word) && !kind.own_keys().contains(&word) {
                let expected = match kind.own_keys() {
                    [] => "none of half_lives, windows, property, gap".to_owned(),
                    keys => format!("`{}`", keys.join("`, `")),
                };
                let message = format!("`{word}` has no meaning for kind {}", kind.word());
                self.complaints.add(key.span().start, message, expected);
            }
        }
    }

    /// The elements of an array; complains about anything else and about an empty or overlong one.
    fn elements(&mut self, key: &'static str, most: usize) -> Option<&'t [Spanned<DeValue<'t>>]> {
        let value = self.table.get(key)?;
        let place = value.span().start;
        let Some(array) = value.get_ref().as_array() else {
            let quoted = self.complaints.quote(value.span());
            self.complaints.add(place, format!("`{key}` is `{quoted}`"), "an array of texts in quotes");
            return None;
        };
        if array.is_empty() || array.len() > most {
            let message = format!("`{key}` has {} elements", array.len());
            self.complaints.add(place, message, format!("1 to {most}"));
            return None;
        }
        Some(array)
    }

    /// Sorted event names; `Some(empty)` when the key is absent, `None` after a complaint.
    fn events(&mut self) -> Option<Vec<Arc<str>>> {
        if !self.table.contains_key("events") {
            return Some(Vec::new());
        }
        let elements = self.elements("events", MAX_EVENTS)?;
        let mut names: Vec<Arc<str>> = Vec::new();
        let mut complete = true;
        for element in elements {
            let place = element.span().start;
            let quoted = self.complaints.quote(element.span());
            match element.get_ref().as_str() {
                Some(name) if !name.is_empty() && name.len() <= MAX_EVENT_NAME_BYTES => {
                    if names.iter().any(|known| &**known == name) {
                        self.complaints.add(
                            place,
                            format!("event {quoted} is listed twice"),
                            "each event once",
                        );
                        complete = false;
                    }
                    names.push(name.into());
                }
                _ => {
                    let expected = format!("a text of 1 to {MAX_EVENT_NAME_BYTES} bytes, like \"purchase\"");
                    self.complaints.add(place, format!("{quoted} is not an event name"), expected);
                    complete = false;
                }
            }
        }
        names.sort_unstable();
        complete.then_some(names)
    }

    fn property(&mut self) -> Option<Arc<str>> {
        const EXPECTED: &str = "the numeric property to add up, like `property = \"value\"`";
        let (place, name) = self.text("property", Some(EXPECTED))?;
        if name.is_empty() || name.len() > MAX_PROPERTY_NAME_BYTES {
            let expected = format!("a property name of 1 to {MAX_PROPERTY_NAME_BYTES} bytes");
            self.complaints.add(place, format!("`property` has {} bytes", name.len()), expected);
            return None;
        }
        Some(name.into())
    }

    /// Lengths of time, each at least `least_ms`, as declared.
    fn lengths(&mut self, key: &'static str, least_ms: i64) -> Option<Vec<i64>> {
        if !self.table.contains_key(key) {
            let message = format!("`{key}` is missing");
            self.complaints.add(
                self.start,
                message,
                format!("lengths of time, like `{key} = [\"1d\", \"7d\"]`"),
            );
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

    fn length(&mut self, key: &'static str, least_ms: i64) -> Option<i64> {
        self.one_length(key, self.table.get(key)?, least_ms)
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

    fn gap(&mut self) -> Option<Vec<i64>> {
        const MOST_MS: i64 = 7 * DAY_MS;
        let Some(value) = self.table.get("gap") else {
            self.complaints.add(
                self.start,
                "`gap` is missing",
                "the silence that ends a session, like `gap = \"30m\"`",
            );
            return None;
        };
        let gap_ms = self.length("gap", SECOND_MS)?;
        if gap_ms > MOST_MS {
            let message = format!("`{}` in `gap` is too long", format_duration_ms(gap_ms));
            self.complaints.add(value.span().start, message, "at most 7d");
            return None;
        }
        Some(vec![gap_ms])
    }

    fn default(&mut self) -> Option<f64> {
        let value = self.table.get("default")?;
        let source = match value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str()),
            DeValue::Float(number) => Some(number.as_str()),
            _ => None,
        };
        let number = source.and_then(|digits| digits.parse::<f64>().ok()).and_then(Finite::new);
        if number.is_none() {
            let quoted = self.complaints.quote(value.span());
            self.complaints.add(
                value.span().start,
                format!("default {quoted} is not a number"),
                "a finite number, like 0.0",
            );
        }
        number.map(Finite::get)
    }

    fn description(&mut self) -> String {
        let Some((place, text)) = self.text("description", None) else { return String::new() };
        if text.len() > MAX_DESCRIPTION_BYTES {
            let message = format!("description has {} bytes", text.len());
            self.complaints.add(place, message, format!("at most {MAX_DESCRIPTION_BYTES}"));
        }
        text
    }
}
