//! Training rows as a Parquet file: one nullable double per feature, and who, when and what came to pass.
//!
//! A value is null unless rules and models could have used it. Memory is bounded by one row group. Not here:
//! which rows there are (`training`).

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{Float64Builder, StringBuilder, TimestampMillisecondBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use augur_domain::FeatureSet;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use crate::{Error, TrainingRow};

/// Column of the user's key in hexadecimal.
const USER: &str = "user";
/// Column of the instant, in ms, UTC.
const AT: &str = "at";
/// Column of the outcome.
const LABEL: &str = "label";
/// Rows held at once, and rows per group.
const ROWS_PER_GROUP: usize = 8_192;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// Rows in the file.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
}

/// Writes rows to `path`, replacing what is there only when all went well. Columns: `user`, `at`, `label`, then
/// the features in slot order; the file's metadata names the feature set.
///
/// # Errors
/// The first error among the rows, [`Error::File`] for what the file system refused or for a feature called like
/// one of the first three columns.
pub fn export_parquet(
    path: &Path,
    features: &FeatureSet,
    rows: impl IntoIterator<Item = Result<TrainingRow, Error>>,
) -> Result<Exported, Error> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    let result = write_rows(partial, features, rows).and_then(|rows| {
        let failed = |error: std::io::Error| file_error("finishing", path, &error);
        std::fs::rename(partial, path).map_err(failed)?;
        Ok(Exported { rows, bytes: std::fs::metadata(path).map_err(failed)?.len() })
    });
    if result.is_err() {
        // The error that matters is on its way already; a file that cannot be removed is only in the way.
        drop(std::fs::remove_file(partial));
    }
    result
}

fn file_error(action: &'static str, path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::File { action, path: path.to_owned(), detail: error.to_string() }
}

fn write_rows(
    path: &Path,
    features: &FeatureSet,
    rows: impl IntoIterator<Item = Result<TrainingRow, Error>>,
) -> Result<u64, Error> {
    let schema = arrow_schema_of(path, features)?;
    let file = File::create(path).map_err(|error| file_error("creating", path, &error))?;
    let metadata = vec![KeyValue::new("augur.feature_set".to_owned(), features.hash().to_string())];
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROWS_PER_GROUP))
        .set_key_value_metadata(Some(metadata))
        .build();
    let failed = |error: parquet::errors::ParquetError| file_error("writing", path, &error);
    let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties)).map_err(failed)?;
    let mut columns = Columns::new(features.features().len());
    let mut count = 0;
    for row in rows {
        columns.push(&row?);
        count += 1;
        if columns.rows == ROWS_PER_GROUP {
            writer.write(&columns.take(&schema, path)?).map_err(failed)?;
        }
    }
    if columns.rows > 0 {
        writer.write(&columns.take(&schema, path)?).map_err(failed)?;
    }
    let file = writer.into_inner().map_err(failed)?;
    file.sync_all().map_err(|error| file_error("syncing", path, &error))?;
    Ok(count)
}

fn arrow_schema_of(path: &Path, features: &FeatureSet) -> Result<Arc<Schema>, Error> {
    let mut fields = vec![
        Field::new(USER, DataType::Utf8, false),
        Field::new(AT, DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), false),
        Field::new(LABEL, DataType::Float64, true),
    ];
    for feature in features.features() {
        if [USER, AT, LABEL].contains(&&*feature.name) {
            let detail = format!("feature `{}` has the name of a column of its own; rename it", feature.name);
            return Err(Error::File { action: "creating", path: path.to_owned(), detail });
        }
        fields.push(Field::new(&*feature.name, DataType::Float64, true));
    }
    Ok(Arc::new(Schema::new(fields)))
}

struct Columns {
    rows: usize,
    users: StringBuilder,
    times: TimestampMillisecondBuilder,
    labels: Float64Builder,
    features: Vec<Float64Builder>,
}

impl Columns {
    fn new(features: usize) -> Self {
        Self {
            rows: 0,
            users: StringBuilder::new(),
            times: TimestampMillisecondBuilder::new().with_timezone("UTC"),
            labels: Float64Builder::new(),
            features: (0..features).map(|_| Float64Builder::new()).collect(),
        }
    }

    fn push(&mut self, row: &TrainingRow) {
        self.rows += 1;
        self.users.append_value(row.user.to_string());
        self.times.append_value(row.at.unix_ms());
        self.labels.append_option(row.outcome);
        for (slot, column) in self.features.iter_mut().enumerate() {
            column.append_option(row.features.usable(slot));
        }
    }

    fn take(&mut self, schema: &Arc<Schema>, path: &Path) -> Result<RecordBatch, Error> {
        self.rows = 0;
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.users.finish()),
            Arc::new(self.times.finish()),
            Arc::new(self.labels.finish()),
        ];
        columns.extend(self.features.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        RecordBatch::try_new(Arc::clone(schema), columns).map_err(|error| file_error("writing", path, &error))
    }
}
