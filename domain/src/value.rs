//! Typed values: what a property, a context field or an expression may hold.
//!
//! Not here: conversion from wire types (`proto`) or operations on values (`expression`).

use std::fmt;
use std::sync::Arc;

/// A finite `f64`. NaN and infinities are stopped at the edge, so nothing behind it need think of them.
#[derive(Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Finite(f64);

impl Finite {
    /// `Some` when `value` is neither NaN nor infinite. Negative zero becomes zero, so equal numbers have equal
    /// bits.
    pub fn new(value: f64) -> Option<Self> {
        value.is_finite().then_some(Self(value + 0.0))
    }

    /// The number.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Debug for Finite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

/// A value as it came in with an event or a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// True or false.
    Boolean(bool),
    /// Any number; integers are exact up to 2^53.
    Number(Finite),
    /// UTF-8 text.
    Text(Arc<str>),
}

impl Value {
    /// The number inside, if it is one.
    pub fn as_number(&self) -> Option<f64> {
        if let Self::Number(number) = self { Some(number.get()) } else { None }
    }

    /// The text inside, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// What kind of value this is.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Boolean(_) => ValueType::Boolean,
            Self::Number(_) => ValueType::Number,
            Self::Text(_) => ValueType::Text,
        }
    }
}

/// The types of the expression language, of features and of declared context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueType {
    /// True or false.
    Boolean,
    /// A double.
    Number,
    /// Text.
    Text,
    /// An instant, milliseconds since the epoch.
    Timestamp,
    /// A length of time in milliseconds.
    Duration,
}

impl fmt::Display for ValueType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Boolean => "boolean",
            Self::Number => "number",
            Self::Text => "text",
            Self::Timestamp => "timestamp",
            Self::Duration => "duration",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finite_refuses_nan_and_infinity_and_folds_zero() {
        assert!(Finite::new(f64::NAN).is_none());
        assert!(Finite::new(f64::INFINITY).is_none());
        assert_eq!(Finite::new(-0.0).unwrap().get().to_bits(), 0);
    }
}
