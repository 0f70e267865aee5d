//! Events that were set aside, for people: found, mended, replayed and given up.
//!
//! A replayed event takes the same way as one that comes in, with what is known of its first arrival. Not here: what
//! sets events aside (`ingest`), or how they are kept (the store).

use augur_domain::event::{EventOutcome, Quarantine, QuarantineReason};
use augur_domain::{Timestamp, event_name};
use augur_feature_store::QuarantinedEvent;
use augur_proto::convert::event_ids::EventIds;
use augur_proto::convert::events::{Arrival, claim_from_kept, event_from_kept};
use augur_proto::convert::timestamp_to_wire;
use augur_proto::v1;
use augur_proto::v1::value::Kind;
use prost::Message as _;
use tokio::sync::oneshot;

use crate::ingest::Verdict;
use crate::{App, Error};

/// Most entries that one call replays or gives up.
pub(crate) const MAX_NUMBERS: usize = 1_000;
/// Most changes of one replay.
const MAX_CHANGES: usize = 128;
/// Most entries that one listing looks through.
const MAX_SEEN: usize = 10_000;
/// Entries read at once.
const PAGE: usize = 500;
/// Stands for however late; far from overflowing a difference of two instants.
const ANY_LATENESS_MS: i64 = i64::MAX / 4;

/// Which entries to list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) reason: Option<QuarantineReason>,
    /// In any spelling; empty is any.
    pub(crate) event: String,
    pub(crate) received_from: Option<Timestamp>,
    pub(crate) received_until: Option<Timestamp>,
}

impl Filter {
    fn takes(&self, entry: &QuarantinedEvent) -> bool {
        let same_name = |given: &str| {
            let canonical = event_name::canonical(given);
            given == self.event || canonical.is_some() && canonical == event_name::canonical(&self.event)
        };
        self.reason.is_none_or(|reason| entry.quarantine.reason == reason)
            && (self.event.is_empty() || same_name(&entry.name))
            && self.received_from.is_none_or(|from| entry.received_at >= from)
            && self.received_until.is_none_or(|until| entry.received_at < until)
    }
}

/// Entries, newest first, each with its number.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) entries: Vec<(u64, QuarantinedEvent)>,
    /// Where the next older page begins; `None` when this one is the last.
    pub(crate) next: Option<u64>,
}

/// What became of one entry; `None` when there is none of that number.
pub(crate) type Replayed = (u64, Option<EventOutcome>);

impl App {
    /// Entries with lower numbers than `before` that the filter takes, newest first. Blocks.
    pub(crate) fn quarantine_page(
        &self,
        filter: &Filter,
        mut before: Option<u64>,
        limit: usize,
    ) -> Result<Page, Error> {
        let mut entries = Vec::new();
        let mut seen = 0;
        while seen < MAX_SEEN {
            let page = self.store.quarantined_before(before, PAGE)?;
            for (number, entry) in &page {
                if entries.len() == limit {
                    return Ok(Page { entries, next: before });
                }
                before = Some(*number);
                seen += 1;
                if filter.takes(entry) {
                    entries.push((*number, entry.clone()));
                }
            }
            if page.len() < PAGE {
                return Ok(Page { entries, next: None });
            }
        }
        Ok(Page { entries, next: before })
    }

    /// Checks entries again, after `changes`, stores those that fit and takes them out of the quarantine. Blocks.
    pub(crate) fn replay_quarantined(
        &self,
        numbers: &[u64],
        changes: &[v1::EventChange],
        accept_late: bool,
    ) -> Result<Vec<Replayed>, Error> {
        check_count("numbers", numbers.len(), MAX_NUMBERS)?;
        check_count("changes", changes.len(), MAX_CHANGES)?;
        let mut replayed: Vec<Replayed> = Vec::with_capacity(numbers.len());
        let mut good = Vec::new();
        for &number in numbers {
            let outcome = match self.quarantined_event(number)? {
                None => None,
                Some(entry) => match self.check_again(&entry, changes, accept_late)? {
                    Verdict::Good(event, _) => {
                        good.push((replayed.len(), event));
                        None
                    }
                    Verdict::Aside(entry) => Some(EventOutcome::Quarantined(entry.quarantine)),
                    Verdict::Rejected(why) => Some(EventOutcome::Rejected(why)),
                },
            };
            replayed.push((number, outcome));
        }
        let (places, events): (Vec<usize>, Vec<_>) = good.into_iter().unzip();
        let (told, stored) = oneshot::channel();
        self.store.ingest(events, move |answer| {
            // Whoever asked may be gone; the events are stored all the same, and found to be when replayed again.
            let _ = told.send(answer);
        })?;
        let outcomes = stored.blocking_recv().map_err(|_| Error::Stopped { what: "the feature store" })??;
        self.metrics.count_events(&outcomes);
        for (place, outcome) in places.into_iter().zip(outcomes) {
            if let Some((_, kept)) = replayed.get_mut(place) {
                *kept = Some(outcome);
            }
        }
        let done: Vec<u64> =
            replayed.iter().filter(|(_, outcome)| has_left(outcome)).map(|(number, _)| *number).collect();
        self.store.remove_quarantined(&done)?;
        Ok(replayed)
    }

    /// Gives entries up for good; says how many there were. Blocks.
    pub(crate) fn delete_quarantined(&self, numbers: &[u64]) -> Result<u64, Error> {
        check_count("numbers", numbers.len(), MAX_NUMBERS)?;
        Ok(self.store.remove_quarantined(numbers)?)
    }

    fn quarantined_event(&self, number: u64) -> Result<Option<QuarantinedEvent>, Error> {
        let found = self.store.quarantined_before(number.checked_add(1), 1)?;
        Ok(found.into_iter().find(|(found, _)| *found == number).map(|(_, entry)| entry))
    }

    fn check_again(
        &self,
        entry: &QuarantinedEvent,
        changes: &[v1::EventChange],
        accept_late: bool,
    ) -> Result<Verdict, Error> {
        let Ok(mut wire) = v1::Event::decode(entry.payload.as_slice()) else {
            let detail = "its bytes were cut; expected the whole event, sent again".to_owned();
            let why = Quarantine { detail, ..entry.quarantine.clone() };
            return Ok(Verdict::Aside(Box::new(QuarantinedEvent { quarantine: why, ..entry.clone() })));
        };
        for change in changes {
            make(change, &mut wire)?;
        }
        let kept = EventIds {
            message: entry.message_key,
            user: entry.user,
            anonymous: entry.anonymous,
            previous: entry.previous,
            retracts: entry.retracts,
        };
        let ids = EventIds::take(&mut wire, &self.pseudonymiser).or(kept);
        let arrival = self.arrival_again(entry, &mut wire, accept_late);
        Ok(self.check_by(
            wire,
            |wire| claim_from_kept(wire, &ids),
            |wire| event_from_kept(wire, &ids, &arrival),
            |_, why| Box::new(QuarantinedEvent { quarantine: why, ..entry.clone() }),
        ))
    }

    /// What holds for the times of an event that came before: its sender's clock as corrected then, an age as it was
    /// then, and a future that may have come.
    fn arrival_again(&self, entry: &QuarantinedEvent, wire: &mut v1::Event, accept_late: bool) -> Arrival {
        let received_at = self.clock.now();
        if wire.timestamp.is_none() {
            let told = entry.received_at.plus_millis(-entry.clock_offset_ms);
            wire.timestamp = Some(timestamp_to_wire(told));
        }
        let waited_ms = received_at.millis_since(entry.received_at).max(0);
        let ingest = &self.config.ingest;
        Arrival {
            received_at,
            sent_at: Some(received_at.plus_millis(-entry.clock_offset_ms)),
            max_future_skew_ms: ingest.max_future_skew_ms,
            max_lateness_ms: if accept_late {
                ANY_LATENESS_MS
            } else {
                ingest.max_lateness_ms.saturating_add(waited_ms)
            },
        }
    }
}

fn has_left(outcome: &Option<EventOutcome>) -> bool {
    matches!(outcome, Some(EventOutcome::Accepted | EventOutcome::Duplicate | EventOutcome::Suppressed))
}

fn check_count(field: &'static str, found: usize, most: usize) -> Result<(), Error> {
    if found <= most {
        Ok(())
    } else {
        Err(Error::field(field, format!("{found} of them"), format!("at most {most}")))
    }
}

/// Makes one change to an event.
fn make(change: &v1::EventChange, wire: &mut v1::Event) -> Result<(), Error> {
    let complain = |expected: &str| Err(Error::field("changes", format!("`{}`", change.field), expected));
    if let Some(property) = change.field.strip_prefix("properties.") {
        match &change.value {
            Some(value) => wire.properties.insert(property.to_owned(), value.clone()),
            None => wire.properties.remove(property),
        };
        return Ok(());
    }
    let text = match change.value.as_ref().and_then(|value| value.kind.as_ref()) {
        None => "",
        Some(Kind::Text(text)) => text,
        Some(_) => return complain("a text value for this field"),
    };
    let field = match change.field.as_str() {
        "message_id" => &mut wire.message_id,
        "user_id" => &mut wire.user_id,
        "anonymous_id" => &mut wire.anonymous_id,
        "previous_id" => &mut wire.previous_id,
        "retracts_message_id" => &mut wire.retracts_message_id,
        "event" => &mut wire.event,
        "timestamp" if text.is_empty() => {
            wire.timestamp = None;
            return Ok(());
        }
        "timestamp" => match Timestamp::parse_rfc3339(text) {
            Some(instant) => {
                wire.timestamp = Some(timestamp_to_wire(instant));
                return Ok(());
            }
            None => return complain("an instant as RFC 3339, like `2026-11-22T17:02:45Z`"),
        },
        _ => {
            return complain(
                "message_id, user_id, anonymous_id, previous_id, retracts_message_id, event, timestamp or properties.NAME",
            );
        }
    };
    text.clone_into(field);
    Ok(())
}

/// The wire form of an entry.
pub(crate) fn entry_to_wire((number, entry): (u64, QuarantinedEvent)) -> v1::QuarantinedEvent {
    let key = |key: Option<String>| key.unwrap_or_default();
    // Entries of earlier versions still hold ids.
    let event = v1::Event::decode(entry.payload.as_slice()).ok().map(|mut event| {
        for id in [&mut event.message_id, &mut event.user_id, &mut event.anonymous_id] {
            id.clear();
        }
        event
    });
    v1::QuarantinedEvent {
        event,
        reason: i32::from(entry.quarantine.reason as u8),
        field: entry.quarantine.field,
        detail: entry.quarantine.detail,
        received_at: Some(timestamp_to_wire(entry.received_at)),
        number,
        user_key: key(entry.user.map(|user| user.to_string())),
        message_key: key(entry.message_key.map(|message| message.to_string())),
    }
}
