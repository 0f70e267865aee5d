//! Which values one slot may have: sets that can be joined, compared and turned round.
//!
//! Not here: conditions over several slots (the module above).

use std::collections::BTreeSet;

use crate::syntax::Comparison;

/// Values that a slot may have.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Allowed {
    /// Any value.
    Present,
    /// None at all.
    Missing,
    Boolean(bool),
    /// A number, or an instant or a length in milliseconds.
    Range(Range),
    OneOf(BTreeSet<Box<str>>),
    NoneOf(BTreeSet<Box<str>>),
}

/// An interval of numbers. Ends may be infinite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    pub(super) low: f64,
    pub(super) low_is_in: bool,
    pub(super) high: f64,
    pub(super) high_is_in: bool,
}

impl Range {
    pub(super) const ALL: Self =
        Self { low: f64::NEG_INFINITY, low_is_in: true, high: f64::INFINITY, high_is_in: true };

    /// The numbers of which `comparison` with `constant` is true; two intervals for `!=`.
    pub(super) fn of(comparison: Comparison, constant: f64) -> Vec<Self> {
        let below = |high_is_in| Self { high: constant, high_is_in, ..Self::ALL };
        let above = |low_is_in| Self { low: constant, low_is_in, ..Self::ALL };
        match comparison {
            Comparison::Less => vec![below(false)],
            Comparison::LessOrEqual => vec![below(true)],
            Comparison::Greater => vec![above(false)],
            Comparison::GreaterOrEqual => vec![above(true)],
            Comparison::Equal => vec![Self::only(constant)],
            Comparison::NotEqual => vec![below(false), above(false)],
        }
    }

    pub(super) fn only(constant: f64) -> Self {
        Self { low: constant, low_is_in: true, high: constant, high_is_in: true }
    }

    pub(super) fn is_empty(self) -> bool {
        match self.low.total_cmp(&self.high) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => !(self.low_is_in && self.high_is_in),
            std::cmp::Ordering::Greater => true,
        }
    }

    pub(super) fn and(self, other: Self) -> Self {
        let (low, low_is_in) = match self.low.total_cmp(&other.low) {
            std::cmp::Ordering::Less => (other.low, other.low_is_in),
            std::cmp::Ordering::Equal => (self.low, self.low_is_in && other.low_is_in),
            std::cmp::Ordering::Greater => (self.low, self.low_is_in),
        };
        let (high, high_is_in) = match self.high.total_cmp(&other.high) {
            std::cmp::Ordering::Less => (self.high, self.high_is_in),
            std::cmp::Ordering::Equal => (self.high, self.high_is_in && other.high_is_in),
            std::cmp::Ordering::Greater => (other.high, other.high_is_in),
        };
        Self { low, low_is_in, high, high_is_in }
    }

    /// The numbers above and below.
    fn others(self) -> Vec<Self> {
        let above = Self { low: self.high, low_is_in: !self.high_is_in, ..Self::ALL };
        let below = Self { high: self.low, high_is_in: !self.low_is_in, ..Self::ALL };
        let mut others = Vec::new();
        if self.high.is_finite() {
            others.push(above);
        }
        if self.low.is_finite() {
            others.push(below);
        }
        others
    }

    fn has(self, number: f64) -> bool {
        let above = if self.low_is_in { number >= self.low } else { number > self.low };
        above && if self.high_is_in { number <= self.high } else { number < self.high }
    }

    /// A plain number in it: zero, an end, the next whole number, or the middle; if it must be whole, `None` when there is
    /// none.
    pub(super) fn example(self, is_whole: bool) -> Option<f64> {
        let middle = self.low / 2.0 + self.high / 2.0;
        let wanted = [
            0.0,
            self.low,
            self.low.ceil(),
            self.low.floor() + 1.0,
            self.high,
            self.high.ceil() - 1.0,
            middle,
        ];
        let fits =
            |number: &f64| number.is_finite() && self.has(*number) && (!is_whole || number.fract() == 0.0);
        wanted.into_iter().find(fits).map(|number| number + 0.0)
    }
}

impl Allowed {
    /// What both allow; `None` if that is nothing.
    pub(super) fn and(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Missing, Self::Missing) => Some(Self::Missing),
            (Self::Missing, _) | (_, Self::Missing) => None,
            (Self::Present, other) | (other, Self::Present) => Some(other.clone()),
            (Self::Boolean(one), Self::Boolean(two)) => (one == two).then_some(Self::Boolean(*one)),
            (Self::Range(one), Self::Range(two)) => {
                let both = one.and(*two);
                (!both.is_empty()).then_some(Self::Range(both))
            }
            (Self::OneOf(one), Self::OneOf(two)) => Self::one_of(one.intersection(two).cloned().collect()),
            (Self::OneOf(listed), Self::NoneOf(barred)) | (Self::NoneOf(barred), Self::OneOf(listed)) => {
                Self::one_of(listed.difference(barred).cloned().collect())
            }
            (Self::NoneOf(one), Self::NoneOf(two)) => Some(Self::NoneOf(one.union(two).cloned().collect())),
            // A slot has one type, so this does not happen.
            _ => Some(self.clone()),
        }
    }

    pub(super) fn one_of(texts: BTreeSet<Box<str>>) -> Option<Self> {
        (!texts.is_empty()).then_some(Self::OneOf(texts))
    }

    /// Whether every value that this allows is allowed by `other`, too.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Missing, Self::Missing) => true,
            (Self::Missing, _) | (_, Self::Missing) => false,
            (_, Self::Present) => true,
            (Self::Present, _) => false,
            (Self::Boolean(one), Self::Boolean(two)) => one == two,
            (Self::Range(one), Self::Range(two)) => one.and(*two) == *one,
            (Self::OneOf(one), Self::OneOf(two)) | (Self::NoneOf(two), Self::NoneOf(one)) => {
                one.is_subset(two)
            }
            (Self::OneOf(listed), Self::NoneOf(barred)) => listed.is_disjoint(barred),
            _ => false,
        }
    }

    /// Whether some value is allowed by both.
    pub(super) fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Missing, Self::Missing) => true,
            (Self::Missing, _) | (_, Self::Missing) => false,
            (Self::Boolean(one), Self::Boolean(two)) => one == two,
            (Self::Range(one), Self::Range(two)) => !one.and(*two).is_empty(),
            (Self::OneOf(one), Self::OneOf(two)) => !one.is_disjoint(two),
            (Self::OneOf(listed), Self::NoneOf(barred)) | (Self::NoneOf(barred), Self::OneOf(listed)) => {
                !listed.is_subset(barred)
            }
            _ => true,
        }
    }

    /// Everything that this does not allow, in parts that share nothing. Of numbers those above come first.
    pub(super) fn others(&self) -> Vec<Self> {
        let mut others = match self {
            Self::Missing => return vec![Self::Present],
            Self::Present => Vec::new(),
            Self::Boolean(value) => vec![Self::Boolean(!value)],
            Self::Range(range) => range.others().into_iter().map(Self::Range).collect(),
            Self::OneOf(texts) => vec![Self::NoneOf(texts.clone())],
            Self::NoneOf(texts) => vec![Self::OneOf(texts.clone())],
        };
        others.push(Self::Missing);
        others
    }
}
