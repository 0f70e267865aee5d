//! The stack as a whole, around handlers that do what the test says.

use std::sync::atomic::{AtomicUsize, Ordering};

use tonic::Code;
use tonic_types::StatusExt as _;

use super::*;

const DECIDE: &str = "/augur.v1.DecisionService/Decide";
const INGEST: &str = "/augur.v1.EventService/Ingest";

/// A guard around nothing yet.
struct Guard {
    layer: GuardLayer,
    metrics: Arc<Metrics>,
}

fn guard(change: impl FnOnce(&mut crate::Config)) -> Guard {
    let clock: Arc<dyn Clock> = Arc::new(crate::SystemClock::new());
    let mut config = crate::Config::default();
    change(&mut config);
    let metrics = Arc::new(Metrics::new().unwrap());
    let limits = Arc::new(Limits::new(&config.limits));
    Guard { layer: GuardLayer::with(&clock, &metrics, &config.server, &limits, 1), metrics }
}

fn request(path: &str, headers: &[(&str, &str)]) -> Request {
    let mut request = http::Request::builder().uri(path).header("content-type", "application/grpc");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let peer = Peer {
        proved: None,
        address: "10.0.0.1".parse().unwrap(),
        unread: Arc::default(),
        ends: tokio_util::sync::CancellationToken::new(),
    };
    request.extension(peer).body(Body::empty()).unwrap()
}

impl Guard {
    /// One call to a handler that does `work`.
    async fn call<F>(&self, request: Request, work: fn() -> F) -> Response
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let inner = tower::service_fn(move |_: Request| async move { Ok(work().await) });
        self.layer.layer(inner).call(request).await.unwrap()
    }

    async fn status<F>(&self, headers: &[(&str, &str)], work: fn() -> F) -> Option<Status>
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let response = self.call(request(DECIDE, headers), work).await;
        Status::from_header_map(response.headers())
    }
}

async fn fine() -> Response {
    Response::default()
}

fn told(status: &Status) -> (Code, String, Option<Duration>) {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.clone()).unwrap_or_default();
    let word = status.metadata().get(CAUSE_HEADER.as_str()).unwrap().to_str().unwrap();
    assert_eq!(word, reason, "the same word in the metadata and in the details");
    (status.code(), reason, details.retry_info().and_then(|info| info.retry_delay))
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_told_so() {
    let guard =
        guard(|config| config.server.max_deadlines = vec![("Decide".to_owned(), Duration::from_millis(5))]);
    for timeout in ["1m", "1H"] {
        let status = guard.status(&[("grpc-timeout", timeout)], std::future::pending).await.unwrap();
        assert_eq!(told(&status), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned(), None));
    }
    assert!(guard.status(&[("grpc-timeout", "1H")], fine).await.is_none());
    let past = guard.status(&[("grpc-timeout", "0m")], || async { panic!("nobody waits for this") }).await;
    assert_eq!(past.unwrap().code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_deadline_that_cannot_be_read_is_refused_and_counted() {
    let guard = guard(|_| {});
    for bad in ["garbage", "-5S", "12345678901m", "5", ""] {
        let status = guard.status(&[("grpc-timeout", bad)], fine).await.unwrap();
        assert_eq!(told(&status), (Code::InvalidArgument, "INVALID_TIMEOUT".to_owned(), None));
        assert!(status.message().contains(&format!("`{bad}`")), "{status}");
    }
    assert!(guard.metrics.render().contains("augur_refusals_total{cause=\"INVALID_TIMEOUT\"} 5"));
}

#[tokio::test]
async fn a_panic_fails_its_own_call_only() {
    let guard = guard(|_| {});
    let status = guard.status(&[], || async { panic!("a defect, in a test") }).await.unwrap();
    assert_eq!(told(&status), (Code::Internal, "DEFECT".to_owned(), None));
    assert!(guard.status(&[], fine).await.is_none());
    assert!(guard.metrics.render().contains("augur_panics_total 1"));
}

#[tokio::test]
async fn a_call_is_named_and_the_name_comes_back() {
    let guard = guard(|_| {});
    let named = |response: &Response| response.headers()[&REQUEST_ID_HEADER].to_str().unwrap().to_owned();
    let response = guard.call(request(DECIDE, &[("x-request-id", "ours-7")]), fine).await;
    assert_eq!(named(&response), "ours-7");
    let refused =
        guard.call(request(DECIDE, &[("x-request-id", "ours-8"), ("grpc-timeout", "x")]), fine).await;
    assert_eq!(named(&refused), "ours-8");
    assert_eq!(named(&guard.call(request(DECIDE, &[]), fine).await).len(), 32);
}

#[tokio::test]
async fn a_limit_is_told_before_it_is_reached_and_after() {
    let guard = guard(|config| config.limits.caller = Some(crate::Rate::parse("2 per 1h").unwrap()));
    let header = |response: &Response, name| response.headers().get::<HeaderName>(name).cloned().unwrap();
    for remaining in ["1", "0"] {
        let response = guard.call(request(DECIDE, &[]), fine).await;
        assert_eq!(header(&response, LIMIT_HEADER), "2");
        assert_eq!(header(&response, REMAINING_HEADER), remaining);
    }
    let status = guard.status(&[], fine).await.unwrap();
    let (code, cause, delay) = told(&status);
    assert_eq!((code, &*cause), (Code::ResourceExhausted, "CALLER_LIMITED"));
    let delay = delay.unwrap();
    assert!(delay > Duration::from_secs(1_790) && delay <= Duration::from_secs(1_800), "{delay:?}");
    let quota = status.get_error_details().quota_failure().unwrap().violations.clone();
    assert_eq!((&*quota[0].subject, &*quota[0].description), ("caller", "2 per 1h"));
    let pushback: u64 =
        status.metadata().get("grpc-retry-pushback-ms").unwrap().to_str().unwrap().parse().unwrap();
    assert!(u128::from(pushback) >= delay.as_millis());
    // Another caller is not concerned, behind the proxy or not, nor is whoever asks for health.
    let mut other = request(DECIDE, &[]);
    other.extensions_mut().get_mut::<Peer>().unwrap().address = "10.0.0.2".parse().unwrap();
    assert!(!guard.call(other, fine).await.headers().contains_key("grpc-status"));
    let health = guard.call(request("/grpc.health.v1.Health/Check", &[]), fine).await;
    assert!(!health.headers().contains_key("grpc-status"));
    assert!(guard.metrics.render().contains("augur_refusals_total{cause=\"CALLER_LIMITED\"} 1"));
}

static STALLED: AtomicUsize = AtomicUsize::new(0);

#[tokio::test]
async fn with_a_handler_that_stalls_bulk_is_shed_at_once_and_decisions_are_kept() {
    let guard = guard(|config| config.server.max_requests_in_flight = 100);
    let layer = guard.layer.clone();
    let service = layer.layer(tower::service_fn(|_: Request| async {
        STALLED.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<Result<Response, Infallible>>().await
    }));
    let mut stalled = Vec::new();
    let mut refused = [0, 0];
    let (mut took, mut told_pressure) = (Vec::new(), false);
    // Open loop: calls come however few are answered, twice as many events as decisions.
    for number in 0..3_000 {
        let (path, kind) = if number % 3 == 0 { (DECIDE, 0) } else { (INGEST, 1) };
        let mut call = service.clone().call(request(path, &[]));
        let began = std::time::Instant::now();
        let polled = poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await;
        match polled {
            Poll::Pending => stalled.push(call),
            Poll::Ready(response) => {
                took.push(began.elapsed());
                let response = response.unwrap();
                let status = Status::from_header_map(response.headers()).unwrap();
                assert_eq!(
                    told(&status),
                    (Code::ResourceExhausted, "SHED".to_owned(), Some(Duration::from_millis(100)))
                );
                told_pressure |= response.headers().contains_key(PRESSURE_HEADER);
                refused[kind] += 1;
            }
        }
    }
    assert_eq!((stalled.len(), STALLED.load(Ordering::SeqCst)), (100, 100));
    // Events took up to seventy places; decisions have had the rest to themselves.
    assert_eq!(refused[0] + refused[1], 2_900);
    let events_kept = 2_000 - refused[1];
    let decisions_kept = 1_000 - refused[0];
    assert!(events_kept < 70 && decisions_kept > 30, "{events_kept} events, {decisions_kept} decisions");
    assert!(told_pressure);
    // Whoever shares the machine may hold up a few.
    took.sort_unstable();
    let p99 = took[took.len() * 99 / 100];
    assert!(p99 < Duration::from_millis(5), "{p99:?}");
    // Back to normal as soon as the handlers are.
    drop(stalled);
    assert!(guard.status(&[], fine).await.is_none());
}

/// A stream that brings nothing.
fn silent_stream() -> Response {
    struct Silent;
    impl http_body::Body for Silent {
        type Data = bytes::Bytes;
        type Error = Status;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, Status>>> {
            Poll::Pending
        }
    }
    Response::new(Body::new(Silent))
}

#[tokio::test]
async fn a_stream_ends_with_its_deadline_its_age_or_its_connection() {
    use http_body::Body as _;
    let guard = guard(|config| config.server.max_stream_duration = Duration::from_millis(200));
    let path = "/augur.v1.LogService/TailDecisions";
    for (timeout, cuts_connection, code, cause) in [
        ("20m", false, Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
        ("1H", false, Code::Unavailable, "STREAM_TOO_OLD"),
        ("1H", true, Code::Unavailable, "STREAM_TOO_OLD"),
    ] {
        let request = request(path, &[("grpc-timeout", timeout)]);
        let peer = request.extensions().get::<Peer>().unwrap().clone();
        let mut response = guard.call(request, || async { silent_stream() }).await;
        assert_eq!(peer.unread.stands_at(), Some(0), "the beginning of the answer waits for its reader");
        assert!(guard.metrics.render().contains("augur_requests_in_flight 1"), "a stream takes up its place");
        if cuts_connection {
            peer.ends.cancel();
        }
        let last =
            poll_fn(|context| Pin::new(response.body_mut()).poll_frame(context)).await.unwrap().unwrap();
        let status = Status::from_header_map(last.trailers_ref().unwrap()).unwrap();
        let (told_code, told_cause, _) = told(&status);
        assert_eq!((told_code, &*told_cause), (code, cause));
        let end = poll_fn(|context| Pin::new(response.body_mut()).poll_frame(context)).await;
        assert!(end.is_none() && response.body().is_end_stream());
        drop(response);
        assert_eq!(peer.unread.stands_at(), None);
        assert!(guard.metrics.render().contains("augur_requests_in_flight 0"));
    }
    assert!(guard.metrics.render().contains("augur_refusals_total{cause=\"STREAM_TOO_OLD\"} 2"));
}

#[test]
fn the_refusals_of_services_have_their_words_too() {
    for (error, code, cause) in [
        (Error::Overloaded { what: "the queue", limit: 1 }, Code::ResourceExhausted, "QUEUE_FULL"),
        (Error::ShuttingDown, Code::Unavailable, "SHUTTING_DOWN"),
        (Error::KeyReused, Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED"),
        (Error::StreamIdle { waited: Duration::ZERO }, Code::DeadlineExceeded, "STREAM_IDLE"),
    ] {
        let (told_code, told_cause, _) = told(&Status::from(error));
        assert_eq!((told_code, &*told_cause), (code, cause));
    }
}
