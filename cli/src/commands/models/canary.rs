//! `augur models canary`: a version on trial for a share of users.
//!
//! Not here: the hash that sorts users, or the comparison of the arms (`augur_server`).

use augur_loadtest::domain::time::{format_duration_ms, parse_duration_ms};
use augur_loadtest::{Error as Refused, v1};
use augur_models::registry::{CanaryChange, CanaryLine, Promotion};
use augur_server::{ArmFigures, CanaryReport, Clock, Layout, SystemClock, canary_report};
use clap::Subcommand;
use serde::Serialize;

use super::{Aliased, Candidate, Opened, Place, Remark, aliases};
use crate::output::{Output, grouped, table};
use crate::{Error, Outcome};

/// Parts of the whole.
const WHOLE_PPM: f64 = 1e6;
/// Lines of the history that are told.
const TOLD_LINES: usize = 10;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Put a version on trial for a share of users, or change the share. A larger share moves nobody back.
    #[command(after_help = "\
Examples:
  augur models canary start churn 4 --share 5% --endpoint http://127.0.0.1:7401 --reason \"first trial\"
  augur models canary start churn 4 --share 25% --endpoint http://127.0.0.1:7401 --reason \"looks well\"
  augur models canary start churn 4 --share 25% --promote-after 7d --min-decisions 20000 \\
    --endpoint http://127.0.0.1:7401 --reason \"the last step\"

The server ends the trial by itself when a gate trips (section [canary] of augur.toml). It promotes by itself only with
--promote-after.")]
    Start(Start),
    /// Tell how the arms of a trial compare. Exit code 3 when the challenger is worse.
    #[command(after_help = "\
Examples:
  augur models canary status churn --endpoint http://127.0.0.1:7401
  augur models canary status churn --data data --json

From a server: what it decided since it started or the share began. From a data directory: all decisions at this share that
its log has, also while a server writes it.")]
    Status(Status),
    /// End a trial: the champion answers for everybody again.
    #[command(after_help = "\
Example:
  augur models canary stop churn 4 --endpoint http://127.0.0.1:7401 --reason \"too slow\"")]
    Stop(Stop),
    /// Promote the version on trial, unless a gate tripped. That ends the trial.
    #[command(after_help = "\
Example:
  augur models canary promote churn 4 --endpoint http://127.0.0.1:7401 --reason \"trial passed\"

The bounds are those of `augur models promote`, over the training reports.")]
    Promote(aliases::Promote),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Start {
    #[command(flatten)]
    candidate: Candidate,
    /// Share of users, like `5%` or `0.05`.
    #[arg(long, value_parser = share_ppm)]
    share: u32,
    /// Promote the version by itself, so long after this share began, like `7d`, if no gate tripped.
    #[arg(long, value_name = "TIME", value_parser = parse_duration_ms)]
    promote_after: Option<i64>,
    /// With that: not before so many decisions of its own at this share.
    #[arg(long, value_name = "N", default_value_t = 1_000, requires = "promote_after")]
    min_decisions: u64,
    #[command(flatten)]
    remark: Remark,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Stop {
    #[command(flatten)]
    candidate: Candidate,
    #[command(flatten)]
    remark: Remark,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    #[command(flatten)]
    aliased: Aliased,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Serialize)]
struct Changed {
    model: String,
    alias: String,
    version: u32,
    share: f64,
}

#[derive(Debug, Serialize)]
struct Standing {
    model: String,
    alias: String,
    /// None when no version is on trial.
    trial: Option<CanaryReport>,
    /// The latest changes, oldest first; only of a data directory.
    history: Vec<CanaryLine>,
}

pub(super) fn run(command: &Command, output: Output) -> Result<Outcome, Error> {
    match command {
        Command::Start(args) => {
            let promotion =
                args.promote_after.map(|after_ms| Promotion { after_ms, min_decisions: args.min_decisions });
            set(&args.place, &change(&args.candidate, args.share, promotion, &args.remark), output)
        }
        Command::Stop(args) => set(&args.place, &change(&args.candidate, 0, None, &args.remark), output),
        Command::Status(args) => {
            let standing = standing(&args.place.open()?, &args.aliased.model, &args.aliased.alias)?;
            let worse = standing.trial.as_ref().is_some_and(|trial| trial.worse);
            output.report(&standing, text)?;
            Ok(if worse { Outcome::Refused } else { Outcome::Fine })
        }
        Command::Promote(args) => promote(args, output),
    }
}

/// A change, and the model that it is of.
type Change<'a> = (&'a str, CanaryChange<'a>);

fn change<'a>(
    candidate: &'a Candidate,
    share_ppm: u32,
    promotion: Option<Promotion>,
    remark: &'a Remark,
) -> Change<'a> {
    let Candidate { model, version, alias } = candidate;
    let (version, at) = (*version, SystemClock::new().now());
    (model, CanaryChange { alias, version, share_ppm, promotion, who: &remark.by, why: &remark.reason, at })
}

fn set(place: &Place, (model, change): &Change<'_>, output: Output) -> Result<Outcome, Error> {
    apply(&place.open()?, model, change)?;
    tell(output, model, change)
}

fn tell(output: Output, model: &str, change: &CanaryChange<'_>) -> Result<Outcome, Error> {
    let changed = Changed {
        model: model.to_owned(),
        alias: change.alias.to_owned(),
        version: change.version,
        share: f64::from(change.share_ppm) / WHOLE_PPM,
    };
    output.report(&changed, |changed| {
        let Changed { model, alias, version, share } = changed;
        if *share == 0.0 {
            return format!("{model} {alias}: version {version} is on trial no more");
        }
        format!("{model} {alias}: version {version} answers for {} % of users", 100.0 * share)
    })?;
    Ok(Outcome::Fine)
}

fn apply(place: &Opened, model: &str, change: &CanaryChange<'_>) -> Result<(), Error> {
    match place {
        Opened::Directory { registry, directory } => {
            if change.share_ppm > 0 {
                aliases::check_scores(registry, directory, model, change.version)?;
            }
            Ok(registry.set_canary(model, change)?)
        }
        Opened::Server(endpoint) => {
            let request = v1::SetCanaryRequest {
                model: model.to_owned(),
                alias: change.alias.to_owned(),
                version: change.version,
                share_ppm: change.share_ppm,
                reason: change.why.to_owned(),
                moved_by: change.who.to_owned(),
                promote_after_ms: change.promotion.map(|promotion| promotion.after_ms),
                promote_min_decisions: change.promotion.map_or(0, |promotion| promotion.min_decisions),
            };
            super::ask(endpoint, async |client| {
                let refused = |status| Refused::call("ModelService/SetCanary", 0, &status);
                client.models().set_canary(request).await.map_err(refused)?;
                Ok(())
            })
        }
    }
}

fn standing(place: &Opened, model: &str, alias: &str) -> Result<Standing, Error> {
    let (trial, history) = match place {
        Opened::Directory { registry, directory } => {
            let config = directory.config()?;
            let layout = Layout::new(&config.data.dir);
            let canary = registry.canary(model, alias)?;
            let report = |canary| canary_report(&layout.decisions(), &canary, &config.canary);
            let mut history = registry.canary_history(model)?;
            history.retain(|line| line.alias == alias);
            let latest = history.split_off(history.len().saturating_sub(TOLD_LINES));
            (canary.map(report).transpose()?, latest)
        }
        Opened::Server(endpoint) => {
            let request = v1::GetCanaryRequest { model: model.to_owned(), alias: alias.to_owned() };
            let answer = super::ask(endpoint, async |client| {
                let refused = |status| Refused::call("ModelService/GetCanary", 0, &status);
                Ok(client.models().get_canary(request).await.map_err(refused)?.into_inner())
            })?;
            let told = Some(answer.canary_json).filter(|json| !json.is_empty());
            (told.map(|json| super::read_json(&json)).transpose()?, Vec::new())
        }
    };
    Ok(Standing { model: model.to_owned(), alias: alias.to_owned(), trial, history })
}

fn promote(args: &aliases::Promote, output: Output) -> Result<Outcome, Error> {
    let aliases::Promote { candidate: Candidate { model, version, alias }, force, place, .. } = args;
    let standing = standing(&place.open()?, model, alias)?;
    let Some(trial) = standing.trial.as_ref().filter(|trial| trial.version == *version) else {
        return Err(Error::Usage {
            problem: format!("version {version} of model `{model}` is not on trial at alias `{alias}`"),
            expected: "the version on trial; `augur models promote` points an alias at any other",
        });
    };
    if trial.worse && !force {
        output.report(&standing, |standing| {
            format!("{}not promoted: a gate tripped; `--force` promotes all the same", text(standing))
        })?;
        return Ok(Outcome::Refused);
    }
    aliases::promote(args, output)
}

fn text(standing: &Standing) -> String {
    let mut text = standing.trial.as_ref().map_or_else(
        || format!("{} {}: no version is on trial\n", standing.model, standing.alias),
        trial_text,
    );
    for line in &standing.history {
        let share = 100.0 * f64::from(line.share_ppm) / WHOLE_PPM;
        text.push_str(&format!(
            "{}. version {} at {share} %, by {}: {}\n",
            line.sequence, line.version, line.who, line.why
        ));
    }
    text
}

fn trial_text(trial: &CanaryReport) -> String {
    let row = |name: &str, version: u32, arm: &ArmFigures| {
        vec![
            name.to_owned(),
            version.to_string(),
            grouped(arm.decisions),
            grouped(arm.unscored),
            grouped(arm.fallbacks),
            grouped(arm.slow),
            format!("{:.4}", arm.mean_score),
            format!("{:.4}", arm.score_deviation),
        ]
    };
    let rows = [
        row("champion", trial.champion_version, &trial.champion),
        row("challenger", trial.version, &trial.challenger),
    ];
    let header = ["", "version", "decisions", "unscored", "fallbacks", "slow", "mean score", "deviation"];
    let mut text = format!(
        "{} {}: version {} on trial for {} % of users: {}\n{}\n",
        trial.model,
        trial.alias,
        trial.version,
        100.0 * f64::from(trial.share_ppm) / WHOLE_PPM,
        if trial.worse { "worse" } else { "no worse, as far as can be told" },
        table(&header, &rows)
    );
    for gate in &trial.gates {
        let verdict = if gate.tripped { "trips" } else { "holds" };
        text.push_str(&format!(
            "gate {}: {:.4} against {:.4}, p {:.2e}, level {:.2e}: {verdict}\n",
            gate.gate, gate.challenger, gate.champion, gate.p_value, gate.level
        ));
    }
    if !trial.worse {
        text.push_str(&format!("next look at {} decisions of the challenger\n", grouped(trial.next_look)));
    }
    if let Some(promotion) = trial.promotion {
        text.push_str(&format!(
            "is promoted by itself {} after this share began, with {} decisions of its own\n",
            format_duration_ms(promotion.after_ms),
            grouped(promotion.min_decisions)
        ));
    }
    text
}

/// `5%` or `0.05`, in parts per million, above nothing.
fn share_ppm(text: &str) -> Result<u32, String> {
    let (number, whole) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let share = number.trim().parse::<f64>().ok().map(|number| number / whole);
    let ppm = share.map(|share| (share * WHOLE_PPM).round()).filter(|ppm| (1.0..=WHOLE_PPM).contains(ppm));
    // Whole and in range, as was just seen.
    ppm.map(|ppm| ppm as u32)
        .ok_or_else(|| "expected a share above 0 up to 100%, like `5%` or `0.05`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_in_percent_and_as_parts_of_one() {
        for (text, expected) in [("5%", 50_000), ("0.05", 50_000), ("100%", 1_000_000), ("0.0001%", 1)] {
            assert_eq!(share_ppm(text), Ok(expected), "{text}");
        }
        for wrong in ["0", "101%", "1.5", "-1%", "five", "", "NaN"] {
            assert!(share_ppm(wrong).is_err(), "{wrong}");
        }
    }
}
