//! A lowered expression as an English clause, for people who read rules and do not write them.
//!
//! Not here: the names of slots (the caller's) and what a rule does (`decision`). The words follow the tree: what was
//! folded away while compiling is not told.

use std::borrow::Cow;

use augur_domain::time::format_duration_ms;

use crate::Slot;
use crate::syntax::{Arithmetic, Comparison};
use crate::tree::{Boolean, Choice, LocalPart, Millis, Number, Text, Tree};

/// How a slot is called.
type Name<'a> = &'a dyn Fn(Slot) -> String;

/// `tree` in words.
pub(crate) fn clause(tree: &Tree, name: Name<'_>) -> String {
    match tree {
        Tree::Boolean(tree) => tree.words(name),
        Tree::Number(tree) => tree.words(name),
        Tree::Text(tree) => tree.words(name),
        Tree::Timestamp(tree) | Tree::Duration(tree) => tree.words(name),
    }
}

impl Boolean {
    fn words(&self, name: Name<'_>) -> String {
        match self {
            Self::Constant(constant) => if *constant { "always" } else { "never" }.to_owned(),
            Self::Read(slot) => format!("{} is true", name(*slot)),
            Self::Present(slot) => format!("{} is known", name(*slot)),
            Self::Not(operand) => operand.denied(name),
            Self::All(terms) => joined(terms, " and ", name),
            Self::Any(terms) => joined(terms, " or ", name),
            Self::SlotCompared { comparison, slot, constant } => {
                format!("{} {} {constant}", name(*slot), of_numbers(*comparison))
            }
            Self::NumbersCompared { comparison, operands } => {
                let [left, right] = &**operands;
                format!("{} {} {}", left.words(name), of_numbers(*comparison), right.words(name))
            }
            Self::MillisCompared { comparison, operands } => {
                let [left, right] = &**operands;
                let relation =
                    if left.is_instant() { of_instants(*comparison) } else { of_lengths(*comparison) };
                format!("{} {relation} {}", left.words(name), right.words(name))
            }
            Self::TextsEqual { wanted, operands } => {
                let [left, right] = &**operands;
                format!("{} {} {}", left.words(name), is(*wanted), right.words(name))
            }
            Self::BooleansEqual { wanted, operands } => {
                let [left, right] = &**operands;
                match (left, right) {
                    (Self::Constant(constant), other) | (other, Self::Constant(constant)) => {
                        if constant == wanted { other.words(name) } else { other.denied(name) }
                    }
                    _ => {
                        let only = if *wanted { "exactly when" } else { "only one of this holds:" };
                        let bracketed = |side: &Self| format!("({})", side.words(name));
                        if *wanted {
                            format!("{} {only} {}", bracketed(left), bracketed(right))
                        } else {
                            format!("{only} {} or {}", bracketed(left), bracketed(right))
                        }
                    }
                }
            }
            Self::NumberIn { value, list } => among(&value.words(name), true, &numbers(list)),
            Self::TextIn { value, list } => among(&value.words(name), true, &texts(list)),
            Self::Choose(choice) => choice.words(&Self::words, name),
        }
    }

    /// What `!` makes of it. Missing values stay missing either way, so this loses nothing.
    fn denied(&self, name: Name<'_>) -> String {
        match self {
            Self::Read(slot) => format!("{} is false", name(*slot)),
            Self::Present(slot) => format!("{} is missing", name(*slot)),
            Self::Not(operand) => operand.words(name),
            Self::SlotCompared { comparison, slot, constant } => {
                let comparison = opposite(*comparison);
                Self::SlotCompared { comparison, slot: *slot, constant: *constant }.words(name)
            }
            Self::NumbersCompared { comparison, operands } => {
                let comparison = opposite(*comparison);
                Self::NumbersCompared { comparison, operands: operands.clone() }.words(name)
            }
            Self::MillisCompared { comparison, operands } => {
                let comparison = opposite(*comparison);
                Self::MillisCompared { comparison, operands: operands.clone() }.words(name)
            }
            Self::TextsEqual { wanted, operands } => {
                Self::TextsEqual { wanted: !wanted, operands: operands.clone() }.words(name)
            }
            Self::BooleansEqual { wanted, operands } => {
                Self::BooleansEqual { wanted: !wanted, operands: operands.clone() }.words(name)
            }
            Self::NumberIn { value, list } => among(&value.words(name), false, &numbers(list)),
            Self::TextIn { value, list } => among(&value.words(name), false, &texts(list)),
            Self::Constant(_) | Self::All(_) | Self::Any(_) | Self::Choose(_) => {
                format!("it is not so that ({})", self.words(name))
            }
        }
    }
}

/// Terms with a word between them; whatever could be read with the wrong neighbour stands in brackets.
fn joined(terms: &[Boolean], between: &str, name: Name<'_>) -> String {
    let term = |term: &Boolean| match term {
        Boolean::All(_) | Boolean::Any(_) | Boolean::Choose(_) | Boolean::BooleansEqual { .. } => {
            format!("({})", term.words(name))
        }
        _ => term.words(name),
    };
    terms.iter().map(term).collect::<Vec<_>>().join(between)
}

fn opposite(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Equal => Comparison::NotEqual,
        Comparison::NotEqual => Comparison::Equal,
        Comparison::Less => Comparison::GreaterOrEqual,
        Comparison::LessOrEqual => Comparison::Greater,
        Comparison::Greater => Comparison::LessOrEqual,
        Comparison::GreaterOrEqual => Comparison::Less,
    }
}

const fn is(wanted: bool) -> &'static str {
    if wanted { "is" } else { "is not" }
}

const fn of_numbers(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => is(true),
        Comparison::NotEqual => is(false),
        Comparison::Less => "is less than",
        Comparison::LessOrEqual => "is at most",
        Comparison::Greater => "is more than",
        Comparison::GreaterOrEqual => "is at least",
    }
}

const fn of_instants(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "is at the instant of",
        Comparison::NotEqual => "is not at the instant of",
        Comparison::Less => "is before",
        Comparison::LessOrEqual => "is not after",
        Comparison::Greater => "is after",
        Comparison::GreaterOrEqual => "is not before",
    }
}

const fn of_lengths(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Less => "is shorter than",
        Comparison::Greater => "is longer than",
        other => of_numbers(other),
    }
}

/// `x is one of 1, 2 or 3`
fn among(value: &str, wanted: bool, list: &[Cow<'_, str>]) -> String {
    match list {
        [only] => format!("{value} {} {only}", is(wanted)),
        [first @ .., last] => {
            let relation = if wanted { "is one of" } else { "is none of" };
            let last_word = if wanted { "or" } else { "and" };
            format!("{value} {relation} {} {last_word} {last}", first.join(", "))
        }
        [] => format!("{value} {} anything", is(wanted)),
    }
}

fn numbers(list: &[f64]) -> Vec<Cow<'_, str>> {
    list.iter().map(|number| number.to_string().into()).collect()
}

fn texts(list: &[Box<str>]) -> Vec<Cow<'_, str>> {
    list.iter().map(|text| (&**text).into()).collect()
}

impl<T> Choice<T> {
    fn words(&self, of: &dyn Fn(&T, Name<'_>) -> String, name: Name<'_>) -> String {
        let (then, otherwise) = (of(&self.then, name), of(&self.otherwise, name));
        format!("({then} if {}, else {otherwise})", self.condition.words(name))
    }
}

impl Number {
    fn words(&self, name: Name<'_>) -> String {
        match self {
            Self::Constant(constant) => constant.to_string(),
            Self::Read(slot) => name(*slot),
            Self::Arithmetic { operator, operands } => {
                let [left, right] = &**operands;
                let side = |side: &Self| match side {
                    Self::Arithmetic { operator: inner, .. } if !binds_tighter(*inner, *operator) => {
                        format!("({})", side.words(name))
                    }
                    _ => side.words(name),
                };
                format!("{} {} {}", side(left), of_arithmetic(*operator), side(right))
            }
            Self::Negate(operand) => format!("minus ({})", operand.words(name)),
            Self::Absolute(operand) => format!("the size of ({})", operand.words(name)),
            Self::Least(pair) => between("the lesser of", pair, name),
            Self::Greatest(pair) => between("the greater of", pair, name),
            Self::Local { part, at, zone } => {
                let part = match part {
                    LocalPart::Hour => "hour",
                    LocalPart::Weekday => "day of the week (1 for Monday)",
                };
                format!("the local {part} of {} in {}", at.words(name), zone.words(name))
            }
            Self::Seconds(length) => format!("{} in seconds", length.words(name)),
            Self::Choose(choice) => choice.words(&Self::words, name),
        }
    }
}

fn between(what: &str, pair: &[Number; 2], name: Name<'_>) -> String {
    let [left, right] = pair;
    format!("({what} {} and {})", left.words(name), right.words(name))
}

const fn of_arithmetic(operator: Arithmetic) -> &'static str {
    match operator {
        Arithmetic::Add => "plus",
        Arithmetic::Subtract => "minus",
        Arithmetic::Multiply => "times",
        Arithmetic::Divide => "divided by",
        Arithmetic::Remainder => "modulo",
    }
}

/// Whether `inner` needs no brackets beside `outer`: a product in a sum.
const fn binds_tighter(inner: Arithmetic, outer: Arithmetic) -> bool {
    use Arithmetic::{Add, Divide, Multiply, Remainder, Subtract};
    matches!(inner, Multiply | Divide | Remainder) && matches!(outer, Add | Subtract)
}

impl Text {
    fn words(&self, name: Name<'_>) -> String {
        match self {
            Self::Constant(constant) => constant.to_string(),
            Self::Read(slot) => name(*slot),
            Self::Choose(choice) => choice.words(&Self::words, name),
        }
    }
}

impl Millis {
    /// Whether it is an instant and not a length of time.
    fn is_instant(&self) -> bool {
        match self {
            Self::ReadTimestamp(_) | Self::Moved { .. } => true,
            // There is no literal for an instant.
            Self::Constant(_) | Self::ReadDuration(_) | Self::Length { .. } => false,
            Self::Choose(choice) => choice.then.is_instant(),
        }
    }

    fn words(&self, name: Name<'_>) -> String {
        match self {
            Self::Constant(length_ms) => format_duration_ms(*length_ms),
            Self::ReadTimestamp(slot) | Self::ReadDuration(slot) => name(*slot),
            Self::Moved { forward, operands } => {
                let [left, right] = &**operands;
                let (instant, length) = if left.is_instant() { (left, right) } else { (right, left) };
                let relation = if *forward { "after" } else { "before" };
                format!("{} {relation} {}", length.words(name), instant.words(name))
            }
            Self::Length { plus, operands } => {
                let [left, right] = &**operands;
                let (first, second) = (left.words(name), right.words(name));
                match (plus, left.is_instant()) {
                    (true, _) => format!("({first} plus {second})"),
                    (false, false) => format!("({first} minus {second})"),
                    (false, true) if first == "now" => format!("the time since {second}"),
                    (false, true) => format!("the time from {second} to {first}"),
                }
            }
            Self::Choose(choice) => choice.words(&Self::words, name),
        }
    }
}
