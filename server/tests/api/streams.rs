//! Long-lived calls: ordered answers, back-pressure, and an end at shutdown.

use augur_proto::v1;
use augur_proto::v1::EventOutcome;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::served::{Served, purchase};

#[tokio::test]
async fn a_stream_of_events_is_answered_in_order() {
    const BATCHES: usize = 200;
    let served = Served::start().await;
    let (requests, stream) = mpsc::channel(4);
    let sender = tokio::spawn(async move {
        for batch in 0..BATCHES {
            let events = (0..3).map(|n| purchase(&format!("{batch}-{n}"), &format!("u{n}"), 1.0)).collect();
            requests.send(v1::IngestStreamRequest { events, sent_at: None }).await.unwrap();
        }
    });
    let mut answers = served.events().ingest_stream(ReceiverStream::new(stream)).await.unwrap().into_inner();
    for batch in 0..BATCHES {
        let answer = answers.message().await.unwrap().unwrap();
        for (n, result) in answer.results.iter().enumerate() {
            assert_eq!(result.message_id, format!("{batch}-{n}"));
            assert_eq!(result.outcome(), EventOutcome::Accepted);
        }
    }
    assert!(answers.message().await.unwrap().is_none());
    sender.await.unwrap();
    assert_eq!(served.feature("u2", "purchase_count_30d").await.1, Some(BATCHES as f64));
    served.stop().await;
}

#[tokio::test]
async fn open_streams_end_at_shutdown_and_nothing_taken_is_lost() {
    let served = Served::start().await;
    let (requests, stream) = mpsc::channel(4);
    requests
        .send(v1::IngestStreamRequest { events: vec![purchase("m1", "ada", 1.0)], sent_at: None })
        .await
        .unwrap();
    let mut answers = served.events().ingest_stream(ReceiverStream::new(stream)).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().results[0].outcome(), EventOutcome::Accepted);
    let follow = v1::TailDecisionsRequest { from_sequence: 0, limit: 0, follow: true };
    let mut tail = served.log().tail_decisions(follow).await.unwrap().into_inner();

    let served = served.restart_with(|_, _| {}).await;
    assert_eq!(answers.message().await.unwrap_err().code(), tonic::Code::Unavailable);
    assert!(tail.message().await.is_ok_and(|told| told.is_none()), "the tail ends without a word");
    assert_eq!(served.ingest(vec![purchase("m1", "ada", 1.0)]).await, [EventOutcome::Duplicate]);
    drop(requests);
    served.stop().await;
}
