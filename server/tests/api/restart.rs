//! What a restart keeps, and what it refuses.

use std::fs;
use std::path::Path;

use augur_proto::v1;
use augur_proto::v1::{EventOutcome, FeatureStatus, Rung};
use augur_server::{App, Config, FixedClock, Proposal, Remark};

use crate::served::{NOW, Served, artifact, cart, config, event, promote, publish, purchase};

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
    let quarantine = served
        .events()
        .list_quarantine(v1::ListQuarantineRequest { limit: 0, ..Default::default() })
        .await
        .unwrap();
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
    let request = v1::ActivatePolicyRequest { policy_toml: changed, ..Default::default() };
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

const TABLE: &str = "context.country,reason\nDE,GERMANS_PAY_FULL\n";

#[tokio::test]
async fn the_files_of_an_activated_policy_stay_with_it() {
    let served = Served::start().await;
    let shipped = policy_of(&served).await;
    let table = "\n[[table]]\nname = \"full_price\"\nfile = \"full-price.csv\"\nhit = \"first\"\nthen = \"deny\"\n\
                 actions = [\"discount_10\"]\npoints = [\"cart_page\"]\n";
    let policy_toml = format!("{}{table}", shipped.policy_toml);
    let alone = v1::ActivatePolicyRequest { policy_toml: policy_toml.clone(), ..Default::default() };
    let refused = served.policies().activate_policy(alone).await.unwrap().into_inner();
    assert_eq!(refused.faults[0].message, "there is no file `full-price.csv` beside the policy");

    let file = |text: &str| v1::PolicyFile { name: "full-price.csv".to_owned(), text: text.to_owned() };
    let unnamed = v1::PolicyFile { name: "../x".to_owned(), text: "x".to_owned() };
    let mut request =
        v1::ActivatePolicyRequest { policy_toml, files: vec![unnamed, file(TABLE)], ..Default::default() };
    let first = served.policies().activate_policy(request.clone()).await.unwrap().into_inner();
    assert_eq!(first.faults, []);
    request.files = vec![file(&TABLE.replace("DE", "AT"))];
    let second = served.policies().activate_policy(request).await.unwrap().into_inner();
    assert_ne!(first.policy_id, second.policy_id, "other rows, other policy");

    let served = served.restart_with(|_, _| {}).await;
    let kept = policy_of(&served).await;
    assert_eq!(
        (kept.policy_id, kept.files),
        (second.policy_id.clone(), vec![file(&TABLE.replace("DE", "AT"))])
    );
    let archive = served.dir().join("data/policies");
    assert_eq!(fs::read_to_string(archive.join(&first.policy_id).join("full-price.csv")).unwrap(), TABLE);

    // A kept table that is not what it was is not decided by.
    let changed = archive.join(&second.policy_id).join("full-price.csv");
    let served = served.restart_with(move |_, _| fs::write(changed, TABLE).unwrap()).await;
    assert_eq!(policy_of(&served).await.policy_id, shipped.policy_id);
    served.stop().await;
}

/// Adds a feature to the configured definitions.
fn add_feature(config: &mut Config, dir: &Path) {
    let text = fs::read_to_string(&config.data.features).unwrap();
    let file = dir.join("features.toml");
    let added = "\n[[feature]]\nname = \"spend\"\nkind = \"windowed_sum\"\nevents = [\"purchase\"]\n\
                 property = \"value\"\nwindows = [\"7d\"]\n";
    fs::write(&file, text + added).unwrap();
    config.data.features = file;
}

async fn policy_of(served: &Served) -> v1::GetPolicyResponse {
    served.policies().get_policy(v1::GetPolicyRequest {}).await.unwrap().into_inner()
}

#[tokio::test]
async fn an_activated_policy_outlives_changed_features_and_is_given_up_only_when_they_end_it() {
    let served = Served::start().await;
    let shipped = policy_of(&served).await;
    let text = format!("{}\n# a second thought\n", shipped.policy_toml);
    let request = v1::ActivatePolicyRequest { policy_toml: text.clone(), ..Default::default() };
    let activated = served.policies().activate_policy(request).await.unwrap().into_inner();

    let served = served.restart_with(add_feature).await;
    let kept = policy_of(&served).await;
    assert_eq!(kept.policy_toml, text);
    assert_ne!(kept.policy_id, activated.policy_id, "other features, other id");
    assert!(served.dir().join("data/policies").join(&kept.policy_id).join("policy.toml").is_file());
    let served = served.restart_with(|_, _| {}).await;
    assert_eq!(policy_of(&served).await, kept);

    let archived = served.dir().join("data/policies").join(&kept.policy_id).join("policy.toml");
    let served = served.restart_with(move |_, _| fs::write(archived, "version = 1\n").unwrap()).await;
    assert_eq!(
        policy_of(&served).await.policy_toml,
        shipped.policy_toml,
        "damaged: the configured one decides"
    );
    served.stop().await;
}

#[tokio::test]
async fn kept_policy_files_are_mended_and_a_damaged_choice_is_told() {
    let served = Served::start().await;
    let policy = policy_of(&served).await;
    let bundle = served.dir().join("data/policies").join(&policy.policy_id);
    for name in ["policy.toml", "features.toml"] {
        fs::write(bundle.join(name), "garbage").unwrap();
    }
    let served = served.restart_with(|_, _| {}).await;
    assert_eq!(fs::read_to_string(bundle.join("policy.toml")).unwrap(), policy.policy_toml);
    assert!(fs::read_to_string(bundle.join("features.toml")).unwrap().contains("[[feature]]"));
    let config = config(served.dir());
    let dir = served.ended().await;
    for damaged in ["\u{0}", "active = \"1\"\n", ""] {
        fs::write(dir.path().join("data/active_policy"), damaged).unwrap();
        let error = App::open(config.clone(), FixedClock::new(NOW)).unwrap_err().to_string();
        assert!(
            error.contains("which policy decides cannot be read") && error.contains("or remove it"),
            "{error}"
        );
    }
}

/// What the metrics say right after `config` was opened.
fn metrics_at_open(config: Config) -> String {
    let app = App::open(config, FixedClock::new(NOW)).unwrap();
    app.refresh_metrics();
    let text = app.metrics().render();
    app.close().unwrap();
    text
}

#[tokio::test]
async fn a_model_that_cannot_be_used_any_more_is_missing_and_nothing_else() {
    let served = Served::start().await;
    let served = served.restart_with(add_feature).await;
    promote(&served, &artifact("churn", "spend_7d", -0.01)).await;
    promote(&served, &artifact("conversion", "purchase_count_30d", 0.5)).await;
    assert_eq!(served.decide(cart("ada", 60.0)).await.rung(), Rung::Champion);

    let served = served.restart_with(|changed, dir| changed.data.features = config(dir).data.features).await;
    let decided = served.decide(cart("ada", 60.0)).await;
    assert_eq!(decided.rung(), Rung::RulesOnly);
    let policy_toml = policy_of(&served).await.policy_toml;
    let request = v1::CheckPolicyRequest { policy_toml, ..Default::default() };
    let checked = served.policies().check_policy(request).await.unwrap().into_inner();
    assert!(checked.faults[0].message.contains("`spend_7d`"), "{checked:?}");
    // Another alias can still be moved, and a good version of this one ends the matter.
    promote(&served, &artifact("conversion", "purchase_count_30d", 0.6)).await;
    promote(&served, &artifact("churn", "revenue_30d", -0.01)).await;
    assert_eq!(served.decide(cart("ada", 60.0)).await.rung(), Rung::Champion);

    let artifacts = served.dir().join("data/models/churn");
    let config = config(served.dir());
    let dir = served.ended().await;
    assert!(metrics_at_open(config.clone()).contains("\naugur_models_of_other_definitions 2"));
    damage_files(&artifacts);
    let text = metrics_at_open(config);
    assert!(text.contains("\naugur_models_missing 1"), "{text}");
    drop(dir);
}

#[tokio::test]
async fn an_alias_is_not_moved_when_another_model_would_get_lost() {
    let served = Served::start().await;
    promote(&served, &artifact("churn", "revenue_30d", -0.01)).await;
    damage_files(&served.dir().join("data/models/churn"));
    let version = publish(&served, &artifact("conversion", "purchase_count_30d", 0.5));
    let request = v1::SetAliasRequest {
        model: "conversion".to_owned(),
        alias: "champion".to_owned(),
        version,
        reason: "a test".to_owned(),
        moved_by: "tests".to_owned(),
    };
    let status = served.models().set_alias(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition, "{status:?}");
    assert!(status.message().contains("`churn` at `champion`"), "{status:?}");
    let registry = augur_models::Registry::open(served.dir().join("data/models")).unwrap();
    assert_eq!(registry.resolve("conversion", "champion").unwrap(), None);
    served.stop().await;
}

/// Spoils every artifact below `dir`.
fn damage_files(dir: &Path) {
    let mut spoiled = 0;
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if fs::read(&path).unwrap().starts_with(b"AUGURMDL") {
                fs::write(&path, "spoiled").unwrap();
                spoiled += 1;
            }
        }
    }
    assert!(spoiled > 0);
}

#[tokio::test]
async fn a_policy_that_is_only_checked_leaves_no_series() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::open(config(dir.path()), FixedClock::new(NOW)).unwrap();
    let text = app.active().source().policy.text.replace("cart_page", "basket_page");
    let proposal = Proposal { text, ..Proposal::default() };
    app.check_policy(&proposal).unwrap();
    assert!(!app.metrics().render().contains("basket_page"));
    app.activate_policy(&proposal, Remark::default()).unwrap();
    assert!(app.metrics().render().contains("basket_page"));
    app.close().unwrap();
}

#[tokio::test]
async fn changed_definitions_rebuild_features_from_the_events() {
    let served = Served::start().await;
    served.ingest(vec![purchase("m1", "ada", 42.0), purchase("m2", "ada", 8.0)]).await;
    let served = served.restart_with(add_feature).await;
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
