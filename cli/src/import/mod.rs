//! Events out of files: every row of every file in turn, faults counted with their place.
//!
//! Not here: sending events or storing them (`commands::import`).

mod instant;
pub(crate) mod mapping;
mod parquet_rows;
pub(crate) mod source;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use augur_loadtest::convert::timestamp_from_wire;
use augur_loadtest::domain::Timestamp;
use augur_loadtest::v1;
use serde::Serialize;

pub(crate) use instant::InstantFormat;
pub(crate) use mapping::{Cell, Mapping, Row, RowFault};
pub(crate) use source::{Format, header, open};

use crate::Error;
use source::Rows;

/// Faults shown in full.
const MAX_EXAMPLES: usize = 5;

/// What reading came to, shared between the iterator and its owner.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// Rows read, good and bad.
    pub(crate) rows: u64,
    /// Rows that are no event.
    pub(crate) bad_rows: u64,
    /// The first of them.
    pub(crate) examples: Vec<BadRow>,
    /// The earliest time of an event.
    pub(crate) first_event_time: Option<Timestamp>,
    /// The latest time of an event.
    pub(crate) last_event_time: Option<Timestamp>,
    /// Mapped columns that no row had.
    pub(crate) absent_columns: Vec<String>,
    /// Fields that rows had instead, the first ones by name.
    pub(crate) seen_fields: BTreeSet<String>,
    /// What ended reading early.
    pub(crate) failure: Option<Error>,
}

/// A row that is no event, with its place.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BadRow {
    file: String,
    row: u64,
    column: String,
    found: String,
    expected: String,
}

impl std::fmt::Display for BadRow {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}, row {}", self.file, self.row)?;
        if !self.column.is_empty() {
            write!(formatter, ", column `{}`", self.column)?;
        }
        write!(formatter, ": found `{}`; expected {}", self.found, self.expected)
    }
}

/// Events of several files, in the order of rows. Ends early when a file cannot be read on, or at the first bad row
/// when `strict`; [`Reading::failure`] then says why.
pub(crate) struct Events {
    files: std::vec::IntoIter<(PathBuf, Format)>,
    mapping: Mapping,
    strict: bool,
    current: Option<(PathBuf, Box<dyn Rows>)>,
    /// Whether each mapped column was there in any file so far.
    seen: Vec<bool>,
    reading: Rc<RefCell<Reading>>,
}

impl Events {
    /// Events of these files; the format is told by the name unless given.
    pub(crate) fn of(
        files: &[PathBuf],
        format: Option<Format>,
        mapping: Mapping,
        strict: bool,
    ) -> Result<(Self, Rc<RefCell<Reading>>), Error> {
        let mut known = Vec::with_capacity(files.len());
        for path in files {
            let format = format.map_or_else(|| Format::of(path), Ok)?;
            // Opened once beforehand: a wrong column in the last file is told before the first is stored.
            source::open(path, format, &mapping.columns())?;
            known.push((path.clone(), format));
        }
        let reading = Rc::new(RefCell::new(Reading::default()));
        let (seen, files) = (vec![false; mapping.columns().len()], known.into_iter());
        let events = Self { files, mapping, strict, current: None, seen, reading: Rc::clone(&reading) };
        Ok((events, reading))
    }

    fn next_event(&mut self) -> Result<Option<v1::Event>, Error> {
        loop {
            if self.current.is_none() {
                let Some((path, format)) = self.files.next() else {
                    self.tell_absent_columns();
                    return Ok(None);
                };
                let rows = source::open(&path, format, &self.mapping.columns())?;
                self.current = Some((path, rows));
            }
            let Some((path, rows)) = self.current.as_mut() else { continue };
            let Some(row) = rows.next_row()? else {
                for (column, seen) in self.seen.iter_mut().enumerate() {
                    *seen |= rows.seen().is_none_or(|seen| seen.get(column) == Some(&true));
                }
                self.reading.borrow_mut().seen_fields.extend(rows.names().iter().cloned());
                self.current = None;
                continue;
            };
            let mut reading = self.reading.borrow_mut();
            reading.rows += 1;
            let event =
                row.and_then(|row| self.mapping.event(path, &row).map_err(|fault| (row.number, fault)));
            match event {
                Ok(event) => {
                    reading.count(&event);
                    return Ok(Some(event));
                }
                Err((row, fault)) => reading.set_aside(path, row, fault, self.strict)?,
            }
        }
    }
}

impl Events {
    /// Only JSON lines have no header that would have told a mistyped column beforehand.
    fn tell_absent_columns(&mut self) {
        let mut reading = self.reading.borrow_mut();
        if reading.rows > 0 {
            let columns = self.mapping.columns().into_iter().zip(&self.seen);
            let absent: BTreeSet<_> = columns.filter(|(_, seen)| !**seen).map(|(column, _)| column).collect();
            reading.absent_columns = absent.into_iter().map(str::to_owned).collect();
        }
        if reading.absent_columns.is_empty() {
            reading.seen_fields.clear();
        }
    }
}

impl Reading {
    fn count(&mut self, event: &v1::Event) {
        let Some(time) =
            event.timestamp.as_ref().and_then(|wire| timestamp_from_wire(wire, "timestamp").ok())
        else {
            return;
        };
        self.first_event_time = Some(self.first_event_time.map_or(time, |first| first.min(time)));
        self.last_event_time = Some(self.last_event_time.map_or(time, |last| last.max(time)));
    }

    fn set_aside(&mut self, path: &Path, row: u64, fault: RowFault, strict: bool) -> Result<(), Error> {
        self.bad_rows += 1;
        let RowFault { column, found, expected } = fault;
        let bad = BadRow { file: path.display().to_string(), row, column, found, expected };
        if strict {
            let place =
                if bad.column.is_empty() { String::new() } else { format!(", column `{}`", bad.column) };
            let problem = format!("row {row}{place}: found `{}`", bad.found);
            return Err(Error::Input { path: path.to_owned(), problem, expected: bad.expected });
        }
        if self.examples.len() < MAX_EXAMPLES {
            self.examples.push(bad);
        }
        Ok(())
    }
}

impl Iterator for Events {
    type Item = v1::Event;

    fn next(&mut self) -> Option<v1::Event> {
        if self.reading.borrow().failure.is_some() {
            return None;
        }
        self.next_event().unwrap_or_else(|failure| {
            self.reading.borrow_mut().failure = Some(failure);
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(strict: bool) -> (Vec<v1::Event>, Reading) {
        let dir = tempfile::tempdir().unwrap();
        let files: Vec<_> = [("a.csv", "u,t\nx,1\n,2\n"), ("b.csv", "t,u\n3,y\nnever,z\n4,z\n")]
            .map(|(name, text)| {
                let path = dir.path().join(name);
                std::fs::write(&path, text).unwrap();
                path
            })
            .to_vec();
        let maps = ["user_id=u".to_owned(), "timestamp=t:s".to_owned()];
        let mapping = Mapping::parse(&maps, &[], Some("visit"), &[]).unwrap();
        let (events, reading) = Events::of(&files, None, mapping, strict).unwrap();
        let events = events.collect();
        (events, Rc::into_inner(reading).unwrap().into_inner())
    }

    #[test]
    fn bad_rows_are_counted_with_their_place_and_do_not_end_it() {
        let (events, reading) = events(false);
        let users: Vec<_> = events.iter().map(|event| event.user_id.as_str()).collect();
        assert_eq!(users, ["x", "y", "z"]);
        assert_eq!((reading.rows, reading.bad_rows), (5, 2));
        let times = [reading.first_event_time, reading.last_event_time].map(|time| time.unwrap().unix_ms());
        assert_eq!(times, [1_000, 4_000]);
        let shown = reading.examples[1].to_string();
        assert!(shown.ends_with("expected seconds since 1970, like `1700000000`"), "{shown}");
        assert!(shown.contains("b.csv, row 2, column `t`: found `never`"), "{shown}");
    }

    #[test]
    fn columns_that_no_line_of_json_has_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let files = ["a.jsonl", "b.jsonl"].map(|name| dir.path().join(name));
        std::fs::write(&files[0], "{\"u\":\"x\",\"t\":1,\"price\":2}\n").unwrap();
        std::fs::write(&files[1], "{\"u\":\"x\",\"t\":1,\"coupon\":null}\n").unwrap();
        let maps = ["user_id=u", "timestamp=t:s", "value=prize"].map(str::to_owned);
        let mapping = Mapping::parse(&maps, &["coupon=coupon".to_owned()], Some("visit"), &[]).unwrap();
        let (events, reading) = Events::of(&files, None, mapping, false).unwrap();
        assert_eq!(events.count(), 2);
        let reading = reading.borrow();
        assert_eq!(reading.absent_columns, ["prize"]);
        assert_eq!(Vec::from_iter(&reading.seen_fields), ["coupon", "price", "t", "u"]);
    }

    #[test]
    fn strict_reading_ends_at_the_first_bad_row() {
        let (events, reading) = events(true);
        assert_eq!(events.len(), 1);
        let failure = reading.failure.unwrap().to_string();
        assert!(failure.contains("row 2, column `u`"), "{failure}");
    }
}
