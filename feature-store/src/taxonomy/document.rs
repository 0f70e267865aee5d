//! From the text of `events.toml` to declarations, with a complaint for everything that does not fit.
//!
//! Not here: what declarations mean for an event (`check`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use augur_domain::event::{MAX_EVENT_NAME_BYTES, MAX_PROPERTIES, MAX_PROPERTY_NAME_BYTES, MAX_TEXT_BYTES};
use augur_domain::{ContentHash, ValueType, event_name};
use toml::de::DeTable;

use super::fields::{Fields, refuse_unknown_keys};
use super::{DeclaredEvent, Property, SCHEMA_VERSION_PROPERTY, UnknownEvents, UnknownProperties};
use crate::schema::complaints::Complaints;

/// Most declared events.
const MAX_EVENTS: usize = 1_000;
/// Most other names of one event or property.
const MAX_OTHER_NAMES: usize = 64;
/// Most texts in `one_of`.
const MAX_CHOICES: usize = 1_000;
/// Most names in `policy.sensitive`.
const MAX_SENSITIVE: usize = 1_000;
/// Longest description.
const MAX_DESCRIPTION_BYTES: usize = 1_000;
/// Longest unit.
const MAX_UNIT_BYTES: usize = 64;
/// Newest schema version that can be declared.
const MAX_SCHEMA_VERSION: u32 = 1_000_000;

const ROOT_KEYS: [&str; 3] = ["version", "policy", "event"];
const POLICY_KEYS: [&str; 3] = ["unknown_events", "unknown_properties", "sensitive"];
const EVENT_KEYS: [&str; 9] = [
    "name",
    "description",
    "aliases",
    "schema_version",
    "deprecated",
    "replaced_by",
    "retractable",
    "retention",
    "property",
];
const PROPERTY_KEYS: [&str; 13] = [
    "name",
    "description",
    "type",
    "unit",
    "min",
    "max",
    "max_bytes",
    "one_of",
    "required",
    "sensitive",
    "added_in",
    "deprecated",
    "renamed_from",
];
const UNKNOWN_EVENTS: [(&str, UnknownEvents); 3] = [
    ("accept", UnknownEvents::Accept),
    ("quarantine", UnknownEvents::Quarantine),
    ("reject", UnknownEvents::Reject),
];
const UNKNOWN_PROPERTIES: [(&str, UnknownProperties); 3] = [
    ("accept", UnknownProperties::Accept),
    ("drop", UnknownProperties::Drop),
    ("quarantine", UnknownProperties::Quarantine),
];
const TYPES: [(&str, ValueType); 5] = [
    ("number", ValueType::Number),
    ("text", ValueType::Text),
    ("boolean", ValueType::Boolean),
    ("timestamp", ValueType::Timestamp),
    ("duration", ValueType::Duration),
];

/// What the file says.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) unknown_events: UnknownEvents,
    pub(super) unknown_properties: UnknownProperties,
    pub(super) sensitive: Vec<Arc<str>>,
    /// By name, ascending.
    pub(super) events: Vec<DeclaredEvent>,
}

/// Reads everything that can be read; the rest become complaints.
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
    refuse_unknown_keys(root, &ROOT_KEYS, complaints);
    let mut fields = Fields { table: root, start: 0, complaints };
    fields.version();
    let mut read = Document::default();
    fields.with_table("policy", |mut policy| {
        refuse_unknown_keys(policy.table, &POLICY_KEYS, policy.complaints);
        read.unknown_events = policy.choice("unknown_events", &UNKNOWN_EVENTS).unwrap_or_default();
        read.unknown_properties =
            policy.choice("unknown_properties", &UNKNOWN_PROPERTIES).unwrap_or_default();
        read.sensitive = policy.names("sensitive", MAX_SENSITIVE, property_name);
    });
    let mut places: BTreeMap<Arc<str>, usize> = BTreeMap::new();
    fields.each_table("event", MAX_EVENTS, |place, event| {
        if let Some(event) = read_event(event) {
            places.insert(Arc::clone(&event.name), place);
            read.events.push(event);
        }
    });
    refuse_clashes(&read.events, &places, complaints);
    read.events.sort_by(|left, right| left.name.cmp(&right.name));
    read
}

fn read_event(mut fields: Fields<'_, '_, '_>) -> Option<DeclaredEvent> {
    refuse_unknown_keys(fields.table, &EVENT_KEYS, fields.complaints);
    let name = fields.required_name("name", canonical_name);
    let schema_version = fields.whole("schema_version", 1, MAX_SCHEMA_VERSION).unwrap_or(1);
    let deprecated = fields.boolean("deprecated");
    let replaced_by = fields.name("replaced_by", canonical_name);
    if replaced_by.is_some() && !deprecated {
        fields.complain(
            "replaced_by",
            "`replaced_by` of an event that is not deprecated",
            "`deprecated = true`",
        );
    }
    let mut event = DeclaredEvent {
        description: fields.text("description", MAX_DESCRIPTION_BYTES),
        aliases: fields.names("aliases", MAX_OTHER_NAMES, folded_name),
        schema_version,
        deprecated,
        replaced_by,
        retractable: fields.boolean("retractable"),
        retention: fields.text("retention", MAX_UNIT_BYTES).into(),
        properties: Vec::new(),
        name: name.clone().unwrap_or_default(),
    };
    event.aliases.sort_unstable();
    let mut seen: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut properties = Vec::new();
    fields.each_table("property", MAX_PROPERTIES, |place, mut table| {
        let Some(property) = read_property(&mut table, schema_version) else { return };
        for name in std::iter::once(&property.name).chain(&property.renamed_from) {
            if !seen.insert(Arc::clone(name)) {
                table.complaints.add(place, format!("property `{name}` is named twice"), "each name once");
            }
        }
        properties.push(property);
    });
    properties.sort_by(|left: &Property, right| left.name.cmp(&right.name));
    event.properties = properties;
    name.map(|_| event)
}

fn read_property(fields: &mut Fields<'_, '_, '_>, newest_version: u32) -> Option<Property> {
    refuse_unknown_keys(fields.table, &PROPERTY_KEYS, fields.complaints);
    let name = fields.required_name("name", property_name);
    if name.as_deref() == Some(SCHEMA_VERSION_PROPERTY) {
        fields.complain("name", "`schema_version` is understood without a declaration", "another name");
    }
    let sensitive = fields.boolean("sensitive");
    let value_type = fields.choice("type", &TYPES);
    if value_type.is_none() && !sensitive && !fields.table.contains_key("type") {
        let words = TYPES.map(|(word, _)| word).join(", ");
        fields.complaints.add(fields.start, "`type` is missing", format!("one of {words}"));
    }
    let value_type = value_type.unwrap_or(ValueType::Text);
    let property = Property {
        name: name.clone().unwrap_or_default(),
        description: fields.text("description", MAX_DESCRIPTION_BYTES),
        value_type,
        unit: fields.text("unit", MAX_UNIT_BYTES),
        min: fields.number("min"),
        max: fields.number("max"),
        max_bytes: fields.whole("max_bytes", 1, MAX_TEXT_BYTES as u32).map(|bytes| bytes as usize),
        one_of: fields.choices("one_of", MAX_CHOICES),
        required: fields.boolean("required"),
        sensitive,
        added_in: fields.whole("added_in", 1, newest_version).unwrap_or(1),
        deprecated: fields.boolean("deprecated"),
        renamed_from: fields.names("renamed_from", MAX_OTHER_NAMES, property_name),
    };
    refuse_contradictions(&property, fields);
    name.map(|_| property)
}

fn refuse_contradictions(property: &Property, fields: &mut Fields<'_, '_, '_>) {
    let wrong_type = |keys: &[&'static str], wanted: ValueType, fields: &mut Fields<'_, '_, '_>| {
        for key in keys {
            if property.value_type != wanted && fields.table.contains_key(*key) {
                let message = format!("`{key}` has no meaning for type {}", property.value_type);
                fields.complain(key, message, format!("type {wanted}"));
            }
        }
    };
    wrong_type(&["min", "max"], ValueType::Number, fields);
    wrong_type(&["max_bytes", "one_of"], ValueType::Text, fields);
    if let (Some(min), Some(max)) = (property.min, property.max)
        && min > max
    {
        fields.complain("max", format!("max {max} lies below min {min}"), "at least as much as min");
    }
    if let Some(long) =
        property.one_of.iter().find(|choice| property.max_bytes.is_some_and(|most| choice.len() > most))
    {
        fields.complain("one_of", format!("`{long}` is longer than `max_bytes`"), "texts that can occur");
    }
    if property.sensitive && property.required {
        fields.complain(
            "required",
            "a sensitive property is dropped before anything is stored, so it cannot be required",
            "one of the two",
        );
    }
}

/// Names and aliases over all events: each once, and none hidden by the shipped table.
fn refuse_clashes(
    events: &[DeclaredEvent],
    places: &BTreeMap<Arc<str>, usize>,
    complaints: &mut Complaints<'_>,
) {
    let names: BTreeSet<&str> = events.iter().map(|event| &*event.name).collect();
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for event in events {
        let place = places.get(&event.name).copied().unwrap_or(0);
        if let Some(of) = seen.insert(&event.name, &event.name)
            && of == &*event.name
        {
            complaints.add(place, format!("event `{}` is declared twice", event.name), "each event once");
        }
        for alias in &event.aliases {
            if names.contains(&**alias) {
                complaints.add(place, format!("alias `{alias}` is a declared event"), "another name for it");
            } else if let Some(of) = seen.insert(alias, &event.name) {
                let message = format!("alias `{alias}` is given to `{of}` and to `{}`", event.name);
                complaints.add(place, message, "each alias once");
            }
        }
        if let Some(other) = &event.replaced_by
            && !names.contains(&**other)
        {
            complaints.add(place, format!("`replaced_by` names `{other}`"), "a declared event");
        }
    }
}

fn canonical_name(name: &str) -> Result<Arc<str>, String> {
    let rule =
        || "a canonical name like `add_to_cart`: a-z, 0-9, `_`, `.` and `:`, at most 128 bytes".to_owned();
    let canonical = event_name::canonical(name).ok_or_else(rule)?;
    if name.is_empty() || name.len() > MAX_EVENT_NAME_BYTES {
        return Err(rule());
    }
    if canonical == name { Ok(name.into()) } else { Err(format!("its canonical name, `{canonical}`")) }
}

/// Any spelling of a name that leads nowhere else already.
fn folded_name(name: &str) -> Result<Arc<str>, String> {
    let rule = || "letters, digits, spaces, `_`, `-`, `.` and `:`, 1 to 128 bytes".to_owned();
    if name.is_empty() || name.len() > MAX_EVENT_NAME_BYTES {
        return Err(rule());
    }
    let folded = event_name::folded(name).ok_or_else(rule)?;
    match event_name::canonical(name) {
        Some(canonical) if canonical != folded => {
            Err(format!("another name: every `{name}` is `{canonical}` already"))
        }
        _ => Ok(folded.into()),
    }
}

fn property_name(name: &str) -> Result<Arc<str>, String> {
    if name.is_empty() || name.len() > MAX_PROPERTY_NAME_BYTES {
        return Err(format!("1 to {MAX_PROPERTY_NAME_BYTES} bytes"));
    }
    Ok(name.into())
}

impl Document {
    /// Hashes all that decides what is accepted and kept, in a fixed order.
    pub(super) fn hash(&self) -> ContentHash {
        let mut parts: Vec<Vec<u8>> = vec![b"taxonomy 1".to_vec()];
        parts.push(vec![self.unknown_events as u8, self.unknown_properties as u8]);
        put_names(&mut parts, &self.sensitive);
        for event in &self.events {
            parts.push(b"event".to_vec());
            parts.push(event.name.as_bytes().to_vec());
            parts.push(event.schema_version.to_le_bytes().to_vec());
            parts.push(vec![u8::from(event.deprecated), u8::from(event.retractable)]);
            put_names(&mut parts, event.replaced_by.as_slice());
            put_names(&mut parts, &event.aliases);
            for property in &event.properties {
                put_property(&mut parts, property);
            }
        }
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        ContentHash::of(&parts)
    }
}

fn put_property(parts: &mut Vec<Vec<u8>>, property: &Property) {
    parts.push(b"property".to_vec());
    parts.push(property.name.as_bytes().to_vec());
    parts.push(property.value_type.to_string().into_bytes());
    parts.push(property.unit.as_bytes().to_vec());
    for bound in [property.min, property.max] {
        parts.push(bound.map_or(Vec::new(), |bound| bound.to_bits().to_le_bytes().to_vec()));
    }
    parts.push(property.max_bytes.map_or(Vec::new(), |most| (most as u64).to_le_bytes().to_vec()));
    parts.push(property.added_in.to_le_bytes().to_vec());
    let flags = [property.required, property.sensitive, property.deprecated];
    parts.push(flags.map(u8::from).to_vec());
    put_names(parts, &property.one_of);
    put_names(parts, &property.renamed_from);
}

fn put_names(parts: &mut Vec<Vec<u8>>, names: &[Arc<str>]) {
    parts.push((names.len() as u64).to_le_bytes().to_vec());
    parts.extend(names.iter().map(|name| name.as_bytes().to_vec()));
}
