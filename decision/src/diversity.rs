//! Diversity: what is too like what the person was given lately is refused, or worth less.
//!
//! Not here: how often an action may be given at all (`cap`), or the order of a decision (`decide`).

use std::sync::Arc;

use augur_domain::decision::Exposure;
use augur_domain::{Reason, ReasonCode, Timestamp};

use crate::cap::{Scope, Subject, stands};
use crate::snapshot::{Candidate, Point};

/// No exposure older than this counts where no `within` is declared, in milliseconds: as long as they are remembered.
pub(crate) const LONGEST_MS: i64 = 400 * augur_domain::time::DAY_MS;

/// One rule of a decision point: of what the person was given lately of the point's actions, so many may be alike.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Diversity {
    /// What makes two alike.
    pub(crate) of: Scope,
    /// So many are not too many.
    pub(crate) at_most: usize,
    /// Only the newest so many are looked at; `None`: all.
    pub(crate) among: Option<usize>,
    /// Only those younger than this, in milliseconds; `None`: all.
    pub(crate) within_ms: Option<i64>,
    /// The share of its size by which the value of one too many is lowered; `None`: it is refused.
    pub(crate) penalty: Option<f64>,
    /// The rule in words, for reasons.
    pub(crate) words: Arc<str>,
}

impl Diversity {
    /// The rule and what it does, for people.
    pub(crate) fn in_words(&self) -> String {
        match self.penalty {
            Some(penalty) => format!("{}, more is worth {} % less", self.words, penalty * 100.0),
            None => format!("{}, more is refused", self.words),
        }
    }

    pub(crate) fn longest_ms(&self) -> i64 {
        self.within_ms.unwrap_or(LONGEST_MS)
    }

    /// The value of one too many.
    pub(crate) fn lowered(&self, value: f64) -> f64 {
        let lowered = value - self.penalty.unwrap_or(0.0) * value.abs();
        if lowered.is_finite() { lowered + 0.0 } else { value }
    }

    /// Whether one more of `subject` is too like what is in `exposures`, oldest first.
    pub(crate) fn is_reached(
        &self,
        point: &Point,
        subject: Subject<'_>,
        exposures: &[Exposure],
        now: Timestamp,
    ) -> bool {
        let wanted = self.of.name(subject);
        !wanted.is_empty() && self.alike(point, wanted, exposures, now).nth(self.at_most - 1).is_some()
    }

    /// The first instant at which it is not reached any more, if that comes by itself.
    pub(crate) fn ends_at(
        &self,
        point: &Point,
        subject: Subject<'_>,
        exposures: &[Exposure],
        now: Timestamp,
    ) -> Option<Timestamp> {
        let within_ms = self.within_ms?;
        let looked_at = || self.looked_at(point, exposures, now);
        let held = looked_at().any(|exposure| exposure.holds_until.is_some());
        // With a hold that ends, older ones come among the newest, and what is held may leave before what is older.
        if held {
            return None;
        }
        let last = self.alike(point, self.of.name(subject), exposures, now).nth(self.at_most - 1)?;
        Some(last.at.plus_millis(within_ms))
    }

    /// Those looked at that are alike, newest first.
    fn alike<'e>(
        &self,
        point: &Point,
        wanted: &str,
        exposures: &'e [Exposure],
        now: Timestamp,
    ) -> impl Iterator<Item = &'e Exposure> {
        let of = self.of;
        self.looked_at(point, exposures, now).filter(move |exposure| of.name_of(exposure) == wanted)
    }

    /// What the person was given of the point's actions lately, newest first.
    fn looked_at<'e>(
        &self,
        point: &Point,
        exposures: &'e [Exposure],
        now: Timestamp,
    ) -> impl Iterator<Item = &'e Exposure> {
        let since = now.plus_millis(-self.longest_ms());
        let newest = exposures.iter().rev().filter(move |exposure| exposure.at > since);
        let counted = newest.filter(move |exposure| stands(exposure, now) && is_of(point, exposure));
        counted.take(self.among.unwrap_or(usize::MAX))
    }
}

/// Whether the exposure is of an action of the point that is not its default.
fn is_of(point: &Point, exposure: &Exposure) -> bool {
    let mut others = point.candidates.iter().enumerate().filter(|(index, _)| *index != point.default);
    others.any(|(_, candidate)| candidate.action.name == exposure.action)
}

/// Marks those of `exposures`, oldest first, by which some rule of the point can be reached or not.
pub(crate) fn mark_needed(point: &Point, exposures: &[Exposure], now: Timestamp, needed: &mut [bool]) {
    for rule in &point.diversity {
        let since = now.plus_millis(-rule.longest_ms());
        let mut counted: Vec<(&str, usize)> = Vec::new();
        let mut left = rule.among.unwrap_or(usize::MAX);
        for (exposure, needed) in exposures.iter().zip(&mut *needed).rev() {
            if left == 0 {
                break;
            }
            if exposure.at <= since || !stands(exposure, now) || !is_of(point, exposure) {
                continue;
            }
            left -= 1;
            let name = rule.of.name_of(exposure);
            let place = counted.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
                counted.push((name, 0));
                counted.len() - 1
            });
            let Some((_, count)) = counted.get_mut(place) else { continue };
            // Among the newest so many, each has its place; else more than enough say no more than enough. A hold says
            // that the end is not known.
            let is_held = exposure.holds_until.is_some();
            *needed |= rule.among.is_some() || is_held || *count < rule.at_most;
            *count += usize::from(!is_held);
        }
    }
}

/// Why the chosen candidate is worth less.
pub(crate) fn penalties<'p>(
    point: &'p Point,
    candidate: Option<&'p Candidate>,
    exposures: &'p [Exposure],
    now: Timestamp,
) -> impl Iterator<Item = Reason> {
    let rules = point.diversity.iter().filter(|rule| rule.penalty.is_some());
    let reached = rules.filter(move |rule| {
        candidate.is_some_and(|candidate| rule.is_reached(point, candidate.action.subject(), exposures, now))
    });
    reached.map(|rule| Reason::with(ReasonCode::DiversityPenalty, Arc::clone(&rule.words)))
}
