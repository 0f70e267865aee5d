//! Generated well-typed expressions, how they are written, and generated rows.
//!
//! Not here: what they come to (`reference`, `agreement`).

use augur_domain::ValueType;
use augur_domain::time::format_duration_ms;
use augur_expression::Operand;
use proptest::prelude::*;

use crate::shop::{ENUMS, NAMES, Values};

/// An expression before it is written down.
#[derive(Debug, Clone)]
pub(crate) enum Sample {
    Boolean(bool),
    Number(f64),
    Text(&'static str),
    /// In milliseconds.
    Duration(i64),
    Path(&'static str),
    Has(&'static str),
    Not(Box<Sample>),
    Negate(Box<Sample>),
    Binary(&'static str, Box<Sample>, Box<Sample>),
    In(Box<Sample>, Vec<Sample>),
    Choose(Box<Sample>, Box<Sample>, Box<Sample>),
    Call(&'static str, Vec<Sample>),
}

impl Sample {
    /// Source text with every operation in brackets.
    pub(crate) fn write(&self) -> String {
        let list = |samples: &[Self]| samples.iter().map(Self::write).collect::<Vec<_>>().join(", ");
        match self {
            Self::Boolean(boolean) => boolean.to_string(),
            Self::Number(number) if number.is_sign_negative() => format!("({number:?})"),
            Self::Number(number) => format!("{number:?}"),
            Self::Text(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
            Self::Duration(length_ms) => format!("duration('{}')", format_duration_ms(*length_ms)),
            Self::Path(path) => (*path).to_owned(),
            Self::Has(path) => format!("has({path})"),
            Self::Not(operand) => format!("!({})", operand.write()),
            Self::Negate(operand) => format!("(-({}))", operand.write()),
            Self::Binary(operator, left, right) => format!("({} {operator} {})", left.write(), right.write()),
            Self::In(value, elements) => format!("({} in [{}])", value.write(), list(elements)),
            Self::Choose(condition, then, otherwise) => {
                format!("({} ? {} : {})", condition.write(), then.write(), otherwise.write())
            }
            Self::Call(function, arguments) => format!("{function}({})", list(arguments)),
        }
    }
}

/// Which part of the language to draw from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All of it.
    Whole,
    /// What the `cel` crate evaluates alike: no times, no `%` on doubles, no functions but `has`.
    Shared,
}

const TEXTS: [&str; 7] = ["DE", "FR", "AT", "", "it's", "a\\b", "é"];
const NUMBERS: [f64; 9] = [0.0, -0.0, 1.0, -1.0, 2.5, 3.0, 100.0, 1e300, 1e-300];
const LENGTHS_MS: [i64; 5] = [1, 1_000, 60_000, 90_061_001, 400 * 86_400_000];

fn paths(value_type: ValueType) -> impl Strategy<Value = &'static str> {
    let paths: Vec<_> = NAMES
        .iter()
        // Those that accept some texts only stand in comparisons of their own (`types`).
        .filter(|(path, of)| *of == value_type && ENUMS.iter().all(|(known, _)| known != path))
        .map(|(path, _)| *path)
        .collect();
    proptest::sample::select(paths)
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![4 => proptest::sample::select(&NUMBERS[..]), 1 => -1e6..1e6_f64]
}

fn pair(
    operators: &'static [&'static str],
    left: BoxedStrategy<Sample>,
    right: BoxedStrategy<Sample>,
) -> BoxedStrategy<Sample> {
    (proptest::sample::select(operators), left, right)
        .prop_map(|(operator, left, right)| Sample::Binary(operator, Box::new(left), Box::new(right)))
        .boxed()
}

fn call(function: &'static str, arguments: Vec<BoxedStrategy<Sample>>) -> BoxedStrategy<Sample> {
    arguments.prop_map(move |arguments| Sample::Call(function, arguments)).boxed()
}

/// A well-typed expression of `value_type`, at most `depth` operations deep.
pub(crate) fn sample(value_type: ValueType, depth: u32, scope: Scope) -> BoxedStrategy<Sample> {
    let path = paths(value_type).prop_map(Sample::Path).boxed();
    let literal = match value_type {
        ValueType::Boolean => prop_oneof![
            1 => any::<bool>().prop_map(Sample::Boolean),
            3 => group_paths().prop_map(Sample::Has),
        ]
        .boxed(),
        ValueType::Number => number().prop_map(Sample::Number).boxed(),
        ValueType::Text => proptest::sample::select(&TEXTS[..]).prop_map(Sample::Text).boxed(),
        ValueType::Duration => proptest::sample::select(&LENGTHS_MS[..]).prop_map(Sample::Duration).boxed(),
        ValueType::Timestamp => path.clone(),
    };
    let leaf = prop_oneof![3 => path, 1 => literal].boxed();
    if depth == 0 {
        return leaf;
    }
    let below = |value_type| sample(value_type, depth - 1, scope);
    let choice = (below(ValueType::Boolean), below(value_type), below(value_type))
        .prop_map(|(condition, then, otherwise)| {
            Sample::Choose(Box::new(condition), Box::new(then), Box::new(otherwise))
        })
        .boxed();
    let operation = match value_type {
        ValueType::Boolean => boolean(scope, &below),
        ValueType::Number => arithmetic(scope, &below),
        ValueType::Text => choice.clone(),
        ValueType::Timestamp => {
            let moved = pair(&["+", "-"], below(ValueType::Timestamp), below(ValueType::Duration));
            prop_oneof![moved, pair(&["+"], below(ValueType::Duration), below(ValueType::Timestamp))].boxed()
        }
        ValueType::Duration => {
            let between = pair(&["-"], below(ValueType::Timestamp), below(ValueType::Timestamp));
            prop_oneof![between, pair(&["+", "-"], below(ValueType::Duration), below(ValueType::Duration))]
                .boxed()
        }
    };
    prop_oneof![2 => leaf, 5 => operation, 1 => choice].boxed()
}

/// Paths that `cel` can ask `has` about: members, not `now`.
fn group_paths() -> impl Strategy<Value = &'static str> {
    let paths: Vec<_> = NAMES.iter().map(|(path, _)| *path).filter(|path| path.contains('.')).collect();
    proptest::sample::select(paths)
}

fn boolean(scope: Scope, below: &dyn Fn(ValueType) -> BoxedStrategy<Sample>) -> BoxedStrategy<Sample> {
    const EQUALITY: &[&str] = &["==", "!="];
    const ORDER: &[&str] = &["==", "!=", "<", "<=", ">", ">="];
    let numbers = proptest::collection::vec(number().prop_map(Sample::Number), 1..14);
    let texts = proptest::collection::vec(proptest::sample::select(&TEXTS[..]).prop_map(Sample::Text), 1..14);
    let in_list = |(value, elements)| Sample::In(Box::new(value), elements);
    let shared = prop_oneof![
        2 => below(ValueType::Boolean).prop_map(|operand| Sample::Not(Box::new(operand))),
        6 => pair(&["&&", "||"], below(ValueType::Boolean), below(ValueType::Boolean)),
        1 => pair(EQUALITY, below(ValueType::Boolean), below(ValueType::Boolean)),
        2 => pair(EQUALITY, below(ValueType::Text), below(ValueType::Text)),
        4 => pair(ORDER, below(ValueType::Number), below(ValueType::Number)),
        1 => (below(ValueType::Number), numbers).prop_map(in_list),
        1 => (below(ValueType::Text), texts).prop_map(in_list),
    ]
    .boxed();
    if scope == Scope::Shared {
        return shared;
    }
    prop_oneof![
        4 => shared,
        1 => pair(ORDER, below(ValueType::Timestamp), below(ValueType::Timestamp)),
        1 => pair(ORDER, below(ValueType::Duration), below(ValueType::Duration)),
    ]
    .boxed()
}

fn arithmetic(scope: Scope, below: &dyn Fn(ValueType) -> BoxedStrategy<Sample>) -> BoxedStrategy<Sample> {
    let one = || below(ValueType::Number);
    let shared = prop_oneof![
        5 => pair(&["+", "-", "*", "/"], one(), one()),
        1 => one().prop_map(|operand| Sample::Negate(Box::new(operand))),
    ]
    .boxed();
    if scope == Scope::Shared {
        return shared;
    }
    prop_oneof![
        4 => shared,
        1 => pair(&["%"], one(), one()),
        1 => call("min", vec![one(), one()]),
        1 => call("max", vec![one(), one()]),
        1 => call("abs", vec![one()]),
        1 => call("seconds", vec![below(ValueType::Duration)]),
    ]
    .boxed()
}

/// A row in which a quarter of the values is missing.
pub(crate) fn row() -> impl Strategy<Value = Values> {
    let values: Vec<_> = NAMES
        .iter()
        .map(|(_, value_type)| {
            let value = match value_type {
                ValueType::Boolean => any::<bool>().prop_map(Operand::Boolean).boxed(),
                ValueType::Number => number().prop_map(Operand::Number).boxed(),
                ValueType::Text => proptest::sample::select(&TEXTS[..]).prop_map(Operand::Text).boxed(),
                ValueType::Timestamp => {
                    (-62_135_596_800_000..=253_402_300_799_999_i64).prop_map(Operand::Timestamp).boxed()
                }
                ValueType::Duration => prop_oneof![3 => -90_061_001..90_061_001_i64, 1 => any::<i64>()]
                    .prop_map(Operand::Duration)
                    .boxed(),
            };
            proptest::option::weighted(0.75, value)
        })
        .collect();
    values.prop_map(Values)
}
