//! Frequency caps hold however many ask at once.

use std::collections::BTreeMap;

use augur_domain::time::{DAY_MS, HOUR_MS};
use augur_proto::v1;

use crate::replay::every_record_decides_again;
use crate::served::{NOW, Served, subject, text};

/// Two actions of one channel with caps, so dear that both are given as long as they may be.
const POLICY: &str = r#"
version = 1

[[decision_point]]
name = "here"
actions = ["offer", "banner", "none"]
default_action = "none"
deadline = "10s"

[[action]]
name = "offer"
channel = "onsite"
value = "10.0"
caps = ["3 per 7d"]

[[action]]
name = "banner"
channel = "onsite"
value = "5.0"
caps = ["5 per 24h per channel"]

[[action]]
name = "none"
"#;

fn here(user: &str) -> v1::DecideRequest {
    v1::DecideRequest {
        subject: subject(user),
        decision_point: "here".to_owned(),
        context: BTreeMap::new(),
        ..v1::DecideRequest::default()
    }
}

async fn served() -> Served {
    served_with(POLICY).await
}

async fn served_with(policy: &str) -> Served {
    let served = Served::start().await;
    let request = v1::ActivatePolicyRequest { policy_toml: policy.to_owned(), ..Default::default() };
    let response = served.policies().activate_policy(request).await.unwrap().into_inner();
    assert!(response.faults.is_empty(), "{:?}", response.faults);
    served
}

#[tokio::test]
async fn what_was_given_lately_gives_way_also_after_a_restart() {
    let bare =
        POLICY.replace("caps = [\"3 per 7d\"]\n", "").replace("caps = [\"5 per 24h per channel\"]\n", "");
    let point = "deadline = \"10s\"\n";
    let rule = "diversity = [{ of = \"action\", at_most = 1, among = 1 }]\n";
    let mut served = served_with(&bare.replace(point, &format!("{point}{rule}"))).await;
    for (minutes, action) in (1..).zip(["offer", "banner", "offer", "banner"]) {
        let answer = served.decide(here("ada")).await;
        assert_eq!(answer.action, action);
        served.clock.set(NOW.plus_millis(minutes * 60_000));
    }
    served = served.restart_with(|_, _| {}).await;
    let looks = v1::DecideRequest { peek: true, ..here("ada") };
    for _ in 0..2 {
        assert_eq!(served.decide(looks.clone()).await.action, "offer", "a look is given nothing");
    }
    let answer = served.decide(here("bob")).await;
    assert!(answer.candidates.iter().all(|candidate| candidate.reason.as_ref().unwrap().code != "DIVERSITY"));
    assert_eq!(every_record_decides_again(&served), 7);
    served.stop().await;
}

/// How often each action is given to one user by `calls` decisions at once.
async fn decide_at_once(served: &Served, user: &str, calls: usize) -> BTreeMap<String, usize> {
    let tasks = (0..calls).map(|_| {
        let mut client = served.decisions();
        let request = here(user);
        tokio::spawn(async move { client.decide(request).await.unwrap().into_inner().action })
    });
    let mut given = BTreeMap::new();
    for task in tasks.collect::<Vec<_>>() {
        *given.entry(task.await.unwrap()).or_insert(0) += 1;
    }
    given
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn thirty_two_at_once_never_pass_a_cap() {
    let served = served().await;
    for user in ["ada", "bob", "eve"] {
        let given = decide_at_once(&served, user, 32).await;
        assert_eq!(given["offer"], 3, "{given:?}");
        assert_eq!(given["banner"], 2, "the channel's five less three offers: {given:?}");
        assert_eq!(given["none"], 27, "{given:?}");
    }
    served.stop().await;
}

#[tokio::test]
async fn a_cap_says_when_it_ends_and_then_ends() {
    let served = served().await;
    for _ in 0..5 {
        served.decide(here("ada")).await;
    }
    let refused = served.decide(here("ada")).await;
    assert_eq!(refused.action, "none");
    let offer = &refused.candidates[0];
    let reason = offer.reason.as_ref().unwrap();
    assert_eq!((&*reason.code, &*reason.detail), ("FREQUENCY_CAP", "3 per 7d"));
    let next =
        augur_proto::convert::timestamp_from_wire(offer.next_eligible_at.as_ref().unwrap(), "t").unwrap();
    assert_eq!(next, NOW.plus_millis(7 * DAY_MS));

    served.clock.set(NOW.plus_millis(7 * DAY_MS - 1));
    assert_eq!(served.decide(here("ada")).await.action, "banner");
    served.clock.set(next);
    assert_eq!(served.decide(here("ada")).await.action, "offer");
    served.stop().await;
}

#[tokio::test]
async fn caps_survive_a_restart() {
    let served = served().await;
    for _ in 0..3 {
        assert_eq!(served.decide(here("ada")).await.action, "offer");
    }
    let served = served.restart_with(|_, _| {}).await;
    served.clock.set(NOW.plus_millis(HOUR_MS));
    assert_eq!(served.decide(here("ada")).await.action, "banner");
    served.stop().await;
}

#[tokio::test]
async fn a_record_that_the_log_refuses_costs_one_exposure_and_no_more() {
    // A record larger than the whole queue of the log is never taken.
    let served = Served::start_with(|config| config.decision_log.queue_bytes = 4 << 10).await;
    let context = "deadline = \"10s\"\ncontext = { note = \"text\" }";
    let policy_toml = POLICY.replace("deadline = \"10s\"", context);
    served
        .policies()
        .activate_policy(v1::ActivatePolicyRequest { policy_toml, ..Default::default() })
        .await
        .unwrap();
    let mut too_long = here("ada");
    too_long.context.insert("note".to_owned(), text(&"x".repeat(8_000)));
    let status = served.decisions().decide(too_long).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);

    let mut given = Vec::new();
    for _ in 0..5 {
        given.push(served.decide(here("ada")).await.action);
    }
    assert_eq!(given, ["offer", "offer", "banner", "banner", "none"]);
    served.stop().await;
}

/// An offer that is held for an hour, and a gift of which there are five.
const HELD: &str = r#"
version = 1

[[decision_point]]
name = "here"
actions = ["offer", "gift", "none"]
default_action = "none"
deadline = "10s"

[[action]]
name = "offer"
value = "10.0"
category = "offers"
caps = ["1 per 7d per category"]
confirm_within = "1h"

[[action]]
name = "gift"
value = "5.0"
budget = { total = 5, per = "day" }

[[action]]
name = "none"
"#;

async fn report(served: &Served, id: &str, decision: &v1::DecideResponse, kind: v1::OutcomeKind) {
    let mut client = v1::outcome_service_client::OutcomeServiceClient::new(served.channel.clone());
    let outcome = v1::Outcome {
        outcome_id: id.to_owned(),
        decision_id: decision.decision_id.clone(),
        kind: kind.into(),
        ..v1::Outcome::default()
    };
    client.report_outcomes(v1::ReportOutcomesRequest { outcomes: vec![outcome] }).await.unwrap();
}

#[tokio::test]
async fn what_is_held_stands_is_freed_or_ends_by_itself() {
    let served = served_with(HELD).await;
    for (user, kind, later, again) in [
        ("ada", Some(v1::OutcomeKind::Delivered), HOUR_MS, "none"),
        ("bob", Some(v1::OutcomeKind::NotDelivered), 0, "offer"),
        ("eve", None, HOUR_MS - 1, "none"),
        ("joe", None, HOUR_MS, "offer"),
    ] {
        served.clock.set(NOW);
        let first = served.decide(here(user)).await;
        assert_eq!(first.action, "offer", "{user}");
        let second = served.decide(here(user)).await;
        let refused = second.candidates[0].reason.as_ref().unwrap();
        assert_eq!((&*refused.code, &*refused.detail), ("FREQUENCY_CAP", "1 per 7d per category"));
        let next = second.candidates[0].next_eligible_at.as_ref().unwrap();
        let next = augur_proto::convert::timestamp_from_wire(next, "t").unwrap();
        assert_eq!(next, NOW.plus_millis(HOUR_MS), "the end of the hold");
        if let Some(kind) = kind {
            report(&served, &format!("of {user}"), &first, kind).await;
        }
        served.clock.set(NOW.plus_millis(later));
        let action = served.decide(here(user)).await.action;
        assert_eq!(action.replace("gift", "none"), again, "{user}");
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_budget_is_spent_by_all_together_and_survives_a_restart() {
    let served = served_with(HELD).await;
    let asked = (0..32).map(|user| {
        let mut client = served.decisions();
        tokio::spawn(async move {
            let user = format!("user {user}");
            client.decide(here(&user)).await.unwrap();
            client.decide(here(&user)).await.unwrap().into_inner().action
        })
    });
    let mut gifts = 0;
    for task in asked.collect::<Vec<_>>() {
        gifts += usize::from(task.await.unwrap() == "gift");
    }
    assert_eq!(gifts, 5);
    let served = served.restart_with(|_, _| {}).await;
    served.clock.set(NOW.plus_millis(1));
    let refused = served.decide(here("user 1")).await;
    let gift = refused.candidates[1].reason.as_ref().unwrap();
    assert_eq!((&*gift.code, &*gift.detail), ("BUDGET_SPENT", "5 per day"));
    served.clock.set(NOW.plus_millis(DAY_MS));
    assert_eq!(served.decide(here("user 1")).await.action, "offer", "its hold ended");
    assert_eq!(served.decide(here("user 1")).await.action, "gift");
    served.stop().await;
}
