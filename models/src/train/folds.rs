//! Folds by group: who is in a fold is in it with all their rows, so that no fit has seen the people it scores.
//!
//! Not here: folds over time. What comes later is held back as a whole ([`super::Split::Test`]).

use std::collections::BTreeMap;

use augur_domain::rng::{Purpose, Rng};

use super::design::Design;
use super::logistic::Penalty;
use super::newton::{Coefficients, Problem};
use crate::Error;

/// The fold of each row, or `None` when groups or classes are too few for two folds that each leave both classes
/// to fit on. Deterministic in the seed; a group's fold does not depend on the order of rows.
pub(super) fn assign(groups: &[u64], labels: &[bool], folds: usize, seed: u64) -> Option<Vec<usize>> {
    let mut has_positive: BTreeMap<u64, bool> = BTreeMap::new();
    for (group, label) in groups.iter().zip(labels) {
        *has_positive.entry(*group).or_default() |= label;
    }
    let mut order: Vec<(u64, bool)> = has_positive.into_iter().collect();
    shuffle(&mut order, seed);
    // Groups with a positive row are dealt first, so that each fold gets its share of them.
    order.sort_by_key(|(_, positive)| !positive);
    let folds = folds.min(order.len());
    if folds < 2 {
        return None;
    }
    let fold_of: BTreeMap<u64, usize> =
        order.iter().enumerate().map(|(index, (group, _))| (*group, index % folds)).collect();
    let assigned: Vec<usize> = groups.iter().map(|group| fold_of.get(group).copied().unwrap_or(0)).collect();
    let fits_both = |fold: usize| {
        let outside =
            || assigned.iter().zip(labels).filter(move |(of, _)| **of != fold).map(|(_, label)| *label);
        outside().any(|label| label) && outside().any(|label| !label)
    };
    (0..folds).all(fits_both).then_some(assigned)
}

fn shuffle(order: &mut [(u64, bool)], seed: u64) {
    let mut rng = Rng::new(seed, Purpose::Training);
    for index in (1..order.len()).rev() {
        order.swap(index, rng.below(index as u64 + 1) as usize);
    }
}

/// The margin of each row by a fit that left its fold out. `start` only saves steps: each fit runs to its own
/// optimum, and the problem has only one. The weights of the columns `held` stay at 0, as `start` has them.
pub(super) fn out_of_fold_margins(
    design: &Design,
    assigned: &[usize],
    penalty: Penalty,
    start: &Coefficients,
    held: &[usize],
) -> Result<Vec<f64>, Error> {
    let folds = assigned.iter().max().map_or(0, |last| last + 1);
    let mut margins = vec![0.0; assigned.len()];
    for fold in 0..folds {
        let without = Some((assigned, fold));
        let problem = Problem { matrix: &design.matrix, labels: &design.labels, penalty, without, held };
        let optimum = problem.minimise(start.clone(), "logistic regression of a fold")?;
        for ((margin, row), of) in margins.iter_mut().zip(design.matrix.rows()).zip(assigned) {
            if *of == fold {
                *margin = optimum.coefficients.margin(row);
            }
        }
    }
    Ok(margins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_stay_whole_and_positives_are_shared_out() {
        let groups: Vec<u64> = (0..1_000).map(|row| row % 250).collect();
        let labels: Vec<bool> = groups.iter().map(|group| group % 10 == 0).collect();
        let folds = assign(&groups, &labels, 5, 7).unwrap();
        let mut positives = [0; 5];
        for (row, fold) in folds.iter().enumerate() {
            assert_eq!(*fold, folds[row % 250]);
            positives[*fold] += usize::from(labels[row]);
        }
        assert_eq!(positives, [20; 5]);
        assert_eq!(folds, assign(&groups, &labels, 5, 7).unwrap());
        assert_ne!(folds, assign(&groups, &labels, 5, 8).unwrap());
        // The same people in another order fall into the same folds.
        let (reversed_groups, reversed_labels): (Vec<u64>, Vec<bool>) =
            groups.iter().copied().zip(labels.iter().copied()).rev().unzip();
        let mut reversed = assign(&reversed_groups, &reversed_labels, 5, 7).unwrap();
        reversed.reverse();
        assert_eq!(folds, reversed);
    }

    #[test]
    fn too_few_people_give_no_folds() {
        assert_eq!(assign(&[1, 1, 1], &[true, false, true], 5, 0), None);
        // One person holds every positive: leaving them out leaves one class.
        assert_eq!(assign(&[1, 2, 3], &[true, false, false], 3, 0), None);
        assert!(assign(&[1, 2, 3, 4], &[true, false, true, false], 2, 0).is_some());
    }
}
