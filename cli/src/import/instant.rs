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
    /// By its looks: digits are milliseconds from 10^11 on, else seconds; otherwise RFC 3339, or a date with or
    /// without a time.
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
            pattern if pattern.contains('%') => Self::Pattern(pattern.to_owned()),
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
        self.read_text(&cell.to_text())
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
                "a time: milliseconds or seconds since 1970, RFC 3339, or `YYYY-MM-DD HH:MM[:SS]`".into()
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

fn guess(text: &str) -> Option<Timestamp> {
    if let Some(number) = whole(text) {
        return if number.abs() >= 100_000_000_000 { in_range(number) } else { seconds(text) };
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
    fn what_is_no_time_says_what_was_expected() {
        for format in ["ms", "s", "rfc3339", "%Y", ""] {
            let error =
                InstantFormat::parse(format).unwrap().read(&Cell::Open("yesterday".into())).unwrap_err();
            assert!(!error.is_empty());
        }
        assert!(InstantFormat::parse("seconds").unwrap_err().to_string().contains("ms, s, rfc3339"));
        assert!(InstantFormat::Milliseconds.read(&Cell::Open(i64::MAX.to_string())).is_err());
    }
}
