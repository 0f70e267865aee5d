//! Words of the `ErrorInfo` in a status, for failures that the code alone does not tell apart.
//!
//! Not here: the codes, or what is said in words (`error`).

/// The `domain` of every `ErrorInfo`.
pub(crate) const DOMAIN: &str = "augur";

/// Why a call failed, in one word of a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorReason {
    /// An idempotency key came with another request before.
    IdempotencyKeyReused,
}

impl ErrorReason {
    /// The word on the wire.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::IdempotencyKeyReused => "IDEMPOTENCY_KEY_REUSED",
        }
    }
}
