//! Traces reach a collector, sent by the real exporter. Its own binary: telemetry starts once per process.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use augur_proto::v1;
use augur_proto::v1::decision_service_client::DecisionServiceClient;
use augur_server::{App, Config, SystemClock, serve_app, telemetry};
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};

/// Takes whatever is exported, as bytes.
#[derive(Clone)]
struct Collector(mpsc::UnboundedSender<Vec<u8>>);

impl NamedService for Collector {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

type Answer<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

impl tower::Service<http::Request<Body>> for Collector {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer<Self::Response, Infallible>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = self.clone();
        Box::pin(async move { Ok(Grpc::new(Bytes).unary(method, request).await) })
    }
}

impl UnaryService<Vec<u8>> for Collector {
    type Response = Vec<u8>;
    type Future = Answer<Response<Vec<u8>>, Status>;

    fn call(&mut self, request: Request<Vec<u8>>) -> Self::Future {
        self.0.send(request.into_inner()).unwrap();
        Box::pin(async { Ok(Response::new(Vec::new())) })
    }
}

#[derive(Clone, Copy)]
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(buffer, &item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let length = bytes::Buf::remaining(buffer);
        Ok(Some(bytes::Buf::copy_to_bytes(buffer, length).into()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_is_traced_to_the_collector_and_shutdown_does_not_hang() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let collector_address = listener.local_addr().unwrap();
    let (sender, mut exported) = mpsc::unbounded_channel();
    let collector = tonic::transport::Server::builder().add_service(Collector(sender));
    tokio::spawn(collector.serve_with_incoming(TcpListenerStream::new(listener)));

    let dir = tempfile::tempdir().unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".parse().unwrap();
    config.server.http_listen = None;
    config.data.dir = dir.path().join("data");
    config.data.features = shipped.join("features.toml");
    config.data.policy = shipped.join("policy.toml");
    config.telemetry.log_level = "warn".to_owned();
    config.telemetry.otlp_endpoint = Some(format!("http://{collector_address}"));
    config.telemetry.otlp_sample_ratio = 1.0;
    let guard = telemetry::start(&config.telemetry).unwrap();
    assert!(telemetry::start(&config.telemetry).is_err(), "telemetry starts once");

    let shutdown = CancellationToken::new();
    let app = App::open(config, SystemClock::new()).unwrap();
    let running = serve_app(app, shutdown.clone()).await.unwrap();
    let mut client = DecisionServiceClient::connect(format!("http://{}", running.address)).await.unwrap();
    let request = v1::DecideRequest {
        subject: Some(v1::Subject { id: Some(v1::subject::Id::UserId("ada".to_owned())) }),
        decision_point: "home_page".to_owned(),
        context: BTreeMap::new(),
        ..v1::DecideRequest::default()
    };
    client.decide(request).await.unwrap();
    drop(client);
    shutdown.cancel();
    running.finished().await.unwrap();
    // Dropped on a thread of the runtime that the collector needs, as a careless caller would.
    tokio::task::block_in_place(|| drop(guard));
    let batch = exported.recv().await.unwrap();
    let holds = |word: &[u8]| batch.windows(word.len()).any(|bytes| bytes == word);
    assert!(holds(b"/augur.v1.DecisionService/Decide") && holds(b"augur"));
    assert!(!holds(b"ada"), "nothing personal in traces");
}
