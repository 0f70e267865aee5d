//! Feature definitions that change while the server answers, over the wire and over restarts.
//!
//! Not here: that the states are right to the bit (`augur_feature_store`).

use std::fs;

use augur_feature_store::store::{Commit, NewEvent, Read, RocksStore, Store};
use augur_proto::v1;
use augur_proto::v1::{FeatureStatus, FeatureVersionStatus as Version};
use tonic::Code;

use crate::replay::every_record_decides_again;
use crate::served::{Served, artifact, cart, event, promote, purchase};

/// The shipped definitions and another feature, which a rule of the policy reads.
fn changed(served: &Served) -> (String, String) {
    let features = fs::read_to_string(&served.config().data.features).unwrap();
    let policy = fs::read_to_string(&served.config().data.policy).unwrap();
    let feature = "\n[[feature]]\nname = \"logins\"\nkind = \"windowed_count\"\nevents = [\"login\"]\nwindows = [\"2d\"]\n";
    let rule = "\n[[rule]]\nid = \"many_logins\"\nwhen = \"features.logins_2d >= 1.0\"\nthen = \"deny\"\n\
                actions = [\"discount_10\"]\nreason = \"MANY_LOGINS\"\npriority = 99\n";
    (features + feature, policy + rule)
}

pub(crate) async fn versions(served: &Served) -> Vec<v1::FeatureVersion> {
    let request = v1::GetFeatureVersionsRequest {};
    served.features().get_feature_versions(request).await.unwrap().into_inner().versions
}

async fn status(served: &Served, version: u32) -> Version {
    versions(served).await.iter().find(|it| it.version == version).unwrap().status()
}

async fn build(served: &Served, features_toml: String) -> v1::BuildFeaturesResponse {
    served.features().build_features(v1::BuildFeaturesRequest { features_toml }).await.unwrap().into_inner()
}

/// Builds a version and waits until it is ready.
pub(crate) async fn built(served: &Served, features_toml: String) -> u32 {
    let answer = build(served, features_toml).await;
    assert_eq!(answer.faults, []);
    let waiting = async {
        while status(served, answer.version).await != Version::Ready {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), waiting).await.unwrap();
    answer.version
}

async fn switch(served: &Served, version: u32, policy_toml: String) -> v1::SwitchFeaturesResponse {
    let request = v1::SwitchFeaturesRequest {
        version,
        policy_toml,
        accept_models: false,
        accept_set_aside: false,
        ..Default::default()
    };
    served.features().switch_features(request).await.unwrap().into_inner()
}

async fn policy_id(served: &Served) -> String {
    served.policies().get_policy(v1::GetPolicyRequest {}).await.unwrap().into_inner().policy_id
}

#[tokio::test]
async fn definitions_and_policy_change_together_and_back() {
    let served = Served::start().await;
    served.ingest(vec![purchase("m1", "ada", 42.0), event("m2", "ada", "login", 60_000)]).await;
    promote(&served, &artifact("conversion", "purchase_count_30d", 0.5)).await;
    let first_policy = policy_id(&served).await;
    served.decide(cart("ada", 60.0)).await;

    let (features, policy) = changed(&served);
    let version = built(&served, features).await;
    assert_eq!(served.feature("ada", "revenue_30d").await, (FeatureStatus::Present, Some(42.0)));
    let build = versions(&served).await.pop().unwrap().build.unwrap();
    assert_eq!((build.users_done, build.aggregates_built, build.problem.as_str()), (1, 1, ""));
    assert!(build.aggregates_carried_over > 5);

    let mut request = v1::SwitchFeaturesRequest {
        version,
        policy_toml: policy,
        accept_models: false,
        accept_set_aside: false,
        ..Default::default()
    };
    let refused = served.features().switch_features(request.clone()).await.unwrap_err();
    assert!(
        refused.message().contains("conversion 1"),
        "the model does not tell its inputs' definitions: {refused}"
    );
    assert_eq!(policy_id(&served).await, first_policy);
    request.accept_models = true;
    let answer = served.features().switch_features(request).await.unwrap().into_inner();
    let switched = answer.switched.unwrap();
    assert_eq!((switched.version, switched.previous_version), (version, 1));
    assert_eq!(policy_id(&served).await, switched.policy_id);
    assert_eq!(served.feature("ada", "logins_2d").await, (FeatureStatus::Present, Some(1.0)));
    let decided = served.decide(cart("ada", 60.0)).await;
    assert!(format!("{decided:?}").contains("MANY_LOGINS"));
    served.ingest(vec![purchase("m3", "ada", 8.0)]).await;

    // A restart goes on with both, although the configured files are the old ones.
    let served = served.restart_with(|_, _| {}).await;
    assert_eq!(policy_id(&served).await, switched.policy_id);
    assert_eq!(served.feature("ada", "logins_2d").await, (FeatureStatus::Present, Some(1.0)));
    served.decide(cart("ada", 60.0)).await;

    let request = v1::RollbackFeaturesRequest {};
    let back = served.features().rollback_features(request).await.unwrap().into_inner().switched.unwrap();
    assert_eq!((back.version, &back.policy_id), (1, &first_policy));
    assert_eq!(served.feature("ada", "revenue_30d").await, (FeatureStatus::Present, Some(50.0)));
    served.decide(cart("ada", 60.0)).await;
    let served = served.restart_with(|_, _| {}).await;
    assert_eq!(policy_id(&served).await, first_policy);

    let request = v1::RetireFeaturesRequest { version };
    served.features().retire_features(request).await.unwrap();
    assert_eq!(status(&served, version).await, Version::Retired);
    assert_eq!(every_record_decides_again(&served), 4);
    served.stop().await;
}

#[tokio::test]
async fn what_does_not_fit_changes_nothing() {
    let served = Served::start().await;
    served.ingest(vec![purchase("m1", "ada", 42.0)]).await;
    let policy = policy_id(&served).await;
    let faulty =
        build(&served, "version = 1\n[[feature]]\nname = \"x\"\nkind = \"cuont\"\n".to_owned()).await;
    assert_eq!((faulty.version, faulty.faults[0].line), (0, 4));
    let same = fs::read_to_string(&served.config().data.features).unwrap();
    let request = v1::BuildFeaturesRequest { features_toml: same };
    let refused = served.features().build_features(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    let refused = served.features().rollback_features(v1::RollbackFeaturesRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");

    // The policy reads features that this version lacks.
    let few = "version = 1\n[[feature]]\nname = \"visits\"\nkind = \"sessions\"\ngap = \"30m\"\n";
    let version = built(&served, few.to_owned()).await;
    let answer = switch(&served, version, String::new()).await;
    assert!(answer.switched.is_none() && !answer.faults.is_empty());
    assert_eq!(policy_id(&served).await, policy);
    assert_eq!(status(&served, 1).await, Version::Serving);
    let served = served.restart_with(|_, _| {}).await;
    assert_eq!(
        (status(&served, 1).await, status(&served, version).await),
        (Version::Serving, Version::Ready)
    );
    served.stop().await;
}

#[tokio::test]
async fn users_whose_events_cannot_be_read_hold_up_a_switch_and_not_a_build() {
    let served = Served::start().await;
    served.ingest(vec![purchase("m1", "ada", 42.0), purchase("m2", "bob", 8.0)]).await;
    let (features, policy) = changed(&served);
    let served = served
        .restart_with(|_, dir| {
            let store = augur_feature_store::Config::new(dir.join("data/store"));
            let store = RocksStore::open(&store).unwrap();
            let stored = store.all_events().unwrap().next().unwrap().unwrap();
            let (message_key, _) = store.marks(stored.user).unwrap()[0];
            let (user, sequence, record) = (stored.user, stored.sequence, b"no event".to_vec());
            let events = vec![NewEvent { user, sequence, message_key, record }];
            let (shard, counters) = store.counters().unwrap()[0];
            store.commit(&Commit { shard, counters, events, ..Commit::default() }).unwrap();
            store.flush().unwrap();
        })
        .await;
    let version = built(&served, features).await;
    let told = versions(&served).await.pop().unwrap();
    assert_eq!((told.users_set_aside, told.user_keys_set_aside.len()), (1, 1));
    let mut request = v1::SwitchFeaturesRequest {
        version,
        policy_toml: policy,
        accept_models: false,
        accept_set_aside: false,
        ..Default::default()
    };
    let refused = served.features().switch_features(request.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("--accept-set-aside"), "{refused}");
    request.accept_set_aside = true;
    let answer = served.features().switch_features(request).await.unwrap().into_inner();
    assert_eq!(answer.switched.unwrap().version, version);
    // What was carried over is whole.
    assert_eq!(served.feature("ada", "revenue_30d").await.1, Some(42.0));
    assert_eq!(served.feature("bob", "revenue_30d").await.1, Some(8.0));
    served.stop().await;
}
