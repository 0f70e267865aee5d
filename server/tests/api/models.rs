//! Models governed over the wire: promotion through gates, rollback from memory, damaged artifacts, and moves of
//! aliases under load.

use std::collections::BTreeSet;
use std::path::PathBuf;

use augur_decision_log::Reader;
use augur_models::Artifact;
use augur_models::artifact::{Body, ClusterInput, Transform};
use augur_models::registry::{Description, Difference, PublishedCard};
use augur_proto::v1;

use crate::replay::every_record_decides_again;
use crate::served::{Served, artifact, cart, promote, publish, purchase};

fn reported(name: &str, weight: f64, roc_auc: f64, ece: f64) -> Artifact {
    let mut content = artifact(name, "purchase_count_30d", weight).content().clone();
    content.report = format!(r#"{{"out_of_time":{{"roc_auc":{roc_auc},"ece":{ece}}}}}"#);
    Artifact::new(content).unwrap()
}

fn promotion(version: u32) -> v1::PromoteModelRequest {
    v1::PromoteModelRequest {
        model: "conversion".to_owned(),
        version,
        reason: "a test".to_owned(),
        moved_by: "tests".to_owned(),
        ..v1::PromoteModelRequest::default()
    }
}

fn rollback() -> v1::RollbackAliasRequest {
    v1::RollbackAliasRequest {
        model: "conversion".to_owned(),
        reason: "worse".to_owned(),
        moved_by: "tests".to_owned(),
        ..v1::RollbackAliasRequest::default()
    }
}

fn model_file(served: &Served, version: u32) -> PathBuf {
    served.dir().join(format!("data/models/conversion/versions/{version:06}.model"))
}

async fn deciding_version(served: &Served) -> u32 {
    served.decide(cart("ada", 60.0)).await.scores[0].version
}

#[tokio::test]
async fn gates_hold_a_promotion_back_and_force_lets_it_through() {
    let served = Served::start().await;
    for (weight, roc_auc, ece) in [(0.5, 0.70, 0.02), (0.6, 0.69, 0.01), (0.7, 0.75, 0.03)] {
        publish(&served, &reported("conversion", weight, roc_auc, ece));
    }
    let mut models = served.models();
    let gated = |version, force| v1::PromoteModelRequest {
        min_roc_auc_gain: Some(0.0),
        max_ece: Some(0.05),
        force,
        ..promotion(version)
    };
    let first = models.promote_model(gated(1, false)).await.unwrap().into_inner();
    assert!(first.moved && first.previous_version == 0);
    let worse = models.promote_model(gated(2, false)).await.unwrap().into_inner();
    assert_eq!((worse.moved, worse.gates[0].passed, worse.gates[1].passed), (false, false, true));
    assert_eq!(deciding_version(&served).await, 1);
    assert!(models.promote_model(gated(2, true)).await.unwrap().into_inner().moved);
    assert_eq!(deciding_version(&served).await, 2);
    let better = models.promote_model(gated(3, false)).await.unwrap().into_inner();
    assert_eq!((better.moved, better.previous_version), (true, 2));

    let request = v1::GetModelRequest { model: "conversion".to_owned(), version_or_alias: String::new() };
    let told = models.get_model(request).await.unwrap().into_inner();
    let card = PublishedCard::from_json(told.card_json.as_bytes(), "answer".as_ref()).unwrap();
    assert_eq!((card.version, &*card.name), (3, "conversion"));
    let description: Description = serde_json::from_str(&told.description_json).unwrap();
    assert_eq!((description.version, &*description.aliases[0]), (3, "champion"));
    assert_eq!((&*description.moves[0].who, &*description.moves[0].why), ("tests", "a test"));
    let request = v1::DiffModelsRequest {
        model: "conversion".to_owned(),
        first: "1".to_owned(),
        second: "champion".to_owned(),
    };
    let told = models.diff_models(request).await.unwrap().into_inner().difference_json;
    let difference: Difference = serde_json::from_str(&told).unwrap();
    assert_eq!(difference.inputs[0].weights, (Some(0.5), Some(0.7)));

    let silent = v1::PromoteModelRequest { reason: " ".to_owned(), ..promotion(1) };
    assert_eq!(models.promote_model(silent).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    let nowhere = v1::PromoteModelRequest { model: "conversions".to_owned(), ..promotion(1) };
    let status = models.promote_model(nowhere).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound);
    assert!(status.message().contains("did you mean `conversion`?"), "{}", status.message());
    served.stop().await;
}

#[tokio::test]
async fn a_rollback_reads_no_model_from_disk() {
    let served = Served::start().await;
    for weight in [0.1, 0.2, 0.3, 0.4] {
        promote(&served, &artifact("conversion", "purchase_count_30d", weight)).await;
    }
    // What has decided before is kept: not even a lost directory is in the way.
    std::fs::remove_dir_all(served.dir().join("data/models/conversion/versions")).unwrap();
    for (taken_back, version) in [(4, 3), (3, 2)] {
        let back = served.models().rollback_alias(rollback()).await.unwrap().into_inner();
        assert_eq!((back.previous_version, back.version), (taken_back, version));
        assert_eq!(deciding_version(&served).await, version);
    }
    // Two versions are kept; the third is gone with its file, and the one that decides stays.
    let status = served.models().rollback_alias(rollback()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition, "{status}");
    assert!(status.message().contains("has no version 1"), "{status}");
    assert_eq!(deciding_version(&served).await, 2);
    served.stop().await;
}

#[tokio::test]
async fn a_rollback_with_nothing_before_is_refused() {
    let served = Served::start().await;
    promote(&served, &artifact("conversion", "purchase_count_30d", 0.1)).await;
    let status = served.models().rollback_alias(rollback()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    assert!(status.message().contains("no earlier version"), "{}", status.message());
    served.stop().await;
}

#[tokio::test]
async fn a_rollback_of_an_unknown_model_says_so() {
    let served = Served::start().await;
    promote(&served, &artifact("conversion", "purchase_count_30d", 0.1)).await;
    let request = v1::RollbackAliasRequest { model: "conversio".to_owned(), ..rollback() };
    let status = served.models().rollback_alias(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound);
    assert_eq!(status.message(), "model `conversio` is not known; did you mean `conversion`?");
    served.stop().await;
}

/// The bytes of an artifact with a weight that is not a number, and a checksum that fits.
fn with_nan(bytes: &[u8], weight: f64) -> Vec<u8> {
    let at = bytes.windows(8).position(|window| window == weight.to_le_bytes()).unwrap();
    let mut changed = bytes[..bytes.len() - 4].to_vec();
    changed[at..at + 8].copy_from_slice(&f64::NAN.to_le_bytes());
    let checksum = crc32c::crc32c(&changed);
    changed.extend_from_slice(&checksum.to_le_bytes());
    changed
}

#[tokio::test]
async fn a_damaged_artifact_is_refused_with_its_reason_and_the_old_one_serves() {
    let served = Served::start().await;
    promote(&served, &artifact("conversion", "purchase_count_30d", 0.5)).await;
    let candidate = artifact("conversion", "purchase_count_30d", 0.75);
    let version = publish(&served, &candidate);
    let whole = std::fs::read(model_file(&served, version)).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let other = artifact("conversion", "purchase_count_30d", 0.9).encode();
    let damages: [(&str, &str, Vec<u8>); 6] = [
        ("flipped", "checksum", flipped),
        ("cut", "checksum", whole[..whole.len() - 7].to_vec()),
        ("empty", "byte 0", Vec::new()),
        ("not a number", "inputs[0].weight", with_nan(&whole, 0.75)),
        ("another version's", "was asked for", other),
        ("no artifact", "the magic", b"a note to myself".to_vec()),
    ];
    for (damage, reason, bytes) in damages {
        std::fs::write(model_file(&served, version), bytes).unwrap();
        let status = served.models().promote_model(promotion(version)).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::FailedPrecondition, "{damage}");
        assert!(status.message().contains(reason), "{damage}: {}", status.message());
        assert_eq!(deciding_version(&served).await, 1, "{damage}");
        served.models().reload_models(v1::ReloadModelsRequest {}).await.unwrap();
        assert_eq!(deciding_version(&served).await, 1, "{damage}");
    }
    std::fs::write(model_file(&served, version), whole).unwrap();
    served.models().promote_model(promotion(version)).await.unwrap();
    assert_eq!(deciding_version(&served).await, 2);

    // What decides now is damaged on disk: a reload is refused, and the loaded one goes on.
    std::fs::write(model_file(&served, version), b"AUGURMDL").unwrap();
    let status = served.models().reload_models(v1::ReloadModelsRequest {}).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    assert_eq!(deciding_version(&served).await, 2);
    served.stop().await;
}

#[tokio::test]
async fn aliases_move_under_load_without_a_failed_or_mixed_decision() {
    const WEIGHTS: [f64; 2] = [0.5, 0.9];
    let served = Served::start().await;
    served.ingest((0..8).map(|n| purchase(&format!("m{n}"), &format!("u{n}"), 10.0)).collect()).await;
    promote(&served, &artifact("churn", "revenue_30d", -0.01)).await;
    for weight in WEIGHTS {
        promote(&served, &artifact("conversion", "purchase_count_30d", weight)).await;
    }
    let deciders: Vec<_> = (0..8)
        .map(|n| {
            let mut client = served.decisions();
            tokio::spawn(async move {
                for _ in 0..50 {
                    let decision = client.decide(cart(&format!("u{n}"), 60.0)).await.unwrap().into_inner();
                    assert_eq!(decision.rung(), v1::Rung::Champion);
                }
            })
        })
        .collect();
    for move_ in 0..40 {
        let version = 1 + move_ % 2;
        if move_ % 4 < 2 {
            served.models().promote_model(promotion(version)).await.unwrap();
        } else {
            served.models().rollback_alias(rollback()).await.unwrap();
        }
    }
    for decider in deciders {
        decider.await.unwrap();
    }
    let mut versions = BTreeSet::new();
    for entry in Reader::open(&served.dir().join("data/decisions")).unwrap() {
        let (_, record) = entry.unwrap();
        let outcome = &record.decision.scores[0];
        let named = outcome.model.clone().unwrap();
        let in_use = record.models.iter().find(|(alias, _)| **alias == *outcome.alias).unwrap();
        assert_eq!(named, in_use.1, "one version, from the record's head to its score");
        // One purchase each: the margin tells which weight was used.
        let expected = WEIGHTS[named.version as usize - 1] - 1.0;
        assert_eq!(outcome.score.unwrap().margin.to_bits(), expected.to_bits());
        versions.insert(named.version);
    }
    assert_eq!(versions.len(), 2, "both versions decided");
    assert_eq!(every_record_decides_again(&served), 400);
    served.stop().await;
}

/// `new` below half of `regular` purchases a month, `regular` from there on.
pub(crate) fn segments(name: &str, regular: f64) -> Artifact {
    let mut content = artifact(name, "purchase_count_30d", 1.0).content().clone();
    let input = ClusterInput {
        feature: "purchase_count_30d".to_owned(),
        transform: Transform::Identity,
        mean: 0.0,
        scale: 1.0,
        clip: None,
        definition: None,
    };
    content.body = Body::Clusters {
        inputs: vec![input],
        centroids: vec![vec![0.0], vec![regular]],
        names: vec!["new".to_owned(), "regular".to_owned()],
    };
    Artifact::new(content).unwrap()
}

#[tokio::test]
async fn a_rule_on_a_segment_decides_and_decides_the_same_again() {
    let served = Served::start().await;
    let policy = served.policies().get_policy(v1::GetPolicyRequest {}).await.unwrap().into_inner();
    let rule = "[[segment]]\nname = \"value\"\nmodel = \"value_segments\"\n\n[[rule]]\nid = \"a_gift_for_regulars\"\n\
                when = \"segments.value == 'regular'\"\nthen = \"force\"\nactions = [\"recommend_items\"]\n\
                points = [\"cart_page\"]\nreason = \"REGULAR\"\n";
    let listed = "name = \"cart_page\"\nsegments = [\"value\"]\n";
    let policy_toml = format!("{}\n{rule}", policy.policy_toml.replacen("name = \"cart_page\"\n", listed, 1));
    served
        .policies()
        .activate_policy(v1::ActivatePolicyRequest { policy_toml, ..Default::default() })
        .await
        .unwrap();
    let is_forced = |answer: &v1::DecideResponse| format!("{:?}", answer.reasons).contains("REGULAR");
    let purchases = (0..5).map(|n| purchase(&format!("p{n}"), "ada", 10.0)).collect();
    served.ingest(purchases).await;
    served.ingest(vec![purchase("p9", "bob", 10.0)]).await;

    let unpublished = served.decide(cart("ada", 60.0)).await;
    assert!(format!("{:?}", unpublished.reasons).contains("segments.value"), "{unpublished:?}");
    promote(&served, &segments("value_segments", 4.0)).await;
    assert!(is_forced(&served.decide(cart("ada", 60.0)).await));
    assert!(!is_forced(&served.decide(cart("bob", 60.0)).await));

    // What gives a probability is not put in the place of segments.
    let version = publish(&served, &artifact("value_segments", "purchase_count_30d", 0.5));
    let request = v1::SetAliasRequest {
        model: "value_segments".to_owned(),
        alias: "champion".to_owned(),
        version,
        reason: "a test".to_owned(),
        moved_by: "tests".to_owned(),
    };
    let status = served.models().set_alias(request).await.unwrap_err();
    assert!(status.message().contains("gives a probability, not segments"), "{status}");
    assert!(is_forced(&served.decide(cart("ada", 60.0)).await));
    assert_eq!(every_record_decides_again(&served), 4);
    served.stop().await;
}
