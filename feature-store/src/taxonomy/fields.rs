//! Reads the keys of one table, complaining about each that does not fit.
//!
//! Not here: which keys there are (`document`).

use std::sync::Arc;

use augur_domain::event::MAX_TEXT_BYTES;
use augur_domain::value::Finite;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::schema::complaints::{Complaints, did_you_mean};

/// The form that a name must have, or what was expected.
pub(crate) type NameRule = fn(&str) -> Result<Arc<str>, String>;

/// One table with everything needed to read its keys and complain about them.
pub(crate) struct Fields<'t, 'c, 'a> {
    pub(crate) table: &'t DeTable<'t>,
    /// Where the table starts, for what is missing.
    pub(crate) start: usize,
    pub(crate) complaints: &'c mut Complaints<'a>,
}

pub(crate) fn refuse_unknown_keys(table: &DeTable<'_>, known: &[&str], complaints: &mut Complaints<'_>) {
    for key in table.keys() {
        let word = key.get_ref().as_ref();
        if !known.contains(&word) {
            let hint = did_you_mean(word, known.iter().copied());
            let expected = format!("one of {}", known.join(", "));
            complaints.add_with_hint(key.span().start, format!("unknown key `{word}`"), expected, hint);
        }
    }
}

impl<'t> Fields<'t, '_, '_> {
    /// A complaint about the value of `key`.
    pub(crate) fn complain(&mut self, key: &str, message: impl Into<String>, expected: impl Into<String>) {
        let place = self.table.get(key).map_or(self.start, |value| value.span().start);
        self.complaints.add(place, message, expected);
    }

    fn wrong(&mut self, key: &str, value: &Spanned<DeValue<'_>>, expected: impl Into<String>) {
        let quoted = self.complaints.quote(value.span());
        self.complaints.add(value.span().start, format!("`{key}` is `{quoted}`"), expected);
    }

    pub(crate) fn version(&mut self) {
        const EXPECTED: &str = "`version = 1`";
        match self.table.get("version") {
            None => self.complaints.add(0, "`version` is missing", EXPECTED),
            Some(value) if value.get_ref().as_integer().is_some_and(|number| number.to_string() == "1") => {}
            Some(value) => {
                let quoted = self.complaints.quote(value.span());
                self.complaints.add(value.span().start, format!("version {quoted} is not known"), EXPECTED);
            }
        }
    }

    /// Reads the table under `key`, if there is one.
    pub(crate) fn with_table(&mut self, key: &'static str, read: impl FnOnce(Fields<'t, '_, '_>)) {
        let Some(value) = self.table.get(key) else { return };
        match value.get_ref().as_table() {
            Some(table) => {
                read(Fields { table, start: value.span().start, complaints: self.complaints });
            }
            None => self.wrong(key, value, format!("a table headed `[{key}]`")),
        }
    }

    /// Reads each table of the array under `key`, if there is one.
    pub(crate) fn each_table(
        &mut self,
        key: &'static str,
        most: usize,
        mut read: impl FnMut(usize, Fields<'t, '_, '_>),
    ) {
        let Some(value) = self.table.get(key) else { return };
        let Some(array) = value.get_ref().as_array() else {
            return self.wrong(key, value, format!("tables headed `[[{key}]]`"));
        };
        if array.len() > most {
            let message = format!("there are {} tables `{key}`", array.len());
            self.complaints.add(value.span().start, message, format!("at most {most}"));
        }
        for item in array.iter().take(most) {
            let start = item.span().start;
            match item.get_ref().as_table() {
                Some(table) => read(start, Fields { table, start, complaints: self.complaints }),
                None => self.wrong(key, item, format!("a table headed `[[{key}]]`")),
            }
        }
    }

    pub(crate) fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let value = self.table.get(key)?;
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let expected = format!("one of \"{}\"", words.join("\", \""));
        let Some(word) = value.get_ref().as_str() else {
            self.wrong(key, value, expected);
            return None;
        };
        let found = choices.iter().find(|(known, _)| *known == word).map(|(_, choice)| *choice);
        if found.is_none() {
            let message = format!("`{key}` is `{}`", self.complaints.quote(value.span()));
            let hint = did_you_mean(word, words);
            self.complaints.add_with_hint(value.span().start, message, expected, hint);
        }
        found
    }

    pub(crate) fn boolean(&mut self, key: &'static str) -> bool {
        let Some(value) = self.table.get(key) else { return false };
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.wrong(key, value, "`true` or `false`, without quotes");
            false
        })
    }

    pub(crate) fn text(&mut self, key: &'static str, most_bytes: usize) -> String {
        let Some(value) = self.table.get(key) else { return String::new() };
        match value.get_ref().as_str() {
            Some(text) if text.len() <= most_bytes => text.to_owned(),
            Some(text) => {
                let message = format!("`{key}` has {} bytes", text.len());
                self.complain(key, message, format!("at most {most_bytes}"));
                String::new()
            }
            None => {
                self.wrong(key, value, "text in quotes");
                String::new()
            }
        }
    }

    pub(crate) fn number(&mut self, key: &'static str) -> Option<f64> {
        let value = self.table.get(key)?;
        let source = match value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str()),
            DeValue::Float(number) => Some(number.as_str()),
            _ => None,
        };
        let number = source.and_then(|digits| digits.parse::<f64>().ok()).and_then(Finite::new);
        if number.is_none() {
            self.wrong(key, value, "a finite number, like 0.0");
        }
        number.map(Finite::get)
    }

    pub(crate) fn whole(&mut self, key: &'static str, least: u32, most: u32) -> Option<u32> {
        let value = self.table.get(key)?;
        let number = value.get_ref().as_integer().filter(|number| number.radix() == 10);
        let number = number.and_then(|number| number.as_str().parse::<u32>().ok());
        let number = number.filter(|number| (least..=most).contains(number));
        if number.is_none() {
            self.wrong(key, value, format!("a whole number from {least} to {most}"));
        }
        number
    }

    pub(crate) fn required_name(&mut self, key: &'static str, rule: NameRule) -> Option<Arc<str>> {
        if !self.table.contains_key(key) {
            self.complaints.add(self.start, format!("`{key}` is missing"), format!("`{key} = \"..\"`"));
        }
        self.name(key, rule)
    }

    pub(crate) fn name(&mut self, key: &'static str, rule: NameRule) -> Option<Arc<str>> {
        self.one_name(key, self.table.get(key)?, rule)
    }

    fn one_name(&mut self, key: &str, value: &Spanned<DeValue<'_>>, rule: NameRule) -> Option<Arc<str>> {
        let name = value.get_ref().as_str().ok_or_else(|| "text in quotes".to_owned()).and_then(rule);
        name.map_err(|expected| self.wrong(key, value, expected)).ok()
    }

    /// The names in an array, each once, in the order of the file.
    pub(crate) fn names(&mut self, key: &'static str, most: usize, rule: NameRule) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = Vec::new();
        for element in self.elements(key, most) {
            let Some(name) = self.one_name(key, element, rule) else { continue };
            if names.contains(&name) {
                self.wrong(key, element, "each name once");
            }
            names.push(name);
        }
        names
    }

    /// The texts in an array, each once, ascending.
    pub(crate) fn choices(&mut self, key: &'static str, most: usize) -> Vec<Arc<str>> {
        let mut texts = self.names(key, most, |text| match text.len() {
            0..=MAX_TEXT_BYTES => Ok(text.into()),
            _ => Err(format!("at most {MAX_TEXT_BYTES} bytes")),
        });
        texts.sort_unstable();
        texts
    }

    fn elements(&mut self, key: &'static str, most: usize) -> &'t [Spanned<DeValue<'t>>] {
        let Some(value) = self.table.get(key) else { return &[] };
        match value.get_ref().as_array() {
            Some(array) if (1..=most).contains(&array.len()) => array,
            Some(array) => {
                let message = format!("`{key}` has {} elements", array.len());
                self.complaints.add(value.span().start, message, format!("1 to {most}"));
                &[]
            }
            None => {
                self.wrong(key, value, "an array of texts in quotes");
                &[]
            }
        }
    }
}
