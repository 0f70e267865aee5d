//! `augur models list`: every version, how good it is out of time, and what points at it.
//!
//! Not here: one version in full (`show`).

use std::collections::BTreeMap;

use augur_loadtest::{Error as Refused, v1};
use augur_models::Registry;
use serde::Serialize;
use serde_json::Value;

use super::{Opened, Place};
use crate::output::{Output, table};
use crate::{Error, Outcome};

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
    out_of_time: Value,
}

pub(super) fn run(place: &Place, output: Output) -> Result<Outcome, Error> {
    let versions = match place.open()? {
        Opened::Directory { registry, .. } => of_directory(&registry)?,
        Opened::Server(endpoint) => of_server(&endpoint)?,
    };
    output.report(&versions, |versions| text(versions))?;
    Ok(Outcome::Fine)
}

fn of_directory(registry: &Registry) -> Result<Vec<Version>, Error> {
    let mut versions = Vec::new();
    for name in registry.names()? {
        versions.extend(versions_of(registry, &name)?);
    }
    Ok(versions)
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
        let aliases = aliases_of(target.version);
        versions.insert(target.version, gone(name, target.version, target.artifact.to_string(), aliases));
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

fn gone(model: &str, version: u32, artifact: String, aliases: Vec<String>) -> Version {
    Version {
        model: model.to_owned(),
        version,
        artifact,
        missing: true,
        task: None,
        published_by: None,
        published_at: None,
        aliases,
        out_of_time: Value::Null,
    }
}

fn of_server(endpoint: &str) -> Result<Vec<Version>, Error> {
    let answer = super::ask(endpoint, async |client| {
        Ok(client
            .models()
            .list_models(v1::ListModelsRequest {})
            .await
            .map_err(|status| Refused::call("ModelService/ListModels", 0, &status))?
            .into_inner())
    })?;
    let mut versions = Vec::new();
    for model in answer.models {
        let mut of_model = BTreeMap::new();
        let aliases_of = |version: u32| -> Vec<String> {
            let pointing = model.aliases.iter().filter(|alias| alias.version == version);
            pointing.map(|alias| alias.alias.clone()).collect()
        };
        for alias in &model.aliases {
            let aliases = aliases_of(alias.version);
            of_model.insert(alias.version, gone(&model.name, alias.version, String::new(), aliases));
        }
        for version in model.versions {
            let card: Value = super::read_json(&version.card_json)?;
            let text = |key: &str| card.get(key).and_then(Value::as_str).map(str::to_owned);
            let listed = Version {
                model: model.name.clone(),
                version: version.version,
                artifact: version.artifact,
                missing: false,
                task: text("task"),
                published_by: text("published_by"),
                published_at: text("published_at"),
                aliases: aliases_of(version.version),
                out_of_time: card.pointer("/report/out_of_time").cloned().unwrap_or_default(),
            };
            of_model.insert(version.version, listed);
        }
        versions.extend(of_model.into_values());
    }
    Ok(versions)
}

fn text(versions: &[Version]) -> String {
    if versions.is_empty() {
        return "no models yet; next: augur train --task conversion --data DIR".to_owned();
    }
    let figure = |version: &Version, name: &str| {
        let figure = version.out_of_time.get(name).and_then(Value::as_f64);
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
