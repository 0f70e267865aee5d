//! Looks at the frames of HTTP/2 as they come in and tells a flood of those that cost the server work and bring no call:
//! PING, SETTINGS, PRIORITY, empty DATA and unknown ones. The HTTP/2 library answers those for ever.
//!
//! Honest callers measure their bandwidth with PINGs, one for each piece of data at most, so what counts is how many come
//! without anything that is worth an answer. RST_STREAM and CONTINUATION are bounded by the library itself. Not here:
//! what the frames mean.

use std::time::{Duration, Instant};

/// Bytes with which every connection begins, before the first frame.
pub(super) const PREFACE_BYTES: usize = 24;
/// Bytes before each frame's payload.
const HEADER_BYTES: usize = 9;
/// Most idle frames in [`WINDOW`] after the last useful one.
const MAX_IDLE_FRAMES: u32 = 1_000;
/// Most idle frames in [`WINDOW`], whatever comes between them.
const MAX_FRAMES: u32 = 100_000;
const WINDOW: Duration = Duration::from_secs(10);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
/// Of DATA, that it is the last; of SETTINGS and PING, that it is an answer.
const END_OR_ACK: u8 = 1;

/// Too many frames that bring nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flood;

/// Counts the frames of one connection.
#[derive(Debug)]
pub(super) struct Frames {
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    /// Bytes to pass over: of the preface, or of a payload.
    skip: usize,
    window_start: Option<Instant>,
    /// Idle frames since the last useful one, and in all.
    idle: u32,
    all: u32,
}

impl Frames {
    pub(super) const fn new() -> Self {
        let (header, header_bytes) = ([0; HEADER_BYTES], 0);
        Self { header, header_bytes, skip: PREFACE_BYTES, window_start: None, idle: 0, all: 0 }
    }

    /// Takes note of more bytes.
    pub(super) fn advance(&mut self, mut bytes: &[u8], now: impl Fn() -> Instant) -> Result<(), Flood> {
        while !bytes.is_empty() {
            let passed = self.skip.min(bytes.len());
            self.skip -= passed;
            bytes = bytes.get(passed..).unwrap_or_default();
            let missing = (HEADER_BYTES - self.header_bytes).min(bytes.len());
            let (head, rest) = bytes.split_at(missing);
            if let Some(place) = self.header.get_mut(self.header_bytes..self.header_bytes + missing) {
                place.copy_from_slice(head);
            }
            self.header_bytes += missing;
            bytes = rest;
            if self.header_bytes == HEADER_BYTES {
                self.header_bytes = 0;
                self.frame(&now)?;
            }
        }
        Ok(())
    }

    fn frame(&mut self, now: &impl Fn() -> Instant) -> Result<(), Flood> {
        let [high, middle, low, kind, flags, ..] = self.header;
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        self.skip = length;
        match kind {
            HEADERS | CONTINUATION => self.idle = 0,
            DATA if length > 0 || flags & END_OR_ACK != 0 => self.idle = 0,
            RST_STREAM | WINDOW_UPDATE => {}
            _ => return self.idle_frame(now()),
        }
        Ok(())
    }

    fn idle_frame(&mut self, now: Instant) -> Result<(), Flood> {
        let start = *self.window_start.get_or_insert(now);
        if now.duration_since(start) > WINDOW {
            (self.window_start, self.idle, self.all) = (Some(now), 0, 0);
        }
        self.idle += 1;
        self.all += 1;
        if self.idle > MAX_IDLE_FRAMES || self.all > MAX_FRAMES { Err(Flood) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: u8 = 6;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 0];
        bytes.resize(HEADER_BYTES + payload, 0xff);
        bytes
    }

    fn begun() -> Frames {
        let mut frames = Frames::new();
        frames.advance(&[b'P'; PREFACE_BYTES], Instant::now).unwrap();
        frames
    }

    /// How many of the same frames are taken at once.
    fn taken(bytes: &[u8]) -> usize {
        let (mut frames, now) = (begun(), Instant::now());
        (0..200_000).take_while(|_| frames.advance(bytes, || now).is_ok()).count()
    }

    #[test]
    fn floods_are_told_and_work_is_not() {
        assert_eq!(taken(&frame(PING, 0, 8)), 1_000);
        assert_eq!(taken(&frame(4, 0, 0)), 1_000);
        assert_eq!(taken(&frame(DATA, 0, 0)), 1_000);
        assert_eq!(taken(&frame(99, 0, 3)), 1_000);
        assert_eq!(taken(&frame(DATA, 0, 5)), 200_000);
        assert_eq!(taken(&frame(HEADERS, 4, 20)), 200_000);
        assert_eq!(taken(&frame(WINDOW_UPDATE, 0, 4)), 200_000);
        // A caller that measures its bandwidth, and one that hides a flood among calls.
        assert_eq!(taken(&[frame(DATA, 0, 5), frame(PING, 0, 8)].concat()), 100_000);
        let hidden = [frame(HEADERS, 4, 20), frame(PING, 0, 8).repeat(999)].concat();
        assert_eq!(taken(&hidden), 100);
    }

    #[test]
    fn now_and_then_is_no_flood() {
        let (mut frames, start) = (begun(), Instant::now());
        for second in 0..10_000 {
            frames.advance(&frame(PING, 0, 8), || start + Duration::from_secs(second)).unwrap();
        }
    }

    #[test]
    fn frames_are_told_apart_however_they_are_cut() {
        let bytes =
            [frame(HEADERS, 4, 300), frame(PING, 0, 8), frame(DATA, 0, 40), frame(PING, 1, 8)].concat();
        for size in 1..bytes.len() {
            let mut frames = begun();
            for chunk in bytes.chunks(size) {
                frames.advance(chunk, Instant::now).unwrap();
            }
            assert_eq!((frames.all, frames.idle, frames.skip, frames.header_bytes), (2, 1, 0, 0), "{size}");
        }
    }
}
