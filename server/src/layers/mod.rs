//! What every call passes, in one place and one order.
//!
//! 1. `request_id`: a name for the call, the caller's or ours, told back in the answer.
//! 2. `caller`: where the call comes from.
//! 3. `deadline`: how long the caller allows. What cannot be read is refused, as is what is not gRPC.
//! 4. `crate::limits`: how often this caller, this method may be called.
//! 5. `admission`: how much is under way at all; the least important class is shed first (`method` has the classes).
//! 6. Who calls, by what credential, and whether the method is theirs to call (`crate::access`): behind the limits, so that
//!    guesses count. Then the call itself, within its deadline (`deadline`) and its panics caught (`panic`); streams are held
//!    to their own times on the way in (`inbound`) and out (`outbound`).
//! 7. The answer: counted by method and status, a refusal by its cause as well, and told what is left.
//!
//! The order is written in [`Shared::enter`] and [`Guarded::call`]. Steps 1 to 5 wait for nothing, so a refusal costs
//! microseconds. Not here: sizes of messages (`services`), connections (`connection`, `worker`), limits per user, which need
//! the message read (`crate::decide`).

mod admission;
mod caller;
mod deadline;
mod inbound;
mod method;
mod outbound;
mod panic;
mod request_id;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::future::{Future, poll_fn, ready};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};
use tracing::Instrument as _;

use admission::{Admission, Place};
use caller::Callers;
pub(crate) use deadline::Arrival;
use deadline::{allowed_by, within};
use inbound::{Inbound, Patience};
use method::{Method, Methods};
pub(crate) use outbound::Unread;
use outbound::{Outbound, Stream};
use panic::guarded;
use request_id::{REQUEST_ID_HEADER, RequestIds};

use crate::clock::Clock;
use crate::connection::Peer;
use crate::limits::{Allowance, Limits};
use crate::metrics::Metrics;
use crate::refusal::{CAUSE_HEADER, Cause, Told};
use crate::telemetry::REQUEST_TARGET;
use crate::{App, Error, config};

type Request = http::Request<Body>;
type Response = http::Response<Body>;

/// How often the nearest limit allows a call, and how often more it would now.
const LIMIT_HEADER: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING_HEADER: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
/// How full the server is, in percent; told from [`TELLING_PRESSURE_PERCENT`] on.
const PRESSURE_HEADER: HeaderName = HeaderName::from_static("augur-pressure");
const TELLING_PRESSURE_PERCENT: usize = 50;

/// Wraps the services of one server.
#[derive(Clone)]
pub(crate) struct GuardLayer {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    request_ids: RequestIds,
    callers: Callers,
    methods: Methods,
    limits: Arc<Limits>,
    admission: Arc<Admission>,
    patience: Patience,
    told: [Told; Cause::ALL.len()],
}

/// A call that was let in.
struct Entered {
    /// Taken up until the answer begins, by a stream until it ends.
    place: Place,
    allowance: Option<Allowance>,
    arrival: Arrival,
}

/// What is known of every call, let in or not.
struct Call {
    method: Arc<Method>,
    id: HeaderValue,
    origin: &'static str,
    at: Duration,
}

impl GuardLayer {
    /// `run` is drawn at random for each start.
    pub(crate) fn new(app: &App, run: [u8; 32]) -> Self {
        let run = run.first_chunk().map_or(0, |run| u64::from_le_bytes(*run));
        Self::with(app.clock(), app.metrics(), &app.config().server, app.limits(), run)
    }

    fn with(
        clock: &Arc<dyn Clock>,
        metrics: &Arc<Metrics>,
        server: &config::Server,
        limits: &Arc<Limits>,
        run: u64,
    ) -> Self {
        let shared = Shared {
            clock: Arc::clone(clock),
            metrics: Arc::clone(metrics),
            request_ids: RequestIds::new(run),
            callers: Callers::new(&server.trusted_proxies),
            methods: Methods::new(metrics, server),
            limits: Arc::clone(limits),
            admission: Admission::new(server.max_requests_in_flight, metrics),
            patience: Patience { idle: server.stream_idle_timeout, message: server.stream_message_timeout },
            told: Default::default(),
        };
        Self { shared: Arc::new(shared) }
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, shared: Arc::clone(&self.shared) }
    }
}

/// A service behind the guard.
#[derive(Clone)]
pub(crate) struct Guarded<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Service<Request> for Guarded<S>
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

    fn call(&mut self, mut request: Request) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        let peer = request.extensions().get::<Peer>().cloned();
        let (call, entered) = shared.enter(peer.as_ref(), &mut request);
        let entered = match entered {
            Ok(entered) => entered,
            Err(error) => {
                let refused = shared.answered(&call, None, Status::from(error).into_http());
                return Box::pin(ready(Ok(refused)));
            }
        };
        let span = call.span();
        if call.method.is_streaming {
            request = request.map(|body| Body::new(Inbound::new(body, shared.patience)));
        }
        let answering = self.inner.call(request);
        let work = async move {
            let Entered { place, allowance, arrival } = entered;
            let response = shared.run(answering, &call, arrival).await;
            let response = shared.answered(&call, allowance, response);
            Ok(shared.outbound(call, peer, arrival, place, response))
        };
        Box::pin(work.instrument(span))
    }
}

impl Call {
    fn span(&self) -> tracing::Span {
        tracing::debug_span!(
            target: REQUEST_TARGET,
            "request",
            rpc.method = self.method.name,
            rpc.code = tracing::field::Empty,
            request.id = self.id.to_str().unwrap_or_default(),
            caller.origin = self.origin,
        )
    }
}

impl Shared {
    /// Steps 1 to 5: names the call, and lets it in or says why not.
    fn enter(&self, peer: Option<&Peer>, request: &mut Request) -> (Call, Result<Entered, Error>) {
        let method = Arc::clone(self.methods.of(request.uri().path()));
        let at = self.clock.monotonic();
        let id = self.request_ids.take_or_make(request.headers());
        let caller = self.callers.recognise(peer.map(|peer| peer.address), request.headers());
        let origin = caller.origin.as_str();
        let entered = self.admit(&method, caller.address.as_ref(), at, request.headers());
        if let Ok(entered) = &entered {
            request.extensions_mut().insert(entered.arrival);
            request.extensions_mut().insert(caller);
        }
        (Call { method, id, origin, at }, entered)
    }

    fn admit(
        &self,
        method: &Method,
        address: Option<&IpAddr>,
        at: Duration,
        headers: &http::HeaderMap,
    ) -> Result<Entered, Error> {
        if !is_grpc(headers) {
            return Err(Error::field("content-type", "it is not gRPC's", "`application/grpc`"));
        }
        let arrival = Arrival { at, allowed: allowed_by(headers)? };
        if arrival.allowed == Some(Duration::ZERO) {
            return Err(Error::DeadlineExceeded { elapsed: Duration::ZERO });
        }
        if method.is_vital {
            return Ok(Entered { place: self.admission.enter_always(), allowance: None, arrival });
        }
        let allowance = self.limits.take_call(address, method.place, at)?;
        Ok(Entered { place: self.admission.enter(method.class)?, allowance, arrival })
    }

    /// Step 6: the answer, up to its beginning.
    async fn run(
        &self,
        answering: impl Future<Output = Result<Response, Infallible>>,
        call: &Call,
        arrival: Arrival,
    ) -> Response {
        let mut answering = pin!(answering);
        let caught = poll_fn(|context| guarded(|| answering.as_mut().poll(context)));
        let limit = call.method.max_duration.min(arrival.allowed.unwrap_or(Duration::MAX));
        match within(limit, caught).await {
            Ok(Some(Ok(response))) => response,
            Ok(None) => Status::from(Error::Internal).into_http(),
            Err(error) => Status::from(error).into_http(),
        }
    }

    /// Step 7: counts the answer and adds what callers are told with every one.
    fn answered(&self, call: &Call, allowance: Option<Allowance>, mut response: Response) -> Response {
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID_HEADER, call.id.clone());
        if let Some(Allowance { limit, remaining }) = allowance {
            headers.insert(LIMIT_HEADER, limit.into());
            headers.insert(REMAINING_HEADER, remaining.into());
        }
        let pressure_percent = self.admission.pressure_percent();
        if pressure_percent >= TELLING_PRESSURE_PERCENT {
            headers.insert(PRESSURE_HEADER, pressure_percent.into());
        }
        // A call that failed has its status in the headers; otherwise it comes after the body.
        let status = headers.get("grpc-status");
        let code = status.and_then(|code| code.to_str().ok()?.parse().ok()).unwrap_or(0);
        if let Some(cause) = headers.get(CAUSE_HEADER).and_then(|word| Cause::from_word(word.as_bytes())) {
            self.refused(call, cause);
        }
        tracing::Span::current().record("rpc.code", code);
        call.method.metrics.count(code, self.clock.monotonic().saturating_sub(call.at));
        response
    }

    /// Counts a refusal and tells it in the log, the latter not each time in a flood.
    fn refused(&self, call: &Call, cause: Cause) {
        self.metrics.refused(cause);
        if cause == Cause::Defect {
            self.metrics.panics.increment(1);
        }
        let told = Cause::ALL.iter().zip(&self.told).find(|(of, _)| **of == cause);
        let Some(untold) = told.and_then(|(_, told)| told.due(self.clock.monotonic())) else { return };
        tracing::info!(
            cause = cause.as_str(),
            method = call.method.name,
            request_id = call.id.to_str().unwrap_or_default(),
            origin = call.origin,
            untold,
            "refused"
        );
    }

    /// Watches over the rest of an answer on its way out.
    fn outbound(
        self: &Arc<Self>,
        call: Call,
        peer: Option<Peer>,
        arrival: Arrival,
        place: Place,
        response: Response,
    ) -> Response {
        use http_body::Body as _;
        if response.body().is_end_stream() {
            return response;
        }
        let unread = peer.as_ref().map(|peer| Arc::clone(&peer.unread));
        let stream = call.method.is_streaming.then(|| {
            let spent = self.clock.monotonic().saturating_sub(arrival.at);
            let over = Box::pin(over(call.method.max_duration, arrival.allowed, spent, peer));
            let shared = Arc::clone(self);
            Stream { _place: place, over, refused: Arc::new(move |cause| shared.refused(&call, cause)) }
        });
        response.map(|body| Body::new(Outbound::new(body, unread, stream)))
    }
}

/// Whether a call says that it is one. What a browser can be made to send says something else.
fn is_grpc(headers: &http::HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Why a stream must end, once it must: its caller's deadline, its age, or its connection's.
async fn over(
    max_duration: Duration,
    allowed: Option<Duration>,
    spent: Duration,
    peer: Option<Peer>,
) -> Error {
    let limit = max_duration.min(allowed.unwrap_or(Duration::MAX));
    let ends = async {
        match peer {
            Some(peer) => peer.ends.cancelled().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // sleep: a deadline is nothing but time that passes.
        () = tokio::time::sleep(limit.saturating_sub(spent)) => match allowed {
            Some(allowed) if allowed <= max_duration => Error::DeadlineExceeded { elapsed: allowed },
            _ => Error::StreamTooOld { what: "stream" },
        },
        () = ends => Error::StreamTooOld { what: "connection" },
    }
}
