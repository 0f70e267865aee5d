//! `augur policy diff`: what is different between two policies, in words.
//!
//! Not here: the comparison (`augur_server::diff_policies`).

use std::path::{Path, PathBuf};

use augur_server::{Difference, Layout};
use serde::Serialize;

use crate::data::Directory;
use crate::output::Output;
use crate::{Error, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A policy's file, a directory with a policy.toml, or with `--data` the id of an archived policy.
    first: String,
    /// The other one, likewise.
    second: String,
    /// A data directory, for ids: as `augur policy list` tells them, or their first digits.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Report {
    same: bool,
    differences: Vec<Told>,
}

#[derive(Debug, Serialize)]
struct Told {
    kind: &'static str,
    entry: String,
    key: String,
    before: String,
    after: String,
    sentence: String,
}

impl From<Difference> for Told {
    fn from(difference: Difference) -> Self {
        let (kind, sentence) = (difference.kind.as_str(), difference.to_string());
        let Difference { entry, key, before, after, .. } = difference;
        Self { kind, entry, key, before, after, sentence }
    }
}

pub(super) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let archive = args.data.as_deref().map(archive).transpose()?;
    let (first, second) = (find(&args.first, archive.as_deref())?, find(&args.second, archive.as_deref())?);
    let read = |path: &Path| std::fs::read_to_string(path).map_err(Error::file("read", path));
    let (before, after) = (read(&first)?, read(&second)?);
    let differences = augur_server::diff_policies(&before, &after).map_err(|(is_first, problem)| {
        let path = if is_first { first.clone() } else { second.clone() };
        Error::Input { path, problem, expected: "a policy, as TOML".to_owned() }
    })?;
    let differences: Vec<Told> = differences.into_iter().map(Told::from).collect();
    let report = Report { same: differences.is_empty(), differences };
    output.report(&report, |report| {
        let lines = report.differences.iter().map(|told| format!("{}\n", told.sentence));
        if report.same { "no difference".to_owned() } else { lines.collect() }
    })?;
    Ok(if report.same { Outcome::Fine } else { Outcome::Refused })
}

fn archive(data: &Path) -> Result<PathBuf, Error> {
    Ok(Layout::new(Directory::open(data)?.config()?.data.dir).policies())
}

fn find(named: &str, archive: Option<&Path>) -> Result<PathBuf, Error> {
    const LEAST_DIGITS: usize = 6;
    let path = Path::new(named);
    if path.is_dir() {
        return Ok(path.join("policy.toml"));
    }
    let is_id = named.len() >= LEAST_DIGITS && named.chars().all(|digit| digit.is_ascii_hexdigit());
    let Some(archive) = archive.filter(|_| is_id && !path.exists()) else { return Ok(path.to_owned()) };
    let entries = std::fs::read_dir(archive).map_err(Error::file("list", archive))?;
    let begins =
        |entry: &std::fs::DirEntry| entry.file_name().to_str().is_some_and(|id| id.starts_with(named));
    let found: Vec<PathBuf> =
        entries.filter_map(Result::ok).filter(begins).map(|entry| entry.path().join("policy.toml")).collect();
    match found.as_slice() {
        [only] => Ok(only.clone()),
        _ => Err(Error::Argument {
            argument: "a policy",
            found: named.to_owned(),
            expected: format!(
                "a file, or an id with which one archived policy begins and not {}",
                found.len()
            ),
        }),
    }
}
