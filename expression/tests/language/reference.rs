//! A second, naive evaluator that walks the sample as written and looks at types as it goes, and the claim that the
//! compiled expression always comes to the same.
//!
//! Not here: CEL's own opinion (`agreement`).

use augur_domain::{Timestamp, ValueType};
use augur_expression::{Evaluated, Operand, Row};
use proptest::prelude::*;

use crate::sample::{Sample, Scope, row, sample};
use crate::shop::{Values, compile, slot};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Answer {
    Known(Operand<'static>),
    Missing(u32),
    Undefined,
}

fn answer(sample: &Sample, row: &Values) -> Answer {
    known(sample, row).unwrap_or_else(|other| other)
}

/// The value, or what stands in its place as an error, so that `?` passes it up.
fn known(sample: &Sample, row: &Values) -> Result<Answer, Answer> {
    let value = |sample: &Sample| match answer(sample, row) {
        Answer::Known(operand) => Ok(operand),
        other => Err(other),
    };
    let operand = match sample {
        Sample::Boolean(boolean) => Operand::Boolean(*boolean),
        Sample::Number(number) => Operand::Number(*number),
        Sample::Text(text) => Operand::Text(text),
        Sample::Duration(length_ms) => Operand::Duration(*length_ms),
        Sample::Path(path) => row.0[slot(path).0 as usize].ok_or(Answer::Missing(slot(path).0))?,
        Sample::Has(path) => Operand::Boolean(row.operand(slot(path)).is_some()),
        Sample::Not(inner) => Operand::Boolean(value(inner)? == Operand::Boolean(false)),
        Sample::Negate(inner) => arithmetic("-", Operand::Number(0.0), value(inner)?)?,
        Sample::Binary(operator @ ("&&" | "||"), left, right) => {
            let deciding = Operand::Boolean(*operator == "||");
            let (left, right) = (value(left), value(right));
            if left == Ok(deciding) || right == Ok(deciding) { deciding } else { left.and(right)? }
        }
        Sample::Binary(operator @ ("+" | "-" | "*" | "/" | "%"), left, right) => {
            let left = value(left)?;
            arithmetic(operator, left, value(right)?)?
        }
        Sample::Binary(operator, left, right) => {
            let left = value(left)?;
            Operand::Boolean(compare(operator, left, value(right)?))
        }
        Sample::In(inner, elements) => {
            let wanted = value(inner)?;
            Operand::Boolean(elements.iter().any(|element| value(element) == Ok(wanted)))
        }
        Sample::Choose(condition, then, otherwise) => {
            value(if value(condition)? == Operand::Boolean(true) { then } else { otherwise })?
        }
        Sample::Call(function, arguments) => {
            let arguments = arguments.iter().map(value).collect::<Result<Vec<_>, _>>()?;
            match (*function, arguments.as_slice()) {
                ("abs", [Operand::Number(number)]) => Operand::Number(number.abs()),
                ("min", [Operand::Number(left), Operand::Number(right)]) => Operand::Number(left.min(*right)),
                ("max", [Operand::Number(left), Operand::Number(right)]) => Operand::Number(left.max(*right)),
                ("seconds", [Operand::Duration(length_ms)]) => Operand::Number(*length_ms as f64 / 1e3),
                other => panic!("ill-typed sample {other:?}"),
            }
        }
    };
    Ok(Answer::Known(operand))
}

fn arithmetic(
    operator: &str,
    left: Operand<'static>,
    right: Operand<'static>,
) -> Result<Operand<'static>, Answer> {
    use Operand::{Duration, Number, Timestamp as Instant};
    let signed = |value: i64| if operator == "-" { -i128::from(value) } else { i128::from(value) };
    let moved = |instant: i64, length: i128| {
        let in_years = i128::from(Timestamp::MIN.unix_ms())..=i128::from(Timestamp::MAX.unix_ms());
        let unix_ms = i128::from(instant) + length;
        if in_years.contains(&unix_ms) { Ok(Instant(unix_ms as i64)) } else { Err(Answer::Undefined) }
    };
    match (left, right) {
        (Number(left), Number(right)) => {
            let number = match operator {
                "+" => left + right,
                "-" => left - right,
                "*" => left * right,
                "/" => left / right,
                "%" => left % right,
                other => panic!("{other}"),
            };
            // Dividing by zero gives an infinity or NaN, so this covers it.
            if number.is_finite() { Ok(Number(number)) } else { Err(Answer::Undefined) }
        }
        (Instant(left), Duration(right)) => moved(left, signed(right)),
        (Duration(left), Instant(right)) => moved(right, i128::from(left)),
        (Instant(left), Instant(right)) | (Duration(left), Duration(right)) => {
            i64::try_from(i128::from(left) + signed(right)).map(Duration).map_err(|_| Answer::Undefined)
        }
        other => panic!("ill-typed sample {other:?}"),
    }
}

fn compare(operator: &str, left: Operand<'_>, right: Operand<'_>) -> bool {
    use Operand::{Boolean, Duration, Number, Text, Timestamp as Instant};
    let order = match (left, right) {
        (Number(left), Number(right)) => left.partial_cmp(&right).expect("finite"),
        (Instant(left), Instant(right)) | (Duration(left), Duration(right)) => left.cmp(&right),
        (Text(left), Text(right)) => left.cmp(right),
        (Boolean(left), Boolean(right)) => left.cmp(&right),
        other => panic!("ill-typed sample {other:?}"),
    };
    match operator {
        "==" => order.is_eq(),
        "!=" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        ">=" => order.is_ge(),
        other => panic!("{other}"),
    }
}

fn any_type() -> impl Strategy<Value = (ValueType, Sample)> {
    use ValueType::{Boolean, Duration, Number, Text, Timestamp};
    let of = |value_type| sample(value_type, 3, Scope::Whole).prop_map(move |sample| (value_type, sample));
    prop_oneof![4 => of(Boolean), 2 => of(Number), 1 => of(Text), 1 => of(Timestamp), 1 => of(Duration)]
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2_000, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn compiled_and_naive_evaluation_agree(
        (value_type, sample) in any_type(),
        rows in proptest::collection::vec(row(), 8),
    ) {
        let source = sample.write();
        let expression = match compile(&source, value_type) {
            Ok(expression) => expression,
            Err(error) => {
                // The one complaint a well-typed sample can earn: constants without a result.
                prop_assert!(error.message.contains("has no result"), "{source}: {error}");
                return Ok(());
            }
        };
        for row in &rows {
            let got = match expression.evaluate(row) {
                Evaluated::Known(operand) => Answer::Known(operand_static(operand)),
                Evaluated::Missing(slot) => Answer::Missing(slot.0),
                Evaluated::Undefined(_) => Answer::Undefined,
            };
            prop_assert_eq!(got, answer(&sample, row), "{} on {:?}", source, row);
            if let Answer::Missing(slot) = got {
                prop_assert!(expression.slots().iter().any(|read| read.0 == slot));
            }
            if let Answer::Known(Operand::Number(number)) = got {
                prop_assert!(number.is_finite() && !(number == 0.0 && number.is_sign_negative()));
            }
        }
    }
}

/// The operand with its text leaked, which a test may do.
fn operand_static(operand: Operand<'_>) -> Operand<'static> {
    match operand {
        Operand::Boolean(boolean) => Operand::Boolean(boolean),
        Operand::Number(number) => Operand::Number(number),
        Operand::Text(text) => Operand::Text(text.to_owned().leak()),
        Operand::Timestamp(unix_ms) => Operand::Timestamp(unix_ms),
        Operand::Duration(length_ms) => Operand::Duration(length_ms),
    }
}
