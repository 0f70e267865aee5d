//! What a declaration may expect of its events: their names, the types of their properties, whether they can be taken
//! back. From the taxonomy where there is one, else from the declaration itself.
//!
//! Not here: the taxonomy (`crate::taxonomy`), or conditions (`filter`).

use std::collections::BTreeMap;
use std::sync::Arc;

use augur_domain::{ValueType, event_name};

use super::complaints::{Complaints, did_you_mean};
use super::declaration::{Aggregated, Body, Declaration};
use super::fields::Located;
use super::filter::PropertyTypes;
use crate::taxonomy::{Property, Taxonomy};

/// Complains about events and properties that will never come as the declaration wants them.
pub(super) fn check(
    aggregated: &Aggregated,
    wanted: Option<ValueType>,
    taxonomy: &Taxonomy,
    complaints: &mut Complaints<'_>,
) {
    for Located { place, value: name } in &aggregated.events {
        let Some(event) = taxonomy.event(name) else {
            let hint = did_you_mean(name, taxonomy.events().map(|event| &*event.name));
            // Any other name may still be in the event log, from before the taxonomy was so strict.
            if taxonomy.refuses_unknown_events() && !hint.is_empty() {
                let message = format!("no event `{name}` is declared, and others are not taken");
                complaints.add_with_hint(*place, message, "an event of the taxonomy", hint);
            }
            continue;
        };
        if event.name != *name {
            let message = format!("`{name}` is another name of `{}`", event.name);
            complaints.add(*place, message, format!("the name that is stored, `{}`", event.name));
        } else if let Some(property) = &aggregated.property {
            let of_event = event.properties.iter().filter(|property| !property.sensitive);
            match event.property(&property.value) {
                Some(declared) => check_property(property, declared, name, wanted, complaints),
                None if taxonomy.refuses_unknown_properties() => {
                    let hint = did_you_mean(&property.value, of_event.map(|property| &*property.name));
                    if !hint.is_empty() {
                        let message = format!("event `{name}` declares no property `{}`", property.value);
                        complaints.add_with_hint(property.place, message, "one that it declares", hint);
                    }
                }
                None => {}
            }
        }
    }
}

/// Complains about names of events that are never stored under the spelling that the declaration uses.
///
/// Only of what a person wrote now: a kept copy means what it meant.
pub(super) fn check_spelling(
    declaration: &Declaration,
    taxonomy: &Taxonomy,
    complaints: &mut Complaints<'_>,
) {
    let Body::Aggregated(aggregated) = &declaration.body else { return };
    for Located { place, value: name } in &aggregated.events {
        // What the taxonomy knows under another name is told by `check`.
        if taxonomy.event(name).is_some() {
            continue;
        }
        match event_name::canonical(name) {
            Some(canonical) if canonical == **name => {}
            Some(canonical) => {
                let message = format!("events called `{name}` are stored as `{canonical}`");
                complaints.add(*place, message, format!("the name that is stored, `{canonical}`"));
            }
            None => {
                let message = format!("no event can be called `{name}`");
                complaints.add(*place, message, "letters and digits of ASCII, `_`, `.` and `:`");
            }
        }
    }
}

fn check_property(
    property: &Located<Arc<str>>,
    declared: &Property,
    event: &str,
    wanted: Option<ValueType>,
    complaints: &mut Complaints<'_>,
) {
    let Located { place, value: name } = property;
    if declared.name != *name {
        let message = format!("property `{name}` of `{event}` is called `{}` now", declared.name);
        complaints.add(*place, message, format!("`{}`", declared.name));
    } else if declared.sensitive {
        let message =
            format!("property `{name}` of `{event}` is sensitive: it is dropped before anything is stored");
        complaints.add(*place, message, "a property that is kept");
    } else if wanted.is_some_and(|wanted| wanted != stored_type(declared.value_type)) {
        let (found, wanted) = (declared.value_type, wanted.unwrap_or(ValueType::Number));
        let message = format!("property `{name}` of `{event}` is a {found}");
        complaints.add(*place, message, format!("a {wanted}"));
    }
}

/// The types of the properties that a condition may read, ascending by name; `resolved` is what an earlier taxonomy
/// said, for what this one does not know.
pub(super) fn types(
    aggregated: &Aggregated,
    taxonomy: &Taxonomy,
    resolved: Option<&BTreeMap<Arc<str>, ValueType>>,
    complaints: &mut Complaints<'_>,
) -> PropertyTypes {
    // `None` where events disagree.
    let mut known: BTreeMap<Arc<str>, Option<ValueType>> = BTreeMap::new();
    let mut learn = |event: &str| {
        for (name, value_type) in taxonomy.properties_of(event).into_iter().flatten() {
            let value_type = stored_type(value_type);
            let entry = known.entry(Arc::clone(name)).or_insert(Some(value_type));
            *entry = entry.filter(|earlier| *earlier == value_type);
        }
    };
    if aggregated.events.is_empty() {
        taxonomy.events().for_each(|event| learn(&event.name));
    } else {
        aggregated.events.iter().for_each(|event| learn(&event.value));
    }
    for (name, value_type) in resolved.into_iter().flatten() {
        known.entry(Arc::clone(name)).or_insert(Some(*value_type));
    }
    for (name, Located { place, value: declared }) in &aggregated.property_types {
        match known.get(name) {
            Some(Some(found)) if found != declared => {
                let message = format!("property `{name}` is a {found} in the taxonomy");
                complaints.add(*place, message, format!("`{name} = \"{found}\"`, or nothing"));
            }
            _ => {
                known.insert(Arc::clone(name), Some(*declared));
            }
        }
    }
    known.into_iter().filter_map(|(name, value_type)| Some((name, value_type?))).collect()
}

/// An event that the declaration names and the taxonomy lets be taken back.
pub(super) fn retractable_event<'a>(aggregated: &'a Aggregated, taxonomy: &Taxonomy) -> Option<&'a str> {
    let named = aggregated.events.iter().map(|event| &*event.value);
    named.into_iter().find(|name| taxonomy.event(name).is_some_and(|event| event.retractable))
}

/// The type of a value as it is stored: instants and lengths of time are numbers of milliseconds.
const fn stored_type(declared: ValueType) -> ValueType {
    match declared {
        ValueType::Timestamp | ValueType::Duration => ValueType::Number,
        other => other,
    }
}
