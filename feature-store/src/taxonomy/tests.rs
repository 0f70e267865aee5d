//! What a taxonomy accepts, what it makes of events, and what it refuses.

use augur_domain::event::{EventKind, QuarantineReason};
use augur_domain::value::Finite;
use augur_domain::{Event, Value, ValueType};
use proptest::prelude::*;

use super::*;
use crate::testing::{any_event, event};

const SHOP: &str = r#"
version = 1

[policy]
unknown_events = "reject"
unknown_properties = "drop"
sensitive = ["phone"]

[[event]]
name = "purchase"
aliases = ["Bestellung", "order-paid"]
schema_version = 3
retractable = true

[[event.property]]
name = "value"
type = "number"
unit = "EUR"
min = 0
max = 10000
required = true
renamed_from = ["revenue", "total"]

[[event.property]]
name = "currency"
type = "text"
one_of = ["USD", "EUR"]
required = true
added_in = 2

[[event.property]]
name = "email"
sensitive = true

[[event.property]]
name = "note"
type = "text"
max_bytes = 5

[[event.property]]
name = "delivered_at"
type = "timestamp"

[[event.property]]
name = "took"
type = "duration"

[[event.property]]
name = "gift"
type = "boolean"
deprecated = true

[[event]]
name = "page_view"
deprecated = true
replaced_by = "purchase"
property = [{ name = "phone", type = "text" }]
"#;

fn shop() -> Taxonomy {
    Taxonomy::parse("events.toml", SHOP).unwrap()
}

fn number(value: f64) -> Value {
    Value::Number(Finite::new(value).unwrap())
}

fn text(value: &str) -> Value {
    Value::Text(value.into())
}

fn with(name: &str, properties: &[(&str, Value)]) -> Event {
    let mut properties: Vec<_> =
        properties.iter().map(|(name, value)| (Arc::from(*name), value.clone())).collect();
    properties.sort_by(|(left, _), (right, _): &(Arc<str>, Value)| left.cmp(right));
    Event { properties, ..event(1, 1, name, 0, 0.0) }
}

fn names(event: &Event) -> Vec<&str> {
    event.properties.iter().map(|(name, _)| &**name).collect()
}

fn refused(event: Event) -> (QuarantineReason, String, bool) {
    let Refused { why, reject } = shop().check(event).unwrap_err();
    assert!(why.detail.contains("; expected "), "{why:?}");
    (why.reason, why.field, reject)
}

#[test]
fn names_of_today_and_of_the_past_mean_the_same() {
    let checked = shop().check(with("bestellung", &[("revenue", number(5.0))])).unwrap();
    assert_eq!((&*checked.event.name, names(&checked.event)), ("purchase", vec!["value"]));
    let both = [("revenue", number(1.0)), ("total", number(2.0)), ("value", number(3.0))];
    let checked = shop().check(with("order_paid", &both)).unwrap();
    assert_eq!(checked.event.property("value"), Some(&number(3.0)));
    let old = [("total", number(2.0)), ("revenue", number(1.0))];
    let checked = shop().check(with("purchase", &old)).unwrap();
    assert_eq!(checked.event.property("value"), Some(&number(1.0)), "the later of the old names wins");
    assert_eq!(&*shop().event("Order Paid").unwrap().name, "purchase");
    assert_eq!(&*shop().event("Order Completed").unwrap().name, "purchase", "by the shipped table");
}

#[test]
fn sensitive_and_unknown_properties_are_left_out_and_counted() {
    let properties =
        [("email", text("a@b")), ("phone", text("1")), ("other", text("x")), ("value", number(1.0))];
    let checked = shop().check(with("purchase", &properties)).unwrap();
    assert_eq!(names(&checked.event), ["value"]);
    assert_eq!((checked.sensitive_dropped, checked.unknown_dropped, checked.deprecated), (2, 1, false));
    let checked = shop().check(with("page_view", &[("phone", text("1"))])).unwrap();
    assert_eq!(names(&checked.event), ["phone"], "declared here as not sensitive");
    assert!(checked.deprecated);
}

#[test]
fn an_undeclared_event_that_is_accepted_loses_what_is_sensitive_anywhere() {
    let open = SHOP.replace("unknown_events = \"reject\"", "unknown_events = \"accept\"");
    let open = Taxonomy::parse("events.toml", &open).unwrap();
    let event = with("other", &[("email", text("a@b")), ("phone", text("1")), ("x", text("x"))]);
    let checked = open.check(event).unwrap();
    assert_eq!((names(&checked.event), checked.sensitive_dropped), (vec!["x"], 2));
}

#[test]
fn what_does_not_fit_is_refused_with_reason_and_field() {
    use QuarantineReason::*;
    let good = ("value", number(1.0));
    let purchase = |name: &str, value: Value| with("purchase", &[good.clone(), (name, value)]);
    let aside = |reason, field: &str| (reason, format!("properties.{field}"), false);
    assert_eq!(refused(with("other", &[])), (UnknownEvent, "event".to_owned(), true));
    assert_eq!(refused(with("purchase", &[])), aside(MissingField, "value"));
    assert_eq!(refused(with("purchase", &[("value", text("12"))])), aside(WrongType, "value"));
    assert_eq!(refused(with("purchase", &[("total", number(-1.0))])), aside(OutOfBounds, "value"));
    assert_eq!(refused(with("purchase", &[("value", number(10_001.0))])), aside(OutOfBounds, "value"));
    assert_eq!(refused(purchase("currency", text("GBP"))), aside(OutOfBounds, "currency"));
    assert_eq!(refused(purchase("note", text("éééé"))), aside(OutOfBounds, "note"));
    assert_eq!(refused(purchase("gift", number(1.0))), aside(WrongType, "gift"));
    assert_eq!(refused(purchase("delivered_at", text("yesterday"))), aside(WrongType, "delivered_at"));
    assert_eq!(refused(purchase("delivered_at", number(0.5))), aside(WrongType, "delivered_at"));
    assert_eq!(refused(purchase("took", number(-1.0))), aside(WrongType, "took"));
    let strict = SHOP.replace("unknown_properties = \"drop\"", "unknown_properties = \"quarantine\"");
    let strict = Taxonomy::parse("events.toml", &strict).unwrap();
    let refused = strict.check(purchase("other", text("x"))).unwrap_err().why;
    assert_eq!((refused.reason, &*refused.field), (UnknownProperty, "properties.other"));
    assert!(strict.check(purchase("schema_version", number(1.0))).is_ok());
}

#[test]
fn instants_and_lengths_of_time_become_milliseconds() {
    let properties = [
        ("value", number(1.0)),
        ("delivered_at", text("1970-01-01T00:00:01Z")),
        ("took", text("2m")),
        ("gift", Value::Boolean(true)),
    ];
    let checked = shop().check(with("purchase", &properties)).unwrap();
    assert_eq!(checked.event.property("delivered_at"), Some(&number(1_000.0)));
    assert_eq!(checked.event.property("took"), Some(&number(120_000.0)));
    assert!(checked.deprecated, "a deprecated property came");
}

#[test]
fn older_senders_need_not_know_what_was_added() {
    let old = with("purchase", &[("value", number(1.0))]);
    assert!(shop().check(old).is_ok());
    let new = with("purchase", &[("value", number(1.0)), ("schema_version", number(2.0))]);
    assert_eq!(refused(new).1, "properties.currency");
}

#[test]
fn links_and_retractions_pass() {
    for kind in [EventKind::Alias, EventKind::Retract] {
        let event = Event { kind, ..with("whatever", &[("email", text("x"))]) };
        assert_eq!(shop().check(event.clone()).unwrap().event, event);
    }
}

#[test]
fn without_a_file_everything_passes() {
    let untyped = Taxonomy::untyped();
    let event = with("anything", &[("email", text("x"))]);
    assert_eq!(untyped.check(event.clone()).unwrap().event, event);
    assert!(untyped.retractable().is_none() && !untyped.has_sensitive());
    assert_eq!(shop().retractable(), Some(vec!["purchase".into()]));
}

#[test]
fn features_are_told_the_types_of_what_is_stored() {
    let shop = shop();
    let typed: Vec<_> =
        shop.properties_of("Bestellung").unwrap().map(|(name, value_type)| (&**name, value_type)).collect();
    use ValueType::{Boolean, Duration, Number, Text, Timestamp};
    let expected = [
        ("currency", Text),
        ("delivered_at", Timestamp),
        ("gift", Boolean),
        ("note", Text),
        ("took", Duration),
        ("value", Number),
    ];
    assert_eq!(typed, expected);
    assert!(shop.properties_of("other").is_none());
}

#[test]
fn the_hash_feels_what_matters_and_nothing_else() {
    let hash = shop().hash();
    let of = |text: &str| Taxonomy::parse("events.toml", text).unwrap().hash();
    assert_eq!(of(&SHOP.replace("retractable = ", "description = \"orders\"\nretractable = ")), hash);
    for (from, to) in [
        ("max = 10000", "max = 9999"),
        ("\"drop\"", "\"accept\""),
        ("\"Bestellung\", ", ""),
        ("retractable = true", "retractable = false"),
        ("max_bytes = 5", "max_bytes = 6"),
        ("[\"phone\"]", "[\"fax\"]"),
    ] {
        assert_ne!(of(&SHOP.replace(from, to)), hash, "{from}");
    }
}

#[test]
fn faults_are_told_with_their_place() {
    let cases = [
        ("name = \"purchase\"", "name = \"Order Completed\"", "its canonical name, `purchase`"),
        ("\"Bestellung\"", "\"Produkt hinzugefügt\"", "expected letters, digits"),
        ("\"Bestellung\"", "\"Product Viewed\"", "every `Product Viewed` is `view_item` already"),
        ("\"Bestellung\"", "\"page_view\"", "alias `page_view` is a declared event"),
        ("\"Bestellung\"", "\"Order Paid\"", "each name once"),
        ("name = \"page_view\"", "name = \"purchase\"", "event `purchase` is declared twice"),
        ("replaced_by = \"purchase\"", "replaced_by = \"sale\"", "names `sale`; expected a declared event"),
        ("deprecated = true\nreplaced_by", "replaced_by", "of an event that is not deprecated"),
        ("type = \"number\"", "type = \"numbr\"", "did you mean `number`?"),
        ("type = \"number\"\n", "", "`type` is missing; expected one of number, text"),
        ("min = 0", "min = 20000", "max 10000 lies below min 20000"),
        ("min = 0", "min = inf", "a finite number"),
        ("max_bytes = 5", "max_bytes = 0", "a whole number from 1 to 8192"),
        ("max_bytes = 5", "min = 5", "`min` has no meaning for type text; expected type number"),
        ("sensitive = true", "sensitive = true\nrequired = true", "cannot be required"),
        ("added_in = 2", "added_in = 4", "a whole number from 1 to 3"),
        ("[\"revenue\", \"total\"]", "[\"note\"]", "property `note` is named twice"),
        ("required = true", "requird = true", "did you mean `required`?"),
        ("\"reject\"", "\"rejct\"", "did you mean `reject`?"),
        ("version = 1", "version = 2", "version 2 is not known; expected `version = 1`"),
        ("name = \"note\"", "name = \"schema_version\"", "understood without a declaration"),
    ];
    for (from, to, told) in cases {
        let faults = Taxonomy::parse("events.toml", &SHOP.replacen(from, to, 1)).unwrap_err();
        let shown: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert!(shown.iter().any(|fault| fault.contains(told)), "{from} -> {to}: {shown:?}");
        assert!(shown.iter().all(|fault| fault.starts_with("events.toml:")), "{shown:?}");
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(text: String, at: prop::sample::Index, junk in "[\\[\\]\"=a-z0-9\\n ]{0,8}") {
        let _ = Taxonomy::parse("events.toml", &text);
        let mut broken = SHOP.to_owned();
        broken.insert_str(broken.floor_char_boundary(at.index(broken.len())), &junk);
        let _ = Taxonomy::parse("events.toml", &broken);
    }

    #[test]
    fn checking_never_panics_and_is_idempotent(
        event in any_event(),
        name in prop::sample::select(vec!["purchase", "page_view", "bestellung", "other"]),
        value in -1e5_f64..1e5,
        renamed: bool,
    ) {
        let mut event = Event { name: name.into(), ..event };
        let key = if renamed { "revenue" } else { "value" };
        event.properties.retain(|(name, _)| &**name != key);
        event.properties.push((key.into(), number(value)));
        event.properties.sort_by(|(left, _), (right, _)| left.cmp(right));
        for (from, to) in [("x", "x"), ("\"reject\"", "\"accept\""), ("\"drop\"", "\"quarantine\"")] {
            let taxonomy = Taxonomy::parse("events.toml", &SHOP.replace(from, to)).unwrap();
            if let Ok(once) = taxonomy.check(event.clone()) {
                let twice = taxonomy.check(once.event.clone()).unwrap();
                prop_assert_eq!(&twice.event, &once.event);
                prop_assert_eq!((twice.sensitive_dropped, twice.unknown_dropped), (0, 0));
                let sorted = once.event.properties.windows(2).all(|pair| pair[0].0 < pair[1].0);
                prop_assert!(sorted);
            }
        }
    }
}
