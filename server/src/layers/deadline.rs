//! How long a call may take: what its caller allows, clamped to what the server does, and DEADLINE_EXCEEDED when that is
//! over.
//!
//! Own code, because the network layer would answer CANCELLED, which callers take for their own doing, and would take a
//! timeout that it cannot read for none. Not here: streams once they are open (`stream`), or how decisions use the time
//! that is left (`crate::decide`).

use std::future::Future;
use std::time::Duration;

use http::{HeaderMap, HeaderName};

use crate::Error;

/// The caller's deadline on the wire.
const TIMEOUT_HEADER: HeaderName = HeaderName::from_static("grpc-timeout");

/// When a call arrived and how long its caller allows; an extension of every request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// By the app's monotonic clock.
    pub(crate) at: Duration,
    /// The caller's `grpc-timeout`.
    pub(crate) allowed: Option<Duration>,
}

/// How long the caller allows: at most eight digits and a unit, once.
///
/// # Errors
/// [`Error::InvalidTimeout`] for anything else: to take it for no deadline would keep work going that nobody waits for.
pub(super) fn allowed_by(headers: &HeaderMap) -> Result<Option<Duration>, Error> {
    let mut given = headers.get_all(TIMEOUT_HEADER).iter();
    let Some(timeout) = given.next() else { return Ok(None) };
    let read = timeout.to_str().ok().and_then(read).filter(|_| given.next().is_none());
    read.map(Some).ok_or_else(|| Error::InvalidTimeout {
        found: String::from_utf8_lossy(timeout.as_bytes()).chars().take(32).collect(),
    })
}

fn read(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3_600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// The outcome of `call`, unless it takes longer than `limit`.
///
/// # Errors
/// [`Error::DeadlineExceeded`] when it does.
pub(super) async fn within<T>(limit: Duration, call: impl Future<Output = T>) -> Result<T, Error> {
    // A little early: the network layer has a timer of its own, and gives the wrong status.
    let early = limit.saturating_sub(Duration::from_millis(1).min(limit / 2));
    tokio::time::timeout(early, call).await.map_err(|_| Error::DeadlineExceeded { elapsed: limit })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(values: &[&str]) -> Result<Option<Duration>, Error> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TIMEOUT_HEADER, value.parse().unwrap());
        }
        allowed_by(&headers)
    }

    #[test]
    fn timeouts_are_read_or_refused() {
        for (text, expected) in [
            ("50m", Duration::from_millis(50)),
            ("99999999H", Duration::from_secs(99_999_999 * 3_600)),
            ("7u", Duration::from_micros(7)),
            ("1n", Duration::from_nanos(1)),
            ("0m", Duration::ZERO),
        ] {
            assert_eq!(given(&[text]).unwrap(), Some(expected), "{text}");
        }
        assert_eq!(given(&[]).unwrap(), None);
        for bad in [
            &["" as &str] as &[&str],
            &["m"],
            &["5"],
            &["-5m"],
            &["123456789m"],
            &["5x"],
            &["5 m"],
            &["5m", "6m"],
        ] {
            assert!(matches!(given(bad), Err(Error::InvalidTimeout { .. })), "{bad:?}");
        }
    }
}
