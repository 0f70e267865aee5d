//! One decision for one key: at once, later, in bulk, and after a restart.

use std::path::Path;

use augur_domain::time::DAY_MS;
use augur_proto::v1;
use augur_proto::v1::decide_result::Answer;
use prost::Message as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::served::{NOW, Served, cart, subject};

/// An action so dear that it is given as long as it may be, which is twice.
const TWICE: &str = r#"
version = 1

[[decision_point]]
name = "here"
actions = ["offer", "none"]
default_action = "none"
deadline = "50s"

[[action]]
name = "offer"
channel = "onsite"
value = "10.0"
caps = ["2 per 7d"]

[[action]]
name = "none"
"#;

fn keyed(user: &str, key: &str) -> v1::DecideRequest {
    v1::DecideRequest { idempotency_key: key.to_owned(), ..cart(user, 60.0) }
}

fn here(key: &str) -> v1::DecideRequest {
    v1::DecideRequest {
        subject: subject("ada"),
        decision_point: "here".to_owned(),
        idempotency_key: key.to_owned(),
        ..v1::DecideRequest::default()
    }
}

/// How many decisions are in the log.
async fn logged(served: &Served) -> usize {
    let request = v1::TailDecisionsRequest { from_sequence: 1, limit: 0, follow: false };
    let mut records = served.log().tail_decisions(request).await.unwrap().into_inner();
    let mut count = 0;
    while records.message().await.unwrap().is_some() {
        count += 1;
    }
    count
}

async fn refused(served: &Served, request: v1::DecideRequest) -> tonic::Status {
    served.decisions().decide(request).await.unwrap_err()
}

#[tokio::test]
async fn the_same_key_gets_the_same_bytes_until_it_expires() {
    let served = Served::start().await;
    let first = served.decide(keyed("ada", "mail-1")).await;
    assert_eq!(served.decide(keyed("ada", "mail-1")).await.encode_to_vec(), first.encode_to_vec());
    assert_ne!(served.decide(keyed("ada", "mail-2")).await.decision_id, first.decision_id);
    assert_eq!(logged(&served).await, 2);

    let served = served.restart_with(|_, _| {}).await;
    served.clock.set(NOW.plus_millis(DAY_MS - 1));
    let again = served.decide(keyed("ada", "mail-1")).await;
    assert_eq!(again.encode_to_vec(), first.encode_to_vec(), "across a restart");
    served.clock.set(NOW.plus_millis(DAY_MS));
    let later = served.decide(keyed("ada", "mail-1")).await;
    assert_ne!(later.decision_id, first.decision_id);
    assert_eq!(served.decide(keyed("ada", "mail-1")).await, later, "kept in the place of the expired one");
    served.stop().await;
}

#[tokio::test]
async fn another_request_under_the_key_is_refused() {
    let served = Served::start().await;
    let first = served.decide(keyed("ada", "mail-1")).await;
    let dearer = v1::DecideRequest { idempotency_key: "mail-1".to_owned(), ..cart("ada", 61.0) };
    let look = v1::DecideRequest { peek: true, ..keyed("ada", "mail-1") };
    for other in [dearer, look, keyed("bob", "mail-1")] {
        let status = refused(&served, other).await;
        assert_eq!(status.code(), Code::AlreadyExists);
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "IDEMPOTENCY_KEY_REUSED");
    }
    assert_eq!(served.decide(keyed("ada", "mail-1")).await, first);
    assert_eq!(logged(&served).await, 1);

    // A call that failed leaves its key free.
    let nowhere = v1::DecideRequest { decision_point: "nowhere".to_owned(), ..keyed("ada", "mail-2") };
    assert_eq!(refused(&served, nowhere).await.code(), Code::NotFound);
    let nobody = v1::DecideRequest { subject: None, ..keyed("ada", "mail-2") };
    assert_eq!(refused(&served, nobody).await.code(), Code::InvalidArgument);
    served.decide(keyed("ada", "mail-2")).await;

    served.decide(keyed("ada", &"k".repeat(128))).await;
    let status = refused(&served, keyed("ada", &"k".repeat(129))).await;
    assert_eq!(status.code(), Code::InvalidArgument);
    let violations = status.get_error_details().bad_request().unwrap().field_violations.clone();
    assert_eq!(violations[0].field, "idempotency_key");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_at_once_one_decides_and_counts_and_all_are_told() {
    let served = Served::start().await;
    let request = v1::ActivatePolicyRequest { policy_toml: TWICE.to_owned(), ..Default::default() };
    let activated = served.policies().activate_policy(request).await.unwrap().into_inner();
    assert!(activated.faults.is_empty(), "{:?}", activated.faults);
    let asked = (0..64).map(|_| {
        let mut decisions = served.decisions();
        tokio::spawn(async move { decisions.decide(here("mail-1")).await.unwrap().into_inner() })
    });
    let mut answers = Vec::new();
    for answer in asked.collect::<Vec<_>>() {
        answers.push(answer.await.unwrap().encode_to_vec());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(logged(&served).await, 1);
    assert_eq!(served.decide(here("mail-2")).await.action, "offer", "the cap counts one so far");
    assert_eq!(served.decide(here("mail-3")).await.action, "none");
    assert_eq!(served.decide(here("mail-1")).await.action, "offer", "and stands as it was told");
    served.stop().await;
}

#[tokio::test]
async fn batches_and_streams_keep_keys_too() {
    let served = Served::start().await;
    let first = served.decide(keyed("ada", "mail-1")).await;
    let other = keyed("bob", "mail-1");
    let requests = vec![keyed("ada", "mail-1"), keyed("ada", "mail-2"), keyed("ada", "mail-2"), other];
    let batch = v1::BatchDecideRequest { requests };
    let answers = served.decisions().batch_decide(batch).await.unwrap().into_inner().results;
    assert_eq!(answers[0].answer, Some(Answer::Decision(first.clone())));
    assert_eq!(answers[1].answer, answers[2].answer);
    assert!(
        matches!(&answers[3].answer, Some(Answer::Failure(failure)) if failure.code == Code::AlreadyExists as i32)
    );

    let (sender, stream) = tokio::sync::mpsc::channel(1);
    sender.send(v1::DecideStreamRequest { request: Some(keyed("ada", "mail-1")) }).await.unwrap();
    drop(sender);
    let mut told = served.decisions().decide_stream(ReceiverStream::new(stream)).await.unwrap().into_inner();
    let told = told.message().await.unwrap().unwrap().result.unwrap();
    assert_eq!(told.answer, Some(Answer::Decision(first)));
    assert_eq!(logged(&served).await, 2);
    served.stop().await;
}

#[tokio::test]
async fn kept_answers_are_bounded_and_go_with_their_user() {
    let served = Served::start_with(|config| config.idempotency.max_keys = 1).await;
    let first = served.decide(keyed("ada", "mail-1")).await;
    assert_eq!(refused(&served, keyed("bob", "mail-2")).await.code(), Code::ResourceExhausted);
    assert_eq!(served.decide(keyed("ada", "mail-1")).await, first, "what is kept is still answered");
    let served = served.restart_with(|_, _| {}).await;
    assert_eq!(refused(&served, keyed("bob", "mail-2")).await.code(), Code::ResourceExhausted);
    let request = v1::EraseUserRequest { subject: subject("ada"), forget_opt_outs: false };
    served.privacy().erase_user(request).await.unwrap();
    assert_ne!(served.decide(keyed("ada", "mail-1")).await.decision_id, first.decision_id);
    served.stop().await;
}

/// Files under `dir` that have `text` in them.
fn files_with(dir: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if std::fs::read(&path).unwrap().windows(text.len()).any(|bytes| bytes == text.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn keys_are_not_stored_as_they_came() {
    let served = Served::start().await;
    let decided = served.decide(keyed("ada", "a-key-of-mine")).await;
    let dir = served.ended().await;
    assert_eq!(files_with(dir.path(), "a-key-of-mine"), [""; 0]);
    let found = files_with(dir.path(), &decided.policy_id);
    assert!(!found.is_empty(), "where the answer is can be read");
}
