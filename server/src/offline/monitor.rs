//! Whether a model still does what it did in training, told from what was decided with it and what came of that.
//!
//! Reads the decision log, for features and scores as they were, and the event log, for outcomes once they are certain.
//! Not here: the measures (`augur_models::drift`), or the coarser ones kept while serving (`crate::drift`).

use std::collections::BTreeMap;
use std::sync::Arc;

use augur_decision_log::Reader;
use augur_domain::decision::{Availability, Rung};
use augur_domain::{DecisionRecord, FeatureVector, ModelRef, Timestamp, UserKey, math};
use augur_models::artifact::{Artifact, Reference};
use augur_models::drift::{Drift, Observed, normal_quantile};
use augur_models::metrics::Metrics;
use augur_models::{Scorer, TaskDefinition};
use serde::{Deserialize, Serialize};

use super::FeatureSchema;
use super::labels::task_of;
use crate::{App, Error, config};

/// Most people whose decisions are kept for a comparison: those with the least keys, which are random, so that they are
/// a fair sample.
const MAX_PEOPLE: usize = 200_000;
/// Most values kept for it: models with many inputs are compared on fewer people.
const MAX_VALUES: usize = 64 << 20;
/// Decisions and users between two tellings.
const TOLD_EVERY: u64 = 5_000;
/// The bin of what is missing.
const MISSING: u8 = u8::MAX;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// The model's name in the registry.
    pub model: String,
    /// A version's number, or an alias.
    pub selector: String,
    /// Only decisions from this instant on.
    pub since: Option<Timestamp>,
}

/// How a version fares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Monitored {
    /// The model's name.
    pub model: String,
    /// The version.
    pub version: u32,
    /// First and last decision looked at, RFC 3339; absent when there was none.
    pub from: Option<String>,
    /// See `from`.
    pub to: Option<String>,
    /// Decisions that asked this version.
    pub decisions: u64,
    /// Decisions that asked another version of the model; they are not looked at.
    pub of_other_versions: u64,
    /// Decisions whose features were of other definitions; their values are not compared.
    pub of_other_definitions: u64,
    /// Share of decisions without a score of this version: features were not to be had, or the score was not finite.
    pub unscored_share: f64,
    /// Share of decisions without features.
    pub without_features_share: f64,
    /// Share of decisions that fell to the default action.
    pub default_share: f64,
    /// People whose latest decision is compared.
    pub people: u64,
    /// People left out because training would not have labelled them: without a recent event, if it asked for one.
    pub people_outside: u64,
    /// Inputs and scores against training; absent when the artifact keeps no reference.
    pub drift: Option<Drift>,
    /// What came of it; absent when the artifact does not tell what its labels meant.
    pub outcomes: Option<Outcomes>,
    /// Whether anything drifted.
    pub drifted: bool,
    /// What drifted, and what could not be told; a line each.
    pub notes: Vec<String>,
}

/// What came of decisions, of each person the latest that is certain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcomes {
    /// What a positive outcome is.
    pub positive_class: String,
    /// People with a decision whose outcome is certain.
    pub matured: u64,
    /// People whose every decision is too young.
    pub waiting: u64,
    /// Mean probability foretold.
    pub expected: f64,
    /// Share that came true.
    pub observed: f64,
    /// What chance alone keeps their difference below, if the probabilities are right.
    pub band: f64,
    /// How good the probabilities were; absent when nothing has matured.
    pub metrics: Option<Metrics>,
    /// Whether the difference is out of its band, and large enough to matter.
    pub drifted: bool,
}

/// Is told how many decisions and users were looked at, now and then; an error ends the comparison.
pub type Tell<'a> = dyn FnMut(u64) -> Result<(), Error> + 'a;

struct Pace<'a, 'b> {
    looked_at: u64,
    tell: &'a mut Tell<'b>,
}

impl Pace<'_, '_> {
    fn step(&mut self) -> Result<(), Error> {
        self.looked_at += 1;
        if self.looked_at.is_multiple_of(TOLD_EVERY) { (self.tell)(self.looked_at) } else { Ok(()) }
    }
}

/// One decision, as far as it is compared.
struct Kept {
    at: Timestamp,
    probability: f64,
    bins: Vec<u8>,
}

impl App {
    /// [`Self::monitor`] for `model`, or for every model that the active policy asks and that has such a version; over the
    /// decisions of `since_ms` before now, or over all for 0.
    ///
    /// # Errors
    /// As [`Self::monitor`]; [`Error::NotNow`] when the policy asks no such model; what `tell` gives.
    pub fn monitor_all(
        &self,
        model: Option<&str>,
        selector: &str,
        since_ms: i64,
        tell: &mut Tell<'_>,
    ) -> Result<Vec<Monitored>, Error> {
        let names = model.map_or_else(|| self.asked_models(selector), |model| Ok(vec![model.to_owned()]))?;
        let since = (since_ms > 0).then(|| self.clock.now().plus_millis(-since_ms));
        let watch = |model| Watch { model, selector: selector.to_owned(), since };
        names.into_iter().map(|model| self.monitor(&watch(model), tell)).collect()
    }

    fn asked_models(&self, selector: &str) -> Result<Vec<String>, Error> {
        let active = self.active();
        let asked = active.policy().declared_models().iter();
        let mut names: Vec<String> = asked.map(|model| model.registered_name().to_string()).collect();
        names.sort_unstable();
        names.dedup();
        names.retain(|name| self.registry.find(name, selector).is_ok());
        if names.is_empty() {
            return Err(Error::NotNow {
                problem: format!("the policy asks no model that has a version `{selector}`"),
                next_step: "train one with `augur train`, or name one".to_owned(),
            });
        }
        Ok(names)
    }

    /// Compares what was decided with a version with its training. Reads the decision log and the event log, also while
    /// they grow, and calls `tell` on the way; blocks.
    ///
    /// # Errors
    /// [`Error::NotFound`] or [`Error::Models`] when there is no such version, [`Error::Log`], [`Error::Store`]; what
    /// `tell` gives.
    pub fn monitor(&self, watch: &Watch, tell: &mut Tell<'_>) -> Result<Monitored, Error> {
        let mut pace = Pace { looked_at: 0, tell };
        if self.registry.versions(&watch.model)?.is_empty() {
            return Err(self.unknown_model(&watch.model)?);
        }
        let target = self.registry.find(&watch.model, &watch.selector)?;
        let artifact = self.registry.load(&target)?;
        let task = artifact.content().lineage.task();
        let mature_before = match &task {
            Some(task) => self.known_until(&mut pace)?.map(|end| end.plus_millis(-task.horizon_ms)),
            None => None,
        };
        let mut tally = Tally::new(self, &target, &artifact, mature_before)?;
        self.each_decision(watch.since, |record| {
            tally.take(record);
            pace.step()
        })?;
        if let Some(task) = &task {
            // Of labels that cannot be told here, anybody may be one that training would have taken.
            let recalled = task_of(task, &self.taxonomy);
            tally.keep_population(|user, at| {
                pace.step()?;
                let Some(task) = &recalled else { return Ok(true) };
                let events = self.store.events_of(user)?;
                Ok(task.label(at, events.iter().map(|stored| &stored.event)).is_some())
            })?;
        }
        let outcomes = task.map(|task| self.outcomes(&tally, &task, &mut pace)).transpose()?.flatten();
        Ok(tally.report(&artifact, outcomes, &self.config.monitor))
    }

    /// What came after the last event is unknown, whatever the clock says.
    fn known_until(&self, pace: &mut Pace<'_, '_>) -> Result<Option<Timestamp>, Error> {
        let mut last = None;
        for user in self.store.users()? {
            pace.step()?;
            for stored in self.store.events_of(user?)? {
                last = last.max(Some(stored.event.event_time));
            }
        }
        Ok(last.map(|last| last.min(self.clock.now())))
    }

    fn each_decision(
        &self,
        since: Option<Timestamp>,
        mut take: impl FnMut(&DecisionRecord) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let dir = self.layout.decisions();
        let mut reader = match since {
            Some(since) => Reader::open_at(&dir, since)?,
            None => Reader::open(&dir)?,
        };
        loop {
            match reader.next_record() {
                Ok(Some((_, record))) if since.is_none_or(|since| record.inputs.now >= since) => {
                    take(&record)?
                }
                Ok(Some(_)) => {}
                // What the writer is about to finish.
                Ok(None) | Err(augur_decision_log::Error::TruncatedTail { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Labels what has matured; `None` when the labels' meaning is not one that events can tell here.
    fn outcomes(
        &self,
        tally: &Tally<'_>,
        definition: &TaskDefinition,
        pace: &mut Pace<'_, '_>,
    ) -> Result<Option<Outcomes>, Error> {
        let Some(task) = task_of(definition, &self.taxonomy) else { return Ok(None) };
        let mut pairs = Vec::with_capacity(tally.matured.len());
        for (user, kept) in &tally.matured {
            pace.step()?;
            let events = self.store.events_of(*user)?;
            let events = events.iter().map(|stored| &stored.event);
            // Whoever was not of the population is no one that training would have labelled.
            if let Some(positive) = task.label(kept.at, events) {
                pairs.push((kept.probability, positive));
            }
        }
        let waiting = tally.latest.keys().filter(|user| !tally.matured.contains_key(*user)).count() as u64;
        Ok(Some(calibration(task.positive_class(), &pairs, waiting, &self.config.monitor)))
    }
}

/// Holds foretold probabilities to what came true: the sum of outcomes has the variance `sum p (1 - p)` if they are right.
fn calibration(
    positive_class: String,
    pairs: &[(f64, bool)],
    waiting: u64,
    thresholds: &config::Monitor,
) -> Outcomes {
    let people = (pairs.len() as f64).max(1.0);
    let expected = pairs.iter().fold(0.0, |sum, (probability, _)| sum + probability) / people;
    let observed = pairs.iter().filter(|(_, positive)| *positive).count() as f64 / people;
    let variance = pairs.iter().fold(0.0, |sum, (probability, _)| sum + probability * (1.0 - probability));
    let band = normal_quantile(thresholds.false_alarm / 2.0) * math::sqrt(variance) / people;
    let drifted = !pairs.is_empty() && (expected - observed).abs() > band.max(thresholds.calibration);
    Outcomes {
        positive_class,
        matured: pairs.len() as u64,
        waiting,
        expected,
        observed,
        band,
        metrics: Metrics::measure(pairs),
        drifted,
    }
}

/// What is counted on the way through the log.
struct Tally<'a> {
    target: &'a ModelRef,
    reference: Option<&'a Reference>,
    feature_set: augur_domain::ContentHash,
    schema: Arc<FeatureSchema>,
    /// Per input of the model; empty when the served definitions lack one.
    slots: Vec<usize>,
    mature_before: Option<Timestamp>,
    most_people: usize,
    span: Option<(Timestamp, Timestamp)>,
    decisions: u64,
    of_other_versions: u64,
    of_other_definitions: u64,
    unscored: u64,
    without_features: u64,
    defaults: u64,
    outside: u64,
    latest: BTreeMap<UserKey, Kept>,
    matured: BTreeMap<UserKey, Kept>,
}

impl<'a> Tally<'a> {
    fn new(
        app: &App,
        target: &'a ModelRef,
        artifact: &'a Artifact,
        mature_before: Option<Timestamp>,
    ) -> Result<Self, Error> {
        let features = app.feature_set();
        let slots = Scorer::new(artifact, &features)?.slots();
        Ok(Self {
            target,
            reference: artifact.content().reference.as_ref(),
            feature_set: features.hash(),
            schema: app.store.schema(),
            mature_before,
            most_people: MAX_PEOPLE.min(MAX_VALUES / slots.len().max(1)),
            slots,
            span: None,
            decisions: 0,
            of_other_versions: 0,
            of_other_definitions: 0,
            unscored: 0,
            without_features: 0,
            defaults: 0,
            outside: 0,
            latest: BTreeMap::new(),
            matured: BTreeMap::new(),
        })
    }

    fn take(&mut self, record: &DecisionRecord) {
        let (inputs, decision) = (&record.inputs, &record.decision);
        let asked = decision.scores.iter().filter_map(|outcome| Some((outcome, outcome.model.as_ref()?)));
        let mut of_model = asked.filter(|(_, model)| model.name == self.target.name);
        let Some((outcome, model)) = of_model.next() else { return };
        if model != self.target {
            self.of_other_versions += 1;
            return;
        }
        self.decisions += 1;
        let (first, last) = self.span.unwrap_or((inputs.now, inputs.now));
        self.span = Some((first.min(inputs.now), last.max(inputs.now)));
        self.defaults += u64::from(decision.rung == Rung::DefaultAction);
        self.without_features += u64::from(inputs.features_availability != Availability::Available);
        let Some(score) = outcome.score else {
            self.unscored += 1;
            return;
        };
        if inputs.features.feature_set != self.feature_set {
            self.of_other_definitions += 1;
            return;
        }
        let (at, probability) = (inputs.now, score.calibrated);
        if self.mature_before.is_some_and(|before| at <= before) {
            let kept = Kept { at, probability, bins: Vec::new() };
            keep(&mut self.matured, inputs.user, self.most_people, kept);
        }
        let kept = Kept { at, probability, bins: self.bins(&inputs.features) };
        keep(&mut self.latest, inputs.user, self.most_people, kept);
    }

    /// Leaves out people whom training would not have labelled: others are another world, not a changed one.
    fn keep_population(
        &mut self,
        mut holds: impl FnMut(UserKey, Timestamp) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let mut outside = Vec::new();
        for (user, kept) in &self.latest {
            if !holds(*user, kept.at)? {
                outside.push(*user);
            }
        }
        self.outside = outside.len() as u64;
        outside.iter().for_each(|user| drop(self.latest.remove(user)));
        Ok(())
    }

    fn bins(&self, features: &FeatureVector) -> Vec<u8> {
        let Some(reference) = self.reference else { return Vec::new() };
        let bins = self.slots.iter().zip(&reference.inputs).map(|(slot, input)| {
            let bin = features.usable(*slot).and_then(|value| input.bin(value));
            bin.and_then(|bin| u8::try_from(bin).ok()).unwrap_or(MISSING)
        });
        bins.collect()
    }

    fn report(
        self,
        artifact: &Artifact,
        outcomes: Option<Outcomes>,
        thresholds: &config::Monitor,
    ) -> Monitored {
        let share = |count: u64| if self.decisions == 0 { 0.0 } else { count as f64 / self.decisions as f64 };
        let drift = self.reference.map(|reference| {
            let mut seen = Observed::new(reference);
            for kept in self.latest.values() {
                let bins = kept.bins.iter().map(|bin| (*bin != MISSING).then_some(usize::from(*bin)));
                seen.count(bins, kept.probability);
            }
            let features = artifact.content().body.features();
            let names = features.iter().map(|(name, _)| *name);
            let thresholds = thresholds.thresholds();
            let slot = |name: &str| self.schema.feature_set().slot(name);
            Drift::between(reference, &seen, names, &thresholds)
                .excusing(&thresholds, |name| slot(name).is_some_and(|slot| self.schema.accumulates(slot)))
        });
        let notes = notes(&self, drift.as_ref(), outcomes.as_ref());
        Monitored {
            model: self.target.name.to_string(),
            version: self.target.version,
            from: self.span.map(|(first, _)| first.to_string()),
            to: self.span.map(|(_, last)| last.to_string()),
            decisions: self.decisions,
            of_other_versions: self.of_other_versions,
            of_other_definitions: self.of_other_definitions,
            unscored_share: share(self.unscored),
            without_features_share: share(self.without_features),
            default_share: share(self.defaults),
            people: self.latest.len() as u64,
            people_outside: self.outside,
            drifted: drift.as_ref().is_some_and(|drift| drift.drifted)
                || outcomes.as_ref().is_some_and(|outcomes| outcomes.drifted),
            drift,
            outcomes,
            notes,
        }
    }
}

/// Keeps the latest decision of a person, and of too many people those with the least keys.
fn keep(kept: &mut BTreeMap<UserKey, Kept>, user: UserKey, most: usize, new: Kept) {
    if kept.len() >= most && kept.last_key_value().is_some_and(|(last, _)| user > *last) {
        return;
    }
    if kept.get(&user).is_none_or(|known| known.at <= new.at) {
        kept.insert(user, new);
    }
    if kept.len() > most {
        kept.pop_last();
    }
}

fn notes(tally: &Tally<'_>, drift: Option<&Drift>, outcomes: Option<&Outcomes>) -> Vec<String> {
    let mut notes = Vec::new();
    match drift {
        None => {
            notes.push("the artifact keeps no reference to compare with; train the model again".to_owned())
        }
        Some(drift) => {
            if drift.scores.drifted {
                let (psi, ks) = (drift.scores.psi, drift.scores.ks);
                notes.push(format!("the scores drifted: PSI {psi:.3}, KS {ks:.3}"));
            }
            for input in drift.inputs.iter().filter(|input| input.drifted) {
                notes.push(format!(
                    "`{}` drifted: PSI {:.3}, KS {:.3}, missing {:.1} % where training had {:.1} %",
                    input.feature,
                    input.shift.psi,
                    input.shift.ks,
                    100.0 * input.missing_share,
                    100.0 * input.reference_missing_share
                ));
            }
        }
    }
    match outcomes {
        None => {
            notes.push("outcomes cannot be told: the artifact does not say what its labels meant".to_owned())
        }
        Some(outcomes) if outcomes.drifted => notes.push(format!(
            "calibration drifted: {:.1} % foretold, {:.1} % came true",
            100.0 * outcomes.expected,
            100.0 * outcomes.observed
        )),
        Some(outcomes) if outcomes.matured == 0 => {
            notes.push("no outcome is certain yet: every decision is younger than the horizon".to_owned());
        }
        Some(_) => {}
    }
    if tally.outside > 0 {
        let count = tally.outside;
        notes.push(format!("{count} people had no event recent enough for training to label them; left out"));
    }
    if tally.decisions == 0 {
        notes.push("no decision asked this version in that time".to_owned());
    }
    if tally.of_other_definitions > 0 {
        let count = tally.of_other_definitions;
        notes.push(format!("{count} decisions read other feature definitions and are not compared"));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(at: i64) -> Kept {
        Kept { at: Timestamp::from_unix_ms(at), probability: 0.5, bins: Vec::new() }
    }

    #[test]
    fn of_too_many_people_the_least_keys_stay_each_with_its_latest() {
        let mut people = BTreeMap::new();
        let user = |byte: u8| UserKey::from_bytes([byte; 16]);
        for (byte, at) in [(5, 1), (3, 1), (9, 1), (3, 7), (3, 2), (1, 4)] {
            keep(&mut people, user(byte), 3, kept(at));
        }
        let left: Vec<(UserKey, i64)> =
            people.iter().map(|(user, kept)| (*user, kept.at.unix_ms())).collect();
        assert_eq!(left, [(user(1), 4), (user(3), 7), (user(5), 1)]);
    }

    #[test]
    fn calibration_is_held_to_what_chance_allows() {
        let thresholds = crate::Config::default().monitor;
        let told = |rate: f64, people: usize| {
            let pairs: Vec<(f64, bool)> =
                (0..people).map(|person| (0.3, (person as f64) < rate * people as f64)).collect();
            calibration("yes".to_owned(), &pairs, 0, &thresholds)
        };
        assert!(!told(0.3, 1_000).drifted);
        assert!(!told(0.4, 50).drifted, "five in fifty is chance");
        assert!(told(0.4, 1_000).drifted);
        assert!(!told(0.31, 1_000_000).drifted, "too small to matter");
        let none = calibration("yes".to_owned(), &[], 3, &thresholds);
        assert!(!none.drifted && none.metrics.is_none() && none.waiting == 3);
    }
}
