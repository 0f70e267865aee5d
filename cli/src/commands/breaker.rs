//! `augur breaker`: the circuit breakers of a running server.
//!
//! Not here: when one opens (`augur_server::breaker`).

use augur_loadtest::{Client, Error as Refused, v1};
use serde::Serialize;

use crate::commands::block_on;
use crate::output::{Output, grouped, table};
use crate::{Error, Outcome};

/// Look at the circuit breakers of a running server, and force them.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List them: what stands where, and the calls of their windows. Exit code 3 when something is left alone.
    #[command(after_help = "\
Examples:
  augur breaker list --endpoint http://127.0.0.1:7401
  augur breaker list --endpoint http://127.0.0.1:7401 --json")]
    List(List),
    /// Hold one open or closed, until it is released or the server starts again.
    #[command(after_help = "\
Examples:
  augur breaker force model/churn@3 open --endpoint http://127.0.0.1:7401     decide without that version at once
  augur breaker force features closed --endpoint http://127.0.0.1:7401        read from the disk however slow it is")]
    Force(Force),
    /// Give one back to its calls: it begins closed.
    #[command(
        after_help = "Example:\n  augur breaker release model/churn@3 --endpoint http://127.0.0.1:7401"
    )]
    Release(Release),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Server {
    /// The server.
    #[arg(long, value_name = "URL")]
    endpoint: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Force {
    /// As `augur breaker list` names it.
    name: String,
    /// Whether nothing goes through from now on, or everything.
    #[arg(value_enum)]
    state: Forced,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Forced {
    /// Nothing goes through.
    Open,
    /// Everything goes through.
    Closed,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Release {
    /// As `augur breaker list` names it.
    name: String,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Serialize)]
struct Breaker {
    name: String,
    state: String,
    calls: u64,
    failed: u64,
    slow: u64,
    refused: u64,
    transitions: u64,
    /// Seconds after which it is tried, while it is open.
    open_for_s: Option<f64>,
}

impl From<v1::Breaker> for Breaker {
    fn from(wire: v1::Breaker) -> Self {
        let state = wire.state().as_str_name().trim_start_matches("BREAKER_STATE_").to_owned();
        Self {
            state,
            open_for_s: wire.open_for.map(|length| length.seconds as f64 + f64::from(length.nanos) / 1e9),
            name: wire.name,
            calls: wire.calls,
            failed: wire.failed,
            slow: wire.slow,
            refused: wire.refused,
            transitions: wire.transitions,
        }
    }
}

/// Runs the command.
pub(crate) fn run(command: &Command, output: Output) -> Result<Outcome, Error> {
    match command {
        Command::List(args) => list(args, output),
        Command::Force(args) => {
            let state = match args.state {
                Forced::Open => v1::BreakerState::ForcedOpen,
                Forced::Closed => v1::BreakerState::ForcedClosed,
            };
            let breaker = block_on(async {
                let request = v1::ForceBreakerRequest { name: args.name.clone(), state: state.into() };
                let answer = connect(&args.server).await?.breakers().force_breaker(request).await;
                Ok(answer
                    .map_err(|status| Refused::call("BreakerService/ForceBreaker", 0, &status))?
                    .into_inner()
                    .breaker)
            })?;
            tell(breaker, output)
        }
        Command::Release(args) => {
            let breaker = block_on(async {
                let request = v1::ReleaseBreakerRequest { name: args.name.clone() };
                let answer = connect(&args.server).await?.breakers().release_breaker(request).await;
                Ok(answer
                    .map_err(|status| Refused::call("BreakerService/ReleaseBreaker", 0, &status))?
                    .into_inner()
                    .breaker)
            })?;
            tell(breaker, output)
        }
    }
}

async fn connect(server: &Server) -> Result<Client, Error> {
    Ok(Client::connect(&server.endpoint, 1).await?)
}

fn list(args: &List, output: Output) -> Result<Outcome, Error> {
    let breakers = block_on(async {
        let answer = connect(&args.server).await?.breakers().list_breakers(v1::ListBreakersRequest {}).await;
        Ok(answer
            .map_err(|status| Refused::call("BreakerService/ListBreakers", 0, &status))?
            .into_inner()
            .breakers)
    })?;
    let breakers: Vec<Breaker> = breakers.into_iter().map(Breaker::from).collect();
    output.report(&breakers, |breakers| {
        let header = ["breaker", "state", "calls", "failed", "slow", "refused", "changes", "tried in"];
        table(&header, &breakers.iter().map(row).collect::<Vec<_>>())
    })?;
    let left_alone = |breaker: &Breaker| ["OPEN", "FORCED_OPEN", "HALF_OPEN"].contains(&&*breaker.state);
    Ok(if breakers.iter().any(left_alone) { Outcome::Refused } else { Outcome::Fine })
}

fn row(breaker: &Breaker) -> Vec<String> {
    let Breaker { name, state, calls, failed, slow, refused, transitions, open_for_s } = breaker;
    let counts = [calls, failed, slow, refused, transitions].map(|count| grouped(*count));
    let tried_in = open_for_s.map(|seconds| format!("{seconds:.1} s")).unwrap_or_default();
    [name.clone(), state.clone()].into_iter().chain(counts).chain([tried_in]).collect()
}

fn tell(breaker: Option<v1::Breaker>, output: Output) -> Result<Outcome, Error> {
    let breaker = breaker.map(Breaker::from);
    output.report(&breaker, |breaker| {
        let told = breaker.as_ref().map(|breaker| format!("{} is {}", breaker.name, breaker.state));
        told.unwrap_or_default()
    })?;
    Ok(Outcome::Fine)
}
