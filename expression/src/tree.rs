//! The lowered expression: one enum per type, names resolved to slots, constants folded.
//!
//! A tree of this shape cannot be ill-typed, so evaluation has no types left to look at.
//! Not here: how it is built (`check`) and run (`evaluate`).

use augur_domain::ValueType;

use crate::Slot;
use crate::syntax::{Arithmetic, Comparison};

/// A lowered expression of any type.
#[derive(Debug, Clone)]
pub(crate) enum Tree {
    Boolean(Boolean),
    Number(Number),
    Text(Text),
    Timestamp(Millis),
    Duration(Millis),
}

#[derive(Debug, Clone)]
pub(crate) enum Boolean {
    Constant(bool),
    Read(Slot),
    Present(Slot),
    Not(Box<Self>),
    All(Box<[Self]>),
    Any(Box<[Self]>),
    /// The commonest term by far, `features.x > 3`, without a walk to its operands.
    SlotCompared {
        comparison: Comparison,
        slot: Slot,
        constant: f64,
    },
    NumbersCompared {
        comparison: Comparison,
        operands: Box<[Number; 2]>,
    },
    /// Two timestamps or two durations.
    MillisCompared {
        comparison: Comparison,
        operands: Box<[Millis; 2]>,
    },
    TextsEqual {
        wanted: bool,
        operands: Box<[Text; 2]>,
    },
    BooleansEqual {
        wanted: bool,
        operands: Box<[Self; 2]>,
    },
    /// The list ascends and has no doubles.
    NumberIn {
        value: Box<Number>,
        list: Box<[f64]>,
    },
    /// The list ascends and has no doubles.
    TextIn {
        value: Box<Text>,
        list: Box<[Box<str>]>,
    },
    Choose(Box<Choice<Self>>),
}

#[derive(Debug, Clone)]
pub(crate) enum Number {
    Constant(f64),
    Read(Slot),
    Arithmetic {
        operator: Arithmetic,
        operands: Box<[Self; 2]>,
    },
    Negate(Box<Self>),
    Absolute(Box<Self>),
    Least(Box<[Self; 2]>),
    Greatest(Box<[Self; 2]>),
    /// What a clock or calendar in a time zone shows at an instant.
    Local {
        part: LocalPart,
        at: Box<Millis>,
        zone: Box<Text>,
    },
    /// A duration's length in seconds.
    Seconds(Box<Millis>),
    Choose(Box<Choice<Self>>),
}

#[derive(Debug, Clone)]
pub(crate) enum Text {
    Constant(Box<str>),
    Read(Slot),
    Choose(Box<Choice<Self>>),
}

/// A timestamp or a duration, both whole milliseconds.
#[derive(Debug, Clone)]
pub(crate) enum Millis {
    Constant(i64),
    ReadTimestamp(Slot),
    ReadDuration(Slot),
    /// An instant moved by a length of time; the length may stand first if it moves forward.
    Moved {
        forward: bool,
        operands: Box<[Self; 2]>,
    },
    /// The sum or difference of two lengths, or the length between two instants.
    Length {
        plus: bool,
        operands: Box<[Self; 2]>,
    },
    Choose(Box<Choice<Self>>),
}

/// What is asked of a local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LocalPart {
    /// 0 to 23.
    Hour,
    /// 1 for Monday to 7 for Sunday.
    Weekday,
}

/// `condition ? then : otherwise`.
#[derive(Debug, Clone)]
pub(crate) struct Choice<T> {
    pub(crate) condition: Boolean,
    pub(crate) then: T,
    pub(crate) otherwise: T,
}

impl Tree {
    pub(crate) fn value_type(&self) -> ValueType {
        match self {
            Self::Boolean(_) => ValueType::Boolean,
            Self::Number(_) => ValueType::Number,
            Self::Text(_) => ValueType::Text,
            Self::Timestamp(_) => ValueType::Timestamp,
            Self::Duration(_) => ValueType::Duration,
        }
    }

    pub(crate) fn is_constant(&self) -> bool {
        match self {
            Self::Boolean(tree) => tree.is_constant(),
            Self::Number(tree) => tree.is_constant(),
            Self::Text(tree) => matches!(tree, Text::Constant(_)),
            Self::Timestamp(tree) | Self::Duration(tree) => tree.is_constant(),
        }
    }
}

impl Boolean {
    pub(crate) fn is_constant(&self) -> bool {
        matches!(self, Self::Constant(_))
    }
}

impl Number {
    pub(crate) fn is_constant(&self) -> bool {
        matches!(self, Self::Constant(_))
    }
}

impl Millis {
    pub(crate) fn is_constant(&self) -> bool {
        matches!(self, Self::Constant(_))
    }
}
