//! Values and subjects.
//!
//! Not here: which names a request may use; that is the policy's and the schema's business.

use std::collections::BTreeMap;
use std::sync::Arc;

use augur_domain::Value;
use augur_domain::event::{MAX_ID_BYTES, MAX_PROPERTIES, MAX_PROPERTY_NAME_BYTES, MAX_TEXT_BYTES};
use augur_domain::ids::Subject;
use augur_domain::value::Finite;

use super::FieldError;
use crate::v1;

/// Integers beyond this magnitude would round when held as a double.
const MAX_EXACT_INTEGER: u64 = 1 << 53;

/// What kind of limit or rule a value broke: the caller turns it into a status or a quarantine reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Longer or more than allowed.
    TooLarge,
    /// Of a kind or range that cannot be used.
    Invalid,
}

/// A value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueError {
    /// The kind of rule that it broke.
    pub fault: Fault,
    /// Where, what and what was expected.
    pub error: FieldError,
}

impl ValueError {
    fn new(
        fault: Fault,
        field: impl Into<String>,
        problem: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self { fault, error: FieldError::new(field, problem, expected) }
    }
}

/// Names with their values, ordered by name, each name once.
pub type NamedValues = Vec<(Arc<str>, Value)>;

/// Reads one value.
///
/// # Errors
/// When no kind is set, a number is NaN or infinite, an integer is beyond 2^53, or a text is too long.
pub fn value_from_wire(wire: v1::Value, field: &str) -> Result<Value, ValueError> {
    use v1::value::Kind;
    let invalid = |problem: String, expected: &str| ValueError::new(Fault::Invalid, field, problem, expected);
    match wire.kind {
        Some(Kind::Boolean(boolean)) => Ok(Value::Boolean(boolean)),
        Some(Kind::Number(number)) => Finite::new(number)
            .map(Value::Number)
            .ok_or_else(|| invalid(format!("{number} cannot be counted"), "a finite number")),
        Some(Kind::Integer(integer)) => Some(integer)
            .filter(|integer| integer.unsigned_abs() <= MAX_EXACT_INTEGER)
            .and_then(|integer| Finite::new(integer as f64))
            .map(Value::Number)
            .ok_or_else(|| {
                invalid(format!("{integer} does not fit a double"), "an integer within ±2^53, or a text")
            }),
        Some(Kind::Text(text)) if text.len() > MAX_TEXT_BYTES => {
            let problem = format!("{} bytes of text", text.len());
            Err(ValueError::new(Fault::TooLarge, field, problem, format!("at most {MAX_TEXT_BYTES} bytes")))
        }
        Some(Kind::Text(text)) => Ok(Value::Text(text.into())),
        None => Err(invalid("a value with no kind set".into(), "one of boolean, number, integer, text")),
    }
}

/// Reads a map of values, ordered by name. `prefix` is the map's own path.
///
/// # Errors
/// When there are more than 128 entries, a name is empty or too long, or a value cannot be read.
pub fn values_from_wire(wire: BTreeMap<String, v1::Value>, prefix: &str) -> Result<NamedValues, ValueError> {
    if wire.len() > MAX_PROPERTIES {
        let problem = format!("{} entries", wire.len());
        return Err(ValueError::new(Fault::TooLarge, prefix, problem, format!("at most {MAX_PROPERTIES}")));
    }
    wire.into_iter()
        .map(|(name, value)| {
            if name.is_empty() || name.len() > MAX_PROPERTY_NAME_BYTES {
                let problem = format!("a name of {} bytes", name.len());
                let expected = format!("1 to {MAX_PROPERTY_NAME_BYTES} bytes");
                return Err(ValueError::new(Fault::TooLarge, prefix, problem, expected));
            }
            let value = value_from_wire(value, &format!("{prefix}.{name}"))?;
            Ok((name.into(), value))
        })
        .collect()
}

/// The wire form of a value.
pub fn value_to_wire(value: &Value) -> v1::Value {
    use v1::value::Kind;
    let kind = match value {
        Value::Boolean(boolean) => Kind::Boolean(*boolean),
        Value::Number(number) => Kind::Number(number.get()),
        Value::Text(text) => Kind::Text(text.to_string()),
    };
    v1::Value { kind: Some(kind) }
}

/// Reads whom a request is about.
///
/// # Errors
/// When neither id is set, or the one that is set is empty or longer than 256 bytes.
pub fn subject_from_wire<'a>(wire: Option<&'a v1::Subject>, field: &str) -> Result<Subject<'a>, FieldError> {
    use v1::subject::Id;
    let (id, name, subject) = match wire.and_then(|subject| subject.id.as_ref()) {
        Some(Id::UserId(id)) => (id, "user_id", Subject::User(id)),
        Some(Id::AnonymousId(id)) => (id, "anonymous_id", Subject::Anonymous(id)),
        None => return Err(FieldError::new(field, "nobody is named", "one of user_id, anonymous_id")),
    };
    if id.is_empty() || id.len() > MAX_ID_BYTES {
        let problem = format!("an id of {} bytes", id.len());
        return Err(FieldError::new(
            format!("{field}.{name}"),
            problem,
            format!("1 to {MAX_ID_BYTES} bytes"),
        ));
    }
    Ok(subject)
}

#[cfg(test)]
mod tests {
    use super::*;
    use v1::value::Kind;

    fn wire(kind: Kind) -> v1::Value {
        v1::Value { kind: Some(kind) }
    }

    #[test]
    fn bad_values_name_field_value_and_expectation() {
        for (value, fault, part) in [
            (wire(Kind::Number(f64::NAN)), Fault::Invalid, "NaN cannot be counted"),
            (wire(Kind::Number(f64::NEG_INFINITY)), Fault::Invalid, "-inf cannot be counted"),
            (wire(Kind::Integer(i64::MIN)), Fault::Invalid, "does not fit a double"),
            (wire(Kind::Text("x".repeat(8_193))), Fault::TooLarge, "8193 bytes of text"),
            (v1::Value { kind: None }, Fault::Invalid, "no kind set"),
        ] {
            let ValueError { fault: found, error } = value_from_wire(value, "properties.price").unwrap_err();
            assert_eq!(found, fault);
            assert!(error.to_string().starts_with("properties.price: "), "{error}");
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn integers_are_numbers() {
        let value = value_from_wire(wire(Kind::Integer(1 << 53)), "x").unwrap();
        assert_eq!(value.as_number(), Some(9_007_199_254_740_992.0));
        assert_eq!(value_to_wire(&value), wire(Kind::Number(9_007_199_254_740_992.0)));
    }

    #[test]
    fn too_many_entries_are_refused() {
        let many = (0..129).map(|i| (i.to_string(), wire(Kind::Boolean(true)))).collect();
        let ValueError { fault, error } = values_from_wire(many, "properties").unwrap_err();
        assert_eq!(fault, Fault::TooLarge);
        assert_eq!(error.to_string(), "properties: 129 entries; expected at most 128");
    }

    #[test]
    fn subjects_need_an_id() {
        assert!(subject_from_wire(None, "subject").is_err());
        let empty = v1::Subject { id: Some(v1::subject::Id::UserId(String::new())) };
        let error = subject_from_wire(Some(&empty), "subject").unwrap_err();
        assert_eq!(error.to_string(), "subject.user_id: an id of 0 bytes; expected 1 to 256 bytes");
    }
}
