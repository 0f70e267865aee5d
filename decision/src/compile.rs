//! From the written policy to the snapshot: models found, expressions compiled, names resolved to indices.
//!
//! Not here: the file's form (`file`), or whether its entries fit together (`check`).

mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use augur_domain::{ContentHash, Diagnostic, FeatureSet, ModelRef, ValueType, time_zone};
use augur_expression::{CompileError, Names, Parsed};
use augur_models::scorer::Kind;

use crate::calendar::UnknownZone;
use crate::check::check;
use crate::check_ladder::{prior, wants_previous};
use crate::check_limits::{channel_quiet, counts_against_caps, reads_time_zones};
use crate::compile_experiments::{arm_names, check_pre, experiments, holdouts_at, holds_at};
use crate::declared::Declared;
use crate::experiment::LocalExperiment;
use crate::explain::{Directions, Words};
use crate::file::{
    ActionEntry, Complaints, CountEntry, DeclaredEntry, Located, ModelEntry, PointEntry, Policy, Written,
    offset_in_file, parse, suggestion,
};
use crate::limits::Limits;
use crate::names::{Inputs, PointNames};
use crate::person::PersonNeeds;
use crate::question::Question;
use crate::snapshot::{
    Action, Candidate, ENGINE_VERSION, Model, PREVIOUS, Point, PolicySnapshot, PreviousVersion,
};
use crate::source::{ModelSource, Sources};
use crate::table::Table;

/// Reads, checks and compiles a whole policy, or says everything that is wrong with it.
pub(crate) fn compile(
    source: Sources<'_>,
    features: Arc<FeatureSet>,
    models: &dyn ModelSource,
) -> Result<PolicySnapshot, Vec<Diagnostic>> {
    let mut complaints = Complaints::new(source);
    let policy = parse(source, &mut complaints);
    check(&policy, &mut complaints);
    let models = find_models(&policy, &features, models, &mut complaints);
    let traits = declared(&policy.traits);
    let inputs = Inputs::new(
        Arc::clone(&features),
        models.iter().map(|model| (Arc::clone(&model.name), model.kind)).collect(),
        &traits,
        policy.points.iter().flat_map(|point| declared(&point.context)),
        arm_names(&policy),
    );
    let parsed = parse_all(&policy);
    let mut compiler = Compiler {
        text: &source.policy.text,
        parsed: &parsed,
        traits: &traits,
        asks_local_times: false,
        inputs: &inputs,
        points: policy.points.iter().map(|point| Point::bare(point, &models)).collect(),
        complaints,
    };
    compiler.experiments(&policy);
    compiler.candidates(&policy);
    compiler.evidence(&policy);
    let rules = compiler.rules(&policy);
    let Compiler { mut points, mut complaints, asks_local_times, .. } = compiler;
    check_pre(&policy, &features, &mut complaints);
    if !complaints.is_empty() {
        return Err(complaints.into_diagnostics());
    }
    for point in &mut points {
        point.settle();
        point.settle_experiments(&policy, &inputs);
    }
    let by_name = points.iter().enumerate().map(|(index, point)| (Arc::clone(&point.name), index));
    let purposes = purposes(&policy);
    Ok(PolicySnapshot {
        id: policy_id(source, &policy, &features, asks_local_times),
        experiments: experiments(&policy, &features),
        unknown_zone: policy.unknown_zone.unwrap_or(UnknownZone::Hold),
        loaded: loaded_models(&models),
        points_by_name: by_name.collect::<BTreeMap<_, _>>(),
        longest_cap_window_ms: points.iter().map(|point| point.longest_cap_window_ms).max().unwrap_or(0),
        rules,
        test_files: policy.tests.clone(),
        traits,
        purposes,
        consent_from_request: policy.consent_from_request,
        features,
        models,
        inputs,
        points,
    })
}

/// Every expression of the policy by its source.
type ParsedSources<'a> = BTreeMap<&'a str, Result<Parsed<'a>, CompileError>>;

/// Parses every expression once, all of them together: that is most of the work of loading a policy.
fn parse_all(policy: &Policy) -> ParsedSources<'_> {
    let evidence = policy.actions.iter().filter_map(|action| action.evidence.as_ref());
    let evidence = evidence.flat_map(|evidence| [&evidence.successes, &evidence.failures]);
    let evidence = evidence.filter_map(|count| match count {
        CountEntry::Written(written) => Some(written),
        CountEntry::Number(_) => None,
    });
    let of_actions = policy.actions.iter().flat_map(|action| [&action.value, &action.eligible_when]);
    let of_experiments = policy.experiments.iter().map(|experiment| &experiment.when);
    let written = of_actions.chain(of_experiments).flatten().chain(evidence);
    let of_rules = policy.every_rule().filter_map(|(rule, _)| rule.when.as_ref()).flatten();
    let mut sources: Vec<&str> = written.chain(of_rules).map(|written| &*written.source).collect();
    sources.sort_unstable();
    sources.dedup();
    let parsed = Parsed::all(&sources);
    sources.into_iter().zip(parsed).collect()
}

/// Every purpose that some action needs a consent to, ordered by name.
fn purposes(policy: &Policy) -> Vec<Arc<str>> {
    let all = policy.actions.iter().flat_map(|action| &action.requires_consent);
    let all: BTreeSet<&str> = all.map(|purpose| &*purpose.value).collect();
    all.into_iter().map(Arc::from).collect()
}

/// A policy that names no file has the id that it had before policies could. One that reads time zones decides by the
/// release of their tables, too, so another release gives it another id: a replay by other tables says that something
/// else decided, and does not decide otherwise in silence.
fn policy_id(
    source: Sources<'_>,
    policy: &Policy,
    features: &FeatureSet,
    asks_local_times: bool,
) -> ContentHash {
    let text = &source.policy.text;
    let (version, hash) = (ENGINE_VERSION.to_le_bytes(), features.hash());
    let mut parts: Vec<&[u8]> = vec![&version, text.as_bytes(), hash.as_bytes()];
    let names: BTreeSet<&String> = policy.tables.iter().filter_map(|table| table.file.as_ref()).collect();
    for name in names {
        let file = source.file(name).map_or("", |file| &file.text);
        parts.extend([name.as_bytes(), file.as_bytes()]);
    }
    if asks_local_times || reads_time_zones(policy) {
        parts.push(time_zone::database_version().as_bytes());
    }
    ContentHash::of(&parts)
}

/// What bounds an action, its channel's quiet hours included.
fn limits(action: &ActionEntry, policy: &Policy) -> Limits {
    let quiet = action.quiet.iter().chain(channel_quiet(action, policy));
    Limits {
        caps: action.caps.iter().map(|cap| cap.value.clone()).collect(),
        quiet: quiet.map(|quiet| quiet.value.clone()).collect(),
        budget: action.budget.as_ref().map(|budget| budget.value.clone()),
        confirm_within_ms: action.confirm_within.as_ref().map(|within| within.value),
    }
}

fn find_models(
    policy: &Policy,
    features: &FeatureSet,
    source: &dyn ModelSource,
    complaints: &mut Complaints<'_>,
) -> Vec<Model> {
    let mut models = Vec::with_capacity(policy.models.len() + policy.segments.len());
    for entry in policy.models.iter().filter(|entry| !entry.name.value.is_empty()) {
        let mut find = Find { source, features, complaints };
        let model =
            find.model(entry.name.value.as_str(), &entry.registered_name, &entry.alias, Kind::Probability);
        let model = find.with_previous(model, wants_previous(policy, &entry.name.value, false));
        models.push(Model { words: words(entry, policy, features, complaints), ..model });
    }
    let mut find = Find { source, features, complaints };
    for entry in policy.segments.iter().filter(|entry| !entry.name.value.is_empty()) {
        let name = format!("segments.{}", entry.name.value);
        let model = find.model(&name, &entry.registered_name, &entry.alias, Kind::Segments);
        models.push(find.with_previous(model, wants_previous(policy, &entry.name.value, true)));
    }
    for entry in &policy.models {
        let prior = prior(entry, &models);
        let model = models.iter_mut().find(|model| *model.name == *entry.name.value);
        model.into_iter().for_each(|model| model.prior.clone_from(&prior));
    }
    models
}

/// The exact version of everything that is loaded.
pub(crate) fn loaded_models(models: &[Model]) -> Vec<(Arc<str>, ModelRef)> {
    let present = models.iter().filter_map(|model| Some((&model.name, model.version()?)));
    let previous = models.iter().filter_map(|model| {
        let previous = model.previous.as_ref()?;
        Some((&previous.name, &previous.loaded.as_ref()?.0))
    });
    present.chain(previous).map(|(name, version)| (Arc::clone(name), version.clone())).collect()
}

/// What finding a model takes.
struct Find<'a, 'c> {
    source: &'a dyn ModelSource,
    features: &'a FeatureSet,
    complaints: &'a mut Complaints<'c>,
}

impl Find<'_, '_> {
    fn model(
        &mut self,
        as_named: &str,
        name: &Located<String>,
        alias: &Located<String>,
        kind: Kind,
    ) -> Model {
        let found = self.source.scorer(&name.value, &alias.value, kind, self.features);
        let loaded = found.and_then(|found| match &found {
            Some((_, scorer)) => match scorer.require(kind, &name.value) {
                Ok(()) => Ok(found),
                Err(error) => Err(error.to_string()),
            },
            None => Ok(None),
        });
        let loaded = loaded.unwrap_or_else(|problem| {
            let message = format!("model `{}` at `{}` cannot be used: {problem}", name.value, alias.value);
            let expected = "a model that can be loaded and reads only features that there are";
            let hint = "move the alias to another version, or train again";
            self.complaints.add(name.offset, message, expected, hint);
            None
        });
        Model {
            name: as_named.into(),
            kind,
            registered_name: name.value.as_str().into(),
            alias: alias.value.as_str().into(),
            loaded,
            words: None,
            previous: None,
            prior: None,
        }
    }

    /// With the version before, if that is `wanted`; one that cannot be asked is none.
    fn with_previous(&self, model: Model, wanted: bool) -> Model {
        let find = || {
            let (name, alias) = (&*model.registered_name, &*model.alias);
            let found = self.source.previous(name, alias, model.kind, self.features);
            let loaded = found.filter(|(_, scorer)| scorer.require(model.kind, name).is_ok());
            PreviousVersion { name: format!("{PREVIOUS}{}", model.name).into(), loaded }
        };
        Model { previous: wanted.then(find), ..model }
    }
}

/// What the policy says of the model's inputs. Versions come and go under an alias, so a feature only has to be one that
/// there is, not one that today's version reads.
fn words(
    model: &ModelEntry,
    policy: &Policy,
    features: &FeatureSet,
    complaints: &mut Complaints<'_>,
) -> Option<Words> {
    let mut words = Words { most: model.explain_most, ..Words::default() };
    let own = policy.words.iter().filter(|word| word.model.value == model.name.value);
    for word in own.filter(|word| !word.feature.value.is_empty()) {
        let name = &word.feature;
        let Some(slot) = features.slot(&name.value) else {
            let hint = suggestion(&name.value, features.features().iter().map(|feature| &*feature.name));
            let message = format!("there is no feature `{}`", name.value);
            complaints.add(name.offset, message, "the name of a declared feature", hint);
            continue;
        };
        let said =
            |code: &Option<String>| code.as_ref().map(|code| format!("{}: {code}", model.name.value).into());
        words.by_slot.insert(slot, Directions { raises: said(&word.raises), lowers: said(&word.lowers) });
    }
    (!words.by_slot.is_empty()).then_some(words)
}

fn declared(entries: &[DeclaredEntry]) -> Vec<Declared> {
    let declared = entries.iter().map(|entry| Declared {
        name: entry.name.value.as_str().into(),
        value_type: entry.value_type,
        values: entry
            .values
            .as_ref()
            .map(|values| values.iter().map(|value| value.as_str().into()).collect()),
    });
    declared.collect()
}

impl Point {
    /// The point without its candidates and rules.
    fn bare(entry: &PointEntry, models: &[Model]) -> Self {
        let declared = declared(&entry.context);
        let index = |name: &str| models.iter().position(|model| *model.name == *name);
        let is_default =
            |name: &str| entry.default_action.as_ref().is_some_and(|default| default.value == name);
        Self {
            name: entry.name.value.as_str().into(),
            deadline_ms: entry.deadline_ms,
            ladder: entry.fallback.ladder.clone(),
            when_features_unavailable: entry.when_features_unavailable,
            context: declared.iter().map(|one| (Arc::clone(&one.name), one.carried_as())).collect(),
            declared,
            models: entry.models.iter().filter_map(|model| index(&model.value)).collect(),
            segments: entry
                .segments
                .iter()
                .filter_map(|segment| index(&format!("segments.{}", segment.value)))
                .collect(),
            candidates: Vec::with_capacity(entry.actions.len()),
            default: entry.actions.iter().position(|action| is_default(&action.value)).unwrap_or(0),
            deny: Vec::new(),
            allow: Vec::new(),
            boost: Vec::new(),
            force: Vec::new(),
            set: Vec::new(),
            tables: Vec::new(),
            shadow: Vec::new(),
            exploration: entry.exploration.as_ref().map(|exploration| exploration.value.clone()),
            tie_break: entry.tie_break,
            holdouts: Vec::new(),
            experiments: Vec::new(),
            longest_cap_window_ms: 0,
            goes_by_clock: false,
            budgeted: Vec::new(),
            person_needs: PersonNeeds::default(),
        }
    }

    /// Puts the rules in order once all are there.
    fn settle(&mut self) {
        let Self { deny, allow, boost, force, set, shadow, tables, .. } = self;
        tables.iter_mut().for_each(Table::settle);
        for rules in [deny, allow, boost, force, set, shadow] {
            // Stable: rules of equal priority stay in file order.
            rules.sort_by_key(|rule| std::cmp::Reverse(rule.priority));
        }
        let default = self.default;
        let refusable = self.candidates.iter().enumerate().filter(|(index, _)| *index != default);
        let refusable = refusable.map(|(_, candidate)| candidate);
        let limits = || self.candidates.iter().map(|candidate| &candidate.action.limits);
        self.longest_cap_window_ms = limits().map(Limits::longest_cap_window_ms).max().unwrap_or(0);
        self.goes_by_clock = limits().any(Limits::goes_by_clock);
        let budgeted = limits().enumerate().filter(|(_, limits)| limits.budget.is_some());
        self.budgeted = budgeted.map(|(index, _)| index).collect();
        let name = |index: &usize| self.candidates.get(*index).map(|candidate| &candidate.action.name);
        self.budgeted.sort_by(|one, other| name(one).cmp(&name(other)));
        self.person_needs = std::mem::take(&mut self.person_needs).with(refusable, self.goes_by_clock);
    }
}

/// A policy on its way.
pub(crate) struct Compiler<'a> {
    text: &'a str,
    parsed: &'a ParsedSources<'a>,
    traits: &'a [Declared],
    /// Whether any expression asks what time it is somewhere.
    asks_local_times: bool,
    inputs: &'a Inputs,
    pub(crate) points: Vec<Point>,
    complaints: Complaints<'a>,
}

impl Compiler<'_> {
    /// Gives every decision point its holdouts and experiments. A condition is compiled before its point has any
    /// experiment, so it can read none.
    fn experiments(&mut self, policy: &Policy) {
        let mut here: Vec<Vec<LocalExperiment>> = policy.points.iter().map(|_| Vec::new()).collect();
        for (experiment, entry) in policy.experiments.iter().enumerate() {
            let points = indices(policy, |point| holds_at(entry.points.as_deref(), &point.name.value));
            let place = format!("experiment {}", entry.name.value);
            let questions = self.questions(entry.when.as_ref(), "when", &place, &points, ValueType::Boolean);
            for index in points {
                let when = questions.get(&index).cloned();
                let local = LocalExperiment { experiment, when, changes: Vec::new(), is_read: false };
                if let Some(list) = here.get_mut(index) {
                    list.push(local);
                }
            }
        }
        for ((entry, point), experiments) in policy.points.iter().zip(&mut self.points).zip(here) {
            point.experiments = experiments;
            point.holdouts = holdouts_at(policy, &entry.name.value);
        }
    }

    /// Gives every decision point its candidates, in the order in which the point lists them.
    fn candidates(&mut self, policy: &Policy) {
        let mut compiled: BTreeMap<&str, (Arc<Action>, Questions, Questions)> = BTreeMap::new();
        for entry in &policy.actions {
            let offers = |point: &PointEntry| point.actions.iter().any(|name| name.value == entry.name.value);
            let points = indices(policy, offers);
            let place = format!("action {}", entry.name.value);
            let channel = entry.channel.as_ref().map_or("", |channel| &channel.value);
            let action = Action {
                name: entry.name.value.as_str().into(),
                channel: channel.into(),
                payload: entry.payload.as_str().into(),
                fields: boxed(entry.fields.as_deref().unwrap_or_default()).collect(),
                value_fallback: entry.value_fallback,
                declares_value: entry.declares_value,
                category: entry.category.as_ref().map_or("", |category| &category.value).into(),
                limits: limits(entry, policy),
                counts_against_caps: counts_against_caps(entry, policy),
                expires_after_ms: entry.expires_after_ms,
                requires_consent: entry
                    .requires_consent
                    .iter()
                    .map(|purpose| purpose.value.as_str().into())
                    .collect(),
            };
            let value = self.questions(entry.value.as_ref(), "value", &place, &points, ValueType::Number);
            let eligible_when = entry.eligible_when.as_ref();
            let eligible =
                self.questions(eligible_when, "eligible_when", &place, &points, ValueType::Boolean);
            compiled.insert(&entry.name.value, (Arc::new(action), value, eligible));
        }
        for (index, (entry, point)) in policy.points.iter().zip(&mut self.points).enumerate() {
            let known = entry.actions.iter().filter_map(|name| compiled.get(&*name.value));
            point.candidates.extend(known.map(|(action, value, eligible_when)| Candidate {
                action: Arc::clone(action),
                value: value.get(&index).cloned(),
                eligible_when: eligible_when.get(&index).cloned(),
                evidence: None,
            }));
        }
    }

    /// Compiles one expression for each of `points`, once for all points that offer the names it reads.
    pub(crate) fn questions(
        &mut self,
        written: Option<&Written>,
        key: &str,
        place: &str,
        points: &[usize],
        expected: ValueType,
    ) -> Questions {
        let Some(written) = written else { return Questions::new() };
        let all_parsed = self.parsed;
        let own;
        let parsed = match all_parsed.get(&*written.source) {
            Some(parsed) => parsed,
            None => {
                own = Parsed::new(&written.source);
                &own
            }
        };
        let (questions, failures) = match parsed {
            Ok(parsed) => self.compiled(parsed, place, points, expected),
            Err(error) => {
                let points =
                    points.iter().filter_map(|index| Some(Arc::clone(&self.points.get(*index)?.name)));
                let failure = Failure { error: error.clone(), unknown_path: "", points: points.collect() };
                (
                    Questions::new(),
                    Some(failure).filter(|failure| !failure.points.is_empty()).into_iter().collect(),
                )
            }
        };
        for Failure { error, unknown_path, points } in failures {
            let offset = offset_in_file(self.text, written, error.offset);
            let points = listed(&points);
            let message = format!("`{key}` of {place} at {points}: {}", error.message);
            let declare = how_to_declare(unknown_path, &points);
            let hint = if error.hint.is_empty() { declare } else { error.hint };
            self.complaints.add(offset, message, error.expected, hint);
        }
        questions
    }

    /// Compiles `parsed` for each of `points`, once for all that offer the names it reads.
    fn compiled<'p>(
        &mut self,
        parsed: &'p Parsed<'_>,
        place: &str,
        points: &[usize],
        expected: ValueType,
    ) -> (Questions, Vec<Failure<'p>>) {
        let (mut questions, mut failures) = (Questions::new(), Vec::<Failure<'p>>::new());
        let mut asks_local_times = false;
        let mut compiled: Vec<Arc<Question>> = Vec::new();
        for (index, point) in points.iter().filter_map(|index| Some((*index, self.points.get(*index)?))) {
            let names = PointNames {
                inputs: self.inputs,
                models: &point.models,
                segments: &point.segments,
                context: &point.declared,
                traits: self.traits,
                experiments: &point.experiments,
            };
            let serves = |question: &&Arc<Question>| question.slots().iter().all(|slot| names.offers(*slot));
            if let Some(question) = compiled.iter().find(serves) {
                questions.insert(index, Arc::clone(question));
                continue;
            }
            match parsed.compile(&names, expected) {
                Ok(expression) => {
                    asks_local_times |= expression.reads_time_zones();
                    let question = Question::new(expression, place.into(), |slot| self.inputs.path(slot));
                    let question = Arc::new(question);
                    compiled.push(Arc::clone(&question));
                    questions.insert(index, question);
                }
                Err(error) => {
                    let path = path_at(parsed.source(), error.offset);
                    let unknown_path = if names.lookup(path).is_none() { path } else { "" };
                    match failures.iter_mut().find(|known| known.is_like(&error)) {
                        Some(known) => known.points.push(Arc::clone(&point.name)),
                        None => {
                            failures.push(Failure {
                                error,
                                unknown_path,
                                points: vec![Arc::clone(&point.name)],
                            });
                        }
                    }
                }
            }
        }
        self.asks_local_times |= asks_local_times;
        for (index, question) in &questions {
            let Some(point) = self.points.get_mut(*index) else { continue };
            let read = question.slots().iter().filter_map(|slot| self.inputs.get(*slot));
            read.for_each(|input| point.person_needs.note(input));
        }
        (questions, failures)
    }
}

/// One complaint about an expression, and the decision points that raise it.
struct Failure<'a> {
    error: CompileError,
    /// The name complained about, if the points do not know it.
    unknown_path: &'a str,
    points: Vec<Arc<str>>,
}

impl Failure<'_> {
    fn is_like(&self, error: &CompileError) -> bool {
        self.error.offset == error.offset && self.error.message == error.message
    }
}

/// Compiled expressions by the index of the decision point.
pub(crate) type Questions = BTreeMap<usize, Arc<Question>>;

pub(crate) fn indices(policy: &Policy, wanted: impl Fn(&PointEntry) -> bool) -> Vec<usize> {
    let points = policy.points.iter().enumerate();
    points.filter(|(_, point)| wanted(point)).map(|(index, _)| index).collect()
}

fn boxed(fields: &[(String, String)]) -> impl Iterator<Item = (Box<str>, Box<str>)> {
    fields.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into()))
}

/// `cart_page, checkout, home and 3 more`
fn listed(names: &[Arc<str>]) -> String {
    const MOST: usize = 3;
    let named: Vec<&str> = names.iter().map(|name| &**name).take(MOST).collect();
    let more = names.len().saturating_sub(MOST);
    let tail = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{tail}", named.join(", "))
}

/// The dotted name that starts at byte `offset` of `source`.
fn path_at(source: &str, offset: usize) -> &str {
    let found = source.get(offset..).unwrap_or_default();
    let length =
        found.find(|c: char| !(c.is_ascii_alphanumeric() || "_.".contains(c))).unwrap_or(found.len());
    found.get(..length).unwrap_or_default()
}

/// What to do about a name that is not known though the policy could declare it; empty for any other complaint.
fn how_to_declare(unknown_path: &str, points: &str) -> String {
    match unknown_path.split_once('.') {
        Some(("context", _)) => format!("declare it in `context` of {points}"),
        Some(("user", _)) => "declare it in `[user]`".to_owned(),
        Some(("segments", name)) => {
            format!("name `{name}` in `segments` of {points} and declare it under `[[segment]]`")
        }
        Some(("experiments", name)) => {
            format!(
                "declare `{name}` under `[[experiment]]` for {points}; a condition of an experiment reads none"
            )
        }
        Some(("scores", _)) => format!("name its model in `models` of {points}"),
        _ => String::new(),
    }
}
