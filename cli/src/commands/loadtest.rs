//! `augur loadtest`: load on a running server, from outside.
//!
//! Not here: how load is made (`augur_loadtest`).

use std::collections::BTreeMap;
use std::time::SystemTime;

use augur_loadtest::convert::value::value_to_wire;
use augur_loadtest::domain::Timestamp;
use augur_loadtest::open_loop::Arrivals;
use augur_loadtest::{Client, Shop, ingest, open_loop, shop, v1};
use clap::{Args, Subcommand, ValueEnum};

use crate::output::{Output, grouped, microseconds, rounded};
use crate::{Error, Outcome, progress};

/// Put load on a running server and measure from outside.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Ask for decisions at a rate that does not wait for answers; latencies run from the scheduled send time.
    ///
    /// Exit code 3 when any request failed.
    #[command(after_help = "\
Example:
  augur loadtest decide --endpoint http://127.0.0.1:7401 --point cart_page --rate 2000 --requests 60000 \\
      --context cart_value=59.9")]
    Decide(Decide),
    /// Send the events of a simulated shop as fast as they are acknowledged.
    ///
    /// Its days end now, so every run sends events of its own, also with the same seed: a second run is no retry.
    /// Exit code 3 when events were set aside.
    #[command(after_help = "\
Example:
  augur loadtest ingest --endpoint http://127.0.0.1:7401 --users 2000 --in-flight 16")]
    Ingest(Ingest),
}

/// How requests are spaced.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Spacing {
    /// At equal distances.
    Fixed,
    /// At random, as many independent callers do.
    Poisson,
}

#[derive(Debug, Args)]
pub(crate) struct Decide {
    /// Where the server listens.
    #[arg(long, value_name = "URL")]
    endpoint: String,
    /// The decision point to ask.
    #[arg(long, value_name = "NAME")]
    point: String,
    /// Requests per second.
    #[arg(long, default_value_t = 1_000.0)]
    rate: f64,
    /// Requests in all.
    #[arg(long, default_value_t = 10_000)]
    requests: u64,
    /// How they are spaced.
    #[arg(long, value_enum, default_value_t = Spacing::Poisson)]
    arrivals: Spacing,
    /// Most requests under way at once.
    #[arg(long, default_value_t = 1_024)]
    in_flight: usize,
    /// Connections to spread them over.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Ask about `user-000000` to this many users, in turn.
    #[arg(long, default_value_t = 1_000)]
    users: u64,
    /// A request-time value: a number, true or false, or else text.
    #[arg(long, value_name = "NAME=VALUE")]
    context: Vec<String>,
    /// Seeds random distances.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Ingest {
    /// Where the server listens.
    #[arg(long, value_name = "URL")]
    endpoint: String,
    /// Simulated shoppers.
    #[arg(long, default_value_t = 1_000)]
    users: usize,
    /// Simulated days up to now.
    #[arg(long, default_value_t = 30)]
    days: u32,
    /// Events per batch, at most 2500.
    #[arg(long, default_value_t = 500)]
    batch: usize,
    /// Most batches under way at once.
    #[arg(long, default_value_t = 8)]
    in_flight: usize,
    /// One call per batch in place of one stream.
    #[arg(long)]
    unary: bool,
    /// Another seed is another shop.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs the command.
pub(crate) fn run(command: &Command, output: Output) -> Result<Outcome, Error> {
    match command {
        Command::Decide(args) => super::block_on(decide(args, output)),
        Command::Ingest(args) => super::block_on(ingest(args, output)),
    }
}

async fn decide(args: &Decide, output: Output) -> Result<Outcome, Error> {
    let context: BTreeMap<String, v1::Value> = super::context(&args.context)?
        .iter()
        .map(|(name, value)| (name.to_string(), value_to_wire(value)))
        .collect();
    let plan = open_loop::Plan {
        requests: args.requests,
        rate_per_second: args.rate,
        arrivals: match args.arrivals {
            Spacing::Fixed => Arrivals::Fixed,
            Spacing::Poisson => Arrivals::Poisson,
        },
        max_in_flight: args.in_flight,
        seed: args.seed,
    };
    plan.check()?;
    let client = Client::connect(&args.endpoint, args.connections).await?;
    let (point, users) = (args.point.clone(), args.users.max(1));
    let send = move |index: u64| {
        let id = v1::subject::Id::UserId(format!("user-{:06}", index % users));
        let request = v1::DecideRequest {
            subject: Some(v1::Subject { id: Some(id) }),
            decision_point: point.clone(),
            context: context.clone(),
            ..v1::DecideRequest::default()
        };
        let mut decisions = client.decisions();
        async move { decisions.decide(request).await }
    };
    let bar = progress::bar("decisions", args.requests);
    let moved = bar.clone();
    let report = open_loop::run(&plan, send, |_, _| (), move |done| moved.set_position(done)).await?;
    bar.finish_and_clear();
    output.report(&report, decide_text)?;
    Ok(if report.errors.is_empty() { Outcome::Fine } else { Outcome::Refused })
}

fn decide_text(report: &open_loop::Report) -> String {
    let latency = &report.latency;
    let mut text = format!(
        "{} requests in {:.1} s: {} per second asked for, {} achieved\n\
         latency from the scheduled send: p50 {}, p90 {}, p99 {}, p99.9 {}, max {}",
        grouped(report.requests),
        report.elapsed_seconds,
        rounded(report.target_per_second),
        rounded(report.achieved_per_second),
        microseconds(latency.p50_us),
        microseconds(latency.p90_us),
        microseconds(latency.p99_us),
        microseconds(latency.p999_us),
        microseconds(latency.max_us),
    );
    for (code, count) in &report.errors {
        let example = report.error_examples.get(code).map_or("", String::as_str);
        text.push_str(&format!("\nfailed with {code}: {}, first: {example}", grouped(*count)));
    }
    text
}

async fn ingest(args: &Ingest, output: Output) -> Result<Outcome, Error> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let now = Timestamp::from_unix_ms(i64::try_from(now).unwrap_or(i64::MAX));
    let shop = Shop::new(shop::Plan { seed: args.seed, shoppers: args.users, days: args.days, now })?;
    let plan = ingest::Plan {
        batch_events: args.batch,
        in_flight: args.in_flight,
        transport: if args.unary { ingest::Transport::Unary } else { ingest::Transport::Stream },
    };
    plan.check()?;
    let client = Client::connect(&args.endpoint, 1).await?;
    // Ids of another run must not look like retries of this one: its times differ.
    let run = format!("s{}-{}-", args.seed, now.unix_ms());
    let events = shop.map(|event| v1::Event { message_id: format!("{run}{}", event.message_id), ..event });
    let bar = progress::counter("events");
    let report = ingest::run(&client, events, &plan, |totals| bar.set_position(totals.events)).await?;
    bar.finish_and_clear();
    output.report(&report, ingest_text)?;
    Ok(if report.totals.complete() { Outcome::Fine } else { Outcome::Refused })
}

fn ingest_text(report: &ingest::Report) -> String {
    let mut text = format!(
        "{} events acknowledged in {:.1} s: {} per second\n{} accepted, {} duplicates, {} quarantined\n\
         batch latency: p50 {}, p99 {}, max {}",
        grouped(report.totals.events),
        report.elapsed_seconds,
        rounded(report.events_per_second),
        grouped(report.totals.accepted),
        grouped(report.totals.duplicates),
        grouped(report.totals.quarantined_total()),
        microseconds(report.batch_latency.p50_us),
        microseconds(report.batch_latency.p99_us),
        microseconds(report.batch_latency.max_us),
    );
    for example in &report.totals.examples {
        text.push_str(&format!(
            "\n  {} {}: {}: {}",
            example.message_id, example.reason, example.field, example.detail
        ));
    }
    text
}
