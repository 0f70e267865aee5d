//! The written policy: one plain entry per table of the file, each value with its place.
//!
//! Not here: whether names refer to anything (`check`) or what expressions mean (`compile`).

mod cell;
mod csv;
mod declared;
mod diversity;
mod entries;
mod experiment;
mod exploration;
mod ladder;
mod limits;
mod payload;
mod person;
mod rule;
mod section;
mod table;
pub(crate) mod test_entries;

use std::ops::Range;

use augur_domain::Diagnostic;

use crate::budget::Budget;
use crate::calendar::UnknownZone;
use crate::cap::Cap;
use crate::diversity::Diversity;
use crate::explore::{Exploration, TieBreak};
use crate::quiet::Quiet;
use crate::snapshot::WhenFeaturesUnavailable;
use crate::source::{SourceFile, Sources};

pub(crate) use csv::all_rows;
pub(crate) use declared::DeclaredEntry;
pub(crate) use entries::parse;
pub(crate) use experiment::{ArmEntry, ExperimentEntry, HoldoutEntry, LayerEntry};
pub(crate) use exploration::{CountEntry, EvidenceEntry};
pub(crate) use ladder::{LadderEntry, PriorBySegment};
pub(crate) use limits::ChannelEntry;
pub(crate) use payload::{MAX_PAYLOAD_BYTES, write_text as quoted_json};
pub(crate) use rule::RuleEntry;
pub use table::named_files;
pub(crate) use table::{MAX_TABLE_FAULTS, TableEntry};

/// Bytes of a policy file.
pub(crate) const MAX_FILE_BYTES: usize = 4 << 20;
/// Decision points of a policy.
pub(crate) const MAX_POINTS: usize = 64;
/// Actions of a policy, and so of a decision point.
pub(crate) const MAX_ACTIONS: usize = 256;
/// Rules of a policy.
pub(crate) const MAX_RULES: usize = 1_000;
/// Holdouts of a policy.
pub(crate) const MAX_HOLDOUTS: usize = 16;
/// Layers of a policy.
pub(crate) const MAX_LAYERS: usize = 64;
/// Experiments of a policy.
pub(crate) const MAX_EXPERIMENTS: usize = 64;
/// Rules and rows of tables, each counted at every decision point where it holds.
pub(crate) const MAX_PLACED_RULES: usize = 100_000;
/// Model aliases of a policy.
pub(crate) const MAX_MODELS: usize = 64;
/// Models that one decision point asks.
pub(crate) const MAX_MODELS_PER_POINT: usize = 8;
/// Declared segments of a policy.
pub(crate) const MAX_SEGMENTS: usize = 64;
/// Segments that one decision point reads.
pub(crate) const MAX_SEGMENTS_PER_POINT: usize = 8;
/// Words for inputs of models, in all.
pub(crate) const MAX_WORDS: usize = 1_000;
/// Words that one model may add to a decision.
pub(crate) const MAX_WORDS_PER_DECISION: i64 = 8;
/// Caps of one action.
pub(crate) const MAX_CAPS_PER_ACTION: usize = 8;
/// Files of tests that a policy names.
pub(crate) const MAX_TEST_FILES: usize = 16;
/// Channels of which a policy says something.
pub(crate) const MAX_CHANNELS: usize = 64;
/// Declared traits of people.
pub(crate) const MAX_TRAITS: usize = 64;
/// Request-time values that one decision point declares.
pub(crate) const MAX_CONTEXT_PER_POINT: usize = 64;

/// A value and the byte at which it stands in the file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) offset: usize,
}

/// An expression's source and the bytes of the file that spell it, quotes included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) source: String,
    pub(crate) span: Range<usize>,
    /// How a cell of a table spells it, together with the title of its column; `None` of a string of the policy.
    pub(crate) cell: Option<cell::Spelling>,
}

/// A whole file. Entries with a mistake in them are kept as far as they could be read, so that one mistake does
/// not raise complaints about everything that refers to the entry.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    pub(crate) points: Vec<PointEntry>,
    pub(crate) models: Vec<ModelEntry>,
    pub(crate) segments: Vec<SegmentEntry>,
    pub(crate) actions: Vec<ActionEntry>,
    pub(crate) channels: Vec<ChannelEntry>,
    /// What is done about people whose time zone is not known, if the policy says so.
    pub(crate) unknown_zone: Option<UnknownZone>,
    pub(crate) rules: Vec<RuleEntry>,
    pub(crate) words: Vec<WordEntry>,
    /// Files of tests beside the policy.
    pub(crate) tests: Vec<String>,
    pub(crate) holdouts: Vec<HoldoutEntry>,
    pub(crate) layers: Vec<LayerEntry>,
    pub(crate) experiments: Vec<ExperimentEntry>,
    pub(crate) consent_from_request: bool,
    pub(crate) tables: Vec<TableEntry>,
    /// What people say of themselves.
    pub(crate) traits: Vec<DeclaredEntry>,
}

impl Policy {
    /// Every rule and every row of a table with the table's index: rules first.
    pub(crate) fn every_rule(&self) -> impl Iterator<Item = (&RuleEntry, Option<usize>)> {
        let rows = self.tables.iter().enumerate();
        let rows = rows.flat_map(|(index, table)| table.rows.iter().map(move |row| (row, Some(index))));
        self.rules.iter().map(|rule| (rule, None)).chain(rows)
    }
}

/// `[[decision_point]]`
#[derive(Debug)]
pub(crate) struct PointEntry {
    pub(crate) name: Located<String>,
    pub(crate) actions: Vec<Located<String>>,
    /// `None` after a complaint.
    pub(crate) default_action: Option<Located<String>>,
    pub(crate) deadline_ms: i64,
    pub(crate) models: Vec<Located<String>>,
    pub(crate) segments: Vec<Located<String>>,
    pub(crate) context: Vec<DeclaredEntry>,
    pub(crate) when_features_unavailable: WhenFeaturesUnavailable,
    pub(crate) exploration: Option<Located<Exploration>>,
    pub(crate) tie_break: TieBreak,
    pub(crate) fallback: LadderEntry,
    pub(crate) diversity: Vec<Located<Diversity>>,
}

/// `[[model]]`
#[derive(Debug)]
pub(crate) struct ModelEntry {
    pub(crate) name: Located<String>,
    pub(crate) registered_name: Located<String>,
    pub(crate) alias: Located<String>,
    /// Most words of one decision.
    pub(crate) explain_most: usize,
    pub(crate) prior: Option<Located<f64>>,
    pub(crate) prior_by_segment: Option<PriorBySegment>,
}

/// `[[segment]]`
#[derive(Debug)]
pub(crate) struct SegmentEntry {
    pub(crate) name: Located<String>,
    pub(crate) registered_name: Located<String>,
    pub(crate) alias: Located<String>,
}

/// `[[explain]]`
#[derive(Debug)]
pub(crate) struct WordEntry {
    pub(crate) model: Located<String>,
    pub(crate) feature: Located<String>,
    pub(crate) raises: Option<String>,
    pub(crate) lowers: Option<String>,
}

/// `[[action]]`
#[derive(Debug)]
pub(crate) struct ActionEntry {
    pub(crate) name: Located<String>,
    pub(crate) channel: Option<Located<String>>,
    /// JSON text, empty if none was declared.
    pub(crate) payload: String,
    /// The payload's keys with their JSON texts, in order; `None` if it is no table.
    pub(crate) fields: Option<Vec<(String, String)>>,
    pub(crate) value: Option<Written>,
    pub(crate) value_fallback: f64,
    /// Whether the file says what it is worth.
    pub(crate) declares_value: bool,
    pub(crate) evidence: Option<EvidenceEntry>,
    pub(crate) eligible_when: Option<Written>,
    pub(crate) category: Option<Located<String>>,
    pub(crate) caps: Vec<Located<Cap>>,
    pub(crate) quiet: Option<Located<Quiet>>,
    pub(crate) budget: Option<Located<Budget>>,
    pub(crate) confirm_within: Option<Located<i64>>,
    pub(crate) expires_after_ms: Option<i64>,
    /// Purposes, ordered by name.
    pub(crate) requires_consent: Vec<Located<String>>,
}

/// Collects what is wrong with a policy. An offset means a byte of `policy.toml` or, from its end on, of the files that
/// it names, one after another: so one number is a place wherever it is.
#[derive(Debug)]
pub(crate) struct Complaints<'a> {
    /// With the offset at which each begins, ascending.
    files: Vec<(usize, &'a SourceFile)>,
    list: Vec<(usize, Diagnostic)>,
}

impl<'a> Complaints<'a> {
    pub(crate) fn new(source: Sources<'a>) -> Self {
        let mut complaints = Self { files: Vec::new(), list: Vec::new() };
        complaints.begin_file(source.policy);
        complaints
    }

    /// From here on offsets may be of `file`; returns the one of its first byte.
    pub(crate) fn begin_file(&mut self, file: &'a SourceFile) -> usize {
        // One more than its bytes: the end of a file is a place, too.
        let start = self.files.last().map_or(0, |(start, last)| start + last.text.len() + 1);
        self.files.push((start, file));
        start
    }

    /// `hint` may be empty.
    pub(crate) fn add(
        &mut self,
        offset: usize,
        message: impl Into<String>,
        expected: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let Some(complaint) = self.at(offset, message, expected) else { return };
        self.list.push((offset, complaint.with_hint(hint)));
    }

    /// What can be said of the place, without keeping it.
    pub(crate) fn at(
        &self,
        offset: usize,
        message: impl Into<String>,
        expected: impl Into<String>,
    ) -> Option<Diagnostic> {
        let index = self.files.partition_point(|(start, _)| *start <= offset).saturating_sub(1);
        let (start, file) = self.files.get(index)?;
        Some(Diagnostic::at_offset(&file.name, &file.text, offset - start, message, expected))
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// In file order.
    pub(crate) fn into_diagnostics(mut self) -> Vec<Diagnostic> {
        self.list.sort_by_key(|(offset, _)| *offset);
        self.list.into_iter().map(|(_, complaint)| complaint).collect()
    }
}

/// `did you mean ...` with the nearest of `known`, or nothing if none is near.
pub(crate) fn suggestion<'k>(found: &str, known: impl Iterator<Item = &'k str>) -> String {
    let near =
        known.map(|name| (strsim::jaro_winkler(found, name), name)).filter(|(likeness, _)| *likeness > 0.75);
    let nearest = near.max_by(|(a, _), (b, _)| a.total_cmp(b));
    nearest.map_or_else(String::new, |(_, name)| format!("did you mean `{name}`?"))
}

/// The byte of the file at which the byte `offset` of a string's value is spelled. `span` is the string as it
/// stands in the file, with its quotes.
pub(crate) fn offset_in_file(text: &str, written: &Written, offset: usize) -> usize {
    if let Some(cell) = &written.cell {
        return cell.offset_in_file(offset);
    }
    let raw = text.get(written.span.clone()).unwrap_or_default();
    let quote = raw.chars().next().unwrap_or('"');
    let triple = raw.len() >= 6 && raw.chars().take(3).all(|c| c == quote);
    let opening = if triple { 3 } else { 1 };
    let mut rest = raw.get(opening..).unwrap_or_default();
    if triple {
        // A line break right after the opening quotes is not part of the value.
        rest = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')).unwrap_or(rest);
    }
    for c in written.source.get(..offset).unwrap_or(&written.source).chars() {
        let spelled = if quote == '"' { spelled_bytes(rest) } else { c.len_utf8() };
        rest = rest.get(spelled..).unwrap_or_default();
    }
    written.span.start + (raw.len() - rest.len())
}

/// How many bytes spell the next character of a basic string, skipped line breaks included.
fn spelled_bytes(rest: &str) -> usize {
    let Some(escape) = rest.strip_prefix('\\') else { return rest.chars().next().map_or(0, char::len_utf8) };
    match escape.chars().next() {
        Some('x') => 4,
        Some('u') => 6,
        Some('U') => 10,
        Some(c) if c.is_whitespace() => {
            let after = escape.trim_start();
            rest.len() - after.len() + spelled_bytes(after)
        }
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_escaped_strings_are_exact() {
        for (raw, source, needle) in [
            (r#""a == bad""#, "a == bad", "bad"),
            (r#""\"x\" == bad""#, "\"x\" == bad", "bad"),
            (r#""\u00e9\U000000e9\xe9 bad""#, "ééé bad", "bad"),
            ("'é bad'", "é bad", "bad"),
            ("\"\"\"\na\n bad\"\"\"", "a\n bad", "bad"),
            ("\"\"\"a \\\n   bad\"\"\"", "a bad", "bad"),
            ("'''\r\na bad'''", "a bad", "bad"),
        ] {
            let text = format!("when = {raw}\n");
            let written = Written { source: source.to_owned(), span: 7..7 + raw.len(), cell: None };
            let found = offset_in_file(&text, &written, source.find(needle).unwrap());
            let line_break = raw.contains("\\\n");
            let place = text.find(needle).unwrap();
            assert!(
                found == place
                    || (line_break && text[found..place].trim_start_matches('\\').trim().is_empty()),
                "{raw}"
            );
        }
    }

    #[test]
    fn suggestions_are_near_or_absent() {
        assert_eq!(suggestion("discont", ["discount", "none"].into_iter()), "did you mean `discount`?");
        assert_eq!(suggestion("zzz", ["discount", "none"].into_iter()), "");
    }
}
