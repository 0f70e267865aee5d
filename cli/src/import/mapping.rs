//! Which column becomes which field of an event, and one row turned into one event.
//!
//! Not here: reading rows (`source`) or times (`instant`).

use std::path::Path;

use augur_loadtest::convert::timestamp_to_wire;
use augur_loadtest::domain::ContentHash;
use augur_loadtest::v1;
use augur_loadtest::v1::value::Kind;

use super::instant::InstantFormat;
use crate::Error;

/// Characters of a file's name that a made message id repeats.
const MAX_SHOWN_NAME: usize = 40;

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    /// Empty, null or not there.
    Missing,
    /// Text as it stands, e.g. from CSV: its type is still open.
    Open(String),
    /// Text, and known to be.
    Text(String),
    /// A number.
    Number(f64),
    /// True or false.
    Boolean(bool),
    /// An instant in milliseconds since 1970.
    Instant(i64),
    /// A list or an object, as it is written.
    Nested(String),
}

impl Cell {
    /// As an id or name: numbers without a fraction are written without one.
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::Missing => String::new(),
            Self::Open(text) | Self::Text(text) | Self::Nested(text) => text.trim().to_owned(),
            Self::Number(number) => number.to_string(),
            Self::Boolean(boolean) => boolean.to_string(),
            Self::Instant(unix_ms) => unix_ms.to_string(),
        }
    }
}

/// One row of a file: the wanted columns, in the order of [`Mapping::columns`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// Counted from 1, without the header.
    pub(crate) number: u64,
    /// One per wanted column.
    pub(crate) cells: Vec<Cell>,
    /// Of everything in the row, wanted or not.
    pub(crate) content: ContentHash,
}

/// A row that is no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowFault {
    /// The column at fault, empty when it is the row as a whole.
    pub(crate) column: String,
    /// What was found.
    pub(crate) found: String,
    /// What was expected.
    pub(crate) expected: String,
}

/// The type that a property was declared to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PropertyType {
    /// A number if it reads as one, then true or false, else text.
    Guess,
    Number,
    Text,
    Boolean,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Field {
    UserId,
    AnonymousId,
    MessageId,
    Event,
    Timestamp(InstantFormat),
    Property(String, PropertyType),
}

/// The whole mapping, checked once.
#[derive(Debug, Clone)]
pub(crate) struct Mapping {
    fields: Vec<(Field, String)>,
    event_name: Option<String>,
    renamed: Vec<(String, String)>,
}

impl Mapping {
    /// Reads `--map`, `--prop`, `--event-name` and `--map-event` as typed.
    pub(crate) fn parse(
        maps: &[String],
        properties: &[String],
        event_name: Option<&str>,
        renames: &[String],
    ) -> Result<Self, Error> {
        let mut fields = Vec::new();
        for map in maps {
            let (name, column) = pair("--map", map, "FIELD=COLUMN, e.g. `user_id=customer`")?;
            fields.push(field(name, column)?);
        }
        for property in properties {
            let (name, column) = pair("--prop", property, "NAME=COLUMN[:number|text|boolean]")?;
            fields.push(self::property(name, column, PropertyType::Guess));
        }
        let renamed = renames
            .iter()
            .map(|rename| pair("--map-event", rename, "FROM=TO, e.g. `order=purchase`"))
            .map(|rename| rename.map(|(from, to)| (from.to_owned(), to.to_owned())))
            .collect::<Result<_, _>>()?;
        let mapping = Self { fields, event_name: event_name.map(str::to_owned), renamed };
        mapping.check()?;
        Ok(mapping)
    }

    fn check(&self) -> Result<(), Error> {
        let has = |wanted: fn(&Field) -> bool| self.fields.iter().any(|(field, _)| wanted(field));
        let missing = |field: &str, expected| {
            Err(Error::Usage { problem: format!("no column is mapped to {field}"), expected })
        };
        if !has(|field| matches!(field, Field::UserId | Field::AnonymousId)) {
            return missing("user_id", "`--map user_id=COLUMN` or `--map anonymous_id=COLUMN`");
        }
        if !has(|field| matches!(field, Field::Timestamp(_))) {
            return missing("timestamp", "`--map timestamp=COLUMN[:ms|s|rfc3339|FORMAT]`");
        }
        if !has(|field| matches!(field, Field::Event)) && self.event_name.is_none() {
            return missing("event", "`--map event=COLUMN` or `--event-name NAME`");
        }
        for (index, (field, _)) in self.fields.iter().enumerate() {
            let same = |(other, _): &(Field, String)| same_target(field, other);
            if self.fields.iter().skip(index + 1).any(same) {
                let problem = format!("{} is mapped twice", target(field));
                return Err(Error::Usage { problem, expected: "each field once" });
            }
        }
        Ok(())
    }

    /// Columns to read, one per field; a column may be named twice.
    pub(crate) fn columns(&self) -> Vec<&str> {
        self.fields.iter().map(|(_, column)| column.as_str()).collect()
    }

    /// One row as one event. Without a mapped message id the id is a hash of the file's name, the row's number and
    /// all that is in it, so that the same file imported twice counts nothing twice, however it was mapped.
    pub(crate) fn event(&self, file: &Path, row: &Row) -> Result<v1::Event, RowFault> {
        let mut event =
            v1::Event { event: self.event_name.clone().unwrap_or_default(), ..v1::Event::default() };
        for ((field, column), cell) in self.fields.iter().zip(&row.cells) {
            if let (Cell::Nested(found), false) = (cell, matches!(field, Field::Property(..))) {
                return Err(fault(column, found, "a single value, no list or object"));
            }
            match field {
                Field::UserId => event.user_id = cell.to_text(),
                Field::AnonymousId => event.anonymous_id = cell.to_text(),
                Field::MessageId => event.message_id = cell.to_text(),
                Field::Event => event.event = self.renamed(cell.to_text()),
                Field::Timestamp(format) => {
                    let timestamp =
                        format.read(cell).map_err(|expected| fault(column, &cell.to_text(), expected))?;
                    event.timestamp = Some(timestamp_to_wire(timestamp));
                }
                Field::Property(name, property_type) => {
                    if let Some(kind) = property_value(cell, *property_type)
                        .map_err(|expected| fault(column, &cell.to_text(), expected))?
                    {
                        event.properties.insert(name.clone(), v1::Value { kind: Some(kind) });
                    }
                }
            }
        }
        if event.user_id.is_empty() && event.anonymous_id.is_empty() {
            return Err(fault(self.column_of(&Field::UserId), "", "an id of a person or a device"));
        }
        if event.event.is_empty() {
            return Err(fault(self.column_of(&Field::Event), "", "an event name"));
        }
        if event.message_id.is_empty() {
            event.message_id = stable_id(file, row);
        }
        Ok(event)
    }

    fn renamed(&self, name: String) -> String {
        self.renamed.iter().find(|(from, _)| *from == name).map_or(name, |(_, to)| to.clone())
    }

    fn column_of(&self, wanted: &Field) -> &str {
        self.fields.iter().find(|(field, _)| field == wanted).map_or("", |(_, column)| column)
    }
}

fn stable_id(file: &Path, row: &Row) -> String {
    let packed = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
    let name = if packed { file.file_stem() } else { file.file_name() };
    let name = name.unwrap_or_default().to_string_lossy();
    let shown: String = name.chars().take(MAX_SHOWN_NAME).collect();
    let hash = ContentHash::of(&[name.as_bytes(), &row.number.to_le_bytes(), row.content.as_bytes()]);
    // Tells a person where to look when the event is set aside.
    format!("{shown}:{}:{hash}", row.number)
}

fn fault(column: &str, found: &str, expected: impl Into<String>) -> RowFault {
    RowFault { column: column.to_owned(), found: found.chars().take(80).collect(), expected: expected.into() }
}

fn pair<'a>(argument: &'static str, text: &'a str, expected: &str) -> Result<(&'a str, &'a str), Error> {
    text.split_once('=')
        .filter(|(name, column)| !name.is_empty() && !column.is_empty())
        .ok_or_else(|| Error::Argument { argument, found: text.to_owned(), expected: expected.to_owned() })
}

/// A field of the event, or else a numeric property such as `value`.
fn field(name: &str, column: &str) -> Result<(Field, String), Error> {
    let simple = match name {
        "user_id" => Field::UserId,
        "anonymous_id" => Field::AnonymousId,
        "message_id" => Field::MessageId,
        "event" => Field::Event,
        "timestamp" => {
            let (column, format) = column.split_once(':').unwrap_or((column, ""));
            return Ok((Field::Timestamp(InstantFormat::parse(format)?), column.to_owned()));
        }
        _ => return Ok(property(name, column, PropertyType::Number)),
    };
    Ok((simple, column.to_owned()))
}

fn property(name: &str, column: &str, otherwise: PropertyType) -> (Field, String) {
    let typed = column.rsplit_once(':').and_then(|(column, word)| {
        let property_type = match word {
            "number" => PropertyType::Number,
            "text" => PropertyType::Text,
            "boolean" => PropertyType::Boolean,
            _ => return None,
        };
        Some((column, property_type))
    });
    let (column, property_type) = typed.unwrap_or((column, otherwise));
    (Field::Property(name.to_owned(), property_type), column.to_owned())
}

fn target(field: &Field) -> &str {
    match field {
        Field::UserId => "user_id",
        Field::AnonymousId => "anonymous_id",
        Field::MessageId => "message_id",
        Field::Event => "event",
        Field::Timestamp(_) => "timestamp",
        Field::Property(name, _) => name,
    }
}

fn same_target(a: &Field, b: &Field) -> bool {
    matches!(a, Field::Property(..)) == matches!(b, Field::Property(..)) && target(a) == target(b)
}

fn property_value(cell: &Cell, property_type: PropertyType) -> Result<Option<Kind>, &'static str> {
    let text = match cell {
        Cell::Missing => return Ok(None),
        Cell::Open(text) if text.trim().is_empty() => return Ok(None),
        cell => cell.to_text(),
    };
    let number = || text.parse::<f64>().ok().filter(|number| number.is_finite());
    let boolean = || text.to_ascii_lowercase().parse::<bool>().ok();
    let kind = match (property_type, cell) {
        (PropertyType::Text, _) | (PropertyType::Guess, Cell::Text(_) | Cell::Nested(_)) => Kind::Text(text),
        (PropertyType::Number, _) => number().map(Kind::Number).ok_or("a finite number like `12.5`")?,
        (PropertyType::Boolean, _) => boolean().map(Kind::Boolean).ok_or("`true` or `false`")?,
        (PropertyType::Guess, _) => {
            let guessed = number().map(Kind::Number).or_else(|| boolean().map(Kind::Boolean));
            guessed.unwrap_or(Kind::Text(text))
        }
    };
    Ok(Some(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping() -> Mapping {
        let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Mapping::parse(
            &strings(&["user_id=who", "timestamp=at:ms", "event=what", "value=amount"]),
            &strings(&["item_id=item:text", "gift=gift"]),
            None,
            &strings(&["order=purchase"]),
        )
        .unwrap()
    }

    fn row(cells: [&str; 6]) -> Row {
        let content = ContentHash::of(&cells.map(str::as_bytes));
        let cells = cells.iter().map(|cell| Cell::Open((*cell).to_owned())).collect();
        Row { number: 7, cells, content }
    }

    #[test]
    fn a_row_becomes_an_event() {
        let file = Path::new("/data/a.csv");
        let event =
            mapping().event(file, &row(["u1", "1700000000123", "order", "9.5", "123", "TRUE"])).unwrap();
        assert_eq!((event.user_id.as_str(), event.event.as_str()), ("u1", "purchase"));
        let timestamp = event.timestamp.unwrap();
        assert_eq!((timestamp.seconds, timestamp.nanos), (1_700_000_000, 123_000_000));
        let kind = |name: &str| event.properties[name].kind.clone().unwrap();
        assert_eq!(kind("value"), Kind::Number(9.5));
        assert_eq!(kind("item_id"), Kind::Text("123".into()));
        assert_eq!(kind("gift"), Kind::Boolean(true));
        assert!(event.message_id.starts_with("a.csv:7:") && event.message_id.len() <= 256);
    }

    #[test]
    fn the_id_is_stable_and_knows_the_row() {
        let cells = ["u1", "1700000000123", "order", "", "", ""];
        let id = |path: &str, row: &Row| mapping().event(Path::new(path), row).unwrap().message_id;
        let first = id("/x/a.csv", &row(cells));
        assert_eq!(first, id("/y/a.csv", &row(cells)));
        assert_eq!(first, id("/y/a.csv.gz", &row(cells)));
        assert_eq!(
            first,
            id("/x/a.csv", &Row { content: row(cells).content, ..row(["u2", "1", "a", "", "", ""]) })
        );
        assert_ne!(first, id("/x/a.csv", &Row { content: ContentHash::of(&[b"other"]), ..row(cells) }));
        assert_ne!(first, id("/x/b.csv", &row(cells)));
        assert_ne!(first, id("/x/a.csv", &Row { number: 8, ..row(cells) }));
    }

    #[test]
    fn faults_name_column_value_and_expectation() {
        for (cells, column, found) in [
            (["", "1", "order", "", "", ""], "who", ""),
            (["u", "noon", "order", "", "", ""], "at", "noon"),
            (["u", "1", "", "", "", ""], "what", ""),
            (["u", "1", "order", "ten", "", ""], "amount", "ten"),
        ] {
            let fault = mapping().event(Path::new("a.csv"), &row(cells)).unwrap_err();
            assert_eq!((fault.column.as_str(), fault.found.as_str()), (column, found));
            assert!(!fault.expected.is_empty());
        }
    }

    #[test]
    fn lists_and_objects_are_no_names() {
        for index in [0, 1, 2] {
            let mut row = row(["u", "1700000000123", "order", "", "", ""]);
            row.cells[index] = Cell::Nested("[7,8]".into());
            let fault = mapping().event(Path::new("a.jsonl"), &row).unwrap_err();
            assert_eq!(
                (fault.found.as_str(), fault.expected.as_str()),
                ("[7,8]", "a single value, no list or object")
            );
        }
    }

    #[test]
    fn an_incomplete_or_doubled_mapping_is_refused() {
        let parse = |maps: &[&str]| {
            let maps: Vec<_> = maps.iter().map(|map| (*map).to_owned()).collect();
            Mapping::parse(&maps, &[], None, &[]).unwrap_err().to_string()
        };
        assert!(parse(&["timestamp=t", "event=e"]).contains("user_id"));
        assert!(parse(&["user_id=u", "event=e"]).contains("timestamp"));
        assert!(parse(&["user_id=u", "timestamp=t"]).contains("--event-name"));
        assert!(parse(&["user_id=u", "user_id=v", "timestamp=t", "event=e"]).contains("twice"));
        assert!(parse(&["user_id"]).contains("FIELD=COLUMN"));
    }
}
