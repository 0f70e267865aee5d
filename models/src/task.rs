//! What a model's labels meant, as its artifact tells it: enough to label outcomes later as training did.
//!
//! Kept in the lineage's parameters under the key `task`. Not here: how labels are made from events (the server's
//! `offline`), or the file that tasks are declared in.

use augur_domain::TaskKind;
use serde::{Deserialize, Serialize};

use crate::artifact::Lineage;

/// What was foretold, of whom. Fields may be added, never renamed or removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskDefinition {
    /// Whether the event, or its absence, makes a label positive.
    pub kind: TaskKind,
    /// Canonical name of the event that decides the label; absent when every event does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Condition over the event's properties, in the expression language; absent when every such event counts.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// How far a label looks ahead, in milliseconds: it is known for certain once so much time has gone by.
    pub horizon_ms: i64,
    /// Only people with an event within so many milliseconds before the cutoff were labelled; absent when that is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_within_ms: Option<i64>,
    /// The whole declaration as canonical text, the people and cutoffs of the training too; empty if there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub declaration: String,
}

impl Lineage {
    /// What the labels meant; `None` for models from tables, of other libraries, and from before it was kept.
    pub fn task(&self) -> Option<TaskDefinition> {
        #[derive(Deserialize)]
        struct Parameters {
            task: TaskDefinition,
        }
        serde_json::from_str::<Parameters>(&self.parameters).ok().map(|parameters| parameters.task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::tests::sample;

    #[test]
    fn a_task_is_read_back_from_the_parameters() {
        let mut lineage = sample().lineage;
        assert_eq!(lineage.task(), None);
        lineage.parameters = r#"{"alpha":1.0,"task":{"kind":"churn","horizon_ms":5184000000}}"#.to_owned();
        let task = lineage.task().unwrap();
        assert_eq!((task.kind, task.event, task.horizon_ms), (TaskKind::Churn, None, 5_184_000_000));
    }
}
