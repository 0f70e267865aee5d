//! What is done with a data directory without a network: training sets, exports, decisions for everybody.
//!
//! Not here: fitting models (`augur_models::train`), or publishing them (`App::publish`, `App::set_alias`).

mod bulk;
mod history;
mod labels;
mod monitor;
mod training;

pub use augur_domain::TaskKind;
pub use augur_feature_store::tasks::{HeldBack, Population, Task, nearest as nearest_task};
pub use augur_feature_store::{
    DifferenceKind, Explanation, ExportOptions, FeatureSchema, Label, LabelSorter, SortedLabels,
    TrainingOptions, Verdict,
};
pub use bulk::Decided;
pub use history::{event_history, is_erased};
pub use labels::{Span, check_tasks, label_readers, task_definition};
pub use monitor::{Monitored, Outcomes, Tell, Watch};
pub use training::TrainingSet;
