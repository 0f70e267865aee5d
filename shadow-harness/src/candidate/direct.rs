//! What a reward model expects of every action, so that the candidate's value can be estimated doubly robustly.
//!
//! Not here: the estimators (`off_policy`), or what decisions were worth (`reward`).
//!
//! **The model** is a table: the mean reward of an action at a decision point, for scores of one tenth of the first model
//! asked. A cell of few decisions leans on the action's mean, and that on the mean of all (as if [`LEAN`] decisions more had
//! come out so). **Cross-fitted**: users are parted into five folds, and what is expected of a decision was learnt from the
//! other four, or the estimates would flatter themselves. A poor model makes intervals wider, not wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use augur_domain::{Decision, DecisionRecord};

use super::report::group;
use crate::off_policy::LoggedRow;

/// Rows that the value is estimated from, about 200 bytes each; further decisions are left out of it.
const MAX_ROWS: usize = 10_000_000;
/// Parts of the users.
const FOLDS: u64 = 5;
/// Decisions that a mean from above weighs as much as.
const LEAN: f64 = 20.0;
/// Bands of the first score.
const BANDS: f64 = 10.0;

/// One decision.
#[derive(Debug)]
struct Row {
    row: LoggedRow,
    reward: f64,
    /// Decision point and band of scores.
    cell: u32,
    action: u32,
    fold: usize,
    /// One past its last entry of `targets`.
    end: usize,
}

/// Decisions on their way to an estimate.
#[derive(Debug, Default)]
pub(super) struct Rows {
    rows: Vec<Row>,
    /// Of all rows one after the other: action, and the candidate's probability of it.
    targets: Vec<(u32, f64)>,
    cells: BTreeMap<(Arc<str>, u8), u32>,
    actions: BTreeMap<Arc<str>, u32>,
}

impl Rows {
    /// Whether there is room for another one.
    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= MAX_ROWS
    }

    pub(super) fn push(&mut self, record: &DecisionRecord, candidate: &Decision, reward: f64) {
        let logged = &record.decision;
        let target = candidate.candidates.iter().find(|of| of.action == logged.action);
        let target = target.map_or(0.0, |of| of.probability);
        let row = LoggedRow::new(reward, logged.propensity, target)
            .and_then(|row| row.with_supported(supported(logged, candidate)));
        let Ok(row) = row else { return };
        for of in candidate.candidates.iter().filter(|of| of.probability > 0.0) {
            let action = number(&mut self.actions, &of.action);
            self.targets.push((action, of.probability));
        }
        let score = logged.scores.first().and_then(|score| score.score).map(|score| score.calibrated);
        let band = score.map_or(0, |score| 1 + (score * BANDS).clamp(0.0, BANDS - 1.0) as u8);
        let place = (Arc::clone(&record.inputs.decision_point), band);
        self.rows.push(Row {
            row: row.of_group(group(record)),
            reward,
            cell: number(&mut self.cells, &place),
            action: number(&mut self.actions, &logged.action),
            fold: (group(record) % FOLDS) as usize,
            end: self.targets.len(),
        });
    }

    /// Every row with what the model expects of it.
    pub(super) fn with_model(&self) -> Vec<LoggedRow> {
        let mut model = Model::default();
        for row in &self.rows {
            model.learn(row);
        }
        let mut start = 0;
        let mut rows = Vec::new();
        for row in &self.rows {
            let targets = self.targets.get(start..row.end).unwrap_or_default();
            start = row.end;
            let mut under_target = 0.0;
            for (action, probability) in targets {
                under_target += probability * model.expects(row, *action);
            }
            rows.extend(row.row.with_model(model.expects(row, row.action), under_target));
        }
        rows
    }
}

/// The number of `key`, the next one if it is new.
fn number<Key: Clone + Ord>(known: &mut BTreeMap<Key, u32>, key: &Key) -> u32 {
    if let Some(number) = known.get(key) {
        return *number;
    }
    let next = known.len() as u32;
    known.insert(key.clone(), next);
    next
}

/// How much of the candidate's probability lies on what could have been given then.
fn supported(logged: &Decision, candidate: &Decision) -> f64 {
    let mut share = 0.0;
    for of in &candidate.candidates {
        let before = logged.candidates.iter().find(|before| before.action == of.action);
        if before.is_some_and(|before| before.probability > 0.0) {
            share += of.probability;
        }
    }
    share.clamp(0.0, 1.0)
}

/// Rewards added up, in all and by fold.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    all: (f64, f64),
    of_fold: [(f64, f64); FOLDS as usize],
}

impl Sums {
    fn add(&mut self, fold: usize, reward: f64) {
        let of_fold = self.of_fold.get_mut(fold);
        for (sum, count) in std::iter::once(&mut self.all).chain(of_fold) {
            *sum += reward;
            *count += 1.0;
        }
    }

    /// The mean outside of a fold, leaning on `prior`.
    fn mean_without(&self, fold: usize, prior: f64) -> f64 {
        let (sum, count) = self.of_fold.get(fold).copied().unwrap_or_default();
        (self.all.0 - sum + LEAN * prior) / (self.all.1 - count + LEAN)
    }
}

#[derive(Debug, Default)]
struct Model {
    all: Sums,
    by_action: BTreeMap<u32, Sums>,
    by_cell: BTreeMap<(u32, u32), Sums>,
}

impl Model {
    fn learn(&mut self, row: &Row) {
        self.all.add(row.fold, row.reward);
        self.by_action.entry(row.action).or_default().add(row.fold, row.reward);
        self.by_cell.entry((row.cell, row.action)).or_default().add(row.fold, row.reward);
    }

    fn expects(&self, row: &Row, action: u32) -> f64 {
        let overall = self.all.mean_without(row.fold, 0.0);
        let of_action =
            self.by_action.get(&action).map_or(overall, |sums| sums.mean_without(row.fold, overall));
        let cell = self.by_cell.get(&(row.cell, action));
        cell.map_or(of_action, |sums| sums.mean_without(row.fold, of_action))
    }
}

#[cfg(test)]
mod tests {
    use augur_domain::rng::{Purpose, Rng};

    use super::*;
    use crate::off_policy::{Estimator, Options, evaluate};

    /// Two actions of which the second is better, but only in the second cell; drawn evenly.
    fn rows(count: u64) -> Rows {
        let mut rng = Rng::new(9, Purpose::Simulation);
        let mut rows = Rows::default();
        for user in 0..count {
            let (cell, action) = (rng.below(2) as u32, rng.below(2) as u32);
            let chance = if cell == 1 && action == 1 { 0.6 } else { 0.2 };
            let reward = f64::from(u8::from(rng.next_f64() < chance));
            // The candidate gives the second action in the second cell, else the first.
            let given = cell;
            let target = f64::from(u8::from(action == given));
            let row = LoggedRow::new(reward, 0.5, target).and_then(|row| row.with_supported(1.0)).unwrap();
            rows.targets.push((given, 1.0));
            rows.rows.push(Row {
                row: row.of_group(user),
                reward,
                cell,
                action,
                fold: (user % FOLDS) as usize,
                end: rows.targets.len(),
            });
        }
        rows
    }

    #[test]
    fn the_model_finds_the_value_and_tightens_its_interval() {
        let found =
            evaluate(&rows(20_000).with_model(), &Options { resamples: 0, ..Options::default() }).unwrap();
        let width = |wanted: &str| {
            let of = found.estimates.iter().find(|of| of.estimator.name() == wanted).unwrap();
            let normal = of.normal.unwrap();
            assert!(normal.low < 0.4 && 0.4 < normal.high, "{wanted}: {normal:?} misses 0.4");
            normal.high - normal.low
        };
        assert!(width("dr") < 0.9 * width("ips"), "{} {}", width("dr"), width("ips"));
        assert_eq!(found.headline.unwrap().estimator, Estimator::SelfNormalisedDoublyRobust);
    }

    #[test]
    fn a_user_does_not_teach_of_itself() {
        let mut all = rows(100);
        assert_eq!(all.with_model().len(), 100);
        // What became of a decision does not move what is expected of it.
        let mut model = Model::default();
        all.rows.iter().for_each(|row| model.learn(row));
        let mut changed = Model::default();
        for (place, row) in all.rows.iter_mut().enumerate() {
            row.reward += if place == 0 { 5.0 } else { 0.0 };
            changed.learn(row);
        }
        let first = &all.rows[0];
        assert!((model.expects(first, 0) - changed.expects(first, 0)).abs() < 1e-6);
    }
}
