//! Runs a lowered tree over a row: three-valued, in reading order, without allocation.
//!
//! What is missing or undefined passes upwards through every operation save three: `&&` and `||`, where `false`
//! and `true` win over it wherever they stand, and `has`. `? :` looks at the chosen branch only.
//! Not here: types, which `check` has settled.

use augur_domain::Timestamp;
use augur_domain::time_zone::TimeZone;

use crate::syntax::{Arithmetic, Comparison};
use crate::tree::{Boolean, Choice, LocalPart, Millis, Number, Text, Tree};
use crate::{Evaluated, Operand, Row, Slot};

/// Below this length a list is searched from front to back.
const SHORT_LIST: usize = 8;

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Missing(Slot),
    Undefined(Cause),
}

/// Why an operation has no result. A byte, where its text would make every result on the way up larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    DivisionByZero,
    NumberRange,
    TimestampRange,
    DurationRange,
    NotFinite,
    OtherType,
    UnknownTimeZone,
}

impl Cause {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::DivisionByZero => "division by zero",
            Self::NumberRange => "a number beyond the range of doubles",
            Self::TimestampRange => "a timestamp outside the years 1 to 9999",
            Self::DurationRange => "a duration beyond the range of milliseconds",
            Self::NotFinite => "a row value that is not finite",
            Self::OtherType => "a row value of another type than declared",
            Self::UnknownTimeZone => "a time zone that does not exist",
        }
    }
}

impl Tree {
    pub(crate) fn evaluate<'a, R: Row + ?Sized>(&'a self, row: &'a R) -> Evaluated<'a> {
        let value = match self {
            Self::Boolean(tree) => tree.evaluate(row).map(Operand::Boolean),
            // Adding zero turns a negative zero into zero, so equal numbers have equal bits.
            Self::Number(tree) => tree.evaluate(row).map(|number| Operand::Number(number + 0.0)),
            Self::Text(tree) => tree.evaluate(row).map(Operand::Text),
            Self::Timestamp(tree) => tree.evaluate(row).map(Operand::Timestamp),
            Self::Duration(tree) => tree.evaluate(row).map(Operand::Duration),
        };
        match value {
            Ok(operand) => Evaluated::Known(operand),
            Err(Fault::Missing(slot)) => Evaluated::Missing(slot),
            Err(Fault::Undefined(cause)) => Evaluated::Undefined(cause.text()),
        }
    }
}

fn read<R: Row + ?Sized>(row: &R, slot: Slot) -> Result<Operand<'_>, Fault> {
    row.operand(slot).ok_or(Fault::Missing(slot))
}

fn read_number<R: Row + ?Sized>(row: &R, slot: Slot) -> Result<f64, Fault> {
    match read(row, slot)? {
        Operand::Number(number) if number.is_finite() => Ok(number),
        Operand::Number(_) => Err(Fault::Undefined(Cause::NotFinite)),
        _ => Err(Fault::Undefined(Cause::OtherType)),
    }
}

impl Boolean {
    pub(crate) fn evaluate<R: Row + ?Sized>(&self, row: &R) -> Result<bool, Fault> {
        match self {
            Self::Constant(constant) => Ok(*constant),
            Self::Read(slot) => match read(row, *slot)? {
                Operand::Boolean(boolean) => Ok(boolean),
                _ => Err(Fault::Undefined(Cause::OtherType)),
            },
            Self::Present(slot) => Ok(row.operand(*slot).is_some()),
            Self::Not(operand) => operand.evaluate(row).map(|boolean| !boolean),
            Self::All(terms) => junction(terms, false, row),
            Self::Any(terms) => junction(terms, true, row),
            Self::SlotCompared { comparison, slot, constant } => {
                Ok(holds(*comparison, &read_number(row, *slot)?, constant))
            }
            Self::NumbersCompared { comparison, operands: pair } => {
                let [left, right] = &**pair;
                Ok(holds(*comparison, &left.evaluate(row)?, &right.evaluate(row)?))
            }
            Self::MillisCompared { comparison, operands: pair } => {
                let [left, right] = &**pair;
                Ok(holds(*comparison, &left.evaluate(row)?, &right.evaluate(row)?))
            }
            Self::TextsEqual { wanted, operands: pair } => {
                let [left, right] = &**pair;
                Ok((left.evaluate(row)? == right.evaluate(row)?) == *wanted)
            }
            Self::BooleansEqual { wanted, operands: pair } => {
                let [left, right] = &**pair;
                Ok((left.evaluate(row)? == right.evaluate(row)?) == *wanted)
            }
            Self::NumberIn { value, list } => Ok(contains_number(list, value.evaluate(row)?)),
            Self::TextIn { value, list } => Ok(contains_text(list, value.evaluate(row)?)),
            Self::Choose(choice) => choice.branch(row)?.evaluate(row),
        }
    }
}

/// `&&` (decided by `false`) or `||` (decided by `true`): the deciding value wins over what is missing.
fn junction<R: Row + ?Sized>(terms: &[Boolean], deciding: bool, row: &R) -> Result<bool, Fault> {
    let mut first_fault = None;
    for term in terms {
        match term.evaluate(row) {
            Ok(boolean) if boolean == deciding => return Ok(deciding),
            Ok(_) => {}
            Err(fault) => first_fault = first_fault.or(Some(fault)),
        }
    }
    first_fault.map_or(Ok(!deciding), Err)
}

fn holds<T: PartialOrd>(comparison: Comparison, left: &T, right: &T) -> bool {
    match comparison {
        Comparison::Equal => left == right,
        Comparison::NotEqual => left != right,
        Comparison::Less => left < right,
        Comparison::LessOrEqual => left <= right,
        Comparison::Greater => left > right,
        Comparison::GreaterOrEqual => left >= right,
    }
}

fn contains_number(list: &[f64], wanted: f64) -> bool {
    if list.len() <= SHORT_LIST {
        return list.iter().any(|number| holds(Comparison::Equal, number, &wanted));
    }
    // The list has no negative zero; adding zero frees the wanted number from it too.
    list.binary_search_by(|number| number.total_cmp(&(wanted + 0.0))).is_ok()
}

fn contains_text(list: &[Box<str>], wanted: &str) -> bool {
    if list.len() <= SHORT_LIST {
        return list.iter().any(|text| **text == *wanted);
    }
    list.binary_search_by(|text| (**text).cmp(wanted)).is_ok()
}

impl<T> Choice<T> {
    fn branch<R: Row + ?Sized>(&self, row: &R) -> Result<&T, Fault> {
        Ok(if self.condition.evaluate(row)? { &self.then } else { &self.otherwise })
    }
}

impl Number {
    pub(crate) fn evaluate<R: Row + ?Sized>(&self, row: &R) -> Result<f64, Fault> {
        match self {
            Self::Constant(constant) => Ok(*constant),
            Self::Read(slot) => read_number(row, *slot),
            Self::Arithmetic { operator, operands: pair } => {
                let [left, right] = &**pair;
                arithmetic(*operator, left.evaluate(row)?, right.evaluate(row)?)
            }
            Self::Negate(operand) => operand.evaluate(row).map(|number| -number),
            Self::Absolute(operand) => operand.evaluate(row).map(f64::abs),
            Self::Least(pair) => {
                let [left, right] = &**pair;
                let (left, right) = (left.evaluate(row)?, right.evaluate(row)?);
                Ok(if right < left { right } else { left })
            }
            Self::Greatest(pair) => {
                let [left, right] = &**pair;
                let (left, right) = (left.evaluate(row)?, right.evaluate(row)?);
                Ok(if right > left { right } else { left })
            }
            Self::Local { part, at, zone } => {
                let (at, zone) = (Timestamp::from_unix_ms(at.evaluate(row)?), zone.evaluate(row)?);
                let zone = TimeZone::named(zone).ok_or(Fault::Undefined(Cause::UnknownTimeZone))?;
                let local = zone.local(at);
                Ok(match part {
                    LocalPart::Hour => local.hour(),
                    LocalPart::Weekday => local.weekday(),
                } as f64)
            }
            Self::Seconds(length) => length.evaluate(row).map(|length_ms| length_ms as f64 / 1_000.0),
            Self::Choose(choice) => choice.branch(row)?.evaluate(row),
        }
    }
}

fn arithmetic(operator: Arithmetic, left: f64, right: f64) -> Result<f64, Fault> {
    let divides = matches!(operator, Arithmetic::Divide | Arithmetic::Remainder);
    if divides && holds(Comparison::Equal, &right, &0.0) {
        return Err(Fault::Undefined(Cause::DivisionByZero));
    }
    let result = match operator {
        Arithmetic::Add => left + right,
        Arithmetic::Subtract => left - right,
        Arithmetic::Multiply => left * right,
        Arithmetic::Divide => left / right,
        Arithmetic::Remainder => left % right,
    };
    if result.is_finite() { Ok(result) } else { Err(Fault::Undefined(Cause::NumberRange)) }
}

impl Text {
    pub(crate) fn evaluate<'a, R: Row + ?Sized>(&'a self, row: &'a R) -> Result<&'a str, Fault> {
        match self {
            Self::Constant(constant) => Ok(constant),
            Self::Read(slot) => match read(row, *slot)? {
                Operand::Text(text) => Ok(text),
                _ => Err(Fault::Undefined(Cause::OtherType)),
            },
            Self::Choose(choice) => choice.branch(row)?.evaluate(row),
        }
    }
}

impl Millis {
    pub(crate) fn evaluate<R: Row + ?Sized>(&self, row: &R) -> Result<i64, Fault> {
        match self {
            Self::Constant(constant) => Ok(*constant),
            Self::ReadTimestamp(slot) => match read(row, *slot)? {
                Operand::Timestamp(unix_ms) => Ok(unix_ms),
                _ => Err(Fault::Undefined(Cause::OtherType)),
            },
            Self::ReadDuration(slot) => match read(row, *slot)? {
                Operand::Duration(length_ms) => Ok(length_ms),
                _ => Err(Fault::Undefined(Cause::OtherType)),
            },
            Self::Moved { forward, operands: pair } => {
                let [left, right] = &**pair;
                sum(*forward, left.evaluate(row)?, right.evaluate(row)?)
                    .filter(|unix_ms| (Timestamp::MIN.unix_ms()..=Timestamp::MAX.unix_ms()).contains(unix_ms))
                    .ok_or(Fault::Undefined(Cause::TimestampRange))
            }
            Self::Length { plus, operands: pair } => {
                let [left, right] = &**pair;
                sum(*plus, left.evaluate(row)?, right.evaluate(row)?)
                    .ok_or(Fault::Undefined(Cause::DurationRange))
            }
            Self::Choose(choice) => choice.branch(row)?.evaluate(row),
        }
    }
}

fn sum(plus: bool, left: i64, right: i64) -> Option<i64> {
    if plus { left.checked_add(right) } else { left.checked_sub(right) }
}
