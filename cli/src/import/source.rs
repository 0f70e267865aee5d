//! Rows out of CSV, JSON lines and Parquet files, one at a time, in bounded memory.
//!
//! Not here: what a row means (`mapping`). Files named `*.gz` are unpacked on the way (not Parquet, which has its
//! own compression).

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::mapping::{Cell, Row, RowFault};
use super::parquet_rows::ParquetRows;
use crate::Error;

/// Longest line of JSON, and longest record of CSV, in bytes.
const MAX_RECORD_BYTES: u64 = 16 << 20;
const BUFFER_BYTES: usize = 256 << 10;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Comma-separated, with a header line.
    Csv,
    /// One JSON object per line; `a.b` names a field within a field.
    Jsonl,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// By the name's extension, before `.gz`.
    pub(crate) fn of(path: &Path) -> Result<Self, Error> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        match name.rsplit_once('.').map(|(_, extension)| extension) {
            Some("csv") => Ok(Self::Csv),
            Some("jsonl" | "ndjson") => Ok(Self::Jsonl),
            Some("parquet") => Ok(Self::Parquet),
            _ => Err(Error::Input {
                path: path.to_owned(),
                problem: "its name does not tell its format".to_owned(),
                expected: "`.csv`, `.jsonl`, `.ndjson` or `.parquet`, with or without `.gz`, or `--format`"
                    .to_owned(),
            }),
        }
    }
}

/// A row that could not be read as one; reading can go on behind it.
pub(crate) type ReadRow = Result<Row, (u64, RowFault)>;

/// Rows one after another; `Err` is the end of reading.
pub(crate) trait Rows {
    /// The next row, `None` at the end.
    fn next_row(&mut self) -> Result<Option<ReadRow>, Error>;
}

/// Opens a file for these columns.
pub(crate) fn open(path: &Path, format: Format, columns: &[&str]) -> Result<Box<dyn Rows>, Error> {
    Ok(match format {
        Format::Csv => Box::new(CsvRows::open(path, columns)?),
        Format::Jsonl => Box::new(JsonRows::open(path, columns)?),
        Format::Parquet => Box::new(ParquetRows::open(path, columns)?),
    })
}

/// Finds each wanted column in a header, or says which there are.
pub(crate) fn indices(path: &Path, header: &[String], wanted: &[&str]) -> Result<Vec<usize>, Error> {
    let find = |column: &&str| {
        header.iter().position(|name| name == column).ok_or_else(|| Error::Input {
            path: path.to_owned(),
            problem: format!("there is no column `{column}`"),
            expected: format!("one of {}", header.join(", ")),
        })
    };
    wanted.iter().map(find).collect()
}

fn unpacked(path: &Path) -> Result<Box<dyn Read>, Error> {
    let file = BufReader::with_capacity(BUFFER_BYTES, File::open(path).map_err(Error::file("read", path))?);
    let packed = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
    Ok(if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
}

/// Ends with an error when one record has taken too many bytes: an unclosed quote would swallow the whole file.
struct Budgeted {
    inner: Box<dyn Read>,
    left: std::rc::Rc<std::cell::Cell<u64>>,
}

impl Read for Budgeted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let left = self.left.get().checked_sub(read as u64).ok_or_else(|| {
            std::io::Error::other(format!(
                "a record of more than {MAX_RECORD_BYTES} bytes; is a quote not closed?"
            ))
        })?;
        self.left.set(left);
        Ok(read)
    }
}

struct CsvRows {
    path: PathBuf,
    reader: csv::Reader<Budgeted>,
    budget: std::rc::Rc<std::cell::Cell<u64>>,
    indices: Vec<usize>,
    width: usize,
    record: csv::ByteRecord,
    number: u64,
}

impl CsvRows {
    fn open(path: &Path, columns: &[&str]) -> Result<Self, Error> {
        let budget = std::rc::Rc::new(std::cell::Cell::new(MAX_RECORD_BYTES));
        let inner = Budgeted { inner: unpacked(path)?, left: std::rc::Rc::clone(&budget) };
        let mut reader =
            csv::ReaderBuilder::new().flexible(true).buffer_capacity(BUFFER_BYTES).from_reader(inner);
        let header = reader.byte_headers().map_err(|error| unreadable(path, &error))?;
        let mut header: Vec<String> =
            header.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect();
        if let Some(first) = header.first_mut() {
            *first = first.trim_start_matches('\u{feff}').to_owned();
        }
        let indices = indices(path, &header, columns)?;
        let (record, width) = (csv::ByteRecord::new(), header.len());
        Ok(Self { path: path.to_owned(), reader, budget, indices, width, record, number: 0 })
    }
}

impl Rows for CsvRows {
    fn next_row(&mut self) -> Result<Option<ReadRow>, Error> {
        self.budget.set(MAX_RECORD_BYTES);
        let more =
            self.reader.read_byte_record(&mut self.record).map_err(|error| unreadable(&self.path, &error))?;
        if !more {
            return Ok(None);
        }
        self.number += 1;
        if self.record.len() != self.width {
            let found = format!("{} fields", self.record.len());
            let expected = format!("{} fields as in the header", self.width);
            return Ok(Some(Err((self.number, RowFault { column: String::new(), found, expected }))));
        }
        let cells = self.indices.iter().map(|index| match self.record.get(*index) {
            None | Some(b"") => Cell::Missing,
            Some(bytes) => Cell::Open(String::from_utf8_lossy(bytes).into_owned()),
        });
        Ok(Some(Ok(Row { number: self.number, cells: cells.collect() })))
    }
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Input {
        path: path.to_owned(),
        problem: error.to_string(),
        expected: "a readable file of the given format".to_owned(),
    }
}

struct JsonRows {
    path: PathBuf,
    reader: BufReader<Box<dyn Read>>,
    columns: Vec<String>,
    line: Vec<u8>,
    number: u64,
}

impl JsonRows {
    fn open(path: &Path, columns: &[&str]) -> Result<Self, Error> {
        let reader = BufReader::with_capacity(BUFFER_BYTES, unpacked(path)?);
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        Ok(Self { path: path.to_owned(), reader, columns, line: Vec::new(), number: 0 })
    }

    fn parse(&self) -> ReadRow {
        let fault = |found: String| {
            let expected = "one JSON object".to_owned();
            (self.number, RowFault { column: String::new(), found, expected })
        };
        let value: serde_json::Value =
            serde_json::from_slice(&self.line).map_err(|error| fault(error.to_string()))?;
        if !value.is_object() {
            return Err(fault("a value that is no object".to_owned()));
        }
        let cells = self.columns.iter().map(|column| cell(&value, column)).collect();
        Ok(Row { number: self.number, cells })
    }
}

impl Rows for JsonRows {
    fn next_row(&mut self) -> Result<Option<ReadRow>, Error> {
        loop {
            self.line.clear();
            let mut bounded = self.reader.by_ref().take(MAX_RECORD_BYTES);
            let read =
                bounded.read_until(b'\n', &mut self.line).map_err(|error| unreadable(&self.path, &error))?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if read as u64 == MAX_RECORD_BYTES && self.line.last() != Some(&b'\n') {
                let error = format!("line {} is longer than {MAX_RECORD_BYTES} bytes", self.number);
                return Err(unreadable(&self.path, &error));
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some(self.parse()));
            }
        }
    }
}

/// A field by its name, or else by its path.
fn cell(object: &serde_json::Value, column: &str) -> Cell {
    let found =
        object.get(column).or_else(|| column.split('.').try_fold(object, |inner, name| inner.get(name)));
    match found {
        None | Some(serde_json::Value::Null) => Cell::Missing,
        Some(serde_json::Value::Bool(boolean)) => Cell::Boolean(*boolean),
        // As written: an integer id beyond 2^53 must not be rounded on its way to a text.
        Some(serde_json::Value::Number(number)) => Cell::Open(number.to_string()),
        Some(serde_json::Value::String(text)) => Cell::Text(text.clone()),
        Some(other) => Cell::Text(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn rows(name: &str, bytes: &[u8], columns: &[&str]) -> Result<Vec<ReadRow>, Error> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut rows = open(&path, Format::of(&path)?, columns)?;
        std::iter::from_fn(|| rows.next_row().transpose()).collect()
    }

    fn open_cell(text: &str) -> Cell {
        Cell::Open(text.to_owned())
    }

    #[test]
    fn csv_rows_have_the_wanted_columns_and_their_numbers() {
        let text = "\u{feff}a,b,c\n1,\"x, y\",\n2,z\n3,,w\n";
        let rows = rows("t.csv", text.as_bytes(), &["b", "a", "c"]).unwrap();
        let first = Row { number: 1, cells: vec![open_cell("x, y"), open_cell("1"), Cell::Missing] };
        assert_eq!(rows[0], Ok(first));
        let (number, fault) = rows[1].clone().unwrap_err();
        assert_eq!((number, fault.found.as_str()), (2, "2 fields"));
        assert_eq!(rows[2].as_ref().unwrap().number, 3);
    }

    #[test]
    fn gzip_is_unpacked() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"a\n5\n").unwrap();
        let rows = rows("t.csv.gz", &packed.finish().unwrap(), &["a"]).unwrap();
        assert_eq!(rows, [Ok(Row { number: 1, cells: vec![open_cell("5")] })]);
    }

    #[test]
    fn json_lines_keep_types_paths_and_large_integers() {
        let text = "{\"a\":{\"b\":\"x\"},\"n\":9007199254740993,\"t\":true}\n\n[1]\nnonsense\n";
        let rows = rows("t.jsonl", text.as_bytes(), &["a.b", "n", "t", "z"]).unwrap();
        let cells =
            vec![Cell::Text("x".into()), open_cell("9007199254740993"), Cell::Boolean(true), Cell::Missing];
        assert_eq!(rows[0], Ok(Row { number: 1, cells }));
        assert_eq!(rows[1].clone().unwrap_err().0, 3);
        assert_eq!(rows[2].clone().unwrap_err().0, 4);
    }

    #[test]
    fn a_missing_column_lists_those_there_are() {
        let error = rows("t.csv", b"a,b\n", &["c"]).unwrap_err().to_string();
        assert!(error.contains("no column `c`") && error.contains("a, b"), "{error}");
    }

    #[test]
    fn an_unclosed_quote_does_not_swallow_memory() {
        let mut text = b"a\n\"".to_vec();
        text.resize(usize::try_from(MAX_RECORD_BYTES).unwrap() + (1 << 20), b'x');
        let error = rows("t.csv", &text, &["a"]).unwrap_err().to_string();
        assert!(error.contains("is a quote not closed?"), "{error}");
    }

    #[test]
    fn formats_are_told_by_name() {
        assert_eq!(Format::of(Path::new("x/Y.CSV.GZ")).unwrap(), Format::Csv);
        assert_eq!(Format::of(Path::new("y.ndjson")).unwrap(), Format::Jsonl);
        assert!(Format::of(Path::new("y.txt")).unwrap_err().to_string().contains("--format"));
    }
}
