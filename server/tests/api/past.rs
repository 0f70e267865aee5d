//! What was served is what the event log says: compared in the background, and in exports as of the same instants.
//!
//! Not here: rows against their definition (the feature store).

use augur_domain::Timestamp;
use augur_domain::ids::Subject;
use augur_domain::rng::{Purpose, Rng};
use augur_domain::time::HOUR_MS;
use augur_feature_store::store::{Generation, Read, RocksStore, Store};
use augur_proto::convert::timestamp_to_wire;
use augur_proto::v1;
use augur_server::App;
use augur_server::offline::{Label, TrainingOptions};

use crate::main_path::get;
use crate::served::{NOW, Served, purchase, subject};

/// What a user was served at an instant: by name, the value if one was.
pub(crate) struct Seen {
    user: String,
    at: Timestamp,
    pub(crate) values: Vec<(String, Option<f64>)>,
}

/// Everything of `user`, served now.
pub(crate) async fn see(served: &Served, user: &str, at: Timestamp) -> Seen {
    let request = v1::GetFeaturesRequest { subject: subject(user), ..v1::GetFeaturesRequest::default() };
    let response = served.features().get_features(request).await.unwrap().into_inner();
    let usable = [v1::FeatureStatus::Present, v1::FeatureStatus::Defaulted];
    let values = response
        .features
        .iter()
        .map(|feature| (feature.name.clone(), feature.value.filter(|_| usable.contains(&feature.status()))));
    Seen { user: user.to_owned(), at, values: values.collect() }
}

#[tokio::test]
async fn an_export_says_what_was_served_at_the_time() {
    let names = ["Order Completed", "Product Viewed", "page_view", "Product Added", "login"];
    let served = Served::start().await;
    let mut rng = Rng::new(11, Purpose::Simulation);
    let (mut now, mut seen, mut sent) = (NOW, Vec::new(), 0);
    for _ in 0..120 {
        let before = now;
        now = now.plus_millis(1 + i64::try_from(rng.below(2 * HOUR_MS.unsigned_abs())).unwrap());
        served.clock.set(now);
        // Within a step events come in any order, some at the very instants of the reads around it.
        let mut batch = Vec::new();
        for _ in 0..rng.below(4) {
            sent += 1;
            let at = match rng.below(4) {
                0 => now,
                _ => before.plus_millis(
                    1 + i64::try_from(rng.below((now.millis_since(before)).unsigned_abs())).unwrap(),
                ),
            };
            let user = format!("user-{}", rng.below(3));
            let name = names[usize::try_from(rng.below(5)).unwrap()];
            batch.push(v1::Event {
                event: name.to_owned(),
                timestamp: Some(timestamp_to_wire(at)),
                ..purchase(&format!("m{sent}"), &user, 1.0 + rng.below(9_999) as f64 / 100.0)
            });
        }
        let outcomes = served.ingest(batch).await;
        assert!(outcomes.iter().all(|outcome| *outcome == v1::EventOutcome::Accepted), "{outcomes:?}");
        for user in 0..4 {
            seen.push(see(&served, &format!("user-{user}"), now).await);
        }
    }
    let mut config = augur_server::Config::default();
    let served = served.restart_with(|known, _| config = known.clone()).await;
    let dir = served.ended().await;

    let app = App::open(config, augur_server::FixedClock::new(now)).unwrap();
    let options = TrainingOptions { inclusive: true, ..TrainingOptions::default() };
    let mut labels = app.label_sorter(dir.path(), options).unwrap();
    for seen in &seen {
        labels
            .push(&Label { user: app.user_key(Subject::User(&seen.user)), at: seen.at, outcome: None })
            .unwrap();
    }
    let (mut rows, mut values) = (0, 0);
    for row in app.store().training_rows_of(labels.finish().unwrap(), options).unwrap() {
        let row = row.unwrap();
        let seen = &seen[row.label];
        rows += 1;
        for (slot, info) in app.feature_set().features().iter().enumerate() {
            let Some((_, served)) = seen.values.iter().find(|(name, _)| *name == *info.name) else {
                continue;
            };
            let exported = row.features.usable(slot);
            assert_eq!(
                exported.map(f64::to_bits),
                served.map(f64::to_bits),
                "{} of {} at {}: exported {exported:?}, served {served:?}",
                info.name,
                seen.user,
                seen.at
            );
            values += 1;
        }
    }
    assert_eq!(rows, 480);
    assert!(values > 480 * 5, "{values}");
    app.close().unwrap();
}

#[tokio::test]
async fn damaged_states_are_counted_in_the_background() {
    let served = Served::start_with(|config| config.features.verify_users_per_minute = 0).await;
    let people = ["ada", "bob", "eve"];
    let event =
        |(number, user): (usize, &&str)| purchase(&format!("m{number}"), user, 10.0 * (number + 1) as f64);
    served.ingest(people.iter().enumerate().map(event).collect()).await;
    let count = |page: &str, name: &str| -> f64 {
        let line = page.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let page = get(&served, "/metrics").await;
    assert_eq!(count(&page, "augur_feature_verify_checked_total"), 0.0, "switched off");

    let served = served
        .restart_with(|config, dir| {
            config.features.verify_users_per_minute = 60_000;
            let mut store = augur_feature_store::Config::new(dir.join("data/store"));
            store.block_cache_bytes = 8 << 20;
            let store = RocksStore::open(&store).unwrap();
            let users: Vec<_> = store.users(Generation::FIRST, None).unwrap().map(Result::unwrap).collect();
            let anothers = store.state(Generation::FIRST, users[1]).unwrap().unwrap();
            store.replace_states(Generation::FIRST, &[(users[0], anothers)]).unwrap();
            store.flush().unwrap();
        })
        .await;
    let found = async {
        loop {
            let page = get(&served, "/metrics").await;
            if count(&page, "augur_feature_verify_mismatch_total") > 0.0 {
                break;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), found).await.unwrap();
    // A page is read counter by counter while the verifier counts: what was counted before the mismatch
    // stands only on a page begun after it.
    let page = get(&served, "/metrics").await;
    assert!(count(&page, "augur_feature_verify_checked_total") > 0.0);
    assert_eq!(count(&page, "augur_feature_verify_missing_total"), 0.0);
    served.stop().await;
}
