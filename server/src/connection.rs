//! Accepting connections: bounded, without Nagle's delay, backing off when the system has no room, and dealt out to the
//! workers in turn, past those that have no room.
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
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::metrics::Metrics;

/// First and longest pause after a failure to accept.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));

/// How long a new connection may take to say that it speaks HTTP/2. Afterwards HTTP/2's own keepalive looks after it.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes with which every HTTP/2 connection begins; whether they are the right ones is for HTTP/2 to say.
const PREFACE_BYTES: usize = 24;

/// A connection on its way to a worker, which has a runtime of its own.
#[derive(Debug)]
pub(crate) struct Accepted {
    stream: std::net::TcpStream,
    metrics: Arc<Metrics>,
    permit: OwnedSemaphorePermit,
}

impl Accepted {
    /// Takes the connection over into the runtime of the caller. Should `stop` come before the connection has begun
    /// to speak HTTP/2, it ends at once.
    pub(crate) fn into_connection(self, stop: CancellationToken) -> io::Result<Connection> {
        self.with_timeout(PREFACE_TIMEOUT, stop)
    }

    fn with_timeout(self, preface: Duration, stop: CancellationToken) -> io::Result<Connection> {
        let stream = TcpStream::from_std(self.stream)?;
        self.metrics.connections.increment(1);
        let given_up = Box::pin(async move {
            tokio::select! {
                // sleep: the only sign of a peer that never speaks is that time passes.
                () = tokio::time::sleep(preface) => {}
                () = stop.cancelled() => {}
            }
        });
        let opening = Some(Opening { missing_bytes: PREFACE_BYTES, given_up });
        Ok(Connection { stream, opening, metrics: self.metrics, _permit: self.permit })
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
    let mut turn = 0_usize;
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
                let accepted = Accepted { stream, metrics: Arc::clone(&metrics), permit };
                turn = turn.wrapping_add(1);
                if !hand_over(accepted, &workers, turn).await {
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

/// Gives a connection to the worker whose turn it is or, when that one has no room, to the next that has; when none
/// has, waits for the first. False once that worker is gone.
async fn hand_over(mut accepted: Accepted, workers: &[mpsc::Sender<Accepted>], turn: usize) -> bool {
    let first = turn.checked_rem(workers.len()).unwrap_or(0);
    let (before, from) = workers.split_at(first);
    for worker in from.iter().chain(before) {
        match worker.try_send(accepted) {
            Ok(()) => return true,
            Err(TrySendError::Full(back) | TrySendError::Closed(back)) => accepted = back,
        }
    }
    match from.first() {
        Some(worker) => worker.send(accepted).await.is_ok(),
        None => false,
    }
}

/// An open connection; counted while it is.
pub(crate) struct Connection {
    stream: TcpStream,
    /// Until the preface has come.
    opening: Option<Opening>,
    metrics: Arc<Metrics>,
    _permit: OwnedSemaphorePermit,
}

/// A connection that has not said yet that it speaks HTTP/2.
struct Opening {
    missing_bytes: usize,
    given_up: Pin<Box<dyn Future<Output = ()> + Send>>,
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
        if let Some(opening) = &mut self.opening {
            let came = buffer.filled().len().saturating_sub(before);
            opening.missing_bytes = opening.missing_bytes.saturating_sub(came);
            if opening.missing_bytes == 0 {
                self.opening = None;
            } else if read.is_pending() && opening.given_up.as_mut().poll(context).is_ready() {
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
    async fn whoever_does_not_begin_to_speak_http2_is_dropped_and_whoever_does_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        let (worker, mut accepted) = mpsc::channel(2);
        let stop = CancellationToken::new();
        tokio::spawn(accept(listener, 2, Arc::clone(&metrics), vec![worker], stop.clone()));
        let never = CancellationToken::new();

        let mut stuck = TcpStream::connect(address).await.unwrap();
        stuck.write_all(&[b'P'; PREFACE_BYTES - 1]).await.unwrap();
        let accepted_first = accepted.recv().await.unwrap();
        let mut served = accepted_first.with_timeout(Duration::from_millis(5), never.clone()).unwrap();
        let mut said = Vec::new();
        assert_eq!(served.read_to_end(&mut said).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(said.len(), PREFACE_BYTES - 1);
        drop((stuck, served));

        let mut talking = TcpStream::connect(address).await.unwrap();
        let stopped = CancellationToken::new();
        let mut served = accepted.recv().await.unwrap().into_connection(stopped.clone()).unwrap();
        talking.write_all(&[b'P'; PREFACE_BYTES]).await.unwrap();
        served.read_exact(&mut [0; PREFACE_BYTES]).await.unwrap();
        assert!(served.opening.is_none());
        assert!(metrics.render().contains("augur_connections 1"));
        stopped.cancel();
        talking.write_all(b"a").await.unwrap();
        assert_eq!(served.read_u8().await.unwrap(), b'a');
        drop((talking, served));

        let _silent = TcpStream::connect(address).await.unwrap();
        let mut served = accepted.recv().await.unwrap().into_connection(stopped).unwrap();
        assert_eq!(served.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        stop.cancel();
    }

    #[tokio::test]
    async fn a_worker_without_room_does_not_hold_up_the_others() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        let (full, _stuck) = mpsc::channel(1);
        let (free, mut accepted) = mpsc::channel(8);
        tokio::spawn(accept(listener, 100, metrics, vec![full, free], CancellationToken::new()));
        let mut open = Vec::new();
        for _ in 0..6 {
            open.push(TcpStream::connect(address).await.unwrap());
        }
        // One waits for the worker that never takes it.
        for _ in 0..5 {
            accepted.recv().await.unwrap();
        }
    }
}
