//! `augur loadtest ingest`: the events of a simulated shop, as fast as they are acknowledged.
//!
//! Not here: the shop or the batches (`augur_loadtest`).

use std::time::SystemTime;

use augur_loadtest::domain::Timestamp;
use augur_loadtest::{Client, Shop, ingest, shop, v1};

use crate::output::{Output, grouped, microseconds, rounded};
use crate::{Error, Outcome, progress};

/// Send the events of a simulated shop as fast as they are acknowledged.
///
/// Its days end now, so every run sends events of its own, also with the same seed: a second run is no retry.
/// Exit code 3 when events were set aside.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  augur loadtest ingest --endpoint http://127.0.0.1:7401 --users 2000 --in-flight 16")]
pub(crate) struct Args {
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
pub(super) async fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let now = now();
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
    output.report(&report, text)?;
    Ok(if report.totals.complete() { Outcome::Fine } else { Outcome::Refused })
}

fn text(report: &ingest::Report) -> String {
    let mut said = format!(
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
        said.push_str(&format!(
            "\n  {} {}: {}: {}",
            example.message_id, example.reason, example.field, example.detail
        ));
    }
    said
}

/// The instant at which the shop's days end.
pub(super) fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    Timestamp::from_unix_ms(i64::try_from(now).unwrap_or(i64::MAX))
}
