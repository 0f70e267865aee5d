//! Prediction tasks, `tasks.toml`: what a label says came to pass, of whom, and as of which instants.
//!
//! A label at cutoff `c` looks at `[c, c + horizon)` and at nothing before; features look at what is strictly before `c` and
//! at nothing after, so the event that makes the label is never among them. Not here: reading the event log (the server's
//! `offline`), or fitting (`augur_models`).

mod document;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use augur_domain::time::format_duration_ms;
use augur_domain::{Diagnostic, Event, FeatureSet, TaskKind, Timestamp};

use crate::schema::Filter;
use crate::schema::complaints::{Complaints, did_you_mean};
use crate::taxonomy::Taxonomy;

/// Whom labels are made for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Population {
    /// Only users with an event within this many milliseconds before the cutoff; `None`: ever.
    pub active_within_ms: Option<i64>,
    /// Only users who did all of these before the cutoff: canonical names.
    pub has_done: Vec<Arc<str>>,
    /// Only users who did none of these before it.
    pub has_not_done: Vec<Arc<str>>,
}

/// Which labels measure the model in place of training it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HeldBack {
    /// This share of the cutoffs, the latest ones, at least one: above 0, below 1.
    Share(f64),
    /// Cutoffs at or after this instant.
    From(Timestamp),
}

/// One declared task.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The model's name.
    pub name: Arc<str>,
    /// For people.
    pub description: String,
    /// What makes a label positive.
    pub kind: TaskKind,
    /// Canonical name of the event that decides; `None` counts every event.
    pub event: Option<Arc<str>>,
    condition: Option<Filter>,
    /// How far a label looks ahead, in milliseconds.
    pub horizon_ms: i64,
    /// Whom labels are made for.
    pub population: Population,
    /// How many cutoffs, at most.
    pub cutoffs: u16,
    /// Time between cutoffs, in milliseconds; the horizon unless declared.
    pub every_ms: Option<i64>,
    /// Which cutoffs measure the model.
    pub held_back: HeldBack,
    /// Seed of every random choice in training.
    pub seed: u64,
    /// Which family of models, by its word; `None` leaves the choice to the trainer.
    pub family: Option<Arc<str>>,
    /// What a positive row weighs in the fit, a negative one weighing 1.
    pub positive_weight: f64,
    /// Features that the model must not read.
    pub exclude: Vec<Arc<str>>,
}

/// What declarations are checked against.
#[derive(Debug, Clone, Copy)]
pub struct TaskContext<'a> {
    /// Which events there are, and what they carry.
    pub taxonomy: &'a Taxonomy,
    /// The features that models may read.
    pub features: &'a FeatureSet,
    /// Words for families of models.
    pub families: &'a [&'a str],
}

/// Reads `text`, a file of tasks; `file` is what complaints call it. By name, ascending.
///
/// # Errors
/// Everything that is wrong, with places, at most 100 complaints.
pub fn parse(file: &str, text: &str, context: TaskContext<'_>) -> Result<Vec<Task>, Vec<Diagnostic>> {
    let mut complaints = Complaints::new(file, text);
    let tasks = document::read(text, context, &mut complaints);
    if complaints.is_empty() { Ok(tasks) } else { Err(complaints.into_sorted()) }
}

/// The task behind a [`Task::canonical_text`], without its family and features left out: they say nothing about labels. `None`
/// when the taxonomy no longer knows what it names.
pub fn recall(canonical_text: &str, taxonomy: &Taxonomy) -> Option<Task> {
    let of_training = |line: &&str| line.starts_with("family = ") || line.starts_with("exclude = ");
    let lines: Vec<&str> = canonical_text.lines().filter(|line| !of_training(line)).collect();
    let text = format!("version = 1\n[[task]]\n{}\n", lines.join("\n"));
    let features = FeatureSet::new(augur_domain::ContentHash::default(), Vec::new());
    let context = TaskContext { taxonomy, features: &features, families: &[] };
    parse("task", &text, context).ok()?.pop()
}

/// ``did you mean `x`?`` for the task nearest to `name`, or nothing when none is near.
pub fn nearest(name: &str, tasks: &[Task]) -> String {
    did_you_mean(name, tasks.iter().map(|task| &*task.name))
}

impl Task {
    /// What holds where nothing is declared: a conversion within 7 days, or 14 days of silence, of users active within 30
    /// days, as of 6 cutoffs a horizon apart, the last third of them held back.
    pub fn of_kind(kind: TaskKind) -> Self {
        let (event, days) = match kind {
            TaskKind::Conversion => (Some(Arc::from("purchase")), 7),
            TaskKind::Churn => (None, 14),
        };
        Self {
            name: kind.as_str().into(),
            description: String::new(),
            kind,
            event,
            condition: None,
            horizon_ms: days * augur_domain::time::DAY_MS,
            population: Population {
                active_within_ms: Some(30 * augur_domain::time::DAY_MS),
                ..Population::default()
            },
            cutoffs: 6,
            every_ms: None,
            held_back: HeldBack::Share(1.0 / 3.0),
            seed: 1,
            family: None,
            positive_weight: 1.0,
            exclude: Vec::new(),
        }
    }

    /// The condition on the event's properties, as it was written.
    pub fn condition(&self) -> Option<&str> {
        self.condition.as_ref().map(Filter::source)
    }

    /// Takes another event, and with it away whatever condition the declared one had.
    pub fn set_event(&mut self, event: &str) {
        self.event = Some(event.into());
        self.condition = None;
    }

    /// In words, what a positive label means.
    pub fn positive_class(&self) -> String {
        let horizon = format_duration_ms(self.horizon_ms);
        let event = self.event.as_deref().unwrap_or("event");
        let condition = self.condition().map_or(String::new(), |source| format!(" with {source}"));
        match self.kind {
            TaskKind::Conversion => format!("{event}{condition} within {horizon}"),
            TaskKind::Churn => format!("no {event}{condition} within {horizon}"),
        }
    }

    /// The whole task as text, the same for the same meaning: a table of `tasks.toml` with every key, without what is
    /// written for people.
    pub fn canonical_text(&self) -> String {
        let mut lines = vec![format!("name = {:?}", self.name), format!("kind = {:?}", self.kind.as_str())];
        lines.extend(self.event.as_ref().map(|event| format!("event = {event:?}")));
        lines.extend(self.condition().map(|source| format!("where = {source:?}")));
        lines.push(format!("horizon = {:?}", format_duration_ms(self.horizon_ms)));
        let length = |key: &str, length_ms: i64| format!("{key} = {:?}", format_duration_ms(length_ms));
        lines.extend(self.population.active_within_ms.map(|active_ms| length("active", active_ms)));
        for (key, events) in [
            ("has_done", &self.population.has_done),
            ("has_not_done", &self.population.has_not_done),
            ("exclude", &self.exclude),
        ] {
            if !events.is_empty() {
                lines.push(format!("{key} = {events:?}"));
            }
        }
        lines.push(format!("cutoffs = {}", self.cutoffs));
        lines.push(length("every", self.every_ms()));
        lines.push(match self.held_back {
            HeldBack::Share(share) => format!("test_share = {share:?}"),
            HeldBack::From(from) => format!("test_from = \"{from}\""),
        });
        lines.push(format!("seed = {}", self.seed));
        lines.extend(self.family.as_ref().map(|family| format!("family = {family:?}")));
        lines.push(format!("positive_weight = {:?}", self.positive_weight));
        lines.join("\n")
    }

    /// Time between cutoffs, in milliseconds.
    pub fn every_ms(&self) -> i64 {
        self.every_ms.unwrap_or(self.horizon_ms).max(1)
    }

    /// At most as many instants as declared between `first` and `last` event, ascending, the latest as late as the horizon
    /// allows. A horizon apart, no two labels of a user look at the same event.
    pub fn cutoffs_between(&self, first: Timestamp, last: Timestamp) -> Vec<Timestamp> {
        let latest = last.plus_millis(-self.horizon_ms.max(1));
        let back =
            (0..i64::from(self.cutoffs)).map(|n| latest.plus_millis(-self.every_ms().saturating_mul(n)));
        let mut cutoffs: Vec<Timestamp> = back.take_while(|cutoff| *cutoff > first).collect();
        cutoffs.reverse();
        cutoffs
    }

    /// The cutoffs to train on and those to measure on. Those whose labels look into the time of the latter are left out of
    /// the former. `None` when one of the two is empty.
    pub fn parts(&self, cutoffs: &[Timestamp]) -> Option<(Vec<Timestamp>, Vec<Timestamp>)> {
        let test_from = match self.held_back {
            HeldBack::From(from) => *cutoffs.iter().find(|cutoff| **cutoff >= from)?,
            HeldBack::Share(share) => {
                // Half of a cutoff counts as none, as a third of two does; shares are below 1.
                let held_back = ((cutoffs.len() as f64 * share + 1e-9) as usize).max(1);
                *cutoffs.get(cutoffs.len().checked_sub(held_back)?)?
            }
        };
        let known = |cutoff: &&Timestamp| cutoff.plus_millis(self.horizon_ms) <= test_from;
        let train: Vec<Timestamp> = cutoffs.iter().filter(known).copied().collect();
        let test: Vec<Timestamp> = cutoffs.iter().filter(|cutoff| **cutoff >= test_from).copied().collect();
        (!train.is_empty() && !test.is_empty()).then_some((train, test))
    }

    /// Whether the label of a user with these events is positive; `None` when the user is not of the population.
    pub fn label<'e>(&self, cutoff: Timestamp, events: impl Iterator<Item = &'e Event>) -> Option<bool> {
        let Population { active_within_ms, has_done, has_not_done } = &self.population;
        let active_since = active_within_ms.map(|length_ms| cutoff.plus_millis(-length_ms));
        let until = cutoff.plus_millis(self.horizon_ms);
        let (mut there, mut seen) = (false, false);
        let mut done = vec![false; has_done.len()];
        for event in events {
            let at = event.event_time;
            if at < cutoff {
                there |= active_since.is_none_or(|since| at >= since);
                if has_not_done.contains(&event.name) {
                    return None;
                }
                if let Some(place) = has_done.iter().position(|name| *name == event.name)
                    && let Some(done) = done.get_mut(place)
                {
                    *done = true;
                }
            } else if at < until {
                seen |= self.counts(event);
            }
        }
        let is_positive = match self.kind {
            TaskKind::Conversion => seen,
            TaskKind::Churn => !seen,
        };
        (there && done.into_iter().all(|done| done)).then_some(is_positive)
    }

    /// Whether `event`, within the horizon, decides the label.
    fn counts(&self, event: &Event) -> bool {
        self.event.as_ref().is_none_or(|name| *name == event.name)
            && self.condition.as_ref().is_none_or(|condition| condition.holds(event))
    }
}
