//! Metrics and health over HTTP, on an address of their own.
//!
//! It holds no part of the app but its metrics, so that a scrape never keeps a data directory open. Not here: the
//! API as JSON (not built yet).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// What the pages show.
#[derive(Debug, Clone)]
pub(crate) struct Pages {
    pub(crate) metrics: Arc<Metrics>,
    /// Whether decisions can be made and recorded now.
    pub(crate) ready: Arc<AtomicBool>,
}

/// Serves until told to stop.
pub(crate) async fn serve(listener: TcpListener, pages: Pages, stop: CancellationToken) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .with_state(pages);
    let serving = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = serving.await {
        tracing::error!(%error, "the listener for metrics and health stopped");
    }
}

async fn metrics(State(pages): State<Pages>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], pages.metrics.render())
}

async fn ready(State(pages): State<Pages>) -> impl IntoResponse {
    if pages.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready: shutting down, or decisions cannot be recorded\n")
    }
}
