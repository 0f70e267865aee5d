//! `augur models`: what is in the registry, which version an alias points at, and moving aliases.
//!
//! Works on a data directory, also while a server uses it, or through a running server. Not here: training.

mod aliases;
pub(crate) mod assess;
mod canary;
pub(crate) mod card;
mod compare;
mod import;
mod list;
mod monitor;
mod show;

use std::path::PathBuf;

use augur_loadtest::Client;
use augur_models::Registry;
use augur_server::Layout;
use clap::{Args, Subcommand};

use crate::data::Directory;
use crate::output::Output;
use crate::{Error, Outcome};

/// Look at models and move their aliases.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List every model with its versions, their quality out of time, and the aliases that point at them.
    #[command(after_help = "\
Examples:
  augur models list --data data
  augur models list --endpoint http://127.0.0.1:7401 --json")]
    List(Place),
    /// Show one version: its card, inputs, lineage, and who moved which alias to it and why.
    #[command(after_help = "\
Examples:
  augur models show churn --data data
  augur models show churn 3 --endpoint http://127.0.0.1:7401
  augur models show churn challenger --data data --json")]
    Show(show::Args),
    /// Write the model card of a version: a page with its plots, and JSON.
    #[command(after_help = "\
Examples:
  augur models card churn --data data --html churn.html
  augur models card churn@3 --endpoint http://127.0.0.1:7401 --html churn-3.html --out churn-3.json")]
    Card(card::Args),
    /// Compare two versions: inputs, definitions, weights, importance, figures, parameters, lineage.
    #[command(after_help = "\
Examples:
  augur models diff churn champion 4 --data data
  augur models diff churn 2 3 --endpoint http://127.0.0.1:7401 --json")]
    Diff(compare::Args),
    /// Point `champion` at a version, if it passes the gates. What cannot score the served features is refused.
    #[command(after_help = "\
Examples:
  augur models promote churn 3 --data data --reason \"better out of time\"
  augur models promote churn 3 --endpoint http://127.0.0.1:7401 --min-auc-gain 0.002 --max-ece 0.05 --reason \"weekly\"
  augur models promote churn 3 --data data --max-ece 0.05 --force --reason \"the old one is broken\"

With --endpoint the server decides by it from the next request on; with --data a running server takes it up at its next
reload. A gate that is not passed moves nothing, and the exit code is 3.")]
    Promote(aliases::Promote),
    /// Point an alias back at the version it had before; again, and it goes a step further back.
    #[command(after_help = "\
Examples:
  augur models rollback churn --endpoint http://127.0.0.1:7401 --reason \"too many coupons\"
  augur models rollback churn --alias challenger --data data --reason \"not ready\"

A server keeps the last two versions of every alias that its policy asks loaded: a rollback reads no model from disk.")]
    Rollback(aliases::Rollback),
    /// Point any alias at a version. With `--endpoint` the server decides with it from the next request on.
    #[command(after_help = "\
Examples:
  augur models alias churn champion 3 --data data --reason \"better out of time\"
  augur models alias churn shadow 3 --endpoint http://127.0.0.1:7401 --reason \"to be watched\"")]
    Alias(aliases::Alias),
    /// Publish a model that LightGBM, scikit-learn or another library trained, from its LightGBM text or ONNX file.
    #[command(after_help = "\
Examples:
  augur models import model.txt --name churn --positive-class \"no purchase within 60 d\" --data data
  augur models import churn.onnx --name churn --positive-class churned --features columns.toml --data data
  augur models import model.txt --name churn --positive-class churned --calibrator platt:-0.9,0.05 --out imported

Its columns are matched to the served features by name. Every row takes the same way through every tree as in its own
library; docs/models.md says what is exact and what is refused.")]
    Import(import::Args),
    /// Measure a model on a table of rows with labels: any version, also of other libraries, with the figures of a training.
    #[command(after_help = "\
Examples:
  augur models assess churn --table held_back.csv --label churned --data data
  augur models assess churn@3 --table held_back.parquet --label churned --split month --group user --data data --json
  augur models assess model/model.augurmdl --table visits.csv.gz --label bought

The table has a column for each input of the model (augur models show), by its name.")]
    Assess(assess::Args),
    /// Put a version on trial for a share of users, look how it fares, end the trial.
    #[command(subcommand)]
    Canary(canary::Command),
    /// Compare what models read and said in decisions with their training, and with what came of it.
    #[command(after_help = "\
Examples:
  augur models monitor --data data
  augur models monitor --data data --model churn --since 7d --json
  augur models monitor --endpoint http://127.0.0.1:7401 --since 7d
  augur models monitor --data data --model churn --version 3

Counts of each person the latest decision. A measure that is out of what chance allows, and large enough to matter (section
[monitor] of augur.toml), is drift: the exit code is 3 then. Outcomes are those that are certain: the horizon of the
model's labels is past. A directory that a server is using is its own: ask the server then.")]
    Monitor(monitor::Args),
}

/// Where the registry is.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The data directory; a running server takes changes up at its next reload.
    #[arg(long, value_name = "DIR", conflicts_with = "endpoint", required_unless_present = "endpoint")]
    data: Option<PathBuf>,
    /// A running server, which uses changes at once.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
}

/// One alias of a model.
#[derive(Debug, Args)]
struct Aliased {
    /// The model's name.
    model: String,
    /// The alias.
    #[arg(long, default_value = "champion")]
    alias: String,
}

/// A version beside the one that an alias points at.
#[derive(Debug, Args)]
struct Candidate {
    /// The model's name.
    model: String,
    /// The version.
    version: u32,
    /// The alias.
    #[arg(long, default_value = "champion")]
    alias: String,
}

/// What goes into an alias's history.
#[derive(Debug, Args)]
pub(crate) struct Remark {
    /// Why; it goes into the alias's history.
    #[arg(long)]
    reason: String,
    /// Who; the user of this shell unless given.
    #[arg(long, env = "USER", default_value = "unknown")]
    by: String,
}

/// A registry that can be asked.
enum Opened {
    Directory { registry: Registry, directory: Directory },
    Server(String),
}

impl Place {
    fn open(&self) -> Result<Opened, Error> {
        let Some(data) = &self.data else {
            return Ok(Opened::Server(self.endpoint.clone().unwrap_or_default()));
        };
        let directory = Directory::open(data)?;
        let layout = Layout::new(&directory.config()?.data.dir);
        Ok(Opened::Directory { registry: Registry::open(layout.models())?, directory })
    }
}

/// Asks a server one thing.
fn ask<Answer>(
    endpoint: &str,
    question: impl AsyncFnOnce(Client) -> Result<Answer, augur_loadtest::Error>,
) -> Result<Answer, Error> {
    super::block_on(async {
        let client = Client::connect(endpoint, 1).await?;
        Ok(question(client).await?)
    })
}

/// What a server told as JSON.
fn read_json<Answer: serde::de::DeserializeOwned>(text: &str) -> Result<Answer, Error> {
    serde_json::from_str(text).map_err(|error| Error::Usage {
        problem: format!("the server's answer cannot be read: {error}"),
        expected: "a server of this version of Augur",
    })
}

/// Runs the command.
pub(crate) fn run(command: &Command, output: Output) -> Result<Outcome, Error> {
    match command {
        Command::List(place) => list::run(place, output),
        Command::Show(args) => show::run(args, output),
        Command::Card(args) => card::run(args, output),
        Command::Diff(args) => compare::run(args, output),
        Command::Promote(args) => aliases::promote(args, output),
        Command::Rollback(args) => aliases::rollback(args, output),
        Command::Alias(args) => aliases::alias(args, output),
        Command::Import(args) => import::run(args, output),
        Command::Assess(args) => assess::run(args, output),
        Command::Canary(command) => canary::run(command, output),
        Command::Monitor(args) => monitor::run(args, output),
    }
}
