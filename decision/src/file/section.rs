//! Reads the values of one table of the file, and complains about each that is missing, unknown or of another type.
//!
//! Not here: which tables and keys there are (`entries`).

use augur_domain::time::parse_duration_ms;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::payload::{float_value, integer_value};
use super::{Complaints, Located, Written, suggestion};

/// The form of every name that a policy gives.
pub(super) const NAME_FORM: &str =
    "a lower-case letter, then at most 63 lower-case letters, digits or underscores";

/// One table, the place of its header, and how complaints call it, e.g. `action`.
pub(super) struct Section<'t> {
    table: &'t DeTable<'t>,
    offset: usize,
    kind: &'static str,
}

impl<'t> Section<'t> {
    /// Complains about keys that are not in `known`.
    pub(super) fn new(
        table: &'t DeTable<'t>,
        offset: usize,
        kind: &'static str,
        known: &[&str],
        complaints: &mut Complaints<'_>,
    ) -> Self {
        for key in table.keys().filter(|key| !known.contains(&&**key.get_ref())) {
            let name = key.get_ref();
            let hint = suggestion(name, known.iter().copied());
            complaints.add(key.span().start, format!("`{name}` is not a key of {kind}"), one_of(known), hint);
        }
        Self { table, offset, kind }
    }

    /// Where its header stands.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    pub(super) fn get(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.table.get(key)
    }

    /// The value under `key`; complains if there is none.
    pub(super) fn required(
        &self,
        key: &str,
        expected: &str,
        complaints: &mut Complaints<'_>,
    ) -> Option<&'t Spanned<DeValue<'t>>> {
        let value = self.get(key);
        if value.is_none() {
            complaints.add(self.offset, format!("{} has no `{key}`", self.kind), expected, "");
        }
        value
    }

    /// A required name in the form of names; empty after a complaint.
    pub(super) fn name(&self, key: &str, complaints: &mut Complaints<'_>) -> Located<String> {
        let name = self.required(key, NAME_FORM, complaints).and_then(|value| name(key, value, complaints));
        name.unwrap_or(Located { value: String::new(), offset: self.offset })
    }

    pub(super) fn optional_name(
        &self,
        key: &str,
        complaints: &mut Complaints<'_>,
    ) -> Option<Located<String>> {
        name(key, self.get(key)?, complaints)
    }

    /// A list of distinct names with at least one and at most `most` of them.
    pub(super) fn names(
        &self,
        key: &str,
        most: usize,
        complaints: &mut Complaints<'_>,
    ) -> Vec<Located<String>> {
        let expected = "a list of names, like `[\"a\", \"b\"]`";
        let Some(value) = self.required(key, expected, complaints) else { return Vec::new() };
        let names = self.list(key, value, expected, most, complaints);
        if matches!(value.get_ref(), DeValue::Array(list) if list.is_empty()) {
            complaints.add(value.span().start, format!("`{key}` is empty"), "at least one name", "");
        }
        let mut found: Vec<Located<String>> = Vec::with_capacity(names.len());
        for element in names {
            let Some(name) = name(key, element, complaints) else { continue };
            if found.iter().any(|earlier| earlier.value == name.value) {
                let message = format!("`{}` stands twice in `{key}`", name.value);
                complaints.add(name.offset, message, "each name once", "");
            } else {
                found.push(name);
            }
        }
        found
    }

    /// The elements of a list of at most `most`.
    pub(super) fn list(
        &self,
        key: &str,
        value: &'t Spanned<DeValue<'t>>,
        expected: &str,
        most: usize,
        complaints: &mut Complaints<'_>,
    ) -> Vec<&'t Spanned<DeValue<'t>>> {
        let DeValue::Array(list) = value.get_ref() else {
            wrong_type(key, value, expected, complaints);
            return Vec::new();
        };
        if list.len() > most {
            let message = format!("`{key}` of {} has {} elements", self.kind, list.len());
            complaints.add(value.span().start, message, format!("at most {most}"), "");
        }
        list.iter().take(most).collect()
    }

    /// An expression's source.
    pub(super) fn expression(&self, key: &str, complaints: &mut Complaints<'_>) -> Option<Written> {
        let value = self.get(key)?;
        let source = text(key, value, "an expression, in quotes", complaints)?.value;
        Some(Written { source, span: value.span(), cell: None })
    }

    /// A finite number; integers are numbers too.
    pub(super) fn number(&self, key: &str, complaints: &mut Complaints<'_>) -> Option<Located<f64>> {
        let value = self.get(key)?;
        let number = match value.get_ref() {
            DeValue::Float(float) => float_value(float),
            DeValue::Integer(integer) => integer_value(integer).map(|integer| integer as f64),
            _ => None,
        };
        if number.is_none() {
            wrong_type(key, value, "a finite number", complaints);
        }
        number.map(|number| Located { value: number, offset: value.span().start })
    }

    pub(super) fn integer(&self, key: &str, complaints: &mut Complaints<'_>) -> Option<Located<i64>> {
        let value = self.get(key)?;
        let integer =
            if let DeValue::Integer(integer) = value.get_ref() { integer_value(integer) } else { None };
        if integer.is_none() {
            wrong_type(key, value, "a whole number", complaints);
        }
        integer.map(|integer| Located { value: integer, offset: value.span().start })
    }

    pub(super) fn boolean(&self, key: &str, complaints: &mut Complaints<'_>) -> Option<bool> {
        let value = self.get(key)?;
        if let DeValue::Boolean(boolean) = value.get_ref() {
            return Some(*boolean);
        }
        wrong_type(key, value, "`true` or `false`", complaints);
        None
    }

    /// A length of time in milliseconds, such as `50ms`.
    pub(super) fn duration_ms(&self, key: &str, complaints: &mut Complaints<'_>) -> Option<Located<i64>> {
        let value = self.get(key)?;
        let written = text(key, value, "a length of time, like `\"50ms\"` or `\"30m\"`", complaints)?;
        match parse_duration_ms(&written.value) {
            Ok(length_ms) => Some(Located { value: length_ms, offset: written.offset }),
            Err(problem) => {
                let (message, expected) = problem.split_once("; expected ").unwrap_or((&problem, ""));
                complaints.add(written.offset, format!("`{key}`: {message}"), expected, "");
                None
            }
        }
    }

    /// One of `choices`.
    pub(super) fn choice<T: Copy>(
        &self,
        key: &str,
        choices: &[(&str, T)],
        complaints: &mut Complaints<'_>,
    ) -> Option<T> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let written = text(key, self.get(key)?, &one_of(&words), complaints)?;
        let chosen = choices.iter().find(|(word, _)| *word == written.value);
        if chosen.is_none() {
            let hint = suggestion(&written.value, words.iter().copied());
            let message = format!("`{}` is not a value of `{key}`", shortened(&written.value));
            complaints.add(written.offset, message, one_of(&words), hint);
        }
        chosen.map(|(_, value)| *value)
    }
}

/// Text under `key`; complains about any other type.
pub(super) fn text(
    key: &str,
    value: &Spanned<DeValue<'_>>,
    expected: &str,
    complaints: &mut Complaints<'_>,
) -> Option<Located<String>> {
    if let DeValue::String(text) = value.get_ref() {
        return Some(Located { value: text.to_string(), offset: value.span().start });
    }
    wrong_type(key, value, expected, complaints);
    None
}

/// A name in the form of names.
pub(super) fn name(
    key: &str,
    value: &Spanned<DeValue<'_>>,
    complaints: &mut Complaints<'_>,
) -> Option<Located<String>> {
    let found = text(key, value, NAME_FORM, complaints)?;
    if is_name(&found.value) {
        return Some(found);
    }
    let message = format!("`{}` in `{key}` is not a name", shortened(&found.value));
    complaints.add(found.offset, message, NAME_FORM, "");
    None
}

/// `[a-z][a-z0-9_]{0,63}`
pub(super) fn is_name(text: &str) -> bool {
    let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(rest)
}

pub(super) fn wrong_type(
    key: &str,
    value: &Spanned<DeValue<'_>>,
    expected: &str,
    complaints: &mut Complaints<'_>,
) {
    let found = match value.get_ref() {
        DeValue::String(text) => format!("the text `{}`", shortened(text)),
        DeValue::Integer(integer) => format!("the number `{integer}`"),
        DeValue::Float(float) => format!("the number `{float}`"),
        DeValue::Boolean(boolean) => format!("`{boolean}`"),
        DeValue::Datetime(datetime) => format!("the date `{datetime}`"),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    };
    complaints.add(value.span().start, format!("`{key}` is {found}"), expected, "");
}

/// The beginning of a value, so that a complaint stays one line.
pub(super) fn shortened(text: &str) -> String {
    const MOST: usize = 80;
    let mut short: String = text.chars().take(MOST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MOST).is_some() {
        short.push('…');
    }
    short
}

/// `one of a, b, c`, each in backquotes.
pub(super) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    format!("one of {}", quoted.join(", "))
}
