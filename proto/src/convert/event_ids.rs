//! The ids of one event as storage keys, taken out of it, so that what is kept of an event names nobody.
//!
//! Not here: the checks of a whole event (`events`).

use augur_domain::UserKey;
use augur_domain::event::MAX_ID_BYTES;
use augur_domain::ids::{MessageKey, Pseudonymiser, Subject};

use crate::v1;

/// What an event's ids became. An id that is empty or too long has no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventIds {
    /// Of `message_id`.
    pub message: Option<MessageKey>,
    /// Whom it is about: of `user_id`, or else of `anonymous_id`.
    pub user: Option<UserKey>,
    /// Of `anonymous_id`.
    pub anonymous: Option<UserKey>,
    /// Of `previous_id`.
    pub previous: Option<UserKey>,
    /// Of `retracts_message_id`.
    pub retracts: Option<MessageKey>,
}

impl EventIds {
    /// Takes the ids out of `wire`.
    pub fn take(wire: &mut v1::Event, pseudonymiser: &Pseudonymiser) -> Self {
        let good = |id: &String| !id.is_empty() && id.len() <= MAX_ID_BYTES;
        let message = |id: String| Some(id).filter(good).map(|id| pseudonymiser.message_key(&id));
        let known = |id: String| Some(id).filter(good).map(|id| pseudonymiser.user_key(Subject::User(&id)));
        let device =
            |id: String| Some(id).filter(good).map(|id| pseudonymiser.user_key(Subject::Anonymous(&id)));
        let anonymous = device(std::mem::take(&mut wire.anonymous_id));
        Self {
            message: message(std::mem::take(&mut wire.message_id)),
            user: known(std::mem::take(&mut wire.user_id)).or(anonymous),
            anonymous,
            previous: known(std::mem::take(&mut wire.previous_id)),
            retracts: message(std::mem::take(&mut wire.retracts_message_id)),
        }
    }

    /// These, and `others` where there is none.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            message: self.message.or(others.message),
            user: self.user.or(others.user),
            anonymous: self.anonymous.or(others.anonymous),
            previous: self.previous.or(others.previous),
            retracts: self.retracts.or(others.retracts),
        }
    }
}
