//! Declarations over a taxonomy: what it lets them read, and what could never come.

use super::*;
use crate::taxonomy::Taxonomy;

const TAXONOMY: &str = r#"
version = 1

[policy]
unknown_events = "quarantine"
unknown_properties = "drop"

[[event]]
name = "purchase"
retractable = true
aliases = ["bought"]
property = [
    { name = "value", type = "number" },
    { name = "category", type = "text" },
    { name = "card", type = "text", sensitive = true },
    { name = "delivered_at", type = "timestamp" },
]

[[event]]
name = "search"
property = [{ name = "value", type = "text" }]
"#;

fn parse(keys: &str) -> Result<FeatureSchema, Vec<String>> {
    let taxonomy = Taxonomy::parse("events.toml", TAXONOMY).unwrap();
    let text = format!("version = 1\n[[feature]]\nname = 'f'\n{keys}");
    let parsed = FeatureSchema::parse_with("f.toml", &text, &taxonomy);
    parsed.map_err(|found| found.iter().map(ToString::to_string).collect())
}

const COUNT: &str = "kind = 'windowed_count'\nwindows = ['1d']\n";

#[test]
fn conditions_read_what_events_declare() {
    for condition in
        ["properties.category == 'shoes'", "properties.value > 1.0", "properties.delivered_at > 0.0"]
    {
        let keys = format!("{COUNT}events = ['purchase']\nwhere = \"{condition}\"");
        assert!(parse(&keys).is_ok(), "{condition}: {:?}", parse(&keys));
    }
    for (keys, expected) in [
        (
            "events = ['purchase']\nwhere = \"properties.card == 'x'\"",
            "`properties.card` is not a known name",
        ),
        // Over every event, `value` is a number here and a text there.
        ("where = 'properties.value > 1.0'", "`properties.value` is not a known name; say its type"),
        (
            "events = ['purchase']\nproperty_types = { value = 'text' }\nwhere = \"properties.value == 'x'\"",
            "property `value` is a number in the taxonomy",
        ),
    ] {
        let found = parse(&format!("{COUNT}{keys}")).unwrap_err();
        assert!(found[0].contains(expected), "{keys}: {found:?}");
    }
    let typed = "where = 'properties.value > 1.0'\nproperty_types = { value = 'number' }";
    assert!(parse(&format!("{COUNT}{typed}")).is_ok());
}

#[test]
fn what_can_never_come_is_refused() {
    for (keys, expected) in [
        (
            "kind = 'total_count'\nevents = ['purchse']",
            "f.toml:5:11: no event `purchse` is declared, and others are not taken; expected an event of the taxonomy; \
             did you mean `purchase`?",
        ),
        ("kind = 'total_count'\nevents = ['bought']", "`bought` is another name of `purchase`"),
        (
            "kind = 'total_sum'\nevents = ['search']\nproperty = 'value'",
            "property `value` of `search` is a text; expected a number",
        ),
        (
            "kind = 'total_sum'\nexact = true\nevents = ['purchase']\nproperty = 'valeu'",
            "event `purchase` declares no property `valeu`",
        ),
        (
            "kind = 'last_value'\nretractable = false\ntype = 'text'\nevents = ['purchase']\nproperty = 'card'",
            "property `card` of `purchase` is sensitive",
        ),
    ] {
        let found = parse(keys).unwrap_err();
        assert!(found[0].contains(expected), "{keys}: {found:?}");
    }
}

#[test]
fn events_that_can_be_taken_back_ask_for_kinds_that_can() {
    let keys = "kind = 'total_sum'\nevents = ['purchase']\nproperty = 'value'\n";
    let found = parse(keys).unwrap_err();
    assert!(
        found[0].starts_with("f.toml:3:8: `purchase` can be retracted, but not taken back out of `f`"),
        "{found:?}"
    );
    assert!(parse(&format!("{keys}exact = true")).unwrap().aggregates()[0].retractable);
    assert!(!parse(&format!("{keys}retractable = false")).unwrap().aggregates()[0].retractable);
}

#[test]
fn copies_stand_by_themselves() {
    let keys = "kind = 'total_count'\nevents = ['purchase']\nproperty_types = { other = 'number' }\n\
                where = \"properties.category == 'shoes' && properties.other > 1.0\"";
    let schema = parse(keys).unwrap();
    assert!(
        FeatureSchema::parse("f.toml", &format!("version = 1\n[[feature]]\nname = 'f'\n{keys}")).is_err()
    );
    let copy = FeatureSchema::parse("f.toml", schema.source()).unwrap();
    assert_eq!(copy.feature_set(), schema.feature_set());
    assert_eq!(copy.source(), schema.source());
    let taxonomy = Taxonomy::parse("events.toml", TAXONOMY).unwrap();
    let again = FeatureSchema::parse_with("f.toml", schema.source(), &taxonomy).unwrap();
    assert_eq!(again, schema);
    // Property names are whatever senders choose.
    let odd = TAXONOMY.replace("\"category\"", "\"a.b\"");
    let odd = Taxonomy::parse("events.toml", &odd).unwrap();
    let text = "version = 1\n[[feature]]\nname = 'f'\nkind = 'total_count'\nevents = ['purchase']\n\
                where = \"has(properties.a.b)\"";
    let schema = FeatureSchema::parse_with("f.toml", text, &odd).unwrap();
    assert_eq!(FeatureSchema::parse("f.toml", schema.source()).unwrap(), schema);
}

#[test]
fn names_that_are_never_stored_are_refused_in_new_files_and_read_in_copies() {
    let text = |events: &str| format!("version = 1\n[[feature]]\nname = 'f'\nkind = 'total_count'\n{events}");
    for (events, expected) in [
        (
            "events = ['Product Added']",
            "f.toml:5:11: events called `Product Added` are stored as `add_to_cart`; expected the name that is stored, \
             `add_to_cart`",
        ),
        ("events = ['Checkout']", "f.toml:5:11: events called `Checkout` are stored as `checkout`; expected"),
        ("events = ['größe']", "f.toml:5:11: no event can be called `größe`; expected letters and digits"),
    ] {
        let found = FeatureSchema::parse_with("f.toml", &text(events), &Taxonomy::untyped()).unwrap_err();
        assert!(found[0].to_string().starts_with(expected), "{found:?}");
        assert!(FeatureSchema::parse("f.toml", &text(events)).is_ok(), "{events}");
    }
    assert!(
        FeatureSchema::parse_with("f.toml", &text("events = ['add_to_cart']"), &Taxonomy::untyped()).is_ok()
    );
    // What the taxonomy knows is told once.
    let found = parse(&format!("{COUNT}events = ['bought']")).unwrap_err();
    assert_eq!(found.len(), 1, "{found:?}");
}
