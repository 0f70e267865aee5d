//! What is decided, group by group: each part a whole Parquet file with its failures beside it, joined in the end.
//!
//! Not here: deciding.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMillisecondArray, UInt64Array};
use augur_loadtest::domain::{ContentHash, DecisionRecord};
use augur_loadtest::{convert, v1};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::GROUP_ROWS;
use crate::Error;
use crate::import::RowFault;

/// A decision as it is written.
#[derive(Debug, Clone)]
pub(super) struct Decided {
    pub(super) row: u64,
    pub(super) user: String,
    decision_id: String,
    action: String,
    payload: String,
    value: f64,
    probability: f64,
    rung: &'static str,
    reason: String,
    expires_at: Option<i64>,
}

impl Decided {
    pub(super) fn of(row: u64, user: String, record: &DecisionRecord) -> Self {
        let decision = &record.decision;
        Self {
            row,
            user,
            decision_id: record.inputs.decision_id.to_string(),
            action: decision.action.to_string(),
            payload: decision.payload.to_string(),
            value: decision.value,
            probability: decision.propensity,
            rung: decision.rung.as_str(),
            reason: decision.reasons.first().map_or("", |reason| reason.code.as_str()).to_owned(),
            expires_at: decision.expires_at.map(|at| at.unix_ms()),
        }
    }
}

impl Decided {
    /// As a server answered.
    pub(super) fn answered(row: u64, user: String, answer: v1::DecideResponse) -> Self {
        let rung = answer.rung().as_str_name();
        let expires_at = answer.expires_at.as_ref();
        let reason = answer.reasons.into_iter().next().map(|reason| reason.code);
        Self {
            row,
            user,
            decision_id: answer.decision_id,
            action: answer.action,
            payload: answer.payload_json,
            value: answer.value,
            probability: answer.propensity,
            rung: rung.strip_prefix("RUNG_").unwrap_or(rung),
            reason: reason.unwrap_or_default(),
            expires_at: expires_at
                .and_then(|at| convert::timestamp_from_wire(at, "expires_at").ok())
                .map(|at| at.unix_ms()),
        }
    }
}

/// A row that could not be decided.
#[derive(Debug, Clone)]
pub(super) struct Failed {
    pub(super) row: u64,
    user: String,
    field: String,
    problem: String,
    expected: String,
}

impl Failed {
    pub(super) fn row(row: u64, user: String, fault: &RowFault) -> Self {
        let RowFault { column, found, expected } = fault.clone();
        Self { row, user, field: column, problem: found, expected }
    }

    /// As a server refused it.
    pub(super) fn refused(row: u64, user: String, failure: v1::DecideFailure) -> Self {
        let v1::DecideFailure { field, message, .. } = failure;
        Self { row, user, field, problem: message, expected: String::new() }
    }

    pub(super) fn field(row: u64, user: String, fault: &convert::FieldError) -> Self {
        let convert::FieldError { field, problem, expected } = fault.clone();
        Self { row, user, field, problem, expected }
    }
}

/// What a whole run came to.
#[derive(Debug, Default)]
pub(super) struct Whole {
    pub(super) decided: u64,
    pub(super) failed: u64,
    pub(super) by_action: BTreeMap<String, u64>,
    pub(super) failures: Option<PathBuf>,
}

/// The parts of one run.
#[derive(Debug)]
pub(super) struct Parts {
    dir: PathBuf,
    whole: u64,
    begins_at: u64,
}

impl Parts {
    /// Begins a run, or goes on with the one that left its parts beside `output`. `begins_at` is kept for who goes on: the
    /// sequence of the first decision that the run can make, or what tells its keys from those of another run.
    pub(super) fn open(output: &Path, run: ContentHash, begins_at: u64, resume: bool) -> Result<Self, Error> {
        let dir = beside(output, ".parts");
        let note = dir.join("run");
        let refuse = |problem: &str, expected: &str| {
            let (problem, expected) = (problem.to_owned(), expected.to_owned());
            Err(Error::Input { path: dir.clone(), problem, expected })
        };
        if !note.exists() {
            if resume {
                return refuse("there is no run to go on with", "no `--resume`");
            }
            fs::create_dir_all(&dir).map_err(Error::file("create", &dir))?;
            write_whole(&note, format!("{run} {begins_at}\n").as_bytes())?;
            return Ok(Self { dir, whole: 0, begins_at });
        }
        if !resume {
            return refuse(
                "it holds a run that broke off",
                "`--resume`, or the directory removed: who was decided for may then be decided for again",
            );
        }
        let text = fs::read_to_string(&note).map_err(Error::file("read", &note))?;
        let (of, sequence) = text.trim().split_once(' ').unwrap_or_default();
        let Some(begins_at) = sequence.parse().ok().filter(|_| of == run.to_string()) else {
            return refuse(
                "it belongs to another run",
                "the same input, unchanged, and the same point, columns and output as before",
            );
        };
        let mut parts = Self { dir, whole: 0, begins_at };
        while parts.part(parts.whole).exists() {
            parts.whole += 1;
        }
        Ok(parts)
    }

    /// How many parts are whole.
    pub(super) const fn whole(&self) -> u64 {
        self.whole
    }

    /// What the run was begun with.
    pub(super) const fn begins_at(&self) -> u64 {
        self.begins_at
    }

    fn part(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:06}.parquet"))
    }

    fn failures(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:06}.failures.csv"))
    }

    /// Writes the next part. It counts once it has its name, which comes last.
    pub(super) fn write(&mut self, decided: &[Decided], failed: &[Failed]) -> Result<(), Error> {
        let mut lines = csv::Writer::from_writer(Vec::new());
        for Failed { row, user, field, problem, expected } in failed {
            let row = row.to_string();
            let line = [row.as_str(), user.as_str(), field.as_str(), problem.as_str(), expected.as_str()];
            lines.write_record(line).map_err(|error| Error::Output(error.into()))?;
        }
        let lines = lines.into_inner().map_err(|error| Error::Output(error.into_error()))?;
        write_whole(&self.failures(self.whole), &lines)?;
        let path = self.part(self.whole);
        let batch = batch(decided).map_err(|error| broken(&path, &error))?;
        let unnamed = path.with_extension("unfinished");
        let mut writer = writer(&unnamed, &batch)?;
        writer.write(&batch).map_err(|error| broken(&unnamed, &error))?;
        let file = writer.into_inner().map_err(|error| broken(&unnamed, &error))?;
        file.sync_all().map_err(Error::file("sync", &unnamed))?;
        fs::rename(&unnamed, &path).map_err(Error::file("name", &path))?;
        self.whole += 1;
        Ok(())
    }

    /// Joins all parts into `output`, each a row group, and removes them.
    pub(super) fn join(self, output: &Path) -> Result<Whole, Error> {
        let mut whole = Whole::default();
        let unnamed = self.dir.join("output.unfinished");
        let empty = batch(&[]).map_err(|error| broken(output, &error))?;
        let mut writer = writer(&unnamed, &empty)?;
        let mut failures = b"row,user,field,found,expected\n".to_vec();
        let header = failures.len();
        for number in 0..self.whole {
            let path = self.part(number);
            let file = File::open(&path).map_err(Error::file("read", &path))?;
            let reader = ParquetRecordBatchReaderBuilder::try_new(file)
                .and_then(|builder| builder.with_batch_size(GROUP_ROWS).build())
                .map_err(|error| broken(&path, &error))?;
            for batch in reader {
                let batch = batch.map_err(|error| broken(&path, &error))?;
                whole.decided += batch.num_rows() as u64;
                let actions = batch.column_by_name("action");
                for action in actions.iter().flat_map(|column| column.as_string::<i32>()).flatten() {
                    *whole.by_action.entry(action.to_owned()).or_default() += 1;
                }
                writer.write(&batch).map_err(|error| broken(&unnamed, &error))?;
            }
            writer.flush().map_err(|error| broken(&unnamed, &error))?;
            let lines = self.failures(number);
            failures.extend(fs::read(&lines).map_err(Error::file("read", &lines))?);
        }
        let file = writer.into_inner().map_err(|error| broken(&unnamed, &error))?;
        file.sync_all().map_err(Error::file("sync", &unnamed))?;
        if failures.len() > header {
            let path = beside(output, ".failures.csv");
            write_whole(&path, &failures)?;
            let mut lines = csv::Reader::from_reader(failures.as_slice());
            whole.failed = lines.records().count() as u64;
            whole.failures = Some(path);
        }
        fs::rename(&unnamed, output).map_err(Error::file("name", output))?;
        fs::remove_dir_all(&self.dir).map_err(Error::file("remove", &self.dir))?;
        Ok(whole)
    }
}

/// `path` with `more` behind its name.
fn beside(path: &Path, more: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(more);
    PathBuf::from(name)
}

fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let unnamed = beside(path, ".unfinished");
    fs::write(&unnamed, bytes).map_err(Error::file("write", &unnamed))?;
    File::open(&unnamed).and_then(|file| file.sync_all()).map_err(Error::file("sync", &unnamed))?;
    fs::rename(&unnamed, path).map_err(Error::file("name", path))
}

fn writer(path: &Path, like: &RecordBatch) -> Result<ArrowWriter<File>, Error> {
    let file = File::create(path).map_err(Error::file("create", path))?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    ArrowWriter::try_new(file, like.schema(), Some(properties)).map_err(|error| broken(path, &error))
}

fn broken(path: &Path, error: &dyn std::fmt::Display) -> Error {
    let expected = "a Parquet file that can be written and read again".to_owned();
    Error::Input { path: path.to_owned(), problem: error.to_string(), expected }
}

fn batch(decided: &[Decided]) -> Result<RecordBatch, arrow_schema::ArrowError> {
    fn texts<'a>(decided: &'a [Decided], text: impl Fn(&'a Decided) -> &'a str) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(decided.iter().map(text)))
    }
    let numbers = |number: fn(&Decided) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(decided.iter().map(number)))
    };
    let expires = TimestampMillisecondArray::from_iter(decided.iter().map(|line| line.expires_at));
    // All but the end may be absent nowhere; said outright, so that an empty part has the same columns.
    RecordBatch::try_from_iter_with_nullable([
        (
            "row",
            Arc::new(UInt64Array::from_iter_values(decided.iter().map(|line| line.row))) as ArrayRef,
            false,
        ),
        ("user_id", texts(decided, |line| &line.user), false),
        ("decision_id", texts(decided, |line| &line.decision_id), false),
        ("action", texts(decided, |line| &line.action), false),
        ("payload", texts(decided, |line| &line.payload), false),
        ("value", numbers(|line| line.value), false),
        ("probability", numbers(|line| line.probability), false),
        ("rung", texts(decided, |line| line.rung), false),
        ("reason", texts(decided, |line| &line.reason), false),
        ("expires_at", Arc::new(expires.with_timezone("UTC")) as ArrayRef, true),
    ])
}
