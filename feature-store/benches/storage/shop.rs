//! Shoppers made by number: forty features, events and keys, the same in every run.
//!
//! Not here: what is measured with them.

use augur_domain::event::EventKind;
use augur_domain::ids::{MessageKey, UserKey};
use augur_domain::value::Finite;
use augur_domain::{Event, Timestamp, Value};
use augur_feature_store::FeatureSchema;

use crate::Failure;

const EVENTS: [&str; 5] = ["page_view", "view_item", "add_to_cart", "begin_checkout", "purchase"];
/// Between two events of all, so that sessions end and windows roll.
const STEP_MS: i64 = 20;
/// 2026-01-01T00:00:00Z.
const START_MS: i64 = 1_767_225_600_000;

/// Forty features over five events, as a shop would declare them.
pub(crate) fn schema() -> Result<FeatureSchema, Failure> {
    let mut text = "version = 1\n".to_owned();
    for event in EVENTS {
        let shared = format!("events = ['{event}']\n");
        text.push_str(&format!(
            "[[feature]]\nname = 'decayed_{event}'\nkind = 'decayed_count'\nhalf_lives = ['1h', '1d', '7d']\n{shared}\
             [[feature]]\nname = 'count_{event}'\nkind = 'windowed_count'\nwindows = ['1h', '24h', '30d']\n{shared}\
             [[feature]]\nname = 'since_{event}'\nkind = 'time_since_last'\n{shared}"
        ));
    }
    text.push_str(
        "[[feature]]\nname = 'spend'\nkind = 'decayed_sum'\nproperty = 'value'\nhalf_lives = ['30d']\n\
         [[feature]]\nname = 'sessions'\nkind = 'sessions'\ngap = '30m'\n",
    );
    FeatureSchema::parse("features.toml", &text).map_err(|complaints| format!("{complaints:?}").into())
}

/// Spreads a number over all bits; a bijection, so that keys are distinct.
pub(crate) const fn scattered(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn key(number: u64) -> [u8; 16] {
    let low = scattered(number.wrapping_add(0x9e37_79b9_7f4a_7c15));
    ((u128::from(low) << 64) | u128::from(scattered(low))).to_be_bytes()
}

pub(crate) fn user(number: u64) -> UserKey {
    UserKey::from_bytes(key(number))
}

/// The event number `number`, of a user picked among `users`.
pub(crate) fn event(number: u64, users: u64) -> Event {
    let dice = scattered(number);
    let event_time = Timestamp::from_unix_ms(START_MS + number as i64 * STEP_MS);
    let name = EVENTS.get(dice as usize % EVENTS.len()).copied().unwrap_or_default();
    let price = Finite::new((dice >> 8 & 0xffff) as f64 / 100.0).unwrap_or_default();
    let item = format!("sku-{}", dice >> 24 & 0xfff);
    Event {
        message_key: MessageKey::from_bytes(key(number ^ 1 << 63)),
        user: user((dice >> 32) % users),
        kind: EventKind::Track,
        name: name.into(),
        event_time,
        received_at: event_time.plus_millis(120),
        properties: vec![
            ("currency".into(), Value::Text("EUR".into())),
            ("item_id".into(), Value::Text(item.into())),
            ("value".into(), Value::Number(price)),
        ],
    }
}
