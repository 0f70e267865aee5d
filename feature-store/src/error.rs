//! What can go wrong in this crate, in words that name the place and the next step.
//!
//! Not here: complaints about `features.toml`; those are [`augur_domain::Diagnostic`]s, collected by
//! [`crate::FeatureSchema::parse`].

use std::path::PathBuf;

use augur_domain::UserKey;
use augur_domain::event::Quarantine;

/// A failure of the store. Cloned to every caller of a write that failed for all of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too much waits for a report of delivery; nothing was given.
    #[error(
        "{limit} exposures are held until their delivery is confirmed; report deliveries, or shorten `confirm_within`"
    )]
    TooManyHolds {
        /// The bound.
        limit: usize,
    },
    /// The queue of a shard is full; nothing of the request was taken.
    #[error(
        "ingest queue of shard {shard} holds {queued} of at most {limit} {unit}; send the same events again later"
    )]
    QueueFull {
        /// The shard without room.
        shard: usize,
        /// What waits in it.
        queued: usize,
        /// Its bound.
        limit: usize,
        /// Of what: `events` or `bytes`.
        unit: &'static str,
    },
    /// The request could never fit, however empty the queue.
    #[error("request brings {found} events; at most {limit} fit in one ingest")]
    TooManyEvents {
        /// Events in the request.
        found: usize,
        /// The bound.
        limit: usize,
    },
    /// The store is shutting down or a writer thread is gone.
    #[error("feature store is closed; open it again before writing")]
    Closed,
    /// Another process, or another store of this one, has the directory open.
    #[error("data directory {} is in use by another process; stop it or choose another directory", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory was written by a newer version.
    #[error(
        "data directory {} has format {found}; this version reads up to {supported}; start the newer version or \
         restore a backup made before the upgrade", dir.display()
    )]
    NewerFormat {
        /// The directory.
        dir: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format known here.
        supported: u32,
    },
    /// The directory is damaged beyond what an interrupted write can explain, so opening was refused.
    #[error(
        "data directory {} is damaged: {detail}; nothing was changed; restore a backup, or copy the directory and \
         run a repair on the copy", dir.display()
    )]
    Damaged {
        /// The directory.
        dir: PathBuf,
        /// What the storage engine said.
        detail: String,
    },
    /// The storage engine failed.
    #[error(
        "storage failed while {action}: {detail}; check free space and permissions of the data directory"
    )]
    Storage {
        /// What was being done.
        action: &'static str,
        /// What the storage engine said.
        detail: String,
    },
    /// A writer panicked over a group of events; it goes on with the next.
    #[error(
        "writing a group of events panicked: {detail}; send the same events again, and report it with the log should \
         it happen again"
    )]
    Panicked {
        /// The panic's message.
        detail: String,
    },
    /// Stored bytes are not what was written.
    #[error("stored {what} cannot be read: {source}; {remedy}")]
    Corrupted {
        /// What was being read, e.g. `state of user 00ff…`.
        what: String,
        /// Why its bytes were refused.
        source: DecodeError,
        /// What to do about it.
        remedy: &'static str,
    },
    /// A version of the definitions cannot do what was asked of it now.
    #[error("{problem}; {next_step}")]
    Generation {
        /// What is in the way.
        problem: String,
        /// What to do.
        next_step: &'static str,
    },
    /// The link that an event relies on could not be stored.
    #[error("the link of {id}, on which the events rely, was not stored; send the same events again")]
    LinkNotStored {
        /// The id that was to be linked or unlinked.
        id: UserKey,
    },
    /// A link was asked for that must not be made or undone.
    #[error("{}: {}", .0.field, .0.detail)]
    LinkRefused(Quarantine),
    /// A link cannot be undone, because events that came by the id are not kept any more.
    #[error(
        "old events of {id} were removed, so its history cannot be told apart from the person's; keep the link, or erase the person"
    )]
    HistoryRemoved {
        /// The linked id.
        id: UserKey,
    },
    /// The events that a link would move are too large to be moved in one step.
    #[error("the events to be moved take more than {limit} bytes; leave the two ids apart")]
    MoveTooLarge {
        /// The bound.
        limit: usize,
    },
    /// A profile says something about as many names as it may.
    #[error("the profile would name more than {limit} {what}; names that were taken back count, too")]
    ProfileFull {
        /// What there are too many of.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// The user was erased, and nothing but opt-outs is taken.
    #[error(
        "the user was erased, so only suppressions are taken; readmit the user first, after a new consent"
    )]
    UserErased,
    /// A label's outcome is NaN or infinite, or its context is too large.
    #[error(
        "label {label} has an outcome that is not a finite number, or a context of more than 1 MiB; leave it out or \
         give less"
    )]
    InvalidLabel {
        /// Index into the labels given.
        label: usize,
    },
    /// A setting has no meaning.
    #[error("`{name}` is {found}; expected {expected}")]
    InvalidConfig {
        /// The field of [`crate::Config`].
        name: &'static str,
        /// Its value.
        found: String,
        /// What would have been accepted.
        expected: &'static str,
    },
    /// The operating system refused something outside the storage engine.
    #[error("{action} {} failed: {detail}", path.display())]
    File {
        /// What was being done, e.g. `creating`.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
}

impl Error {
    /// For what is stored once and nowhere else.
    pub(crate) fn corrupted(what: impl Into<String>, source: DecodeError) -> Self {
        Self::Corrupted { what: what.into(), source, remedy: "restore a backup of the data directory" }
    }

    /// For a state, of which the event log knows all.
    pub(crate) fn corrupted_state(user: UserKey, source: DecodeError) -> Self {
        let remedy = "the next event of this user rebuilds it from the event log";
        Self::Corrupted { what: format!("state of user {user}"), source, remedy }
    }
}

/// Why bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("record ends inside {field}")]
    Truncated {
        /// What was being read.
        field: &'static str,
    },
    /// The record's version is not known here.
    #[error("record has version {found}; expected at most {supported}")]
    UnknownVersion {
        /// The version found.
        found: u8,
        /// The newest one known.
        supported: u8,
    },
    /// The checksum does not match.
    #[error("checksum is {found:08x}; expected {expected:08x}")]
    Checksum {
        /// Computed from the bytes.
        found: u32,
        /// Stored with them.
        expected: u32,
    },
    /// A field holds something that no writer of this format puts there.
    #[error("{field} is not valid")]
    Invalid {
        /// Which field.
        field: &'static str,
    },
    /// The storage engine found bytes that it did not write.
    #[error("{action} met damage: {detail}")]
    Engine {
        /// What was being done.
        action: &'static str,
        /// What the storage engine said.
        detail: String,
    },
    /// The record was made for other feature definitions.
    #[error("state was made for other feature definitions")]
    OtherDefinitions,
}
