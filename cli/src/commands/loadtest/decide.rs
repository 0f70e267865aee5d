//! `augur loadtest decide`: an open loop of decisions, if wished beside a bare echo in the same run.
//!
//! Not here: the loop (`augur_loadtest`).

use augur_loadtest::compare::{Ratios, Run};
use augur_loadtest::{Client, echo, open_loop, v1};
use serde::Serialize;

use super::echo::Child;
use super::report::{ratios_text, run_text};
use super::{Target, ask};
use crate::output::Output;
use crate::{Error, Outcome};

/// Ask for decisions at a rate that does not wait for answers; latencies run from the scheduled send time.
///
/// With --echo, the same requests go at the same rate to a bare gRPC service that answers with as many bytes and does
/// nothing, and what Augur adds is told as a ratio. A rate beyond what the server can do, with a small --in-flight, is
/// a closed loop and finds the highest throughput. Exit code 3 when any request failed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  augur loadtest decide --endpoint http://127.0.0.1:7401 --point cart_page --rate 2000 --requests 60000 \\
      --context cart_value=59.9
  augur loadtest decide --endpoint http://127.0.0.1:7401 --point cart_page --rate 2000 --requests 20000 \\
      --server-pid 4711 --echo --rounds 3
  augur loadtest decide --endpoint http://127.0.0.1:7401 --point cart_page --json > a.json")]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Requests per second.
    #[arg(long, default_value_t = 1_000.0)]
    rate: f64,
    /// Requests that are measured.
    #[arg(long, default_value_t = 10_000)]
    requests: u64,
    /// Measure a bare echo beside it, in a process of its own.
    #[arg(long)]
    echo: bool,
    /// Threads of the echo; as many as the server has workers.
    #[arg(long, default_value_t = 2, requires = "echo")]
    echo_workers: usize,
    /// Times that echo and server are measured in turn; ratios are the middle ones.
    #[arg(long, default_value_t = 1, requires = "echo", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
}

#[derive(Debug, Serialize)]
struct Report {
    /// The last round.
    #[serde(flatten)]
    run: Run,
    #[serde(skip_serializing_if = "Option::is_none")]
    echo: Option<Beside>,
}

#[derive(Debug, Serialize)]
struct Beside {
    answer_bytes: usize,
    /// The middle over the rounds: the server by the echo.
    ratios: Ratios,
    rounds: Vec<Round>,
}

#[derive(Debug, Serialize)]
struct Round {
    echo: Run,
    server: Run,
}

/// Runs the command.
pub(super) async fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let plan = args.target.plan(args.rate, args.requests)?;
    let requests = args.target.requests()?;
    let client = Client::connect(&args.target.endpoint, args.target.connections).await?;
    let report = if args.echo {
        beside_echo(args, &client, &plan, requests).await?
    } else {
        Report { run: ask(&client, &plan, requests, args.target.server_pid, "decisions").await?, echo: None }
    };
    output.report(&report, text)?;
    Ok(if report.run.report.errors.is_empty() { Outcome::Fine } else { Outcome::Refused })
}

async fn beside_echo(
    args: &Args,
    client: &Client,
    plan: &open_loop::Plan,
    requests: impl Fn(u64) -> v1::DecideRequest + Clone,
) -> Result<Report, Error> {
    let first = client.decisions().decide(requests(0)).await;
    let first = first.map_err(|status| augur_loadtest::Error::call("Decide", 0, &status))?;
    let answer_bytes = echo::encoded_bytes(&first.into_inner());
    let child = Child::start(answer_bytes, args.echo_workers)?;
    let echo_client = Client::connect(&child.endpoint, args.target.connections).await?;
    let mut rounds = Vec::new();
    let mut last = None;
    for _ in 0..args.rounds {
        let bare = ask(&echo_client, plan, requests.clone(), Some(child.process_id), "echo").await?;
        let server = ask(client, plan, requests.clone(), args.target.server_pid, "decisions").await?;
        last = Some(server.clone());
        rounds.push(Round { echo: bare, server });
    }
    let all: Vec<Ratios> = rounds.iter().map(|round| Ratios::of(&round.echo, &round.server)).collect();
    let (Some(run), Some(ratios)) = (last, Ratios::median(&all)) else {
        return Err(Error::Argument {
            argument: "--rounds",
            found: args.rounds.to_string(),
            expected: "at least 1".to_owned(),
        });
    };
    Ok(Report { run, echo: Some(Beside { answer_bytes, ratios, rounds }) })
}

fn text(report: &Report) -> String {
    let mut text = run_text(&report.run);
    if let Some(beside) = &report.echo {
        text.push_str(&format!(
            "\nbeside a bare echo of {} bytes, {} round(s): {}",
            beside.answer_bytes,
            beside.rounds.len(),
            ratios_text(&beside.ratios)
        ));
        if let Some(round) = beside.rounds.last() {
            text.push_str("\nthe echo itself: ");
            text.push_str(&run_text(&round.echo).replace('\n', "\n  "));
        }
    }
    text
}
