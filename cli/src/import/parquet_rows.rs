//! Rows out of a Parquet file: only the wanted columns, a batch at a time.
//!
//! Not here: writing Parquet.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::mapping::{Cell, Row};
use super::source::{ReadRow, Rows, indices};
use crate::Error;

const BATCH_ROWS: usize = 4_096;

/// A Parquet file being read.
pub(crate) struct ParquetRows {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
    columns: Vec<String>,
    batch: Vec<ArrayRef>,
    batch_rows: usize,
    next_in_batch: usize,
    number: u64,
}

impl ParquetRows {
    /// Opens a file for these columns.
    pub(crate) fn open(path: &Path, columns: &[&str]) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::file("read", path))?;
        let builder =
            ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| unreadable(path, &error))?;
        let header: Vec<String> =
            builder.schema().fields().iter().map(|field| field.name().clone()).collect();
        let wanted = indices(path, &header, columns)?;
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
        let reader = builder
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(|error| unreadable(path, &error))?;
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        Ok(Self {
            path: path.to_owned(),
            reader,
            columns,
            batch: Vec::new(),
            batch_rows: 0,
            next_in_batch: 0,
            number: 0,
        })
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let column = |name: &String| {
            let array = batch
                .column_by_name(name)
                .ok_or_else(|| unreadable(&self.path, &format!("column `{name}` is gone")))?;
            plain(array).map_err(|error| unreadable(&self.path, &format!("column `{name}`: {error}")))
        };
        let arrays = self.columns.iter().map(column).collect::<Result<_, _>>()?;
        (self.batch, self.batch_rows, self.next_in_batch) = (arrays, batch.num_rows(), 0);
        Ok(())
    }
}

impl Rows for ParquetRows {
    fn next_row(&mut self) -> Result<Option<ReadRow>, Error> {
        while self.next_in_batch >= self.batch_rows {
            let Some(batch) = self.reader.next() else { return Ok(None) };
            let batch = batch.map_err(|error| unreadable(&self.path, &error))?;
            self.take(&batch)?;
        }
        let index = self.next_in_batch;
        self.next_in_batch += 1;
        self.number += 1;
        let cells = self.batch.iter().map(|array| cell(array, index)).collect();
        Ok(Some(Ok(Row { number: self.number, cells })))
    }
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Input {
        path: path.to_owned(),
        problem: error.to_string(),
        expected: "a Parquet file with flat columns".to_owned(),
    }
}

/// Casts a column to one of the few types that [`cell`] reads.
fn plain(array: &ArrayRef) -> Result<ArrayRef, arrow_schema::ArrowError> {
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
    arrow_cast::cast(array, &target)
}

fn cell(array: &ArrayRef, index: usize) -> Cell {
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
        _ => Cell::Text(array.as_string::<i32>().value(index).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Float64Array, Int32Array, StringArray, TimestampMicrosecondArray};
    use parquet::arrow::ArrowWriter;

    use super::*;

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
        assert_eq!(first, Row { number: 1, cells });
        assert_eq!(rows.next_row().unwrap().unwrap().unwrap().cells[3], Cell::Missing);
        assert!(rows.next_row().unwrap().is_none());
    }
}
