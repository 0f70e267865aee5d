//! What every call passes, in one place and one order: count it, shed it when too many are under way, note its
//! arrival, open its span, hold it to its deadline, catch its panics.
//!
//! Own code for the deadline, because the network layer would answer CANCELLED, which callers take for their own
//! doing. Not here: message sizes and streams per connection (`services`, `serve`).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::HeaderMap;
use tokio::sync::{Semaphore, SemaphorePermit};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};
use tracing::Instrument as _;

use crate::clock::Clock;
use crate::metrics::{MethodMetrics, Metrics};
use crate::services::{METHODS, STREAMING};
use crate::telemetry::REQUEST_TARGET;
use crate::{Error, config};

type Request = http::Request<Body>;
type Response = http::Response<Body>;

/// When a call arrived and how long its caller allows; an extension of every request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// By the app's monotonic clock.
    pub(crate) at: Duration,
    /// The caller's `grpc-timeout`.
    pub(crate) allowed: Option<Duration>,
}

/// Wraps the services of one server.
#[derive(Clone)]
pub(crate) struct GuardLayer {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    methods: BTreeMap<&'static str, MethodMetrics>,
    others: MethodMetrics,
    in_flight: Semaphore,
    limit: usize,
    max_deadline: Duration,
}

impl GuardLayer {
    pub(crate) fn new(clock: &Arc<dyn Clock>, metrics: &Arc<Metrics>, server: &config::Server) -> Self {
        let methods = METHODS.iter().map(|method| (*method, metrics.method(method)));
        Self {
            shared: Arc::new(Shared {
                clock: Arc::clone(clock),
                metrics: Arc::clone(metrics),
                methods: methods.collect(),
                others: metrics.method("other"),
                in_flight: Semaphore::new(server.max_requests_in_flight),
                limit: server.max_requests_in_flight,
                max_deadline: server.max_deadline,
            }),
        }
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
        let arrival = Arrival { at: shared.clock.monotonic(), allowed: caller_allows(request.headers()) };
        request.extensions_mut().insert(arrival);
        let path = request.uri().path();
        let streaming = STREAMING.contains(&path);
        let span = tracing::debug_span!(target: REQUEST_TARGET, "request", rpc.method = path, rpc.code = tracing::field::Empty);
        let method = METHODS.iter().find(|method| **method == path).copied().unwrap_or("other");
        let call = self.inner.call(request);
        let work = async move {
            let Some(_permit) = shared.admit() else {
                let error = Error::Overloaded { what: "the number of calls under way", limit: shared.limit };
                return Ok(shared.answered(method, arrival, Status::from(error).into_http()));
            };
            let limit =
                (!streaming).then(|| shared.max_deadline.min(arrival.allowed.unwrap_or(Duration::MAX)));
            let response = shared.run(call, limit).await;
            Ok(shared.answered(method, arrival, response))
        };
        Box::pin(work.instrument(span))
    }
}

impl Shared {
    fn admit(&self) -> Option<InFlight<'_>> {
        match self.in_flight.try_acquire() {
            Ok(permit) => {
                self.metrics.requests_in_flight.increment(1);
                Some(InFlight { metrics: &self.metrics, _permit: permit })
            }
            Err(_) => {
                self.metrics.requests_shed.increment(1);
                None
            }
        }
    }

    async fn run(
        &self,
        call: impl Future<Output = Result<Response, Infallible>>,
        limit: Option<Duration>,
    ) -> Response {
        let mut call = pin!(call);
        let caught =
            poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context))) {
                Ok(Poll::Ready(Ok(response))) => Poll::Ready(response),
                Ok(Poll::Pending) => Poll::Pending,
                Err(_) => {
                    self.metrics.panics.increment(1);
                    Poll::Ready(Status::from(Error::Internal).into_http())
                }
            });
        let Some(limit) = limit else { return caught.await };
        // A little early: the network layer has a timer of its own, and gives the wrong status.
        let early = limit.saturating_sub(Duration::from_millis(1).min(limit / 2));
        match tokio::time::timeout(early, caught).await {
            Ok(response) => response,
            Err(_) => Status::from(Error::DeadlineExceeded { elapsed: limit }).into_http(),
        }
    }

    fn answered(&self, method: &'static str, arrival: Arrival, response: Response) -> Response {
        // A call that failed has its status in the headers; otherwise it comes after the body.
        let status = response.headers().get("grpc-status");
        let code = status.and_then(|code| code.to_str().ok()?.parse().ok()).unwrap_or(0);
        tracing::Span::current().record("rpc.code", code);
        let took = self.clock.monotonic().saturating_sub(arrival.at);
        self.methods.get(method).unwrap_or(&self.others).count(code, took);
        response
    }
}

/// Counts a call while it is under way, also when it is dropped.
struct InFlight<'a> {
    metrics: &'a Metrics,
    _permit: SemaphorePermit<'a>,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.metrics.requests_in_flight.decrement(1);
    }
}

/// The caller's `grpc-timeout`: at most eight digits and a unit. One that cannot be read is none.
fn caller_allows(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3_600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status number of one call through the guard to a service that does `work`.
    async fn status_of<F>(change: impl FnOnce(&mut config::Server), timeout: &str, work: fn() -> F) -> i32
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let clock: Arc<dyn Clock> = Arc::new(crate::SystemClock::new());
        let mut server = crate::Config::default().server;
        change(&mut server);
        let layer = GuardLayer::new(&clock, &Arc::new(Metrics::new().unwrap()), &server);
        let inner = tower::service_fn(move |_: Request| async move { Ok(work().await) });
        let request = http::Request::builder().uri("/augur.v1.DecisionService/Decide");
        let request = request.header("grpc-timeout", timeout).body(Body::empty()).unwrap();
        let response = layer.layer(inner).call(request).await.unwrap();
        response.headers().get("grpc-status").map_or(0, |code| code.to_str().unwrap().parse().unwrap())
    }

    #[tokio::test]
    async fn a_call_that_takes_too_long_is_told_so() {
        assert_eq!(status_of(|_| {}, "5m", std::future::pending).await, 4);
        let short = |server: &mut config::Server| server.max_deadline = Duration::from_millis(5);
        assert_eq!(status_of(short, "1H", std::future::pending).await, 4);
        assert_eq!(status_of(|_| {}, "1H", || async { Response::default() }).await, 0);
    }

    #[tokio::test]
    async fn a_panic_fails_its_own_call_only() {
        assert_eq!(status_of(|_| {}, "1H", || async { panic!("a defect, in a test") }).await, 13);
    }

    #[tokio::test]
    async fn too_many_calls_are_shed() {
        let full = |server: &mut config::Server| server.max_requests_in_flight = 0;
        assert_eq!(status_of(full, "1H", || async { Response::default() }).await, 8);
    }

    #[test]
    fn timeouts_are_read_or_ignored() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            caller_allows(&headers)
        };
        assert_eq!(read("50m"), Some(Duration::from_millis(50)));
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        assert_eq!(read("7u"), Some(Duration::from_micros(7)));
        for bad in ["", "m", "5", "-5m", "123456789m", "5x", "5 m"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(caller_allows(&HeaderMap::new()), None);
    }
}
