//! `Decide` with its request bytes: the generated service decodes them and lets go, but the decision's record keeps
//! the request as received, and encoding the message again would lose fields that this version does not know.
//!
//! Not here: what is decided (`decisions`). Every other method goes to the generated service untouched.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use augur_proto::v1;
use bytes::{Buf, Bytes};
use prost::Message as _;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tower::Service;

use super::Decisions;
use super::decisions::Decisions as Implementation;

const DECIDE: &str = "/augur.v1.DecisionService/Decide";

/// A request and the bytes it was decoded from.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) bytes: Bytes,
    pub(super) request: v1::DecideRequest,
}

/// The generated decision service with its own `Decide`.
#[derive(Debug, Clone)]
pub(super) struct RawDecide {
    implementation: Arc<Implementation>,
    generated: Decisions,
    max_request_bytes: usize,
}

impl RawDecide {
    pub(super) fn new(
        implementation: Arc<Implementation>,
        generated: Decisions,
        max_request_bytes: usize,
    ) -> Self {
        Self { implementation, generated, max_request_bytes }
    }
}

impl NamedService for RawDecide {
    const NAME: &'static str = Decisions::NAME;
}

impl Service<http::Request<Body>> for RawDecide {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != DECIDE {
            return Service::call(&mut self.generated, request);
        }
        let method = Decide(Arc::clone(&self.implementation));
        let limit = self.max_request_bytes;
        Box::pin(async move {
            let mut grpc = Grpc::new(KeepingCodec).max_decoding_message_size(limit);
            Ok(grpc.unary(method, request).await)
        })
    }
}

struct Decide(Arc<Implementation>);

impl UnaryService<Received> for Decide {
    type Response = v1::DecideResponse;
    type Future = Pin<Box<dyn Future<Output = Result<Response<v1::DecideResponse>, Status>> + Send>>;

    fn call(&mut self, request: Request<Received>) -> Self::Future {
        let implementation = Arc::clone(&self.0);
        Box::pin(async move { implementation.decide_received(request).await })
    }
}

/// Decodes requests and keeps their bytes.
#[derive(Debug, Clone, Copy)]
struct KeepingCodec;

impl Codec for KeepingCodec {
    type Encode = v1::DecideResponse;
    type Decode = Received;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for KeepingCodec {
    type Item = v1::DecideResponse;
    type Error = Status;

    fn encode(&mut self, item: v1::DecideResponse, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        // The buffer grows, so encoding has nothing to fail on.
        item.encode(buffer).map_err(|_| Status::from(crate::Error::Internal))
    }
}

impl Decoder for KeepingCodec {
    type Item = Received;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Received>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        let request =
            v1::DecideRequest::decode(bytes.clone()).map_err(|error| crate::error::undecodable(&error))?;
        Ok(Some(Received { bytes, request }))
    }
}
