//! Events in: shapes and times checked, the bad ones set aside, the good ones stored, one outcome each.
//!
//! Not here: the checks (`augur_proto::convert::events`) or duplicates and features (`augur_feature_store`).

use std::sync::Arc;

use augur_domain::event::{EventOutcome, MAX_BATCH_EVENTS, MAX_EVENT_NAME_BYTES, MAX_ID_BYTES, Quarantine};
use augur_domain::ids::Subject;
use augur_domain::{Event, Timestamp};
use augur_feature_store::QuarantinedEvent;
use augur_proto::convert::events::{Arrival, event_from_wire};
use augur_proto::v1;
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::JoinHandle;

use crate::{App, Error};

type StoreAnswer = Result<Vec<EventOutcome>, augur_feature_store::Error>;

/// A batch on its way to the disk. What was taken is stored even if nobody waits for it.
#[derive(Debug)]
#[must_use = "the outcomes are not known before they are awaited"]
pub struct Submitted {
    /// In the order of the batch; `None` is the store's to say.
    outcomes: Vec<Option<EventOutcome>>,
    stored: Option<oneshot::Receiver<StoreAnswer>>,
    set_aside: Option<JoinHandle<Result<(), augur_feature_store::Error>>>,
    metrics: Arc<crate::metrics::Metrics>,
}

impl App {
    /// Stores events, refusing them when too many wait; returns what became of each, in order, once that is on disk.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for more than 2500 events, [`Error::Overloaded`] when the queue is full (nothing was
    /// taken), [`Error::Store`].
    pub async fn ingest(
        &self,
        events: Vec<v1::Event>,
        sent_at: Option<Timestamp>,
    ) -> Result<Vec<EventOutcome>, Error> {
        self.submit(events, sent_at)?.outcomes().await
    }

    /// [`Self::ingest`] that waits for room instead of refusing, and takes `received_at` for the time of arrival: for
    /// imports, whose events are old.
    ///
    /// # Errors
    /// As [`Self::ingest`], without the full queue.
    pub async fn import(&self, events: Vec<v1::Event>, received_at: Timestamp) -> Result<Submitted, Error> {
        let permit = self.room_for(events.len()).await?;
        self.take(events, None, received_at, permit)
    }

    /// Takes a batch if there is room now.
    ///
    /// # Errors
    /// As [`Self::ingest`].
    pub fn submit(&self, events: Vec<v1::Event>, sent_at: Option<Timestamp>) -> Result<Submitted, Error> {
        let count = batch_size(events.len())?;
        let permits = Arc::clone(&self.ingest_permits);
        let permit = permits.try_acquire_many_owned(count).map_err(|_| Error::Overloaded {
            what: "the queue of events",
            limit: self.config.ingest.queue_events,
        })?;
        self.take(events, sent_at, self.clock.now(), permit)
    }

    /// Takes a batch as soon as there is room.
    ///
    /// # Errors
    /// As [`Self::ingest`], without the full queue.
    pub async fn submit_when_room(
        &self,
        events: Vec<v1::Event>,
        sent_at: Option<Timestamp>,
    ) -> Result<Submitted, Error> {
        let permit = self.room_for(events.len()).await?;
        self.take(events, sent_at, self.clock.now(), permit)
    }

    async fn room_for(&self, events: usize) -> Result<OwnedSemaphorePermit, Error> {
        let permits = Arc::clone(&self.ingest_permits);
        permits.acquire_many_owned(batch_size(events)?).await.map_err(|_| Error::ShuttingDown)
    }

    fn take(
        &self,
        events: Vec<v1::Event>,
        sent_at: Option<Timestamp>,
        received_at: Timestamp,
        permit: OwnedSemaphorePermit,
    ) -> Result<Submitted, Error> {
        let arrival = Arrival {
            received_at,
            sent_at,
            max_future_skew_ms: self.config.ingest.max_future_skew_ms,
            max_lateness_ms: self.config.ingest.max_lateness_ms,
        };
        let mut outcomes = Vec::with_capacity(events.len());
        let mut good = Vec::with_capacity(events.len());
        let mut bad = Vec::new();
        for wire in events {
            match self.check(wire, &arrival) {
                Ok(event) => {
                    good.push(event);
                    outcomes.push(None);
                }
                Err(entry) => {
                    outcomes.push(Some(EventOutcome::Quarantined(entry.quarantine.clone())));
                    bad.push(*entry);
                }
            }
        }
        let stored = if good.is_empty() { None } else { Some(self.store_events(good, permit)?) };
        let store = Arc::clone(&self.store);
        let set_aside = (!bad.is_empty()).then(|| tokio::task::spawn_blocking(move || store.quarantine(bad)));
        Ok(Submitted { outcomes, stored, set_aside, metrics: Arc::clone(&self.metrics) })
    }

    fn store_events(
        &self,
        events: Vec<Event>,
        permit: OwnedSemaphorePermit,
    ) -> Result<oneshot::Receiver<StoreAnswer>, Error> {
        let (told, stored) = oneshot::channel();
        self.store.ingest(events, move |answer| {
            drop(permit);
            // Nobody may be waiting any more; the events are stored all the same.
            let _ = told.send(answer);
        })?;
        Ok(stored)
    }

    fn check(&self, wire: v1::Event, arrival: &Arrival) -> Result<Event, Box<QuarantinedEvent>> {
        // The check consumes the event; a bad one is kept as it came. One buffer costs less than a copy.
        let payload = wire.encode_to_vec();
        event_from_wire(wire, arrival, &self.pseudonymiser)
            .map_err(|quarantine| Box::new(self.entry(payload, arrival.received_at, quarantine)))
    }

    fn entry(&self, payload: Vec<u8>, received_at: Timestamp, quarantine: Quarantine) -> QuarantinedEvent {
        let wire = v1::Event::decode(payload.as_slice()).unwrap_or_default();
        let id = |id| Some(id).filter(|id: &&String| !id.is_empty() && id.len() <= MAX_ID_BYTES);
        let subject = id(&wire.user_id).map(|id| Subject::User(id));
        let subject = subject.or(id(&wire.anonymous_id).map(|id| Subject::Anonymous(id)));
        QuarantinedEvent {
            received_at,
            user: subject.map(|subject| self.pseudonymiser.user_key(subject)),
            message_key: id(&wire.message_id).map(|id| self.pseudonymiser.message_key(id)),
            name: shortened(&wire.event, MAX_EVENT_NAME_BYTES),
            quarantine,
            payload,
        }
    }
}

impl Submitted {
    /// What became of each event, in order, once that is on disk.
    ///
    /// # Errors
    /// [`Error::Store`]; [`Error::Stopped`] when the store went away in between.
    pub async fn outcomes(self) -> Result<Vec<EventOutcome>, Error> {
        let mut stored = match self.stored {
            Some(answer) => answer.await.map_err(|_| Error::Stopped { what: "the feature store" })??,
            None => Vec::new(),
        }
        .into_iter();
        if let Some(task) = self.set_aside {
            task.await.map_err(|_| Error::Stopped { what: "the quarantine" })??;
        }
        let outcomes = self.outcomes.into_iter().map(|known| known.or_else(|| stored.next()));
        let outcomes: Option<Vec<EventOutcome>> = outcomes.collect();
        let outcomes = outcomes.ok_or(Error::Stopped { what: "the feature store" })?;
        self.metrics.count_events(&outcomes);
        Ok(outcomes)
    }
}

fn batch_size(events: usize) -> Result<u32, Error> {
    let within = u32::try_from(events).ok().filter(|_| events <= MAX_BATCH_EVENTS);
    within.ok_or_else(|| {
        Error::field(
            "events",
            format!("{events} events"),
            format!("at most {MAX_BATCH_EVENTS} in one request"),
        )
    })
}

/// The start of `text` that fits `most_bytes`.
fn shortened(text: &str, most_bytes: usize) -> String {
    let mut end = text.len().min(most_bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(shortened("aéb", 2), "a");
        assert_eq!(shortened("aéb", 3), "aé");
        assert_eq!(shortened("ab", 9), "ab");
    }

    #[test]
    fn batches_are_bounded() {
        assert_eq!(batch_size(2_500).unwrap(), 2_500);
        let error = batch_size(2_501).unwrap_err().to_string();
        assert_eq!(error, "events: 2501 events; expected at most 2500 in one request");
    }
}
