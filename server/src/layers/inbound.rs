//! The messages of a stream as they come in: they may not take for ever to come.
//!
//! Time counts only while the server waits for the caller: whoever is held up because the server has no room is not cut
//! for it. Not here: calls with one request, whose deadline covers its coming (`deadline`), or the way out (`outbound`).

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;

use crate::Error;

/// Bytes before each message: a flag and the length.
const PREFIX_BYTES: usize = 5;

/// How long the server waits for a stream's caller.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For the next message to begin.
    pub(super) idle: Duration,
    /// For a message that has begun to be whole.
    pub(super) message: Duration,
}

/// A request's body that is waited for with patience.
pub(super) struct Inbound {
    body: Body,
    patience: Patience,
    framing: Framing,
    /// Since when nothing has come, while the server waits.
    waiting_since: Option<Instant>,
    /// Waited for the message that has begun.
    waited: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Inbound {
    pub(super) fn new(body: Body, patience: Patience) -> Self {
        let (waiting_since, waited, timer) = (None, Duration::ZERO, None);
        Self { body, patience, framing: Framing::default(), waiting_since, waited, timer }
    }

    fn came(&mut self, bytes: &Bytes) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
        if self.framing.advance(bytes) {
            self.waited = Duration::ZERO;
        }
    }

    fn out_of_patience(&mut self, context: &mut Context<'_>) -> Poll<Error> {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let (patience, waited) = match self.framing.is_within_message() {
            true => (self.patience.message, self.waited),
            false => (self.patience.idle, Duration::ZERO),
        };
        let until = since + patience.saturating_sub(waited);
        // sleep: patience is nothing but time that passes.
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(context).map(|()| Error::StreamIdle { waited: patience })
    }
}

impl http_body::Body for Inbound {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(come) => {
                if let Some(Ok(frame)) = &come
                    && let Some(bytes) = frame.data_ref()
                {
                    this.came(bytes);
                }
                Poll::Ready(come)
            }
            Poll::Pending => this.out_of_patience(context).map(|error| Some(Err(error.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Where in the sequence of prefixed messages a body stands.
#[derive(Debug, Default)]
struct Framing {
    prefix: [u8; PREFIX_BYTES],
    prefix_bytes: usize,
    /// Bytes of the message that are still to come.
    missing: u64,
}

impl Framing {
    fn is_within_message(&self) -> bool {
        self.prefix_bytes > 0 || self.missing > 0
    }

    /// Takes note of more bytes; whether a message ended among them.
    fn advance(&mut self, bytes: &Bytes) -> bool {
        let mut bytes = &**bytes;
        let mut ended = false;
        while !bytes.is_empty() {
            if self.missing > 0 {
                let part = usize::try_from(self.missing).unwrap_or(usize::MAX).min(bytes.len());
                bytes.advance(part);
                self.missing -= part as u64;
                ended |= self.missing == 0;
                continue;
            }
            if let (Some(place), Some(first)) = (self.prefix.get_mut(self.prefix_bytes), bytes.first()) {
                *place = *first;
            }
            bytes.advance(1);
            self.prefix_bytes += 1;
            if self.prefix_bytes == PREFIX_BYTES {
                let [_, length @ ..] = self.prefix;
                self.missing = u64::from(u32::from_be_bytes(length));
                self.prefix_bytes = 0;
                ended |= self.missing == 0;
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Body as _;
    use tokio::sync::mpsc;

    /// A body that is fed by hand.
    struct Fed(mpsc::UnboundedReceiver<Bytes>);

    impl http_body::Body for Fed {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
        }
    }

    fn inbound(idle_ms: u64, message_ms: u64) -> (mpsc::UnboundedSender<Bytes>, Inbound) {
        let (feed, fed) = mpsc::unbounded_channel();
        let patience =
            Patience { idle: Duration::from_millis(idle_ms), message: Duration::from_millis(message_ms) };
        (feed, Inbound::new(Body::new(Fed(fed)), patience))
    }

    async fn next(inbound: &mut Inbound) -> Result<usize, tonic::Code> {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *inbound).poll_frame(context)).await;
        frame.unwrap().map(|frame| frame.into_data().unwrap().len()).map_err(|status| status.code())
    }

    const MESSAGE: &[u8] = &[0, 0, 0, 0, 3, 1, 2, 3];
    const HOUR_MS: u64 = 3_600_000;

    #[tokio::test]
    async fn a_stream_that_falls_silent_ends() {
        let (feed, mut inbound) = inbound(20, HOUR_MS);
        for _ in 0..10 {
            feed.send(Bytes::from_static(MESSAGE)).unwrap();
            assert_eq!(next(&mut inbound).await, Ok(8));
        }
        assert_eq!(next(&mut inbound).await, Err(tonic::Code::DeadlineExceeded));
    }

    #[tokio::test]
    async fn a_message_that_trickles_in_is_not_waited_for() {
        let (feed, mut inbound) = inbound(HOUR_MS, 100);
        feed.send(Bytes::from_static(MESSAGE)).unwrap();
        assert_eq!(next(&mut inbound).await, Ok(8));
        let started = Instant::now();
        tokio::spawn(async move {
            for byte in [0, 0, 0, 255, 0].into_iter().chain(std::iter::repeat(7)) {
                // sleep: a slow caller is what is tested.
                tokio::time::sleep(Duration::from_millis(5)).await;
                if feed.send(Bytes::from(vec![byte])).is_err() {
                    return;
                }
            }
        });
        // Each byte comes well within the time for the whole.
        while next(&mut inbound).await == Ok(1) {}
        assert!(inbound.framing.is_within_message());
        assert!(started.elapsed() >= Duration::from_millis(100));
    }

    #[tokio::test]
    async fn whoever_is_held_up_by_the_server_is_not_cut() {
        let (feed, mut inbound) = inbound(500, 500);
        feed.send(Bytes::from_static(&MESSAGE[..6])).unwrap();
        assert_eq!(next(&mut inbound).await, Ok(6));
        // sleep: the server has no room for longer than it would wait.
        tokio::time::sleep(Duration::from_millis(600)).await;
        tokio::spawn(async move { feed.send(Bytes::from_static(&MESSAGE[6..])).unwrap() });
        assert_eq!(next(&mut inbound).await, Ok(2));
        assert!(!inbound.framing.is_within_message());
    }

    #[test]
    fn messages_are_told_apart_however_they_are_cut() {
        let bytes: Vec<u8> = [MESSAGE, &[1, 0, 0, 0, 0], MESSAGE].concat();
        for size in 1..=bytes.len() {
            let mut framing = Framing::default();
            let ended =
                bytes.chunks(size).filter(|chunk| framing.advance(&Bytes::copy_from_slice(chunk))).count();
            assert!((1..=3).contains(&ended), "{size}: {ended}");
            assert!(!framing.is_within_message());
        }
    }
}
