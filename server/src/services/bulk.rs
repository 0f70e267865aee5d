//! Many decisions in one call: `BatchDecide` and `DecideStream`. Each is made as `Decide` makes it, and has an answer or a
//! failure of its own.
//!
//! Not here: one decision (`decide`), or decisions for everybody without a network (`offline`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use augur_proto::v1;
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::answers;
use crate::decide::DecideCall;
use crate::layers::Arrival;
use crate::{App, Error};

/// Most requests of one batch.
const MAX_BATCH: usize = 1_000;
/// Decisions of batches and streams under way at once, over all calls: enough to share the log's writes, few enough to
/// leave single calls their turn.
const MAX_UNDER_WAY: usize = 256;
/// Decisions of one batch under way at once.
const UNDER_WAY_PER_BATCH: usize = 64;
/// Requests of one stream that may be under way or unread; beyond it the stream is not read.
const MAX_UNANSWERED: usize = 64;
/// Streams at once.
const MAX_STREAMS: usize = 64;

/// What calls of many decisions share.
#[derive(Debug)]
pub(super) struct Bulk {
    app: Arc<App>,
    stopping: CancellationToken,
    under_way: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

/// The answer of a stream.
pub(super) type Answers = ReceiverStream<Result<v1::DecideStreamResponse, Status>>;

impl Bulk {
    pub(super) fn new(app: Arc<App>, stopping: CancellationToken) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self { app, stopping, under_way: semaphore(MAX_UNDER_WAY), streams: semaphore(MAX_STREAMS) }
    }

    /// Decides for each request; answers in their order.
    pub(super) async fn batch(
        &self,
        requests: Vec<v1::DecideRequest>,
        arrival: Arrival,
    ) -> Result<Vec<v1::DecideResult>, Error> {
        if requests.is_empty() || requests.len() > MAX_BATCH {
            let problem = format!("{} requests", requests.len());
            return Err(Error::field("requests", problem, format!("1 to {MAX_BATCH}")));
        }
        let until = arrival.allowed.map(|allowed| arrival.at + allowed);
        let mut results = Vec::with_capacity(requests.len());
        let mut under_way = VecDeque::new();
        for request in requests {
            under_way.push_back(self.begin(request, until).await?);
            if under_way.len() >= UNDER_WAY_PER_BATCH
                && let Some(oldest) = under_way.pop_front()
            {
                results.push(ended(oldest).await);
            }
        }
        for oldest in under_way {
            results.push(ended(oldest).await);
        }
        Ok(results)
    }

    /// Decides for each request of a stream as it comes; answers in their order.
    pub(super) fn stream(&self, requests: Streaming<v1::DecideStreamRequest>) -> Result<Answers, Error> {
        let permit = Arc::clone(&self.streams).try_acquire_owned().map_err(|_| Error::Overloaded {
            what: "the number of streams that ask for decisions",
            limit: MAX_STREAMS,
        })?;
        let (begun, unanswered) = mpsc::channel(MAX_UNANSWERED);
        let (answers, stream) = mpsc::channel(1);
        let reader = Reader {
            app: Arc::clone(&self.app),
            under_way: Arc::clone(&self.under_way),
            stopping: self.stopping.clone(),
            begun,
        };
        tokio::spawn(async move {
            // The stream takes up its place until both ends are done with it.
            let _permit = permit;
            tokio::join!(reader.run(requests), answer_in_order(unanswered, answers));
        });
        Ok(ReceiverStream::new(stream))
    }

    async fn begin(
        &self,
        request: v1::DecideRequest,
        until: Option<Duration>,
    ) -> Result<JoinHandle<v1::DecideResult>, Error> {
        let permit = permit(&self.under_way).await?;
        Ok(tokio::spawn(decide_one(Arc::clone(&self.app), request, until, permit)))
    }
}

async fn permit(under_way: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Error> {
    Arc::clone(under_way).acquire_owned().await.map_err(|_| Error::ShuttingDown)
}

/// One decision, whose own deadline begins when its turn comes; `until` is the end of the whole call.
async fn decide_one(
    app: Arc<App>,
    request: v1::DecideRequest,
    until: Option<Duration>,
    _permit: OwnedSemaphorePermit,
) -> v1::DecideResult {
    let arrived = app.clock().monotonic();
    let allowed = until.map(|until| until.saturating_sub(arrived));
    let limit_bytes = app.config().server.max_request_bytes;
    let bytes = request.encode_to_vec();
    let made = if bytes.len() > limit_bytes {
        let expected = format!("at most {limit_bytes} bytes, as `server.max_request_bytes` says");
        Err(Error::field("request", format!("{} bytes", bytes.len()), expected))
    } else {
        answers::answer(&app, DecideCall { bytes, request, arrived, allowed }).await
    };
    result(made)
}

async fn ended(decision: JoinHandle<v1::DecideResult>) -> v1::DecideResult {
    decision.await.unwrap_or_else(|_| result(Err(Error::Internal)))
}

fn result(made: Result<v1::DecideResponse, Error>) -> v1::DecideResult {
    use v1::decide_result::Answer;
    let answer = match made {
        Ok(decision) => Answer::Decision(decision),
        Err(error) => {
            let field =
                if let Error::InvalidField(fault) = &error { fault.field.clone() } else { String::new() };
            let status = Status::from(error);
            let message = status.message().to_owned();
            Answer::Failure(v1::DecideFailure { code: status.code() as i32, field, message })
        }
    };
    v1::DecideResult { answer: Some(answer) }
}

/// Takes requests in order, as fast as there is room.
struct Reader {
    app: Arc<App>,
    under_way: Arc<Semaphore>,
    stopping: CancellationToken,
    begun: mpsc::Sender<Result<JoinHandle<v1::DecideResult>, Status>>,
}

impl Reader {
    async fn run(self, mut requests: Streaming<v1::DecideStreamRequest>) {
        loop {
            // Room for the answer comes first: nothing is decided that nobody may ever read.
            let Ok(room) = self.begun.reserve().await else { return };
            let next = tokio::select! {
                biased;
                () = self.stopping.cancelled() => Err(Error::ShuttingDown.into()),
                next = requests.message() => next,
            };
            let request = match next {
                Ok(Some(request)) => request.request.unwrap_or_default(),
                Ok(None) => return,
                Err(status) => return room.send(Err(status)),
            };
            match permit(&self.under_way).await {
                Ok(permit) => {
                    room.send(Ok(tokio::spawn(decide_one(Arc::clone(&self.app), request, None, permit))));
                }
                Err(error) => return room.send(Err(error.into())),
            }
        }
    }
}

async fn answer_in_order(
    mut unanswered: mpsc::Receiver<Result<JoinHandle<v1::DecideResult>, Status>>,
    answers: mpsc::Sender<Result<v1::DecideStreamResponse, Status>>,
) {
    while let Some(next) = unanswered.recv().await {
        let answer = match next {
            Ok(decision) => Ok(v1::DecideStreamResponse { result: Some(ended(decision).await) }),
            Err(status) => Err(status),
        };
        let failed = answer.is_err();
        if answers.send(answer).await.is_err() || failed {
            return;
        }
    }
}
