//! One event against the taxonomy: renamed, typed, bounded and complete, or refused with a reason and a field.
//!
//! Pure, and idempotent: a checked event passes again unchanged. Not here: what is done with the refused ones.

use std::sync::Arc;

use augur_domain::event::{EventKind, Quarantine, QuarantineReason};
use augur_domain::time::parse_duration_ms;
use augur_domain::value::Finite;
use augur_domain::{Event, Timestamp, Value, ValueType};

use super::{DeclaredEvent, Property, SCHEMA_VERSION_PROPERTY, Taxonomy, UnknownEvents, UnknownProperties};

/// Longest value quoted in a reason, in characters.
const MAX_QUOTED: usize = 80;

/// An event that fits.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// Under its canonical name, its properties under theirs, ascending.
    pub event: Event,
    /// Whether the event, or a property on it, is deprecated.
    pub deprecated: bool,
    /// Properties left out because they are sensitive.
    pub sensitive_dropped: u32,
    /// Properties left out because they are not declared.
    pub unknown_dropped: u32,
}

/// An event that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub why: Quarantine,
    /// Whether it is not to be kept.
    pub reject: bool,
}

impl Taxonomy {
    /// Makes an event what its declaration says. Links and retractions declare nothing and pass.
    ///
    /// # Errors
    /// The first thing that does not fit, with the property's path.
    pub fn check(&self, event: Event) -> Result<Checked, Refused> {
        let mut checked = Checked { event, deprecated: false, sensitive_dropped: 0, unknown_dropped: 0 };
        if self.events.is_empty() && self.sensitive.is_empty() && self.unknown_events == UnknownEvents::Accept
            || matches!(checked.event.kind, EventKind::Alias | EventKind::Retract)
        {
            return Ok(checked);
        }
        if let Some(name) = self.aliases.get(&checked.event.name) {
            checked.event.name = Arc::clone(name);
        }
        match self.events.get(&checked.event.name) {
            Some(declared) => self.fit(declared, checked),
            None => self.unknown(checked),
        }
    }

    fn unknown(&self, mut checked: Checked) -> Result<Checked, Refused> {
        if self.unknown_events != UnknownEvents::Accept {
            let why = refuse(
                QuarantineReason::UnknownEvent,
                "event",
                format!("`{}` is not declared", quoted(&checked.event.name)),
                "an event of the taxonomy",
            );
            return Err(Refused { why, reject: self.unknown_events == UnknownEvents::Reject });
        }
        let before = checked.event.properties.len();
        checked.event.properties.retain(|(name, _)| !self.is_sensitive(None, name));
        checked.sensitive_dropped = count(before - checked.event.properties.len());
        Ok(checked)
    }

    fn fit(&self, declared: &DeclaredEvent, mut checked: Checked) -> Result<Checked, Refused> {
        let given = std::mem::take(&mut checked.event.properties);
        let sender_version = sender_version(&given);
        let mut kept: Vec<(Arc<str>, Value)> = Vec::with_capacity(given.len());
        checked.deprecated = declared.deprecated;
        for (name, value) in &given {
            if self.is_sensitive(Some(declared), name) {
                checked.sensitive_dropped += 1;
                continue;
            }
            match declared.property(name) {
                Some(property) => {
                    // The name of today wins over one of the past, and a later one of the past over an earlier one.
                    let better = better_named(property, name, &given);
                    if !better {
                        checked.deprecated |= property.deprecated;
                        let value = property.fit(value).map_err(kept_aside)?;
                        kept.push((Arc::clone(&property.name), value));
                    }
                }
                None if self.takes(name, value, &mut checked).map_err(kept_aside)? => {
                    kept.push((Arc::clone(name), value.clone()));
                }
                None => {}
            }
        }
        kept.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
        missing(declared, &kept, sender_version).map_or(Ok(()), |why| Err(kept_aside(why)))?;
        checked.event.properties = kept;
        Ok(checked)
    }

    /// Whether a property that is not declared is kept.
    fn takes(&self, name: &str, value: &Value, checked: &mut Checked) -> Result<bool, Quarantine> {
        let tells_version = name == SCHEMA_VERSION_PROPERTY && value.as_number().is_some();
        match self.unknown_properties {
            UnknownProperties::Accept => Ok(true),
            _ if tells_version => Ok(true),
            UnknownProperties::Drop => {
                checked.unknown_dropped += 1;
                Ok(false)
            }
            UnknownProperties::Quarantine => Err(refuse(
                QuarantineReason::UnknownProperty,
                &path(name),
                format!("`{}` declares no such property", checked.event.name),
                "a property of the taxonomy",
            )),
        }
    }
}

impl Property {
    fn fit(&self, value: &Value) -> Result<Value, Quarantine> {
        let fitted = match (self.value_type, value) {
            (ValueType::Number, Value::Number(number)) => {
                self.check_number(number.get())?;
                Some(value.clone())
            }
            (ValueType::Text, Value::Text(text)) => {
                self.check_text(text)?;
                Some(value.clone())
            }
            (ValueType::Boolean, Value::Boolean(_)) => Some(value.clone()),
            (ValueType::Timestamp, Value::Number(number)) => {
                let instant = whole(number.get()).map(Timestamp::from_unix_ms);
                instant.and_then(|instant| milliseconds(instant.unix_ms())).filter(|kept| kept == value)
            }
            (ValueType::Timestamp, Value::Text(text)) => {
                Timestamp::parse_rfc3339(text).and_then(|instant| milliseconds(instant.unix_ms()))
            }
            (ValueType::Duration, Value::Number(number)) => {
                whole(number.get()).filter(|length_ms| *length_ms >= 0).map(|_| value.clone())
            }
            (ValueType::Duration, Value::Text(text)) => parse_duration_ms(text).ok().and_then(milliseconds),
            _ => None,
        };
        fitted.ok_or_else(|| {
            let problem = format!("{} is {}", shown(value), value.value_type());
            refuse(QuarantineReason::WrongType, &path(&self.name), problem, expected(self.value_type))
        })
    }

    fn check_number(&self, number: f64) -> Result<(), Quarantine> {
        let too_small = self.min.is_some_and(|min| number < min);
        let too_large = self.max.is_some_and(|max| number > max);
        if !too_small && !too_large {
            return Ok(());
        }
        let expected = match (self.min, self.max) {
            (Some(min), Some(max)) => format!("{min} to {max}"),
            (Some(min), None) => format!("at least {min}"),
            (_, Some(max)) => format!("at most {max}"),
            (None, None) => String::new(),
        };
        let expected = format!("{expected} {}", self.unit);
        Err(refuse(QuarantineReason::OutOfBounds, &path(&self.name), number.to_string(), expected.trim_end()))
    }

    fn check_text(&self, text: &str) -> Result<(), Quarantine> {
        let out = |problem, expected: &str| {
            Err(refuse(QuarantineReason::OutOfBounds, &path(&self.name), problem, expected))
        };
        if let Some(most) = self.max_bytes
            && text.len() > most
        {
            return out(format!("a text of {} bytes", text.len()), &format!("at most {most}"));
        }
        if !self.one_of.is_empty() && self.one_of.binary_search_by(|choice| (**choice).cmp(text)).is_err() {
            let few: Vec<&str> = self.one_of.iter().take(10).map(|choice| &**choice).collect();
            let more = if self.one_of.len() > few.len() { ", .." } else { "" };
            return out(format!("`{}`", quoted(text)), &format!("one of {}{more}", few.join(", ")));
        }
        Ok(())
    }
}

/// Whether the event carries the same property under a name that comes before `name`.
fn better_named(property: &Property, name: &str, given: &[(Arc<str>, Value)]) -> bool {
    let names = std::iter::once(&property.name).chain(&property.renamed_from);
    let mut before = names.take_while(|known| &***known != name);
    before.any(|known| given.binary_search_by(|(name, _)| name.cmp(known)).is_ok())
}

fn sender_version(given: &[(Arc<str>, Value)]) -> f64 {
    let told = given.binary_search_by(|(name, _)| (**name).cmp(SCHEMA_VERSION_PROPERTY)).ok();
    let told = told.and_then(|index| given.get(index)).and_then(|(_, value)| value.as_number());
    told.unwrap_or(1.0)
}

/// A property that must be there and is not. Senders of an older version cannot know it.
fn missing(declared: &DeclaredEvent, kept: &[(Arc<str>, Value)], sender_version: f64) -> Option<Quarantine> {
    let required = declared.properties.iter().filter(|property| property.required);
    let mut known = required.filter(|property| f64::from(property.added_in) <= sender_version);
    let property =
        known.find(|property| kept.binary_search_by(|(name, _)| name.cmp(&property.name)).is_err())?;
    Some(refuse(
        QuarantineReason::MissingField,
        &path(&property.name),
        format!("`{}` is missing", property.name),
        expected(property.value_type),
    ))
}

const fn kept_aside(why: Quarantine) -> Refused {
    Refused { why, reject: false }
}

fn refuse(
    reason: QuarantineReason,
    field: &str,
    problem: impl std::fmt::Display,
    expected: impl std::fmt::Display,
) -> Quarantine {
    Quarantine { reason, field: field.to_owned(), detail: format!("{problem}; expected {expected}") }
}

fn path(property: &str) -> String {
    format!("properties.{property}")
}

/// `number` without a fraction, if it has none and is exact.
fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (number.trunc().to_bits() == number.to_bits() && number.abs() <= EXACT).then_some(number as i64)
}

fn milliseconds(ms: i64) -> Option<Value> {
    Finite::new(ms as f64).map(Value::Number)
}

const fn expected(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Boolean => "true or false",
        ValueType::Number => "a number",
        ValueType::Text => "text",
        ValueType::Timestamp => "an instant as RFC 3339, or whole milliseconds since 1970",
        ValueType::Duration => "a length of time like `30s`, or whole milliseconds",
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Boolean(boolean) => boolean.to_string(),
        Value::Number(number) => number.get().to_string(),
        Value::Text(text) => format!("`{}`", quoted(text)),
    }
}

fn quoted(text: &str) -> String {
    text.chars().take(MAX_QUOTED).collect()
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
