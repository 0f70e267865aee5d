//! Which events count: a condition over an event's name and properties, compiled once.
//!
//! Not here: the language (`augur_expression`), or where the types of properties are declared (`document`).

use std::sync::Arc;

use augur_domain::{Event, ValueType};
use augur_expression::{CompileError, Expression, Names, Operand, Row, Slot};

use super::computed::operand_of;

#[cfg(test)]
mod tests;

const EVENT_NAME: &str = "event.name";
const PROPERTIES: &str = "properties.";
/// Slot of the event's name; those of properties follow.
const EVENT_NAME_SLOT: Slot = Slot(0);

/// A condition on events. A property that is absent, or of another type than declared, is missing, and what hangs on
/// it does not hold.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    condition: Expression,
    properties: PropertyTypes,
}

/// Properties with their types, ascending by name.
pub(crate) type PropertyTypes = Arc<[(Arc<str>, ValueType)]>;

impl Filter {
    /// Compiles `source` over `properties` (ascending by name) and the names in `events` (empty: any).
    pub(crate) fn compile(
        source: &str,
        properties: PropertyTypes,
        events: &[Arc<str>],
    ) -> Result<Self, CompileError> {
        let names = EventNames { properties: &properties, events };
        let condition = Expression::compile(source, &names, ValueType::Boolean)?;
        Ok(Self { condition, properties })
    }

    pub(crate) fn holds(&self, event: &Event) -> bool {
        let row = EventRow { event, properties: &self.properties };
        self.condition.evaluate(&row).as_boolean() == Some(true)
    }

    pub(crate) fn source(&self) -> &str {
        self.condition.source()
    }

    /// The properties that the condition reads.
    pub(crate) fn reads(&self) -> impl Iterator<Item = &(Arc<str>, ValueType)> {
        let slots = self.condition.slots().iter();
        slots.filter_map(|slot| self.properties.get(usize::try_from(slot.0.checked_sub(1)?).ok()?))
    }
}

/// Equal sources over equal types are equal conditions.
impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.source() == other.source() && self.reads().eq(other.reads())
    }
}

struct EventNames<'a> {
    properties: &'a [(Arc<str>, ValueType)],
    events: &'a [Arc<str>],
}

impl Names for EventNames<'_> {
    fn lookup(&self, path: &str) -> Option<(Slot, ValueType)> {
        if path == EVENT_NAME {
            return Some((EVENT_NAME_SLOT, ValueType::Text));
        }
        let name = path.strip_prefix(PROPERTIES)?;
        let place = self.properties.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        let (_, value_type) = self.properties.get(place)?;
        Some((Slot(u32::try_from(place).ok()?.checked_add(1)?), *value_type))
    }

    fn known(&self) -> Vec<String> {
        let properties = self.properties.iter().map(|(name, _)| format!("{PROPERTIES}{name}"));
        properties.chain([EVENT_NAME.to_owned()]).collect()
    }

    fn allowed_texts(&self, path: &str) -> Option<Vec<String>> {
        let known = path == EVENT_NAME && !self.events.is_empty();
        known.then(|| self.events.iter().map(ToString::to_string).collect())
    }
}

struct EventRow<'a> {
    event: &'a Event,
    properties: &'a [(Arc<str>, ValueType)],
}

impl Row for EventRow<'_> {
    fn operand(&self, slot: Slot) -> Option<Operand<'_>> {
        let Some(index) = slot.0.checked_sub(1) else {
            return Some(Operand::Text(&self.event.name));
        };
        let (name, value_type) = self.properties.get(usize::try_from(index).ok()?)?;
        operand_of(self.event.property(name)?, *value_type)
    }
}
