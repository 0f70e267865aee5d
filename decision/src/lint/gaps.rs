//! Values for which no row of a table holds, with examples.
//!
//! What is missing is left out of account: a row that cannot be answered is passed over, whatever the table. Not here: how
//! the examples are found (`augur_expression::Cases::outside`).

use std::collections::BTreeSet;

use augur_expression::Cases;

use super::{FindingCode, Lint};
use crate::rule::Mode;

/// Examples in one finding.
const MAX_EXAMPLES: usize = 3;

pub(super) fn check(lint: &mut Lint<'_>) {
    let mut found = Vec::new();
    for (index, table) in
        lint.file.tables.iter().enumerate().filter(|(_, table)| table.complete != Some(false))
    {
        let mut told: Vec<(Vec<String>, Vec<&str>)> = Vec::new();
        for point in &lint.policy.points {
            let rows = lint.rows_at(index, point);
            if rows.iter().all(|row| row.info.mode == Mode::Off) {
                continue;
            }
            let slots: BTreeSet<_> =
                rows.iter().filter_map(|row| row.info.when.as_ref()).flat_map(|when| when.slots()).collect();
            let domains: Vec<_> = slots.iter().map(|slot| (**slot, lint.domain(**slot))).collect();
            let everybody = Cases::with_values(domains.iter().map(|(slot, domain)| (*slot, domain)));
            let cases = rows.iter().filter_map(|row| row.cases.as_ref());
            let Some(examples) = lint.examples(&everybody, cases, MAX_EXAMPLES) else { continue };
            match told.iter_mut().find(|(known, _)| *known == examples) {
                Some((_, points)) => points.push(&point.name),
                None => told.push((examples, vec![&point.name])),
            }
        }
        let several = told.len() > 1;
        for (examples, points) in told {
            let at = if several { format!(" at {}", points.join(", ")) } else { String::new() };
            let (name, examples) = (&table.name.value, examples.join("; or "));
            let code = if table.complete == Some(true) {
                FindingCode::TableIncomplete
            } else {
                FindingCode::TableGap
            };
            found.push((
                code,
                table.name.offset,
                format!("no row of table `{name}` holds{at} for {examples}"),
            ));
        }
    }
    for (code, offset, message) in found {
        let next_step =
            "add a row, or a last one that asks nothing; `complete = false` if nothing is to happen then";
        lint.add(code, offset, message, next_step);
    }
}
