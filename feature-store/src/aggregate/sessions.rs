//! Sessions: runs of events with no silence longer than the gap. A late event can begin one, lengthen one or join
//! two.
//!
//! The [`MAX_KEPT`] latest sessions are kept one by one; up to there the order of arrival leaves no trace. When there
//! is one more, the oldest is retired into totals, of which only both ends are known: events at these ends still
//! lengthen the sessions there, join them, or begin others before them, so events in order and in reverse are counted
//! exactly however many sessions there are. Between the ends nothing changes any more: there a late event is taken
//! for part of a session that is counted already. Not here: whether a session is open; that depends on the `now` of a
//! read.

use augur_domain::Timestamp;

use super::{put_time, take_time};
use crate::bytes::{self, Reader};
use crate::error::DecodeError;

/// Most sessions kept one by one.
pub(crate) const MAX_KEPT: usize = 32;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sessions {
    retired: Option<Retired>,
    /// Ascending, never empty, apart by more than the gap. The first may begin where the retired end: then it goes on
    /// with the newest of those, whose earlier part stays in their total length.
    kept: Vec<Session>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Retired {
    count: u64,
    total_length_ms: u64,
    /// The start of the oldest retired session.
    from: Timestamp,
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
        if self.add_to_retired(at, gap_ms) {
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

    /// Whether the event belongs to the retired sessions, or just before them.
    fn add_to_retired(&mut self, at: Timestamp, gap_ms: i64) -> bool {
        let (Some(retired), Some(oldest)) = (&mut self.retired, self.kept.first_mut()) else { return false };
        if at < retired.from {
            let before_ms = retired.from.millis_since(at);
            if before_ms > gap_ms {
                retired.count = retired.count.saturating_add(1);
            } else {
                retired.lengthen(before_ms);
            }
            retired.from = at;
            return true;
        }
        if at <= retired.until {
            return true;
        }
        let after_ms = at.millis_since(retired.until);
        if after_ms > gap_ms || oldest.start <= at {
            return false;
        }
        if oldest.start.millis_since(at) > gap_ms {
            retired.lengthen(after_ms);
            retired.until = at;
        } else {
            // Joined: from here on one session, counted with those that are kept.
            retired.count = retired.count.saturating_sub(1);
            oldest.start = retired.until;
            oldest.events = oldest.events.saturating_add(1);
        }
        true
    }

    fn retire_oldest(&mut self) {
        let oldest = self.kept.remove(0);
        let Session { start: from, end: until, .. } = oldest;
        let retired = self.retired.get_or_insert(Retired { count: 0, total_length_ms: 0, from, until });
        retired.count = retired.count.saturating_add(1);
        retired.total_length_ms = retired.total_length_ms.saturating_add(oldest.length_ms());
        retired.until = until;
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
            put_time(out, retired.from);
            bytes::put_unsigned(out, retired.until.millis_since(retired.from).unsigned_abs());
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
            1 => Some(Retired::decode(reader)?),
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

impl Retired {
    const fn lengthen(&mut self, by_ms: i64) {
        self.total_length_ms = self.total_length_ms.saturating_add(by_ms.unsigned_abs());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const FIELD: &str = "retired sessions";
        let invalid = DecodeError::Invalid { field: FIELD };
        let count = reader.unsigned(FIELD)?;
        let total_length_ms = reader.unsigned("retired length")?;
        let from = take_time(reader, "retired start")?;
        let span_ms = i64::try_from(reader.unsigned("retired span")?).map_err(|_| invalid.clone())?;
        let until = from.plus_millis(span_ms);
        if until.millis_since(from) != span_ms {
            return Err(invalid);
        }
        Ok(Self { count, total_length_ms, from, until })
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
    use proptest::prelude::*;

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
        for inside in [0, 5, 25, 500, 30_000, 67_010] {
            full.add(at(inside), GAP_MS);
            assert_eq!(full, before, "what is retired no longer changes");
        }
        full.add(at(99_500), GAP_MS);
        assert_eq!(full.count(), 101);
    }

    /// Count and total length by the plain definition.
    fn plain(times: &[i64]) -> (u64, f64) {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        let breaks = sorted.windows(2).filter(|pair| pair[1] - pair[0] > GAP_MS);
        let silence: i64 = breaks.clone().map(|pair| pair[1] - pair[0]).sum();
        (breaks.count() as u64 + 1, (sorted[sorted.len() - 1] - sorted[0] - silence) as f64)
    }

    fn totals(sessions: &Sessions) -> (u64, f64) {
        (sessions.count(), sessions.total_length_ms())
    }

    #[test]
    fn late_events_at_the_end_of_the_retired_lengthen_and_join() {
        // Session 0 is retired, 33 ends far from it; the next events lead from the one to the other.
        let mut times: Vec<i64> = (0..33).map(|index| index * 100).collect();
        let mut state = sessions(&times);
        for time in [25, 50, 75, 60, 100] {
            times.push(time);
            state.add(at(time), GAP_MS);
            assert_eq!(totals(&state), plain(&times), "after {time}");
        }
        // What was joined goes on as one session and retires as one.
        for time in (33..80).map(|index| index * 100) {
            times.push(time);
            state.add(at(time), GAP_MS);
            assert_eq!(totals(&state), plain(&times), "after {time}");
        }
    }

    #[test]
    fn joining_the_only_session_kept_leaves_it_kept() {
        let mut times: Vec<i64> = (0..33).map(|index| index * 40).collect();
        let mut state = sessions(&times);
        // From the newest to the oldest, until all are one.
        for time in (0..32).rev().map(|index| index * 40 + 20) {
            times.push(time);
            state.add(at(time), GAP_MS);
            assert_eq!(totals(&state), plain(&times), "after {time}");
        }
        assert_eq!((totals(&state), state.kept.len()), ((1, 1_280.0), 1));
    }

    #[test]
    fn golden_bytes_of_retired_sessions() {
        let mut state = sessions(&[2_000, 2_010]);
        state.retired = Some(Retired { count: 3, total_length_ms: 300, from: at(1_000), until: at(2_000) });
        let mut out = Vec::new();
        state.encode(&mut out);
        let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "0103ac02d00fe80701a01f0a02", "stored states depend on these bytes");
    }

    proptest! {
        #[test]
        fn any_number_of_sessions_is_exact_in_order_and_in_reverse(
            steps in prop::collection::vec(prop_oneof![0..=GAP_MS, GAP_MS + 1..200], 33..400),
        ) {
            let mut times: Vec<i64> = Vec::new();
            for step in steps {
                times.push(times.last().unwrap_or(&0) + step);
            }
            let straight = sessions(&times);
            prop_assert_eq!(totals(&straight), plain(&times));
            times.reverse();
            let reversed = sessions(&times);
            prop_assert_eq!(totals(&reversed), plain(&times));
            prop_assert_eq!(reversed.latest(), straight.latest());
        }

        /// Every session's later events come behind by so many sessions.
        #[test]
        fn late_tails_count_no_session_twice(behind in 0..120_usize, tails in prop::collection::vec(1..=GAP_MS, 100)) {
            let starts: Vec<i64> = (0..100).map(|index| index * 1_000).collect();
            let mut times = Vec::new();
            for index in 0..starts.len() + behind {
                times.extend(starts.get(index));
                if let Some(late) = index.checked_sub(behind).filter(|late| *late < starts.len()) {
                    times.push(starts[late] + tails[late]);
                }
            }
            let (count, length_ms) = totals(&sessions(&times));
            prop_assert_eq!(count, 100);
            let (_, expected_ms) = plain(&times);
            prop_assert!(length_ms <= expected_ms);
            // One behind those kept is the newest retired.
            prop_assert!(behind > MAX_KEPT || length_ms == expected_ms);
        }

        #[test]
        fn states_round_trip(times in prop::collection::vec(0..20_000_i64, 1..300)) {
            let state = sessions(&times);
            let mut body = Vec::new();
            state.encode(&mut body);
            let mut record = Vec::new();
            bytes::seal(&mut record, b'T', 1, |out| out.extend_from_slice(&body));
            let (_, mut reader) = bytes::unseal(&record, b'T', 1).unwrap();
            prop_assert_eq!(Sessions::decode(&mut reader).unwrap(), state);
            prop_assert!(reader.finish().is_ok());
        }
    }
}
