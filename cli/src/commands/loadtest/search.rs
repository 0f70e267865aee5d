//! `augur loadtest search`: the highest rate of decisions that still meets an objective.
//!
//! Not here: how the rate is searched (`augur_loadtest::slo`).

use augur_loadtest::Client;
use augur_loadtest::slo::{self, Found, Objective, Quantile, Verdict};

use super::{Target, ask};
use crate::output::{Output, microseconds, rounded};
use crate::{Error, Outcome};

/// Find the highest rate of decisions that still meets an objective: double until it is missed, then halve the gap.
///
/// A step is met when the percentile is within its bound, answers kept up with the rate and no request failed. When the
/// client itself could not keep to its schedule, the search ends and the rate is a lower bound. Exit code 3 when not
/// even the first rate met the objective.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  augur loadtest search --endpoint http://127.0.0.1:7401 --point cart_page --slo p99=2ms --from 500 \\
      --step-seconds 10 --context cart_value=59.9")]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// What must hold: p50, p90, p99, p999 or max, and a latency.
    #[arg(long, value_name = "QUANTILE=LATENCY", default_value = "p99=2ms")]
    slo: String,
    /// The first rate tried, per second.
    #[arg(long, default_value_t = 500.0)]
    from: f64,
    /// The highest rate tried, per second.
    #[arg(long, default_value_t = 100_000.0)]
    up_to: f64,
    /// How long each rate is measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    step_seconds: f64,
    /// The search ends when the lowest rate missed is within this factor of the highest met.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.05)]
    precision: f64,
}

/// Runs the command.
pub(super) async fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let objective: Objective = args.slo.parse()?;
    let plan = slo::Plan { objective, from: args.from, up_to: args.up_to, precision: args.precision };
    plan.check()?;
    if !(args.step_seconds > 0.0 && args.step_seconds <= 3_600.0) {
        return Err(Error::Argument {
            argument: "--step-seconds",
            found: args.step_seconds.to_string(),
            expected: "above 0, at most 3600".to_owned(),
        });
    }
    let requests = args.target.requests()?;
    let client = Client::connect(&args.target.endpoint, args.target.connections).await?;
    let measure = async |rate: f64| {
        let step = args.target.plan(rate, (rate * args.step_seconds).ceil().max(1.0) as u64)?;
        let label = format!("{} per second", rounded(rate));
        let run = ask(&client, &step, requests.clone(), args.target.server_pid, &label).await?;
        Ok::<_, Error>(run.report)
    };
    let found = slo::search(&plan, measure).await?;
    output.report(&found, text)?;
    Ok(if found.highest_per_second.is_some() { Outcome::Fine } else { Outcome::Refused })
}

fn text(found: &Found) -> String {
    let bound = microseconds(found.objective.at_most_us);
    let name = quantile_name(found.objective.quantile);
    let mut text = match found.highest_per_second {
        Some(rate) if found.is_lower_bound => {
            format!("at least {} per second with {name} within {bound}", rounded(rate))
        }
        Some(rate) => format!("{} per second with {name} within {bound}", rounded(rate)),
        None => format!("no rate tried kept {name} within {bound}"),
    };
    for step in &found.steps {
        let latency = &step.report.latency;
        text.push_str(&format!(
            "\n  {:>9} per second: p50 {}, p99 {}, p99.9 {}, max {}: {}",
            rounded(step.report.target_per_second),
            microseconds(latency.p50_us),
            microseconds(latency.p99_us),
            microseconds(latency.p999_us),
            microseconds(latency.max_us),
            verdict_text(step.verdict),
        ));
        for (code, count) in &step.report.errors {
            let example = step.report.error_examples.get(code).map_or("", String::as_str);
            text.push_str(&format!("\n            {code}: {count}, first: {example}"));
        }
    }
    text
}

fn quantile_name(quantile: Quantile) -> &'static str {
    match quantile {
        Quantile::P50 => "p50",
        Quantile::P90 => "p90",
        Quantile::P99 => "p99",
        Quantile::P999 => "p99.9",
        Quantile::Max => "the largest latency",
    }
}

fn verdict_text(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Met => "met",
        Verdict::TooSlow => "too slow",
        Verdict::FellBehind => "answers fell behind",
        Verdict::Failed => "requests failed",
        Verdict::ClientSaturated => {
            "the client could not keep to its schedule; nothing is said of the server"
        }
    }
}
