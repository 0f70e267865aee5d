//! A file of labels, read row by row into the sorter that an export takes.
//!
//! Not here: reading rows of files (`crate::import`), or sorting (the feature store).

use std::path::Path;

use augur_loadtest::domain::ids::Subject;
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
}

#[derive(Debug, Clone, PartialEq)]
enum Field {
    UserId,
    AnonymousId,
    Timestamp(InstantFormat),
    Label,
}

impl Columns {
    /// As `--map FIELD=COLUMN` says; fields that are not mapped are taken from the column of their name, if the file
    /// has it.
    pub(crate) fn of(path: &Path, format: Format, maps: &[String]) -> Result<Self, Error> {
        let mut fields = maps.iter().map(|map| mapped(map)).collect::<Result<Vec<_>, _>>()?;
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
        let this = Self { fields };
        if !this.has(|field| matches!(field, Field::Timestamp(_))) {
            return Err(refused(path, "there is no column for `timestamp`"));
        }
        if !this.has(|field| matches!(field, Field::UserId | Field::AnonymousId)) {
            return Err(refused(path, "there is no column for `user_id` or `anonymous_id`"));
        }
        Ok(this)
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
        labels: &mut LabelSorter,
        bar: &ProgressBar,
    ) -> Result<(), Error> {
        let names: Vec<&str> = self.fields.iter().map(|(_, column)| column.as_str()).collect();
        let mut rows = import::open(path, format, &names)?;
        while let Some(row) = rows.next_row()? {
            let row = row.map_err(|(number, fault)| bad_row(path, number, &fault))?;
            let mut label = self.label(app, &row).map_err(|fault| bad_row(path, row.number, &fault))?;
            // Ids of one person have one log.
            label.user = app.store().resolve(label.user).map_err(augur_server::Error::from)?;
            labels.push(&label).map_err(augur_server::Error::from)?;
            if row.number.is_multiple_of(ROWS_PER_TICK) {
                bar.set_position(row.number);
            }
        }
        if labels.is_empty() {
            return Err(refused(path, "there are no rows"));
        }
        Ok(())
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
                Field::Label => outcome = number(cell).map_err(fault)?,
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
