//! `augur replay --policy` and `--model`: the log decided again by a candidate, and what would have been different.
//!
//! Not here: the replay (`augur_shadow_harness::candidate`).

use std::path::{Path, PathBuf};

use augur_loadtest::domain::time::parse_duration_ms;
use augur_loadtest::domain::{OutcomeKind, Timestamp};
use augur_shadow_harness::candidate::{
    CandidateOptions, CandidateReport, Control, Edit, Exposures, Gates, Label, PinnedVersion, SegmentBy,
    Subject, replay_candidate,
};
use augur_shadow_harness::reward::{RewardRule, Take};
use augur_shadow_harness::{DataDirectory, PolicySource, SourceFile, off_policy};

use super::edits::{self, CapChange, PriorityChange};
use super::rewards;
use crate::output::Output;
use crate::{Error, Outcome, progress};

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
    /// Switch this rule, or table of rules, off. May be given several times.
    #[arg(long, value_name = "ID", conflicts_with = "verify")]
    rule_off: Vec<String>,
    /// Give this rule another priority. May be given several times.
    #[arg(long, value_name = "ID=N", conflicts_with = "verify", value_parser = edits::priority)]
    rule_priority: Vec<PriorityChange>,
    /// Put this cap in the place of an action's, or of its Nth cap; `none` takes it away. May be given several times.
    #[arg(long, value_name = "ACTION[/N]=CAP", conflicts_with = "verify", value_parser = edits::cap)]
    cap: Vec<CapChange>,
    /// Name so many changed decisions by their ids.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    ids: u32,
    /// What the candidate is held to: a TOML file of gates, see docs/evaluation.md. Without it the replay is a mere
    /// comparison.
    #[arg(long, value_name = "FILE", conflicts_with = "verify")]
    gate: Option<PathBuf>,
    /// Write the report as a page for people: one HTML file, nothing else needed.
    #[arg(long, value_name = "FILE", conflicts_with = "verify")]
    report: Option<PathBuf>,
    /// Tell flips apart by this, too: context.NAME, user.NAME, features.NAME, scores.NAME or action. May be given several
    /// times.
    #[arg(long, value_name = "WHAT", conflicts_with = "verify")]
    segment: Vec<SegmentBy>,
    /// Measure the scores of a model by outcomes of this kind within --within, or a time of its own: `conversion=converted`,
    /// `conversion=converted@14d`; with `!` by their absence: `churn=!converted@30d`. May be given several times.
    #[arg(long, value_name = "NAME=KIND", conflicts_with = "verify", value_parser = label)]
    label: Vec<LabelArg>,
    /// Do not make the control replay first. Faster, but then no gate can promote anything.
    #[arg(long, conflicts_with = "verify")]
    no_control: bool,
    /// Which exposures count against the candidate's caps: what it would have given itself, carried from decision to
    /// decision, or what was given, each decision by itself.
    #[arg(long, value_enum, default_value_t = ExposuresArg::Carried)]
    exposures: ExposuresArg,
    /// Join outcomes and estimate the candidate's value: from those of this kind (converted, value, clicked, opened,
    /// delivered, not_delivered), or by the rule of this name in --rewards.
    #[arg(long, value_name = "KIND|NAME", conflicts_with = "verify")]
    reward: Option<String>,
    /// Which of a decision's outcomes make its reward.
    #[arg(long, value_name = "WHICH", default_value = "sum", value_parser = rewards::take, conflicts_with = "rewards")]
    take: Take,
    /// The reward of a decision that is old enough and has no such outcome.
    #[arg(long, value_name = "NUMBER", default_value_t = 0.0, value_parser = rewards::number, allow_negative_numbers = true, conflicts_with = "rewards")]
    default_reward: f64,
    /// What every outcome is worth. Left out: the value it carries, or 1.
    #[arg(long, value_name = "NUMBER", value_parser = rewards::number, allow_negative_numbers = true, conflicts_with = "rewards")]
    worth: Option<f64>,
    /// A file of reward rules; without --reward it must hold one. Each rule has its own time in the place of --within.
    #[arg(long, value_name = "FILE", conflicts_with = "verify")]
    rewards: Option<PathBuf>,
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

/// A label whose time may be that of `--within`.
#[derive(Debug, Clone)]
struct LabelArg {
    alias: String,
    kind: OutcomeKind,
    negated: bool,
    within: Option<i64>,
}

fn label(text: &str) -> Result<LabelArg, String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, rest) = pair.ok_or("expected NAME=KIND, such as `conversion=converted`")?;
    let (negated, rest) = rest.strip_prefix('!').map_or((false, rest), |rest| (true, rest));
    let (word, within) = rest.split_once('@').map_or((rest, None), |(word, within)| (word, Some(within)));
    let within = within.map(parse_duration_ms).transpose()?;
    Ok(LabelArg { alias: name.to_owned(), kind: kind(word)?, negated, within })
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
    fn subject(&self) -> Subject {
        let version = |pinned: &PinnedVersion| format!("{}={}", pinned.name, pinned.selector);
        let exposures = match self.exposures {
            ExposuresArg::Carried => "what the candidate would have given",
            ExposuresArg::Logged => "as logged",
        };
        Subject {
            policy: self.policy.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
            models: self.model.iter().map(version).collect(),
            exposures: exposures.to_owned(),
        }
    }

    /// Whether a candidate is named at all.
    pub(super) fn is_given(&self) -> bool {
        self.policy.is_some() || !self.model.is_empty() || self.edits()
    }

    fn edits(&self) -> bool {
        !(self.rule_off.is_empty() && self.rule_priority.is_empty() && self.cap.is_empty())
    }

    fn reward(&self) -> Result<Option<RewardRule>, Error> {
        if let Some(file) = &self.rewards {
            return rewards::rule_of(file, self.reward.as_deref()).map(Some);
        }
        let Some(kind) = &self.reward else { return Ok(None) };
        let sum = RewardRule::sum_of(rewards::kind("--reward", kind)?, self.within);
        Ok(Some(RewardRule { take: self.take, default: self.default_reward, value: self.worth, ..sum }))
    }
}

pub(super) fn run(
    args: &Args,
    directory: &DataDirectory,
    (stored, log): (&Path, &Path),
    threads: usize,
    output: Output,
) -> Result<Outcome, Error> {
    let policy = args.policy.as_deref().map(read_policy).transpose()?;
    let gates = args.gate.as_deref().map(read_gates).transpose()?;
    let control = match args.no_control {
        true => None,
        false => Some(Control::of(&super::verified(stored, Some(log), threads, None)?)),
    };
    let label = |label: &LabelArg| Label {
        alias: label.alias.clone(),
        kind: label.kind,
        negated: label.negated,
        within_ms: label.within.unwrap_or(args.within),
    };
    let labels: Vec<Label> = args.label.iter().map(label).collect();
    let reward = args.reward()?;
    let edit = |source: &PolicySource| edits::edited(source, &args.rule_off, &args.rule_priority, &args.cap);
    let bar = progress::counter("decisions of the candidate");
    let report = replay_candidate(
        log,
        directory,
        &CandidateOptions {
            policy: policy.as_ref(),
            edit: args.edits().then_some(&edit as Edit<'_>),
            pinned: &args.model,
            exposures: match args.exposures {
                ExposuresArg::Carried => Exposures::Carried,
                ExposuresArg::Logged => Exposures::Logged,
            },
            from: args.from.unwrap_or(Timestamp::MIN),
            reward: reward.as_ref(),
            most_ids: args.ids as usize,
            evaluating: off_policy::Options { resamples: args.resamples, ..off_policy::Options::default() },
            gates: gates.as_ref(),
            segments: &args.segment,
            labels: &labels,
            control,
            subject: args.subject(),
            progress: &|records| bar.set_position(records),
        },
    )?;
    bar.finish_and_clear();
    if let Some(path) = &args.report {
        write_page(&report, path)?;
    }
    output.report(&report, ToString::to_string)?;
    Ok(Outcome::Code(report.verdict.exit_code()))
}

fn write_page(report: &CandidateReport, path: &Path) -> Result<(), Error> {
    std::fs::write(path, report.html()).map_err(Error::file("write", path))
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
    Gates::parse(&path.display().to_string(), &text)
        .map_err(|complaints| Error::Server(augur_server::Error::Diagnostics(complaints)))
}
