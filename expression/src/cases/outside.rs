//! What a list of conditions leaves open, with examples: the gaps of a decision table, and whether the rows before a row
//! leave it anything.
//!
//! Cases are boxes over the slots. A part of what is to be covered is cut along the first box that it meets; what lies in
//! the box is done with, and each of the pieces around it goes on to the next box. Not here: how conditions become cases.

use std::collections::BTreeSet;

use super::{Allowed, Case, Cases, Range};
use crate::Slot;

/// Which values a slot can have at all.
#[derive(Debug, Clone, PartialEq)]
pub enum Domain {
    /// Any of its type.
    Any,
    /// These texts alone.
    Texts(Vec<String>),
    /// Numbers, or instants and lengths in milliseconds, from the first to the second; either may be infinite.
    Between(f64, f64),
}

impl Domain {
    fn allowed(&self) -> Allowed {
        match self {
            Self::Any => Allowed::Present,
            Self::Texts(texts) => Allowed::OneOf(texts.iter().map(|text| text.as_str().into()).collect()),
            Self::Between(low, high) => Allowed::Range(Range { low: *low, high: *high, ..Range::ALL }),
        }
    }
}

/// What counts as covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Covered {
    /// Where a condition is surely true: what is left may be covered, too.
    Surely,
    /// Where a condition may be true: what is left is surely not covered.
    Perhaps,
}

/// What lies outside.
#[derive(Debug, Clone, PartialEq)]
pub enum Outside {
    /// Nothing.
    Nothing,
    /// Examples of it, at least one.
    Some(Vec<Vec<(Slot, Example)>>),
    /// It took too many steps to tell.
    Unknown,
}

/// The value of a slot in an example.
#[derive(Debug, Clone, PartialEq)]
pub enum Example {
    /// None.
    Missing,
    /// Any that there can be.
    Any,
    /// A boolean.
    Boolean(bool),
    /// A number, or milliseconds of an instant or a length.
    Number(f64),
    /// A text.
    Text(String),
}

impl Cases {
    /// Where every one of these slots has a value, of its domain.
    pub fn with_values<'d>(slots: impl IntoIterator<Item = (Slot, &'d Domain)>) -> Self {
        let allowed = slots.into_iter().map(|(slot, domain)| (slot, domain.allowed()));
        Self { list: vec![Case { allowed: allowed.collect(), is_exact: true }] }
    }

    /// The same where the values of which this says something are of their domains.
    #[must_use]
    pub fn within_domains(&self, domain: &dyn Fn(Slot) -> Domain) -> Self {
        let possible = |case: &Case| {
            let known = case.allowed.iter().filter(|(_, allowed)| **allowed != Allowed::Missing);
            let domains = known.map(|(slot, _)| (*slot, domain(*slot).allowed())).collect();
            case.and(&Case { allowed: domains, is_exact: true })
        };
        Self { list: self.list.iter().filter_map(possible).collect() }
    }

    /// The part in which it is surely true.
    #[must_use]
    pub fn surely(&self) -> Self {
        Self { list: self.list.iter().filter(|case| case.is_exact).cloned().collect() }
    }

    /// Whether this and `other` may be true at once.
    pub fn meets(&self, other: &Self) -> bool {
        self.list.iter().any(|one| other.list.iter().any(|two| one.meets(two)))
    }

    /// Up to `most` examples of where this holds and none of `others` does. `is_whole` says of a slot whether its numbers
    /// are whole; every step takes one off `steps`.
    pub fn outside<'c>(
        &self,
        others: impl IntoIterator<Item = &'c Self>,
        covered: Covered,
        most: usize,
        steps: &mut usize,
        is_whole: &dyn Fn(Slot) -> bool,
    ) -> Outside {
        let boxes = others.into_iter().flat_map(|cases| &cases.list);
        let boxes: Vec<&Case> = boxes.filter(|case| covered == Covered::Perhaps || case.is_exact).collect();
        let mut parts: Vec<(Case, usize)> = self.list.iter().rev().map(|case| (case.clone(), 0)).collect();
        let mut examples = Vec::new();
        while let Some((part, from)) = parts.pop() {
            let mut met = None;
            for (index, case) in boxes.iter().enumerate().skip(from) {
                let Some(left) = steps.checked_sub(1) else { return Outside::Unknown };
                *steps = left;
                if part.meets(case) {
                    met = Some((index, *case));
                    break;
                }
            }
            match met {
                Some((index, case)) => cut(part, case, index + 1, &mut parts),
                None => examples.extend(part.example(is_whole)),
            }
            if examples.len() >= most {
                break;
            }
        }
        if examples.is_empty() { Outside::Nothing } else { Outside::Some(examples) }
    }
}

/// Puts the pieces of `part` around `case` on `parts`, those to look at first last.
fn cut(part: Case, case: &Case, next: usize, parts: &mut Vec<(Case, usize)>) {
    let mut inside = part;
    let mut pieces = Vec::new();
    for (slot, allowed) in &case.allowed {
        let around = allowed.others().into_iter().map(|other| Case::of(*slot, other));
        pieces.extend(around.filter_map(|other| inside.and(&other)));
        let Some(narrower) = inside.and(&Case::of(*slot, allowed.clone())) else { break };
        inside = narrower;
    }
    parts.extend(pieces.into_iter().rev().map(|piece| (piece, next)));
}

impl Case {
    fn meets(&self, other: &Self) -> bool {
        let meets = |(slot, wanted): (&Slot, &Allowed)| {
            self.allowed.get(slot).is_none_or(|allowed| allowed.meets(wanted))
        };
        other.allowed.iter().all(meets)
    }

    /// Values of the slots that it says something of; `None` if there are none, as between two whole numbers.
    fn example(&self, is_whole: &dyn Fn(Slot) -> bool) -> Option<Vec<(Slot, Example)>> {
        let mut values = Vec::with_capacity(self.allowed.len());
        for (slot, allowed) in &self.allowed {
            let value = match allowed {
                Allowed::Present => Example::Any,
                Allowed::Missing => Example::Missing,
                Allowed::Boolean(value) => Example::Boolean(*value),
                Allowed::Range(range) if *range == Range::ALL => Example::Any,
                Allowed::Range(range) => Example::Number(range.example(is_whole(*slot))?),
                Allowed::OneOf(texts) => Example::Text(texts.first()?.to_string()),
                Allowed::NoneOf(texts) => Example::Text(none_of(texts)),
            };
            values.push((*slot, value));
        }
        Some(values)
    }
}

/// A text that is none of these.
fn none_of(texts: &BTreeSet<Box<str>>) -> String {
    let mut other = "other".to_owned();
    while texts.contains(other.as_str()) {
        other.push('_');
    }
    other
}
