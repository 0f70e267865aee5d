//! What `augur train` learns from in a data directory: a task's people at its cutoffs, or labels of somebody's own.
//!
//! Not here: reading a file of labels (`labels`), or tables without a data directory (`table`).

use augur_loadtest::domain::Timestamp;
use augur_models::TaskDefinition;
use augur_models::train::{Row, Split, TrainingTable};
use augur_server::App;
use augur_server::offline::{self, Task, TrainingSet};

use super::labels::{self, Labels};
use super::task;
use crate::Error;

/// Where rows come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The events, as a task says; its name is the model's.
    Task(Task),
    /// A file.
    Labels(Labels),
}

/// Rows with their features as they were, and what is told about them.
pub(super) struct Rows {
    pub(super) positive_class: String,
    pub(super) set: TrainingSet,
    /// Rows from here on are held back; none are without it.
    pub(super) test_from: Option<Timestamp>,
    pub(super) cutoffs: Vec<String>,
    pub(super) held_back_cutoffs: usize,
    /// What the labels meant, where events can tell it again.
    pub(super) task: Option<TaskDefinition>,
    /// Features that change with the event that makes the labels; none where events do not make them.
    pub(super) label_readers: Vec<String>,
    /// Of a file of labels, what was read.
    pub(super) labels: Option<labels::Read>,
}

impl Source {
    /// The model's name.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Task(task) => &task.name,
            Self::Labels(labels) => &labels.name,
        }
    }
}

/// The rows of a task: users at cutoffs, the latest held back.
pub(super) fn of_task(app: &App, task: &Task, mut labelled: impl FnMut()) -> Result<Rows, Error> {
    let span = app.span()?;
    let cutoffs = span.map_or_else(Vec::new, |span| task.cutoffs_between(span.first, span.last));
    let (train_on, measure_on) = task.parts(&cutoffs).ok_or_else(|| task::too_short(span, task))?;
    let cutoffs: Vec<Timestamp> = train_on.into_iter().chain(measure_on.iter().copied()).collect();
    labelled();
    let labels = app.labels(task, &cutoffs)?;
    labelled();
    Ok(Rows {
        positive_class: task.positive_class(),
        set: app.training_set(&labels)?.without(&task.exclude),
        test_from: measure_on.first().copied(),
        cutoffs: cutoffs.iter().map(ToString::to_string).collect(),
        held_back_cutoffs: measure_on.len(),
        task: Some(offline::task_definition(task)),
        label_readers: offline::label_readers(task, &app.feature_set()),
        labels: None,
    })
}

impl Rows {
    /// As fits take them.
    pub(super) fn table(&self) -> Result<TrainingTable, Error> {
        let mut rows = TrainingTable::new(self.set.columns.clone())?;
        for (values, label, group, time) in self.set.rows() {
            let held_back = self.test_from.is_some_and(|test_from| time >= test_from);
            let split = if held_back { Split::Test } else { Split::Train };
            rows.push(&Row { values, label, group, time, split })?;
        }
        Ok(rows)
    }
}
