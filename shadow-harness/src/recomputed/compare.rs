//! One decision's features as logged and as computed again: which differ, by how much, and why.
//!
//! Not here: counting (`report`).

use std::collections::BTreeSet;
use std::sync::Arc;

use augur_domain::feature::{FeatureInfo, FeatureValue};
use augur_domain::{DecisionInputs, FeatureStatus, FeatureVector, Timestamp};
use augur_feature_store::{Differing, Recomputed, Unseen};

use super::definitions::Known;
use super::report::SkewKind;
use super::run::Visibility;

/// A feature that came out otherwise.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FeatureDifference {
    /// As logged.
    pub(super) slot: usize,
    pub(super) logged: Reading,
    pub(super) recomputed: Reading,
    /// Why; never empty.
    pub(super) kinds: BTreeSet<SkewKind>,
}

/// One value with all that belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    pub(super) value: FeatureValue,
    pub(super) text: Option<Arc<str>>,
}

impl Reading {
    fn of(vector: &FeatureVector, slot: usize) -> Self {
        let nothing = FeatureValue { value: 0.0, status: FeatureStatus::NullValue, event_time: None };
        Self { value: vector.values.get(slot).copied().unwrap_or(nothing), text: vector.text(slot).cloned() }
    }

    /// All of it, numbers by their bits.
    fn bits(&self) -> (u64, FeatureStatus, Option<Timestamp>, Option<&str>) {
        let FeatureValue { value, status, event_time } = self.value;
        (value.to_bits(), status, event_time, self.text.as_deref())
    }

    /// Whether only the instant of the latest event differs.
    pub(super) fn differs_in_age_alone(&self, other: &Self) -> bool {
        self.value.value.to_bits() == other.value.value.to_bits()
            && self.value.status == other.value.status
            && self.text == other.text
    }

    /// For people.
    pub(super) fn told(&self) -> String {
        let status = self.value.status.as_str();
        match (&self.text, self.value.status.is_usable()) {
            (Some(text), _) => format!("`{text}` {status}"),
            (None, true) => format!("{} {status}", self.value.value),
            (None, false) => status.to_owned(),
        }
    }
}

/// What of a decision's features came out otherwise, in slot order.
pub(super) fn compare(
    logged: &FeatureVector,
    recomputed: &Recomputed,
    known: &Known,
    (visibility, is_linked): (Visibility, bool),
) -> Vec<FeatureDifference> {
    let mut differences = Vec::new();
    let infos = known.logged.features().iter().zip(&known.slots).zip(&known.changed);
    for (slot, ((info, target), is_changed)) in infos.enumerate() {
        let Some(target) = *target else { continue };
        let (before, now) = (Reading::of(logged, slot), Reading::of(visibility.of(recomputed), target));
        if before.bits() == now.bits() {
            continue;
        }
        let received = Reading::of(&recomputed.as_received, target);
        let kinds = if received.bits() == before.bits() {
            by_events(
                &recomputed.differing,
                known.schema.feature_set().features().get(target).unwrap_or(info),
            )
        } else {
            let is_shorter = recomputed.as_received.watermark < logged.watermark;
            BTreeSet::from([match (*is_changed, is_linked, is_shorter) {
                (true, _, _) => SkewKind::DefinitionChanged,
                (false, true, _) => SkewKind::LinkSince,
                (false, false, true) => SkewKind::HistoryChanged,
                (false, false, false) => SkewKind::Unexplained,
            }])
        };
        differences.push(FeatureDifference { slot, logged: before, recomputed: now, kinds });
    }
    differences
}

/// Which of the events that only one of both reads saw the feature looks at.
fn by_events(differing: &[Differing], info: &FeatureInfo) -> BTreeSet<SkewKind> {
    let looks_at = |differing: &&Differing| match (&differing.event, &info.events) {
        (Some(event), Some(events)) => events.contains(event),
        _ => true,
    };
    let kinds: BTreeSet<SkewKind> = differing.iter().filter(looks_at).map(|of| of.why.into()).collect();
    // A feature of features may be told by nothing but what they are made of.
    if kinds.is_empty() { differing.iter().map(|of| of.why.into()).collect() } else { kinds }
}

impl From<Unseen> for SkewKind {
    fn from(why: Unseen) -> Self {
        match why {
            Unseen::LateEvent => Self::LateEvent,
            Unseen::Retraction => Self::Retraction,
            Unseen::Link => Self::LinkSince,
            Unseen::Ahead => Self::AheadOfTime,
        }
    }
}

/// The inputs with the features computed again in the place of the logged ones. Features that the definitions lack have
/// no value.
pub(super) fn with_features(inputs: &DecisionInputs, found: &FeatureVector, known: &Known) -> DecisionInputs {
    let mut inputs = inputs.clone();
    inputs.features.texts.clear();
    for (slot, (value, target)) in inputs.features.values.iter_mut().zip(&known.slots).enumerate() {
        // Beyond the definitions' slots there is no value.
        let now = Reading::of(found, target.unwrap_or(usize::MAX));
        *value = now.value;
        if let (Some(text), Ok(slot)) = (now.text, u32::try_from(slot)) {
            inputs.features.texts.push((slot, text));
        }
    }
    inputs
}
