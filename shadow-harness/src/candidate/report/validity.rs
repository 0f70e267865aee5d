//! Whether a report may be believed at all: what was read, what the candidate could not decide, and whether what decided
//! then comes out the same byte for byte.
//!
//! Not here: the control replay itself (`verify`).

use std::collections::{BTreeMap, BTreeSet};

use augur_domain::decision::Rung;
use augur_domain::{ContentHash, DecisionRecord, Timestamp};
use serde::Serialize;

use crate::report::{Verdict as ControlVerdict, VerifyReport};

/// Versions and policies that are told; a log may have more.
const MAX_TOLD: usize = 20;

/// What the control replay found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Control {
    /// The worst of it.
    pub verdict: ControlVerdict,
    /// Intact records.
    pub records: u64,
    /// Of them decided again with the same bytes.
    pub equal: u64,
    /// Decided differently.
    pub different: u64,
    /// Not decided, as a policy or a model is missing.
    pub unverifiable: u64,
    /// Damaged places of the log.
    pub corrupt: u64,
}

impl Control {
    /// The essence of a control replay.
    pub fn of(report: &VerifyReport) -> Self {
        Self {
            verdict: report.verdict,
            records: report.records,
            equal: report.equal,
            different: report.different,
            unverifiable: report.unverifiable,
            corrupt: report.corrupt,
        }
    }

    /// Whether nothing differs by itself.
    pub fn is_clean(&self) -> bool {
        self.verdict == ControlVerdict::Identical
    }
}

/// What a report stands on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Validity {
    /// The control replay; `None` if there was none.
    pub control: Option<Control>,
    /// The first decision read, RFC 3339; empty if there is none.
    pub first_at: String,
    /// The last one.
    pub last_at: String,
    /// Ids of the policies that decided, at most 20.
    pub policies: BTreeSet<String>,
    /// Versions that were asked, by alias, at most 20 each.
    pub models: BTreeMap<String, BTreeSet<String>>,
    /// Decisions below the top rung, as logged, of those compared.
    pub fallbacks_logged: u64,
    /// By the candidate.
    pub fallbacks_candidate: u64,
}

/// Validity on its way.
#[derive(Debug, Default)]
pub(super) struct Survey {
    found: Validity,
    span: Option<(Timestamp, Timestamp)>,
    last_policy: Option<ContentHash>,
}

impl Survey {
    pub(super) fn read(&mut self, record: &DecisionRecord) {
        let now = record.inputs.now;
        let (first, last) = self.span.unwrap_or((now, now));
        self.span = Some((first.min(now), last.max(now)));
        // Most records are of one policy with one set of models; a model that changes is in the scores.
        if self.last_policy != Some(record.policy) && self.found.policies.len() < MAX_TOLD {
            self.found.policies.insert(record.policy.to_string());
            self.last_policy = Some(record.policy);
        }
        for (alias, model) in &record.models {
            let name = |version: u32| format!("{} {version}", model.name);
            match self.found.models.get_mut(&**alias) {
                Some(known) if known.len() >= MAX_TOLD => {}
                Some(known) => {
                    let name = name(model.version);
                    if !known.contains(&name) {
                        known.insert(name);
                    }
                }
                None => {
                    self.found.models.insert(alias.to_string(), BTreeSet::from([name(model.version)]));
                }
            }
        }
    }

    pub(super) fn compared(&mut self, logged: Rung, candidate: Rung) {
        self.found.fallbacks_logged += u64::from(logged != Rung::Champion);
        self.found.fallbacks_candidate += u64::from(candidate != Rung::Champion);
    }

    /// The last instant that was decided at.
    pub(super) fn last_at(&self) -> Timestamp {
        self.span.map_or(Timestamp::MIN, |(_, last)| last)
    }

    pub(super) fn finish(self, control: Option<Control>) -> Validity {
        let (first_at, last_at) =
            self.span.map_or_else(Default::default, |(first, last)| (first.to_string(), last.to_string()));
        Validity { control, first_at, last_at, ..self.found }
    }
}
