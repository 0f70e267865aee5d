//! `EventService`.

use std::sync::Arc;

use augur_domain::Timestamp;
use augur_domain::event::{EventOutcome, Quarantine, QuarantineReason};
use augur_proto::convert::timestamp_from_wire;
use augur_proto::v1;
use augur_proto::v1::event_service_server::EventService;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::blocking;
use crate::ingest::Submitted;
use crate::quarantine::{Filter, Page, Replayed, entry_to_wire};
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
        let request = request.into_inner();
        let limit = match request.limit {
            0 => DEFAULT_LISTED,
            limit if limit <= MAX_LISTED => limit,
            limit => {
                return Err(Error::field("limit", limit.to_string(), format!("at most {MAX_LISTED}")).into());
            }
        };
        let (filter, before) = filter(request)?;
        let page = move |app: &App| app.quarantine_page(&filter, before, limit as usize);
        let Page { mut entries, next } = blocking(&self.app, page).await?;
        // The store lists the newest first.
        entries.reverse();
        let events = entries.into_iter().map(entry_to_wire).collect();
        let next_page_token = next.map(|next| next.to_string()).unwrap_or_default();
        Ok(Response::new(v1::ListQuarantineResponse { events, next_page_token }))
    }

    async fn replay_quarantine(
        &self,
        request: Request<v1::ReplayQuarantineRequest>,
    ) -> Result<Response<v1::ReplayQuarantineResponse>, Status> {
        let v1::ReplayQuarantineRequest { numbers, changes, accept_late } = request.into_inner();
        let replay = move |app: &App| app.replay_quarantined(&numbers, &changes, accept_late);
        let events = blocking(&self.app, replay).await?.into_iter().map(replayed).collect();
        Ok(Response::new(v1::ReplayQuarantineResponse { events }))
    }

    async fn delete_quarantine(
        &self,
        request: Request<v1::DeleteQuarantineRequest>,
    ) -> Result<Response<v1::DeleteQuarantineResponse>, Status> {
        let numbers = request.into_inner().numbers;
        let deleted = blocking(&self.app, move |app| app.delete_quarantined(&numbers)).await?;
        Ok(Response::new(v1::DeleteQuarantineResponse { deleted }))
    }
}

/// Which entries are asked for, and those below which number.
fn filter(request: v1::ListQuarantineRequest) -> Result<(Filter, Option<u64>), Error> {
    let reason = match request.reason {
        0 => None,
        number => {
            let known = u8::try_from(number).ok().and_then(QuarantineReason::from_u8);
            let unknown = || Error::field("reason", number.to_string(), "a number of QuarantineReason");
            Some(known.ok_or_else(unknown)?)
        }
    };
    let instant = |wire: Option<_>, field| wire.map(|at| timestamp_from_wire(&at, field)).transpose();
    let filter = Filter {
        reason,
        event: request.event,
        received_from: instant(request.received_from, "received_from")?,
        received_until: instant(request.received_until, "received_until")?,
    };
    let before = match request.page_token.as_str() {
        "" => None,
        token => {
            let wrong = |_| Error::field("page_token", "not a token", "the next_page_token of a page before");
            Some(token.parse().map_err(wrong)?)
        }
    };
    Ok((filter, before))
}

fn replayed((number, outcome): Replayed) -> v1::ReplayedEvent {
    let Some(outcome) = outcome else { return v1::ReplayedEvent { number, ..Default::default() } };
    let v1::EventResult { outcome, reason, field, detail, .. } = result(String::new(), outcome);
    v1::ReplayedEvent { number, outcome, reason, field, detail }
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
