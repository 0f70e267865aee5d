//! Policies activated and taken back while serving: tests hold an activation back, no decision sees half a policy, and
//! every earlier policy can be returned to.

use std::collections::BTreeSet;

use augur_decision_log::Reader;
use augur_proto::v1;
use augur_server::{App, FixedClock, Proposal, Remark};

use crate::replay::every_record_decides_again;
use crate::served::{NOW, Served, artifact, cart, config, promote};

async fn shipped(served: &Served) -> v1::GetPolicyResponse {
    served.policies().get_policy(v1::GetPolicyRequest {}).await.unwrap().into_inner()
}

async fn activate(served: &Served, request: v1::ActivatePolicyRequest) -> v1::ActivatePolicyResponse {
    served.policies().activate_policy(request).await.unwrap().into_inner()
}

async fn roll_back(served: &Served, policy_id: &str) -> v1::RollbackPolicyResponse {
    let request = v1::RollbackPolicyRequest {
        policy_id: policy_id.to_owned(),
        reason: "worse".to_owned(),
        moved_by: "tests".to_owned(),
    };
    served.policies().rollback_policy(request).await.unwrap().into_inner()
}

/// The shipped policy with a rule that always decides at the cart page, under a reason of its own.
fn marked(text: &str, mark: usize) -> String {
    format!(
        "{text}\n[[rule]]\nid = \"mark\"\nwhen = \"true\"\nthen = \"force\"\nactions = [\"recommend_items\"]\n\
         points = [\"cart_page\"]\nreason = \"MARK_{mark}\"\npriority = 1000\n"
    )
}

fn tests_file(reason: &str) -> v1::PolicyTestFile {
    let text = format!(
        "version = 1\n[[test]]\nname = \"marked\"\ndecision_point = \"cart_page\"\n\
         given.context = {{ cart_value = 60, country = \"DE\" }}\nexpect.reason = \"{reason}\"\n"
    );
    v1::PolicyTestFile { name: "mark_tests.toml".to_owned(), text }
}

#[tokio::test]
async fn a_policy_whose_tests_fail_is_not_activated() {
    let served = Served::start().await;
    let before = shipped(&served).await;
    let named =
        before.policy_toml.replacen("version = 1\n", "version = 1\ntests = [\"mark_tests.toml\"]\n", 1);
    let policy_toml = marked(&named, 7);
    let request = |tests| v1::ActivatePolicyRequest {
        policy_toml: policy_toml.clone(),
        tests,
        reason: "a test".to_owned(),
        activated_by: "tests".to_owned(),
        ..Default::default()
    };
    // What the policy names must come with it.
    let refused = activate(&served, request(Vec::new())).await;
    assert!(refused.policy_id.is_empty());
    assert!(refused.faults[0].message.contains("`mark_tests.toml`, which were not sent"), "{refused:?}");

    let check = v1::CheckPolicyRequest {
        policy_toml: policy_toml.clone(),
        tests: vec![tests_file("MARK_8")],
        ..Default::default()
    };
    let checked = served.policies().check_policy(check).await.unwrap().into_inner();
    assert_eq!((checked.tests_run, checked.failed_tests.len()), (1, 1));
    let refused = activate(&served, request(vec![tests_file("MARK_8")])).await;
    let failed = &refused.failed_tests[0];
    assert_eq!((&*refused.policy_id, &*failed.name, failed.line), ("", "marked", 3));
    assert_eq!((&*failed.mismatches[0].key, &*failed.mismatches[0].expected), ("reason", "MARK_8"));
    assert!(failed.mismatches[0].found.contains("RULE_FORCED MARK_7"), "{failed:?}");
    assert_eq!(shipped(&served).await.policy_id, before.policy_id, "nothing changed");

    let mut faulty = tests_file("MARK_7");
    faulty.text.push_str("given.contxt = {}\n");
    let refused = activate(&served, request(vec![faulty])).await;
    assert_eq!((&*refused.faults[0].file, refused.faults[0].line), ("mark_tests.toml", 7), "{refused:?}");

    let activated = activate(&served, request(vec![tests_file("MARK_7")])).await;
    assert_eq!((activated.tests_run, activated.failed_tests.len()), (1, 0));
    assert_eq!(activated.previous_policy_id, before.policy_id);
    assert_eq!(shipped(&served).await.policy_id, activated.policy_id);

    // The archive has the tests, too, and says who did what.
    let asked = v1::GetArchivedPolicyRequest { policy_id: activated.policy_id[..12].to_owned() };
    let archived = served.policies().get_archived_policy(asked).await.unwrap().into_inner();
    assert_eq!((archived.policy_id, archived.policy_toml), (activated.policy_id.clone(), policy_toml));
    assert_eq!(archived.tests, [tests_file("MARK_7")]);
    let listed = served.policies().list_policies(v1::ListPoliciesRequest {}).await.unwrap().into_inner();
    assert_eq!((listed.active_policy_id, listed.archived_policy_ids.len()), (activated.policy_id, 2));
    let told: Vec<(&str, &str, &str)> =
        listed.changes.iter().map(|change| (&*change.kind, &*change.who, &*change.why)).collect();
    assert_eq!(told[0], ("activate", "tests", "a test"));
    assert_eq!(told[1].0, "start");
    served.stop().await;
}

#[tokio::test]
async fn a_policy_whose_tests_fail_decides_at_a_start_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let tests = dir.path().join("policy_tests.toml");
    let failed_at_start = || {
        let app = App::open(config(dir.path()), FixedClock::new(NOW)).unwrap();
        app.refresh_metrics();
        let figures = app.metrics().render();
        let figure =
            figures.lines().find_map(|line| line.strip_prefix("augur_policy_tests_failed ")).unwrap();
        (figure.to_owned(), app)
    };
    let (figure, app) = failed_at_start();
    assert_eq!(figure, "0");
    app.close().unwrap();
    std::fs::write(&tests, tests_file("NEVER_SAID").text).unwrap();
    let (figure, app) = failed_at_start();
    assert_eq!(figure, "1");
    app.close().unwrap();
    std::fs::write(&tests, "[[").unwrap();
    let (figure, app) = failed_at_start();
    assert_eq!(figure, "1", "tests that cannot be read do not pass");
    let text = format!("{}# all is well\n", app.active().source().policy.text);
    let proposal = Proposal { text, ..Proposal::default() };
    assert!(app.activate_policy(&proposal, Remark::default()).unwrap().previous.is_some());
    app.refresh_metrics();
    assert!(app.metrics().render().contains("augur_policy_tests_failed 0\n"));
    app.close().unwrap();
}

#[tokio::test]
async fn policies_move_under_load_without_a_failed_or_mixed_decision() {
    const MARKS: usize = 4;
    let served = Served::start().await;
    promote(&served, &artifact("churn", "revenue_30d", -0.01)).await;
    promote(&served, &artifact("conversion", "purchase_count_30d", 0.5)).await;
    let text = shipped(&served).await.policy_toml;
    let mut ids = Vec::new();
    for mark in 0..MARKS {
        let policy_toml = marked(&text, mark);
        ids.push(
            activate(&served, v1::ActivatePolicyRequest { policy_toml, ..Default::default() })
                .await
                .policy_id,
        );
    }
    let deciders: Vec<_> = (0..8)
        .map(|n| {
            let (mut client, ids) = (served.decisions(), ids.clone());
            tokio::spawn(async move {
                for _ in 0..50 {
                    let decision = client.decide(cart(&format!("u{n}"), 60.0)).await.unwrap().into_inner();
                    let mark = ids.iter().position(|id| *id == decision.policy_id).unwrap();
                    let said = format!("{:?}", decision.reasons);
                    assert!(said.contains(&format!("MARK_{mark}\"")), "{mark}: {said}");
                }
            })
        })
        .collect();
    for turn in 0..24 {
        match turn % 3 {
            0 => {
                let request =
                    v1::ActivatePolicyRequest { policy_id: ids[turn % MARKS].clone(), ..Default::default() };
                assert_eq!(activate(&served, request).await.policy_id, ids[turn % MARKS]);
            }
            1 => assert_eq!(
                roll_back(&served, &ids[(turn * 7) % MARKS]).await.policy_id,
                ids[(turn * 7) % MARKS]
            ),
            _ => {
                let policy_toml = marked(&text, turn % MARKS);
                let request = v1::ActivatePolicyRequest { policy_toml, ..Default::default() };
                assert_eq!(activate(&served, request).await.policy_id, ids[turn % MARKS]);
            }
        }
    }
    for decider in deciders {
        decider.await.unwrap();
    }
    let mut policies = BTreeSet::new();
    for entry in Reader::open(&served.dir().join("data/decisions")).unwrap() {
        policies.insert(entry.unwrap().1.policy.to_string());
    }
    assert!(policies.len() > 1, "several policies decided");
    assert_eq!(every_record_decides_again(&served), 400);
    served.stop().await;
}

#[tokio::test]
async fn every_earlier_policy_can_be_returned_to_also_after_a_restart() {
    let served = Served::start().await;
    let first = shipped(&served).await;
    let mut ids = vec![first.policy_id.clone()];
    for mark in 0..3 {
        let policy_toml = marked(&first.policy_toml, mark);
        ids.push(
            activate(&served, v1::ActivatePolicyRequest { policy_toml, ..Default::default() })
                .await
                .policy_id,
        );
    }
    // One step after the other.
    for (from, to) in [(3, 2), (2, 1)] {
        let back = roll_back(&served, "").await;
        assert_eq!((&back.previous_policy_id, &back.policy_id), (&ids[from], &ids[to]));
        assert_eq!(back.restored_policy_id, ids[to]);
    }
    let served = served.restart_with(|_, _| {}).await;
    assert_eq!(shipped(&served).await.policy_id, ids[1]);
    assert_eq!(roll_back(&served, "").await.policy_id, ids[0]);
    let nothing = v1::RollbackPolicyRequest::default();
    let status = served.policies().rollback_policy(nothing).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition, "{status}");
    for id in [&ids[3], &ids[0], &ids[2]] {
        assert_eq!(roll_back(&served, &id[..10]).await.policy_id, *id);
        assert_eq!(served.decide(cart("ada", 60.0)).await.policy_id, *id);
    }
    for (bad, code) in [
        ("abc", tonic::Code::InvalidArgument),
        ("0000000000000000", tonic::Code::NotFound),
        ("../../secret.key", tonic::Code::NotFound),
    ] {
        let request = v1::RollbackPolicyRequest { policy_id: bad.to_owned(), ..Default::default() };
        assert_eq!(served.policies().rollback_policy(request).await.unwrap_err().code(), code, "{bad}");
    }
    assert_eq!(every_record_decides_again(&served), 3);
    served.stop().await;
}
