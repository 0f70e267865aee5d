//! Why a call was refused, in words of a closed set: the same word in the status, the metrics and the log.
//!
//! Not here: which failure has which cause and status (`error`), or what a caller did wrong in the request itself, which
//! is told field by field.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderName;

/// Metadata of an answer that was refused: the cause.
pub(crate) const CAUSE_HEADER: HeaderName = HeaderName::from_static("augur-cause");
/// The domain of `google.rpc.ErrorInfo`.
pub(crate) const DOMAIN: &str = "augur";
/// A cause is told in the log at most this often; how many were not told is told with the next.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Why a call was refused or failed, though nothing was wrong with the request itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The call carries no credential.
    CredentialMissing,
    /// The call's credential is not accepted; what is wrong with it is not told.
    CredentialRefused,
    /// The credential does not allow this call.
    RoleMissing,
    /// The caller made too many calls.
    CallerLimited,
    /// All callers together made too many calls of the method.
    MethodLimited,
    /// The caller made too many calls of the method.
    CallerMethodLimited,
    /// Too many decisions were asked for the user.
    UserLimited,
    /// Too much is under way to take calls of this class.
    Shed,
    /// Something bounded is full.
    QueueFull,
    /// What the call needs was slow or broken of late, and is left alone for a while.
    BreakerOpen,
    /// The time that the caller or the server allows is over.
    DeadlineExceeded,
    /// The caller's deadline cannot be read.
    InvalidTimeout,
    /// Nothing came on a stream for too long, or a message on it took too long to come.
    StreamIdle,
    /// The stream was open for as long as one may be.
    StreamTooOld,
    /// The server is shutting down.
    ShuttingDown,
    /// The idempotency key came with another request.
    IdempotencyKeyReused,
    /// What the call needs could not be read or written.
    StorageFailed,
    /// Stored data is damaged.
    DataDamaged,
    /// A defect of the server.
    Defect,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 19] = [
        Self::CredentialMissing,
        Self::CredentialRefused,
        Self::RoleMissing,
        Self::CallerLimited,
        Self::MethodLimited,
        Self::CallerMethodLimited,
        Self::UserLimited,
        Self::Shed,
        Self::QueueFull,
        Self::BreakerOpen,
        Self::DeadlineExceeded,
        Self::InvalidTimeout,
        Self::StreamIdle,
        Self::StreamTooOld,
        Self::ShuttingDown,
        Self::IdempotencyKeyReused,
        Self::StorageFailed,
        Self::DataDamaged,
        Self::Defect,
    ];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CredentialMissing => "CREDENTIAL_MISSING",
            Self::CredentialRefused => "CREDENTIAL_REFUSED",
            Self::RoleMissing => "ROLE_MISSING",
            Self::CallerLimited => "CALLER_LIMITED",
            Self::MethodLimited => "METHOD_LIMITED",
            Self::CallerMethodLimited => "CALLER_METHOD_LIMITED",
            Self::UserLimited => "USER_LIMITED",
            Self::Shed => "SHED",
            Self::QueueFull => "QUEUE_FULL",
            Self::BreakerOpen => "BREAKER_OPEN",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::InvalidTimeout => "INVALID_TIMEOUT",
            Self::StreamIdle => "STREAM_IDLE",
            Self::StreamTooOld => "STREAM_TOO_OLD",
            Self::ShuttingDown => "SHUTTING_DOWN",
            Self::IdempotencyKeyReused => "IDEMPOTENCY_KEY_REUSED",
            Self::StorageFailed => "STORAGE_FAILED",
            Self::DataDamaged => "DATA_DAMAGED",
            Self::Defect => "DEFECT",
        }
    }

    /// The cause that a word names.
    pub fn from_word(word: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str().as_bytes() == word)
    }
}

/// When something was last told in the log, so that a flood of refusals is not a flood of lines.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Milliseconds by the monotonic clock, plus one; 0 is never.
    last_ms: AtomicU64,
    untold: AtomicU64,
}

impl Told {
    /// Whether to tell now and, if so, how many were not told since the last time.
    pub(crate) fn due(&self, now: Duration) -> Option<u64> {
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX - 1) + 1;
        let last_ms = self.last_ms.load(Ordering::Relaxed);
        let waited_ms = u128::from(now_ms.saturating_sub(last_ms));
        let due = last_ms == 0 || waited_ms >= LOG_INTERVAL.as_millis();
        let first = due
            && self.last_ms.compare_exchange(last_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if first {
            return Some(self.untold.swap(0, Ordering::Relaxed));
        }
        self.untold.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_differ_and_lead_back_to_their_cause() {
        for cause in Cause::ALL {
            assert_eq!(Cause::from_word(cause.as_str().as_bytes()), Some(cause));
        }
        assert_eq!(Cause::from_word(b"shed"), None);
    }

    #[test]
    fn a_flood_is_told_once_a_second_with_its_number() {
        let told = Told::default();
        let at = |ms| Duration::from_millis(ms);
        assert_eq!(told.due(at(0)), Some(0));
        for ms in 1..1_000 {
            assert_eq!(told.due(at(ms)), None);
        }
        assert_eq!(told.due(at(1_000)), Some(999));
        assert_eq!(told.due(at(1_001)), None);
    }
}
