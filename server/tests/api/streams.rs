//! Long-lived calls: ordered answers, back-pressure, and an end at shutdown.

use std::time::Duration;

use augur_proto::v1;
use augur_proto::v1::EventOutcome;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;

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
    assert_eq!(tail.message().await.unwrap_err().code(), tonic::Code::Unavailable);
    assert_eq!(served.ingest(vec![purchase("m1", "ada", 1.0)]).await, [EventOutcome::Duplicate]);
    drop(requests);
    served.stop().await;
}

#[tokio::test]
async fn watchers_of_health_are_told_and_let_go_of_without_waiting_for_the_drain() {
    // Far longer than the test may take.
    let served = Served::start_with(|config| config.server.drain_timeout = Duration::from_secs(600)).await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(served.channel.clone());
    let request = tonic_health::pb::HealthCheckRequest { service: "augur.v1.EventService".to_owned() };
    let mut watch = health.watch(request).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status, 1);
    drop(health);
    // Connections on which nothing was said, or not enough, must not hold the end either.
    let _silent = tokio::net::TcpStream::connect(served.running.address).await.unwrap();
    let mut stuck = tokio::net::TcpStream::connect(served.running.address).await.unwrap();
    stuck.write_all(b"P").await.unwrap();
    let served = served.restart_with(|_, _| {}).await;
    assert_eq!(watch.message().await.unwrap().unwrap().status, 2, "told first");
    assert!(watch.message().await.unwrap().is_none());
    served.stop().await;
}

#[tokio::test]
async fn a_call_that_never_ends_is_cut_after_the_drain_and_the_directory_is_let_go_of() {
    let served = Served::start_with(|config| config.server.drain_timeout = Duration::from_millis(50)).await;
    let mut reflection = ServerReflectionClient::new(served.channel.clone());
    let mut told = reflection.server_reflection_info(tokio_stream::pending()).await.unwrap().into_inner();
    let served = served.restart_with(|_, _| {}).await;
    assert!(told.message().await.is_err());
    served.stop().await;
}

#[tokio::test]
async fn open_streams_are_bounded_and_make_room_when_they_end() {
    let served = Served::start_with(|config| config.ingest.max_streams = 1).await;
    let (requests, stream) = mpsc::channel::<v1::IngestStreamRequest>(1);
    let mut first = served.events().ingest_stream(ReceiverStream::new(stream)).await.unwrap().into_inner();
    let error = served.events().ingest_stream(tokio_stream::pending()).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::ResourceExhausted);
    drop(requests);
    assert!(first.message().await.unwrap().is_none());
    let again = served.events().ingest_stream(tokio_stream::empty()).await;
    assert!(again.is_ok(), "{again:?}");
    served.stop().await;
}
