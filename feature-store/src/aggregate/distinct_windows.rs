//! How many different values there were in the last so-and-so long.
//!
//! Of each value only the latest time matters to windows that end now. The latest values are kept one by one, and
//! answer every window that holds no more of them, exactly. Behind them stands a sliding HyperLogLog (Chabchoub and Hébrail, 2010):
//! per register the ranks that a window could still see as its greatest, by tile. Both depend on the set of events alone.
//! One structure serves all windows. Not here: values since ever (`distinct`).

use augur_domain::Timestamp;

use super::hash::hash;
use super::hyper_log_log::{Histogram, place, standard_error};
use super::windowed::first_tile;
use super::{Input, Keep, Measured, put_time, take_back, take_time};
use crate::bytes::{self, Reader};
use crate::error::DecodeError;
use crate::schema::{AggregateKind, AggregateSpec, Measure};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DistinctWindows {
    latest: Timestamp,
    /// The latest time of the latest values, ascending by time and hash, each hash once.
    recent: Vec<(Timestamp, u64)>,
    /// Since values were dropped, until no window can reach them.
    sketch: Option<Sketch>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Sketch {
    /// The latest time of the latest value that is not kept.
    dropped: Timestamp,
    /// Ascending by register and tile; within a register ranks descend.
    marks: Vec<Mark>,
}

/// The greatest rank that a register saw in a tile or later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    register: u16,
    tile: i64,
    rank: u8,
}

/// What a declaration says.
#[derive(Clone, Copy)]
struct Parts {
    /// The shortest tile; those of all windows begin on its borders.
    hop_ms: i64,
    longest_ms: i64,
    most: usize,
    precision: u8,
}

impl Parts {
    fn of(spec: &AggregateSpec) -> Self {
        let AggregateKind::Distinct { rings, exact_values, precision } = &spec.kind else {
            return Self { hop_ms: 1, longest_ms: 0, most: 0, precision: 12 };
        };
        Self {
            hop_ms: rings.iter().map(|ring| ring.hop_ms).min().unwrap_or(1),
            longest_ms: rings.iter().map(|ring| ring.longest_window_ms).max().unwrap_or(0),
            most: *exact_values as usize,
            precision: *precision,
        }
    }

    const fn tile(self, at: Timestamp) -> i64 {
        at.unix_ms().div_euclid(self.hop_ms)
    }

    /// The oldest tile that a window at `latest` or later can reach.
    fn oldest(self, latest: Timestamp) -> i64 {
        first_tile(latest, self.longest_ms, self.hop_ms)
    }
}

impl Sketch {
    fn add(&mut self, hash: u64, tile: i64, precision: u8) {
        let (register, rank) = place(hash, precision);
        self.mark(Mark { register, tile, rank });
    }

    fn mark(&mut self, mark: Mark) {
        let Mark { register, tile, rank } = mark;
        let begin = self.marks.partition_point(|kept| kept.register < register);
        let end = self.marks.partition_point(|kept| kept.register <= register);
        let kept = self.marks.get(begin..end).unwrap_or_default();
        // Later and as great: the newcomer will never be seen.
        let later = begin + kept.partition_point(|kept| kept.tile < tile);
        if self.marks.get(later..end).is_some_and(|kept| kept.first().is_some_and(|kept| kept.rank >= rank)) {
            return;
        }
        // Earlier and no greater: those will not be seen any more.
        let greater = begin + kept.partition_point(|kept| kept.rank > rank);
        let until = begin + kept.partition_point(|kept| kept.tile <= tile);
        self.marks.splice(greater..until.max(greater), [mark]);
    }

    fn estimate(&self, first: i64, last: i64, precision: u8) -> f64 {
        let mut histogram = Histogram::new();
        let mut counted = None;
        let inside = self.marks.iter().filter(|mark| (first..=last).contains(&mark.tile));
        for mark in inside {
            // The first of a register inside the window is its greatest.
            if counted != Some(mark.register) {
                histogram.count(mark.rank);
                counted = Some(mark.register);
            }
        }
        histogram.estimate(precision)
    }
}

impl DistinctWindows {
    fn advance(&mut self, at: Timestamp, parts: Parts) {
        if at <= self.latest {
            return;
        }
        let (before, oldest) = (parts.oldest(self.latest), parts.oldest(at));
        self.latest = at;
        if oldest > before {
            self.expire(oldest, parts);
        }
    }

    fn expire(&mut self, oldest: i64, parts: Parts) {
        let expired = self.recent.partition_point(|(at, _)| parts.tile(*at) < oldest);
        self.recent.drain(..expired);
        self.sketch = self.sketch.take().filter(|sketch| parts.tile(sketch.dropped) >= oldest);
        if let Some(sketch) = &mut self.sketch {
            sketch.marks.retain(|mark| mark.tile >= oldest);
        }
    }

    fn take_in(&mut self, at: Timestamp, hash: u64, parts: Parts) {
        if parts.tile(at) < parts.oldest(self.latest) {
            return;
        }
        if let Some(sketch) = &mut self.sketch {
            sketch.add(hash, parts.tile(at), parts.precision);
        }
        if let Some(place) = self.recent.iter().position(|(_, kept)| *kept == hash) {
            if self.recent.get(place).is_some_and(|(kept, _)| *kept >= at) {
                return;
            }
            self.recent.remove(place);
        }
        let place = self.recent.partition_point(|kept| *kept < (at, hash));
        self.recent.insert(place, (at, hash));
        self.keep(parts);
    }

    /// Drops the earliest values beyond those that are kept, into the sketch.
    fn keep(&mut self, parts: Parts) {
        let over = self.recent.len().saturating_sub(parts.most);
        let Some((dropped, _)) = over.checked_sub(1).and_then(|last| self.recent.get(last)).copied() else {
            return;
        };
        // Nothing was dropped before, so what is kept is all there is.
        let sketch = self.sketch.get_or_insert_with(|| {
            let mut sketch = Sketch { dropped, marks: Vec::new() };
            for (at, hash) in &self.recent {
                sketch.add(*hash, parts.tile(*at), parts.precision);
            }
            sketch
        });
        sketch.dropped = sketch.dropped.max(dropped);
        self.recent.drain(..over);
    }
}

impl Keep for DistinctWindows {
    fn begin(at: Timestamp, _spec: &AggregateSpec) -> Self {
        Self { latest: at, recent: Vec::new(), sketch: None }
    }

    fn add(&mut self, input: &Input<'_>, spec: &AggregateSpec) {
        if let Some(value) = input.value {
            let parts = Parts::of(spec);
            self.advance(input.at, parts);
            self.take_in(input.at, hash(value), parts);
        }
    }

    fn merge(&mut self, other: &Self, spec: &AggregateSpec) {
        let parts = Parts::of(spec);
        let mut other = other.clone();
        let latest = self.latest.max(other.latest);
        self.advance(latest, parts);
        other.advance(latest, parts);
        // A sketch knows of all values; give one to whoever has none, before values come together.
        if self.sketch.is_none() && other.sketch.is_some() {
            std::mem::swap(self, &mut other);
        }
        if let (Some(sketch), Some(others)) = (&mut self.sketch, &other.sketch) {
            sketch.dropped = sketch.dropped.max(others.dropped);
            others.marks.iter().for_each(|mark| sketch.mark(*mark));
        }
        for (at, hash) in other.recent {
            self.take_in(at, hash, parts);
        }
    }

    fn measure(&self, measure: Measure, now: Timestamp, spec: &AggregateSpec) -> Option<Measured> {
        let Measure::DistinctWindow { window_ms, .. } = measure else { return None };
        let declared = now.plus_millis(-window_ms);
        match &self.sketch {
            Some(sketch) if sketch.dropped >= declared => {
                // The shortest tile begins every window: nearer to its declared start than its own would.
                let parts = Parts::of(spec);
                let first = parts.tile(declared);
                let start = Timestamp::from_unix_ms(first.saturating_mul(parts.hop_ms));
                Some(Measured {
                    approximation_error: Some(standard_error(parts.precision)),
                    window_start: Some(start),
                    ..Measured::number(sketch.estimate(first, parts.tile(now), parts.precision))
                })
            }
            _ => {
                let inside = |at: Timestamp| at >= declared && at <= now;
                let count = self.recent.iter().filter(|(at, _)| inside(*at)).count();
                Some(Measured { window_start: Some(declared), ..Measured::number(count as f64) })
            }
        }
    }

    fn peek(
        reader: Reader<'_>,
        measures: impl Iterator<Item = Measure>,
        now: Timestamp,
        spec: &AggregateSpec,
        mut tell: impl FnMut(Option<Measured>, Timestamp),
    ) -> Result<(), DecodeError> {
        let mut ahead = reader.clone();
        let latest = take_time(&mut ahead, "distinct values")?;
        let mut decoded = None;
        for measure in measures {
            let found = match measure {
                Measure::DistinctWindow { window_ms } => {
                    peek_recent(&mut ahead.clone(), latest, now.plus_millis(-window_ms), now)?
                }
                _ => None,
            };
            if found.is_some() {
                tell(found, latest);
                continue;
            }
            let windows = match &mut decoded {
                Some(windows) => windows,
                none => none.insert(Self::decode(&mut reader.clone(), spec)?),
            };
            tell(windows.measure(measure, now, spec), latest);
        }
        Ok(())
    }

    fn latest(&self) -> Timestamp {
        self.latest
    }

    fn encode(&self, spec: &AggregateSpec, out: &mut Vec<u8>) {
        let parts = Parts::of(spec);
        put_time(out, self.latest);
        bytes::put_unsigned(out, self.recent.len() as u64);
        let mut newer = self.latest;
        for (at, hash) in self.recent.iter().rev() {
            bytes::put_unsigned(out, newer.millis_since(*at).unsigned_abs());
            out.extend_from_slice(&hash.to_le_bytes());
            newer = *at;
        }
        out.push(u8::from(self.sketch.is_some()));
        if let Some(sketch) = &self.sketch {
            bytes::put_unsigned(out, newer.millis_since(sketch.dropped).unsigned_abs());
            bytes::put_unsigned(out, sketch.marks.len() as u64);
            let (newest, mut previous) = (parts.tile(self.latest), 0);
            for mark in &sketch.marks {
                bytes::put_unsigned(out, u64::from(mark.register.wrapping_sub(previous)));
                bytes::put_unsigned(out, newest.abs_diff(mark.tile));
                out.push(mark.rank);
                previous = mark.register;
            }
        }
    }

    fn decode(reader: &mut Reader<'_>, spec: &AggregateSpec) -> Result<Self, DecodeError> {
        const FIELD: &str = "distinct values";
        let invalid = DecodeError::Invalid { field: FIELD };
        let parts = Parts::of(spec);
        let latest = take_time(reader, FIELD)?;
        let recent = take_recent(reader, latest)?;
        let oldest_kept = recent.first().map_or(latest, |(at, _)| *at);
        let sketch = match reader.byte(FIELD)? {
            0 => None,
            1 => Some(Sketch {
                dropped: take_back(reader, oldest_kept, FIELD)?,
                marks: take_marks(reader, latest, parts)?,
            }),
            _ => return Err(invalid),
        };
        let reachable = |at: Timestamp| parts.tile(at) >= parts.oldest(latest);
        let fits = recent.len() <= parts.most
            && reachable(oldest_kept)
            && sketch.as_ref().is_none_or(|sketch| recent.len() == parts.most && reachable(sketch.dropped));
        if fits { Ok(Self { latest, recent, sketch }) } else { Err(invalid) }
    }
}

/// The exact number of values from `declared` to `now`; `None` when those kept one by one may not be all.
fn peek_recent(
    reader: &mut Reader<'_>,
    latest: Timestamp,
    declared: Timestamp,
    now: Timestamp,
) -> Result<Option<Measured>, DecodeError> {
    const FIELD: &str = "distinct values";
    let found =
        |count: u32| Some(Measured { window_start: Some(declared), ..Measured::number(f64::from(count)) });
    let (mut inside, mut at) = (0, latest);
    for _ in 0..reader.unsigned(FIELD)? {
        at = take_back(reader, at, FIELD)?;
        reader.skip(size_of::<u64>(), FIELD)?;
        if at < declared {
            // What was dropped is older still.
            return Ok(found(inside));
        }
        inside += u32::from(at <= now);
    }
    Ok(if reader.byte(FIELD)? == 0 { found(inside) } else { None })
}

fn take_recent(reader: &mut Reader<'_>, latest: Timestamp) -> Result<Vec<(Timestamp, u64)>, DecodeError> {
    const FIELD: &str = "distinct values";
    let count = reader.count(FIELD, 9)?;
    let mut recent: Vec<(Timestamp, u64)> = Vec::with_capacity(count);
    let mut newer = latest;
    for _ in 0..count {
        let at = take_back(reader, newer, FIELD)?;
        let hash = u64::from_le_bytes(reader.array(FIELD)?);
        if recent.last().is_some_and(|later| *later <= (at, hash)) {
            return Err(DecodeError::Invalid { field: FIELD });
        }
        recent.push((at, hash));
        newer = at;
    }
    recent.reverse();
    let mut hashes: Vec<u64> = recent.iter().map(|(_, hash)| *hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    if hashes.len() == count { Ok(recent) } else { Err(DecodeError::Invalid { field: FIELD }) }
}

fn take_marks(reader: &mut Reader<'_>, latest: Timestamp, parts: Parts) -> Result<Vec<Mark>, DecodeError> {
    const FIELD: &str = "distinct sketch";
    let invalid = DecodeError::Invalid { field: FIELD };
    let count = reader.count(FIELD, 3)?;
    let (newest, oldest) = (parts.tile(latest), parts.oldest(latest));
    let longest = 65_u8.saturating_sub(parts.precision);
    let mut marks: Vec<Mark> = Vec::with_capacity(count);
    for _ in 0..count {
        let step = u16::try_from(reader.unsigned(FIELD)?).map_err(|_| invalid.clone())?;
        let behind = i64::try_from(reader.unsigned(FIELD)?).map_err(|_| invalid.clone())?;
        let rank = reader.byte(FIELD)?;
        let previous = marks.last().map_or(0, |mark| mark.register);
        let register = previous.checked_add(step).ok_or_else(|| invalid.clone())?;
        let tile = newest.checked_sub(behind).ok_or_else(|| invalid.clone())?;
        let ordered = marks
            .last()
            .is_none_or(|last| last.register < register || (last.tile < tile && last.rank > rank));
        let fits = u32::from(register) < (1_u32 << parts.precision.min(31)) && (1..=longest).contains(&rank);
        if !ordered || !fits || tile < oldest {
            return Err(invalid);
        }
        marks.push(Mark { register, tile, rank });
    }
    Ok(marks)
}
