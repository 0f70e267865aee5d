//! What users were given, had the candidate decided: the exposures that its caps count and what is spent of its budgets,
//! carried through the log in order.
//!
//! Not here: what a cap is (`augur_decision`).

use std::collections::BTreeMap;
use std::sync::Arc;

use augur_decision::Point;
use augur_domain::decision::Exposure;
use augur_domain::{Decision, DecisionInputs, Timestamp, UserKey};

/// Users whose exposures are carried; about 200 bytes each and 100 per exposure.
const MAX_USERS: usize = 10_000_000;
/// Exposures of one user: no cap counts more.
const MAX_EXPOSURES: usize = 2_000;

/// What one user was given.
#[derive(Debug, Default)]
struct User {
    /// Had the candidate decided, oldest first.
    candidate: Vec<Exposure>,
    /// When what was given by decisions of the log.
    logged: Vec<(Timestamp, Arc<str>)>,
}

/// Exposures by user.
#[derive(Debug, Default)]
pub(super) struct Carried {
    users: BTreeMap<UserKey, User>,
    /// Decisions of users beyond the bound, decided with exposures as logged.
    pub(super) not_carried: u64,
}

impl Carried {
    /// Puts what the candidate gave in the place of what decisions of the log gave, as far as `point` can count it. What no
    /// decision of the log explains stays: it was given before the log begins, or by somebody else.
    pub(super) fn put_into(&mut self, inputs: &mut DecisionInputs, point: &Point) {
        if self.users.len() >= MAX_USERS && !self.users.contains_key(&inputs.user) {
            self.not_carried += 1;
            return;
        }
        let User { candidate, logged } = self.users.entry(inputs.user).or_default();
        // A log tells exposures piece by piece: each decision has those that its own caps could count.
        for exposure in &inputs.exposures {
            let is_explained =
                logged.iter().any(|(at, action)| *at == exposure.at && *action == exposure.action);
            if !is_explained && !candidate.contains(exposure) {
                let place = candidate.partition_point(|kept| kept.at <= exposure.at);
                candidate.insert(place, exposure.clone());
            }
        }
        inputs.exposures = point.countable(candidate, inputs.now);
    }

    /// Remembers what was given, and what the candidate gives.
    pub(super) fn take(&mut self, inputs: &DecisionInputs, logged: &Decision, decision: &Decision) {
        let Some(user) = self.users.get_mut(&inputs.user) else { return };
        if logged.counts_against_caps {
            user.logged.push((inputs.now, Arc::clone(&logged.action)));
            drop_oldest(&mut user.logged);
        }
        if decision.counts_against_caps {
            user.candidate.push(Exposure {
                category: Arc::clone(&decision.category),
                decision: inputs.decision_id,
                holds_until: decision.holds_until,
                ..Exposure::new(Arc::clone(&decision.action), Arc::clone(&decision.channel), inputs.now)
            });
            drop_oldest(&mut user.candidate);
        }
    }
}

/// What is spent of budgets in all, by action and beginning of the window.
#[derive(Debug, Default)]
pub(super) struct Budgets {
    spent: BTreeMap<(Arc<str>, Timestamp), Spent>,
}

/// What decisions gave within one window. What is held until a report of delivery counts as given.
#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    logged: u64,
    candidate: u64,
}

impl Budgets {
    /// Puts what the candidate spent in the place of what decisions of the log did. What no decision of the log explains
    /// stays: it was spent before the log begins, or by somebody else.
    pub(super) fn put_into(&self, inputs: &mut DecisionInputs, point: &Point) {
        let mut budgets: Vec<(Arc<str>, u64)> = point
            .budgets()
            .map(|(action, budget)| {
                let window = (Arc::clone(action), budget.since(inputs.now));
                let Spent { logged, candidate } = self.spent.get(&window).copied().unwrap_or_default();
                let told = inputs.budgets.iter().find(|(known, _)| known == action);
                let elsewhere = told.map_or(0, |(_, spent)| spent.saturating_sub(logged));
                (Arc::clone(action), elsewhere.saturating_add(candidate))
            })
            .collect();
        budgets.sort();
        inputs.budgets = budgets;
    }

    /// Remembers what was given, and what the candidate gives.
    pub(super) fn take(
        &mut self,
        inputs: &DecisionInputs,
        point: &Point,
        logged: &Decision,
        decision: &Decision,
    ) {
        if inputs.peek {
            return;
        }
        for (action, is_candidate) in [(&logged.action, false), (&decision.action, true)] {
            let Some(budget) = point.budget(action) else { continue };
            let spent = self.spent.entry((Arc::clone(action), budget.since(inputs.now))).or_default();
            *(if is_candidate { &mut spent.candidate } else { &mut spent.logged }) += 1;
        }
    }
}

fn drop_oldest<Item>(list: &mut Vec<Item>) {
    if list.len() > MAX_EXPOSURES {
        list.remove(0);
    }
}
