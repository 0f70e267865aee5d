//! `kill -9` in the middle of ingest, ten times over one data directory: what was acknowledged is there, once.
//!
//! Not here: torn files and power cuts, which the crates that write files test with injected disks.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test stops at what it did not expect"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use augur_loadtest::domain::Timestamp;
use augur_loadtest::{Client, Shop, shop, v1};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use support::Server;

const ROUNDS: usize = 10;
const EVENTS_PER_ROUND: usize = 600;
const BATCH_EVENTS: usize = 20;
const SENDERS: usize = 8;
/// Acknowledged events sent again in every round.
const RETRIED: usize = 100;

/// What the client side knows.
#[derive(Default)]
struct Ledger {
    sent: Vec<v1::Event>,
    acknowledged: BTreeSet<String>,
    decisions: BTreeSet<String>,
    /// Of the last sender of a round: requests with their answers.
    answers: Vec<(v1::DecideRequest, v1::DecideResponse)>,
}

fn who(event: &v1::Event) -> v1::Subject {
    let id = if event.user_id.is_empty() {
        v1::subject::Id::AnonymousId(event.anonymous_id.clone())
    } else {
        v1::subject::Id::UserId(event.user_id.clone())
    };
    v1::Subject { id: Some(id) }
}

fn decide_request(event: &v1::Event) -> v1::DecideRequest {
    let cart_value = v1::Value { kind: Some(v1::value::Kind::Number(45.0)) };
    v1::DecideRequest {
        subject: Some(who(event)),
        decision_point: "cart_page".into(),
        context: BTreeMap::from([("cart_value".to_owned(), cart_value)]),
        // One key for each batch: asked again after the kill, the answer must be the one that was given.
        idempotency_key: event.message_id.clone(),
        ..v1::DecideRequest::default()
    }
}

/// Sends events and asks for decisions until the server dies; kills it once `kill_after` events are acknowledged.
async fn load_until_killed(
    server: &mut Server,
    events: &[v1::Event],
    kill_after: usize,
    ledger: &mut Ledger,
) {
    let client = Client::connect(&server.endpoint, 2).await.unwrap();
    ledger.sent.extend_from_slice(events);
    let batches: Vec<Vec<v1::Event>> = events.chunks(BATCH_EVENTS).map(<[_]>::to_vec).collect();
    let queue = Arc::new(Mutex::new(batches.into_iter()));
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let (dying, mut killing) = tokio::sync::mpsc::channel(1);
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let (client, queue, acknowledged, dying) =
            (client.clone(), Arc::clone(&queue), Arc::clone(&acknowledged), dying.clone());
        senders.spawn(async move {
            let (mut accepted, mut decided) = (Vec::new(), Vec::new());
            loop {
                let Some(batch) = queue.lock().await.next() else { break };
                let request = decide_request(&batch[0]);
                let ids: Vec<_> = batch.iter().map(|event| event.message_id.clone()).collect();
                let answer = client.events().ingest(v1::IngestRequest { events: batch, sent_at: None }).await;
                let Ok(answer) = answer else { break };
                for (id, result) in ids.into_iter().zip(answer.into_inner().results) {
                    assert_eq!(result.outcome(), v1::EventOutcome::Accepted, "{result:?}");
                    accepted.push(id);
                }
                if acknowledged.fetch_add(BATCH_EVENTS, Ordering::SeqCst) + BATCH_EVENTS >= kill_after {
                    let _already_dying = dying.try_send(());
                }
                let Ok(answer) = client.decisions().decide(request.clone()).await else { break };
                decided.push((request, answer.into_inner()));
            }
            (accepted, decided)
        });
    }
    drop(dying);
    killing.recv().await.expect("the threshold is below the number of events");
    server.kill();
    while let Some(sender) = senders.join_next().await {
        let (accepted, decided) = sender.unwrap();
        ledger.acknowledged.extend(accepted);
        ledger.decisions.extend(decided.iter().map(|(_, answer)| answer.decision_id.clone()));
        ledger.answers = decided;
    }
}

async fn applied(client: &Client, subjects: Vec<v1::Subject>) -> Vec<u64> {
    let request = v1::BatchGetFeaturesRequest {
        subjects,
        features: vec!["events_3d".into()],
        ..v1::BatchGetFeaturesRequest::default()
    };
    let answer = client.features().batch_get_features(request).await.unwrap().into_inner();
    answer.results.iter().map(|result| result.events_applied).collect()
}

/// Whatever was acknowledged is there before anything is sent again; afterwards everything is there once.
async fn check_events(client: &Client, ledger: &mut Ledger) {
    let mut sent: BTreeMap<String, (v1::Subject, u64, u64)> = BTreeMap::new();
    for event in &ledger.sent {
        let key = format!("{}|{}", event.user_id, event.anonymous_id);
        let entry = sent.entry(key).or_insert_with(|| (who(event), 0, 0));
        entry.1 += 1;
        entry.2 += u64::from(ledger.acknowledged.contains(&event.message_id));
    }
    let subjects = || sent.values().map(|(subject, _, _)| subject.clone()).collect();
    for (counted, (subject, sent, acknowledged)) in
        applied(client, subjects()).await.iter().zip(sent.values())
    {
        assert!(
            (acknowledged..=sent).contains(&counted),
            "{subject:?}: {counted} counted, {acknowledged} acknowledged of {sent} sent"
        );
    }

    let lost: Vec<_> = ledger
        .sent
        .iter()
        .filter(|event| !ledger.acknowledged.contains(&event.message_id))
        .cloned()
        .collect();
    let known: Vec<_> = ledger
        .sent
        .iter()
        .rev()
        .filter(|event| ledger.acknowledged.contains(&event.message_id))
        .take(RETRIED)
        .cloned()
        .collect();
    assert!(!lost.is_empty(), "the kill came too late to interrupt anything");
    for (events, all_duplicates) in [(lost, false), (known, true)] {
        for batch in events.chunks(500) {
            let request = v1::IngestRequest { events: batch.to_vec(), sent_at: None };
            for result in client.events().ingest(request).await.unwrap().into_inner().results {
                let duplicate = result.outcome() == v1::EventOutcome::Duplicate;
                let accepted = result.outcome() == v1::EventOutcome::Accepted && !all_duplicates;
                assert!(duplicate || accepted, "{result:?}");
                ledger.acknowledged.insert(result.message_id);
            }
        }
    }
    for (counted, (subject, sent, _)) in applied(client, subjects()).await.iter().zip(sent.values()) {
        assert_eq!(counted, sent, "{subject:?}");
    }
}

/// Every answered decision is in the log, whose sequence has no gap.
async fn check_decisions(client: &Client, ledger: &Ledger) {
    let mut log = augur_loadtest::v1::log_service_client::LogServiceClient::new(client.channel());
    let request = v1::TailDecisionsRequest { from_sequence: 1, limit: 0, follow: false };
    let mut records = log.tail_decisions(request).await.unwrap().into_inner();
    let mut logged = BTreeSet::new();
    let mut expected_sequence = 1;
    while let Some(answer) = records.message().await.unwrap() {
        let record = answer.record.unwrap();
        assert_eq!(record.sequence, expected_sequence);
        expected_sequence += 1;
        logged.insert(record.decision.unwrap().decision_id);
    }
    let missing: Vec<_> = ledger.decisions.difference(&logged).collect();
    assert!(missing.is_empty(), "{} answered decisions are not in the log", missing.len());
}

/// Who asks again is told what was told before the kill.
async fn check_answers(client: &Client, ledger: &Ledger) {
    for (request, answer) in &ledger.answers {
        let again = client.decisions().decide(request.clone()).await.unwrap().into_inner();
        assert_eq!(again, *answer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_or_counted_twice_over_ten_kills() {
    let dir = tempfile::tempdir().unwrap();
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let now = Timestamp::from_unix_ms(i64::try_from(now_ms).unwrap());
    let mut shop = Shop::new(shop::Plan { seed: 23, shoppers: 120, days: 120, now }).unwrap();
    let mut ledger = Ledger::default();
    for round in 0..ROUNDS {
        let events: Vec<_> = shop.by_ref().take(EVENTS_PER_ROUND).collect();
        assert_eq!(events.len(), EVENTS_PER_ROUND, "the shop must have enough to tell");
        let mut server = Server::start(dir.path());
        // A different share of the round each time, so that the kill meets different states.
        let kill_after = (round * 37 % 15 + 2) * BATCH_EVENTS;
        load_until_killed(&mut server, &events, kill_after, &mut ledger).await;

        let mut server = Server::start(dir.path());
        let client = Client::connect(&server.endpoint, 1).await.unwrap();
        check_events(&client, &mut ledger).await;
        check_decisions(&client, &ledger).await;
        check_answers(&client, &ledger).await;
        server.kill();
    }
    assert!(ledger.decisions.len() > ROUNDS, "{} decisions", ledger.decisions.len());
    let replay = Command::new(env!("CARGO_BIN_EXE_augur"))
        .args(["replay", "--verify", "--json", "--data"])
        .arg(dir.path())
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&replay.stdout), String::from_utf8_lossy(&replay.stderr));
    assert!(replay.status.success(), "{stdout}\n{stderr}");
}
