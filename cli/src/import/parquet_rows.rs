//! Rows out of a Parquet file, a batch at a time: the wanted columns as cells, all columns in the content's hash.
//!
//! Not here: writing Parquet.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::CastOptions;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use augur_loadtest::domain::ContentHash;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::mapping::{Cell, Row};
use super::source::{ReadRow, Rows, indices};
use crate::Error;

const BATCH_ROWS: usize = 4_096;

/// A wanted column of a batch, cast to one of the few types that [`cell`] reads.
struct Column {
    array: ArrayRef,
    /// Its texts stand for numbers.
    written_number: bool,
}

/// A Parquet file being read.
pub(crate) struct ParquetRows {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
    columns: Vec<usize>,
    batch: Vec<Column>,
    contents: Vec<ContentHash>,
    next_in_batch: usize,
    number: u64,
}

impl ParquetRows {
    /// The names of a file's columns.
    pub(crate) fn header(path: &Path) -> Result<Vec<String>, Error> {
        let file = File::open(path).map_err(Error::file("read", path))?;
        let builder =
            ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| unreadable(path, &error))?;
        Ok(builder.schema().fields().iter().map(|field| field.name().clone()).collect())
    }

    /// Opens a file for these columns.
    pub(crate) fn open(path: &Path, columns: &[&str]) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::file("read", path))?;
        let builder =
            ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| unreadable(path, &error))?;
        let header: Vec<String> =
            builder.schema().fields().iter().map(|field| field.name().clone()).collect();
        let columns = indices(path, &header, columns)?;
        for index in &columns {
            let field = builder.schema().field(*index);
            if field.data_type().is_nested() {
                let problem = format!("column `{}` holds lists, maps or structs", field.name());
                return Err(unreadable(path, &problem));
            }
        }
        let reader = builder.with_batch_size(BATCH_ROWS).build().map_err(|error| unreadable(path, &error))?;
        let (batch, contents) = (Vec::new(), Vec::new());
        Ok(Self { path: path.to_owned(), reader, columns, batch, contents, next_in_batch: 0, number: 0 })
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let column = |index: &usize| {
            let (field, array) = (batch.schema_ref().field(*index), batch.column(*index));
            plain(array)
                .map_err(|error| unreadable(&self.path, &format!("column `{}`: {error}", field.name())))
        };
        let columns = self.columns.iter().map(column).collect::<Result<_, _>>()?;
        let contents = contents(batch).map_err(|error| unreadable(&self.path, &error))?;
        (self.batch, self.contents, self.next_in_batch) = (columns, contents, 0);
        Ok(())
    }
}

impl Rows for ParquetRows {
    fn next_row(&mut self) -> Result<Option<ReadRow>, Error> {
        let content = loop {
            if let Some(content) = self.contents.get(self.next_in_batch) {
                break *content;
            }
            let Some(batch) = self.reader.next() else { return Ok(None) };
            let batch = batch.map_err(|error| unreadable(&self.path, &error))?;
            self.take(&batch)?;
        };
        let index = self.next_in_batch;
        self.next_in_batch += 1;
        self.number += 1;
        let cells = self.batch.iter().map(|column| cell(column, index)).collect();
        Ok(Some(Ok(Row { number: self.number, cells, content })))
    }
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Input {
        path: path.to_owned(),
        problem: error.to_string(),
        expected: "a Parquet file with flat columns".to_owned(),
    }
}

/// A hash of each row, over all its columns as they are written out.
fn contents(batch: &RecordBatch) -> Result<Vec<ContentHash>, ArrowError> {
    let options = FormatOptions::default();
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .map(|array| ArrayFormatter::try_new(array, &options))
        .collect::<Result<_, _>>()?;
    let row = |index| {
        let fields = columns
            .iter()
            .map(|column| column.value(index).try_to_string())
            .collect::<Result<Vec<_>, _>>()?;
        let parts: Vec<_> = fields.iter().map(String::as_bytes).collect();
        Ok(ContentHash::of(&parts))
    };
    (0..batch.num_rows()).map(row).collect()
}

fn plain(array: &ArrayRef) -> Result<Column, ArrowError> {
    let written_number = array.data_type().is_decimal() || *array.data_type() == DataType::UInt64;
    let target = match array.data_type() {
        DataType::Boolean => DataType::Boolean,
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => {
            DataType::Timestamp(TimeUnit::Millisecond, None)
        }
        DataType::Float16 | DataType::Float32 | DataType::Float64 => DataType::Float64,
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32 => DataType::Int64,
        _ => DataType::Utf8,
    };
    // Bytes that are no text must not pass for nothing.
    let safe = target != DataType::Utf8;
    let array =
        arrow_cast::cast_with_options(array, &target, &CastOptions { safe, ..CastOptions::default() })?;
    Ok(Column { array, written_number })
}

fn cell(Column { array, written_number }: &Column, index: usize) -> Cell {
    if array.is_null(index) {
        return Cell::Missing;
    }
    match array.data_type() {
        DataType::Boolean => Cell::Boolean(array.as_boolean().value(index)),
        DataType::Float64 => {
            Cell::Number(array.as_primitive::<arrow_array::types::Float64Type>().value(index))
        }
        // As written: an integer id beyond 2^53 must not be rounded on its way to a text.
        DataType::Int64 => Cell::Open(array.as_primitive::<Int64Type>().value(index).to_string()),
        DataType::Timestamp(..) => {
            Cell::Instant(array.as_primitive::<TimestampMillisecondType>().value(index))
        }
        _ if *written_number => Cell::Open(array.as_string::<i32>().value(index).to_owned()),
        _ => Cell::Text(array.as_string::<i32>().value(index).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        Decimal128Array, Float64Array, Int32Array, ListArray, StringArray, TimestampMicrosecondArray,
        UInt64Array,
    };
    use parquet::arrow::ArrowWriter;

    use super::*;

    fn written(path: &Path, columns: Vec<(&str, ArrayRef)>) {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    fn first(path: &Path, columns: &[&str]) -> Row {
        ParquetRows::open(path, columns).unwrap().next_row().unwrap().unwrap().unwrap()
    }

    #[test]
    fn decimals_and_large_integers_may_be_numbers_and_lists_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.parquet");
        let price = Decimal128Array::from(vec![1_250]).with_precision_and_scale(10, 2).unwrap();
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1)])]);
        written(
            &path,
            vec![
                ("price", Arc::new(price) as ArrayRef),
                ("id", Arc::new(UInt64Array::from(vec![u64::MAX]))),
                ("list", Arc::new(list)),
            ],
        );
        let cells = first(&path, &["price", "id"]).cells;
        assert_eq!(cells, [Cell::Open("12.50".into()), Cell::Open(u64::MAX.to_string())]);
        let error = ParquetRows::open(&path, &["id", "list"]).err().unwrap().to_string();
        assert!(error.contains("column `list` holds lists"), "{error}");
    }

    #[test]
    fn the_content_is_that_of_the_whole_row() {
        let dir = tempfile::tempdir().unwrap();
        let [before, after] = [2, 3].map(|other| {
            let path = dir.path().join(format!("{other}.parquet"));
            let column = |value: i32| Arc::new(Int32Array::from(vec![value])) as ArrayRef;
            written(&path, vec![("a", column(1)), ("b", column(other))]);
            path
        });
        assert_eq!(first(&before, &["a"]).content, first(&before, &["b"]).content);
        assert_ne!(first(&before, &["a"]).content, first(&after, &["a"]).content);
    }

    #[test]
    fn columns_of_every_kind_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.parquet");
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("who", Arc::new(Int32Array::from(vec![7, 8])) as ArrayRef, false),
            ("unused", Arc::new(Int32Array::from(vec![0, 0])), false),
            ("at", Arc::new(TimestampMicrosecondArray::from(vec![1_500_000, 2_000_000])), false),
            ("value", Arc::new(Float64Array::from(vec![Some(2.5), None])), true),
            ("what", Arc::new(StringArray::from(vec!["purchase", "refund"])), false),
        ])
        .unwrap();
        let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();

        let mut rows = ParquetRows::open(&path, &["what", "who", "at", "value"]).unwrap();
        let first = rows.next_row().unwrap().unwrap().unwrap();
        let cells = vec![
            Cell::Text("purchase".into()),
            Cell::Open("7".into()),
            Cell::Instant(1_500),
            Cell::Number(2.5),
        ];
        assert_eq!((first.number, first.cells), (1, cells));
        assert_eq!(rows.next_row().unwrap().unwrap().unwrap().cells[3], Cell::Missing);
        assert!(rows.next_row().unwrap().is_none());
    }
}
