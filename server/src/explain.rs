//! Decisions read back from the log: by id, and as they are written.
//!
//! Not here: the log's bytes (`augur_decision_log`).

use std::path::PathBuf;
use std::sync::Arc;

use augur_decision_log::{Error as LogError, Reader, find_decision};
use augur_domain::time::HOUR_MS;
use augur_domain::{DecisionId, DecisionRecord, FeatureSet};
use augur_models::Scorer;
use augur_proto::convert::decisions::record_to_wire;
use augur_proto::v1;

use crate::recent::{Made, Memory};
use crate::{App, Error};

/// A record is looked for from this long before the instant in its id to this long after: the log's order is that of
/// writing, and clocks are set back.
const SCAN_SLACK_MS: i64 = HOUR_MS;

/// How much one feature moved one model's margin.
#[derive(Debug, Clone, PartialEq)]
pub struct Contribution {
    /// The model's name in the policy.
    pub alias: Arc<str>,
    /// The feature.
    pub feature: Arc<str>,
    /// Added to the margin, compared with a user at the training mean.
    pub margin: f64,
}

/// One decision, explained.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// Everything that it depended on.
    pub record: DecisionRecord,
    /// Per model and feature, largest first; empty when the features have been redefined since.
    pub contributions: Vec<Contribution>,
}

impl Explanation {
    /// As `Explain` answers; features are named if `features` are those that the decision was made with.
    pub fn to_wire(&self, features: &FeatureSet) -> v1::ExplainResponse {
        let contributions = self.contributions.iter().map(|contribution| v1::Contribution {
            alias: contribution.alias.to_string(),
            feature: contribution.feature.to_string(),
            margin: contribution.margin,
        });
        v1::ExplainResponse {
            record: Some(record_to_wire(&self.record, Some(features))),
            contributions: contributions.collect(),
        }
    }
}

impl App {
    /// Finds a decision in the log and says what moved its scores. Blocks: recent ones are found at once, older
    /// ones by the index of the segment around the instant in the id, or by reading that if it is not sealed yet.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Overloaded`] when too many scans run, [`Error::Log`], [`Error::Models`] when
    /// the model that scored cannot be loaded.
    pub fn explain(&self, id: DecisionId) -> Result<Explanation, Error> {
        let record = self.find(id)?.ok_or_else(|| Error::NotFound {
            kind: "decision",
            name: id.to_string(),
            hint: "it was never made here, or its part of the log is gone".to_owned(),
        })?;
        let contributions = self.contributions(&record)?;
        Ok(Explanation { record, contributions })
    }

    fn find(&self, id: DecisionId) -> Result<Option<DecisionRecord>, Error> {
        let dir = self.layout.decisions();
        if let Memory::Made(Made { sequence, .. }) = self.recent.look(id) {
            match Reader::open_from(&dir, sequence)?.next() {
                Some(Ok((_, record))) if record.inputs.decision_id == id => return Ok(Some(record)),
                Some(Err(error)) if !matches!(error, LogError::TruncatedTail { .. }) => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
        let _permit = self.scan_permits.try_acquire().map_err(|_| Error::Overloaded {
            what: "the number of scans of the decision log",
            limit: crate::app::MAX_SCANS,
        })?;
        let latest = id.made_at().plus_millis(SCAN_SLACK_MS);
        let earliest = id.made_at().plus_millis(-SCAN_SLACK_MS);
        Ok(find_decision::<DecisionRecord>(&dir, id, earliest, latest)?.map(|(_, record)| record))
    }

    fn contributions(&self, record: &DecisionRecord) -> Result<Vec<Contribution>, Error> {
        let features = self.feature_set();
        if record.inputs.features.feature_set != features.hash() {
            return Ok(Vec::new());
        }
        let mut contributions = Vec::new();
        let mut moved = Vec::new();
        let asked = record.decision.scores.iter().filter(|outcome| outcome.score.is_some());
        for (outcome, model) in asked.filter_map(|outcome| Some((outcome, outcome.model.as_ref()?))) {
            let scorer = Scorer::new(&self.registry.load(model)?, &features)?;
            scorer.contributions(&record.inputs.features, &mut moved);
            contributions.extend(moved.iter().filter_map(|(slot, margin)| {
                let feature = Arc::clone(&features.features().get(*slot)?.name);
                Some(Contribution { alias: Arc::clone(&outcome.alias), feature, margin: *margin })
            }));
        }
        contributions.sort_by(|a, b| b.margin.abs().total_cmp(&a.margin.abs()));
        Ok(contributions)
    }

    /// The first sequence that has not been written yet.
    pub fn next_sequence(&self) -> u64 {
        self.log.stats().written_sequence + 1
    }

    /// The log's directory, for readers.
    pub fn decisions_dir(&self) -> PathBuf {
        self.layout.decisions()
    }
}
