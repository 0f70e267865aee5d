//! Times as files spell them.
//!
//! Not here: whether a time is too old; the store has no such limit for imports.

use augur_loadtest::domain::Timestamp;
use jiff::civil;

use super::mapping::Cell;
use crate::Error;

/// How a column spells instants. Times without an offset are UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InstantFormat {
    /// By its looks: nine or ten digits are seconds, thirteen milliseconds; otherwise RFC 3339, or a date with or
    /// without a time. Other whole numbers are refused: `20101201` is a date to people and 1970 to a machine.
    Guess,
    /// Whole milliseconds since 1970.
    Milliseconds,
    /// Seconds since 1970, with or without a fraction.
    Seconds,
    /// RFC 3339, e.g. `2026-11-22T17:02:45Z`.
    Rfc3339,
    /// A strftime format, e.g. `%d/%m/%Y %H:%M`.
    Pattern(String),
}

impl InstantFormat {
    /// Reads the part after the column's colon.
    pub(crate) fn parse(word: &str) -> Result<Self, Error> {
        Ok(match word {
            "" => Self::Guess,
            "ms" => Self::Milliseconds,
            "s" => Self::Seconds,
            "rfc3339" => Self::Rfc3339,
            pattern if pattern.contains('%') => {
                if !tells_a_time(pattern) {
                    return Err(Error::Argument {
                        argument: "--map timestamp",
                        found: pattern.to_owned(),
                        expected: "a strftime format that tells at least year, month and day, like \
                                   `%d/%m/%Y %H:%M`"
                            .to_owned(),
                    });
                }
                Self::Pattern(pattern.to_owned())
            }
            other => {
                return Err(Error::Argument {
                    argument: "--map timestamp",
                    found: other.to_owned(),
                    expected: "ms, s, rfc3339 or a format like `%d/%m/%Y %H:%M`".to_owned(),
                });
            }
        })
    }

    /// The instant in a cell, or what was expected.
    pub(crate) fn read(&self, cell: &Cell) -> Result<Timestamp, String> {
        if let Cell::Instant(unix_ms) = cell {
            return in_range(*unix_ms).ok_or_else(|| "a time between the years 1 and 9999".to_owned());
        }
        let text = cell.to_text();
        self.read_text(&text).map_err(|expected| match (self, whole(&text)) {
            (Self::Guess, Some(_)) => {
                format!("{expected}; say how the column spells it, e.g. `:s`, `:ms` or `:%Y%m%d`")
            }
            _ => expected,
        })
    }

    /// The instant that a text spells, or what was expected.
    pub(crate) fn read_text(&self, text: &str) -> Result<Timestamp, String> {
        let read = match self {
            Self::Milliseconds => whole(text).and_then(in_range),
            Self::Seconds => seconds(text),
            Self::Rfc3339 => rfc3339(text),
            Self::Pattern(pattern) => by_pattern(pattern, text),
            Self::Guess => guess(text),
        };
        read.ok_or_else(|| self.expected())
    }

    fn expected(&self) -> String {
        match self {
            Self::Guess => {
                "a time: seconds (9 or 10 digits) or milliseconds (13 digits) since 1970, RFC 3339, or \
                 `YYYY-MM-DD[ HH:MM[:SS]]`"
                    .into()
            }
            Self::Milliseconds => "whole milliseconds since 1970, like `1700000000000`".into(),
            Self::Seconds => "seconds since 1970, like `1700000000`".into(),
            Self::Rfc3339 => "RFC 3339, like `2026-11-22T17:02:45Z`".into(),
            Self::Pattern(pattern) => format!("a time that reads as `{pattern}`"),
        }
    }
}

fn in_range(unix_ms: i64) -> Option<Timestamp> {
    let timestamp = Timestamp::from_unix_ms(unix_ms);
    (timestamp.unix_ms() == unix_ms).then_some(timestamp)
}

fn whole(text: &str) -> Option<i64> {
    // Spreadsheets and parquet hold whole numbers as floats, too.
    text.strip_suffix(".0").unwrap_or(text).parse().ok()
}

fn seconds(text: &str) -> Option<Timestamp> {
    if let Some(whole) = whole(text) {
        return whole.checked_mul(1_000).and_then(in_range);
    }
    let seconds: f64 = text.parse().ok()?;
    (seconds.abs() < 1e12).then_some((seconds * 1e3).round() as i64).and_then(in_range)
}

fn rfc3339(text: &str) -> Option<Timestamp> {
    text.parse::<jiff::Timestamp>().ok().and_then(|timestamp| in_range(timestamp.as_millisecond()))
}

fn utc(time: civil::DateTime) -> Option<Timestamp> {
    let zoned = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    in_range(zoned.timestamp().as_millisecond())
}

fn by_pattern(pattern: &str, text: &str) -> Option<Timestamp> {
    if let Ok(timestamp) = jiff::Timestamp::strptime(pattern, text) {
        return in_range(timestamp.as_millisecond());
    }
    if let Ok(time) = civil::DateTime::strptime(pattern, text) {
        return utc(time);
    }
    civil::Date::strptime(pattern, text).ok().and_then(|date| utc(date.at(0, 0, 0, 0)))
}

/// Whether a format both writes an instant and reads it again, so that it cannot fail for every row.
fn tells_a_time(pattern: &str) -> bool {
    let sample = civil::date(2011, 12, 10).at(17, 2, 45, 0).to_zoned(jiff::tz::TimeZone::UTC);
    sample
        .ok()
        .and_then(|sample| jiff::fmt::strtime::format(pattern, &sample).ok())
        .is_some_and(|written| by_pattern(pattern, &written).is_some())
}

fn guess(text: &str) -> Option<Timestamp> {
    if let Some(number) = whole(text) {
        return match number {
            100_000_000..10_000_000_000 => in_range(number * 1_000),
            1_000_000_000_000..10_000_000_000_000 => in_range(number),
            _ => None,
        };
    }
    rfc3339(text)
        .or_else(|| text.parse::<civil::DateTime>().ok().and_then(utc))
        .or_else(|| text.parse::<civil::Date>().ok().and_then(|date| utc(date.at(0, 0, 0, 0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_reads_what_it_promises() {
        for (format, text, shown) in [
            ("ms", "1291192000000", "2010-12-01T08:26:40.000Z"),
            ("s", "1291192000", "2010-12-01T08:26:40.000Z"),
            ("s", "1291192000.25", "2010-12-01T08:26:40.250Z"),
            ("rfc3339", "2010-12-01T09:26:40+01:00", "2010-12-01T08:26:40.000Z"),
            ("%d/%m/%Y %H:%M", "01/12/2010 08:26", "2010-12-01T08:26:00.000Z"),
            ("%d/%m/%Y %H:%M %z", "01/12/2010 08:26 +0200", "2010-12-01T06:26:00.000Z"),
            ("%Y%m%d", "20101201", "2010-12-01T00:00:00.000Z"),
            ("", "2010-12-01 08:26", "2010-12-01T08:26:00.000Z"),
            ("", "2010-12-01", "2010-12-01T00:00:00.000Z"),
            ("", "1291192000", "2010-12-01T08:26:40.000Z"),
            ("", "1291192000123", "2010-12-01T08:26:40.123Z"),
        ] {
            let format = InstantFormat::parse(format).unwrap();
            let read = format.read(&Cell::Open(text.to_owned()));
            assert_eq!(
                read.map(|timestamp| timestamp.to_string()).as_deref(),
                Ok(shown),
                "{format:?} {text}"
            );
        }
    }

    #[test]
    fn digits_that_are_more_likely_a_date_are_not_guessed() {
        for text in ["20101201", "201012010826", "20101201082600", "40512", "0", "-1291192000", "20101201.0"]
        {
            let expected = InstantFormat::Guess.read(&Cell::Open(text.to_owned())).unwrap_err();
            assert!(expected.contains("`:s`") && expected.contains("`:%Y%m%d`"), "{text}: {expected}");
            assert!(InstantFormat::Guess.read_text(text).is_err(), "{text}");
        }
        assert_eq!(InstantFormat::Seconds.read_text("20101201").unwrap().unix_ms(), 20_101_201_000);
    }

    #[test]
    fn formats_that_no_row_could_fit_are_told_at_once() {
        for pattern in ["%Y-%m-%Q!", "%d/%m/%", "%H:%M", "%Y"] {
            let error = InstantFormat::parse(pattern).unwrap_err().to_string();
            assert!(error.contains(pattern) && error.contains("`%d/%m/%Y %H:%M`"), "{error}");
        }
        for pattern in ["%Y%m%d", "%d.%m.%y %I:%M %p", "%b %d, %Y", "%s", "%Y-%m-%dT%H:%M:%S%.f%z"] {
            assert!(InstantFormat::parse(pattern).is_ok(), "{pattern}");
        }
    }

    #[test]
    fn what_is_no_time_says_what_was_expected() {
        for format in ["ms", "s", "rfc3339", "%Y-%m-%d", ""] {
            let error =
                InstantFormat::parse(format).unwrap().read(&Cell::Open("yesterday".into())).unwrap_err();
            assert!(!error.is_empty());
        }
        assert!(InstantFormat::parse("seconds").unwrap_err().to_string().contains("ms, s, rfc3339"));
        assert!(InstantFormat::Milliseconds.read(&Cell::Open(i64::MAX.to_string())).is_err());
    }
}
