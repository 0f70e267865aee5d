//! Features of real shops' events against values computed elsewhere: purchase histories (CDNOW) and a click
//! stream (JData).
//!
//! The data is not part of the repository. `AUGUR_DATA` names its folder; without it, `../shared/data` beside the
//! workspace is tried; when neither is there, these tests say so and pass. Not here: models.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests may fail loudly"
)]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use augur_domain::event::EventKind;
use augur_domain::ids::{MessageKey, UserKey};
use augur_domain::value::Finite;
use augur_domain::{Event, Timestamp, Value};
use augur_feature_store::{Config, FeatureSchema, FeatureStore, Label, TrainingRow};

type Reader = csv::Reader<flate2::read::GzDecoder<File>>;

fn folder(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let root = std::env::var_os("AUGUR_DATA").map_or(beside, PathBuf::from);
    let folder = root.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: {} is not there; set AUGUR_DATA to the data folder", folder.display());
    None
}

fn open(path: &Path) -> Reader {
    csv::Reader::from_reader(flate2::read::GzDecoder::new(File::open(path).unwrap()))
}

fn user(id: &str) -> UserKey {
    let id: u128 = id.parse().unwrap();
    UserKey::from_bytes(id.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes())
}

fn at(unix_ms: &str) -> Timestamp {
    Timestamp::from_unix_ms(unix_ms.parse().unwrap())
}

fn column(reader: &mut Reader, name: &str) -> Option<usize> {
    reader.headers().unwrap().iter().position(|header| header == name)
}

fn events(path: &Path) -> Vec<Event> {
    let mut reader = open(path);
    let [id, time, name] = ["user_id", "ts_ms", "event"].map(|name| column(&mut reader, name).unwrap());
    let value = column(&mut reader, "value");
    let rows = reader.records().map(Result::unwrap).enumerate();
    let event = |(index, row): (usize, csv::StringRecord)| {
        let number = value.and_then(|value| row[value].parse().ok()).and_then(Finite::new);
        let event_time = at(&row[time]);
        Event {
            message_key: MessageKey::from_bytes((index as u128).to_be_bytes()),
            user: user(&row[id]),
            kind: EventKind::Track,
            name: row[name].into(),
            event_time,
            received_at: event_time,
            properties: number.map(|number| ("value".into(), Value::Number(number))).into_iter().collect(),
        }
    };
    rows.map(event).collect()
}

fn store_with(definitions: &str, events: Vec<Event>) -> FeatureStore {
    let schema = Arc::new(FeatureSchema::parse("features.toml", definitions).unwrap());
    let config = Config { batch_events: 2_000, ..Config::new("unused") };
    let store = FeatureStore::in_memory(&config, schema).unwrap();
    for batch in events.chunks(10_000) {
        let (sender, receiver) = mpsc::channel();
        store.ingest(batch.to_vec(), move |answer| sender.send(answer).unwrap()).unwrap();
        receiver.recv().unwrap().unwrap();
    }
    store
}

/// The feature that a golden column stands for.
fn feature_of(column: &str) -> Option<String> {
    match column {
        "tenure" | "rec_any" => Some(column.to_owned()),
        "sessions" => Some("sessions_count".to_owned()),
        "sess_len_s" => Some("sessions_current_length_secs".to_owned()),
        _ if column.starts_with("n_") => Some(format!("{column}_400d")),
        _ if ["dc_", "w_", "rec_", "val_"].iter().any(|prefix| column.starts_with(prefix)) => {
            Some(column.to_owned())
        }
        _ => None,
    }
}

/// Compares every golden value; `wider` names columns whose window may begin earlier here. Returns how many.
fn compare(store: &FeatureStore, task: &Path, wider: &dyn Fn(&str) -> bool) -> usize {
    let mut reader = open(task);
    let headers: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let [id, cutoff] = ["user_id", "cutoff_ms"].map(|name| column(&mut reader, name).unwrap());
    let golden: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let label = |row: &csv::StringRecord| Label { user: user(&row[id]), at: at(&row[cutoff]), outcome: None };
    let labels: Vec<Label> = golden.iter().map(label).collect();
    let schema = store.schema();
    let set = schema.feature_set();
    let slots: BTreeMap<usize, usize> = headers
        .iter()
        .enumerate()
        .filter_map(|(column, header)| Some((column, set.slot(&feature_of(header)?).unwrap())))
        .collect();
    let mut compared = 0;
    for row in store.training_rows(&labels).unwrap() {
        let TrainingRow { label, features, .. } = row.unwrap();
        for (&column, &slot) in &slots {
            let expected: f64 = golden[label][column].parse().unwrap();
            let found = features.usable(slot).unwrap_or(-1.0);
            let header = &headers[column];
            let good = if wider(header) {
                found >= expected
            } else {
                (found - expected).abs() <= 1e-8 * expected.abs() + 1e-30
            };
            assert!(good, "{header} of row {label}: {found} is not {expected}");
            compared += 1;
        }
    }
    compared
}

fn declarations(events: &[&str], half_lives: &str, windows: &str) -> String {
    let mut text = "version = 1\n".to_owned();
    for event in events {
        let shared = format!("events = ['{event}']\n");
        text.push_str(&format!(
            "[[feature]]\nname = 'dc_{event}'\nkind = 'decayed_count'\nhalf_lives = {half_lives}\n{shared}\
             [[feature]]\nname = 'w_{event}'\nkind = 'windowed_count'\nwindows = {windows}\n{shared}\
             [[feature]]\nname = 'n_{event}'\nkind = 'windowed_count'\nwindows = ['400d']\n{shared}\
             [[feature]]\nname = 'rec_{event}'\nkind = 'time_since_last'\n{shared}"
        ));
    }
    text.push_str(
        "[[feature]]\nname = 'rec_any'\nkind = 'time_since_last'\n\
         [[feature]]\nname = 'tenure'\nkind = 'time_since_first'\n\
         [[feature]]\nname = 'sessions'\nkind = 'sessions'\ngap = '30m'\n",
    );
    text
}

#[test]
fn purchase_histories() {
    let Some(folder) = folder("cdnow") else { return };
    let half_lives = "['7d', '30d', '90d']";
    let mut definitions = declarations(&["purchase"], half_lives, "['30d', '90d']");
    definitions.push_str(&format!(
        "[[feature]]\nname = 'val'\nkind = 'decayed_sum'\nproperty = 'value'\nhalf_lives = {half_lives}\n"
    ));
    let store = store_with(&definitions, events(&folder.join("events.csv.gz")));
    let compared = compare(&store, &folder.join("task_churn39.csv.gz"), &|_| false);
    assert!(compared > 300_000, "{compared}");
}

#[test]
fn a_click_stream() {
    let Some(folder) = folder("jdata_sample") else { return };
    let names = ["browse", "click", "add_to_cart", "remove_from_cart", "order", "follow"];
    let definitions = declarations(&names, "['1h', '1d', '7d']", "['1h', '1d', '7d']");
    let store = store_with(&definitions, events(&folder.join("events.csv.gz")));
    // Cut-offs at 16:00 do not lie on the six-hour tiles of a 7-day window, which therefore begins at 12:00.
    let wider = |header: &str| header.starts_with("w_") && header.ends_with("_7d");
    let compared = compare(&store, &folder.join("task_intent24h.csv.gz"), &wider);
    assert!(compared > 300_000, "{compared}");
}
