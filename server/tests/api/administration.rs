//! Moving aliases and policies while serving.

use augur_proto::v1;
use augur_proto::v1::Rung;

use crate::served::{Served, artifact, cart, promote, publish, purchase};

#[tokio::test]
async fn aliases_move_are_listed_and_taken_back() {
    let served = Served::start().await;
    served.ingest(vec![purchase("m1", "ada", 10.0)]).await;
    promote(&served, &artifact("churn", "revenue_30d", -0.01)).await;
    promote(&served, &artifact("conversion", "purchase_count_30d", 0.5)).await;
    let first = served.decide(cart("ada", 60.0)).await;
    let moved = promote(&served, &artifact("conversion", "purchase_count_30d", 0.7)).await;
    assert_eq!(moved.previous_version, 1);
    let second = served.decide(cart("ada", 60.0)).await;
    assert_eq!((first.scores[0].version, second.scores[0].version), (1, 2));
    assert_ne!(first.scores[0].margin, second.scores[0].margin);
    assert_eq!(first.policy_id, second.policy_id);

    let listed = served.models().list_models(v1::ListModelsRequest {}).await.unwrap().into_inner();
    let conversion = listed.models.iter().find(|model| model.name == "conversion").unwrap();
    assert_eq!(conversion.versions.len(), 2);
    assert!(conversion.versions[0].card_json.contains("\"published_by\":\"tests\""));
    let alias = &conversion.aliases[0];
    assert_eq!((&*alias.alias, alias.version, &*alias.reason), ("champion", 2, "a test"));
    served.stop().await;
}

#[tokio::test]
async fn versions_of_another_process_are_used_after_a_reload() {
    let served = Served::start().await;
    let version = publish(&served, &artifact("churn", "revenue_30d", -0.01));
    let registry = augur_models::Registry::open(served.dir().join("data/models")).unwrap();
    registry.set_alias("churn", "champion", version, "tests", "offline", crate::served::NOW).unwrap();
    assert_eq!(served.decide(cart("ada", 60.0)).await.scores[1].version, 0);
    let reloaded = served.models().reload_models(v1::ReloadModelsRequest {}).await.unwrap().into_inner();
    assert_eq!(
        (reloaded.loaded, reloaded.missing),
        (vec!["churn".to_owned()], vec!["conversion".to_owned()])
    );
    assert_eq!(served.decide(cart("ada", 60.0)).await.scores[1].version, 1);
    served.stop().await;
}

#[tokio::test]
async fn a_model_of_other_features_is_refused_and_nothing_moves() {
    let served = Served::start().await;
    promote(&served, &artifact("churn", "revenue_30d", -0.01)).await;
    let version = publish(&served, &artifact("churn", "no_such_feature", 1.0));
    let request = v1::SetAliasRequest {
        model: "churn".to_owned(),
        alias: "champion".to_owned(),
        version,
        reason: "hope".to_owned(),
        moved_by: "tests".to_owned(),
    };
    let status = served.models().set_alias(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    assert!(status.message().contains("`no_such_feature`"), "{}", status.message());
    assert_eq!(served.decide(cart("ada", 60.0)).await.scores[1].version, 1);
    served.stop().await;
}

#[tokio::test]
async fn a_faulty_policy_is_told_and_not_used() {
    let served = Served::start().await;
    let policy = served.policies().get_policy(v1::GetPolicyRequest {}).await.unwrap().into_inner();
    let faulty =
        policy.policy_toml.replacen("features.purchases_30d >= 5.0", "features.purchase_30d >= 5.0", 1);
    let place = faulty.find("features.purchase_30d").unwrap();
    let line = faulty[..place].matches('\n').count() + 1;
    let request = v1::CheckPolicyRequest { policy_toml: faulty.clone(), ..Default::default() };
    let checked = served.policies().check_policy(request).await.unwrap().into_inner();
    let fault = &checked.faults[0];
    assert_eq!((fault.line as usize, &*checked.policy_id), (line, ""));
    assert!(fault.hint.contains("purchases_30d"), "{fault:?}");
    let request = v1::ActivatePolicyRequest { policy_toml: faulty, ..Default::default() };
    let activated = served.policies().activate_policy(request).await.unwrap().into_inner();
    assert!(activated.policy_id.is_empty() && !activated.faults.is_empty());
    assert_eq!(served.decide(cart("ada", 60.0)).await.policy_id, policy.policy_id);
    served.stop().await;
}

#[tokio::test]
async fn decisions_go_on_while_models_and_policies_move() {
    let served = Served::start().await;
    promote(&served, &artifact("churn", "revenue_30d", -0.01)).await;
    promote(&served, &artifact("conversion", "purchase_count_30d", 0.5)).await;
    let deciders = (0..4).map(|n| {
        let mut client = served.decisions();
        tokio::spawn(async move {
            for _ in 0..50 {
                let decision = client.decide(cart(&format!("u{n}"), 60.0)).await.unwrap().into_inner();
                assert_eq!(decision.rung(), Rung::Champion);
            }
        })
    });
    let deciders: Vec<_> = deciders.collect();
    let policy = served.policies().get_policy(v1::GetPolicyRequest {}).await.unwrap().into_inner();
    for n in 0..10 {
        promote(&served, &artifact("conversion", "purchase_count_30d", 0.5 + f64::from(n))).await;
        let policy_toml = format!("{}\n# {n}\n", policy.policy_toml);
        served
            .policies()
            .activate_policy(v1::ActivatePolicyRequest { policy_toml, ..Default::default() })
            .await
            .unwrap();
    }
    for decider in deciders {
        decider.await.unwrap();
    }
    served.stop().await;
}

#[tokio::test]
async fn breakers_are_listed_forced_and_released() {
    let served = Served::start().await;
    promote(&served, &artifact("conversion", "purchase_count_30d", 0.5)).await;
    let force = |name: &str, state: v1::BreakerState| v1::ForceBreakerRequest {
        name: name.to_owned(),
        state: state.into(),
    };
    let listed = served.breakers().list_breakers(v1::ListBreakersRequest {}).await.unwrap().into_inner();
    let names: Vec<&str> = listed.breakers.iter().map(|breaker| &*breaker.name).collect();
    assert_eq!(names, ["features", "log", "model/conversion@1"]);
    assert!(listed.breakers.iter().all(|breaker| breaker.state() == v1::BreakerState::Closed));

    let open = force("model/conversion@1", v1::BreakerState::ForcedOpen);
    let forced = served.breakers().force_breaker(open).await.unwrap().into_inner().breaker.unwrap();
    assert_eq!(forced.state(), v1::BreakerState::ForcedOpen);
    let is_missed = |decided: &v1::DecideResponse| {
        let mut reasons = decided.reasons.iter();
        reasons.any(|reason| reason.code == "MODEL_UNAVAILABLE" && reason.detail == "conversion")
    };
    assert!(is_missed(&served.decide(cart("ada", 60.0)).await));
    let release = v1::ReleaseBreakerRequest { name: "model/conversion@1".to_owned() };
    let released = served.breakers().release_breaker(release).await.unwrap().into_inner().breaker.unwrap();
    assert_eq!((released.state(), released.refused), (v1::BreakerState::Closed, 1));
    assert!(!is_missed(&served.decide(cart("ada", 60.0)).await));

    let unknown = force("featurs", v1::BreakerState::ForcedOpen);
    let status = served.breakers().force_breaker(unknown).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound);
    assert!(status.message().contains("`features`"), "{}", status.message());
    let status = served.breakers().force_breaker(force("log", v1::BreakerState::Closed)).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    served.stop().await;
}
