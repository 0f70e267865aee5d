//! `augur tasks`: the declared prediction tasks, checked and listed.
//!
//! Not here: training for them (`train`).

use std::path::{Path, PathBuf};

use augur_loadtest::domain::time::format_duration_ms;
use augur_server::Config;
use augur_server::offline::{HeldBack, Task, check_tasks};
use clap::Subcommand;
use serde::Serialize;

use super::train::FamilyName;
use crate::data::Directory;
use crate::output::{Output, table};
use crate::{Error, Outcome};

/// Check and list prediction tasks: what models are trained for.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check a file of tasks against the features and events beside it.
    #[command(after_help = "\
Examples:
  augur tasks check --data data
  augur tasks check config/tasks.toml --features config/features.toml --events config/events.toml

Exit code 3: the file has faults, each told with its line and column.")]
    Check(Place),
    /// List the tasks: what each foretells, of whom, as of when.
    #[command(after_help = "Example:\n  augur tasks list --data data --json")]
    List(Place),
}

/// Where the tasks are.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// The file; that of the data directory's configuration unless given.
    #[arg(required_unless_present = "data")]
    file: Option<PathBuf>,
    /// The data directory, whose features and events the tasks are checked against.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Other feature definitions; without a data directory, `features.toml` beside the file unless given.
    #[arg(long, value_name = "FILE")]
    features: Option<PathBuf>,
    /// Another taxonomy of events; without a data directory, `events.toml` beside the file if it is there.
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    kind: &'static str,
    positive_class: String,
    description: String,
    population: String,
    cutoffs: u16,
    every: String,
    test: String,
    family: Option<String>,
    seed: u64,
    exclude: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Checked {
    valid: bool,
    tasks: Vec<String>,
    faults: Vec<String>,
}

/// Runs the command.
pub(crate) fn run(command: &Command, output: Output) -> Result<Outcome, Error> {
    match command {
        Command::Check(place) => check(place, output),
        Command::List(place) => {
            let rows: Vec<Row> =
                check_tasks(&place.config()?, &FamilyName::words())?.iter().map(Row::of).collect();
            output.report(&rows, |rows| list_text(rows))?;
            Ok(Outcome::Fine)
        }
    }
}

fn check(place: &Place, output: Output) -> Result<Outcome, Error> {
    let (tasks, faults) = match check_tasks(&place.config()?, &FamilyName::words()) {
        Ok(tasks) => (tasks, Vec::new()),
        Err(augur_server::Error::Diagnostics(faults)) => (Vec::new(), faults),
        Err(other) => return Err(other.into()),
    };
    let checked = Checked {
        valid: faults.is_empty(),
        tasks: tasks.iter().map(|task| task.name.to_string()).collect(),
        faults: faults.iter().map(ToString::to_string).collect(),
    };
    output.report(&checked, |checked| {
        if checked.valid {
            format!("valid: {} tasks: {}", checked.tasks.len(), checked.tasks.join(", "))
        } else {
            checked.faults.join("\n")
        }
    })?;
    Ok(if checked.valid { Outcome::Fine } else { Outcome::Refused })
}

impl Place {
    fn config(&self) -> Result<Config, Error> {
        let mut config = match (&self.data, &self.file) {
            (Some(data), _) => Directory::open(data)?.config()?,
            (None, file) => {
                let folder = file.as_deref().and_then(Path::parent).unwrap_or_else(|| Path::new(""));
                let mut config = Config::default();
                config.data.features = folder.join("features.toml");
                config.data.events = Some(folder.join("events.toml")).filter(|path| path.is_file());
                config
            }
        };
        if let Some(file) = &self.file {
            config.data.tasks = Some(file.clone());
        }
        if let Some(features) = &self.features {
            features.clone_into(&mut config.data.features);
        }
        config.data.events = self.events.clone().or(config.data.events);
        Ok(config)
    }
}

impl Row {
    fn of(task: &Task) -> Self {
        let population = &task.population;
        let mut whom: Vec<String> = population
            .active_within_ms
            .map(|active_ms| format!("active within {}", format_duration_ms(active_ms)))
            .into_iter()
            .collect();
        whom.extend(population.has_done.iter().map(|event| format!("did {event}")));
        whom.extend(population.has_not_done.iter().map(|event| format!("never did {event}")));
        Self {
            name: task.name.to_string(),
            kind: task.kind.as_str(),
            positive_class: task.positive_class(),
            description: task.description.clone(),
            population: if whom.is_empty() { "everybody".to_owned() } else { whom.join(", ") },
            cutoffs: task.cutoffs,
            every: format_duration_ms(task.every_ms()),
            test: match task.held_back {
                HeldBack::Share(share) => format!("latest {:.0} %", share * 100.0),
                HeldBack::From(from) => format!("from {from}"),
            },
            family: task.family.as_ref().map(ToString::to_string),
            seed: task.seed,
            exclude: task.exclude.iter().map(ToString::to_string).collect(),
        }
    }
}

fn list_text(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "no tasks are declared; `tasks = \"tasks.toml\"` under [data] names a file of them"
            .to_owned();
    }
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                row.name.clone(),
                row.positive_class.clone(),
                row.population.clone(),
                format!("{} every {}", row.cutoffs, row.every),
                row.test.clone(),
                row.family.clone().unwrap_or_else(|| "logistic".to_owned()),
            ]
        })
        .collect();
    table(&["task", "positive", "of whom", "cutoffs", "test", "family"], &rows)
}
