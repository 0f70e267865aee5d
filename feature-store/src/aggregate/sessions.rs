//! Sessions: runs of events with no silence longer than the gap. A late event can begin one, lengthen one or join
//! two.
//!
//! The [`MAX_KEPT`] latest sessions are kept one by one. When there is one more, the oldest is retired into
//! totals for good: an event at or before the end of the newest retired session changes nothing any more. Up to
//! that reach the order of arrival leaves no trace. Not here: whether a session is open; that depends on the
//! `now` of a read.

use augur_domain::Timestamp;

use super::{put_time, take_time};
use crate::bytes::{self, Reader};
use crate::error::DecodeError;

/// Most sessions kept one by one.
pub(crate) const MAX_KEPT: usize = 32;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sessions {
    retired: Option<Retired>,
    /// Ascending, never empty, apart by more than the gap.
    kept: Vec<Session>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Retired {
    count: u64,
    total_length_ms: u64,
    /// The end of the newest retired session.
    until: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Session {
    pub(super) start: Timestamp,
    end: Timestamp,
    pub(super) events: u64,
}

impl Sessions {
    /// The first event opens a session without being counted yet; [`Self::add`] counts it.
    pub(super) fn new(at: Timestamp) -> Self {
        Self { retired: None, kept: vec![Session { start: at, end: at, events: 0 }] }
    }

    pub(super) fn add(&mut self, at: Timestamp, gap_ms: i64) {
        if self.retired.is_some_and(|retired| at <= retired.until) {
            return;
        }
        // The sessions that the event belongs to are neighbours: those from `first` to before `behind`.
        let first = self.kept.partition_point(|session| at.millis_since(session.end) > gap_ms);
        let behind = self.kept.partition_point(|session| session.start.millis_since(at) <= gap_ms);
        let mut joined = Session { start: at, end: at, events: 1 };
        for session in self.kept.drain(first..behind.max(first)) {
            joined.start = joined.start.min(session.start);
            joined.end = joined.end.max(session.end);
            joined.events = joined.events.saturating_add(session.events);
        }
        self.kept.insert(first, joined);
        while self.kept.len() > MAX_KEPT {
            self.retire_oldest();
        }
    }

    fn retire_oldest(&mut self) {
        let oldest = self.kept.remove(0);
        let retired = self.retired.get_or_insert(Retired { count: 0, total_length_ms: 0, until: oldest.end });
        retired.count = retired.count.saturating_add(1);
        retired.total_length_ms = retired.total_length_ms.saturating_add(oldest.length_ms());
        retired.until = oldest.end;
    }

    /// All sessions so far; at least 1.
    pub(super) fn count(&self) -> u64 {
        self.retired.map_or(0, |retired| retired.count).saturating_add(self.kept.len() as u64)
    }

    /// From first to last event, over all sessions, in ms.
    pub(super) fn total_length_ms(&self) -> f64 {
        let retired_ms = self.retired.map_or(0, |retired| retired.total_length_ms);
        self.kept.iter().fold(retired_ms, |sum, session| sum.saturating_add(session.length_ms())) as f64
    }

    /// The latest session, if no more than the gap has passed since its last event.
    pub(super) fn open_at(&self, now: Timestamp, gap_ms: i64) -> Option<Session> {
        self.kept.last().copied().filter(|session| now.millis_since(session.end) <= gap_ms)
    }

    pub(super) fn latest(&self) -> Timestamp {
        self.kept.last().map_or(Timestamp::MIN, |session| session.end)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.retired.is_some()));
        if let Some(retired) = self.retired {
            bytes::put_unsigned(out, retired.count);
            bytes::put_unsigned(out, retired.total_length_ms);
            put_time(out, retired.until);
        }
        bytes::put_unsigned(out, self.kept.len() as u64);
        let mut previous = Timestamp::default();
        for session in &self.kept {
            bytes::put_signed(out, session.start.millis_since(previous));
            bytes::put_unsigned(out, session.length_ms());
            bytes::put_unsigned(out, session.events);
            previous = session.end;
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let retired = match reader.byte("retired sessions")? {
            0 => None,
            1 => Some(Retired {
                count: reader.unsigned("retired sessions")?,
                total_length_ms: reader.unsigned("retired length")?,
                until: take_time(reader, "retired end")?,
            }),
            _ => return Err(DecodeError::Invalid { field: "retired sessions" }),
        };
        let count = reader.count("sessions", 3)?;
        if count == 0 || count > MAX_KEPT {
            return Err(DecodeError::Invalid { field: "sessions" });
        }
        let mut kept: Vec<Session> = Vec::with_capacity(count);
        for _ in 0..count {
            kept.push(Session::decode(reader, kept.last())?);
        }
        Ok(Self { retired, kept })
    }
}

impl Session {
    const fn length_ms(&self) -> u64 {
        self.end.millis_since(self.start).unsigned_abs()
    }

    fn decode(reader: &mut Reader<'_>, previous: Option<&Self>) -> Result<Self, DecodeError> {
        const FIELD: &str = "session";
        let invalid = DecodeError::Invalid { field: FIELD };
        let ahead_ms = reader.signed(FIELD)?;
        let length_ms = i64::try_from(reader.unsigned(FIELD)?).map_err(|_| invalid.clone())?;
        let events = reader.unsigned(FIELD)?;
        if previous.is_some() && ahead_ms <= 0 {
            return Err(invalid);
        }
        let start = previous.map_or(Timestamp::default(), |session| session.end).plus_millis(ahead_ms);
        Ok(Self { start, end: start.plus_millis(length_ms), events })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP_MS: i64 = 30;

    fn at(unix_ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(unix_ms)
    }

    fn sessions(times: &[i64]) -> Sessions {
        let mut sessions = Sessions::new(at(times[0]));
        // As `Aggregate::add` does it: the first event both opens and is counted.
        for &time in times {
            sessions.add(at(time), GAP_MS);
        }
        sessions
    }

    #[test]
    fn a_late_event_joins_two_sessions() {
        let apart = sessions(&[0, 20, 80, 100]);
        assert_eq!(apart.count(), 2);
        let joined = sessions(&[0, 20, 80, 100, 50]);
        assert_eq!(joined.count(), 1);
        assert_eq!(joined.total_length_ms(), 100.0);
        assert_eq!(joined.open_at(at(130), GAP_MS).unwrap().events, 5);
        assert_eq!(joined.open_at(at(131), GAP_MS), None);
        assert_eq!(joined, sessions(&[50, 100, 0, 80, 20]));
    }

    #[test]
    fn the_gap_itself_still_belongs_to_the_session() {
        assert_eq!(sessions(&[0, 30]).count(), 1);
        assert_eq!(sessions(&[0, 31]).count(), 2);
        assert_eq!(sessions(&[31, 0]).count(), 2);
    }

    #[test]
    fn the_oldest_retire_into_totals_and_stay_as_they_are() {
        let many: Vec<i64> = (0..100).flat_map(|index| [index * 1_000, index * 1_000 + 10]).collect();
        let mut full = sessions(&many);
        assert_eq!((full.count(), full.kept.len()), (100, MAX_KEPT));
        assert_eq!(full.total_length_ms(), 1_000.0);
        let before = full.clone();
        full.add(at(5), GAP_MS);
        assert_eq!(full, before, "what is retired no longer changes");
        full.add(at(99_500), GAP_MS);
        assert_eq!(full.count(), 101);
    }
}
