//! Rows out of CSV, JSON lines and Parquet files, one at a time, in bounded memory.
//!
//! Not here: what a row means (`mapping`). Files named `*.gz` are unpacked on the way (not Parquet, which has its
//! own compression).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use augur_loadtest::domain::ContentHash;
use flate2::read::MultiGzDecoder;

use super::mapping::{Cell, Row, RowFault};
use super::parquet_rows::ParquetRows;
use crate::Error;

/// Longest line of JSON, and longest record of CSV, in bytes.
const MAX_RECORD_BYTES: u64 = 16 << 20;
const BUFFER_BYTES: usize = 256 << 10;
/// Names of fields remembered, to be told when a wanted one never came.
const MAX_NAMES: usize = 100;

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

    /// Whether each wanted column was there in any row so far. A file with a header has them all.
    fn seen(&self) -> Option<&[bool]> {
        None
    }

    /// Names of fields that were there so far.
    fn names(&self) -> &BTreeSet<String> {
        const { &BTreeSet::new() }
    }
}

/// Opens a file for these columns.
pub(crate) fn open(path: &Path, format: Format, columns: &[&str]) -> Result<Box<dyn Rows>, Error> {
    Ok(match format {
        Format::Csv => Box::new(CsvRows::open(path, columns)?),
        Format::Jsonl => Box::new(JsonRows::open(path, columns)?),
        Format::Parquet => Box::new(ParquetRows::open(path, columns)?),
    })
}

/// The names of a file's columns, where it has a header.
pub(crate) fn header(path: &Path, format: Format) -> Result<Option<Vec<String>>, Error> {
    Ok(match format {
        Format::Csv => Some(CsvRows::open(path, &[])?.header),
        Format::Jsonl => None,
        Format::Parquet => Some(ParquetRows::header(path)?),
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
    wanted: Vec<(usize, String)>,
    header: Vec<String>,
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
        let names = columns.iter().map(|column| (*column).to_owned());
        let wanted = indices(path, &header, columns)?.into_iter().zip(names).collect();
        let record = csv::ByteRecord::new();
        Ok(Self { path: path.to_owned(), reader, budget, wanted, header, record, number: 0 })
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
        if self.record.len() != self.header.len() {
            let found = format!("{} fields", self.record.len());
            let expected = format!("{} fields as in the header", self.header.len());
            return Ok(Some(Err((self.number, RowFault { column: String::new(), found, expected }))));
        }
        let cell = |(index, column): &(usize, String)| match self.record.get(*index).unwrap_or_default() {
            b"" => Ok(Cell::Missing),
            // Made readable by replacing bytes, ids of different people would become one.
            bytes => str::from_utf8(bytes).map(|text| Cell::Open(text.to_owned())).map_err(|_| {
                let found = String::from_utf8_lossy(bytes).chars().take(80).collect();
                let expected = "text in UTF-8; convert the file with `iconv -f latin1 -t utf-8`".to_owned();
                (self.number, RowFault { column: column.clone(), found, expected })
            }),
        };
        let fields: Vec<&[u8]> = self.record.iter().collect();
        let content = ContentHash::of(&fields);
        let cells = self.wanted.iter().map(cell).collect::<Result<_, _>>();
        Ok(Some(cells.map(|cells| Row { number: self.number, cells, content })))
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
    seen: Vec<bool>,
    names: BTreeSet<String>,
    line: Vec<u8>,
    number: u64,
}

impl JsonRows {
    fn open(path: &Path, columns: &[&str]) -> Result<Self, Error> {
        let reader = BufReader::with_capacity(BUFFER_BYTES, unpacked(path)?);
        let columns: Vec<_> = columns.iter().map(|column| (*column).to_owned()).collect();
        let (seen, names) = (vec![false; columns.len()], BTreeSet::new());
        Ok(Self { path: path.to_owned(), reader, columns, seen, names, line: Vec::new(), number: 0 })
    }

    fn parse(&mut self) -> ReadRow {
        let fault = |found: String| {
            let expected = "one JSON object".to_owned();
            (self.number, RowFault { column: String::new(), found, expected })
        };
        let value: serde_json::Value =
            serde_json::from_slice(&self.line).map_err(|error| fault(error.to_string()))?;
        let Some(object) = value.as_object() else {
            return Err(fault("a value that is no object".to_owned()));
        };
        if self.seen.contains(&false) {
            for name in object.keys() {
                if self.names.len() < MAX_NAMES && !self.names.contains(name) {
                    self.names.insert(name.clone());
                }
            }
        }
        let mut cells = Vec::with_capacity(self.columns.len());
        for (column, seen) in self.columns.iter().zip(&mut self.seen) {
            let found = field(&value, column);
            *seen |= found.is_some();
            cells.push(cell(found));
        }
        Ok(Row { number: self.number, cells, content: ContentHash::of(&[self.line.trim_ascii()]) })
    }
}

impl Rows for JsonRows {
    fn seen(&self) -> Option<&[bool]> {
        Some(&self.seen)
    }

    fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

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
fn field<'a>(object: &'a serde_json::Value, column: &str) -> Option<&'a serde_json::Value> {
    object.get(column).or_else(|| column.split('.').try_fold(object, |inner, name| inner.get(name)))
}

fn cell(found: Option<&serde_json::Value>) -> Cell {
    match found {
        None | Some(serde_json::Value::Null) => Cell::Missing,
        Some(serde_json::Value::Bool(boolean)) => Cell::Boolean(*boolean),
        // As written: an integer id beyond 2^53 must not be rounded on its way to a text.
        Some(serde_json::Value::Number(number)) => Cell::Open(number.to_string()),
        Some(serde_json::Value::String(text)) => Cell::Text(text.clone()),
        Some(other) => Cell::Nested(other.to_string()),
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
        let first = rows[0].as_ref().unwrap();
        assert_eq!(
            (first.number, first.cells.as_slice()),
            (1, &[open_cell("x, y"), open_cell("1"), Cell::Missing][..])
        );
        let (number, fault) = rows[1].clone().unwrap_err();
        assert_eq!((number, fault.found.as_str()), (2, "2 fields"));
        assert_eq!(rows[2].as_ref().unwrap().number, 3);
    }

    #[test]
    fn gzip_is_unpacked() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"a\n5\n").unwrap();
        let rows = rows("t.csv.gz", &packed.finish().unwrap(), &["a"]).unwrap();
        assert_eq!(rows, self::rows("t.csv", b"a\n5\n", &["a"]).unwrap());
        assert_eq!(rows[0].as_ref().unwrap().cells, [open_cell("5")]);
    }

    #[test]
    fn the_content_is_that_of_the_whole_row() {
        for (name, before, after) in
            [("t.csv", "a,b\n1,2\n", "a,b\n1,3\n"), ("t.jsonl", "{\"a\":1,\"b\":2}", "{\"a\":1,\"b\":3}")]
        {
            let content = |text: &str, column: &str| {
                rows(name, text.as_bytes(), &[column]).unwrap()[0].as_ref().unwrap().content
            };
            assert_eq!(content(before, "a"), content(before, "b"));
            assert_ne!(content(before, "a"), content(after, "a"));
        }
    }

    #[test]
    fn text_that_is_not_utf_8_is_refused_where_it_is_wanted() {
        let text = b"who,note\nJos\xe9,a\nAnna,\xe4\n";
        let rows = rows("t.csv", text, &["who"]).unwrap();
        let (number, fault) = rows[0].clone().unwrap_err();
        assert_eq!((number, fault.column.as_str()), (1, "who"));
        assert!(fault.expected.contains("UTF-8") && fault.expected.contains("iconv"), "{fault:?}");
        assert!(rows[1].is_ok());
    }

    #[test]
    fn json_lines_keep_types_paths_and_large_integers() {
        let text = "{\"a\":{\"b\":\"x\"},\"n\":9007199254740993,\"t\":true}\n\n[1]\nnonsense\n";
        let rows = rows("t.jsonl", text.as_bytes(), &["a.b", "n", "t", "z"]).unwrap();
        let cells =
            vec![Cell::Text("x".into()), open_cell("9007199254740993"), Cell::Boolean(true), Cell::Missing];
        assert_eq!(rows[0].as_ref().unwrap().cells, cells);
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
