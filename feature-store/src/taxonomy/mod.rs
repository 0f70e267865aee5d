//! The declared taxonomy, `events.toml`: which events may come, what they carry, and what is kept of them.
//!
//! [`Taxonomy::parse`] reads it whole or refuses it with places; [`Taxonomy::check`] renames, bounds and completes one
//! event. Not here: the shipped table of names (`augur_domain::event_name`), shapes and times (`proto`), or what is
//! done with an event that does not fit (`server`).

mod check;
mod document;
pub(crate) mod fields;
mod observed;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use augur_domain::event_name;
use augur_domain::{ContentHash, Diagnostic, ValueType};

pub use check::{Checked, Refused};
pub use observed::{Observed, ObservedEvent, ObservedProperty};

use crate::schema::complaints::Complaints;

/// A property by which a sender tells the `schema_version` that it was written for; without it, the sender knows
/// version 1 only. It need not be declared.
pub const SCHEMA_VERSION_PROPERTY: &str = "schema_version";

/// What becomes of an event that is not declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownEvents {
    /// It is taken as it is.
    #[default]
    Accept,
    /// It is set aside.
    Quarantine,
    /// It is rejected and not kept.
    Reject,
}

/// What becomes of a property that its event does not declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownProperties {
    /// It is taken as it is.
    #[default]
    Accept,
    /// The event is taken without it.
    Drop,
    /// The event is set aside.
    Quarantine,
}

/// One declared event.
#[derive(Debug, Clone, PartialEq)]
pub struct DeclaredEvent {
    /// Canonical.
    pub name: Arc<str>,
    /// For people.
    pub description: String,
    /// Other names that mean it, folded, ascending.
    pub aliases: Vec<Arc<str>>,
    /// The newest version of its properties.
    pub schema_version: u32,
    /// Whether senders should stop sending it; it is taken and counted.
    pub deprecated: bool,
    /// What to send in place of a deprecated one.
    pub replaced_by: Option<Arc<str>>,
    /// Whether it may be taken back.
    pub retractable: bool,
    /// How long it is kept: a class of the configuration or a length of time; empty as any other event.
    pub retention: Arc<str>,
    /// By name, ascending.
    pub properties: Vec<Property>,
}

/// One declared property.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// Its name.
    pub name: Arc<str>,
    /// For people.
    pub description: String,
    /// What it holds. Timestamps and durations are kept as numbers of milliseconds.
    pub value_type: ValueType,
    /// Of what the number is, e.g. `EUR`; for people.
    pub unit: String,
    /// Least number.
    pub min: Option<f64>,
    /// Greatest number.
    pub max: Option<f64>,
    /// Longest text.
    pub max_bytes: Option<usize>,
    /// The only texts allowed, ascending; any when empty.
    pub one_of: Vec<Arc<str>>,
    /// Whether the event is useless without it.
    pub required: bool,
    /// Whether it is dropped before anything is stored.
    pub sensitive: bool,
    /// The schema version that brought it.
    pub added_in: u32,
    /// Whether senders should stop sending it; it is taken and counted.
    pub deprecated: bool,
    /// Names that it had before.
    pub renamed_from: Vec<Arc<str>>,
}

/// A checked taxonomy. Immutable.
#[derive(Debug, Clone, PartialEq)]
pub struct Taxonomy {
    unknown_events: UnknownEvents,
    unknown_properties: UnknownProperties,
    /// Sensitive wherever the event says nothing else: listed in the policy, or sensitive in some event.
    sensitive: BTreeSet<Arc<str>>,
    /// By name.
    events: BTreeMap<Arc<str>, DeclaredEvent>,
    /// From alias to name.
    aliases: BTreeMap<Arc<str>, Arc<str>>,
    hash: ContentHash,
}

impl Default for Taxonomy {
    fn default() -> Self {
        Self::untyped()
    }
}

impl Taxonomy {
    /// Declares nothing and accepts everything: what holds without a file.
    pub fn untyped() -> Self {
        Self::new(document::Document::default())
    }

    /// Reads `text`; `file` is what complaints call it.
    ///
    /// # Errors
    /// Everything that is wrong, with places, at most 100 complaints.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        let mut complaints = Complaints::new(file, text);
        let document = document::read(text, &mut complaints);
        if complaints.is_empty() { Ok(Self::new(document)) } else { Err(complaints.into_sorted()) }
    }

    fn new(document: document::Document) -> Self {
        let hash = document.hash();
        let document::Document { unknown_events, unknown_properties, sensitive, events } = document;
        let aliases = events
            .iter()
            .flat_map(|event| event.aliases.iter().map(|alias| (Arc::clone(alias), Arc::clone(&event.name))));
        let declared = events.iter().flat_map(|event| &event.properties);
        let declared = declared.filter(|property| property.sensitive).map(|property| {
            let names = std::iter::once(&property.name).chain(&property.renamed_from);
            names.cloned().collect::<Vec<_>>()
        });
        Self {
            unknown_events,
            unknown_properties,
            sensitive: sensitive.into_iter().chain(declared.flatten()).collect(),
            aliases: aliases.collect(),
            events: events.into_iter().map(|event| (Arc::clone(&event.name), event)).collect(),
            hash,
        }
    }

    /// Names everything that decides what is accepted and kept: all but descriptions.
    pub const fn hash(&self) -> ContentHash {
        self.hash
    }

    /// Every declared event, by name.
    pub fn events(&self) -> impl Iterator<Item = &DeclaredEvent> {
        self.events.values()
    }

    /// The event that `name` means: a canonical name, a declared alias, or any spelling of either.
    pub fn event(&self, name: &str) -> Option<&DeclaredEvent> {
        let name = event_name::canonical(name)?;
        self.events.get(&*name).or_else(|| self.events.get(self.aliases.get(&*name)?))
    }

    /// Whether an event that is not declared never gets as far as features.
    pub(crate) const fn refuses_unknown_events(&self) -> bool {
        !matches!(self.unknown_events, UnknownEvents::Accept)
    }

    /// Whether a property that its event does not declare never gets as far as features.
    pub(crate) const fn refuses_unknown_properties(&self) -> bool {
        !matches!(self.unknown_properties, UnknownProperties::Accept)
    }

    /// The declared properties of the event that `name` means, with their types, by name; `None` when it is not
    /// declared. Sensitive ones are left out: nothing that is stored has them.
    pub fn properties_of(&self, name: &str) -> Option<impl Iterator<Item = (&Arc<str>, ValueType)>> {
        let stored = self.event(name)?.properties.iter().filter(|property| !property.sensitive);
        Some(stored.map(|property| (&property.name, property.value_type)))
    }

    /// Names of events that may be retracted, ascending: those declared so; `None`, which is all, when nothing is
    /// declared.
    pub fn retractable(&self) -> Option<Vec<Arc<str>>> {
        let declared = self.events.values().filter(|event| event.retractable);
        (!self.events.is_empty()).then(|| declared.map(|event| Arc::clone(&event.name)).collect())
    }

    /// Whether any property is dropped anywhere.
    pub fn has_sensitive(&self) -> bool {
        !self.sensitive.is_empty()
    }

    /// Whether `property` of `event`, or of an event that is not declared, must not be stored anywhere. A name that is
    /// sensitive in one event is so in every event that does not declare it.
    pub fn is_sensitive(&self, event: Option<&DeclaredEvent>, property: &str) -> bool {
        match event.and_then(|event| event.property(property)) {
            Some(declared) => declared.sensitive,
            None => self.sensitive.contains(property),
        }
    }
}

impl DeclaredEvent {
    /// The property that has, or had, this name.
    pub fn property(&self, name: &str) -> Option<&Property> {
        let declared = self.properties.binary_search_by(|property| (*property.name).cmp(name)).ok();
        declared.and_then(|index| self.properties.get(index)).or_else(|| {
            self.properties.iter().find(|property| property.renamed_from.iter().any(|old| &**old == name))
        })
    }
}
