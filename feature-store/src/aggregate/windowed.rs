//! Counts and sums over the last so-and-so long: tiles on fixed borders, exact at the near end.
//!
//! A window starts on the tile border at or before its declared start, and ends with the very last event; tiles
//! are added up on every read, never subtracted. Not here: which tile length serves which window (`schema`).

use augur_domain::Timestamp;

use super::{add_bounded, put_time, take_time};
use crate::bytes::{self, Reader};
use crate::error::DecodeError;
use crate::schema::RingSpec;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Windowed {
    latest: Timestamp,
    /// One per tile length, as the schema orders them.
    rings: Vec<Ring>,
}

/// Tiles of one length, ascending, only those with events.
#[derive(Debug, Clone, PartialEq, Default)]
struct Ring {
    tiles: Vec<Tile>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Tile {
    /// The tile covers `[number * hop, (number + 1) * hop)`.
    number: i64,
    /// Counts are whole numbers, exact up to 2^53.
    sum: f64,
}

impl Windowed {
    pub(super) fn new(at: Timestamp, rings: usize) -> Self {
        Self { latest: at, rings: vec![Ring::default(); rings] }
    }

    pub(super) fn add(&mut self, at: Timestamp, amount: f64, specs: &[RingSpec]) {
        self.latest = self.latest.max(at);
        for (ring, spec) in self.rings.iter_mut().zip(specs) {
            // What is dropped depends on the latest event only, so the order of arrival leaves no trace.
            let oldest = first_tile(self.latest, spec.longest_window_ms, spec.hop_ms);
            let number = at.unix_ms().div_euclid(spec.hop_ms);
            let expired = ring.tiles.partition_point(|tile| tile.number < oldest);
            ring.tiles.drain(..expired);
            if number >= oldest {
                ring.add(number, amount);
            }
        }
    }

    pub(super) fn value(&self, ring: usize, window_ms: i64, hop_ms: i64, now: Timestamp) -> f64 {
        let Some(ring) = self.rings.get(ring) else { return 0.0 };
        let first = first_tile(now, window_ms, hop_ms);
        let last = now.unix_ms().div_euclid(hop_ms);
        let begin = ring.tiles.partition_point(|tile| tile.number < first);
        let covered = ring.tiles.get(begin..).unwrap_or_default();
        let covered = covered.iter().take_while(|tile| tile.number <= last);
        // Starting from +0 keeps a sum of nothing from being -0.
        covered.fold(0.0, |sum, tile| add_bounded(sum, tile.sum))
    }

    pub(super) const fn latest(&self) -> Timestamp {
        self.latest
    }

    pub(super) fn encode(&self, counts: bool, out: &mut Vec<u8>) {
        put_time(out, self.latest);
        for ring in &self.rings {
            bytes::put_unsigned(out, ring.tiles.len() as u64);
            let mut previous = 0;
            for tile in &ring.tiles {
                bytes::put_signed(out, tile.number - previous);
                previous = tile.number;
                if counts {
                    bytes::put_unsigned(out, tile.sum as u64);
                } else {
                    bytes::put_f64(out, tile.sum);
                }
            }
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>, rings: usize, counts: bool) -> Result<Self, DecodeError> {
        let latest = take_time(reader, "window latest time")?;
        let rings = (0..rings).map(|_| Ring::decode(reader, counts)).collect::<Result<_, _>>()?;
        Ok(Self { latest, rings })
    }
}

impl Ring {
    fn add(&mut self, number: i64, amount: f64) {
        let place = self.tiles.partition_point(|tile| tile.number < number);
        match self.tiles.get_mut(place) {
            Some(tile) if tile.number == number => tile.sum = add_bounded(tile.sum, amount),
            _ => self.tiles.insert(place, Tile { number, sum: amount }),
        }
    }

    fn decode(reader: &mut Reader<'_>, counts: bool) -> Result<Self, DecodeError> {
        const INVALID: DecodeError = DecodeError::Invalid { field: "tile number" };
        let count = reader.count("tiles", 2)?;
        let mut tiles: Vec<Tile> = Vec::with_capacity(count);
        for _ in 0..count {
            let step = reader.signed("tile number")?;
            let number = match tiles.last() {
                None => step,
                Some(previous) if step > 0 => previous.number.checked_add(step).ok_or(INVALID)?,
                Some(_) => return Err(INVALID),
            };
            // No tile is shorter than a millisecond, so none lies outside what a time can be.
            if !(Timestamp::MIN.unix_ms()..=Timestamp::MAX.unix_ms()).contains(&number) {
                return Err(INVALID);
            }
            let sum =
                if counts { reader.unsigned("tile count")? as f64 } else { reader.finite("tile sum")? };
            tiles.push(Tile { number, sum });
        }
        Ok(Self { tiles })
    }
}

/// The tile in which a window that ends at `end` starts.
fn first_tile(end: Timestamp, window_ms: i64, hop_ms: i64) -> i64 {
    end.plus_millis(-window_ms).unix_ms().div_euclid(hop_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use augur_domain::time::MINUTE_MS;

    const SPEC: RingSpec = RingSpec { hop_ms: 5 * MINUTE_MS, longest_window_ms: 60 * MINUTE_MS };

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_unix_ms(minutes * MINUTE_MS)
    }

    fn window(minutes: &[i64]) -> Windowed {
        let mut windowed = Windowed::new(at(minutes[0]), 1);
        for &minute in minutes {
            windowed.add(at(minute), 1.0, &[SPEC]);
        }
        windowed
    }

    fn count(windowed: &Windowed, now: Timestamp) -> f64 {
        windowed.value(0, SPEC.longest_window_ms, SPEC.hop_ms, now)
    }

    #[test]
    fn the_tail_goes_by_tiles_and_the_head_is_exact() {
        let windowed = window(&[99, 100, 160, 162]);
        // [100, 162]: 162 - 60 = 102 lies in the tile that starts at 100.
        assert_eq!(count(&windowed, at(162)), 3.0);
        assert_eq!(count(&windowed, at(164)), 3.0);
        assert_eq!(count(&windowed, at(165)), 2.0);
        assert_eq!(count(&windowed, at(500)), 0.0);
    }

    #[test]
    fn order_leaves_no_trace_even_across_expiry() {
        let forward = window(&[0, 7, 30, 61, 120, 121]);
        let backward = window(&[121, 120, 61, 30, 7, 0]);
        assert_eq!(forward, backward);
        assert_eq!(forward.rings[0].tiles.len(), 2, "61 is in the first tile that 121 - 60 still reaches");
    }

    #[test]
    fn times_before_the_epoch_fall_into_their_own_tile() {
        let windowed = window(&[-1, 1]);
        assert_eq!(windowed.rings[0].tiles.iter().map(|tile| tile.number).collect::<Vec<_>>(), [-1, 0]);
    }
}
