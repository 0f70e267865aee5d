//! The fallback ladder in a server: models that come, break and get lost, and callers with little time.

use std::path::PathBuf;
use std::time::Duration;

use augur_proto::v1;

use crate::replay::every_record_decides_again;
use crate::served::{Served, artifact, promote, purchase, subject};

const WHOLE: &str =
    "fallback = [\"champion\", \"previous_model\", \"segment_default\", \"rules_only\", \"default_action\"]";

fn policy(ladder: &str) -> String {
    format!(
        "version = 1\n[[model]]\nname = \"conversion\"\nprior = 0.25\n\
         [[decision_point]]\nname = \"cart_page\"\nactions = [\"offer\", \"none\"]\ndefault_action = \"none\"\n\
         deadline = \"60s\"\nmodels = [\"conversion\"]\n{ladder}\n\
         [[action]]\nname = \"offer\"\nvalue = \"scores.conversion * 8.0\"\nvalue_fallback = 3.0\n\
         [[action]]\nname = \"none\"\nvalue_fallback = 0.0\n"
    )
}

fn ask() -> v1::DecideRequest {
    v1::DecideRequest {
        subject: subject("ada"),
        decision_point: "cart_page".to_owned(),
        ..v1::DecideRequest::default()
    }
}

/// The rung, the version that scored, and the value, of a decision.
async fn stands(served: &Served) -> (v1::Rung, u32, f64) {
    let answer = served.decide(ask()).await;
    let version = answer.scores[0].version;
    (answer.rung(), version, answer.value)
}

async fn activate(served: &Served, ladder: &str) {
    let request = v1::ActivatePolicyRequest { policy_toml: policy(ladder), ..Default::default() };
    served.policies().activate_policy(request).await.unwrap();
}

fn model_file(served: &Served, version: u32) -> PathBuf {
    served.dir().join(format!("data/models/conversion/versions/{version:06}.model"))
}

/// Takes the file of a version away over a restart; what it said before is kept beside it.
async fn restart_without(served: Served, version: u32) -> Served {
    let file = model_file(&served, version);
    served.restart_with(|_, _| std::fs::rename(&file, file.with_extension("away")).unwrap()).await
}

#[tokio::test]
async fn every_rung_answers_in_its_turn_and_replays() {
    let served =
        Served::start_with(|config| std::fs::write(&config.data.policy, policy(WHOLE)).unwrap()).await;
    served.ingest(vec![purchase("m1", "ada", 30.0)]).await;
    assert_eq!(stands(&served).await, (v1::Rung::SegmentDefault, 0, 2.0));
    for weight in [0.0, 1.0] {
        promote(&served, &artifact("conversion", "purchase_count_30d", weight)).await;
    }
    assert_eq!(stands(&served).await, (v1::Rung::Champion, 2, 4.0));

    let served = restart_without(served, 2).await;
    let (rung, version, value) = stands(&served).await;
    assert_eq!((rung, version), (v1::Rung::PreviousModel, 1));
    assert!((value - 8.0 / (1.0 + 1.0_f64.exp())).abs() < 1e-9, "{value}");
    let reasons: Vec<String> = served.decide(ask()).await.reasons.into_iter().map(|why| why.code).collect();
    assert_eq!(reasons, ["HIGHEST_VALUE", "MODEL_UNAVAILABLE", "PREVIOUS_MODEL"]);

    let served = restart_without(served, 1).await;
    assert_eq!(stands(&served).await, (v1::Rung::SegmentDefault, 0, 2.0));
    let served = served
        .restart_with(|config, _| {
            let ladder = "fallback = [\"champion\", \"previous_model\", \"rules_only\", \"default_action\"]";
            std::fs::write(&config.data.policy, policy(ladder)).unwrap();
        })
        .await;
    assert_eq!(stands(&served).await, (v1::Rung::RulesOnly, 0, 3.0));
    let served = served
        .restart_with(|config, _| {
            std::fs::write(&config.data.policy, policy("fallback = [\"champion\", \"default_action\"]"))
                .unwrap();
        })
        .await;
    assert_eq!(stands(&served).await, (v1::Rung::DefaultAction, 0, 0.0));

    // With the files back, every record decides the same again, whatever it stood on.
    for version in [1, 2] {
        let file = model_file(&served, version);
        std::fs::rename(file.with_extension("away"), file).unwrap();
    }
    assert_eq!(every_record_decides_again(&served), 7);
    served.stop().await;
}

#[tokio::test]
async fn a_caller_with_little_time_gets_a_lower_step() {
    let served = Served::start().await;
    let times = "time_needed = { champion = \"40s\", previous_model = \"30s\", segment_default = \"20s\", rules_only = \"10s\" }";
    activate(&served, &format!("{WHOLE}\n{times}")).await;
    served.ingest(vec![purchase("m1", "ada", 30.0)]).await;
    for weight in [0.0, 1.0] {
        promote(&served, &artifact("conversion", "purchase_count_30d", weight)).await;
    }
    // The server's clock stands still, so all the time that the caller allows is left.
    for (allowed_s, rung) in [
        (50, v1::Rung::Champion),
        (35, v1::Rung::PreviousModel),
        (25, v1::Rung::SegmentDefault),
        (15, v1::Rung::RulesOnly),
        (5, v1::Rung::DefaultAction),
    ] {
        let mut request = tonic::Request::new(ask());
        request.set_timeout(Duration::from_secs(allowed_s));
        let answer = served.decisions().decide(request).await.unwrap().into_inner();
        assert_eq!(answer.rung(), rung, "{answer:?}");
        let late = answer.reasons.iter().find(|why| why.code == "DEADLINE_EXCEEDED");
        assert_eq!(late.map(|why| &*why.detail), (rung != v1::Rung::Champion).then_some("champion"));
    }
    assert_eq!(every_record_decides_again(&served), 5);
    served.stop().await;
}
