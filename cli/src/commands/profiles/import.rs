//! `augur profiles import`: changes of profiles out of files, many on their way at once.
//!
//! Not here: what a change does, which the server says. A file may be sent twice: of what is said the latest counts.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use augur_loadtest::convert::timestamp_to_wire;
use augur_loadtest::domain::Timestamp;
use augur_loadtest::{Client, v1};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::import::Format;
use crate::output::{Output, grouped};
use crate::{Error, Outcome, progress};

/// Changes on their way at once; each is synced to disk, and the engine syncs those that meet together.
const IN_FLIGHT: usize = 64;
const CONNECTIONS: usize = 4;
/// Longest line of JSON, in bytes.
const MAX_LINE_BYTES: u64 = 1 << 20;
/// Bad rows that are shown.
const SHOWN: usize = 10;

const EXAMPLES: &str = "\
Examples:
  augur profiles import consents.csv --endpoint http://127.0.0.1:7401
  augur profiles import profiles.jsonl --endpoint http://127.0.0.1:7401

CSV has a header. Its columns are user_id or anonymous_id, at, time_zone, and any of traits.<name>, consents.<purpose>
and suppressions.<channel>; an empty field says nothing:

  user_id,at,time_zone,consents.marketing,suppressions.email
  u-1,2026-03-01T12:00:00Z,Europe/Oslo,true,
  u-2,2026-03-01T12:05:00Z,,false,true

JSON lines say the same in one object a line:

  {\"user_id\": \"u-1\", \"at\": \"2026-03-01T12:00:00Z\", \"consents\": {\"marketing\": true}, \"traits\": {\"plan\": \"pro\"}}

Without `at` a row counts as said when it is taken in, and so beats what was said before.
Exit code 3 when rows were refused; the others are taken in.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// CSV or JSON lines.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The running server.
    #[arg(long, value_name = "URL")]
    endpoint: String,
}

#[derive(Debug, Default, Serialize)]
struct Report {
    rows: u64,
    taken: u64,
    refused: u64,
    /// The first of them.
    examples: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Row {
    user_id: Option<String>,
    anonymous_id: Option<String>,
    at: Option<String>,
    time_zone: Option<String>,
    traits: BTreeMap<String, serde_json::Value>,
    consents: BTreeMap<String, bool>,
    suppressions: BTreeMap<String, bool>,
}

/// A row as it stands in a file: its number, and what it is or why it is none.
type ReadRow = (u64, Result<Row, String>);

/// Runs the command.
pub(super) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let report = crate::commands::block_on(send(args))?;
    output.report(&report, text)?;
    Ok(if report.refused == 0 { Outcome::Fine } else { Outcome::Refused })
}

async fn send(args: &Args) -> Result<Report, Error> {
    let client = Client::connect(&args.endpoint, CONNECTIONS).await?;
    let (mut report, bar) = (Report::default(), progress::counter("profiles"));
    let mut under_way = JoinSet::new();
    for path in &args.files {
        for row in rows(path)? {
            let (number, row) = row?;
            report.rows += 1;
            let place = format!("{}: row {number}", path.display());
            match row.and_then(request) {
                Err(problem) => report.refuse(format!("{place}: {problem}")),
                Ok(request) => {
                    if under_way.len() >= IN_FLIGHT {
                        report.take(under_way.join_next().await);
                    }
                    let mut profiles = client.profiles();
                    under_way.spawn(async move {
                        let answer = profiles.update_profile(request).await;
                        answer.map(drop).map_err(|status| format!("{place}: {}", status.message()))
                    });
                }
            }
            bar.set_position(report.rows);
        }
    }
    while let Some(done) = under_way.join_next().await {
        report.take(Some(done));
    }
    bar.finish_and_clear();
    Ok(report)
}

type Answered = Result<Result<(), String>, tokio::task::JoinError>;

impl Report {
    fn take(&mut self, answered: Option<Answered>) {
        match answered {
            None => {}
            Some(Ok(Ok(()))) => self.taken += 1,
            Some(Ok(Err(problem))) => self.refuse(problem),
            Some(Err(error)) => self.refuse(error.to_string()),
        }
    }

    fn refuse(&mut self, problem: String) {
        self.refused += 1;
        if self.examples.len() < SHOWN {
            self.examples.push(problem);
        }
    }
}

fn rows(path: &Path) -> Result<Box<dyn Iterator<Item = Result<ReadRow, Error>>>, Error> {
    match Format::of(path)? {
        Format::Csv => csv_rows(path),
        Format::Jsonl => json_rows(path),
        Format::Parquet => Err(Error::Input {
            path: path.to_owned(),
            problem: "profiles are not read from Parquet".to_owned(),
            expected: "`.csv`, `.jsonl` or `.ndjson`".to_owned(),
        }),
    }
}

fn json_rows(path: &Path) -> Result<Box<dyn Iterator<Item = Result<ReadRow, Error>>>, Error> {
    let mut file = BufReader::new(File::open(path).map_err(Error::file("read", path))?);
    let (path, mut number) = (path.to_owned(), 0);
    Ok(Box::new(std::iter::from_fn(move || {
        loop {
            let mut line = Vec::new();
            match file.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line) {
                Err(error) => return Some(Err(Error::file("read", &path)(error))),
                Ok(0) => return None,
                Ok(_) => number += 1,
            }
            if !line.trim_ascii().is_empty() {
                let row = serde_json::from_slice(&line).map_err(|error| error.to_string());
                return Some(Ok((number, row)));
            }
        }
    })))
}

fn csv_rows(path: &Path) -> Result<Box<dyn Iterator<Item = Result<ReadRow, Error>>>, Error> {
    let input = |problem: String| Error::Input {
        path: path.to_owned(),
        problem,
        expected: "columns user_id or anonymous_id, at, time_zone, traits.*, consents.*, suppressions.*"
            .to_owned(),
    };
    let file = File::open(path).map_err(Error::file("read", path))?;
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(BufReader::new(file));
    let header: Vec<String> =
        reader.headers().map_err(|error| input(error.to_string()))?.iter().map(str::to_owned).collect();
    if let Some(unknown) = header.iter().find(|column| cell(&mut Row::default(), column, "true").is_err()) {
        return Err(input(format!("`{unknown}` is no column of profiles")));
    }
    let rows = reader.into_records().zip(1..).map(move |(record, number)| {
        let row = record.map_err(|error| error.to_string()).and_then(|record| {
            let mut row = Row::default();
            let cells = header.iter().zip(&record).filter(|(_, text)| !text.is_empty());
            for (column, text) in cells {
                cell(&mut row, column, text)?;
            }
            Ok(row)
        });
        Ok((number, row))
    });
    Ok(Box::new(rows))
}

/// Puts one field of a CSV row into its place.
fn cell(row: &mut Row, column: &str, text: &str) -> Result<(), String> {
    let choice = || match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" => Ok(false),
        _ => Err(format!("`{column}` is `{text}`; expected true or false")),
    };
    match (column, column.split_once('.')) {
        ("user_id", _) => row.user_id = Some(text.to_owned()),
        ("anonymous_id", _) => row.anonymous_id = Some(text.to_owned()),
        ("at", _) => row.at = Some(text.to_owned()),
        ("time_zone", _) => row.time_zone = Some(text.to_owned()),
        (_, Some(("consents", purpose))) => drop(row.consents.insert(purpose.to_owned(), choice()?)),
        (_, Some(("suppressions", channel))) => drop(row.suppressions.insert(channel.to_owned(), choice()?)),
        (_, Some(("traits", name))) => {
            let number = text.parse().ok().and_then(serde_json::Number::from_f64);
            let value = number
                .map(serde_json::Value::Number)
                .or_else(|| text.parse().ok().map(serde_json::Value::Bool));
            row.traits.insert(name.to_owned(), value.unwrap_or_else(|| text.into()));
        }
        _ => return Err(format!("`{column}` is no column of profiles")),
    }
    Ok(())
}

fn request(row: Row) -> Result<v1::UpdateProfileRequest, String> {
    use v1::subject::Id;
    let id = match (row.user_id, row.anonymous_id) {
        (Some(id), None) => Id::UserId(id),
        (None, Some(id)) => Id::AnonymousId(id),
        _ => return Err("nobody is named; expected one of user_id, anonymous_id".to_owned()),
    };
    let at = row.at.map(|text| {
        let at = Timestamp::parse_rfc3339(&text);
        at.map(timestamp_to_wire)
            .ok_or_else(|| format!("`at` is `{text}`; expected an instant such as 2026-03-01T12:00:00Z"))
    });
    let (removed, kept): (Vec<_>, Vec<_>) = row.traits.into_iter().partition(|(_, value)| value.is_null());
    let traits = kept.into_iter().map(|(name, value)| Ok((name.clone(), trait_value(&name, value)?)));
    Ok(v1::UpdateProfileRequest {
        subject: Some(v1::Subject { id: Some(id) }),
        at: at.transpose()?,
        time_zone: row.time_zone,
        traits: traits.collect::<Result<_, String>>()?,
        removed_traits: removed.into_iter().map(|(name, _)| name).collect(),
        consents: row.consents,
        suppressions: row.suppressions,
    })
}

fn trait_value(name: &str, value: serde_json::Value) -> Result<v1::Value, String> {
    use serde_json::Value as Json;
    use v1::value::Kind;
    let kind = match value {
        Json::Bool(boolean) => Kind::Boolean(boolean),
        Json::String(text) => Kind::Text(text),
        Json::Number(number) => {
            Kind::Number(number.as_f64().ok_or_else(|| format!("trait `{name}` is out of range"))?)
        }
        _ => return Err(format!("trait `{name}` is neither text, number, true nor false")),
    };
    Ok(v1::Value { kind: Some(kind) })
}

fn text(report: &Report) -> String {
    let mut text = format!(
        "{} rows: {} taken in, {} refused",
        grouped(report.rows),
        grouped(report.taken),
        grouped(report.refused)
    );
    for example in &report.examples {
        text.push_str(&format!("\n  {example}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, content: &str) -> Vec<Result<v1::UpdateProfileRequest, String>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        rows(&path).unwrap().map(|row| row.unwrap().1.and_then(request)).collect()
    }

    #[test]
    fn both_formats_say_the_same() {
        let csv = "user_id,at,time_zone,traits.plan,traits.age,consents.marketing,suppressions.*\n\
                   u-1,2026-03-01T12:00:00Z,Europe/Oslo,pro,41,yes,\n\
                   u-2,,,,,false,true\n";
        let jsonl = "{\"user_id\":\"u-1\",\"at\":\"2026-03-01T12:00:00Z\",\"time_zone\":\"Europe/Oslo\",\
                     \"traits\":{\"plan\":\"pro\",\"age\":41},\"consents\":{\"marketing\":true}}\n\n\
                     {\"user_id\":\"u-2\",\"consents\":{\"marketing\":false},\"suppressions\":{\"*\":true}}\n";
        let (of_csv, of_jsonl) = (read("a.csv", csv), read("a.jsonl", jsonl));
        assert_eq!(of_csv, of_jsonl);
        assert_eq!(of_csv.len(), 2);
        assert!(of_csv.iter().all(Result::is_ok), "{of_csv:?}");
    }

    #[test]
    fn bad_rows_are_told_and_passed_over() {
        let csv = "user_id,at,consents.marketing\n,,true\nu-1,yesterday,true\nu-2,,maybe\nu-3,,true\n";
        let read_back = read("a.csv", csv);
        let problems: Vec<_> = read_back.iter().filter_map(|row| row.as_ref().err()).collect();
        assert_eq!(problems.len(), 3);
        assert!(problems[0].contains("nobody is named") && problems[1].contains("`at` is `yesterday`"));
        assert!(problems[2].contains("expected true or false"));
        assert!(read("a.jsonl", "{\"user\":\"u-1\"}\n")[0].as_ref().unwrap_err().contains("unknown field"));
        let taken_back = read("a.jsonl", "{\"user_id\":\"u-1\",\"traits\":{\"plan\":null}}\n");
        assert_eq!(taken_back[0].as_ref().unwrap().removed_traits, ["plan"]);
    }

    #[test]
    fn an_unknown_column_is_refused_before_anything_is_sent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        std::fs::write(&path, "user_id,consent.marketing\nu-1,true\n").unwrap();
        let error = rows(&path).err().unwrap().to_string();
        assert!(error.contains("`consent.marketing` is no column of profiles"), "{error}");
    }
}
