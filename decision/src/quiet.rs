//! Quiet hours and quiet days: when a person is left alone, by the person's own clock.
//!
//! Not here: which clock that is (`calendar`).

use std::sync::Arc;

use augur_domain::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use augur_domain::time_zone::LocalTime;
use augur_domain::{TimeZone, Timestamp};

/// The days of the week as policies write them, Monday first.
pub(crate) const DAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
/// Steps of a search for the end of quiet: more than a fortnight has, with the clocks changed every day.
const MAX_STEPS: usize = 64;

/// Hours of every day, whole days of the week, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quiet {
    /// From and up to, as milliseconds that the clock shows since 00:00. The window goes over midnight if it ends
    /// before it begins.
    hours: Option<(i64, i64)>,
    /// Bit `n` for the day `n` of [`DAYS`].
    days: u8,
    /// The times in words, for reasons.
    pub(crate) words: Arc<str>,
}

impl Quiet {
    /// `hours` as [`parse_hours`] reads them, `days` by their place in [`DAYS`]; at least one of them.
    pub(crate) fn new(hours: Option<(i64, i64)>, days: &[usize]) -> Self {
        let mut words: Vec<String> = hours.iter().map(|hours| spelled(*hours)).collect();
        words.extend(days.iter().filter_map(|day| DAYS.get(*day)).map(|day| (*day).to_owned()));
        let days = days.iter().fold(0, |bits, day| bits | 1 << day);
        Self { hours, days, words: words.join(", ").into() }
    }

    pub(crate) fn is_quiet(&self, local: LocalTime) -> bool {
        self.left_ms(local) > 0
    }

    /// How long it stays quiet if the clock is not changed, in milliseconds; 0 when it is not quiet.
    fn left_ms(&self, local: LocalTime) -> i64 {
        let LocalTime { in_day_ms, .. } = local;
        let of_day = if self.days & (1 << (local.weekday() - 1)) == 0 { 0 } else { DAY_MS - in_day_ms };
        let of_hours = self.hours.map_or(0, |(from, to)| {
            let left = (to - in_day_ms).rem_euclid(DAY_MS);
            let length = (to - from).rem_euclid(DAY_MS);
            if left > 0 && left <= length { left } else { 0 }
        });
        of_day.max(of_hours)
    }
}

/// `21:00-08:00`
fn spelled((from, to): (i64, i64)) -> String {
    let clock = |ms: i64| format!("{:02}:{:02}", ms / HOUR_MS, ms % HOUR_MS / MINUTE_MS);
    format!("{}-{}", clock(from), clock(to))
}

/// Reads `21:00-08:00`; the end may be `24:00`.
pub(crate) fn parse_hours(text: &str) -> Option<(i64, i64)> {
    let (from, to) = text.split_once('-')?;
    let clock = |text: &str| {
        let (hour, minute) = text.trim().split_once(':')?;
        let number = |digits: &str| {
            (digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit()))
                .then(|| digits.parse::<i64>().ok())?
        };
        let (hour, minute) = (number(hour)?, number(minute)?);
        let ms = hour * HOUR_MS + minute * MINUTE_MS;
        (minute < 60 && ms <= DAY_MS).then_some(ms)
    };
    let (from, to) = (clock(from)?, clock(to)? % DAY_MS);
    (from < DAY_MS && from != to).then_some((from, to))
}

/// The first instant from `from` on at which none of `quiets` holds; `None` if there is none for weeks.
///
/// Quiet goes by what the clock shows. An end that the clock skips in spring is the instant of the change; hours that
/// it shows twice in autumn are quiet twice.
pub(crate) fn first_open(quiets: &[Quiet], zone: &TimeZone, from: Timestamp) -> Option<Timestamp> {
    let mut at = from;
    for _ in 0..MAX_STEPS {
        let local = zone.local(at);
        let left_ms = quiets.iter().map(|quiet| quiet.left_ms(local)).max().unwrap_or(0);
        if left_ms == 0 {
            return Some(at);
        }
        let end = at.plus_millis(left_ms);
        at = zone.next_change(at).map_or(end, |change| change.min(end));
    }
    None
}

/// Whether these leave any minute of a week open.
pub(crate) fn leaves_time(quiets: &[Quiet]) -> bool {
    let mut minutes = (0..7).flat_map(|day| (0..24 * 60).map(move |minute| (day, minute)));
    minutes.any(|(day, minute)| {
        let local = LocalTime { day, in_day_ms: minute * MINUTE_MS };
        quiets.iter().all(|quiet| !quiet.is_quiet(local))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    fn berlin() -> &'static TimeZone {
        TimeZone::named("Europe/Berlin").unwrap()
    }

    fn quiet(hours: &str, days: &[usize]) -> Quiet {
        Quiet::new(parse_hours(hours), days)
    }

    #[test]
    fn hours_are_read_strictly() {
        assert_eq!(parse_hours("21:00-08:30"), Some((21 * HOUR_MS, 8 * HOUR_MS + 30 * MINUTE_MS)));
        assert_eq!(parse_hours("18:00-24:00"), Some((18 * HOUR_MS, 0)));
        for bad in
            ["", "21-8", "21:00", "9:00-10:00", "21:00-21:00", "24:00-08:00", "21:60-08:00", "+1:00-02:00"]
        {
            assert_eq!(parse_hours(bad), None, "{bad}");
        }
        assert_eq!(&*quiet("21:00-08:00", &[5, 6]).words, "21:00-08:00, saturday, sunday");
    }

    #[test]
    fn night_ends_in_the_morning_of_the_persons_clock() {
        let night = [quiet("21:00-08:00", &[])];
        let open = |now: &str| first_open(&night, berlin(), at(now)).unwrap();
        assert_eq!(open("2026-11-22T20:00:00Z"), at("2026-11-23T07:00:00Z"));
        assert_eq!(open("2026-11-22T19:59:59.999Z"), at("2026-11-22T19:59:59.999Z"));
        assert_eq!(open("2026-11-23T06:59:59.999Z"), at("2026-11-23T07:00:00Z"));
        // The nights of the changes are an hour shorter and an hour longer.
        assert_eq!(open("2027-03-27T20:00:00Z"), at("2027-03-28T06:00:00Z"));
        assert_eq!(open("2026-10-24T19:00:00Z"), at("2026-10-25T07:00:00Z"));
    }

    #[test]
    fn an_end_that_is_skipped_is_the_change_and_one_shown_twice_is_quiet_twice() {
        // On 28 March 02:00 becomes 03:00; on 31 October 03:00 becomes 02:00.
        let small_hours = [quiet("01:30-02:30", &[])];
        let open = |now: &str| first_open(&small_hours, berlin(), at(now)).unwrap();
        assert_eq!(open("2027-03-28T00:45:00Z"), at("2027-03-28T01:00:00Z"));
        assert_eq!(open("2027-10-31T00:15:00Z"), at("2027-10-31T00:30:00Z"), "open for half an hour");
        assert_eq!(open("2027-10-31T01:00:00Z"), at("2027-10-31T01:30:00Z"), "and quiet again");
    }

    #[test]
    fn weekends_and_nights_go_together() {
        let both = [quiet("20:00-09:00", &[]), Quiet::new(None, &[5, 6])];
        assert_eq!(
            first_open(&both, berlin(), at("2026-11-20T19:30:00Z")).unwrap(),
            at("2026-11-23T08:00:00Z")
        );
        assert!(leaves_time(&both));
        assert!(!leaves_time(&[quiet("20:00-09:00", &[]), quiet("09:00-20:00", &[])]));
        assert!(!leaves_time(&[Quiet::new(None, &[0, 1, 2, 3, 4, 5, 6])]));
    }

    proptest! {
        /// Minute by minute, what the clock shows says the same.
        #[test]
        fn the_search_finds_what_looking_at_the_clock_finds(
            from in 0_i64..1440, length in 1_i64..1440, days in prop::collection::btree_set(0_usize..7, 0..4),
            zone in prop::sample::select(vec!["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "America/Havana", "UTC"]),
            start_minutes in 0_i64..(400 * 1440),
        ) {
            let hours = (from * MINUTE_MS, (from + length) % 1440 * MINUTE_MS);
            let days: Vec<usize> = days.into_iter().collect();
            let quiets = [Quiet::new(Some(hours), &days)];
            prop_assume!(leaves_time(&quiets));
            let zone = TimeZone::named(zone).unwrap();
            let now = at("2006-01-01T00:00:00Z").plus_millis(start_minutes * MINUTE_MS);
            let shown = |at: Timestamp| {
                let local = zone.local(at);
                let minute = local.in_day_ms / MINUTE_MS;
                let in_hours = (minute - from).rem_euclid(1440) < length;
                in_hours || days.contains(&usize::try_from(local.weekday() - 1).unwrap())
            };
            let mut expected = now;
            while shown(expected) {
                expected = expected.plus_millis(MINUTE_MS);
            }
            prop_assert_eq!(first_open(&quiets, zone, now), Some(expected));
        }
    }
}
