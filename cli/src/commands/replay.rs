//! `augur replay`: decides a log again and says whether every byte came out the same, what a candidate would change, or
//! what features computed again would.
//!
//! Not here: the replay itself (`augur_shadow_harness`).

mod approved;
mod candidate;
mod edits;
mod recomputed;
pub(crate) mod rewards;

use std::path::{Path, PathBuf};

use augur_loadtest::domain::Timestamp;
use augur_shadow_harness::{DataDirectory, Options, VerifyReport, verify};

use crate::data::Directory;
use crate::output::Output;
use crate::{Error, Outcome, progress};

const HELP: &str = "\
Examples:
  augur replay --verify --data data
  augur replay --verify --decisions copy/decisions --data data --json
  augur replay --verify --data data --threads 4 --resume verified.json     stopped, it goes on from there
  augur replay --policy new_policy.toml --data data
  augur replay --model churn=7 --gate gates.toml --reward converted --within 14d --data data
  augur replay --policy new_policy.toml --segment context.country --label churn=!converted --report report.html --data data
  augur replay --verify --data golden --approved golden.diff
  augur replay --rule-off no_mail_on_monday --rule-priority vip=10 --segment context.country --data data
  augur replay --cap 'free_shipping=3 per 7d' --rewards rewards.toml --reward revenue --ids 1000 --data data
  augur replay --recompute --data data
  augur replay --recompute --features new_features.toml --as-of received --data data

A candidate decides on the features, contexts and models that were logged; --model names other versions. What its own
decisions cause is carried along: the caps of later decisions count what the candidate gave, not what was given. Models
and features that only the candidate asks for are those of today, or missing. Rules and caps may be changed here, without
a file: in --policy, or in every policy that decided. Budgets are carried like caps. What decided then is replayed first, as the
control: a difference means something only where the same policy makes none.

--recompute makes the features of every decision again from the event log and tells how they differ from what was logged,
by feature and by cause, and which decisions would have come out otherwise. By event time a decision sees what happened
before it, as a training set does: late events, retractions and links that came since make the difference. As received
it sees what had come: then nothing differs, unless --features names other definitions.

Exit codes:
  0  every decision came out the same, byte for byte
  1  the replay could not be done
  3  some decisions came out differently; the report shows the first ones field by field. Of a candidate: REJECT, it fails
     a gate, or could not decide some records. Of --recompute: some features came out differently
  4  the log is damaged, or records are missing from it
  5  a policy or a model that decided is no longer there
  6  the same, up to an unfinished record at the end, as a crash leaves it
  7  the log holds no whole record: nothing was verified; or no decision's features could be computed again
  8  of a candidate: HOLD, there is no telling whether it passes a gate, or the control does not hold";

/// Decide logged decisions again, with the policies and models that decided them or with others.
///
/// Reads only; a server may be using the directory meanwhile.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Compare with what was logged, byte for byte.
    #[arg(long, required_unless_present_any = ["policy", "model", "rule_off", "rule_priority", "cap", "recompute"])]
    verify: bool,
    /// Write every decision that comes out otherwise into this file, for people to read and approve.
    #[arg(long, value_name = "FILE", requires = "verify", conflicts_with = "approved")]
    differences: Option<PathBuf>,
    /// Decisions may come out otherwise exactly as this file says, which --differences wrote: for tests of a change against
    /// a log that was kept.
    #[arg(long, value_name = "FILE", requires = "verify")]
    approved: Option<PathBuf>,
    #[command(flatten)]
    recomputed: recomputed::Args,
    #[command(flatten)]
    candidate: candidate::Args,
    /// The data directory, or the directory that its `[data] dir` names.
    #[arg(long, value_name = "DIR", required_unless_present = "decisions")]
    data: Option<PathBuf>,
    /// Read the decision log from here. Policies and models are those of --data, or else of the directory above it.
    #[arg(long, value_name = "DIR")]
    decisions: Option<PathBuf>,
    /// Threads that read and decide, a segment at a time; 0 is one per core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Note in this file which sealed segments came out the same, and leave out those that are noted there.
    #[arg(long, value_name = "FILE", requires = "verify")]
    resume: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let stored = match (&args.data, &args.decisions) {
        (Some(data), _) => stored_in(data)?,
        (None, Some(decisions)) => {
            // `.` has no directory above it until it has its name.
            let named = decisions.canonicalize().map_err(Error::file("read", decisions))?;
            named.parent().unwrap_or(&named).to_owned()
        }
        (None, None) => PathBuf::new(),
    };
    if args.recomputed.recompute {
        let directory = DataDirectory::new(&stored);
        let log = args.decisions.clone().unwrap_or_else(|| directory.decisions_dir());
        let from = args.candidate.from.unwrap_or(Timestamp::MIN);
        return recomputed::run(&args.recomputed, from, (&stored, &directory), &log, output);
    }
    if args.candidate.is_given() {
        let directory = DataDirectory::new(&stored);
        let log = args.decisions.clone().unwrap_or_else(|| directory.decisions_dir());
        return candidate::run(&args.candidate, &directory, (&stored, &log), args.threads, output);
    }
    if args.differences.is_some() || args.approved.is_some() {
        let log = args.decisions.clone().unwrap_or_else(|| DataDirectory::new(&stored).decisions_dir());
        return approved::run((args.differences.as_deref(), args.approved.as_deref()), &stored, &log, output);
    }
    let report = verified(&stored, args.decisions.as_deref(), args.threads, args.resume.as_deref())?;
    output.report(&report, ToString::to_string)?;
    Ok(Outcome::Code(report.exit_code()))
}

/// Replays the log of what is stored in `stored`, showing progress.
pub(crate) fn verified(
    stored: &Path,
    decisions: Option<&Path>,
    threads: usize,
    resume: Option<&Path>,
) -> Result<VerifyReport, Error> {
    let source = DataDirectory::new(stored);
    let bar = progress::counter("replayed decisions");
    let told = |records| bar.set_position(records);
    let log = decisions.map_or_else(|| source.decisions_dir(), Path::to_owned);
    let report = verify(&log, &source, Options { threads, progress: &told, resume })?;
    bar.finish_and_clear();
    Ok(report)
}

/// Where a data directory keeps what is stored; the directory itself when it has no configuration but a log.
pub(crate) fn stored_in(data: &Path) -> Result<PathBuf, Error> {
    if !data.join("augur.toml").is_file() && DataDirectory::new(data).decisions_dir().is_dir() {
        return Ok(data.to_owned());
    }
    Ok(Directory::open(data)?.config()?.data.dir)
}
