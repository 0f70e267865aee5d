//! Declarations of values: `country = "text"`, or `country = { type = "text", values = ["DE", "AT"] }`.
//!
//! Not here: what is done with values (`declared` of the crate).

use augur_domain::ValueType;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::section::{NAME_FORM, Section, is_name, one_of, shortened, text, wrong_type};
use super::{Complaints, Located, suggestion};

const TYPES: [(&str, ValueType); 5] = [
    ("number", ValueType::Number),
    ("boolean", ValueType::Boolean),
    ("text", ValueType::Text),
    ("timestamp", ValueType::Timestamp),
    ("duration", ValueType::Duration),
];

/// Texts that one value may be declared to hold.
const MAX_VALUES: usize = 256;
/// Bytes of one of them.
const MAX_VALUE_BYTES: usize = 256;

/// One declared value.
#[derive(Debug, Clone)]
pub(crate) struct DeclaredEntry {
    pub(crate) name: Located<String>,
    pub(crate) value_type: ValueType,
    /// Ordered, each once.
    pub(crate) values: Option<Vec<String>>,
}

/// The declarations under `key`, ordered by name, at most `most`.
pub(super) fn declarations(
    key: &'static str,
    value: &Spanned<DeValue<'_>>,
    most: usize,
    complaints: &mut Complaints<'_>,
) -> Vec<DeclaredEntry> {
    let DeValue::Table(table) = value.get_ref() else {
        let expected = "names with their types, like `cart_value = \"number\"`";
        wrong_type(key, value, expected, complaints);
        return Vec::new();
    };
    if table.len() > most {
        let message = format!("`{key}` declares {} values", table.len());
        complaints.add(value.span().start, message, format!("at most {most}"), "");
    }
    let mut declared = Vec::new();
    for (name, written) in table.iter().take(most) {
        if !is_name(name.get_ref()) {
            let message = format!("`{}` in `{key}` is not a name", shortened(name.get_ref()));
            complaints.add(name.span().start, message, NAME_FORM, "");
            continue;
        }
        let name = Located { value: name.get_ref().to_string(), offset: name.span().start };
        declared.extend(declaration(key, name, written, complaints));
    }
    declared.sort_by(|a, b| a.name.value.cmp(&b.name.value));
    declared
}

fn declaration(
    key: &str,
    name: Located<String>,
    written: &Spanned<DeValue<'_>>,
    complaints: &mut Complaints<'_>,
) -> Option<DeclaredEntry> {
    if let DeValue::Table(table) = written.get_ref() {
        return long_form(key, name, table, written.span().start, complaints);
    }
    let value_type = value_type(key, &name.value, written, complaints)?;
    Some(DeclaredEntry { name, value_type, values: None })
}

fn long_form(
    key: &str,
    name: Located<String>,
    table: &DeTable<'_>,
    offset: usize,
    complaints: &mut Complaints<'_>,
) -> Option<DeclaredEntry> {
    let section = Section::new(table, offset, "a declared value", &["type", "values"], complaints);
    let written = section.required("type", &types(), complaints)?;
    let value_type = value_type(key, "type", written, complaints)?;
    let values = section.get("values").map(|values| {
        if value_type != ValueType::Text {
            complaints.add(
                values.span().start,
                format!("`values` of a {value_type}"),
                "`type = \"text\"`",
                "",
            );
        }
        texts(&section, values, complaints)
    });
    Some(DeclaredEntry { name, value_type, values })
}

fn texts(
    section: &Section<'_>,
    value: &Spanned<DeValue<'_>>,
    complaints: &mut Complaints<'_>,
) -> Vec<String> {
    const EXPECTED: &str = "a list of texts, like `[\"DE\", \"AT\"]`";
    let mut texts: Vec<String> = Vec::new();
    let list = section.list("values", value, EXPECTED, MAX_VALUES, complaints);
    if list.is_empty() {
        complaints.add(value.span().start, "`values` names nothing", "at least one text", "");
    }
    for element in list {
        let Some(written) = text("values", element, EXPECTED, complaints) else { continue };
        if written.value.len() > MAX_VALUE_BYTES {
            let message = format!("a text of `values` has {} bytes", written.value.len());
            complaints.add(written.offset, message, format!("at most {MAX_VALUE_BYTES}"), "");
        } else if texts.contains(&written.value) {
            let message = format!("`{}` stands twice in `values`", shortened(&written.value));
            complaints.add(written.offset, message, "each text once", "");
        } else {
            texts.push(written.value);
        }
    }
    texts.sort_unstable();
    texts
}

fn value_type(
    key: &str,
    name: &str,
    written: &Spanned<DeValue<'_>>,
    complaints: &mut Complaints<'_>,
) -> Option<ValueType> {
    let word = text(name, written, &types(), complaints)?;
    let found = TYPES.iter().find(|(known, _)| *known == word.value);
    if found.is_none() {
        let hint = suggestion(&word.value, TYPES.iter().map(|(known, _)| *known));
        let message = format!("`{}` is not a type of {key}", shortened(&word.value));
        complaints.add(word.offset, message, types(), hint);
    }
    found.map(|(_, value_type)| *value_type)
}

fn types() -> String {
    one_of(&TYPES.map(|(word, _)| word))
}
