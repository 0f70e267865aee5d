//! What is wrong with an expression, and where in its source.
//!
//! Not here: faults of a compiled expression at run time. Those are values
//! ([`Evaluated`](crate::Evaluated)), because a decision carries on with them.

use augur_domain::Diagnostic;

/// Why a source text was refused. Renders as `message; expected ...; hint`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}{expected}{}{hint}", if expected.is_empty() { "" } else { "; expected " }, if hint.is_empty() { "" } else { "; " })]
pub struct CompileError {
    /// Byte offset in the source of the first character complained about; at most the source's length.
    pub offset: usize,
    /// What is wrong, with the bad value.
    pub message: String,
    /// What would have been right. Empty if there is nothing to add to the message.
    pub expected: String,
    /// A next step, e.g. the nearest known name. Empty if there is none.
    pub hint: String,
}

impl CompileError {
    pub(crate) fn new(offset: usize, message: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { offset, message: message.into(), expected: expected.into(), hint: String::new() }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// The same complaint about a file in which the expression's source starts at byte `source_offset` of `text`.
    ///
    /// Exact only if the source stands in the file as it is, without escapes.
    pub fn into_diagnostic(self, file: &str, text: &str, source_offset: usize) -> Diagnostic {
        let offset = source_offset.saturating_add(self.offset);
        Diagnostic::at_offset(file, text, offset, self.message, self.expected).with_hint(self.hint)
    }
}
