//! What a replay found: for machines as JSON, for people as text, for scripts as an exit code.
//!
//! Not here: finding it (`verify`, `check`).

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::difference::Difference;

/// Most differences, faults and missing things listed one by one; all are counted.
pub const MAX_LISTED: usize = 20;

/// The exit code of a program whose replay came to no verdict.
pub const EXIT_ERROR: u8 = 1;
const EXIT_IDENTICAL: u8 = 0;
pub(crate) const EXIT_DIFFERENT: u8 = 3;
pub(crate) const EXIT_CORRUPT: u8 = 4;
const EXIT_UNVERIFIABLE: u8 = 5;
pub(crate) const EXIT_TRUNCATED: u8 = 6;
pub(crate) const EXIT_EMPTY: u8 = 7;

/// The worst of what was found, worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every record was decided again with the same bytes.
    Identical,
    /// There was no record to decide again, so nothing was shown.
    Empty,
    /// Some records could not be decided again: a policy or a model is missing.
    Unverifiable,
    /// Some records were decided differently.
    Different,
    /// The log is damaged or records are missing from it.
    Corrupt,
}

/// A place where the log is damaged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Fault {
    /// Sequence of the record that should have been there.
    pub sequence: u64,
    /// What is wrong, where, and what to do.
    pub message: String,
}

/// Records that could not be decided again, for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unverifiable {
    /// What is missing and why.
    pub message: String,
    /// Sequence of the first such record.
    pub first_sequence: u64,
    /// How many there are.
    pub records: u64,
}

/// The unfinished end of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TruncatedTail {
    /// The last segment.
    pub file: String,
    /// Where the unfinished frame begins.
    pub offset: u64,
    /// How many bytes of it there are.
    pub bytes: u64,
}

/// What a replay found. All but the timings depends on the log alone, however many threads took part.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerifyReport {
    /// The worst of what was found.
    pub verdict: Verdict,
    /// The exit code that a program should end with; see [`Self::exit_code`].
    pub exit_code: u8,
    /// Intact records read.
    pub records: u64,
    /// Records decided again with the same bytes.
    pub equal: u64,
    /// Records decided differently.
    pub different: u64,
    /// Intact records that could not be decided again.
    pub unverifiable: u64,
    /// Places where the log is damaged.
    pub corrupt: u64,
    /// The first of the different records, at most [`MAX_LISTED`].
    pub first_differences: Vec<Difference>,
    /// What is missing, at most [`MAX_LISTED`], earliest need first.
    pub missing: Vec<Unverifiable>,
    /// The first of the damaged places, at most [`MAX_LISTED`].
    pub first_faults: Vec<Fault>,
    /// The unfinished end of the log, if it has one.
    pub truncated_tail: Option<TruncatedTail>,
    /// How often each action was logged.
    pub actions: BTreeMap<String, u64>,
    /// How often each reason code was logged.
    pub reasons: BTreeMap<String, u64>,
    /// How often each fallback rung was logged.
    pub rungs: BTreeMap<String, u64>,
    /// Version of the decision engine that decided again.
    pub engine_version: u32,
    /// Wall time.
    pub elapsed_ms: u64,
    /// Intact records by wall time.
    pub records_per_second: f64,
}

impl VerifyReport {
    /// Weighs what was found.
    pub(crate) fn settle(mut self) -> Self {
        self.verdict = if self.corrupt > 0 {
            Verdict::Corrupt
        } else if self.different > 0 {
            Verdict::Different
        } else if self.unverifiable > 0 {
            Verdict::Unverifiable
        } else if self.records == 0 {
            Verdict::Empty
        } else {
            Verdict::Identical
        };
        self.exit_code = match self.verdict {
            Verdict::Corrupt => EXIT_CORRUPT,
            Verdict::Different => EXIT_DIFFERENT,
            Verdict::Unverifiable => EXIT_UNVERIFIABLE,
            Verdict::Empty => EXIT_EMPTY,
            Verdict::Identical if self.truncated_tail.is_some() => EXIT_TRUNCATED,
            Verdict::Identical => EXIT_IDENTICAL,
        };
        self
    }

    /// 0 identical, 3 different, 4 corrupted or missing records, 5 missing policy or model, 6 identical up to an
    /// unfinished end, 7 nothing to verify. [`EXIT_ERROR`] is for a replay that returned an error instead.
    pub const fn exit_code(&self) -> u8 {
        self.exit_code
    }

    /// The report as indented JSON.
    ///
    /// # Errors
    /// None in practice: every field is a number, a text, a list or a map by text.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    fn headline(&self) -> String {
        let records = self.records;
        match self.verdict {
            Verdict::Empty => "NOTHING TO VERIFY: the log holds no whole record".to_owned(),
            Verdict::Identical => {
                format!("IDENTICAL: all {records} decisions came out the same, byte for byte")
            }
            Verdict::Different => {
                format!("DIFFERENT: {} of {records} decisions came out differently", self.different)
            }
            Verdict::Unverifiable => format!(
                "UNVERIFIABLE: {} of {records} decisions could not be made again, a policy or a model is missing",
                self.unverifiable
            ),
            Verdict::Corrupt => format!("CORRUPT: damaged places in the log: {}", self.corrupt),
        }
    }
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.headline())?;
        writeln!(
            formatter,
            "records {}, equal {}, different {}, unverifiable {}, corrupt places {}",
            self.records, self.equal, self.different, self.unverifiable, self.corrupt
        )?;
        if let Some(tail) = &self.truncated_tail {
            writeln!(
                formatter,
                "truncated tail: {} ends in {} bytes of an unfinished record at byte {}, as a crash leaves it; \
                 opening the log for writing removes them",
                tail.file, tail.bytes, tail.offset
            )?;
        }
        list(formatter, "corrupt places", self.corrupt, &self.first_faults, |fault| {
            format!("record {}: {}", fault.sequence, fault.message)
        })?;
        list(formatter, "differences", self.different, &self.first_differences, ToString::to_string)?;
        list(formatter, "missing", self.missing.len() as u64, &self.missing, |missing| {
            format!("{} ({} records from {} on)", missing.message, missing.records, missing.first_sequence)
        })?;
        for (name, counts) in [("actions", &self.actions), ("reasons", &self.reasons), ("rungs", &self.rungs)]
        {
            let counts: Vec<_> = counts.iter().map(|(word, count)| format!("{word} {count}")).collect();
            writeln!(formatter, "{name}: {}", counts.join(", "))?;
        }
        write!(
            formatter,
            "engine {}, {} ms, {:.0} records/s",
            self.engine_version, self.elapsed_ms, self.records_per_second
        )
    }
}

/// Writes the first items of a list under its name and full length.
fn list<T>(
    formatter: &mut fmt::Formatter<'_>,
    name: &str,
    count: u64,
    items: &[T],
    text: impl Fn(&T) -> String,
) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    let more =
        if count > items.len() as u64 { format!(", the first {}", items.len()) } else { String::new() };
    writeln!(formatter, "{name} ({count}{more}):")?;
    items.iter().try_for_each(|item| writeln!(formatter, "  {}", text(item)))
}
