//! `kill -9` while sixty-four ask for the same person: nobody is ever given one too many, and no budget is overspent.
//!
//! Not here: what else survives a kill (`kill`).

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use augur_loadtest::{Client, v1};
use tokio::task::JoinSet;

use support::Server;

const ROUNDS: usize = 6;
const CALLERS: usize = 64;
const GIFTS: usize = 3;

/// One offer for each person, held until somebody reports, and a few gifts for all together.
const POLICY: &str = r#"
version = 1

[[decision_point]]
name = "here"
actions = ["offer", "gift", "none"]
default_action = "none"
deadline = "10s"

[[action]]
name = "offer"
value = "10.0"
caps = ["1 per 30d"]
confirm_within = "1h"

[[action]]
name = "gift"
value = "5.0"
budget = { total = 3, per = "none" }

[[action]]
name = "none"
"#;

fn ask(person: usize) -> v1::DecideRequest {
    let id = v1::subject::Id::UserId(format!("person {person}"));
    v1::DecideRequest {
        subject: Some(v1::Subject { id: Some(id) }),
        decision_point: "here".into(),
        ..v1::DecideRequest::default()
    }
}

/// What was answered, by action and person.
type Given = BTreeMap<(String, usize), usize>;

/// Asks for one person from everywhere at once. With a threshold, the server is killed once so many are answered.
async fn ask_at_once(server: &mut Server, person: usize, kill_after: Option<usize>, given: &mut Given) {
    let client = Client::connect(&server.endpoint, 4).await.unwrap();
    let answered = Arc::new(AtomicUsize::new(0));
    let (dying, mut killing) = tokio::sync::mpsc::channel(1);
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (client, answered, dying) = (client.clone(), Arc::clone(&answered), dying.clone());
        callers.spawn(async move {
            let answer = client.decisions().decide(ask(person)).await.ok()?.into_inner();
            if Some(answered.fetch_add(1, Ordering::SeqCst) + 1) == kill_after {
                let _already_dying = dying.try_send(());
            }
            Some(answer.action)
        });
    }
    drop(dying);
    if kill_after.is_some() {
        killing.recv().await.unwrap();
        server.kill();
    }
    while let Some(answer) = callers.join_next().await {
        if let Some(action) = answer.unwrap() {
            *given.entry((action, person)).or_default() += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_at_once_and_kills_in_between_never_give_one_too_many() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    let client = Client::connect(&server.endpoint, 1).await.unwrap();
    let request = v1::ActivatePolicyRequest { policy_toml: POLICY.to_owned(), ..Default::default() };
    let answer = client.policy().activate_policy(request).await.unwrap().into_inner();
    assert!(answer.faults.is_empty(), "{:?}", answer.faults);
    let mut given = Given::new();
    for round in 0..ROUNDS {
        // Killed early and late, so that the kill meets the first writes and the refusals after them.
        ask_at_once(&mut server, round, Some(1 + round * 5), &mut given).await;
        server = Server::start(dir.path());
        ask_at_once(&mut server, round, None, &mut given).await;
    }
    for person in 0..ROUNDS {
        let offers = given.get(&("offer".to_owned(), person)).copied().unwrap_or(0);
        assert!(offers <= 1, "person {person} was given {offers} offers");
    }
    let gifts =
        given.iter().filter(|((action, _), _)| action == "gift").map(|(_, count)| count).sum::<usize>();
    assert!(gifts <= GIFTS, "{gifts} gifts");
    assert!(given.keys().any(|(action, _)| action == "none"), "{given:?}");
    check_log(&server, &given).await;
}

/// Nor does the log have one too many: also decisions that nobody was told of are exposures.
async fn check_log(server: &Server, given: &Given) {
    let client = Client::connect(&server.endpoint, 1).await.unwrap();
    let mut log = v1::log_service_client::LogServiceClient::new(client.channel());
    let request = v1::TailDecisionsRequest { from_sequence: 1, limit: 0, follow: false };
    let mut records = log.tail_decisions(request).await.unwrap().into_inner();
    let (mut offers, mut gifts) = (BTreeMap::<String, usize>::new(), 0);
    while let Some(answer) = records.message().await.unwrap() {
        let record = answer.record.unwrap();
        let action = record.decision.unwrap().action;
        let user = record.user_key;
        gifts += usize::from(action == "gift");
        *offers.entry(user).or_default() += usize::from(action == "offer");
    }
    assert!(offers.values().all(|count| *count <= 1), "{offers:?}");
    let answered = given.keys().filter(|(action, _)| action == "offer").count();
    assert!(offers.values().sum::<usize>() >= answered);
    assert!(gifts <= GIFTS, "{gifts} gifts in the log");
}
