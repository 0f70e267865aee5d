//! Connections that say nothing, not enough, something else, or are too many or too old.

use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt as _;

use crate::served::{Served, cart};
use crate::wire::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, Wire,
    call_headers, frame,
};

const DECIDE: &str = "/augur.v1.DecisionService/Decide";
const ENHANCE_YOUR_CALM: u32 = 11;

/// One page of metrics.
pub(crate) async fn metrics(served: &Served) -> String {
    use tokio::io::AsyncWriteExt as _;
    let mut page = tokio::net::TcpStream::connect(served.running.http_address.unwrap()).await.unwrap();
    page.write_all(b"GET /metrics HTTP/1.1\r\nHost: augur\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    page.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn silence_and_half_a_preface_are_cut_after_five_seconds() {
    let served = Served::start().await;
    let began = Instant::now();
    let mut silent = Wire::connect(served.running.address).await;
    let mut half = Wire::connect(served.running.address).await;
    half.send(&PREFACE[..12]).await.unwrap();
    served.decide(cart("ada", 60.0)).await;
    for cut in [silent.ended().await, half.ended().await] {
        assert!(cut.iter().all(|frame| matches!(frame.kind, SETTINGS | GOAWAY)), "{cut:?}");
    }
    assert!(began.elapsed() >= Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(metrics(&served).await.contains("augur_connections_refused_total{why=\"silence\"} 2"));
    served.decide(cart("ada", 60.0)).await;
    served.stop().await;
}

#[tokio::test]
async fn other_protocols_are_shown_the_door() {
    let served = Served::start().await;
    let mut tls_hello = vec![0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3];
    tls_hello.resize(205, 7);
    let http1 = b"GET /augur.v1.DecisionService/Decide HTTP/1.1\r\nHost: augur\r\n\r\n";
    for bytes in [&http1[..], &tls_hello] {
        let mut wire = Wire::connect(served.running.address).await;
        wire.send(bytes).await.unwrap();
        // Whatever is said before the end, it is not an answer.
        assert!(wire.ended().await.iter().all(|frame| matches!(frame.kind, SETTINGS | GOAWAY)));
    }
    served.decide(cart("ada", 60.0)).await;
    served.stop().await;
}

#[tokio::test]
async fn an_address_with_too_many_connections_gets_no_more_and_is_told() {
    let served = Served::start_with(|config| {
        config.server.trusted_proxies = Vec::new();
        config.server.max_connections_per_address = 3;
    })
    .await;
    // One is the honest client's.
    let mut second = Wire::greeted(served.running.address, &[]).await;
    assert!(second.next_of(SETTINGS).await.is_some());
    let third = Wire::greeted(served.running.address, &[]).await;
    let mut fourth = Wire::connect(served.running.address).await;
    let told = fourth.next_of(GOAWAY).await.expect("told why");
    assert_eq!(told.code(), ENHANCE_YOUR_CALM);
    assert!(fourth.ended().await.is_empty());
    assert!(metrics(&served).await.contains("augur_connections_refused_total{why=\"address_limit\"} 1"));
    served.decide(cart("ada", 60.0)).await;
    drop((second, third));
    // Places come back.
    loop {
        let mut again = Wire::greeted(served.running.address, &[]).await;
        if again.next().await.is_some_and(|first| !first.payload.is_empty()) {
            break;
        }
    }
    served.stop().await;
}

#[tokio::test]
async fn an_old_connection_is_asked_to_go_and_finishes_what_it_began() {
    let served =
        Served::start_with(|config| config.server.max_connection_age = Duration::from_millis(300)).await;
    let mut wire = Wire::greeted(served.running.address, &[]).await;
    // A call that is under way when the connection is asked to go.
    wire.send(&frame(HEADERS, END_HEADERS, 1, &call_headers(DECIDE, &[]))).await.unwrap();
    let asked = wire.next_of(GOAWAY).await.expect("asked to go");
    assert_eq!(asked.code(), 0, "without reproach");
    wire.send(&frame(DATA, END_STREAM, 1, &[0, 0, 0, 0, 0])).await.unwrap();
    let answer = wire.next_of(HEADERS).await.expect("answered");
    assert_eq!((answer.stream, answer.flags & END_STREAM), (1, END_STREAM), "an empty request is refused");
    wire.ended().await;
    // Honest clients open another connection.
    served.decide(cart("ada", 60.0)).await;
    served.stop().await;
}

#[tokio::test]
async fn who_never_reads_the_answers_is_cut() {
    let served = Served::start_with(|config| config.server.unread_timeout = Duration::from_millis(400)).await;
    // An initial window of nothing: no byte of any answer may be sent.
    let mut wire = Wire::greeted(served.running.address, &[(4, 0)]).await;
    let describe = call_headers("/augur.v1.FeatureService/DescribeFeatures", &[]);
    for call in 0..150 {
        let stream = 2 * call + 1;
        wire.send(&frame(HEADERS, END_HEADERS, stream, &describe)).await.unwrap();
        wire.send(&frame(DATA, END_STREAM, stream, &[0, 0, 0, 0, 0])).await.unwrap();
    }
    served.decide(cart("ada", 60.0)).await;
    wire.ended().await;
    assert!(metrics(&served).await.contains("augur_connections_refused_total{why=\"unread\"} 1"));
    served.decide(cart("ada", 60.0)).await;
    served.stop().await;
}

#[tokio::test]
async fn a_request_that_trickles_in_is_refused_at_the_deadline() {
    let served = Served::start_with(|config| {
        config.server.max_deadlines = vec![("Decide".to_owned(), Duration::from_millis(300))];
    })
    .await;
    let mut wire = Wire::greeted(served.running.address, &[]).await;
    wire.send(&frame(HEADERS, END_HEADERS, 1, &call_headers(DECIDE, &[]))).await.unwrap();
    let began = Instant::now();
    let answer = loop {
        wire.send(&frame(DATA, 0, 1, &[0])).await.unwrap();
        // sleep: a slow caller is what is tested.
        let next = tokio::time::timeout(Duration::from_millis(20), wire.next()).await;
        match next {
            Ok(Some(answer)) if answer.kind == HEADERS => break answer,
            Ok(None) => panic!("cut without a word"),
            _ => {}
        }
    };
    assert_eq!(answer.flags & END_STREAM, END_STREAM);
    assert!(began.elapsed() >= Duration::from_millis(250));
    assert!(metrics(&served).await.contains("augur_refusals_total{cause=\"DEADLINE_EXCEEDED\"} 1"));
    served.stop().await;
}

#[tokio::test]
async fn a_caller_that_says_goodbye_mid_call_is_still_answered() {
    let served = Served::start().await;
    let mut wire = Wire::greeted(served.running.address, &[]).await;
    wire.send(&frame(HEADERS, END_HEADERS, 1, &call_headers(DECIDE, &[]))).await.unwrap();
    wire.send(&frame(GOAWAY, 0, 0, &[0; 8])).await.unwrap();
    wire.send(&frame(DATA, END_STREAM, 1, &[0, 0, 0, 0, 0])).await.unwrap();
    assert!(wire.next_of(HEADERS).await.is_some());
    served.stop().await;
}

#[tokio::test]
async fn more_calls_than_a_connection_may_have_are_reset_and_the_rest_is_served() {
    let served = Served::start().await;
    let mut wire = Wire::greeted(served.running.address, &[]).await;
    let headers = call_headers(DECIDE, &[]);
    let calls: Vec<u8> =
        (0..20_000_u32).flat_map(|call| frame(HEADERS, END_HEADERS, 2 * call + 1, &headers)).collect();
    // Sending may fail: the server may have had enough by then.
    let sending = wire.send(&calls).await;
    served.decide(cart("ada", 60.0)).await;
    let mut refused = 0;
    let mut cut = sending.is_err();
    while !cut && refused < 19_800 {
        match wire.next().await {
            Some(frame) if frame.kind == RST_STREAM => refused += 1,
            Some(frame) => cut = frame.kind == GOAWAY,
            None => cut = true,
        }
    }
    assert!(cut || refused == 19_800);
    let text = metrics(&served).await;
    let in_flight = text.lines().find_map(|line| line.strip_prefix("augur_requests_in_flight ")).unwrap();
    assert!(in_flight.parse::<f64>().unwrap() <= 200.0, "{in_flight}");
    served.decide(cart("ada", 60.0)).await;
    served.stop().await;
}

#[tokio::test]
async fn headers_without_end_or_beyond_all_bounds_are_refused() {
    let served = Served::start().await;
    // One list of 5 000 headers, in frames of a legal size.
    let names: Vec<String> = (0..5_000).map(|number| format!("x-{number}")).collect();
    let many: Vec<(&str, &[u8])> = names.iter().map(|name| (&**name, b"value" as &[u8])).collect();
    let block = call_headers(DECIDE, &many);
    let mut wire = Wire::greeted(served.running.address, &[]).await;
    let mut chunks = block.chunks(16_000);
    let _ = wire.send(&frame(HEADERS, END_STREAM, 1, chunks.next().unwrap())).await;
    let rest: Vec<&[u8]> = chunks.collect();
    for (number, chunk) in rest.iter().enumerate() {
        let flags = if number + 1 == rest.len() { END_HEADERS } else { 0 };
        let _ = wire.send(&frame(CONTINUATION, flags, 1, chunk)).await;
    }
    let _ = wire.send(&frame(PING, 0, 0, b"are you?")).await;
    loop {
        match wire.next().await {
            // Refused: 431 in headers, a reset, a farewell or the end.
            None => break,
            Some(frame) if matches!(frame.kind, HEADERS | RST_STREAM | GOAWAY) => break,
            Some(_) => {}
        }
    }
    // Headers that never end.
    let mut wire = Wire::greeted(served.running.address, &[]).await;
    wire.send(&frame(HEADERS, 0, 1, &call_headers(DECIDE, &[]))).await.unwrap();
    let more = call_headers(DECIDE, &[("x", &[b'y'; 8_000])]);
    let sent = wire.flood(&frame(CONTINUATION, 0, 1, &more), 100_000).await;
    assert!(sent < 100_000, "cut after {sent} frames");
    served.decide(cart("ada", 60.0)).await;
    served.stop().await;
}
