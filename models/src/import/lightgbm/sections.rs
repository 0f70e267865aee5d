//! The lines of a LightGBM text model: a head and one section per tree, each of `key=value` lines.
//!
//! What comes behind `end of trees` (importances, parameters) says nothing about scores and is not read. Not here: what the
//! keys mean.

use std::str::FromStr;

use crate::Error;
use crate::trees::MAX_TREES;

/// Most lines of a section; LightGBM writes about twenty.
const MAX_LINES: usize = 200;

/// One line, split at its first `=`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) key: &'a str,
    pub(super) value: &'a str,
}

/// The head of the file or one tree.
#[derive(Debug)]
pub(super) struct Section<'a> {
    /// Its first line, counted from 1.
    pub(super) line: usize,
    lines: Vec<Line<'a>>,
}

/// A complaint about a line.
pub(super) fn fault(line: usize, problem: String, expected: &str) -> Error {
    let place = format!("line {line}");
    Error::Foreign { format: "LightGBM", place, problem, expected: expected.to_owned() }
}

/// Whether the file begins as LightGBM's text models do.
pub(in crate::import) fn is_text_model(bytes: &[u8]) -> bool {
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    first.trim_ascii() == b"tree"
}

/// The head first, then the trees in their order.
pub(super) fn sections(bytes: &[u8]) -> Result<Vec<Section<'_>>, Error> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        fault(line, "not UTF-8".to_owned(), "a LightGBM model as text")
    })?;
    let mut sections = Vec::new();
    let mut current = Section { line: 1, lines: Vec::new() };
    let (mut ended, mut last) = (false, 1);
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        last = line;
        if text == "end of trees" {
            ended = true;
            break;
        }
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        if key == "Tree" {
            let expected = sections.len();
            if value.parse() != Ok(expected) {
                let problem = format!("tree `{value}`");
                return Err(fault(line, problem, &format!("tree {expected}, as they are counted from 0")));
            }
            sections.push(std::mem::replace(&mut current, Section { line, lines: Vec::new() }));
        } else if !text.is_empty() {
            current.lines.push(Line { line, key, value });
        }
        if sections.len() > MAX_TREES || current.lines.len() > MAX_LINES {
            return Err(fault(
                line,
                "more than a model can have".to_owned(),
                "at most 5000 trees of 200 lines",
            ));
        }
    }
    if !ended {
        return Err(fault(last, "the end of the file".to_owned(), "`end of trees`; the file is cut"));
    }
    sections.push(current);
    Ok(sections)
}

impl<'a> Section<'a> {
    /// The first line of this key.
    pub(super) fn optional(&self, key: &str) -> Option<Line<'a>> {
        self.lines.iter().find(|line| line.key == key).copied()
    }

    pub(super) fn required(&self, key: &str) -> Result<Line<'a>, Error> {
        let missing =
            || fault(self.line, format!("what begins here has no `{key}`"), "every key of a LightGBM model");
        self.optional(key).ok_or_else(missing)
    }

    /// Whether a line without a value is there.
    pub(super) fn flag(&self, key: &str) -> bool {
        self.optional(key).is_some()
    }

    /// The numbers of a key, exactly so many of them.
    pub(super) fn numbers<T: FromStr>(&self, key: &str, count: usize) -> Result<Vec<T>, Error> {
        let line = self.required(key)?;
        let words = || line.value.split(' ').filter(|word| !word.is_empty());
        let found = words().count();
        if found != count {
            return Err(fault(line.line, format!("`{key}` has {found} values"), &format!("{count} values")));
        }
        words().map(|word| word.parse().map_err(|_| line.no_number(word))).collect()
    }
}

impl Line<'_> {
    pub(super) fn number<T: FromStr>(&self) -> Result<T, Error> {
        self.value.parse().map_err(|_| self.no_number(self.value))
    }

    fn no_number(&self, word: &str) -> Error {
        let word: String = word.chars().take(40).collect();
        fault(self.line, format!("`{}` has `{word}`", self.key), "a number")
    }
}
