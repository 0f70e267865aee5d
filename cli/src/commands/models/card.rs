//! `augur models card`: the model card of a version, as a page to read and as JSON.
//!
//! Not here: what the page says (`augur_models::card`).

use std::path::{Path, PathBuf};

use augur_models::registry::PublishedCard;
use serde::Serialize;

use super::{Opened, Place};
use crate::output::Output;
use crate::{Error, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The model's name, or NAME@VERSION.
    model: String,
    /// A version's number, or an alias; champion unless given.
    version: Option<String>,
    #[command(flatten)]
    place: Place,
    /// Write the page here: one file, without scripts or anything to load.
    #[arg(long, value_name = "FILE", required_unless_present = "out")]
    html: Option<PathBuf>,
    /// Write the card's JSON here.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Written {
    model: String,
    version: u32,
    written: Vec<PathBuf>,
}

pub(super) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let (name, selector) = args.asked()?;
    let card = card(&args.place.open()?, name, selector)?;
    let mut written = Vec::new();
    if let Some(path) = &args.html {
        std::fs::write(path, augur_models::card::html(&card)).map_err(Error::file("write", path))?;
        written.push(path.clone());
    }
    if let Some(path) = &args.out {
        write_json(&card, path)?;
        written.push(path.clone());
    }
    let report = Written { model: name.to_owned(), version: card.version, written };
    output.report(&report, |report| {
        let names: Vec<String> = report.written.iter().map(|path| path.display().to_string()).collect();
        format!("{} version {}: written {}", report.model, report.version, names.join(", "))
    })?;
    Ok(Outcome::Fine)
}

/// The card of the version that `selector` names.
fn card(place: &Opened, name: &str, selector: &str) -> Result<PublishedCard, Error> {
    match place {
        Opened::Directory { registry, .. } => {
            Ok(registry.full_card(name, registry.find(name, selector)?.version)?)
        }
        Opened::Server(endpoint) => {
            let answer = super::show::ask_for(endpoint, name, selector)?;
            Ok(PublishedCard::from_json(answer.card_json.as_bytes(), Path::new(endpoint))?)
        }
    }
}

impl Args {
    /// The name and the version or alias.
    fn asked(&self) -> Result<(&str, &str), Error> {
        match (self.model.split_once('@'), &self.version) {
            (Some((name, version)), None) => Ok((name, version)),
            (None, version) => Ok((&self.model, version.as_deref().unwrap_or("champion"))),
            (Some(_), Some(_)) => Err(Error::Usage {
                problem: format!("`{}` names a version, and another one follows", self.model),
                expected: "NAME@VERSION, or NAME and VERSION",
            }),
        }
    }
}

/// Writes a card's JSON, a newline at its end.
pub(crate) fn write_json(card: &PublishedCard, path: &std::path::Path) -> Result<(), Error> {
    let mut json = card.to_json()?;
    json.push(b'\n');
    std::fs::write(path, json).map_err(Error::file("write", path))
}
