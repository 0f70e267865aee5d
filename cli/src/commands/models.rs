//! `augur models`: what is in the registry, and which version an alias points at.
//!
//! Works on a data directory, also while a server uses it, or through a running server. Not here: training.

use std::collections::BTreeMap;
use std::path::PathBuf;

use augur_loadtest::{Client, v1};
use augur_models::Registry;
use augur_server::{Clock, Layout, SystemClock};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::data::Directory;
use crate::output::{Output, table};
use crate::{Error, Outcome};

/// Look at models and move their aliases.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List every model with its versions, their quality out of time, and the aliases that point at them.
    #[command(after_help = "Example:\n  augur models list --data data")]
    List {
        /// The data directory.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
    /// Point an alias at a version. With `--endpoint` the server decides with it from the next request on.
    #[command(after_help = "\
Examples:
  augur models alias churn champion 3 --data data --reason \"better out of time\"
  augur models alias churn champion 3 --endpoint http://127.0.0.1:7401 --reason \"better out of time\"")]
    Alias(Alias),
}

#[derive(Debug, Args)]
pub(crate) struct Alias {
    /// The model's name.
    model: String,
    /// The alias: champion, challenger, shadow or any other name that a policy uses.
    alias: String,
    /// The version to point at.
    version: u32,
    /// Why; it goes into the alias's history.
    #[arg(long)]
    reason: String,
    /// Who; the user of this shell unless given.
    #[arg(long, env = "USER", default_value = "unknown")]
    by: String,
    /// Change the registry of this data directory; a running server takes it up at its next reload.
    #[arg(long, value_name = "DIR", conflicts_with = "endpoint", required_unless_present = "endpoint")]
    data: Option<PathBuf>,
    /// Have a running server change its registry and use it at once.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
}

#[derive(Debug, Serialize)]
struct Version {
    model: String,
    version: u32,
    artifact: String,
    /// An alias points at it, but its file is gone.
    missing: bool,
    task: Option<String>,
    published_by: Option<String>,
    published_at: Option<String>,
    aliases: Vec<String>,
    out_of_time: serde_json::Value,
}

#[derive(Debug, Serialize)]
struct Moved {
    model: String,
    alias: String,
    previous_version: Option<u32>,
    version: u32,
}

/// Runs the command.
pub(crate) fn run(command: &Command, output: Output) -> Result<Outcome, Error> {
    match command {
        Command::List { data } => list(&registry(data)?, output)?,
        Command::Alias(args) => {
            let previous = move_alias(args)?;
            let moved = Moved {
                model: args.model.clone(),
                alias: args.alias.clone(),
                previous_version: previous,
                version: args.version,
            };
            output.report(&moved, |moved| {
                let before =
                    moved.previous_version.map_or("nothing".to_owned(), |version| version.to_string());
                format!("{} {}: {before} -> {}", moved.model, moved.alias, moved.version)
            })?;
        }
    }
    Ok(Outcome::Fine)
}

fn registry(data: &std::path::Path) -> Result<Registry, Error> {
    let config = Directory::open(data)?.config()?;
    Ok(Registry::open(Layout::new(&config.data.dir).models())?)
}

fn list(registry: &Registry, output: Output) -> Result<(), Error> {
    let mut versions = Vec::new();
    for name in registry.names()? {
        versions.extend(versions_of(registry, &name)?);
    }
    output.report(&versions, |versions| list_text(versions))
}

/// Every version that is there, and those that an alias points at although they are gone, oldest first.
fn versions_of(registry: &Registry, name: &str) -> Result<Vec<Version>, Error> {
    let aliases = registry.aliases(name)?;
    let aliases_of = |version: u32| {
        let pointing = aliases.iter().filter(|(_, target)| target.version == version);
        pointing.map(|(alias, _)| alias.clone()).collect()
    };
    let mut versions = BTreeMap::new();
    for (_, target) in &aliases {
        versions.insert(
            target.version,
            Version {
                model: name.to_owned(),
                version: target.version,
                artifact: target.artifact.to_string(),
                missing: true,
                task: None,
                published_by: None,
                published_at: None,
                aliases: aliases_of(target.version),
                out_of_time: serde_json::Value::Null,
            },
        );
    }
    for model in registry.versions(name)? {
        let card = registry.card(name, model.version)?;
        versions.insert(
            model.version,
            Version {
                model: name.to_owned(),
                version: model.version,
                artifact: model.artifact.to_string(),
                missing: false,
                task: Some(card.task),
                published_by: Some(card.card.published_by),
                published_at: Some(card.card.published_at.to_string()),
                aliases: aliases_of(model.version),
                out_of_time: card.report.get("out_of_time").cloned().unwrap_or_default(),
            },
        );
    }
    Ok(versions.into_values().collect())
}

fn list_text(versions: &[Version]) -> String {
    if versions.is_empty() {
        return "no models yet; next: augur train --task conversion --data DIR".to_owned();
    }
    let figure = |version: &Version, name: &str| {
        let figure = version.out_of_time.get(name).and_then(serde_json::Value::as_f64);
        figure.map_or("-".to_owned(), |figure| format!("{figure:.3}"))
    };
    let row = |version: &Version| {
        vec![
            version.model.clone(),
            version.version.to_string(),
            version.aliases.join(" "),
            figure(version, "roc_auc"),
            figure(version, "ece"),
            version.published_at.clone().unwrap_or_else(|| "its file is gone".to_owned()),
            version.artifact.chars().take(12).collect(),
        ]
    };
    let rows: Vec<Vec<String>> = versions.iter().map(row).collect();
    table(&["model", "version", "aliases", "ROC-AUC", "ECE", "published", "artifact"], &rows)
}

fn move_alias(args: &Alias) -> Result<Option<u32>, Error> {
    let Alias { model, alias, version, reason, by, data, endpoint } = args;
    if let Some(data) = data {
        let registry = registry(data)?;
        let previous = registry.resolve(model, alias)?.map(|previous| previous.version);
        registry.set_alias(model, alias, *version, by, reason, SystemClock::new().now())?;
        return Ok(previous);
    }
    let request = v1::SetAliasRequest {
        model: model.clone(),
        alias: alias.clone(),
        version: *version,
        reason: reason.clone(),
        moved_by: by.clone(),
    };
    super::block_on(async {
        let client = Client::connect(endpoint.as_deref().unwrap_or_default(), 1).await?;
        let refused = |status| augur_loadtest::Error::call("ModelService/SetAlias", 0, &status);
        let answer = client.models().set_alias(request).await.map_err(refused)?;
        Ok(Some(answer.into_inner().previous_version).filter(|version| *version != 0))
    })
}
