//! A file of labels, read row by row into the sorter that an export takes.
//!
//! Not here: reading rows of files (`crate::import`), or sorting (the feature store).

use std::path::Path;
use std::sync::Arc;

use augur_loadtest::domain::event::MAX_TEXT_BYTES;
use augur_loadtest::domain::ids::Subject;
use augur_loadtest::domain::value::Finite;
use augur_loadtest::domain::{Value, ValueType};
use augur_server::App;
use augur_server::offline::{Label, LabelSorter};
use indicatif::ProgressBar;

use crate::Error;
use crate::import::{self, Cell, Format, InstantFormat, Row, RowFault};

/// What the columns of the file are.
const COLUMNS: &str = "the columns user_id or anonymous_id, timestamp and, if wanted, label (a number)";
/// Rows between two words about progress.
const ROWS_PER_TICK: u64 = 10_000;

/// Which column is what.
#[derive(Debug, Clone)]
pub(crate) struct Columns {
    /// Field and column.
    fields: Vec<(Field, String)>,
    /// Of the fields, how many were mapped to their column; they come first.
    mapped: usize,
    /// Whether every row has to tell its label, as one of two classes.
    classes: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Field {
    UserId,
    AnonymousId,
    Timestamp(InstantFormat),
    Label,
    Context(Arc<str>, ValueType),
}

impl Columns {
    /// As `--map FIELD=COLUMN` says; fields that are not mapped are taken from the column of their name, if the file
    /// has it.
    pub(crate) fn of(path: &Path, format: Format, maps: &[String]) -> Result<Self, Error> {
        let mut fields = maps.iter().map(|map| mapped(map)).collect::<Result<Vec<_>, _>>()?;
        let mapped = fields.len();
        let header = import::header(path, format)?;
        let has = |column: &str| header.as_ref().is_none_or(|names| names.iter().any(|name| name == column));
        let defaults = [
            (Field::UserId, "user_id"),
            (Field::AnonymousId, "anonymous_id"),
            (Field::Timestamp(InstantFormat::Guess), "timestamp"),
            (Field::Label, "label"),
        ];
        for (field, column) in defaults {
            let same = |(known, _): &(Field, String)| {
                std::mem::discriminant(known) == std::mem::discriminant(&field)
            };
            match fields.iter().filter(|known| same(known)).count() {
                0 if has(column) => fields.push((field, column.to_owned())),
                0 | 1 => {}
                _ => {
                    let problem = format!("`--map {column}=` is given twice");
                    return Err(Error::Usage { problem, expected: "each field once" });
                }
            }
        }
        let this = Self { fields, mapped, classes: false };
        if !this.has(|field| matches!(field, Field::Timestamp(_))) {
            return Err(refused(path, "there is no column for `timestamp`"));
        }
        if !this.has(|field| matches!(field, Field::UserId | Field::AnonymousId)) {
            return Err(refused(path, "there is no column for `user_id` or `anonymous_id`"));
        }
        Ok(this)
    }

    /// The same, of labels to learn from: every row's label is 1, 0, true or false.
    pub(crate) fn of_classes(self, path: &Path) -> Result<Self, Error> {
        if self.has(|field| *field == Field::Label) {
            Ok(Self { classes: true, ..self })
        } else {
            let expected = "the columns user_id or anonymous_id, timestamp and label (1, 0, true or false)";
            Err(Error::Labels {
                path: path.to_owned(),
                problem: "there is no column for `label`".to_owned(),
                expected: expected.to_owned(),
            })
        }
    }

    /// With columns that hold what a request told, as `--context NAME=COLUMN` says of the names in `declared`.
    pub(crate) fn with_context(
        mut self,
        maps: &[String],
        declared: &[(Arc<str>, ValueType)],
    ) -> Result<Self, Error> {
        for map in maps {
            let names = || declared.iter().map(|(name, _)| &**name).collect::<Vec<_>>().join(", ");
            let wrong = || Error::Argument {
                argument: "--context",
                found: map.clone(),
                expected: if declared.is_empty() {
                    "none, as the definitions declare no [context]".to_owned()
                } else {
                    format!("NAME=COLUMN, each name once, out of {}", names())
                },
            };
            let (name, column) = map.split_once('=').ok_or_else(wrong)?;
            let (name, value_type) = declared.iter().find(|(known, _)| **known == *name).ok_or_else(wrong)?;
            if self.has(|field| matches!(field, Field::Context(known, _) if known == name)) {
                return Err(wrong());
            }
            self.fields.push((Field::Context(Arc::clone(name), *value_type), column.to_owned()));
        }
        Ok(self)
    }

    fn has(&self, wanted: impl Fn(&Field) -> bool) -> bool {
        self.fields.iter().any(|(field, _)| wanted(field))
    }

    /// Reads every row of the file into `labels`; the first bad one ends it.
    pub(crate) fn read(
        &self,
        path: &Path,
        format: Format,
        app: &App,
        labels: &mut LabelSorter<'_>,
        bar: &ProgressBar,
    ) -> Result<(), Error> {
        let names: Vec<&str> = self.fields.iter().map(|(_, column)| column.as_str()).collect();
        let mut rows = import::open(path, format, &names)?;
        while let Some(row) = rows.next_row()? {
            let row = row.map_err(|(number, fault)| bad_row(path, number, &fault))?;
            let fault = |fault| bad_row(path, row.number, &fault);
            let label = self.label(app, &row).map_err(fault)?;
            let context = self.context(&row).map_err(fault)?;
            labels.push_with_context(&label, &context).map_err(augur_server::Error::from)?;
            if row.number.is_multiple_of(ROWS_PER_TICK) {
                bar.set_position(row.number);
            }
        }
        if labels.is_empty() {
            return Err(refused(path, "there are no rows"));
        }
        // Lines of JSON have no header that could have told before.
        match rows.seen().and_then(|seen| self.absent(seen)) {
            Some(column) => Err(refused(path, &format!("no row has `{column}`"))),
            None => Ok(()),
        }
    }

    /// A column that was asked for by name and is in no row.
    fn absent(&self, seen: &[bool]) -> Option<&str> {
        let asked = |index: usize, field: &Field| index < self.mapped || matches!(field, Field::Context(..));
        let mut columns = self.fields.iter().zip(seen).enumerate();
        let absent = columns.find(|(index, ((field, _), seen))| !**seen && asked(*index, field));
        absent.map(|(_, ((_, column), _))| column.as_str())
    }

    fn label(&self, app: &App, row: &Row) -> Result<Label, RowFault> {
        let (mut user, mut device) = (String::new(), String::new());
        let (mut at, mut outcome) = (None, None);
        for ((field, column), cell) in self.fields.iter().zip(&row.cells) {
            let fault =
                |expected: String| RowFault { column: column.clone(), found: cell.to_text(), expected };
            match field {
                Field::UserId => user = cell.to_text(),
                Field::AnonymousId => device = cell.to_text(),
                Field::Timestamp(format) => at = Some(format.read(cell).map_err(fault)?),
                Field::Label => {
                    outcome = number(cell).map_err(fault)?;
                    if self.classes && outcome != Some(0.0) && outcome != Some(1.0) {
                        return Err(fault("1, 0, true or false".to_owned()));
                    }
                }
                Field::Context(..) => {}
            }
        }
        let subject = match (user.as_str(), device.as_str()) {
            ("", "") => {
                let expected = "user_id or anonymous_id".to_owned();
                return Err(RowFault {
                    column: String::new(),
                    found: "nobody is named".to_owned(),
                    expected,
                });
            }
            ("", device) => Subject::Anonymous(device),
            (user, _) => Subject::User(user),
        };
        let at = at.unwrap_or_default();
        Ok(Label { user: app.user_key(subject), at, outcome })
    }

    /// What the row says that the request told, by name.
    fn context(&self, row: &Row) -> Result<Vec<(Arc<str>, Value)>, RowFault> {
        let mut context = Vec::new();
        for ((field, column), cell) in self.fields.iter().zip(&row.cells) {
            let Field::Context(name, value_type) = field else { continue };
            let value = value(cell, *value_type).map_err(|expected| {
                let found = cell.to_text().chars().take(100).collect();
                RowFault { column: column.clone(), found, expected }
            })?;
            context.extend(value.map(|value| (Arc::clone(name), value)));
        }
        context.sort_unstable_by(|(one, _), (two, _)| one.cmp(two));
        Ok(context)
    }
}

/// A value of the declared type; empty cells tell nothing.
pub(crate) fn value(cell: &Cell, value_type: ValueType) -> Result<Option<Value>, String> {
    let text = cell.to_text();
    if text.is_empty() {
        return Ok(None);
    }
    let found = match value_type {
        ValueType::Text if text.len() <= MAX_TEXT_BYTES => Some(Value::Text(text.into())),
        ValueType::Boolean => text.parse().ok().map(Value::Boolean),
        ValueType::Number => text.parse().ok().and_then(Finite::new).map(Value::Number),
        _ => None,
    };
    let expected = match value_type {
        ValueType::Text => format!("at most {MAX_TEXT_BYTES} bytes or nothing"),
        ValueType::Boolean => "true, false or nothing".to_owned(),
        _ => "a finite number or nothing".to_owned(),
    };
    found.map(Some).ok_or(expected)
}

fn mapped(map: &str) -> Result<(Field, String), Error> {
    let expected = "FIELD=COLUMN with user_id, anonymous_id, timestamp or label, e.g. `timestamp=at:ms`";
    let wrong =
        || Error::Argument { argument: "--map", found: map.to_owned(), expected: expected.to_owned() };
    let (field, column) = map.split_once('=').ok_or_else(wrong)?;
    Ok(match field {
        "user_id" => (Field::UserId, column.to_owned()),
        "anonymous_id" => (Field::AnonymousId, column.to_owned()),
        "label" => (Field::Label, column.to_owned()),
        "timestamp" => {
            let (column, format) = column.split_once(':').unwrap_or((column, ""));
            (Field::Timestamp(InstantFormat::parse(format)?), column.to_owned())
        }
        _ => return Err(wrong()),
    })
}

fn number(cell: &Cell) -> Result<Option<f64>, String> {
    let expected = || "a finite number, true, false or nothing".to_owned();
    match cell {
        Cell::Missing => Ok(None),
        Cell::Number(number) if number.is_finite() => Ok(Some(*number)),
        Cell::Boolean(boolean) => Ok(Some(f64::from(u8::from(*boolean)))),
        Cell::Open(_) | Cell::Text(_) => match cell.to_text().as_str() {
            "" => Ok(None),
            "true" => Ok(Some(1.0)),
            "false" => Ok(Some(0.0)),
            text => {
                text.parse().ok().filter(|number: &f64| number.is_finite()).map(Some).ok_or_else(expected)
            }
        },
        Cell::Number(_) | Cell::Instant(_) | Cell::Nested(_) => Err(expected()),
    }
}

fn refused(path: &Path, problem: &str) -> Error {
    Error::Labels { path: path.to_owned(), problem: problem.to_owned(), expected: COLUMNS.to_owned() }
}

fn bad_row(path: &Path, number: u64, fault: &RowFault) -> Error {
    let RowFault { column, found, expected } = fault;
    let problem = if column.is_empty() {
        format!("row {number}: {found}")
    } else {
        format!("row {number}: {column} `{found}`")
    };
    Error::Labels { path: path.to_owned(), problem, expected: expected.clone() }
}
