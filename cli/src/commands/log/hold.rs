//! `augur log hold`: what somebody outside still needs of a log is not removed.
//!
//! Not here: removing (`augur_decision_log`).

use augur_shadow_harness::decision_log::{Hold, hold, holds, release};
use serde::Serialize;

use super::Place;
use crate::output::{Output, grouped, table};
use crate::{Error, Outcome};

const HELP: &str = "\
Examples:
  augur log hold export --from 120000 --data data     record 120000 and all behind it stay
  augur log hold --list --data data
  augur log hold export --release --data data

The least of all holds counts. They matter only where decision_log.keep or keep_bytes removes segments. A server may be
using the directory meanwhile.";

/// Keep a part of the log for somebody, whatever its retention says.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// For whom: 1 to 64 of a-z, 0-9, `_` and `-`.
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    /// The first record that must stay; what was held under the name before is forgotten.
    #[arg(long, value_name = "SEQUENCE", value_parser = clap::value_parser!(u64).range(1..), required_unless_present_any = ["release", "list"])]
    from: Option<u64>,
    /// Hold nothing under the name any more.
    #[arg(long, conflicts_with = "from")]
    release: bool,
    /// Only tell what is held.
    #[arg(long, conflicts_with_all = ["from", "release", "name"])]
    list: bool,
    #[command(flatten)]
    place: Place,
    /// Of the log of outcomes.
    #[arg(long, conflicts_with = "decisions")]
    outcomes: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    holds: Vec<Held>,
}

#[derive(Debug, Serialize)]
struct Held {
    name: String,
    first_sequence: u64,
}

pub(super) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let (directory, log) = args.place.find()?;
    let dir = if args.outcomes { directory.outcomes_dir() } else { log };
    let failed = augur_shadow_harness::Error::from;
    match (&args.name, args.from) {
        (Some(name), Some(first_sequence)) => {
            hold(&dir, &Hold { name: name.clone(), first_sequence }).map_err(failed)?;
        }
        (Some(name), None) => {
            if !release(&dir, name).map_err(failed)? {
                return Err(Error::Argument {
                    argument: "the name",
                    found: name.clone(),
                    expected: "one that holds something; augur log hold --list tells them".to_owned(),
                });
            }
        }
        (None, _) => {}
    }
    let held = holds(&dir).map_err(failed)?;
    let held = held.into_iter().map(|Hold { name, first_sequence }| Held { name, first_sequence });
    output.report(&Report { holds: held.collect() }, text)?;
    Ok(Outcome::Fine)
}

fn text(report: &Report) -> String {
    if report.holds.is_empty() {
        return "nothing is held\n".to_owned();
    }
    let rows: Vec<Vec<String>> =
        report.holds.iter().map(|held| vec![held.name.clone(), grouped(held.first_sequence)]).collect();
    table(&["held for", "from record"], &rows)
}
