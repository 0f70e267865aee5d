//! What a restart keeps, and what it refuses.

use std::fs;

use augur_proto::v1;
use augur_proto::v1::{EventOutcome, FeatureStatus, Rung};
use augur_server::{App, FixedClock};

use crate::served::{NOW, Served, artifact, cart, config, event, promote, purchase};

#[tokio::test]
async fn everything_is_there_again() {
    let served = Served::start().await;
    served.ingest(vec![purchase("m1", "ada", 42.0), event("", "ada", "x", 0)]).await;
    promote(&served, &artifact("conversion", "purchase_count_30d", 0.5)).await;
    promote(&served, &artifact("churn", "revenue_30d", -0.01)).await;
    let decided = served.decide(cart("ada", 60.0)).await;
    let policy = served.policies().get_policy(v1::GetPolicyRequest {}).await.unwrap().into_inner();

    let served = served.restart_with(|_, _| {}).await;
    assert_eq!(served.feature("ada", "revenue_30d").await, (FeatureStatus::Present, Some(42.0)));
    assert_eq!(served.ingest(vec![purchase("m1", "ada", 42.0)]).await, [EventOutcome::Duplicate]);
    let quarantine = served.events().list_quarantine(v1::ListQuarantineRequest { limit: 0 }).await.unwrap();
    assert_eq!(quarantine.into_inner().events.len(), 1);
    assert_eq!(served.policies().get_policy(v1::GetPolicyRequest {}).await.unwrap().into_inner(), policy);

    // Not in the memory of recent decisions any more: found by reading the log.
    let request = v1::ExplainRequest { decision_id: decided.decision_id.clone() };
    let explained = served.decisions().explain(request).await.unwrap().into_inner();
    assert_eq!(explained.record.unwrap().decision.unwrap(), decided);
    let again = served.decide(cart("ada", 60.0)).await;
    assert_eq!((again.rung(), &again.scores), (Rung::Champion, &decided.scores));
    assert_ne!(again.decision_id, decided.decision_id);
    let request = v1::TailDecisionsRequest { from_sequence: 1, limit: 0, follow: false };
    let mut stream = served.log().tail_decisions(request).await.unwrap().into_inner();
    let mut sequences = Vec::new();
    while let Some(told) = stream.message().await.unwrap() {
        sequences.push(told.record.unwrap().sequence);
    }
    assert_eq!(sequences, [1, 2]);
    served.stop().await;
}

#[tokio::test]
async fn an_activated_policy_stays_until_the_file_changes() {
    let served = Served::start().await;
    let shipped = served.policies().get_policy(v1::GetPolicyRequest {}).await.unwrap().into_inner();
    let changed = format!("{}\n# a second thought\n", shipped.policy_toml);
    let request = v1::ActivatePolicyRequest { policy_toml: changed };
    let activated = served.policies().activate_policy(request).await.unwrap().into_inner();
    assert_eq!(activated.previous_policy_id, shipped.policy_id);
    assert_ne!(activated.policy_id, shipped.policy_id);

    let served = served.restart_with(|_, _| {}).await;
    let kept = served.policies().get_policy(v1::GetPolicyRequest {}).await.unwrap().into_inner();
    assert_eq!(kept.policy_id, activated.policy_id);

    let served = served
        .restart_with(|config, dir| {
            let file = dir.join("edited.toml");
            fs::write(&file, format!("# edited\n{}", shipped.policy_toml)).unwrap();
            config.data.policy = file;
        })
        .await;
    let edited = served.policies().get_policy(v1::GetPolicyRequest {}).await.unwrap().into_inner();
    assert!(edited.policy_toml.starts_with("# edited"));
    for id in [&shipped.policy_id, &activated.policy_id, &edited.policy_id] {
        let bundle = served.dir().join("data/policies").join(id);
        assert!(bundle.join("policy.toml").is_file() && bundle.join("features.toml").is_file(), "{id}");
    }
    served.stop().await;
}

#[tokio::test]
async fn changed_definitions_rebuild_features_from_the_events() {
    let served = Served::start().await;
    served.ingest(vec![purchase("m1", "ada", 42.0), purchase("m2", "ada", 8.0)]).await;
    let served = served
        .restart_with(|config, dir| {
            let text = fs::read_to_string(&config.data.features).unwrap();
            let file = dir.join("features.toml");
            let added = "\n[[feature]]\nname = \"spend\"\nkind = \"windowed_sum\"\nevents = [\"purchase\"]\n\
                         property = \"value\"\nwindows = [\"7d\"]\n";
            fs::write(&file, text + added).unwrap();
            config.data.features = file;
        })
        .await;
    assert_eq!(served.feature("ada", "spend_7d").await, (FeatureStatus::Present, Some(50.0)));
    served.stop().await;
}

#[tokio::test]
async fn a_directory_in_use_or_a_broken_definition_is_refused_and_changes_nothing() {
    let served = Served::start().await;
    let mut same = config(served.dir());
    let error = App::open(same.clone(), FixedClock::new(NOW)).unwrap_err().to_string();
    assert!(error.contains("is in use by another process"), "{error}");

    let broken = served.dir().join("broken.toml");
    fs::write(&broken, "version = 1\n[[decision_point]]\nname = 3\n").unwrap();
    same.data.policy = broken;
    let error = App::open(same, FixedClock::new(NOW)).unwrap_err();
    assert!(error.diagnostics().iter().any(|complaint| complaint.line == 3), "{error}");
    assert_eq!(served.ingest(vec![purchase("m1", "ada", 1.0)]).await, [EventOutcome::Accepted]);
    served.stop().await;
}

#[tokio::test]
async fn a_taken_address_is_refused_with_the_setting_to_change() {
    let served = Served::start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut other = config(dir.path());
    other.server.listen = served.running.address;
    let error = augur_server::serve(other, tokio_util::sync::CancellationToken::new()).await.unwrap_err();
    assert!(error.to_string().contains("set `server.listen` to another one"), "{error}");
    served.stop().await;
}
