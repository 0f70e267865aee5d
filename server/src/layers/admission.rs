//! How many calls are under way, and which are refused when it gets tight: those of the least important class first.
//!
//! Nothing waits here: a call is taken or refused at once, so a refusal costs microseconds however busy the server is.
//! Not here: limits of one caller (`crate::limits`), or of one connection (`worker`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::method::Class;
use crate::Error;
use crate::metrics::Metrics;

/// The places for calls.
pub(crate) struct Admission {
    metrics: Arc<Metrics>,
    limit: usize,
    under_way: AtomicUsize,
}

/// A place that a call takes up, until dropped.
pub(crate) struct Place {
    admission: Arc<Admission>,
}

impl Admission {
    pub(crate) fn new(limit: usize, metrics: &Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { metrics: Arc::clone(metrics), limit, under_way: AtomicUsize::new(0) })
    }

    /// A place for a call of `class`, if its class has one left.
    ///
    /// # Errors
    /// [`Error::Shed`] with the class and its limit.
    pub(crate) fn enter(self: &Arc<Self>, class: Class) -> Result<Place, Error> {
        // At least one, lest a small limit shut a class out for good.
        let limit = (self.limit * class.share_percent()).div_ceil(100);
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        if before >= limit {
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            self.metrics.requests_shed.increment(1);
            return Err(Error::Shed { class: class.as_str(), limit });
        }
        self.metrics.requests_in_flight.increment(1);
        Ok(Place { admission: Arc::clone(self) })
    }

    /// A place whatever the limit: for what tells whether the server lives.
    pub(crate) fn enter_always(self: &Arc<Self>) -> Place {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        self.metrics.requests_in_flight.increment(1);
        Place { admission: Arc::clone(self) }
    }

    /// How much of the limit is taken up, in percent.
    pub(crate) fn pressure_percent(&self) -> usize {
        self.under_way.load(Ordering::Relaxed).saturating_mul(100) / self.limit.max(1)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.under_way.fetch_sub(1, Ordering::Relaxed);
        self.admission.metrics.requests_in_flight.decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_important_is_refused_first_and_places_come_back() {
        let admission = Admission::new(100, &Arc::new(Metrics::new().unwrap()));
        let fill = |class| std::iter::from_fn(|| admission.enter(class).ok()).collect::<Vec<_>>();
        let background = fill(Class::Background);
        assert_eq!((background.len(), admission.pressure_percent()), (50, 50));
        let ingest = fill(Class::Ingest);
        let bulk = fill(Class::Bulk);
        let interactive = fill(Class::Interactive);
        assert_eq!((ingest.len(), bulk.len(), interactive.len()), (20, 15, 15));
        assert!(matches!(admission.enter(Class::Bulk), Err(Error::Shed { class: "bulk", limit: 85 })));
        drop(admission.enter_always());
        drop((background, ingest));
        assert!(admission.enter(Class::Ingest).is_ok());
        drop((bulk, interactive));
        assert_eq!(admission.pressure_percent(), 0);
    }

    #[test]
    fn a_limit_of_one_shuts_no_class_out() {
        let admission = Admission::new(1, &Arc::new(Metrics::new().unwrap()));
        drop(admission.enter(Class::Background).unwrap());
        assert!(admission.enter(Class::Interactive).is_ok());
    }
}
