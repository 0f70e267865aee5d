//! Where answers go: text for people or one JSON document for machines, on standard output.
//!
//! Not here: progress (`progress`), which goes to standard error, or what an answer says.

use std::fmt::Write as _;
use std::io::{self, Write};

use serde::Serialize;

use crate::Error;

/// How this run answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// One JSON document in place of text.
    pub(crate) json: bool,
}

impl Output {
    /// Writes `report`: as JSON, or as the text made by `text`.
    pub(crate) fn report<Report: Serialize>(
        self,
        report: &Report,
        text: impl FnOnce(&Report) -> String,
    ) -> Result<(), Error> {
        let written = if self.json {
            serde_json::to_string_pretty(report).map_err(|error| Error::Output(error.into()))?
        } else {
            text(report)
        };
        write_line(&written)
    }

    /// Writes `report` on one line: as JSON, or as the text made by `text`. For answers that others follow.
    pub(crate) fn line<Report: Serialize>(
        self,
        report: &Report,
        text: impl FnOnce(&Report) -> String,
    ) -> Result<(), Error> {
        if self.json {
            write_line(&serde_json::to_string(report).map_err(|error| Error::Output(error.into()))?)
        } else {
            write_line(&text(report))
        }
    }

    /// Writes text for people; nothing in a run for machines.
    pub(crate) fn say(self, text: &str) -> Result<(), Error> {
        if self.json { Ok(()) } else { write_line(text) }
    }
}

fn write_line(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.trim_end().as_bytes()).and_then(|()| stdout.write_all(b"\n"));
    match written.and_then(|()| stdout.flush()) {
        // The reader has seen enough, as with `augur ... | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(Error::Output),
    }
}

/// Writes the one complaint of a failed run to standard error.
pub(crate) fn complain(message: &str, next_step: Option<&str>) {
    let mut text = format!("error: {message}\n");
    if let Some(next_step) = next_step {
        // Writing to a String does not fail.
        let _written = writeln!(text, "  next: {next_step}");
    }
    // If standard error is closed there is nobody left to tell.
    let _written = io::stderr().lock().write_all(text.as_bytes());
}

/// A table with a header, columns as wide as their widest cell; the first column is flush left, others right.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let all = || {
        std::iter::once(header.iter().map(|cell| (*cell).to_owned()).collect()).chain(rows.iter().cloned())
    };
    let mut widths = vec![0; header.len()];
    for row in all() {
        for (width, cell) in widths.iter_mut().zip(&row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    // Numbers stand under each other, words begin below their header.
    let is_word = |column: usize| {
        let starts = |cell: &String| cell.starts_with(char::is_alphabetic);
        column == 0 || rows.iter().filter_map(|row| row.get(column)).any(starts)
    };
    let are_words: Vec<bool> = (0..header.len()).map(is_word).collect();
    let mut text = String::new();
    for row in all() {
        let mut line = String::from(" ");
        for (column, ((cell, width), are_words)) in row.iter().zip(&widths).zip(&are_words).enumerate() {
            let gap = if column == 0 { " " } else { "  " };
            let _written = if *are_words {
                write!(line, "{gap}{cell:<width$}")
            } else {
                write!(line, "{gap}{cell:>width$}")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A count with thousands apart: `1 234 567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A rate or large measurement without its fraction, thousands apart.
pub(crate) fn rounded(number: f64) -> String {
    grouped(number.max(0.0).round() as u64)
}

/// Microseconds in the unit that reads best.
pub(crate) fn microseconds(us: u64) -> String {
    match us {
        0..10_000 => format!("{us} us"),
        10_000..10_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1 234 567");
        assert_eq!(microseconds(812), "812 us");
        assert_eq!(microseconds(81_250), "81.2 ms");
        assert_eq!(rounded(1_999.6), "2 000");
    }

    #[test]
    fn tables_line_up() {
        let text =
            table(&["name", "rows"], &[vec!["a".into(), "10".into()], vec!["longer".into(), "9".into()]]);
        assert_eq!(text, "  name    rows\n  a         10\n  longer     9\n");
        let text =
            table(&["n", "said"], &[vec!["1".into(), "so".into()], vec!["2".into(), "much more".into()]]);
        assert_eq!(text, "  n  said\n  1  so\n  2  much more\n", "words begin below each other");
    }
}
