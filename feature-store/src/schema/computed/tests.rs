//! Computed features: what they may read, in which order, and what stands in for what is missing.

use augur_domain::value::Finite;
use augur_domain::{Event, FeatureStatus};

use super::*;
use crate::testing::{START_MS, event, history};
use crate::{NoContext, UserState, apply};

use FeatureStatus::{Defaulted, NotFound, NullValue, OutsideMaxAge, Present};

const DEFINITIONS: &str = r#"
version = 1

[context]
cart_value = "number"
logged_in = "boolean"
country = "text"

[[feature]]
name = "twice"            # before what it needs
kind = "derived"
expression = "2.0 * features.per_event"

[[feature]]
name = "per_event"
kind = "ratio"
numerator = "spend_400d"
denominator = "events_400d"

[[feature]]
name = "smooth"
kind = "ratio"
numerator = "purchases_400d"
denominator = "events_400d"
smoothing = { prior = 0.25, weight = 4.0 }

[[feature]]
name = "events"
kind = "windowed_count"
windows = ["400d"]

[[feature]]
name = "purchases"
kind = "windowed_count"
events = ["purchase"]
windows = ["400d"]

[[feature]]
name = "spend"
kind = "windowed_sum"
events = ["purchase"]
property = "value"
windows = ["400d"]
max_age = "10d"

[[feature]]
name = "per_purchase"
kind = "derived"
expression = "features.spend_400d / features.purchases_400d"

[[feature]]
name = "buyer"
kind = "derived"
type = "boolean"
expression = "features.purchases_400d > 0.0"

[[feature]]
name = "segment"
kind = "derived"
type = "text"
expression = "features.buyer ? 'buyer' : 'visitor'"
default = "unknown"

[[feature]]
name = "cart_over_spend"
kind = "request"
expression = "context.cart_value / features.spend_400d"
default = -1.0

[[feature]]
name = "big_cart"
kind = "request"
type = "boolean"
expression = "context.cart_value > 50.0"

[[feature]]
name = "place"
kind = "request"
type = "text"
expression = "context.logged_in && features.segment == 'buyer' ? 'home' : context.country"
"#;

fn schema() -> FeatureSchema {
    FeatureSchema::parse("features.toml", DEFINITIONS).unwrap()
}

fn state(events: &[Event], schema: &FeatureSchema) -> UserState {
    let mut state = UserState::new(schema);
    for event in events {
        let changes = apply(&state, event, schema);
        state.commit(changes);
    }
    state
}

fn number(value: f64) -> Value {
    Value::Number(Finite::new(value).unwrap())
}

/// Status, number and text of every computed feature.
fn read(
    events: &[Event],
    at_ms: i64,
    context: &dyn Context,
) -> impl Fn(&str) -> (FeatureStatus, f64, Option<String>) + use<> {
    let schema = schema();
    let now = Timestamp::from_unix_ms(START_MS + at_ms);
    let vector = state(events, &schema).read(now, &schema, context);
    move |name| {
        let slot = schema.feature_set().slot(name).unwrap();
        let value = vector.values[slot];
        (value.status, value.value, vector.text(slot).map(ToString::to_string))
    }
}

#[test]
fn inputs_come_first_whatever_the_order_in_the_file() {
    let events = [event(1, 1, "purchase", 0, 30.0), event(1, 2, "page_view", 1, 0.0)];
    let value = read(&events, 2, &NoContext);
    assert_eq!(value("per_event"), (Present, 15.0, None));
    assert_eq!(value("twice"), (Present, 30.0, None));
    assert_eq!(value("smooth"), (Present, (1.0 + 1.0) / (2.0 + 4.0), None));
    assert_eq!(value("buyer"), (Present, 1.0, None));
    assert_eq!(value("segment"), (Present, 0.0, Some("buyer".to_owned())));
}

#[test]
fn what_has_no_result_has_no_value() {
    let value = read(&[event(1, 1, "page_view", 0, 0.0)], 2, &NoContext);
    // Nothing over nothing.
    assert_eq!(value("per_purchase"), (NullValue, 0.0, None));
    assert_eq!(value("segment"), (Present, 0.0, Some("visitor".to_owned())));
}

#[test]
fn inputs_that_are_too_old_are_missing() {
    let later = 10 * augur_domain::time::DAY_MS + 1;
    let value = read(&[event(1, 1, "purchase", 0, 30.0)], later, &NoContext);
    assert_eq!(value("spend_400d"), (OutsideMaxAge, 30.0, None));
    assert_eq!(value("per_purchase"), (NullValue, 0.0, None));
    assert_eq!(value("per_event"), (NullValue, 0.0, None));
    assert_eq!(value("twice"), (NullValue, 0.0, None));
}

#[test]
fn context_comes_with_the_request() {
    let events = [event(1, 1, "purchase", 0, 30.0)];
    let context: Vec<(Arc<str>, Value)> = vec![
        ("cart_value".into(), number(60.0)),
        ("country".into(), Value::Text("DE".into())),
        ("logged_in".into(), Value::Boolean(false)),
    ];
    let value = read(&events, 1, &context);
    assert_eq!(value("cart_over_spend"), (Present, 2.0, None));
    assert_eq!(value("big_cart"), (Present, 1.0, None));
    assert_eq!(value("place"), (Present, 0.0, Some("DE".to_owned())));
    let value = read(&events, 1, &NoContext);
    assert_eq!(value("cart_over_spend"), (Defaulted, -1.0, None));
    assert_eq!(value("big_cart"), (NullValue, 0.0, None));
    assert_eq!(value("place"), (NullValue, 0.0, None));
    // A value of another type than declared is missing.
    let context: Vec<(Arc<str>, Value)> = vec![("cart_value".into(), Value::Text("60".into()))];
    assert_eq!(read(&events, 1, &context)("big_cart"), (NullValue, 0.0, None));
}

#[test]
fn unknown_users_have_what_the_request_tells_and_nothing_else() {
    let context: Vec<(Arc<str>, Value)> =
        vec![("cart_value".into(), number(60.0)), ("country".into(), Value::Text("DE".into()))];
    let value = read(&[], 0, &context);
    assert_eq!(value("big_cart"), (Present, 1.0, None));
    for name in ["events_400d", "per_event", "segment", "cart_over_spend", "place"] {
        assert_eq!(value(name), (NotFound, 0.0, None), "{name}");
    }
}

#[test]
fn events_and_event_times_are_those_of_the_inputs() {
    let schema = schema();
    let info = |name: &str| {
        let slot = schema.feature_set().slot(name).unwrap();
        schema.feature_set().features()[slot].clone()
    };
    assert_eq!(info("per_purchase").events, Some(vec!["purchase".into()]));
    assert_eq!(info("per_event").events, None, "every event");
    assert_eq!(info("big_cart").events, Some(Vec::new()), "none, as the request alone says it");
    assert_eq!(info("twice").description.as_ref(), "2.0 * features.per_event");
    let events = [event(1, 1, "purchase", 5, 30.0), event(1, 2, "page_view", 9, 0.0)];
    let vector = state(&events, &schema).read(Timestamp::from_unix_ms(START_MS + 10), &schema, &NoContext);
    let at = |name: &str| {
        let value = vector.values[schema.feature_set().slot(name).unwrap()];
        value.event_time.map(|time| time.unix_ms() - START_MS)
    };
    assert_eq!((at("per_purchase"), at("per_event"), at("big_cart")), (Some(5), Some(9), None));
}

#[test]
fn circles_are_shown() {
    let text = "version = 1\n\
        [[feature]]\nname = 'c'\nkind = 'derived'\nexpression = 'features.a + 1.0'\n\
        [[feature]]\nname = 'a'\nkind = 'derived'\nexpression = 'features.b + 1.0'\n\
        [[feature]]\nname = 'b'\nkind = 'derived'\nexpression = 'features.a + 1.0'\n\
        [[feature]]\nname = 'self'\nkind = 'derived'\nexpression = 'features.self + 1.0'\n";
    let found = FeatureSchema::parse("f.toml", text).unwrap_err();
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "f.toml:9:15: `a` needs `b` needs `a`, in a circle; expected features that do not need each other",
            "f.toml:17:15: `self` needs `self`, in a circle; expected features that do not need each other",
        ]
    );
}

#[test]
fn each_mistake_is_named() {
    for (keys, expected) in [
        ("kind = 'derived'", "`expression` is missing"),
        (
            "kind = 'derived'\nexpression = 'features.event_400d'",
            "5:15: `features.event_400d` is not a known name",
        ),
        ("kind = 'derived'\nexpression = 'context.cart > 1.0'", "only kind request reads the context"),
        ("kind = 'request'\nexpression = 'context.basket'", "declare it in `[context]`"),
        (
            "kind = 'request'\nexpression = 'context.cart > 1.0'",
            "the expression is a boolean; expected a number",
        ),
        ("kind = 'request'\nexpression = 'context.cart'\ndefault = true", "default of `a` is a boolean"),
        ("kind = 'request'\ntype = 'timestamp'\nexpression = 'now'", "unknown type `timestamp`"),
        ("kind = 'derived'\nexpression = '1.0'\nevents = ['x']", "`events` has no meaning for kind derived"),
        ("kind = 'ratio'\nnumerator = 'events_400d'", "`denominator` is missing"),
        (
            "kind = 'ratio'\nnumerator = 'event_400d'\ndenominator = 'events_400d'",
            "5:13: there is no feature `event_400d`; expected the full name of a feature in this file; did you mean \
             `events_400d`?",
        ),
        ("kind = 'ratio'\nnumerator = 'word'\ndenominator = 'events_400d'", "`word` is a text"),
        (
            "kind = 'ratio'\nnumerator = 'events_400d'\ndenominator = 'events_400d'\nsmoothing = { prior = 1.0 }",
            "`smoothing` is `{ prior = 1.0 }`; expected a prior and its weight",
        ),
        (
            "kind = 'ratio'\nnumerator = 'events_400d'\ndenominator = 'events_400d'\n\
             smoothing = { prior = 1.0, weight = 0.0 }",
            "a prior of 1 with weight 0",
        ),
    ] {
        let text = format!(
            "[[feature]]\nname = 'a'\n{keys}\n[[feature]]\nname = 'events'\nkind = 'windowed_count'\n\
             windows = ['400d']\n[[feature]]\nname = 'word'\nkind = 'derived'\ntype = 'text'\n\
             expression = '\"x\"'\n[context]\ncart = 'number'\n"
        );
        let found = FeatureSchema::parse("f.toml", &format!("version = 1\n{text}")).unwrap_err();
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 1, "{keys}: {found:?}");
        assert!(found[0].contains(expected), "{keys}: {found:?}");
    }
    let found =
        FeatureSchema::parse("f.toml", "version = 1\n[context]\nCart = 'number'\nb = 'numbr'\n").unwrap_err();
    assert!(found[1].to_string().contains("`Cart` in `context` is not a name"), "{found:?}");
}

#[test]
fn definitions_follow_their_inputs() {
    let definitions = |text: &str| {
        let schema = FeatureSchema::parse("features.toml", text).unwrap();
        let features = schema.feature_set().features().to_vec();
        move |name: &str| features.iter().find(|feature| &*feature.name == name).unwrap().definition
    };
    let before = definitions(DEFINITIONS);
    let changed = |other: &str, names: &[&str]| {
        let after = definitions(other);
        for feature in schema().feature_set().features() {
            let (name, expected) = (&*feature.name, names.contains(&&*feature.name));
            assert_eq!(before(name) != after(name), expected, "{name}");
        }
    };
    // The maximum age of an input is part of what is made of it.
    let of_spend = ["spend_400d", "per_event", "twice", "per_purchase", "cart_over_spend"];
    changed(&DEFINITIONS.replace("max_age = \"10d\"", "max_age = \"11d\""), &of_spend);
    changed(&DEFINITIONS.replace("prior = 0.25", "prior = 0.5"), &["smooth"]);
    changed(&DEFINITIONS.replace("default = \"unknown\"", "default = \"none\""), &["segment", "place"]);
    changed(&DEFINITIONS.replace("> 50.0", "> 51.0"), &["big_cart"]);
    changed(&DEFINITIONS.replace("default = -1.0", "description = 'x'\ndefault = -1.0"), &[]);
}

proptest::proptest! {
    #[test]
    fn reads_are_finite_and_never_panic(events in history(1, 40), cart in proptest::num::f64::NORMAL, later in 0..1_000_i64) {
        let schema = schema();
        let mut state = UserState::new(&schema);
        let context: Vec<(Arc<str>, Value)> = vec![("cart_value".into(), number(cart))];
        for event in &events {
            let changes = apply(&state, event, &schema);
            state.commit(changes);
            let vector = state.read(event.event_time.plus_millis(later), &schema, &context);
            proptest::prop_assert!(vector.values.iter().all(|value| value.value.is_finite()));
            proptest::prop_assert!(vector.texts.is_sorted_by(|left, right| left.0 < right.0));
        }
    }
}
