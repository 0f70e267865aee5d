//! What expressions say in English.
//!
//! Not here: what rules do with them (`decision`).

use augur_domain::ValueType;

use crate::shop::{NAMES, compile};

fn words(source: &str, expected: ValueType) -> String {
    let expression = compile(source, expected).expect("a sound expression");
    expression.in_english(&|slot| {
        let (path, _) = NAMES[slot.0 as usize];
        path.rsplit('.').next().unwrap_or(path).replace('_', " ")
    })
}

#[test]
fn conditions_read_like_sentences() {
    for (source, expected) in [
        ("features.purchases_30d >= 5", "purchases 30d is at least 5"),
        ("5 < features.visits && !user.subscribed", "visits is more than 5 and subscribed is false"),
        ("user.country in ['FR', 'DE', 'AT']", "country is one of AT, DE or FR"),
        ("!(user.country in ['FR', 'DE'])", "country is none of DE and FR"),
        ("user.country in ['FR']", "country is FR"),
        ("features.visits in [1, 2.5]", "visits is one of 1 or 2.5"),
        ("user.country != 'DE' || !has(features.balance)", "country is not DE or balance is missing"),
        (
            "features.visits < 3 && (user.subscribed || has(features.balance))",
            "visits is less than 3 and (subscribed is true or balance is known)",
        ),
        ("now - features.last_order > duration('48h')", "the time since last order is longer than 2d"),
        ("features.last_order > now - duration('24h')", "last order is after 1d before now"),
        ("context.returning == false", "returning is false"),
        (
            "!(features.visits > 3 && user.subscribed)",
            "it is not so that (visits is more than 3 and subscribed is true)",
        ),
        ("!(features.visits > 3)", "visits is at most 3"),
        ("true", "always"),
    ] {
        assert_eq!(words(source, ValueType::Boolean), expected, "{source}");
    }
}

#[test]
fn values_read_like_sums() {
    for (source, expected) in [
        ("2 * scores.churn + 1", "2 times churn plus 1"),
        ("2 * (scores.churn - 1)", "2 times (churn minus 1)"),
        ("min(features.visits, 10) / 2", "(the lesser of visits and 10) divided by 2"),
        ("user.subscribed ? 1 : features.balance", "(1 if subscribed is true, else balance)"),
        ("seconds(features.session_length)", "session length in seconds"),
        ("abs(-features.balance)", "the size of (minus (balance))"),
    ] {
        assert_eq!(words(source, ValueType::Number), expected, "{source}");
    }
}
