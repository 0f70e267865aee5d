//! Labels from the event log: who did it after an instant, and who did not.
//!
//! A label at instant `c` looks at `[c, c + horizon)` and at nothing before; features look at what is strictly before
//! `c` and at nothing after. Where the horizon would pass the end of the data there is no label: nobody knows yet.
//! Not here: the features of a label (`training`).

use augur_domain::time::format_duration_ms;
use augur_domain::{Event, Timestamp};
use augur_feature_store::Label;
use augur_models::{TaskDefinition, TaskKind};

use crate::{App, Error};

/// What a label says came to pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Positive: an event of this name within the horizon.
    Conversion {
        /// Canonical name, e.g. `purchase`.
        event: String,
        /// Length of the look ahead, in milliseconds.
        horizon_ms: i64,
    },
    /// Positive: no event of this name, or none at all, within the horizon.
    Churn {
        /// Canonical name; `None` counts every event as a sign of life.
        event: Option<String>,
        /// Length of the silence, in milliseconds.
        horizon_ms: i64,
    },
}

impl Task {
    /// How far a label looks ahead, in milliseconds.
    pub const fn horizon_ms(&self) -> i64 {
        match self {
            Self::Conversion { horizon_ms, .. } | Self::Churn { horizon_ms, .. } => *horizon_ms,
        }
    }

    /// In words, what a positive label means.
    pub fn positive_class(&self) -> String {
        let horizon = format_duration_ms(self.horizon_ms());
        match self {
            Self::Conversion { event, .. } => format!("{event} within {horizon}"),
            Self::Churn { event: Some(event), .. } => format!("no {event} within {horizon}"),
            Self::Churn { event: None, .. } => format!("no event within {horizon}"),
        }
    }

    /// As a model's artifact tells it.
    pub fn definition(&self) -> TaskDefinition {
        let kind = match self {
            Self::Conversion { .. } => TaskKind::Conversion,
            Self::Churn { .. } => TaskKind::Churn,
        };
        TaskDefinition {
            kind,
            event: self.event().map(str::to_owned),
            condition: None,
            horizon_ms: self.horizon_ms(),
            active_within_ms: None,
            declaration: String::new(),
        }
    }

    /// The task of an artifact; `None` when its labels turn on more than the name of an event.
    pub fn of(definition: &TaskDefinition) -> Option<Self> {
        if definition.condition.is_some() {
            return None;
        }
        let (event, horizon_ms) = (definition.event.clone(), definition.horizon_ms);
        match definition.kind {
            TaskKind::Conversion => Some(Self::Conversion { event: event?, horizon_ms }),
            TaskKind::Churn => Some(Self::Churn { event, horizon_ms }),
        }
    }

    /// The event that a label turns on, for screening features against leakage.
    pub fn event(&self) -> Option<&str> {
        match self {
            Self::Conversion { event, .. } => Some(event),
            Self::Churn { event, .. } => event.as_deref(),
        }
    }

    /// Whether `event`, within the horizon, decides the label.
    fn counts(&self, event: &Event) -> bool {
        self.event().is_none_or(|name| name == &*event.name)
    }

    /// The label, given whether such an event was seen.
    const fn is_positive(&self, seen: bool) -> bool {
        match self {
            Self::Conversion { .. } => seen,
            Self::Churn { .. } => !seen,
        }
    }
}

/// Whom labels are made for: users with an event in the time before the instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Population {
    /// Only users active within this many milliseconds before the instant; `None`: ever.
    pub active_within_ms: Option<i64>,
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

/// At most `count` instants, ascending, the latest as late as the horizon allows, the others a horizon apart: no two
/// labels of a user look at the same event, and the last instant's features see none of the earlier labels' future.
pub fn cutoffs(span: Span, horizon_ms: i64, count: usize) -> Vec<Timestamp> {
    let horizon_ms = horizon_ms.max(1);
    let latest = span.last.plus_millis(-horizon_ms);
    let back = (0..count)
        .map(|n| latest.plus_millis(-horizon_ms.saturating_mul(i64::try_from(n).unwrap_or(i64::MAX))));
    let mut cutoffs: Vec<Timestamp> = back.take_while(|cutoff| *cutoff > span.first).collect();
    cutoffs.reverse();
    cutoffs
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

    /// A label per user and cutoff, for users of the population. Reads the whole event log; blocks.
    ///
    /// # Errors
    /// [`Error::NotNow`] when a horizon passes the end of the data, or there is nobody to label; [`Error::Store`].
    pub fn labels(
        &self,
        task: &Task,
        population: Population,
        cutoffs: &[Timestamp],
    ) -> Result<Vec<Label>, Error> {
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
                if let Some(positive) = label(task, population, *cutoff, events) {
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

impl Population {
    /// Whether someone with these events is of the population at `at`.
    pub(super) fn holds<'a>(self, at: Timestamp, mut events: impl Iterator<Item = &'a Event>) -> bool {
        let since = self.active_within_ms.map(|length_ms| at.plus_millis(-length_ms));
        events.any(|event| event.event_time < at && since.is_none_or(|since| event.event_time >= since))
    }
}

/// Whether the label of one user is positive; `None` when the user is not of the population.
pub(super) fn label<'a>(
    task: &Task,
    population: Population,
    cutoff: Timestamp,
    events: impl Iterator<Item = &'a Event>,
) -> Option<bool> {
    let active_since = population.active_within_ms.map(|length_ms| cutoff.plus_millis(-length_ms));
    let until = cutoff.plus_millis(task.horizon_ms());
    let (mut there, mut seen) = (false, false);
    for event in events {
        let at = event.event_time;
        there |= at < cutoff && active_since.is_none_or(|since| at >= since);
        seen |= at >= cutoff && at < until && task.counts(event);
    }
    there.then(|| task.is_positive(seen))
}

fn check_horizon(task: &Task, cutoffs: &[Timestamp], span: Option<Span>) -> Result<(), Error> {
    let Some(span) = span else { return Ok(()) };
    let latest = span.last.plus_millis(-task.horizon_ms());
    match cutoffs.iter().max() {
        Some(cutoff) if *cutoff > latest => Err(Error::NotNow {
            problem: format!(
                "the label at {cutoff} needs {} of data after it, but the data ends at {}",
                format_duration_ms(task.horizon_ms()),
                span.last
            ),
            next_step: format!("choose cutoffs up to {latest}, or a shorter horizon"),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use augur_domain::UserKey;
    use augur_domain::event::EventKind;
    use augur_domain::ids::MessageKey;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    fn event(name: &str, ms: i64) -> Event {
        Event {
            message_key: MessageKey::default(),
            user: UserKey::default(),
            kind: EventKind::Track,
            name: name.into(),
            event_time: at(ms),
            received_at: at(ms),
            properties: Vec::new(),
        }
    }

    const ANYBODY: Population = Population { active_within_ms: None };

    #[test]
    fn a_label_looks_from_the_cutoff_to_the_horizon_and_nowhere_else() {
        let task = Task::Conversion { event: "purchase".to_owned(), horizon_ms: 100 };
        for (name, ms, expected) in [
            ("purchase", 999, false),
            ("purchase", 1_000, true),
            ("purchase", 1_099, true),
            ("purchase", 1_100, false),
            ("page_view", 1_050, false),
        ] {
            let events = [event("page_view", 500), event(name, ms)];
            assert_eq!(label(&task, ANYBODY, at(1_000), events.iter()), Some(expected), "{name} at {ms}");
        }
    }

    #[test]
    fn churn_is_the_absence() {
        let task = Task::Churn { event: None, horizon_ms: 100 };
        let silent = [event("page_view", 500)];
        let back = [event("page_view", 500), event("search", 1_010)];
        assert_eq!(label(&task, ANYBODY, at(1_000), silent.iter()), Some(true));
        assert_eq!(label(&task, ANYBODY, at(1_000), back.iter()), Some(false));
        assert_eq!(task.positive_class(), "no event within 100ms");
    }

    #[test]
    fn only_those_who_were_there_are_labelled() {
        let task = Task::Churn { event: None, horizon_ms: 100 };
        let recent = Population { active_within_ms: Some(200) };
        let newcomer = [event("page_view", 1_000)];
        let old = [event("page_view", 799)];
        let known = [event("page_view", 800)];
        assert_eq!(label(&task, ANYBODY, at(1_000), newcomer.iter()), None);
        assert_eq!(label(&task, recent, at(1_000), old.iter()), None);
        assert_eq!(label(&task, recent, at(1_000), known.iter()), Some(true));
    }

    #[test]
    fn cutoffs_leave_the_horizon_and_do_not_overlap() {
        let span = Span { first: at(0), last: at(1_000) };
        assert_eq!(cutoffs(span, 300, 5), [at(100), at(400), at(700)]);
        assert_eq!(cutoffs(span, 300, 2), [at(400), at(700)]);
        assert!(cutoffs(span, 2_000, 3).is_empty());
    }

    #[test]
    fn a_horizon_past_the_data_is_refused() {
        let task = Task::Conversion { event: "purchase".to_owned(), horizon_ms: 100 };
        let span = Some(Span { first: at(0), last: at(1_000) });
        assert!(check_horizon(&task, &[at(900)], span).is_ok());
        let told = check_horizon(&task, &[at(1), at(901)], span).unwrap_err().to_string();
        assert!(told.contains("but the data ends at 1970-01-01T00:00:01.000Z"), "{told}");
    }
}
