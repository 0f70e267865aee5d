//! From the text of `features.toml` to declarations, with a complaint for everything that does not fit.
//!
//! Not here: one declaration (`declaration`), what it expands to, and names that clash only after expansion
//! (`compile`).

use std::sync::Arc;

use augur_domain::ValueType;
use toml::de::DeTable;

use super::complaints::Complaints;
use super::declaration::{self, Declaration};
use super::fields::{Fields, is_name, refuse_unknown_keys};
use super::resolved::ResolvedTypes;
use super::sets;

const ROOT_KEYS: [&str; 4] = ["version", "context", "feature", "feature_set"];
/// In the copies that are kept only: see [`super::resolved`].
const RESOLVED: &str = super::resolved::KEY;

/// A whole file.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) declarations: Vec<Declaration>,
    /// What a request may tell, ascending by name.
    pub(super) context: Vec<(Arc<str>, ValueType)>,
    /// What a taxonomy said when this copy was kept.
    pub(super) resolved: ResolvedTypes,
    pub(super) sets: Vec<sets::Declared>,
}

/// Reads every declaration that can be read; the rest become complaints.
pub(super) fn read(text: &str, complaints: &mut Complaints<'_>) -> Document {
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let place = error.span().map_or(0, |span| span.start);
        complaints.add(place, error.message().replace('\n', ", "), "valid TOML");
    }
    if !errors.is_empty() {
        return Document::default();
    }
    let root = document.get_ref();
    refuse_unknown_keys(root, |key| key == RESOLVED || ROOT_KEYS.contains(&key), &ROOT_KEYS, complaints);
    check_version(root, complaints);
    let context = {
        let mut fields = Fields { table: root, start: 0, complaints };
        let form = "a-z, 0-9 and _, starting with a letter, at most 100 bytes";
        let types = fields.types("context", is_name, form).unwrap_or_default();
        types.into_iter().map(|(name, value_type)| (name, value_type.value)).collect()
    };
    let resolved = read_resolved(root, complaints);
    let sets = sets::read(root, complaints);
    Document { declarations: read_declarations(root, complaints), context, sets, resolved }
}

fn read_resolved(root: &DeTable<'_>, complaints: &mut Complaints<'_>) -> ResolvedTypes {
    let Some(value) = root.get(RESOLVED) else { return ResolvedTypes::new() };
    let Some(table) = value.get_ref().as_table() else {
        let quoted = complaints.quote(value.span());
        complaints.add(value.span().start, format!("`{RESOLVED}` is `{quoted}`"), "tables of types");
        return ResolvedTypes::new();
    };
    let mut fields = Fields { table, start: value.span().start, complaints };
    let mut resolved = ResolvedTypes::new();
    for name in table.keys() {
        let name = name.get_ref().as_ref();
        let types = fields.types(name, |_| true, "").unwrap_or_default();
        let types = types.into_iter().map(|(property, found)| (property, found.value));
        resolved.insert(name.to_owned(), types.collect());
    }
    resolved
}

fn read_declarations(root: &DeTable<'_>, complaints: &mut Complaints<'_>) -> Vec<Declaration> {
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
    array.iter().filter_map(|item| declaration::read(item, complaints)).collect()
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
