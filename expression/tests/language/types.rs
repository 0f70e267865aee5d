//! What CEL's own type checker would say: its table of overloads, as the language definition lists it, against what is
//! accepted here, on four thousand expressions that are well typed only by chance: over features, scores, segments, traits,
//! context and `now`, with timestamps, lengths of time and texts of closed sets.
//!
//! The one crate with such a checker (`cel-core`) is not asked: it has one author and no release since early 2026, it would
//! bring nine crates along, and it knows neither one type of number nor closed sets, so the table below would stand beside
//! it all the same.
//!
//! Not here: what expressions come to (`agreement`, `reference`).

use augur_domain::ValueType::{self, Boolean, Duration, Number, Text, Timestamp};
use augur_expression::Parsed;
use proptest::prelude::*;

use crate::sample::{Sample, Scope, sample};
use crate::shop::{ENUMS, NAMES, Shop};

/// The overloads of CEL's standard definitions over the types that there are here, with one number type for its `double`,
/// `int` and `uint`.
const OVERLOADS: &[(&str, &[ValueType], ValueType)] = &[
    ("&&", &[Boolean, Boolean], Boolean),
    ("||", &[Boolean, Boolean], Boolean),
    ("!", &[Boolean], Boolean),
    ("negate", &[Number], Number),
    ("+", &[Number, Number], Number),
    ("+", &[Text, Text], Text),
    ("+", &[Duration, Duration], Duration),
    ("+", &[Timestamp, Duration], Timestamp),
    ("+", &[Duration, Timestamp], Timestamp),
    ("-", &[Number, Number], Number),
    ("-", &[Duration, Duration], Duration),
    ("-", &[Timestamp, Duration], Timestamp),
    ("-", &[Timestamp, Timestamp], Duration),
    ("*", &[Number, Number], Number),
    ("/", &[Number, Number], Number),
    ("%", &[Number, Number], Number),
    ("<", &[Boolean, Boolean], Boolean),
    ("<", &[Number, Number], Boolean),
    ("<", &[Text, Text], Boolean),
    ("<", &[Timestamp, Timestamp], Boolean),
    ("<", &[Duration, Duration], Boolean),
];

/// Where Augur differs on purpose. This list is the whole of it; in words:
///
/// - There is one type of number, so `%` works on doubles, and a number never has two types.
/// - Texts are not put together, and neither texts nor booleans have an order: no rule needs either.
/// - The elements of a list are literals, and lists are of numbers or texts.
/// - `min`, `max`, `abs` and `seconds` are Augur's own; `duration` takes a literal.
/// - Division by zero and results beyond doubles have no result, where CEL's doubles become infinite.
/// - What is missing makes a result missing and never an error of the whole; `&&` and `||` agree with CEL's errors.
/// - Operations on constants that have no result are refused at load.
const REFUSED_HERE: &[(&str, &[ValueType])] =
    &[("+", &[Text, Text]), ("<", &[Boolean, Boolean]), ("<", &[Text, Text])];

/// Functions of Augur's own.
const OWN_FUNCTIONS: &[(&str, &[ValueType], ValueType)] = &[
    ("min", &[Number, Number], Number),
    ("max", &[Number, Number], Number),
    ("abs", &[Number], Number),
    ("seconds", &[Duration], Number),
];

/// The type that the tables give `sample`; `None` if they give it none.
fn typed(sample: &Sample) -> Option<ValueType> {
    match sample {
        Sample::Boolean(_) => Some(Boolean),
        Sample::Number(_) => Some(Number),
        Sample::Text(_) => Some(Text),
        Sample::Duration(_) => Some(Duration),
        Sample::Path(path) => {
            NAMES.iter().find(|(known, _)| known == path).map(|(_, value_type)| *value_type)
        }
        Sample::Has(_) => Some(Boolean),
        Sample::Not(operand) => overload("!", &[typed(operand)?]),
        Sample::Negate(operand) => overload("negate", &[typed(operand)?]),
        Sample::Binary("==" | "!=", left, right) => {
            let can_be = can_be(left, right) && can_be(right, left);
            (typed(left)? == typed(right)? && can_be).then_some(Boolean)
        }
        Sample::Binary(operator, left, right) => {
            let operator = if matches!(*operator, "<=" | ">" | ">=") { "<" } else { operator };
            overload(operator, &[typed(left)?, typed(right)?])
        }
        Sample::In(asked, elements) => {
            let value = typed(asked).filter(|value| matches!(value, Number | Text))?;
            let fits = |element: &Sample| typed(element) == Some(value) && can_be(asked, element);
            elements.iter().all(fits).then_some(Boolean)
        }
        Sample::Choose(condition, then, otherwise) => {
            let (then, otherwise) = (typed(then)?, typed(otherwise)?);
            (typed(condition)? == Boolean && then == otherwise).then_some(then)
        }
        Sample::Call(function, arguments) => {
            let arguments = arguments.iter().map(typed).collect::<Option<Vec<_>>>()?;
            found(OWN_FUNCTIONS, function, &arguments)
        }
    }
}

/// Whether the name `path`, if it is one that holds some texts only, can hold the literal `text`, if it is one.
fn can_be(path: &Sample, text: &Sample) -> bool {
    let (Sample::Path(path), Sample::Text(text)) = (path, text) else { return true };
    ENUMS.iter().find(|(known, _)| known == path).is_none_or(|(_, texts)| texts.contains(text))
}

fn overload(operator: &str, operands: &[ValueType]) -> Option<ValueType> {
    let refused = REFUSED_HERE.iter().any(|(known, of)| *known == operator && *of == operands);
    found(OVERLOADS, operator, operands).filter(|_| !refused)
}

fn found(
    table: &[(&str, &[ValueType], ValueType)],
    wanted: &str,
    operands: &[ValueType],
) -> Option<ValueType> {
    let mut table = table.iter();
    table.find(|(known, of, _)| *known == wanted && *of == operands).map(|(_, _, result)| *result)
}

/// A comparison of a name that holds some texts only, with one of them or another.
fn closed() -> BoxedStrategy<Sample> {
    const TEXTS: &[&str] = &["email", "push", "web", "free", "pro", "gold", ""];
    let path = proptest::sample::select(&ENUMS[..]).prop_map(|(path, _)| Sample::Path(path));
    let text = || proptest::sample::select(TEXTS).prop_map(Sample::Text);
    let equal = (path.clone(), proptest::sample::select(&["==", "!="][..]), text(), any::<bool>());
    let equal = equal.prop_map(|(path, operator, text, turned)| {
        let (left, right) = if turned { (text, path) } else { (path, text) };
        Sample::Binary(operator, Box::new(left), Box::new(right))
    });
    let listed = (path, proptest::collection::vec(text(), 1..3));
    prop_oneof![2 => equal, 1 => listed.prop_map(|(path, texts)| Sample::In(Box::new(path), texts))].boxed()
}

/// Any operation over samples of any type: most are ill typed somewhere.
fn any_sample() -> BoxedStrategy<Sample> {
    const OPERATORS: &[&str] = &["&&", "||", "+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">="];
    let leaf = proptest::sample::select(&[Boolean, Number, Text, Timestamp, Duration][..])
        .prop_flat_map(|value_type| sample(value_type, 1, Scope::Whole));
    prop_oneof![7 => leaf, 1 => closed()]
        .prop_recursive(2, 12, 3, |below| {
            let boxed = |one: Sample| Box::new(one);
            let binary = (proptest::sample::select(OPERATORS), below.clone(), below.clone());
            let call = (proptest::sample::select(OWN_FUNCTIONS), below.clone(), below.clone());
            let elements = proptest::collection::vec(
                prop_oneof![
                    4 => (-9..9_i32).prop_map(|number| Sample::Number(f64::from(number.abs()))),
                    1 => Just(Sample::Text("DE")),
                    1 => Just(Sample::Boolean(true)),
                ],
                1..3,
            );
            prop_oneof![
                8 => binary.prop_map(move |(operator, a, b)| Sample::Binary(operator, boxed(a), boxed(b))),
                1 => below.clone().prop_map(move |operand| Sample::Not(boxed(operand))),
                1 => below.clone().prop_map(move |operand| Sample::Negate(boxed(operand))),
                2 => (below.clone(), elements).prop_map(move |(value, list)| Sample::In(boxed(value), list)),
                2 => (below.clone(), below.clone(), below).prop_map(move |(condition, then, otherwise)| {
                    Sample::Choose(boxed(condition), boxed(then), boxed(otherwise))
                }),
                2 => call.prop_map(|((function, of, _), a, b)| {
                    Sample::Call(function, [a, b].into_iter().take(of.len()).collect())
                }),
            ]
        })
        .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2_000, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn the_tables_agree_on_types(samples in proptest::collection::vec(any_sample(), 64)) {
        let sources: Vec<String> = samples.iter().map(Sample::write).collect();
        let parsed = Parsed::all(&sources.iter().map(String::as_str).collect::<Vec<_>>());
        for ((sample, source), parsed) in samples.iter().zip(&sources).zip(parsed) {
            let parsed = parsed.expect("what is generated is in the language");
            let by_the_tables = typed(sample);
            for wanted in [Boolean, Number, Text, Timestamp, Duration] {
                match parsed.compile(&Shop, wanted) {
                    Ok(expression) => {
                        prop_assert_eq!(by_the_tables, Some(wanted), "{}", source);
                        prop_assert_eq!(expression.value_type(), wanted);
                    }
                    // Well typed, and refused for a reason of its own.
                    Err(error) if error.message.contains("has no result") => {}
                    Err(error) => prop_assert_ne!(by_the_tables, Some(wanted), "{}: {}", source, error),
                }
            }
        }
    }
}

#[test]
fn both_well_and_ill_typed_samples_are_drawn() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let drawn: Vec<bool> = (0..500)
        .map(|_| typed(&any_sample().new_tree(&mut runner).expect("a sample").current()).is_some())
        .collect();
    let well_typed = drawn.iter().filter(|typed| **typed).count();
    assert!((40..450).contains(&well_typed), "{well_typed} of 500");
}
