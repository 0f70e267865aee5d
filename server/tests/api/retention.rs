//! Retention on a running server: events go when they have been kept long enough, features stay, and whatever cannot be
//! told any more is said to be.
//!
//! Not here: any order of events and sweeps (`augur_feature_store`).

use std::path::Path;

use augur_domain::Timestamp;
use augur_domain::ids::Subject;
use augur_domain::time::DAY_MS;
use augur_feature_store::Verdict;
use augur_proto::v1;
use augur_proto::v1::EventOutcome;
use augur_server::offline::{Label, TrainingOptions};
use augur_server::{App, Config, FixedClock};

use crate::main_path::get;
use crate::past::see;
use crate::quarantine::{list, replay};
use crate::served::{NOW, Served, event, purchase};
use crate::versions::{built, versions};

const PEOPLE: [&str; 3] = ["ada", "bob", "eve"];

const TAXONOMY: &str = "version = 1

[[event]]
name = \"page_view\"
retention = \"short\"
";

/// Events are kept for 30 days, those of a class for 7, and messages are recognised for 7.
fn forgetful(config: &mut Config) {
    let file = config.data.dir.with_file_name("events.toml");
    std::fs::write(&file, TAXONOMY).unwrap();
    config.data.events = Some(file);
    config.ingest.max_lateness_ms = 6 * DAY_MS;
    config.retention.events_ms = Some(30 * DAY_MS);
    config.retention.classes = vec![("short".to_owned(), Some(7 * DAY_MS))];
    config.retention.dedup_marks_ms = Some(7 * DAY_MS);
}

/// What everybody sends on a day.
fn of_day(day: i64) -> Vec<v1::Event> {
    let events = PEOPLE.iter().enumerate().flat_map(|(number, user)| {
        let page = event(&format!("page-{day}"), user, "page_view", -day * DAY_MS);
        let bought = v1::Event {
            timestamp: page.timestamp,
            ..purchase(&format!("order-{day}"), user, 7.5 + day as f64 * number as f64)
        };
        [page, bought]
    });
    events.collect()
}

fn count(page: &str, name: &str) -> u64 {
    // Just after the start there may be none yet.
    let Some(line) = page.lines().find(|line| line.starts_with(name)) else { return 0 };
    line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64
}

/// Waits until the sweeper has removed so many events.
async fn removed(served: &Served, events: u64) {
    let removed = async {
        while count(&get(served, "/metrics").await, "augur_retention_events_removed") < events {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), removed).await.unwrap();
}

/// Every feature of everybody is the same, to the bit.
async fn assert_same(one: &Served, other: &Served, now: Timestamp) {
    for user in PEOPLE {
        let (one, other) = (see(one, user, now).await, see(other, user, now).await);
        let bits = |values: &[(String, Option<f64>)]| -> Vec<(String, Option<u64>)> {
            values.iter().map(|(name, value)| (name.clone(), value.map(f64::to_bits))).collect()
        };
        assert_eq!(bits(&one.values), bits(&other.values), "{user} at {now:?}");
        assert!(one.values.iter().filter(|(_, value)| value.is_some()).count() > 5);
    }
}

#[tokio::test]
async fn old_events_go_and_what_they_made_stays() {
    let (mut swept, kept) = (Served::start_with(forgetful).await, Served::start().await);
    let set = |swept: &Served, now: Timestamp| {
        swept.clock.set(now);
        kept.clock.set(now);
    };
    let accepted = vec![EventOutcome::Accepted; 6];
    for day in [0, 1, 2] {
        set(&swept, NOW.plus_millis(day * DAY_MS));
        assert_eq!(swept.ingest(of_day(day)).await, accepted);
        assert_eq!(kept.ingest(of_day(day)).await, accepted);
    }
    // Page views of the first days are gone; each restart finds what is due by then.
    let mut gone = 0;
    for (day, goes) in [(9, 6), (20, 6), (33, 9)] {
        let now = NOW.plus_millis(day * DAY_MS);
        set(&swept, now);
        swept = swept.restart_with(|_, _| {}).await;
        removed(&swept, goes).await;
        gone += goes;
        assert_same(&swept, &kept, now).await;
        if day == 9 {
            // In between, more comes.
            assert_eq!(swept.ingest(of_day(day)).await, accepted);
            assert_eq!(kept.ingest(of_day(day)).await, accepted);
            assert_same(&swept, &kept, now).await;
        }
    }

    // A new version says from when on it knows everything.
    let features = std::fs::read_to_string(&swept.config().data.features).unwrap();
    let more = "\n[[feature]]\nname = \"all\"\nkind = \"total_count\"\n";
    let version = built(&swept, features + more).await;
    let told = versions(&swept).await.into_iter().find(|it| it.version == version).unwrap().history_from;
    let today_ms = NOW.plus_millis(33 * DAY_MS).unix_ms().div_euclid(DAY_MS) * DAY_MS;
    let expected_ms = today_ms - 7 * DAY_MS + 1;
    assert_eq!(told.map(|at| at.seconds * 1_000 + i64::from(at.nanos / 1_000_000)), Some(expected_ms));

    let mut config = Config::default();
    let now = NOW.plus_millis(33 * DAY_MS);
    let swept = swept.restart_with(|known, _| config = known.clone()).await;
    let dir = swept.ended().await;
    kept.stop().await;
    assert_told_offline(config, dir.path(), now, gone);
}

/// Verification begins with what the removed events made, and a row of the past says that it lacks them.
fn assert_told_offline(config: Config, dir: &Path, now: Timestamp, gone: u64) {
    let app = App::open(config, FixedClock::new(now)).unwrap();
    let users: Vec<_> = app.store().users_to_verify().unwrap().map(Result::unwrap).collect();
    assert_eq!(users.len(), PEOPLE.len());
    for user in &users {
        assert_eq!(app.store().verify_user(*user).unwrap(), Verdict::Identical { events: 8 });
    }
    let removed: u64 = users.iter().map(|user| app.store().removed_events(*user).unwrap()).sum();
    assert_eq!(removed, gone);
    let options = TrainingOptions::default();
    let mut labels = app.label_sorter(dir, options).unwrap();
    let user = app.user_key(Subject::User("ada"));
    for at in [NOW.plus_millis(DAY_MS), now] {
        labels.push(&Label { user, at, outcome: None }).unwrap();
    }
    let rows = app.store().training_rows_of(labels.finish().unwrap(), options).unwrap();
    let before: Vec<bool> = rows.map(|row| row.unwrap().before_history).collect();
    assert_eq!(before, [true, false]);
    app.close().unwrap();
}

#[tokio::test]
async fn a_message_that_is_not_recognised_any_more_is_too_late() {
    let served = Served::start_with(forgetful).await;
    let bought = purchase("order", "ada", 42.0);
    assert_eq!(served.ingest(vec![bought.clone()]).await, [EventOutcome::Accepted]);
    served.clock.set(NOW.plus_millis(5 * DAY_MS));
    assert_eq!(served.ingest(vec![bought.clone()]).await, [EventOutcome::Duplicate]);
    served.clock.set(NOW.plus_millis(9 * DAY_MS));
    let served = served.restart_with(|_, _| {}).await;
    let gone = async {
        while count(&get(&served, "/metrics").await, "augur_retention_marks_removed") == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), gone).await.unwrap();
    assert_eq!(served.ingest(vec![bought]).await, [EventOutcome::Quarantined]);
    let value = async || served.feature("ada", "revenue_30d").await.1;
    assert_eq!(value().await, Some(42.0));
    // Whoever takes it all the same counts it again.
    let entry = list(&served, v1::ListQuarantineRequest::default()).await.events.remove(0);
    assert_eq!(entry.reason(), v1::QuarantineReason::TooLate);
    assert_eq!(replay(&served, &[entry.number], &[], true).await[0].0, EventOutcome::Accepted);
    assert_eq!(value().await, Some(84.0));
    served.stop().await;
}
