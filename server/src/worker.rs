//! A worker: one thread, one runtime, its own share of the connections, and an eye on each of them.
//!
//! Threads that share nothing but the app serve about half as much again as one runtime that moves calls between its
//! threads. Each connection is served by itself, so that each can be asked to go at an age of its own, and cut when its
//! reader takes nothing. Not here: accepting (`connection`) or what is served (`services`).

use std::convert::Infallible;
use std::future::Future as _;
use std::hash::{BuildHasher as _, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::Stream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::service::Routes;
use tonic::transport::Server;
use tower::layer::util::{Identity, Stack};

use crate::access::tls::Tls;
use crate::access::{Access, GateLayer};
use crate::connection::{Accepted, Connection, Handle};
use crate::layers::{GuardLayer, Unread};
use crate::{Error, config};

/// Connections accepted and not yet taken over.
const HANDED_OVER: usize = 16;
/// How long file reads under way may take to end when a worker does.
const LET_GO_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest header list of a request, in bytes.
const MAX_HEADER_BYTES: u32 = 16 << 10;
/// How long calls under way may go on after their connection was asked to go, and then how long their ends may take to
/// reach the caller.
const AGE_GRACE: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(2));
/// How much sooner or later than said a connection is asked to go, at most, as one in so many: connections that came
/// together do not all come again together.
const AGE_SPREAD: u32 = 10;

/// Tells when to stop accepting and when to cut what is open.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    /// No new connections; calls under way go on.
    pub(crate) accepting: CancellationToken,
    /// No calls at all.
    pub(crate) cut: CancellationToken,
}

/// What every connection of a worker is served with.
#[derive(Clone)]
struct Serving {
    server: Server<Stack<GateLayer, Stack<GuardLayer, Identity>>>,
    routes: Routes,
    tls: Option<Arc<Tls>>,
    stop: CancellationToken,
    max_age: Duration,
    unread_timeout: Duration,
}

/// Starts a worker that serves `routes` behind the layers; connections go into what it returns. How it ended goes to
/// `ended`, once it has let go of everything.
pub(crate) fn start(
    index: usize,
    routes: Routes,
    (guard, gate): (GuardLayer, GateLayer),
    access: &Access,
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
        .layer(guard)
        .layer(gate);
    let serving = Serving {
        server,
        routes,
        tls: access.tls.clone(),
        stop: stop.accepting,
        max_age: settings.max_connection_age,
        unread_timeout: settings.unread_timeout,
    };
    let serve = async move {
        tokio::select! {
            () = serve_all(accepted, serving) => {}
            () = stop.cut.cancelled() => {}
        }
    };
    let run = move || {
        let served = catch_unwind(AssertUnwindSafe(|| runtime.block_on(serve)));
        // Drops every connection and call that is left, and with them their hold on the app.
        runtime.shutdown_timeout(LET_GO_TIMEOUT);
        let served = served.map_err(|_| Error::Stopped { what: "a worker" });
        // Nobody may be waiting any more.
        let _ = ended.blocking_send(served);
    };
    std::thread::Builder::new().name(format!("augur-worker-{index}")).spawn(run).map_err(failed)?;
    Ok(connections)
}

/// Serves connections as they come, until told to stop; then until the last of them is gone.
async fn serve_all(mut accepted: mpsc::Receiver<Accepted>, serving: Serving) {
    let mut open = JoinSet::new();
    let spread = RandomState::new();
    for number in 0_u64.. {
        let next = tokio::select! {
            () = serving.stop.cancelled() => None,
            next = accepted.recv() => next,
        };
        let Some(next) = next else { break };
        // Forgets those that are gone.
        while open.try_join_next().is_some() {}
        let max_age = spread_age(serving.max_age, spread.hash_one(number));
        open.spawn(serving.clone().serve(next, max_age));
    }
    drop(accepted);
    while open.join_next().await.is_some() {}
}

/// `age`, up to a tenth more or less, by a random number.
fn spread_age(age: Duration, random: u64) -> Duration {
    let tenth = age / AGE_SPREAD;
    let share = u32::try_from(random % 2_001).unwrap_or_default();
    age - tenth + tenth / 1_000 * share
}

impl Serving {
    /// Serves one connection until it is gone.
    async fn serve(self, accepted: Accepted, max_age: Duration) {
        // A connection that is gone already has nobody to tell.
        let Ok(connection) = accepted.into_connection(self.tls.as_deref(), self.stop.clone()) else { return };
        let handle = connection.handle();
        let (metrics, old) = (connection.metrics(), CancellationToken::new());
        let asked_to_go = {
            let (stop, old) = (self.stop.clone(), old.clone());
            async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = old.cancelled() => {}
                }
            }
        };
        let incoming = Single::new(connection);
        let serving = self.server.clone().serve_with_incoming_shutdown(self.routes, incoming, asked_to_go);
        let mut serving = std::pin::pin!(serving);
        let why = tokio::select! {
            _ = &mut serving => return,
            why = stalls(&handle.peer.unread, self.unread_timeout) => why,
            why = ages(max_age, &old, &handle) => why,
        };
        metrics.count_refused_connection(why);
        tracing::debug!(why, peer = %handle.peer.address, "a connection is cut");
        handle.cut.cancel();
        // It ends as it finds that it cannot read or write any more.
        let _ = serving.await;
    }
}

/// Why to cut the connection, once answers have waited for their reader for `timeout`, or half as long again, and none of
/// them got on.
async fn stalls(unread: &Unread, timeout: Duration) -> &'static str {
    let (mut stood_at, mut looks) = (None, 0);
    while looks < 2 {
        // sleep: nothing tells that nothing happens.
        tokio::time::sleep(timeout / 2).await;
        let stands_at = unread.stands_at();
        looks = if stands_at.is_some() && stands_at == stood_at { looks + 1 } else { 0 };
        stood_at = stands_at;
    }
    "unread"
}

/// Why to cut the connection, once it was asked to go for its age, its streams were ended, and it did not go.
async fn ages(max_age: Duration, old: &CancellationToken, handle: &Handle) -> &'static str {
    let (calls, farewell) = AGE_GRACE;
    // sleep: an age is nothing but time that passes, as are the two times after it.
    tokio::time::sleep(max_age).await;
    old.cancel();
    // sleep: see above.
    tokio::time::sleep(calls).await;
    handle.peer.ends.cancel();
    // sleep: see above.
    tokio::time::sleep(farewell).await;
    "age"
}

/// A listener of one connection, which goes on for as long as the connection does.
struct Single {
    connection: Option<Connection>,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Single {
    fn new(connection: Connection) -> Self {
        let closed = Box::pin(connection.handle().closed.cancelled_owned());
        Self { connection: Some(connection), closed }
    }
}

impl Stream for Single {
    type Item = Result<Connection, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.connection.take() {
            Some(connection) => Poll::Ready(Some(Ok(connection))),
            None => self.closed.as_mut().poll(context).map(|()| None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_came_together_do_not_go_together() {
        let age = Duration::from_secs(1_000);
        assert_eq!(spread_age(age, 0), Duration::from_secs(900));
        assert_eq!(spread_age(age, 1_000), age);
        assert_eq!(spread_age(age, 2_000), Duration::from_secs(1_100));
        assert_eq!(spread_age(age, 2_001), Duration::from_secs(900));
    }
}
