//! What another policy would have been worth on a log of decisions that one policy made: estimates, how sure they are,
//! and when there is no telling.
//!
//! Not here: where rows come from (a log, or anybody's table), or learning a reward model.
//!
//! Throughout, `w = target / (logged * pass)` is the weight of a row: the probability that the target policy gives the
//! logged action, over the probability that the logging policy gave it and that the row was kept. The estimators are
//! those of the Open Bandit Pipeline (Saito et al. 2021, <https://arxiv.org/abs/2008.07146>), which defines them in one
//! place; the tests hold their published values.

mod diagnostics;
mod estimators;
mod evaluation;
mod intervals;
mod page;
mod row;
mod verdict;

pub use diagnostics::Diagnostics;
pub use estimators::{Estimator, Shrinkage};
pub use evaluation::{Estimate, Evaluation, Options, evaluate};
pub use intervals::{Interval, LowerBounds};
pub use row::{LoggedRow, RowFault};
pub use verdict::{Refusal, Verdict};

#[cfg(test)]
mod tests;
