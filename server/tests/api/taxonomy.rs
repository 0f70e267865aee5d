//! What a declared taxonomy does to events on their way in, and what it keeps off the disk.

use std::fs;
use std::path::Path;

use augur_proto::v1;
use augur_proto::v1::{EventOutcome, QuarantineReason as Reason};
use augur_server::Config;

use crate::served::{Served, event, number, purchase, text};

const EVENTS: &str = r#"
version = 1

[policy]
unknown_events = "reject"
unknown_properties = "accept"
sensitive = ["phone"]

[[event]]
name = "purchase"
aliases = ["Bestellung"]
property = [
    { name = "value", type = "number", min = 0, required = true, renamed_from = ["revenue"] },
    { name = "email", sensitive = true },
]

[[event]]
name = "search"
deprecated = true

# What the shipped features count.
[[event]]
name = "page_view"
[[event]]
name = "view_item"
[[event]]
name = "add_to_cart"
[[event]]
name = "remove_from_cart"
[[event]]
name = "begin_checkout"
[[event]]
name = "login"
[[event]]
name = "sign_up"
"#;

/// Puts `text` into a file and makes it the taxonomy.
pub(crate) fn declare(config: &mut Config, text: &str) {
    let dir = config.data.dir.parent().unwrap().to_owned();
    let file = dir.join("events.toml");
    fs::write(&file, text).unwrap();
    config.data.events = Some(file);
}

fn with(event: v1::Event, properties: &[(&str, v1::Value)]) -> v1::Event {
    let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    v1::Event { properties: properties.collect(), ..event }
}

#[tokio::test]
async fn declared_events_are_held_to_what_is_declared() {
    let served = Served::start_with(|config| declare(config, EVENTS)).await;
    let order = |id: &str| event(id, "ada", "Bestellung", 1_000);
    let events = vec![
        with(order("m1"), &[("revenue", number(40.0)), ("phone", text("1")), ("email", text("a@b"))]),
        with(order("m2"), &[("revenue", text("40"))]),
        with(order("m3"), &[("value", number(-1.0))]),
        order("m4"),
        event("m5", "ada", "unheard_of", 1_000),
        event("m6", "ada", "Products Searched", 1_000),
    ];
    let request = v1::IngestRequest { events, sent_at: None };
    let results = served.events().ingest(request).await.unwrap().into_inner().results;
    let told: Vec<_> =
        results.iter().map(|result| (result.outcome(), result.reason(), &*result.field)).collect();
    use EventOutcome::{Accepted, Quarantined, Rejected};
    let expected = [
        (Accepted, Reason::Unspecified, ""),
        (Quarantined, Reason::WrongType, "properties.value"),
        (Quarantined, Reason::OutOfBounds, "properties.value"),
        (Quarantined, Reason::MissingField, "properties.value"),
        (Rejected, Reason::UnknownEvent, "event"),
        (Accepted, Reason::Unspecified, ""),
    ];
    assert_eq!(told, expected);
    assert_eq!(served.feature("ada", "revenue_30d").await.1, Some(40.0), "by its name of today");

    let listed = served.events().list_quarantine(v1::ListQuarantineRequest::default()).await.unwrap();
    let kept: Vec<_> = listed.into_inner().events.iter().map(v1::QuarantinedEvent::reason).collect();
    assert_eq!(kept, [Reason::WrongType, Reason::OutOfBounds, Reason::MissingField], "rejected is not kept");
    let metrics = crate::main_path::get(&served, "/metrics").await;
    for line in [
        "augur_events_total{outcome=\"REJECTED\"} 1",
        "augur_quarantined_total{reason=\"WRONG_TYPE\"} 1",
        "augur_dropped_properties_total{cause=\"sensitive\"} 2",
        "augur_deprecated_events_total{event=\"search\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    served.stop().await;
}

/// Files under `dir` that hold `secret`.
pub(crate) fn files_with(dir: &Path, secret: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, secret));
        } else {
            let bytes = fs::read(&path).unwrap_or_default();
            if bytes.windows(secret.len()).any(|window| window == secret.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[tokio::test]
async fn what_is_sensitive_reaches_no_file() {
    const SECRET: &str = "ada.lovelace@secret.example";
    let open = EVENTS.replace("\"reject\"", "\"accept\"");
    let served = Served::start_with(|config| declare(config, &open)).await;
    let secret = || [("email", text(SECRET)), ("phone", text(SECRET))];
    let events = vec![
        with(purchase("m1", "ada", 1.0), &[&secret()[..], &[("value", number(1.0))]].concat()),
        with(event("m2", "ada", "purchase", 1_000), &secret()),
        with(event("m3", "ada", "bad\u{7}name", 1_000), &secret()),
        with(event("m4", "ada", "other", 1_000), &secret()),
        with(event("", "", "purchase", 1_000), &secret()),
        v1::Event { r#type: 77, ..with(event("m6", "ada", "purchase", 1_000), &secret()) },
    ];
    let outcomes = served.ingest(events).await;
    use EventOutcome::{Accepted, Quarantined};
    assert_eq!(outcomes, [Accepted, Quarantined, Quarantined, Accepted, Quarantined, Quarantined]);
    let data = served.dir().join("data");
    // As a killed process leaves it: nothing is closed, so the write-ahead log holds it all.
    assert_eq!(files_with(&data, SECRET), [""; 0]);
    assert!(!files_with(&data, "unsupported").is_empty() || !files_with(&data, "is not known").is_empty());
    let served = served.restart_with(|_, _| {}).await;
    assert_eq!(files_with(&data, SECRET), [""; 0]);
    served.stop().await;
}

#[tokio::test]
async fn a_faulty_taxonomy_is_refused_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = crate::served::config(dir.path());
    declare(&mut config, "version = 1\n[[event]]\nname = \"Order Completed\"\n");
    let refused = augur_server::check_definitions(&config).unwrap_err().to_string();
    assert!(refused.contains("events.toml:3:8: `name` is `\"Order Completed\"`"), "{refused}");
    assert!(refused.contains("its canonical name, `purchase`"));
}

fn retraction(message_id: &str, user: &str, original: &str) -> v1::Event {
    v1::Event {
        r#type: v1::EventType::Retract as i32,
        retracts_message_id: original.to_owned(),
        ..event(message_id, user, "", 0)
    }
}

#[tokio::test]
async fn events_are_taken_back_once_they_are_there() {
    use EventOutcome::{Accepted, Duplicate, Quarantined};
    let served = Served::start().await;
    let early = served.ingest(vec![retraction("r1", "ada", "m1")]).await;
    assert_eq!(early, [Quarantined]);
    let listed = served.events().list_quarantine(v1::ListQuarantineRequest::default()).await.unwrap();
    let listed = listed.into_inner().events;
    assert_eq!((listed.len(), listed[0].reason()), (1, Reason::UnknownOriginal));
    assert!(listed[0].detail.contains("no such event of this user"), "{listed:?}");

    let batch = vec![purchase("m1", "ada", 30.0), purchase("m2", "ada", 12.0)];
    assert_eq!(served.ingest(batch).await, [Accepted, Accepted]);
    let batch =
        vec![retraction("r1", "ada", "m1"), retraction("r2", "ada", "m1"), retraction("r3", "bob", "m2")];
    assert_eq!(served.ingest(batch).await, [Accepted, Duplicate, Quarantined]);
    let unnamed = v1::Event { retracts_message_id: String::new(), ..retraction("r4", "ada", "") };
    let request = v1::IngestRequest { events: vec![unnamed], sent_at: None };
    let results = served.events().ingest(request).await.unwrap().into_inner().results;
    assert_eq!((results[0].reason(), &*results[0].field), (Reason::MissingField, "retracts_message_id"));
    served.stop().await;
}
