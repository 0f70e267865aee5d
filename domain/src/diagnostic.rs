//! A precise complaint about a file that a person wrote: where, what, what was expected, what to try.
//!
//! Not here: errors of running code. Those are enums of their own crate.

use std::fmt;

/// One complaint. Renders as `file:line:column: message; expected ...; hint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file as the reader knows it.
    pub file: String,
    /// Counted from 1; 0 when `file` says the whole place, as for an environment variable.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// What is wrong, with the bad value.
    pub message: String,
    /// What would have been right.
    pub expected: String,
    /// A next step, e.g. the nearest known name. Empty if there is none.
    pub hint: String,
}

impl Diagnostic {
    /// A complaint about the byte `offset` of `text`.
    pub fn at_offset(
        file: &str,
        text: &str,
        offset: usize,
        message: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        let (line, column) = line_and_column(text, offset);
        Self {
            file: file.to_owned(),
            line,
            column,
            message: message.into(),
            expected: expected.into(),
            hint: String::new(),
        }
    }

    /// The same complaint with a next step.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "{}: {}", self.file, self.message)?,
            line => write!(formatter, "{}:{line}:{}: {}", self.file, self.column, self.message)?,
        }
        if !self.expected.is_empty() {
            write!(formatter, "; expected {}", self.expected)?;
        }
        if !self.hint.is_empty() {
            write!(formatter, "; {}", self.hint)?;
        }
        Ok(())
    }
}

/// Line and column, from 1, of the byte `offset`; past the end means the end.
pub fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset.min(text.len())).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(line_start..).map_or(0, |tail| tail.chars().count()) + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_characters_from_one() {
        let text = "a = 1\nbé = x\n";
        let diagnostic =
            Diagnostic::at_offset("f.toml", text, text.find('x').unwrap(), "`x` is not a number", "a number")
                .with_hint("did you mean `1`?");
        assert_eq!(
            diagnostic.to_string(),
            "f.toml:2:6: `x` is not a number; expected a number; did you mean `1`?"
        );
        assert_eq!(line_and_column(text, 10_000), (3, 1));
        let nowhere = Diagnostic { file: "variable A".to_owned(), line: 0, column: 0, ..diagnostic };
        assert!(nowhere.to_string().starts_with("variable A: `x` is not"));
    }
}
