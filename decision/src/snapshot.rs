//! A policy as it stands when it is loaded: immutable, resolved to indices, shared between threads.
//!
//! Not here: how the file is read (`file`), checked (`check`) and compiled (`compile`), or what is done with it
//! (`decide`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use augur_domain::decision::{Exposure, Rung};
use augur_domain::{ContentHash, Diagnostic, FeatureSet, ModelRef, Timestamp, Value, ValueType};
use augur_models::Scorer;
use augur_models::scorer::Kind;

use crate::arbitrate::EvidenceSource;
use crate::ask::Prior;
use crate::budget::Budget;
use crate::calendar::UnknownZone;
use crate::cap::{Subject, mark_countable};
use crate::declared::Declared;
use crate::diversity::{Diversity, mark_needed};
use crate::experiment::{Experiments, LocalExperiment};
use crate::explain::Words;
use crate::explore::{Exploration, TieBreak};
use crate::ladder::Ladder;
use crate::limits::Limits;
use crate::names::Inputs;
use crate::person::PersonNeeds;
use crate::question::Question;
use crate::rule::{Rule, RuleInfo};
use crate::source::{ModelSource, Sources};
use crate::table::Table;

/// Part of every policy's id. Raised whenever the same policy text and inputs could decide differently, so that a
/// replay never mistakes a change of the engine for a change of nothing.
pub const ENGINE_VERSION: u32 = 1;

/// Before the name of a model whose earlier version is meant, in records and among what may be asked.
pub const PREVIOUS: &str = "previous.";

/// One loaded policy. Immutable; share it behind an `Arc`.
#[derive(Debug)]
pub struct PolicySnapshot {
    pub(crate) id: ContentHash,
    pub(crate) features: Arc<FeatureSet>,
    pub(crate) models: Vec<Model>,
    pub(crate) loaded: Vec<(Arc<str>, ModelRef)>,
    pub(crate) inputs: Inputs,
    pub(crate) traits: Vec<Declared>,
    pub(crate) points: Vec<Point>,
    pub(crate) points_by_name: BTreeMap<Arc<str>, usize>,
    pub(crate) rules: Vec<RuleInfo>,
    pub(crate) experiments: Experiments,
    pub(crate) longest_cap_window_ms: i64,
    pub(crate) test_files: Vec<String>,
    pub(crate) unknown_zone: UnknownZone,
    pub(crate) purposes: Vec<Arc<str>>,
    pub(crate) consent_from_request: bool,
}

impl PolicySnapshot {
    /// Reads, checks and compiles the policy in `source` against `features`, and asks `models` for every model
    /// that it names.
    ///
    /// # Errors
    /// Everything that is wrong with the file and those that it names, in file order. A file that is not TOML is reported as such alone.
    pub fn load<'s>(
        source: impl Into<Sources<'s>>,
        features: Arc<FeatureSet>,
        models: &dyn ModelSource,
    ) -> Result<Self, Vec<Diagnostic>> {
        crate::compile::compile(source.into(), features, models)
    }

    /// Names the policy in logs: the hash of the engine's version, the file's bytes, the feature definitions, and the names
    /// and bytes of the files that it names.
    /// Models move under a policy without changing its id; a decision's record names them on its own.
    pub fn id(&self) -> ContentHash {
        self.id
    }

    /// Every purpose that some action needs a consent to, ordered by name.
    pub fn purposes(&self) -> &[Arc<str>] {
        &self.purposes
    }

    /// Whether a consent that a request brings counts where the person was never asked.
    pub fn consent_from_request(&self) -> bool {
        self.consent_from_request
    }

    /// The feature definitions that the expressions were compiled against.
    pub fn features(&self) -> &Arc<FeatureSet> {
        &self.features
    }

    /// The places that may ask, in file order.
    pub fn decision_points(&self) -> &[Point] {
        &self.points
    }

    /// The decision point called `name`.
    pub fn point(&self, name: &str) -> Option<&Point> {
        self.points_by_name.get(name).and_then(|index| self.points.get(*index))
    }

    /// Every rule, whatever its mode, in file order.
    pub fn rules(&self) -> &[RuleInfo] {
        &self.rules
    }

    /// The exact version behind each alias that has one, in file order; then those before them that fallback ladders want,
    /// their names with `previous.` before them.
    pub fn models(&self) -> &[(Arc<str>, ModelRef)] {
        &self.loaded
    }

    /// Every declared model alias, loaded or not, in file order.
    pub fn declared_models(&self) -> &[Model] {
        &self.models
    }

    /// The name of everything that may be asked, as [`DecisionInputs`](augur_domain::DecisionInputs) lists it, and the
    /// version that is loaded under it: every alias, and after them the versions before that fallback ladders want.
    pub fn askable(&self) -> impl Iterator<Item = (&Arc<str>, Option<&ModelRef>)> {
        let previous = self.models.iter().filter_map(|model| model.previous.as_ref());
        let previous = previous.map(|it| (&it.name, it.loaded.as_ref().map(|(version, _)| version)));
        self.models.iter().map(|model| (&model.name, model.version())).chain(previous)
    }

    /// The files of tests beside it that it names, in its order.
    pub fn test_files(&self) -> &[String] {
        &self.test_files
    }

    /// The traits of people that expressions may read as `user.<name>`, ordered by name, with the types in which they are
    /// carried.
    pub fn traits(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, ValueType)> {
        self.traits.iter().map(|declared| (&declared.name, declared.carried_as()))
    }

    /// The longest window of any cap of any decision point, in milliseconds, 0 without caps. Exposures younger
    /// than this must be kept: one given here may count there.
    pub fn longest_cap_window_ms(&self) -> i64 {
        self.longest_cap_window_ms
    }
}

/// A declared model alias: `scores.<name>` in expressions, or `segments.<name>` of one that gives segments.
pub struct Model {
    /// Of one that gives segments with `segments.` before it.
    pub(crate) name: Arc<str>,
    pub(crate) kind: Kind,
    pub(crate) registered_name: Arc<str>,
    pub(crate) alias: Arc<str>,
    pub(crate) loaded: Option<(ModelRef, Arc<Scorer>)>,
    /// What is said of its inputs, if the policy says anything.
    pub(crate) words: Option<Words>,
    /// The version before, where a fallback ladder wants it.
    pub(crate) previous: Option<PreviousVersion>,
    /// The score that the policy declares for when none can be asked.
    pub(crate) prior: Option<Prior>,
}

/// The version that an alias had before the present one.
pub(crate) struct PreviousVersion {
    /// The model's name with `previous.` before it.
    pub(crate) name: Arc<str>,
    pub(crate) loaded: Option<(ModelRef, Arc<Scorer>)>,
}

impl Model {
    /// What is asked of it.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The name that expressions use; of one that gives segments with `segments.` before it, so that no score has the same.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The model's name in the registry.
    pub fn registered_name(&self) -> &Arc<str> {
        &self.registered_name
    }

    /// The registry's alias, e.g. `champion`.
    pub fn alias(&self) -> &Arc<str> {
        &self.alias
    }

    /// What scores, if a version is loaded.
    pub fn scorer(&self) -> Option<&Arc<Scorer>> {
        self.loaded.as_ref().map(|(_, scorer)| scorer)
    }

    /// The exact version, if one is loaded.
    pub fn version(&self) -> Option<&ModelRef> {
        self.loaded.as_ref().map(|(version, _)| version)
    }

    /// Whether a fallback ladder wants the version before this one.
    pub fn wants_previous(&self) -> bool {
        self.previous.is_some()
    }

    /// The version before this one, if a fallback ladder wants it and it is loaded.
    pub fn previous(&self) -> Option<&(ModelRef, Arc<Scorer>)> {
        self.previous.as_ref()?.loaded.as_ref()
    }

    /// What scores on this step of a ladder.
    pub(crate) fn scorer_on(&self, rung: Rung) -> Option<&Scorer> {
        let (_, scorer) = match rung {
            Rung::Champion => self.loaded.as_ref(),
            Rung::PreviousModel => self.previous(),
            Rung::SegmentDefault | Rung::RulesOnly | Rung::DefaultAction => None,
        }?;
        Some(scorer)
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Model").field("name", &self.name).field("version", &self.version()).finish()
    }
}

/// What a decision point does when the user's features cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFeaturesUnavailable {
    /// Rules and values do what they can without them.
    Rules,
    /// The default action is given at once.
    Default,
}

/// A named place that asks for decisions.
#[derive(Debug)]
pub struct Point {
    pub(crate) name: Arc<str>,
    pub(crate) deadline_ms: i64,
    pub(crate) when_features_unavailable: WhenFeaturesUnavailable,
    pub(crate) ladder: Ladder,
    /// Ordered by name, with the types in which requests carry them.
    pub(crate) context: Vec<(Arc<str>, ValueType)>,
    /// The same as expressions read them.
    pub(crate) declared: Vec<Declared>,
    /// For each request-time value of the policy its place in `declared`.
    pub(crate) context_places: Vec<Option<u16>>,
    /// Indices into [`PolicySnapshot::models`].
    pub(crate) models: Vec<usize>,
    /// Indices into [`PolicySnapshot::models`] of those that give segments.
    pub(crate) segments: Vec<usize>,
    /// In declaration order.
    pub(crate) candidates: Vec<Candidate>,
    /// Index into `candidates`.
    pub(crate) default: usize,
    pub(crate) deny: Vec<Rule>,
    pub(crate) allow: Vec<Rule>,
    pub(crate) boost: Vec<Rule>,
    pub(crate) force: Vec<Rule>,
    pub(crate) set: Vec<Rule>,
    /// Tables of which one row acts.
    pub(crate) tables: Vec<Table>,
    /// Rules of any effect that are asked and do nothing.
    pub(crate) shadow: Vec<Rule>,
    pub(crate) diversity: Vec<Diversity>,
    pub(crate) exploration: Option<Exploration>,
    pub(crate) tie_break: TieBreak,
    /// Indices into the policy's holdouts.
    pub(crate) holdouts: Vec<usize>,
    /// In declaration order.
    pub(crate) experiments: Vec<LocalExperiment>,
    pub(crate) longest_cap_window_ms: i64,
    /// Whether any of its actions goes by the person's clock.
    pub(crate) goes_by_clock: bool,
    /// Candidates with a budget, ordered by name.
    pub(crate) budgeted: Vec<usize>,
    pub(crate) person_needs: PersonNeeds,
}

impl Point {
    /// What must be known of the person.
    pub fn person_needs(&self) -> &PersonNeeds {
        &self.person_needs
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How long a decision may take, in milliseconds.
    pub fn deadline_ms(&self) -> i64 {
        self.deadline_ms
    }

    /// Whether a step of its fallback ladder needs to know how much time is left.
    pub fn asks_time_left(&self) -> bool {
        self.ladder.asks_time()
    }

    /// The request-time values that expressions may read, ordered by name, with the types in which requests carry them:
    /// instants and lengths of time are text.
    pub fn context_schema(&self) -> &[(Arc<str>, ValueType)] {
        &self.context
    }

    /// What was expected in place of `value` as the request-time value `name`, if it does not fit: another type, a text
    /// that is not among the declared ones, or one that says no instant or length of time.
    pub fn unmet(&self, name: &str, value: &Value) -> Option<String> {
        let place = self.declared.binary_search_by(|known| (*known.name).cmp(name)).ok()?;
        self.declared.get(place)?.unmet(value)
    }

    /// The longest window of the caps of its actions and of its diversity, in milliseconds, 0 without either: how far back the exposures
    /// handed to [`decide`](crate::decide) must reach.
    pub fn longest_cap_window_ms(&self) -> i64 {
        self.longest_cap_window_ms
    }

    /// Those of `exposures`, oldest first, that can count against the caps of its actions or for its diversity at `now`: the rest may be
    /// left out of what is handed to [`decide`](crate::decide) without changing the decision.
    pub fn countable(&self, exposures: &[Exposure], now: Timestamp) -> Vec<Exposure> {
        let actions = self.candidates.iter().map(|candidate| &candidate.action);
        let actions = actions.map(|action| (action.subject(), action.limits.caps.as_slice()));
        let mut needed = vec![false; exposures.len()];
        mark_countable(actions, exposures, now, &mut needed);
        mark_needed(self, exposures, now, &mut needed);
        let needed = exposures.iter().zip(needed).filter(|(_, needed)| *needed);
        needed.map(|(exposure, _)| exposure.clone()).collect()
    }

    /// The budgets of its actions, ordered by the actions' names: what is spent of each belongs into
    /// [`DecisionInputs::budgets`](augur_domain::DecisionInputs), in this order.
    pub fn budgets(&self) -> impl Iterator<Item = (&Arc<str>, &Budget)> {
        let budgeted = self.budgeted.iter().filter_map(|index| self.candidates.get(*index));
        budgeted
            .filter_map(|candidate| Some((&candidate.action.name, candidate.action.limits.budget.as_ref()?)))
    }

    /// The budget of one of its actions, if it has one.
    pub fn budget(&self, action: &str) -> Option<&Budget> {
        self.budgets().find(|(name, _)| ***name == *action).map(|(_, budget)| budget)
    }

    /// What happens when the user's features cannot be read.
    pub fn when_features_unavailable(&self) -> WhenFeaturesUnavailable {
        self.when_features_unavailable
    }

    /// Its actions, in declaration order.
    pub fn actions(&self) -> impl ExactSizeIterator<Item = &Arc<str>> {
        self.candidates.iter().map(|candidate| &candidate.action.name)
    }

    /// The action that is never refused.
    pub fn default_action(&self) -> &Arc<str> {
        self.candidates.get(self.default).map_or(&self.name, |candidate| &candidate.action.name)
    }

    /// The model aliases that it asks for segments, in declaration order.
    pub fn segments<'a>(&'a self, policy: &'a PolicySnapshot) -> impl Iterator<Item = &'a Model> {
        self.segments.iter().filter_map(|index| policy.models.get(*index))
    }

    /// The model aliases that it asks for scores, in declaration order.
    pub fn models<'a>(&'a self, policy: &'a PolicySnapshot) -> impl Iterator<Item = &'a Model> {
        self.models.iter().filter_map(|index| policy.models.get(*index))
    }
}

/// What an action is wherever it is offered.
#[derive(Debug)]
pub(crate) struct Action {
    pub(crate) name: Arc<str>,
    /// Empty if it has none.
    pub(crate) channel: Arc<str>,
    /// JSON text, empty if none was declared.
    pub(crate) payload: Arc<str>,
    /// The payload's keys with their JSON texts, in order; empty if it is no table.
    pub(crate) fields: Box<[(Box<str>, Box<str>)]>,
    pub(crate) value_fallback: f64,
    /// Whether the policy says what it is worth.
    pub(crate) declares_value: bool,
    /// Empty if it has none.
    pub(crate) category: Arc<str>,
    pub(crate) limits: Limits,
    /// Whether giving it can use up a cap of its own, of its channel or of its category, or counts for diversity.
    pub(crate) counts_against_caps: bool,
    pub(crate) expires_after_ms: Option<i64>,
    /// Purposes, ordered by name.
    pub(crate) requires_consent: Vec<Arc<str>>,
}

impl Action {
    /// What caps count it by.
    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject { action: &self.name, channel: &self.channel, category: &self.category }
    }

    /// Until when an answer with it at `now` is held, if its delivery is to be confirmed.
    pub(crate) fn holds_until(&self, now: Timestamp) -> Option<Timestamp> {
        let counts = self.counts_against_caps || self.limits.budget.is_some();
        let within_ms = self.limits.confirm_within_ms.filter(|_| counts)?;
        Some(now.plus_millis(within_ms))
    }
}

/// An action as offered at one decision point.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) action: Arc<Action>,
    /// `None`: the value is the declared fallback.
    pub(crate) value: Option<Arc<Question>>,
    /// `None`: always eligible.
    pub(crate) eligible_when: Option<Arc<Question>>,
    /// What is known of its successes, for exploration that asks.
    pub(crate) evidence: Option<EvidenceSource>,
}
