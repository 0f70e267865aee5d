//! Collects everything that is wrong with one definitions file, each with its place.
//!
//! Not here: what is right or wrong; see `document` and `compile`.

use std::ops::Range;

use augur_domain::Diagnostic;

/// Most complaints reported for one file; a file with more is another kind of file.
const MAX_COMPLAINTS: usize = 100;

pub(crate) struct Complaints<'a> {
    file: &'a str,
    text: &'a str,
    found: Vec<(usize, Diagnostic)>,
}

impl<'a> Complaints<'a> {
    pub(crate) const fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text, found: Vec::new() }
    }

    pub(crate) fn add(&mut self, place: usize, message: impl Into<String>, expected: impl Into<String>) {
        self.add_with_hint(place, message, expected, String::new());
    }

    pub(crate) fn add_with_hint(
        &mut self,
        place: usize,
        message: impl Into<String>,
        expected: impl Into<String>,
        hint: impl Into<String>,
    ) {
        if self.found.len() < MAX_COMPLAINTS {
            let complaint =
                Diagnostic::at_offset(self.file, self.text, place, message, expected).with_hint(hint);
            self.found.push((place, complaint));
        }
    }

    /// The source text of `span`.
    pub(crate) fn source(&self, span: Range<usize>) -> &'a str {
        self.text.get(span).unwrap_or_default()
    }

    /// The source text of `span`, shortened, for quoting a bad value.
    pub(crate) fn quote(&self, span: Range<usize>) -> String {
        let source = self.source(span);
        let line = source.lines().next().unwrap_or_default();
        let short: String = line.chars().take(60).collect();
        if short.len() < source.len() { format!("{short}…") } else { short }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The complaints in the order of their places.
    pub(crate) fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|(place, _)| *place);
        self.found.into_iter().map(|(_, complaint)| complaint).collect()
    }
}

/// ``did you mean `x`?`` for the candidate nearest to `word`, or nothing when none is near.
pub(crate) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let nearest = candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((distance, candidate)) if distance <= (word.chars().count() / 3).max(1) => {
            format!("did you mean `{candidate}`?")
        }
        _ => String::new(),
    }
}
