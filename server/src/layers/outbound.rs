//! Answers on their way out: whether their reader takes them, how long a stream goes on, and how it ended.
//!
//! Not here: the call up to its answer's beginning (the parent), or what cuts a connection (`crate::worker`).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

use super::admission::Place;
use super::panic::guarded;
use crate::Error;
use crate::refusal::{CAUSE_HEADER, Cause};

/// What a connection's answers wait for.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    /// Answers, and parts of them, that wait for their reader to have room.
    waiting: AtomicU64,
    /// Counts up whenever one of them got on.
    moved: AtomicU64,
}

impl Unread {
    /// How often something moved, if anything waits for its reader now.
    pub(crate) fn stands_at(&self) -> Option<u64> {
        (self.waiting.load(Ordering::Relaxed) > 0).then(|| self.moved.load(Ordering::Relaxed))
    }

    fn begin(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self) {
        self.moved.fetch_add(1, Ordering::Relaxed);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What holds for a stream until it ends.
pub(super) struct Stream {
    /// The place that it takes up.
    pub(super) _place: Place,
    /// Becomes ready, once, with why the stream must end.
    pub(super) over: Pin<Box<dyn Future<Output = Error> + Send>>,
    /// Told why the stream did not end well.
    pub(super) refused: Arc<dyn Fn(Cause) + Send + Sync>,
}

/// An answer's body.
pub(super) struct Outbound {
    /// `None` once it has ended.
    body: Option<Body>,
    unread: Option<Arc<Unread>>,
    /// Whether it waits for its reader; otherwise it waits for the server.
    is_waiting: bool,
    stream: Option<Stream>,
}

impl Outbound {
    pub(super) fn new(body: Body, unread: Option<Arc<Unread>>, stream: Option<Stream>) -> Self {
        let mut outbound = Self { body: Some(body), unread, is_waiting: false, stream };
        outbound.wait_for_reader(true);
        outbound
    }

    fn wait_for_reader(&mut self, is_waiting: bool) {
        let Some(unread) = &self.unread else { return };
        if std::mem::replace(&mut self.is_waiting, is_waiting) {
            unread.end();
        }
        if is_waiting {
            unread.begin();
        }
    }

    /// The last frame of a stream that cannot go on.
    fn refuse(&mut self, error: Error) -> Frame<Bytes> {
        self.body = None;
        let mut trailers = HeaderMap::new();
        let status = Status::from(error);
        if status.add_header(&mut trailers).is_err() {
            trailers.clear();
        }
        self.tell(&trailers);
        Frame::trailers(trailers)
    }

    fn tell(&self, trailers: &HeaderMap) {
        let cause = trailers.get(CAUSE_HEADER).and_then(|word| Cause::from_word(word.as_bytes()));
        if let (Some(stream), Some(cause)) = (&self.stream, cause) {
            (stream.refused)(cause);
        }
    }
}

impl http_body::Body for Outbound {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let over = this.stream.as_mut().map(|stream| stream.over.as_mut().poll(context));
        let next = match over {
            Some(Poll::Ready(why)) => Some(Ok(this.refuse(why))),
            _ => match guarded(|| Pin::new(body).poll_frame(context)) {
                Poll::Ready(Some(next)) => next,
                Poll::Ready(None) => Some(Ok(this.refuse(Error::Internal))),
                Poll::Pending => {
                    this.wait_for_reader(false);
                    return Poll::Pending;
                }
            },
        };
        if let Some(Ok(frame)) = &next
            && let Some(trailers) = frame.trailers_ref()
            && this.body.is_some()
        {
            this.tell(trailers);
        }
        this.wait_for_reader(true);
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, http_body::Body::size_hint)
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        self.wait_for_reader(false);
    }
}
