//! How a decision point explores: the probability of every contender, and the draw that follows it.
//!
//! Not here: who contends (`arbitrate`). The draw is made from the very probabilities that are logged, so they are
//! those of the choice whatever the method; only what they approximate can be inexact (`thompson`).

mod thompson;

use std::sync::Arc;

use augur_domain::math;
use augur_domain::rng::{Purpose, Rng};

pub(crate) use thompson::MAX_POSTERIORS;

/// How the choice departs from the highest value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Exploration {
    pub(crate) method: Method,
    /// The method with its number, for reasons.
    pub(crate) words: Arc<str>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Method {
    /// With this probability any contender, all alike.
    Epsilon(f64),
    /// In proportion to e^(value / temperature).
    Softmax { temperature: f64 },
    /// As probably as it is the best, by what is known of its successes.
    Thompson,
}

/// Among equally good ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum TieBreak {
    /// The one declared first.
    #[default]
    Declared,
    /// Any, all alike.
    Random,
}

/// An action that may be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Contender {
    /// Index into the point's candidates.
    pub(crate) candidate: usize,
    pub(crate) value: f64,
    /// Whether it may be chosen though another is better.
    pub(crate) may_be_explored: bool,
    /// What is known of it, if anything.
    pub(crate) evidence: Option<Evidence>,
}

/// Earlier successes and failures, finite and not negative.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Evidence {
    pub(crate) successes: f64,
    pub(crate) failures: f64,
}

impl Contender {
    /// What it is expected to be worth: with evidence the value is what a success is worth.
    fn worth(&self, method: Option<Method>) -> f64 {
        match (method, self.evidence) {
            (Some(Method::Thompson), Some(Evidence { successes, failures })) => {
                self.value * (successes + 1.0) / (successes + failures + 2.0)
            }
            _ => self.value,
        }
    }
}

/// The probabilities of a choice.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Odds {
    /// In the order of the contenders; they add up to one.
    pub(crate) probabilities: Vec<f64>,
    /// Which contenders would be chosen without exploration.
    pub(crate) greedy: Vec<bool>,
    /// Which of them take part in exploration.
    explored: Vec<bool>,
    /// What each is expected to be worth.
    worths: Vec<f64>,
}

impl Odds {
    /// The odds of `contenders`, of whom there is at least one.
    pub(crate) fn reckon(&mut self, method: Option<Method>, tie_break: TieBreak, contenders: &[Contender]) {
        self.find_best(method, tie_break, contenders);
        let Self { probabilities, greedy, explored, .. } = self;
        let of_greedy = 1.0 / greedy.iter().filter(|greedy| **greedy).count().max(1) as f64;
        let takes_part = |(contender, greedy): (&Contender, &bool)| contender.may_be_explored || *greedy;
        explored.clear();
        explored.extend(contenders.iter().zip(&*greedy).map(takes_part));
        probabilities.clear();
        match method {
            None => {
                probabilities.extend(greedy.iter().map(|greedy| if *greedy { of_greedy } else { 0.0 }));
            }
            Some(Method::Epsilon(epsilon)) => {
                let each = epsilon / explored.iter().filter(|explored| **explored).count().max(1) as f64;
                let share = |(greedy, explored): (&bool, &bool)| {
                    let best = if *greedy { (1.0 - epsilon) * of_greedy } else { 0.0 };
                    best + if *explored { each } else { 0.0 }
                };
                probabilities.extend(greedy.iter().zip(&*explored).map(share));
            }
            Some(Method::Softmax { temperature }) => {
                softmax(contenders, explored, temperature, probabilities);
            }
            Some(Method::Thompson) => {
                probabilities.append(&mut thompson::probabilities(contenders, explored, tie_break));
            }
        }
        normalise(probabilities);
    }

    /// Finds whoever has the highest expected worth.
    fn find_best(&mut self, method: Option<Method>, tie_break: TieBreak, contenders: &[Contender]) {
        let Self { greedy, worths, .. } = self;
        worths.clear();
        worths.extend(contenders.iter().map(|contender| contender.worth(method)));
        let highest = worths.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let first = worths.iter().position(|worth| *worth >= highest);
        let is_best = |(index, worth): (usize, &f64)| match tie_break {
            TieBreak::Declared => Some(index) == first,
            TieBreak::Random => *worth >= highest,
        };
        greedy.clear();
        greedy.extend(worths.iter().enumerate().map(is_best));
    }
}

/// Weights relative to the highest value, so that none overflows.
fn softmax(contenders: &[Contender], explored: &[bool], temperature: f64, weights: &mut Vec<f64>) {
    let taking_part = || contenders.iter().zip(explored);
    let values = taking_part().filter(|(_, explored)| **explored).map(|(contender, _)| contender.value);
    let highest = values.fold(f64::NEG_INFINITY, f64::max);
    let weight = |(contender, explored): (&Contender, &bool)| {
        if *explored { math::exp((contender.value - highest) / temperature) } else { 0.0 }
    };
    weights.extend(taking_part().map(weight));
}

/// Makes them add up to one, up to the rounding of one addition each.
fn normalise(probabilities: &mut [f64]) {
    let sum: f64 = probabilities.iter().sum();
    if sum > 0.0 {
        probabilities.iter_mut().for_each(|probability| *probability /= sum);
    }
}

/// The place of the one drawn; the only one there can be costs no draw.
pub(crate) fn draw(probabilities: &[f64], seed: u64, purpose: Purpose) -> usize {
    let mut possible = probabilities.iter().enumerate().filter(|(_, probability)| **probability > 0.0);
    let (Some((first, _)), Some(_)) = (possible.next(), possible.next()) else {
        return probabilities.iter().position(|probability| *probability > 0.0).unwrap_or(0);
    };
    let mut left = Rng::new(seed, purpose).next_f64();
    let mut drawn = first;
    for (index, probability) in
        probabilities.iter().enumerate().filter(|(_, probability)| **probability > 0.0)
    {
        drawn = index;
        if left < *probability {
            break;
        }
        left -= probability;
    }
    drawn
}

#[cfg(test)]
mod tests;
