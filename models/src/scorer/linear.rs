//! The weighted sum, added in the model's order, one input at a time without a branch that depends on the user.
//!
//! Logarithms are taken first, several at once; they round as if taken one at a time, so that changes no bit.
//! Not here: from margin to probability (`Scorer`).

use augur_domain::{FeatureVector, math};

use super::{usable_or_nan, with_row};
use crate::artifact::{Input, Transform};

/// Standardised values are held within this many standard deviations: beyond it a value says nothing more, and
/// no product or sum of bounded terms can overflow.
pub const MAX_DEVIATIONS: f64 = 1e6;

/// A linear model bound to slots.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Linear {
    intercept: f64,
    /// In the model's order.
    runs: Vec<Run>,
    /// Slots of the terms that take a logarithm, in the same order.
    logarithms: Vec<usize>,
}

/// Terms whose slots follow each other, so that a vector's values are read as they lie.
#[derive(Debug, Clone, PartialEq)]
struct Run {
    first_slot: usize,
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq)]
struct Term {
    takes_logarithm: bool,
    /// Bounds of transformed values; infinite where there are none.
    low: f64,
    high: f64,
    mean: f64,
    inverse_scale: f64,
    weight: f64,
    /// The whole contribution of a missing value.
    when_missing: f64,
}

impl Linear {
    /// Binds `inputs` to their `slots`, one for each.
    pub(super) fn new(intercept: f64, slots: &[usize], inputs: &[Input]) -> Self {
        let mut runs: Vec<Run> = Vec::new();
        for (slot, input) in slots.iter().zip(inputs) {
            match runs.last_mut().filter(|run| run.first_slot + run.terms.len() == *slot) {
                Some(run) => run.terms.push(Term::new(input)),
                None => runs.push(Run { first_slot: *slot, terms: vec![Term::new(input)] }),
            }
        }
        let logarithms =
            slots.iter().zip(inputs).filter(|(_, input)| input.transform == Transform::SignedLog1p);
        let logarithms = logarithms.map(|(slot, _)| *slot).collect();
        Self { intercept, runs, logarithms }
    }

    pub(super) fn margin(&self, features: &FeatureVector) -> f64 {
        self.fold(features, self.intercept, |margin, _, contribution| margin + contribution)
    }

    /// Appends (slot, contribution) of each input, in the model's order.
    pub(super) fn contributions(&self, features: &FeatureVector, out: &mut Vec<(usize, f64)>) {
        self.fold(features, (), |(), slot, contribution| out.push((slot, contribution)));
    }

    pub(super) const fn intercept(&self) -> f64 {
        self.intercept
    }

    /// Slots read, in the model's order.
    pub(super) fn slots(&self) -> impl Iterator<Item = usize> {
        self.runs.iter().flat_map(|run| (run.first_slot..).zip(&run.terms).map(|(slot, _)| slot))
    }

    /// Folds (slot, contribution) of each input, in the model's order.
    #[inline(always)]
    fn fold<T>(&self, features: &FeatureVector, start: T, add: impl FnMut(T, usize, f64) -> T) -> T {
        if self.logarithms.is_empty() {
            return self.fold_with(features, start, add, |_, value| value);
        }
        with_row(&self.logarithms, features, |row| {
            math::signed_ln_1p(row);
            let mut logarithms = row.iter();
            self.fold_with(features, start, add, |term, value| match term.takes_logarithm {
                true => logarithms.next().copied().unwrap_or(f64::NAN),
                false => value,
            })
        })
    }

    #[inline(always)]
    fn fold_with<T>(
        &self,
        features: &FeatureVector,
        start: T,
        mut add: impl FnMut(T, usize, f64) -> T,
        mut transform: impl FnMut(&Term, f64) -> f64,
    ) -> T {
        let mut sum = start;
        for run in &self.runs {
            let values = features.values.get(run.first_slot..).unwrap_or_default();
            let mut slot = run.first_slot;
            for (term, value) in run.terms.iter().zip(values) {
                sum = add(sum, slot, term.contribution(transform(term, usable_or_nan(value))));
                slot += 1;
            }
            // A vector that is too short lacks the rest.
            for term in run.terms.iter().skip(values.len()) {
                sum = add(sum, slot, term.when_missing);
                slot += 1;
            }
        }
        sum
    }
}

impl Term {
    fn new(input: &Input) -> Self {
        let (low, high) = input.clip.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
        let mut term = Self {
            takes_logarithm: input.transform == Transform::SignedLog1p,
            low,
            high,
            mean: input.mean,
            inverse_scale: 1.0 / input.scale,
            weight: input.weight,
            when_missing: 0.0,
        };
        term.when_missing = term.weigh(input.imputation) + input.missing_weight;
        term
    }

    /// What a transformed value, or NaN in place of one, adds.
    #[inline(always)]
    fn contribution(&self, transformed: f64) -> f64 {
        // The vector's contract is finite values; a stray one is treated as missing, not spread.
        if transformed.abs() <= f64::MAX {
            self.weigh(transformed.clamp(self.low, self.high))
        } else {
            self.when_missing
        }
    }

    #[inline(always)]
    fn weigh(&self, clipped: f64) -> f64 {
        let deviations = (clipped - self.mean) * self.inverse_scale;
        let deviations = if deviations > -MAX_DEVIATIONS { deviations } else { -MAX_DEVIATIONS };
        let deviations = if deviations < MAX_DEVIATIONS { deviations } else { MAX_DEVIATIONS };
        self.weight * deviations
    }
}
