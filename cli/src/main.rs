//! `augur`: the one binary. Reads the command line, runs one command, turns its outcome into an exit code.
//!
//! Not here: what commands do (`commands`), how answers are written (`output`).

mod commands;
mod data;
mod error;
mod import;
mod output;
mod progress;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub(crate) use error::Error;
use output::Output;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EXAMPLES: &str = "\
Examples:
  augur demo                                  the whole product in one minute, nothing else needed
  augur import events.csv --data data --map user_id=customer --map timestamp=at --map event=what
  augur loadtest decide --endpoint http://127.0.0.1:7401 --point cart_page --rate 2000

Commands with --endpoint read from the environment:
  AUGUR_API_KEY, or AUGUR_API_KEY_FILE   the API key to show, or a file with it
  AUGUR_CA_FILE                          roots of the server's certificate in PEM, for an endpoint with https://

Exit codes:
  0  done
  1  could not be done; standard error says why and what to try next
  2  the command line is wrong
  3  done, and the answer is no: a replay or a verification differs, a checked file has faults, rows, events or requests
     were refused, an experiment's arms were not filled as declared
  130  a second signal ended the server at once
  (augur replay and augur features verify have more: see their --help)";

/// Behaviour in, decisions out: features that decay, models, rules and caps, every decision logged and replayable.
#[derive(Debug, Parser)]
#[command(name = "augur", version, after_help = EXAMPLES, arg_required_else_help = true)]
struct Cli {
    /// Answer with one JSON document on standard output.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(commands::demo::Args),
    Serve(commands::serve::Args),
    #[command(subcommand)]
    Config(commands::config::Command),
    #[command(subcommand)]
    Keys(commands::keys::Command),
    Import(commands::import::Args),
    Train(Box<commands::train::Args>),
    Decide(commands::decide::Args),
    DecideAll(commands::decide_all::Args),
    Replay(Box<commands::replay::Args>),
    #[command(subcommand)]
    Breaker(commands::breaker::Command),
    #[command(subcommand)]
    Log(commands::log::Command),
    Ope(commands::ope::Args),
    #[command(subcommand)]
    Decisions(commands::decisions::Command),
    #[command(subcommand)]
    Events(commands::events::Command),
    #[command(subcommand)]
    Experiment(commands::experiment::Command),
    #[command(subcommand)]
    Features(commands::features::Command),
    #[command(subcommand)]
    Models(commands::models::Command),
    #[command(subcommand)]
    Tasks(commands::tasks::Command),
    #[command(subcommand)]
    Policy(commands::policy::Command),
    #[command(subcommand)]
    Profiles(commands::profiles::Command),
    #[command(subcommand)]
    Segments(commands::segments::Command),
    #[command(subcommand)]
    Shadow(commands::shadow::Command),
    #[command(subcommand)]
    User(commands::user::Command),
    #[command(subcommand)]
    Loadtest(commands::loadtest::Command),
}

/// How a command that did its work answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing to object to.
    Fine,
    /// The answer is no; exit code 3.
    Refused,
    /// The command has exit codes of its own.
    Code(u8),
}

fn run(cli: Cli) -> Result<Outcome, Error> {
    let output = Output { json: cli.json };
    match cli.command {
        Command::Demo(args) => commands::demo::run(&args, output),
        Command::Config(command) => commands::config::run(&command, output),
        Command::Keys(command) => commands::keys::run(&command, output),
        Command::Train(args) => commands::train::run(&args, output),
        Command::Serve(args) => commands::serve::run(&args, output),
        Command::Decide(args) => commands::decide::run(&args, output),
        Command::DecideAll(args) => commands::decide_all::run(&args, output),
        Command::Decisions(command) => commands::decisions::run(&command, output),
        Command::Events(command) => commands::events::run(&command, output),
        Command::Experiment(command) => commands::experiment::run(&command, output),
        Command::Features(command) => commands::features::run(&command, output),
        Command::Replay(args) => commands::replay::run(&args, output),
        Command::Breaker(command) => commands::breaker::run(&command, output),
        Command::Log(command) => commands::log::run(&command, output),
        Command::Ope(args) => commands::ope::run(&args, output),
        Command::Models(command) => commands::models::run(&command, output),
        Command::Tasks(command) => commands::tasks::run(&command, output),
        Command::Policy(command) => commands::policy::run(&command, output),
        Command::Profiles(command) => commands::profiles::run(&command, output),
        Command::Segments(command) => commands::segments::run(&command, output),
        Command::Shadow(command) => commands::shadow::run(&command, output),
        Command::User(command) => commands::user::run(&command, output),
        Command::Import(args) => commands::import::run(&args, output),
        Command::Loadtest(command) => commands::loadtest::run(&command, output),
    }
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Refused) => ExitCode::from(3),
        Ok(Outcome::Code(code)) => ExitCode::from(code),
        Err(error) => {
            output::complain(&error.to_string(), error.next_step());
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
