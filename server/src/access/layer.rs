//! Where calls pass the gate: inside what counts and times them, before anything is read of their messages.
//!
//! Not here: who is let in (`gate`).

use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::gate::{Gate, Principal};
use crate::clock::Clock;
use crate::connection::Peer;

type Request = http::Request<Body>;
type Response = http::Response<Body>;

/// Puts the gate before the services of one server.
#[derive(Clone)]
pub(crate) struct GateLayer {
    gate: Arc<Gate>,
    clock: Arc<dyn Clock>,
}

impl GateLayer {
    pub(crate) fn new(gate: &Arc<Gate>, clock: &Arc<dyn Clock>) -> Self {
        Self { gate: Arc::clone(gate), clock: Arc::clone(clock) }
    }

    fn admit(&self, request: &Request) -> Result<Arc<Principal>, Status> {
        let peer = request.extensions().get::<Peer>();
        let proved = peer.and_then(|peer| peer.proved.as_ref()?.get());
        let (method, headers) = (request.uri().path(), request.headers());
        Ok(self.gate.admit(method, headers, proved.map(Vec::as_slice), self.clock.now())?)
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { inner, layer: self.clone() }
    }
}

/// A service behind the gate.
#[derive(Clone)]
pub(crate) struct Gated<S> {
    inner: S,
    layer: GateLayer,
}

impl<S> Service<Request> for Gated<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let principal = match self.layer.admit(&request) {
            Ok(principal) => principal,
            Err(status) => return Box::pin(ready(Ok(status.into_http()))),
        };
        let Some(method) = Gate::audited(request.uri().path()) else {
            return Box::pin(self.inner.call(request));
        };
        let gate = Arc::clone(&self.layer.gate);
        let answering = self.inner.call(request);
        Box::pin(async move {
            let response = answering.await?;
            // A call that failed has its status in the headers; otherwise it comes after the body.
            let status = response.headers().get("grpc-status");
            let code = status.and_then(|code| code.to_str().ok()?.parse().ok()).unwrap_or(0);
            gate.tell(&principal, method, code);
            Ok(response)
        })
    }
}
