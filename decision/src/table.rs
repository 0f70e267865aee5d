//! Tables of which one row acts: which row that is.
//!
//! Not here: rows that all act, which are rules; what a row does (`decide`).

use std::sync::Arc;

use augur_domain::{Reason, ReasonCode};

use crate::answer::MAX_REASONS;
use crate::question::Question;
use crate::row::DecisionRow;
use crate::rule::{Hit, Validity};

/// A table of one decision point.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) hit: Hit,
    /// Whether its rows do nothing but tell.
    pub(crate) shadow: bool,
    /// In the order in which they are asked.
    pub(crate) rows: Vec<Row>,
}

/// What a row asks.
#[derive(Debug)]
pub(crate) struct Row {
    /// Its place among the rows of the table that hold at this point.
    pub(crate) index: usize,
    pub(crate) when: Arc<Question>,
    pub(crate) validity: Validity,
    pub(crate) priority: i64,
}

impl Table {
    /// Puts the rows in the order in which they are asked, once all are there.
    pub(crate) fn settle(&mut self) {
        if self.hit == Hit::Priority {
            // Stable: rows of equal priority stay in the table's order.
            self.rows.sort_by_key(|row| std::cmp::Reverse(row.priority));
        }
    }

    /// The first row that holds now and whose condition is known to be true. What could not be answered before it goes
    /// to `unanswered`, each value once however many rows ask for it.
    fn acting(&self, row: &DecisionRow<'_>, unanswered: &mut Vec<Reason>) -> Option<usize> {
        let mut holding = self.rows.iter().filter(|asked| asked.validity.holds_at(row.inputs.now));
        let found = holding.find(|asked| {
            let evaluated = asked.when.expression().evaluate(row);
            evaluated.as_boolean().unwrap_or_else(|| {
                if !self.shadow {
                    push_once(unanswered, asked.when.unanswered(ReasonCode::MissingInput, &evaluated));
                }
                false
            })
        });
        found.map(|found| found.index)
    }
}

/// Adds `reason` unless it stands there or no more can be told.
pub(crate) fn push_once(unanswered: &mut Vec<Reason>, reason: Reason) {
    if unanswered.len() < MAX_REASONS && !unanswered.contains(&reason) {
        unanswered.push(reason);
    }
}

/// The acting row of each table of the point.
pub(crate) fn acting_rows(
    row: &DecisionRow<'_>,
    acting: &mut Vec<Option<usize>>,
    unanswered: &mut Vec<Reason>,
) {
    acting.clear();
    acting.extend(row.point.tables.iter().map(|table| table.acting(row, unanswered)));
}
