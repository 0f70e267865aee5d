//! Accepting connections: bounded, without Nagle's delay, backing off when the system has no room, and dealt out to the
//! workers in turn.
//!
//! Not here: HTTP/2 or what is served on a connection (`worker`).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::metrics::Metrics;

/// First and longest pause after a failure to accept.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));

/// A connection on its way to a worker, which has a runtime of its own.
#[derive(Debug)]
pub(crate) struct Accepted {
    stream: std::net::TcpStream,
    metrics: Arc<Metrics>,
    permit: OwnedSemaphorePermit,
}

impl Accepted {
    /// Takes the connection over into the runtime of the caller.
    pub(crate) fn into_connection(self) -> io::Result<Connection> {
        let stream = TcpStream::from_std(self.stream)?;
        self.metrics.connections.increment(1);
        Ok(Connection { stream, metrics: self.metrics, _permit: self.permit })
    }
}

/// Accepts until told to stop.
pub(crate) async fn accept(
    listener: TcpListener,
    max_connections: usize,
    metrics: Arc<Metrics>,
    workers: Vec<mpsc::Sender<Accepted>>,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
    tokio::select! {
        () = stop.cancelled() => {}
        () = accept_all(listener, permits, metrics, workers) => {}
    }
}

async fn accept_all(
    listener: TcpListener,
    permits: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    workers: Vec<mpsc::Sender<Accepted>>,
) {
    let (first, longest) = BACK_OFF;
    let mut pause = first;
    let mut turns = workers.iter().cycle();
    loop {
        // At the bound, callers wait in the system's queue.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let accepted = listener.accept().await.and_then(|(stream, _)| {
            stream.set_nodelay(true)?;
            stream.into_std()
        });
        match accepted {
            Ok(stream) => {
                pause = first;
                let Some(worker) = turns.next() else { return };
                let accepted = Accepted { stream, metrics: Arc::clone(&metrics), permit };
                if worker.send(accepted).await.is_err() {
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

/// An open connection; counted while it is.
pub(crate) struct Connection {
    stream: TcpStream,
    metrics: Arc<Metrics>,
    _permit: OwnedSemaphorePermit,
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
