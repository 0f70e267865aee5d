//! What was spent of budgets, and what is held until its delivery is confirmed: in memory for decisions, row by row in the
//! store for restarts.
//!
//! Not here: budgets themselves and their windows (`decision`), or the lists that caps count (`exposure`).

mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use augur_domain::{DecisionId, Timestamp, UserKey};

use crate::error::Error;
use crate::store::LedgerChange;

pub(crate) use record::Row;

/// Holds that are remembered at once. Each takes some 200 bytes.
pub(crate) const MAX_HOLDS: usize = 1_000_000;
/// Rows of ended holds that one write takes away.
const MAX_ENDED_ROWS: usize = 64;

/// A budget that a decision spends from: whose, and since when its window counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spend {
    /// The action.
    pub action: Arc<str>,
    /// When the window of the decision began.
    pub since: Timestamp,
}

/// What waits for a report of delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hold {
    /// The id that the decision was about.
    pub(crate) user: UserKey,
    pub(crate) until: Timestamp,
    pub(crate) spend: Option<Spend>,
}

/// How much of a budget counts for good in its latest window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) since: Timestamp,
    pub(crate) count: u64,
}

/// Budgets and holds of everybody.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    spent: BTreeMap<Arc<str>, Spent>,
    holds: BTreeMap<DecisionId, Hold>,
    ends: BTreeSet<(Timestamp, DecisionId)>,
    /// How much of each budget is held, by window.
    held: BTreeMap<(Arc<str>, Timestamp), u64>,
    /// Holds that have ended and whose rows are still in the store.
    ended: Vec<DecisionId>,
}

/// One change of the ledger. It is written first, and done in memory only once it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Spent for good.
    Spend(Spend),
    /// Held under a decision.
    Hold(DecisionId, Hold),
    /// No longer held; spent for good if it was confirmed.
    Settle { decision: DecisionId, is_confirmed: bool },
}

impl Ledger {
    /// From the rows of a store.
    pub(crate) fn load(rows: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Result<Self, Error> {
        let mut ledger = Self::default();
        for (key, value) in rows {
            match record::decode(&key, &value).map_err(|source| Error::corrupted("the ledger", source))? {
                Row::Spent(action, spent) => {
                    ledger.spent.insert(action, spent);
                }
                Row::Hold(decision, hold) => ledger.remember(decision, hold),
            }
        }
        Ok(ledger)
    }

    /// Forgets the holds that have ended: what they held is free again.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        while let Some((until, decision)) = self.ends.first().copied() {
            if until > now {
                return;
            }
            self.forget(decision);
            self.ended.push(decision);
        }
    }

    /// The window that counts for a decision in the one that began at `since`: clocks that stepped back over the beginning
    /// of a window do not open the one before again.
    pub(crate) fn window(&self, action: &str, since: Timestamp) -> Timestamp {
        self.spent.get(action).map_or(since, |spent| spent.since.max(since))
    }

    /// How much of an action's budget counts in the window that began at `since`: for good, and held.
    pub(crate) fn spent(&self, action: &Arc<str>, since: Timestamp) -> u64 {
        let window = self.window(action, since);
        let for_good =
            self.spent.get(action).filter(|spent| spent.since == window).map_or(0, |spent| spent.count);
        let held = self.held.range((Arc::clone(action), window)..=(Arc::clone(action), Timestamp::MAX));
        for_good.saturating_add(held.map(|(_, count)| *count).sum())
    }

    pub(crate) fn hold(&self, decision: DecisionId) -> Option<&Hold> {
        self.holds.get(&decision)
    }

    /// The decisions whose holds are about one of these ids.
    pub(crate) fn holds_of(&self, users: &[UserKey]) -> Vec<DecisionId> {
        let theirs = self.holds.iter().filter(|(_, hold)| users.contains(&hold.user));
        theirs.map(|(decision, _)| *decision).collect()
    }

    /// The rows that write a change: values, or `None` for rows that go.
    ///
    /// # Errors
    /// [`Error::TooManyHolds`].
    pub(crate) fn rows(&self, change: &Change) -> Result<Vec<LedgerChange>, Error> {
        let mut rows: Vec<_> =
            self.ended.iter().take(MAX_ENDED_ROWS).map(|ended| (record::hold_key(*ended), None)).collect();
        let spend = match change {
            Change::Spend(spend) => Some(spend),
            Change::Hold(..) if self.holds.len() >= MAX_HOLDS => {
                return Err(Error::TooManyHolds { limit: MAX_HOLDS });
            }
            Change::Hold(decision, hold) => {
                rows.push((record::hold_key(*decision), Some(record::encode_hold(hold))));
                None
            }
            Change::Settle { decision, is_confirmed } => {
                rows.push((record::hold_key(*decision), None));
                self.hold(*decision).and_then(|hold| hold.spend.as_ref()).filter(|_| *is_confirmed)
            }
        };
        if let Some((action, spent)) = spend.and_then(|spend| self.after(spend)) {
            rows.push((record::spent_key(&action), Some(record::encode_spent(spent))));
        }
        Ok(rows)
    }

    /// Does what was written.
    pub(crate) fn apply(&mut self, change: Change) {
        self.ended.drain(..self.ended.len().min(MAX_ENDED_ROWS));
        let spend = match change {
            Change::Spend(spend) => Some(spend),
            Change::Hold(decision, hold) => {
                self.remember(decision, hold);
                None
            }
            Change::Settle { decision, is_confirmed } => {
                self.forget(decision).and_then(|hold| hold.spend).filter(|_| is_confirmed)
            }
        };
        if let Some((action, spent)) = spend.and_then(|spend| self.after(&spend)) {
            self.spent.insert(action, spent);
        }
    }

    /// The budget with one more spent; `None` if the window in which that was held is over.
    fn after(&self, spend: &Spend) -> Option<(Arc<str>, Spent)> {
        let stored = self.spent.get(&spend.action).filter(|stored| stored.since >= spend.since);
        let before = stored.copied().unwrap_or(Spent { since: spend.since, count: 0 });
        let spent = Spent { count: before.count.saturating_add(1), ..before };
        (spent.since == spend.since).then(|| (Arc::clone(&spend.action), spent))
    }

    fn remember(&mut self, decision: DecisionId, hold: Hold) {
        if let Some(Spend { action, since }) = &hold.spend {
            *self.held.entry((Arc::clone(action), *since)).or_default() += 1;
        }
        self.ends.insert((hold.until, decision));
        self.holds.insert(decision, hold);
    }

    fn forget(&mut self, decision: DecisionId) -> Option<Hold> {
        let hold = self.holds.remove(&decision)?;
        self.ends.remove(&(hold.until, decision));
        if let Some(Spend { action, since }) = &hold.spend {
            let key = (Arc::clone(action), *since);
            if let Some(count) = self.held.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.held.remove(&key);
                }
            }
        }
        Some(hold)
    }
}

#[cfg(test)]
mod tests;
