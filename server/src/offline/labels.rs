//! Labels from the event log: who did it after an instant, and who did not.
//!
//! Where a task's horizon would pass the end of the data there is no label: nobody knows yet. Not here: what a task says
//! (`augur_feature_store::tasks`), or the features of a label (`training`).

use augur_domain::feature::FeatureInfo;
use augur_domain::time::format_duration_ms;
use augur_domain::{FeatureSet, Timestamp};
use augur_feature_store::Label;
use augur_feature_store::tasks::{Task, TaskContext};
use augur_feature_store::taxonomy::Taxonomy;
use augur_models::TaskDefinition;

use crate::active::source_file;
use crate::config::Config;
use crate::{App, Error};

/// Reads and checks the tasks that `config` names, against its features and taxonomy and the `families` of models there are;
/// none when it names no file.
///
/// # Errors
/// [`Error::Diagnostics`] for what is wrong in the files; otherwise why they cannot be read.
pub fn check_tasks(config: &Config, families: &[&str]) -> Result<Vec<Task>, Error> {
    let Some(path) = &config.data.tasks else { return Ok(Vec::new()) };
    let source = source_file(path)?;
    let schema = crate::check_features(config)?;
    let taxonomy = crate::app::taxonomy(config)?;
    let context = TaskContext { taxonomy: &taxonomy, features: schema.feature_set(), families };
    augur_feature_store::tasks::parse(&source.name, &source.text, context).map_err(Error::Diagnostics)
}

/// The task as a model's artifact tells it.
pub fn task_definition(task: &Task) -> TaskDefinition {
    TaskDefinition {
        kind: task.kind,
        event: task.event.as_deref().map(str::to_owned),
        condition: task.condition().map(str::to_owned),
        horizon_ms: task.horizon_ms,
        active_within_ms: task.population.active_within_ms,
        declaration: task.canonical_text(),
    }
}

/// Names of the features whose values change with the event that decides the task's labels, so that a leak is looked for
/// there first; none when any event decides them, because then every feature is one.
pub fn label_readers(task: &Task, features: &FeatureSet) -> Vec<String> {
    let Some(event) = &task.event else { return Vec::new() };
    let reads = |info: &&FeatureInfo| info.events.as_ref().is_none_or(|events| events.contains(event));
    features.features().iter().filter(reads).map(|info| info.name.to_string()).collect()
}

/// The task behind an artifact's labels; `None` when they turn on more than can be read back here.
pub(super) fn task_of(definition: &TaskDefinition, taxonomy: &Taxonomy) -> Option<Task> {
    if !definition.declaration.is_empty() {
        return augur_feature_store::tasks::recall(&definition.declaration, taxonomy);
    }
    if definition.condition.is_some() {
        return None;
    }
    let mut task = Task::of_kind(definition.kind);
    task.event = definition.event.as_deref().map(Into::into);
    task.horizon_ms = definition.horizon_ms;
    task.population.active_within_ms = definition.active_within_ms;
    Some(task)
}

/// First and last event time of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The earliest event.
    pub first: Timestamp,
    /// The latest event.
    pub last: Timestamp,
}

impl Span {
    fn widened(known: Option<Self>, at: Timestamp) -> Self {
        known.map_or(Self { first: at, last: at }, |span| Self {
            first: span.first.min(at),
            last: span.last.max(at),
        })
    }
}

impl App {
    /// First and last event time; `None` without events. Reads the whole event log; blocks.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn span(&self) -> Result<Option<Span>, Error> {
        let mut span = None;
        for user in self.store.users()? {
            for stored in self.store.events_of(user?)? {
                span = Some(Span::widened(span, stored.event.event_time));
            }
        }
        Ok(span)
    }

    /// A row, without an outcome that means anything, for each user with an event before `at`, and no earlier than
    /// `active_within_ms` before it if that is told. Reads the whole event log; blocks.
    ///
    /// # Errors
    /// [`Error::NotNow`] when there is nobody; [`Error::Store`].
    pub fn users_at(&self, active_within_ms: Option<i64>, at: Timestamp) -> Result<Vec<Label>, Error> {
        let active_since = active_within_ms.map(|length_ms| at.plus_millis(-length_ms));
        let is_there = |event: Timestamp| event < at && active_since.is_none_or(|since| event >= since);
        let mut rows = Vec::new();
        for user in self.store.users()? {
            let user = user?;
            let events = self.store.events_of(user)?;
            if events.iter().any(|stored| is_there(stored.event.event_time)) {
                rows.push(Label { user, at, outcome: Some(0.0) });
            }
        }
        if rows.is_empty() {
            return Err(Error::NotNow {
                problem: format!("nobody had an event before {at}"),
                next_step: "import events, or choose a later instant or a longer time of activity".to_owned(),
            });
        }
        Ok(rows)
    }

    /// A label per user and cutoff, for users of the task's population. Reads the whole event log; blocks.
    ///
    /// # Errors
    /// [`Error::NotNow`] when a horizon passes the end of the data, or there is nobody to label; [`Error::Store`].
    pub fn labels(&self, task: &Task, cutoffs: &[Timestamp]) -> Result<Vec<Label>, Error> {
        let mut labels = Vec::new();
        let mut span = None;
        for user in self.store.users()? {
            let user = user?;
            let events = self.store.events_of(user)?;
            for stored in &events {
                span = Some(Span::widened(span, stored.event.event_time));
            }
            for cutoff in cutoffs {
                let events = events.iter().map(|stored| &stored.event);
                if let Some(positive) = task.label(*cutoff, events) {
                    labels.push(Label { user, at: *cutoff, outcome: Some(f64::from(u8::from(positive))) });
                }
            }
        }
        check_horizon(task, cutoffs, span)?;
        if labels.is_empty() {
            return Err(Error::NotNow {
                problem: "nobody was there before the cutoffs, so there is nothing to learn from".to_owned(),
                next_step: "import more events, or choose later cutoffs or a shorter horizon".to_owned(),
            });
        }
        Ok(labels)
    }
}

fn check_horizon(task: &Task, cutoffs: &[Timestamp], span: Option<Span>) -> Result<(), Error> {
    let Some(span) = span else { return Ok(()) };
    let latest = span.last.plus_millis(-task.horizon_ms);
    match cutoffs.iter().max() {
        Some(cutoff) if *cutoff > latest => Err(Error::NotNow {
            problem: format!(
                "the label at {cutoff} needs {} of data after it, but the data ends at {}",
                format_duration_ms(task.horizon_ms),
                span.last
            ),
            next_step: format!("choose cutoffs up to {latest}, or a shorter horizon"),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use augur_domain::TaskKind;

    use super::*;

    #[test]
    fn a_horizon_past_the_data_is_refused() {
        let at = Timestamp::from_unix_ms;
        let mut task = Task::of_kind(TaskKind::Conversion);
        task.horizon_ms = 100;
        let span = Some(Span { first: at(0), last: at(1_000) });
        assert!(check_horizon(&task, &[at(900)], span).is_ok());
        let told = check_horizon(&task, &[at(1), at(901)], span).unwrap_err().to_string();
        assert!(told.contains("but the data ends at 1970-01-01T00:00:01.000Z"), "{told}");
    }

    #[test]
    fn a_definition_tells_the_whole_task() {
        let mut task = Task::of_kind(TaskKind::Churn);
        task.horizon_ms = 100;
        let definition = task_definition(&task);
        assert_eq!((&definition.event, definition.horizon_ms), (&None, 100));
        assert!(definition.declaration.contains("horizon = \"100ms\""), "{}", definition.declaration);
        let taxonomy = Taxonomy::untyped();
        let recalled = task_of(&definition, &taxonomy).unwrap();
        assert_eq!(recalled.canonical_text(), task.canonical_text());
        let earlier = TaskDefinition { declaration: String::new(), ..definition };
        assert_eq!(task_of(&earlier, &taxonomy), Some(task));
        let of_other_events = TaskDefinition { condition: Some("true".to_owned()), ..earlier };
        assert_eq!(task_of(&of_other_events, &taxonomy), None);
    }

    #[test]
    fn features_that_change_with_the_labels_event_are_named() {
        let feature = |name: &str, events: Option<&[&str]>| FeatureInfo {
            name: name.into(),
            value_type: augur_domain::ValueType::Number,
            description: "".into(),
            events: events.map(|events| events.iter().map(|event| (*event).into()).collect()),
            definition: augur_domain::ContentHash::default(),
            unit: "".into(),
        };
        let features = vec![
            feature("purchases_7d", Some(&["refund", "purchase"])),
            feature("views_7d", Some(&["view"])),
            feature("days_known", None),
            feature("hour_of_request", Some(&[])),
        ];
        let features = FeatureSet::new(augur_domain::ContentHash::default(), features);
        let mut task = Task::of_kind(TaskKind::Conversion);
        task.event = Some("purchase".into());
        assert_eq!(label_readers(&task, &features), ["purchases_7d", "days_known"]);
        task.event = None;
        assert!(label_readers(&task, &features).is_empty());
    }
}
