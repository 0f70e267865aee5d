//! What a link between two ids, or its undoing, changes in a store beside a plain commit.
//!
//! Not here: which records move (`identity`), or how an engine writes them.

use augur_domain::UserKey;
use augur_domain::ids::MessageKey;

/// What is taken away and what is pointed elsewhere, in one step with a [`super::Commit`]: first the removals, then the
/// commit, so that a record may be removed and written again under another sequence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Relocation {
    /// Events removed with their dedup marks: user, sequence and message key.
    pub events: Vec<(UserKey, u64, MessageKey)>,
    /// Dedup marks whose events are gone already.
    pub marks: Vec<MovedMark>,
    /// Users who have no event left: their states go.
    pub users: Vec<UserKey>,
    /// Bases as they are afterwards; `None` removes them.
    pub bases: Vec<(UserKey, Option<Vec<u8>>)>,
    /// Exposures as they are afterwards; `None` removes them.
    pub exposures: Vec<(UserKey, Option<Vec<u8>>)>,
    /// Profiles as they are afterwards; `None` removes them.
    pub profiles: Vec<(UserKey, Option<Vec<u8>>)>,
    /// Links as they are afterwards.
    pub links: Vec<NewLink>,
}

/// Where an id points, afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLink {
    /// The id.
    pub id: UserKey,
    /// The person to whom it was linked before.
    pub before: Option<UserKey>,
    /// The person to whom it is linked from now on, with the encoded link.
    pub after: Option<(UserKey, Vec<u8>)>,
}

/// A dedup mark that outlived its event, moved to another user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MovedMark {
    /// Under whom it was.
    pub from: UserKey,
    /// Under whom it is from now on.
    pub to: UserKey,
    /// By what it recognises the message.
    pub message_key: MessageKey,
    /// The place that its event would have there.
    pub sequence: u64,
}
