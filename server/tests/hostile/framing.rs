//! Calls whose messages, headers or names are not what gRPC says they should be.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame};
use prost::Message as _;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::Service as _;

use crate::served::{Served, cart};
use crate::wire::{DATA, END_HEADERS, END_STREAM, HEADERS, Wire, call_headers, frame};

const DECIDE: &str = "/augur.v1.DecisionService/Decide";
const INGEST: &str = "/augur.v1.EventService/Ingest";

/// The texts `0` and `4` as the server compresses them in headers: Huffman's code of one digit, filled up with ones.
const OK: u8 = 0b0000_0111;
const DEADLINE_EXCEEDED: u8 = 0b0110_1011;

/// A body of some bytes.
struct Raw(Option<Bytes>);

impl http_body::Body for Raw {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// The HTTP status and the gRPC status of one call.
async fn called(
    served: &Served,
    path: &str,
    headers: &[(&str, &str)],
    bytes: Vec<u8>,
) -> (u16, Option<Status>) {
    let mut request = http::Request::post(format!("http://{}{path}", served.running.address));
    for (name, value) in [("content-type", "application/grpc"), ("te", "trailers")] {
        if !headers.iter().any(|(given, _)| *given == name) {
            request = request.header(name, value);
        }
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::new(Raw(Some(bytes.into())))).unwrap();
    let mut channel = served.channel.clone();
    std::future::poll_fn(|context| channel.poll_ready(context)).await.unwrap();
    let mut response = channel.call(request).await.unwrap();
    let mut trailers: HeaderMap = response.headers().clone();
    while let Some(frame) =
        std::future::poll_fn(|context| Pin::new(response.body_mut()).poll_frame(context)).await
    {
        if let Ok(Ok(last)) = frame.map(Frame::into_trailers) {
            trailers.extend(last);
        }
    }
    (response.status().as_u16(), Status::from_header_map(&trailers))
}

fn framed(flag: u8, length: u32, message: &[u8]) -> Vec<u8> {
    [&[flag] as &[u8], &length.to_be_bytes(), message].concat()
}

fn message() -> Vec<u8> {
    let bytes = cart("ada", 60.0).encode_to_vec();
    framed(0, u32::try_from(bytes.len()).unwrap(), &bytes)
}

#[tokio::test]
async fn messages_that_are_not_framed_as_they_should_be() {
    let served = Served::start().await;
    let two = [message(), message()].concat();
    let mut truncated = message();
    truncated.truncate(20);
    let invalid_text = framed(0, 6, &[0x12, 4, 0xff, 0xfe, b'a', b'b']);
    for (name, headers, bytes, code) in [
        ("as it should be", &[] as &[(&str, &str)], message(), Code::Ok),
        ("compressed without saying how", &[], framed(1, 3, b"abc"), Code::Internal),
        ("flag 7", &[], framed(7, 3, b"abc"), Code::Internal),
        ("a length of 4 GB", &[], framed(0, u32::MAX, b"abc"), Code::OutOfRange),
        ("truncated", &[], truncated, Code::Internal),
        ("nothing at all", &[], Vec::new(), Code::Internal),
        ("gzip, which is not taken", &[("grpc-encoding", "gzip")], framed(1, 3, b"abc"), Code::Unimplemented),
        ("text that is not UTF-8", &[], invalid_text, Code::InvalidArgument),
        ("no message of ours", &[], framed(0, 3, &[0xff; 3]), Code::InvalidArgument),
        ("binary metadata that is none", &[("x-trace-bin", "%%%")], message(), Code::Ok),
    ] {
        let (http, status) = called(&served, DECIDE, headers, bytes).await;
        assert_eq!(http, 200, "{name}");
        let status = status.expect(name);
        assert_eq!(status.code(), code, "{name}: {status:?}");
    }
    // A second message of a call that has one is not read.
    let (_, status) = called(&served, DECIDE, &[], two).await;
    assert!(matches!(status.unwrap().code(), Code::Ok | Code::Internal));
    served.decide(cart("ada", 60.0)).await;
    served.stop().await;
}

#[tokio::test]
async fn names_and_kinds_that_are_not_served() {
    let served = Served::start().await;
    for path in
        ["/augur.v1.DecisionService/Divine", "/augur.v2.DecisionService/Decide", "/", "/../../etc/passwd"]
    {
        let (http, status) = called(&served, path, &[], message()).await;
        assert_eq!((http, status.unwrap().code()), (200, Code::Unimplemented), "{path}");
    }
    for kind in ["application/json", "text/plain", ""] {
        let (_, status) = called(&served, DECIDE, &[("content-type", kind)], message()).await;
        assert_eq!(status.unwrap().code(), Code::InvalidArgument, "{kind}");
    }
    served.decide(cart("ada", 60.0)).await;
    served.stop().await;
}

#[tokio::test]
async fn deadlines_that_are_none() {
    let served = Served::start().await;
    for (timeout, code) in [
        ("garbage", Code::InvalidArgument),
        ("-5S", Code::InvalidArgument),
        ("12345678901m", Code::InvalidArgument),
        ("99999999H", Code::Ok),
    ] {
        let (_, status) = called(&served, DECIDE, &[("grpc-timeout", timeout)], message()).await;
        assert_eq!(status.unwrap().code(), code, "{timeout}");
    }
    let twice = &[("grpc-timeout", "5S"), ("grpc-timeout", "6S")];
    let (_, status) = called(&served, DECIDE, twice, message()).await;
    assert_eq!(status.unwrap().code(), Code::InvalidArgument);
    // Such a client would give up by itself, so these are sent by hand. A nanosecond may be over before anything was done
    // or not; it is never CANCELLED, which would be the caller's doing.
    for (timeout, allowed) in [("0m", &[DEADLINE_EXCEEDED] as &[u8]), ("1n", &[OK, DEADLINE_EXCEEDED])] {
        let mut wire = Wire::greeted(served.running.address, &[]).await;
        let headers = call_headers(DECIDE, &[("grpc-timeout", timeout.as_bytes())]);
        wire.send(&frame(HEADERS, END_HEADERS, 1, &headers)).await.unwrap();
        wire.send(&frame(DATA, END_STREAM, 1, &message())).await.unwrap();
        let last = loop {
            let next = wire.next_of(HEADERS).await.expect("answered");
            if next.flags & END_STREAM != 0 {
                break next;
            }
        };
        let says = |code: u8| last.payload.windows(2).any(|bytes| bytes == [0x81, code]);
        assert!(allowed.iter().any(|code| says(*code)), "{timeout}: {last:?}");
    }
    served.stop().await;
}

#[tokio::test]
async fn very_many_empty_messages_are_refused_as_a_whole() {
    let served = Served::start().await;
    // Field 1, of no bytes, a hundred thousand times.
    let events = [0x0a, 0].repeat(100_000);
    let bytes = framed(0, u32::try_from(events.len()).unwrap(), &events);
    let (_, status) = called(&served, INGEST, &[], bytes).await;
    let status = status.unwrap();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert!(status.message().contains("2500"), "{status:?}");
    served.decide(cart("ada", 60.0)).await;
    served.stop().await;
}

#[tokio::test]
async fn every_answer_names_its_call_and_its_cause() {
    let served = Served::start().await;
    let answer = served.decisions().decide(cart("ada", 60.0)).await.unwrap();
    assert_eq!(answer.metadata().get("x-request-id").unwrap().len(), 32);
    let mut request = tonic::Request::new(cart("ada", 60.0));
    request.metadata_mut().insert("x-request-id", "mine-1".parse().unwrap());
    let answer = served.decisions().decide(request).await.unwrap();
    assert_eq!(answer.metadata().get("x-request-id").unwrap(), "mine-1");
    let (_, status) =
        called(&served, DECIDE, &[("grpc-timeout", "x"), ("x-request-id", "mine-2")], message()).await;
    let status = status.unwrap();
    assert_eq!(status.metadata().get("x-request-id").unwrap(), "mine-2");
    assert_eq!(status.metadata().get("augur-cause").unwrap(), "INVALID_TIMEOUT");
    served.stop().await;
}
