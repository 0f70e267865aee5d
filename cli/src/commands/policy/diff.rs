//! `augur policy diff`: what is different between two policies, in words.
//!
//! Not here: the comparison (`augur_server::diff_policies`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use augur_server::{Difference, DifferenceKind, Layout};
use serde::Serialize;

use super::active::tests_of;
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
    /// The file beside the policy; empty of the policy itself.
    file: String,
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
        let Difference { file, entry, key, before, after, .. } = difference;
        Self { file, kind, entry, key, before, after, sentence }
    }
}

pub(super) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let archive = args.data.as_deref().map(archive).transpose()?;
    let (first, second) = (find(&args.first, archive.as_deref())?, find(&args.second, archive.as_deref())?);
    let (before, after) = (Bundle::read(&first)?, Bundle::read(&second)?);
    let differences = differences(&before, &after)?;
    let differences: Vec<Told> = differences.into_iter().map(Told::from).collect();
    let report = Report { same: differences.is_empty(), differences };
    output.report(&report, |report| {
        let lines = report.differences.iter().map(|told| format!("{}\n", told.sentence));
        if report.same { "no difference".to_owned() } else { lines.collect() }
    })?;
    Ok(if report.same { Outcome::Fine } else { Outcome::Refused })
}

/// A file as it was read.
struct Text {
    path: PathBuf,
    text: String,
}

/// A policy with what lies beside it.
struct Bundle {
    policy: Text,
    tables: BTreeMap<String, Text>,
    features: Option<Text>,
    tests: BTreeMap<String, Text>,
}

impl Bundle {
    fn read(path: &Path) -> Result<Self, Error> {
        let policy = read(path.to_owned())?;
        let mut tables = BTreeMap::new();
        for name in augur_server::files_named_by(&policy.text) {
            let beside = path.with_file_name(&name);
            if beside.exists() {
                tables.insert(name, read(beside)?);
            }
        }
        let features = path.with_file_name("features.toml");
        let features = features.exists().then(|| read(features)).transpose()?;
        let mut tests = BTreeMap::new();
        for file in test_files(path, &policy.text)? {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            tests.insert(name, read(file)?);
        }
        Ok(Self { policy, tables, features, tests })
    }
}

fn read(path: PathBuf) -> Result<Text, Error> {
    let text = std::fs::read_to_string(&path).map_err(Error::file("read", &path))?;
    Ok(Text { path, text })
}

/// The files of tests: those of an archived policy lie in a directory of their own.
fn test_files(policy: &Path, text: &str) -> Result<Vec<PathBuf>, Error> {
    let archived = policy.with_file_name("tests");
    if !archived.is_dir() {
        let beside = tests_of(policy, text)?.into_iter().map(|file| policy.with_file_name(file.name));
        return Ok(beside.collect());
    }
    let entries = std::fs::read_dir(&archived).map_err(Error::file("list", &archived))?;
    let files = entries.filter_map(Result::ok).map(|entry| entry.path());
    Ok(files.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect())
}

type Compare = fn(&str, &str) -> Result<Vec<Difference>, (bool, String)>;

/// What differs, file by file: the policy, its tables, and, where both sides have them, feature definitions and tests.
fn differences(before: &Bundle, after: &Bundle) -> Result<Vec<Difference>, Error> {
    let toml: Compare = augur_server::diff_policies;
    let mut all = compared(&before.policy, &after.policy, toml, "")?;
    all.extend(files(&before.tables, &after.tables, augur_server::diff_tables)?);
    if let (Some(before), Some(after)) = (&before.features, &after.features) {
        all.extend(compared(before, after, toml, "features.toml")?);
    }
    if !(before.tests.is_empty() || after.tests.is_empty()) {
        all.extend(files(&before.tests, &after.tests, toml)?);
    }
    Ok(all)
}

fn files(
    before: &BTreeMap<String, Text>,
    after: &BTreeMap<String, Text>,
    compare: Compare,
) -> Result<Vec<Difference>, Error> {
    let mut all = Vec::new();
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        all.push(Difference::whole(DifferenceKind::Removed, "").in_file(name));
    }
    for (name, after) in after {
        match before.get(name) {
            Some(before) => all.extend(compared(before, after, compare, name)?),
            None => all.push(Difference::whole(DifferenceKind::Added, "").in_file(name)),
        }
    }
    Ok(all)
}

fn compared(before: &Text, after: &Text, compare: Compare, name: &str) -> Result<Vec<Difference>, Error> {
    let found = compare(&before.text, &after.text).map_err(|(is_before, problem)| {
        let path = if is_before { before.path.clone() } else { after.path.clone() };
        let expected = if name.ends_with(".csv") { "comma-separated values" } else { "TOML" };
        Error::Input { path, problem, expected: expected.to_owned() }
    })?;
    Ok(found.into_iter().map(|difference| difference.in_file(name)).collect())
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
