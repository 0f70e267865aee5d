//! `augur replay --recompute`: the features of logged decisions made again from the event log, and how they differ.
//!
//! Not here: the replay (`augur_shadow_harness::recomputed`).

use std::path::{Path, PathBuf};

use augur_loadtest::domain::Timestamp;
use augur_server::offline::event_history;
use augur_shadow_harness::recomputed::{Phase, RecomputeOptions, Visibility, replay_recomputed};
use augur_shadow_harness::{DataDirectory, SourceFile};

use crate::output::Output;
use crate::{Error, Outcome, progress};

/// How features are computed again.
#[derive(Debug, clap::Args)]
#[group(id = "recomputed_features")]
pub(super) struct Args {
    /// Compute the features of every decision again from the event log, and tell how they differ from what was logged.
    #[arg(long, conflicts_with_all = ["verify", "policy", "model", "rule_off", "rule_priority", "cap"])]
    pub(super) recompute: bool,
    /// Compute them by these definitions. Left out: by those that each policy was compiled against.
    #[arg(long, value_name = "FILE", requires = "recompute")]
    features: Option<PathBuf>,
    /// Which events a decision is meant to have seen: those that had happened, as a training set shows them, or those
    /// that had come.
    #[arg(long, value_enum, default_value_t = AsOf::EventTime)]
    as_of: AsOf,
    /// About as much memory as decisions and events may take, in MiB. Decisions beyond it are sorted in temporary files.
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u32).range(16..=65_536))]
    memory: u32,
    /// Where these files lie: up to the size of the log's records. Left out: where the system keeps such files.
    #[arg(long, value_name = "DIR", requires = "recompute")]
    temporary: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum AsOf {
    EventTime,
    Received,
}

pub(super) fn run(
    args: &Args,
    from: Timestamp,
    (stored, directory): (&Path, &DataDirectory),
    log: &Path,
    output: Output,
) -> Result<Outcome, Error> {
    let features = args.features.as_deref().map(read).transpose()?;
    let history = event_history(stored)?;
    let place = args.temporary.clone().unwrap_or_else(std::env::temp_dir);
    let spool = tempfile::tempdir_in(&place).map_err(Error::file("create a folder in", &place))?;
    let sorting = progress::counter("decisions sorted by user");
    let comparing = progress::counter("decisions compared");
    let report = replay_recomputed(
        log,
        directory,
        &history,
        RecomputeOptions {
            features: features.as_ref(),
            visibility: match args.as_of {
                AsOf::EventTime => Visibility::EventTime,
                AsOf::Received => Visibility::Received,
            },
            from,
            memory_bytes: args.memory as usize * (1 << 20),
            spool_dir: spool.path(),
            progress: &|phase, records| match phase {
                Phase::Sorting => sorting.set_position(records),
                Phase::Comparing => comparing.set_position(records),
            },
        },
    )?;
    sorting.finish_and_clear();
    comparing.finish_and_clear();
    output.report(&report, ToString::to_string)?;
    Ok(Outcome::Code(report.exit_code()))
}

fn read(path: &Path) -> Result<SourceFile, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
    Ok(SourceFile { name: path.display().to_string(), text })
}
