//! One behavioural event, after validation.
//!
//! Not here: the checks that make one (`proto` converts, `server` applies time rules), or what an event does to
//! features (`feature-store`).

use std::sync::Arc;

use crate::ids::{MessageKey, UserKey};
use crate::time::Timestamp;
use crate::value::Value;

/// Longest accepted id (`user_id`, `anonymous_id`, `message_id`, idempotency key), in bytes.
pub const MAX_ID_BYTES: usize = 256;
/// Longest accepted event name, in bytes.
pub const MAX_EVENT_NAME_BYTES: usize = 128;
/// Most properties on one event.
pub const MAX_PROPERTIES: usize = 128;
/// Longest accepted property name, in bytes.
pub const MAX_PROPERTY_NAME_BYTES: usize = 128;
/// Longest accepted text value, in bytes.
pub const MAX_TEXT_BYTES: usize = 8 * 1024;
/// Most events in one batch.
pub const MAX_BATCH_EVENTS: usize = 2_500;

/// The call of the Segment spec that an event came by. Numbers are stored: never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EventKind {
    /// Something a user did.
    Track = 1,
    /// Who a user is: traits travel as properties.
    Identify = 2,
    /// A web page was seen.
    Page = 3,
    /// An app screen was seen.
    Screen = 4,
    /// Two ids name one person.
    Alias = 5,
    /// Takes back an earlier event, of which it repeats the name, the properties and the event time.
    Retract = 6,
}

impl EventKind {
    /// The kind with this stored number.
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Track),
            2 => Some(Self::Identify),
            3 => Some(Self::Page),
            4 => Some(Self::Screen),
            5 => Some(Self::Alias),
            6 => Some(Self::Retract),
            _ => None,
        }
    }
}

/// A validated event about one person.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Pseudonym of the sender's `message_id`; the same key is the same event, however often it is sent.
    pub message_key: MessageKey,
    /// Whom it is about.
    pub user: UserKey,
    /// By which call it came.
    pub kind: EventKind,
    /// Canonical snake_case name, e.g. `add_to_cart`.
    pub name: Arc<str>,
    /// When it happened, corrected for the sender's clock; never later than `received_at`.
    pub event_time: Timestamp,
    /// When this server first saw it.
    pub received_at: Timestamp,
    /// Ordered by name, each name once.
    pub properties: Vec<(Arc<str>, Value)>,
}

/// The property by which a request for a retraction names the event that it takes back.
const RETRACTS: &str = "retracts";

impl Event {
    /// A request to take back the event with the key `original`, made at `event_time`. Its own key is made of the
    /// original's, so that an event is taken back once, however often and under whatever id that is asked for.
    pub fn retraction(
        user: UserKey,
        original: MessageKey,
        event_time: Timestamp,
        received_at: Timestamp,
    ) -> Self {
        Self {
            message_key: original.of_retraction(),
            user,
            kind: EventKind::Retract,
            name: "retract".into(),
            event_time,
            received_at,
            properties: vec![(RETRACTS.into(), Value::Text(original.to_string().into()))],
        }
    }

    /// The key of the event that a request for a retraction takes back; `None` for any other event.
    pub fn retracts(&self) -> Option<MessageKey> {
        let original = self.property(RETRACTS).filter(|_| self.kind == EventKind::Retract)?;
        original.as_text()?.parse().ok()
    }

    /// The property called `name`.
    pub fn property(&self, name: &str) -> Option<&Value> {
        let index = self.properties.binary_search_by(|(key, _)| (**key).cmp(name)).ok()?;
        self.properties.get(index).map(|(_, value)| value)
    }
}

/// That another id names the person of an event, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdentityClaim {
    /// The other id.
    pub id: UserKey,
    /// How sure the claim is.
    pub by: ClaimedBy,
}

/// How an id came to be claimed for a person. Numbers are stored: never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ClaimedBy {
    /// An event named a known user on a browser or device: others may use it, too.
    Device = 1,
    /// An explicit alias of a former id.
    Alias = 2,
    /// An operator.
    Operator = 3,
}

impl ClaimedBy {
    /// The claim with this stored number.
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Device),
            2 => Some(Self::Alias),
            3 => Some(Self::Operator),
            _ => None,
        }
    }
}

/// What became of one event of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventOutcome {
    /// On disk, synced, counted, and visible to the next decision.
    Accepted,
    /// Its message id was seen before; nothing was counted twice.
    Duplicate,
    /// Not usable; kept aside with the reason, so that it can be fixed and replayed.
    Quarantined(Quarantine),
    /// Refused by the declared taxonomy; not kept anywhere.
    Rejected(Quarantine),
    /// Of a user who was erased; not kept anywhere.
    Suppressed,
}

/// Why an event was set aside or rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantine {
    /// The closed reason.
    pub reason: QuarantineReason,
    /// The field at fault, as a path in the request, e.g. `properties.price`.
    pub field: String,
    /// The bad value and what was expected.
    pub detail: String,
}

/// The closed set of reasons to set an event aside. Numbers are stored and on the wire: never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum QuarantineReason {
    /// A required field is absent or empty.
    MissingField = 1,
    /// A field is longer than its limit, or there are too many of them.
    TooLarge = 2,
    /// A number is NaN or infinite, or a value has no accepted type.
    InvalidValue = 3,
    /// Later than the server's clock by more than the allowed skew.
    TooFarInFuture = 4,
    /// Older than the allowed lateness.
    TooLate = 5,
    /// The `type` of the event is not supported.
    UnsupportedKind = 6,
    /// A name does not follow the naming rule.
    InvalidName = 7,
    /// The taxonomy declares no such event.
    UnknownEvent = 8,
    /// The taxonomy declares no such property on this event.
    UnknownProperty = 9,
    /// A property has another type than the taxonomy declares.
    WrongType = 10,
    /// A property lies outside its declared bounds or choices.
    OutOfBounds = 11,
    /// A retraction names an event that is not stored for this user.
    UnknownOriginal = 12,
    /// A retraction names an event that must not be retracted.
    NotRetractable = 13,
    /// Two ids that are to name one person already do, the other way round.
    LinkCycle = 14,
    /// The person has as many linked ids as are allowed.
    TooManyLinks = 15,
    /// The id to be linked has more events than may be moved at once.
    MergeTooLarge = 16,
    /// The id to be linked belongs to another person.
    LinkedElsewhere = 17,
}

impl QuarantineReason {
    /// Every reason.
    pub const ALL: [Self; 17] = [
        Self::MissingField,
        Self::TooLarge,
        Self::InvalidValue,
        Self::TooFarInFuture,
        Self::TooLate,
        Self::UnsupportedKind,
        Self::InvalidName,
        Self::UnknownEvent,
        Self::UnknownProperty,
        Self::WrongType,
        Self::OutOfBounds,
        Self::UnknownOriginal,
        Self::NotRetractable,
        Self::LinkCycle,
        Self::TooManyLinks,
        Self::MergeTooLarge,
        Self::LinkedElsewhere,
    ];

    /// The word used on the wire, in metrics and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MissingField => "MISSING_FIELD",
            Self::TooLarge => "TOO_LARGE",
            Self::InvalidValue => "INVALID_VALUE",
            Self::TooFarInFuture => "TOO_FAR_IN_FUTURE",
            Self::TooLate => "TOO_LATE",
            Self::UnsupportedKind => "UNSUPPORTED_KIND",
            Self::InvalidName => "INVALID_NAME",
            Self::UnknownEvent => "UNKNOWN_EVENT",
            Self::UnknownProperty => "UNKNOWN_PROPERTY",
            Self::WrongType => "WRONG_TYPE",
            Self::OutOfBounds => "OUT_OF_BOUNDS",
            Self::UnknownOriginal => "UNKNOWN_ORIGINAL",
            Self::NotRetractable => "NOT_RETRACTABLE",
            Self::LinkCycle => "LINK_CYCLE",
            Self::TooManyLinks => "TOO_MANY_LINKS",
            Self::MergeTooLarge => "MERGE_TOO_LARGE",
            Self::LinkedElsewhere => "LINKED_ELSEWHERE",
        }
    }

    /// The reason with this stored number.
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u8 == number)
    }
}
