//! When conditions can be true: what is said to be never, always or only within another is so on every row.

use augur_domain::ValueType;
use augur_expression::{Cases, Covered, Domain, Example, Operand, Outside, Slot};
use proptest::prelude::*;

use crate::sample::{Scope, row, sample};
use crate::shop::{NAMES, Values, compile, slot};

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

/// What of everybody with values for `slots` no condition covers.
fn open(conditions: &[&str], slots: &[(&str, Domain)], most: usize) -> Vec<Vec<(Slot, Example)>> {
    let all = Cases::with_values(slots.iter().map(|(path, domain)| (slot(path), domain)));
    let conditions: Vec<Cases> = conditions.iter().map(|source| cases(source)).collect();
    match all.outside(&conditions, Covered::Perhaps, most, &mut 10_000, &|_| false) {
        Outside::Some(examples) => examples,
        Outside::Nothing => Vec::new(),
        Outside::Unknown => panic!("so few steps"),
    }
}

#[test]
fn what_conditions_leave_open_is_shown() {
    let any = [("features.visits", Domain::Any), ("user.country", Domain::Any)];
    let (visits, country) = (slot("features.visits"), slot("user.country"));
    assert_eq!(open(&["features.visits < 5", "features.visits >= 5"], &any, 9), [] as [Vec<_>; 0]);
    assert_eq!(
        open(&["features.visits < 5", "features.visits > 5"], &any, 9),
        [vec![(visits, Example::Number(5.0)), (country, Example::Any)]]
    );
    assert_eq!(
        open(&["user.country == 'DE' && features.visits < 5", "user.country != 'DE'"], &any, 9),
        [vec![(visits, Example::Number(5.0)), (country, Example::Text("DE".to_owned()))]]
    );
    let texts = ["DE".to_owned(), "AT".to_owned()];
    let known = [("user.country", Domain::Texts(texts.to_vec()))];
    assert_eq!(open(&["user.country == 'DE'"], &known, 9), [vec![(country, Example::Text("AT".to_owned()))]]);
    assert_eq!(open(&["user.country in ['AT', 'DE']"], &known, 9), [] as [Vec<_>; 0]);
    let shares = [("scores.churn", Domain::Between(0.0, 1.0))];
    assert_eq!(open(&["scores.churn < 0.5", "scores.churn >= 0.5"], &shares, 9), [] as [Vec<_>; 0]);
    // What is not understood may cover everything.
    assert_eq!(open(&["features.visits + 1 > 5"], &any, 9), [] as [Vec<_>; 0]);
    assert_eq!(open(&["user.subscribed"], &[("user.subscribed", Domain::Any)], 9).len(), 1);
}

#[test]
fn whole_numbers_have_no_gap_between_neighbours() {
    let counts = Domain::Between(0.0, f64::INFINITY);
    let conditions = [cases("features.visits <= 2"), cases("features.visits >= 3")];
    let left = |is_whole| {
        Cases::with_values([(slot("features.visits"), &counts)]).outside(
            &conditions,
            Covered::Perhaps,
            9,
            &mut 100,
            &|_| is_whole,
        )
    };
    assert_eq!(left(true), Outside::Nothing);
    assert_eq!(left(false), Outside::Some(vec![vec![(slot("features.visits"), Example::Number(2.5))]]));
}

#[test]
fn texts_that_a_value_is_compared_with_are_known() {
    let country = slot("user.country");
    for (source, texts) in [
        ("user.country == 'DE' || 'FR' != user.country", &["DE", "FR"][..]),
        ("!(user.country in ['AT', 'DE']) && user.language == 'de'", &["AT", "DE"]),
        ("(user.subscribed ? user.country : user.language) == (user.subscribed ? 'A' : 'B')", &["A", "B"]),
        ("features.visits > (user.country == 'X' ? 1 : 2)", &["X"]),
        ("user.language == 'de' && features.visits > 3", &[]),
    ] {
        let expression = compile(source, ValueType::Boolean).expect("a sound condition");
        assert_eq!(expression.texts_compared(country), texts, "{source}");
    }
}

#[test]
fn a_search_that_takes_too_long_says_so() {
    let all = Cases::with_values([(slot("features.visits"), &Domain::Any)]);
    let conditions = [cases("features.visits < 5"), cases("features.visits > 5")];
    let mut steps = 1;
    assert_eq!(all.outside(&conditions, Covered::Perhaps, 1, &mut steps, &|_| false), Outside::Unknown);
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

    #[test]
    fn what_is_left_open_holds_on_rows(
        whole in sample(ValueType::Boolean, 2, Scope::Whole),
        parts in proptest::collection::vec(sample(ValueType::Boolean, 2, Scope::Whole), 1..5),
        row in row(),
    ) {
        let Ok(whole) = compile(&whole.write(), ValueType::Boolean) else { return Ok(()) };
        let parts: Result<Vec<_>, _> =
            parts.iter().map(|part| compile(&part.write(), ValueType::Boolean)).collect();
        let Ok(parts) = parts else { return Ok(()) };
        let is_true = |expression: &augur_expression::Expression, row: &Values| {
            expression.evaluate(row).as_boolean() == Some(true)
        };
        let (all, cases): (_, Vec<Cases>) = (Cases::of(&whole), parts.iter().map(Cases::of).collect());
        if all.outside(&cases, Covered::Surely, 1, &mut 10_000, &|_| false) == Outside::Nothing
            && is_true(&whole, &row)
        {
            prop_assert!(parts.iter().any(|part| is_true(part, &row)), "{} is covered", whole.source());
        }
        if let Outside::Some(examples) = all.outside(&cases, Covered::Perhaps, 3, &mut 10_000, &|_| false) {
            for example in examples {
                let row = with_example(row.clone(), &example);
                prop_assert!(parts.iter().all(|part| !is_true(part, &row)), "{example:?} is left open");
            }
        }
    }
}

/// The row with these values.
fn with_example(mut row: Values, example: &[(Slot, Example)]) -> Values {
    for (slot, value) in example {
        let (path, value_type) = NAMES[slot.0 as usize];
        let operand = match (value, value_type) {
            (Example::Missing, _) => {
                row.0[slot.0 as usize] = None;
                continue;
            }
            (Example::Any, _) if row.0[slot.0 as usize].is_some() => continue,
            (Example::Any, ValueType::Boolean) => Operand::Boolean(true),
            (Example::Any, ValueType::Number) => Operand::Number(1.0),
            (Example::Any, ValueType::Text) => Operand::Text("DE"),
            (Example::Any, ValueType::Timestamp) => Operand::Timestamp(0),
            (Example::Any, ValueType::Duration) => Operand::Duration(0),
            (Example::Boolean(value), _) => Operand::Boolean(*value),
            (Example::Text(text), _) => Operand::Text(text.clone().leak()),
            (Example::Number(number), ValueType::Number) => Operand::Number(*number),
            (Example::Number(ms), ValueType::Timestamp) => Operand::Timestamp(*ms as i64),
            (Example::Number(ms), _) => Operand::Duration(*ms as i64),
        };
        row = row.with(path, operand);
    }
    row
}
