//! What can go wrong in the server, and the one map from it to gRPC statuses.
//!
//! Not here: complaints about files that people wrote (they are [`Diagnostic`]s inside [`Error::Diagnostics`]), or
//! the words of the other crates' errors.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use augur_domain::Diagnostic;
use augur_proto::convert::FieldError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::error_reason::{DOMAIN, ErrorReason};

/// Most complaints put into the details of one status, and longest message: a status travels in headers, which
/// callers bound.
const MAX_VIOLATIONS: usize = 16;
const MAX_MESSAGE_CHARS: usize = 1_000;
/// After which a caller that met a full queue should try again.
pub(crate) const RETRY_SOON: Duration = Duration::from_millis(100);
/// After which a caller that met something broken should try again.
const RETRY_LATER: Duration = Duration::from_secs(1);

/// A failure of the server or of a request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Files or settings that a person wrote are wrong.
    #[error("{}", listed(.0))]
    Diagnostics(Vec<Diagnostic>),
    /// A field of a request cannot be used.
    #[error("{0}")]
    InvalidField(#[from] FieldError),
    /// A request names something that does not exist.
    #[error("{kind} `{name}` is not known{}", hinted(.hint))]
    NotFound {
        /// What kind of thing.
        kind: &'static str,
        /// The name asked for, shortened.
        name: String,
        /// What to try, or nothing.
        hint: String,
    },
    /// The request is well formed, but the state of things does not allow it.
    #[error("{problem}; {next_step}")]
    NotNow {
        /// What is in the way.
        problem: String,
        /// What to do about it.
        next_step: String,
    },
    /// A bound is reached; nothing of the request was taken.
    #[error("{what} is at its limit of {limit}; send the same request again later")]
    Overloaded {
        /// What is bounded.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// An idempotency key came with another request.
    #[error("the idempotency key was used for another request; send that request again, or use a new key")]
    KeyReused,
    /// Something was slow or broken of late and is left alone for a while.
    #[error(
        "{what} was slow or broken of late, and is left alone for a while; send the same request again later"
    )]
    BreakerOpen {
        /// What it is.
        what: &'static str,
        /// After which it is tried again.
        retry_after: Duration,
    },
    /// The time that the caller or the server allows is over.
    #[error("the deadline passed after {} ms; whether the call took effect is not known", elapsed.as_millis())]
    DeadlineExceeded {
        /// How long was waited.
        elapsed: Duration,
    },
    /// The server is shutting down.
    #[error("the server is shutting down; send the same request to another one, or again later")]
    ShuttingDown,
    /// A defect of the server, caught so that only this request fails.
    #[error("the server failed on this request; its log says how")]
    Internal,
    /// The feature store failed.
    #[error(transparent)]
    Store(#[from] augur_feature_store::Error),
    /// The decision log failed.
    #[error("decision log: {0}")]
    Log(#[from] augur_decision_log::Error),
    /// The log of outcomes failed.
    #[error("outcome log: {0}")]
    OutcomeLog(augur_decision_log::Error),
    /// The registry failed.
    #[error(transparent)]
    Models(#[from] augur_models::Error),
    /// The operating system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The refusal.
        source: std::io::Error,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}; stop what uses it or set `{setting}` to another one")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// The setting it comes from.
        setting: &'static str,
        /// The refusal.
        source: std::io::Error,
    },
    /// The data directory cannot be used as it is.
    #[error("data directory {}: {problem}; {next_step}", path.display())]
    DataDirectory {
        /// The file or directory at fault.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// What to do about it.
        next_step: &'static str,
    },
    /// Telemetry cannot be set up.
    #[error("telemetry: {problem}; expected {expected}")]
    Telemetry {
        /// What is wrong.
        problem: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// Something behind the server stopped in the middle of a request.
    #[error("{what} stopped before it answered; the server's log says why")]
    Stopped {
        /// What stopped.
        what: &'static str,
    },
    /// The network layer failed.
    #[error("serving failed: {0}")]
    Transport(#[from] tonic::transport::Error),
}

impl Error {
    /// Whether stored bytes cannot be read, which no other attempt changes.
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Store(augur_feature_store::Error::Corrupted { .. }))
    }

    /// Whether the data directory is another process's.
    pub const fn is_in_use(&self) -> bool {
        matches!(self, Self::Store(augur_feature_store::Error::InUse { .. }))
    }

    /// A field of a request that cannot be used.
    pub(crate) fn field(
        field: impl Into<String>,
        problem: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self::InvalidField(FieldError::new(field, problem, expected))
    }

    /// Wraps a refusal of the operating system.
    pub(crate) fn file(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }

    /// The complaints inside, if it is made of them.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        if let Self::Diagnostics(list) = self { list } else { &[] }
    }
}

fn listed(complaints: &[Diagnostic]) -> String {
    complaints.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn hinted(hint: &str) -> String {
    if hint.is_empty() { String::new() } else { format!("; {hint}") }
}

/// How a failure is told to a caller.
enum Answer {
    /// The caller can mend it: the error's own words.
    Told(Code),
    /// The caller can only wait: the error's own words and when to try again.
    Wait(Code, Duration),
    /// It is the operator's: the words go to the server's log, since they name files.
    Hidden(Code, &'static str),
}

fn answer_to(error: &Error) -> Answer {
    use augur_decision_log::Error as Log;
    use augur_feature_store::Error as Store;
    use augur_models::Error as Models;
    match error {
        Error::InvalidField(_)
        | Error::Diagnostics(_)
        | Error::Store(Store::TooManyEvents { .. })
        | Error::Models(Models::InvalidName { .. } | Models::TooLarge { .. }) => {
            Answer::Told(Code::InvalidArgument)
        }
        Error::NotFound { .. }
        | Error::Models(
            Models::UnknownModel { .. } | Models::UnknownVersion { .. } | Models::UnknownAlias { .. },
        ) => Answer::Told(Code::NotFound),
        Error::NotNow { .. }
        | Error::Store(
            Store::Generation { .. }
            | Store::LinkRefused(_)
            | Store::MoveTooLarge { .. }
            | Store::ProfileFull { .. }
            | Store::UserErased
            | Store::HistoryRemoved { .. },
        ) => Answer::Told(Code::FailedPrecondition),
        Error::Models(
            Models::WrongModel { .. }
            | Models::NothingToRollBack { .. }
            | Models::CanaryUnderWay { .. }
            | Models::CanaryDecides { .. }
            | Models::CanaryOfSegments { .. }
            | Models::NoCanary { .. }
            | Models::FeatureMismatch { .. },
        ) => Answer::Told(Code::FailedPrecondition),
        Error::Overloaded { .. }
        | Error::Store(Store::QueueFull { .. } | Store::TooManyHolds { .. })
        | Error::Log(Log::QueueFull { .. })
        | Error::OutcomeLog(Log::QueueFull { .. }) => Answer::Wait(Code::ResourceExhausted, RETRY_SOON),
        Error::Log(Log::RecordTooLarge { .. }) => Answer::Told(Code::ResourceExhausted),
        Error::BreakerOpen { retry_after, .. } => {
            Answer::Wait(Code::Unavailable, (*retry_after).max(RETRY_SOON))
        }
        Error::KeyReused => Answer::Told(Code::AlreadyExists),
        Error::DeadlineExceeded { .. } => Answer::Told(Code::DeadlineExceeded),
        // Sent again, the events find out how things stand.
        Error::Store(Store::LinkNotStored { .. }) => Answer::Wait(Code::Unavailable, RETRY_SOON),
        Error::ShuttingDown
        | Error::Store(Store::Closed)
        | Error::Log(Log::Closed)
        | Error::OutcomeLog(Log::Closed) => Answer::Wait(Code::Unavailable, RETRY_LATER),
        Error::Internal => Answer::Told(Code::Internal),
        Error::Store(Store::Corrupted { .. } | Store::Damaged { .. })
        | Error::Log(Log::Corrupted { .. } | Log::Gap { .. } | Log::Malformed { .. })
        | Error::Models(Models::Corrupted { .. } | Models::Malformed { .. }) => {
            Answer::Hidden(Code::DataLoss, "stored data is damaged; the server's log names the place")
        }
        Error::Store(_) => {
            Answer::Hidden(Code::Unavailable, "the feature store failed; see the server's log")
        }
        // A reader asks again, from what is kept.
        Error::Log(Log::Removed { .. }) => {
            Answer::Hidden(Code::OutOfRange, "that part of the log was removed; read from what is kept")
        }
        Error::Log(_) => {
            Answer::Hidden(Code::Unavailable, "the decision log cannot be used; see the server's log")
        }
        Error::OutcomeLog(_) => {
            Answer::Hidden(Code::Unavailable, "the log of outcomes cannot be used; see the server's log")
        }
        Error::Models(_) => Answer::Hidden(Code::Unavailable, "the registry failed; see the server's log"),
        Error::File { .. }
        | Error::Listen { .. }
        | Error::DataDirectory { .. }
        | Error::Telemetry { .. }
        | Error::Stopped { .. }
        | Error::Transport(_) => Answer::Hidden(Code::Internal, "the server failed; its log says how"),
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let mut details = ErrorDetails::new();
        match &error {
            Error::InvalidField(fault) => {
                details.add_bad_request_violation(
                    &fault.field,
                    format!("{}; expected {}", fault.problem, fault.expected),
                );
            }
            Error::Models(augur_models::Error::InvalidName { kind, .. }) => {
                details.add_bad_request_violation(*kind, error.to_string());
            }
            Error::Diagnostics(list) => {
                for complaint in list.iter().take(MAX_VIOLATIONS) {
                    let place = format!("{}:{}:{}", complaint.file, complaint.line, complaint.column);
                    details.add_bad_request_violation(place, complaint.to_string());
                }
            }
            Error::BreakerOpen { .. } => {
                details.set_error_info("BREAKER_OPEN", "augur", HashMap::new());
            }
            Error::KeyReused => {
                let reason = ErrorReason::IdempotencyKeyReused;
                details.set_error_info(reason.as_str(), DOMAIN, HashMap::new());
            }
            _ => {}
        }
        let words = || error.to_string().chars().take(MAX_MESSAGE_CHARS).collect::<String>();
        match answer_to(&error) {
            Answer::Told(code) => Self::with_error_details(code, words(), details),
            Answer::Wait(code, delay) => {
                details.set_retry_info(Some(delay));
                Self::with_error_details(code, words(), details)
            }
            Answer::Hidden(code, words) => {
                tracing::error!(error = %error, "request failed");
                if code == Code::Unavailable {
                    details.set_retry_info(Some(RETRY_LATER));
                }
                Self::with_error_details(code, words, details)
            }
        }
    }
}

/// The name of a status number as metrics spell it, e.g. `NOT_FOUND`.
pub(crate) fn code_name(number: i32) -> &'static str {
    match Code::from_i32(number) {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// The status for request bytes that are not the message they should be.
pub(crate) fn undecodable(error: &dyn std::error::Error) -> Status {
    Status::invalid_argument(format!("the request is not a valid message: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_carry_details_and_hide_places() {
        let status = Status::from(Error::field("context.cart", "a text", "a number"));
        assert_eq!(status.code(), Code::InvalidArgument);
        let violations = status.get_error_details().bad_request().unwrap().field_violations.clone();
        assert_eq!(violations[0].field, "context.cart");

        let status = Status::from(Error::Overloaded { what: "the ingest queue", limit: 7 });
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.get_error_details().retry_info().unwrap().retry_delay, Some(RETRY_SOON));

        let complaint = Diagnostic::at_offset("policy.toml", "", 0, "x".repeat(500), "y");
        let status = Status::from(Error::Diagnostics(vec![complaint; 100]));
        assert!(status.message().len() + status.details().len() < 12_000);

        let source = std::io::Error::other("no");
        let status = Status::from(Error::File { action: "read", path: "/secret/place".into(), source });
        assert_eq!(status.code(), Code::Internal);
        assert!(!status.message().contains("secret"));
    }
}
