//! Training rows as a Parquet file: who, when, what came to pass, and a nullable column per feature.
//!
//! A value is null unless rules and models could have used it. Memory is bounded: rows are gathered into batches, and
//! a row group ends when its pages take a quarter of the memory given. One thread encodes and compresses while the
//! caller's thread makes the next rows. Not here: which rows there are (`training`).

mod columns;

use std::fs::File;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};

use arrow_array::RecordBatch;
use augur_domain::FeatureSet;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use crate::{Error, TrainingOptions, TrainingRow};
use columns::Columns;

/// Most rows of a batch.
const MAX_BATCH_ROWS: usize = 8_192;
/// Most rows of a row group.
const MAX_GROUP_ROWS: usize = 131_072;
/// Batches between the two threads.
const BATCHES_AHEAD: usize = 1;
/// What a cell takes in a batch, about.
const CELL_BYTES: usize = 24;

/// How a file is written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExportOptions {
    /// Memory, and which events are seen.
    pub rows: TrainingOptions,
    /// A second column per feature, `NAME__status`, with the status of its value.
    pub with_status: bool,
    /// Written into the file's metadata beside the feature set: names and values.
    pub metadata: Vec<(String, String)>,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// Rows in the file.
    pub rows: u64,
    /// Those of them that lack events which are not kept any more, see [`TrainingRow::before_history`].
    pub rows_before_history: u64,
    /// Its size.
    pub bytes: u64,
}

/// Writes rows to `path`, replacing what is there only when all went well. Columns: `user` (the key in hexadecimal),
/// `at`, `label`, `label_index` (which label of those asked for, from 0), then the features in slot order: doubles,
/// texts or booleans. The file's metadata names the feature set and each
/// feature's definition. `progress` is told the number of rows now and then.
///
/// # Errors
/// The first error among the rows, [`Error::File`] for what the file system refused or for a feature called like
/// another column.
pub fn export_parquet(
    path: &Path,
    features: &FeatureSet,
    rows: impl IntoIterator<Item = Result<TrainingRow, Error>>,
    options: &ExportOptions,
    progress: impl FnMut(u64),
) -> Result<Exported, Error> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    let mut rows_before_history = 0;
    let rows = rows.into_iter().inspect(|row| {
        rows_before_history += u64::from(row.as_ref().is_ok_and(|row| row.before_history));
    });
    let result = write_rows(partial, features, rows, options, progress).and_then(|rows| {
        let failed = |error: std::io::Error| file_error("finishing", path, &error);
        std::fs::rename(partial, path).map_err(failed)?;
        Ok(Exported { rows, rows_before_history: 0, bytes: std::fs::metadata(path).map_err(failed)?.len() })
    });
    if result.is_err() {
        // The error that matters is on its way already; a file that cannot be removed is only in the way.
        drop(std::fs::remove_file(partial));
    }
    result.map(|exported| Exported { rows_before_history, ..exported })
}

fn file_error(action: &'static str, path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::File { action, path: path.to_owned(), detail: error.to_string() }
}

fn write_rows(
    path: &Path,
    features: &FeatureSet,
    rows: impl IntoIterator<Item = Result<TrainingRow, Error>>,
    options: &ExportOptions,
    progress: impl FnMut(u64),
) -> Result<u64, Error> {
    let mut columns = Columns::new(features, options.with_status)
        .map_err(|detail| file_error("creating", path, &detail))?;
    let file = File::create(path).map_err(|error| file_error("creating", path, &error))?;
    let failed = |error: parquet::errors::ParquetError| file_error("writing", path, &error);
    let properties = Some(properties(features, options));
    let mut writer = ArrowWriter::try_new(file, columns.schema(), properties).map_err(failed)?;
    let group_bytes = options.rows.memory_bytes / 4;
    let (count, written) = std::thread::scope(|threads| {
        let (sender, batches) = sync_channel::<RecordBatch>(BATCHES_AHEAD);
        let writing = threads.spawn(move || {
            for batch in batches {
                writer.write(&batch)?;
                if writer.memory_size() >= group_bytes {
                    writer.flush()?;
                }
            }
            writer.into_inner()
        });
        let count = gather(path, &mut columns, rows, options, &sender, progress);
        drop(sender);
        (count, writing.join())
    });
    let file = match written {
        Ok(written) => written.map_err(failed)?,
        Err(_) => {
            return Err(file_error("writing", path, &"the writing thread panicked; please report this"));
        }
    };
    let count = count?;
    file.sync_all().map_err(|error| file_error("syncing", path, &error))?;
    Ok(count)
}

/// Sends rows in batches; ends early when nobody takes them any more.
fn gather(
    path: &Path,
    columns: &mut Columns,
    rows: impl IntoIterator<Item = Result<TrainingRow, Error>>,
    options: &ExportOptions,
    batches: &SyncSender<RecordBatch>,
    mut progress: impl FnMut(u64),
) -> Result<u64, Error> {
    let row_bytes = columns.schema().fields().len().saturating_mul(CELL_BYTES).max(1);
    let batch_rows = (options.rows.memory_bytes / 32 / row_bytes).clamp(1, MAX_BATCH_ROWS);
    let failed = |error| file_error("writing", path, &error);
    let mut count = 0;
    for row in rows {
        columns.push(&row?);
        count += 1;
        if columns.rows() == batch_rows {
            progress(count);
            // A failed send is the writer's failure, which is told by the thread itself.
            if batches.send(columns.take().map_err(failed)?).is_err() {
                return Ok(count);
            }
        }
    }
    if columns.rows() > 0 {
        drop(batches.send(columns.take().map_err(failed)?));
    }
    progress(count);
    Ok(count)
}

fn properties(features: &FeatureSet, options: &ExportOptions) -> WriterProperties {
    let feature_set = ("augur.feature_set".to_owned(), features.hash().to_string());
    let seen = if options.rows.inclusive { "before and at the instant" } else { "before the instant" };
    let seen = ("augur.events_seen".to_owned(), seen.to_owned());
    // Names and hashes need no escapes in JSON.
    let definitions =
        features.features().iter().map(|info| format!("\"{}\":\"{}\"", info.name, info.definition));
    let definitions = format!("{{{}}}", definitions.collect::<Vec<_>>().join(","));
    let definitions = ("augur.definitions".to_owned(), definitions);
    let pairs = [feature_set, definitions, seen].into_iter().chain(options.metadata.iter().cloned());
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(MAX_GROUP_ROWS))
        .set_key_value_metadata(Some(pairs.map(|(name, value)| KeyValue::new(name, value)).collect()))
        .build()
}
