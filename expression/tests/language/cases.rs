//! When conditions can be true: what is said to be never, always or only within another is so on every row.

use augur_domain::ValueType;
use augur_expression::Cases;
use proptest::prelude::*;

use crate::sample::{Scope, row, sample};
use crate::shop::{compile, slot};

fn cases(source: &str) -> Cases {
    Cases::of(&compile(source, ValueType::Boolean).expect("a sound condition"))
}

#[test]
fn contradictions_are_never() {
    for never in [
        "false",
        "features.visits > 5 && features.visits < 3",
        "features.visits > 5 && 5 >= features.visits",
        "features.visits == 1 && features.visits != 1",
        "features.visits in [1, 2] && features.visits > 2",
        "user.country == 'DE' && user.country in ['FR', 'AT']",
        "user.country == 'DE' && !(user.country in ['FR', 'DE'])",
        "user.subscribed && !user.subscribed",
        "context.returning == false && context.returning",
        "!has(features.visits) && features.visits > 0",
        "features.session_length > duration('2h') && features.session_length < duration('1h')",
        "(features.visits > 5 || features.balance > 9) && features.visits < 3 && features.balance < 3",
    ] {
        assert!(cases(never).is_never(), "{never}");
    }
    for sometimes in [
        "features.visits >= 5 && features.visits <= 5",
        "features.visits > features.balance && features.visits < features.balance",
        "features.visits > 5 || features.visits < 3",
        "user.country != 'DE' && user.country != 'FR'",
        "has(features.visits) && features.visits > 0",
    ] {
        assert!(!cases(sometimes).is_never(), "{sometimes}");
    }
}

#[test]
fn wider_conditions_are_known_where_they_are_understood() {
    for (narrow, wide) in [
        ("features.visits > 5", "features.visits > 3"),
        ("features.visits > 5 && user.subscribed", "features.visits >= 5"),
        ("features.visits == 4", "features.visits in [3, 4]"),
        ("user.country == 'DE'", "user.country in ['DE', 'FR']"),
        ("user.country == 'DE'", "user.country != 'FR'"),
        ("features.visits > 5", "has(features.visits)"),
        ("features.visits > 5 && features.visits > features.balance", "features.visits > 4"),
        ("features.visits > 9 || features.visits < 1", "features.visits != 4"),
        ("user.subscribed", "true"),
    ] {
        assert!(cases(narrow).is_within(&cases(wide)), "{narrow} in {wide}");
        assert!(!cases(wide).is_within(&cases(narrow)), "{wide} in {narrow}");
    }
    // What is not understood holds nothing.
    let sum = cases("features.visits + 1 > 5");
    assert!(!sum.is_within(&sum) && !sum.is_never() && !sum.is_always());
    assert!(cases("true || features.visits > 1").is_always());
}

#[test]
fn a_bound_on_values_narrows() {
    let old = cases("features.visits > 100 || user.subscribed");
    assert!(!old.at_most(slot("features.visits"), 100.0).is_never(), "the other way is left");
    assert!(cases("features.visits > 100").at_most(slot("features.visits"), 100.0).is_never());
    assert!(!cases("features.visits >= 100").at_most(slot("features.visits"), 100.0).is_never());
    assert!(!cases("!has(features.visits)").at_most(slot("features.visits"), 100.0).is_never());
}

#[test]
fn too_many_cases_say_nothing() {
    let terms: Vec<String> =
        (0..7).map(|n| format!("(features.visits != {n} || user.country != '{n}')")).collect();
    let many = cases(&terms.join(" && "));
    assert!(!many.is_never() && !many.is_always());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_said_holds_on_every_row(
        one in sample(ValueType::Boolean, 3, Scope::Whole),
        two in sample(ValueType::Boolean, 3, Scope::Whole),
        row in row(),
    ) {
        // What has no result on constants is refused; there is nothing to say of it.
        let (Ok(one), Ok(two)) =
            (compile(&one.write(), ValueType::Boolean), compile(&two.write(), ValueType::Boolean))
        else {
            return Ok(());
        };
        let (cases_one, cases_two) = (Cases::of(&one), Cases::of(&two));
        let is_true = |expression: &augur_expression::Expression| expression.evaluate(&row).as_boolean() == Some(true);
        prop_assert!(!(cases_one.is_never() && is_true(&one)));
        prop_assert!(!cases_one.is_always() || is_true(&one));
        if cases_one.is_within(&cases_two) {
            prop_assert!(!is_true(&one) || is_true(&two), "{} in {}", one.source(), two.source());
        }
        if cases_one.and(&cases_two).is_never() {
            prop_assert!(!(is_true(&one) && is_true(&two)));
        }
    }
}
