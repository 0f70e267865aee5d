//! The seam to the caller: names while compiling, values while evaluating, and the answer.
//!
//! Not here: how a caller numbers its slots or stores its values.

use augur_domain::ValueType;

/// Where a row keeps the value of a path. The caller's name table chooses the numbers; small and dense is fastest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// The paths an expression may read.
pub trait Names {
    /// The slot and type of a path such as `features.purchases_30d` or `now`, `None` if there is no such path.
    /// The same path must get the same answer while one expression compiles.
    fn lookup(&self, path: &str) -> Option<(Slot, ValueType)>;

    /// All paths, for suggestions in errors.
    fn known(&self) -> Vec<String>;

    /// The only texts `path` can hold, if that is known. A comparison with any other text is then refused, since
    /// it could never be true.
    fn allowed_texts(&self, path: &str) -> Option<Vec<String>> {
        let _ = path;
        None
    }
}

/// One value, borrowed from a row or from a compiled expression.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Operand<'a> {
    /// True or false.
    Boolean(bool),
    /// A finite double.
    Number(f64),
    /// UTF-8 text.
    Text(&'a str),
    /// Milliseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// A length of time in milliseconds.
    Duration(i64),
}

impl Operand<'_> {
    /// What kind of value this is.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Boolean(_) => ValueType::Boolean,
            Self::Number(_) => ValueType::Number,
            Self::Text(_) => ValueType::Text,
            Self::Timestamp(_) => ValueType::Timestamp,
            Self::Duration(_) => ValueType::Duration,
        }
    }
}

/// The values an expression reads.
pub trait Row {
    /// The value in `slot`, of the type the name table declared; `None` if it is missing.
    fn operand(&self, slot: Slot) -> Option<Operand<'_>>;
}

/// What an expression came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Evaluated<'a> {
    /// A value of the expected type; numbers are finite and never negative zero.
    Known(Operand<'a>),
    /// The answer hangs on a value that is missing: the first such slot in reading order.
    Missing(Slot),
    /// The operation has no result for these values, and why, e.g. `division by zero`.
    Undefined(&'static str),
}

impl Evaluated<'_> {
    /// The truth value, if it is known and is one. A rule fires on `Some(true)` alone.
    pub fn as_boolean(&self) -> Option<bool> {
        if let Self::Known(Operand::Boolean(boolean)) = self { Some(*boolean) } else { None }
    }

    /// The number, if it is known and is one.
    pub fn as_number(&self) -> Option<f64> {
        if let Self::Known(Operand::Number(number)) = self { Some(*number) } else { None }
    }
}
