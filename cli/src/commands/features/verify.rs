//! `augur features verify`: whether what is served is what the event log says.
//!
//! Not here: the comparison itself (the feature store).

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use augur_loadtest::domain::UserKey;
use augur_loadtest::domain::rng::{Purpose, Rng};
use augur_server::offline::{DifferenceKind, Verdict};
use augur_server::{App, SystemClock};
use serde::Serialize;

use crate::data::Directory;
use crate::output::{Output, grouped, rounded, table};
use crate::{Error, Outcome, progress};

/// Differences told one by one.
const MOST_SHOWN: usize = 10;
/// Most threads.
const MAX_THREADS: usize = 16;
/// Users waiting for a thread.
const USERS_AHEAD: usize = 256;
/// Nothing mismatched, but values are missing or too many.
const MISSING_OR_EXTRA: u8 = 4;

const EXAMPLES: &str = "\
Examples:
  augur features verify --data data --sample 500
  augur features verify --data data --all --json

Exit codes:
  0  every bit is the same
  3  a value, or a state behind it, is another than the event log says
  4  no value is another, but some are missing (the log says a value, none is served) or extra (the other way round)
  1  could not be done, for example because the event log cannot be read";

/// Compute features again from the event log and compare them with what is served, bit by bit.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The data directory; no server may be using it. A server verifies by itself, see `features` in augur.toml.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// How many users, at least 1, drawn at random; all when there are fewer.
    #[arg(long, default_value = "100", conflicts_with = "all")]
    sample: NonZeroUsize,
    /// Every user.
    #[arg(long)]
    all: bool,
    /// Another seed draws other users.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads; 0 is one per core, at most 16.
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

#[derive(Debug, Default, Serialize)]
struct Verified {
    users: u64,
    events: u64,
    identical: u64,
    different: u64,
    /// Values that differ, over all users.
    mismatch: u64,
    /// Values that the event log says and that are not served.
    missing: u64,
    /// Values that are served and that the event log does not know.
    extra: u64,
    /// Users of whom only state differs that no value shows yet.
    hidden: u64,
    /// Users whose event log cannot be read whole, so that nobody can tell.
    unreadable: u64,
    /// What cannot be read of the first of them.
    problems: Vec<String>,
    /// Users of whom events are not kept any more: what those made is taken as it is.
    users_from_base: u64,
    /// How many events these are.
    events_removed: u64,
    by_feature: BTreeMap<String, Counts>,
    /// The first users that differ, with the features that do.
    differences: Vec<Difference>,
    seconds: f64,
}

#[derive(Debug, Default, Serialize)]
struct Counts {
    mismatch: u64,
    missing: u64,
    extra: u64,
}

#[derive(Debug, Serialize)]
struct Difference {
    user_key: String,
    events_served: u64,
    events_logged: u64,
    /// Empty when only hidden state differs.
    features: Vec<String>,
}

impl Verified {
    fn count(&mut self, user: UserKey, Found { verdict, removed }: Found) {
        self.users += 1;
        self.users_from_base += u64::from(removed > 0);
        self.events_removed += removed;
        let verdict = match verdict {
            Ok(verdict) => verdict,
            Err(unreadable) => {
                self.unreadable += 1;
                if self.problems.len() < MOST_SHOWN {
                    self.problems.push(unreadable.to_string());
                }
                return;
            }
        };
        match verdict {
            Verdict::Identical { events } => {
                self.identical += 1;
                self.events += events;
            }
            Verdict::Different { events, logged_events, features } => {
                self.different += 1;
                self.events += logged_events;
                self.hidden += u64::from(features.is_empty());
                for difference in &features {
                    let counts = self.by_feature.entry(difference.feature.to_string()).or_default();
                    let (all, one) = match difference.kind {
                        DifferenceKind::Mismatch => (&mut self.mismatch, &mut counts.mismatch),
                        DifferenceKind::Missing => (&mut self.missing, &mut counts.missing),
                        DifferenceKind::Extra => (&mut self.extra, &mut counts.extra),
                    };
                    (*all, *one) = (*all + 1, *one + 1);
                }
                if self.differences.len() < MOST_SHOWN {
                    self.differences.push(Difference {
                        user_key: user.to_string(),
                        events_served: events,
                        events_logged: logged_events,
                        features: features.iter().map(|difference| difference.feature.to_string()).collect(),
                    });
                }
            }
            // Gone since it was listed.
            Verdict::Unknown => self.identical += 1,
        }
    }

    const fn outcome(&self) -> Outcome {
        if self.different + self.unreadable == 0 {
            Outcome::Fine
        } else if self.mismatch + self.hidden + self.unreadable > 0 {
            Outcome::Refused
        } else {
            Outcome::Code(MISSING_OR_EXTRA)
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let started = Instant::now();
    let app = App::open(Directory::open(&args.data)?.config()?, SystemClock::new())?;
    let mut report = Verified::default();
    let known = app.store().stats().users_total;
    let bar =
        progress::bar("users verified", if args.all { known } else { known.min(args.sample.get() as u64) });
    let (users, waiting) = sync_channel(USERS_AHEAD);
    let (answers, answered) = sync_channel(USERS_AHEAD);
    let waiting = Mutex::new(waiting);
    std::thread::scope(|threads| {
        let (app, waiting) = (&app, &waiting);
        for _ in 0..thread_count(args.threads) {
            let answers = answers.clone();
            threads.spawn(move || verify(app, waiting, &answers));
        }
        threads.spawn(move || list(app, args, &users, &answers));
        for answer in answered {
            let (user, found) = answer?;
            report.count(user, found);
            bar.inc(1);
        }
        Ok::<_, Error>(())
    })?;
    bar.finish_and_clear();
    app.close()?;
    report.seconds = started.elapsed().as_secs_f64();
    output.report(&report, text)?;
    Ok(report.outcome())
}

fn thread_count(asked: usize) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if asked > 0 { asked.min(MAX_THREADS) } else { cores().min(MAX_THREADS) }
}

/// What is to be told of a user.
struct Found {
    /// Or why the event log cannot tell.
    verdict: Result<Verdict, augur_server::Error>,
    /// Events that are not kept any more.
    removed: u64,
}

type Answer = Result<(UserKey, Found), Error>;

/// Takes users until there are no more, or until nobody wants the answers.
fn verify(app: &App, waiting: &Mutex<Receiver<UserKey>>, answers: &SyncSender<Answer>) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(user) = next else { return };
        let answer = found(app, user).map(|found| (user, found)).map_err(Error::from);
        if answers.send(answer).is_err() {
            return;
        }
    }
}

/// A user of whom something cannot be read is one finding among others; a disk that fails ends the run.
fn found(app: &App, user: UserKey) -> Result<Found, augur_server::Error> {
    let (verdict, removed) = (app.store().verify_user(user), app.store().removed_events(user));
    let or_unreadable =
        |error: augur_server::Error| if error.is_damage() { Ok(Err(error)) } else { Err(error) };
    let verdict =
        verdict.map_err(augur_server::Error::from).map_or_else(or_unreadable, |verdict| Ok(Ok(verdict)))?;
    Ok(Found { verdict, removed: removed.unwrap_or(0) })
}

/// Names the users to verify, or says why they cannot be listed.
fn list(app: &App, args: &Args, users: &SyncSender<UserKey>, answers: &SyncSender<Answer>) {
    let failed = |error| drop(answers.send(Err(augur_server::Error::from(error).into())));
    let listed = match app.store().users_to_verify() {
        Ok(listed) => listed,
        Err(error) => return failed(error),
    };
    let mut sample = Sample::new(args.sample.get(), args.seed);
    for user in listed {
        match user {
            Ok(user) if args.all => {
                if users.send(user).is_err() {
                    return;
                }
            }
            Ok(user) => sample.add(user),
            Err(error) => return failed(error),
        }
    }
    for user in sample.chosen {
        if users.send(user).is_err() {
            return;
        }
    }
}

fn text(report: &Verified) -> String {
    let mut text = format!(
        "{} users with {} events computed again: {} identical to what is served, {} different; {} users per second",
        grouped(report.users),
        grouped(report.events),
        grouped(report.identical),
        grouped(report.different),
        rounded(report.users as f64 / report.seconds.max(1e-3)),
    );
    if report.hidden > 0 {
        text.push_str(&format!("\n{} of them only in state that no value shows yet", grouped(report.hidden)));
    }
    if report.unreadable > 0 {
        let count = grouped(report.unreadable);
        text.push_str(&format!("\n{count} could not be compared, because their events cannot all be read"));
        report.problems.iter().for_each(|problem| text.push_str(&format!("\n  {problem}")));
    }
    if report.users_from_base > 0 {
        let (users, events) = (grouped(report.users_from_base), grouped(report.events_removed));
        text.push_str(&format!(
            "\n{users} users have {events} events that are not kept any more; what those made was taken as it is"
        ));
    }
    if !report.by_feature.is_empty() {
        let rows = report.by_feature.iter().map(|(name, counts)| {
            let counts = [counts.mismatch, counts.missing, counts.extra].map(grouped);
            std::iter::once(name.clone()).chain(counts).collect()
        });
        text.push('\n');
        text.push_str(&table(&["feature", "mismatch", "missing", "extra"], &rows.collect::<Vec<_>>()));
    }
    for difference in &report.differences {
        text.push_str(&format!("\n  {}: {}", difference.user_key, difference.features.join(", ")));
    }
    text
}

/// As many users as wanted out of a stream of unknown length, each equally likely (J. Vitter's algorithm R).
struct Sample {
    wanted: usize,
    seen: u64,
    rng: Rng,
    chosen: Vec<UserKey>,
}

impl Sample {
    fn new(wanted: usize, seed: u64) -> Self {
        Self { wanted, seen: 0, rng: Rng::new(seed, Purpose::Training), chosen: Vec::new() }
    }

    fn add(&mut self, user: UserKey) {
        self.seen += 1;
        if self.chosen.len() < self.wanted {
            self.chosen.push(user);
        } else if let Some(place) =
            usize::try_from(self.rng.below(self.seen)).ok().and_then(|place| self.chosen.get_mut(place))
        {
            *place = user;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn chosen(total: u8, wanted: usize, seed: u64) -> Vec<UserKey> {
        let mut sample = Sample::new(wanted, seed);
        for number in 0..total {
            sample.add(UserKey::from_bytes([number; 16]));
        }
        sample.chosen
    }

    #[test]
    fn samples_are_of_the_wanted_size_without_repeats() {
        for (total, wanted, expected) in [(100, 10, 10), (5, 10, 5), (0, 10, 0), (10, 10, 10)] {
            let chosen = chosen(total, wanted, 7);
            assert_eq!(chosen.len(), expected);
            assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), expected);
        }
        assert_ne!(chosen(200, 10, 1), chosen(200, 10, 2));
    }

    #[test]
    fn missing_and_extra_values_have_a_code_of_their_own() {
        let report = |mismatch, missing, hidden| Verified {
            different: mismatch + missing + hidden,
            mismatch,
            missing,
            hidden,
            ..Verified::default()
        };
        assert_eq!(report(0, 0, 0).outcome(), Outcome::Fine);
        assert_eq!(report(1, 1, 0).outcome(), Outcome::Refused);
        assert_eq!(report(0, 0, 1).outcome(), Outcome::Refused);
        assert_eq!(report(0, 1, 0).outcome(), Outcome::Code(4));
        let unreadable = Verified { unreadable: 1, ..report(0, 1, 0) };
        assert_eq!(unreadable.outcome(), Outcome::Refused);
    }
}
