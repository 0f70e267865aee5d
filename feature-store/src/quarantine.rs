//! Events that could not be used.

use augur_domain::event::Quarantine;
use augur_domain::ids::{MessageKey, UserKey};
use augur_domain::time::Timestamp;

/// One event set aside, with what is needed to fix and replay it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedEvent {
    /// When this server saw it.
    pub received_at: Timestamp,
    /// Whom it is about, if that could be told.
    pub user: Option<UserKey>,
    /// Its message id's key, if it had one.
    pub message_key: Option<MessageKey>,
    /// Its event name as sent; at most 128 bytes are kept.
    pub name: String,
    /// Why it was set aside.
    pub quarantine: Quarantine,
    /// The event as received; at most 64 KiB are kept.
    pub payload: Vec<u8>,
}
