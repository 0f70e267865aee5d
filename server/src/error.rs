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

use crate::access::roles::Roles;
use crate::limits::Rate;
use crate::refusal::{CAUSE_HEADER, Cause, DOMAIN};

/// Most complaints put into the details of one status, and longest message: a status travels in headers, which
/// callers bound.
const MAX_VIOLATIONS: usize = 16;
const MAX_MESSAGE_CHARS: usize = 1_000;
/// How long to wait before the next attempt, in milliseconds, as libraries of gRPC read it.
const PUSHBACK_HEADER: http::HeaderName = http::HeaderName::from_static("grpc-retry-pushback-ms");
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
    /// A caller, all callers of a method, or those who ask for a user, did so too often.
    #[error("{} at the limit of {rate}; call again in {} ms", limited(*cause), retry_after.as_millis() + 1)]
    Limited {
        /// Which limit.
        cause: Cause,
        /// The limit.
        rate: Rate,
        /// How long until it allows one more.
        retry_after: Duration,
    },
    /// Too much is under way to take calls of this class.
    #[error(
        "the number of calls under way is at its limit of {limit} for {class} calls; send the same request again later"
    )]
    Shed {
        /// How important the call is.
        class: &'static str,
        /// Calls under way from which on this class is refused.
        limit: usize,
    },
    /// The caller's deadline cannot be read.
    #[error("`grpc-timeout` is `{found}`; expected up to eight digits and one of H, M, S, m, u and n, once")]
    InvalidTimeout {
        /// What came, shortened.
        found: String,
    },
    /// Nothing came on a stream, or the rest of a message did not.
    #[error("nothing whole came on the stream for {} s; open it again when there is something to send", waited.as_secs())]
    StreamIdle {
        /// How long was waited.
        waited: Duration,
    },
    /// A stream was open for as long as one may be.
    #[error(
        "the {what} has been open for as long as one may be; open the stream again, and send again what was not answered"
    )]
    StreamTooOld {
        /// What is too old: the stream or its connection.
        what: &'static str,
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
    /// The log of live shadow failed.
    #[error("shadow log: {0}")]
    ShadowLog(augur_decision_log::Error),
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
    /// A call without a credential that is accepted. What is wrong with one that was shown is not told.
    #[error("{}; send `authorization: Bearer` and a valid API key or token", unauthenticated(*.shown))]
    Unauthenticated {
        /// Whether one was shown.
        shown: bool,
    },
    /// A caller who is known asks for what their roles do not allow.
    #[error("{}", not_allowed(*.roles))]
    NotAllowed {
        /// The roles of which one is needed; none when nobody may.
        roles: Roles,
    },
    /// A certificate, a private key or a file of public keys cannot be used.
    #[error("{}: {problem}; expected {expected}", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What would have been right.
        expected: &'static str,
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

/// Who called too often.
const fn limited(cause: Cause) -> &'static str {
    match cause {
        Cause::MethodLimited => "all callers of this method together are",
        Cause::CallerMethodLimited => "the caller is, for this method,",
        Cause::UserLimited => "decisions for this user are",
        _ => "the caller is",
    }
}

const fn unauthenticated(shown: bool) -> &'static str {
    if shown { "the credential is not accepted" } else { "the call carries no credential" }
}

fn not_allowed(roles: Roles) -> String {
    match roles.is_empty() {
        true => "nobody may call this method; its name may be wrong".to_owned(),
        false => format!("this credential may not call this method; expected one of the roles {roles}"),
    }
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
        Error::Limited { retry_after, .. } => Answer::Wait(Code::ResourceExhausted, *retry_after),
        Error::Shed { .. } => Answer::Wait(Code::ResourceExhausted, RETRY_SOON),
        Error::InvalidTimeout { .. } => Answer::Told(Code::InvalidArgument),
        Error::StreamIdle { .. } => Answer::Told(Code::DeadlineExceeded),
        Error::StreamTooOld { .. } => Answer::Wait(Code::Unavailable, Duration::ZERO),
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
        Error::Unauthenticated { .. } => Answer::Told(Code::Unauthenticated),
        Error::NotAllowed { .. } => Answer::Told(Code::PermissionDenied),
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
        Error::ShadowLog(_) => {
            Answer::Hidden(Code::Unavailable, "the log of live shadow cannot be used; see the server's log")
        }
        Error::Models(_) => Answer::Hidden(Code::Unavailable, "the registry failed; see the server's log"),
        Error::File { .. }
        | Error::Listen { .. }
        | Error::Credentials { .. }
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
            Error::Limited { rate, .. } => {
                details.add_quota_failure_violation(limited_subject(&error), rate.to_string());
            }
            _ => {}
        }
        let cause = cause_of(&error);
        if let Some(cause) = cause {
            details.set_error_info(cause.as_str(), DOMAIN, HashMap::new());
        }
        let words = || error.to_string().chars().take(MAX_MESSAGE_CHARS).collect::<String>();
        let answer = answer_to(&error);
        let (code, words, wait) = match answer {
            Answer::Told(code) => (code, words(), None),
            Answer::Wait(code, delay) => (code, words(), Some(delay)),
            Answer::Hidden(code, words) => {
                tracing::error!(error = %error, "request failed");
                (code, words.to_owned(), (code == Code::Unavailable).then_some(RETRY_LATER))
            }
        };
        if wait.is_some() {
            details.set_retry_info(wait);
        }
        let mut status = Self::with_error_details(code, words, details);
        if let Some(cause) = cause {
            let word = http::HeaderValue::from_static(cause.as_str());
            status.metadata_mut().as_mut().insert(CAUSE_HEADER, word);
        }
        if let Some(wait) = wait {
            // Rounded up: a caller that comes a moment early is refused again.
            let wait_ms = u64::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX);
            status.metadata_mut().as_mut().insert(PUSHBACK_HEADER, wait_ms.into());
        }
        status
    }
}

/// The closed word for a failure that is not about the request's content.
fn cause_of(error: &Error) -> Option<Cause> {
    use augur_decision_log::Error as Log;
    use augur_feature_store::Error as Store;
    match error {
        Error::Unauthenticated { shown: false } => Some(Cause::CredentialMissing),
        Error::Unauthenticated { shown: true } => Some(Cause::CredentialRefused),
        Error::NotAllowed { .. } => Some(Cause::RoleMissing),
        Error::Limited { cause, .. } => Some(*cause),
        Error::Shed { .. } => Some(Cause::Shed),
        Error::InvalidTimeout { .. } => Some(Cause::InvalidTimeout),
        Error::StreamIdle { .. } => Some(Cause::StreamIdle),
        Error::StreamTooOld { .. } => Some(Cause::StreamTooOld),
        Error::BreakerOpen { .. } => Some(Cause::BreakerOpen),
        Error::KeyReused => Some(Cause::IdempotencyKeyReused),
        Error::DeadlineExceeded { .. } => Some(Cause::DeadlineExceeded),
        Error::Internal => Some(Cause::Defect),
        Error::Overloaded { .. }
        | Error::Store(Store::QueueFull { .. } | Store::TooManyHolds { .. })
        | Error::Log(Log::QueueFull { .. })
        | Error::OutcomeLog(Log::QueueFull { .. }) => Some(Cause::QueueFull),
        Error::ShuttingDown
        | Error::Store(Store::Closed)
        | Error::Log(Log::Closed)
        | Error::OutcomeLog(Log::Closed) => Some(Cause::ShuttingDown),
        _ => match answer_to(error) {
            Answer::Hidden(Code::DataLoss, _) => Some(Cause::DataDamaged),
            Answer::Hidden(Code::Unavailable, _) | Answer::Wait(Code::Unavailable, _) => {
                Some(Cause::StorageFailed)
            }
            Answer::Hidden(..) => Some(Cause::Defect),
            _ => None,
        },
    }
}

/// What a limit is on, for the details of a status.
const fn limited_subject(error: &Error) -> &'static str {
    match error {
        Error::Limited { cause: Cause::MethodLimited, .. } => "method",
        Error::Limited { cause: Cause::CallerMethodLimited, .. } => "caller and method",
        Error::Limited { cause: Cause::UserLimited, .. } => "user",
        _ => "caller",
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
