//! Accepting connections: bounded, without Nagle's delay, backing off when the system has no room, and cut at the end.
//!
//! Not here: HTTP/2 or what is served on a connection (`serve`).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::metrics::Metrics;

/// First and longest pause after a failure to accept.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));
/// Connections accepted and not yet taken over.
const HANDED_OVER: usize = 16;

/// Tells when to stop accepting and when to cut what is open.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    /// No new connections.
    pub(crate) accepting: CancellationToken,
    /// No connections at all.
    pub(crate) cut: CancellationToken,
}

/// Accepts until told to stop.
pub(crate) fn accept(
    listener: TcpListener,
    max_connections: usize,
    metrics: Arc<Metrics>,
    stop: Stop,
) -> ReceiverStream<io::Result<Connection>> {
    let (accepted, stream) = mpsc::channel(HANDED_OVER);
    let permits = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
    let accepting = stop.accepting.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = accepting.cancelled() => {}
            () = accept_all(listener, permits, metrics, stop.cut, accepted) => {}
        }
    });
    ReceiverStream::new(stream)
}

async fn accept_all(
    listener: TcpListener,
    permits: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    cut: CancellationToken,
    accepted: mpsc::Sender<io::Result<Connection>>,
) {
    let (first, longest) = BACK_OFF;
    let mut pause = first;
    loop {
        // At the bound, callers wait in the system's queue.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                pause = first;
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "a connection went away at once");
                    continue;
                }
                let connection = Connection::new(stream, cut.clone(), Arc::clone(&metrics), permit);
                if accepted.send(Ok(connection)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                metrics.accept_failures.increment(1);
                tracing::warn!(%error, pause_ms = pause.as_millis(), "cannot accept a connection");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(longest);
            }
        }
    }
}

/// An open connection; it ends when it is cut.
pub(crate) struct Connection {
    stream: TcpStream,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    metrics: Arc<Metrics>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn new(
        stream: TcpStream,
        cut: CancellationToken,
        metrics: Arc<Metrics>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        metrics.connections.increment(1);
        Self { stream, cut: Box::pin(cut.cancelled_owned()), metrics, _permit: permit }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.metrics.connections.decrement(1);
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
