//! Accepting connections: bounded, without Nagle's delay, backing off when the system has no room, and dealt out to the
//! workers in turn.
//!
//! Not here: HTTP/2 or what is served on a connection (`worker`).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::metrics::Metrics;

/// First and longest pause after a failure to accept.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));

/// How long a new connection may say nothing. Afterwards HTTP/2's own keepalive looks after it.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(5);

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
        self.with_timeout(FIRST_BYTE_TIMEOUT)
    }

    fn with_timeout(self, first_byte: Duration) -> io::Result<Connection> {
        let stream = TcpStream::from_std(self.stream)?;
        self.metrics.connections.increment(1);
        // sleep: the only sign of a peer that never speaks is that time passes.
        let silent = Some(Box::pin(sleep(first_byte)));
        Ok(Connection { stream, silent, metrics: self.metrics, _permit: self.permit })
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
                // sleep: nothing tells when the system has room again.
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(longest);
            }
        }
    }
}

/// An open connection; counted while it is.
pub(crate) struct Connection {
    stream: TcpStream,
    /// Runs until the first byte has come.
    silent: Option<Pin<Box<Sleep>>>,
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
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Some(silent) = &mut self.silent {
            if buffer.filled().len() > before {
                self.silent = None;
            } else if read.is_pending() && silent.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn whoever_says_nothing_is_dropped_and_whoever_has_spoken_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        let (worker, mut accepted) = mpsc::channel(2);
        let stop = CancellationToken::new();
        tokio::spawn(accept(listener, 2, Arc::clone(&metrics), vec![worker], stop.clone()));

        let silent = TcpStream::connect(address).await.unwrap();
        let accepted_first = accepted.recv().await.unwrap();
        let mut served = accepted_first.with_timeout(Duration::from_millis(5)).unwrap();
        assert_eq!(served.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop((silent, served));

        let mut talking = TcpStream::connect(address).await.unwrap();
        let mut served = accepted.recv().await.unwrap().into_connection().unwrap();
        talking.write_all(b"a").await.unwrap();
        assert_eq!(served.read_u8().await.unwrap(), b'a');
        assert!(served.silent.is_none());
        assert!(metrics.render().contains("augur_connections 1"));
        stop.cancel();
    }
}
