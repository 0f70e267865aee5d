//! A disk that does not answer is left alone: decisions are made at once without it, and with it again when it is back.
//!
//! Not here: when a breaker opens in general (`augur_server::breaker`).

use std::time::Instant;

use augur_domain::decision::Rung;
use augur_server::SystemClock;
use augur_server::breaker::{Mode, State};

use super::*;

/// Longer than any of this takes, shorter than anybody waits.
const LONG: Duration = Duration::from_secs(60);

async fn open_stalling(dir: &Path) -> (Arc<App>, Arc<SlowDisk>) {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let mut config = Config::default();
    config.data.dir = dir.join("data");
    config.data.features = shipped.join("features.toml");
    config.data.policy = shipped.join("policy.toml");
    config.breakers.features_slow_after = Duration::from_millis(10);
    config.breakers.common.consecutive_failures = 3;
    config.breakers.common.open_for = Duration::from_millis(100);
    let disk = SlowDisk::new();
    let app = App::open_on_engine(config, SystemClock::new(), Arc::<SlowDisk>::clone(&disk)).unwrap();
    (Arc::new(app), disk)
}

fn state(app: &App) -> State {
    app.breakers().into_iter().find(|breaker| &*breaker.name == "features").unwrap().state
}

#[tokio::test]
async fn a_stalled_disk_is_left_alone_and_every_decision_is_answered_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let (app, disk) = open_stalling(dir.path()).await;
    // Nobody knows users without events, so their records are looked for on the disk.
    let users: Vec<String> = (0..200).map(|user| format!("user {user}")).collect();
    for user in &users {
        disk.cool(Table::States, key(&app, user));
    }
    disk.set_stuck(true);
    let allowed = Duration::from_millis(20);
    let (mut refused, mut late) = (0, 0);
    for user in &users {
        let asked = Instant::now();
        let record = app.decide(weekly_email(&app, user, Some(allowed))).await.unwrap();
        assert!(matches!(record.decision.rung, Rung::RulesOnly | Rung::DefaultAction), "{record:?}");
        match record.inputs.features_availability {
            Availability::BreakerOpen => refused += 1,
            Availability::DeadlineExceeded => late += 1,
            other => panic!("{other:?}"),
        }
        assert!(asked.elapsed() < LONG);
    }
    assert!(late >= 3 && refused >= 150, "{late} waited, {refused} did not");

    disk.set_stuck(false);
    let asked = Instant::now();
    loop {
        let record = app.decide(weekly_email(&app, "user 7", None)).await.unwrap();
        if record.inputs.features_availability == Availability::Available && state(&app) == State::Closed {
            break;
        }
        assert!(asked.elapsed() < LONG, "{:?}", app.breakers());
        // sleep: the breaker goes by the clock.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    app.refresh_metrics();
    let metrics = app.metrics().render();
    assert!(metrics.contains(r#"augur_breaker_state{breaker="features"} 0"#), "{metrics}");
    assert!(!metrics.contains(r#"augur_breaker_refused{breaker="features"} 0"#), "{metrics}");
}

#[tokio::test]
async fn what_is_in_memory_is_used_while_the_disk_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (app, disk) = open(dir.path(), |_| {}).await;
    disk.cool(Table::States, key(&app, "ada"));
    app.force_breaker("features", Some(Mode::ForcedOpen)).unwrap();
    let cold = app.decide(weekly_email(&app, "ada", None)).await.unwrap();
    assert_eq!(cold.inputs.features_availability, Availability::BreakerOpen);
    let detail = cold.decision.reasons.iter().find(|reason| reason.code == ReasonCode::FeaturesUnavailable);
    assert_eq!(detail.unwrap().detail.as_deref(), Some("BREAKER_OPEN"));
    let warm = app.decide(weekly_email(&app, "bob", None)).await.unwrap();
    assert_eq!(warm.inputs.features_availability, Availability::Available);
    app.force_breaker("features", None).unwrap();
    let again = app.decide(weekly_email(&app, "ada", None)).await.unwrap();
    assert_eq!(again.inputs.features_availability, Availability::Available);
}
