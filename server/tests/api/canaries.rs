//! A version on trial: its share, its records, their replay, and its ends.

use std::collections::BTreeMap;
use std::path::Path;

use augur_decision_log::Reader;
use augur_domain::canary::{Arm, arm_of};
use augur_domain::time::DAY_MS;
use augur_models::artifact::{Body, Content, TreeInput};
use augur_models::registry::{Canary, CanaryLine};
use augur_models::trees::{Ensemble, Link, Node, Split, Tree};
use augur_models::{Artifact, Registry};
use augur_proto::v1;
use augur_server::{CanaryReport, canary_report};

use crate::models::segments;
use crate::replay::every_record_decides_again;
use crate::served::{NOW, Served, artifact, cart, promote, publish};

fn trial(version: u32, share_ppm: u32) -> v1::SetCanaryRequest {
    v1::SetCanaryRequest {
        model: "conversion".to_owned(),
        version,
        share_ppm,
        reason: "a test".to_owned(),
        moved_by: "tests".to_owned(),
        ..v1::SetCanaryRequest::default()
    }
}

fn conversion(weight: f64) -> Artifact {
    artifact("conversion", "purchase_count_30d", weight)
}

/// A server with a champion and one version more of `conversion`.
async fn served(challenger: &Artifact) -> (Served, u32) {
    with_challenger(Served::start().await, challenger).await
}

async fn with_challenger(served: Served, challenger: &Artifact) -> (Served, u32) {
    promote(&served, &artifact("churn", "revenue_30d", -0.01)).await;
    promote(&served, &conversion(0.5)).await;
    let version = publish(&served, challenger);
    (served, version)
}

/// `people` decide once; who was answered by which version.
async fn versions(served: &Served, people: usize) -> BTreeMap<usize, u32> {
    let mut versions = BTreeMap::new();
    for person in 0..people {
        let decision = served.decide(cart(&format!("u{person}"), 60.0)).await;
        let score = decision.scores.iter().find(|score| score.model == "conversion");
        versions.insert(person, score.map_or(0, |score| score.version));
    }
    versions
}

fn canary(data: &Path) -> Option<Canary> {
    Registry::open(data.join("models")).unwrap().canary("conversion", "champion").unwrap()
}

fn history(data: &Path) -> Vec<CanaryLine> {
    Registry::open(data.join("models")).unwrap().canary_history("conversion").unwrap()
}

async fn standing(served: &Served) -> Option<CanaryReport> {
    let request = v1::GetCanaryRequest { model: "conversion".to_owned(), alias: String::new() };
    let json = served.models().get_canary(request).await.unwrap().into_inner().canary_json;
    (!json.is_empty()).then(|| serde_json::from_str(&json).unwrap())
}

#[tokio::test]
async fn a_challenger_gets_its_share_and_every_record_tells_why_and_replays() {
    let (served, version) = served(&conversion(0.9)).await;
    let data = served.dir().join("data");
    assert_eq!(versions(&served, 120).await.values().max(), Some(&1));
    let mut models = served.models();
    models.set_canary(trial(version, 200_000)).await.unwrap();
    let fifth = versions(&served, 120).await;
    models.set_canary(trial(version, 500_000)).await.unwrap();
    let half = versions(&served, 120).await;
    let on_trial = |of: &BTreeMap<usize, u32>| of.values().filter(|of| **of == version).count();
    assert!((10..40).contains(&on_trial(&fifth)), "{}", on_trial(&fifth));
    assert!((40..80).contains(&on_trial(&half)), "{}", on_trial(&half));
    // A larger share moves nobody back.
    assert!(fifth.iter().all(|(person, of)| *of == 1 || half[person] == version));

    let canary = canary(&data).unwrap();
    let report = standing(&served).await.unwrap();
    assert_eq!(report, canary_report(&data.join("decisions"), &canary, &served.config().canary).unwrap());
    assert_eq!(report.challenger.decisions, on_trial(&half) as u64);
    assert_eq!(report.champion.decisions + report.challenger.decisions, 120);
    assert_eq!((report.challenger.unscored, report.worse), (0, false));
    records_tell_their_arm(&data, &canary, version);

    // A second trial waits for the end of the first; what is promoted is on trial no more.
    let third = publish(&served, &conversion(1.1));
    let status = models.set_canary(trial(third, 100_000)).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    assert!(status.message().contains("on trial already"), "{}", status.message());
    let request = v1::PromoteModelRequest {
        model: "conversion".to_owned(),
        version,
        reason: "well done".to_owned(),
        moved_by: "tests".to_owned(),
        ..v1::PromoteModelRequest::default()
    };
    models.promote_model(request).await.unwrap();
    assert_eq!(versions(&served, 30).await.values().min(), Some(&version));
    let status = models.set_canary(trial(version, 0)).await.unwrap_err();
    assert!(status.message().contains("is not on trial"), "{status}");

    models.set_canary(trial(third, 1_000_000)).await.unwrap();
    assert_eq!(versions(&served, 30).await.values().min(), Some(&third));
    models.set_canary(trial(third, 0)).await.unwrap();
    assert_eq!(versions(&served, 30).await.values().max(), Some(&version));
    assert_eq!(standing(&served).await, None);
    assert_eq!(every_record_decides_again(&served), 450);
    served.stop().await;
}

fn records_tell_their_arm(data: &Path, canary: &Canary, version: u32) {
    let mut arms = BTreeMap::new();
    for entry in Reader::open(&data.join("decisions")).unwrap() {
        let (_, record) = entry.unwrap();
        let conversion = record.models.iter().find(|(_, model)| &*model.name == "conversion").unwrap();
        let Some(told) = &record.canary else {
            assert_eq!(conversion.1.version, 1);
            continue;
        };
        assert_eq!((told.salt, &told.challenger), (canary.salt, &canary.challenger));
        assert_eq!(told.arm, arm_of(&told.salt, told.share_ppm, record.inputs.user));
        assert_eq!(conversion.1.version == version, told.arm == Arm::Challenger);
        *arms.entry((told.share_ppm, told.arm)).or_insert(0) += 1;
    }
    assert_eq!(arms.len(), 4, "both arms at both shares: {arms:?}");
}

#[tokio::test]
async fn a_challenger_is_promoted_by_itself_only_once_its_declared_time_is_over() {
    let (served, version) = served(&conversion(0.9)).await;
    let request = v1::SetCanaryRequest {
        promote_after_ms: Some(7 * DAY_MS),
        promote_min_decisions: 120,
        ..trial(version, 500_000)
    };
    served.models().set_canary(request).await.unwrap();
    versions(&served, 300).await;
    served.clock.set(NOW.plus_millis(7 * DAY_MS - 1));
    versions(&served, 10).await;
    assert_eq!(standing(&served).await.unwrap().share_ppm, 500_000);
    served.clock.set(NOW.plus_millis(7 * DAY_MS));
    versions(&served, 1).await;

    let dir = served.ended().await;
    let data = dir.path().join("data");
    let registry = Registry::open(data.join("models")).unwrap();
    assert_eq!(registry.resolve("conversion", "champion").unwrap().unwrap().version, version);
    let end = history(&data).pop().unwrap();
    assert_eq!((end.share_ppm, end.champion, end.who.as_str()), (0, version, "augur"));
    assert!(end.why.contains("no gate tripped"), "{}", end.why);
}

/// Two hundred trees that send everybody through five hundred nodes each.
fn slow() -> Artifact {
    let split = |right: u32| Split { input: 0, threshold: -1.0, missing_right: true, left: right - 1 };
    let mut nodes = vec![Node { value: 0.0, split: Some(split(2)) }];
    for inner in 1..=500 {
        nodes.push(Node { value: 0.0, split: None });
        nodes.push(Node { value: 0.0, split: (inner < 500).then(|| split(2 * inner + 2)) });
    }
    let input = TreeInput { feature: "purchase_count_30d".to_owned(), definition: None };
    let ensemble = Ensemble { base: 0.0, link: Link::Sum, trees: vec![Tree { nodes }; 200] };
    let content = conversion(0.5).content().clone();
    Artifact::new(Content { body: Body::Trees { inputs: vec![input], ensemble }, ..content }).unwrap()
}

#[tokio::test]
async fn a_challenger_that_is_worse_is_rolled_back_by_itself_and_the_history_says_why() {
    // Dear to everybody here, whatever the machine is doing: so champions may be slow now and then.
    let served = Served::start_on_time(|config| config.canary.slow_us = 500).await;
    let (served, version) = with_challenger(served, &slow()).await;
    served.models().set_canary(trial(version, 500_000)).await.unwrap();
    let before = versions(&served, 260).await;
    let asked = before.values().filter(|of| **of == version).count();
    assert_eq!(asked, 100, "at the first look the champion takes over");
    let on_trial = *before.iter().find(|(_, of)| **of == version).unwrap().0;
    let decision = served.decide(cart(&format!("u{on_trial}"), 60.0)).await;
    assert!(decision.scores.iter().any(|score| score.model == "conversion" && score.version == 1));
    assert_eq!(every_record_decides_again(&served), 261);

    let dir = served.ended().await;
    let data = dir.path().join("data");
    assert_eq!(canary(&data), None);
    let end = history(&data).pop().unwrap();
    assert_eq!((end.share_ppm, end.champion, end.version, end.who.as_str()), (0, 1, version, "augur"));
    assert!(end.why.starts_with("worse than the champion: slow "), "{}", end.why);
}

#[tokio::test]
async fn a_version_that_gives_segments_does_not_go_on_trial() {
    let served = Served::start().await;
    let policy = served.policies().get_policy(v1::GetPolicyRequest {}).await.unwrap().into_inner();
    let segment = "[[segment]]\nname = \"value\"\nmodel = \"conversion_segments\"\n";
    let policy_toml = format!("{}\n{segment}", policy.policy_toml);
    served
        .policies()
        .activate_policy(v1::ActivatePolicyRequest { policy_toml, ..Default::default() })
        .await
        .unwrap();
    promote(&served, &segments("conversion_segments", 4.0)).await;
    let second = publish(&served, &segments("conversion_segments", 5.0));
    let request = v1::SetCanaryRequest { model: "conversion_segments".to_owned(), ..trial(second, 100_000) };
    let status = served.models().set_canary(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    assert!(status.message().contains("gives segments"), "{status}");
    served.stop().await;
}

#[tokio::test]
async fn a_trial_goes_on_after_a_restart_and_sorts_people_alike() {
    let (served, version) = served(&conversion(0.9)).await;
    served.models().set_canary(trial(version, 500_000)).await.unwrap();
    let before = versions(&served, 40).await;
    let served = served.restart_with(|_, _| {}).await;
    assert_eq!(versions(&served, 40).await, before);
    served.stop().await;
}

#[tokio::test]
async fn a_trial_needs_a_champion_and_a_version_that_can_score() {
    let served = Served::start().await;
    let first = publish(&served, &conversion(0.5));
    let mut models = served.models();
    let status = models.set_canary(trial(first, 100_000)).await.unwrap_err();
    assert!(status.message().contains("no version decides"), "{status}");
    promote(&served, &conversion(0.6)).await;
    let stranger = publish(&served, &artifact("conversion", "no_such_feature", 0.5));
    let status = models.set_canary(trial(stranger, 100_000)).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    assert!(status.message().contains("`no_such_feature`"), "{status}");
    let status = models.set_canary(trial(first, 2_000_000)).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    served.stop().await;
}
