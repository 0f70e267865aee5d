//! Points in time and lengths of time, in whole milliseconds.
//!
//! Not here: the clock. Nothing in the workspace's pure crates may ask what time it is; `now` is an
//! argument everywhere.

use std::fmt;

/// One second in milliseconds.
pub const SECOND_MS: i64 = 1_000;
/// One minute in milliseconds.
pub const MINUTE_MS: i64 = 60 * SECOND_MS;
/// One hour in milliseconds.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
/// One day in milliseconds. Days here are always 24 hours; calendar days belong to time zones.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// Milliseconds since 1970-01-01T00:00:00Z.
///
/// Bounded to years 1..=9999 by every parser that builds one from outside input, so differences of two
/// timestamps never overflow an `i64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Reads an instant as RFC 3339 spells it, such as `2026-11-22T17:02:45.123Z` or `2026-11-22 18:02:45+01:00`;
    /// digits beyond milliseconds are cut off, a leap second is the second after it.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let mut rest = text;
        let year = take_number(&mut rest, 4)?;
        take_mark(&mut rest, "-")?;
        let month = take_number(&mut rest, 2)?;
        take_mark(&mut rest, "-")?;
        let day = take_number(&mut rest, 2)?;
        take_mark(&mut rest, "T ")?;
        let hour = take_number(&mut rest, 2)?;
        take_mark(&mut rest, ":")?;
        let minute = take_number(&mut rest, 2)?;
        take_mark(&mut rest, ":")?;
        let second = take_number(&mut rest, 2)?;
        let mut milli = 0;
        if rest.starts_with('.') {
            let fraction = rest.get(1..)?;
            let digits = fraction.len() - fraction.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let kept = fraction.get(..digits.min(3)).filter(|kept| !kept.is_empty())?;
            milli = format!("{kept:0<3}").parse().ok()?;
            rest = fraction.get(digits..)?;
        }
        let offset_ms = match take_mark(&mut rest, "Z+-")? {
            'Z' => 0,
            sign => {
                let hours = take_number(&mut rest, 2).filter(|hours| *hours < 24)?;
                take_mark(&mut rest, ":")?;
                let minutes = take_number(&mut rest, 2).filter(|minutes| *minutes < 60)?;
                let offset_ms = hours * HOUR_MS + minutes * MINUTE_MS;
                if sign == '-' { -offset_ms } else { offset_ms }
            }
        };
        let days = days_from_civil(year, month, day);
        let is_date = civil_from_days(days) == (year, month, day);
        if !rest.is_empty() || !is_date || year == 0 || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let in_day = hour * HOUR_MS + minute * MINUTE_MS + second * SECOND_MS + milli;
        Some(Self::from_unix_ms(days * DAY_MS + in_day - offset_ms))
    }

    /// 0001-01-01T00:00:00Z, the earliest accepted instant.
    pub const MIN: Self = Self(-62_135_596_800_000);
    /// 9999-12-31T23:59:59.999Z, the latest accepted instant.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// Wraps milliseconds since the epoch, clamped to [`Self::MIN`]..=[`Self::MAX`].
    pub const fn from_unix_ms(unix_ms: i64) -> Self {
        if unix_ms < Self::MIN.0 {
            Self::MIN
        } else if unix_ms > Self::MAX.0 {
            Self::MAX
        } else {
            Self(unix_ms)
        }
    }

    /// Milliseconds since the epoch.
    pub const fn unix_ms(self) -> i64 {
        self.0
    }

    /// `self - earlier` in milliseconds; negative when `earlier` is in fact later.
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// This instant moved by `delta_ms`, clamped to the accepted range.
    pub const fn plus_millis(self, delta_ms: i64) -> Self {
        Self::from_unix_ms(self.0.saturating_add(delta_ms))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds, e.g. `2026-11-22T17:02:45.000Z`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.0.div_euclid(DAY_MS);
        let in_day = self.0.rem_euclid(DAY_MS);
        let (year, month, day) = civil_from_days(days);
        let (hour, minute) = (in_day / HOUR_MS, in_day % HOUR_MS / MINUTE_MS);
        let (second, milli) = (in_day % MINUTE_MS / SECOND_MS, in_day % SECOND_MS);
        write!(formatter, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

/// Gregorian date of a day number counted from 1970-01-01.
///
/// Works in 400-year eras that start on 1 March, so that the leap day is the last day of a year
/// (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Day number, counted from 1970-01-01, of a Gregorian date; the inverse of [`civil_from_days`].
pub const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Takes `digits` decimal digits off the front.
fn take_number(text: &mut &str, digits: usize) -> Option<i64> {
    let (number, rest) = text.split_at_checked(digits)?;
    *text = rest;
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok())?
}

/// Takes one of `marks` off the front, in either case.
fn take_mark(text: &mut &str, marks: &str) -> Option<char> {
    let mark = text.chars().next()?.to_ascii_uppercase();
    *text = text.get(1..).filter(|_| marks.contains(mark))?;
    Some(mark)
}

/// Reads a length of time such as `30s`, `15m`, `12h`, `7d`, `250ms` into milliseconds.
///
/// # Errors
/// Says what was expected when the unit is missing or unknown, the number is not a positive integer, or the
/// length passes 400 days.
pub fn parse_duration_ms(text: &str) -> Result<i64, String> {
    const EXPECTED: &str =
        "expected a positive whole number and a unit, like `250ms`, `30s`, `15m`, `12h` or `7d`";
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => SECOND_MS,
        "m" => MINUTE_MS,
        "h" => HOUR_MS,
        "d" => DAY_MS,
        _ => return Err(format!("`{text}` is not a length of time; {EXPECTED}")),
    };
    let number: i64 = number.parse().map_err(|_| format!("`{text}` is not a length of time; {EXPECTED}"))?;
    let total_ms = number.checked_mul(unit_ms).unwrap_or(i64::MAX);
    if total_ms == 0 || total_ms > 400 * DAY_MS {
        return Err(format!("`{text}` is out of range; expected between `1ms` and `400d`"));
    }
    Ok(total_ms)
}

/// The shortest exact spelling of a length of time, the inverse of [`parse_duration_ms`].
pub fn format_duration_ms(length_ms: i64) -> String {
    for (unit_ms, unit) in [(DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "m"), (SECOND_MS, "s")] {
        if length_ms % unit_ms == 0 && length_ms != 0 {
            return format!("{}{unit}", length_ms / unit_ms);
        }
    }
    format!("{length_ms}ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displays_rfc3339_across_eras_and_leap_days() {
        for (unix_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_366_965_123, "2026-11-22T17:02:45.123Z"),
        ] {
            assert_eq!(Timestamp::from_unix_ms(unix_ms).to_string(), text);
        }
        assert_eq!(Timestamp::MIN.to_string(), "0001-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn reads_rfc3339_and_nothing_else() {
        for unix_ms in
            [0, -1, 951_782_400_000, 1_795_366_965_123, Timestamp::MIN.unix_ms(), Timestamp::MAX.unix_ms()]
        {
            let timestamp = Timestamp::from_unix_ms(unix_ms);
            assert_eq!(Timestamp::parse_rfc3339(&timestamp.to_string()), Some(timestamp));
        }
        for (text, unix_ms) in [
            ("1970-01-01T01:00:00+01:00", 0),
            ("1969-12-31 18:30:00-05:30", 0),
            ("1970-01-01t00:00:00.1239z", 123),
            ("1970-01-01T00:00:00.5Z", 500),
            ("1969-12-31T23:59:60Z", 0),
        ] {
            assert_eq!(Timestamp::parse_rfc3339(text), Some(Timestamp::from_unix_ms(unix_ms)), "{text}");
        }
        for text in [
            "",
            "1970-01-01",
            "1970-01-01T00:00:00",
            "1970-02-30T00:00:00Z",
            "1970-13-01T00:00:00Z",
            "1970-00-01T00:00:00Z",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00Zx",
            "+970-01-01T00:00:00Z",
            "1970-01-01T00:00:00+1:00",
            "1970é01-01T00:00:00Z",
        ] {
            assert_eq!(Timestamp::parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn clamps_instead_of_overflowing() {
        assert_eq!(Timestamp::from_unix_ms(i64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.plus_millis(i64::MIN), Timestamp::MIN);
    }

    #[test]
    fn durations_round_trip() {
        for text in ["250ms", "30s", "15m", "12h", "7d", "400d", "1001ms"] {
            assert_eq!(format_duration_ms(parse_duration_ms(text).unwrap()), text);
        }
    }

    #[test]
    fn bad_durations_say_what_was_expected() {
        for text in ["", "7", "d", "-3d", "1.5h", "7w", "0s", "401d", "99999999999999999999d"] {
            let message = parse_duration_ms(text).unwrap_err();
            assert!(message.contains("expected"), "{message}");
        }
    }
}
