//! What accepted expressions come to, and what they do with missing and undefined values.

use augur_domain::ValueType::{self, Boolean, Duration, Number, Text, Timestamp};
use augur_domain::time::HOUR_MS;
use augur_expression::{Evaluated, Operand};

use crate::shop::{Values, compile, slot};

const NOW_MS: i64 = 1_795_366_965_000;

fn shopper() -> Values {
    Values::default()
        .with("features.purchases_30d", Operand::Number(3.0))
        .with("features.visits", Operand::Number(12.5))
        .with("scores.churn", Operand::Number(0.7))
        .with("user.country", Operand::Text("DE"))
        .with("user.subscribed", Operand::Boolean(true))
        .with("now", Operand::Timestamp(NOW_MS))
        .with("features.last_order", Operand::Timestamp(NOW_MS - 25 * HOUR_MS))
        .with("features.session_length", Operand::Duration(90_500))
}

fn check(source: &str, expected: ValueType, row: &Values, outcome: Evaluated<'_>) {
    let expression = compile(source, expected).unwrap_or_else(|error| panic!("{source}: {error}"));
    assert_eq!(expression.evaluate(row), outcome, "{source}");
}

#[test]
fn booleans() {
    let row = shopper();
    for (source, wanted) in [
        (
            "features.purchases_30d > 2.0 && scores.churn >= 0.7 && !(user.country in ['US', 'FR']) \
          && now - features.last_order > duration('24h')",
            true,
        ),
        ("features.purchases_30d == 3", true),
        ("3 == features.purchases_30d", true),
        ("2 < features.purchases_30d && 4 > features.purchases_30d", true),
        ("3 <= features.purchases_30d && 3 >= features.purchases_30d", true),
        ("features.purchases_30d != 3", false),
        ("features.purchases_30d + features.visits == 15.5", true),
        ("features.purchases_30d in [1, 2, 3]", true),
        ("features.purchases_30d in [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, -1]", true),
        ("features.purchases_30d * 7 in [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, -1]", false),
        ("features.purchases_30d - 3 in [9, 8, 7, 6, 5, 4, 3, 2, 1, -0.0]", true),
        ("user.country in ['a','b','c','d','e','f','g','h','i','DE']", true),
        ("user.country in ['a','b','c','d','e','f','g','h','i','DEU']", false),
        ("user.country == 'DE' || user.country == 'AT'", true),
        ("'AT' != user.country", true),
        ("user.subscribed", true),
        ("!user.subscribed", false),
        ("user.subscribed == (scores.churn > 0.5)", true),
        ("user.subscribed != true", false),
        ("has(user.country)", true),
        ("has(user.language)", false),
        ("has(features.balance) ? features.balance > 0 : user.subscribed", true),
        ("now > features.last_order", true),
        ("now - duration('25h') == features.last_order", true),
        ("duration('25h') + features.last_order == now", true),
        ("features.session_length > duration('90s') && features.session_length < duration('91s')", true),
        ("features.visits > 100 ? true : false", false),
        ("'\\u00e9\\n' == \"é\\n\"", true),
        ("user.subscribed // the newsletter\n  && scores.churn > .5", true),
        ("!!user.subscribed", true),
        ("1 + 2 * 3 - 8 / 4 == 5 && -(-3) == 3 && 7 % 4 == 3 && -7 % 4 == -3 && 0x10 == 16", true),
        ("true ? false : true", false),
        ("(false || features.balance > 1) && false", false),
    ] {
        check(source, Boolean, &row, Evaluated::Known(Operand::Boolean(wanted)));
    }
}

#[test]
fn other_types() {
    let row = shopper();
    for (source, wanted) in [
        ("features.visits / 2", 6.25),
        ("-features.visits", -12.5),
        ("abs(-features.visits) + abs(features.visits)", 25.0),
        ("min(features.visits, 10) + max(features.visits, 10)", 22.5),
        ("seconds(features.session_length)", 90.5),
        ("seconds(now - features.last_order) / 3600", 25.0),
        ("features.visits % 5", 2.5),
        ("scores.churn > 0.5 ? 100 * scores.churn : 0", 70.0),
    ] {
        check(source, Number, &row, Evaluated::Known(Operand::Number(wanted)));
    }
    check("user.subscribed ? user.country : 'none'", Text, &row, Evaluated::Known(Operand::Text("DE")));
    check("'none'", Text, &row, Evaluated::Known(Operand::Text("none")));
    let day_before = Evaluated::Known(Operand::Timestamp(NOW_MS - 24 * HOUR_MS));
    check("now - duration('1d')", Timestamp, &row, day_before);
    let length = Evaluated::Known(Operand::Duration(25 * HOUR_MS + 90_500));
    check("now - features.last_order + features.session_length", Duration, &row, length);
    let chosen = Evaluated::Known(Operand::Duration(HOUR_MS));
    check("user.subscribed ? duration('60m') : duration('1d')", Duration, &row, chosen);
}

#[test]
fn negative_zero_never_leaves() {
    let row = Values::default().with("features.visits", Operand::Number(0.0));
    for source in
        ["-features.visits", "features.visits * -1", "0 * -1", "min(-features.visits, features.visits)"]
    {
        let expression = compile(source, Number).unwrap();
        assert_eq!(expression.evaluate(&row).as_number().unwrap().to_bits(), 0, "{source}");
    }
}

#[test]
fn missing_values_pass_up_unless_absorbed() {
    let row = shopper();
    let (balance, language) = (slot("features.balance"), slot("user.language"));
    for (source, outcome) in [
        ("features.balance > 1", Evaluated::Missing(balance)),
        ("features.balance + features.visits > 1", Evaluated::Missing(balance)),
        ("!(features.balance > 1)", Evaluated::Missing(balance)),
        ("features.balance == features.balance", Evaluated::Missing(balance)),
        ("user.language == 'de'", Evaluated::Missing(language)),
        ("user.language in ['de']", Evaluated::Missing(language)),
        ("user.language == 'de' || features.balance > 1", Evaluated::Missing(language)),
        ("features.balance > 1 && user.subscribed", Evaluated::Missing(balance)),
        ("user.subscribed && features.balance > 1", Evaluated::Missing(balance)),
        ("features.balance > 1 && !user.subscribed", Evaluated::Known(Operand::Boolean(false))),
        ("!user.subscribed && features.balance > 1", Evaluated::Known(Operand::Boolean(false))),
        ("features.balance > 1 || user.subscribed", Evaluated::Known(Operand::Boolean(true))),
        ("features.balance > 1 || !user.subscribed", Evaluated::Missing(balance)),
        ("features.balance > 1 ? true : true", Evaluated::Missing(balance)),
        ("user.subscribed ? true : features.balance > 1", Evaluated::Known(Operand::Boolean(true))),
        ("has(features.balance) && features.balance > 1", Evaluated::Known(Operand::Boolean(false))),
        ("features.balance / 0 > 1", Evaluated::Missing(balance)),
        ("features.visits / 0 > features.balance", Evaluated::Undefined("division by zero")),
    ] {
        check(source, Boolean, &row, outcome);
    }
}

#[test]
fn what_has_no_result_is_undefined() {
    let row = shopper()
        .with("features.balance", Operand::Number(1e308))
        .with("context.wait", Operand::Duration(i64::MAX));
    for (source, wanted, why) in [
        ("features.visits / (features.purchases_30d - 3)", Number, "division by zero"),
        ("features.visits % (features.purchases_30d - 3)", Number, "division by zero"),
        ("features.balance * 10", Number, "a number beyond the range of doubles"),
        ("features.balance + features.balance", Number, "a number beyond the range of doubles"),
        ("features.balance / 0.0001", Number, "a number beyond the range of doubles"),
        ("now + context.wait", Timestamp, "a timestamp outside the years 1 to 9999"),
        ("now - context.wait", Timestamp, "a timestamp outside the years 1 to 9999"),
        ("context.wait + duration('1ms')", Duration, "a duration beyond the range of milliseconds"),
    ] {
        check(source, wanted, &row, Evaluated::Undefined(why));
    }
    check("features.visits / 0 > 1 && false", Boolean, &row, Evaluated::Known(Operand::Boolean(false)));
}

#[test]
fn a_row_that_breaks_its_word_is_undefined_not_trusted() {
    for (source, value, why) in [
        ("features.visits > 1", Operand::Number(f64::NAN), "a row value that is not finite"),
        ("features.visits + 1 > 1", Operand::Number(f64::INFINITY), "a row value that is not finite"),
        ("features.visits > 1", Operand::Text("12"), "a row value of another type than declared"),
        ("features.visits in [1]", Operand::Duration(1), "a row value of another type than declared"),
    ] {
        let row = Values::default().with("features.visits", value);
        check(source, Boolean, &row, Evaluated::Undefined(why));
    }
    let wrong = Operand::Number(1.0);
    for source in [
        "user.country == 'DE'",
        "user.subscribed",
        "now > features.last_order",
        "context.wait > duration('1s')",
    ] {
        let row = ["user.country", "user.subscribed", "now", "context.wait"]
            .iter()
            .fold(Values::default(), |row, path| row.with(path, wrong));
        check(source, Boolean, &row, Evaluated::Undefined("a row value of another type than declared"));
    }
}

#[test]
fn tells_source_type_and_slots() {
    let source =
        "now - features.last_order > duration('1d') && has(user.country) && now > features.first_visit";
    let expression = compile(source, Boolean).unwrap().clone();
    assert_eq!(expression.source(), source);
    assert_eq!(expression.value_type(), Boolean);
    let wanted = ["user.country", "now", "features.last_order", "features.first_visit"].map(slot);
    assert_eq!(expression.slots(), wanted);
}

#[test]
fn works_through_a_trait_object_and_across_threads() {
    let expression = compile("features.visits > 12", Boolean).unwrap();
    let row: Box<dyn augur_expression::Row + Send> = Box::new(shopper());
    let outcome = std::thread::spawn(move || expression.evaluate(&*row).as_boolean()).join().unwrap();
    assert_eq!(outcome, Some(true));
}
