//! `augur replay --policy` and `--model`: the log decided again by a candidate, and what would have been different.
//!
//! Not here: the replay (`augur_shadow_harness::candidate`).

use std::path::{Path, PathBuf};

use augur_loadtest::domain::time::parse_duration_ms;
use augur_loadtest::domain::{OutcomeKind, Timestamp};
use augur_shadow_harness::candidate::{
    CandidateOptions, Exposures, Gates, PinnedVersion, Reward, replay_candidate,
};
use augur_shadow_harness::{DataDirectory, PolicySource, SourceFile, off_policy};

use crate::output::Output;
use crate::{Error, Outcome, progress};

/// A gate is not passed.
const EXIT_REFUSED: u8 = 3;

/// What decides in the place of what decided.
#[derive(Debug, clap::Args)]
#[group(id = "candidate_policy")]
pub(super) struct Args {
    /// Decide by this policy file instead, on what was logged, and tell what would have been different.
    #[arg(long, value_name = "FILE", conflicts_with = "verify")]
    policy: Option<PathBuf>,
    /// Ask this version, a number or an alias, wherever its model was asked. May be given several times.
    #[arg(long, value_name = "NAME=VERSION", conflicts_with = "verify", value_parser = pinned)]
    model: Vec<PinnedVersion>,
    /// What the candidate must keep to: a TOML file with max_flip_share, max_uncompared_share, min_value_ratio, and a table
    /// `max_growth` by action.
    #[arg(long, value_name = "FILE", conflicts_with = "verify")]
    gate: Option<PathBuf>,
    /// Which exposures count against the candidate's caps: what it would have given itself, carried from decision to
    /// decision, or what was given, each decision by itself.
    #[arg(long, value_enum, default_value_t = ExposuresArg::Carried)]
    exposures: ExposuresArg,
    /// Estimate the candidate's value from outcomes of this kind: converted, value, clicked, opened, delivered.
    #[arg(long, value_name = "KIND", conflicts_with = "verify", value_parser = kind)]
    reward: Option<OutcomeKind>,
    /// Outcomes later than this after their decision do not count, and younger decisions are left out of the estimate.
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = parse_duration_ms)]
    within: i64,
    /// Decisions from this instant on, such as 2026-11-01T00:00:00Z.
    #[arg(long, value_name = "TIME", conflicts_with = "verify", value_parser = instant)]
    pub(super) from: Option<Timestamp>,
    /// Resamples of the estimate's bootstrap; 0 for none.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    resamples: u32,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ExposuresArg {
    Carried,
    Logged,
}

fn pinned(text: &str) -> Result<PinnedVersion, String> {
    let pair = text.split_once('=').filter(|(name, version)| !name.is_empty() && !version.is_empty());
    let (name, selector) = pair.ok_or("expected NAME=VERSION, such as `churn=4` or `churn=shadow`")?;
    Ok(PinnedVersion { name: name.to_owned(), selector: selector.to_owned() })
}

fn kind(text: &str) -> Result<OutcomeKind, String> {
    let known = OutcomeKind::ALL.iter().find(|kind| kind.as_str().eq_ignore_ascii_case(text));
    known.copied().ok_or_else(|| {
        let words: Vec<String> = OutcomeKind::ALL.iter().map(|kind| kind.as_str().to_lowercase()).collect();
        format!("expected one of {}", words.join(", "))
    })
}

fn instant(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text)
        .ok_or_else(|| "expected an instant such as 2026-11-01T00:00:00Z".to_owned())
}

impl Args {
    /// Whether a candidate is named at all.
    pub(super) fn is_given(&self) -> bool {
        self.policy.is_some() || !self.model.is_empty()
    }
}

pub(super) fn run(
    args: &Args,
    directory: &DataDirectory,
    log: &Path,
    output: Output,
) -> Result<Outcome, Error> {
    let policy = args.policy.as_deref().map(read_policy).transpose()?;
    let gates = args.gate.as_deref().map(read_gates).transpose()?.unwrap_or_default();
    let bar = progress::counter("replayed decisions");
    let report = replay_candidate(
        log,
        directory,
        &CandidateOptions {
            policy: policy.as_ref(),
            pinned: &args.model,
            exposures: match args.exposures {
                ExposuresArg::Carried => Exposures::Carried,
                ExposuresArg::Logged => Exposures::Logged,
            },
            from: args.from.unwrap_or(Timestamp::MIN),
            reward: args.reward.map(|kind| Reward { kind, within_ms: args.within }),
            evaluating: off_policy::Options { resamples: args.resamples, ..off_policy::Options::default() },
            gates: &gates,
            progress: &|records| bar.set_position(records),
        },
    )?;
    bar.finish_and_clear();
    output.report(&report, ToString::to_string)?;
    Ok(if report.passes() { Outcome::Fine } else { Outcome::Code(EXIT_REFUSED) })
}

fn read_policy(path: &Path) -> Result<PolicySource, Error> {
    let read = |path: &Path| {
        let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
        Ok(SourceFile { name: path.display().to_string(), text })
    };
    // One that is not there is a fault of the policy, told when it is compiled.
    PolicySource::gather(read(path)?, |name| {
        let beside = path.with_file_name(name);
        if beside.is_file() { read(&beside).map(Some) } else { Ok(None) }
    })
}

fn read_gates(path: &Path) -> Result<Gates, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
    toml::from_str(&text).map_err(|error| Error::Input {
        path: path.to_owned(),
        problem: error.to_string(),
        expected: "max_flip_share, max_uncompared_share, min_value_ratio, or a table [max_growth] by action"
            .to_owned(),
    })
}
