//! `LogService`: the decision log as it grows.

use std::sync::Arc;
use std::time::Duration;

use augur_decision_log::Reader;
use augur_domain::DecisionRecord;
use augur_proto::convert::decisions::record_to_wire;
use augur_proto::v1;
use augur_proto::v1::log_service_server::LogService;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::{App, Error};

/// Streams at once.
const MAX_TAILS: usize = 32;
/// Records read in one go, and records waiting for a slow caller.
const BATCH_RECORDS: usize = 64;
/// Pause before the end of the log is looked at again.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Logs {
    app: Arc<App>,
    stopping: CancellationToken,
    tails: Arc<Semaphore>,
}

impl Logs {
    pub(super) fn new(app: Arc<App>, stopping: CancellationToken) -> Self {
        Self { app, stopping, tails: Arc::new(Semaphore::new(MAX_TAILS)) }
    }
}

type Answer = Result<v1::TailDecisionsResponse, Status>;

/// One stream: what is left of it and where it goes.
struct Tail {
    app: Arc<App>,
    /// How many records are still wanted.
    left: u64,
    follow: bool,
    answers: mpsc::Sender<Answer>,
    _permit: OwnedSemaphorePermit,
}

#[tonic::async_trait]
impl LogService for Logs {
    type TailDecisionsStream = ReceiverStream<Answer>;

    async fn tail_decisions(
        &self,
        request: Request<v1::TailDecisionsRequest>,
    ) -> Result<Response<Self::TailDecisionsStream>, Status> {
        let request = request.into_inner();
        let permit = Arc::clone(&self.tails).try_acquire_owned().map_err(|_| Error::Overloaded {
            what: "the number of streams that read the log",
            limit: MAX_TAILS,
        })?;
        let next = self.app.next_sequence();
        let from = if request.from_sequence == 0 { next } else { request.from_sequence };
        if from > next {
            let problem = format!("{from}, but the next decision will be {next}");
            return Err(Error::field("from_sequence", problem, format!("at most {next}")).into());
        }
        let (answers, stream) = mpsc::channel(BATCH_RECORDS);
        let left = if request.limit == 0 { u64::MAX } else { request.limit };
        let tail =
            Tail { app: Arc::clone(&self.app), left, follow: request.follow, answers, _permit: permit };
        let stopping = self.stopping.clone();
        let last_word = tail.answers.clone();
        tokio::spawn(async move {
            tokio::select! {
                // Not a plain end: the caller would take it for the end of the log.
                () = stopping.cancelled() => { let _ = last_word.send(Err(Error::ShuttingDown.into())).await; }
                () = tail.run(from) => {}
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

impl Tail {
    async fn run(mut self, from: u64) {
        if let Err(error) = self.send_all(from).await {
            // Whoever went away needs no reason.
            let _ = self.answers.send(Err(error.into())).await;
        }
    }

    async fn send_all(&mut self, from: u64) -> Result<(), Error> {
        let mut reader = Some(Reader::open_from(&self.app.decisions_dir(), from)?);
        while self.left > 0 && !self.answers.is_closed() {
            let Some(open) = reader.take() else { return Ok(()) };
            let wanted = BATCH_RECORDS.min(usize::try_from(self.left).unwrap_or(BATCH_RECORDS));
            let read = tokio::task::spawn_blocking(move || read_batch(open, wanted)).await;
            let (open, records) = read.map_err(|_| Error::Internal)??;
            reader = Some(open);
            if records.is_empty() {
                if !self.follow {
                    return Ok(());
                }
                // sleep: the log does not tell readers of new records; this is the poll.
                tokio::time::sleep(POLL_INTERVAL).await;
                continue;
            }
            for record in &records {
                let wire = record_to_wire(record, Some(&self.app.feature_set()));
                if self.answers.send(Ok(v1::TailDecisionsResponse { record: Some(wire) })).await.is_err() {
                    return Ok(());
                }
                self.left -= 1;
            }
        }
        Ok(())
    }
}

fn read_batch(mut reader: Reader, wanted: usize) -> Result<(Reader, Vec<DecisionRecord>), Error> {
    let mut records = Vec::new();
    while records.len() < wanted {
        match reader.next_record() {
            Ok(Some((_, record))) => records.push(record),
            // The writer is in the middle of the last record; the next look will see it whole.
            Ok(None) | Err(augur_decision_log::Error::TruncatedTail { .. }) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok((reader, records))
}
