//! The app without a network: deadlines, training sets from the event log, exports, decisions for everybody.

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

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use augur_domain::decision::{Availability, Rung};
use augur_domain::event::EventOutcome;
use augur_domain::ids::Subject;
use augur_domain::time::DAY_MS;
use augur_domain::{DecisionRecord, ReasonCode, Timestamp};
use augur_proto::convert::timestamp_to_wire;
use augur_proto::v1;
use augur_server::offline::{ExportOptions, Population, Span, Task, TaskKind, TrainingOptions};
use augur_server::{App, Config, DecideCall, FixedClock};

const NOW: Timestamp = Timestamp::from_unix_ms(1_795_366_965_000);

fn open(dir: &Path) -> App {
    open_with(dir, |_| {})
}

fn open_with(dir: &Path, change: impl FnOnce(&mut Config)) -> App {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let mut config = Config::default();
    config.data.dir = dir.join("data");
    config.data.features = shipped.join("features.toml");
    config.data.policy = shipped.join("policy.toml");
    change(&mut config);
    App::open(config, FixedClock::new(NOW)).unwrap()
}

fn days_ago(days: i64) -> Timestamp {
    NOW.plus_millis(-days * DAY_MS)
}

fn event(user: &str, name: &str, days: i64) -> v1::Event {
    v1::Event {
        message_id: format!("{user}-{name}-{days}"),
        user_id: user.to_owned(),
        event: name.to_owned(),
        timestamp: Some(timestamp_to_wire(days_ago(days))),
        ..v1::Event::default()
    }
}

/// Ada buys every ten days; Bob looked once, long ago; Eve came back lately.
fn history() -> Vec<v1::Event> {
    let mut events: Vec<v1::Event> = (0..10).map(|n| event("ada", "purchase", 10 * n)).collect();
    events.extend([
        event("bob", "page_view", 90),
        event("eve", "page_view", 80),
        event("eve", "purchase", 5),
    ]);
    events
}

#[tokio::test]
async fn features_are_not_read_after_the_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let app = open(dir.path());
    let request = v1::DecideRequest {
        subject: Some(v1::Subject { id: Some(v1::subject::Id::UserId("ada".to_owned())) }),
        decision_point: "home_page".to_owned(),
        context: BTreeMap::new(),
        ..v1::DecideRequest::default()
    };
    let call = |allowed| DecideCall {
        bytes: vec![1, 2, 3],
        request: request.clone(),
        arrived: app.clock().monotonic(),
        allowed,
    };
    let late = app.decide(call(Some(Duration::ZERO))).await.unwrap();
    assert_eq!(late.inputs.features_availability, Availability::DeadlineExceeded);
    assert_eq!(late.decision.rung, Rung::RulesOnly);
    let reasons: Vec<ReasonCode> = late.decision.reasons.iter().map(|reason| reason.code).collect();
    assert!(reasons.contains(&ReasonCode::FeaturesUnavailable), "{reasons:?}");
    assert_eq!((late.sequence, &*late.request), (1, &[1, 2, 3][..]));
    let in_time = app.decide(call(None)).await.unwrap();
    assert_eq!(in_time.inputs.features_availability, Availability::Available);
    assert_ne!(in_time.inputs.seed, late.inputs.seed);
    app.close().unwrap();
}

#[tokio::test]
async fn a_record_that_could_not_be_written_is_answered_by_default_if_so_declared() {
    let dir = tempfile::tempdir().unwrap();
    let app = open_with(dir.path(), |config| {
        config.decision_log.segment_bytes = 4 << 10;
        config.decision_log.on_unavailable = augur_server::config::OnUnavailable::Default;
    });
    let ask = |user: String| DecideCall {
        bytes: Vec::new(),
        request: v1::DecideRequest {
            subject: Some(v1::Subject { id: Some(v1::subject::Id::UserId(user)) }),
            decision_point: "weekly_email".to_owned(),
            context: BTreeMap::new(),
            ..v1::DecideRequest::default()
        },
        arrived: app.clock().monotonic(),
        allowed: None,
    };
    // The next segment has nowhere to go.
    std::fs::remove_dir_all(app.layout().decisions()).unwrap();
    for user in 0..100 {
        let record = app.decide(ask(format!("u{user}"))).await.unwrap();
        if record.sequence == 0 {
            assert_eq!(record.decision.rung, Rung::DefaultAction);
            assert_eq!(record.decision.reasons[0].code, ReasonCode::LogUnavailable);
            let _ = app.close();
            return;
        }
    }
    panic!("a segment of 4 KiB cannot hold 100 records");
}

#[tokio::test]
async fn old_events_are_imported_as_of_their_time() {
    let dir = tempfile::tempdir().unwrap();
    let app = open(dir.path());
    let old = event("ada", "purchase", 2_000);
    let outcomes = app.ingest(vec![old.clone()], None).await.unwrap();
    assert!(matches!(outcomes[0], EventOutcome::Quarantined(_)), "{outcomes:?}");
    let outcomes = app.import(vec![old], days_ago(1_999)).await.unwrap().outcomes().await.unwrap();
    assert_eq!(outcomes, [EventOutcome::Accepted]);
    app.close().unwrap();
}

#[tokio::test]
async fn an_import_is_held_to_the_taxonomy() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("events.toml");
    let declared = "version = 1\n[[event]]\nname = \"purchase\"\naliases = [\"Bestellung\"]\n\
                    property = [{ name = \"value\", type = \"number\", renamed_from = [\"revenue\"] }]\n";
    std::fs::write(&file, declared).unwrap();
    let app = open_with(dir.path(), |config| config.data.events = Some(file));
    let mut order = event("ada", "Bestellung", 3);
    order.properties =
        [("revenue".to_owned(), v1::Value { kind: Some(v1::value::Kind::Number(7.0)) })].into();
    let outcomes = app.import(vec![order], NOW).await.unwrap().outcomes().await.unwrap();
    assert_eq!(outcomes, [EventOutcome::Accepted]);
    let user = app.user_key(Subject::User("ada"));
    let stored = app.store().events_of(user).unwrap().remove(0).event;
    assert_eq!(&*stored.name, "purchase");
    assert_eq!(stored.property("value").and_then(augur_domain::Value::as_number), Some(7.0));
    app.close().unwrap();
}

#[tokio::test]
async fn a_training_set_sees_the_past_and_is_labelled_by_the_future() {
    let dir = tempfile::tempdir().unwrap();
    let app = open(dir.path());
    app.ingest(history(), None).await.unwrap();
    let span = app.span().unwrap().unwrap();
    assert_eq!(span, Span { first: days_ago(90), last: NOW });

    let population = Population::default();
    let horizon_ms = 20 * DAY_MS;
    let mut task = Task::of_kind(TaskKind::Conversion);
    (task.horizon_ms, task.population, task.cutoffs) = (horizon_ms, population, 2);
    let instants = task.cutoffs_between(span.first, span.last);
    assert_eq!(instants, [days_ago(40), days_ago(20)]);
    let set = app.training_set(&app.labels(&task, &instants).unwrap()).unwrap();
    assert_eq!(set.len(), 6, "three people, two instants");
    assert_eq!(set.feature_set, app.feature_set().hash());

    let ada = app.user_key(Subject::User("ada"));
    let eve = app.user_key(Subject::User("eve"));
    let column = set.columns.iter().position(|name| name == "purchase_count_30d").unwrap();
    let rows: Vec<_> = set.rows().zip(&set.users).collect();
    let of = |user, at| rows.iter().find(|((_, _, _, time), key)| **key == user && *time == at).unwrap().0;
    // The purchase at the very instant belongs to the label, not to the features.
    let (values, label, ..) = of(ada, days_ago(20));
    assert_eq!((values[column], label), (Some(3.0), true));
    assert!(!of(eve, days_ago(40)).1);
    assert!(of(eve, days_ago(20)).1);

    let recent = Population { active_within_ms: Some(50 * DAY_MS), ..Population::default() };
    let mut churn = Task::of_kind(TaskKind::Churn);
    (churn.horizon_ms, churn.population) = (horizon_ms, recent);
    let labels = app.labels(&churn, &instants).unwrap();
    let told: Vec<_> = labels.iter().map(|label| (label.user == eve, label.at, label.outcome)).collect();
    assert!(told.contains(&(true, days_ago(40), Some(1.0))), "{told:?}");

    let error = app.labels(&task, &[days_ago(19)]).unwrap_err().to_string();
    assert!(error.contains("needs 20d of data after it, but the data ends at 2026-11-22"), "{error}");
    let nobody = app.labels(&task, &[days_ago(95)]).unwrap_err().to_string();
    assert!(nobody.contains("nobody was there before the cutoffs"), "{nobody}");
    app.close().unwrap();
}

#[tokio::test]
async fn features_are_exported_for_everybody() {
    let dir = tempfile::tempdir().unwrap();
    let app = open(dir.path());
    app.ingest(history(), None).await.unwrap();
    let path = dir.path().join("features.parquet");
    let mut labels = app.label_sorter(dir.path(), TrainingOptions::default()).unwrap();
    app.label_everybody(NOW, &mut labels).unwrap();
    let exported =
        app.export_features(&path, labels.finish().unwrap(), ExportOptions::default(), |_| {}).unwrap();
    assert_eq!(exported.rows, 3);
    assert_eq!(std::fs::read(&path).unwrap()[..4], *b"PAR1");
    app.close().unwrap();
}

#[tokio::test]
async fn everybody_gets_a_decision_and_nobody_two() {
    let dir = tempfile::tempdir().unwrap();
    let app = Arc::new(open(dir.path()));
    let people = (0..700).map(|n| event(&format!("u{n}"), "page_view", 2)).collect();
    app.ingest(people, None).await.unwrap();
    let (mut users, mut held_out) = (Vec::new(), 0);
    let told = |record: &DecisionRecord| {
        users.push(record.inputs.user);
        let reasons = &record.decision.reasons;
        held_out += u64::from(reasons.iter().any(|reason| reason.code == ReasonCode::HeldOut));
    };
    let decided = app.decide_for_all("weekly_email", &[], told).await.unwrap();
    // The shipped policy writes to nobody in a fiftieth.
    assert_eq!((decided.users, decided.given), (700, 700 - held_out));
    assert!(held_out < 70, "{held_out}");
    assert!(users.is_sorted());
    // A digest lasts six days.
    let again = app.decide_for_all("weekly_email", &[], |_| {}).await.unwrap();
    assert_eq!((again.users, again.given), (700, 0));
    let error = app.decide_for_all("weekly_mail", &[], |_| {}).await.unwrap_err().to_string();
    assert!(error.contains("did you mean `weekly_email`?"), "{error}");
    Arc::into_inner(app).unwrap().close().unwrap();
}
