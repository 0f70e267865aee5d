//! `augur loadtest compare`: two kept runs side by side.
//!
//! Not here: what is compared (`augur_loadtest::compare`).

use std::fs;
use std::path::{Path, PathBuf};

use augur_loadtest::compare::{Ratios, Run};
use serde::Serialize;

use super::report::ratios_text;
use crate::output::{Output, microseconds, rounded};
use crate::{Error, Outcome};

/// Tell how a second run of `augur loadtest decide --json` differs from a first, as ratios.
///
/// With --at-most, exit code 3 when the second run's p99, or its server's CPU time a request, is more than that many
/// times the first's.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  augur loadtest decide --endpoint http://127.0.0.1:7401 --point cart_page --json > before.json
  augur loadtest decide --endpoint http://127.0.0.1:7401 --point cart_page --json > after.json
  augur loadtest compare before.json after.json --at-most 1.2")]
pub(crate) struct Args {
    /// The run to compare with.
    first: PathBuf,
    /// The run that is compared.
    second: PathBuf,
    /// The largest ratio that is no regression.
    #[arg(long, value_name = "RATIO")]
    at_most: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Report {
    first: Run,
    second: Run,
    /// The second by the first.
    ratios: Ratios,
    /// Names of the ratios beyond the bound.
    beyond: Vec<&'static str>,
}

/// Runs the command.
pub(super) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let (first, second) = (read(&args.first)?, read(&args.second)?);
    let ratios = Ratios::of(&first, &second);
    let beyond = args.at_most.map_or_else(Vec::new, |bound| beyond(&ratios, bound));
    let report = Report { first, second, ratios, beyond };
    output.report(&report, text)?;
    Ok(if report.beyond.is_empty() { Outcome::Fine } else { Outcome::Refused })
}

fn read(path: &Path) -> Result<Run, Error> {
    let text = fs::read_to_string(path).map_err(Error::file("read", path))?;
    serde_json::from_str(&text).map_err(|error| Error::Argument {
        argument: "a run",
        found: format!("{}: {error}", path.display()),
        expected: "what `augur loadtest decide --json` printed".to_owned(),
    })
}

/// A bound that is no number holds nothing, so everything is beyond it.
fn beyond(ratios: &Ratios, bound: f64) -> Vec<&'static str> {
    let within = |ratio: f64| ratio <= bound;
    let mut names = Vec::new();
    if !within(ratios.p99) {
        names.push("p99");
    }
    if ratios.server_cpu_per_request.is_some_and(|ratio| !within(ratio)) {
        names.push("server_cpu_per_request");
    }
    names
}

fn text(report: &Report) -> String {
    let line = |run: &Run| {
        let latency = &run.report.latency;
        let server = run.server.map_or_else(String::new, |usage| {
            format!(", server {:.1} us of CPU a request", usage.cpu_us_per_request)
        });
        format!(
            "{} per second, p50 {}, p90 {}, p99 {}, p99.9 {}{server}",
            rounded(run.report.achieved_per_second),
            microseconds(latency.p50_us),
            microseconds(latency.p90_us),
            microseconds(latency.p99_us),
            microseconds(latency.p999_us),
        )
    };
    let mut text = format!(
        "first:  {}\nsecond: {}\nsecond by first: {}",
        line(&report.first),
        line(&report.second),
        ratios_text(&report.ratios)
    );
    if !report.beyond.is_empty() {
        text.push_str(&format!("\nbeyond the bound: {}", report.beyond.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_holds_p99_and_cost() {
        let ratios = Ratios {
            achieved_per_second: 1.0,
            p50: 9.0,
            p90: 9.0,
            p99: 1.1,
            p999: 9.0,
            server_cpu_per_request: Some(1.3),
            server_resident: None,
        };
        assert_eq!(beyond(&ratios, 1.4), Vec::<&str>::new());
        assert_eq!(beyond(&ratios, 1.2), ["server_cpu_per_request"]);
        assert_eq!(beyond(&ratios, f64::NAN), ["p99", "server_cpu_per_request"]);
    }
}
