//! The aggregates that features are read from. Each is a function of the set of events it took in, whatever
//! their order: whole numbers to the bit, sums of doubles to rounding, sessions and top values within the reach stated
//! there. Two states of one user merge into the state of all their events.
//!
//! Not here: which event goes to which aggregate (`schema`), or the record that holds them (`state`).

mod cell;
mod decayed;
mod decayed_cells;
mod distinct;
mod distinct_windows;
mod edge;
mod fixed;
mod hash;
mod hyper_log_log;
#[cfg(test)]
mod properties;
mod recency;
mod recent;
mod sessions;
#[cfg(test)]
mod testing;
mod top_k;
mod total;
mod windowed;

use std::sync::Arc;

use augur_domain::ids::MessageKey;
use augur_domain::value::Finite;
use augur_domain::{Timestamp, Value};

pub(crate) use distinct::MAX_EXACT_VALUES;
pub(crate) use hyper_log_log::{PRECISIONS, standard_error};
pub(crate) use recent::MAX_EXACT_EVENTS;
pub(crate) use top_k::MAX_CAPACITY;

use cell::{Count, Extremes, Fixed, Moments, Sum};
use decayed::Decayed;
use decayed_cells::DecayedCells;
use distinct::Distinct;
use distinct_windows::DistinctWindows;
use edge::Edge;
use recency::Recency;
use sessions::Sessions;
use top_k::TopK;
use total::Total;
use windowed::Windowed;

use crate::bytes::{self, Reader};
use crate::error::DecodeError;
use crate::schema::{AggregateKind, AggregateSpec, Measure, Statistic};

/// One event as an aggregate sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    pub(crate) at: Timestamp,
    /// Orders events of one millisecond.
    pub(crate) message_key: MessageKey,
    /// Whether a page or a screen was seen.
    pub(crate) is_page: bool,
    /// 1 for counts.
    pub(crate) weight: f64,
    /// What edges, distinct counts and top values are about.
    pub(crate) value: Option<&'a Value>,
}

/// What a read found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measured {
    pub(crate) value: MeasuredValue,
    /// The relative standard error of an estimate, or the relative bound of one that has a bound; `None` when exact.
    pub(crate) approximation_error: Option<f64>,
    /// Where the window really starts.
    pub(crate) window_start: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum MeasuredValue {
    /// Always finite; booleans are 0 and 1.
    Number(f64),
    Text(Arc<str>),
}

impl Measured {
    const fn number(number: f64) -> Self {
        let value = MeasuredValue::Number(number);
        Self { value, approximation_error: None, window_start: None }
    }

    fn value(value: &Value) -> Self {
        match value {
            Value::Boolean(truth) => Self::number(f64::from(u8::from(*truth))),
            Value::Number(number) => Self::number(number.get()),
            Value::Text(text) => {
                let value = MeasuredValue::Text(Arc::clone(text));
                Self { value, approximation_error: None, window_start: None }
            }
        }
    }
}

/// What every aggregate can do. Its `spec` is always the one it was begun with: `decode` is only reached behind the
/// fingerprint of the definitions.
trait Keep: Sized {
    /// The state right before its first event.
    fn begin(at: Timestamp, spec: &AggregateSpec) -> Self;
    fn add(&mut self, input: &Input<'_>, spec: &AggregateSpec);
    /// Takes an event back, before or after it came; nothing where that cannot be done.
    fn retract(&mut self, _input: &Input<'_>, _spec: &AggregateSpec) {}
    /// Takes in what another state of the same user took in.
    fn merge(&mut self, other: &Self, spec: &AggregateSpec);
    fn measure(&self, measure: Measure, now: Timestamp, spec: &AggregateSpec) -> Option<Measured>;
    /// The latest event that counts.
    fn latest(&self) -> Timestamp;
    /// Appends a body that is never empty.
    fn encode(&self, spec: &AggregateSpec, out: &mut Vec<u8>);
    fn decode(reader: &mut Reader<'_>, spec: &AggregateSpec) -> Result<Self, DecodeError>;
    /// Tells what `measure` and `latest` say, for each measure in turn, straight from the body where that is faster.
    fn peek(
        mut reader: Reader<'_>,
        measures: impl Iterator<Item = Measure>,
        now: Timestamp,
        spec: &AggregateSpec,
        mut tell: impl FnMut(Option<Measured>, Timestamp),
    ) -> Result<(), DecodeError> {
        let kept = Self::decode(&mut reader, spec)?;
        measures.for_each(|measure| tell(kept.measure(measure, now, spec), kept.latest()));
        Ok(())
    }
}

/// The state of one declaration for one user.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Aggregate {
    /// No event has touched it.
    Empty,
    Decayed(Decayed),
    DecayedCells(DecayedCells),
    CountWindows(Windowed<Count>),
    SumWindows(Windowed<Sum>),
    FixedWindows(Windowed<Fixed>),
    MomentWindows(Windowed<Moments>),
    ExtremeWindows(Windowed<Extremes>),
    CountTotal(Total<Count>),
    SumTotal(Total<Sum>),
    FixedTotal(Total<Fixed>),
    Recency(Recency),
    Edge(Edge),
    Sessions(Sessions),
    Distinct(Distinct),
    DistinctWindows(DistinctWindows),
    TopK(TopK),
}

/// Does the same with whatever is kept; `$empty` when nothing is.
macro_rules! with {
    ($aggregate:expr, $kept:ident => $body:expr, $empty:expr) => {
        match $aggregate {
            Aggregate::Empty => $empty,
            Aggregate::Decayed($kept) => $body,
            Aggregate::DecayedCells($kept) => $body,
            Aggregate::CountWindows($kept) => $body,
            Aggregate::SumWindows($kept) => $body,
            Aggregate::FixedWindows($kept) => $body,
            Aggregate::MomentWindows($kept) => $body,
            Aggregate::ExtremeWindows($kept) => $body,
            Aggregate::CountTotal($kept) => $body,
            Aggregate::SumTotal($kept) => $body,
            Aggregate::FixedTotal($kept) => $body,
            Aggregate::Recency($kept) => $body,
            Aggregate::Edge($kept) => $body,
            Aggregate::Sessions($kept) => $body,
            Aggregate::Distinct($kept) => $body,
            Aggregate::DistinctWindows($kept) => $body,
            Aggregate::TopK($kept) => $body,
        }
    };
}

/// Does something with the type that a declaration keeps its state in.
macro_rules! by_kind {
    ($spec:expr, $Kept:ident => $body:expr) => {{
        macro_rules! kept_in {
            ($kept:ty) => {{
                type $Kept = $kept;
                $body
            }};
        }
        match &$spec.kind {
            AggregateKind::Decayed { exact: false, .. } => kept_in!(Decayed),
            AggregateKind::Decayed { exact: true, .. } => kept_in!(DecayedCells),
            AggregateKind::Windowed { statistic: Statistic::Moments, .. } => kept_in!(Windowed<Moments>),
            AggregateKind::Windowed { statistic: Statistic::Extremes, .. } => kept_in!(Windowed<Extremes>),
            AggregateKind::Windowed { .. } if $spec.counts() => kept_in!(Windowed<Count>),
            AggregateKind::Windowed { exact: true, .. } => kept_in!(Windowed<Fixed>),
            AggregateKind::Windowed { .. } => kept_in!(Windowed<Sum>),
            AggregateKind::Total { .. } if $spec.counts() => kept_in!(Total<Count>),
            AggregateKind::Total { exact: true } => kept_in!(Total<Fixed>),
            AggregateKind::Total { .. } => kept_in!(Total<Sum>),
            AggregateKind::Recency => kept_in!(Recency),
            AggregateKind::Edge { .. } => kept_in!(Edge),
            AggregateKind::Sessions { .. } => kept_in!(Sessions),
            AggregateKind::Distinct { rings, .. } if rings.is_empty() => kept_in!(Distinct),
            AggregateKind::Distinct { .. } => kept_in!(DistinctWindows),
            AggregateKind::TopK { .. } => kept_in!(TopK),
        }
    }};
}

macro_rules! from_kept {
    ($($variant:ident($kept:ty)),* $(,)?) => {
        $(impl From<$kept> for Aggregate {
            fn from(kept: $kept) -> Self {
                Self::$variant(kept)
            }
        })*
    };
}

from_kept!(
    Decayed(Decayed),
    DecayedCells(DecayedCells),
    CountWindows(Windowed<Count>),
    SumWindows(Windowed<Sum>),
    FixedWindows(Windowed<Fixed>),
    MomentWindows(Windowed<Moments>),
    ExtremeWindows(Windowed<Extremes>),
    CountTotal(Total<Count>),
    SumTotal(Total<Sum>),
    FixedTotal(Total<Fixed>),
    Recency(Recency),
    Edge(Edge),
    Sessions(Sessions),
    Distinct(Distinct),
    DistinctWindows(DistinctWindows),
    TopK(TopK),
);

impl Aggregate {
    fn begin(at: Timestamp, spec: &AggregateSpec) -> Self {
        by_kind!(spec, Kept => Kept::begin(at, spec).into())
    }

    /// Takes in one event.
    pub(crate) fn add(&mut self, input: &Input<'_>, spec: &AggregateSpec) {
        if !is_countable(input, spec) {
            return;
        }
        if let Self::Empty = self {
            *self = Self::begin(input.at, spec);
        }
        with!(self, kept => kept.add(input, spec), ());
    }

    /// Takes one event back: afterwards the state is as if it had never come, except that its time may remain as the
    /// latest. It may be taken back before it comes. Nothing happens where [`AggregateSpec::can_retract`] denies it.
    pub(crate) fn retract(&mut self, input: &Input<'_>, spec: &AggregateSpec) {
        if !spec.can_retract() {
            return;
        }
        if let Self::Empty = self {
            *self = Self::begin(input.at, spec);
        }
        with!(self, kept => kept.retract(input, spec), ());
    }

    /// Takes in everything that `other`, another state under the same `spec`, took in.
    pub(crate) fn merge(&mut self, other: &Self, spec: &AggregateSpec) {
        macro_rules! merge_same {
            ($($variant:ident),*) => {
                match (&mut *self, other) {
                    $((Self::$variant(kept), Self::$variant(other)) => kept.merge(other, spec),)*
                    (Self::Empty, other) => *self = other.clone(),
                    _ => {}
                }
            };
        }
        merge_same!(
            Decayed,
            DecayedCells,
            CountWindows,
            SumWindows,
            FixedWindows,
            MomentWindows,
            ExtremeWindows,
            CountTotal,
            SumTotal,
            FixedTotal,
            Recency,
            Edge,
            Sessions,
            Distinct,
            DistinctWindows,
            TopK
        );
    }

    /// The value at `now`; `None` when there is none, such as the age of what never happened.
    pub(crate) fn measure(&self, measure: Measure, now: Timestamp, spec: &AggregateSpec) -> Option<Measured> {
        with!(self, kept => kept.measure(measure, now, spec), of_nothing(measure, now, spec))
    }

    /// The latest event that touched it.
    pub(crate) fn latest(&self) -> Option<Timestamp> {
        with!(self, kept => Some(kept.latest()), None)
    }

    /// Appends the length of the body and the body; a length of 0 says that no event has touched it.
    pub(crate) fn encode(&self, spec: &AggregateSpec, out: &mut Vec<u8>) {
        bytes::put_with_length(out, |out| with!(self, kept => kept.encode(spec, out), ()));
    }

    pub(crate) fn decode(reader: &mut Reader<'_>, spec: &AggregateSpec) -> Result<Self, DecodeError> {
        let body = reader.bytes("aggregate")?;
        if body.is_empty() {
            return Ok(Self::Empty);
        }
        let mut reader = Reader::of(body);
        let aggregate = by_kind!(spec, Kept => Kept::decode(&mut reader, spec)?.into());
        reader.finish()?;
        Ok(aggregate)
    }
}

/// Tells what [`Aggregate::measure`] and [`Aggregate::latest`] would say of the aggregate with this body, for each measure
/// in turn, in bodies that were written for this `spec`. Looks at no more than it needs, so it may also answer where
/// [`Aggregate::decode`] would refuse.
pub(crate) fn measure_body(
    body: &[u8],
    measures: impl Iterator<Item = Measure>,
    now: Timestamp,
    spec: &AggregateSpec,
    mut tell: impl FnMut(Option<Measured>, Option<Timestamp>),
) -> Result<(), DecodeError> {
    if body.is_empty() {
        measures.for_each(|measure| tell(of_nothing(measure, now, spec), None));
        return Ok(());
    }
    let tell = |measured, latest| tell(measured, Some(latest));
    by_kind!(spec, Kept => Kept::peek(Reader::of(body), measures, now, spec, tell))
}

/// Whether the event has what the aggregate is about.
fn is_countable(input: &Input<'_>, spec: &AggregateSpec) -> bool {
    match spec.kind {
        AggregateKind::Edge { value_type, .. } | AggregateKind::TopK { value_type, .. } => {
            input.value.is_some_and(|value| {
                let fits = value.as_text().is_none_or(|text| text.len() <= edge::MAX_TEXT_BYTES);
                value.value_type() == value_type && fits
            })
        }
        AggregateKind::Distinct { .. } => input.value.is_some(),
        _ => true,
    }
}

/// What is read where no event has touched anything.
fn of_nothing(measure: Measure, now: Timestamp, spec: &AggregateSpec) -> Option<Measured> {
    let window_start = start_of_nothing(measure, now, spec);
    match measure {
        Measure::Window { what, .. } => {
            cell::of_nothing(what).map(|value| Measured { window_start, ..Measured::number(value) })
        }
        Measure::DistinctWindow { .. } => Some(Measured { window_start, ..Measured::number(0.0) }),
        Measure::Decayed { .. }
        | Measure::Total
        | Measure::Distinct
        | Measure::SessionCount { .. }
        | Measure::CurrentEvents { .. }
        | Measure::CurrentLength { .. }
        | Measure::CurrentPages { .. } => Some(Measured::number(0.0)),
        _ => None,
    }
}

/// Where a window without events starts: at its declared start where events or values are kept one by one, else on the
/// border of a tile. `None` without a window.
pub(crate) fn start_of_nothing(measure: Measure, now: Timestamp, spec: &AggregateSpec) -> Option<Timestamp> {
    match (measure, &spec.kind) {
        (Measure::Window { window_ms, .. }, AggregateKind::Windowed { exact_events: 1.., .. })
        | (Measure::DistinctWindow { window_ms }, _) => Some(now.plus_millis(-window_ms)),
        (Measure::Window { window_ms, hop_ms, .. }, _) => {
            let first = windowed::first_tile(now, window_ms, hop_ms);
            Some(Timestamp::from_unix_ms(first.saturating_mul(hop_ms)))
        }
        _ => None,
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

/// The time that lies an unsigned number of milliseconds before `later`.
fn take_back(
    reader: &mut Reader<'_>,
    later: Timestamp,
    field: &'static str,
) -> Result<Timestamp, DecodeError> {
    let invalid = DecodeError::Invalid { field };
    let behind_ms = i64::try_from(reader.unsigned(field)?).map_err(|_| invalid.clone())?;
    let time = later.plus_millis(-behind_ms);
    if later.millis_since(time) == behind_ms { Ok(time) } else { Err(invalid) }
}

const FALSE: u8 = 0;
const TRUE: u8 = 1;
const NUMBER: u8 = 2;
const TEXT: u8 = 3;

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Boolean(truth) => out.push(if *truth { TRUE } else { FALSE }),
        Value::Number(number) => {
            out.push(NUMBER);
            bytes::put_f64(out, number.get());
        }
        Value::Text(text) => {
            out.push(TEXT);
            bytes::put_text(out, text);
        }
    }
}

/// Passes by what [`take_value`] would take.
fn pass_value(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    const FIELD: &str = "kept value";
    match reader.byte(FIELD)? {
        NUMBER => reader.skip(size_of::<f64>(), FIELD),
        TEXT => reader.bytes(FIELD).map(drop),
        _ => Ok(()),
    }
}

fn take_value(reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
    const FIELD: &str = "kept value";
    let invalid = DecodeError::Invalid { field: FIELD };
    Ok(match reader.byte(FIELD)? {
        FALSE => Value::Boolean(false),
        TRUE => Value::Boolean(true),
        NUMBER => Value::Number(Finite::new(reader.finite(FIELD)?).ok_or(invalid)?),
        TEXT => {
            let text = reader.text(FIELD)?;
            if text.len() > edge::MAX_TEXT_BYTES {
                return Err(invalid);
            }
            Value::Text(text.into())
        }
        _ => return Err(invalid),
    })
}
