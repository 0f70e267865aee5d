//! A value that requests or people carry, as the policy declares it: its name, its type, the only texts it may hold.
//!
//! Not here: how declarations are read (`file::declared`), or names in expressions (`names`).

use std::sync::Arc;

use augur_domain::time::parse_duration_ms;
use augur_domain::{Timestamp, Value, ValueType};
use augur_expression::Operand;

use crate::file::{Complaints, parse};
use crate::source::{SourceFile, Sources};

/// One declared value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) name: Arc<str>,
    /// In expressions. Instants and lengths of time are carried as text.
    pub(crate) value_type: ValueType,
    /// The only texts that it may hold, in order, if they are declared.
    pub(crate) values: Option<Arc<[Arc<str>]>>,
}

/// The request-time values that a decision point of the policy in `text` declares, by name, with the types in which
/// requests carry them; `None` if there is no such point. For callers that have the text of a policy and not its features.
pub fn declared_context(text: &str, decision_point: &str) -> Option<Vec<(Arc<str>, ValueType)>> {
    let source = SourceFile { name: String::new(), text: text.to_owned() };
    let sources = Sources::from(&source);
    let policy = parse(sources, &mut Complaints::new(sources));
    let point = policy.points.iter().find(|point| point.name.value == decision_point)?;
    let declared = point.context.iter().map(|entry| {
        let name: Arc<str> = entry.name.value.as_str().into();
        let declared = Declared { name, value_type: entry.value_type, values: None };
        (Arc::clone(&declared.name), declared.carried_as())
    });
    Some(declared.collect())
}

impl Declared {
    /// The type in which it is carried.
    pub(crate) fn carried_as(&self) -> ValueType {
        match self.value_type {
            ValueType::Timestamp | ValueType::Duration => ValueType::Text,
            value_type => value_type,
        }
    }

    /// What `value` says in expressions; `None` if it does not fit the declaration.
    pub(crate) fn operand<'v>(&self, value: &'v Value) -> Option<Operand<'v>> {
        match (value, self.value_type) {
            (Value::Number(number), ValueType::Number) => Some(Operand::Number(number.get())),
            (Value::Boolean(boolean), ValueType::Boolean) => Some(Operand::Boolean(*boolean)),
            (Value::Text(text), ValueType::Text) => Some(Operand::Text(text)),
            (Value::Text(text), ValueType::Timestamp) => {
                Timestamp::parse_rfc3339(text).map(|instant| Operand::Timestamp(instant.unix_ms()))
            }
            (Value::Text(text), ValueType::Duration) => parse_duration_ms(text).ok().map(Operand::Duration),
            _ => None,
        }
    }

    /// What was expected in place of `value`, if it does not fit.
    pub(crate) fn unmet(&self, value: &Value) -> Option<String> {
        let Some(operand) = self.operand(value) else {
            return Some(match self.value_type {
                ValueType::Timestamp => "an instant such as `2026-11-30T18:00:00Z`".to_owned(),
                ValueType::Duration => "a length of time such as `90s`, `15m` or `7d`".to_owned(),
                value_type => format!("a {value_type}"),
            });
        };
        let (Operand::Text(text), Some(values)) = (operand, &self.values) else { return None };
        if values.iter().any(|known| **known == *text) {
            return None;
        }
        const SHOWN: usize = 12;
        let shown: Vec<&str> = values.iter().take(SHOWN).map(|value| &**value).collect();
        let more = if values.len() > SHOWN { ", .." } else { "" };
        let hint = crate::file::suggestion(text, values.iter().map(|value| &**value));
        let hint = if hint.is_empty() { hint } else { format!("; {hint}") };
        Some(format!("one of {}{more}{hint}", shown.join(", ")))
    }
}
