//! A name for every call, taken from the caller or made here, and told back: with it, a line of the log is found.
//!
//! Not here: ids of decisions and events, which are stored.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};

/// Metadata of the request and of the answer.
pub(crate) const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// Longest name that is taken from a caller.
const MAX_TAKEN_BYTES: usize = 128;

/// Makes names that no other server and no other run makes.
#[derive(Debug)]
pub(crate) struct RequestIds {
    run: u64,
    made: AtomicU64,
}

impl RequestIds {
    /// `run` is drawn at random for each start.
    pub(crate) const fn new(run: u64) -> Self {
        Self { run, made: AtomicU64::new(0) }
    }

    /// The caller's name for the call, if it gave one of up to 128 visible characters, or the next one of ours.
    pub(crate) fn take_or_make(&self, headers: &HeaderMap) -> HeaderValue {
        let given = headers.get(REQUEST_ID_HEADER).filter(|given| is_fit(given.as_bytes()));
        given.cloned().unwrap_or_else(|| self.make())
    }

    fn make(&self) -> HeaderValue {
        let mut name = String::with_capacity(32);
        // Writing to a text does not fail.
        let _ = write!(name, "{:016x}{:016x}", self.run, self.made.fetch_add(1, Ordering::Relaxed));
        HeaderValue::try_from(name).unwrap_or(HeaderValue::from_static("unknown"))
    }
}

/// Letters, digits and `-_.:/=+`: what stays one word in a line of the log, whoever reads it.
fn is_fit(given: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/=+".contains(byte);
    (1..=MAX_TAKEN_BYTES).contains(&given.len()) && given.iter().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_taken_and_anything_else_is_named_anew() {
        let ids = RequestIds::new(7);
        let named = |given: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID_HEADER, HeaderValue::from_bytes(given).unwrap());
            ids.take_or_make(&headers).as_bytes() == given
        };
        assert!(named(b"4bf92f35-77b3.4da6:a3ce/929d=0e0e+x_"));
        assert!(named(&[b'a'; 128]));
        for unfit in [b"" as &[u8], b"a b", b"\x1b[31m".get(1..).unwrap(), "\u{e9}".as_bytes(), &[b'a'; 129]]
        {
            assert!(!named(unfit), "{unfit:?}");
        }
        let none = HeaderMap::new();
        assert_ne!(ids.take_or_make(&none), ids.take_or_make(&none));
        assert_eq!(ids.take_or_make(&none).len(), 32);
    }
}
