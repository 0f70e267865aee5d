//! Sessions: runs of events with no silence longer than the gap. A late event can begin one, lengthen one or join
//! two.
//!
//! The [`MAX_KEPT`] latest sessions are kept one by one; up to there the order of arrival leaves no trace. When there
//! is one more, the oldest is retired: of the retired only both ends are known. Events at these ends still
//! lengthen the sessions there, join them, or begin others before them, so events in order and in reverse are counted
//! exactly however many sessions there are. Between the ends no session changes any more: there a late event is taken
//! for part of a session that is counted already. A bounce is a session of one event. Not here: whether a session is
//! open; that depends on the `now` of a read.

use augur_domain::Timestamp;

use super::{Input, Keep, Measured, put_time, seconds, take_back, take_time};
use crate::bytes::{self, Reader};
use crate::error::DecodeError;
use crate::schema::{AggregateKind, AggregateSpec, Measure};

/// Most sessions kept one by one.
pub(crate) const MAX_KEPT: usize = 32;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sessions {
    /// Of all sessions, kept or retired.
    totals: Totals,
    retired: Option<Retired>,
    /// Ascending, never empty, apart by more than the gap. The first may begin where the retired end: then it goes on
    /// with the newest of those, whose earlier part is in the totals only.
    kept: Vec<Session>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Totals {
    count: u64,
    length_ms: u64,
    events: u64,
    pages: u64,
    bounces: u64,
}

/// The sessions that are no longer kept one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Retired {
    /// The start of the oldest.
    from: Timestamp,
    /// The end of the newest.
    until: Timestamp,
    /// Whether the oldest is known to be a bounce.
    oldest_bounced: bool,
    /// Whether the newest is known to be a bounce.
    newest_bounced: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Session {
    start: Timestamp,
    end: Timestamp,
    events: u64,
    pages: u64,
}

impl Sessions {
    fn take_in(&mut self, at: Timestamp, is_page: bool, gap_ms: i64) {
        let pages = u64::from(is_page);
        self.totals.events = self.totals.events.saturating_add(1);
        self.totals.pages = self.totals.pages.saturating_add(pages);
        if self.add_to_retired(at, pages, gap_ms) {
            return;
        }
        self.totals.begin();
        self.put(Session { start: at, end: at, events: 1, pages }, gap_ms);
        self.retire(MAX_KEPT);
    }

    /// Puts a session that is in the totals among those kept; it joins its neighbours within the gap.
    fn put(&mut self, session: Session, gap_ms: i64) {
        let first = self.kept.partition_point(|kept| session.start.millis_since(kept.end) > gap_ms);
        let behind = self.kept.partition_point(|kept| kept.start.millis_since(session.end) <= gap_ms);
        let mut joined = session;
        for kept in self.kept.drain(first..behind.max(first)) {
            joined = self.totals.join(joined, kept);
        }
        self.kept.insert(first, joined);
    }

    /// Whether the event belongs to the retired sessions, or just before them.
    fn add_to_retired(&mut self, at: Timestamp, pages: u64, gap_ms: i64) -> bool {
        let (Some(retired), Some(oldest)) = (&mut self.retired, self.kept.first_mut()) else { return false };
        if at <= retired.from {
            let before_ms = retired.from.millis_since(at);
            if before_ms > gap_ms {
                self.totals.begin();
                retired.oldest_bounced = true;
            } else {
                self.totals.lengthen(before_ms);
                retired.settle_oldest(&mut self.totals);
            }
            retired.from = at;
            return true;
        }
        if at < retired.until {
            return true;
        }
        let after_ms = at.millis_since(retired.until);
        if after_ms > gap_ms || oldest.start <= at && after_ms > 0 {
            return false;
        }
        retired.settle_newest(&mut self.totals);
        if oldest.start.millis_since(at) > gap_ms {
            self.totals.lengthen(after_ms);
            retired.until = at;
        } else if after_ms > 0 {
            // Joined: from here on one session, counted with those that are kept.
            self.totals.count = self.totals.count.saturating_sub(1);
            self.totals.lengthen(oldest.start.millis_since(retired.until));
            self.totals.bounces = self.totals.bounces.saturating_sub(u64::from(oldest.events == 1));
            oldest.start = retired.until;
            oldest.events = oldest.events.saturating_add(1);
            oldest.pages = oldest.pages.saturating_add(pages);
        }
        true
    }

    fn retire(&mut self, most: usize) {
        let over = self.kept.len().saturating_sub(most);
        for session in self.kept.drain(..over) {
            let Session { start: from, end: until, events, .. } = session;
            let (oldest_bounced, newest_bounced) = (events == 1, events == 1);
            let retired = self.retired.get_or_insert(Retired { from, until, oldest_bounced, newest_bounced });
            retired.until = until;
            retired.newest_bounced = newest_bounced;
        }
    }

    /// Two histories as one. Exact as long as neither has retired sessions; otherwise sessions of the one between
    /// the retired ends of the other stay counted as they are.
    fn take_over(&mut self, other: &Self, gap_ms: i64) {
        self.totals.add(&other.totals);
        self.retired = match (self.retired, other.retired) {
            (Some(one), Some(two)) => Some(one.with(two)),
            (one, two) => one.or(two),
        };
        let mut sessions: Vec<Session> = self.kept.drain(..).chain(other.kept.iter().copied()).collect();
        sessions.sort_unstable();
        // The latest is kept whatever the retired say, for there is always one.
        let latest = sessions.iter().copied().max_by_key(|session| (session.end, *session));
        for session in sessions {
            let absorbed = self.retired.as_mut().is_some_and(|retired| {
                Some(session) != latest && retired.absorb(session, &mut self.totals, gap_ms)
            });
            if !absorbed {
                self.put(session, gap_ms);
            }
        }
        self.retire(MAX_KEPT);
    }
}

impl Totals {
    /// Another session of one event.
    const fn begin(&mut self) {
        self.count = self.count.saturating_add(1);
        self.bounces = self.bounces.saturating_add(1);
    }

    const fn lengthen(&mut self, by_ms: i64) {
        self.length_ms = self.length_ms.saturating_add(by_ms.unsigned_abs());
    }

    /// Two counted sessions become one.
    fn join(&mut self, one: Session, two: Session) -> Session {
        let joined = Session {
            start: one.start.min(two.start),
            end: one.end.max(two.end),
            events: one.events.saturating_add(two.events),
            pages: one.pages.saturating_add(two.pages),
        };
        let bounced = u64::from(one.events == 1) + u64::from(two.events == 1);
        self.count = self.count.saturating_sub(1);
        self.bounces = self.bounces.saturating_sub(bounced);
        let before_ms = one.length_ms().saturating_add(two.length_ms());
        self.length_ms = self.length_ms.saturating_add(joined.length_ms()).saturating_sub(before_ms);
        joined
    }

    const fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.length_ms = self.length_ms.saturating_add(other.length_ms);
        self.events = self.events.saturating_add(other.events);
        self.pages = self.pages.saturating_add(other.pages);
        self.bounces = self.bounces.saturating_add(other.bounces);
    }
}

impl Retired {
    /// The oldest session has got another event.
    fn settle_oldest(&mut self, totals: &mut Totals) {
        if std::mem::take(&mut self.oldest_bounced) {
            totals.bounces = totals.bounces.saturating_sub(1);
            // A bounce has no length, so where both ends are one instant, both are one session.
            self.newest_bounced &= self.from != self.until;
        }
    }

    /// The newest session has got another event.
    fn settle_newest(&mut self, totals: &mut Totals) {
        if std::mem::take(&mut self.newest_bounced) {
            totals.bounces = totals.bounces.saturating_sub(1);
            self.oldest_bounced &= self.from != self.until;
        }
    }

    fn with(self, other: Self) -> Self {
        let (older, newer) = (
            if self.from <= other.from { self } else { other },
            if self.until >= other.until { self } else { other },
        );
        Self {
            from: older.from,
            until: newer.until,
            oldest_bounced: older.oldest_bounced && self.from != other.from,
            newest_bounced: newer.newest_bounced && self.until != other.until,
        }
    }

    /// Whether the session, kept by another state, lies among the retired or touches their newer end.
    fn absorb(&mut self, session: Session, totals: &mut Totals, gap_ms: i64) -> bool {
        let behind_ms = session.start.millis_since(self.until);
        if behind_ms > gap_ms {
            return false;
        }
        if behind_ms > 0 {
            totals.count = totals.count.saturating_sub(1);
            totals.lengthen(behind_ms);
            totals.bounces = totals.bounces.saturating_sub(u64::from(session.events == 1));
            self.settle_newest(totals);
        }
        if session.end > self.until {
            self.until = session.end;
            self.newest_bounced = false;
        }
        if session.start < self.from {
            self.from = session.start;
            self.oldest_bounced = false;
        }
        true
    }
}

impl Session {
    const fn length_ms(&self) -> u64 {
        self.end.millis_since(self.start).unsigned_abs()
    }
}

fn gap_ms(spec: &AggregateSpec) -> i64 {
    if let AggregateKind::Sessions { gap_ms } = spec.kind { gap_ms } else { 0 }
}

impl Keep for Sessions {
    /// Without a session yet; an event always follows.
    fn begin(_at: Timestamp, _spec: &AggregateSpec) -> Self {
        Self { totals: Totals::default(), retired: None, kept: Vec::new() }
    }

    fn add(&mut self, input: &Input<'_>, spec: &AggregateSpec) {
        self.take_in(input.at, input.is_page, gap_ms(spec));
    }

    fn merge(&mut self, other: &Self, spec: &AggregateSpec) {
        self.take_over(other, gap_ms(spec));
    }

    fn measure(&self, measure: Measure, now: Timestamp, _spec: &AggregateSpec) -> Option<Measured> {
        self.kept.last().and_then(|latest| measure_of(&self.totals, latest, measure, now))
    }

    fn peek(
        mut reader: Reader<'_>,
        measures: impl Iterator<Item = Measure>,
        now: Timestamp,
        _spec: &AggregateSpec,
        mut tell: impl FnMut(Option<Measured>, Timestamp),
    ) -> Result<(), DecodeError> {
        const FIELD: &str = "sessions";
        let end = take_time(&mut reader, FIELD)?;
        let totals = take_totals(&mut reader)?;
        // How many are kept, and how far the latest is behind itself.
        reader.unsigned(FIELD)?;
        reader.unsigned(FIELD)?;
        let latest = take_session(&mut reader, end)?;
        measures.for_each(|measure| tell(measure_of(&totals, &latest, measure, now), end));
        Ok(())
    }

    fn latest(&self) -> Timestamp {
        self.kept.last().map_or(Timestamp::MIN, |session| session.end)
    }

    /// Totals and the latest session come first, for reads that need no more.
    fn encode(&self, _spec: &AggregateSpec, out: &mut Vec<u8>) {
        let Totals { count, length_ms, events, pages, bounces } = self.totals;
        put_time(out, self.latest());
        for total in [count, length_ms, events, pages, bounces, self.kept.len() as u64] {
            bytes::put_unsigned(out, total);
        }
        let mut newer = self.latest();
        for session in self.kept.iter().rev() {
            bytes::put_unsigned(out, newer.millis_since(session.end).unsigned_abs());
            bytes::put_unsigned(out, session.length_ms());
            bytes::put_unsigned(out, session.events);
            bytes::put_unsigned(out, session.pages);
            newer = session.start;
        }
        let Some(retired) = self.retired else {
            out.push(0);
            return;
        };
        out.push(1 | u8::from(retired.oldest_bounced) << 1 | u8::from(retired.newest_bounced) << 2);
        bytes::put_unsigned(out, newer.millis_since(retired.until).unsigned_abs());
        bytes::put_unsigned(out, retired.until.millis_since(retired.from).unsigned_abs());
    }

    fn decode(reader: &mut Reader<'_>, _spec: &AggregateSpec) -> Result<Self, DecodeError> {
        const FIELD: &str = "sessions";
        let invalid = DecodeError::Invalid { field: FIELD };
        let latest = take_time(reader, FIELD)?;
        let totals = take_totals(reader)?;
        let count = reader.count(FIELD, 4)?;
        if count == 0 || count > MAX_KEPT {
            return Err(invalid);
        }
        let (mut kept, mut newer) = (Vec::with_capacity(count), latest);
        for index in 0..count {
            let end = take_back(reader, newer, FIELD)?;
            if (end == newer) != (index == 0) {
                return Err(invalid);
            }
            let session = take_session(reader, end)?;
            newer = session.start;
            kept.push(session);
        }
        kept.reverse();
        let retired = take_retired(reader, newer)?;
        if totals.count < count as u64 { Err(invalid) } else { Ok(Self { totals, retired, kept }) }
    }
}

/// Reads need all sessions together and the latest one.
fn measure_of(totals: &Totals, latest: &Session, measure: Measure, now: Timestamp) -> Option<Measured> {
    let Totals { count, length_ms, events, bounces, .. } = *totals;
    let per_session = |number: u64| number as f64 / count.max(1) as f64;
    // The latest is open if no more than the gap has passed since its last event.
    let of_open = |gap_ms, number: f64| if now.millis_since(latest.end) <= gap_ms { number } else { 0.0 };
    Some(Measured::number(match measure {
        Measure::SessionCount { .. } => count as f64,
        Measure::MeanLength { .. } => per_session(length_ms) / 1_000.0,
        Measure::BounceShare { .. } => per_session(bounces),
        Measure::EventsPerSession { .. } => per_session(events),
        Measure::CurrentEvents { gap_ms } => of_open(gap_ms, latest.events as f64),
        Measure::CurrentPages { gap_ms } => of_open(gap_ms, latest.pages as f64),
        Measure::CurrentLength { gap_ms } => of_open(gap_ms, seconds(now.millis_since(latest.start))),
        _ => return None,
    }))
}

fn take_totals(reader: &mut Reader<'_>) -> Result<Totals, DecodeError> {
    let mut total = || reader.unsigned("sessions");
    let (count, length_ms, events) = (total()?, total()?, total()?);
    Ok(Totals { count, length_ms, events, pages: total()?, bounces: total()? })
}

fn take_session(reader: &mut Reader<'_>, end: Timestamp) -> Result<Session, DecodeError> {
    const FIELD: &str = "session";
    let start = take_back(reader, end, FIELD)?;
    Ok(Session { start, end, events: reader.unsigned(FIELD)?, pages: reader.unsigned(FIELD)? })
}

fn take_retired(reader: &mut Reader<'_>, before: Timestamp) -> Result<Option<Retired>, DecodeError> {
    const FIELD: &str = "retired sessions";
    let flags = reader.byte(FIELD)?;
    if flags == 0 {
        return Ok(None);
    }
    if flags & 1 == 0 || flags > 7 {
        return Err(DecodeError::Invalid { field: FIELD });
    }
    let until = take_back(reader, before, FIELD)?;
    let from = take_back(reader, until, FIELD)?;
    Ok(Some(Retired { from, until, oldest_bounced: flags & 2 != 0, newest_bounced: flags & 4 != 0 }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GAP_MS: i64 = 30;

    fn at(unix_ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(unix_ms)
    }

    fn spec() -> AggregateSpec {
        super::super::testing::spec(AggregateKind::Sessions { gap_ms: GAP_MS }, true)
    }

    fn sessions(times: &[i64]) -> Sessions {
        let mut sessions = Sessions::begin(at(times[0]), &spec());
        for &time in times {
            sessions.take_in(at(time), time % 3 == 0, GAP_MS);
        }
        sessions
    }

    #[test]
    fn a_late_event_joins_two_sessions() {
        let apart = sessions(&[0, 20, 80, 100]);
        assert_eq!(apart.totals, Totals { count: 2, length_ms: 40, events: 4, pages: 1, bounces: 0 });
        let joined = sessions(&[0, 20, 80, 100, 50]);
        assert_eq!(joined.totals, Totals { count: 1, length_ms: 100, events: 5, pages: 1, bounces: 0 });
        let open = |now| joined.measure(Measure::CurrentEvents { gap_ms: GAP_MS }, at(now), &spec());
        assert_eq!((open(130), open(131)), (Some(Measured::number(5.0)), Some(Measured::number(0.0))));
        assert_eq!(joined, sessions(&[50, 100, 0, 80, 20]));
    }

    #[test]
    fn the_gap_itself_still_belongs_to_the_session() {
        assert_eq!(sessions(&[0, 30]).totals.count, 1);
        assert_eq!(sessions(&[0, 31]).totals.count, 2);
        assert_eq!(sessions(&[31, 0]).totals.count, 2);
    }

    #[test]
    fn the_oldest_retire_into_totals_and_stay_as_they_are() {
        let many: Vec<i64> = (0..100).flat_map(|index| [index * 1_000, index * 1_000 + 10]).collect();
        let mut full = sessions(&many);
        assert_eq!((totals(&full), full.kept.len()), ((100, 1_000, 0), MAX_KEPT));
        let before = full.clone();
        for inside in [0, 5, 25, 500, 30_000, 67_010] {
            full.take_in(at(inside), false, GAP_MS);
            assert_eq!(totals(&full), totals(&before), "what is retired no longer changes");
            assert_eq!(full.kept, before.kept);
        }
        full.take_in(at(99_500), false, GAP_MS);
        assert_eq!(totals(&full), (101, 1_000, 1));
    }

    /// Count, total length and bounces by the plain definition.
    fn plain(times: &[i64]) -> (u64, u64, u64) {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        let breaks = sorted.windows(2).filter(|pair| pair[1] - pair[0] > GAP_MS);
        let silence: i64 = breaks.clone().map(|pair| pair[1] - pair[0]).sum();
        let alone = |index: usize| {
            (index == 0 || sorted[index] - sorted[index - 1] > GAP_MS)
                && sorted.get(index + 1).is_none_or(|next| next - sorted[index] > GAP_MS)
        };
        let bounces = (0..sorted.len()).filter(|index| alone(*index)).count() as u64;
        (breaks.count() as u64 + 1, (sorted[sorted.len() - 1] - sorted[0] - silence) as u64, bounces)
    }

    fn totals(sessions: &Sessions) -> (u64, u64, u64) {
        (sessions.totals.count, sessions.totals.length_ms, sessions.totals.bounces)
    }

    #[test]
    fn late_events_at_the_end_of_the_retired_lengthen_and_join() {
        // Session 0 is retired, 33 ends far from it; the next events lead from the one to the other.
        let mut times: Vec<i64> = (0..33).map(|index| index * 100).collect();
        let mut state = sessions(&times);
        for time in [25, 50, 75, 60, 100] {
            times.push(time);
            state.take_in(at(time), false, GAP_MS);
            assert_eq!(totals(&state), plain(&times), "after {time}");
        }
        // What was joined goes on as one session and retires as one.
        for time in (33..80).map(|index| index * 100) {
            times.push(time);
            state.take_in(at(time), false, GAP_MS);
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
            state.take_in(at(time), false, GAP_MS);
            assert_eq!(totals(&state), plain(&times), "after {time}");
        }
        assert_eq!((totals(&state), state.kept.len()), ((1, 1_280, 0), 1));
    }

    #[test]
    fn two_histories_with_retired_sessions_merge_alike_in_either_order() {
        let early: Vec<i64> = (0..50).map(|index| index * 1_000).collect();
        let late: Vec<i64> = (0..50).map(|index| 60_000 + index * 1_000).collect();
        let (mut one, mut two) = (sessions(&early), sessions(&late));
        let before = one.clone();
        one.merge(&two, &spec());
        two.merge(&before, &spec());
        assert_eq!(one, two);
        assert_eq!(totals(&one), (100, 0, 100));
        assert_eq!(one.latest(), at(109_000));
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
            let (count, length_ms, _) = totals(&sessions(&times));
            prop_assert_eq!(count, 100);
            let (_, expected_ms, _) = plain(&times);
            prop_assert!(length_ms <= expected_ms);
            // One behind those kept is the newest retired.
            prop_assert!(behind > MAX_KEPT || length_ms == expected_ms);
        }
    }
}
