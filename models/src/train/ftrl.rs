//! Learning from outcomes as they come: FTRL-proximal with a learning rate per coordinate (McMahan et al., KDD 2013,
//! algorithm 1), one row at a time in the order of time.
//!
//! What it has to remember, z and n of each coordinate, is kept with the model, so that a later training goes on where an
//! earlier one ended: one pass over all rows and two over their halves give the same bits. Every result is an immutable
//! linear model. Not here: how columns are standardised, which is as the first model's rows had it (`design`).

use augur_domain::{Timestamp, math};
use serde::{Deserialize, Serialize};

use super::table::{Row, Split, StoredRow, TrainingTable};
use crate::Error;
use crate::artifact::{Artifact, Input, invalid};
use crate::scorer::MAX_DEVIATIONS;

/// How to learn from outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Online {
    /// How far the first steps go, above 0 and at most 10; `alpha` of the publication.
    pub learning_rate: f64,
    /// Slows the first steps down, 0 to 1e6.
    pub beta: f64,
    /// L1 penalty, 0 to 1e6: coordinates that little speaks for stay at 0.
    pub l1: f64,
    /// L2 penalty, 0 to 1e6.
    pub l2: f64,
}

impl Default for Online {
    fn default() -> Self {
        Self { learning_rate: 0.1, beta: 1.0, l1: 0.0, l2: 0.0 }
    }
}

impl Online {
    pub(super) fn validate(&self) -> Result<(), Error> {
        if !(self.learning_rate > 0.0 && self.learning_rate <= 10.0) {
            let found = format!("{:e}", self.learning_rate);
            return Err(Error::InvalidOption {
                option: "online.learning_rate",
                found,
                expected: "above 0, at most 10",
            });
        }
        for (option, value) in [("online.beta", self.beta), ("online.l1", self.l1), ("online.l2", self.l2)] {
            if !(0.0..=1e6).contains(&value) {
                return Err(Error::InvalidOption {
                    option,
                    found: format!("{value:e}"),
                    expected: "0 to 1e6",
                });
            }
        }
        Ok(())
    }
}

/// What has been learned so far, as a model's lineage keeps it. Coordinates: each input's value, each input's absence,
/// the intercept; numbers as their 64 bits, which text keeps to the last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    settings: Online,
    /// Rows learned from.
    rows: u64,
    /// The latest instant of them in Unix milliseconds; absent when the table had no times.
    until_ms: Option<i64>,
    z_bits: Vec<u64>,
    n_bits: Vec<u64>,
}

/// The learner between two rows.
pub(super) struct Learner {
    pub(super) inputs: Vec<Input>,
    settings: Online,
    z: Vec<f64>,
    n: Vec<f64>,
    rows: u64,
    until_ms: Option<i64>,
}

impl State {
    /// The state that a model was left in; `None` when it was not learned online.
    pub(super) fn of(artifact: &Artifact) -> Result<Option<Self>, Error> {
        #[derive(Deserialize)]
        struct Parameters {
            online: Option<State>,
        }
        let parameters = &artifact.content().lineage.parameters;
        let Ok(Parameters { online: Some(state) }) = serde_json::from_str(parameters) else {
            return Ok(None);
        };
        let inputs = artifact.content().body.linear().map_or(0, |(_, inputs)| inputs.len());
        let numbers = || state.z_bits.iter().chain(&state.n_bits).map(|bits| f64::from_bits(*bits));
        let counts = [state.z_bits.len(), state.n_bits.len()];
        let is_whole = counts == [2 * inputs + 1; 2]
            && numbers().all(f64::is_finite)
            && state.n_bits.iter().all(|bits| f64::from_bits(*bits) >= 0.0)
            && state.settings.validate().is_ok();
        if is_whole {
            return Ok(Some(state));
        }
        let found = format!("a state of {counts:?} numbers for {inputs} inputs");
        Err(invalid("lineage.parameters.online", found, "two finite numbers per coordinate, n at least 0"))
    }

    /// The latest instant learned from.
    pub(super) fn until(&self) -> Option<Timestamp> {
        self.until_ms.map(Timestamp::from_unix_ms)
    }
}

impl Learner {
    /// Starts from nothing, on these inputs.
    pub(super) fn new(inputs: Vec<Input>, settings: Online) -> Self {
        let coordinates = 2 * inputs.len() + 1;
        Self {
            inputs,
            settings,
            z: vec![0.0; coordinates],
            n: vec![0.0; coordinates],
            rows: 0,
            until_ms: None,
        }
    }

    /// Goes on where a model was left. One that was not learned online lends its weights, as if it had seen as many rows
    /// as its settings make `rows` of a middling probability out to be.
    pub(super) fn resume(artifact: &Artifact, settings: Online, rows: u64) -> Result<Option<Self>, Error> {
        let Some((intercept, inputs)) = artifact.content().body.linear() else { return Ok(None) };
        let mut learner = Self::new(inputs.to_vec(), settings);
        if let Some(state) = State::of(artifact)? {
            learner.settings = state.settings;
            learner.z = state.z_bits.into_iter().map(f64::from_bits).collect();
            learner.n = state.n_bits.into_iter().map(f64::from_bits).collect();
            (learner.rows, learner.until_ms) = (state.rows, state.until_ms);
            return Ok(Some(learner));
        }
        let weights = inputs.iter().map(|input| input.weight);
        let weights = weights.chain(inputs.iter().map(|input| input.missing_weight)).chain([intercept]);
        // The variance of a label of even odds is a quarter, that of a standardised value 1.
        let squares = 0.25 * rows as f64;
        for ((z, n), weight) in learner.z.iter_mut().zip(&mut learner.n).zip(weights) {
            let rate = (settings.beta + math::sqrt(squares)) / settings.learning_rate + settings.l2;
            let sign = if weight > 0.0 { 1.0 } else { -1.0 };
            *z = if weight == 0.0 { 0.0 } else { -weight * rate - sign * settings.l1 };
            *n = squares;
        }
        Ok(Some(learner))
    }

    /// Learns from the training rows in the order of their times, then groups, then places in the table. Gives the margin
    /// of each before it was learned from, in table order.
    ///
    /// # Errors
    /// [`Error::FeatureMismatch`] when the table lacks an input.
    pub(super) fn learn(&mut self, table: &TrainingTable, positive_weight: f64) -> Result<Vec<f64>, Error> {
        let columns = self.columns(table)?;
        let rows: Vec<StoredRow<'_>> = table.part(Split::Train).collect();
        let mut margins = vec![0.0; rows.len()];
        let mut values = vec![0.0; self.z.len()];
        for at in in_order(&rows) {
            let (Some(row), Some(margin)) = (rows.get(at), margins.get_mut(at)) else { continue };
            self.fill(row, &columns, &mut values);
            *margin = self.update(&values, row.label, if row.label { positive_weight } else { 1.0 });
        }
        self.rows += rows.len() as u64;
        // Rows of a table without times are all as of instant 0; rows of a single cutoff share a time, and have one.
        let times = || rows.iter().map(|row| row.time.unix_ms());
        if times().any(|time| time != 0) || self.until_ms.is_some() {
            self.until_ms = times().max().max(self.until_ms);
        }
        Ok(margins)
    }

    /// Intercept and inputs with what was learned.
    pub(super) fn model(&self) -> (f64, Vec<Input>) {
        let weight = |at: usize| match (self.z.get(at), self.n.get(at)) {
            (Some(z), Some(n)) => self.weight(*z, *n),
            _ => 0.0,
        };
        let count = self.inputs.len();
        let mut inputs = self.inputs.clone();
        for (at, input) in inputs.iter_mut().enumerate() {
            (input.weight, input.missing_weight) = (weight(at), weight(count + at));
        }
        (weight(2 * count), inputs)
    }

    pub(super) fn state(&self) -> State {
        let bits = |numbers: &[f64]| numbers.iter().map(|number| number.to_bits()).collect();
        State {
            settings: self.settings,
            rows: self.rows,
            until_ms: self.until_ms,
            z_bits: bits(&self.z),
            n_bits: bits(&self.n),
        }
    }

    fn columns(&self, table: &TrainingTable) -> Result<Vec<usize>, Error> {
        let place = |input: &Input| table.columns().iter().position(|column| *column == input.feature);
        let missing: Vec<String> = self
            .inputs
            .iter()
            .filter(|input| place(input).is_none())
            .map(|input| input.feature.clone())
            .collect();
        if missing.is_empty() {
            return Ok(self.inputs.iter().filter_map(place).collect());
        }
        let (model, feature_set) = ("the model to go on from".to_owned(), "of the table".to_owned());
        Err(Error::FeatureMismatch { model, feature_set, missing })
    }

    /// The row as the scorer reads it: standardised values, 1 for what is missing, 1 for the intercept.
    fn fill(&self, row: &StoredRow<'_>, columns: &[usize], values: &mut [f64]) {
        let count = self.inputs.len();
        let (of_inputs, rest) = values.split_at_mut(count);
        let (absences, intercept) = rest.split_at_mut(count);
        for (((value, absence), input), column) in
            of_inputs.iter_mut().zip(absences).zip(&self.inputs).zip(columns)
        {
            let present = row.value(*column);
            let (low, high) = input.clip.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
            let transformed =
                present.map_or(input.imputation, |value| input.transform.apply(value).clamp(low, high));
            let deviations = (transformed - input.mean) * (1.0 / input.scale);
            *value = deviations.clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS);
            *absence = f64::from(u8::from(present.is_none()));
        }
        intercept.fill(1.0);
    }

    /// The margin before the update.
    fn update(&mut self, values: &[f64], label: bool, weight: f64) -> f64 {
        let coordinates = values.iter().zip(self.z.iter().zip(&self.n));
        let margin = coordinates.fold(0.0, |sum, (value, (z, n))| sum + value * self.weight(*z, *n));
        let error = weight * (math::sigmoid(margin) - f64::from(u8::from(label)));
        let settings = self.settings;
        for ((z, n), value) in self.z.iter_mut().zip(&mut self.n).zip(values) {
            let gradient = error * value;
            if gradient == 0.0 {
                continue;
            }
            let squares = *n + gradient * gradient;
            let slower = (math::sqrt(squares) - math::sqrt(*n)) / settings.learning_rate;
            *z += gradient - slower * weight_of(settings, *z, *n);
            *n = squares;
        }
        margin
    }

    fn weight(&self, z: f64, n: f64) -> f64 {
        weight_of(self.settings, z, n)
    }
}

fn weight_of(settings: Online, z: f64, n: f64) -> f64 {
    if z.abs() <= settings.l1 {
        return 0.0;
    }
    let shrunk = if z > 0.0 { z - settings.l1 } else { z + settings.l1 };
    -shrunk / ((settings.beta + math::sqrt(n)) / settings.learning_rate + settings.l2)
}

/// Places of rows by time, then group, then place.
fn in_order(rows: &[StoredRow<'_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|at| rows.get(*at).map(|row| (row.time, row.group)));
    order
}

/// The table without the training rows that `artifact` has learned from already, and how many those are; `None` when it
/// remembers no time or the table has none of them.
pub(super) fn unseen(
    table: &TrainingTable,
    artifact: &Artifact,
) -> Result<Option<(TrainingTable, usize)>, Error> {
    let Some(until) = State::of(artifact)?.and_then(|state| state.until()) else { return Ok(None) };
    if table.part(Split::Train).all(|row| row.time > until) {
        return Ok(None);
    }
    let mut left = TrainingTable::new(table.columns().to_vec())?;
    copy(table, &mut left, Split::Train, |row| row.time > until)?;
    let seen = table.part(Split::Train).count() - left.len();
    copy(table, &mut left, Split::Test, |_| true)?;
    Ok(Some((left, seen)))
}

/// The training rows in the order of their times, cut into parts of at least `every` rows that share no instant, each with
/// all rows held back: what a model is published after, one version each.
///
/// # Errors
/// None for a table's own rows.
pub fn batches(table: &TrainingTable, every: usize) -> Result<Vec<TrainingTable>, Error> {
    let mut times: Vec<Timestamp> = table.part(Split::Train).map(|row| row.time).collect();
    times.sort_unstable();
    let mut ends: Vec<Timestamp> = Vec::new();
    let mut rows = 0;
    for (at, time) in times.iter().enumerate() {
        rows += 1;
        if rows >= every.max(1) && times.get(at + 1).is_some_and(|next| next > time) {
            ends.push(*time);
            rows = 0;
        }
    }
    // What is left at the end is too little for a version of its own and joins the last one.
    if rows < every && !ends.is_empty() {
        ends.pop();
    }
    ends.extend(times.last());
    let mut after = None;
    let mut batches = Vec::with_capacity(ends.len());
    for end in ends {
        let mut batch = TrainingTable::new(table.columns().to_vec())?;
        let is_in = |row: &StoredRow<'_>| row.time <= end && after.is_none_or(|after| row.time > after);
        copy(table, &mut batch, Split::Train, is_in)?;
        copy(table, &mut batch, Split::Test, |_| true)?;
        batches.push(batch);
        after = Some(end);
    }
    Ok(batches)
}

fn copy(
    from: &TrainingTable,
    to: &mut TrainingTable,
    split: Split,
    wanted: impl Fn(&StoredRow<'_>) -> bool,
) -> Result<(), Error> {
    for row in from.part(split).filter(|row| wanted(row)) {
        let values: Vec<Option<f64>> = (0..from.columns().len()).map(|column| row.value(column)).collect();
        to.push(&Row { values: &values, label: row.label, group: row.group, time: row.time, split })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
