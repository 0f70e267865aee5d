//! The aggregates that features are read from. Each is a function of the set of events it took in, whatever
//! their order: integers to the bit, sums of floats to rounding, sessions within the reach stated there.
//!
//! Not here: which event goes to which aggregate (`schema`), or the record that holds them (`state`).

mod decayed;
mod recency;
mod sessions;
mod windowed;

use augur_domain::Timestamp;

pub(crate) use decayed::Decayed;
pub(crate) use recency::Recency;
pub(crate) use sessions::Sessions;
pub(crate) use windowed::Windowed;

use crate::bytes::{self, Reader};
use crate::error::DecodeError;
use crate::schema::{AggregateKind, AggregateSpec, Measure};

/// The state of one declaration for one user.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Aggregate {
    /// No event has touched it.
    Empty,
    Decayed(Decayed),
    Windowed(Windowed),
    Recency(Recency),
    Sessions(Sessions),
}

impl Aggregate {
    /// Takes in one event of weight `amount` (1 for counts).
    pub(crate) fn add(&mut self, at: Timestamp, amount: f64, spec: &AggregateSpec) {
        if let Self::Empty = self {
            *self = match &spec.kind {
                AggregateKind::Decayed { half_lives_ms, .. } => {
                    Self::Decayed(Decayed::new(at, half_lives_ms.len()))
                }
                AggregateKind::Windowed { rings, .. } => Self::Windowed(Windowed::new(at, rings.len())),
                AggregateKind::Recency => Self::Recency(Recency::new(at)),
                AggregateKind::Sessions { .. } => Self::Sessions(Sessions::new(at)),
                _ => return,
            };
        }
        match (self, &spec.kind) {
            (Self::Decayed(decayed), AggregateKind::Decayed { half_lives_ms, .. }) => {
                decayed.add(at, amount, half_lives_ms);
            }
            (Self::Windowed(windowed), AggregateKind::Windowed { rings, .. }) => {
                windowed.add(at, amount, rings)
            }
            (Self::Recency(recency), _) => recency.add(at),
            (Self::Sessions(sessions), AggregateKind::Sessions { gap_ms }) => sessions.add(at, *gap_ms),
            // A state is only ever used with the schema that made it; `decode` checks the fingerprint.
            _ => {}
        }
    }

    /// The value at `now`; `None` when there is none, such as the age of what never happened.
    pub(crate) fn measure(&self, measure: Measure, now: Timestamp) -> Option<f64> {
        match (self, measure) {
            (
                Self::Empty,
                Measure::Decayed { .. }
                | Measure::Window { .. }
                | Measure::SessionCount { .. }
                | Measure::CurrentEvents { .. }
                | Measure::CurrentLength { .. },
            ) => Some(0.0),
            (Self::Decayed(decayed), Measure::Decayed { index, half_life_ms }) => {
                Some(decayed.value(index, half_life_ms, now))
            }
            (Self::Windowed(windowed), Measure::Window { ring, window_ms, hop_ms, .. }) => {
                Some(windowed.value(ring, window_ms, hop_ms, now))
            }
            (Self::Recency(recency), Measure::SinceLast) => Some(seconds(now.millis_since(recency.last))),
            (Self::Recency(recency), Measure::SinceFirst) => Some(seconds(now.millis_since(recency.first))),
            (Self::Sessions(sessions), Measure::SessionCount { .. }) => Some(sessions.count() as f64),
            (Self::Sessions(sessions), Measure::CurrentEvents { gap_ms }) => {
                Some(sessions.open_at(now, gap_ms).map_or(0.0, |open| open.events as f64))
            }
            (Self::Sessions(sessions), Measure::CurrentLength { gap_ms }) => {
                Some(sessions.open_at(now, gap_ms).map_or(0.0, |open| seconds(now.millis_since(open.start))))
            }
            (Self::Sessions(sessions), Measure::MeanLength { .. }) => {
                Some(sessions.total_length_ms() / sessions.count() as f64 / 1_000.0)
            }
            _ => None,
        }
    }

    /// The latest event that touched it.
    pub(crate) fn latest(&self) -> Option<Timestamp> {
        match self {
            Self::Empty => None,
            Self::Decayed(decayed) => Some(decayed.latest()),
            Self::Windowed(windowed) => Some(windowed.latest()),
            Self::Recency(recency) => Some(recency.last),
            Self::Sessions(sessions) => Some(sessions.latest()),
        }
    }

    pub(crate) fn encode(&self, spec: &AggregateSpec, out: &mut Vec<u8>) {
        out.push(u8::from(*self != Self::Empty));
        match self {
            Self::Empty => {}
            Self::Decayed(decayed) => decayed.encode(out),
            Self::Windowed(windowed) => windowed.encode(spec.counts(), out),
            Self::Recency(recency) => recency.encode(out),
            Self::Sessions(sessions) => sessions.encode(out),
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>, spec: &AggregateSpec) -> Result<Self, DecodeError> {
        match reader.byte("aggregate presence")? {
            0 => return Ok(Self::Empty),
            1 => {}
            _ => return Err(DecodeError::Invalid { field: "aggregate presence" }),
        }
        Ok(match &spec.kind {
            AggregateKind::Decayed { half_lives_ms, .. } => {
                Self::Decayed(Decayed::decode(reader, half_lives_ms.len())?)
            }
            AggregateKind::Windowed { rings, .. } => {
                Self::Windowed(Windowed::decode(reader, rings.len(), spec.counts())?)
            }
            AggregateKind::Recency => Self::Recency(Recency::decode(reader)?),
            AggregateKind::Sessions { .. } => Self::Sessions(Sessions::decode(reader)?),
            _ => return Err(DecodeError::Invalid { field: "aggregate presence" }),
        })
    }
}

/// Milliseconds as seconds; ages of what lies ahead are 0.
fn seconds(length_ms: i64) -> f64 {
    length_ms.max(0) as f64 / 1_000.0
}

/// The sum, held inside the finite range so that no amount of huge values can make it infinite.
fn add_bounded(sum: f64, amount: f64) -> f64 {
    (sum + amount).clamp(f64::MIN, f64::MAX)
}

fn put_time(out: &mut Vec<u8>, time: Timestamp) {
    bytes::put_signed(out, time.unix_ms());
}

fn take_time(reader: &mut Reader<'_>, field: &'static str) -> Result<Timestamp, DecodeError> {
    let unix_ms = reader.signed(field)?;
    let time = Timestamp::from_unix_ms(unix_ms);
    if time.unix_ms() == unix_ms { Ok(time) } else { Err(DecodeError::Invalid { field }) }
}
