//! `augur features`: definitions checked and explained, training sets as Parquet, and proof that what is served is what
//! the event log says.
//!
//! Not here: computing features (the feature store).

mod compare;
mod definitions;
mod export;
pub(crate) mod labels;
mod verify;
mod versions;

use clap::Subcommand;

use crate::output::Output;
use crate::{Error, Outcome};

/// Check feature definitions; export features as of given instants; verify what is served.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Check(definitions::Check),
    Explain(definitions::Explain),
    Export(export::Args),
    Compare(compare::Args),
    Verify(verify::Args),
    Build(versions::Build),
    Versions(versions::List),
    Switch(versions::Switch),
    Rollback(versions::Rollback),
    Retire(versions::Retire),
}

/// Runs the command.
pub(crate) fn run(command: &Command, output: Output) -> Result<Outcome, Error> {
    match command {
        Command::Check(args) => definitions::check(args, output),
        Command::Explain(args) => definitions::explain(args, output),
        Command::Export(args) => export::run(args, output),
        Command::Compare(args) => compare::run(args, output),
        Command::Verify(args) => verify::run(args, output),
        Command::Build(args) => versions::build(args, output),
        Command::Versions(args) => versions::list(args, output),
        Command::Switch(args) => versions::switch(args, output),
        Command::Rollback(args) => versions::roll_back(args, output),
        Command::Retire(args) => versions::retire(args, output),
    }
}
