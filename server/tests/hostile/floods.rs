//! Frames that cost the server work and bring nothing.

use crate::connections::metrics;
use crate::served::{Served, cart};
use crate::wire::{
    DATA, END_HEADERS, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, Wire, call_headers, frame,
};

const DECIDE: &str = "/augur.v1.DecisionService/Decide";

#[tokio::test]
async fn floods_are_cut_while_honest_callers_are_answered() {
    let served = Served::start().await;
    let unknown = 0xab;
    for (name, flooded) in [
        ("ping", frame(PING, 0, 0, b"whatever")),
        ("settings", frame(SETTINGS, 0, 0, &[])),
        ("priority", frame(PRIORITY, 0, 3, &[0; 5])),
        ("unknown", frame(unknown, 0, 0, b"?")),
        ("empty data", frame(DATA, 0, 1, &[])),
    ] {
        let mut wire = Wire::greeted(served.running.address, &[]).await;
        wire.send(&frame(HEADERS, END_HEADERS, 1, &call_headers(DECIDE, &[]))).await.unwrap();
        let bytes = flooded.repeat(100);
        let sent = wire.flood(&bytes, 10_000).await;
        assert!(sent < 10_000, "{name}: nobody cut it");
        served.decide(cart("ada", 60.0)).await;
    }
    let text = metrics(&served).await;
    let floods =
        text.lines().find_map(|line| line.strip_prefix("augur_connections_refused_total{why=\"flood\"} "));
    // The library has bounds of its own for some of them, and may be first.
    assert!(floods.unwrap().parse::<f64>().unwrap() >= 3.0, "{floods:?}");
    served.stop().await;
}

#[tokio::test]
async fn rapid_resets_are_cut() {
    let served = Served::start().await;
    let mut wire = Wire::greeted(served.running.address, &[]).await;
    let headers = call_headers(DECIDE, &[]);
    let mut sent = 0_u32;
    let cut = loop {
        let stream = 2 * sent + 1;
        let pair =
            [frame(HEADERS, END_HEADERS, stream, &headers), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])];
        if wire.send(&pair.concat()).await.is_err() {
            break true;
        }
        sent += 1;
        if sent == 200_000 {
            break false;
        }
    };
    assert!(cut, "200 000 resets and no cut");
    served.decide(cart("ada", 60.0)).await;
    served.stop().await;
}

#[tokio::test]
async fn a_peer_that_measures_its_bandwidth_is_no_flood() {
    let served = Served::start().await;
    let mut wire = Wire::greeted(served.running.address, &[]).await;
    // A PING with each call, as clients do that estimate their bandwidth.
    for call in 0..3_000_u32 {
        let stream = 2 * call + 1;
        let headers = call_headers("/grpc.health.v1.Health/Check", &[]);
        let bytes = [
            frame(HEADERS, END_HEADERS, stream, &headers),
            frame(DATA, 1, stream, &[0, 0, 0, 0, 0]),
            frame(PING, 0, 0, b"how fast"),
        ];
        wire.send(&bytes.concat()).await.unwrap();
        let mut ended = false;
        while !ended {
            let frame = wire.next().await.expect("answered");
            assert_ne!(frame.kind, GOAWAY);
            ended = frame.kind == HEADERS && frame.flags & 1 != 0;
        }
    }
    served.stop().await;
}
