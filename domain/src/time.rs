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
fn civil_from_days(days: i64) -> (i64, i64, i64) {
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
