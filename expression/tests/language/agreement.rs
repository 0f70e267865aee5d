//! CEL's own opinion: on the part of the language that both evaluate, the `cel` crate's interpreter and the compiled
//! expression agree, missing values included. And no text whatever makes compiling panic.
//!
//! Not here: times and functions, which that interpreter lacks in this build (`reference`).

use std::sync::Arc;

use augur_domain::ValueType;
use augur_expression::{Evaluated, Operand, Row};
use cel::objects::{Key, Map};
use cel::{Context, Program, Value};
use proptest::prelude::*;

use crate::sample::{Scope, row, sample};
use crate::shop::{NAMES, Values, compile, slot};

/// The row as CEL sees it: one map per group, without the keys of missing values.
fn context(row: &Values) -> Context<'static, 'static> {
    let mut context = Context::default();
    for group in ["features", "scores", "segments", "user", "context"] {
        let members = NAMES.iter().filter_map(|(path, _)| {
            let member = path.strip_prefix(group)?.strip_prefix('.')?;
            let value = match row.operand(slot(path))? {
                Operand::Boolean(boolean) => Value::Bool(boolean),
                Operand::Number(number) => Value::Float(number),
                Operand::Text(text) => Value::String(Arc::new(text.to_owned())),
                Operand::Timestamp(_) | Operand::Duration(_) => Value::Null,
            };
            Some((Key::from(member), value))
        });
        let map = Map { map: Arc::new(members.collect()) };
        context.add_variable_from_value(group, Value::Map(map));
    }
    context
}

fn shared() -> impl Strategy<Value = (ValueType, String)> {
    use ValueType::{Boolean, Number, Text};
    let of = |value_type| {
        sample(value_type, 3, Scope::Shared).prop_map(move |sample| (value_type, sample.write()))
    };
    prop_oneof![4 => of(Boolean), 2 => of(Number), 1 => of(Text)]
}

/// Pieces of the language in any order, which reach further into the parser than arbitrary characters do.
fn soup() -> impl Strategy<Value = String> {
    const PIECES: [&str; 40] = [
        "features",
        ".",
        "visits",
        "user.country",
        "now",
        "has",
        "(",
        ")",
        "[",
        "]",
        ",",
        "&&",
        "||",
        "!",
        "-",
        "+",
        "*",
        "/",
        "%",
        "==",
        "!=",
        "<",
        "<=",
        ">",
        "in",
        "?",
        ":",
        "true",
        "null",
        "1",
        "2.5",
        "1e9",
        "0x1f",
        "7u",
        "'DE'",
        "\"\\n\"",
        "if",
        "exists",
        "// x\n",
        " ",
    ];
    let piece = proptest::sample::select(&PIECES[..]);
    (proptest::collection::vec(piece, 0..40), any::<bool>())
        .prop_map(|(pieces, apart)| pieces.join(if apart { " " } else { "" }))
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2_000, ..ProptestConfig::with_cases(384) })]

    #[test]
    fn cel_agrees((value_type, source) in shared(), rows in proptest::collection::vec(row(), 4)) {
        let expression = match compile(&source, value_type) {
            Ok(expression) => expression,
            Err(error) => {
                // The one complaint a well-typed sample can earn; CEL carries on with infinities here.
                prop_assert!(error.message.contains("has no result"), "{source}: {error}");
                return Ok(());
            }
        };
        let program = Program::compile(&source).expect("what is accepted is CEL");
        for row in &rows {
            let cel = program.execute(&context(row));
            let agrees = match expression.evaluate(row) {
                // CEL carries on with infinities here.
                Evaluated::Undefined(_) => true,
                Evaluated::Missing(_) => cel.is_err(),
                Evaluated::Known(Operand::Boolean(boolean)) => cel == Ok(Value::Bool(boolean)),
                Evaluated::Known(Operand::Number(number)) => cel == Ok(Value::Float(number)),
                Evaluated::Known(Operand::Text(text)) => cel == Ok(Value::String(Arc::new(text.to_owned()))),
                Evaluated::Known(_) => false,
            };
            prop_assert!(
                agrees,
                "{} on {:?}: cel {:?}, here {:?}",
                source, row, program.execute(&context(row)), expression.evaluate(row)
            );
        }
    }

    #[test]
    fn no_text_panics(source in "\\PC{0,80}") {
        check_any(&source)?;
    }

    #[test]
    fn no_soup_panics(source in soup()) {
        check_any(&source)?;
    }
}

fn check_any(source: &str) -> Result<(), TestCaseError> {
    if let Err(error) = compile(source, ValueType::Boolean) {
        prop_assert!(error.offset <= source.len() && source.is_char_boundary(error.offset), "{error:?}");
        prop_assert!(!error.message.is_empty());
        // The parser's thread turns a panic into this complaint; it must not come up.
        prop_assert!(!error.message.contains("gave up"), "{source}: {error}");
    }
    Ok(())
}
