//! Every decision of a log that comes out otherwise today, as a text that people read, approve and commit: so no change
//! alters what was decided without somebody having looked.
//!
//! Not here: the summary of a replay (`verify`), which lists the first differences and counts the rest.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use augur_decision::{PolicySnapshot, decide};
use augur_decision_log::codec::{RecordView, encode_decision};
use augur_decision_log::{Error as LogError, Reader, unreadable};
use augur_domain::{ContentHash, DecisionRecord};

use crate::difference::compare;
use crate::{Error, SnapshotSource};

/// Differing decisions that are told one by one; further ones are counted.
const MAX_DECISIONS: usize = 100_000;
/// Records between two calls of `progress`.
const PROGRESS_EVERY: u64 = 1_024;
const TITLE: &str = "# Decisions that come out otherwise than they were logged: record, decision and point, then field by field as logged and\n# as decided today. Written by `augur replay --verify --differences FILE`.\n";

/// The differences between a log and today's decisions, and what was approved of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Differences {
    /// One for each decision that differs, in the order of the log, each with its fields.
    decisions: Vec<String>,
    /// Of those beyond the bound.
    more: u64,
}

impl Differences {
    /// Decides every record of the log in `log` again.
    ///
    /// # Errors
    /// [`Error::Log`] when the log cannot be read or is damaged.
    pub fn of(log: &Path, source: &dyn SnapshotSource, progress: &dyn Fn(u64)) -> Result<Self, Error> {
        let mut found = Self::default();
        let mut current: Option<(ContentHash, Vec<u8>, Result<PolicySnapshot, ()>)> = None;
        let mut reader = Reader::open(log)?;
        let (mut read, mut replayed) = (0, Vec::new());
        loop {
            let (position, bytes) = match reader.next_bytes() {
                Ok(Some(next)) => next,
                // What the writer is about to finish ends the log as it stands.
                Ok(None) | Err(LogError::TruncatedTail { .. }) => break,
                Err(error) => return Err(error.into()),
            };
            let refused = |error| unreadable(log, position, error);
            let view = RecordView::parse(bytes).map_err(refused)?;
            let is_same = |(policy, models, _): &(ContentHash, Vec<u8>, _)| {
                *policy == view.policy && *models == view.models_bytes()
            };
            if !current.as_ref().is_some_and(is_same) {
                let models = view.models().map_err(refused)?;
                // What is missing, and where it should lie, is for the summary.
                let snapshot = source.snapshot(view.policy, &models).map_err(drop);
                current = Some((view.policy, view.models_bytes().to_vec(), snapshot));
            }
            match &current {
                Some((_, _, Ok(policy))) => {
                    let decision = decide(policy, &view.inputs().map_err(refused)?);
                    replayed.clear();
                    encode_decision(&decision, &mut replayed);
                    if replayed != view.decision_bytes() {
                        let record = view.decode().map_err(refused)?;
                        found.push(&record, |told| {
                            for field in compare(&record.decision, &decision) {
                                let (stage, name) = (field.stage.as_str(), field.field);
                                // Writing to a String does not fail.
                                let _written = writeln!(
                                    told,
                                    "  {stage}: {name}: {} -> {}",
                                    field.logged, field.replayed
                                );
                            }
                        });
                    }
                }
                _ => found.push(&view.decode().map_err(refused)?, |told| {
                    told.push_str("  its policy, or a model, cannot be used any more\n");
                }),
            }
            read += 1;
            if read % PROGRESS_EVERY == 0 {
                progress(read);
            }
        }
        progress(read);
        Ok(found)
    }

    fn push(&mut self, record: &DecisionRecord, fields: impl FnOnce(&mut String)) {
        if self.decisions.len() == MAX_DECISIONS {
            self.more += 1;
            return;
        }
        let inputs = &record.inputs;
        let mut told = format!(
            "record {}, decision {} at {}\n",
            record.sequence, inputs.decision_id, inputs.decision_point
        );
        fields(&mut told);
        self.decisions.push(told);
    }

    /// How many decisions differ.
    pub fn count(&self) -> u64 {
        self.decisions.len() as u64 + self.more
    }

    /// As a file for people to approve.
    pub fn to_text(&self) -> String {
        let mut text = TITLE.to_owned();
        text.extend(self.decisions.iter().map(String::as_str));
        if self.more > 0 {
            text.push_str(&format!("and {} more\n", self.more));
        }
        text
    }

    /// What the approved text does not have, and what it has that does not differ any more. Nothing of both when exactly
    /// these differences were approved.
    pub fn held_against(&self, approved: &str) -> Unapproved {
        let text = self.to_text();
        let (found, approved) = (blocks(&text), blocks(approved));
        let only =
            |one: &BTreeSet<String>, other: &BTreeSet<String>| one.difference(other).cloned().collect();
        Unapproved { new: only(&found, &approved), gone: only(&approved, &found) }
    }
}

/// How differences and an approval do not agree.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Unapproved {
    /// Decisions that differ and were not approved so.
    pub new: Vec<String>,
    /// Approved ones that do not differ so any more.
    pub gone: Vec<String>,
}

impl Unapproved {
    /// Whether exactly the approved decisions differ, as approved.
    pub fn is_nothing(&self) -> bool {
        self.new.is_empty() && self.gone.is_empty()
    }
}

/// A line that is not indented, with the indented ones behind it; comments are left out.
fn blocks(text: &str) -> BTreeSet<String> {
    let mut blocks = Vec::<String>::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        match blocks.last_mut() {
            Some(block) if line.starts_with(' ') => {
                block.push('\n');
                block.push_str(line);
            }
            _ => blocks.push(line.to_owned()),
        }
    }
    blocks.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_approval_is_exact() {
        let found =
            Differences { decisions: vec!["record 1\n  a\n  b\n".into(), "record 2\n  c\n".into()], more: 0 };
        assert!(found.held_against(&found.to_text()).is_nothing());
        let other = found.held_against("# says nothing\nrecord 1\n  a\n\nrecord 2\n  c\nrecord 3\n  d\n");
        assert_eq!(other.new, ["record 1\n  a\n  b"]);
        assert_eq!(other.gone, ["record 1\n  a", "record 3\n  d"]);
        assert!(Differences::default().held_against(TITLE).is_nothing());
        let many = Differences { more: 4, ..Differences::default() };
        assert_eq!((many.count(), many.held_against("").new.len()), (4, 1));
    }
}
