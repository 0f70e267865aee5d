//! A disk that does not answer holds up those who need it and nobody else.
//!
//! Not here: the engine that plays the disk (`slow_disk`).
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::float_cmp
    )
)]

mod breakers;
mod slow_disk;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use augur_domain::decision::Availability;
use augur_domain::ids::Subject;
use augur_domain::{ReasonCode, Timestamp, UserKey};
use augur_feature_store::Profile;
use augur_feature_store::profile::Said;
use augur_proto::convert::timestamp_to_wire;
use augur_proto::v1;
use augur_server::config::Data;
use augur_server::{App, Config, DecideCall, Error, Features, FixedClock};

use slow_disk::{SlowDisk, Table};

const NOW: Timestamp = Timestamp::from_unix_ms(1_795_366_965_000);

/// An app whose store is a [`SlowDisk`], and in which Ada and Bob bought something.
async fn open(dir: &Path, change: impl FnOnce(&mut Data)) -> (Arc<App>, Arc<SlowDisk>) {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let mut config = Config::default();
    config.data.dir = dir.join("data");
    config.data.features = shipped.join("features.toml");
    config.data.policy = shipped.join("policy.toml");
    change(&mut config.data);
    let disk = SlowDisk::new();
    let app = App::open_on_engine(config, FixedClock::new(NOW), Arc::<SlowDisk>::clone(&disk)).unwrap();
    let event = |user: &str| v1::Event {
        message_id: format!("{user} bought"),
        user_id: user.to_owned(),
        event: "purchase".to_owned(),
        timestamp: Some(timestamp_to_wire(NOW)),
        ..v1::Event::default()
    };
    app.ingest(vec![event("ada"), event("bob")], None).await.unwrap();
    (Arc::new(app), disk)
}

fn key(app: &App, user: &str) -> UserKey {
    app.user_key(Subject::User(user))
}

async fn read(app: &App, user: UserKey) -> Result<Features, Error> {
    app.features(&app.store().definitions(), user, Vec::new()).await
}

fn weekly_email(app: &App, user: &str, allowed: Option<Duration>) -> DecideCall {
    DecideCall {
        bytes: Vec::new(),
        request: v1::DecideRequest {
            subject: Some(v1::Subject { id: Some(v1::subject::Id::UserId(user.to_owned())) }),
            decision_point: "weekly_email".to_owned(),
            context: BTreeMap::new(),
            ..v1::DecideRequest::default()
        },
        arrived: app.clock().monotonic(),
        allowed,
    }
}

/// Waits, without holding up this runtime's only thread, until so many reads wait for the disk.
async fn until_waiting(disk: &Arc<SlowDisk>, reads: usize) {
    let disk = Arc::clone(disk);
    tokio::task::spawn_blocking(move || disk.wait_for_waiting(reads)).await.unwrap();
}

#[tokio::test]
async fn others_are_served_while_one_waits_for_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (app, disk) = open(dir.path(), |_| {}).await;
    let (ada, bob) = (key(&app, "ada"), key(&app, "bob"));
    disk.cool(Table::States, ada);
    disk.set_stuck(true);
    let waiting = tokio::spawn({
        let app = Arc::clone(&app);
        async move { read(&app, ada).await }
    });
    until_waiting(&disk, 1).await;
    // On the same thread, which would be stuck with the disk.
    assert_eq!(read(&app, bob).await.unwrap().reading.vector.watermark, 1);
    let decided = app.decide(weekly_email(&app, "bob", None)).await.unwrap();
    assert_eq!(decided.inputs.features_availability, Availability::Available);
    assert!(!waiting.is_finished());
    disk.set_stuck(false);
    assert_eq!(waiting.await.unwrap().unwrap().reading.vector.watermark, 1);
}

#[tokio::test]
async fn a_decision_does_not_wait_for_features_beyond_its_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let (app, disk) = open(dir.path(), |_| {}).await;
    disk.cool(Table::States, key(&app, "ada"));
    let in_time = app.decide(weekly_email(&app, "ada", None)).await.unwrap();
    assert_eq!(in_time.inputs.features_availability, Availability::Available);
    assert_eq!(in_time.inputs.features.watermark, 1);

    disk.set_stuck(true);
    let late = app.decide(weekly_email(&app, "ada", Some(Duration::from_millis(5)))).await.unwrap();
    assert_eq!(late.inputs.features_availability, Availability::DeadlineExceeded);
    assert!(late.decision.reasons.iter().any(|reason| reason.code == ReasonCode::FeaturesUnavailable));
    assert!(late.sequence > 0, "it is recorded like any other");
    disk.set_stuck(false);
}

#[tokio::test]
async fn caps_hold_when_exposures_come_from_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (app, disk) = open(dir.path(), |_| {}).await;
    let first = app.decide(weekly_email(&app, "ada", None)).await.unwrap();
    assert!(first.decision.counts_against_caps, "{}", first.decision.action);
    disk.cool(Table::Exposures, key(&app, "ada"));
    disk.set_stuck(true);
    let waiting = tokio::spawn({
        let app = Arc::clone(&app);
        let call = weekly_email(&app, "ada", None);
        async move { app.decide(call).await }
    });
    until_waiting(&disk, 1).await;
    let other = app.decide(weekly_email(&app, "bob", None)).await.unwrap();
    assert!(other.decision.counts_against_caps);
    disk.set_stuck(false);
    let second = waiting.await.unwrap().unwrap();
    assert_eq!(second.inputs.exposures.len(), 1);
    assert_ne!(second.decision.action, first.decision.action);

    disk.set_stuck(true);
    // Nobody knows what was given, so only what has no cap may be.
    let late = app.decide(weekly_email(&app, "ada", Some(Duration::from_millis(5)))).await.unwrap();
    assert_eq!((&*late.decision.action, late.inputs.exposures.len()), ("no_email", 0));
    assert_eq!(late.inputs.features_availability, Availability::DeadlineExceeded);
    assert!(late.decision.reasons.iter().any(|reason| reason.code == ReasonCode::FeaturesUnavailable));
    assert!(late.sequence > 0, "it is recorded like any other");

    let mut call = weekly_email(&app, "ada", Some(Duration::from_millis(5)));
    call.request.decision_point = "cart_page".to_owned();
    let cart_value = v1::Value { kind: Some(v1::value::Kind::Number(60.0)) };
    call.request.context = BTreeMap::from([("cart_value".to_owned(), cart_value)]);
    let late = app.decide(call).await.unwrap_err();
    assert!(
        matches!(late, Error::DeadlineExceeded { .. }),
        "without features it gives what is capped: {late}"
    );
    disk.set_stuck(false);
}

#[tokio::test]
async fn too_many_cold_reads_are_refused_and_decisions_go_on_without() {
    let dir = tempfile::tempdir().unwrap();
    let (app, disk) = open(dir.path(), |data| (data.read_threads, data.read_queue) = (1, 1)).await;
    let ada = key(&app, "ada");
    disk.cool(Table::States, ada);
    disk.set_stuck(true);
    let begin = || {
        let app = Arc::clone(&app);
        tokio::spawn(async move { read(&app, ada).await })
    };
    let reading = begin();
    until_waiting(&disk, 1).await;
    let queued = begin();
    tokio::task::yield_now().await;
    let refused = read(&app, ada).await.unwrap_err();
    assert!(matches!(refused, Error::Overloaded { limit: 1, .. }), "{refused}");
    let refused = app.features_of_many(&app.store().definitions(), &[ada; 65], Vec::new()).await.unwrap_err();
    assert!(matches!(refused, Error::Overloaded { limit: 1, .. }), "{refused}");
    let decided = app.decide(weekly_email(&app, "ada", None)).await.unwrap();
    assert_eq!(decided.inputs.features_availability, Availability::Failed);
    app.refresh_metrics();
    assert!(
        app.metrics().render().contains("augur_cold_reads_refused_total 3"),
        "{}",
        app.metrics().render()
    );
    disk.set_stuck(false);
    assert!(reading.await.unwrap().is_ok() && queued.await.unwrap().is_ok());
}

#[tokio::test]
async fn who_cannot_be_read_in_time_is_written_to_by_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (app, disk) = open(dir.path(), |_| {}).await;
    let ada = key(&app, "ada");
    let said = Said { value: false, at: NOW };
    let profile = Profile { suppressions: vec![("push".into(), said)], ..Profile::default() };
    app.store().update_profile(ada, &profile).unwrap();
    disk.cool(Table::Profiles, ada);
    let in_time = app.decide(weekly_email(&app, "ada", None)).await.unwrap();
    assert_eq!(in_time.inputs.person.availability, Availability::Available);
    assert_eq!(&*in_time.decision.channel, "email");

    disk.set_stuck(true);
    let late = app.decide(weekly_email(&app, "ada", Some(Duration::from_millis(5)))).await.unwrap();
    assert_eq!(late.inputs.person.availability, Availability::DeadlineExceeded);
    assert_eq!(&*late.decision.action, "no_email");
    assert!(late.sequence > 0, "it is recorded like any other");
    disk.set_stuck(false);
}
