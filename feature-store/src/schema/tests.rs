//! Definitions that are right, and every way they can be wrong.

use super::*;

mod kinds;
mod taxonomy;

fn complaints(text: &str) -> Vec<String> {
    let found = FeatureSchema::parse("features.toml", text).unwrap_err();
    found.iter().map(ToString::to_string).collect()
}

fn feature(keys: &str) -> String {
    format!("version = 1\n[[feature]]\n{keys}")
}

#[test]
fn declarations_expand_to_full_names() {
    let schema = crate::testing::schema();
    let names: Vec<&str> = schema.feature_set().features().iter().map(|feature| &*feature.name).collect();
    assert_eq!(
        names,
        [
            "purchases_1h",
            "purchases_7d",
            "spend_1d",
            "events_1m",
            "events_1h",
            "events_1d",
            "events_30d",
            "revenue_1h",
            "revenue_400d",
            "seconds_since_last_purchase",
            "seconds_since_first_event",
            "sessions_count",
            "sessions_current_events",
            "sessions_current_length_secs",
            "sessions_mean_length_secs",
        ]
    );
}

#[test]
fn only_meaning_changes_the_hash() {
    let parse = |text: &str| FeatureSchema::parse("features.toml", text).unwrap().feature_set().hash();
    let base = feature("name = 'a'\nkind = 'decayed_count'\nhalf_lives = ['1d']\nevents = ['x', 'y']\n");
    let same = feature(
        "# a comment\nkind = \"decayed_count\"\ndescription = 'new'\nname = 'a'\nevents = ['y',   'x']\nhalf_lives = ['24h']\n",
    );
    assert_eq!(parse(&base), parse(&same));
    for other in [
        base.replace("'a'", "'b'"),
        base.replace("1d", "2d"),
        base.replace("'y'", "'z'"),
        base.replace("events = ['x', 'y']", ""),
        base.replace("half_lives = ['1d']", "half_lives = ['1d', '2d']"),
        format!("{base}default = 0"),
        format!("{base}max_age = '9d'"),
        base.replace("decayed_count", "windowed_count").replace("half_lives", "windows"),
    ] {
        assert_ne!(parse(&base), parse(&other), "{other}");
    }
}

#[test]
fn a_name_is_declared_once() {
    let one =
        |window: &str| format!("[[feature]]\nname = 'a'\nkind = 'windowed_count'\nwindows = ['{window}']\n");
    assert_eq!(
        complaints(&format!("version = 1\n{}{}", one("1h"), one("2h"))),
        [
            "features.toml:7:8: `a` is declared twice; expected a name that no other declaration has; rename one of \
             them, or list the lengths of both in one declaration of `a`"
        ]
    );
}

/// The state of a file is laid out by its aggregates: their kinds, in order.
#[test]
fn equal_hashes_mean_equal_layouts() {
    const LENGTHS: [&str; 3] = ["1h", "2h", "1d"];
    let mut layouts = BTreeMap::new();
    // Up to three declarations, each with any of the names, kinds and sets of lengths.
    let mut choices = vec![String::new()];
    for (name, kind) in [("a", "decayed_count"), ("a", "windowed_count"), ("a_1h", "windowed_count")] {
        for set in 1..8_usize {
            let lengths: Vec<_> = (0..3).filter(|bit| set >> bit & 1 == 1).map(|bit| LENGTHS[bit]).collect();
            let key = if kind == "decayed_count" { "half_lives" } else { "windows" };
            choices.push(format!("[[feature]]\nname = '{name}'\nkind = '{kind}'\n{key} = {lengths:?}\n"));
        }
    }
    for one in &choices {
        for two in &choices {
            for three in &choices {
                let text = format!("version = 1\n{one}{two}{three}");
                let Ok(schema) = FeatureSchema::parse("features.toml", &text) else { continue };
                let (hash, layout) = (schema.feature_set().hash(), schema.aggregates().to_vec());
                assert_eq!(layouts.entry(hash).or_insert_with(|| layout.clone()), &layout, "{text}");
            }
        }
    }
    assert!(layouts.len() > 100);
}

#[test]
fn the_hash_is_pinned() {
    let hash = crate::testing::schema().feature_set().hash().short();
    assert_eq!(hash, "88741dc66bc2", "stored states and models depend on this hash");
}

#[test]
fn every_complaint_is_collected_with_its_place() {
    let text = "version = 2\nfeatures = 1\n[[feature]]\nname = \"Bad Name\"\nkind = \"decayed_cont\"\n\
                [[feature]]\nname = \"a\"\nkind = \"decayed_count\"\nhalf_lives = [\"7w\", 3]\nwindows = [\"1h\"]\n\
                evnts = [\"x\"]\ndefault = 0x1\n";
    assert_eq!(
        complaints(text),
        [
            "features.toml:1:11: version 2 is not known; expected `version = 1`",
            "features.toml:2:1: unknown key `features`; expected one of version, context, feature, feature_set; did you mean `feature`?",
            "features.toml:4:8: `Bad Name` is not a feature name; expected a name like `purchases`: a-z, 0-9 and _, \
             starting with a letter, at most 100 bytes",
            "features.toml:5:8: unknown kind `decayed_cont`; expected one of decayed_count, decayed_sum, \
             windowed_count, windowed_sum, windowed_mean, windowed_min, windowed_max, windowed_variance, \
             windowed_standard_deviation, total_count, total_sum, time_since_last, time_since_first, first_value, \
             last_value, sessions, distinct_count, top_k, engagement_score, ratio, derived, request; did you mean \
             `decayed_count`?",
            "features.toml:9:15: `7w` is not a length of time in `half_lives`; expected a positive whole number and a \
             unit, like `250ms`, `30s`, `15m`, `12h` or `7d`",
            "features.toml:9:21: 3 in `half_lives` is not a length of time; expected text like \"30m\", \"24h\" or \"7d\"",
            "features.toml:10:1: `windows` has no meaning for kind decayed_count; expected `half_lives`, \
             `exact`, `events`, `where`, `property_types`, `retractable`",
            "features.toml:11:1: unknown key `evnts`; expected one of name, kind, max_age, default, description, unit, \
             half_lives, exact, events, where, property_types, retractable; did you mean `events`?",
            "features.toml:12:11: default 0x1 is not a value; expected a finite number like 0.0, `true` or `false`, or a \
             text of at most 256 bytes",
        ]
    );
}

#[test]
fn each_mistake_is_named() {
    for (keys, expected) in [
        ("kind = 'sessions'\ngap = '30m'", "`name` is missing"),
        ("name = 'a'", "`kind` is missing"),
        ("name = 'a'\nkind = 'decayed_count'", "`half_lives` is missing"),
        ("name = 'a'\nkind = 'windowed_count'\nwindows = []", "`windows` has 0 elements; expected 1 to 16"),
        ("name = 'a'\nkind = 'windowed_count'\nwindows = '1h'", "`windows` is `'1h'`; expected an array"),
        ("name = 'a'\nkind = 'windowed_count'\nwindows = ['401d']", "`401d` is out of range"),
        ("name = 'a'\nkind = 'windowed_count'\nwindows = ['59s']", "`59s` in `windows` is too short"),
        ("name = 'a'\nkind = 'decayed_sum'\nhalf_lives = ['1d']", "`property` is missing"),
        ("name = 'a'\nkind = 'sessions'", "`gap` is missing"),
        ("name = 'a'\nkind = 'sessions'\ngap = '8d'", "`8d` in `gap` is too long; expected at most 7d"),
        ("name = 'a'\nkind = 'time_since_last'\nevents = ['x', 'x']", "event 'x' is listed twice"),
        ("name = 'a'\nkind = 'time_since_last'\nevents = ['']", "'' is not an event name"),
        ("name = 'a'\nkind = 'time_since_last'\nevents = [1]", "1 is not an event name"),
        ("name = 'a'\nkind = 'time_since_last'\ndefault = inf", "default inf is not a value"),
        (
            "name = 'a'\nkind = 'time_since_last'\ndefault = '0'",
            "default of `a` is a text; expected a number",
        ),
        ("name = 'a'\nkind = 'sessions'\ngap = '1h'\nunit = 7", "`unit` is the integer `7`; expected text"),
        ("name = 'a'\nkind = 7", "`kind` is the integer `7`; expected text in quotes"),
        ("name = 'a'\nkind = 'time_since_last'\nmax_age = 5", "5 in `max_age` is not a length of time"),
        (
            "name = 'a'\nkind = 'decayed_count'\nhalf_lives = ['1d', '24h']",
            "feature `a_1d` is declared twice",
        ),
        ("name = \"a\nkind = 'x'", "expected valid TOML"),
        ("name = 'a'\nname = 'b'\nkind = 'time_since_last'", "duplicate key"),
    ] {
        let found = complaints(&feature(keys));
        assert_eq!(found.len(), 1, "{keys}: {found:?}");
        assert!(found[0].contains(expected), "{keys}: {found:?}");
    }
    assert!(complaints("version = 1").iter().any(|line| line.contains("there is no feature")));
    assert!(complaints("version = 1\nfeature = []").iter().any(|line| line.contains("there is no feature")));
    assert!(
        complaints("version = 1\nfeature = 3").iter().any(|line| line.contains("`feature` is a integer"))
    );
}

#[test]
fn there_is_a_limit_to_features() {
    let mut text = "version = 1\n".to_owned();
    for index in 0..129 {
        text.push_str(&format!("[[feature]]\nname = 's{index}'\nkind = 'sessions'\ngap = '30m'\n"));
    }
    let found = complaints(&text);
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("516 features after expansion; expected at most 512"), "{found:?}");
}

#[test]
fn windows_tell_where_they_start() {
    let schema = crate::testing::schema();
    let now = Timestamp::from_unix_ms(crate::testing::START_MS + 90_061_001);
    let starts = schema.windows(now);
    assert_eq!(starts.len(), schema.feature_set().features().len());
    let text = |name: &str| {
        let slot = schema.feature_set().slot(name).unwrap();
        starts[slot].map(|start| start.to_string())
    };
    assert_eq!(text("purchases_7d"), None);
    assert_eq!(text("events_1m").as_deref(), Some("2026-01-02T01:00:00.000Z"));
    assert_eq!(text("events_1h").as_deref(), Some("2026-01-02T00:00:00.000Z"));
    assert_eq!(text("events_1d").as_deref(), Some("2026-01-01T01:00:00.000Z"));
    assert_eq!(text("events_30d").as_deref(), Some("2025-12-03T00:00:00.000Z"));
}
