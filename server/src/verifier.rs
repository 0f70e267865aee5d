//! Compares what is served with the event log all the time: a few users a minute, on a thread of its own.
//!
//! Users are drawn by key. The thread waits longer after a user with many events, so that its share of the disk is
//! bounded too, and passes over users with very many: `augur features verify` takes those. Not here: the comparison
//! (the feature store).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use augur_domain::UserKey;
use augur_domain::rng::{Purpose, Rng};
use augur_feature_store::{DifferenceKind, FeatureStore, Verdict};

use crate::metrics::Metrics;
use crate::{App, Error};

/// A user with as many events costs one turn; one with more, more.
const EVENTS_PER_TURN: u64 = 1_000;
/// Users with more events are passed over.
const MAX_EVENTS: u64 = 100_000;

/// The running thread.
#[derive(Debug)]
pub(crate) struct Verifier {
    /// Dropped to end the thread.
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Verifier {
    /// Starts the thread, unless it is switched off.
    pub(crate) fn start(app: &App) -> Result<Option<Self>, Error> {
        let users_per_minute = app.config().features.verify_users_per_minute;
        if users_per_minute == 0 {
            return Ok(None);
        }
        let (stop, stopped) = channel();
        let turn = Duration::from_secs(60) / users_per_minute;
        let mut round = Round {
            store: Arc::clone(app.store()),
            metrics: Arc::clone(app.metrics()),
            rng: Rng::new(app.entropy.decision(app.clock().now()).1, Purpose::Training),
        };
        let thread = std::thread::Builder::new().name("verify".to_owned());
        let thread = thread.spawn(move || round.go_on(turn, &stopped));
        Ok(Some(Self {
            stop,
            thread: thread.map_err(Error::file("start", "the verifying thread".as_ref()))?,
        }))
    }

    /// Ends the thread after the user that it is at. Blocks.
    pub(crate) fn end(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the verifying thread panicked; please report this");
        }
    }
}

struct Round {
    store: Arc<FeatureStore>,
    metrics: Arc<Metrics>,
    rng: Rng,
}

impl Round {
    fn go_on(&mut self, turn: Duration, stopped: &Receiver<()>) {
        let mut turns = 1;
        // Nothing is ever sent: what ends the wait early is the end.
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(turn.saturating_mul(turns)) {
            turns = match self.verify_one() {
                Ok(events) => u32::try_from(events / EVENTS_PER_TURN).unwrap_or(u32::MAX).max(1),
                Err(error) => {
                    tracing::warn!(%error, "a user's features could not be verified");
                    1
                }
            };
        }
    }

    /// Returns how many events were read.
    fn verify_one(&mut self) -> Result<u64, augur_feature_store::Error> {
        let mut key = [0; UserKey::LEN];
        for part in key.as_chunks_mut::<8>().0 {
            *part = self.rng.next_u64().to_le_bytes();
        }
        let Some(user) = self.store.user_from(UserKey::from_bytes(key))? else { return Ok(0) };
        // A state that cannot be read is for the comparison to tell.
        if self.store.state(user).is_ok_and(|state| state.is_some_and(|state| state.watermark() > MAX_EVENTS))
        {
            return Ok(0);
        }
        let verdict = self.store.verify_user(user)?;
        Ok(count(user, &verdict, &self.metrics))
    }
}

fn count(user: UserKey, verdict: &Verdict, metrics: &Metrics) -> u64 {
    metrics.verify_checked.increment(1);
    match verdict {
        Verdict::Identical { events } => *events,
        Verdict::Unknown => 0,
        Verdict::Different { events, logged_events, features } => {
            let names: Vec<&str> = features.iter().map(|difference| &*difference.feature).collect();
            tracing::error!(
                user_key = %user, events, logged_events, features = names.join(", "),
                "features are served that the event log does not say; see `augur features verify`"
            );
            // State that no value shows yet will show.
            metrics.verify_mismatch.increment(u64::from(features.is_empty()));
            for difference in features {
                match difference.kind {
                    DifferenceKind::Mismatch => metrics.verify_mismatch.increment(1),
                    DifferenceKind::Missing => metrics.verify_missing.increment(1),
                    DifferenceKind::Extra => metrics.verify_extra.increment(1),
                }
            }
            *logged_events
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use augur_feature_store::FeatureDifference;

    #[test]
    fn differences_are_counted_by_kind() {
        let metrics = Metrics::new().unwrap();
        let differences =
            [DifferenceKind::Mismatch, DifferenceKind::Missing, DifferenceKind::Extra, DifferenceKind::Extra]
                .map(|kind| FeatureDifference { feature: "spend_1d".into(), kind });
        let user = UserKey::default();
        let different = |features| Verdict::Different { events: 1, logged_events: 7, features };
        assert_eq!(count(user, &Verdict::Identical { events: 3 }, &metrics), 3);
        assert_eq!(count(user, &different(differences.into()), &metrics), 7);
        assert_eq!(count(user, &different(Vec::new()), &metrics), 7);
        metrics.fold();
        let page = metrics.render();
        for line in [
            "augur_feature_verify_checked_total 3",
            "augur_feature_verify_mismatch_total 2",
            "augur_feature_verify_missing_total 1",
            "augur_feature_verify_extra_total 2",
        ] {
            assert!(page.contains(line), "{line}\n{page}");
        }
    }
}
