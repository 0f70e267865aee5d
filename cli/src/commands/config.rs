//! `augur config`: what can be set, what it means, and whether a file is good.
//!
//! Not here: what the settings do, or how a file is read (`augur_server::config`).

use std::path::PathBuf;

use augur_server::Config;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::serve;
use crate::data::Directory;
use crate::output::{Output, table};
use crate::{Error, Outcome};

/// One row for each key, with its default, its bounds and its meaning.
const REFERENCE: &str = include_str!("../../../docs/configuration.md");

/// Check a configuration, print the default one, or explain a setting.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check a configuration and everything that it names; exit code 3 when something has faults.
    #[command(after_help = "Example:\n  augur config check --config /etc/augur/augur.toml")]
    Check(Place),
    /// Print the shipped configuration: every setting with its default and what it is for.
    #[command(after_help = "Example:\n  augur config print-default > augur.toml")]
    PrintDefault,
    /// Say what a setting means, its default and bounds, and what it is set to.
    #[command(
        after_help = "Examples:\n  augur config explain server.listen\n  augur config explain tls\n  augur config explain access.required --config augur.toml"
    )]
    Explain(Explain),
}

/// Which configuration.
#[derive(Debug, Args)]
#[group(id = "source", required = true, multiple = false)]
pub(crate) struct Place {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A directory with its own augur.toml.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// A key such as `server.listen`, or a section such as `server`.
    key: String,
    /// Say what this file sets it to, too.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Setting {
    key: String,
    default: String,
    bounds: String,
    meaning: String,
    environment_variable: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_environment: Option<String>,
}

/// Runs the command.
pub(crate) fn run(command: &Command, output: Output) -> Result<Outcome, Error> {
    match command {
        Command::Check(place) => serve::check_config(
            match (&place.config, &place.data) {
                (_, Some(data)) => Directory::open(data).and_then(|directory| directory.config()),
                (file, None) => Config::load(file.as_deref()).map_err(Error::Server),
            },
            output,
        ),
        Command::PrintDefault => {
            output.report(&augur_server::config::SHIPPED, |text| (*text).to_owned())?;
            Ok(Outcome::Fine)
        }
        Command::Explain(args) => explain(args, output),
    }
}

fn explain(args: &Explain, output: Output) -> Result<Outcome, Error> {
    let file = args.config.as_deref().map(|path| {
        let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
        // What is wrong with it is told as by `check`.
        Config::load(Some(path))?;
        Ok::<_, Error>(text.parse::<toml::Table>().unwrap_or_default())
    });
    let file = file.transpose()?;
    let of_section = format!("{}.", args.key);
    let named = |setting: &Setting| setting.key == args.key || setting.key.starts_with(&of_section);
    let mut found: Vec<Setting> = settings().filter(named).collect();
    if found.is_empty() {
        return Err(unknown(&args.key));
    }
    for setting in &mut found {
        let (section, key) = setting.key.split_once('.').unwrap_or_default();
        setting.in_file = file.as_ref().and_then(|file| Some(file.get(section)?.get(key)?.to_string()));
        setting.in_environment = std::env::var(&setting.environment_variable).ok();
    }
    output.report(&found, |found| match found.as_slice() {
        [one] => described(one),
        many => {
            let row = |setting: &Setting| vec![setting.key.clone(), setting.default.clone()];
            table(&["key", "default"], &many.iter().map(row).collect::<Vec<_>>())
        }
    })?;
    Ok(Outcome::Fine)
}

fn unknown(key: &str) -> Error {
    let likeness = |setting: &Setting| strsim::jaro_winkler(key, &setting.key);
    let nearest = settings().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    Error::Argument {
        argument: "KEY",
        found: key.to_owned(),
        expected: match nearest {
            Some(nearest) => format!("a key or a section of augur.toml; did you mean `{}`?", nearest.key),
            None => "a key or a section of augur.toml".to_owned(),
        },
    }
}

fn described(setting: &Setting) -> String {
    let line = |name: &str, value: &str| match value {
        "" => String::new(),
        value => format!("  {name:<13}{value}\n"),
    };
    format!(
        "{}\n  {}\n\n{}{}{}{}{}",
        setting.key,
        setting.meaning,
        line("default", &setting.default),
        line("bounds", &setting.bounds),
        line("in the file", setting.in_file.as_deref().unwrap_or_default()),
        line("variable", &setting.environment_variable),
        line("set there to", setting.in_environment.as_deref().unwrap_or_default()),
    )
}

/// Every key of the reference, in its order.
fn settings() -> impl Iterator<Item = Setting> {
    REFERENCE.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
        let [key, default, bounds, meaning] = match cells.as_slice() {
            [key, default, rest, meaning] => [*key, *default, *rest, *meaning],
            // Without bounds the cell is empty, and its spaces are one.
            [key, default, rest] => [*key, *default, "", rest.strip_prefix("| ")?],
            _ => return None,
        };
        let key = key.strip_prefix('`')?.strip_suffix('`')?;
        key.contains('.').then(|| Setting {
            key: key.to_owned(),
            default: plain(default),
            bounds: plain(bounds),
            meaning: plain(meaning),
            environment_variable: format!("AUGUR_{}", key.replace('.', "_").to_uppercase()),
            in_file: None,
            in_environment: None,
        })
    })
}

/// A text without the marks of Markdown: links by their words, no back-quotes.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        let Some((words, after)) = link.split_once("](") else { break };
        let Some((_, after)) = after.split_once(')') else { break };
        plain.push_str(before);
        plain.push_str(words);
        rest = after;
    }
    plain.push_str(rest);
    plain.replace('`', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_explained() {
        let shipped: toml::Table = augur_server::config::SHIPPED.parse().unwrap();
        let mut expected: Vec<String> = Vec::new();
        for (section, keys) in &shipped {
            expected.extend(keys.as_table().unwrap().keys().map(|key| format!("{section}.{key}")));
        }
        let mut explained: Vec<String> = settings().map(|setting| setting.key).collect();
        expected.sort();
        explained.sort();
        assert_eq!(explained, expected);
        for setting in settings() {
            assert!(!setting.meaning.is_empty(), "{}", setting.key);
            assert!(!setting.meaning.contains("]("), "{}", setting.key);
        }
    }

    #[test]
    fn an_explanation_has_all_that_is_known() {
        let setting = settings().find(|setting| setting.key == "server.workers").unwrap();
        assert_eq!(
            described(&setting),
            "server.workers\n  Threads that serve calls, each its own share of the connections; 0 is one per core.\n\n  \
             default      0\n  bounds       0 to 1024\n  variable     AUGUR_SERVER_WORKERS\n"
        );
        assert!(unknown("server.lisen").to_string().contains("did you mean `server.listen`?"));
    }
}
