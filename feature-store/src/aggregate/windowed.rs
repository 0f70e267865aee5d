//! Counts, sums, moments and extremes over the last so-and-so long: tiles on fixed borders, exact at the near end.
//!
//! A window starts on the tile border at or before its declared start, and ends with the very last event; tiles
//! are merged on every read, from the newest back, never subtracted. Where the latest events are kept one by one, a window that holds
//! no more of them begins at its declared start instead. Not here: which tile length serves which window (`schema`).

use augur_domain::Timestamp;

use super::cell::{self, Cell};
use super::recent::Recent;
use super::{Input, Keep, Measured, put_time, take_time};
use crate::bytes::{self, Reader};
use crate::error::DecodeError;
use crate::schema::{AggregateKind, AggregateSpec, Measure, RingSpec, WindowStatistic};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Windowed<C> {
    /// The latest time, of events taken back too.
    latest: Timestamp,
    /// One per tile length, as the schema orders them; tiles ascending, only those with events.
    rings: Vec<Vec<Tile<C>>>,
    /// Empty unless events are kept one by one.
    recent: Recent,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Tile<C> {
    /// The tile covers `[number * hop, (number + 1) * hop)`.
    number: i64,
    cell: C,
}

impl<C: Cell> Windowed<C> {
    /// What is dropped depends on the latest event only, so the order of arrival leaves no trace.
    fn advance(&mut self, at: Timestamp, rings: &[RingSpec]) {
        if at <= self.latest {
            return;
        }
        self.latest = at;
        for (ring, spec) in self.rings.iter_mut().zip(rings) {
            let oldest = first_tile(at, spec.longest_window_ms, spec.hop_ms);
            if ring.first().is_some_and(|tile| tile.number < oldest) {
                let expired = ring.partition_point(|tile| tile.number < oldest);
                ring.drain(..expired);
            }
        }
        self.recent.expire(reach(at, rings));
    }

    fn take_in(&mut self, at: Timestamp, cell: &C, rings: &[RingSpec]) {
        self.advance(at, rings);
        for (ring, spec) in self.rings.iter_mut().zip(rings) {
            let number = at.unix_ms().div_euclid(spec.hop_ms);
            if number >= first_tile(self.latest, spec.longest_window_ms, spec.hop_ms) {
                add(ring, number, cell);
            }
        }
    }

    fn in_tiles(&self, ring: usize, first: i64, last: i64) -> Option<C> {
        let tiles = self.rings.get(ring).map(Vec::as_slice).unwrap_or_default();
        merged(tiles.iter().rev().map(|tile| (tile.number, tile.cell.clone())), first, last)
    }
}

/// The tiles from `last` back to `first`, merged from the newest to the oldest.
fn merged<C: Cell>(newest_first: impl Iterator<Item = (i64, C)>, first: i64, last: i64) -> Option<C> {
    let mut inside = newest_first.skip_while(|(number, _)| *number > last);
    let (_, mut cell) = inside.next().filter(|(number, _)| *number >= first)?;
    for (_, older) in inside.take_while(|(number, _)| *number >= first) {
        cell.merge(&older);
    }
    Some(cell)
}

fn add<C: Cell>(ring: &mut Vec<Tile<C>>, number: i64, cell: &C) {
    let place = ring.partition_point(|tile| tile.number < number);
    match ring.get_mut(place) {
        Some(tile) if tile.number == number => {
            tile.cell.merge(cell);
            if tile.cell.is_void() {
                ring.remove(place);
            }
        }
        _ if cell.is_void() => {}
        _ => ring.insert(place, Tile { number, cell: cell.clone() }),
    }
}

fn border(number: i64, hop_ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(number.saturating_mul(hop_ms))
}

/// What is told of a window that starts at `start` and holds what the cell says.
fn told<C: Cell>(cell: Option<C>, what: WindowStatistic, start: Timestamp) -> Option<Measured> {
    let value = cell.map_or_else(|| cell::of_nothing(what), |cell| cell.statistic(what))?;
    Some(Measured { window_start: Some(start), ..Measured::number(value) })
}

/// The tile in which a window that ends at `end` starts.
pub(super) fn first_tile(end: Timestamp, window_ms: i64, hop_ms: i64) -> i64 {
    end.plus_millis(-window_ms).unix_ms().div_euclid(hop_ms)
}

/// The start of the longest window that ends at `latest`.
fn reach(latest: Timestamp, rings: &[RingSpec]) -> Timestamp {
    let longest_ms = rings.iter().map(|ring| ring.longest_window_ms).max().unwrap_or(0);
    latest.plus_millis(-longest_ms)
}

/// The rings and how many events are kept one by one.
fn parts(spec: &AggregateSpec) -> (&[RingSpec], usize) {
    match &spec.kind {
        AggregateKind::Windowed { rings, exact_events, .. } => (rings, *exact_events as usize),
        _ => (&[], 0),
    }
}

impl<C: Cell> Keep for Windowed<C> {
    fn begin(at: Timestamp, spec: &AggregateSpec) -> Self {
        Self { latest: at, rings: vec![Vec::new(); parts(spec).0.len()], recent: Recent::default() }
    }

    fn add(&mut self, input: &Input<'_>, spec: &AggregateSpec) {
        let (rings, most) = parts(spec);
        self.take_in(input.at, &C::of(input.weight), rings);
        if most > 0 && input.at >= reach(self.latest, rings) {
            self.recent.add(input.at, input.weight, most);
        }
    }

    /// Taking back an event whose tile has expired changes nothing, as adding it would not.
    fn retract(&mut self, input: &Input<'_>, spec: &AggregateSpec) {
        if let Some(undoing) = C::undoing(input.weight) {
            self.take_in(input.at, &undoing, parts(spec).0);
        }
    }

    fn merge(&mut self, other: &Self, spec: &AggregateSpec) {
        let (rings, most) = parts(spec);
        self.advance(other.latest, rings);
        for ((ring, others), spec) in self.rings.iter_mut().zip(&other.rings).zip(rings) {
            let oldest = first_tile(self.latest, spec.longest_window_ms, spec.hop_ms);
            for tile in others.iter().filter(|tile| tile.number >= oldest) {
                add(ring, tile.number, &tile.cell);
            }
        }
        if most > 0 {
            self.recent.merge(&other.recent, most);
            self.recent.expire(reach(self.latest, rings));
        }
    }

    fn measure(&self, measure: Measure, now: Timestamp, spec: &AggregateSpec) -> Option<Measured> {
        let Measure::Window { ring, window_ms, hop_ms, what } = measure else { return None };
        let declared = now.plus_millis(-window_ms);
        if parts(spec).1 > 0 && self.recent.covers(declared) {
            return told(self.recent.cell::<C>(declared, now), what, declared);
        }
        let (first, last) = (first_tile(now, window_ms, hop_ms), now.unix_ms().div_euclid(hop_ms));
        told(self.in_tiles(ring, first, last), what, border(first, hop_ms))
    }

    fn peek(
        mut reader: Reader<'_>,
        measures: impl Iterator<Item = Measure>,
        now: Timestamp,
        spec: &AggregateSpec,
        mut tell: impl FnMut(Option<Measured>, Timestamp),
    ) -> Result<(), DecodeError> {
        if parts(spec).1 > 0 {
            let windowed = Self::decode(&mut reader, spec)?;
            measures.for_each(|measure| tell(windowed.measure(measure, now, spec), windowed.latest));
            return Ok(());
        }
        let latest = take_time(&mut reader, "window latest time")?;
        let mut walk: Option<Walk<'_, C>> = None;
        for measure in measures {
            let Measure::Window { ring, window_ms, hop_ms, what } = measure else {
                tell(None, latest);
                continue;
            };
            let first = first_tile(now, window_ms, hop_ms);
            // A longer window goes on where a shorter one of the same tiles ended.
            let walk = match &mut walk {
                Some(walk) if walk.ring == ring && first <= walk.first => walk,
                other => other.insert(Walk::begin(reader.clone(), ring, latest, hop_ms)?),
            };
            walk.go_back_to(first, now.unix_ms().div_euclid(hop_ms))?;
            tell(told(walk.merged.clone(), what, border(first, hop_ms)), latest);
        }
        Ok(())
    }

    fn latest(&self) -> Timestamp {
        self.latest
    }

    fn encode(&self, spec: &AggregateSpec, out: &mut Vec<u8>) {
        let (rings, most) = parts(spec);
        put_time(out, self.latest);
        for (ring, spec) in self.rings.iter().zip(rings) {
            // The length in front lets a read of one ring pass by the others.
            bytes::put_with_length(out, |out| {
                let mut newer = self.latest.unix_ms().div_euclid(spec.hop_ms);
                for tile in ring.iter().rev() {
                    bytes::put_unsigned(out, newer.abs_diff(tile.number));
                    tile.cell.encode(out);
                    newer = tile.number;
                }
            });
        }
        if most > 0 {
            self.recent.encode(self.latest, spec.counts(), out);
        }
    }

    fn decode(reader: &mut Reader<'_>, spec: &AggregateSpec) -> Result<Self, DecodeError> {
        let (rings, most) = parts(spec);
        let latest = take_time(reader, "window latest time")?;
        let tiles = rings.iter().map(|ring| take_ring(reader, latest, *ring)).collect::<Result<_, _>>()?;
        let recent = if most > 0 {
            Recent::decode(reader, (latest, reach(latest, rings)), spec.counts(), most)?
        } else {
            Recent::default()
        };
        Ok(Self { latest, rings: tiles, recent })
    }
}

fn take_ring<C: Cell>(
    reader: &mut Reader<'_>,
    latest: Timestamp,
    spec: RingSpec,
) -> Result<Vec<Tile<C>>, DecodeError> {
    let body = reader.bytes("tiles")?;
    let mut tiles = Tiles::of(body, latest, spec.hop_ms);
    let oldest = first_tile(latest, spec.longest_window_ms, spec.hop_ms);
    // A tile takes two bytes or more; most rings are short.
    let mut ring: Vec<Tile<C>> = Vec::with_capacity((body.len() / 2).min(16));
    while let Some((number, cell)) = tiles.take()? {
        let is_older = ring.last().is_none_or(|newer| newer.number > number);
        if number < oldest || C::is_void(&cell) || !is_older {
            return Err(DecodeError::Invalid { field: "tile number" });
        }
        ring.push(Tile { number, cell });
    }
    ring.reverse();
    Ok(ring)
}

/// A way back over the tiles of one ring in a record.
struct Walk<'a, C> {
    ring: usize,
    tiles: Tiles<'a>,
    /// How far back it came.
    first: i64,
    /// A tile that lies before that.
    next: Option<(i64, C)>,
    /// All tiles since.
    merged: Option<C>,
}

impl<'a, C: Cell> Walk<'a, C> {
    fn begin(
        mut rings: Reader<'a>,
        ring: usize,
        latest: Timestamp,
        hop_ms: i64,
    ) -> Result<Self, DecodeError> {
        for _ in 0..ring {
            rings.bytes("tiles")?;
        }
        let mut tiles = Tiles::of(rings.bytes("tiles")?, latest, hop_ms);
        Ok(Self { ring, first: i64::MAX, next: tiles.take()?, tiles, merged: None })
    }

    /// Takes in the tiles from where it is back to `first`, but for those behind `last`.
    fn go_back_to(&mut self, first: i64, last: i64) -> Result<(), DecodeError> {
        self.first = first;
        while let Some((number, cell)) = self.next.take() {
            if number < first {
                self.next = Some((number, cell));
                break;
            }
            match &mut self.merged {
                _ if number > last => {}
                Some(merged) => merged.merge(&cell),
                None => self.merged = Some(cell),
            }
            self.next = self.tiles.take()?;
        }
        Ok(())
    }
}

/// The tiles of one ring in a record, from the newest back.
struct Tiles<'a> {
    reader: Reader<'a>,
    newer: i64,
}

impl<'a> Tiles<'a> {
    const fn of(body: &'a [u8], latest: Timestamp, hop_ms: i64) -> Self {
        Self { reader: Reader::of(body), newer: latest.unix_ms().div_euclid(hop_ms) }
    }

    #[inline]
    fn take<C: Cell>(&mut self) -> Result<Option<(i64, C)>, DecodeError> {
        const INVALID: DecodeError = DecodeError::Invalid { field: "tile number" };
        if self.reader.is_empty() {
            return Ok(None);
        }
        let behind = i64::try_from(self.reader.unsigned("tile number")?).map_err(|_| INVALID)?;
        self.newer = self.newer.checked_sub(behind).ok_or(INVALID)?;
        Ok(Some((self.newer, C::decode(&mut self.reader)?)))
    }
}

#[cfg(test)]
mod tests {
    use augur_domain::time::MINUTE_MS;

    use super::super::cell::Count;
    use super::super::testing::{at, input, spec};
    use super::*;
    use crate::schema::Statistic;

    const RING: RingSpec = RingSpec { hop_ms: 5 * MINUTE_MS, longest_window_ms: 60 * MINUTE_MS };

    fn hour(exact_events: u32) -> AggregateSpec {
        let statistic = Statistic::Sum;
        spec(AggregateKind::Windowed { rings: vec![RING], statistic, exact_events, exact: false }, true)
    }

    fn minutes(minutes: i64) -> Timestamp {
        at(minutes * MINUTE_MS)
    }

    fn window(at_minutes: &[i64], exact_events: u32) -> Windowed<Count> {
        let spec = hour(exact_events);
        let mut windowed = Windowed::begin(minutes(at_minutes[0]), &spec);
        for &minute in at_minutes {
            windowed.add(&input(minute * MINUTE_MS, 1.0), &spec);
        }
        windowed
    }

    fn read(windowed: &Windowed<Count>, now: i64, exact_events: u32) -> (f64, i64) {
        let (window_ms, hop_ms) = (RING.longest_window_ms, RING.hop_ms);
        let measure = Measure::Window { ring: 0, window_ms, hop_ms, what: WindowStatistic::Count };
        let measured = windowed.measure(measure, minutes(now), &hour(exact_events)).unwrap();
        (measured.as_number().unwrap(), measured.window_start.unwrap().unix_ms() / MINUTE_MS)
    }

    #[test]
    fn the_tail_goes_by_tiles_and_the_head_is_exact() {
        let windowed = window(&[99, 100, 160, 162], 0);
        // [100, 162]: 162 - 60 = 102 lies in the tile that starts at 100.
        assert_eq!(read(&windowed, 162, 0), (3.0, 100));
        assert_eq!(read(&windowed, 164, 0), (3.0, 100));
        assert_eq!(read(&windowed, 165, 0), (2.0, 105));
        assert_eq!(read(&windowed, 500, 0).0, 0.0);
    }

    #[test]
    fn kept_events_make_the_tail_exact_until_there_are_too_many() {
        assert_eq!(read(&window(&[99, 100, 102, 162], 3), 162, 3), (2.0, 102));
        // The event at 103 is no longer there, so tiles answer.
        assert_eq!(read(&window(&[100, 103, 104, 160, 162], 3), 162, 3), (5.0, 100));
        // It is out of reach again: what is kept says all.
        assert_eq!(read(&window(&[100, 103, 104, 160, 162], 3), 164, 3), (3.0, 104));
    }

    #[test]
    fn order_leaves_no_trace_even_across_expiry() {
        let forward = window(&[0, 7, 30, 61, 120, 121], 2);
        let backward = window(&[121, 120, 61, 30, 7, 0], 2);
        assert_eq!(forward, backward);
        assert_eq!(forward.rings[0].len(), 2, "61 is in the first tile that 121 - 60 still reaches");
    }

    #[test]
    fn times_before_the_epoch_fall_into_their_own_tile() {
        let windowed = window(&[-1, 1], 0);
        assert_eq!(windowed.rings[0].iter().map(|tile| tile.number).collect::<Vec<_>>(), [-1, 0]);
    }

    #[test]
    fn taking_back_leaves_no_trace_but_the_latest_time() {
        let spec = hour(0);
        let mut windowed = window(&[10, 20, 70], 0);
        windowed.retract(&input(20 * MINUTE_MS, 1.0), &spec);
        assert_eq!(windowed, window(&[10, 70], 0));
        // Expired: neither its arrival nor its taking-back changes anything.
        windowed.retract(&input(4 * MINUTE_MS, 1.0), &spec);
        assert_eq!(windowed, window(&[10, 70], 0));
        // Before its event.
        windowed.retract(&input(30 * MINUTE_MS, 1.0), &spec);
        windowed.add(&input(30 * MINUTE_MS, 1.0), &spec);
        assert_eq!(windowed, window(&[10, 70], 0));
    }
}
