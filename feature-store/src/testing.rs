//! Definitions and events for this crate's own tests.
//!
//! Not here: anything that leaves the crate.

use augur_domain::event::EventKind;
use augur_domain::ids::{MessageKey, UserKey};
use augur_domain::time::{DAY_MS, MINUTE_MS};
use augur_domain::value::Finite;
use augur_domain::{Event, Timestamp, Value};
use proptest::prelude::*;

use crate::FeatureSchema;

/// Every kind of feature.
pub(crate) const DEFINITIONS: &str = r#"
version = 1

[[feature]]
name = "purchases"
kind = "decayed_count"
events = ["purchase"]
half_lives = ["1h", "7d"]

[[feature]]
name = "spend"
kind = "decayed_sum"
events = ["purchase"]
property = "value"
half_lives = ["1d"]

[[feature]]
name = "events"
kind = "windowed_count"
windows = ["1m", "1h", "24h", "30d"]

[[feature]]
name = "revenue"
kind = "windowed_sum"
events = ["purchase"]
property = "value"
windows = ["1h", "400d"]

[[feature]]
name = "seconds_since_last_purchase"
kind = "time_since_last"
events = ["purchase"]

[[feature]]
name = "seconds_since_first_event"
kind = "time_since_first"

[[feature]]
name = "sessions"
kind = "sessions"
gap = "30m"
"#;

/// 2026-01-01T00:00:00Z.
pub(crate) const START_MS: i64 = 1_767_225_600_000;

pub(crate) fn schema() -> FeatureSchema {
    FeatureSchema::parse("features.toml", DEFINITIONS).unwrap()
}

pub(crate) fn user(number: u8) -> UserKey {
    UserKey::from_bytes([number; 16])
}

#[test]
fn users_of_tests_have_several_writers() {
    let first: std::collections::BTreeSet<u64> =
        (0..6).map(|who| crate::exposure::spread(user(who)) % 4).collect();
    assert_eq!(first.len(), 4);
}

/// An event of `user(who)` at `START_MS + at_ms`, its message key made from `id`.
pub(crate) fn event(who: u8, id: u64, name: &str, at_ms: i64, value: f64) -> Event {
    let mut message = [0; 16];
    message[..8].copy_from_slice(&id.to_be_bytes());
    let event_time = Timestamp::from_unix_ms(START_MS + at_ms);
    Event {
        message_key: MessageKey::from_bytes(message),
        user: user(who),
        kind: EventKind::Track,
        name: name.into(),
        event_time,
        received_at: event_time,
        properties: vec![("value".into(), Value::Number(Finite::new(value).unwrap()))],
    }
}

/// Events of `users` users over twelve days, many on tile and session borders, each with its own message.
pub(crate) fn history(users: u8, most: usize) -> impl Strategy<Value = Vec<Event>> {
    let time = prop_oneof![
        0..12 * DAY_MS,
        (0..12 * 288_i64, -1..=1_i64).prop_map(|(tile, offset)| (tile * 5 * MINUTE_MS + offset).max(0)),
    ];
    let name = prop_oneof![Just("purchase"), Just("page_view"), Just("view_item")];
    prop::collection::vec((0..users, name, time, -1_000_i32..10_000), 1..most).prop_map(|events| {
        let numbered = events.into_iter().enumerate();
        numbered
            .map(|(id, (who, name, at, cents))| event(who, id as u64, name, at, f64::from(cents) / 100.0))
            .collect()
    })
}

/// Anything that an event can hold.
pub(crate) fn any_event() -> impl Strategy<Value = Event> {
    let value = prop_oneof![
        any::<bool>().prop_map(Value::Boolean),
        prop::num::f64::NORMAL.prop_map(|number| Value::Number(Finite::new(number).unwrap())),
        any::<String>().prop_map(|text| Value::Text(text.into())),
    ];
    let properties = prop::collection::btree_map(any::<String>(), value, 0..6);
    (any::<[u8; 16]>(), 1..=6_u8, any::<String>(), any::<i64>(), 0..DAY_MS, properties).prop_map(
        |(key, kind, name, event_ms, delay_ms, properties)| {
            let event_time = Timestamp::from_unix_ms(event_ms);
            Event {
                message_key: MessageKey::from_bytes(key),
                user: UserKey::from_bytes(key),
                kind: EventKind::from_u8(kind).unwrap(),
                name: name.into(),
                event_time,
                received_at: event_time.plus_millis(delay_ms),
                properties: properties.into_iter().map(|(name, value)| (name.into(), value)).collect(),
            }
        },
    )
}
