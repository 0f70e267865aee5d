//! The pure core: a policy file becomes an immutable [`PolicySnapshot`], and [`decide`] turns inputs into a decision.
//!
//! Not here: reading features, files, clocks or registries. The caller reads them and hands them in; the same
//! inputs under the same policy give the same bytes for ever.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::float_cmp,
        reason = "tests may fail loudly and compare bits"
    )
)]

mod answer;
mod arbitrate;
mod ask;
mod budget;
mod calendar;
mod cap;
mod check;
mod check_experiments;
mod check_ladder;
mod check_limits;
mod compile;
mod compile_experiments;
mod compile_exploration;
mod decide;
mod declared;
mod describe;
mod diff;
mod diff_tables;
mod diversity;
mod english;
mod experiment;
mod explain;
mod explore;
mod file;
mod ladder;
mod limits;
mod lint;
mod names;
mod person;
mod question;
mod quiet;
mod round;
mod row;
mod rule;
mod scratch;
mod set;
mod shadow;
mod snapshot;
mod source;
mod stages;
mod table;
mod test_file;
mod unavailable;

pub use answer::MAX_REASONS;
pub use budget::Budget;
pub use decide::{decide, decide_default, decide_into};
pub use declared::declared_context;
pub use describe::{ActionDescription, PointDescription, RuleDescription};
pub use diff::{Difference, DifferenceKind, diff_policies};
pub use diff_tables::diff_tables;
pub use experiment::{Standing, UserStanding};
pub use file::named_files as files_named_by;
pub use lint::{Finding, FindingCode, LintContext, PossibleValues, Severity};
pub use person::PersonNeeds;
pub use rule::{Effect, Hit, Mode, RuleInfo, TableRow, Validity};
pub use scratch::Scratch;
pub use snapshot::{ENGINE_VERSION, PREVIOUS, PolicySnapshot, WhenFeaturesUnavailable};
pub use snapshot::{Model, Point};
pub use source::{DefinitionsSeal, ModelSource, PolicySource, SourceFile, Sources};
pub use test_file::{Histories, Mismatch, PolicyTest, TestOutcome, USUAL_NOW};
