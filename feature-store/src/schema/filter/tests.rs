//! Conditions on events: what counts, what does not, and what is refused.

use augur_domain::value::Finite;
use augur_domain::{Timestamp, Value};

use super::*;
use crate::testing::{START_MS, event};
use crate::{FeatureSchema, NoContext, UserState, apply};

fn definitions(condition: &str) -> String {
    format!(
        "version = 1\n[[feature]]\nname = 'n'\nkind = 'windowed_count'\nevents = ['purchase', 'refund']\n\
         where = \"{condition}\"\nwindows = ['1h']\n\
         property_types = {{ value = 'number', category = 'text', gift = 'boolean', 'a.b' = 'number' }}\n"
    )
}

fn counted(condition: &str, events: &[Event]) -> f64 {
    let schema = FeatureSchema::parse("f.toml", &definitions(condition)).unwrap();
    let mut state = UserState::new(&schema);
    for event in events {
        let changes = apply(&state, event, &schema);
        state.commit(changes);
    }
    state.read(Timestamp::from_unix_ms(START_MS), &schema, &NoContext).values[0].value
}

fn with(mut event: Event, name: &str, value: Value) -> Event {
    event.properties.push((name.into(), value));
    event.properties.sort_by(|(left, _), (right, _)| left.cmp(right));
    event
}

#[test]
fn only_events_that_match_count() {
    let shoes = with(event(1, 1, "purchase", 0, 50.0), "category", Value::Text("shoes".into()));
    let hats = with(event(1, 2, "refund", 0, 20.0), "category", Value::Text("hats".into()));
    let gift = with(event(1, 3, "purchase", 0, 5.0), "gift", Value::Boolean(true));
    let dotted = with(event(1, 4, "purchase", 0, 5.0), "a.b", Value::Number(Finite::new(7.0).unwrap()));
    let odd = with(event(1, 5, "purchase", 0, 5.0), "category", Value::Boolean(true));
    let events = [shoes, hats, gift, dotted, odd];
    for (condition, expected) in [
        ("properties.category == 'shoes'", 1.0),
        ("properties.category != 'shoes'", 1.0),
        ("properties.category in ['shoes', 'hats'] && properties.value > 30.0", 1.0),
        ("event.name == 'refund'", 1.0),
        ("properties.gift", 1.0),
        ("!properties.gift", 0.0),
        ("!has(properties.gift)", 4.0),
        ("has(properties.category)", 2.0),
        ("properties.a.b > 6.0", 1.0),
        ("properties.value / 0.0 > 1.0 || properties.value > 40.0", 1.0),
        ("true", 5.0),
    ] {
        assert_eq!(counted(condition, &events), expected, "{condition}");
    }
}

#[test]
fn each_mistake_is_named_with_its_place() {
    for (condition, expected) in [
        (
            "properties.categry == 'x'",
            "6:10: `properties.categry` is not a known name; did you mean `properties.category`?",
        ),
        (
            "properties.manufacturer > 1.0",
            "6:10: `properties.manufacturer` is not a known name; say its type",
        ),
        ("properties.value == 'x'", "6:27: `==` cannot compare a number with a text"),
        ("properties.value", "6:10: the expression is a number; expected a boolean"),
        (
            "event.name == 'login'",
            "6:24: `event.name` is never 'login'; expected one of 'purchase', 'refund'",
        ),
        ("features.x > 1.0", "`features.x` is not a known name"),
    ] {
        let found = FeatureSchema::parse("f.toml", &definitions(condition)).unwrap_err();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].to_string().contains(expected), "{condition}: {}", found[0]);
    }
}

#[test]
fn conditions_belong_to_the_definition() {
    let definition = |text: &str| {
        let schema = FeatureSchema::parse("f.toml", text).unwrap();
        (schema.aggregates()[0].definition, schema.feature_set().features()[0].definition)
    };
    let base = definitions("properties.value > 1.0");
    assert_eq!(definition(&base), definition(&base.replace("category = 'text', ", "")));
    for other in [base.replace("1.0", "2.0"), base.replace("where = \"properties.value > 1.0\"", "")] {
        let other = if other.contains("where") { other } else { other.replace("property_types", "# ") };
        let (one, two) = (definition(&base), definition(&other));
        assert!(one.0 != two.0 && one.1 != two.1, "{other}");
    }
}
