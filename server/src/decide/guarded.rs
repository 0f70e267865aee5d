//! What a decision calls that may be slow or broken, each behind its circuit breaker: the disk, the models, the log.
//!
//! Not here: when a breaker opens (`crate::breaker`), or the way of a decision (the parent).

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use augur_decision::{Point, PolicySnapshot, decide_default};
use augur_domain::decision::{Availability, DecisionInputs, DecisionRecord, Observed, Person};
use augur_domain::{Decision, FeatureVector, Reason, ReasonCode};

use super::Question;
use crate::active::Active;
use crate::breaker::{Call, Outcome, Refused};
use crate::breakers::{Asked, Waiting};
use crate::config::OnUnavailable;
use crate::trial::Side;
use crate::{App, Error};

/// Why something is not there.
pub(super) enum Missing {
    /// The breaker before the disk is open: nobody looked.
    Refused,
    /// There was no time left.
    Late,
    /// It could not be read.
    Failed(Error),
}

impl Missing {
    /// As inputs of a decision tell it.
    pub(super) const fn availability(&self) -> Availability {
        match self {
            Self::Refused => Availability::BreakerOpen,
            Self::Late => Availability::DeadlineExceeded,
            Self::Failed(_) => Availability::Failed,
        }
    }
}

impl App {
    /// What `read` fetches from the disk, unless that is to be left alone or takes until the time to read is over.
    pub(super) async fn read_cold<T>(
        &self,
        active: &Active,
        question: &Question,
        read: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Missing> {
        let call = self.breakers.features.admit(self.clock.monotonic()).map_err(|_| Missing::Refused)?;
        let done = self.before_deadline(question, read).await;
        let now = self.clock.monotonic();
        let took = now.saturating_sub(call.began());
        let (outcome, done) = match done {
            Some(Ok(read)) => (Outcome::Succeeded, Ok(read)),
            // Of this one record; that says nothing about others.
            Some(Err(error)) if error.is_damage() => (Outcome::Unknown, Err(Missing::Failed(error))),
            Some(Err(error)) => (Outcome::Failed, Err(Missing::Failed(error))),
            // Whoever allows next to nothing has not shown that the disk is slow.
            None if took < self.fair_wait(active, question) => (Outcome::Unknown, Err(Missing::Late)),
            None => (Outcome::Failed, Err(Missing::Late)),
        };
        call.end(outcome, now);
        done
    }

    /// A disk that has not answered by then is slow: half the deadline of the decision point, or what counts as slow.
    fn fair_wait(&self, active: &Active, question: &Question) -> Duration {
        let point = active.policy().point(&question.decision_point);
        let half = point.map_or(0, Point::deadline_ms).unsigned_abs() / 2;
        self.config.breakers.features_slow_after.min(Duration::from_millis(half))
    }

    /// Decides, and tells the breakers before the models how that went. Should it panic, those that were asked have
    /// failed, and it is decided without them.
    pub(super) fn decide_guarded(
        &self,
        policy: &PolicySnapshot,
        inputs: &mut DecisionInputs,
        asked: Asked<'_>,
        began: Duration,
    ) -> Decision {
        let decided = catch_unwind(AssertUnwindSafe(|| self.decider.decide(policy, inputs)));
        let now = self.clock.monotonic();
        let took = now.saturating_sub(began);
        let panic = match decided {
            // Without features no model is asked.
            Ok(decision) if inputs.features_availability != Availability::Available => return decision,
            Ok(decision) => {
                asked.end(inputs, &decision, took, now);
                return decision;
            }
            Err(panic) => panic,
        };
        let failed = asked.failed(took, now);
        if failed.is_empty() {
            resume_unwind(panic);
        }
        tracing::error!(point = &*inputs.decision_point, "deciding panicked; it is decided without models");
        self.metrics.panics.increment(1);
        for place in failed {
            if let Some((_, availability)) = inputs.models.get_mut(place) {
                *availability = Availability::Failed;
            }
        }
        self.decider.decide(policy, inputs)
    }

    /// Tells the breaker before the log what became of a record that it was given `waited` ago. Many give up at one
    /// hiccup of the disk: the log is broken only once nothing has been written for as long as counts as slow.
    pub(super) fn end_logging(
        &self,
        call: Call<'_>,
        waiting: Waiting<'_>,
        written: Result<(), &Error>,
        waited: Duration,
    ) {
        let now = self.clock.monotonic();
        let slow_after = self.config.breakers.log_slow_after;
        let outcome = match written {
            Ok(()) => {
                waiting.got_on(now);
                Outcome::Succeeded
            }
            Err(Error::DeadlineExceeded { .. }) if waiting.gave_up(now) < slow_after => Outcome::Unknown,
            Err(error) => refused_by_log(error),
        };
        call.end_after(outcome, waited, now);
    }

    /// The log is left alone: the declared policy says what is answered. Nothing is counted for the person.
    pub(super) fn unrecordable(
        &self,
        active: &Active,
        question: Question,
        refused: Refused,
    ) -> Result<DecisionRecord, Error> {
        if self.config.decision_log.on_unavailable == OnUnavailable::Refuse {
            return Err(Error::BreakerOpen { what: "the decision log", retry_after: refused.retry_after });
        }
        let Side { policy, models, canary } = active.side(question.user, &question.decision_point);
        let now = self.clock.now();
        let (decision_id, seed) = self.entropy.decision(now);
        let inputs = DecisionInputs {
            decision_id,
            now,
            seed,
            decision_point: question.decision_point,
            user: question.user,
            context: question.context,
            features_availability: Availability::Available,
            features: FeatureVector::not_found(policy.features()),
            models: Vec::new(),
            exposures: Vec::new(),
            person: Person::default(),
            budgets: Vec::new(),
            peek: question.peek,
            time_left_us: None,
        };
        let decision = decide_default(policy, &inputs, Reason::new(ReasonCode::LogUnavailable));
        self.metrics.unlogged_decisions.increment(1);
        active.count(&inputs.decision_point, decision.rung);
        Ok(DecisionRecord {
            sequence: 0,
            policy: policy.id(),
            models: models.to_vec(),
            canary,
            request: question.bytes,
            inputs,
            decision,
            observed: Observed::default(),
        })
    }
}

/// What it says of the log that it did not take a record.
pub(super) const fn refused_by_log(error: &Error) -> Outcome {
    match error {
        // Of this one record; that says nothing about others.
        Error::Log(augur_decision_log::Error::RecordTooLarge { .. }) => Outcome::Unknown,
        _ => Outcome::Failed,
    }
}
