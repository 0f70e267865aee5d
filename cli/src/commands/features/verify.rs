//! `augur features verify`: whether what is served is what the event log says.
//!
//! Not here: the comparison itself (the feature store).

use std::collections::BTreeSet;
use std::path::PathBuf;

use augur_loadtest::domain::UserKey;
use augur_loadtest::domain::rng::{Purpose, Rng};
use augur_server::offline::Verdict;
use augur_server::{App, SystemClock};
use serde::Serialize;

use crate::data::Directory;
use crate::output::{Output, grouped};
use crate::{Error, Outcome, progress};

/// Differences told one by one.
const MOST_SHOWN: usize = 10;

/// Compute the features of a sample of users again from the event log and compare them with what is served, bit
/// by bit. Exit code 3 when any differ.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  augur features verify --data data --sample 500")]
pub(crate) struct Args {
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// How many users, drawn at random; all when there are fewer.
    #[arg(long, default_value_t = 100)]
    sample: usize,
    /// Another seed draws other users.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Serialize)]
struct Verified {
    users: u64,
    events: u64,
    identical: u64,
    different: u64,
    /// The first users that differ, with the features that do.
    differences: Vec<Difference>,
}

#[derive(Debug, Serialize)]
struct Difference {
    user_key: String,
    /// Empty when only hidden state differs.
    features: Vec<String>,
}

impl Verified {
    fn count(&mut self, user: UserKey, verdict: Verdict) {
        self.users += 1;
        match verdict {
            Verdict::Identical { events } => {
                self.identical += 1;
                self.events += events;
            }
            Verdict::Different { events, features, .. } => {
                self.different += 1;
                self.events += events;
                if self.differences.len() < MOST_SHOWN {
                    let features = features.iter().map(ToString::to_string).collect();
                    self.differences.push(Difference { user_key: user.to_string(), features });
                }
            }
            // Listed a moment ago, so its state is what is missing.
            Verdict::Unknown => self.different += 1,
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let app = App::open(Directory::open(&args.data)?.config()?, SystemClock::new())?;
    let failed = augur_server::Error::from;
    let total = usize::try_from(app.store().stats().users_total).unwrap_or(usize::MAX);
    let chosen = sample(total, args.sample, args.seed);
    let mut report = Verified { users: 0, events: 0, identical: 0, different: 0, differences: Vec::new() };
    let bar = progress::bar("users verified", chosen.len() as u64);
    for (index, user) in app.store().users().map_err(failed)?.enumerate() {
        let user = user.map_err(failed)?;
        if !chosen.contains(&index) {
            continue;
        }
        let verdict = app.store().verify_user(user).map_err(failed)?;
        report.count(user, verdict);
        bar.inc(1);
    }
    bar.finish_and_clear();
    app.close()?;
    output.report(&report, verify_text)?;
    Ok(if report.different == 0 { Outcome::Fine } else { Outcome::Refused })
}

fn verify_text(report: &Verified) -> String {
    let mut text = format!(
        "{} users with {} events computed again: {} identical to what is served, {} different",
        grouped(report.users),
        grouped(report.events),
        grouped(report.identical),
        grouped(report.different),
    );
    for difference in &report.differences {
        text.push_str(&format!("\n  {}: {}", difference.user_key, difference.features.join(", ")));
    }
    text
}

/// Which of `total` users to take: `wanted` different ones, or all (R. Floyd's sampling).
fn sample(total: usize, wanted: usize, seed: u64) -> BTreeSet<usize> {
    let mut rng = Rng::new(seed, Purpose::Training);
    let mut chosen = BTreeSet::new();
    for upper in total.saturating_sub(wanted)..total {
        let drawn = usize::try_from(rng.below(upper as u64 + 1)).unwrap_or(upper);
        if !chosen.insert(drawn) {
            chosen.insert(upper);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_of_the_wanted_size_and_within_range() {
        for (total, wanted, expected) in [(100, 10, 10), (5, 10, 5), (0, 10, 0), (10, 10, 10)] {
            let chosen = sample(total, wanted, 7);
            assert_eq!(chosen.len(), expected);
            assert!(chosen.iter().all(|index| *index < total));
        }
        assert_ne!(sample(1_000, 10, 1), sample(1_000, 10, 2));
    }
}
