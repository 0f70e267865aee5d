//! What retention removes from a store, and when.
//!
//! Not here: how long anything is kept (`retention`), or how an engine removes it.

use augur_domain::UserKey;
use augur_domain::ids::MessageKey;

/// Something of a user is to be removed from this day on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// Counted from 1970-01-01, UTC.
    pub day: u32,
    /// Whose.
    pub user: UserKey,
}

/// What goes of one user, and what stands for it afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruning {
    /// Whose.
    pub user: UserKey,
    /// Sequences of the events that are removed.
    pub events: Vec<u64>,
    /// Dedup marks that are removed.
    pub marks: Vec<MessageKey>,
    /// What stands for removed events from now on, if that changes.
    pub base: Option<Vec<u8>>,
    /// Days that are done.
    pub done: Vec<u32>,
    /// Days on which more becomes due.
    pub due: Vec<u32>,
}
