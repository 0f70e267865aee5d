//! A worker: one thread, one runtime, its own share of the connections.
//!
//! Threads that share nothing but the app serve about half as much again as one runtime that moves calls between its
//! threads. Not here: accepting (`connection`) or what is served (`services`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::connection::Accepted;
use crate::layers::GuardLayer;
use crate::{Error, config};

/// Connections accepted and not yet taken over.
const HANDED_OVER: usize = 16;
/// How long file reads under way may take to end when a worker does.
const LET_GO_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest header list of a request, in bytes.
const MAX_HEADER_BYTES: u32 = 16 << 10;

/// Tells when to stop accepting and when to cut what is open.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    /// No new connections; calls under way go on.
    pub(crate) accepting: CancellationToken,
    /// No calls at all.
    pub(crate) cut: CancellationToken,
}

/// Starts a worker that serves `routes` behind `layer`; connections go into what it returns. How it ended goes to
/// `ended`, once it has let go of everything.
pub(crate) fn start(
    index: usize,
    routes: Routes,
    layer: GuardLayer,
    settings: &config::Server,
    stop: Stop,
    ended: mpsc::Sender<Result<(), Error>>,
) -> Result<mpsc::Sender<Accepted>, Error> {
    let failed = |error| Error::file("start", "worker thread".as_ref())(error);
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (connections, accepted) = mpsc::channel::<Accepted>(HANDED_OVER);
    let server = Server::builder()
        .max_concurrent_streams(settings.max_concurrent_streams)
        .http2_keepalive_interval(Some(settings.keepalive_interval))
        .http2_keepalive_timeout(Some(settings.keepalive_timeout))
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .layer(layer);
    let serve = async move {
        let opening = stop.accepting.clone();
        let incoming =
            ReceiverStream::new(accepted).map(move |accepted| accepted.into_connection(opening.clone()));
        let signal = stop.accepting.cancelled_owned();
        tokio::select! {
            served = server.serve_with_incoming_shutdown(routes, incoming, signal) => served,
            () = stop.cut.cancelled() => Ok(()),
        }
    };
    let run = move || {
        let served = catch_unwind(AssertUnwindSafe(|| runtime.block_on(serve)));
        // Drops every connection and call that is left, and with them their hold on the app.
        runtime.shutdown_timeout(LET_GO_TIMEOUT);
        let served =
            served.map_or(Err(Error::Stopped { what: "a worker" }), |served| served.map_err(Error::from));
        // Nobody may be waiting any more.
        let _ = ended.blocking_send(served);
    };
    std::thread::Builder::new().name(format!("augur-worker-{index}")).spawn(run).map_err(failed)?;
    Ok(connections)
}
