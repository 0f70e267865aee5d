//! What a row asks: for whom, with which request-time values.
//!
//! Not here: reading files (`import`).

use std::sync::Arc;

use augur_loadtest::domain::{Value, ValueType};

use crate::Error;
use crate::commands::features::labels::value;
use crate::import::source::ReadRow;
use crate::import::{Cell, Row, RowFault};

/// Which columns are read.
pub(super) struct Mapping {
    user: String,
    context: Vec<(Arc<str>, ValueType, String)>,
}

/// The request-time values by name.
pub(super) type Context = Vec<(Arc<str>, Value)>;

/// A row, as far as it could be read.
pub(super) struct Asked {
    /// Counted from 1.
    pub(super) row: u64,
    /// As the file names the user.
    pub(super) user: String,
    pub(super) context: Result<Context, RowFault>,
}

impl Mapping {
    /// Reads `--context` as typed against what the decision point declares.
    pub(super) fn parse(
        user: &str,
        maps: &[String],
        declared: &[(Arc<str>, ValueType)],
    ) -> Result<Self, Error> {
        let mut context: Vec<(Arc<str>, ValueType, String)> = Vec::new();
        for map in maps {
            let wrong = || Error::Argument {
                argument: "--context",
                found: map.clone(),
                expected: match declared {
                    [] => "none, as the decision point declares no context".to_owned(),
                    _ => {
                        let names: Vec<&str> = declared.iter().map(|(name, _)| &**name).collect();
                        format!("NAME=COLUMN, each name once, out of {}", names.join(", "))
                    }
                },
            };
            let (name, column) = map.split_once('=').ok_or_else(wrong)?;
            let (name, value_type) = declared.iter().find(|(known, _)| **known == *name).ok_or_else(wrong)?;
            if context.iter().any(|(known, ..)| known == name) {
                return Err(wrong());
            }
            context.push((Arc::clone(name), *value_type, column.to_owned()));
        }
        context.sort_unstable_by(|(one, ..), (two, ..)| one.cmp(two));
        Ok(Self { user: user.to_owned(), context })
    }

    pub(super) fn columns(&self) -> Vec<&str> {
        let context = self.context.iter().map(|(.., column)| column.as_str());
        std::iter::once(self.user.as_str()).chain(context).collect()
    }

    /// Reads row `number`.
    pub(super) fn read(&self, number: u64, row: ReadRow) -> Asked {
        match row {
            Err((_, fault)) => Asked { row: number, user: String::new(), context: Err(fault) },
            Ok(row) => {
                let user = row.cells.first().map(Cell::to_text).unwrap_or_default();
                let context = self.context(&user, &row);
                Asked { row: number, user, context }
            }
        }
    }

    fn context(&self, user: &str, row: &Row) -> Result<Context, RowFault> {
        if user.is_empty() {
            let (found, expected) = (String::new(), "the id of a user".to_owned());
            return Err(RowFault { column: self.user.clone(), found, expected });
        }
        let mut context = Vec::with_capacity(self.context.len());
        for ((name, value_type, column), cell) in self.context.iter().zip(row.cells.iter().skip(1)) {
            let read = value(cell, *value_type).map_err(|expected| {
                let found = cell.to_text().chars().take(100).collect();
                RowFault { column: column.clone(), found, expected }
            })?;
            context.extend(read.map(|value| (Arc::clone(name), value)));
        }
        Ok(context)
    }
}
