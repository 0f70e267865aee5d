//! Reports of delivery settle what decisions hold: delivered counts for good, not delivered is free again.
//!
//! Not here: what a hold is (`augur_feature_store`), or the log of outcomes (`outcomes`).

use std::sync::Arc;

use augur_domain::{DecisionId, OutcomeKind};

use crate::{App, Error};

impl App {
    /// Settles the holds that these reports are about; other kinds of outcomes, and decisions that hold nothing any more,
    /// change nothing. Done before the reports are kept: one that is sent again after a failure finds the rest to do.
    ///
    /// # Errors
    /// [`Error::Store`] when it cannot be written; some of it may be done.
    pub(crate) async fn settle_exposures(
        &self,
        reports: Vec<(DecisionId, OutcomeKind)>,
    ) -> Result<(), Error> {
        let delivered = reports.into_iter().filter_map(|(decision, kind)| match kind {
            OutcomeKind::Delivered => Some((decision, true)),
            OutcomeKind::NotDelivered => Some((decision, false)),
            _ => None,
        });
        let delivered: Vec<(DecisionId, bool)> = delivered.collect();
        if delivered.is_empty() {
            return Ok(());
        }
        let (store, now) = (Arc::clone(&self.store), self.clock.now());
        let settled = self.storage.run(move || {
            let (mut confirmed, mut released) = (0, 0);
            for (decision, is_delivered) in delivered {
                if is_delivered {
                    confirmed += u64::from(store.confirm_exposure(decision, now)?);
                } else {
                    released += u64::from(store.release_exposure(decision, now)?);
                }
            }
            Ok::<_, augur_feature_store::Error>((confirmed, released))
        });
        let (confirmed, released) = settled.await??;
        self.metrics.count_settled("CONFIRMED", confirmed);
        self.metrics.count_settled("RELEASED", released);
        Ok(())
    }
}
