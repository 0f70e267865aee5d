//! When a condition can be true, as far as its comparisons tell: for checks of whole policies, never for deciding.
//!
//! A condition becomes a list of cases; it is true in one of them or never. A case says of each slot which values it may
//! have. What is not understood (arithmetic, comparisons of two names, choices) is left out of a case, which is then not
//! exact: it may hold more often than the condition does. So "never true" and "true only when that one is" are sure, and
//! their contraries are not. Missing values need no cases of their own: whatever a case says of a slot's value, the slot
//! has one. Not here: evaluation (`evaluate`).

mod allowed;
mod outside;

use std::collections::{BTreeMap, BTreeSet};

use allowed::{Allowed, Range};
pub use outside::{Covered, Domain, Example, Outside};

use crate::syntax::Comparison;
use crate::tree::{Boolean, Millis, Number, Text, Tree};
use crate::{Expression, Slot};

/// Cases of one condition; one with more is taken for a single case that says nothing.
const MAX_CASES: usize = 64;

/// One way for a condition to be true.
#[derive(Debug, Clone, PartialEq, Default)]
struct Case {
    allowed: BTreeMap<Slot, Allowed>,
    /// Whether the condition is surely true in it.
    is_exact: bool,
}

impl Case {
    fn of(slot: Slot, allowed: Allowed) -> Self {
        Self { allowed: BTreeMap::from([(slot, allowed)]), is_exact: true }
    }

    /// Says nothing: the condition may be true, or not.
    fn unknown() -> Self {
        Self { allowed: BTreeMap::new(), is_exact: false }
    }

    fn and(&self, other: &Self) -> Option<Self> {
        let mut both = self.clone();
        both.is_exact &= other.is_exact;
        for (slot, allowed) in &other.allowed {
            let joined = match both.allowed.get(slot) {
                Some(known) => known.and(allowed)?,
                None => allowed.clone(),
            };
            both.allowed.insert(*slot, joined);
        }
        Some(both)
    }

    /// Whether `other` surely holds wherever this does.
    fn is_within(&self, other: &Self) -> bool {
        let within = |(slot, wanted): (&Slot, &Allowed)| {
            self.allowed.get(slot).is_some_and(|allowed| allowed.is_within(wanted))
        };
        other.is_exact && other.allowed.iter().all(within)
    }
}

/// When a condition can be true.
#[derive(Debug, Clone, PartialEq)]
pub struct Cases {
    list: Vec<Case>,
}

impl Cases {
    /// Of `condition`; of an expression of another type, any time.
    pub fn of(condition: &Expression) -> Self {
        match &condition.tree {
            Tree::Boolean(tree) => Self::of_tree(tree, true),
            _ => Self::unknown(),
        }
    }

    /// Whether it is never true, whatever the values.
    pub fn is_never(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether it is true whatever the values, missing ones too.
    pub fn is_always(&self) -> bool {
        self.list.iter().any(|case| case.is_exact && case.allowed.is_empty())
    }

    /// Whether it is surely true only where `other` is true, too.
    pub fn is_within(&self, other: &Self) -> bool {
        self.list.iter().all(|case| other.list.iter().any(|wider| case.is_within(wider)))
    }

    /// When this and `other` can be true at once.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let pairs = self.list.iter().flat_map(|one| other.list.iter().filter_map(|two| one.and(two)));
        Self::bounded(pairs.collect())
    }

    /// The same where no value of `slot` is above `most`.
    #[must_use]
    pub fn at_most(&self, slot: Slot, most: f64) -> Self {
        let allowed = |case: &Case| match case.allowed.get(&slot) {
            None | Some(Allowed::Missing) => Some(case.clone()),
            Some(_) => {
                let bound = Range { high: most, ..Range::ALL };
                case.and(&Case::of(slot, Allowed::Range(bound)))
            }
        };
        Self { list: self.list.iter().filter_map(allowed).collect() }
    }

    fn unknown() -> Self {
        Self { list: vec![Case::unknown()] }
    }

    fn bounded(list: Vec<Case>) -> Self {
        if list.len() > MAX_CASES { Self::unknown() } else { Self { list } }
    }

    fn any(parts: impl Iterator<Item = Self>) -> Self {
        Self::bounded(parts.flat_map(|part| part.list).take(MAX_CASES + 1).collect())
    }

    fn all(parts: impl Iterator<Item = Self>) -> Self {
        let always = Self { list: vec![Case { allowed: BTreeMap::new(), is_exact: true }] };
        parts.fold(always, |all, part| all.and(&part))
    }

    /// When `tree` comes to `wanted`.
    fn of_tree(tree: &Boolean, wanted: bool) -> Self {
        match tree {
            Boolean::Constant(constant) if *constant == wanted => Self::all(std::iter::empty()),
            Boolean::Constant(_) => Self { list: Vec::new() },
            Boolean::Read(slot) => Self::one(*slot, Allowed::Boolean(wanted)),
            Boolean::Present(slot) => {
                Self::one(*slot, if wanted { Allowed::Present } else { Allowed::Missing })
            }
            Boolean::Not(operand) => Self::of_tree(operand, !wanted),
            Boolean::All(terms) if wanted => Self::all(terms.iter().map(|term| Self::of_tree(term, true))),
            Boolean::All(terms) => Self::any(terms.iter().map(|term| Self::of_tree(term, false))),
            Boolean::Any(terms) if wanted => Self::any(terms.iter().map(|term| Self::of_tree(term, true))),
            Boolean::Any(terms) => Self::all(terms.iter().map(|term| Self::of_tree(term, false))),
            Boolean::SlotCompared { comparison, slot, constant } => {
                Self::compared(*slot, turned(*comparison, wanted), *constant)
            }
            Boolean::NumbersCompared { comparison, operands } => match &**operands {
                [Number::Read(slot), Number::Constant(constant)] => {
                    Self::compared(*slot, turned(*comparison, wanted), *constant)
                }
                [Number::Constant(constant), Number::Read(slot)] => {
                    Self::compared(*slot, turned(comparison.flipped(), wanted), *constant)
                }
                _ => Self::unknown(),
            },
            Boolean::MillisCompared { comparison, operands } => match &**operands {
                [Millis::ReadTimestamp(slot) | Millis::ReadDuration(slot), Millis::Constant(constant)] => {
                    Self::compared(*slot, turned(*comparison, wanted), *constant as f64)
                }
                [Millis::Constant(constant), Millis::ReadTimestamp(slot) | Millis::ReadDuration(slot)] => {
                    Self::compared(*slot, turned(comparison.flipped(), wanted), *constant as f64)
                }
                _ => Self::unknown(),
            },
            Boolean::TextsEqual { wanted: equal, operands } => match &**operands {
                [Text::Read(slot), Text::Constant(text)] | [Text::Constant(text), Text::Read(slot)] => {
                    Self::text(*slot, BTreeSet::from([text.clone()]), *equal == wanted)
                }
                _ => Self::unknown(),
            },
            Boolean::BooleansEqual { wanted: equal, operands } => match &**operands {
                [Boolean::Constant(constant), other] | [other, Boolean::Constant(constant)] => {
                    Self::of_tree(other, (*constant == *equal) == wanted)
                }
                _ => Self::unknown(),
            },
            Boolean::NumberIn { value, list } => match (&**value, wanted) {
                (Number::Read(slot), true) => Self::any(
                    list.iter().map(|number| Self::one(*slot, Allowed::Range(Range::only(*number)))),
                ),
                (Number::Read(slot), false) => {
                    Self::all(list.iter().map(|number| Self::compared(*slot, Comparison::NotEqual, *number)))
                }
                _ => Self::unknown(),
            },
            Boolean::TextIn { value, list } => match &**value {
                Text::Read(slot) => Self::text(*slot, list.iter().cloned().collect(), wanted),
                _ => Self::unknown(),
            },
            Boolean::Choose(_) => Self::unknown(),
        }
    }

    fn one(slot: Slot, allowed: Allowed) -> Self {
        Self { list: vec![Case::of(slot, allowed)] }
    }

    fn compared(slot: Slot, comparison: Comparison, constant: f64) -> Self {
        let ranges = Range::of(comparison, constant).into_iter();
        Self { list: ranges.map(|range| Case::of(slot, Allowed::Range(range))).collect() }
    }

    fn text(slot: Slot, texts: BTreeSet<Box<str>>, is_in: bool) -> Self {
        Self::one(slot, if is_in { Allowed::OneOf(texts) } else { Allowed::NoneOf(texts) })
    }
}

/// The comparison that is true exactly when `comparison` comes to `wanted`.
const fn turned(comparison: Comparison, wanted: bool) -> Comparison {
    if wanted {
        return comparison;
    }
    match comparison {
        Comparison::Equal => Comparison::NotEqual,
        Comparison::NotEqual => Comparison::Equal,
        Comparison::Less => Comparison::GreaterOrEqual,
        Comparison::LessOrEqual => Comparison::Greater,
        Comparison::Greater => Comparison::LessOrEqual,
        Comparison::GreaterOrEqual => Comparison::Less,
    }
}
