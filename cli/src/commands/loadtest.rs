//! `augur loadtest`: load on a running server, from outside.
//!
//! Not here: how load is made and measured (`augur_loadtest`).

mod compare;
mod decide;
mod echo;
mod ingest;
mod mix;
mod report;
mod search;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use augur_loadtest::convert::value::value_to_wire;
use augur_loadtest::open_loop::{self, Arrivals};
use augur_loadtest::popularity::Popularity;
use augur_loadtest::process::{Reading, Usage};
use augur_loadtest::{Client, compare as measure, v1};
use clap::{Args, Subcommand, ValueEnum};

use crate::output::Output;
use crate::{Error, Outcome, progress};

/// Put load on a running server and measure from outside.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Decide(decide::Args),
    Search(search::Args),
    Mix(mix::Args),
    Ingest(ingest::Args),
    Compare(compare::Args),
    Echo(echo::Args),
}

/// Runs the command.
pub(crate) fn run(command: &Command, output: Output) -> Result<Outcome, Error> {
    match command {
        Command::Decide(args) => super::block_on(decide::run(args, output)),
        Command::Search(args) => super::block_on(search::run(args, output)),
        Command::Mix(args) => super::block_on(mix::run(args, output)),
        Command::Ingest(args) => super::block_on(ingest::run(args, output)),
        Command::Compare(args) => compare::run(args, output),
        Command::Echo(args) => super::block_on(echo::run(args, output)),
    }
}

/// How requests are spaced.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Spacing {
    /// At equal distances.
    Fixed,
    /// At random, as many independent callers do.
    Poisson,
}

impl From<Spacing> for Arrivals {
    fn from(spacing: Spacing) -> Self {
        match spacing {
            Spacing::Fixed => Self::Fixed,
            Spacing::Poisson => Self::Poisson,
        }
    }
}

/// Whom to load and how: shared by every command that asks for decisions.
#[derive(Debug, Clone, Args)]
struct Target {
    /// Where the server listens.
    #[arg(long, value_name = "URL")]
    endpoint: String,
    /// The decision point to ask.
    #[arg(long, value_name = "NAME")]
    point: String,
    /// A request-time value: a number, true or false, or else text.
    #[arg(long, value_name = "NAME=VALUE")]
    context: Vec<String>,
    /// Ask about `user-000000` to this many users.
    #[arg(long, default_value_t = 1_000)]
    users: u64,
    /// Ask about few users much more often than about most, by Zipf's law with this exponent; else all in turn.
    #[arg(long, value_name = "EXPONENT")]
    zipf: Option<f64>,
    /// How requests are spaced.
    #[arg(long, value_enum, default_value_t = Spacing::Poisson)]
    arrivals: Spacing,
    /// Most requests under way at once.
    #[arg(long, default_value_t = 1_024)]
    in_flight: usize,
    /// Connections to spread them over.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Seconds at the same rate before measuring begins.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    warm_up: f64,
    /// The server's process on this machine, to tell what an answer costs it; `augur serve --json` prints the number.
    #[arg(long, value_name = "NUMBER")]
    server_pid: Option<u32>,
    /// Seeds random distances and the choice of users.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Target {
    /// A loop of `requests` at `rate`.
    fn plan(&self, rate: f64, requests: u64) -> Result<open_loop::Plan, Error> {
        if !(0.0..=3_600.0).contains(&self.warm_up) {
            return Err(Error::Argument {
                argument: "--warm-up",
                found: self.warm_up.to_string(),
                expected: "0 to 3600 seconds".to_owned(),
            });
        }
        let plan = open_loop::Plan {
            requests,
            warm_up: (rate * self.warm_up).max(0.0) as u64,
            rate_per_second: rate,
            arrivals: self.arrivals.into(),
            max_in_flight: self.in_flight,
            seed: self.seed,
        };
        plan.check()?;
        Ok(plan)
    }

    fn wire_context(&self) -> Result<BTreeMap<String, v1::Value>, Error> {
        let context = super::context(&self.context)?;
        Ok(context.iter().map(|(name, value)| (name.to_string(), value_to_wire(value))).collect())
    }

    /// Makes the request of an index.
    fn requests(&self) -> Result<impl Fn(u64) -> v1::DecideRequest + Clone + use<>, Error> {
        let (context, point, seed) = (self.wire_context()?, self.point.clone(), self.seed);
        let popularity = Popularity::new(self.users, self.zipf)?;
        Ok(move |index| {
            let id = v1::subject::Id::UserId(format!("user-{:06}", popularity.user(index, seed)));
            v1::DecideRequest {
                subject: Some(v1::Subject { id: Some(id) }),
                decision_point: point.clone(),
                context: context.clone(),
                ..v1::DecideRequest::default()
            }
        })
    }
}

/// What client and server used while something ran.
struct Meter {
    since: Instant,
    client: Reading,
    server: Option<(u32, Reading)>,
}

impl Meter {
    fn start(server_pid: Option<u32>) -> Result<Self, Error> {
        let server = server_pid.map(|pid| Ok::<_, Error>((pid, Reading::of(pid)?))).transpose()?;
        Ok(Self { since: Instant::now(), client: Reading::of(std::process::id())?, server })
    }

    /// By as many `requests` as were sent since the start, those of the warm-up included.
    fn stop(self, requests: u64) -> Result<(Usage, Option<Usage>), Error> {
        let elapsed: Duration = self.since.elapsed();
        let client = Reading::of(std::process::id())?.since(&self.client, elapsed, requests);
        let server = match self.server {
            Some((pid, before)) => Some(Reading::of(pid)?.since(&before, elapsed, requests)),
            None => None,
        };
        Ok((client, server))
    }
}

/// Asks for decisions as planned, and tells what came of it and what it cost.
async fn ask(
    client: &Client,
    plan: &open_loop::Plan,
    request: impl Fn(u64) -> v1::DecideRequest,
    server_pid: Option<u32>,
    label: &str,
) -> Result<measure::Run, Error> {
    let send = move |index: u64| {
        let (mut decisions, request) = (client.decisions(), request(index));
        async move { decisions.decide(request).await }
    };
    let bar = progress::bar(label, plan.requests);
    let moved = bar.clone();
    let meter = Meter::start(server_pid)?;
    let report = open_loop::run(plan, send, |_, _| (), move |done| moved.set_position(done)).await?;
    bar.finish_and_clear();
    let (client, server) = meter.stop(report.requests.saturating_add(plan.warm_up))?;
    Ok(measure::Run { report, client: Some(client), server })
}
