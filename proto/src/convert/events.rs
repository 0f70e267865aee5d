//! Events: shape, sizes, names and times checked once, outside ids turned into pseudonyms.
//!
//! Not here: duplicates (the store knows) or what an event does to features.

use std::borrow::Cow;

use augur_domain::event::{
    ClaimedBy, EventKind, IdentityClaim, MAX_EVENT_NAME_BYTES, MAX_ID_BYTES, Quarantine, QuarantineReason,
};
use augur_domain::ids::{MessageKey, Pseudonymiser, Subject};
use augur_domain::time::format_duration_ms;
use augur_domain::{Event, Timestamp, UserKey, event_name};

use super::event_ids::EventIds;
use super::value::{Fault, ValueError, values_from_wire};
use super::{FieldError, timestamp_from_wire};
use crate::v1;

/// When a batch came, and how far from that its events may lie.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// The server's clock.
    pub received_at: Timestamp,
    /// The sender's clock when the batch left, if told.
    pub sent_at: Option<Timestamp>,
    /// Events later than `received_at` by more than this are set aside; by less, they count as now.
    pub max_future_skew_ms: i64,
    /// Events older than this are set aside.
    pub max_lateness_ms: i64,
}

/// Turns one wire event into a domain event, or says why it must be set aside.
///
/// Time rule (Segment's): `event_time = received_at - (sent_at - timestamp)`, so a wrong clock at the sender does not
/// matter; without `sent_at` the sender's clock is believed. A time slightly in the future becomes `received_at`.
///
/// # Errors
/// The closed reason, the field's path and what was expected.
pub fn event_from_wire(
    wire: v1::Event,
    arrival: &Arrival,
    pseudonymiser: &Pseudonymiser,
) -> Result<Event, Quarantine> {
    let kind = kind_of(wire.r#type)?;
    check_id(&wire.message_id, "message_id", QuarantineReason::MissingField)?;
    let mut keys = Keys {
        user: pseudonymiser.user_key(subject_of(&wire)?),
        message: pseudonymiser.message_key(&wire.message_id),
        retracts: None,
    };
    if kind == EventKind::Retract {
        check_id(&wire.retracts_message_id, "retracts_message_id", QuarantineReason::MissingField)?;
        keys.retracts = Some(pseudonymiser.message_key(&wire.retracts_message_id));
    }
    event_of(wire, kind, &keys, arrival)
}

/// [`event_from_wire`] for an event whose ids were taken out.
///
/// # Errors
/// As [`event_from_wire`]; an id without a key is a missing one.
pub fn event_from_kept(wire: v1::Event, ids: &EventIds, arrival: &Arrival) -> Result<Event, Quarantine> {
    let kind = kind_of(wire.r#type)?;
    let missing = |field| {
        let expected = format!("1 to {MAX_ID_BYTES} bytes");
        quarantine(QuarantineReason::MissingField, field, "there is no such id", expected)
    };
    let keys = Keys {
        message: ids.message.ok_or_else(|| missing("message_id"))?,
        user: ids.user.ok_or_else(|| missing("user_id"))?,
        retracts: ids.retracts,
    };
    if kind == EventKind::Retract && keys.retracts.is_none() {
        return Err(missing("retracts_message_id"));
    }
    event_of(wire, kind, &keys, arrival)
}

struct Keys {
    message: MessageKey,
    user: UserKey,
    /// Of a retraction only.
    retracts: Option<MessageKey>,
}

fn event_of(wire: v1::Event, kind: EventKind, keys: &Keys, arrival: &Arrival) -> Result<Event, Quarantine> {
    let name = canonical_name(kind, &wire.event)?;
    let event_time = event_time(wire.timestamp.as_ref(), arrival)?;
    if let (EventKind::Retract, Some(original)) = (kind, keys.retracts) {
        return Ok(Event::retraction(keys.user, original, event_time, arrival.received_at));
    }
    let properties =
        values_from_wire(wire.properties, "properties").map_err(|ValueError { fault, error }| {
            let reason = match fault {
                Fault::TooLarge => QuarantineReason::TooLarge,
                Fault::Invalid => QuarantineReason::InvalidValue,
            };
            set_aside(reason, error)
        })?;
    Ok(Event {
        message_key: keys.message,
        user: keys.user,
        kind,
        name: name.into(),
        event_time,
        received_at: arrival.received_at,
        properties,
    })
}

/// The other id that the event names: the previous one of an alias, else the anonymous one beside a user's.
///
/// # Errors
/// The closed reason, the field's path and what was expected.
pub fn claim_from_wire(
    wire: &v1::Event,
    pseudonymiser: &Pseudonymiser,
) -> Result<Option<IdentityClaim>, Quarantine> {
    if wire.r#type == v1::EventType::Alias as i32 {
        check_id(&wire.user_id, "user_id", QuarantineReason::MissingField)?;
    }
    let key = |field, id: &str, subject: fn(&str) -> Subject<'_>| match id {
        "" => Ok(None),
        id => check_id(id, field, QuarantineReason::MissingField)
            .map(|()| Some(pseudonymiser.user_key(subject(id)))),
    };
    let previous = key("previous_id", &wire.previous_id, |id| Subject::User(id))?;
    let anonymous = key("anonymous_id", &wire.anonymous_id, |id| Subject::Anonymous(id))?;
    claim_of(wire, previous, anonymous.filter(|_| !wire.user_id.is_empty()))
}

/// [`claim_from_wire`] for an event whose ids were taken out.
///
/// # Errors
/// As [`claim_from_wire`].
pub fn claim_from_kept(wire: &v1::Event, ids: &EventIds) -> Result<Option<IdentityClaim>, Quarantine> {
    claim_of(wire, ids.previous, ids.anonymous.filter(|anonymous| ids.user != Some(*anonymous)))
}

fn claim_of(
    wire: &v1::Event,
    previous: Option<UserKey>,
    anonymous: Option<UserKey>,
) -> Result<Option<IdentityClaim>, Quarantine> {
    if wire.r#type != v1::EventType::Alias as i32 {
        return Ok(anonymous.map(|id| IdentityClaim { id, by: ClaimedBy::Device }));
    }
    let Some(id) = previous.or(anonymous) else {
        let (problem, expected) = ("no other id is named", "previous_id or anonymous_id");
        return Err(quarantine(QuarantineReason::MissingField, "previous_id", problem, expected));
    };
    Ok(Some(IdentityClaim { id, by: ClaimedBy::Alias }))
}

fn set_aside(reason: QuarantineReason, error: FieldError) -> Quarantine {
    Quarantine {
        reason,
        field: error.field,
        detail: format!("{}; expected {}", error.problem, error.expected),
    }
}

fn quarantine(
    reason: QuarantineReason,
    field: &str,
    problem: impl Into<String>,
    expected: impl Into<String>,
) -> Quarantine {
    set_aside(reason, FieldError::new(field, problem, expected))
}

fn kind_of(number: i32) -> Result<EventKind, Quarantine> {
    match v1::EventType::try_from(number) {
        Ok(v1::EventType::Unspecified | v1::EventType::Track) => Ok(EventKind::Track),
        Ok(v1::EventType::Identify) => Ok(EventKind::Identify),
        Ok(v1::EventType::Page) => Ok(EventKind::Page),
        Ok(v1::EventType::Screen) => Ok(EventKind::Screen),
        Ok(v1::EventType::Alias) => Ok(EventKind::Alias),
        Ok(v1::EventType::Retract) => Ok(EventKind::Retract),
        Err(_) => Err(quarantine(
            QuarantineReason::UnsupportedKind,
            "type",
            format!("type {number} is not known"),
            "track, identify, page, screen, alias or retract",
        )),
    }
}

fn check_id(id: &str, field: &str, when_empty: QuarantineReason) -> Result<(), Quarantine> {
    if id.is_empty() {
        let expected = format!("1 to {MAX_ID_BYTES} bytes");
        return Err(quarantine(when_empty, field, "the id is empty", expected));
    }
    if id.len() > MAX_ID_BYTES {
        let problem = format!("an id of {} bytes", id.len());
        return Err(quarantine(
            QuarantineReason::TooLarge,
            field,
            problem,
            format!("at most {MAX_ID_BYTES} bytes"),
        ));
    }
    Ok(())
}

fn subject_of(wire: &v1::Event) -> Result<Subject<'_>, Quarantine> {
    if !wire.user_id.is_empty() {
        check_id(&wire.user_id, "user_id", QuarantineReason::MissingField)?;
        return Ok(Subject::User(&wire.user_id));
    }
    if wire.anonymous_id.is_empty() {
        return Err(quarantine(
            QuarantineReason::MissingField,
            "user_id",
            "nobody is named",
            "user_id or anonymous_id",
        ));
    }
    check_id(&wire.anonymous_id, "anonymous_id", QuarantineReason::MissingField)?;
    Ok(Subject::Anonymous(&wire.anonymous_id))
}

const fn fixed_name(kind: EventKind) -> Option<&'static str> {
    match kind {
        EventKind::Page => Some("page_view"),
        EventKind::Screen => Some("screen_view"),
        EventKind::Identify => Some("identify"),
        EventKind::Alias => Some("alias"),
        EventKind::Retract => Some("retract"),
        EventKind::Track => None,
    }
}

/// What an event is called before anything is checked: the fixed name of its type, or the name as it came.
pub fn name_of(wire: &v1::Event) -> &str {
    kind_of(wire.r#type).ok().and_then(fixed_name).unwrap_or(&wire.event)
}

/// The name that features are declared on: fixed for page, screen and identify; for track the alias table, then
/// lower case with `_` for spaces and dashes.
fn canonical_name(kind: EventKind, given: &str) -> Result<Cow<'_, str>, Quarantine> {
    if let Some(name) = fixed_name(kind) {
        return Ok(name.into());
    }
    if given.is_empty() {
        return Err(quarantine(
            QuarantineReason::MissingField,
            "event",
            "the name is empty",
            "an event name",
        ));
    }
    if given.len() > MAX_EVENT_NAME_BYTES {
        let problem = format!("a name of {} bytes", given.len());
        let expected = format!("at most {MAX_EVENT_NAME_BYTES} bytes");
        return Err(quarantine(QuarantineReason::TooLarge, "event", problem, expected));
    }
    event_name::canonical(given).ok_or_else(|| {
        let expected = "letters, digits, spaces, `_`, `-`, `.` or `:`";
        quarantine(QuarantineReason::InvalidName, "event", format!("the name {given:?}"), expected)
    })
}

fn event_time(wire: Option<&prost_types::Timestamp>, arrival: &Arrival) -> Result<Timestamp, Quarantine> {
    let Some(wire) = wire else { return Ok(arrival.received_at) };
    let told = timestamp_from_wire(wire, "timestamp")
        .map_err(|error| set_aside(QuarantineReason::InvalidValue, error))?;
    let clock_offset_ms = arrival.sent_at.map_or(0, |sent_at| arrival.received_at.millis_since(sent_at));
    let event_time = told.plus_millis(clock_offset_ms);
    let age_ms = arrival.received_at.millis_since(event_time);
    if age_ms < -arrival.max_future_skew_ms {
        let problem = format!("{event_time} lies {} ms after its arrival", -age_ms);
        let expected = format!("at most {} later", format_duration_ms(arrival.max_future_skew_ms));
        return Err(quarantine(QuarantineReason::TooFarInFuture, "timestamp", problem, expected));
    }
    if age_ms > arrival.max_lateness_ms {
        let problem =
            format!("{event_time} lies {} days before its arrival", age_ms / augur_domain::time::DAY_MS);
        let expected = format!("at most {} earlier", format_duration_ms(arrival.max_lateness_ms));
        return Err(quarantine(QuarantineReason::TooLate, "timestamp", problem, expected));
    }
    Ok(event_time.min(arrival.received_at))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use augur_domain::time::{DAY_MS, MINUTE_MS, SECOND_MS};

    const NOW_MS: i64 = 1_795_366_965_000;

    fn arrival() -> Arrival {
        Arrival {
            received_at: Timestamp::from_unix_ms(NOW_MS),
            sent_at: None,
            max_future_skew_ms: 5 * MINUTE_MS,
            max_lateness_ms: 365 * DAY_MS,
        }
    }

    fn at(unix_ms: i64) -> Option<prost_types::Timestamp> {
        Some(crate::convert::timestamp_to_wire(Timestamp::from_unix_ms(unix_ms)))
    }

    fn good() -> v1::Event {
        v1::Event {
            message_id: "m1".into(),
            user_id: "ada".into(),
            event: "Product Added".into(),
            timestamp: at(NOW_MS - SECOND_MS),
            ..Default::default()
        }
    }

    fn convert(wire: v1::Event) -> Result<Event, Quarantine> {
        event_from_wire(wire, &arrival(), &Pseudonymiser::new([1; 32]))
    }

    #[test]
    fn a_good_event_is_canonical_and_pseudonymous() {
        let event = convert(good()).unwrap();
        assert_eq!(&*event.name, "add_to_cart");
        assert_eq!(event.event_time.unix_ms(), NOW_MS - SECOND_MS);
        assert_eq!(event.user, Pseudonymiser::new([1; 32]).user_key(Subject::User("ada")));
    }

    #[test]
    fn names_are_canonical() {
        for (given, canonical) in [("Song Played", "song_played"), ("view_item", "view_item"), ("A-B", "a_b")]
        {
            assert_eq!(&*convert(v1::Event { event: given.into(), ..good() }).unwrap().name, canonical);
        }
        let page = v1::Event { r#type: v1::EventType::Page as i32, event: String::new(), ..good() };
        assert_eq!(&*convert(page).unwrap().name, "page_view");
    }

    #[test]
    fn a_wrong_clock_at_the_sender_is_corrected() {
        let wrong_by = 3 * DAY_MS;
        let wire = v1::Event { timestamp: at(NOW_MS + wrong_by - MINUTE_MS), ..good() };
        let arrival = Arrival { sent_at: Some(Timestamp::from_unix_ms(NOW_MS + wrong_by)), ..arrival() };
        let event = event_from_wire(wire, &arrival, &Pseudonymiser::new([1; 32])).unwrap();
        assert_eq!(event.event_time.unix_ms(), NOW_MS - MINUTE_MS);
    }

    #[test]
    fn a_small_future_skew_counts_as_now() {
        let event = convert(v1::Event { timestamp: at(NOW_MS + 2 * MINUTE_MS), ..good() }).unwrap();
        assert_eq!(event.event_time.unix_ms(), NOW_MS);
    }

    #[test]
    fn bad_events_say_reason_field_and_expectation() {
        use QuarantineReason::*;
        let value = |kind| v1::Value { kind: Some(kind) };
        let property = |name: &str, value: v1::Value| BTreeMap::from([(name.to_owned(), value)]);
        let nan = property("price", value(v1::value::Kind::Number(f64::NAN)));
        let many: BTreeMap<_, _> =
            (0..5_000).map(|i| (format!("p{i}"), value(v1::value::Kind::Boolean(true)))).collect();
        let cases = [
            (v1::Event { message_id: String::new(), ..good() }, MissingField, "message_id"),
            (v1::Event { message_id: "x".repeat(257), ..good() }, TooLarge, "message_id"),
            (v1::Event { user_id: String::new(), ..good() }, MissingField, "user_id"),
            (v1::Event { user_id: "x".repeat(257), ..good() }, TooLarge, "user_id"),
            (v1::Event { event: String::new(), ..good() }, MissingField, "event"),
            (v1::Event { event: "x".repeat(129), ..good() }, TooLarge, "event"),
            (v1::Event { event: "bad\u{1b}[31m".into(), ..good() }, InvalidName, "event"),
            (v1::Event { r#type: 99, ..good() }, UnsupportedKind, "type"),
            (v1::Event { timestamp: at(0), ..good() }, TooLate, "timestamp"),
            (v1::Event { timestamp: at(4_070_908_800_000), ..good() }, TooFarInFuture, "timestamp"),
            (v1::Event { properties: nan, ..good() }, InvalidValue, "properties.price"),
            (v1::Event { properties: many, ..good() }, TooLarge, "properties"),
        ];
        for (wire, reason, field) in cases {
            let quarantine = convert(wire).unwrap_err();
            assert_eq!((quarantine.reason, &*quarantine.field), (reason, field), "{quarantine:?}");
            assert!(quarantine.detail.contains("expected"), "{quarantine:?}");
        }
    }

    #[test]
    fn an_event_without_its_ids_is_the_same_event() {
        let ours = Pseudonymiser::new([1; 32]);
        let retraction = v1::Event {
            r#type: v1::EventType::Retract as i32,
            retracts_message_id: "m0".into(),
            anonymous_id: "browser".into(),
            ..good()
        };
        for wire in [good(), retraction] {
            let mut kept = wire.clone();
            let ids = EventIds::take(&mut kept, &ours);
            let names = [&kept.message_id, &kept.user_id, &kept.anonymous_id, &kept.retracts_message_id];
            assert!(names.iter().all(|name| name.is_empty()), "{kept:?}");
            assert_eq!(event_from_kept(kept, &ids, &arrival()), convert(wire));
        }
        let mut long = v1::Event { message_id: "x".repeat(257), ..good() };
        let ids = EventIds::take(&mut long, &ours);
        assert_eq!(event_from_kept(long.clone(), &ids, &arrival()).unwrap_err().field, "message_id");
        let mended = v1::Event { message_id: "m1".into(), ..v1::Event::default() };
        let ids = EventIds::take(&mut mended.clone(), &ours).or(ids);
        assert_eq!(event_from_kept(long, &ids, &arrival()), convert(good()));
    }

    #[test]
    fn claims_name_the_other_id() {
        let ours = Pseudonymiser::new([1; 32]);
        let claim = |wire: &v1::Event| claim_from_wire(wire, &ours);
        let both = v1::Event { anonymous_id: "browser".into(), ..good() };
        let browser = ours.user_key(Subject::Anonymous("browser"));
        assert_eq!(claim(&good()).unwrap(), None);
        let by_device = IdentityClaim { id: browser, by: ClaimedBy::Device };
        assert_eq!(claim(&both).unwrap(), Some(by_device));

        let alias = v1::Event { r#type: v1::EventType::Alias as i32, ..both };
        assert_eq!(&*convert(alias.clone()).unwrap().name, "alias");
        let by_alias = IdentityClaim { by: ClaimedBy::Alias, ..by_device };
        assert_eq!(claim(&alias).unwrap(), Some(by_alias));
        let previous = v1::Event { previous_id: "old".into(), ..alias.clone() };
        assert_eq!(claim(&previous).unwrap().unwrap().id, ours.user_key(Subject::User("old")));

        let nobody = v1::Event { user_id: String::new(), ..alias.clone() };
        assert_eq!(claim(&nobody).unwrap_err().field, "user_id");
        let alone = v1::Event { anonymous_id: String::new(), ..alias.clone() };
        assert_eq!(claim(&alone).unwrap_err().field, "previous_id");
        let long = v1::Event { anonymous_id: "x".repeat(257), ..alias };
        assert_eq!(claim(&long).unwrap_err().reason, QuarantineReason::TooLarge);
    }
}
