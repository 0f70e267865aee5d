//! What ends a command early, said once, with a next step.
//!
//! Not here: findings. A replay that differs or a policy with faults is an answer, told by the command itself and by
//! [`crate::Outcome`].

use std::path::{Path, PathBuf};

/// A command that could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file or directory could not be used.
    #[error("cannot {action} `{}`: {source}", path.display())]
    File {
        /// What was tried, e.g. `read`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something given on the command line does not fit.
    #[error("`{found}` cannot be used for {argument}; expected {expected}")]
    Argument {
        /// The argument's name as typed, e.g. `--map`.
        argument: &'static str,
        /// What was given.
        found: String,
        /// What would have been right.
        expected: String,
    },
    /// Something is missing from the command line, or does not go together.
    #[error("{problem}; expected {expected}")]
    Usage {
        /// What is missing or too much.
        problem: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// An input file is not what it was taken for.
    #[error("{}: {problem}; expected {expected}", path.display())]
    Input {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// What would have been right.
        expected: String,
    },
    /// Decisions of a running server that broke off.
    #[error(transparent)]
    Decide(augur_loadtest::Error),
    /// A server could not decide for a row, for a reason that other rows would meet, too.
    #[error("row {row} could not be decided: {problem}")]
    Row {
        /// Counted from 1.
        row: u64,
        /// What the server said.
        problem: String,
    },
    /// A file of labels cannot be used.
    #[error("{}: {problem}; expected {expected}", path.display())]
    Labels {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// What would have been right.
        expected: String,
    },
    /// No data directory there.
    #[error("`{}` is no data directory: there is no augur.toml in it", path.display())]
    NoData {
        /// As given.
        path: PathBuf,
    },
    /// Opening a data directory, or something done in it.
    #[error(transparent)]
    Server(#[from] augur_server::Error),
    /// A data directory that a server is using, for a command that has another way.
    #[error("{source}")]
    InUse {
        /// What the directory said.
        source: augur_server::Error,
        /// What to try.
        next_step: &'static str,
    },
    /// The registry, or a training.
    #[error(transparent)]
    Models(#[from] augur_models::Error),
    /// There is not enough stored for what was asked.
    #[error("{problem}; expected {expected}")]
    TooLittle {
        /// What there is.
        problem: String,
        /// What is needed.
        expected: String,
        /// What to try.
        next_step: &'static str,
    },
    /// A thread of this program ended before its work was done.
    #[error("{what} stopped before it was done; please report this")]
    Stopped {
        /// What stopped.
        what: &'static str,
    },
    /// A replay that came to no verdict.
    #[error(transparent)]
    Replay(#[from] augur_shadow_harness::Error),
    /// An import into a running server that broke off.
    #[error(transparent)]
    Import(augur_loadtest::Error),
    /// Load, ingest or connection.
    #[error(transparent)]
    Load(#[from] augur_loadtest::Error),
    /// Output could not be written.
    #[error("cannot write the report: {0}")]
    Output(#[source] std::io::Error),
    /// The runtime could not start.
    #[error("cannot start the runtime: {0}")]
    Runtime(#[source] std::io::Error),
}

impl Error {
    /// A failed file operation.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::File { action, path: path.to_owned(), source }
    }

    /// A data directory that cannot be opened; when that is because a server is using it, with what to do about that.
    pub(crate) fn opening(next_step: &'static str) -> impl FnOnce(augur_server::Error) -> Self {
        move |source| match source.is_in_use() {
            true => Self::InUse { source, next_step },
            false => Self::Server(source),
        }
    }

    /// What to try next, if there is something.
    pub(crate) fn next_step(&self) -> Option<&'static str> {
        match self {
            Self::File { .. } => Some("check that it exists and that you may use it"),
            Self::Argument { .. } | Self::Usage { .. } => Some("see `--help` of this command for examples"),
            Self::Input { .. } => Some("see `--help` of this command for formats and mappings"),
            Self::Labels { .. } => {
                Some("see `--help` of this command and of `augur features export` for examples")
            }
            Self::NoData { .. } => {
                Some("make one with `augur import ... --data DIR` or `augur demo --data DIR`")
            }
            Self::Load(augur_loadtest::Error::Connect { .. }) => {
                Some("start one with `augur serve --config augur.toml`, or name another `--endpoint`")
            }
            Self::Import(_) => {
                Some("run the same command again: what is stored already counts nothing twice")
            }
            Self::Decide(_) => Some("go on with the same command and --resume: nobody is decided for twice"),
            Self::Row { .. } => Some("mend the cause and go on with the same command and --resume"),
            Self::TooLittle { next_step, .. } => Some(*next_step),
            Self::InUse { next_step, .. } => Some(*next_step),
            Self::Server(error) if error.is_in_use() => Some(
                "stop the server that uses it, if it is one; what has `--endpoint` asks a server that runs",
            ),
            Self::Server(augur_server::Error::File { .. }) => Some(
                "check that it exists and that you may use it; files of text are read as UTF-8, up to 16 MiB",
            ),
            Self::Stopped { .. }
            | Self::Server(_)
            | Self::Models(_)
            | Self::Replay(_)
            | Self::Load(_)
            | Self::Output(_)
            | Self::Runtime(_) => None,
        }
    }
}
