//! `augur loadtest mix`: several kinds of calls at once.
//!
//! Not here: the calls (`augur_loadtest::mix`).

use augur_loadtest::Client;
use augur_loadtest::mix::{self, Rates, Reports};
use augur_loadtest::popularity::Popularity;
use augur_loadtest::process::Usage;
use serde::Serialize;

use super::report::{requests_text, usage_text};
use super::{Meter, Target};
use crate::output::Output;
use crate::{Error, Outcome, progress};

/// Decide, take events, read features, decide in bulk and take outcomes at once, each at a rate of its own.
///
/// Events are those of simulated shoppers, outcomes are of this run's decisions. Exit code 3 when any request failed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  augur loadtest mix --endpoint http://127.0.0.1:7401 --point cart_page --context cart_value=59.9 \\
      --decide 1000 --ingest 20 --features 100 --bulk 1 --outcomes 100 --users 10000 --zipf 1.1 --seconds 30")]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Decisions per second.
    #[arg(long, value_name = "RATE", default_value_t = 1_000.0)]
    decide: f64,
    /// Calls with events per second.
    #[arg(long, value_name = "RATE", default_value_t = 20.0)]
    ingest: f64,
    /// Reads of features per second.
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    features: f64,
    /// Decisions in bulk per second.
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    bulk: f64,
    /// Reports of outcomes per second.
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    outcomes: f64,
    /// How long it is measured.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Events of one call.
    #[arg(long, value_name = "EVENTS", default_value_t = 100)]
    events_per_call: usize,
    /// Users of one decision in bulk.
    #[arg(long, value_name = "USERS", default_value_t = 100)]
    users_per_call: usize,
}

#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    kinds: Reports,
    client: Usage,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<Usage>,
}

/// Runs the command.
pub(super) async fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let target = &args.target;
    let plan = mix::Plan {
        rates: Rates {
            decide: args.decide,
            ingest: args.ingest,
            features: args.features,
            bulk: args.bulk,
            outcomes: args.outcomes,
        },
        seconds: args.seconds,
        warm_up_seconds: target.warm_up,
        arrivals: target.arrivals.into(),
        max_in_flight: target.in_flight,
        decision_point: target.point.clone(),
        context: target.wire_context()?,
        popularity: Popularity::new(target.users, target.zipf)?,
        events_per_call: args.events_per_call,
        users_per_call: args.users_per_call,
        now: super::ingest::now(),
        seed: target.seed,
    };
    plan.check()?;
    let client = Client::connect(&target.endpoint, target.connections).await?;
    let meter = Meter::start(target.server_pid)?;
    let bar = progress::counter("mixed load");
    let kinds = mix::run(&client, &plan).await?;
    bar.finish_and_clear();
    let (client, server) = meter.stop(plan.calls())?;
    let report = Report { kinds, client, server };
    output.report(&report, text)?;
    Ok(if report.kinds.any_failed() { Outcome::Refused } else { Outcome::Fine })
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for (name, kind) in report.kinds.named() {
        text.push_str(&format!("{name}: {}\n", requests_text(kind).replace('\n', "\n  ")));
    }
    if let Some(usage) = &report.server {
        text.push_str(&format!("server: {}\n", usage_text(usage)));
    }
    text.push_str(&format!("client: {}", usage_text(&report.client)));
    text
}
