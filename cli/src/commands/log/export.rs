//! `augur log export`: the decision log as Parquet, a folder a day, resumable segment by segment.
//!
//! Not here: the columns (`columns`).

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use augur_loadtest::domain::time::DAY_MS;
use augur_loadtest::domain::{ContentHash, DecisionRecord, FeatureSet, Timestamp};
use augur_shadow_harness::DataDirectory;
use augur_shadow_harness::decision_log::{Error as LogError, Position, Reader};
use augur_shadow_harness::reward::RewardRule;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};

use super::Place;
use super::columns::Columns;
use super::joined::Joined;
use crate::output::{Output, grouped};
use crate::{Error, Outcome, progress};

const HELP: &str = "\
Writes OUT/day=YYYY-MM-DD/SEGMENT-FEATURES.parquet: one file for each day, log segment and set of features, so that every
file has one column per feature (`feature.NAME`), null where rules and models could not use the value. Candidates, their
values, probabilities and reasons are lists in one order; repeated words are dictionaries. A segment is written as a whole
or not at all; what is done stands in OUT/exported.json, and the same command goes on from there. The segment that is
still being written is left for later unless --partial.

Examples:
  augur log export --data data --out decisions
  augur log export --data data --out decisions --partial
  duckdb -c \"select day, action, count(*) from read_parquet('decisions/*/*.parquet', union_by_name=true) group by all\"

Features are named by the archived policies of --data. Records whose policy is gone are written without features.";

const DONE: &str = "exported.json";
const BATCH_ROWS: usize = 4_096;
const GROUP_ROWS: usize = 65_536;

/// Write the decision log as Parquet, a folder a day.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// Where to; made if it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Also write what there is of the segment that is being written; it is written again by the next run.
    #[arg(long)]
    partial: bool,
    /// Add a column `reward.NAME` for each rule of this file, by the outcomes that are known now; null while a decision is too
    /// young for it. What is written already is not written again when more outcomes come.
    #[arg(long, value_name = "FILE")]
    rewards: Option<PathBuf>,
}

/// What is written already.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Done {
    /// Records by segment, of segments that are whole.
    segments: BTreeMap<u64, u64>,
    /// By which rewards were joined.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rewards: Vec<RewardRule>,
}

#[derive(Debug, Default, Serialize)]
struct Report {
    out: PathBuf,
    segments: u64,
    segments_before: u64,
    records: u64,
    files: u64,
    bytes: u64,
    /// Records written without features, since the policy that names them is gone.
    without_features: u64,
    /// Whether the last segment was left for later.
    left_open: bool,
}

impl Report {
    fn text(&self) -> String {
        let mut text = format!(
            "{} records of {} segments in {} files, {} bytes, {} a record; {} segments were there before\n",
            grouped(self.records),
            grouped(self.segments),
            grouped(self.files),
            grouped(self.bytes),
            self.bytes.checked_div(self.records).unwrap_or(0),
            grouped(self.segments_before),
        );
        if self.without_features > 0 {
            let count = grouped(self.without_features);
            text.push_str(&format!("{count} records have no features: their policies are not in --data\n"));
        }
        if self.left_open {
            text.push_str("the segment that is being written is left for later; --partial writes it, too\n");
        }
        text
    }
}

/// A file being written, of one day and one set of features.
struct Writing {
    path: PathBuf,
    columns: Columns,
    writer: ArrowWriter<File>,
}

/// The files of one segment, by day and feature set.
struct Segment<'a> {
    out: &'a Path,
    base: u64,
    joined: &'a Joined,
    files: BTreeMap<(i64, ContentHash), Writing>,
    records: u64,
}

pub(super) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let (directory, log) = args.place.find()?;
    let mut sets = FeatureSets { directory, known: BTreeMap::new() };
    let (mut done, done_file) = (read_done(&args.out)?, args.out.join(DONE));
    let joined = Joined::open(&sets.directory, args.rewards.as_deref())?;
    same_rewards(&mut done, joined.rules(), &done_file)?;
    let mut report =
        Report { out: args.out.clone(), segments_before: done.segments.len() as u64, ..Report::default() };
    let failed = augur_shadow_harness::Error::from;
    // Whole segments are done in order: go on behind the last.
    let from = done.segments.last_key_value().map_or(1, |(base, records)| base + records);
    let mut reader = Reader::open_from(&log, from).map_err(failed)?;
    let bar = progress::counter("records");
    let mut segment: Option<Segment<'_>> = None;
    loop {
        match reader.next_record() {
            Ok(Some((Position { segment: base, .. }, record))) => {
                if let Some(ended) = segment.take_if(|open| open.base != base) {
                    done.segments.insert(ended.base, ended.records);
                    ended.finish(&mut report)?;
                    write_done(&done, &done_file)?;
                }
                let open = segment.get_or_insert_with(|| Segment {
                    out: &args.out,
                    base,
                    joined: &joined,
                    files: BTreeMap::new(),
                    records: 0,
                });
                open.push(&record, &mut sets, &mut report)?;
                bar.inc(1);
            }
            // An unfinished record is being written, or a crash left it.
            Ok(None) | Err(LogError::TruncatedTail { .. }) => break,
            Err(error) => return Err(failed(error).into()),
        }
    }
    match segment {
        Some(open) if args.partial => open.finish(&mut report)?,
        Some(open) => {
            report.left_open = true;
            open.discard();
        }
        None => {}
    }
    bar.finish_and_clear();
    output.report(&report, Report::text)?;
    Ok(Outcome::Fine)
}

fn read_done(out: &Path) -> Result<Done, Error> {
    let file = out.join(DONE);
    match std::fs::read(&file) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| Error::Input {
            path: file,
            problem: error.to_string(),
            expected: "what an earlier export wrote; remove the folder to begin anew".to_owned(),
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            std::fs::create_dir_all(out).map_err(Error::file("create", out))?;
            Ok(Done::default())
        }
        Err(error) => Err(Error::file("read", &file)(error)),
    }
}

/// One folder has the rewards of one set of rules.
fn same_rewards(done: &mut Done, rules: &[RewardRule], file: &Path) -> Result<(), Error> {
    if done.segments.is_empty() {
        done.rewards = rules.to_vec();
    }
    if done.rewards == rules {
        return Ok(());
    }
    Err(Error::Input {
        path: file.to_owned(),
        problem: "what is there was written with other reward rules".to_owned(),
        expected: "the same rules, or another folder".to_owned(),
    })
}

fn write_done(done: &Done, file: &Path) -> Result<(), Error> {
    let partial = file.with_extension("json.partial");
    let bytes = serde_json::to_vec_pretty(done).map_err(std::io::Error::from);
    bytes.and_then(|bytes| std::fs::write(&partial, bytes)).map_err(Error::file("write", &partial))?;
    std::fs::rename(&partial, file).map_err(Error::file("write", file))
}

impl Segment<'_> {
    fn push(
        &mut self,
        record: &DecisionRecord,
        sets: &mut FeatureSets,
        report: &mut Report,
    ) -> Result<(), Error> {
        self.records += 1;
        let set = sets.of(record);
        report.without_features += u64::from(set.is_none() && !record.inputs.features.values.is_empty());
        let hash = set.as_ref().map_or_else(|| ContentHash::from_bytes([0; 32]), |set| set.hash());
        let key = (record.inputs.now.unix_ms().div_euclid(DAY_MS), hash);
        if !self.files.contains_key(&key) {
            let writing = Writing::begin(self.out, self.base, key, (set.as_deref(), self.joined))?;
            self.files.insert(key, writing);
        }
        let Some(writing) = self.files.get_mut(&key) else { return Ok(()) };
        let (is_erased, rewards) = self.joined.of(record)?;
        writing.columns.push(record, is_erased, &rewards);
        if writing.columns.rows() == BATCH_ROWS { writing.write() } else { Ok(()) }
    }

    /// Gives the files their names, once all of them are whole.
    fn finish(self, report: &mut Report) -> Result<(), Error> {
        report.segments += 1;
        report.records += self.records;
        let mut whole = Vec::with_capacity(self.files.len());
        for (_, mut writing) in self.files {
            writing.write()?;
            let Writing { path, writer, .. } = writing;
            let file = writer.into_inner().map_err(|error| failed(&path, error))?;
            file.sync_all().map_err(Error::file("write", &path))?;
            whole.push(path);
        }
        for path in whole {
            std::fs::rename(partial(&path), &path).map_err(Error::file("write", &path))?;
            report.files += 1;
            report.bytes += std::fs::metadata(&path).map_err(Error::file("read", &path))?.len();
        }
        Ok(())
    }

    fn discard(self) {
        for writing in self.files.into_values() {
            // A file that cannot be removed is only in the way; the next run replaces it.
            drop(std::fs::remove_file(partial(&writing.path)));
        }
    }
}

impl Writing {
    fn begin(
        out: &Path,
        base: u64,
        (day, hash): (i64, ContentHash),
        (set, joined): (Option<&FeatureSet>, &Joined),
    ) -> Result<Self, Error> {
        let date: String = Timestamp::from_unix_ms(day * DAY_MS).to_string().chars().take(10).collect();
        let dir = out.join(format!("day={date}"));
        std::fs::create_dir_all(&dir).map_err(Error::file("create", &dir))?;
        let features: String = hash.to_string().chars().take(8).collect();
        let path = dir.join(format!("{base:012}-{features}.parquet"));
        let file = File::create(partial(&path)).map_err(Error::file("create", &path))?;
        let columns = Columns::new(set, &joined.names());
        let metadata =
            set.map(|set| vec![KeyValue::new("augur.feature_set".to_owned(), set.hash().to_string())]);
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_key_value_metadata(metadata)
            .build();
        let writer = ArrowWriter::try_new(file, columns.schema(), Some(properties))
            .map_err(|error| failed(&path, error))?;
        Ok(Self { path, columns, writer })
    }

    fn write(&mut self) -> Result<(), Error> {
        if self.columns.rows() == 0 {
            return Ok(());
        }
        let written = self.columns.take().map_err(Into::into).and_then(|batch| self.writer.write(&batch));
        written.map_err(|error| failed(&self.path, error))
    }
}

fn failed(path: &Path, error: parquet::errors::ParquetError) -> Error {
    Error::file("write", path)(std::io::Error::other(error))
}

fn partial(path: &Path) -> PathBuf {
    path.with_extension("parquet.partial")
}

/// The features of records, by the policies that decided.
struct FeatureSets {
    directory: DataDirectory,
    known: BTreeMap<ContentHash, Option<Arc<FeatureSet>>>,
}

impl FeatureSets {
    /// `None` when the policy is gone, or its features are not those of the record.
    fn of(&mut self, record: &DecisionRecord) -> Option<Arc<FeatureSet>> {
        let set =
            self.known.entry(record.policy).or_insert_with(|| self.directory.feature_set(record.policy).ok());
        set.clone().filter(|set| set.hash() == record.inputs.features.feature_set)
    }
}
