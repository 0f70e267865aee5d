//! `augur models promote`, `rollback` and `alias`: the moves of aliases.
//!
//! Not here: what a move does to a server that decides (`augur_server`).

use augur_loadtest::{Error as Refused, v1};
use augur_models::registry::{GateOutcome, Gates};
use augur_models::{Registry, Scorer};
use augur_server::{Clock, SystemClock};
use serde::Serialize;

use super::{Aliased, Candidate, Opened, Place, Remark};
use crate::data::Directory;
use crate::output::Output;
use crate::{Error, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Promote {
    #[command(flatten)]
    pub(super) candidate: Candidate,
    /// Least gain in ROC-AUC out of time over the version that the alias points at now; may be negative.
    #[arg(long, value_name = "GAIN", allow_hyphen_values = true)]
    min_auc_gain: Option<f64>,
    /// Largest expected calibration error out of time.
    #[arg(long, value_name = "ECE")]
    max_ece: Option<f64>,
    /// Move the alias whatever the gates find.
    #[arg(long)]
    pub(super) force: bool,
    #[command(flatten)]
    remark: Remark,
    #[command(flatten)]
    pub(super) place: Place,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Rollback {
    #[command(flatten)]
    aliased: Aliased,
    #[command(flatten)]
    remark: Remark,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Alias {
    /// The model's name.
    model: String,
    /// The alias: champion, challenger, shadow or any other name that a policy uses.
    alias: String,
    /// The version to point at.
    version: u32,
    #[command(flatten)]
    remark: Remark,
    #[command(flatten)]
    place: Place,
}

/// How an alias moved, or why it did not.
#[derive(Debug, Serialize)]
struct Moved {
    model: String,
    alias: String,
    moved: bool,
    previous_version: Option<u32>,
    version: u32,
    gates: Vec<GateOutcome>,
}

impl Moved {
    fn tell(self, output: Output) -> Result<Outcome, Error> {
        output.report(&self, |moved| {
            let mut text = String::new();
            for gate in &moved.gates {
                text.push_str(&format!("{gate}\n"));
            }
            let before = moved.previous_version.map_or("nothing".to_owned(), |version| version.to_string());
            let (model, alias, version) = (&moved.model, &moved.alias, moved.version);
            text.push_str(&if moved.moved {
                format!("{model} {alias}: {before} -> {version}")
            } else {
                format!("{model} {alias} stays at {before}; `--force` moves it all the same")
            });
            text
        })?;
        Ok(if self.moved { Outcome::Fine } else { Outcome::Refused })
    }
}

pub(super) fn promote(args: &Promote, output: Output) -> Result<Outcome, Error> {
    let gates = Gates { min_roc_auc_gain: args.min_auc_gain, max_ece: args.max_ece };
    let Candidate { model, version, alias } = &args.candidate;
    let version = *version;
    let moved = |moved, previous_version, gates| Moved {
        model: model.clone(),
        alias: alias.clone(),
        moved,
        previous_version,
        version,
        gates,
    };
    match args.place.open()? {
        Opened::Directory { registry, directory } => {
            let candidate = registry.card(model, version)?;
            let present = registry.resolve(model, alias)?;
            let present = present.map(|present| registry.card(model, present.version)).transpose()?;
            let previous = present.as_ref().map(|card| card.version);
            let found = gates.check(&candidate.report, present.as_ref().map(|card| &card.report));
            if !args.force && found.iter().any(|gate| !gate.passed) {
                return moved(false, previous, found).tell(output);
            }
            check_scores(&registry, &directory, model, version)?;
            set(&registry, model, alias, version, &args.remark)?;
            moved(true, previous, found).tell(output)
        }
        Opened::Server(endpoint) => {
            let answer = super::ask(&endpoint, async |client| {
                let request = v1::PromoteModelRequest {
                    model: model.clone(),
                    alias: alias.clone(),
                    version,
                    reason: args.remark.reason.clone(),
                    moved_by: args.remark.by.clone(),
                    min_roc_auc_gain: gates.min_roc_auc_gain,
                    max_ece: gates.max_ece,
                    force: args.force,
                };
                Ok(client
                    .models()
                    .promote_model(request)
                    .await
                    .map_err(|status| Refused::call("ModelService/PromoteModel", 0, &status))?
                    .into_inner())
            })?;
            let found = answer.gates.into_iter().map(|gate| GateOutcome {
                gate: gate.gate,
                found: gate.found,
                bound: gate.bound,
                passed: gate.passed,
            });
            moved(answer.moved, some(answer.previous_version), found.collect()).tell(output)
        }
    }
}

pub(super) fn rollback(args: &Rollback, output: Output) -> Result<Outcome, Error> {
    let Rollback { aliased: Aliased { model, alias }, remark, place } = args;
    let (previous_version, version) = match place.open()? {
        Opened::Directory { registry, .. } => {
            let previous = registry.resolve(model, alias)?.map(|previous| previous.version);
            let now = SystemClock::new().now();
            (previous, registry.rollback(model, alias, &remark.by, &remark.reason, now)?.version)
        }
        Opened::Server(endpoint) => {
            let answer = super::ask(&endpoint, async |client| {
                let request = v1::RollbackAliasRequest {
                    model: model.clone(),
                    alias: alias.clone(),
                    reason: remark.reason.clone(),
                    moved_by: remark.by.clone(),
                };
                Ok(client
                    .models()
                    .rollback_alias(request)
                    .await
                    .map_err(|status| Refused::call("ModelService/RollbackAlias", 0, &status))?
                    .into_inner())
            })?;
            (some(answer.previous_version), answer.version)
        }
    };
    let (model, alias) = (model.clone(), alias.clone());
    Moved { model, alias, moved: true, previous_version, version, gates: Vec::new() }.tell(output)
}

pub(super) fn alias(args: &Alias, output: Output) -> Result<Outcome, Error> {
    let Alias { model, alias, version, remark, place } = args;
    let previous_version = match place.open()? {
        Opened::Directory { registry, .. } => {
            let previous = registry.resolve(model, alias)?.map(|previous| previous.version);
            set(&registry, model, alias, *version, remark)?;
            previous
        }
        Opened::Server(endpoint) => {
            let answer = super::ask(&endpoint, async |client| {
                let request = v1::SetAliasRequest {
                    model: model.clone(),
                    alias: alias.clone(),
                    version: *version,
                    reason: remark.reason.clone(),
                    moved_by: remark.by.clone(),
                };
                Ok(client
                    .models()
                    .set_alias(request)
                    .await
                    .map_err(|status| Refused::call("ModelService/SetAlias", 0, &status))?
                    .into_inner())
            })?;
            some(answer.previous_version)
        }
    };
    let (model, alias) = (model.clone(), alias.clone());
    Moved { model, alias, moved: true, previous_version, version: *version, gates: Vec::new() }.tell(output)
}

fn set(registry: &Registry, model: &str, alias: &str, version: u32, remark: &Remark) -> Result<(), Error> {
    registry.set_alias(model, alias, version, &remark.by, &remark.reason, SystemClock::new().now())?;
    Ok(())
}

/// Refuses a version that cannot score the features that the directory's definitions declare.
pub(super) fn check_scores(
    registry: &Registry,
    directory: &Directory,
    model: &str,
    version: u32,
) -> Result<(), Error> {
    let schema = augur_server::check_features(&directory.config()?)?;
    let artifact = registry.load(&registry.find(model, &version.to_string())?)?;
    Scorer::new(&artifact, schema.feature_set())?;
    Ok(())
}

/// On the wire, 0 is no version.
fn some(version: u32) -> Option<u32> {
    Some(version).filter(|version| *version != 0)
}
