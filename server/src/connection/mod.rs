//! An open connection as HTTP/2 sees it: one that must begin to speak in time, does not flood the server with frames that
//! bring nothing, and can be cut from outside.
//!
//! Not here: taking connections (`accept`), what is served on one and when it is cut (`crate::worker`).

mod accept;
mod frames;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use accept::AddressPermit;
pub(crate) use accept::accept;
use frames::{Frames, PREFACE_BYTES};

use crate::access::tls::{ProvedNames, Tls, Transport};
use crate::layers::Unread;
use crate::metrics::Metrics;

/// How long a new connection may take to say that it speaks HTTP/2, its TLS handshake included. Afterwards HTTP/2's own
/// keepalive looks after it.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(5);

/// Who is at the other end, and how its connection fares; an extension of every request.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    /// What its certificate proved, once it has; nothing on a plain connection.
    pub(crate) proved: Option<ProvedNames>,
    /// Answers that wait for the peer to take them.
    pub(crate) unread: Arc<Unread>,
    /// Tells streams to end, because the connection does.
    pub(crate) ends: CancellationToken,
}

/// A connection on its way to a worker, which has a runtime of its own.
#[derive(Debug)]
pub(crate) struct Accepted {
    stream: std::net::TcpStream,
    from: SocketAddr,
    metrics: Arc<Metrics>,
    _permits: (OwnedSemaphorePermit, AddressPermit),
}

impl Accepted {
    /// Takes the connection over into the runtime of the caller. Should `stop` come before the connection has begun
    /// to speak HTTP/2, it ends at once.
    pub(crate) fn into_connection(
        self,
        tls: Option<&Tls>,
        stop: CancellationToken,
    ) -> io::Result<Connection> {
        self.with_timeout(PREFACE_TIMEOUT, tls, stop)
    }

    fn with_timeout(
        self,
        preface: Duration,
        tls: Option<&Tls>,
        stop: CancellationToken,
    ) -> io::Result<Connection> {
        let stream = TcpStream::from_std(self.stream)?;
        let (stream, proved) = match tls {
            Some(tls) => {
                let (stream, proved) = tls.accept(stream, Arc::clone(&self.metrics));
                (stream, Some(proved))
            }
            None => (Transport::Plain(stream), None),
        };
        self.metrics.connections.increment(1);
        let given_up = Box::pin(async move {
            tokio::select! {
                // sleep: the only sign of a peer that never speaks is that time passes.
                () = tokio::time::sleep(preface) => true,
                () = stop.cancelled() => false,
            }
        });
        let opening = Some(Opening { missing_bytes: PREFACE_BYTES, given_up });
        let (unread, ends) = (Arc::default(), CancellationToken::new());
        let peer = Peer { address: self.from.ip(), proved, unread, ends };
        let handle = Handle { peer, cut: CancellationToken::new(), closed: CancellationToken::new() };
        let cut = Box::pin(handle.cut.clone().cancelled_owned());
        let metrics = self.metrics;
        Ok(Connection {
            stream,
            opening,
            frames: Frames::new(),
            handle,
            cut,
            metrics,
            _permits: self._permits,
        })
    }
}

/// What looks after a connection while something else reads and writes it.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    pub(crate) peer: Peer,
    /// Cancel to make the connection fail.
    pub(crate) cut: CancellationToken,
    /// Cancelled once it is gone.
    pub(crate) closed: CancellationToken,
}

/// An open connection; counted while it is.
pub(crate) struct Connection {
    stream: Transport,
    /// Until the preface has come.
    opening: Option<Opening>,
    frames: Frames,
    handle: Handle,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    metrics: Arc<Metrics>,
    _permits: (OwnedSemaphorePermit, AddressPermit),
}

/// A connection that has not said yet that it speaks HTTP/2.
struct Opening {
    missing_bytes: usize,
    /// Whether for its silence.
    given_up: Pin<Box<dyn Future<Output = bool> + Send>>,
}

impl Connection {
    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    pub(crate) fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// What came is taken note of.
    fn came(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(opening) = &mut self.opening {
            opening.missing_bytes = opening.missing_bytes.saturating_sub(bytes.len());
            if opening.missing_bytes == 0 {
                self.opening = None;
            }
        }
        self.frames.advance(bytes, Instant::now).map_err(|frames::Flood| {
            self.metrics.count_refused_connection("flood");
            tracing::debug!(peer = %self.handle.peer.address, "a flood of frames; the connection is cut");
            io::Error::new(io::ErrorKind::InvalidData, "a flood of frames")
        })
    }

    /// Whether to go on waiting for the peer.
    fn waits(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if let Some(opening) = &mut self.opening
            && let Poll::Ready(silent) = opening.given_up.as_mut().poll(context)
        {
            if silent {
                self.metrics.count_refused_connection("silence");
            }
            return Err(io::ErrorKind::TimedOut.into());
        }
        if self.cut.as_mut().poll(context).is_ready() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    /// The outcome of a read or a write, unless it would have to wait on a connection that is to be cut.
    fn or_cut<T>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match outcome {
            Poll::Pending => match self.waits(context) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            },
            ready => ready,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.metrics.connections.decrement(1);
        self.handle.closed.cancel();
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.handle.peer.clone()
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
        let came = buffer.filled().get(before..).unwrap_or_default();
        if !came.is_empty()
            && let Err(error) = self.came(came)
        {
            return Poll::Ready(Err(error));
        }
        self.or_cut(context, read)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.or_cut(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.or_cut(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.or_cut(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn whoever_does_not_begin_to_speak_http2_is_dropped_and_whoever_does_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        let (worker, mut accepted) = mpsc::channel(2);
        let stop = CancellationToken::new();
        let mut settings = crate::Config::default().server;
        settings.max_connections = 2;
        let (counted, told) = (Arc::clone(&metrics), stop.clone());
        tokio::spawn(async move { accept(listener, &settings, counted, vec![worker], told).await });
        let never = CancellationToken::new();

        let mut stuck = TcpStream::connect(address).await.unwrap();
        stuck.write_all(&[b'P'; PREFACE_BYTES - 1]).await.unwrap();
        let accepted_first = accepted.recv().await.unwrap();
        let mut served = accepted_first.with_timeout(Duration::from_millis(5), None, never.clone()).unwrap();
        let mut said = Vec::new();
        assert_eq!(served.read_to_end(&mut said).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(said.len(), PREFACE_BYTES - 1);
        drop((stuck, served));

        let mut talking = TcpStream::connect(address).await.unwrap();
        let stopped = CancellationToken::new();
        let mut served = accepted.recv().await.unwrap().into_connection(None, stopped.clone()).unwrap();
        talking.write_all(&[b'P'; PREFACE_BYTES]).await.unwrap();
        served.read_exact(&mut [0; PREFACE_BYTES]).await.unwrap();
        assert!(served.opening.is_none());
        assert!(metrics.render().contains("augur_connections 1"));
        stopped.cancel();
        talking.write_all(b"a").await.unwrap();
        assert_eq!(served.read_u8().await.unwrap(), b'a');
        drop((talking, served));

        let _silent = TcpStream::connect(address).await.unwrap();
        let mut served = accepted.recv().await.unwrap().into_connection(None, stopped).unwrap();
        assert_eq!(served.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        stop.cancel();
    }
}
