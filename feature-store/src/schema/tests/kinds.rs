//! Every kind, its options and its bounds.

use std::fmt::Write as _;

use augur_domain::value::Finite;
use augur_domain::{Event, Value, ValueType};
use proptest::prelude::*;

use super::*;
use crate::testing::{START_MS, event, history};
use crate::{NoContext, UserState, apply};

/// A declaration per kind, each with all the options that it may have.
const KINDS: &[(&str, &str)] = &[
    ("decayed_count", "half_lives = ['1h', '7d']\nexact = true\nretractable = true"),
    ("decayed_sum", "half_lives = ['1d']\nproperty = 'value'\nexact = true\nretractable = true"),
    ("windowed_count", "windows = ['1h', '30d']\nexact_events = 8\nretractable = false"),
    ("windowed_sum", "windows = ['1h']\nproperty = 'value'\nexact = true\nretractable = true"),
    ("windowed_mean", "windows = ['1d']\nproperty = 'value'\nexact_events = 4"),
    ("windowed_min", "windows = ['1d']\nproperty = 'value'\ndefault = -1.0"),
    ("windowed_max", "windows = ['1d', '400d']\nproperty = 'value'"),
    ("windowed_variance", "windows = ['1d']\nproperty = 'value'"),
    ("windowed_standard_deviation", "windows = ['1d']\nproperty = 'value'"),
    ("total_count", "retractable = true"),
    ("total_sum", "property = 'value'\nexact = true"),
    ("time_since_last", "max_age = '1d'"),
    ("time_since_first", "unit = 's'"),
    ("first_value", "property = 'item'\ntype = 'text'\ndefault = 'none'"),
    ("last_value", "property = 'value'\ntype = 'number'"),
    (
        "sessions",
        "gap = '30m'\nmeasures = ['bounce_share', 'count', 'current_pages', 'events_per_session', \
         'mean_length_secs', 'current_events', 'current_length_secs']",
    ),
    ("distinct_count", "property = 'item'\nwindows = ['1h', '7d']\nexact_values = 4\nprecision = 6"),
    (
        "top_k",
        "property = 'item'\nk = 2\ncapacity = 5\nhalf_life = '1d'\nmeasures = ['value', 'share', 'count']",
    ),
    ("engagement_score", "weights = { purchase = 10.0, page_view = 1 }\nhalf_lives = ['1d']\nexact = true"),
    ("ratio", "numerator = 'n_1h'\ndenominator = 'n_30d'\nsmoothing = { prior = 0.5, weight = 2.0 }"),
    ("derived", "expression = 'features.n_1h > 1.0'\ntype = 'boolean'\ndefault = false"),
    ("request", "expression = 'context.cart_value + features.n_1h'"),
];

const BASE: &str = "version = 1\n[context]\ncart_value = 'number'\n\
                    [[feature]]\nname = 'n'\nkind = 'windowed_count'\nwindows = ['1h', '30d']\n";

fn file(declarations: &[(&str, &str)]) -> String {
    let mut text = BASE.to_owned();
    for (index, (kind, keys)) in declarations.iter().enumerate() {
        writeln!(text, "[[feature]]\nname = 'f{index}'\nkind = '{kind}'\n{keys}").unwrap();
    }
    text
}

fn parse(text: &str) -> FeatureSchema {
    FeatureSchema::parse("f.toml", text).unwrap_or_else(|found| panic!("{found:?}\n{text}"))
}

fn with_item(mut event: Event, item: u8) -> Event {
    event.properties.insert(0, ("item".into(), Value::Text(format!("item {item}").into())));
    event
}

fn state(events: &[Event], schema: &FeatureSchema) -> UserState {
    let mut state = UserState::new(schema);
    for event in events {
        let changes = apply(&state, event, schema);
        state.commit(changes);
    }
    state
}

#[test]
fn every_kind_is_declared_by_its_word() {
    let known: Vec<&str> = kind::Kind::ALL.iter().map(|(word, _)| *word).collect();
    let tried: Vec<&str> = KINDS.iter().map(|(word, _)| *word).collect();
    assert_eq!(known, tried);
    let schema = parse(&file(KINDS));
    let set = schema.feature_set();
    let info = |name: &str| set.features()[set.slot(name).unwrap_or_else(|| panic!("{name}"))].clone();
    for (name, value_type) in [
        ("f0_1h", ValueType::Number),
        ("f4_1d", ValueType::Number),
        ("f9", ValueType::Number),
        ("f13", ValueType::Text),
        ("f15_bounce_share", ValueType::Number),
        ("f16_7d", ValueType::Number),
        ("f17_1", ValueType::Text),
        ("f17_2_share", ValueType::Number),
        ("f17_2_count", ValueType::Number),
        ("f18_1d", ValueType::Number),
        ("f20", ValueType::Boolean),
    ] {
        assert_eq!(info(name).value_type, value_type, "{name}");
    }
    assert_eq!(info("f12").unit.as_ref(), "s");
    assert_eq!(info("f18_1d").events, Some(vec!["page_view".into(), "purchase".into()]));
    let definitions: std::collections::BTreeSet<_> =
        set.features().iter().map(|feature| feature.definition).collect();
    assert_eq!(definitions.len(), set.features().len(), "no two of these are the same feature");
}

#[test]
fn values_are_what_was_declared() {
    let schema = parse(&file(KINDS));
    let events: Vec<Event> =
        [(1, "purchase", 0, 10.0), (1, "page_view", 60_000, 20.0), (2, "purchase", 120_000, 60.0)]
            .into_iter()
            .enumerate()
            .map(|(id, (item, name, at, value))| with_item(event(1, id as u64, name, at, value), item))
            .collect();
    let vector =
        state(&events, &schema).read(Timestamp::from_unix_ms(START_MS + 120_000), &schema, &NoContext);
    let set = schema.feature_set();
    let number = |name: &str| vector.usable(set.slot(name).unwrap());
    let text = |name: &str| vector.usable_text(set.slot(name).unwrap()).map(|text| text.to_string());
    for (name, expected) in [
        ("f2_1h", 3.0),
        ("f3_1h", 90.0),
        ("f4_1d", 30.0),
        ("f5_1d", 10.0),
        ("f6_400d", 60.0),
        ("f9", 3.0),
        ("f10", 90.0),
        ("f11", 0.0),
        ("f12", 120.0),
        ("f14", 60.0),
        ("f15_count", 1.0),
        ("f15_bounce_share", 0.0),
        ("f15_events_per_session", 3.0),
        ("f15_current_pages", 1.0),
        ("f16_7d", 2.0),
        ("f19", (3.0 + 1.0) / (3.0 + 2.0)),
        ("f20", 1.0),
    ] {
        assert_eq!(number(name), Some(expected), "{name}");
    }
    // 700 over three around a mean of 30.
    assert!((number("f7_1d").unwrap() - 1_400.0 / 3.0).abs() < 1e-9);
    assert!((number("f8_1d").unwrap() - (1_400.0_f64 / 3.0).sqrt()).abs() < 1e-9);
    assert!((number("f18_1d").unwrap() - 21.0).abs() < 0.05);
    assert_eq!(text("f13").as_deref(), Some("item 1"));
    assert_eq!(text("f17_1").as_deref(), Some("item 1"));
    assert_eq!(number("f21"), None);
    let nothing = state(&[event(1, 9, "search", 0, 1.0)], &schema);
    let vector = nothing.read(Timestamp::from_unix_ms(START_MS), &schema, &NoContext);
    assert_eq!(vector.usable_text(set.slot("f13").unwrap()).map(|text| &**text), Some("none"));
}

#[test]
fn each_mistake_is_named() {
    for (kind, keys, expected) in [
        (
            "windowed_mean",
            "windows = ['1d']",
            "`property` is missing; expected the numeric property to look at",
        ),
        (
            "windowed_mean",
            "windows = ['1d']\nproperty = 'v'\nexact = true",
            "`exact` has no meaning for kind windowed_mean",
        ),
        (
            "windowed_sum",
            "windows = ['1d']\nproperty = 'v'\nexact = 1",
            "`exact` is `1`; expected `true` or `false`",
        ),
        (
            "windowed_count",
            "windows = ['1d']\nexact_events = 0",
            "`exact_events` is `0`; expected a whole number from 1 to 4096",
        ),
        (
            "windowed_count",
            "windows = ['1d']\nexact_events = 'x'",
            "`exact_events` is `'x'`; expected a whole number",
        ),
        ("total_count", "windows = ['1d']", "`windows` has no meaning for kind total_count"),
        (
            "decayed_count",
            "half_lives = ['1d']\nhalf_life = '1d'",
            "`half_life` has no meaning for kind decayed_count; expected `half_lives`, `exact`, `events`, `where`, \
             `property_types`, `retractable`; did you mean `half_lives`?",
        ),
        ("last_value", "property = 'v'", "`type` is missing; expected one of number, text, boolean"),
        (
            "last_value",
            "property = 'v'\ntype = 'txt'",
            "unknown type `txt`; expected one of number, text, boolean; did you mean `text`?",
        ),
        (
            "last_value",
            "property = 'v'\ntype = 'text'\ndefault = 1",
            "default of `f0` is a number; expected a text",
        ),
        ("last_value", "property = ''\ntype = 'text'", "`property` has 0 bytes"),
        (
            "sessions",
            "gap = '1h'\nmeasures = ['cuont']",
            "unknown 'cuont' in `measures`; expected one of count",
        ),
        ("sessions", "gap = '1h'\nmeasures = ['count', 'count']", "'count' is listed twice in `measures`"),
        ("sessions", "gap = '1h'\nmeasures = []", "`measures` has 0 elements; expected 1 to 7"),
        (
            "distinct_count",
            "property = 'v'\nprecision = 3",
            "`precision` is `3`; expected a whole number from 4 to 16",
        ),
        ("distinct_count", "property = 'v'\nexact_values = 5000", "`exact_values` is `5000`"),
        ("top_k", "property = 'v'\nk = 21", "`k` is `21`; expected a whole number from 1 to 20"),
        (
            "top_k",
            "property = 'v'\nk = 5\ncapacity = 4",
            "`capacity` is `4`; expected a whole number from 5 to",
        ),
        ("top_k", "property = 'v'\nhalf_life = '1ms'", "`1ms` in `half_life` is too short"),
        ("engagement_score", "half_lives = ['1d']", "`weights` is missing"),
        (
            "engagement_score",
            "half_lives = ['1d']\nweights = {}",
            "`weights` has 0 entries; expected 1 to 64",
        ),
        (
            "engagement_score",
            "half_lives = ['1d']\nweights = { x = 'y' }",
            "weight 'y' of `x` is not a number",
        ),
        (
            "engagement_score",
            "half_lives = ['1d']\nweights = { x = 1 }\nevents = ['x']",
            "`events` has no meaning",
        ),
        ("time_since_last", "retractable = true", "events cannot be taken back out of this feature"),
        (
            "decayed_count",
            "half_lives = ['1d']\nretractable = true",
            "events cannot be taken back out of this feature",
        ),
        (
            "windowed_count",
            "windows = ['1d']\nexact_events = 3\nretractable = true",
            "events cannot be taken back",
        ),
        (
            "time_since_last",
            "property_types = { x = 'text' }",
            "`property_types` is of no use without `where`",
        ),
        (
            "time_since_last",
            "where = 'true'\nproperty_types = { x = 'txt' }",
            "type 'txt' of `x` in `property_types` is not known",
        ),
        ("time_since_last", "where = 'true &&'", "`where`"),
    ] {
        let found = complaints(&file(&[(kind, keys)]));
        assert_eq!(found.len(), 1, "{kind} {keys}: {found:?}");
        let place = expected == "`where`" && found[0].starts_with("features.toml:11:");
        assert!(place || found[0].contains(expected), "{kind} {keys}: {found:?}");
    }
}

#[test]
fn definitions_say_what_changed() {
    let definitions = |kind: &str, keys: &str| {
        let schema = parse(&file(&[(kind, keys)]));
        let slot = schema.outputs().len() - 1;
        let Source::Aggregate { index, .. } = schema.outputs()[slot].source else { panic!("{kind}") };
        (schema.aggregates()[index].definition, schema.feature_set().features()[slot].definition)
    };
    let (decayed, base) = ("decayed_sum", "half_lives = ['1d']\nproperty = 'v'");
    let before = definitions(decayed, base);
    // Values alone: the state is the same.
    for other in ["default = 1.0", "max_age = '1d'"] {
        let after = definitions(decayed, &format!("{base}\n{other}"));
        assert!(before.0 == after.0 && before.1 != after.1, "{other}");
    }
    // Neither.
    for other in ["description = 'x'", "unit = 'EUR'"] {
        assert_eq!(before, definitions(decayed, &format!("{base}\n{other}")), "{other}");
    }
    // Another half-life beside it changes the state, and not this feature.
    let after = definitions(decayed, "half_lives = ['2d', '1d']\nproperty = 'v'");
    assert!(before.0 != after.0 && before.1 == after.1);
    // Both.
    for (kind, keys) in [
        (decayed, "half_lives = ['2d']\nproperty = 'v'"),
        (decayed, "half_lives = ['1d']\nproperty = 'w'"),
        (decayed, "half_lives = ['1d']\nproperty = 'v'\nevents = ['x']"),
        (decayed, "half_lives = ['1d']\nproperty = 'v'\nexact = true"),
        (decayed, "half_lives = ['1d']\nproperty = 'v'\nwhere = 'event.name != \"x\"'"),
        ("engagement_score", "half_lives = ['1d']\nweights = { v = 1.0 }"),
        ("engagement_score", "half_lives = ['1d']\nweights = { v = 2.0 }"),
        ("windowed_sum", "windows = ['1d']\nproperty = 'v'"),
    ] {
        let after = definitions(kind, keys);
        assert!(before.0 != after.0 && before.1 != after.1, "{kind} {keys}");
    }
    assert_ne!(
        definitions("engagement_score", "half_lives = ['1d']\nweights = { v = 1.0 }"),
        definitions("engagement_score", "half_lives = ['1d']\nweights = { v = 2.0 }")
    );
    // Names and order say nothing about the state.
    let two = [("total_count", ""), ("total_sum", "property = 'v'")];
    let one = parse(&file(&two));
    let other = parse(&file(&[two[1], two[0]]));
    let sorted = |schema: &FeatureSchema| {
        let mut all: Vec<_> = schema.aggregates().iter().map(|spec| spec.definition).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(sorted(&one), sorted(&other));
    assert_ne!(one.feature_set().hash(), other.feature_set().hash());
}

#[test]
fn what_is_kept_alike_is_kept_once() {
    let schema = parse(&file(&[
        ("windowed_mean", "windows = ['1d']\nproperty = 'v'"),
        ("windowed_variance", "windows = ['1d']\nproperty = 'v'"),
        ("windowed_max", "windows = ['1d']\nproperty = 'v'"),
        ("time_since_last", ""),
        ("time_since_first", "max_age = '9d'"),
    ]));
    // The base, moments, extremes, times.
    assert_eq!(schema.aggregates().len(), 4);
}

#[test]
fn everything_can_be_explained() {
    let schema = parse(&file(KINDS));
    for slot in 0..schema.outputs().len() {
        let explained = schema.explain(slot).unwrap();
        assert_eq!(explained.name, *schema.feature_set().features()[slot].name);
        assert!(!explained.kind.is_empty() && !explained.counts.is_empty() && !explained.error.is_empty());
        assert_eq!(explained.most_bytes == 0, explained.aggregate.is_none(), "{explained:?}");
    }
    assert_eq!(schema.explain(schema.outputs().len()), None);
    let explained = |name: &str| schema.explain(schema.feature_set().slot(name).unwrap()).unwrap();
    assert_eq!(
        explained("n_1h").window,
        "the last 1h, from the border of 5m at or before, so up to 8.3 % more"
    );
    assert!(explained("f16_7d").error.contains("beyond them a relative standard error of 13.0 %"));
    assert_eq!(explained("f18_1d").counts, "page_view as 1, purchase as 10");
    assert_eq!(explained("f18_1d").retraction, "taken out again");
    assert_eq!(explained("f2_1h").retraction, "still counted: this kind cannot take an event back");
    assert_eq!(explained("f21").counts, "`context.cart_value + features.n_1h`, of n_1h");
    assert_eq!(explained("f5_1d").when_nothing, "-1, DEFAULTED");
}

/// A few of the declarations, in any order.
fn some_kinds() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    proptest::sample::subsequence(KINDS.to_vec(), 1..KINDS.len()).prop_shuffle()
}

proptest! {
    #[test]
    fn any_set_of_kinds_works(kinds in some_kinds(), events in history(1, 30), items in prop::collection::vec(0..9_u8, 30)) {
        let schema = parse(&file(&kinds));
        let events: Vec<Event> = events.into_iter().zip(items).map(|(event, item)| with_item(event, item)).collect();
        let state = state(&events, &schema);
        let mut record = Vec::new();
        state.encode(&schema, &mut record);
        prop_assert_eq!(&UserState::decode(&record, &schema).unwrap(), &state);
        let now = state.last_event_time().unwrap();
        let context: Vec<(std::sync::Arc<str>, Value)> =
            vec![("cart_value".into(), Value::Number(Finite::new(f64::MAX).unwrap()))];
        let vector = state.read(now, &schema, &context);
        prop_assert!(vector.values.iter().all(|value| value.value.is_finite()));
        prop_assert_eq!(vector.values.len(), schema.windows(now).len());
    }

    #[test]
    fn parsing_never_panics(text in any::<String>()) {
        drop(FeatureSchema::parse("f.toml", &text));
    }

    /// Files that are almost right: a piece cut out, or put in somewhere else.
    #[test]
    fn parsing_what_is_almost_right_never_panics(
        kinds in some_kinds(),
        cut in any::<(prop::sample::Index, prop::sample::Index)>(),
        to in any::<prop::sample::Index>(),
        junk in "[-\\[\\]{}='\"\\\\a-z0-9_. é\n]{0,8}",
    ) {
        let text: Vec<char> = file(&kinds).chars().collect();
        let (from, until) = (cut.0.index(text.len()), cut.1.index(text.len()));
        let (from, until) = (from.min(until), from.max(until).min(from + 40));
        let mut rest: Vec<char> = [&text[..from], &text[until..]].concat();
        let place = to.index(rest.len() + 1);
        rest.splice(place..place, text[from..until].iter().copied().chain(junk.chars()));
        let text: String = rest.into_iter().collect();
        if let Err(found) = FeatureSchema::parse("f.toml", &text) {
            prop_assert!(!found.is_empty());
            let lines = text.lines().count().max(1) + 1;
            prop_assert!(found.iter().all(|complaint| (1..=lines).contains(&complaint.line)));
        }
    }
}
