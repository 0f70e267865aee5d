//! `augur log`: what a decision log holds, whether it is whole, its last lines, one record, all of it as Parquet, and what
//! of it must stay.
//!
//! Not here: deciding again (`replay`). Every command but `hold` reads only; a server may be writing meanwhile.

mod columns;
mod export;
mod hold;
mod joined;
mod show;
mod stat;
mod tail;

use std::path::{Path, PathBuf};

use augur_shadow_harness::DataDirectory;

use crate::output::Output;
use crate::{Error, Outcome};

/// Look at the decision log.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Stat(stat::Args),
    Verify(stat::VerifyArgs),
    Tail(tail::Args),
    Show(show::Args),
    Export(export::Args),
    Hold(hold::Args),
}

/// Where the log is.
#[derive(Debug, clap::Args)]
struct Place {
    /// The data directory, or the directory that its `[data] dir` names.
    #[arg(long, value_name = "DIR", required_unless_present = "decisions")]
    data: Option<PathBuf>,
    /// Read the decision log from here.
    #[arg(long, value_name = "DIR")]
    decisions: Option<PathBuf>,
}

impl Place {
    /// What is stored beside the log, and the log's own directory.
    fn find(&self) -> Result<(DataDirectory, PathBuf), Error> {
        let stored = match (&self.data, &self.decisions) {
            (Some(data), _) => super::replay::stored_in(data)?,
            (None, Some(decisions)) => decisions.parent().map_or_else(PathBuf::new, Path::to_owned),
            (None, None) => PathBuf::new(),
        };
        let directory = DataDirectory::new(stored);
        let log = self.decisions.clone().unwrap_or_else(|| directory.decisions_dir());
        Ok((directory, log))
    }
}

/// Runs the command.
pub(crate) fn run(command: &Command, output: Output) -> Result<Outcome, Error> {
    match command {
        Command::Stat(args) => stat::run(args, output),
        Command::Verify(args) => stat::verify(args, output),
        Command::Tail(args) => tail::run(args, output),
        Command::Show(args) => show::run(args, output),
        Command::Export(args) => export::run(args, output),
        Command::Hold(args) => hold::run(args, output),
    }
}
