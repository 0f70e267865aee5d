//! `augur events`: the taxonomy, checked and listed; events taken back; the quarantine.
//!
//! Not here: what a taxonomy means (`augur_server::Taxonomy`).

mod place;
mod quarantine;
mod retract;
mod suggest;

use std::path::{Path, PathBuf};

use augur_loadtest::domain::Diagnostic;
use augur_server::{Config, DeclaredEvent, Taxonomy};
use clap::Subcommand;
use serde::Serialize;

use super::policy::Fault;
use crate::data::Directory;
use crate::output::{Output, table};
use crate::{Error, Outcome};

/// Longest taxonomy that is read, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Which events may come, which were set aside, and which are taken back.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check a taxonomy. Exit code 3 when it has faults.
    #[command(after_help = "Example:\n  augur events check events.toml")]
    Check {
        /// The file.
        file: PathBuf,
    },
    /// List the declared events: other names, properties, what is required, dropped or deprecated.
    #[command(
        after_help = "Examples:\n  augur events list --data data\n  augur events list --file events.toml --json"
    )]
    #[group(id = "source", required = true, multiple = false)]
    List {
        /// The data directory whose configuration names the taxonomy.
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// The file itself.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Take an accepted event back: a refund, a bot, a duplicate found later. Exit code 3 when it cannot be.
    #[command(after_help = "\
Example:
  augur events retract --user-id u-1 --message-id order-17 --endpoint http://127.0.0.1:7401")]
    Retract(retract::Retract),
    /// Propose a taxonomy that takes what is stored: names, types, shares, and what looks misspelt or personal.
    #[command(after_help = "\
Example:
  augur events suggest --data data > events.toml
  augur events check events.toml

Read it before you use it: what is not declared can be quarantined or dropped then. To look at a file of events, import
it into a directory of its own first (`augur import`).")]
    Suggest(suggest::Suggest),
    /// Events that were set aside.
    #[command(subcommand)]
    Quarantine(quarantine::Command),
}

#[derive(Debug, Serialize)]
struct Report {
    valid: bool,
    /// Identifies what is accepted and kept.
    taxonomy: String,
    events: Vec<Event>,
}

#[derive(Debug, Serialize)]
struct Faulty {
    valid: bool,
    faults: Vec<Fault>,
}

#[derive(Debug, Serialize)]
struct Event {
    name: String,
    description: String,
    aliases: Vec<String>,
    schema_version: u32,
    deprecated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced_by: Option<String>,
    retractable: bool,
    properties: Vec<Property>,
}

#[derive(Debug, Serialize)]
struct Property {
    name: String,
    r#type: String,
    unit: String,
    required: bool,
    sensitive: bool,
    deprecated: bool,
    added_in: u32,
    renamed_from: Vec<String>,
}

impl From<&DeclaredEvent> for Event {
    fn from(event: &DeclaredEvent) -> Self {
        let texts = |texts: &[std::sync::Arc<str>]| texts.iter().map(ToString::to_string).collect();
        let properties = event.properties.iter().map(|property| Property {
            name: property.name.to_string(),
            r#type: property.value_type.to_string(),
            unit: property.unit.clone(),
            required: property.required,
            sensitive: property.sensitive,
            deprecated: property.deprecated,
            added_in: property.added_in,
            renamed_from: texts(&property.renamed_from),
        });
        Self {
            name: event.name.to_string(),
            description: event.description.clone(),
            aliases: texts(&event.aliases),
            schema_version: event.schema_version,
            deprecated: event.deprecated,
            replaced_by: event.replaced_by.as_ref().map(ToString::to_string),
            retractable: event.retractable,
            properties: properties.collect(),
        }
    }
}

/// Runs the command.
pub(crate) fn run(command: &Command, output: Output) -> Result<Outcome, Error> {
    match command {
        Command::Check { file } => check(file, output),
        Command::Retract(args) => retract::run(args, output),
        Command::Suggest(args) => suggest::run(args, output),
        Command::Quarantine(command) => quarantine::run(command, output),
        Command::List { data, file } => {
            let file = match (data, file) {
                (Some(data), _) => declared_in(&Directory::open(data)?.config()?)?,
                (None, file) => file.clone().unwrap_or_default(),
            };
            list(&file, output)
        }
    }
}

/// A word of the wire without what it begins with.
fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_owned()
}

fn declared_in(config: &Config) -> Result<PathBuf, Error> {
    config.data.events.clone().ok_or_else(|| Error::Usage {
        problem: "the configuration names no taxonomy, so any event is taken as it is".to_owned(),
        expected: "`events = \"events.toml\"` under `[data]`, or `--file FILE`",
    })
}

fn read(file: &Path) -> Result<Result<Taxonomy, Vec<Diagnostic>>, Error> {
    let size = std::fs::metadata(file).map_err(Error::file("read", file))?.len();
    if size > MAX_FILE_BYTES {
        let problem = format!("it has {size} bytes");
        let expected = format!("at most {MAX_FILE_BYTES}");
        return Err(Error::Input { path: file.to_owned(), problem, expected });
    }
    let text = std::fs::read_to_string(file).map_err(Error::file("read", file))?;
    Ok(Taxonomy::parse(&file.display().to_string(), &text))
}

fn report(taxonomy: &Taxonomy) -> Report {
    let events = taxonomy.events().map(Event::from).collect();
    Report { valid: true, taxonomy: taxonomy.hash().to_string(), events }
}

fn refuse(faults: Vec<Diagnostic>, output: Output) -> Result<Outcome, Error> {
    let lines: String = faults.iter().map(|fault| format!("{fault}\n")).collect();
    let faults = faults.into_iter().map(Fault::from).collect();
    output.report(&Faulty { valid: false, faults }, |_| lines)?;
    Ok(Outcome::Refused)
}

fn check(file: &Path, output: Output) -> Result<Outcome, Error> {
    match read(file)? {
        Err(faults) => refuse(faults, output),
        Ok(taxonomy) => {
            output.report(&report(&taxonomy), |report| {
                let properties: usize = report.events.iter().map(|event| event.properties.len()).sum();
                format!(
                    "valid: {} events with {properties} properties, taxonomy {}",
                    report.events.len(),
                    taxonomy.hash().short()
                )
            })?;
            Ok(Outcome::Fine)
        }
    }
}

fn list(file: &Path, output: Output) -> Result<Outcome, Error> {
    match read(file)? {
        Err(faults) => refuse(faults, output),
        Ok(taxonomy) => {
            output.report(&report(&taxonomy), |report| {
                let rows: Vec<_> = report.events.iter().flat_map(rows).collect();
                table(&["event / property", "type", "unit", "notes"], &rows)
            })?;
            Ok(Outcome::Fine)
        }
    }
}

/// An event's row, and one for each of its properties.
fn rows(event: &Event) -> Vec<Vec<String>> {
    let mut notes = Vec::new();
    if !event.aliases.is_empty() {
        notes.push(format!("also {}", event.aliases.join(", ")));
    }
    if event.schema_version > 1 {
        notes.push(format!("version {}", event.schema_version));
    }
    if event.deprecated {
        let instead = event.replaced_by.iter().map(|name| format!(", send {name}"));
        notes.push(format!("deprecated{}", instead.collect::<String>()));
    }
    if event.retractable {
        notes.push("retractable".to_owned());
    }
    let mut rows = vec![vec![event.name.clone(), String::new(), String::new(), notes.join("; ")]];
    rows.extend(event.properties.iter().map(property_row));
    rows
}

fn property_row(property: &Property) -> Vec<String> {
    let mut notes = Vec::new();
    let flags = [
        (property.required, "required"),
        (property.sensitive, "dropped"),
        (property.deprecated, "deprecated"),
    ];
    notes.extend(flags.iter().filter(|(set, _)| *set).map(|(_, word)| (*word).to_owned()));
    if property.added_in > 1 {
        notes.push(format!("since version {}", property.added_in));
    }
    if !property.renamed_from.is_empty() {
        notes.push(format!("was {}", property.renamed_from.join(", ")));
    }
    vec![format!("  .{}", property.name), property.r#type.clone(), property.unit.clone(), notes.join("; ")]
}
