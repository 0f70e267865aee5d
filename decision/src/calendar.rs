//! Days, weeks and months as people count them, and whose clock they go by.
//!
//! Not here: the tables of time zones (`augur_domain::time_zone`), or what is counted (`cap`, `budget`).

use std::cell::OnceCell;
use std::sync::Arc;

use augur_domain::decision::Person;
use augur_domain::time::{DAY_MS, civil_from_days, days_from_civil};
use augur_domain::time_zone::{LocalTime, weekday};
use augur_domain::{TimeZone, Timestamp};

/// A calendar window. Weeks begin on Monday.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Period {
    Day,
    Week,
    Month,
}

impl Period {
    /// The word in policies.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    pub(crate) fn named(word: &str) -> Option<Self> {
        [Self::Day, Self::Week, Self::Month].into_iter().find(|period| period.as_str() == word)
    }

    /// No such period takes longer anywhere, in milliseconds: one day more where clocks crossed the date line, and one
    /// for every change of clocks there can be.
    pub(crate) const fn longest_ms(self) -> i64 {
        match self {
            Self::Day => 3 * DAY_MS,
            Self::Week => 9 * DAY_MS,
            Self::Month => 33 * DAY_MS,
        }
    }

    /// The first instant of the period that `at` belongs to, and the first one after it.
    pub(crate) fn around(self, zone: &TimeZone, at: Timestamp) -> (Timestamp, Timestamp) {
        let (first, next) = self.days(zone.day(at));
        (zone.start_of_day(first), zone.start_of_day(next))
    }

    /// The first day of the period of `day`, and the first one after it.
    fn days(self, day: i64) -> (i64, i64) {
        match self {
            Self::Day => (day, day + 1),
            Self::Week => {
                let monday = day + 1 - weekday(day);
                (monday, monday + 7)
            }
            Self::Month => {
                let (year, month, _) = civil_from_days(day);
                let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                (days_from_civil(year, month, 1), days_from_civil(next.0, next.1, 1))
            }
        }
    }
}

/// What a policy says of people whose time zone is not known.
#[derive(Debug, Clone)]
pub(crate) enum UnknownZone {
    /// What hangs on their clock is withheld.
    Hold,
    /// They count as living in this zone.
    Assume(&'static TimeZone, Arc<str>),
}

/// The clock of the person that one decision is about. Looked up when first asked.
pub(crate) struct PersonClock<'a> {
    person: &'a Person,
    unknown: &'a UnknownZone,
    now: Timestamp,
    zone: OnceCell<Option<&'static TimeZone>>,
    local: OnceCell<Option<LocalTime>>,
    periods: [OnceCell<Option<(Timestamp, Timestamp)>>; 3],
}

impl<'a> PersonClock<'a> {
    pub(crate) fn new(person: &'a Person, unknown: &'a UnknownZone, now: Timestamp) -> Self {
        let (zone, local, periods) = (OnceCell::new(), OnceCell::new(), [const { OnceCell::new() }; 3]);
        Self { person, unknown, now, zone, local, periods }
    }

    /// The person's own zone, if it is known and there is such a zone.
    fn own_zone(&self) -> Option<&'static TimeZone> {
        self.person.time_zone.as_deref().and_then(TimeZone::named)
    }

    /// The zone to go by; `None` if what hangs on it is withheld.
    pub(crate) fn zone(&self) -> Option<&'static TimeZone> {
        *self.zone.get_or_init(|| {
            self.own_zone().or(match self.unknown {
                UnknownZone::Hold => None,
                UnknownZone::Assume(zone, _) => Some(zone),
            })
        })
    }

    /// The zone that stands in for an unknown one, if one does.
    pub(crate) fn assumed(&self) -> Option<&'a Arc<str>> {
        match self.unknown {
            UnknownZone::Assume(_, name) if self.own_zone().is_none() => Some(name),
            _ => None,
        }
    }

    /// What the clock shows now.
    pub(crate) fn local(&self) -> Option<LocalTime> {
        *self.local.get_or_init(|| Some(self.zone()?.local(self.now)))
    }

    /// Beginning and end of the period that it is now.
    pub(crate) fn period(&self, period: Period) -> Option<(Timestamp, Timestamp)> {
        let [day, week, month] = &self.periods;
        let cell = match period {
            Period::Day => day,
            Period::Week => week,
            Period::Month => month,
        };
        *cell.get_or_init(|| Some(period.around(self.zone()?, self.now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn periods_are_those_of_the_zone() {
        let berlin = TimeZone::named("Europe/Berlin").unwrap();
        // A Sunday, the day of 23 hours.
        let now = at("2027-03-28T12:00:00Z");
        let around = |period: Period| period.around(berlin, now);
        assert_eq!(around(Period::Day), (at("2027-03-27T23:00:00Z"), at("2027-03-28T22:00:00Z")));
        assert_eq!(around(Period::Week), (at("2027-03-21T23:00:00Z"), at("2027-03-28T22:00:00Z")));
        assert_eq!(around(Period::Month), (at("2027-02-28T23:00:00Z"), at("2027-03-31T22:00:00Z")));
        let december = Period::Month.around(berlin, at("2027-12-31T23:30:00Z"));
        assert_eq!(december, (at("2027-12-31T23:00:00Z"), at("2028-01-31T23:00:00Z")));
    }

    #[test]
    fn an_unknown_zone_is_assumed_or_nothing() {
        let utc = UnknownZone::Assume(TimeZone::named("UTC").unwrap(), "UTC".into());
        let of = |zone: Option<&str>| Person { time_zone: zone.map(Into::into), ..Person::default() };
        let now = at("2027-01-01T00:00:00Z");
        for unknown in [None, Some("Mars/Olympus")] {
            let person = of(unknown);
            let clock = PersonClock::new(&person, &utc, now);
            assert_eq!(clock.zone().unwrap().name(), "UTC");
            assert_eq!(clock.assumed().map(|name| &**name), Some("UTC"));
            let clock = PersonClock::new(&person, &UnknownZone::Hold, now);
            assert!(clock.zone().is_none() && clock.assumed().is_none() && clock.local().is_none());
        }
        let person = of(Some("Asia/Tokyo"));
        let clock = PersonClock::new(&person, &utc, now);
        assert_eq!((clock.local().unwrap().hour(), clock.assumed()), (9, None));
    }
}
