//! Cost of carrying one event into a state, of reading all features, and of the packed record between them.
//!
//! Not here: disks and threads; those are measured with the whole service.

#![expect(clippy::print_stderr, reason = "a benchmark tells what it measured")]

use std::hint::black_box;

use augur_domain::event::EventKind;
use augur_domain::ids::{MessageKey, UserKey};
use augur_domain::value::Finite;
use augur_domain::{Event, Timestamp, Value};
use augur_feature_store::{FeatureSchema, NoContext, UserState, apply, read_record};
use criterion::{Criterion, criterion_group, criterion_main};

const EVENTS: [&str; 5] = ["page_view", "view_item", "add_to_cart", "begin_checkout", "purchase"];

/// Forty features of mixed kinds over five events, as a shop would declare them.
fn schema() -> FeatureSchema {
    let mut text = "version = 1\n".to_owned();
    for event in ["view_item", "add_to_cart", "purchase"] {
        let shared = format!("events = ['{event}']\n");
        text.push_str(&format!(
            "[[feature]]\nname = 'decayed_{event}'\nkind = 'decayed_count'\nhalf_lives = ['1h', '1d', '7d']\n{shared}\
             [[feature]]\nname = 'count_{event}'\nkind = 'windowed_count'\nwindows = ['1h', '24h', '30d']\n{shared}\
             [[feature]]\nname = 'since_{event}'\nkind = 'time_since_last'\n{shared}"
        ));
    }
    text.push_str(
        "[[feature]]\nname = 'spend'\nkind = 'decayed_sum'\nproperty = 'value'\nhalf_lives = ['30d']\n\
         [[feature]]\nname = 'interest'\nkind = 'engagement_score'\nhalf_lives = ['1d', '7d']\n\
         weights = { page_view = 1.0, view_item = 2.0, add_to_cart = 5.0, purchase = 10.0 }\n\
         [[feature]]\nname = 'revenue'\nkind = 'windowed_sum'\nproperty = 'value'\nwindows = ['7d', '30d']\n\
         [[feature]]\nname = 'basket'\nkind = 'windowed_mean'\nproperty = 'value'\nwindows = ['30d']\n\
         [[feature]]\nname = 'greatest'\nkind = 'windowed_max'\nproperty = 'value'\nwindows = ['30d']\n\
         [[feature]]\nname = 'purchases'\nkind = 'total_count'\nevents = ['purchase']\n\
         [[feature]]\nname = 'tenure'\nkind = 'time_since_first'\n\
         [[feature]]\nname = 'last_category'\nkind = 'last_value'\nproperty = 'category'\ntype = 'text'\n\
         [[feature]]\nname = 'items'\nkind = 'distinct_count'\nproperty = 'item'\nwindows = ['24h', '7d']\n\
         [[feature]]\nname = 'all_items'\nkind = 'distinct_count'\nproperty = 'item'\n\
         [[feature]]\nname = 'favourite'\nkind = 'top_k'\nproperty = 'category'\nk = 2\n\
         [[feature]]\nname = 'sessions'\nkind = 'sessions'\ngap = '30m'\n",
    );
    FeatureSchema::parse("features.toml", &text).unwrap_or_else(|complaints| {
        eprintln!("{complaints:?}");
        std::process::exit(1)
    })
}

fn event(number: i64) -> Event {
    let event_time = Timestamp::from_unix_ms(1_767_225_600_000 + number * 600_000);
    let name = EVENTS.iter().cycle().nth(number as usize % EVENTS.len()).copied().unwrap_or_default();
    let value = Finite::new(number as f64).unwrap_or_default();
    Event {
        message_key: MessageKey::from_bytes(i128::from(number).to_be_bytes()),
        user: UserKey::from_bytes([1; 16]),
        kind: EventKind::Track,
        name: name.into(),
        event_time,
        received_at: event_time,
        properties: vec![
            ("category".into(), Value::Text(format!("category {}", number % 7).into())),
            ("item".into(), Value::Text(format!("item-{}", number * number % 50).into())),
            ("value".into(), Value::Number(value)),
        ],
    }
}

fn benches(criterion: &mut Criterion) {
    let schema = schema();
    let mut state = UserState::new(&schema);
    for number in 0..500 {
        let changes = apply(&state, &event(number), &schema);
        state.commit(changes);
    }
    let next = event(500);
    let mut record = Vec::new();
    state.encode(&schema, &mut record);
    eprintln!(
        "state of 500 events, {} features: {} bytes",
        schema.feature_set().features().len(),
        record.len()
    );
    criterion.bench_function("apply", |bencher| {
        bencher.iter(|| apply(black_box(&state), black_box(&next), &schema))
    });
    criterion.bench_function("take_in", |bencher| {
        let mut state = state.clone();
        bencher.iter(|| state.take_in(black_box(&next), &schema));
    });
    criterion.bench_function("read_record", |bencher| {
        bencher.iter(|| read_record(black_box(&record), next.event_time, &schema, &NoContext));
    });
    criterion.bench_function("read", |bencher| {
        bencher.iter(|| black_box(&state).read(next.event_time, &schema, &NoContext))
    });
    criterion
        .bench_function("decode", |bencher| bencher.iter(|| UserState::decode(black_box(&record), &schema)));
    criterion.bench_function("encode", |bencher| {
        let mut out = Vec::with_capacity(record.len());
        bencher.iter(|| {
            out.clear();
            black_box(&state).encode(&schema, &mut out);
        });
    });
}

criterion_group!(apply_and_read, benches);
criterion_main!(apply_and_read);
