//! `EventService`.

use std::sync::Arc;

use augur_domain::Timestamp;
use augur_domain::event::{EventOutcome, Quarantine, QuarantineReason};
use augur_feature_store::QuarantinedEvent;
use augur_proto::convert::{timestamp_from_wire, timestamp_to_wire};
use augur_proto::v1;
use augur_proto::v1::event_service_server::EventService;
use prost::Message as _;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::blocking;
use crate::ingest::Submitted;
use crate::{App, Error};

/// Requests of one stream that may be under way; beyond it the stream is not read.
const MAX_UNANSWERED: usize = 16;
/// Entries that one listing of the quarantine may ask for, and gets when it asks for none.
const MAX_LISTED: u32 = 1_000;
const DEFAULT_LISTED: u32 = 100;

#[derive(Debug)]
pub(super) struct Events {
    app: Arc<App>,
    stopping: CancellationToken,
    /// One permit per open stream.
    streams: Arc<Semaphore>,
}

/// A request of a stream, taken and not yet answered.
struct Unanswered {
    message_ids: Vec<String>,
    submitted: Submitted,
}

impl Events {
    pub(super) fn new(app: Arc<App>, stopping: CancellationToken) -> Self {
        let streams = Arc::new(Semaphore::new(app.config().ingest.max_streams));
        Self { app, stopping, streams }
    }
}

#[tonic::async_trait]
impl EventService for Events {
    async fn ingest(
        &self,
        request: Request<v1::IngestRequest>,
    ) -> Result<Response<v1::IngestResponse>, Status> {
        let v1::IngestRequest { events, sent_at } = request.into_inner();
        let sent_at =
            sent_at.map(|at| timestamp_from_wire(&at, "sent_at")).transpose().map_err(Error::from)?;
        let message_ids = message_ids(&events);
        let outcomes = self.app.ingest(events, sent_at).await?;
        Ok(Response::new(v1::IngestResponse { results: results(message_ids, outcomes) }))
    }

    type IngestStreamStream = ReceiverStream<Result<v1::IngestStreamResponse, Status>>;

    async fn ingest_stream(
        &self,
        request: Request<Streaming<v1::IngestStreamRequest>>,
    ) -> Result<Response<Self::IngestStreamStream>, Status> {
        let permit = Arc::clone(&self.streams).try_acquire_owned().map_err(|_| Error::Overloaded {
            what: "the number of streams that bring events",
            limit: self.app.config().ingest.max_streams,
        })?;
        let (taken, unanswered) = mpsc::channel(MAX_UNANSWERED);
        let (answers, stream) = mpsc::channel(MAX_UNANSWERED);
        let reader = read_stream(Arc::clone(&self.app), request.into_inner(), taken, self.stopping.clone());
        tokio::spawn(async move {
            // The stream takes up its place until both ends are done with it.
            let _permit = permit;
            tokio::join!(reader, answer_stream(unanswered, answers));
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn list_quarantine(
        &self,
        request: Request<v1::ListQuarantineRequest>,
    ) -> Result<Response<v1::ListQuarantineResponse>, Status> {
        let limit = match request.into_inner().limit {
            0 => DEFAULT_LISTED,
            limit if limit <= MAX_LISTED => limit,
            limit => {
                return Err(Error::field("limit", limit.to_string(), format!("at most {MAX_LISTED}")).into());
            }
        };
        let mut entries =
            blocking(&self.app, move |app| Ok(app.store().quarantined(limit as usize)?)).await?;
        // The store lists the newest first.
        entries.reverse();
        let events = entries.into_iter().map(entry_to_wire).collect();
        Ok(Response::new(v1::ListQuarantineResponse { events }))
    }
}

/// Takes requests in order, as fast as there is room.
async fn read_stream(
    app: Arc<App>,
    mut requests: Streaming<v1::IngestStreamRequest>,
    taken: mpsc::Sender<Result<Unanswered, Status>>,
    stopping: CancellationToken,
) {
    loop {
        let next = tokio::select! {
            biased;
            () = stopping.cancelled() => Err(Error::ShuttingDown.into()),
            next = requests.message() => next,
        };
        let request = match next {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(status) => {
                // Whoever stopped reading needs no reason.
                let _ = taken.send(Err(status)).await;
                return;
            }
        };
        let submitted = take(&app, request).await.map_err(Status::from);
        let failed = submitted.is_err();
        if taken.send(submitted).await.is_err() || failed {
            return;
        }
    }
}

async fn take(app: &App, request: v1::IngestStreamRequest) -> Result<Unanswered, Error> {
    let v1::IngestStreamRequest { events, sent_at } = request;
    let sent_at: Option<Timestamp> = sent_at.map(|at| timestamp_from_wire(&at, "sent_at")).transpose()?;
    let message_ids = message_ids(&events);
    let submitted = app.submit_when_room(events, sent_at).await?;
    Ok(Unanswered { message_ids, submitted })
}

/// Answers in the order of the requests.
async fn answer_stream(
    mut unanswered: mpsc::Receiver<Result<Unanswered, Status>>,
    answers: mpsc::Sender<Result<v1::IngestStreamResponse, Status>>,
) {
    while let Some(next) = unanswered.recv().await {
        let answer = match next {
            Ok(Unanswered { message_ids, submitted }) => match submitted.outcomes().await {
                Ok(outcomes) => Ok(v1::IngestStreamResponse { results: results(message_ids, outcomes) }),
                Err(error) => Err(Status::from(error)),
            },
            Err(status) => Err(status),
        };
        let failed = answer.is_err();
        if answers.send(answer).await.is_err() || failed {
            return;
        }
    }
}

fn message_ids(events: &[v1::Event]) -> Vec<String> {
    events.iter().map(|event| event.message_id.clone()).collect()
}

fn results(message_ids: Vec<String>, outcomes: Vec<EventOutcome>) -> Vec<v1::EventResult> {
    message_ids.into_iter().zip(outcomes).map(|(message_id, outcome)| result(message_id, outcome)).collect()
}

fn result(message_id: String, outcome: EventOutcome) -> v1::EventResult {
    let plain = |outcome: v1::EventOutcome| v1::EventResult { outcome: outcome as i32, ..Default::default() };
    let result = match outcome {
        EventOutcome::Accepted => plain(v1::EventOutcome::Accepted),
        EventOutcome::Duplicate => plain(v1::EventOutcome::Duplicate),
        EventOutcome::Quarantined(why) => refused(v1::EventOutcome::Quarantined, why),
        EventOutcome::Rejected(why) => refused(v1::EventOutcome::Rejected, why),
        EventOutcome::Suppressed => plain(v1::EventOutcome::Suppressed),
    };
    v1::EventResult { message_id, ..result }
}

fn refused(outcome: v1::EventOutcome, why: Quarantine) -> v1::EventResult {
    let Quarantine { reason: why, field, detail } = why;
    v1::EventResult { outcome: outcome as i32, reason: reason(why), field, detail, ..Default::default() }
}

/// Domain and wire share their numbers.
fn reason(reason: QuarantineReason) -> i32 {
    i32::from(reason as u8)
}

fn entry_to_wire(entry: QuarantinedEvent) -> v1::QuarantinedEvent {
    v1::QuarantinedEvent {
        // Unset when the payload was cut.
        event: v1::Event::decode(entry.payload.as_slice()).ok(),
        reason: reason(entry.quarantine.reason),
        field: entry.quarantine.field,
        detail: entry.quarantine.detail,
        received_at: Some(timestamp_to_wire(entry.received_at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_share_their_numbers() {
        for known in QuarantineReason::ALL {
            let wire = v1::QuarantineReason::try_from(reason(known)).unwrap();
            assert_eq!(wire.as_str_name(), format!("QUARANTINE_REASON_{}", known.as_str()));
        }
    }
}
