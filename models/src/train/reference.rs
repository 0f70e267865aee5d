//! What drift is told against: how the inputs and scores of the rows were distributed that a model was measured on.
//!
//! Not here: the comparison (`drift`).

use std::collections::BTreeMap;

use super::table::StoredRow;
use super::{Split, TrainingTable, predictions};
use crate::Error;
use crate::artifact::{Artifact, InputReference, Reference, SCORE_BINS};
use crate::drift::score_bin;

/// Bins of an input's values: each holds a tenth of them, or more where values repeat.
const VALUE_BINS: usize = 10;
/// With fewer people held back, the rows fitted on are the reference.
const LEAST_PEOPLE: usize = 200;

/// The distribution of the rows held back, or of the rows fitted on if too few are held back: of each person the latest,
/// because rows of one person are alike and bands are of people. `None` without rows.
pub(super) fn reference(artifact: &Artifact, table: &TrainingTable) -> Result<Option<Reference>, Error> {
    let held_back = latest(table, Split::Test);
    let (split, rows) = if held_back.len() >= LEAST_PEOPLE {
        (Split::Test, held_back)
    } else {
        (Split::Train, latest(table, Split::Train))
    };
    if rows.is_empty() {
        return Ok(None);
    }
    let scored = predictions(artifact, table, split)?;
    let mut scores = [0.0; SCORE_BINS];
    let mut positives = 0.0;
    let whole = rows.len() as f64;
    for (row, (score, label)) in rows.iter().filter_map(|(row, place)| Some((row, scored.get(*place)?))) {
        debug_assert_eq!(row.label, *label);
        if let Some(share) = scores.get_mut(score_bin(score.calibrated)) {
            *share += 1.0;
        }
        positives += f64::from(u8::from(*label));
    }
    let column = |feature: &str| table.columns().iter().position(|column| column == feature);
    let inputs = artifact.content().body.features();
    let inputs = inputs.iter().map(|(feature, _)| {
        let column = column(feature);
        let values = rows.iter().filter_map(|(row, _)| row.value(column?));
        of_input(values.collect(), rows.len())
    });
    Ok(Some(Reference {
        inputs: inputs.collect(),
        scores: scores.map(|count: f64| count / whole),
        base_rate: positives / whole,
        rows: rows.len() as u64,
    }))
}

/// The latest row of every group, with its place in the part.
fn latest(table: &TrainingTable, split: Split) -> Vec<(StoredRow<'_>, usize)> {
    let mut of_group: BTreeMap<u64, (StoredRow<'_>, usize)> = BTreeMap::new();
    for (place, row) in table.part(split).enumerate() {
        let known = of_group.entry(row.group).or_insert((row, place));
        if row.time >= known.0.time {
            *known = (row, place);
        }
    }
    of_group.into_values().collect()
}

fn of_input(mut values: Vec<f64>, rows: usize) -> InputReference {
    values.sort_by(f64::total_cmp);
    let mut edges: Vec<f64> = Vec::with_capacity(VALUE_BINS - 1);
    for tenth in 1..VALUE_BINS {
        // The greatest value that belongs to the lower bin; the greatest of all is no border.
        let Some(edge) = (values.len() * tenth).div_ceil(VALUE_BINS).checked_sub(1) else { break };
        let (Some(edge), Some(last)) = (values.get(edge), values.last()) else { break };
        if edge < last && edges.last().is_none_or(|before| before < edge) {
            edges.push(*edge);
        }
    }
    let mut counts = vec![0.0; edges.len() + 1];
    for value in &values {
        if let Some(count) = counts.get_mut(edges.partition_point(|edge| edge < value)) {
            *count += 1.0;
        }
    }
    let present = (values.len() as f64).max(1.0);
    InputReference {
        edges,
        shares: counts.into_iter().map(|count: f64| count / present).collect(),
        missing_share: 1.0 - values.len() as f64 / rows.max(1) as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_hold_tenths_and_ties_stay_together() {
        let spread = of_input((0..100).map(f64::from).collect(), 125);
        assert_eq!(spread.edges, [9.0, 19.0, 29.0, 39.0, 49.0, 59.0, 69.0, 79.0, 89.0]);
        assert!(spread.shares.iter().all(|share| (share - 0.1).abs() < 1e-12));
        assert!((spread.missing_share - 0.2).abs() < 1e-12);
        let tied = of_input([vec![0.0; 80], (1..=20).map(f64::from).collect()].concat(), 100);
        assert_eq!(tied.edges, [0.0, 10.0]);
        assert_eq!(tied.shares, [0.8, 0.1, 0.1]);
        let constant = of_input(vec![3.0; 5], 5);
        assert_eq!((constant.edges.len(), constant.shares), (0, vec![1.0]));
        let absent = of_input(Vec::new(), 5);
        assert_eq!((absent.shares, absent.missing_share), (vec![0.0], 1.0));
    }
}
