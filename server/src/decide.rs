//! One decision from request to record: check, read, decide, log, answer. `augur_decision::decide` is the pure core.
//!
//! Once everything is read, all up to the log's queue happens in one go on the calling thread, without an await: a
//! caller that goes away leaves either nothing or a whole decision. What is not in memory is read before that, on a
//! storage thread. Not here: the wire's answer (`services`).

mod guarded;

use std::sync::Arc;
use std::time::Duration;

use augur_decision::{Budget, Point, PolicySnapshot, decide_default};
use augur_decision_log::Durability;
use augur_domain::decision::{Availability, DecisionInputs, DecisionRecord, Exposure, Observed, Person};
use augur_domain::value::Value;
use augur_domain::{DecisionId, FeatureVector, Reason, ReasonCode, Timestamp, UserKey};
use augur_feature_store::{BudgetGuard, Giving, Spend};
use augur_proto::convert::value::{subject_from_wire, values_from_wire};
use augur_proto::v1;
use tokio::sync::oneshot;

use crate::active::Active;
use crate::config::OnUnavailable;
use crate::person::{Asserted, person};
use crate::recent;
use crate::suggest::did_you_mean;
use crate::trial::Side;
use crate::{App, Error};
use guarded::Missing;

/// A request for a decision, with what the network layer knows about it.
#[derive(Debug)]
pub struct DecideCall {
    /// The request's bytes as received: they go into the record.
    pub bytes: Vec<u8>,
    /// The same, decoded.
    pub request: v1::DecideRequest,
    /// When it arrived, by the app's monotonic clock.
    pub arrived: Duration,
    /// How long the caller allows, if it said.
    pub allowed: Option<Duration>,
}

/// What is asked, after validation.
#[derive(Debug, Clone)]
pub struct Question {
    /// Whom it is about.
    pub user: UserKey,
    /// The place that asks.
    pub decision_point: Arc<str>,
    /// Request-time values, ordered by name, each name once.
    pub context: Vec<(Arc<str>, Value)>,
    /// What the request says of the person.
    pub asserted: Asserted,
    /// The request as received. Where there was none, empty, or by what whoever asks knows the record again.
    pub bytes: Vec<u8>,
    /// Only a look: nothing is counted, nobody is enrolled.
    pub peek: bool,
    /// Instant on the app's monotonic clock after which features are no longer read.
    pub read_until: Option<Duration>,
}

/// The features of one decision, as far as they could be read.
struct FeaturesRead {
    /// The instant of the decision.
    now: Timestamp,
    /// The same on the monotonic clock.
    started: Duration,
    availability: Availability,
    vector: FeatureVector,
}

/// What came of trying to decide.
#[expect(clippy::large_enum_variant, reason = "the large one is the common one")]
enum Made {
    /// The record is on its way.
    Recorded(Pending),
    /// The log did not take it.
    Unlogged(Box<DecisionRecord>, augur_decision_log::Error),
    /// Nothing is decided: the user's exposures or profile are not in memory, and the calling thread must not wait for
    /// them.
    OnDisk(Box<(Question, FeaturesRead)>),
}

/// From where the calling thread may read exposures and profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Memory,
    Disk,
    /// From nowhere but memory: no time is left. Then only an action without caps may be given, and none that the person
    /// may be against.
    Nowhere,
}

/// A decision whose record is on its way.
struct Pending {
    record: DecisionRecord,
    logged: oneshot::Receiver<Result<u64, augur_decision_log::Error>>,
    /// How long the answer may wait for it, if there is a bound.
    patience: Option<Duration>,
}

/// A decision that is made waits so long for its record even when its deadline is over: a hiccup of the disk, or a
/// request that was late before it began, must not turn a recorded decision into a failure.
pub(crate) const LEAST_RECORD_WAIT: Duration = Duration::from_millis(100);

impl App {
    /// Decides and records; the record has left the process when this returns. A record with sequence 0 is not in
    /// the log, and is the default action by the declared policy.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown decision point, [`Error::InvalidField`] for a subject or context that
    /// cannot be used, [`Error::Limited`] when the user was decided for too often, [`Error::Store`] when exposures cannot be read or kept, [`Error::Log`] when the record
    /// cannot be written and the policy is to refuse, or may be in the log though its sync failed,
    /// [`Error::DeadlineExceeded`] when it was not written in time, or exposures were not read in time and what would be
    /// given without features counts against caps.
    pub async fn decide(&self, call: DecideCall) -> Result<DecisionRecord, Error> {
        let active = self.active();
        let question = self.question(&active, call)?;
        self.answer(&active, question).await
    }

    /// [`Self::decide`] for a question that did not come over the wire.
    ///
    /// # Errors
    /// As [`Self::decide`].
    pub async fn decide_for(&self, question: Question) -> Result<DecisionRecord, Error> {
        let active = self.active();
        let point = point_of(&active, &question.decision_point)?;
        check_context(&active, point, &question.context)?;
        self.answer(&active, question).await
    }

    fn question(&self, active: &Active, call: DecideCall) -> Result<Question, Error> {
        let subject = subject_from_wire(call.request.subject.as_ref(), "subject")?;
        let user = self.user_key(subject);
        let point = point_of(active, &call.request.decision_point)?;
        let context = values_from_wire(call.request.context, "context").map_err(|fault| fault.error)?;
        check_context(active, point, &context)?;
        let (time_zone, consents) = (&*call.request.time_zone, call.request.consents);
        let asserted = Asserted::from_wire(active.policy(), time_zone, consents)?;
        self.limits.take_user(&user, self.clock.monotonic())?;
        let point_allows = Duration::from_millis(point.deadline_ms().unsigned_abs());
        let allowed = call.allowed.map_or(point_allows, |caller_allows| caller_allows.min(point_allows));
        Ok(Question {
            user,
            decision_point: Arc::clone(point.name()),
            context,
            asserted,
            bytes: call.bytes,
            peek: call.request.peek,
            read_until: Some(call.arrived + allowed),
        })
    }

    async fn answer(&self, active: &Active, question: Question) -> Result<DecisionRecord, Error> {
        let logging = match self.breakers.log.admit(self.clock.monotonic()) {
            Ok(logging) => logging,
            Err(refused) => return self.unrecordable(active, question, refused),
        };
        let pending = match self.make(active, question).await? {
            Made::Recorded(pending) => pending,
            Made::Unlogged(record, error) => {
                let error = Error::Log(error);
                logging.end_after(guarded::refused_by_log(&error), Duration::ZERO, self.clock.monotonic());
                return self.unlogged(active, *record, error);
            }
            // `make` reads from disk what is not in memory.
            Made::OnDisk(_) => return Err(Error::Internal),
        };
        let Pending { mut record, logged, patience } = pending;
        let waited_from = self.clock.monotonic();
        let waiting = self.breakers.log_progress.wait(waited_from);
        let outcome = written(logged, patience).await;
        let waited = self.since(waited_from);
        self.metrics.log_seconds.record(waited.as_secs_f64());
        self.end_logging(logging, waiting, outcome.as_ref().map(|_| ()), waited);
        record.sequence = match outcome {
            Ok(sequence) => sequence,
            // Nothing of a failed write stays in the log. After a failed sync the record may be there, as it may when
            // the time is over: another answer than the recorded one would then be a lie.
            Err(error @ Error::Log(_)) if self.config.decision_log.durability == Durability::Written => {
                return self.unlogged(active, record, error);
            }
            Err(error) => return Err(error),
        };
        let made = recent::Made { sequence: record.sequence, user: record.inputs.user };
        self.recent.remember(record.inputs.decision_id, made);
        if record.canary.is_some() {
            self.compare_arms(active, &record);
        }
        active.watching().take(&record, &self.config.monitor, &self.metrics);
        active.count(&record.inputs.decision_point, record.decision.rung);
        Ok(record)
    }

    fn compare_arms(&self, active: &Active, record: &DecisionRecord) {
        let slow = record.observed.decide_us > self.config.canary.slow_us;
        self.metrics.count_canary(record, slow);
        let trial = active.loaded().trial();
        if trial.is_some_and(|trial| trial.take(record, self.config.canary.roll_back)) {
            self.canary_settles.notify_one();
        }
    }

    /// Reads and decides; never [`Made::OnDisk`].
    async fn make(&self, active: &Active, question: Question) -> Result<Made, Error> {
        let features = self.read_features(active, &question).await;
        let made = self.decide_now(active, question, features, Reach::Memory)?;
        let Made::OnDisk(left) = made else { return Ok(made) };
        let (question, features) = *left;
        // Only to bring them into memory: they are read again under the guard, which no await may cross. By then they
        // are in the store's cache, or at worst in the system's.
        let (store, user, now) = (Arc::clone(&self.store), question.user, features.now);
        let point = active.policy().point(&question.decision_point);
        let is_capped = point.is_some_and(|point| point.longest_cap_window_ms() > 0);
        let warmed = async {
            let read = move || {
                // One that cannot be read is met again, and told, where it is looked at.
                let _ = store.profile(user);
                if is_capped { store.exposures(user, now).map(drop) } else { Ok(()) }
            };
            Ok(self.storage.run(read).await??)
        };
        match self.read_cold(active, &question, warmed).await {
            Ok(()) => {}
            // The profile alone is missing, and without it less may be given, but something.
            Err(_) if !is_capped => return self.decide_now(active, question, features, Reach::Nowhere),
            Err(Missing::Failed(error)) => return Err(error),
            Err(missing) => {
                let when = (features.now, features.started);
                let late = self.unavailable(active, when, missing.availability());
                return self.decide_now(active, question, late, Reach::Nowhere);
            }
        }
        self.decide_now(active, question, features, Reach::Disk)
    }

    /// The part without an await.
    fn decide_now(
        &self,
        active: &Active,
        question: Question,
        read: FeaturesRead,
        reach: Reach,
    ) -> Result<Made, Error> {
        let side = active.side(question.user, &question.decision_point);
        let breakers = active.breakers(&side);
        let Side { policy, models, canary } = side;
        let now = read.now;
        let cap_window_ms = policy.point(&question.decision_point).map_or(0, Point::longest_cap_window_ms);
        // Without caps, no two decisions of one user depend on each other.
        let _guard = (cap_window_ms > 0).then(|| self.store.exposure_guard(question.user));
        let exposures = match policy.point(&question.decision_point).filter(|_| cap_window_ms > 0) {
            None => Vec::new(),
            Some(point) => {
                let since = now.plus_millis(-cap_window_ms);
                let earlier = match reach {
                    Reach::Memory => self.store.exposures_if_cached(question.user, since)?,
                    Reach::Disk => Some(self.store.exposures(question.user, since)?),
                    Reach::Nowhere => Some(Vec::new()),
                };
                let Some(earlier) = earlier else {
                    return Ok(Made::OnDisk(Box::new((question, read))));
                };
                point.countable(&earlier, now)
            }
        };
        let known = match policy.point(&question.decision_point) {
            Some(point) => self.person(policy, point, &question, reach),
            None => Some(Person::default()),
        };
        let Some(person) = known else {
            return Ok(Made::OnDisk(Box::new((question, read))));
        };
        // What others spend meanwhile would be spent twice.
        let budgeted =
            policy.point(&question.decision_point).filter(|point| point.budgets().next().is_some());
        let budgets = budgeted.map(|_| self.store.budget_guard(now));
        let spent = match (budgeted, &budgets) {
            (Some(point), Some(guard)) => {
                let spent = |(action, budget): (&Arc<str>, &Budget)| {
                    (Arc::clone(action), guard.spent(action, budget.since(now)))
                };
                point.budgets().map(spent).collect()
            }
            _ => Vec::new(),
        };
        let all_read = self.clock.monotonic();
        let asks_time = policy.point(&question.decision_point).is_some_and(Point::asks_time_left);
        let time_left_us = question.read_until.filter(|_| asks_time).map(|until| left_us(until, all_read));
        let (decision_id, seed) = self.entropy.decision(now);
        let (models_availability, asked) = breakers.ask(&question.decision_point, all_read);
        let mut inputs = DecisionInputs {
            decision_id,
            now,
            seed,
            decision_point: question.decision_point,
            user: question.user,
            context: question.context,
            features_availability: read.availability,
            features: read.vector,
            models: models_availability,
            exposures,
            person,
            budgets: spent,
            peek: question.peek,
            time_left_us,
        };
        let decision = self.decide_guarded(policy, &mut inputs, asked, all_read);
        if reach == Reach::Nowhere && cap_window_ms > 0 && decision.counts_against_caps {
            return Err(Error::DeadlineExceeded { elapsed: self.since(read.started) });
        }
        let decided = self.clock.monotonic();
        let observed = self.observe(read.started, all_read, decided);
        let record = DecisionRecord {
            sequence: 0,
            policy: policy.id(),
            models: models.to_vec(),
            canary,
            request: question.bytes,
            inputs,
            decision,
            observed,
        };
        // Before the guard goes, so that the next decision for this user sees it, and before the log has the record,
        // so that nothing is logged when this fails. Should the log refuse the record or fail, the exposure stands:
        // one message too few, never one too many.
        self.give(policy, &record, budgets)?;
        let (told, logged) = oneshot::channel();
        let queued = self.log.append(&record, move |outcome| {
            // Nobody may be waiting any more; the record is written all the same.
            let _ = told.send(outcome);
        });
        if let Err(error) = queued {
            return Ok(Made::Unlogged(Box::new(record), error));
        }
        let patience = question.read_until.map(|until| until.saturating_sub(decided).max(LEAST_RECORD_WAIT));
        Ok(Made::Recorded(Pending { record, logged, patience }))
    }

    /// What is known of the person, as far as the decision point looks at it; `None` when only the disk can tell.
    fn person(
        &self,
        policy: &PolicySnapshot,
        point: &Point,
        question: &Question,
        reach: Reach,
    ) -> Option<Person> {
        let needs = point.person_needs();
        if needs.is_nothing() {
            return Some(Person::default());
        }
        let read = match (self.store.profile_if_cached(question.user), reach) {
            (Ok(None), Reach::Memory) => return None,
            (Ok(None), Reach::Disk) => self.store.profile(question.user).map(Some),
            (read, _) => read,
        };
        let profile = match &read {
            Ok(Some(profile)) => Ok(profile),
            Ok(None) => Err(Availability::DeadlineExceeded),
            Err(error) => {
                tracing::error!(%error, "a profile cannot be read; nothing is given that needs a consent");
                Err(Availability::Failed)
            }
        };
        if profile.is_err() {
            self.metrics.profiles_unavailable.increment(1);
        }
        Some(person(policy, needs, profile, &question.asserted))
    }

    async fn read_features(&self, active: &Active, question: &Question) -> FeaturesRead {
        let (now, started) = (self.clock.now(), self.clock.monotonic());
        let Question { user, context, read_until, .. } = question;
        let read = if read_until.is_some_and(|until| started >= until) {
            Err(Missing::Late)
        } else {
            match self.store.features_if_cached(active.definitions(), *user, now, context) {
                Ok(Some(vector)) => Ok(vector),
                Ok(None) => {
                    let vector = self.vector_from_disk(active.definitions(), *user, now, context);
                    self.read_cold(active, question, vector).await
                }
                Err(error) => Err(Missing::Failed(error.into())),
            }
        };
        match read {
            Ok(vector) => FeaturesRead { now, started, availability: Availability::Available, vector },
            Err(missing) => {
                if let Missing::Failed(error) = &missing {
                    tracing::error!(%error, "features cannot be read; deciding without them");
                }
                self.unavailable(active, (now, started), missing.availability())
            }
        }
    }

    fn unavailable(
        &self,
        active: &Active,
        (now, started): (Timestamp, Duration),
        availability: Availability,
    ) -> FeaturesRead {
        self.metrics.features_unavailable.increment(1);
        let vector = FeatureVector::not_found(active.policy().features());
        FeaturesRead { now, started, availability, vector }
    }

    /// What `read` gives, or `None` when the time to read is over first.
    async fn before_deadline<T>(&self, question: &Question, read: impl Future<Output = T>) -> Option<T> {
        match question.read_until {
            None => Some(read.await),
            Some(until) => {
                let left = until.saturating_sub(self.clock.monotonic());
                tokio::time::timeout(left, read).await.ok()
            }
        }
    }

    fn since(&self, instant: Duration) -> Duration {
        self.clock.monotonic().saturating_sub(instant)
    }

    /// Counts what was decided against caps and budgets.
    fn give(
        &self,
        policy: &PolicySnapshot,
        record: &DecisionRecord,
        guard: Option<BudgetGuard<'_>>,
    ) -> Result<(), Error> {
        let DecisionRecord { inputs, decision, .. } = record;
        let exposure = decision.counts_against_caps.then(|| Exposure {
            category: Arc::clone(&decision.category),
            // Only a report about a hold asks by the decision.
            decision: decision.holds_until.map_or(DecisionId::NONE, |_| inputs.decision_id),
            holds_until: decision.holds_until,
            ..Exposure::new(Arc::clone(&decision.action), Arc::clone(&decision.channel), inputs.now)
        });
        let budget = policy.point(&inputs.decision_point).and_then(|point| point.budget(&decision.action));
        // A look is given nothing.
        let spend = budget
            .filter(|_| !inputs.peek)
            .map(|budget| Spend { action: Arc::clone(&decision.action), since: budget.since(inputs.now) });
        let hold = decision.holds_until.map(|until| (inputs.decision_id, until));
        Ok(self.store.give(inputs.user, Giving { exposure, spend, hold }, guard)?)
    }

    fn observe(&self, started: Duration, read: Duration, decided: Duration) -> Observed {
        let (reading, deciding) = (read.saturating_sub(started), decided.saturating_sub(read));
        self.metrics.read_seconds.record(reading.as_secs_f64());
        self.metrics.decide_seconds.record(deciding.as_secs_f64());
        Observed { read_us: whole_us(reading), decide_us: whole_us(deciding) }
    }

    /// The record is not in the log: the declared policy says what is answered.
    fn unlogged(
        &self,
        active: &Active,
        mut record: DecisionRecord,
        error: Error,
    ) -> Result<DecisionRecord, Error> {
        if self.config.decision_log.on_unavailable == OnUnavailable::Refuse {
            return Err(error);
        }
        tracing::error!(%error, "the decision log cannot be written; answering the default action");
        let side = active.side(record.inputs.user, &record.inputs.decision_point);
        record.decision =
            decide_default(side.policy, &record.inputs, Reason::new(ReasonCode::LogUnavailable));
        self.metrics.unlogged_decisions.increment(1);
        active.count(&record.inputs.decision_point, record.decision.rung);
        Ok(record)
    }
}

/// Waits until the log has written a record that it took, and gives up after `patience`.
async fn written(
    logged: oneshot::Receiver<Result<u64, augur_decision_log::Error>>,
    patience: Option<Duration>,
) -> Result<u64, Error> {
    let told = match patience {
        None => logged.await,
        Some(patience) => {
            let late = |_| Error::DeadlineExceeded { elapsed: patience };
            tokio::time::timeout(patience, logged).await.map_err(late)?
        }
    };
    Ok(told.unwrap_or(Err(augur_decision_log::Error::Closed))?)
}

/// The microseconds from `now` to `until`, none once it is past.
fn left_us(until: Duration, now: Duration) -> u64 {
    u64::try_from(until.saturating_sub(now).as_micros()).unwrap_or(u64::MAX)
}

fn whole_us(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

pub(crate) fn point_of<'a>(active: &'a Active, name: &str) -> Result<&'a Point, Error> {
    let policy = active.policy();
    policy.point(name).ok_or_else(|| {
        let shown: String = name.chars().take(100).collect();
        let known: Vec<&str> = policy.decision_points().iter().map(|point| &**point.name()).collect();
        let near = did_you_mean(&shown, known.iter().copied());
        let all = format!("the policy has {}", known.join(", "));
        let hint = if near.is_empty() { all } else { format!("{near} {all}") };
        Error::NotFound { kind: "decision point", name: shown, hint }
    })
}

/// Features read the same context: a value that they declare with another type would silently be missing to them.
fn check_context(active: &Active, point: &Point, context: &[(Arc<str>, Value)]) -> Result<(), Error> {
    let whose = format!("decision point `{}` does", point.name());
    crate::read::check_context(point.context_schema(), &whose, context)?;
    for (name, value) in context {
        if let Some(expected) = point.unmet(name, value) {
            let said: String = value.as_text().unwrap_or_default().chars().take(100).collect();
            return Err(Error::field(format!("context.{name}"), format!("`{said}`"), expected));
        }
    }
    let declared = active.definitions().schema().context();
    for (name, value) in context {
        let place = declared.binary_search_by(|(known, _)| (**known).cmp(name)).ok();
        let of_features = place.and_then(|place| declared.get(place));
        if let Some((_, value_type)) =
            of_features.filter(|(_, of_features)| *of_features != value.value_type())
        {
            let problem =
                format!("a {}, as decision point `{}` declares it", value.value_type(), point.name());
            let expected = format!(
                "a {value_type}, as `[context]` of the feature definitions declares it; declare one type in both"
            );
            return Err(Error::field(format!("context.{name}"), problem, expected));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stalled_log_ends_the_wait_and_a_failed_one_is_told() {
        let (_stalled, logged) = oneshot::channel();
        let late = written(logged, Some(Duration::from_millis(1))).await.unwrap_err();
        assert_eq!(tonic::Status::from(late).code(), tonic::Code::DeadlineExceeded);

        let (failed, logged) = oneshot::channel();
        drop(failed);
        let error = written(logged, None).await.unwrap_err();
        assert!(matches!(error, Error::Log(augur_decision_log::Error::Closed)), "{error}");

        let (told, logged) = oneshot::channel();
        told.send(Ok(7)).unwrap();
        assert_eq!(written(logged, Some(LEAST_RECORD_WAIT)).await.unwrap(), 7);
    }
}
