//! Giving under caps and budgets: what a decision gives is counted in one step, and a hold is settled in one.
//!
//! Locks are taken in one order: the decision's guard, the ledger, the lock of whoever writes exposures. Not here: what a
//! decision is refused by (`decision`).

use std::sync::Arc;

use augur_domain::decision::Exposure;
use augur_domain::{DecisionId, Timestamp, UserKey};
use parking_lot::MutexGuard;

use super::{FeatureStore, decoded_exposures};
use crate::ledger::{Change, Hold, Ledger};
use crate::{Error, Spend, exposure};

/// What a decision gives, as far as it counts.
#[derive(Debug, Clone)]
pub struct Giving {
    /// Counts against caps. Its hold, if it has one, is the hold of the budget, too.
    pub exposure: Option<Exposure>,
    /// The budget that it spends from.
    pub spend: Option<Spend>,
    /// The decision, and until when it is held; `None` if it counts for good.
    pub hold: Option<(DecisionId, Timestamp)>,
}

/// Held while a decision reads what is spent, decides and spends: nobody else spends meanwhile.
#[must_use = "the guard protects only while it is held"]
pub struct BudgetGuard<'a> {
    ledger: MutexGuard<'a, Ledger>,
}

impl std::fmt::Debug for BudgetGuard<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("BudgetGuard").finish_non_exhaustive()
    }
}

impl BudgetGuard<'_> {
    /// How much of the action's budget is spent or held in the window that began at `since`.
    pub fn spent(&self, action: &Arc<str>, since: Timestamp) -> u64 {
        self.ledger.spent(action, since)
    }
}

impl FeatureStore {
    /// Makes reading what is spent of budgets, deciding and [`Self::give`] one step. Blocks while another such decision
    /// holds it; a thread that holds one must not ask for another, nor settle a hold. Whoever holds an
    /// [`ExposureGuard`](crate::ExposureGuard), too, takes that one first.
    pub fn budget_guard(&self, now: Timestamp) -> BudgetGuard<'_> {
        let mut ledger = self.ledger.lock();
        ledger.expire(now);
        BudgetGuard { ledger }
    }

    /// Counts what is given to `user` against caps and budget, in one write; with the guard under which it was decided, if
    /// it spends from a budget. As durable as [`Self::record_exposure`].
    ///
    /// # Errors
    /// [`Error::TooManyHolds`], [`Error::Storage`] or [`Error::Corrupted`]; then nothing is counted.
    pub fn give(&self, user: UserKey, giving: Giving, guard: Option<BudgetGuard<'_>>) -> Result<(), Error> {
        let Giving { exposure, mut spend, hold } = giving;
        if spend.is_none() && hold.is_none() {
            return exposure.map_or(Ok(()), |exposure| self.record_exposure(user, &exposure));
        }
        let mut ledger = guard.map_or_else(|| self.ledger.lock(), |guard| guard.ledger);
        if let Some(spend) = &mut spend {
            spend.since = ledger.window(&spend.action, spend.since);
        }
        let change = match (hold, spend) {
            (Some((decision, until)), spend) => Change::Hold(decision, Hold { user, until, spend }),
            (None, Some(spend)) => Change::Spend(spend),
            (None, None) => return Ok(()),
        };
        let rows = ledger.rows(&change)?;
        let (person, _guard) = self.locked(&self.identity.exposure_writes, user)?;
        let record = exposure.map(|exposure| {
            let mut list = decoded_exposures(self.store.exposures(person)?, person)?;
            exposure::add(&mut list, &exposure);
            Ok::<_, Error>(encoded(&list))
        });
        self.store.put_ledger(person, record.transpose()?.as_deref(), &rows)?;
        ledger.apply(change);
        Ok(())
    }

    /// The delivery of what a decision gave is confirmed: what was held counts for good. Says whether it was held still;
    /// a hold that ended, or was settled before, is not known any more, and nothing changes.
    ///
    /// # Errors
    /// [`Error::Storage`] or [`Error::Corrupted`]; then it is held as before.
    pub fn confirm_exposure(&self, decision: DecisionId, now: Timestamp) -> Result<bool, Error> {
        self.settle(decision, now, true)
    }

    /// What a decision gave was not delivered: what was held is free again. Says whether it was held still, as
    /// [`Self::confirm_exposure`].
    ///
    /// # Errors
    /// As [`Self::confirm_exposure`].
    pub fn release_exposure(&self, decision: DecisionId, now: Timestamp) -> Result<bool, Error> {
        self.settle(decision, now, false)
    }

    fn settle(&self, decision: DecisionId, now: Timestamp, is_confirmed: bool) -> Result<bool, Error> {
        let mut ledger = self.ledger.lock();
        ledger.expire(now);
        let Some(user) = ledger.hold(decision).map(|hold| hold.user) else { return Ok(false) };
        let change = Change::Settle { decision, is_confirmed };
        let rows = ledger.rows(&change)?;
        let (person, _guard) = self.locked(&self.identity.exposure_writes, user)?;
        let mut list = decoded_exposures(self.store.exposures(person)?, person)?;
        let had = list.iter().any(|exposure| exposure.decision == decision);
        if is_confirmed {
            list.iter_mut().filter(|held| held.decision == decision).for_each(|held| held.holds_until = None);
        } else {
            list.retain(|exposure| exposure.decision != decision);
        }
        let record = had.then(|| encoded(&list));
        self.store.put_ledger(person, record.as_deref(), &rows)?;
        ledger.apply(change);
        Ok(true)
    }

    /// Forgets whose the holds of these ids were. What they hold of budgets stays spent.
    pub(super) fn forget_holds(&self, users: &[UserKey]) -> Result<(), Error> {
        let mut ledger = self.ledger.lock();
        for decision in ledger.holds_of(users) {
            let change = Change::Settle { decision, is_confirmed: true };
            let rows = ledger.rows(&change)?;
            let user = users.first().copied().unwrap_or_default();
            self.store.put_ledger(user, None, &rows)?;
            ledger.apply(change);
        }
        Ok(())
    }
}

fn encoded(list: &[Exposure]) -> Vec<u8> {
    let mut record = Vec::new();
    exposure::encode(list, &mut record);
    record
}
