//! Events in: shapes and times checked, the bad ones set aside, the good ones stored, one outcome each.
//!
//! Not here: the checks (`augur_proto::convert::events`) or duplicates and features (`augur_feature_store`).

use std::sync::Arc;

use augur_domain::event::{
    EventKind, EventOutcome, IdentityClaim, MAX_BATCH_EVENTS, MAX_EVENT_NAME_BYTES, Quarantine,
    QuarantineReason,
};
use augur_domain::{Event, Timestamp};
use augur_feature_store::taxonomy::{Checked, Refused};
use augur_feature_store::{Incoming, QuarantinedEvent};
use augur_proto::convert::event_ids::EventIds;
use augur_proto::convert::events::{Arrival, claim_from_wire, event_from_wire, name_of};
use augur_proto::v1;
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::{App, Error};

type StoreAnswer = Result<Vec<EventOutcome>, augur_feature_store::Error>;

/// What the quarantine keeps of an event; no more than this waits for it.
const KEPT_PAYLOAD_BYTES: usize = 64 << 10;

/// How much may wait to be stored or set aside: so many events, and so many bytes of them as they came.
#[derive(Debug)]
pub(crate) struct Room {
    events: Arc<Semaphore>,
    /// One permit per KiB, since a batch may ask for no more than a `u32` of them.
    kibibytes: Arc<Semaphore>,
    most_events: usize,
    most_bytes: usize,
}

/// A batch's share of the room; whoever still works on the batch holds it.
#[derive(Debug)]
struct Taken {
    _events: OwnedSemaphorePermit,
    _kibibytes: OwnedSemaphorePermit,
}

impl Room {
    pub(crate) fn new(most_events: usize, most_bytes: usize) -> Self {
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        Self {
            events: semaphore(most_events),
            kibibytes: semaphore(most_bytes >> 10),
            most_events,
            most_bytes,
        }
    }

    /// What a batch asks for. One that is larger than the whole room, which only an import can be, asks for all.
    fn asked(&self, events: &[v1::Event]) -> Result<(u32, u32), Error> {
        let count = batch_size(events.len())?;
        let bytes: usize = events.iter().map(prost::Message::encoded_len).sum();
        let kibibytes = bytes.div_ceil(1 << 10).min(self.most_bytes >> 10);
        Ok((count, u32::try_from(kibibytes).unwrap_or(u32::MAX)))
    }

    fn take_now(&self, events: &[v1::Event]) -> Result<Arc<Taken>, Error> {
        let (count, kibibytes) = self.asked(events)?;
        let full = |what, limit| move |_| Error::Overloaded { what, limit };
        let events = Arc::clone(&self.events).try_acquire_many_owned(count);
        let events = events.map_err(full("the queue of events", self.most_events))?;
        let kibibytes = Arc::clone(&self.kibibytes).try_acquire_many_owned(kibibytes);
        let kibibytes = kibibytes.map_err(full("the queue of events, in bytes,", self.most_bytes))?;
        Ok(Arc::new(Taken { _events: events, _kibibytes: kibibytes }))
    }

    async fn take_when_free(&self, events: &[v1::Event]) -> Result<Arc<Taken>, Error> {
        let (count, kibibytes) = self.asked(events)?;
        let closed = |_| Error::ShuttingDown;
        // Always in this order, so that no two batches wait for each other.
        let events = Arc::clone(&self.events).acquire_many_owned(count).await.map_err(closed)?;
        let kibibytes = Arc::clone(&self.kibibytes).acquire_many_owned(kibibytes).await.map_err(closed)?;
        Ok(Arc::new(Taken { _events: events, _kibibytes: kibibytes }))
    }
}

/// Stands in until the store has said why it set an event aside.
const UNANSWERED: Quarantine =
    Quarantine { reason: QuarantineReason::UnknownOriginal, field: String::new(), detail: String::new() };

/// What the checks say of one event.
pub(crate) enum Verdict {
    /// With what to set aside where only the store can tell whether it is usable.
    Good(Incoming, Option<Box<QuarantinedEvent>>),
    Aside(Box<QuarantinedEvent>),
    Rejected(Quarantine),
}

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
        let room = self.ingest_room.take_when_free(&events).await?;
        self.take(events, None, received_at, room)
    }

    /// Takes a batch if there is room now.
    ///
    /// # Errors
    /// As [`Self::ingest`].
    pub fn submit(&self, events: Vec<v1::Event>, sent_at: Option<Timestamp>) -> Result<Submitted, Error> {
        let room = self.ingest_room.take_now(&events)?;
        self.take(events, sent_at, self.clock.now(), room)
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
        let room = self.ingest_room.take_when_free(&events).await?;
        self.take(events, sent_at, self.clock.now(), room)
    }

    fn take(
        &self,
        events: Vec<v1::Event>,
        sent_at: Option<Timestamp>,
        received_at: Timestamp,
        room: Arc<Taken>,
    ) -> Result<Submitted, Error> {
        let arrival = Arrival {
            received_at,
            sent_at,
            max_future_skew_ms: self.config.ingest.max_future_skew_ms,
            max_lateness_ms: self.config.ingest.max_lateness_ms,
        };
        let mut outcomes = Vec::with_capacity(events.len());
        let mut good = Vec::with_capacity(events.len());
        let (mut bad, mut doubtful) = (Vec::new(), Vec::new());
        for wire in events {
            match self.check(wire, &arrival) {
                Verdict::Good(event, kept) => {
                    doubtful.extend(kept.map(|entry| (good.len(), *entry)));
                    good.push(event);
                    outcomes.push(None);
                }
                Verdict::Aside(entry) => {
                    outcomes.push(Some(EventOutcome::Quarantined(entry.quarantine.clone())));
                    bad.push(*entry);
                }
                Verdict::Rejected(why) => outcomes.push(Some(EventOutcome::Rejected(why))),
            }
        }
        let stored = if good.is_empty() { None } else { Some(self.store_events(good, Arc::clone(&room))?) };
        let stored = stored.map(|stored| self.setting_aside(stored, doubtful));
        let store = Arc::clone(&self.store);
        let evicted = self.metrics.quarantine_evicted.clone();
        let set_aside = (!bad.is_empty()).then(|| {
            tokio::task::spawn_blocking(move || {
                let _room = room;
                evicted.increment(store.quarantine(bad)?);
                Ok(())
            })
        });
        Ok(Submitted { outcomes, stored, set_aside, metrics: Arc::clone(&self.metrics) })
    }

    fn store_events(
        &self,
        events: Vec<Incoming>,
        room: Arc<Taken>,
    ) -> Result<oneshot::Receiver<StoreAnswer>, Error> {
        let (told, stored) = oneshot::channel();
        self.store.ingest(events, move |answer| {
            drop(room);
            // Nobody may be waiting any more; the events are stored all the same.
            let _ = told.send(answer);
        })?;
        Ok(stored)
    }

    /// The store's answer, once what it found unusable is set aside: by a task, so that it is even if nobody waits.
    fn setting_aside(
        &self,
        stored: oneshot::Receiver<StoreAnswer>,
        mut doubtful: Vec<(usize, QuarantinedEvent)>,
    ) -> oneshot::Receiver<StoreAnswer> {
        if doubtful.is_empty() {
            return stored;
        }
        let (store, evicted) = (Arc::clone(&self.store), self.metrics.quarantine_evicted.clone());
        let (told, kept) = oneshot::channel();
        tokio::spawn(async move {
            let Ok(answer) = stored.await else { return };
            let outcomes = answer.as_deref().unwrap_or_default();
            doubtful.retain_mut(|(index, entry)| match outcomes.get(*index) {
                Some(EventOutcome::Quarantined(why)) => {
                    entry.quarantine = why.clone();
                    true
                }
                _ => false,
            });
            let entries: Vec<_> = doubtful.into_iter().map(|(_, entry)| entry).collect();
            let set_aside = tokio::task::spawn_blocking(move || store.quarantine(entries)).await;
            let set_aside = set_aside.unwrap_or(Err(augur_feature_store::Error::Closed));
            let set_aside = set_aside.map(|made_room| evicted.increment(made_room));
            // Nobody may be waiting any more; it is all stored all the same.
            let _ = told.send(set_aside.and(answer));
        });
        kept
    }

    fn check(&self, wire: v1::Event, arrival: &Arrival) -> Verdict {
        self.check_by(
            wire,
            |wire| claim_from_wire(wire, &self.pseudonymiser),
            |wire| event_from_wire(wire, arrival, &self.pseudonymiser),
            |payload, why| Box::new(self.entry(payload, arrival, why)),
        )
    }

    /// Checks an event that `convert` makes of `wire`, and the other id that `claim` finds in it; `aside` makes what is kept of it if it does not fit.
    pub(crate) fn check_by(
        &self,
        mut wire: v1::Event,
        claim: impl FnOnce(&v1::Event) -> Result<Option<IdentityClaim>, Quarantine>,
        convert: impl FnOnce(v1::Event) -> Result<Event, Quarantine>,
        aside: impl FnOnce(Vec<u8>, Quarantine) -> Box<QuarantinedEvent>,
    ) -> Verdict {
        self.drop_sensitive(&mut wire);
        // The conversion consumes the event. One buffer costs less than a copy.
        let payload = wire.encode_to_vec();
        let claim = claim(&wire);
        let (event, claim) = match convert(wire).and_then(|event| self.linking(event, claim)) {
            Ok(linking) => linking,
            Err(why) => return Verdict::Aside(aside(payload, why)),
        };
        match self.taxonomy.check(event) {
            Ok(checked) => {
                self.count_checked(&checked);
                let doubtful = checked.event.kind == EventKind::Retract || claim.is_some();
                let kept = doubtful.then(|| aside(payload, UNANSWERED));
                Verdict::Good(Incoming { event: checked.event, claim }, kept)
            }
            Err(Refused { why, reject: true }) => Verdict::Rejected(why),
            Err(Refused { why, reject: false }) => Verdict::Aside(aside(payload, why)),
        }
    }

    /// The event with the claim that it makes, if it is one of those that link ids.
    fn linking(
        &self,
        event: Event,
        claim: Result<Option<IdentityClaim>, Quarantine>,
    ) -> Result<(Event, Option<IdentityClaim>), Quarantine> {
        if !self.config.identity.link_on.iter().any(|name| **name == *event.name) {
            return Ok((event, None));
        }
        let claim = claim?;
        Ok((event, claim))
    }

    /// Takes out what must be stored nowhere, the quarantine included, before anything else looks at it.
    fn drop_sensitive(&self, wire: &mut v1::Event) {
        if !self.taxonomy.has_sensitive() || wire.properties.is_empty() {
            return;
        }
        let declared = self.taxonomy.event(name_of(wire));
        let before = wire.properties.len();
        wire.properties.retain(|name, _| !self.taxonomy.is_sensitive(declared, name));
        self.metrics.sensitive_properties.increment((before - wire.properties.len()) as u64);
    }

    fn count_checked(&self, checked: &Checked) {
        self.metrics.sensitive_properties.increment(u64::from(checked.sensitive_dropped));
        self.metrics.unknown_properties.increment(u64::from(checked.unknown_dropped));
        if checked.deprecated {
            self.metrics.count_deprecated(&checked.event.name);
        }
    }

    /// What is kept of an event that does not fit: nothing that names anybody.
    fn entry(&self, payload: Vec<u8>, arrival: &Arrival, quarantine: Quarantine) -> QuarantinedEvent {
        let mut wire = v1::Event::decode(payload.as_slice()).unwrap_or_default();
        let ids = EventIds::take(&mut wire, &self.pseudonymiser);
        let mut payload = wire.encode_to_vec();
        payload.truncate(KEPT_PAYLOAD_BYTES);
        payload.shrink_to_fit();
        QuarantinedEvent {
            received_at: arrival.received_at,
            user: ids.user,
            message_key: ids.message,
            name: shortened(&wire.event, MAX_EVENT_NAME_BYTES),
            quarantine,
            payload,
            anonymous: ids.anonymous,
            previous: ids.previous,
            retracts: ids.retracts,
            clock_offset_ms: arrival.sent_at.map_or(0, |sent_at| arrival.received_at.millis_since(sent_at)),
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

    fn open(dir: &std::path::Path, change: impl FnOnce(&mut crate::Config)) -> App {
        let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
        let mut config = crate::Config::default();
        config.data.dir = dir.join("data");
        config.data.features = shipped.join("features.toml");
        config.data.policy = shipped.join("policy.toml");
        change(&mut config);
        App::open(config, crate::SystemClock::new()).unwrap()
    }

    /// Work off the async threads waits until the guard is dropped.
    fn hold_up_blocking_work() -> std::sync::mpsc::Sender<()> {
        let (held, release) = std::sync::mpsc::channel();
        tokio::task::spawn_blocking(move || release.recv());
        held
    }

    fn slow_runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap()
    }

    #[test]
    fn events_to_be_set_aside_take_room_until_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let app = open(dir.path(), |config| config.ingest.queue_events = 2_500);
        slow_runtime().block_on(async {
            let held = hold_up_blocking_work();
            let bad = || vec![v1::Event::default(); 2_000];
            let waiting = app.submit(bad(), None).unwrap();
            let refused = app.submit(bad(), None).unwrap_err().to_string();
            assert!(refused.contains("the queue of events is at its limit of 2500"), "{refused}");
            drop(held);
            assert_eq!(waiting.outcomes().await.unwrap().len(), 2_000);
            app.submit(bad(), None).unwrap().outcomes().await.unwrap();
        });
        app.close().unwrap();
    }

    #[test]
    fn waiting_bytes_are_bounded_and_no_more_is_kept_than_the_quarantine_keeps() {
        let dir = tempfile::tempdir().unwrap();
        let app = open(dir.path(), |config| config.ingest.queue_bytes = 1 << 20);
        slow_runtime().block_on(async {
            let held = hold_up_blocking_work();
            let bad = |bytes| vec![v1::Event { event: "e".repeat(bytes), ..v1::Event::default() }];
            let waiting = app.submit(bad(800 << 10), None).unwrap();
            let refused = app.submit(bad(400 << 10), None).unwrap_err().to_string();
            assert!(refused.contains("in bytes, is at its limit of 1048576"), "{refused}");
            drop(held);
            waiting.outcomes().await.unwrap();
            // Larger than all the room there is: it waits for all of it.
            app.submit_when_room(bad(1_200 << 10), None).await.unwrap().outcomes().await.unwrap();
        });
        let reason = augur_domain::event::QuarantineReason::ALL[0];
        let quarantine = Quarantine { reason, field: String::new(), detail: String::new() };
        let wire = v1::Event { event: "e".repeat(100_000), ..v1::Event::default() };
        let arrival = Arrival {
            received_at: app.clock.now(),
            sent_at: None,
            max_future_skew_ms: 0,
            max_lateness_ms: 0,
        };
        let entry = app.entry(wire.encode_to_vec(), &arrival, quarantine);
        assert_eq!(entry.payload.capacity(), KEPT_PAYLOAD_BYTES);
        app.close().unwrap();
    }

    #[test]
    fn batches_are_bounded() {
        assert_eq!(batch_size(2_500).unwrap(), 2_500);
        let error = batch_size(2_501).unwrap_err().to_string();
        assert_eq!(error, "events: 2501 events; expected at most 2500 in one request");
    }
}
